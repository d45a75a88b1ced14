//! Whether a subscriber's audio repeats what came before (RED, RFC 2198): made where packets are lost, for who can read it.

/// Fractions lost (of 256, RFC 3550 section 6.4.1) at which one earlier packet is repeated, and two …
const ONE: u8 = 8;
const TWO: u8 = 26;
/// … and below which, for so long, none is.
const NONE: u8 = 3;
const CALM_US: u64 = 10_000_000;
/// Most earlier packets in one.
pub(crate) const LEVEL_MAX: usize = 2;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Redundancy {
    level: u8,
    calm_since_us: Option<u64>,
}

impl Redundancy {
    /// How many earlier packets each one repeats.
    pub(crate) fn level(self) -> usize {
        usize::from(self.level)
    }

    /// Takes a receiver report of the slot. `queued`: the link had a queue lately, and what that loses is not sent more often into it.
    pub(crate) fn report(&mut self, now_us: u64, fraction_lost: u8, queued: bool) {
        let needed = u8::from(fraction_lost >= ONE) + u8::from(fraction_lost >= TWO);
        if needed > self.level && !queued {
            self.level = needed;
        }
        if fraction_lost >= NONE && !queued {
            self.calm_since_us = None;
            return;
        }
        let since = *self.calm_since_us.get_or_insert(now_us);
        if now_us.saturating_sub(since) >= CALM_US {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_with_loss_and_goes_when_it_has_been_calm() {
        let (mut redundancy, mut levels) = (Redundancy::default(), Vec::new());
        for (second, lost) in [(0, 0), (1, 7), (2, 8), (3, 30), (4, 10), (5, 0), (14, 2), (15, 0)] {
            redundancy.report(second * 1_000_000, lost, false);
            levels.push(redundancy.level());
        }
        assert_eq!(levels, [0, 0, 1, 2, 2, 2, 2, 0]);
        redundancy.report(16_000_000, 30, true);
        assert_eq!(redundancy.level(), 0, "a full queue has no room for more");
        redundancy.report(16_000_000, 9, false);
        redundancy.report(20_000_000, 0, false);
        redundancy.report(29_000_000, 4, false);
        redundancy.report(31_000_000, 0, false);
        assert_eq!(redundancy.level(), 1, "it was not calm all the time");
        redundancy.report(32_000_000, 30, true);
        redundancy.report(41_000_000, 30, true);
        assert_eq!(redundancy.level(), 0, "what came for loss does not stay for a queue");
    }
}
