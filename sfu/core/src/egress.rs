//! The worker's one egress arena: datagrams are built and encrypted where they are sent from.
//!
//! Consecutive datagrams to one tuple of equal size (the last may be shorter) become one message, which the socket sends with
//! UDP GSO. Every 64 messages or 128 KiB the arena is handed to [`Transmit`] and reused.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What carries the datagrams of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Each is one of UDP.
    Udp,
    /// They are framed in a connection that the peer opened (RFC 6544, RFC 4571).
    Tcp,
}

/// One path: the local address a datagram came in on (echoed as source) and the peer. The local port is the worker's, over TCP that of all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// What carries it.
    pub protocol: Protocol,
    /// Local address (never v4-mapped v6).
    pub local: IpAddr,
    /// Peer (never v4-mapped v6).
    pub remote: SocketAddr,
}

impl Tuple {
    /// A path over UDP.
    #[must_use]
    pub const fn udp(local: IpAddr, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Udp, local, remote }
    }

    /// A path over TCP.
    #[must_use]
    pub const fn tcp(local: IpAddr, remote: SocketAddr) -> Self {
        Self { protocol: Protocol::Tcp, local, remote }
    }
}

/// One received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The path it came over.
    pub tuple: Tuple,
    /// When the kernel had it: at or before the time of the turn that takes it. What is measured (jitter, transport-wide feedback, round trips)
    /// is measured from here, so that a worker that was kept waiting does not look like a queue in the network.
    pub arrival: Instant,
    /// Its payload; decrypted in place.
    pub bytes: &'a mut [u8],
}

/// A run of datagrams to one tuple inside the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub tuple: Tuple,
    /// First byte in the arena.
    pub start: usize,
    /// All bytes of the run.
    pub len: usize,
    /// Size of every datagram but the last, which may be shorter.
    pub segment: usize,
}

impl Message {
    /// Datagrams in this run.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment)
    }
}

/// Where a full arena goes.
pub trait Transmit {
    /// Sends all messages now. Must not block: what the kernel does not take is dropped and counted.
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]);
}

/// Arena capacity in bytes: small enough that what was written is still in the second-level cache when the kernel copies it.
pub const ARENA_BYTES: usize = 128 * 1024;
/// Messages before the arena leaves.
pub const ARENA_MESSAGES: usize = 64;
/// The largest datagram that may be reserved; larger RTP never leaves us (a path MTU of 1500).
pub const DATAGRAM_MAX: usize = 1500;
/// Largest run in bytes: below the 65 507 of one UDP message, and what one flush to one subscriber may be.
const RUN_BYTES_MAX: usize = 32 * 1024;
/// Linux refuses more than 64 segments on older kernels.
const RUN_SEGMENTS_MAX: usize = 64;

/// The arena.
#[derive(Debug)]
pub struct Arena {
    bytes: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    /// A shorter datagram ended the last run.
    closed: bool,
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            bytes: vec![0; ARENA_BYTES].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(ARENA_MESSAGES),
            closed: true,
        }
    }
}

/// The arena with its way out, for the length of one engine call.
pub struct Egress<'a> {
    arena: &'a mut Arena,
    sink: &'a mut dyn Transmit,
}

impl std::fmt::Debug for Egress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("arena", &self.arena).finish_non_exhaustive()
    }
}

impl<'a> Egress<'a> {
    /// Pairs an arena with a sink.
    pub fn new(arena: &'a mut Arena, sink: &'a mut dyn Transmit) -> Self {
        Self { arena, sink }
    }

    /// `DATAGRAM_MAX` writable bytes for the next datagram. Nothing is sent before [`Egress::commit`].
    pub fn reserve(&mut self) -> &mut [u8] {
        if self.arena.used + DATAGRAM_MAX > self.arena.bytes.len() {
            self.flush();
        }
        let start = self.arena.used;
        &mut self.arena.bytes[start..start + DATAGRAM_MAX]
    }

    /// Sends the first `len` bytes of the last reservation to `tuple` with the next flush.
    pub fn commit(&mut self, tuple: &Tuple, len: usize) {
        debug_assert!(len > 0 && len <= DATAGRAM_MAX);
        let arena = &mut *self.arena;
        let start = arena.used;
        arena.used += len;
        if let Some(last) = arena.messages.last_mut()
            && !arena.closed
            && last.tuple == *tuple
            && len <= last.segment
            && last.len + len <= RUN_BYTES_MAX
            && last.len / last.segment < RUN_SEGMENTS_MAX
        {
            last.len += len;
            arena.closed = len < last.segment;
            return;
        }
        if arena.messages.len() == ARENA_MESSAGES {
            // The reservation must survive the flush: send what lies before it, then move it to the front.
            self.sink.transmit(&arena.messages, &arena.bytes[..start]);
            arena.messages.clear();
            arena.bytes.copy_within(start..start + len, 0);
            arena.used = len;
        }
        let start = arena.used - len;
        arena.messages.push(Message { tuple: *tuple, start, len, segment: len });
        arena.closed = false;
    }

    /// Copies one finished datagram in. Datagrams above `DATAGRAM_MAX` are a bug and are cut off in release.
    pub fn send(&mut self, tuple: &Tuple, datagram: &[u8]) {
        debug_assert!(datagram.len() <= DATAGRAM_MAX);
        let len = datagram.len().min(DATAGRAM_MAX);
        self.reserve()[..len].copy_from_slice(&datagram[..len]);
        self.commit(tuple, len);
    }

    /// Hands everything to the sink.
    pub fn flush(&mut self) {
        if !self.arena.messages.is_empty() {
            self.sink.transmit(&self.arena.messages, &self.arena.bytes[..self.arena.used]);
            self.arena.messages.clear();
        }
        self.arena.used = 0;
        self.arena.closed = true;
    }
}
