//! The model of a narrow link: a rate with a queue in front of it, delay, jitter and loss. The simulation includes this file, so that
//! real browsers and simulated ones meet the same network.

use rand::Rng;
use rand::rngs::SmallRng;

use super::tcp::Tcp;

/// Time in microseconds since the start.
pub(crate) type Micros = u64;

pub(crate) const MS: Micros = 1000;
pub(crate) const SECOND: Micros = 1_000_000;

/// Loss in bursts (Gilbert-Elliott): a state in which nothing is lost, and one in which much is.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// After the queue.
    pub(crate) delay: Micros,
    /// Every datagram takes up to so much longer.
    pub(crate) jitter: Micros,
    /// 0..=1.
    pub(crate) loss: f64,
    pub(crate) bursts: Option<Bursts>,
    /// Somebody else's datagrams take so many bits per second of it.
    pub(crate) others: u64,
    /// Somebody else's download, which takes what it can get.
    pub(crate) tcp: Option<Tcp>,
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
            tcp: None,
            bad: false,
            free: 0,
            last: 0,
            passed: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// When a datagram of `bytes` that comes now has passed; `None`: it is lost.
    pub(crate) fn pass(&mut self, now: Micros, bytes: usize, rng: &mut SmallRng) -> Option<Micros> {
        if let Some(mut tcp) = self.tcp.take() {
            tcp.run(self, now, rng);
            self.tcp = Some(tcp);
        }
        let Some((waits, at)) = self.carry(now, bytes + Self::HEADERS, rng) else {
            self.dropped.push((now, bytes));
            return None;
        };
        self.passed.push((now, waits, bytes));
        at
    }

    /// Anybody's packet, of so many bytes with all headers: how long it waits, and when it arrives, if it does; `None`: the queue is full.
    pub(super) fn carry(
        &mut self,
        now: Micros,
        bytes: usize,
        rng: &mut SmallRng,
    ) -> Option<(Micros, Option<Micros>)> {
        let rate = self.rate.saturating_sub(self.others);
        let waits = self.free.saturating_sub(now);
        if rate == 0 || waits > self.queue {
            return None;
        }
        self.free = self.free.max(now) + (bytes as u64 * 8 * SECOND).div_ceil(rate);
        if let Some(bursts) = self.bursts {
            self.bad = rng.random_bool(if self.bad { 1.0 - bursts.end } else { bursts.begin });
        }
        let bursts = self.bursts.filter(|_| self.bad).map_or(0.0, |bursts| bursts.loss);
        if rng.random_bool(self.loss) || rng.random_bool(bursts) {
            return Some((waits, None));
        }
        let at = self.free + self.delay + rng.random_range(0..=self.jitter);
        self.last = self.last.max(at);
        Some((waits, Some(self.last)))
    }
}
