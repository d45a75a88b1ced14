//! Connected UDP sockets that tell when the kernel received each datagram, so that waiting in the generator does not count as delay.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, recvmmsg, recvmsg, setsockopt,
    sockopt::{RcvBuf, RcvBufForce, ReceiveTimestampns, UdpGroSegment},
};
use nix::sys::time::TimeSpec;

/// Holds what arrives for as long as the generator may be late.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Datagrams per call: more than a frame has.
const BATCH: usize = 16;
/// Of one socket in a turn.
const CALLS_MAX: usize = 8;
/// The largest datagram of a path.
const DATAGRAM_MAX: usize = 2048;
/// The kernel puts at most so much together.
const GRO_MAX: usize = 65_536;

/// A socket of one peer.
#[derive(Debug)]
pub(crate) struct PeerSocket {
    socket: UdpSocket,
    gro: bool,
}

impl PeerSocket {
    /// A socket on any port of `ip`; with `gro` the kernel may hand over several datagrams at once.
    pub(crate) fn bind(ip: IpAddr, gro: bool) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
        }
        if gro {
            setsockopt(&socket, UdpGroSegment, &true).context("UDP_GRO")?;
        }
        Ok(Self { socket, gro })
    }

    /// Where it is bound.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// From now on it talks to `peer` only.
    pub(crate) fn connect(&self, peer: SocketAddr) -> anyhow::Result<()> {
        Ok(self.socket.connect(peer)?)
    }

    /// One plain `send` per datagram. What the kernel does not take is lost, as on a network.
    pub(crate) fn send(&self, datagram: &[u8]) {
        let _ = self.socket.send(datagram);
    }
}

impl AsFd for PeerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Buffers for receiving, one set for all sockets.
pub(crate) struct Receiver {
    bytes: Vec<u8>,
    /// `recvmmsg` of nix keeps the length of control messages that the last call left: it is used only where that is the same for all.
    headers: MultiHeaders<()>,
    control: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; GRO_MAX.max(BATCH * DATAGRAM_MAX)],
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec))),
            control: nix::cmsg_space!(TimeSpec, i32),
        }
    }

    /// Hands what waits in `socket` to `take`: datagram and arrival in wall clock nanoseconds. What comes all the time does not hold it
    /// for ever.
    ///
    /// # Errors
    /// Of the kernel; or of `take`, and what was not taken then is lost.
    pub(crate) fn receive(
        &mut self,
        socket: &PeerSocket,
        mut take: impl FnMut(&mut [u8], u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for _ in 0..CALLS_MAX {
            let more = match socket.gro {
                true => self.receive_run(socket, &mut take)?,
                false => self.receive_batch(socket, &mut take)?,
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Says whether more may wait.
    fn receive_batch(
        &mut self,
        socket: &PeerSocket,
        take: &mut impl FnMut(&mut [u8], u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let mut lengths = [(0, 0); BATCH];
        let mut count = 0;
        let mut chunks = self.bytes.chunks_exact_mut(DATAGRAM_MAX);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(chunks.next().unwrap_or_default())]);
        let fd = socket.socket.as_raw_fd();
        match recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => {
                for (length, message) in lengths.iter_mut().zip(messages) {
                    *length = (message.bytes, arrival(&message)?.0);
                    count += 1;
                }
            }
            Err(error) => return ignore(error),
        }
        for ((length, arrival), chunk) in
            lengths.into_iter().zip(self.bytes.chunks_exact_mut(DATAGRAM_MAX)).take(count)
        {
            take(&mut chunk[..length], arrival)?;
        }
        Ok(count == BATCH)
    }

    /// Says whether more may wait.
    fn receive_run(
        &mut self,
        socket: &PeerSocket,
        take: &mut impl FnMut(&mut [u8], u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let mut slices = [IoSliceMut::new(&mut self.bytes)];
        let fd = socket.socket.as_raw_fd();
        let (length, (arrival, segment)) =
            match recvmsg::<()>(fd, &mut slices, Some(&mut self.control), MsgFlags::MSG_DONTWAIT) {
                Ok(message) => (message.bytes, arrival(&message)?),
                Err(error) => return ignore(error),
            };
        let segment = segment.unwrap_or(length).max(1);
        for datagram in self.bytes[..length].chunks_mut(segment) {
            take(datagram, arrival)?;
        }
        Ok(true)
    }
}

/// Arrival and segment size.
fn arrival(message: &RecvMsg<'_, '_, ()>) -> anyhow::Result<(u64, Option<usize>)> {
    let (mut at, mut segment) = (None, None);
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::ScmTimestampns(time) => {
                at = Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64);
            }
            ControlMessageOwned::UdpGroSegments(size) => segment = usize::try_from(size).ok(),
            _ => {}
        }
    }
    Ok((at.context("the kernel tells no arrival time")?, segment))
}

/// A refused port shows itself as an error; the consent checks will tell.
fn ignore(error: Errno) -> anyhow::Result<bool> {
    match error {
        Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED => Ok(false),
        error => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::clock::wall_ns;

    /// Sends three datagrams of different lengths, twice.
    fn received(gro: bool) -> Vec<Vec<u8>> {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let (from, to) = (PeerSocket::bind(ip, false).unwrap(), PeerSocket::bind(ip, gro).unwrap());
        from.connect(to.address().unwrap()).unwrap();
        let mut receiver = Receiver::new();
        let mut all = Vec::new();
        for _ in 0..2 {
            let before = wall_ns();
            for length in [9, 9, 4] {
                from.send(&vec![length as u8; length]);
            }
            let want = all.len() + 3;
            while all.len() < want {
                receiver
                    .receive(&to, |datagram, arrival| {
                        assert!((before..before + 5_000_000_000).contains(&arrival));
                        all.push(datagram.to_vec());
                        Ok(())
                    })
                    .unwrap();
            }
        }
        all
    }

    #[test]
    fn datagrams_come_whole_in_order_and_stamped() {
        let six = [9, 9, 4, 9, 9, 4].map(|length| vec![length as u8; length]);
        assert_eq!(received(false), six);
        assert_eq!(received(true), six);
    }
}
