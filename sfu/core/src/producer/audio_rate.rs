//! How much an audio encoding takes.

/// One part of the window.
const PART_US: u64 = 500_000;
/// The largest of so many whole ones counts: a voice pauses between sentences, and what it needs comes back at once.
const PARTS: usize = 4;
/// So much a packet counts at least, in bytes: of a quiet voice it is the headers that take most. 40 kbit/s, with a packet each 20 ms.
const PACKET_MIN: u32 = 100;
/// Opus has no more (RFC 6716, section 2.1.1); who sends more takes nothing away from others' pictures for it.
const MOST: u64 = 510_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct AudioRate {
    /// Bytes of each part, by its number, which is its time in [`PART_US`]; one more is being filled.
    bytes: [u32; PARTS + 1],
    newest: u64,
    /// Of the first packet.
    first: Option<u64>,
}

impl AudioRate {
    pub(crate) fn count(&mut self, at_us: u64, payload: u16) {
        let number = at_us / PART_US;
        self.first.get_or_insert(number);
        if number > self.newest {
            for stale in (self.newest + 1).max(number.saturating_sub(PARTS as u64))..=number {
                self.bytes[stale as usize % (PARTS + 1)] = 0;
            }
            self.newest = number;
        } else if number + PARTS as u64 <= self.newest {
            return;
        }
        let bytes = &mut self.bytes[number as usize % (PARTS + 1)];
        *bytes = bytes.saturating_add(u32::from(payload).max(PACKET_MIN));
    }

    /// Bits per second; `None` before it ran for long enough to say.
    pub(crate) fn bits_per_second(&self, now_us: u64) -> Option<u64> {
        let now = now_us / PART_US;
        // The first part is not whole.
        self.first.filter(|first| now > first + 1)?;
        let oldest = self.newest.saturating_sub(PARTS as u64);
        let window = now.saturating_sub(PARTS as u64)..now;
        let parts = window.filter(|number| (oldest..=self.newest).contains(number));
        let most = parts.map(|number| self.bytes[number as usize % (PARTS + 1)]).max();
        Some((u64::from(most.unwrap_or(0)) * 8_000_000 / PART_US).min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of 20 ms each.
    fn speak(rate: &mut AudioRate, from_ms: u64, to_ms: u64, payload: u16) {
        (from_ms..to_ms).step_by(20).for_each(|ms| rate.count(ms * 1000, payload));
    }

    #[test]
    fn it_is_what_the_loudest_half_second_of_the_last_two_took() {
        let mut rate = AudioRate::default();
        assert_eq!(rate.bits_per_second(10_000_000), None);
        speak(&mut rate, 10_000, 10_900, 640);
        assert_eq!(rate.bits_per_second(10_900_000), None, "too short");
        speak(&mut rate, 10_900, 12_000, 640);
        assert_eq!(rate.bits_per_second(12_000_000), Some(256_000));
        let comfort_noise = |rate: &mut AudioRate, from: u64, to: u64| {
            (from..to).step_by(400).for_each(|ms| rate.count(ms * 1000, 2));
        };
        comfort_noise(&mut rate, 12_000, 13_900);
        assert_eq!(rate.bits_per_second(13_900_000), Some(256_000), "between two sentences");
        comfort_noise(&mut rate, 14_000, 16_000);
        assert!(rate.bits_per_second(15_900_000).is_some_and(|rate| rate < 4_000));
        assert_eq!(rate.bits_per_second(60_000_000), Some(0), "nothing came for long");
        speak(&mut rate, 60_000, 60_500, 30);
        assert_eq!(rate.bits_per_second(60_500_000), Some(40_000));
        speak(&mut rate, 60_500, 62_000, 2000);
        assert_eq!(rate.bits_per_second(62_000_000), Some(MOST));
    }
}
