//! A slot's standing with the allocator: what it holds, and when it may climb again.
//!
//! Who falls soon after having climbed climbs later the next time: a link that carries a layer for some seconds only shows it
//! better without.

use crate::allocate::Given;
use crate::event::{ConsumerStatus, Limit};
use crate::params::Layer;
use crate::producer::ceiling::Headroom;

/// After a fall a slot climbs no more for so long …
const GROUNDED_US: u64 = 1_000_000;
/// … and for twice as long, up to five times in a row, if it fell within so much after it had climbed.
const RELAPSE_US: u64 = 10_000_000;
const RELAPSES_MAX: u8 = 5;
/// What held for so long was carried: a link that became far narrower since then is another one.
const CARRIED_US: u64 = 3_000_000;
/// Who shows nothing at all gets its lowest layer back sooner.
const RELAPSES_MAX_DARK: u8 = 3;
/// So long after the last fall it takes one picture after the other.
const CAREFUL_US: u64 = 60_000_000;
/// … and passes by what would have to be asked for, until that would have fit for so long.
const PASSES_US: u64 = 2_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Footing {
    held: Option<Layer>,
    /// Of what is held, bits per second.
    cost: u64,
    climbed_us: Option<u64>,
    grounded_until_us: u64,
    relapses: u8,
    /// Boxed: most never fall.
    fell: Option<Box<Fall>>,
    /// What the link has for it.
    headroom: Headroom,
    /// What control was told last.
    told: Option<Box<ConsumerStatus>>,
}

#[derive(Debug)]
struct Fall {
    at_us: u64,
    /// Since when a picture would fit that it passes by.
    passed_us: Option<u64>,
}

impl Footing {
    /// What the slot was given last.
    pub(crate) fn held(&self) -> Option<Layer> {
        self.held
    }

    /// What that costs, bits per second.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    pub(crate) fn headroom(&self) -> Headroom {
        self.headroom
    }

    pub(crate) fn set_headroom(&mut self, headroom: Headroom) {
        self.headroom = headroom;
    }

    pub(crate) fn is_careful(&self, now_us: u64) -> bool {
        self.relapses > 0 && self.fell_lately(now_us).is_some()
    }

    /// Does it pass by a picture that rests while a better one flows?
    pub(crate) fn passes(&self, now_us: u64) -> bool {
        let waited = |since: u64| now_us.saturating_sub(since) >= PASSES_US;
        self.fell_lately(now_us).is_some_and(|fall| !fall.passed_us.is_some_and(waited))
    }

    fn fell_lately(&self, now_us: u64) -> Option<&Fall> {
        self.fell.as_deref().filter(|fall| now_us.saturating_sub(fall.at_us) < CAREFUL_US)
    }

    pub(crate) fn is_grounded(&self, now_us: u64) -> bool {
        now_us < self.grounded_until_us
    }

    /// Takes what the slot is given now. `guess`: nothing was measured yet, and a fall means nothing. `narrowed`: the link became far narrower just now, which says
    /// nothing of the climb before.
    pub(crate) fn take(&mut self, now_us: u64, given: &Given, guess: bool, narrowed: bool) {
        // More or fewer frames of one picture come and go with what they cost: that is no fall, and none is climbed to by a keyframe.
        let picture = |layer: Option<Layer>| layer.map(|layer| layer.spatial);
        let (before, after) = (picture(self.held), picture(given.layer));
        if guess {
            self.climbed_us = None;
        } else if after > before {
            self.climbed_us = Some(now_us);
            if self.is_careful(now_us) {
                self.grounded_until_us = self.grounded_until_us.max(now_us + GROUNDED_US);
            }
        } else if after < before && given.limit == Limit::Bandwidth {
            let held_us = self.climbed_us.map(|at| now_us.saturating_sub(at));
            let relapse = held_us.is_some_and(|held| held < RELAPSE_US);
            self.relapses = match relapse {
                true if narrowed && held_us >= Some(CARRIED_US) => self.relapses,
                true => (self.relapses + 1).min(RELAPSES_MAX),
                false => 0,
            };
            let most = if after.is_some() { RELAPSES_MAX } else { RELAPSES_MAX_DARK };
            self.grounded_until_us = now_us + (GROUNDED_US << self.relapses.min(most));
            self.fell = Some(Box::new(Fall { at_us: now_us, passed_us: None }));
        }
        let passes = self.passes(now_us);
        if let Some(fall) = self.fell.as_mut().filter(|_| passes) {
            fall.passed_us = given.passed.then(|| fall.passed_us.unwrap_or(now_us));
        }
        (self.held, self.cost) = (given.layer, given.cost);
    }

    /// It never fell.
    pub(crate) fn forgive(&mut self) {
        (self.grounded_until_us, self.relapses, self.fell) = (0, 0, None);
    }

    pub(crate) fn told(&self) -> Option<&ConsumerStatus> {
        self.told.as_deref()
    }

    pub(crate) fn tell(&mut self, status: ConsumerStatus) {
        self.told = Some(Box::new(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(spatial: u8, limit: Limit) -> Given {
        Given { layer: Some(Layer { spatial, temporal: 0 }), limit, ..Given::default() }
    }

    #[test]
    fn who_falls_again_and_again_climbs_later_and_later() {
        let (mut footing, mut now, mut waits) = (Footing::default(), 0, Vec::new());
        footing.take(now, &given(1, Limit::None), false, false);
        for _ in 0..5 {
            now += 2_000_000;
            footing.take(now, &given(0, Limit::Bandwidth), false, false);
            let fell = now;
            while footing.is_grounded(now) {
                now += 100_000;
            }
            waits.push((now - fell) / 1_000_000);
            footing.take(now, &given(1, Limit::None), false, false);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32]);
        assert!(footing.is_careful(now) && footing.is_grounded(now), "one picture at a time");
        assert!(!footing.is_careful(now + CAREFUL_US));
        footing.take(now + RELAPSE_US, &given(0, Limit::Bandwidth), false, false);
        assert!(!footing.is_grounded(now + RELAPSE_US + GROUNDED_US), "it had held for long");
    }

    #[test]
    fn what_rests_is_passed_by_until_it_would_have_fit_for_long() {
        let mut footing = Footing::default();
        let low = given(0, Limit::Bandwidth);
        footing.take(0, &given(2, Limit::None), false, false);
        assert!(!footing.passes(0), "it never fell");
        let fits = Given { passed: true, ..low };
        for (at, given) in [(1, low), (2, fits), (PASSES_US, low), (PASSES_US + 1, fits)] {
            footing.take(at, &given, false, false);
            assert!(footing.passes(at), "at {at}");
        }
        assert!(footing.passes(2 * PASSES_US));
        assert!(!footing.passes(2 * PASSES_US + 1));
        // Nor does it wait again when that does not fit for a moment.
        footing.take(2 * PASSES_US + 1, &low, false, false);
        assert!(!footing.passes(2 * PASSES_US + 2));
    }

    #[test]
    fn a_link_that_became_narrow_is_no_relapse() {
        let mut footing = Footing::default();
        let mut cut = |at: u64, held_us: u64| {
            footing.take(at, &given(1, Limit::None), false, false);
            footing.take(at + held_us, &given(0, Limit::Bandwidth), false, true);
            (footing.is_grounded(at + held_us + GROUNDED_US), footing.is_careful(at + held_us))
        };
        for at in [0, 8_000_000, 16_000_000] {
            assert_eq!(cut(at, CARRIED_US), (false, false), "at {at}");
        }
        assert_eq!(cut(24_000_000, CARRIED_US - 1), (true, true), "a burst that it let through");
    }

    #[test]
    fn fewer_frames_of_the_same_picture_are_no_fall() {
        let mut footing = Footing::default();
        for now in 0..10 {
            let layer = Some(Layer { spatial: 0, temporal: (now % 2) as u8 });
            footing.take(now, &Given { layer, ..given(0, Limit::Bandwidth) }, false, false);
            assert!(!footing.is_grounded(now), "at {now}");
        }
    }

    #[test]
    fn a_smaller_element_is_no_fall() {
        let mut footing = Footing::default();
        footing.take(0, &given(2, Limit::None), false, false);
        footing.take(1, &given(0, Limit::Viewport), false, false);
        assert!(!footing.is_grounded(2));
    }
}
