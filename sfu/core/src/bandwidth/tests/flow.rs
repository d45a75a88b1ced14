//! A subscriber: its estimator, what is sent to it, and its feedback.

use super::super::{BandwidthEstimator, PacketResult, ProbeCluster};
use super::link::{Link, LinkConfig};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap, VecDeque};

const MS: u64 = 1_000;
const SLOT_US: u64 = 5 * MS;
const PACKET: usize = 1200;

/// What there is to send.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// As much as the estimate allows.
    Unlimited,
    /// As many of these rates, each on top of the ones before, as the estimate allows, but at least the first; 30 frames a second.
    Layers(Vec<u64>),
    /// As many videos of these rates as the estimate allows, each with frames of its own, and as many voices; they leave as they come.
    Meeting(Vec<u64>),
}

struct Feedback {
    due_us: u64,
    results: Vec<(u64, Option<i64>)>,
}

struct Probing {
    cluster: ProbeCluster,
    since_us: u64,
    first: u64,
    packets: u32,
    bytes: u32,
}

pub(super) struct Flow {
    pub(super) bwe: BandwidthEstimator,
    source: Source,
    feedback_us: u64,
    begin_us: u64,
    rtt_us: u64,
    pub(super) clock_us: i64,
    sequence: u64,
    log: HashMap<u64, (u64, usize)>,
    arrived: BTreeMap<u64, u64>,
    told: Option<u64>,
    feedback_due_us: u64,
    feedbacks: VecDeque<Feedback>,
    budget: f64,
    frames: u64,
    layers: usize,
    waiting: VecDeque<usize>,
    probing: Option<Probing>,
    /// What left in the slot since then.
    slot_us: u64,
    taken: (usize, usize),
    rng: SmallRng,
    /// No feedback gets through in this span.
    pub(super) silent: (u64, u64),
    /// Feedback takes up to so much longer, and overtakes.
    pub(super) feedback_jitter_us: u64,
    /// Estimate every 10 ms.
    pub(super) trace: Vec<(u64, u64)>,
    /// Bytes that arrived.
    pub(super) arrivals: Vec<(u64, usize)>,
    pub(super) probe_bytes: u64,
    pub(super) media_bytes: u64,
    pub(super) switches: u64,
}

impl Flow {
    pub(super) fn new(source: Source, seed: u64, begin_us: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut flow = Self {
            bwe: BandwidthEstimator::new(begin_us),
            source: Source::Unlimited,
            feedback_us: rng.random_range(50_000..100_000),
            begin_us,
            rtt_us: 0,
            clock_us: rng.random_range(-1_000_000_000..1_000_000_000),
            sequence: rng.random_range(0..65_536),
            log: HashMap::new(),
            arrived: BTreeMap::new(),
            told: None,
            feedback_due_us: begin_us,
            feedbacks: VecDeque::new(),
            budget: 0.0,
            frames: 0,
            layers: 0,
            waiting: VecDeque::new(),
            probing: None,
            slot_us: 0,
            taken: (0, 0),
            rng,
            silent: (0, 0),
            feedback_jitter_us: 0,
            trace: Vec::new(),
            arrivals: Vec::new(),
            probe_bytes: 0,
            media_bytes: 0,
            switches: 0,
        };
        flow.set_source(begin_us, source);
        flow
    }

    pub(super) fn set_source(&mut self, now: u64, source: Source) {
        let wanted = match &source {
            Source::Unlimited => 100_000_000,
            Source::Layers(rates) | Source::Meeting(rates) => rates.iter().sum(),
        };
        self.bwe.set_wanted(now, wanted, false);
        self.source = source;
    }

    fn send(&mut self, now: u64, flow: usize, link: &mut Link, size: usize) {
        self.log.insert(self.sequence, (now, size));
        self.bwe.sent(now, size);
        link.send(now, flow, self.sequence, size);
        self.sequence += 1;
    }

    /// Every 5 ms.
    fn slot(&mut self, now: u64, flow: usize, link: &mut Link) {
        match self.source.clone() {
            Source::Unlimited => {
                let rate = self.bwe.estimate().bits_per_second as f64;
                self.budget += rate * SLOT_US as f64 / 8e6;
                self.budget = self.budget.min((2 * PACKET) as f64 + rate * 0.01 / 8.0);
                while self.budget >= PACKET as f64 {
                    self.budget -= PACKET as f64;
                    self.waiting.push_back(PACKET);
                }
            }
            Source::Layers(layers) => {
                if (now - self.begin_us) * 30 / 1_000_000 >= self.frames {
                    let fits = self.fitting(&layers);
                    self.frame(layers[..fits].iter().sum(), fits > self.layers);
                    self.layers = fits;
                }
            }
            Source::Meeting(rates) => self.meeting(now, &rates),
        }
        if self.probing.is_none()
            && let Some(cluster) = self.bwe.poll_probe(now)
        {
            let first = self.sequence;
            self.probing = Some(Probing { cluster, since_us: now, first, packets: 0, bytes: 0 });
        }
        if let Some(probing) = self.probing.take() {
            self.probe(now, flow, link, probing);
            return;
        }
        let rate = self.bwe.estimate().bits_per_second as usize;
        if now >= self.slot_us + SLOT_US {
            (self.slot_us, self.taken) = (now, (0, 0));
        }
        let (mut packets, mut bytes) = self.taken;
        while let Some(size) = self.waiting.front().copied() {
            if packets >= 10 && bytes >= rate / 800 {
                break;
            }
            self.waiting.pop_front();
            (packets, bytes) = (packets + 1, bytes + size);
            self.media_bytes += size as u64;
            self.send(now, flow, link, size);
        }
        self.taken = (packets, bytes);
    }

    fn probe(&mut self, now: u64, flow: usize, link: &mut Link, mut probing: Probing) {
        let elapsed = now - probing.since_us + SLOT_US;
        let budget = probing.cluster.bits_per_second * elapsed / 8_000_000;
        while u64::from(probing.bytes) < budget {
            let padding = probing.cluster.min_bytes / probing.cluster.min_packets;
            let padding = (padding as usize).clamp(250, PACKET);
            let media = self.waiting.pop_front();
            self.probe_bytes += if media.is_none() { padding as u64 } else { 0 };
            let size = media.unwrap_or(padding);
            self.send(now, flow, link, size);
            probing.packets += 1;
            probing.bytes += size as u32;
            let cluster = &probing.cluster;
            if probing.packets >= cluster.min_packets
                && probing.bytes >= cluster.min_bytes
                && now > probing.since_us
            {
                let last = (self.sequence - 1) as u16;
                self.bwe.probe_sent(now, cluster.id, probing.first as u16, last, probing.bytes);
                return;
            }
        }
        self.probing = Some(probing);
    }

    /// How many of the rates fit; counts when that changes.
    fn fitting(&mut self, rates: &[u64]) -> usize {
        let estimate = self.bwe.estimate().bits_per_second;
        let fits = (1..=rates.len()).rev().find(|n| rates[..*n].iter().sum::<u64>() <= estimate);
        let fits = fits.unwrap_or(1);
        self.switches += u64::from(fits != self.layers);
        fits
    }

    fn frame(&mut self, rate: u64, key: bool) {
        let mean = rate as f64 / 30.0 / 8.0;
        let factor = if key { 4.0 } else { self.rng.random_range(0.7..1.3) };
        self.frames += 1;
        let mut bytes = (mean * factor) as usize;
        while bytes > 0 {
            let size = bytes.min(PACKET);
            self.waiting.push_back(size.max(60));
            bytes -= size;
        }
    }

    fn meeting(&mut self, now: u64, rates: &[u64]) {
        let fits = self.fitting(rates);
        for (index, rate) in (0..).zip(rates) {
            let phase = now + index * 7_000;
            if phase.is_multiple_of(20_000) {
                self.waiting.push_back(100);
            }
            if (index as usize) < fits && phase % 33_000 < MS {
                self.frame(*rate, index as usize >= self.layers);
            }
        }
        self.layers = fits;
    }

    /// The receiver's side: every 50 to 100 ms what arrived.
    fn receive(&mut self, now: u64, link: &Link) {
        if now < self.feedback_due_us {
            return;
        }
        self.feedback_due_us = now + self.feedback_us;
        let due: Vec<u64> =
            self.arrived.iter().filter(|(_, at)| **at <= now).map(|(seq, _)| *seq).collect();
        let Some(highest) = due.last().copied() else { return };
        let base = self.told.map_or(due[0], |told| told + 1);
        let mut results = Vec::new();
        for sequence in due.iter().copied().filter(|seq| *seq < base) {
            results.push((sequence, self.arrived.remove(&sequence)));
        }
        for sequence in base..=highest {
            let here = due.binary_search(&sequence).is_ok();
            results.push((sequence, if here { self.arrived.remove(&sequence) } else { None }));
        }
        self.told = Some(self.told.unwrap_or(0).max(highest));
        let clock = self.clock_us;
        // Feedback tells arrivals in units of 250 µs.
        let on_clock = |at: u64| (at as i64 + clock) / 250 * 250;
        let results = results.into_iter().map(|(seq, at)| (seq, at.map(on_clock))).collect();
        if now < self.silent.0 || now >= self.silent.1 {
            let later = self.rng.random_range(0..=self.feedback_jitter_us);
            let due_us = now + link.config.rtt_us / 2 + later;
            self.feedbacks.push_back(Feedback { due_us, results });
        }
    }

    fn take_feedback(&mut self, now: u64) {
        while let Some(at) = self.feedbacks.iter().position(|f| f.due_us <= now) {
            let Some(feedback) = self.feedbacks.remove(at) else { return };
            let mut results = Vec::new();
            for (sequence, arrival_us) in feedback.results {
                let known = if arrival_us.is_some() {
                    self.log.remove(&sequence)
                } else {
                    self.log.get(&sequence).copied()
                };
                let Some((sent_us, size)) = known else { continue };
                let (number, size) = (sequence as u16, size as u16);
                results.push(PacketResult { number, sent_us, arrival_us, size });
            }
            if let Some(last) = results.last() {
                let rtt = now - last.sent_us;
                self.rtt_us = if self.rtt_us == 0 { rtt } else { (self.rtt_us * 7 + rtt) / 8 };
            }
            self.bwe.feedback(now, &results, Some(self.rtt_us));
        }
    }
}

/// Flows over one link.
pub(super) struct Run {
    pub(super) link: Link,
    pub(super) flows: Vec<Flow>,
    now: u64,
    seed: u64,
}

impl Run {
    pub(super) fn new(config: LinkConfig, seed: u64) -> Self {
        Self { link: Link::new(config, seed), flows: Vec::new(), now: 0, seed }
    }

    pub(super) fn with(mut self, source: Source, begin_us: u64) -> Self {
        let seed = self.seed * 100 + self.flows.len() as u64;
        self.flows.push(Flow::new(source, seed, begin_us));
        self
    }

    pub(super) fn until(&mut self, end_us: u64) {
        while self.now < end_us {
            self.now += MS;
            let now = self.now;
            for (packet, arrival) in self.link.advance(now) {
                let flow = &mut self.flows[packet.flow];
                flow.arrived.insert(packet.sequence, arrival);
                flow.arrivals.push((arrival, packet.size));
            }
            for (index, flow) in self.flows.iter_mut().enumerate() {
                if now < flow.begin_us {
                    continue;
                }
                flow.receive(now, &self.link);
                flow.take_feedback(now);
                if now.is_multiple_of(25_000) {
                    flow.bwe.tick(now);
                }
                let meeting = matches!(flow.source, Source::Meeting(_));
                if now.is_multiple_of(if meeting { MS } else { SLOT_US }) {
                    flow.slot(now, index, &mut self.link);
                }
                if now.is_multiple_of(10_000) {
                    flow.trace.push((now, flow.bwe.estimate().bits_per_second));
                }
            }
        }
    }

    /// Median estimate of a flow in a span of seconds.
    pub(super) fn median(&self, flow: usize, from_s: u64, to_s: u64) -> u64 {
        let span = from_s * 1_000_000..to_s * 1_000_000;
        let trace = self.flows[flow].trace.iter();
        percentile(trace.filter(|(at, _)| span.contains(at)).map(|(_, rate)| *rate), 50)
    }

    /// Wait of packets in the queue, in ms.
    pub(super) fn wait_ms(&self, from_s: u64, percent: usize) -> u64 {
        let waits = self.link.waits.iter().filter(|(at, _)| *at >= from_s * 1_000_000);
        percentile(waits.map(|(_, wait)| *wait), percent) / 1000
    }

    /// When the estimate of the first flow satisfies something for the first time after a point of time, from there on, in ms.
    pub(super) fn after_ms(&self, from_s: u64, is_so: impl Fn(u64) -> bool) -> Option<u64> {
        let from = from_s * 1_000_000;
        let mut trace = self.flows[0].trace.iter().filter(|(at, _)| *at >= from);
        trace.find(|(_, rate)| is_so(*rate)).map(|(at, _)| (at - from) / 1000)
    }

    pub(super) fn received(&self, flow: usize, from_s: u64, to_s: u64) -> u64 {
        let span = from_s * 1_000_000..to_s * 1_000_000;
        let arrivals = self.flows[flow].arrivals.iter().filter(|(at, _)| span.contains(at));
        arrivals.map(|(_, size)| *size as u64 * 8).sum::<u64>() / (to_s - from_s)
    }
}

fn percentile(values: impl Iterator<Item = u64>, percent: usize) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0)
}
