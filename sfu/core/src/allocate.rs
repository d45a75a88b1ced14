//! Which layer every slot of one subscriber gets: budget, demands and what flows in, layers out. A pure function.
//!
//! Each slot has a ladder of rungs, cheapest first. Everybody gets the lowest rung before anybody gets more, higher priorities
//! first; then the highest priority climbs as far as it has use for, and what is left goes to the next one. Slots of equal priority climb by turns,
//! whoever stands lowest first. A rung that is held may cost a little more than there is and a rung above it must leave a little: so
//! an estimate that moves up and down by a few per cent changes nothing.

use crate::bandwidth::Backlog;
use crate::event::Limit;
use crate::params::{Demand, Layer};

/// Rungs of one track: three encodings with three temporal layers each are usual.
pub(crate) const RUNGS_MAX: usize = 16;
/// A rung above the present one must cost at most so much of what there is, in percent …
const UP: u64 = 95;
/// … with more frames of the same picture so much, which are taken back at no cost, …
const UP_FRAMES: u64 = 106;
/// … and one that is held at most so much.
const KEEP: u64 = 106;
/// … or with more frames of the same picture so much: what a layer takes is measured over a second, and moves by as much.
const KEEP_FRAMES: u64 = 114;
/// With hardly a queue, frames of the same picture may cost so much: an estimate that fell by a queue that has gone is 0.85 of what the link carries …
const SHORT_FRAMES: u64 = 135;
/// … to come back so much …
const SHORT_UP_FRAMES: u64 = 114;
/// … and a picture as it is so much: less than its frames, which cost no keyframe when they were too many …
const SHORT_KEEP: u64 = 125;
/// … and with a long one no more than there is.
const LONG_FRAMES: u64 = 100;
/// What takes so much of what there is lets a long queue empty.
const EMPTIES: u64 = 66;
/// The first slot keeps its lowest rung until there is less than this share of its cost, in percent: some picture that stutters is worth more than none.
const FLOOR: u64 = 30;
/// … and gets it back when there is so much.
const FLOOR_UP: u64 = 45;
/// A layer this much smaller than where it is shown still counts as covering it, in percent: elements are rarely of exactly a layer's size.
const COVERS: u64 = 90;

/// What there is for video.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) bits_per_second: u64,
    /// It is a first guess: the first slot is not left without a picture because of it.
    pub(crate) starting: bool,
    /// Every slot keeps its lowest rung whatever is left.
    pub(crate) keeps_lowest: bool,
    /// How the queue at the link is.
    pub(crate) backlog: Backlog,
}

/// One quality of a track: everything up to `layer`, and what that costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rung {
    pub(crate) layer: Layer,
    /// With everything it refers to.
    pub(crate) bits_per_second: u64,
    /// The most that it cost lately, where there are several pictures: after a keyframe or a start, encoders save for a moment.
    pub(crate) peak: u64,
    pub(crate) size: Option<(u16, u16)>,
    /// 0: not known.
    pub(crate) fps: f32,
    /// It comes, or would if asked for. `false`: the publisher was asked for it in vain.
    pub(crate) available: bool,
    /// It would have to be asked for first.
    pub(crate) rests: bool,
}

/// One video slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) demand: Demand,
    /// Asked for by hand: highest spatial and temporal layer.
    pub(crate) cap: (Option<u8>, Option<u8>),
    /// Lowest quality first: by spatial layer, then by temporal layer.
    pub(crate) rungs: &'a [Rung],
    /// What it was given last.
    pub(crate) held: Option<Layer>,
    /// It may not climb yet.
    pub(crate) grounded: bool,
    /// It fell soon after it had climbed, and takes one picture after the other.
    pub(crate) careful: bool,
    /// It passes by a picture that rests while a better one flows, which may soon fit: when an encoding begins again, browsers begin all of that camera anew.
    pub(crate) passes: bool,
    /// The link has just become far narrower: what is shown may not cost more in a moment.
    pub(crate) narrowed: bool,
    /// Another picture begins with a keyframe of its own: they are several encodings.
    pub(crate) apart: bool,
    /// What the lowest rung cost before the publisher was told to send less.
    pub(crate) whole: Option<u64>,
    /// The link had too little for that.
    pub(crate) short: bool,
}

/// What one slot gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) layer: Option<Layer>,
    /// The best it has use for.
    pub(crate) wanted: Option<Layer>,
    /// Cost of `layer`, bits per second.
    pub(crate) cost: u64,
    /// Cost of `wanted`.
    pub(crate) needed: u64,
    pub(crate) limit: Limit,
    /// A picture would fit that it passes by.
    pub(crate) passed: bool,
    /// Bits per second that it costs more than there is: its lowest rung, for some picture is worth more than none.
    pub(crate) lacks: u64,
}

impl Given {
    /// What the link has for it, if nobody was given `left` of that, bits per second.
    pub(crate) fn available(&self, left: u64) -> u64 {
        (self.cost + left).saturating_sub(self.lacks)
    }
}

/// Working memory.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    order: Vec<usize>,
    climbs: Vec<Climb>,
}

/// A slot on its way up: positions in its rungs, in the order in which they are climbed.
#[derive(Clone, Copy, Debug, Default)]
struct Climb {
    ladder: [u8; RUNGS_MAX],
    len: u8,
    /// Rungs taken.
    at: u8,
    done: bool,
    /// The lowest rung that it passes by.
    passed: Option<u8>,
    /// That would have fit.
    passed_fits: bool,
    /// It stands on the lowest one though that costs so much more than there is.
    lacks: u64,
}

impl Climb {
    fn rung<'a>(&self, slot: &Slot<'a>, step: u8) -> Option<&'a Rung> {
        let index = *self.ladder[..usize::from(self.len)].get(usize::from(step))?;
        slot.rungs.get(usize::from(index))
    }

    fn top<'a>(&self, slot: &Slot<'a>) -> Option<&'a Rung> {
        self.rung(slot, self.len.checked_sub(1)?)
    }

    fn taken<'a>(&self, slot: &Slot<'a>) -> Option<&'a Rung> {
        self.rung(slot, self.at.checked_sub(1)?)
    }

    fn cost(&self, slot: &Slot<'_>) -> u64 {
        self.taken(slot).map_or(0, |rung| rung.bits_per_second)
    }

    /// Would what it passes by fit, with so much?
    fn would_take_passed(&self, slot: &Slot<'_>, there: u64) -> bool {
        let passed = self.passed.and_then(|index| slot.rungs.get(usize::from(index)));
        passed.is_some_and(|rung| needed(slot, rung) <= percent(there, UP))
    }

    /// What is put aside for it.
    fn needed(&self, slot: &Slot<'_>) -> u64 {
        self.taken(slot).map_or(0, |rung| needed(slot, rung))
    }
}

/// What there must be before somebody who lacks so much climbs to it.
pub(crate) fn climbs_with(bits_per_second: u64) -> u64 {
    bits_per_second.saturating_mul(100) / UP
}

impl Allocator {
    /// Fills `out`, one for each of `slots`. `budget` is `None`: nothing was measured, everybody gets what there is.
    pub(crate) fn allocate(
        &mut self,
        budget: Option<Budget>,
        slots: &[Slot<'_>],
        out: &mut Vec<Given>,
    ) {
        self.climbs.clear();
        self.climbs.extend(slots.iter().map(|slot| ladder(slot, budget)));
        self.order.clear();
        self.order.extend(0..slots.len());
        self.order.sort_by_key(|&index| std::cmp::Reverse(slots[index].demand.priority));
        match budget {
            None => self.climbs.iter_mut().for_each(|climb| climb.at = climb.len),
            Some(budget) => self.spend(budget, slots),
        }
        out.clear();
        out.extend(slots.iter().zip(&self.climbs).map(|(slot, climb)| given(slot, climb)));
    }

    fn spend(&mut self, budget: Budget, slots: &[Slot<'_>]) {
        let (mut left, mut over) = (budget.bits_per_second, 0);
        for (place, &index) in self.order.iter().enumerate() {
            let (slot, climb) = (&slots[index], &mut self.climbs[index]);
            let Some(lowest) = climb.rung(slot, 0) else { continue };
            let share = if slot.held.is_some() { FLOOR } else { FLOOR_UP };
            let least = percent(lowest.bits_per_second, share);
            let first = place == 0 && (budget.starting || budget.bits_per_second >= least);
            let floor = first || budget.keeps_lowest;
            let fits = fits(slot, lowest, budget.backlog, left);
            if fits || floor {
                if !fits && !budget.starting && !budget.keeps_lowest {
                    climb.lacks = lowest.bits_per_second.saturating_sub(left);
                }
                climb.at = 1;
                (left, over) = pay(left, over, needed(slot, lowest));
            } else {
                climb.done = true;
            }
        }
        let order = std::mem::take(&mut self.order);
        let same = |a: &usize, b: &usize| slots[*a].demand.priority == slots[*b].demand.priority;
        for group in order.chunk_by(same) {
            while let Some(index) = self.lowest(slots, group) {
                let (slot, climb) = (&slots[index], &mut self.climbs[index]);
                let now = climb.needed(slot);
                let below = climb.at.checked_sub(1).and_then(|step| climb.rung(slot, step));
                let leaps = |next: &&Rung| below.is_some_and(|below| leaps(slot, below, next));
                let next = climb.rung(slot, climb.at).filter(|next| !leaps(next));
                let there = (left + now).saturating_sub(over);
                match next.filter(|next| fits(slot, next, budget.backlog, there)) {
                    Some(next) => {
                        climb.at += 1;
                        let more = needed(slot, next).saturating_sub(now);
                        (left, over) = pay(left, over, more);
                    }
                    None => {
                        climb.done = true;
                        climb.passed_fits = climb.would_take_passed(slot, there);
                    }
                }
            }
        }
        self.order = order;
    }

    /// The slot of a group that may climb and stands lowest.
    fn lowest(&self, slots: &[Slot<'_>], group: &[usize]) -> Option<usize> {
        let may = |&&index: &&usize| {
            let climb = &self.climbs[index];
            !climb.done && climb.at > 0 && climb.at < climb.len
        };
        group
            .iter()
            .filter(may)
            .min_by_key(|&&index| self.climbs[index].cost(&slots[index]))
            .copied()
    }
}

/// Would who is careful take a second picture at once?
fn leaps(slot: &Slot<'_>, below: &Rung, next: &Rung) -> bool {
    let below = below.layer.spatial;
    let climbed = slot.held.is_none_or(|held| below > held.spatial);
    slot.careful && climbed && next.layer.spatial > below
}

/// Takes so much of what is left; what is held may cost more than that, which is over.
fn pay(left: u64, over: u64, cost: u64) -> (u64, u64) {
    (left.saturating_sub(cost), over + cost.saturating_sub(left))
}

fn percent(value: u64, percent: u64) -> u64 {
    value.saturating_mul(percent) / 100
}

/// What a rung costs this slot: who comes anew stays for longer than the moment in which it may cost less, and a queue that is full has no room for more.
fn needed(slot: &Slot<'_>, rung: &Rung) -> u64 {
    let shown = |held: Layer| rung.layer <= held || rung.layer.spatial == held.spatial;
    match slot.held {
        Some(held) if shown(held) && !slot.narrowed => rung.bits_per_second,
        _ => rung.peak.max(rung.bits_per_second),
    }
}

/// Is there a smaller picture than that of this rung?
fn has_smaller(slot: &Slot<'_>, rung: &Rung) -> bool {
    slot.rungs.iter().any(|r| r.available && r.layer.spatial < rung.layer.spatial)
}

/// May the slot stand on this rung with so much?
fn fits(slot: &Slot<'_>, rung: &Rung, backlog: Backlog, there: u64) -> bool {
    let held = slot.held.is_some_and(|held| rung.layer <= held);
    // More frames of the same size are no other picture, and take no keyframe.
    let same = slot.held.is_some_and(|held| rung.layer.spatial == held.spatial);
    if !held && !same && slot.grounded {
        return false;
    }
    let share = match (held, same, backlog) {
        (true, true, Backlog::Short) if rung.layer.temporal > 0 => SHORT_FRAMES,
        (true, true, Backlog::Long) if rung.layer.temporal > 0 => LONG_FRAMES,
        (true, true, _) if rung.layer.temporal > 0 => KEEP_FRAMES,
        (true, _, Backlog::Short) => SHORT_KEEP,
        (true, ..) => KEEP,
        (_, true, Backlog::Long) => UP,
        (_, true, Backlog::Short) => SHORT_UP_FRAMES,
        (_, true, Backlog::Unknown) => UP_FRAMES,
        _ => UP,
    };
    // Fewer frames are no cheaper to begin with, where a keyframe meets a full queue.
    let cost = match slot.narrowed && slot.apart && !same && has_smaller(slot, rung) {
        true => {
            let frames = slot.rungs.iter().filter(|r| r.layer.spatial == rung.layer.spatial);
            frames.map(|r| needed(slot, r)).max().unwrap_or(0)
        }
        false => needed(slot, rung),
    };
    cost <= percent(there, share)
}

/// The rungs that a slot has use for, in the order in which it climbs them. Pictures of people lose sharpness before more than half of their frames; what is to be
/// read loses frames first. With a long queue the picture that is shown keeps the fewest of its frames, if that lets the queue empty: another picture would wait
/// behind it.
fn ladder(slot: &Slot<'_>, budget: Option<Budget>) -> Climb {
    let mut climb = Climb::default();
    if slot.demand.paused {
        return climb;
    }
    let spatial = reach(slot);
    let there = || slot.rungs.iter().filter(|r| r.available).map(|r| r.layer.spatial);
    let (first, last) = (there().min(), there().filter(|&s| s <= spatial).max());
    for (index, rung) in slot.rungs.iter().enumerate().take(RUNGS_MAX) {
        let Layer { spatial: s, temporal: t } = rung.layer;
        let temporal = smooth(slot, s);
        if !rung.available || s > spatial || t > temporal {
            continue;
        }
        let top =
            slot.rungs.iter().filter(|r| r.layer.spatial == s).map(|r| r.layer.temporal).max();
        let enough = t + 1 >= top.unwrap_or(0).min(temporal);
        let empties = || {
            let queued = budget.filter(|b| b.backlog == Backlog::Long && !slot.narrowed);
            queued.is_some_and(|b| rung.bits_per_second <= percent(b.bits_per_second, EMPTIES))
        };
        let stays = || slot.held.is_some_and(|held| held.spatial == s) && empties();
        let worth = match slot.demand.sharp {
            true => t == 0 || last == Some(s),
            false => enough || first == Some(s) || stays(),
        };
        if worth {
            climb.ladder[usize::from(climb.len)] = index as u8;
            climb.len += 1;
        }
    }
    pass(slot, &mut climb);
    // A rung that costs no more than the one below it is better; one that costs less than it makes that one useless.
    prune(slot, &mut climb);
    climb
}

/// Leaves out what it passes by.
fn pass(slot: &Slot<'_>, climb: &mut Climb) {
    let Some(held) = slot.held.filter(|_| slot.passes) else { return };
    let rung = |index: u8| &slot.rungs[usize::from(index)];
    let all = climb.ladder;
    let all = &all[..usize::from(climb.len)];
    let flows = all.iter().map(|&index| rung(index)).filter(|rung| !rung.rests);
    let highest = flows.map(|rung| rung.layer.spatial).max().unwrap_or(0);
    let passes = |&index: &u8| {
        let Rung { rests, layer, .. } = *rung(index);
        rests && layer.spatial > held.spatial && layer.spatial < highest
    };
    climb.passed = all.iter().copied().find(passes);
    climb.len = 0;
    for index in all.iter().copied().filter(|index| !passes(index)) {
        climb.ladder[usize::from(climb.len)] = index;
        climb.len += 1;
    }
}

fn prune(slot: &Slot<'_>, climb: &mut Climb) {
    let mut kept = 0;
    // What a slot may not climb to yet makes nothing useless that it may have.
    let held = slot.held.filter(|_| slot.grounded);
    for step in 0..climb.len {
        let index = climb.ladder[usize::from(step)];
        let rung = |index: u8| &slot.rungs[usize::from(index)];
        let cost = |index: u8| needed(slot, rung(index));
        let closed = |index: u8| held.is_some_and(|h| rung(index).layer.spatial > h.spatial);
        let useless =
            |below: u8| (closed(below) || !closed(index)) && cost(below) >= cost(index).max(1);
        while kept > 0 && useless(climb.ladder[kept - 1]) {
            kept -= 1;
        }
        climb.ladder[kept] = index;
        kept += 1;
    }
    climb.len = kept as u8;
}

/// The highest spatial layer that the slot has use for.
fn reach(slot: &Slot<'_>) -> u8 {
    let Demand { width, height, .. } = slot.demand;
    let available = || slot.rungs.iter().filter(|rung| rung.available);
    let covers = |rung: &&Rung| {
        let wide = |has: u16, shown: u16| u64::from(has) >= percent(shown.into(), COVERS);
        // Contained in its element, or filling it: with one side known to be covered, the picture is sharp enough.
        rung.size
            .is_some_and(|(w, h)| (width > 0 && wide(w, width)) || (height > 0 && wide(h, height)))
    };
    let enough = available().filter(|_| width > 0 || height > 0).find(covers);
    let shown = enough.map_or(u8::MAX, |rung| rung.layer.spatial);
    let lowest = available().map(|rung| rung.layer.spatial).min().unwrap_or(0);
    // Who asks for a layer by hand gets it, however small it is shown.
    slot.cap.0.unwrap_or(shown).max(lowest)
}

/// The highest temporal layer that it has use for there: another encoding may have other ones, or none.
fn smooth(slot: &Slot<'_>, spatial: u8) -> u8 {
    let fps = f32::from(slot.demand.fps);
    let enough = |rung: &&Rung| {
        let there = rung.available && rung.layer.spatial == spatial;
        there && rung.fps * 100.0 >= fps * COVERS as f32
    };
    let least = || slot.rungs.iter().filter(enough).map(|rung| rung.layer.temporal).min();
    let least = if fps > 0.0 { least() } else { None };
    least.unwrap_or(u8::MAX).min(slot.cap.1.unwrap_or(u8::MAX))
}

fn given(slot: &Slot<'_>, climb: &Climb) -> Given {
    let wanted = climb.top(slot);
    let taken = climb.taken(slot);
    // What fits with more frames, which are held longer, lacks nothing.
    let missing = if climb.at == 1 { climb.lacks } else { 0 };
    let lacks = missing > 0;
    let all = climb.at == climb.len && !lacks;
    let needed = if all { climb.cost(slot) } else { wanted.map_or(0, |rung| needed(slot, rung)) };
    let limit = if lacks { Limit::Bandwidth } else { limit(slot, taken, wanted) };
    let whole = slot.whole.filter(|_| wanted.is_some());
    let short = whole.is_some() && slot.short && limit == Limit::None;
    Given {
        layer: taken.map(|rung| rung.layer),
        wanted: wanted.map(|rung| rung.layer),
        cost: climb.cost(slot),
        needed: whole.map_or(needed, |whole| whole.max(needed)),
        limit: if short { Limit::Bandwidth } else { limit },
        passed: climb.passed_fits,
        lacks: missing,
    }
}

/// The first thing in the way from the best that there could be to what the slot gets.
fn limit(slot: &Slot<'_>, taken: Option<&Rung>, wanted: Option<&Rung>) -> Limit {
    if slot.demand.paused {
        return Limit::Viewport;
    }
    let Some(best) = slot.rungs.iter().map(|rung| rung.layer).max() else {
        return Limit::PublisherNotSending;
    };
    let Some(wanted) = wanted else { return Limit::PublisherNotSending };
    if taken.is_none_or(|taken| taken.layer < wanted.layer) {
        return Limit::Bandwidth;
    }
    if wanted.layer >= best {
        return Limit::None;
    }
    let free = Slot { cap: (None, None), ..*slot };
    let spatial = reach(slot);
    let capped = |cap| slot.rungs.iter().any(|rung| smooth(&free, rung.layer.spatial) > cap);
    if reach(&free) != spatial || slot.cap.1.is_some_and(capped) {
        return Limit::Policy;
    }
    let reached = |rung: &Rung| {
        let Layer { spatial: s, temporal: t } = rung.layer;
        s <= spatial && t <= smooth(slot, s) && rung.layer > wanted.layer
    };
    match slot.rungs.iter().any(reached) {
        true => Limit::PublisherNotSending,
        false => Limit::Viewport,
    }
}

#[cfg(test)]
mod tests;
