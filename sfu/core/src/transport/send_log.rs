//! What was sent to a subscriber under which transport-wide number, matched with what its feedback says
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Where the bandwidth estimate gets its samples.

use crate::Acked;
use crate::bandwidth::PacketResult;
use sfu_rtp::TransportFeedback;
use std::time::Duration;

/// Packets that wait for their feedback at first, and at most.
const LEN_MIN: usize = 64;
const LEN_MAX: usize = 4096;
/// Feedback comes every 50 to 250 ms; a log that would forget a packet sent so shortly ago doubles instead.
const KEPT_US: u32 = 1_000_000;
/// The rate is measured over so long.
const WINDOW_US: u64 = 500_000;
/// Numbers that one feedback packet may name; a hostile one names 65 535 in a few bytes.
const STATUSES_MAX: usize = LEN_MAX;
/// Set in [`Entry::size`]: told to be missing once.
const MISSING: u16 = 0x8000;
/// … or sent again under the same number: whichever arrives, nobody knows how long it took.
const AGAIN: u16 = 0x4000;
/// The reference time of a feedback packet counts so many µs, in 24 bits.
const REFERENCE_US: i64 = 64_000;
/// Two thousand years: nobody gets there who does not try.
const REFERENCE_MAX: i64 = 1 << 40;

/// 8 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// In µs of the media clock, low half.
    sent_us: u32,
    number: u16,
    /// Of the datagram; 0: nothing there, or its arrival is known.
    size: u16,
}

#[derive(Debug, Default)]
pub(crate) struct SendLog {
    /// A power of two; empty until the first packet.
    slots: Vec<Entry>,
    /// `None` before the first feedback.
    acked: Option<Acked>,
    window_since_us: u64,
    window_bytes: u64,
    /// The last feedback's reference time, with its overflows.
    reference: Option<i64>,
}

impl SendLog {
    /// Notes one packet.
    #[inline]
    pub(crate) fn sent(&mut self, now_us: u64, number: u16, size: usize) {
        if self.slots.is_empty() {
            self.slots = vec![Entry::default(); LEN_MIN];
        }
        let there = self.slots[self.slot(number)];
        let young = there.size != 0 && (now_us as u32).wrapping_sub(there.sent_us) < KEPT_US;
        if young && self.slots.len() < LEN_MAX {
            self.grow();
        }
        let slot = self.slot(number);
        self.slots[slot] = Entry { sent_us: now_us as u32, number, size: size as u16 };
    }

    /// The same packet left once more, byte by byte: its first copy counts as lost, unless both left together.
    pub(crate) fn sent_again(&mut self, now_us: u64, number: u16) {
        let slot = self.slot(number);
        if let Some(entry) = self.slots.get_mut(slot)
            && entry.number == number
            && entry.size != 0
            && entry.sent_us != now_us as u32
        {
            entry.size |= AGAIN;
        }
    }

    fn slot(&self, number: u16) -> usize {
        usize::from(number) & self.slots.len().wrapping_sub(1)
    }

    #[cold]
    fn grow(&mut self) {
        let longer = vec![Entry::default(); self.slots.len() * 2];
        for entry in std::mem::replace(&mut self.slots, longer) {
            let slot = self.slot(entry.number);
            if entry.size != 0 {
                self.slots[slot] = entry;
            }
        }
    }

    /// Takes the subscriber's feedback, and adds what is known now to `results`: each packet's arrival once, and that it was missing once before.
    pub(crate) fn feedback(
        &mut self,
        now_us: u64,
        feedback: &TransportFeedback<'_>,
        results: &mut Vec<PacketResult>,
    ) {
        let mut acked = self.acked.take().unwrap_or_default();
        let origin_us = self.origin_us(feedback.reference_time);
        let mut first: Option<(u32, i64)> = None;
        for (number, arrival_us) in feedback.statuses().take(STATUSES_MAX) {
            let slot = self.slot(number);
            let found = self.slots.get_mut(slot);
            let Some(entry) = found.filter(|entry| entry.number == number && entry.size != 0)
            else {
                continue;
            };
            let since_us = (now_us as u32).wrapping_sub(entry.sent_us);
            let result = PacketResult {
                number,
                sent_us: now_us.saturating_sub(since_us.into()),
                arrival_us: arrival_us.map(|arrival_us| origin_us + arrival_us),
                size: entry.size & !(MISSING | AGAIN),
            };
            let again = entry.size & AGAIN != 0;
            let Some(arrival_us) = arrival_us.filter(|_| !again) else {
                if entry.size & MISSING == 0 {
                    acked.missing += 1;
                    entry.size |= MISSING;
                    results.push(PacketResult { arrival_us: None, ..result });
                }
                if arrival_us.is_some() {
                    self.window_bytes += u64::from(result.size);
                    entry.size = 0;
                }
                continue;
            };
            results.push(result);
            acked.packets += 1;
            self.window_bytes += u64::from(result.size);
            entry.size = 0;
            let &mut (sent, arrival) = first.get_or_insert((entry.sent_us, arrival_us));
            let between = i64::from(entry.sent_us.wrapping_sub(sent) as i32);
            acked.delay_variation_us = (arrival_us - arrival) - between;
            acked.rtt = Some(Duration::from_micros(since_us.into()));
        }
        let elapsed = now_us.saturating_sub(self.window_since_us);
        if elapsed >= WINDOW_US {
            // The first window began with the first feedback, not with the clock.
            if self.window_since_us != 0 {
                acked.bits_per_second = self.window_bytes * 8_000_000 / elapsed;
            }
            (self.window_since_us, self.window_bytes) = (now_us, 0);
        }
        self.acked = Some(acked);
    }

    /// The receiver's clock at a reference time, in µs: 24 bits of 64 ms overflow every 12 days, and packets overtake each other.
    fn origin_us(&mut self, reference: u32) -> i64 {
        let reference = i64::from(reference);
        let unwrapped = self.reference.map_or(reference, |last| {
            let step = (reference - last) & 0xff_ffff;
            let step = if step < 0x80_0000 { step } else { step - 0x100_0000 };
            (last + step).clamp(-REFERENCE_MAX, REFERENCE_MAX)
        });
        self.reference = Some(unwrapped);
        unwrapped * REFERENCE_US
    }

    pub(crate) fn acked(&self) -> Option<Acked> {
        self.acked
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_rtp::transport_feedback::{PACKET_LEN_MAX, TransportFeedbackBuilder};

    fn take(
        log: &mut SendLog,
        now_us: u64,
        base: u16,
        arrivals: &[Option<u64>],
    ) -> Vec<PacketResult> {
        let mut bytes = vec![0; PACKET_LEN_MAX];
        let mut builder = TransportFeedbackBuilder::new(1, 2);
        let written = builder.write(&mut bytes, base, arrivals.iter().copied()).unwrap();
        let (packet, _) = sfu_rtp::RtcpPacket::parse(&bytes[..written.len]).unwrap();
        let mut results = Vec::new();
        log.feedback(now_us, &TransportFeedback::parse(&packet).unwrap(), &mut results);
        results
    }

    #[test]
    fn feedback_meets_what_was_sent_over_the_wrap() {
        assert_eq!(size_of::<Entry>(), 8);
        let mut log = SendLog::default();
        assert_eq!(log.acked(), None);
        for (i, number) in [65_534_u16, 65_535, 0, 1].into_iter().enumerate() {
            log.sent(10_000_000 + i as u64 * 1000, number, 1100);
        }
        // The third is missing, and the way of the last took 2 ms longer than that of the first.
        let arrivals = [Some(900_000), Some(901_000), None, Some(905_000)];
        let results = take(&mut log, 10_053_000, 65_534, &arrivals);
        let seen: Vec<_> = results.iter().map(|r| (r.number, r.sent_us, r.arrival_us)).collect();
        let expected = [
            (65_534, 10_000_000, Some(900_000)),
            (65_535, 10_001_000, Some(901_000)),
            (0, 10_002_000, None),
            (1, 10_003_000, Some(905_000)),
        ];
        assert_eq!(seen, expected);
        let acked = log.acked().unwrap();
        assert_eq!((acked.packets, acked.missing), (3, 1));
        assert_eq!(acked.delay_variation_us, 2000);
        assert_eq!(acked.rtt, Some(Duration::from_millis(50)));
        // Told again, as libwebrtc does after a late arrival: counted once.
        assert!(take(&mut log, 10_060_000, 0, &[None, Some(905_000)]).is_empty(), "missing once");
        let late = [Some(900_000), Some(901_000), Some(950_000)];
        let results = take(&mut log, 10_100_000, 65_534, &late);
        assert_eq!(results.iter().map(|r| r.number).collect::<Vec<_>>(), [0]);
        assert_eq!(log.acked().unwrap().packets, 4);
    }

    /// Without RTX: its arrival, timed from when the first copy left, would look like a queue of a round trip and more.
    #[test]
    fn a_packet_that_was_sent_again_under_its_number_is_lost_once_and_tells_no_delay() {
        let mut log = SendLog::default();
        (0..4).for_each(|number| log.sent(10_000_000, number, 1000));
        let seen = |results: Vec<PacketResult>| -> Vec<_> {
            results.iter().map(|r| (r.number, r.arrival_us, r.size)).collect()
        };
        let results = take(&mut log, 10_050_000, 0, &[None, Some(900_000)]);
        assert_eq!(seen(results), [(0, None, 1000), (1, Some(900_000), 1000)]);
        [0, 2, 9].into_iter().for_each(|number| log.sent_again(10_040_000, number));
        // Asked for before it was here.
        log.sent_again(10_000_000, 3);
        let arrivals = [Some(970_000), Some(900_000), Some(970_000), Some(900_000)];
        let results = take(&mut log, 10_100_000, 0, &arrivals);
        assert_eq!(seen(results), [(2, None, 1000), (3, Some(900_000), 1000)]);
        assert_eq!(log.acked().unwrap().rtt, Some(Duration::from_millis(100)));
        assert_eq!(log.acked().unwrap().missing, 2);
        assert!(take(&mut log, 10_150_000, 0, &arrivals).is_empty());
    }

    /// 2^24 * 64 ms.
    #[test]
    fn the_receivers_clock_goes_on_when_its_field_overflows() {
        let mut log = SendLog::default();
        let mut at = |reference| log.origin_us(reference);
        assert_eq!(at(0xff_fffe), 0xff_fffe * REFERENCE_US);
        assert_eq!(at(1), 0x100_0001 * REFERENCE_US);
        assert_eq!(at(0xff_ffff), 0xff_ffff * REFERENCE_US, "overtaken");
    }

    /// A reference time that runs ahead by six days with each feedback: 20 bytes each, to any number.
    #[test]
    fn row_16_a_receivers_clock_that_runs_away_overflows_nothing() {
        for step in [0x7f_ffff_u32, 0x80_0001] {
            let (mut log, mut reference) = (SendLog::default(), 0_u32);
            for _ in 0..(1 << 25) {
                reference = (reference + step) & 0xff_ffff;
                log.origin_us(reference);
            }
            log.sent(1_000_000, 7, 1200);
            assert_eq!(take(&mut log, 1_050_000, 7, &[Some(16_000_000)]).len(), 1);
        }
    }

    #[test]
    fn the_rate_is_that_of_what_arrived() {
        let mut log = SendLog::default();
        let mut number = 0_u16;
        for round in 1..=40_u64 {
            let now = round * 50_000;
            for _ in 0..10 {
                log.sent(now, number, 1250);
                number += 1;
            }
            // Every second one is lost: 100 packets of 10 000 bits a second.
            let arrivals: Vec<_> = (0..10).map(|i| (i % 2 == 0).then_some(now)).collect();
            take(&mut log, now + 20_000, number - 10, &arrivals);
        }
        let rate = log.acked().unwrap().bits_per_second;
        assert!(rate.abs_diff(1_000_000) < 100_000, "{rate}");
        assert_eq!(log.slots.len(), LEN_MIN * 4, "lost ones wait for a second");
    }

    #[test]
    fn without_feedback_the_log_is_bounded() {
        let mut log = SendLog::default();
        for i in 0..100_000_u64 {
            log.sent(i, i as u16, 1100);
        }
        assert_eq!(log.slots.len(), LEN_MAX);
    }
}
