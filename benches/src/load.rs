//! The media loop: all peers on one thread, on real sockets.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::peer::{Peer, PeerParams};
use crate::reception::Counts;

/// Timers are looked at this often; frames leave when they are due.
const TICK: Duration = Duration::from_millis(5);
/// Events per wait.
const EVENTS: usize = 256;

/// See the module.
pub(crate) struct Load {
    epoll: Epoll,
    pub(crate) peers: Vec<Peer>,
    tick_due: Instant,
}

impl Load {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, peers: Vec::new(), tick_due: Instant::now() })
    }

    /// Begins to connect one more peer.
    pub(crate) fn add(&mut self, params: PeerParams) -> anyhow::Result<()> {
        let peer = Peer::new(Instant::now(), params)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.peers.len() as u64);
        self.epoll.add(&peer.socket, event)?;
        self.peers.push(peer);
        Ok(())
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
                repairs: sum.repairs + one.repairs,
                corrupt: sum.corrupt + one.corrupt,
            }
        })
    }

    /// Works for so long.
    pub(crate) fn run_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits for packets at most until something is due, and does what there is to do.
    pub(crate) fn turn(&mut self) -> anyhow::Result<()> {
        let mut now = Instant::now();
        let due = self.peers.iter_mut().filter_map(|peer| peer.send_due(now)).min();
        if now >= self.tick_due {
            self.tick_due = now + TICK;
            for (index, peer) in self.peers.iter_mut().enumerate() {
                peer.handle_timeout(now).with_context(|| format!("peer {index}"))?;
            }
        }
        now = Instant::now();
        let until = due.unwrap_or(self.tick_due).min(self.tick_due);
        // epoll counts milliseconds: a frame may be up to one late, which its stamp knows.
        let wait = until.saturating_duration_since(now).as_micros().div_ceil(1000) as u16;
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, EpollTimeout::from(wait)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => bail!("epoll: {error}"),
        };
        let now = Instant::now();
        for event in &events[..count] {
            let index = event.data() as usize;
            self.peers[index].handle_readable(now).with_context(|| format!("peer {index}"))?;
        }
        Ok(())
    }
}
