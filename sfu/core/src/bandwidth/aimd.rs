//! The rate that the delay allows: up by 8 % a second, or about a packet per response time near the link's capacity;
//! down to 85 % of what arrived when the queue grows (draft-ietf-rmcat-gcc-02, 5.5).

use super::trend::Usage;
use super::{Cause, MIN_BITS_PER_SECOND};

/// What is left of the throughput after overuse.
const BETA: f64 = 0.85;
/// Growth per second as long as the capacity is unknown.
const GROWTH: f64 = 1.08;
/// Growth ends at so much of what arrives: nobody knows whether more would get through.
const ACKED_FACTOR: f64 = 1.5;
const ACKED_EXTRA: f64 = 10_000.0;
/// A decrease goes a little below, to empty the queue.
const DECREASE_EXTRA: f64 = 5_000.0;
/// What the additive growth takes as a frame interval and a packet.
const FRAMES_PER_SECOND: f64 = 30.0;
const PACKET_BITS: f64 = 1200.0 * 8.0;
/// Time until overuse is seen, besides the round trip.
const DETECTION_S: f64 = 0.1;
const ADDITIVE_MIN: f64 = 4_000.0;
const RTT_DEFAULT_US: u64 = 200_000;
/// Decreases are a round trip apart, within these bounds.
const DECREASE_GAP_US: (u64, u64) = (10_000, 200_000);

/// What the link carried when its queue grew, as a mean and a variance relative to it, in kbit/s.
#[derive(Debug)]
struct Capacity {
    kbps: Option<f64>,
    variance: f64,
}

impl Capacity {
    const WEIGHT: f64 = 0.05;
    const VARIANCE: (f64, f64) = (0.4, 2.5);

    /// Within three standard deviations?
    fn bounds(&self) -> Option<(f64, f64)> {
        let kbps = self.kbps?;
        let deviation = 3.0 * (self.variance * kbps).sqrt();
        Some(((kbps - deviation).max(0.0) * 1000.0, (kbps + deviation) * 1000.0))
    }

    fn overused_at(&mut self, bits_per_second: f64) {
        let sample = bits_per_second / 1000.0;
        let kbps = self.kbps.map_or(sample, |old| old + Self::WEIGHT * (sample - old));
        let error = kbps - sample;
        let variance = error * error / kbps.max(1.0);
        self.variance += Self::WEIGHT * (variance - self.variance);
        self.variance = self.variance.clamp(Self::VARIANCE.0, Self::VARIANCE.1);
        self.kbps = Some(kbps);
    }
}

#[derive(Debug)]
pub(super) struct Aimd {
    rate: f64,
    throughput: f64,
    capacity: Capacity,
    /// After a decrease or while the queue empties.
    hold: bool,
    changed_us: u64,
    rtt_us: u64,
    cause: Cause,
}

impl Aimd {
    pub(super) fn new(now_us: u64, start: f64) -> Self {
        Self {
            rate: start,
            throughput: start,
            capacity: Capacity { kbps: None, variance: Capacity::VARIANCE.0 },
            hold: true,
            changed_us: now_us,
            rtt_us: RTT_DEFAULT_US,
            cause: Cause::Start,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// What changed the rate last.
    pub(super) fn cause(&self) -> Cause {
        self.cause
    }

    pub(super) fn set_rtt(&mut self, rtt_us: u64) {
        self.rtt_us = rtt_us;
    }

    pub(super) fn set(&mut self, now_us: u64, rate: f64, cause: Cause) {
        self.rate = rate.max(MIN_BITS_PER_SECOND);
        self.changed_us = now_us;
        self.cause = cause;
    }

    /// One step per feedback packet: what arrives, and whether it was sent faster. `max` bounds growth.
    pub(super) fn update(
        &mut self,
        now_us: u64,
        usage: Usage,
        (acked, strained): (Option<f64>, bool),
        max: f64,
    ) {
        match usage {
            Usage::Under => self.hold = true,
            Usage::Normal if self.hold => {
                self.hold = false;
                self.changed_us = now_us;
            }
            Usage::Normal => {
                self.throughput = acked.unwrap_or(self.throughput);
                self.increase(now_us, max);
            }
            Usage::Over => self.overuse(now_us, acked, strained),
        }
    }

    fn increase(&mut self, now_us: u64, max: f64) {
        if self.capacity.bounds().is_some_and(|(_, upper)| self.throughput > upper) {
            self.capacity.kbps = None;
        }
        let limit = (ACKED_FACTOR * self.throughput + ACKED_EXTRA).min(max);
        let seconds = now_us.saturating_sub(self.changed_us) as f64 / 1e6;
        self.changed_us = now_us;
        if self.rate >= limit {
            return;
        }
        let step = if self.capacity.kbps.is_some() {
            self.additive_per_second() * seconds.min(1.0)
        } else {
            (self.rate * (GROWTH.powf(seconds.min(1.0)) - 1.0)).max(1_000.0)
        };
        self.rate = (self.rate + step).min(limit);
        self.cause = Cause::Growing;
    }

    /// One packet of the size that a frame is cut into, per two response times.
    fn additive_per_second(&self) -> f64 {
        let frame = self.rate / FRAMES_PER_SECOND;
        let packet = frame / (frame / PACKET_BITS).ceil().max(1.0);
        let response = 2.0 * (self.rtt_us as f64 / 1e6 + DETECTION_S);
        (packet / response).max(ADDITIVE_MIN)
    }

    fn overuse(&mut self, now_us: u64, acked: Option<f64>, strained: bool) {
        let (min, max) = DECREASE_GAP_US;
        let due = now_us.saturating_sub(self.changed_us) >= self.rtt_us.clamp(min, max);
        let Some(acked) = acked else {
            // Nothing is measured yet: half of it.
            if due {
                self.set(now_us, self.rate / 2.0, Cause::Delay);
            }
            return;
        };
        if !due && acked >= self.rate / 2.0 {
            return;
        }
        if self.cause == Cause::Start {
            // What it begins with is a guess; what arrives through a queue is what the way carries.
            self.rate = self.rate.max(acked);
        }
        self.throughput = acked;
        if !strained && acked < self.rate {
            // All that was sent arrives as fast: it says nothing about what more would do. If it goes on, so does this.
            if due {
                self.hold = true;
                self.set(now_us, self.rate * BETA, Cause::Delay);
            }
            return;
        }
        let mut lower = acked * BETA;
        if lower > DECREASE_EXTRA {
            lower -= DECREASE_EXTRA;
        }
        if lower > self.rate
            && let Some(kbps) = self.capacity.kbps
        {
            lower = BETA * kbps * 1000.0;
        }
        if self.capacity.bounds().is_some_and(|(below, _)| acked < below) {
            self.capacity.kbps = None;
        }
        self.capacity.overused_at(acked);
        self.hold = true;
        self.set(now_us, self.rate.min(lower), Cause::Delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_eight_percent_a_second_up_to_what_the_throughput_allows() {
        let mut aimd = Aimd::new(0, 1e6);
        for i in 0..=10 {
            aimd.update(i * 100_000, Usage::Normal, (Some(1e6), true), 1e9);
        }
        assert!((aimd.rate() / 1.08e6 - 1.0).abs() < 0.005, "{}", aimd.rate());
        for i in 11..200 {
            aimd.update(i * 100_000, Usage::Normal, (Some(1e6), true), 1e9);
        }
        assert_eq!(aimd.rate(), 1.51e6);
        assert_eq!(aimd.cause(), Cause::Growing);
    }

    /// Four pictures that begin together fill the queue before anything was measured.
    #[test]
    fn overuse_at_the_start_takes_the_throughput_for_the_rate() {
        let mut aimd = Aimd::new(0, 300_000.0);
        aimd.update(200_000, Usage::Over, (Some(4e6), true), 1e9);
        assert_eq!(aimd.rate(), 0.85 * 4e6 - 5_000.0);
        aimd.update(600_000, Usage::Over, (Some(5e6), true), 1e9);
        assert!(aimd.rate() < 4e6, "not again");
        let mut aimd = Aimd::new(0, 300_000.0);
        aimd.update(200_000, Usage::Over, (Some(100_000.0), true), 1e9);
        assert_eq!(aimd.rate(), 0.85 * 100_000.0 - 5_000.0);
    }

    #[test]
    fn overuse_takes_it_below_the_throughput_once_a_round_trip() {
        let mut aimd = Aimd::new(0, 2e6);
        aimd.set_rtt(100_000);
        aimd.update(200_000, Usage::Over, (Some(1.5e6), true), 1e9);
        assert_eq!(aimd.rate(), 0.85 * 1.5e6 - 5_000.0);
        aimd.update(250_000, Usage::Over, (Some(1.2e6), true), 1e9);
        assert_eq!(aimd.rate(), 0.85 * 1.5e6 - 5_000.0, "too early");
        aimd.update(300_000, Usage::Over, (Some(1.2e6), true), 1e9);
        assert_eq!(aimd.rate(), 0.85 * 1.2e6 - 5_000.0);
        // Near the capacity it goes up by a packet per 400 ms: 24 kbit/s a second.
        let low = aimd.rate();
        for i in 0..=10 {
            aimd.update(400_000 + i * 100_000, Usage::Normal, (Some(1.2e6), true), 1e9);
        }
        let up = aimd.rate() - low;
        assert!((15_000.0..25_000.0).contains(&up), "{up}");
    }
}
