//! One TCP connection of a peer: frames in, and a bounded queue of frames out.

use sfu_core::egress::Tuple;
use sfu_core::framing::{self, Deframer};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A participant proves to be one by its first check, which is sent at once.
const PROVES_WITHIN: Duration = Duration::from_secs(5);
/// Some checks and the beginning of a handshake.
const UNPROVED_BYTES_MAX: usize = 16 * 1024;
/// A window that stays shut for so long is not a slow network.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Twice as long as any peer lets a pair go without a check that would be answered.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// Bytes that may wait for one peer, besides what the kernel has.
pub(super) const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// Written bytes at the front of the queue before they are moved away.
const COMPACT_BYTES: usize = 64 * 1024;

/// What waits to be written: whole frames, but for the first, of which a part may have left.
#[derive(Debug, Default)]
pub(super) struct Queue {
    bytes: Vec<u8>,
    /// Where the first frame begins …
    frame: usize,
    /// … and how far it has left.
    head: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Appends one datagram. What has waited makes room for it when there is none: a peer that does not keep up goes on with what is new, and
    /// asks for what it misses. Returns how many datagrams were dropped.
    pub(super) fn push(&mut self, datagram: &[u8]) -> u64 {
        let full = self.len() + framing::HEADER + datagram.len() > QUEUE_BYTES_MAX;
        let dropped = if full { self.drop_waiting() } else { 0 };
        framing::frame(&mut self.bytes, datagram);
        dropped
    }

    /// Drops every frame of which nothing has left.
    fn drop_waiting(&mut self) -> u64 {
        let keep = if self.head == self.frame { self.head } else { self.end_of(self.frame) };
        let (mut at, mut dropped) = (keep, 0);
        while at < self.bytes.len() {
            at = self.end_of(at);
            dropped += 1;
        }
        self.bytes.truncate(keep);
        dropped
    }

    fn end_of(&self, frame: usize) -> usize {
        let length = self.bytes.get(frame..).and_then(<[u8]>::first_chunk).copied();
        frame + framing::HEADER + usize::from(u16::from_be_bytes(length.unwrap_or_default()))
    }

    /// Writes until the kernel takes no more. Returns how much it took.
    fn write(&mut self, mut to: impl Write) -> io::Result<usize> {
        let before = self.head;
        while let Some(rest) = self.bytes.get(self.head..).filter(|rest| !rest.is_empty()) {
            match to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.head += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let written = self.head - before;
        self.tidy();
        Ok(written)
    }

    fn tidy(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            (self.frame, self.head) = (0, 0);
            return;
        }
        while self.end_of(self.frame) <= self.head {
            self.frame = self.end_of(self.frame);
        }
        if self.frame > COMPACT_BYTES {
            self.bytes.drain(..self.frame);
            self.head -= self.frame;
            self.frame = 0;
        }
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The peer closed it, or the network did.
    ByPeer,
    /// Nobody proved to be a participant in time, or within what may be said before.
    Unproved,
    /// No frames.
    Malformed,
    /// The peer took nothing of what waited for it.
    Stalled,
    /// Nothing was said to the peer for long.
    Idle,
    /// There were too many.
    Refused,
}

impl Closed {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Self; 6] =
        [Self::ByPeer, Self::Unproved, Self::Malformed, Self::Stalled, Self::Idle, Self::Refused];

    /// A stable name.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ByPeer => "by_peer",
            Self::Unproved => "unproved",
            Self::Malformed => "malformed",
            Self::Stalled => "stalled",
            Self::Idle => "idle",
            Self::Refused => "refused",
        }
    }
}

/// Something that is held as long as the connection is open.
pub(crate) type Permit = Box<dyn std::any::Any + Send>;

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) tuple: Tuple,
    pub(super) deframer: Deframer,
    pub(super) queue: Queue,
    /// The kernel takes no more: it is to say when it does.
    pub(super) blocked: bool,
    opened: Instant,
    /// When something was last said. The engine says nothing to whom has proved nothing: `None` is such a peer.
    said: Option<Instant>,
    /// When the peer last took something, or had taken everything.
    taken: Instant,
    /// What was read before anything was said.
    unproved_bytes: usize,
    _permit: Permit,
}

impl Connection {
    pub(super) fn new(now: Instant, stream: TcpStream, tuple: Tuple, permit: Permit) -> Self {
        Self {
            stream,
            tuple,
            deframer: Deframer::default(),
            queue: Queue::default(),
            blocked: false,
            opened: now,
            said: None,
            taken: now,
            unproved_bytes: 0,
            _permit: permit,
        }
    }

    /// Reads once. `None`: there is nothing.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<Option<usize>, Closed> {
        match (&self.stream).read(into) {
            Ok(0) => Err(Closed::ByPeer),
            Ok(count) => self.book(count).map(|()| Some(count)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(Closed::ByPeer),
            },
        }
    }

    /// What was read, here or before the connection came here.
    pub(super) fn book(&mut self, count: usize) -> Result<(), Closed> {
        if self.said.is_none() {
            self.unproved_bytes += count;
            if self.unproved_bytes > UNPROVED_BYTES_MAX {
                return Err(Closed::Unproved);
            }
        }
        Ok(())
    }

    /// Queues one datagram. Returns how many others were dropped for it.
    pub(super) fn say(&mut self, now: Instant, datagram: &[u8]) -> u64 {
        self.said = Some(now);
        if self.queue.is_empty() {
            self.taken = now;
        }
        self.queue.push(datagram)
    }

    /// Writes what the kernel takes of the queue.
    pub(super) fn write(&mut self, now: Instant) -> Result<(), Closed> {
        let written = self.queue.write(&self.stream).map_err(|_| Closed::ByPeer)?;
        if written > 0 {
            self.taken = now;
        }
        Ok(())
    }

    /// Whether it has to be closed because of what did not happen.
    pub(super) fn overdue(&self, now: Instant) -> Option<Closed> {
        let since = |at| now.saturating_duration_since(at);
        match self.said {
            None if since(self.opened) >= PROVES_WITHIN => Some(Closed::Unproved),
            Some(_) if !self.queue.is_empty() && since(self.taken) >= STALLED_AFTER => {
                Some(Closed::Stalled)
            }
            Some(at) if since(at) >= IDLE_AFTER => Some(Closed::Idle),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Takes so many bytes, and no more.
    struct Window<'a> {
        room: Cell<usize>,
        got: &'a mut Vec<u8>,
    }

    impl Write for Window<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room.get()).min(1000);
            self.room.set(self.room.get() - count);
            self.got.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn datagrams(mut stream: Vec<u8>) -> Vec<u32> {
        let mut numbers = Vec::new();
        let number = |datagram: &mut [u8]| {
            numbers.push(u32::from_be_bytes(*datagram.first_chunk().unwrap()));
        };
        Deframer::default().push(&mut stream, number).unwrap();
        numbers
    }

    fn datagram(number: u32) -> Vec<u8> {
        let mut bytes = vec![7; 1200];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        bytes
    }

    #[test]
    fn row_24_a_queue_is_bounded_and_whoever_reads_again_gets_whole_frames_of_now() {
        let (mut queue, mut got, mut dropped) = (Queue::default(), Vec::new(), 0);
        // The first frame leaves in part, then nothing moves.
        queue.push(&datagram(0));
        let room = Cell::new(700);
        assert_eq!(queue.write(Window { room, got: &mut got }).unwrap(), 700);
        for number in 1..10_000 {
            dropped += queue.push(&datagram(number));
            assert!(queue.len() <= QUEUE_BYTES_MAX);
            assert!(queue.bytes.capacity() <= 2 * QUEUE_BYTES_MAX + COMPACT_BYTES);
        }
        let room = Cell::new(usize::MAX);
        queue.write(Window { room, got: &mut got }).unwrap();
        assert!(queue.is_empty() && queue.bytes.is_empty());
        let numbers = datagrams(got);
        assert_eq!((numbers[0], *numbers.last().unwrap()), (0, 9999));
        assert!(numbers[1..].windows(2).all(|pair| pair[0] + 1 == pair[1]), "one gap only");
        assert_eq!(dropped as usize + numbers.len(), 10_000);
    }

    #[test]
    fn a_peer_that_takes_little_at_a_time_gets_everything_in_order() {
        let (mut queue, mut got) = (Queue::default(), Vec::new());
        for number in 0..1000 {
            assert_eq!(queue.push(&datagram(number)), 0);
            let room = Cell::new(1190 + number as usize % 30);
            queue.write(Window { room, got: &mut got }).unwrap();
        }
        queue.write(Window { room: Cell::new(usize::MAX), got: &mut got }).unwrap();
        assert_eq!(datagrams(got), (0..1000).collect::<Vec<_>>());
    }
}
