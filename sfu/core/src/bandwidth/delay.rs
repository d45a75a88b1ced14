//! The rate that the one-way delay allows: groups of packets, their trend, and what follows from it.

use super::aimd::Aimd;
use super::contention::{Contention, Seen};
use super::groups::Groups;
use super::queue::{Backlog, Queue};
use super::throughput::Rate;
use super::trend::{Trend, Usage};
use super::{Cause, PacketResult, ProbeCluster};

/// After so long without feedback the delays of before say nothing.
const SILENCE_US: u64 = 2_000_000;
/// A probe never takes the rate below so much of what arrives anyway.
const PROBE_ACKED: f64 = 0.85;
/// What arrives without a queue that grows is carried, but for the error of its measurement.
const ACKED: f64 = 0.95;
/// What arrives was measured over half a second, in which the rate may have fallen for a reason.
const FAR_ABOVE: f64 = 1.5;
/// A queue that leaves at less than this of the estimate is that of another link. Three packets show that; of what arrives of all (`choked`) only two
/// frames do.
const NARROWER: f64 = 0.5;

/// What arrives, bits per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acked {
    pub(super) rate: Option<f64>,
    /// Over a shorter time.
    pub(super) recent: Option<Rate>,
    /// As far as all of the network allows.
    pub(super) estimate: f64,
    /// Right before a probe, whose queue may be all that there is.
    pub(super) carried: Option<f64>,
}

#[derive(Debug)]
pub(super) struct Delay {
    groups: Groups,
    trend: Trend,
    aimd: Aimd,
    queue: Queue,
    contention: Contention,
    fed_us: Option<u64>,
    /// In this feedback the queue became empty.
    recovered: bool,
    /// … or the link narrower.
    narrowed: bool,
}

impl Delay {
    pub(super) fn new(now_us: u64, start: f64) -> Self {
        Self {
            groups: Groups::default(),
            trend: Trend::default(),
            aimd: Aimd::new(now_us, start),
            queue: Queue::default(),
            contention: Contention::default(),
            fed_us: None,
            recovered: false,
            narrowed: false,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.aimd.rate()
    }

    pub(super) fn cause(&self) -> Cause {
        self.aimd.cause()
    }

    pub(super) fn usage(&self) -> Usage {
        self.trend.usage()
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.queue.backlog()
    }

    /// Ours, while somebody else keeps the queue long.
    pub(super) fn share(&self) -> Option<f64> {
        self.contention.share()
    }

    /// Packets to send together, which show whether there is somebody.
    pub(super) fn poll_probe(&mut self, now_us: u64) -> Option<ProbeCluster> {
        self.contention.poll_probe(now_us)
    }

    /// A packet that came, also one of a probe.
    pub(super) fn note(&mut self, packet: &PacketResult, arrival_us: i64) {
        let late = self.queue.is_late(arrival_us.wrapping_sub(packet.sent_us as i64));
        self.contention.add(packet, arrival_us, late);
    }

    pub(super) fn has_narrowed(&self) -> bool {
        self.narrowed
    }

    pub(super) fn has_recovered(&self) -> bool {
        self.recovered
    }

    /// Before the packets of one feedback.
    pub(super) fn begin(&mut self, now_us: u64, rtt_us: Option<u64>) {
        if self.fed_us.is_some_and(|at| now_us.saturating_sub(at) > SILENCE_US) {
            self.groups = Groups::default();
            self.trend = Trend::default();
            self.queue = Queue::default();
        }
        self.fed_us = Some(now_us);
        self.recovered = false;
        if let Some(rtt_us) = rtt_us {
            self.aimd.set_rtt(rtt_us);
        }
    }

    #[inline]
    pub(super) fn add(&mut self, now_us: u64, packet: &PacketResult, arrival_us: i64) {
        self.queue.add(packet.sent_us, arrival_us, packet.size);
        if let Some(delta) = self.groups.add(now_us, packet.sent_us, arrival_us) {
            let before = self.trend.usage();
            self.trend.add(delta);
            self.recovered |= before == Usage::Under && self.trend.usage() == Usage::Normal;
        }
    }

    /// After the packets of one feedback. `true`: the probe's result was taken.
    pub(super) fn update(
        &mut self,
        now_us: u64,
        acked: Acked,
        probe: Option<f64>,
        max: f64,
    ) -> bool {
        let contended = self.share().is_some();
        self.queue.settle(now_us, self.trend.usage() == Usage::Over, contended);
        let choked = acked.recent.is_some_and(|recent| recent.choked);
        let seen = Seen {
            backlog: self.queue.backlog(),
            queue_us: self.queue.long_us(),
            acked: acked.rate,
            choked,
        };
        self.contention.update(now_us, seen);
        let share = self.contention.share();
        let jumped = self.queue.has_jumped();
        let shows = jumped || self.queue.is_strung_out();
        let narrow = self
            .queue
            .carried()
            .filter(|carried| shows && *carried < NARROWER * self.aimd.rate().min(acked.estimate));
        self.narrowed = share.is_none() && (narrow.is_some() || jumped && choked);
        if self.narrowed {
            self.trend.overuse();
            self.queue.lengthen();
        }
        let usage = match self.trend.usage() {
            Usage::Over if self.queue.has_shrunk() && !jumped && !self.narrowed => {
                match self.queue.backlog() {
                    Backlog::Long => Usage::Under,
                    _ => Usage::Normal,
                }
            }
            usage => usage,
        };
        // Half a second ago there may have been another layer, or another link.
        let recent = acked.recent.map(|recent| recent.arrived);
        let recent = recent.map(|recent| narrow.map_or(recent, |carried| carried.min(recent)));
        let strained = narrow.is_some() || acked.recent.is_none_or(|recent| recent.strained);
        let carried = acked.carried.filter(|_| usage == Usage::Over);
        let acked = if usage == Usage::Over { recent } else { acked.rate };
        let Some(probe) = probe.filter(|_| usage != Usage::Over) else {
            let before = self.aimd.rate();
            self.aimd.update(now_us, usage, (acked, strained), max);
            // The queue of a probe is no reason to go below what was carried without one; if it stays, a later decrease does.
            if let Some(carried) = carried.filter(|_| self.aimd.rate() < before) {
                self.aimd.set(now_us, carried.clamp(self.aimd.rate(), before), Cause::Delay);
            }
            if let Some(share) = share.filter(|share| *share > self.aimd.rate()) {
                self.aimd.set(now_us, share, Cause::Growing);
            }
            // What is not chosen by the estimate (a track with one layer) may be above it, and shows what the way carries. What arrived before it became narrower
            // does not count.
            let lately = acked.zip(recent).map_or(acked, |(acked, recent)| Some(acked.min(recent)));
            let shown = lately.map_or(0.0, |acked| acked * ACKED).min(max);
            if usage != Usage::Over && shown > self.aimd.rate() * FAR_ABOVE {
                self.aimd.set(now_us, shown, Cause::Growing);
            }
            return false;
        };
        let least = acked.map_or(0.0, |acked| self.aimd.rate().min(acked * PROBE_ACKED));
        self.aimd.set(now_us, probe.max(least).min(max), Cause::Probe);
        true
    }

    /// Nothing has measured it.
    pub(super) fn assume(&mut self, now_us: u64, rate: f64) {
        self.aimd.set(now_us, self.aimd.rate().max(rate), Cause::Growing);
    }

    /// Nothing is heard of what is sent.
    pub(super) fn back_off(&mut self, now_us: u64, factor: f64) {
        self.aimd.set(now_us, self.aimd.rate() * factor, Cause::Delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of 1.5 Mbit/s that had 5 until a moment ago.
    #[test]
    fn what_arrived_before_the_link_became_narrower_shows_nothing() {
        let after = |recent: f64| {
            let mut delay = Delay::new(0, 1_230_000.0);
            let recent = Some(Rate { arrived: recent, strained: true, choked: false });
            let rate = Some(2_090_000.0);
            let acked = Acked { rate, recent, estimate: 1_230_000.0, carried: None };
            delay.update(100_000, acked, None, 10_000_000.0);
            delay.rate()
        };
        assert_eq!(after(1_430_000.0), 1_230_000.0);
        assert_eq!(after(2_090_000.0), 2_090_000.0 * ACKED);
    }
}
