//! How much of what leaves may be repairs: requests cost a subscriber next to nothing, and answers cost the server, so a flood of requests must not
//! become a flood of answers.
//!
//! Repairs earn a tenth of what leaves beside them. The rest is earned by loss that the subscriber tells the estimate of its link as well, so that who
//! invents it gets less media: each packet that its transport-wide feedback says is missing may come again as often as any. Who sends none is taken at
//! its receiver reports' word. What was not needed is saved for bursts of loss, as much as five seconds earn: so the repairs of any five seconds are a
//! fifth of the media.

use crate::consumer::history::RESENDS_MAX;

/// Repairs are one part in so many of what leaves beside them.
const PART: u64 = 10;
/// A link that carries little besides may repair so much all the same, in bytes per second: audio alone, behind heavy loss.
const FLOOR: u64 = 4_000;
/// Between two looks at what left: long enough that media comes in each.
const FILLED_EACH_US: u64 = 100_000;
/// What is saved was earned within so long …
const SAVED_US: u64 = 5_000_000;
/// … or is so much, in bytes: a keyframe's worth.
const SAVED_MIN: u64 = 24 * 1024;
/// What loss earned is kept up to here, in bytes.
const PROVED_MAX: u64 = 512 * 1024;

/// One subscriber's.
#[derive(Debug)]
pub(crate) struct RepairBudget {
    /// Below zero while the last packet was larger than what was left.
    earned: i64,
    /// Spent first.
    proved: i64,
    /// Bytes of everything that had left, and of the repairs among them, when this was filled last.
    total_bytes: u64,
    filled_us: u64,
    /// Bytes of media of about the last [`SAVED_US`].
    recent: u64,
}

impl Default for RepairBudget {
    fn default() -> Self {
        Self { earned: SAVED_MIN as i64, proved: 0, total_bytes: 0, filled_us: 0, recent: 0 }
    }
}

impl RepairBudget {
    /// May one more packet be repaired? `total_bytes`: of all datagrams that left so far. `lost`: in parts of 256, as a subscriber without transport-wide
    /// feedback reported last.
    pub(crate) fn allows(&mut self, now_us: u64, total_bytes: u64, lost: u8) -> bool {
        let elapsed_us = now_us.saturating_sub(self.filled_us);
        if elapsed_us >= FILLED_EACH_US {
            let media = total_bytes.saturating_sub(self.total_bytes);
            let forgotten = self.recent.saturating_mul(elapsed_us.min(SAVED_US)) / SAVED_US;
            let shortly =
                u128::from(media) * u128::from(SAVED_US) / u128::from(elapsed_us.max(SAVED_US));
            self.recent = (self.recent - forgotten).saturating_add(shortly as u64);
            let floor = elapsed_us.min(SAVED_US) * FLOOR / 1_000_000;
            let earned = clamp((media / PART).max(floor));
            let saved = clamp((self.recent / PART).max(SAVED_MIN));
            self.earned = self.earned.saturating_add(earned).min(saved);
            self.prove(media.saturating_mul(lost.into()) / 256);
            (self.total_bytes, self.filled_us) = (total_bytes, now_us);
        }
        self.earned > 0 || self.proved > 0
    }

    /// So many bytes are missing at the subscriber.
    pub(crate) fn prove(&mut self, bytes: u64) {
        let proved = bytes.saturating_mul(RESENDS_MAX.into());
        self.proved = self.proved.saturating_add(clamp(proved)).min(PROVED_MAX as i64);
    }

    /// A repair of so many bytes left. `counted`: it is among the bytes that the next call is told of, and earns nothing.
    pub(crate) fn spend(&mut self, bytes: usize, counted: bool) {
        let left = if self.proved > 0 { &mut self.proved } else { &mut self.earned };
        *left -= bytes as i64;
        if counted {
            self.total_bytes += bytes as u64;
        }
    }
}

fn clamp(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1000;
    const STEP_US: u64 = 1000;

    /// Repairs as often as it may, behind each of these packets of media; returns the bytes of repairs. `lost` of 256 are proved to be missing.
    fn flood(budget: &mut RepairBudget, start_us: u64, packets: u64, lost: u64) -> u64 {
        let (mut total, mut repairs) = (budget.total_bytes, 0);
        for packet in 0..packets {
            total += PACKET;
            if packet % 256 < lost {
                budget.prove(PACKET);
            }
            for _ in 0..10 {
                if budget.allows(start_us + packet * STEP_US, total, 0) {
                    budget.spend(PACKET as usize, true);
                    (total, repairs) = (total + PACKET, repairs + PACKET);
                }
            }
        }
        repairs
    }

    #[test]
    fn row_21_repairs_of_five_seconds_are_a_fifth_of_the_media() {
        let mut budget = RepairBudget::default();
        // Everything is saved up by then.
        let mut total = 0;
        for packet in 0..20_000 {
            total += PACKET;
            assert!(budget.allows(packet * STEP_US, total, 0));
        }
        let five = 5000 * PACKET;
        let first = flood(&mut budget, 20_000_000, 5000, 0);
        assert!((five / 6..=five / 5 + 2 * PACKET).contains(&first), "{first}");
        let second = flood(&mut budget, 25_000_000, 5000, 0);
        assert!((five / 11..=five / 10 + 2 * PACKET).contains(&second), "{second}");
        let lossy = flood(&mut budget, 30_000_000, 5000, 26);
        let proved = five * 26 / 256 * 3;
        assert!((proved..=proved + five / 9).contains(&lossy), "{lossy}");
    }

    #[test]
    fn a_receiver_report_counts_where_there_is_nothing_better() {
        let mut budget = RepairBudget::default();
        flood(&mut budget, 0, 1000, 0);
        let (total, before) = (budget.total_bytes + 100_000, budget.proved);
        assert!(budget.allows(10_000_000, total, 64));
        assert_eq!(budget.proved - before, 75_000);
    }

    #[test]
    fn little_media_may_be_repaired_at_the_floor() {
        let mut budget = RepairBudget::default();
        flood(&mut budget, 0, 1000, 0);
        // One small packet each 20 ms for ten seconds, each of them asked for.
        let mut repairs = 0;
        for packet in 0..500_u64 {
            let total = budget.total_bytes + 80;
            if budget.allows(20_000_000 + packet * 20_000, total, 0) {
                budget.spend(80, false);
                repairs += 1;
            }
        }
        assert!(repairs >= 490, "{repairs}");
    }

    #[test]
    fn what_is_saved_is_bounded() {
        let mut budget = RepairBudget::default();
        // Nobody asked for a minute.
        assert!(budget.allows(60_000_000, 60_000 * PACKET, 0));
        assert_eq!(budget.earned, 500 * PACKET as i64);
        assert!(budget.allows(u64::MAX, u64::MAX, 255));
        budget.prove(u64::MAX);
        assert_eq!(budget.proved, PROVED_MAX as i64);
    }
}
