//! Replay windows and the per-SSRC table that holds them (RFC 3711 sections 3.3.1 and 3.3.2).

/// Packets behind the highest one that are still accepted, once each.
pub(super) const WINDOW: u64 = 1024;
/// SSRCs remembered per packet kind. One more takes over the least recently used slot.
pub(super) const MAX_STREAMS: usize = 128;

const WORDS: usize = (WINDOW / 64) as usize;

/// Which of the last [`WINDOW`] indices were seen: a ring of bits, one per index modulo the window.
pub(super) struct ReplayWindow {
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// A window whose only packet is `index`.
    pub(super) fn new(index: u64) -> Self {
        let mut window = Self { highest: index, seen: [0; WORDS] };
        window.set(index);
        window
    }

    /// Highest index seen.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Neither seen nor too old.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && !self.get(index),
        }
    }

    /// Marks an authenticated packet as seen. The caller has asked [`Self::is_fresh`].
    pub(super) fn accept(&mut self, index: u64) {
        if let Some(gap @ 1..) = index.checked_sub(self.highest) {
            if gap >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.highest + 1..index).for_each(|skipped| self.clear(skipped));
            }
            self.highest = index;
        }
        self.set(index);
    }

    fn get(&self, index: u64) -> bool {
        let (word, bit) = place(index);
        self.seen[word] & bit != 0
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = place(index);
        self.seen[word] |= bit;
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = place(index);
        self.seen[word] &= !bit;
    }
}

fn place(index: u64) -> (usize, u64) {
    ((index / 64) as usize % WORDS, 1 << (index % 64))
}

struct Slot {
    window: ReplayWindow,
    used_at: u64,
}

/// Windows of up to [`MAX_STREAMS`] SSRCs. Slot numbers are stable and dense.
#[derive(Default)]
pub(super) struct StreamTable {
    /// Beside `slots`, not inside: a lookup scans a few cache lines at most.
    ssrcs: Vec<u32>,
    slots: Vec<Slot>,
    /// Counts accepted packets; orders slots by last use.
    ticks: u64,
}

impl StreamTable {
    /// Slot of a known SSRC.
    #[inline]
    pub(super) fn find(&self, ssrc: u32) -> Option<usize> {
        self.ssrcs.iter().position(|&known| known == ssrc)
    }

    /// Its window.
    #[inline]
    pub(super) fn window(&self, slot: usize) -> Option<&ReplayWindow> {
        self.slots.get(slot).map(|slot| &slot.window)
    }

    /// Records an authenticated packet of a known SSRC.
    #[inline]
    pub(super) fn accept(&mut self, slot: usize, index: u64) {
        self.ticks += 1;
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.used_at = self.ticks;
            slot.window.accept(index);
        }
    }

    /// Records the first authenticated packet of an SSRC: its slot, and whether another SSRC had it before.
    pub(super) fn insert(&mut self, ssrc: u32, index: u64) -> (usize, bool) {
        self.ticks += 1;
        let fresh = Slot { window: ReplayWindow::new(index), used_at: self.ticks };
        if self.slots.len() < MAX_STREAMS {
            self.ssrcs.push(ssrc);
            self.slots.push(fresh);
            return (self.slots.len() - 1, false);
        }
        let oldest = (0..MAX_STREAMS).min_by_key(|&slot| self.slots[slot].used_at).unwrap_or(0);
        self.ssrcs[oldest] = ssrc;
        self.slots[oldest] = fresh;
        (oldest, true)
    }

    /// Known SSRCs.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// The most likely 48-bit index of `seq` when `highest` is the highest so far (RFC 3711 section 3.3.1 and appendix A).
///
/// A rollover counter below zero does not exist, so near the start a far-away `seq` counts as ahead, not behind.
/// Past the last rollover the result wraps to 0, which the replay window refuses.
#[inline]
pub(super) fn estimate_index(highest: u64, seq: u16) -> u64 {
    const HALF: u16 = 0x8000;
    let roc = highest >> 16;
    let last = highest as u16;
    let roc = if last < HALF && seq.saturating_sub(last) > HALF {
        roc.saturating_sub(1)
    } else if last.saturating_sub(HALF) > seq {
        (roc + 1) & 0xffff_ffff
    } else {
        roc
    };
    (roc << 16) | u64::from(seq)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn window_edges() {
        let mut window = ReplayWindow::new(5000);
        assert!(!window.is_fresh(5000));
        assert!(window.is_fresh(5000 - WINDOW + 1));
        assert!(!window.is_fresh(5000 - WINDOW));
        window.accept(5000 - WINDOW + 1);
        assert!(!window.is_fresh(5000 - WINDOW + 1));
        // A jump of exactly the window leaves only the new packet.
        window.accept(5000 + WINDOW);
        assert!(!window.is_fresh(5000));
        assert!((5001..5000 + WINDOW).all(|index| window.is_fresh(index)));
    }

    #[test]
    fn estimates_around_the_wrap() {
        assert_eq!(estimate_index(65_535, 0), 65_536);
        assert_eq!(estimate_index(65_530, 3), 65_539);
        assert_eq!(estimate_index(65_539, 65_535), 65_535);
        assert_eq!(estimate_index((3 << 16) | 2, 65_000), (2 << 16) | 65_000);
        // There is nothing before rollover counter 0.
        assert_eq!(estimate_index(2, 65_000), 65_000);
        // There is nothing after the last index either.
        assert!(!ReplayWindow::new((1 << 48) - 1).is_fresh(estimate_index((1 << 48) - 1, 0)));
    }

    proptest! {
        /// The estimate is the nearest index that ends in `seq`.
        #[test]
        fn estimate_is_the_nearest(highest in 0..1_u64 << 48, low in any::<bool>(), seq: u16) {
            let highest = if low { highest & 0x3_ffff } else { highest };
            let found = estimate_index(highest, seq);
            prop_assert_eq!(found as u16, seq);
            let roc = highest >> 16;
            let nearest = [roc.checked_sub(1), Some(roc), Some(roc + 1)]
                .into_iter()
                .flatten()
                .map(|roc| ((roc << 16) | u64::from(seq)).abs_diff(highest))
                .min();
            prop_assert_eq!(nearest, Some(found.abs_diff(highest)));
        }

        /// Against a plain set: fresh means within the window and not seen.
        #[test]
        fn window_is_a_set(start in 0..4000_u64, steps in prop::collection::vec(-1200..1200_i64, 1..300)) {
            let mut window = ReplayWindow::new(start);
            let mut seen = std::collections::HashSet::from([start]);
            for step in steps {
                let index = window.highest().saturating_add_signed(step);
                let highest = seen.iter().max().copied().unwrap_or(0);
                let fresh = !seen.contains(&index) && index + WINDOW > highest;
                prop_assert_eq!(window.is_fresh(index), fresh);
                if fresh {
                    window.accept(index);
                    seen.insert(index);
                }
            }
        }
    }
}
