//! The media loop: all peers on one thread, on real sockets.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::peer::{Peer, PeerParams};
use crate::reception::Counts;

/// Timers are looked at this often, and sockets when media flows; frames leave when they are due.
const TICK: Duration = Duration::from_millis(1);
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

    /// Works for so long. Between two ticks nobody waits in the kernel: a receiver on this machine that had to be woken for every
    /// message would be woken at the sender's cost, and on a network it is not. The kernel stamps arrivals meanwhile.
    pub(crate) fn run_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let due = self.work()?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.receive(EpollTimeout::ZERO)?;
        }
        Ok(())
    }

    /// Waits for packets at most until something is due, and does what there is to do.
    pub(crate) fn turn(&mut self) -> anyhow::Result<()> {
        self.work()?;
        self.receive(EpollTimeout::from(1u8))
    }

    /// Does what is due, and says when there will be something again.
    fn work(&mut self) -> anyhow::Result<Instant> {
        let now = Instant::now();
        let due = self.peers.iter_mut().filter_map(|peer| peer.send_due(now)).min();
        if now >= self.tick_due {
            self.tick_due = now + TICK;
            for (index, peer) in self.peers.iter_mut().enumerate() {
                peer.handle_timeout(now).with_context(|| format!("peer {index}"))?;
            }
        }
        Ok(due.map_or(self.tick_due, |due| due.min(self.tick_due)))
    }

    fn receive(&mut self, wait: EpollTimeout) -> anyhow::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.epoll.wait(&mut events, wait) {
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
