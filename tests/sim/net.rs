//! The network between the peers and the engine: a heap of datagrams under way, with seeded loss, delay, reordering and duplication.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;

/// Virtual time in microseconds since the start.
pub(crate) type Micros = u64;

pub(crate) const MS: Micros = 1000;
pub(crate) const SECOND: Micros = 1_000_000;

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

/// Loss in bursts (Gilbert-Elliott): a state in which nothing is lost, and one in which much is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts {
    /// Chance of each datagram to be the first of a bad time …
    pub(crate) begin: f64,
    /// … and of each in it to be the first after it.
    pub(crate) end: f64,
    /// Share that is lost in it.
    pub(crate) loss: f64,
}

/// The narrow place on the way to one or more peers, or from one: a rate and a queue in front of it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Bits per second; 0 stops everything.
    pub(crate) rate: u64,
    /// What would wait longer is dropped.
    pub(crate) queue: Micros,
    /// On top of [`Net::down`].
    pub(crate) delay: Micros,
    pub(crate) jitter: Micros,
    pub(crate) loss: f64,
    pub(crate) bursts: Option<Bursts>,
    /// Somebody else's datagrams take so many bits per second of it.
    pub(crate) others: u64,
    pub(crate) bad: bool,
    /// When everything in the queue has left.
    pub(crate) free: Micros,
    /// The last arrival: jitter delays, and does not reorder.
    pub(crate) last: Micros,
    /// Time in the queue of each datagram that passed: (time, µs, bytes).
    pub(crate) passed: Vec<(Micros, Micros, usize)>,
    /// What found the queue full: (time, bytes).
    pub(crate) dropped: Vec<(Micros, usize)>,
}

impl Link {
    /// Bytes of IPv4 and UDP headers.
    pub(crate) const HEADERS: usize = 28;

    pub(crate) fn new(rate: u64) -> Self {
        Self {
            rate,
            queue: 300 * MS,
            delay: 0,
            jitter: 0,
            loss: 0.0,
            bursts: None,
            others: 0,
            bad: false,
            free: 0,
            last: 0,
            passed: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// When a datagram of `bytes` that comes now has passed; `None`: it is lost.
    fn pass(&mut self, now: Micros, bytes: usize, rng: &mut SmallRng) -> Option<Micros> {
        let rate = self.rate.saturating_sub(self.others);
        let waits = self.free.saturating_sub(now);
        if rate == 0 || waits > self.queue {
            self.dropped.push((now, bytes));
            return None;
        }
        let takes = ((bytes + Self::HEADERS) as u64 * 8 * SECOND).div_ceil(rate);
        self.free = self.free.max(now) + takes;
        self.passed.push((now, waits, bytes));
        if let Some(bursts) = self.bursts {
            self.bad = rng.random_bool(if self.bad { 1.0 - bursts.end } else { bursts.begin });
        }
        let bursts = self.bursts.filter(|_| self.bad).map_or(0.0, |bursts| bursts.loss);
        if rng.random_bool(self.loss) || rng.random_bool(bursts) {
            return None;
        }
        let at = self.free + self.delay + rng.random_range(0..=self.jitter);
        self.last = self.last.max(at);
        Some(self.last)
    }
}

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) up: Path,
    pub(crate) down: Path,
    pub(crate) links: Vec<Link>,
    /// Which link leads to a peer, and which one from it.
    linked: HashMap<(SocketAddr, To), usize>,
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

    pub(crate) fn send(&mut self, now: Micros, delivery: Delivery) {
        let path = match delivery.to {
            To::Engine => self.up,
            To::Peer => self.down,
        };
        if self.rng.random_bool(path.loss) {
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
