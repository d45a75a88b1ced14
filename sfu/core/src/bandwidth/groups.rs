//! Packets that left together, and how much longer than the group before them they took.
//!
//! Times of arrival are the receiver's and not to be trusted: they may jump, and differences saturate.

/// Packets that left within so long of the first one are one group.
const SEND_SPAN_US: u64 = 5_000;
/// Packets that arrive so close together, faster than they left, came out of one queue …
const BURST_GAP_US: i64 = 5_000;
/// … which ends after so long.
const BURST_MAX_US: i64 = 100_000;
/// The receiver's clock ran so much further than ours between two groups: it was set.
const CLOCK_JUMP_US: i64 = 3_000_000;
/// Groups in a row that arrived before the one sent earlier, until we start anew.
const BACKWARDS_MAX: u8 = 3;

/// Between the ends of two consecutive groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    pub(super) sent_us: u64,
    pub(super) arrival_us: i64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_us: u64,
    last_sent_us: u64,
    first_arrival_us: i64,
    last_arrival_us: i64,
    /// Of the first packet that left at `last_sent_us`.
    slot_arrival_us: i64,
    /// When its last feedback came, on our clock.
    told_us: u64,
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    current: Option<Group>,
    previous: Option<Group>,
    backwards: u8,
}

impl Groups {
    /// Takes one packet that arrived; the result is there when it begins a group and two others are complete.
    pub(super) fn add(&mut self, now_us: u64, sent_us: u64, arrival_us: i64) -> Option<Delta> {
        let begun = Group {
            first_sent_us: sent_us,
            last_sent_us: sent_us,
            first_arrival_us: arrival_us,
            last_arrival_us: arrival_us,
            slot_arrival_us: arrival_us,
            told_us: now_us,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(begun);
            return None;
        };
        if sent_us < current.first_sent_us {
            return None;
        }
        if !current.is_over(sent_us, arrival_us) {
            if sent_us > current.last_sent_us {
                (current.last_sent_us, current.slot_arrival_us) = (sent_us, arrival_us);
            }
            current.last_arrival_us = current.last_arrival_us.max(arrival_us);
            current.told_us = now_us;
            return None;
        }
        let complete = *current;
        let Some(previous) = self.previous else {
            (self.previous, self.current) = (Some(complete), Some(begun));
            return None;
        };
        let arrival = complete.last_arrival_us.saturating_sub(previous.last_arrival_us);
        let told = complete.told_us.saturating_sub(previous.told_us) as i64;
        if arrival.saturating_sub(told) >= CLOCK_JUMP_US {
            *self = Self::default();
            return None;
        }
        if arrival < 0 {
            self.backwards += 1;
            if self.backwards >= BACKWARDS_MAX {
                *self = Self::default();
            } else {
                // What arrived before its predecessor says nothing; the predecessor stays the mark.
                self.current = Some(begun);
            }
            return None;
        }
        self.backwards = 0;
        (self.previous, self.current) = (Some(complete), Some(begun));
        let sent_us = complete.last_sent_us.saturating_sub(previous.last_sent_us);
        Some(Delta { sent_us, arrival_us: arrival })
    }
}

impl Group {
    /// Does a packet that was sent and arrived then belong to the next group?
    fn is_over(&self, sent_us: u64, arrival_us: i64) -> bool {
        let sent = sent_us.saturating_sub(self.last_sent_us);
        let arrived = arrival_us.saturating_sub(self.last_arrival_us);
        // All of a slot leaves at once: only the first packets of two slots are as far apart as they were sent.
        let since_slot = arrival_us.saturating_sub(self.slot_arrival_us);
        let faster = since_slot < i64::try_from(sent).unwrap_or(i64::MAX);
        let burst = sent_us <= self.last_sent_us
            || faster
                && arrived <= BURST_GAP_US
                && arrival_us.saturating_sub(self.first_arrival_us) < BURST_MAX_US;
        !burst && sent_us.saturating_sub(self.first_sent_us) > SEND_SPAN_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_a_burst_are_one_group() {
        let mut groups = Groups::default();
        let mut deltas = Vec::new();
        // Every 20 ms three packets, which the link spreads over 4 ms; it gets 1 ms slower each time.
        for burst in 0..5_u64 {
            for packet in 0..3_u64 {
                let sent = burst * 20_000 + packet * 100;
                let arrival = (burst * 21_000 + packet * 2_000) as i64 + 7_000_000;
                deltas.extend(groups.add(sent + 50_000, sent, arrival));
            }
        }
        assert_eq!(deltas, [Delta { sent_us: 20_000, arrival_us: 21_000 }; 3]);
    }

    #[test]
    fn a_queue_that_empties_is_one_burst() {
        let mut groups = Groups::default();
        // Sent 10 ms apart, held up, then let go within 2 ms each.
        let deltas: Vec<_> = (0..30_u64)
            .filter_map(|i| {
                let arrival = if i < 20 { i * 10_000 } else { 400_000 + i * 2_000 };
                groups.add(500_000, i * 10_000, arrival as i64)
            })
            .collect();
        assert_eq!(deltas.len(), 19, "ten packets in one group");
    }

    #[test]
    fn the_receivers_clock_may_jump() {
        for jump in [i64::MAX / 2, 60_000_000, -60_000_000, i64::MIN / 2] {
            let mut groups = Groups::default();
            let mut deltas = Vec::new();
            for i in 0..40_i64 {
                let arrival = i * 20_000 + if i < 20 { 0 } else { jump };
                let sent = i as u64 * 20_000;
                deltas.extend(groups.add(sent + 50_000, sent, arrival));
            }
            assert!(deltas.len() > 30, "{jump}: {}", deltas.len());
            assert!(deltas.iter().all(|d| d.arrival_us == 20_000), "{jump}: {deltas:?}");
        }
    }
}
