//! A bottleneck: a queue in front of a rate, and what happens to packets on the way.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;

/// What the way loses, apart from a full queue.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lossy {
    No,
    Random(f64),
    /// Gilbert-Elliott: in the bad state everything is lost; probabilities per packet to enter and to leave it.
    Bursts(f64, f64),
}

#[derive(Clone, Debug)]
pub(super) struct LinkConfig {
    /// Bits per second from a point of time on.
    pub(super) rates: Vec<(u64, u64)>,
    /// The queue holds so long.
    pub(super) queue_us: u64,
    pub(super) rtt_us: u64,
    pub(super) lossy: Lossy,
    /// Until then.
    pub(super) lossy_until_us: u64,
    /// Uniform, on top of the one-way delay.
    pub(super) jitter_us: u64,
    /// Part of the packets that take 20 ms longer than those after them.
    pub(super) reordered: f64,
}

impl LinkConfig {
    pub(super) fn new(bits_per_second: u64) -> Self {
        Self {
            rates: vec![(0, bits_per_second)],
            queue_us: 500_000,
            rtt_us: 50_000,
            lossy: Lossy::No,
            lossy_until_us: u64::MAX,
            jitter_us: 0,
            reordered: 0.0,
        }
    }

    pub(super) fn rate_at(&self, now_us: u64) -> u64 {
        self.rates.iter().rev().find(|(from, _)| *from <= now_us).map_or(1, |(_, rate)| *rate)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) flow: usize,
    pub(super) sequence: u64,
    pub(super) size: usize,
    pub(super) queued_us: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) config: LinkConfig,
    queue: VecDeque<Packet>,
    queue_bytes: usize,
    free_us: u64,
    bad: bool,
    last_us: u64,
    rng: SmallRng,
    pub(super) dropped: u64,
    /// How long each packet waited, with when.
    pub(super) waits: Vec<(u64, u64)>,
}

impl Link {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            queue: VecDeque::new(),
            queue_bytes: 0,
            free_us: 0,
            bad: false,
            last_us: 0,
            rng: SmallRng::seed_from_u64(seed),
            dropped: 0,
            waits: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, now_us: u64, flow: usize, sequence: u64, size: usize) {
        let rate = self.config.rate_at(now_us);
        if self.queue_bytes as u64 * 8_000_000 / rate > self.config.queue_us {
            self.dropped += 1;
            return;
        }
        self.queue_bytes += size;
        self.queue.push_back(Packet { flow, sequence, size, queued_us: now_us });
    }

    fn loses(&mut self) -> bool {
        match self.config.lossy {
            Lossy::No => false,
            Lossy::Random(part) => self.rng.random_bool(part),
            Lossy::Bursts(enter, leave) => {
                let change = if self.bad { leave } else { enter };
                self.bad ^= self.rng.random_bool(change);
                self.bad
            }
        }
    }

    /// What has left the queue until now, with the time of its arrival.
    pub(super) fn advance(&mut self, now_us: u64) -> Vec<(Packet, u64)> {
        let mut arrived = Vec::new();
        while let Some(packet) = self.queue.front().copied() {
            let begin = self.free_us.max(packet.queued_us);
            let rate = self.config.rate_at(begin);
            let end = begin + (packet.size as u64 * 8_000_000).div_ceil(rate);
            if end > now_us {
                break;
            }
            self.free_us = end;
            self.queue.pop_front();
            self.queue_bytes -= packet.size;
            self.waits.push((end, end - packet.queued_us));
            if end < self.config.lossy_until_us && self.loses() {
                continue;
            }
            let mut arrival = end + self.config.rtt_us / 2;
            if self.config.jitter_us > 0 {
                // A radio link delays, it does not reorder.
                arrival += self.rng.random_range(0..self.config.jitter_us);
                arrival = arrival.max(self.last_us);
                self.last_us = arrival;
            }
            if self.config.reordered > 0.0 && self.rng.random_bool(self.config.reordered) {
                arrival += 20_000;
            }
            arrived.push((packet, arrival));
        }
        arrived
    }
}
