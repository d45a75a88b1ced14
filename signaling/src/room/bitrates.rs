//! How much each encoding brings, measured while event streams want to know.
//!
//! Pure: absolute counters of the media plane in, bits per second out.

use sfu::{ProducerId, ProducerStats};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between two measurements.
const EVERY: Duration = Duration::from_secs(2);
/// What was not heard of for so long has ended.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// The encodings of a room.
#[derive(Debug, Default)]
pub(super) struct Bitrates {
    due: Option<Instant>,
    meters: HashMap<(ProducerId, Option<String>), Meter>,
}

#[derive(Clone, Copy, Debug)]
struct Meter {
    bytes: u64,
    at: Instant,
    /// After the second measurement.
    bits_per_second: Option<u64>,
}

impl Bitrates {
    /// Whether counters are to be asked for now.
    pub(super) fn is_due(&mut self, now: Instant, wanted: bool) -> bool {
        if !wanted {
            *self = Self::default();
            return false;
        }
        let due = self.due.is_none_or(|due| due <= now);
        if due {
            self.due = Some(now + EVERY);
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Counters have come.
    pub(super) fn note(&mut self, now: Instant, producers: &[ProducerStats]) {
        // An answer may come when nobody wants it any more.
        if self.due.is_none() {
            return;
        }
        for stats in producers {
            let before = self.meters.get(&(stats.producer, stats.rid.clone())).copied();
            let rate = before.and_then(|before| {
                let millis = u64::try_from(now.duration_since(before.at).as_millis()).ok()?;
                let bits = stats.bytes.saturating_sub(before.bytes).saturating_mul(8);
                bits.saturating_mul(1000).checked_div(millis)
            });
            let meter = Meter { bytes: stats.bytes, at: now, bits_per_second: rate };
            self.meters.insert((stats.producer, stats.rid.clone()), meter);
        }
        self.meters.retain(|_, meter| meter.at + FORGET_AFTER > now);
    }

    /// In bits per second; 0: nothing comes. `None`: not measured yet.
    pub(super) fn of(&self, producer: ProducerId, rid: Option<&str>) -> Option<u64> {
        self.meters.get(&(producer, rid.map(str::to_owned)))?.bits_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(bytes: u64) -> [ProducerStats; 1] {
        [ProducerStats {
            producer: ProducerId(1),
            rid: Some("q".to_owned()),
            packets: 0,
            bytes,
            lost: 0,
            jitter: 0.0,
            nacks: 0,
            keyframe_requests: 0,
        }]
    }

    #[test]
    fn two_measurements_make_a_rate() {
        let (mut bitrates, now) = (Bitrates::default(), Instant::now());
        assert!(!bitrates.is_due(now, false));
        assert!(bitrates.is_due(now, true) && !bitrates.is_due(now, true));
        bitrates.note(now, &stats(1000));
        assert_eq!(bitrates.of(ProducerId(1), Some("q")), None);
        assert!(bitrates.is_due(now + EVERY, true));
        bitrates.note(now + EVERY, &stats(251_000));
        assert_eq!(bitrates.of(ProducerId(1), Some("q")), Some(1_000_000));
        assert_eq!(bitrates.of(ProducerId(1), Some("h")), None);
        bitrates.note(now + FORGET_AFTER * 2, &[]);
        assert_eq!(bitrates.of(ProducerId(1), Some("q")), None, "forgotten");
        assert!(!bitrates.is_due(now, false));
        assert_eq!(bitrates.deadline(), None);
    }
}
