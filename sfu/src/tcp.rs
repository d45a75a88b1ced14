//! ICE-TCP (RFC 6544, passive only): the TCP connections of one worker's peers, and the datagrams framed in them (RFC 4571).
//!
//! The engine sees datagrams with a tuple, as it does over UDP. Nothing here waits for a peer: what one does not take waits in its own bounded
//! queue, and a connection on which nothing happens that should is closed.

mod connection;

use crate::socket::{Epoll, Interest, Ready, UdpSocket, prepare};
use connection::Connection;
pub(crate) use connection::{Closed, Permit};
use sfu_core::egress::{Datagram, Message, Protocol, Transmit, Tuple};
use sfu_core::framing::FrameTooLong;
use slab::Slab;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Connections of one worker.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Connections on their way to a worker.
pub(crate) const ARRIVING_MAX: usize = 256;
/// Read from one connection in one turn, before it is the turn of others.
const READ_BYTES: usize = 64 * 1024;
/// Between two looks for connections on which nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the TCP connections of a worker did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpStats {
    /// Open now.
    pub open: usize,
    /// Taken since the start.
    pub opened: u64,
    /// Datagrams received.
    pub received: u64,
    /// Datagrams queued for sending.
    pub sent: u64,
    /// Datagrams dropped because a peer did not take what waited for it, or had gone.
    pub dropped: u64,
    closed: [u64; Closed::ALL.len()],
}

impl TcpStats {
    /// A stable name of every reason for which connections are closed, and how many were.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        Closed::ALL.into_iter().map(Closed::label).zip(self.closed)
    }
}

/// A connection whose first frame names this worker.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) stream: TcpStream,
    /// What was read of it.
    pub(crate) first: Vec<u8>,
    pub(crate) permit: Permit,
}

/// All connections of one worker.
#[derive(Debug)]
pub(crate) struct TcpConnections {
    epoll: Epoll,
    arriving: Receiver<Arriving>,
    connections: Slab<Connection>,
    by_tuple: HashMap<Tuple, usize>,
    ready: Vec<Ready>,
    /// Closed, and the engine is to know.
    gone: Vec<Tuple>,
    /// Of this turn.
    now: Instant,
    look_at: Instant,
    stats: TcpStats,
}

impl TcpConnections {
    pub(crate) fn new(arriving: Receiver<Arriving>) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            epoll: Epoll::new()?,
            arriving,
            connections: Slab::new(),
            by_tuple: HashMap::new(),
            ready: Vec::new(),
            gone: Vec::new(),
            now,
            look_at: now,
            stats: TcpStats::default(),
        })
    }

    /// Readable when a connection has something; `None`: there is none.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        (!self.connections.is_empty()).then(|| self.epoll.as_fd())
    }

    pub(crate) fn stats(&self) -> TcpStats {
        TcpStats { open: self.connections.len(), ..self.stats }
    }

    /// Paths that are no more.
    pub(crate) fn take_gone(&mut self) -> Vec<Tuple> {
        std::mem::take(&mut self.gone)
    }

    /// Begins a turn: takes one connection that has arrived. Returns its key and what was read of it before.
    pub(crate) fn arrive(&mut self, now: Instant) -> Option<(usize, Vec<u8>)> {
        self.now = now;
        loop {
            let Arriving { stream, first, permit } = self.arriving.try_recv().ok()?;
            let Ok(tuple) = tuple_of(&stream) else { continue };
            if self.connections.len() >= CONNECTIONS_MAX || prepare(&stream).is_err() {
                self.count(Closed::Refused);
                continue;
            }
            let entry = self.connections.vacant_entry();
            let key = entry.key();
            if self.epoll.add(stream.as_fd(), key).is_err() {
                self.count(Closed::Refused);
                continue;
            }
            let mut connection = Connection::new(now, stream, tuple, permit);
            // Too much at once is found with the next read.
            let _ = connection.book(first.len());
            entry.insert(connection);
            self.by_tuple.insert(tuple, key);
            self.stats.opened += 1;
            return Some((key, first));
        }
    }

    /// Finds out which connections have something, writes where that is possible again, and returns those that are to be read.
    pub(crate) fn poll(&mut self, now: Instant) -> (Vec<usize>, bool) {
        self.now = now;
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let more = self.epoll.ready(&mut ready);
        for event in ready.iter().filter(|event| event.write) {
            self.write(event.key);
        }
        let readable = ready.iter().filter(|event| event.read).map(|event| event.key).collect();
        self.ready = ready;
        (readable, more)
    }

    /// Reads once from a connection. `None`: there is nothing, or it is closed now.
    pub(crate) fn read(&mut self, key: usize, into: &mut [u8]) -> Option<usize> {
        let read = self.connections.get_mut(key)?.read(into);
        read.unwrap_or_else(|reason| {
            self.close(key, reason);
            None
        })
    }

    /// Lends the deframer of a connection, so that what it finds can be answered meanwhile.
    pub(crate) fn deframe(&mut self, key: usize) -> Option<Deframing> {
        let connection = self.connections.get_mut(key)?;
        let deframer = std::mem::take(&mut connection.deframer);
        Some(Deframing { key, tuple: connection.tuple, arrival: self.now, deframer, count: 0 })
    }

    /// Gives it back.
    pub(crate) fn deframed(&mut self, deframing: Deframing, result: Result<(), FrameTooLong>) {
        self.stats.received += deframing.count;
        match result {
            Ok(()) => {
                if let Some(connection) = self.connections.get_mut(deframing.key) {
                    connection.deframer = deframing.deframer;
                }
            }
            Err(_) => self.close(deframing.key, Closed::Malformed),
        }
    }

    /// Closes connections on which nothing happens that should, once in a while.
    pub(crate) fn look(&mut self, now: Instant) {
        if now < self.look_at || self.connections.is_empty() {
            return;
        }
        self.look_at = now + LOOK_EVERY;
        let overdue = |(key, connection): (usize, &Connection)| {
            connection.overdue(now).map(|reason| (key, reason))
        };
        let closing: Vec<_> = self.connections.iter().filter_map(overdue).collect();
        for (key, reason) in closing {
            self.close(key, reason);
        }
    }

    /// Sends one run of datagrams.
    fn send(&mut self, message: &Message, bytes: &[u8]) {
        let Some(&key) = self.by_tuple.get(&message.tuple) else {
            self.stats.dropped += message.datagrams() as u64;
            return;
        };
        let run = &bytes[message.start..message.start + message.len];
        let connection = &mut self.connections[key];
        for datagram in run.chunks(message.segment) {
            self.stats.dropped += connection.say(self.now, datagram);
            self.stats.sent += 1;
        }
        if !connection.blocked {
            self.write(key);
        }
    }

    fn write(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let written = connection.write(self.now).and_then(|()| {
            let blocked = !connection.queue.is_empty();
            if blocked == connection.blocked {
                return Ok(());
            }
            connection.blocked = blocked;
            let interest = if blocked { Interest::ReadAndWrite } else { Interest::Read };
            let fd = connection.stream.as_fd();
            self.epoll.change(fd, key, interest).map_err(|_| Closed::ByPeer)
        });
        if let Err(reason) = written {
            self.close(key, reason);
        }
    }

    fn close(&mut self, key: usize, reason: Closed) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        // The peer may have connected again from the same port before the end of this one was read.
        if self.by_tuple.get(&connection.tuple) == Some(&key) {
            self.by_tuple.remove(&connection.tuple);
            self.gone.push(connection.tuple);
        }
        self.count(reason);
        tracing::debug!(peer = %connection.tuple.remote, reason = reason.label(), "a TCP connection for media was closed");
    }

    fn count(&mut self, reason: Closed) {
        let counters = Closed::ALL.into_iter().zip(&mut self.stats.closed);
        for (_, count) in counters.filter(|(other, _)| *other == reason) {
            *count += 1;
        }
    }
}

/// A connection whose bytes are being cut.
#[derive(Debug)]
pub(crate) struct Deframing {
    key: usize,
    tuple: Tuple,
    arrival: Instant,
    deframer: sfu_core::framing::Deframer,
    count: u64,
}

impl Deframing {
    pub(crate) fn push(
        &mut self,
        bytes: &mut [u8],
        mut take: impl FnMut(Datagram<'_>),
    ) -> Result<(), FrameTooLong> {
        let (tuple, arrival, count) = (self.tuple, self.arrival, &mut self.count);
        self.deframer.push(bytes, |bytes| {
            *count += 1;
            take(Datagram { tuple, arrival, bytes });
        })
    }
}

/// Both addresses of a connection.
fn tuple_of(stream: &TcpStream) -> io::Result<Tuple> {
    let canonical = |ip: IpAddr| ip.to_canonical();
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    let remote = SocketAddr::new(canonical(remote.ip()), remote.port());
    Ok(Tuple::tcp(canonical(local.ip()), remote))
}

/// Where a worker's datagrams come from and go to.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpConnections,
}

impl Paths {
    /// A buffer for [`TcpConnections::read`].
    pub(crate) fn buffer() -> Box<[u8]> {
        vec![0; READ_BYTES].into_boxed_slice()
    }
}

impl Transmit for Paths {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        // Most workers have UDP only: one look for all of what leaves.
        if self.tcp.connections.is_empty() {
            self.udp.send_batch(messages, bytes);
            return;
        }
        let same = |a: &Message, b: &Message| a.tuple.protocol == b.tuple.protocol;
        for run in messages.chunk_by(same) {
            match run[0].tuple.protocol {
                Protocol::Udp => self.udp.send_batch(run, bytes),
                Protocol::Tcp => run.iter().for_each(|message| self.tcp.send(message, bytes)),
            }
        }
    }
}
