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
