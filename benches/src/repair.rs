//! Losses that a receiver makes up: which packets it drops, asks for again, and gets in time.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// A packet counts as complete when it came, or was made up for within this time.
pub(crate) const COMPLETE_WITHIN: Duration = Duration::from_millis(500);
/// Between two requests for one packet.
const NACK_INTERVAL: Duration = Duration::from_millis(50);
/// Requests for one packet.
const NACKS_MAX: u32 = 10;
/// Packets of one stream that are waited for; more are given up.
const MISSING_MAX: usize = 512;

/// Counters of all streams of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RepairCounts {
    /// Thrown away before anybody looked.
    pub(crate) dropped: u64,
    /// Numbers seen to be missing.
    pub(crate) missed: u64,
    /// Of these, came again in time.
    pub(crate) repaired: u64,
    /// Entries of the NACKs sent.
    pub(crate) asked: u64,
}

#[derive(Debug)]
struct Missing {
    ssrc: u32,
    number: u16,
    since: Instant,
    due: Instant,
    asked: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Repair {
    share: f64,
    rng: SmallRng,
    missing: Vec<Missing>,
    pub(crate) counts: RepairCounts,
}

impl Repair {
    /// Drops the share `share` of all packets, the same ones for the same `seed`.
    pub(crate) fn new(share: f64, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { share, rng, missing: Vec::new(), counts: RepairCounts::default() }
    }

    /// Is the next packet lost?
    pub(crate) fn drops(&mut self) -> bool {
        let drops = self.rng.random_bool(self.share);
        self.counts.dropped += u64::from(drops);
        drops
    }

    /// The numbers of `ssrc` from `from` up to, but not including, `to` did not come.
    pub(crate) fn miss(&mut self, now: Instant, ssrc: u32, from: u16, to: u16) {
        let mut number = from;
        while number != to {
            self.counts.missed += 1;
            if self.missing.len() < MISSING_MAX {
                self.missing.push(Missing { ssrc, number, since: now, due: now, asked: 0 });
            }
            number = number.wrapping_add(1);
        }
    }

    /// A packet came late or again; tells whether it was waited for.
    pub(crate) fn found(&mut self, now: Instant, ssrc: u32, number: u16) -> bool {
        let is_it = |missing: &Missing| missing.ssrc == ssrc && missing.number == number;
        let Some(index) = self.missing.iter().position(is_it) else { return false };
        let missing = self.missing.swap_remove(index);
        self.counts.repaired += u64::from(now - missing.since <= COMPLETE_WITHIN);
        true
    }

    /// When [`Self::nack`] has something to ask for.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.due).min()
    }

    /// A NACK (RFC 4585 section 6.2.1) for what is due on one SSRC; `None` when nothing is.
    pub(crate) fn nack(&mut self, now: Instant, sender: u32) -> Option<Vec<u8>> {
        self.missing
            .retain(|missing| now - missing.since <= COMPLETE_WITHIN && missing.asked < NACKS_MAX);
        let ssrc = self.missing.iter().find(|missing| missing.due <= now)?.ssrc;
        let mut numbers = Vec::new();
        for missing in self.missing.iter_mut().filter(|missing| missing.ssrc == ssrc) {
            if missing.due <= now {
                missing.due = now + NACK_INTERVAL;
                missing.asked += 1;
                numbers.push(missing.number);
            }
        }
        self.counts.asked += numbers.len() as u64;
        let mut packet = vec![0x81, 205, 0, 0];
        packet.extend(sender.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        let mut numbers = &numbers[..];
        // 1100 bytes.
        for _ in 0..270 {
            let Some((first, rest)) = numbers.split_first() else { break };
            let in_mask = |number: &&u16| (1..=16).contains(&number.wrapping_sub(*first));
            let count = rest.iter().take_while(in_mask).count();
            let mask = rest[..count]
                .iter()
                .fold(0u16, |mask, number| mask | 1 << (number.wrapping_sub(*first) - 1));
            packet.extend(first.to_be_bytes());
            packet.extend(mask.to_be_bytes());
            numbers = &rest[count..];
        }
        packet[3] = (packet.len() / 4 - 1) as u8;
        packet[2] = ((packet.len() / 4 - 1) >> 8) as u8;
        Some(packet)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_asked_for_until_it_comes() {
        let start = Instant::now();
        let mut repair = Repair::new(0.0, 1);
        repair.miss(start, 7, 65_535, 2);
        assert_eq!(repair.due(), Some(start));
        let nack = repair.nack(start, 1).unwrap();
        assert_eq!(nack, [0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 255, 255, 0, 0b11]);
        assert_eq!(repair.nack(start, 1), None);
        assert!(repair.found(start + Duration::from_millis(20), 7, 0));
        assert!(!repair.found(start + Duration::from_millis(20), 7, 0));
        assert!(!repair.found(start + Duration::from_millis(20), 8, 1));
        let nack = repair.nack(start + NACK_INTERVAL, 1).unwrap();
        assert_eq!(nack[12..], [255, 255, 0, 0b10]);
        let late = start + COMPLETE_WITHIN + Duration::from_millis(1);
        assert!(repair.found(late, 7, 1));
        assert_eq!(repair.nack(late, 1), None);
        let expected = RepairCounts { dropped: 0, missed: 3, repaired: 1, asked: 5 };
        assert_eq!(repair.counts, expected);
    }

    #[test]
    fn the_same_packets_are_dropped_for_the_same_seed() {
        let drops = |seed| {
            let mut repair = Repair::new(0.1, seed);
            (0..10_000).map(|_| repair.drops()).collect::<Vec<_>>()
        };
        assert_eq!(drops(1), drops(1));
        assert_ne!(drops(1), drops(2));
        let count = drops(3).into_iter().filter(|drops| *drops).count();
        assert!((800..1200).contains(&count), "{count}");
    }
}
