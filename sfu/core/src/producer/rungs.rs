//! What a track has on offer: its layers with their cost, and whether the publisher sends them when asked.
//!
//! A layer that nobody watches may rest at the publisher. It stays on offer at the cost that it had last, or at one that is usual; who chooses it has the publisher
//! asked to send it. What does not come then is taken off the offer for a while: the publisher's own link or processor has no room for it.

use crate::allocate::{RUNGS_MAX, Rung};
use crate::params::Layer;
use crate::producer::encoding::Encoding;
use crate::producer::layers::SPATIAL_MAX;
use crate::producer::order::Order;
use crate::producer::{ENCODINGS_MAX, Producer, up_to};

/// Costs change slowly; they are looked up so often.
const INTERVAL_US: u64 = 200_000;
/// A layer that was asked for and does not come for so long …
const PATIENCE_US: u64 = 3_000_000;
/// … is not on offer for so long, doubled each time.
const ABSENT_US: u64 = 8_000_000;
const ABSENT_DOUBLED_MAX: u32 = 3;
/// What layers usually cost at which nobody has looked yet, lowest first: 180, 360 and 720 lines.
const USUAL: [u64; 3] = [150_000, 500_000, 1_700_000];
/// Bits per pixel and second behind those, where the size is known.
const USUAL_PER_PIXEL: f64 = 1.9;

/// A cost that falls is forgotten by so much at a look …
const FORGOTTEN_PERCENT: u64 = 15;
/// … by those who are shown another layer, by so much.
const FORGOTTEN_PERCENT_PEAK: u64 = 4;
/// What is left of a peak without a keyframe.
const PEAK_PERCENT: u64 = 80;
/// Temporal layers that are told apart.
const TEMPORALS: usize = 4;
/// Payload with its headers, in percent: 50 bytes beside about 1100.
const HEADERS_PERCENT: u64 = 105;

/// A spatial layer that was asked for in vain so often, while others came, is none any more: the publisher has a smaller picture, or another mode.
const FORGOTTEN_AFTER: u32 = 2;
/// A spatial layer that began so lately has not sent for the whole window in which costs are counted.
const YOUNG_US: u64 = 1_500_000;

/// Who has flowed for so long is measured rightly.
const SETTLED_US: u64 = 3_000_000;
/// For so long after it stopped, what was measured while it began and stopped is not believed.
const DOUBTED_US: u64 = 60_000_000;

/// What is known of one encoding, or of one spatial layer of an only one, beside its packets.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Bits per second when it last flowed, with the layers that it needs.
    bits_per_second: u64,
    /// The same when it had flowed and been asked for for long.
    settled: u64,
    ended_us: Option<u64>,
    /// The most lately, up to each temporal layer.
    peaks: [u64; TEMPORALS],
    /// What is taken up to each temporal layer, in thousandths of all of it; 0: there is none.
    shares: [u16; TEMPORALS],
    /// Width and height when it last flowed.
    size: Option<(u16, u16)>,
    /// Since when it flows.
    since_us: Option<u64>,
    /// Since when it is asked for without coming.
    asked_us: Option<u64>,
    absent_until_us: u64,
    absences: u32,
}

/// A spatial layer of an only encoding that rests, as other workers are told of it. Without a bitrate there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resting {
    pub(crate) bits_per_second: u32,
    /// Width and height; 0: not known.
    pub(crate) size: (u16, u16),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rungs {
    list: Vec<Rung>,
    updated_us: Option<u64>,
    known: [Known; ENCODINGS_MAX],
    /// Bit per encoding that flowed at the last look, or of an only one per spatial layer.
    flowing: u8,
    /// Of an only encoding, what everything that flows costs.
    sent: u64,
    order: Order,
    /// The encodings are listed the other way round, and control does not know yet.
    reversed: bool,
}

impl Rungs {
    pub(crate) fn list(&self) -> &[Rung] {
        &self.list
    }

    /// What the lowest one costs, and of an only encoding all that flow, bits per second.
    pub(crate) fn costs(&self) -> (u64, u64) {
        (self.list.iter().map(|rung| rung.bits_per_second).min().unwrap_or(0), self.sent)
    }

    /// The spatial layers of an only encoding that rest.
    pub(crate) fn resting(&self) -> [Resting; SPATIAL_MAX] {
        let mut resting = [Resting::default(); SPATIAL_MAX];
        for (spatial, (layer, known)) in resting.iter_mut().zip(&self.known).enumerate() {
            if self.flowing & 1 << spatial == 0 {
                let bits_per_second = known.bits_per_second.try_into().unwrap_or(u32::MAX);
                *layer = Resting { bits_per_second, size: known.size.unwrap_or_default() };
            }
        }
        resting
    }

    /// Takes what another worker knows of them.
    pub(crate) fn follow(&mut self, resting: [Resting; SPATIAL_MAX]) {
        for (known, layer) in self.known.iter_mut().zip(resting) {
            if known.bits_per_second == 0 && layer.bits_per_second > 0 {
                known.bits_per_second = layer.bits_per_second.into();
                known.size = Some(layer.size).filter(|(width, _)| *width > 0);
                self.updated_us = None;
            }
        }
    }

    /// Of an only encoding, those that come and those that rest.
    pub(crate) fn spatial_layers(&self) -> u8 {
        self.list.iter().map(|rung| rung.layer.spatial + 1).max().unwrap_or(0)
    }

    /// No better picture of an only encoding can be had now.
    pub(crate) fn is_top(&self, spatial: u8) -> bool {
        self.list.iter().all(|rung| !rung.available || rung.layer.spatial <= spatial)
    }

    /// Bit per encoding that flowed at the last look, or of an only one per spatial layer.
    pub(crate) fn flowing(&self) -> u8 {
        self.flowing
    }

    /// Is it time for another look? To know what is wanted costs a look at every consumer.
    pub(crate) fn are_due(&self, now_us: u64) -> bool {
        self.updated_us.is_none_or(|at| now_us.saturating_sub(at) >= INTERVAL_US)
    }

    /// Something begins or stops to flow: the next look is not put off.
    pub(crate) fn outdate(&mut self) {
        self.updated_us = None;
    }

    /// Are the encodings found to be listed the other way round? Once.
    pub(crate) fn take_reversed(&mut self) -> bool {
        std::mem::take(&mut self.reversed)
    }

    /// Is one of so many encodings known to have a smaller picture than the next one?
    fn grow(&self, encodings: usize) -> bool {
        let pixels = |known: &Known| known.size.map(|(w, h)| u32::from(w) * u32::from(h));
        let known = &self.known[..encodings.min(ENCODINGS_MAX)];
        known.windows(2).any(|pair| pixels(&pair[0]).is_some_and(|a| Some(a) < pixels(&pair[1])))
    }

    /// One of several encodings.
    fn update_encoding(&mut self, now_us: u64, encoding: &Encoding, index: usize, asked: bool) {
        let flows = self.flowing & 1 << index != 0;
        let available = self.known[index].look(now_us, flows, asked);
        let before = self.list.len();
        if flows {
            add(&mut self.list, encoding, now_us, Some(index as u8), available);
        }
        let known = &mut self.known[index];
        let expected = known.cost(USUAL[index.min(USUAL.len() - 1)], encoding.announced);
        let added = &mut self.list[before..];
        known.size = added.iter().filter_map(|rung| rung.size).max().or(known.size);
        let cost = added.iter().map(|rung| rung.bits_per_second).max().filter(|cost| *cost > 0);
        match cost {
            Some(cost) if !encoding.is_settled(now_us) => {
                let whole = known.whole(cost, expected, encoding.is_fresh(now_us));
                let most = known.most(whole);
                let scale = |rung: &mut Rung| {
                    rung.peak = rung.bits_per_second * most / cost;
                    rung.bits_per_second = rung.bits_per_second * whole / cost;
                };
                added.iter_mut().for_each(scale);
            }
            Some(cost) => {
                known.learn(cost);
                if asked && known.since_us.is_some_and(|at| now_us.saturating_sub(at) >= SETTLED_US)
                {
                    known.settled = cost;
                }
                known.learn_shares(cost, added);
                added.iter_mut().for_each(|rung| rung.peak = known.peak(rung));
            }
            None => {
                self.list.truncate(before);
                self.rest(index, (expected, encoding.announced), available);
            }
        }
    }

    /// The only encoding. Of its spatial layers those that it had once and has no more rest, as encodings do.
    fn update_only(&mut self, now_us: u64, encoding: &Encoding, wanted: u8) {
        let has = if self.flowing == 0 { 0 } else { encoding.spatial_layers().max(1) };
        let there = usize::from(has).min(SPATIAL_MAX);
        self.flowing = if there == 0 { 0 } else { up_to(there) };
        if there > 0 {
            add(&mut self.list, encoding, now_us, None, true);
            // What was seen of others lately is their end.
            self.list.retain(|rung| usize::from(rung.layer.spatial) < there);
        }
        let cost = self.list.iter().map(|rung| rung.bits_per_second).max().filter(|cost| *cost > 0);
        match cost {
            Some(cost) if !encoding.is_settled(now_us) => {
                let known = &self.known[there - 1];
                let expected = known.cost(USUAL[USUAL.len() - 1], encoding.announced);
                let whole = known.whole(cost, expected, encoding.is_fresh(now_us));
                let scale =
                    |rung: &mut Rung| rung.bits_per_second = rung.bits_per_second * whole / cost;
                self.list.iter_mut().for_each(scale);
            }
            Some(_) => {
                let several = there > 1 || self.known[1].bits_per_second > 0;
                let layers = self.list.chunk_by_mut(|a, b| a.layer.spatial == b.layer.spatial);
                for layer in layers {
                    let spatial = usize::from(layer.first().map_or(0, |rung| rung.layer.spatial));
                    let known = &mut self.known[spatial];
                    known.learn_layer(now_us, layer);
                    if several {
                        layer.iter_mut().for_each(|rung| rung.peak = known.peak(rung));
                    }
                }
            }
            None => self.list.clear(),
        }
        let highest =
            |list: &[Rung]| list.iter().map(|rung| rung.bits_per_second).max().unwrap_or(0);
        self.sent = highest(&self.list);
        let measured = self.list.len();
        for spatial in 0..SPATIAL_MAX {
            let flows = spatial < there;
            // Of a publisher that sends nothing at all, no layer is more likely to come than another.
            let asked = if there == 0 { wanted != 0 } else { wanted & 1 << spatial != 0 };
            let available = self.known[spatial].look(now_us, flows, asked);
            if there > 0 && self.known[spatial].absences >= FORGOTTEN_AFTER {
                self.known[spatial] = Known::default();
            }
            let known = self.known[spatial].bits_per_second > 0;
            if known && (!flows || measured == 0) {
                self.rest(spatial, (0, None), available);
            }
        }
        if self.list.is_empty() {
            let usual = self.known[0].cost(USUAL[USUAL.len() - 1], encoding.announced);
            let available = self.known[0].is_there(now_us);
            self.rest(0, (usual, encoding.announced), available);
        }
        if measured == 0 {
            self.sent = highest(&self.list);
        }
    }

    /// Offers what does not flow. `usual`: cost and size where nothing is known.
    fn rest(&mut self, index: usize, usual: (u64, Option<(u16, u16)>), available: bool) {
        let known = &self.known[index];
        let whole = known.bits_per_second.max(usual.0);
        let (most, size) = (known.most(whole), known.size.or(usual.1));
        // Below the lowest one there is nothing: some of its frames are better than none. Where its temporal layers are not known yet, they are taken to be
        // those of another encoding.
        let mut all = self.known.iter().map(|known| known.shares);
        let shares = all.find(|shares| index == 0 && self.flowing != 0 && shares[0] > 0);
        let shares = shares.unwrap_or([1000, 0, 0, 0]);
        let temporals = shares.into_iter().enumerate().take_while(|(_, share)| *share > 0);
        self.list.extend(temporals.map(|(temporal, share)| Rung {
            layer: Layer { spatial: index as u8, temporal: temporal as u8 },
            bits_per_second: whole * u64::from(share) / 1000,
            peak: most * u64::from(share) / 1000,
            size,
            fps: 0.0,
            available,
            rests: self.flowing & 1 << index == 0,
        }));
    }

    /// A picture takes at least as much for each of its pixels as a larger one of the same camera, if nothing else is known: of what stopped lately, less than that
    /// was measured while it began or ended.
    fn raise_resting(&mut self, now_us: u64) {
        let pixels = |rung: &Rung| rung.size.map(|(w, h)| u64::from(w) * u64::from(h));
        for (index, known) in (0_u8..).zip(&self.known).skip(1) {
            if known.ended_us.is_none_or(|at| now_us.saturating_sub(at) >= DOUBTED_US) {
                continue;
            }
            let cost = |rung: &Rung| Some((rung.bits_per_second, pixels(rung)?));
            // What flows, and is measured here.
            let above = self.list.iter().filter(|r| !r.rests && r.fps > 0.0);
            let above = above.filter(|r| r.layer.spatial > index);
            let own = self.list.iter().filter(|r| r.rests && r.layer.spatial == index);
            let Some((above, large)) = above.filter_map(cost).max() else { continue };
            let Some((own, small)) = own.filter_map(cost).max() else { continue };
            let measured = if known.settled > 0 { known.settled } else { u64::MAX };
            let least = (above * small / large.max(1)).min(measured);
            if own == 0 || own >= least || small >= large {
                continue;
            }
            for rung in self.list.iter_mut().filter(|r| r.layer.spatial == index) {
                rung.bits_per_second = rung.bits_per_second * least / own;
                rung.peak = rung.peak.max(rung.bits_per_second);
            }
        }
    }
}

impl Producer {
    /// Brings [`Producer::rungs`] up to date. `wanted`: encodings, or spatial layers of an only one, that somebody should be shown.
    pub(crate) fn update_rungs(&mut self, now_us: u64, wanted: u8) {
        let Self { rungs, encodings, .. } = self;
        rungs.updated_us = Some(now_us);
        rungs.list.clear();
        rungs.flowing = self.flowing;
        match &encodings[..] {
            [only] => rungs.update_only(now_us, only, wanted),
            several => {
                for (index, encoding) in several.iter().enumerate().take(ENCODINGS_MAX) {
                    rungs.update_encoding(now_us, encoding, index, wanted & 1 << index != 0);
                }
                rungs.raise_resting(now_us);
                if !rungs.grow(several.len()) {
                    let mut costs = [None; ENCODINGS_MAX];
                    for (cost, encoding) in costs.iter_mut().zip(several) {
                        let sum = || encoding.layers(now_us).map(|it| it.bits_per_second).sum();
                        *cost = encoding.is_settled(now_us).then(sum);
                    }
                    let costs = &costs[..several.len().min(ENCODINGS_MAX)];
                    rungs.reversed |= rungs.order.look(now_us, costs);
                }
            }
        }
        rungs.list.truncate(RUNGS_MAX);
    }
}

fn fallen(from: u64, percent: u64) -> u64 {
    from * (100 - percent) / 100
}

impl Known {
    /// Notes whether the encoding flows and is asked for; returns whether it is on offer.
    fn look(&mut self, now_us: u64, flows: bool, asked: bool) -> bool {
        if flows {
            let since_us = self.since_us.or(Some(now_us));
            *self = Self { since_us, asked_us: None, absent_until_us: 0, absences: 0, ..*self };
            return true;
        }
        if self.since_us.take().is_some() {
            self.ended_us = Some(now_us);
        }
        if !self.is_there(now_us) {
            return false;
        }
        if !asked {
            self.asked_us = None;
            return true;
        }
        let since = *self.asked_us.get_or_insert(now_us);
        if now_us.saturating_sub(since) < PATIENCE_US {
            return true;
        }
        self.asked_us = None;
        self.absent_until_us = now_us + (ABSENT_US << self.absences.min(ABSENT_DOUBLED_MAX));
        self.absences += 1;
        false
    }

    /// Was it not asked for in vain lately?
    fn is_there(&self, now_us: u64) -> bool {
        now_us >= self.absent_until_us
    }

    /// What all of it costs, that has run for too short a time to be measured: its layers, as far as they differ so far, have their share of that.
    fn whole(&self, cost: u64, expected: u64, fresh: bool) -> u64 {
        if self.bits_per_second > 0 || fresh { expected } else { expected.max(cost) }
    }

    /// Takes what the rungs of one spatial layer cost, and puts them right while that is not yet all of it.
    fn learn_layer(&mut self, now_us: u64, rungs: &mut [Rung]) {
        let size = rungs.iter().filter_map(|rung| rung.size).max();
        self.size = size.or(self.size);
        let cost = rungs.iter().map(|rung| rung.bits_per_second).max().unwrap_or(0);
        let young = self.since_us.is_none_or(|at| now_us.saturating_sub(at) < YOUNG_US);
        match young && self.bits_per_second > cost && cost > 0 {
            true => {
                let whole = self.bits_per_second;
                let scale =
                    |rung: &mut Rung| rung.bits_per_second = rung.bits_per_second * whole / cost;
                rungs.iter_mut().for_each(scale);
            }
            false => self.learn(cost),
        }
    }

    /// Falls slowly: the last looks before a rest see it stop.
    fn learn(&mut self, cost: u64) {
        self.bits_per_second = cost.max(fallen(self.bits_per_second, FORGOTTEN_PERCENT));
        self.peaks = self.peaks.map(|peak| fallen(peak, FORGOTTEN_PERCENT_PEAK));
    }

    /// Takes how what an encoding `cost` is spread over its temporal layers, if all of them sent something.
    fn learn_shares(&mut self, cost: u64, rungs: &[Rung]) {
        let each = rungs.iter().enumerate().all(|(index, rung)| {
            usize::from(rung.layer.temporal) == index && rung.bits_per_second * 1000 >= cost
        });
        if each {
            self.shares = [0; TEMPORALS];
            for (share, rung) in self.shares.iter_mut().zip(rungs) {
                *share = (rung.bits_per_second * 1000 / cost).min(1000) as u16;
            }
        }
    }

    /// Of a rung that flows, after [`Known::learn`].
    fn peak(&mut self, rung: &Rung) -> u64 {
        let peak = &mut self.peaks[usize::from(rung.layer.temporal).min(TEMPORALS - 1)];
        *peak = rung.bits_per_second.max(*peak);
        *peak
    }

    /// The most that it will cost when it flows again, as far as that is known: a keyframe may have been in the peak.
    fn most(&self, expected: u64) -> u64 {
        expected.max(self.peaks.into_iter().max().unwrap_or(0) * PEAK_PERCENT / 100)
    }

    /// What it costs, as far as that is known; `usual`: where neither that nor the size is.
    fn cost(&self, usual: u64, size: Option<(u16, u16)>) -> u64 {
        let usual = match size {
            Some((width, height)) => {
                (f64::from(width) * f64::from(height) * USUAL_PER_PIXEL) as u64
            }
            None => usual,
        };
        if self.bits_per_second > 0 { self.bits_per_second } else { usual }
    }
}

/// Adds the rungs of one encoding that flows. `spatial`: its place among simulcast encodings; without, its own spatial layers count.
fn add(
    list: &mut Vec<Rung>,
    encoding: &Encoding,
    now_us: u64,
    spatial: Option<u8>,
    available: bool,
) {
    let start = list.len();
    for layer in encoding.layers(now_us) {
        let at = Layer { spatial: spatial.unwrap_or(layer.spatial), temporal: layer.temporal };
        if list[start..].iter().all(|rung| rung.layer != at) {
            let size = layer.size;
            list.push(Rung { layer: at, size, available, ..Rung::default() });
        }
    }
    list[start..].sort_unstable_by_key(|rung| rung.layer);
    for layer in encoding.layers(now_us) {
        let own = Layer { spatial: spatial.unwrap_or(layer.spatial), temporal: layer.temporal };
        let cost = layer.bits_per_second * HEADERS_PERCENT / 100;
        for rung in &mut list[start..] {
            let there = rung.layer;
            let taken = match spatial {
                None => encoding.takes(there, own),
                Some(spatial) => there.spatial == spatial && there.temporal >= own.temporal,
            };
            if taken {
                rung.bits_per_second += cost;
                rung.fps += if there.spatial == own.spatial { layer.fps } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests;
