//! The network between the peers and the engine: a heap of datagrams under way, with seeded loss, delay, reordering and duplication.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;

/// Of the shaper for real browsers: what is simulated and what is shaped is the same.
#[path = "../../benches/src/shape/link.rs"]
mod link;
#[path = "../../benches/src/shape/tcp.rs"]
mod tcp;
pub(crate) use link::*;
pub(crate) use tcp::Tcp;

/// Arrivals at the engine fall on this raster, so that it gets batches, as a socket gives them.
const RASTER: Micros = 500;

/// One direction of one leg.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) delay: Micros,
    /// Every datagram takes up to so much longer.
    pub(crate) jitter: Micros,
    /// 0..=1.
    pub(crate) loss: f64,
    /// Share of datagrams that others overtake …
    pub(crate) reorder: f64,
    /// … because they take so much longer.
    pub(crate) reorder_delay: Micros,
    /// Share of datagrams that come twice.
    pub(crate) duplicate: f64,
}

impl Path {
    pub(crate) const CLEAN: Self = Self {
        delay: 5 * MS,
        jitter: 0,
        loss: 0.0,
        reorder: 0.0,
        reorder_delay: 0,
        duplicate: 0.0,
    };

    /// 50 ms, with reordering, duplication and this share of loss.
    pub(crate) const fn lossy(loss: f64) -> Self {
        Self {
            delay: 50 * MS,
            jitter: MS / 2,
            loss,
            reorder: 0.01,
            reorder_delay: 6 * MS,
            duplicate: 0.01,
        }
    }
}

/// Where a datagram goes. A peer is named by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum To {
    Engine,
    Peer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) to: To,
    /// Address of the peer, whichever way the datagram goes.
    pub(crate) peer: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
struct UnderWay {
    at: Micros,
    order: u64,
    delivery: Delivery,
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for UnderWay {}
impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) up: Path,
    pub(crate) down: Path,
    pub(crate) links: Vec<Link>,
    /// Which link leads to a peer, and which one from it.
    linked: HashMap<(SocketAddr, To), usize>,
    /// Addresses that nobody is at any more.
    lost: HashSet<SocketAddr>,
    rng: SmallRng,
    heap: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
}

impl Net {
    pub(crate) fn new(seed: u64, up: Path, down: Path) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self {
            up,
            down,
            links: Vec::new(),
            linked: HashMap::new(),
            lost: HashSet::new(),
            rng,
            heap: BinaryHeap::new(),
            order: 0,
        }
    }

    /// Puts a link before a peer; several may share one.
    pub(crate) fn link(&mut self, peer: SocketAddr, link: usize) {
        self.linked.insert((peer, To::Peer), link);
    }

    /// Puts a link on the way from a peer.
    pub(crate) fn link_up(&mut self, peer: SocketAddr, link: usize) {
        self.linked.insert((peer, To::Engine), link);
    }

    /// Nobody is at that address any more.
    pub(crate) fn lose(&mut self, peer: SocketAddr) {
        self.lost.insert(peer);
    }

    /// Somebody is there again.
    pub(crate) fn find(&mut self, peer: SocketAddr) {
        self.lost.remove(&peer);
    }

    pub(crate) fn send(&mut self, now: Micros, delivery: Delivery) {
        let path = match delivery.to {
            To::Engine => self.up,
            To::Peer => self.down,
        };
        if self.rng.random_bool(path.loss) || self.lost.contains(&delivery.peer) {
            return;
        }
        let link = self.linked.get(&(delivery.peer, delivery.to));
        let mut left = now;
        if let Some(link) = link.and_then(|&link| self.links.get_mut(link)) {
            let Some(at) = link.pass(now, delivery.bytes.len(), &mut self.rng) else { return };
            left = at;
        }
        if self.rng.random_bool(path.duplicate) {
            self.put(left, path, delivery.clone());
        }
        self.put(left, path, delivery);
    }

    fn put(&mut self, now: Micros, path: Path, delivery: Delivery) {
        let mut at = now + path.delay + self.rng.random_range(0..=path.jitter);
        if self.rng.random_bool(path.reorder) {
            at += path.reorder_delay;
        }
        if delivery.to == To::Engine {
            at = at.next_multiple_of(RASTER);
        }
        self.order += 1;
        self.heap.push(Reverse(UnderWay { at, order: self.order, delivery }));
    }

    pub(crate) fn next(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse(next)| next.at)
    }

    pub(crate) fn pop(&mut self, now: Micros) -> Option<Delivery> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| next.delivery)
    }
}
