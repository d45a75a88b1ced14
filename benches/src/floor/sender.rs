//! Sealing with per-subscriber keys and sending, the ways that a server could: nothing else.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd as _;

use anyhow::ensure;
use nix::sys::socket::sockopt::{SndBuf, UdpGsoSegment};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, setsockopt};
use sfu_core::egress::{ARENA_BYTES, ARENA_MESSAGES, Message, Tuple};
use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile, SrtpSender};
use sfu_rtp::{HeaderFields, write_header};

const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
/// Fixed header, one CSRC, and extensions: transport-wide number, send time, mid. What Switchyard sends.
const HEADER: usize = 12 + 4 + 16;
/// Of every packet: the keys are different.
const SSRC: u32 = 0x5EED;
const SEND_BUFFER: usize = 4 << 20;

/// The traffic of one scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of payload.
    pub(crate) payload: usize,
    /// Packets per subscriber and frame.
    pub(crate) burst: usize,
    /// Frames per second.
    pub(crate) rate: u32,
}

impl Shape {
    /// Bytes of one datagram on the wire.
    pub(crate) fn datagram(&self) -> usize {
        HEADER + self.payload + PROFILE.rtp_overhead()
    }
}

/// How datagrams reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// `sendmmsg`, one message per datagram.
    Single,
    /// `sendmmsg`, one message per subscriber that the kernel segments (UDP GSO).
    Segmented,
    /// As the server sends: one message per subscriber, a socket for both address families, and the source address in every message.
    Server,
}

impl Method {
    /// Through a socket that serves nothing but this.
    pub(crate) fn is_plain(self) -> bool {
        self != Self::Server
    }
}

/// What is done for each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Encrypted in place.
    pub(crate) seal: bool,
    /// Sent, and how.
    pub(crate) send: Option<Method>,
}

struct Subscriber {
    srtp: SrtpSender,
    /// 48-bit SRTP index of the next packet.
    index: u64,
    address: SockaddrIn,
    tuple: Tuple,
}

/// See the module.
pub(crate) struct Sender {
    shape: Shape,
    subscribers: Vec<Subscriber>,
    /// One batch of datagrams, used again for the next.
    arena: Vec<u8>,
    /// Subscribers per batch.
    batch: usize,
    single: UdpSocket,
    segmented: UdpSocket,
    server: sfu::socket::UdpSocket,
    headers: MultiHeaders<SockaddrIn>,
    messages: Vec<Message>,
}

impl Sender {
    /// A sender to all `addresses`, each with keys of its own.
    pub(crate) fn new(shape: Shape, addresses: &[SocketAddrV4]) -> anyhow::Result<Self> {
        let datagram = shape.datagram();
        let batch = ARENA_MESSAGES.min(ARENA_BYTES / (shape.burst * datagram));
        let mut arena = vec![0x55; batch * shape.burst * datagram];
        for slot in arena.chunks_exact_mut(datagram) {
            let fields = HeaderFields { payload_type: 96, ssrc: SSRC, ..Default::default() };
            write_header(slot, &HeaderFields { csrcs: &[1], extension: true, ..fields });
        }
        let segmented = socket()?;
        setsockopt(&segmented, UdpGsoSegment, &i32::try_from(datagram)?)?;
        Ok(Self {
            shape,
            subscribers: addresses.iter().enumerate().map(subscriber).collect(),
            arena,
            batch,
            single: socket()?,
            segmented,
            server: sfu::socket::UdpSocket::bind(0)?,
            headers: MultiHeaders::preallocate(ARENA_MESSAGES, None),
            messages: Vec::with_capacity(ARENA_MESSAGES),
        })
    }

    /// Datagrams of one frame.
    pub(crate) fn frame_datagrams(&self) -> u64 {
        (self.subscribers.len() * self.shape.burst) as u64
    }

    /// One frame for all subscribers, batch by batch.
    pub(crate) fn frame(&mut self, step: Step) -> anyhow::Result<()> {
        for first in (0..self.subscribers.len()).step_by(self.batch) {
            let batch = first..self.subscribers.len().min(first + self.batch);
            if step.seal {
                self.seal(batch.clone())?;
            }
            match step.send {
                Some(Method::Single) => self.send_single(batch)?,
                Some(Method::Segmented) => self.send_segmented(batch)?,
                Some(Method::Server) => self.send_server(batch)?,
                None => {}
            }
        }
        Ok(())
    }

    fn seal(&mut self, batch: Range<usize>) -> anyhow::Result<()> {
        let datagram = self.shape.datagram();
        let mut slots = self.arena.chunks_exact_mut(datagram);
        for subscriber in &mut self.subscribers[batch] {
            for slot in slots.by_ref().take(self.shape.burst) {
                let len = datagram - PROFILE.rtp_overhead();
                let len = subscriber.srtp.protect_rtp(slot, HEADER, len, subscriber.index);
                ensure!(len == datagram, "sealed to {len} instead of {datagram} bytes");
                subscriber.index += 1;
            }
        }
        Ok(())
    }

    fn send_single(&mut self, batch: Range<usize>) -> anyhow::Result<()> {
        let (burst, datagram) = (self.shape.burst, self.shape.datagram());
        let count = batch.len() * burst;
        for start in (0..count).step_by(ARENA_MESSAGES) {
            let numbers = start..count.min(start + ARENA_MESSAGES);
            let at = |number: usize| batch.start + number / burst;
            self.submit(Method::Single, numbers, at, datagram)?;
        }
        Ok(())
    }

    fn send_segmented(&mut self, batch: Range<usize>) -> anyhow::Result<()> {
        let len = self.shape.burst * self.shape.datagram();
        let first = batch.start;
        self.submit(Method::Segmented, 0..batch.len(), |number| first + number, len)
    }

    /// One `sendmmsg` of the messages `numbers` of `len` bytes each, in the order of the arena; `at`: whose they are.
    fn submit(
        &mut self,
        method: Method,
        numbers: Range<usize>,
        at: impl Fn(usize) -> usize,
        len: usize,
    ) -> anyhow::Result<()> {
        let fd = if method == Method::Single { &self.single } else { &self.segmented }.as_raw_fd();
        let count = numbers.len();
        let slices: [[IoSlice<'_>; 1]; ARENA_MESSAGES] = std::array::from_fn(|place| {
            let start = (numbers.start + place) * len;
            [IoSlice::new(self.arena.get(start..start + len).unwrap_or_default())]
        });
        let addresses: [Option<SockaddrIn>; ARENA_MESSAGES] = std::array::from_fn(|place| {
            self.subscribers.get(at(numbers.start + place)).map(|to| to.address)
        });
        let (slices, addresses) = (&slices[..count], &addresses[..count]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = sendmmsg(fd, &mut self.headers, slices, addresses, [], flags)?.count();
        ensure!(sent == count, "the kernel took {sent} of {count} messages");
        Ok(())
    }

    fn send_server(&mut self, batch: Range<usize>) -> anyhow::Result<()> {
        let segment = self.shape.datagram();
        let len = self.shape.burst * segment;
        self.messages.clear();
        for (place, subscriber) in self.subscribers[batch].iter().enumerate() {
            let tuple = subscriber.tuple;
            self.messages.push(Message { tuple, start: place * len, len, segment });
        }
        self.server.send_batch(&self.messages, &self.arena);
        let stats = self.server.stats();
        ensure!(stats.dropped_full + stats.dropped_failed == 0, "the kernel refused: {stats:?}");
        Ok(())
    }
}

fn socket() -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&socket, SndBuf, &SEND_BUFFER)?;
    Ok(socket)
}

fn subscriber((number, address): (usize, &SocketAddrV4)) -> Subscriber {
    Subscriber {
        srtp: SrtpSender::new(&keys(number)),
        index: 0,
        address: SockaddrIn::from(*address),
        tuple: Tuple::udp(IpAddr::V4(Ipv4Addr::LOCALHOST), SocketAddr::V4(*address)),
    }
}

/// Others for each subscriber, the same for both directions.
fn keys(number: usize) -> SrtpKeys {
    let bytes = |len: usize| (0..len).map(|at| (number >> (at % 2 * 8)) as u8).collect::<Vec<u8>>();
    let (local_key, local_salt) = (bytes(PROFILE.key_len()), bytes(PROFILE.salt_len()));
    let (remote_key, remote_salt) = (local_key.clone(), local_salt.clone());
    SrtpKeys { profile: PROFILE, local_key, local_salt, remote_key, remote_salt }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::transport::srtp::SrtpReceiver;
    use std::time::Duration;

    /// More than one batch, so that the arena is used again.
    const SUBSCRIBERS: usize = 70;

    #[test]
    fn every_way_sends_every_subscriber_what_only_its_keys_open() {
        let shape = Shape { payload: 300, burst: 3, rate: 30 };
        let sockets: Vec<UdpSocket> =
            (0..SUBSCRIBERS).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let addresses: Vec<SocketAddrV4> = sockets
            .iter()
            .map(|socket| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port(socket)))
            .collect();
        let mut sender = Sender::new(shape, &addresses).unwrap();
        let mut receivers: Vec<SrtpReceiver> =
            (0..SUBSCRIBERS).map(|number| SrtpReceiver::new(&keys(number))).collect();
        let mut index = 0;
        for method in [Method::Single, Method::Segmented, Method::Server] {
            sender.frame(Step { seal: true, send: Some(method) }).unwrap();
            for (socket, receiver) in sockets.iter().zip(&mut receivers) {
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                for seq in index..index + 3 {
                    let mut buf = [0; 2000];
                    let len = socket.recv(&mut buf).unwrap();
                    assert_eq!(len, shape.datagram());
                    let opened = receiver.unprotect_rtp(&mut buf[..len], HEADER, SSRC, seq);
                    let end = opened.unwrap().len;
                    // Sealed again and again, the payload is no longer what it was; but there is all of it.
                    assert_eq!(end - HEADER, 300);
                }
            }
            index += 3;
        }
    }

    #[test]
    fn a_batch_is_what_the_server_sends_at_once() {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
        let batch = |payload, burst| {
            Sender::new(Shape { payload, burst, rate: 30 }, &[address]).unwrap().batch
        };
        assert_eq!((batch(160, 1), batch(1100, 5), batch(1100, 10)), (64, 22, 11));
    }
}
