//! The rate at which packets arrive, robust against bursts: bytes over the time in which they arrived without its longest gap,
//! never above the rate at which they were sent.
//!
//! Packets are summed up in buckets of some ms, so that the memory does not depend on the rate.

use super::PacketResult;

/// A bucket takes what arrives within so long of its first packet.
const BUCKET_US: i64 = 20_000;
/// … and no more packets: who says that everything arrives at one time would fill one for ever.
const BUCKET_PACKETS: u32 = 1024;
const BUCKETS: usize = 36;
/// The window holds so long and so many packets …
const WINDOW_US: i64 = 500_000;
const WINDOW_PACKETS: u32 = 20;
/// … but nothing older than this.
const WINDOW_US_MAX: i64 = 5_000_000;
/// Packets that it takes to say anything.
const REQUIRED: u32 = 10;
/// What the link carries now is seen in so much.
const RECENT_US: i64 = 150_000;
/// What arrives at less than this of the rate at which it was sent queues up.
const STRAINED: f64 = 0.95;
/// … and less than this is another link.
const CHOKED: f64 = 0.7;
/// An arrival so long before another one was on another clock.
const BACKWARDS_US: i64 = 1_000_000;
const DURATION_US_MIN: i64 = 1_000;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    first_arrival_us: i64,
    last_arrival_us: i64,
    first_sent_us: u64,
    last_sent_us: u64,
    bytes: u32,
    /// Of the packet that arrived first.
    first_bytes: u32,
    /// Of all that left at `last_sent_us`: a burst leaves at one time.
    last_sent_bytes: u32,
    packets: u32,
    /// The longest time without an arrival, inside.
    gap_us: u32,
}

/// What one window shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Bits per second.
    pub(super) arrived: f64,
    /// It was sent faster.
    pub(super) strained: bool,
    /// … by far.
    pub(super) choked: bool,
}

#[derive(Debug)]
pub(super) struct Throughput {
    /// A ring.
    buckets: [Bucket; BUCKETS],
    first: usize,
    len: usize,
    packets: u32,
}

impl Default for Throughput {
    fn default() -> Self {
        Self { buckets: [Bucket::default(); BUCKETS], first: 0, len: 0, packets: 0 }
    }
}

impl Throughput {
    fn at(&self, index: usize) -> &Bucket {
        &self.buckets[(self.first + index) % BUCKETS]
    }

    pub(super) fn add(&mut self, packet: &PacketResult, arrival_us: i64) {
        if self.len > 0 {
            let at = (self.first + self.len - 1) % BUCKETS;
            let newest = &mut self.buckets[at];
            let ahead = arrival_us.saturating_sub(newest.last_arrival_us);
            if !(-BACKWARDS_US..=WINDOW_US_MAX).contains(&ahead) {
                self.len = 0;
                self.packets = 0;
            } else if arrival_us.saturating_sub(newest.first_arrival_us) < BUCKET_US
                && newest.packets < BUCKET_PACKETS
            {
                newest.add(packet, arrival_us);
                self.packets += 1;
                return;
            }
        }
        self.begin(packet, arrival_us);
        self.forget();
    }

    fn begin(&mut self, packet: &PacketResult, arrival_us: i64) {
        if self.len == BUCKETS {
            self.drop_first();
        }
        let bytes = packet.size.into();
        self.buckets[(self.first + self.len) % BUCKETS] = Bucket {
            first_arrival_us: arrival_us,
            last_arrival_us: arrival_us,
            first_sent_us: packet.sent_us,
            last_sent_us: packet.sent_us,
            bytes,
            first_bytes: bytes,
            last_sent_bytes: bytes,
            packets: 1,
            gap_us: 0,
        };
        self.len += 1;
        self.packets += 1;
    }

    fn drop_first(&mut self) {
        self.packets -= self.at(0).packets;
        self.first = (self.first + 1) % BUCKETS;
        self.len -= 1;
    }

    fn forget(&mut self) {
        while self.len > 1 {
            let newest = self.at(self.len - 1).last_arrival_us;
            let age = newest - self.at(0).first_arrival_us;
            let rest = newest - self.at(1).first_arrival_us;
            let enough = self.packets - self.at(0).packets >= WINDOW_PACKETS && rest >= WINDOW_US;
            if !enough && age <= WINDOW_US_MAX {
                return;
            }
            self.drop_first();
        }
    }

    /// In bits per second.
    pub(super) fn rate(&self) -> Option<f64> {
        (self.packets >= REQUIRED).then(|| self.rate_from(0).arrived)
    }

    /// The same of the last 150 ms, or as many more as it takes: with a queue that grows it is what the link carries.
    pub(super) fn recent(&self) -> Option<Rate> {
        if self.packets < REQUIRED {
            return None;
        }
        let newest = self.at(self.len - 1).last_arrival_us;
        let mut packets = 0;
        let from = (0..self.len).rev().find(|&index| {
            packets += self.at(index).packets;
            packets >= REQUIRED && newest - self.at(index).first_arrival_us >= RECENT_US
        });
        Some(self.rate_from(from.unwrap_or(0)))
    }

    fn rate_from(&self, first: usize) -> Rate {
        let mut sum = *self.at(first);
        let mut gaps = [0; 2];
        note_gap(&mut gaps, sum.gap_us.into());
        for index in first + 1..self.len {
            let bucket = self.at(index);
            note_gap(&mut gaps, bucket.first_arrival_us - sum.last_arrival_us);
            note_gap(&mut gaps, bucket.gap_us.into());
            sum.last_arrival_us = bucket.last_arrival_us;
            sum.bytes += bucket.bytes;
            sum.first_sent_us = sum.first_sent_us.min(bucket.first_sent_us);
            if bucket.last_sent_us > sum.last_sent_us {
                (sum.last_sent_us, sum.last_sent_bytes) =
                    (bucket.last_sent_us, bucket.last_sent_bytes);
            } else if bucket.last_sent_us == sum.last_sent_us {
                sum.last_sent_bytes += bucket.last_sent_bytes;
            }
        }
        // The longest gap counts as the second longest: the network may have stood still once.
        let received = sum.last_arrival_us - sum.first_arrival_us - gaps[0] + gaps[1];
        let received =
            f64::from(sum.bytes - sum.first_bytes) / received.max(DURATION_US_MIN) as f64;
        let sent = (sum.last_sent_us - sum.first_sent_us) as i64;
        // What left in one go left as fast as it could arrive.
        let sent = match sum.bytes - sum.last_sent_bytes {
            0 => f64::INFINITY,
            bytes => f64::from(bytes) / sent.max(DURATION_US_MIN) as f64,
        };
        Rate {
            arrived: received.min(sent) * 8e6,
            strained: received < STRAINED * sent,
            choked: received < CHOKED * sent,
        }
    }
}

/// Keeps the two longest.
fn note_gap(gaps: &mut [i64; 2], gap: i64) {
    if gap > gaps[0] {
        *gaps = [gap, gaps[0]];
    } else {
        gaps[1] = gaps[1].max(gap);
    }
}

impl Bucket {
    fn add(&mut self, packet: &PacketResult, arrival_us: i64) {
        let bytes = u32::from(packet.size);
        self.bytes += bytes;
        self.packets += 1;
        if arrival_us < self.first_arrival_us {
            // Late news of the bucket before; what matters is that its bytes count once.
            self.first_sent_us = self.first_sent_us.min(packet.sent_us);
            return;
        }
        let gap = arrival_us.saturating_sub(self.last_arrival_us).max(0) as u32;
        self.gap_us = self.gap_us.max(gap);
        self.last_arrival_us = self.last_arrival_us.max(arrival_us);
        self.first_sent_us = self.first_sent_us.min(packet.sent_us);
        if packet.sent_us > self.last_sent_us {
            (self.last_sent_us, self.last_sent_bytes) = (packet.sent_us, bytes);
        } else if packet.sent_us == self.last_sent_us {
            self.last_sent_bytes += bytes;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A receiver says what it likes of its clock.
    #[test]
    fn row_16_a_clock_that_stands_still_overflows_nothing() {
        let mut throughput = Throughput::default();
        for number in 0..4_000_000 {
            add(&mut throughput, number, 7);
        }
        assert!(throughput.rate().is_some_and(f64::is_finite));
    }

    fn add(throughput: &mut Throughput, sent_us: u64, arrival_us: i64) {
        let packet = PacketResult { number: 0, sent_us, arrival_us: Some(arrival_us), size: 1250 };
        throughput.add(&packet, arrival_us);
    }

    /// 1 Mbit/s in bursts of five packets.
    #[test]
    fn bursts_and_one_standstill_do_not_change_the_rate() {
        let mut throughput = Throughput::default();
        for burst in 0..100_u64 {
            let pause = if burst < 90 { 0 } else { 300_000 };
            for packet in 0..5 {
                let arrival = burst * 50_000 + packet * 1_000 + pause;
                add(&mut throughput, burst * 50_000, arrival as i64);
            }
            if burst > 10 {
                let rate = throughput.rate().unwrap();
                assert!((0.9e6..1.06e6).contains(&rate), "burst {burst}: {rate}");
            }
        }
    }

    #[test]
    fn what_arrives_faster_than_it_was_sent_counts_as_sent() {
        let mut throughput = Throughput::default();
        for i in 0..100_u64 {
            add(&mut throughput, i * 10_000, i as i64 * 100);
        }
        let rate = throughput.rate().unwrap();
        assert!((rate - 1e6).abs() < 1e4, "{rate}");
    }

    #[test]
    fn a_burst_that_comes_one_by_one_shows_what_the_link_carries() {
        let mut throughput = Throughput::default();
        for i in 0..12 {
            add(&mut throughput, 5_000, i * 20_000);
        }
        let Rate { arrived, strained, choked } = throughput.recent().unwrap();
        assert!((0.49e6..0.51e6).contains(&arrived), "{arrived}");
        assert!(strained && choked);
    }

    #[test]
    fn another_clock_starts_anew() {
        let mut throughput = Throughput::default();
        for jump in [0, i64::MAX - 10_000_000, i64::MIN, -5, 7_000_000] {
            for i in 0..40 {
                add(&mut throughput, i * 10_000, (i as i64 * 10_000).saturating_add(jump));
            }
            let rate = throughput.rate().unwrap();
            assert!((rate - 1e6).abs() < 1e4, "{jump}: {rate}");
        }
    }
}
