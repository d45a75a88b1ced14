//! The worker's UDP socket: one wildcard socket for both address families, batches in and out, segmentation offload both ways.
//!
//! Every datagram is received with the local address it was sent to, and leaves from the local address its message names, so that a host
//! with many addresses answers from the right one. All of the crate's `unsafe` lives in the modules below: system calls on buffers
//! that outlive the call. Never blocks, and never queues in user space: what the kernel does not take is dropped and counted.

mod address;
mod control;
mod epoll;
mod receive;
mod send;
mod steer;
mod thread;
mod wait;

pub(crate) use epoll::{Epoll, Interest, Ready, prepare};
pub use receive::RecvBatch;
pub(crate) use thread::pin_current_thread;
pub(crate) use wait::{Readable, Waiter, Waker};

use crate::metrics::Sizes;
use address::Family;
use send::{Offload, SendBuffers};
use sfu_core::egress::{Message, Transmit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Once;

/// Asked of the kernel for each direction: 50 ms of 670 Mbit/s.
const BUFFER_BYTES: libc::c_int = 4 * 1024 * 1024;

/// What a socket did since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStats {
    /// `recvmmsg` calls.
    pub receive_calls: u64,
    /// Datagrams received, after splitting what GRO had joined.
    pub received: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full (`SO_RXQ_OVFL`).
    pub receive_overflow: u64,
    /// `sendmmsg` calls.
    pub send_calls: u64,
    /// Messages sent; one may be many datagrams.
    pub sent_messages: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
    /// Datagrams dropped because the kernel had no room (`EAGAIN`, `ENOBUFS`).
    pub dropped_full: u64,
    /// Datagrams dropped for any other error: no route, source address gone, forbidden by a filter.
    pub dropped_failed: u64,
    /// Messages that the kernel refused to segment and that were sent datagram by datagram.
    pub unsegmented: u64,
    /// Datagrams of each receive call that brought any.
    pub received_per_call: Sizes,
    /// Datagrams of each message sent.
    pub run_lengths: Sizes,
    /// Messages of each send call that took any.
    pub sent_per_call: Sizes,
}

/// The second socket on the same port: see [`steer`].
#[derive(Debug)]
struct Reports {
    socket: std::net::UdpSocket,
    /// Last value of its overflow counter.
    overflow: u32,
}

/// The socket of one worker.
#[derive(Debug)]
pub struct UdpSocket {
    socket: std::net::UdpSocket,
    /// Reports that need no prompt answer come in here, where the kernel can sort them out.
    reports: Option<Reports>,
    family: Family,
    port: u16,
    stats: SocketStats,
    buffers: SendBuffers,
    offload: Offload,
    /// Last value of the kernel's 32-bit overflow counter.
    overflow: u32,
}

impl UdpSocket {
    /// Binds the wildcard address of both families, or of IPv4 alone where there is no IPv6. Port 0 means any.
    ///
    /// # Errors
    /// As `bind(2)`: most often the port is taken.
    pub fn bind(port: u16) -> io::Result<Self> {
        Self::bind_family(Family::Dual, port).or_else(|error| match error.raw_os_error() {
            // No IPv6 in the kernel, or switched off by sysctl.
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => Self::bind_family(Family::V4, port),
            _ => Err(error),
        })
    }

    fn bind_family(family: Family, port: u16) -> io::Result<Self> {
        let socket = open(family)?;
        // Not in a group yet: a port that anybody has, another Switchyard included, is refused here.
        bind(&socket, family, port)?;
        let port = socket.local_addr()?.port();
        let reports = match second(&socket, family, port) {
            Ok(socket) => Some(Reports { socket, overflow: 0 }),
            Err(error) => {
                tracing::debug!("reports share the socket of media: {error}");
                None
            }
        };
        Ok(Self {
            socket,
            reports,
            family,
            port,
            stats: SocketStats::default(),
            buffers: SendBuffers::default(),
            offload: Offload::default(),
            overflow: 0,
        })
    }

    /// The bound port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Can it speak IPv6?
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.family == Family::Dual
    }

    /// Counters since the socket was bound.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.stats
    }

    /// Replaces the batch with what is waiting. Returns how many of its slots are filled; a full batch means that there may be more.
    ///
    /// # Errors
    /// As `recvmmsg(2)`; nothing waiting is `Ok(0)`.
    pub fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        let slots = fill(&self.socket, batch)?;
        self.count_received(batch);
        if let Some(overflow) = batch.overflow() {
            self.stats.receive_overflow += u64::from(overflow.wrapping_sub(self.overflow));
            self.overflow = overflow;
        }
        Ok(slots)
    }

    /// The same for reports that nobody waits for. Where the kernel cannot sort them out they are among the others, and none is here.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_batch`].
    pub fn recv_reports(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        let Some(reports) = &mut self.reports else {
            batch.clear();
            return Ok(0);
        };
        let slots = fill(&reports.socket, batch)?;
        if let Some(overflow) = batch.overflow() {
            self.stats.receive_overflow += u64::from(overflow.wrapping_sub(reports.overflow));
            reports.overflow = overflow;
        }
        self.count_received(batch);
        Ok(slots)
    }

    /// Throws away what waits, up to a full receive buffer.
    pub(crate) fn discard(&mut self, batch: &mut RecvBatch) {
        for _ in 0..BUFFER_BYTES as usize / RecvBatch::SLOTS {
            let media = self.recv_batch(batch).unwrap_or(0);
            let reports = self.recv_reports(batch).unwrap_or(0);
            if media < RecvBatch::SLOTS && reports < RecvBatch::SLOTS {
                break;
            }
        }
        batch.clear();
    }

    fn count_received(&mut self, batch: &RecvBatch) {
        let (datagrams, bytes) = batch.totals();
        self.stats.receive_calls += 1;
        self.stats.received += datagrams;
        self.stats.received_bytes += bytes;
        if datagrams > 0 {
            self.stats.received_per_call.record(datagrams as usize);
        }
    }

    /// The descriptor of the reports, if they have one.
    pub(crate) fn reports_fd(&self) -> Option<BorrowedFd<'_>> {
        self.reports.as_ref().map(|reports| reports.socket.as_fd())
    }
}

/// One `recvmmsg`.
fn fill(socket: &std::net::UdpSocket, batch: &mut RecvBatch) -> io::Result<usize> {
    match batch.receive(socket.as_raw_fd()) {
        Ok(slots) => Ok(slots),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
        {
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

/// A socket with every option but an address.
fn open(family: Family) -> io::Result<std::net::UdpSocket> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the result is checked before it is owned.
    let fd = unsafe { libc::socket(family.domain(), kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    match family {
        Family::Dual => {
            set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
            set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        Family::V4 => set_option(fd.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
    }
    // Both are gains, not needs: kernels before 5.0 have no GRO for UDP.
    let _ = set_option(fd.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
    let _ = set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    enlarge(fd.as_fd(), libc::SO_RCVBUF)?;
    enlarge(fd.as_fd(), libc::SO_SNDBUF)?;
    Ok(std::net::UdpSocket::from(fd))
}

/// Binds the wildcard address.
fn bind(socket: &std::net::UdpSocket, family: Family, port: u16) -> io::Result<()> {
    let (address, len) = family.wildcard(port);
    // SAFETY: `address` holds `len` initialised bytes of the family's sockaddr.
    let result = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A second socket on the port of `first`, for the datagrams that [`steer`] sends there.
fn second(
    first: &std::net::UdpSocket,
    family: Family,
    port: u16,
) -> io::Result<std::net::UdpSocket> {
    let socket = open(family)?;
    set_option(first.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    let joined = bind(&socket, family, port).and_then(|()| steer::attach(first.as_fd()));
    if joined.is_err() {
        // Alone again: nobody else may join.
        set_option(first.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 0)?;
    }
    joined.map(|()| socket)
}

impl Transmit for UdpSocket {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        self.send_batch(messages, bytes);
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sets an `int` option.
fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` is a live `int` and `len` its size.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks for a big buffer and says once how to allow it when the kernel gives less.
fn enlarge(fd: BorrowedFd<'_>, name: libc::c_int) -> io::Result<()> {
    static WARNED: Once = Once::new();
    set_option(fd, libc::SOL_SOCKET, name, BUFFER_BYTES)?;
    let mut given: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `given` is a live `int`, `len` its size.
    let result = unsafe {
        let value = (&raw mut given).cast();
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value, &raw mut len)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // The kernel doubles what was asked, for its own bookkeeping (socket(7)).
    let given = given / 2;
    if given < BUFFER_BYTES {
        WARNED.call_once(|| {
            tracing::warn!(
                "UDP socket buffers are {given} bytes instead of {BUFFER_BYTES}; under load media will be lost. \
                 To allow more: sysctl -w net.core.rmem_max={BUFFER_BYTES} net.core.wmem_max={BUFFER_BYTES}"
            );
        });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::egress::Tuple;
    use std::net::{IpAddr, SocketAddr};
    use std::time::{Duration, Instant};

    const DEADLINE: Duration = Duration::from_secs(5);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn path(from: &str, to: &str, port: u16) -> Tuple {
        Tuple::udp(ip(from), SocketAddr::new(ip(to), port))
    }

    /// Messages of numbered datagrams, and the arena they lie in.
    #[derive(Default)]
    struct Load {
        messages: Vec<Message>,
        bytes: Vec<u8>,
        count: u32,
    }

    impl Load {
        /// `count` datagrams of `segment` bytes, then one of `last`.
        fn add(&mut self, tuple: Tuple, count: usize, segment: usize, last: usize) -> &mut Self {
            let start = self.bytes.len();
            for len in std::iter::repeat_n(segment, count).chain((last > 0).then_some(last)) {
                let at = self.bytes.len();
                self.bytes.resize(at + len, 0xA5);
                self.bytes[at..at + 4].copy_from_slice(&self.count.to_be_bytes());
                self.count += 1;
            }
            self.messages.push(Message { tuple, start, len: self.bytes.len() - start, segment });
            self
        }

        fn send(&self, socket: &mut UdpSocket) {
            socket.send_batch(&self.messages, &self.bytes);
        }
    }

    /// Waits for `count` datagrams. Returns them with their tuples, and the number of receives that they came in.
    fn receive(socket: &mut UdpSocket, count: usize) -> (Vec<(Tuple, Vec<u8>)>, usize) {
        let waiter = Waiter::new().unwrap();
        let mut batch = RecvBatch::default();
        let mut datagrams = Vec::new();
        let mut slots = 0;
        let start = Instant::now();
        while datagrams.len() < count {
            let left = DEADLINE.checked_sub(start.elapsed()).expect("all datagrams in time");
            waiter.wait(socket.as_fd(), socket.reports_fd(), None, Some(left)).unwrap();
            slots += socket.recv_batch(&mut batch).unwrap();
            datagrams.extend(
                batch.datagrams().map(|datagram| (datagram.tuple, datagram.bytes.to_vec())),
            );
        }
        (datagrams, slots)
    }

    fn numbers(datagrams: &[(Tuple, Vec<u8>)]) -> Vec<u32> {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
        datagrams.iter().map(|(_, bytes)| number(bytes)).collect()
    }

    fn round_trip(family: Family, from: &str, to: &str) {
        let mut sender = UdpSocket::bind_family(family, 0).unwrap();
        let mut receiver = UdpSocket::bind_family(family, 0).unwrap();
        let mut load = Load::default();
        load.add(path(from, to, receiver.port()), 8, 1200, 700)
            .add(path(from, to, receiver.port()), 1, 160, 0)
            .add(path(from, to, receiver.port()), 2, 1100, 0)
            .send(&mut sender);
        let (datagrams, slots) = receive(&mut receiver, 12);
        assert_eq!(numbers(&datagrams), (0..12).collect::<Vec<_>>());
        let lens: Vec<usize> = datagrams.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lens[..8], [1200; 8]);
        assert_eq!(lens[8..], [700, 160, 1100, 1100]);
        for (tuple, _) in &datagrams {
            assert_eq!(*tuple, path(to, from, sender.port()));
        }
        assert_eq!(slots, 3, "GSO and GRO carry a run through loopback in one piece");
        let stats = sender.stats();
        assert_eq!((stats.send_calls, stats.sent_messages, stats.sent), (1, 3, 12));
        assert_eq!((stats.unsegmented, stats.dropped_full, stats.dropped_failed), (0, 0, 0));
        assert_eq!(receiver.stats().received, 12);
        assert_eq!(receiver.stats().received_bytes, stats.sent_bytes);
    }

    #[test]
    fn runs_go_through_loopback_over_ipv4() {
        round_trip(Family::Dual, "127.0.0.1", "127.0.0.1");
        round_trip(Family::V4, "127.0.0.3", "127.0.0.4");
    }

    #[test]
    fn runs_go_through_loopback_over_ipv6() {
        round_trip(Family::Dual, "::1", "::1");
    }

    #[test]
    fn arrival_is_when_the_kernel_had_it_not_when_it_was_read() {
        let mut receiver = UdpSocket::bind(0).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let waited = Duration::from_millis(30);
        let before = Instant::now();
        sender.send_to(b"early", ("127.0.0.1", receiver.port())).unwrap();
        let after = Instant::now();
        std::thread::sleep(waited);
        let mut batch = RecvBatch::default();
        assert_eq!(receiver.recv_batch(&mut batch).unwrap(), 1);
        let arrival = batch.datagrams().next().unwrap().arrival;
        // The two clocks are read one after the other.
        let slack = Duration::from_millis(5);
        assert!(arrival + slack > before && arrival < after + slack, "{:?}", arrival - before);
        assert!(arrival.elapsed() >= waited - slack);
    }

    /// An SRTCP datagram: packets of (first byte, type, words behind the header), then index and tag.
    fn rtcp(packets: &[(u8, u8, u8)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(first, kind, words) in packets {
            bytes.extend([first, kind, 0, words]);
            bytes.resize(bytes.len() + 4 * usize::from(words), 7);
        }
        bytes.resize(bytes.len() + 20, 9);
        bytes
    }

    #[test]
    fn reports_that_can_wait_come_in_apart_from_everything_else() {
        let patient = [
            rtcp(&[(0x81, 201, 7)]),
            rtcp(&[(0x80, 201, 1)]),
            rtcp(&[(0x8f, 205, 5)]),
            rtcp(&[(0xaf, 205, 250)]),
        ];
        let prompt = [
            rtcp(&[(0x81, 205, 3)]),
            rtcp(&[(0x81, 206, 2)]),
            rtcp(&[(0x80, 200, 6)]),
            rtcp(&[(0x81, 201, 7), (0x81, 205, 3)]),
            rtcp(&[(0x8f, 205, 5), (0x81, 205, 3)]),
            vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1],
            vec![0, 201, 0, 0],
            vec![22, 205],
            vec![0x81],
        ];
        let mut receiver = UdpSocket::bind(0).unwrap();
        let mut batch = RecvBatch::default();
        for ip in ["127.0.0.1", "::1"] {
            let sender = std::net::UdpSocket::bind((ip, 0)).unwrap();
            let mut send = |all: &[Vec<u8>], from_reports: bool| {
                for datagram in all {
                    sender.send_to(datagram, (ip, receiver.port())).unwrap();
                    let (here, there) = (
                        receiver.recv_reports(&mut batch).unwrap(),
                        receiver.recv_batch(&mut batch).unwrap(),
                    );
                    let expected = if from_reports { (1, 0) } else { (0, 1) };
                    assert_eq!((here, there), expected, "{datagram:02x?}");
                }
            };
            send(&patient, true);
            send(&prompt, false);
        }
    }

    #[test]
    fn the_answer_leaves_from_the_address_that_was_asked() {
        for (family, asked) in
            [(Family::Dual, "127.0.0.5"), (Family::Dual, "::1"), (Family::V4, "127.0.0.6")]
        {
            let mut socket = UdpSocket::bind_family(family, 0).unwrap();
            let any = if asked == "::1" { "[::]:0" } else { "0.0.0.0:0" };
            let peer = std::net::UdpSocket::bind(any).unwrap();
            peer.set_read_timeout(Some(DEADLINE)).unwrap();
            // Connected: takes datagrams from this address only.
            peer.connect((ip(asked), socket.port())).unwrap();
            peer.send(b"asks").unwrap();
            let (datagrams, _) = receive(&mut socket, 1);
            let (tuple, bytes) = &datagrams[0];
            assert_eq!((tuple.local, &bytes[..]), (ip(asked), &b"asks"[..]));
            assert_eq!(tuple.remote, peer.local_addr().unwrap());
            Load::default().add(*tuple, 1, 20, 0).send(&mut socket);
            assert_eq!(peer.recv(&mut [0; 100]).unwrap(), 20);
        }
    }

    #[test]
    fn what_the_kernel_does_not_segment_goes_datagram_by_datagram() {
        let mut sender = UdpSocket::bind(0).unwrap();
        let mut receiver = UdpSocket::bind(0).unwrap();
        let port = receiver.port();
        let to = |ip| path("127.0.0.1", ip, port);
        // More than the kernel's 128 segments: EINVAL.
        let mut load = Load::default();
        load.add(to("127.0.0.1"), 3, 100, 0).add(to("127.0.0.2"), 200, 50, 10).add(
            to("127.0.0.1"),
            3,
            100,
            0,
        );
        load.send(&mut sender);
        let (datagrams, slots) = receive(&mut receiver, 207);
        assert_eq!(numbers(&datagrams), (0..207).collect::<Vec<_>>());
        assert_eq!(slots, 203);
        let stats = sender.stats();
        assert_eq!((stats.unsegmented, stats.sent, stats.dropped_failed), (1, 207, 0));

        let mut load = Load::default();
        load.add(to("127.0.0.1"), 4, 100, 0)
            .add(to("127.0.0.2"), 4, 100, 0)
            .add(to("127.0.0.2"), 1, 90, 0)
            .add(to("127.0.0.1"), 4, 100, 0);
        load.send(&mut sender);
        let (datagrams, slots) = receive(&mut receiver, 13);
        assert_eq!(numbers(&datagrams), (0..13).collect::<Vec<_>>());
        assert_eq!(
            slots,
            1 + 4 + 1 + 1,
            "not tried again with this peer, nor given up with the other"
        );
        assert_eq!(sender.stats().unsegmented, 2);
    }

    #[test]
    fn one_bad_destination_costs_the_others_nothing() {
        let mut sender = UdpSocket::bind(0).unwrap();
        let mut receiver = UdpSocket::bind(0).unwrap();
        let good = path("127.0.0.1", "127.0.0.1", receiver.port());
        let mut load = Load::default();
        for round in 0..50 {
            // Port 0 is refused; so is a source address that is not ours.
            let bad = if round % 2 == 0 {
                path("127.0.0.1", "127.0.0.1", 0)
            } else {
                path("203.0.113.9", "127.0.0.1", receiver.port())
            };
            load.add(good, 2, 30, 0).add(bad, 2, 30, 0).add(bad, 1, 30, 0);
        }
        load.send(&mut sender);
        let (datagrams, slots) = receive(&mut receiver, 100);
        let expected: Vec<u32> = (0..250).filter(|number| number % 5 < 2).collect();
        assert_eq!(numbers(&datagrams), expected);
        assert_eq!(slots, 50, "segmentation is not given up");
        assert_eq!(sender.stats().dropped_failed, 150);
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let socket = UdpSocket::bind(0).unwrap();
        let error = UdpSocket::bind(socket.port()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
