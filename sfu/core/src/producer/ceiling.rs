//! The most that a publisher of one encoding should send, where none of its viewers carries all of it: a picture that is less sharp and moves is worth
//! more than a sharp one that stands still. With several encodings the lowest one is small enough.
//!
//! What it cost before is remembered as what viewers need, so that their links are probed for it; as soon as one of them carries it the ceiling is gone.

/// Of what the best link has, in percent: encoders miss their target by as much.
const SHARE: u64 = 85;
/// No picture is worth less, bits per second.
const LEAST: u64 = 100_000;
/// It is lowered when it should be less than so much of what was told, in percent, after so long …
const LOWER_PERCENT: u64 = 90;
const LOWER_AFTER_US: u64 = 500_000;
/// … and raised when it could be more than so much for so long.
const RAISE_PERCENT: u64 = 115;
const RAISE_AFTER_US: u64 = 2_000_000;
/// It is gone when somebody has carried all of it for so long, …
const GONE_AFTER_US: u64 = 1_000_000;
/// … doubled each time that it was needed again within so long, up to so often.
const RELAPSE_US: u64 = 10_000_000;
const RELAPSES_MAX: u8 = 5;
/// A publisher that costs less than so much of it, in percent, has no use for more.
const BINDS_PERCENT: u64 = 60;
/// It is gone when nobody has had too little for so long (hidden, left).
const IDLE_US: u64 = 5_000_000;
/// One that costs more than so much of it for so long, though it had so long since it was lowered, does not keep to it.
const IGNORED_PERCENT: u64 = 130;
const IGNORED_AFTER_US: u64 = 4_000_000;
const LAG_US: u64 = 2_000_000;
/// Another worker is told of headroom again when it changed by so many percent.
const TOLD_PERCENT: u64 = 5;
/// Who has no room for the least ceiling is not waited for.
pub(crate) const WORTH: u64 = LEAST * 100 / SHARE;

/// What one viewer's link has for a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Headroom {
    /// Nothing was measured yet, or it is not to be shown.
    #[default]
    Unknown,
    /// So many bits per second, which is not enough for the lowest rung.
    Short(u64),
    /// Enough.
    Enough,
}

impl Headroom {
    /// Is it worth to be told to another worker, who was told `before`?
    pub(crate) fn differs(self, before: Self) -> bool {
        match (self, before) {
            (Self::Short(now), Self::Short(before)) => {
                now.abs_diff(before) * 100 > before * TOLD_PERCENT
            }
            (now, before) => now != before,
        }
    }
}

/// What the workers that have only viewers of a track are told of its ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CeilingState {
    /// Bits per second; 0: there is none.
    pub(crate) told: u64,
    pub(crate) whole: u64,
    pub(crate) ignored: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ceiling {
    /// Bits per second, and since when.
    told: Option<(u64, u64)>,
    /// What was told before it was lowered, and when that was.
    before: Option<(u64, u64)>,
    /// What the lowest rung costs without it.
    whole: u64,
    /// Since when it could be more.
    raise_us: Option<u64>,
    /// Since when somebody carries everything.
    enough_us: Option<u64>,
    gone_us: Option<u64>,
    /// Since when nobody has too little.
    idle_us: Option<u64>,
    /// Viewers that had too little at the last look.
    short: usize,
    relapses: u8,
    /// Since when it costs far more.
    over_us: Option<u64>,
    ignored: bool,
}

impl Ceiling {
    pub(crate) fn state(&self) -> CeilingState {
        let Self { whole, ignored, .. } = *self;
        CeilingState { told: self.told().unwrap_or(0), whole, ignored }
    }

    /// Takes what the worker of the publisher decided.
    pub(crate) fn follow(&mut self, CeilingState { told, whole, ignored }: CeilingState) {
        let told = (told > 0).then_some((told, 0));
        *self = Self { told, whole, ignored, ..Self::default() };
    }

    /// Bits per second.
    pub(crate) fn told(&self) -> Option<u64> {
        self.told.map(|(told, _)| told)
    }

    /// What the lowest rung would cost without it, if the publisher sends about as much as it may.
    pub(crate) fn whole(&self, cost: u64) -> Option<u64> {
        self.told().filter(|told| cost * 100 >= told * BINDS_PERCENT).map(|_| self.whole)
    }

    /// What there must be for a viewer to do without it; `lowest`: what the lowest rung costs now.
    pub(crate) fn enough(&self, lowest: u64) -> u64 {
        if self.told.is_some() { self.whole.max(lowest) } else { lowest }
    }

    /// The publisher sends more than it was told to.
    pub(crate) fn is_ignored(&self) -> bool {
        self.ignored
    }

    /// Takes what viewers have, and what the lowest rung and all of them cost; returns whether control is to be told of another one.
    pub(crate) fn update(
        &mut self,
        now_us: u64,
        headrooms: impl Iterator<Item = Headroom>,
        (lowest, all): (u64, u64),
    ) -> bool {
        let (mut best, mut short, mut enough) = (None, 0, false);
        for room in headrooms {
            match room {
                Headroom::Unknown => {}
                Headroom::Short(there) => (best, short) = (best.max(Some(there)), short + 1),
                Headroom::Enough => enough = true,
            }
        }
        let more = short > std::mem::replace(&mut self.short, short);
        let Some(best) = best.filter(|_| !enough) else {
            self.over_us = None;
            return if enough { self.carried(now_us) } else { self.idle(now_us) };
        };
        (self.enough_us, self.idle_us) = (None, None);
        let target = (best * SHARE / 100).max(LEAST);
        let Some((told, since_us)) = self.told else {
            return self.begin(now_us, target, lowest, more);
        };
        self.look(now_us, told, (lowest, all));
        let held_us = now_us.saturating_sub(since_us);
        if target * 100 <= told * RAISE_PERCENT {
            self.raise_us = None;
        }
        let raise = target * 100 > told * RAISE_PERCENT && {
            let since_us = *self.raise_us.get_or_insert(now_us);
            now_us.saturating_sub(since_us) >= RAISE_AFTER_US
        };
        let lower = target * 100 < told * LOWER_PERCENT && held_us >= LOWER_AFTER_US;
        if raise || lower {
            if self.before.is_none_or(|(_, at)| now_us.saturating_sub(at) >= LAG_US) {
                self.before = Some((told, now_us));
            }
            (self.told, self.raise_us) = (Some((target, now_us)), None);
        }
        raise || lower
    }

    /// Does the publisher keep to it?
    fn look(&mut self, now_us: u64, told: u64, (lowest, all): (u64, u64)) {
        let before = self.before.filter(|(_, at)| now_us.saturating_sub(*at) < LAG_US);
        let most = told.max(before.map_or(0, |(told, _)| told));
        if all * 100 <= most * IGNORED_PERCENT {
            (self.over_us, self.ignored) = (None, false);
            return;
        }
        let since_us = *self.over_us.get_or_insert(now_us);
        if now_us.saturating_sub(since_us) >= IGNORED_AFTER_US {
            (self.ignored, self.whole) = (true, lowest);
        }
    }

    /// `more`: have too little than before. A relapse is that only, and not that somebody else looks away.
    fn begin(&mut self, now_us: u64, target: u64, lowest: u64, more: bool) -> bool {
        if target >= lowest {
            return false;
        }
        let relapse = |gone: u64| now_us.saturating_sub(gone) < RELAPSE_US;
        self.relapses = match self.gone_us.is_some_and(relapse) {
            true if !more => self.relapses,
            true => (self.relapses + 1).min(RELAPSES_MAX),
            false => 0,
        };
        (self.told, self.whole) = (Some((target, now_us)), lowest);
        true
    }

    fn carried(&mut self, now_us: u64) -> bool {
        if self.told.is_none() {
            return false;
        }
        let since_us = *self.enough_us.get_or_insert(now_us);
        if now_us.saturating_sub(since_us) < GONE_AFTER_US << self.relapses {
            return false;
        }
        let Self { relapses, short, .. } = *self;
        *self = Self { gone_us: Some(now_us), relapses, short, ..Self::default() };
        true
    }

    /// Nobody needs it, as far as that is known.
    fn idle(&mut self, now_us: u64) -> bool {
        self.enough_us = None;
        let since_us = *self.idle_us.get_or_insert(now_us);
        let gone = self.told.is_some() && now_us.saturating_sub(since_us) >= IDLE_US;
        if gone {
            *self = Self::default();
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::Headroom::{Enough, Short, Unknown};
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn update(
        ceiling: &mut Ceiling,
        now_us: u64,
        headrooms: &[Headroom],
        cost: u64,
    ) -> Option<Option<u64>> {
        let told = ceiling.update(now_us, headrooms.iter().copied(), (cost, cost));
        told.then(|| ceiling.told())
    }

    #[test]
    fn the_best_link_that_is_short_gives_it_and_one_that_is_not_takes_it_away() {
        let mut ceiling = Ceiling::default();
        assert_eq!(update(&mut ceiling, 0, &[Short(900_000), Enough], 2_000_000), None);
        assert_eq!(update(&mut ceiling, 0, &[Unknown], 2_000_000), None);
        let headrooms = [Short(900_000), Short(1_000_000), Unknown];
        assert_eq!(update(&mut ceiling, 0, &headrooms, 2_000_000), Some(Some(850_000)));
        assert_eq!(ceiling.whole(850_000), Some(2_000_000), "they need it still");
        assert_eq!(ceiling.whole(400_000), None, "a picture that stands still needs no more");
        assert_eq!(update(&mut ceiling, SECOND, &[Unknown], 850_000), None);
        assert_eq!(update(&mut ceiling, SECOND, &[Enough], 850_000), None);
        assert_eq!(update(&mut ceiling, 2 * SECOND, &[Enough], 850_000), Some(None));
        assert_eq!(ceiling.enough(850_000), 850_000);
    }

    #[test]
    fn it_follows_the_link_down_soon_and_up_slowly() {
        let mut ceiling = Ceiling::default();
        update(&mut ceiling, 0, &[Short(1_000_000)], 2_000_000);
        assert_eq!(update(&mut ceiling, SECOND, &[Short(960_000)], 850_000), None);
        assert_eq!(update(&mut ceiling, SECOND, &[Short(500_000)], 850_000), Some(Some(425_000)));
        let mut raise = |at, there| update(&mut ceiling, at, &[Short(there)], 425_000);
        assert_eq!(raise(2 * SECOND, 1_000_000), None);
        assert_eq!(raise(3 * SECOND, 500_000), None, "a moment");
        assert_eq!(raise(4 * SECOND, 1_000_000), None);
        assert_eq!(raise(6 * SECOND, 1_000_000), Some(Some(850_000)));
        assert_eq!(raise(7 * SECOND, 1), Some(Some(LEAST)));
    }

    #[test]
    fn what_was_taken_away_too_soon_stays_longer_the_next_time() {
        let (mut ceiling, mut now, mut stays) = (Ceiling::default(), 0, Vec::new());
        for _ in 0..3 {
            update(&mut ceiling, now, &[Short(1_000_000)], 2_000_000);
            let since = now;
            while update(&mut ceiling, now, &[Enough], 850_000).is_none() {
                now += SECOND / 10;
            }
            stays.push((now - since) / SECOND);
            now += SECOND;
        }
        assert_eq!(stays, [1, 2, 4]);
    }

    #[test]
    fn a_publisher_that_does_not_keep_to_it_is_known_and_one_that_costs_less_gets_none() {
        let mut ceiling = Ceiling::default();
        assert_eq!(update(&mut ceiling, 0, &[Short(1_000_000)], 800_000), None, "a dip");
        update(&mut ceiling, 0, &[Short(1_000_000)], 2_000_000);
        for (second, there) in [(1, 1_000_000), (3, 500_000), (4, 500_000)] {
            update(&mut ceiling, second * SECOND, &[Short(there)], 2_000_000);
        }
        assert!(!ceiling.is_ignored(), "not yet");
        update(&mut ceiling, 5 * SECOND, &[Short(600_000)], 2_500_000);
        assert!(ceiling.is_ignored() && ceiling.enough(0) == 2_500_000);
        update(&mut ceiling, 6 * SECOND, &[Short(500_000)], 440_000);
        assert!(!ceiling.is_ignored(), "about as much as it may");
    }

    #[test]
    fn who_follows_a_falling_link_a_second_and_a_half_late_keeps_to_it() {
        let mut ceiling = Ceiling::default();
        for tenth in 0..80_u64 {
            let rate = |tenth: u64| 2_000_000 - 20_000 * tenth.min(80);
            let cost = rate(tenth.saturating_sub(15)) * SHARE / 100;
            update(&mut ceiling, tenth * SECOND / 10, &[Short(rate(tenth))], cost.max(LEAST));
            assert!(!ceiling.is_ignored(), "after {tenth} tenths of a second");
        }
    }

    #[test]
    fn who_looks_away_takes_it_along_and_makes_nothing_last_longer() {
        let mut ceiling = Ceiling::default();
        update(&mut ceiling, 0, &[Short(900_000)], 2_000_000);
        assert_eq!(update(&mut ceiling, SECOND, &[], 765_000), None);
        assert_eq!(update(&mut ceiling, 6 * SECOND, &[], 765_000), Some(None), "nobody is there");
        for turn in 0..4 {
            let at = (10 + 4 * turn) * SECOND;
            update(&mut ceiling, at, &[Short(900_000), Unknown], 2_000_000);
            assert!(ceiling.told().is_some(), "the other one looks away");
            update(&mut ceiling, at + SECOND, &[Short(900_000), Enough], 765_000);
            update(&mut ceiling, at + 2 * SECOND, &[Short(900_000), Enough], 765_000);
            assert_eq!(ceiling.told(), None);
        }
    }
}
