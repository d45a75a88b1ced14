//! A connected UDP socket that tells when the kernel received each datagram, so that waiting in the generator does not count as delay.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recvmsg, setsockopt,
    sockopt::{RcvBuf, ReceiveTimestampns},
};
use nix::sys::time::TimeSpec;

/// Holds a burst of keyframes for as long as the generator may be late.
const RECEIVE_BUFFER: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct StampedSocket {
    socket: UdpSocket,
    control: Vec<u8>,
}

impl StampedSocket {
    /// A socket on any port that talks to `peer` only.
    pub(crate) fn connect(peer: SocketAddr) -> anyhow::Result<Self> {
        let any: SocketAddr =
            if peer.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
        let socket = UdpSocket::bind(any)?;
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
        Ok(Self { socket, control: nix::cmsg_space!(TimeSpec) })
    }

    /// One plain `send` per datagram. What the kernel does not take is lost, as on a network.
    pub(crate) fn send(&self, datagram: &[u8]) {
        let _ = self.socket.send(datagram);
    }

    /// The next waiting datagram: its length and its arrival in wall clock nanoseconds.
    pub(crate) fn receive(&mut self, buf: &mut [u8]) -> anyhow::Result<Option<(usize, u64)>> {
        let mut slices = [IoSliceMut::new(buf)];
        let fd = self.socket.as_raw_fd();
        match recvmsg::<()>(fd, &mut slices, Some(&mut self.control), MsgFlags::MSG_DONTWAIT) {
            Ok(message) => {
                let arrival = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::ScmTimestampns(time) => {
                        Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
                    }
                    _ => None,
                });
                let arrival = arrival.ok_or_else(|| anyhow::anyhow!("no arrival time"))?;
                Ok(Some((message.bytes, arrival)))
            }
            // A refused port shows itself here; the consent checks will tell.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for StampedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
