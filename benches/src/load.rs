//! The media loop: all peers on one thread, on real sockets.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::peer::{Peer, PeerParams};
use crate::reception::Counts;
use crate::repair::RepairCounts;
use crate::socket::Receiver;
use crate::stats::Stats;

/// Timers are looked at this often, and sockets when media flows; packets leave when they are due.
const TICK: Duration = Duration::from_millis(1);
/// Sockets per wait.
const EVENTS: usize = 256;

/// See the module.
pub(crate) struct Load {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    receiver: Receiver,
    pub(crate) peers: Vec<Peer>,
    /// Of each peer, when its timers are due; apart, so that looking at all costs little.
    timeouts: Vec<Instant>,
    publishers: Vec<usize>,
    /// When the next packet of a publisher is due.
    send_due: Option<Instant>,
    tick_due: Instant,
    pub(crate) stats: Stats,
}

impl Load {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); EVENTS],
            receiver: Receiver::new(),
            peers: Vec::new(),
            timeouts: Vec::new(),
            publishers: Vec::new(),
            send_due: None,
            tick_due: Instant::now(),
            stats: Stats::new()?,
        })
    }

    /// Begins to connect one more peer.
    pub(crate) fn add(&mut self, params: PeerParams) -> anyhow::Result<()> {
        let now = Instant::now();
        let peer = Peer::new(now, params)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.peers.len() as u64);
        self.epoll.add(&peer.socket, event)?;
        if peer.is_publisher() {
            self.publishers.push(self.peers.len());
        }
        self.peers.push(peer);
        self.timeouts.push(now);
        Ok(())
    }

    /// Holds the media of all peers.
    pub(crate) fn pause_media(&mut self) {
        self.peers.iter_mut().for_each(Peer::pause);
    }

    /// Lets the media of all peers flow that waits to be told.
    pub(crate) fn start_media(&mut self) {
        let now = Instant::now();
        self.peers.iter_mut().for_each(|peer| peer.start_at(now));
        self.send_due = Some(now);
    }

    /// Peers whose media can flow.
    pub(crate) fn connected(&self) -> usize {
        self.peers.iter().filter(|peer| peer.is_connected()).count()
    }

    /// The sum over all peers.
    pub(crate) fn counts(&self) -> Counts {
        self.peers.iter().map(|peer| peer.reception.counts()).fold(Counts::default(), |sum, one| {
            Counts {
                received: sum.received + one.received,
                expected: sum.expected + one.expected,
                resent: sum.resent + one.resent,
                corrupt: sum.corrupt + one.corrupt,
                compared: sum.compared + one.compared,
            }
        })
    }

    /// The sum over all peers that repair.
    pub(crate) fn repair_counts(&self) -> RepairCounts {
        let all = self.peers.iter().filter_map(|peer| peer.reception.repair.as_ref());
        all.map(|repair| repair.counts).fold(RepairCounts::default(), |sum, one| RepairCounts {
            dropped: sum.dropped + one.dropped,
            missed: sum.missed + one.missed,
            repaired: sum.repaired + one.repaired,
            asked: sum.asked + one.asked,
        })
    }

    /// Works for so long. Between two ticks nobody waits in the kernel: a receiver on this machine that had to be woken for every
    /// message would be woken at the sender's cost, and on a network it is not. The kernel stamps arrivals meanwhile.
    pub(crate) fn run_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Sleeps until something is due, at most a tick, and does what there is to do.
    pub(crate) fn turn(&mut self) -> anyhow::Result<()> {
        let due = self.send_due.map_or(self.tick_due, |due| due.min(self.tick_due));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        self.send(now);
        if now >= self.tick_due {
            self.tick_due = now + TICK;
            self.handle_timeouts(now)?;
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self, now: Instant) {
        if self.send_due.is_some_and(|due| due > now) {
            return;
        }
        let Self { peers, publishers, stats, .. } = self;
        self.send_due =
            publishers.iter().filter_map(|index| peers[*index].send_due(now, stats)).min();
    }

    fn handle_timeouts(&mut self, now: Instant) -> anyhow::Result<()> {
        for (index, (peer, due)) in self.peers.iter_mut().zip(&mut self.timeouts).enumerate() {
            if *due <= now {
                peer.handle_timeout(now).with_context(|| format!("peer {index}"))?;
                *due = peer.next_timeout();
            }
        }
        // One who waits to publish may be connected by now.
        if self.send_due.is_none() && !self.publishers.is_empty() {
            self.send_due = Some(now);
        }
        Ok(())
    }

    /// Reads until no socket has anything left. Publishers do not wait for that.
    fn receive(&mut self) -> anyhow::Result<()> {
        loop {
            let count = match self.epoll.wait(&mut self.events, EpollTimeout::ZERO) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => bail!("epoll: {error}"),
            };
            for event in 0..count {
                let index = self.events[event].data() as usize;
                let now = Instant::now();
                self.send(now);
                let Self { peers, receiver, stats, .. } = self;
                let peer = &mut peers[index];
                let changed = peer.handle_readable(now, receiver, stats);
                if changed.with_context(|| format!("peer {index}"))? {
                    self.timeouts[index] = self.peers[index].next_timeout();
                }
            }
            // More than all: what came meanwhile has time until the next tick.
            if count < EVENTS {
                return Ok(());
            }
        }
    }
}
