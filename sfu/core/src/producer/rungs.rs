//! What a track has on offer: its layers with their cost, and whether the publisher sends them when asked.
//!
//! A layer that nobody watches may rest at the publisher. It stays on offer at the cost that it had last, or at one that is usual; who chooses it has the publisher
//! asked to send it. What does not come then is taken off the offer for a while: the publisher's own link or processor has no room for it.

use crate::allocate::{RUNGS_MAX, Rung};
use crate::params::Layer;
use crate::producer::encoding::Encoding;
use crate::producer::{ENCODINGS_MAX, Producer};

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

/// What is known of one encoding beside its packets.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Bits per second when it last flowed.
    bits_per_second: u64,
    /// The most lately, up to each temporal layer.
    peaks: [u64; TEMPORALS],
    /// Width and height when it last flowed.
    size: Option<(u16, u16)>,
    /// Since when it is asked for without coming.
    asked_us: Option<u64>,
    absent_until_us: u64,
    absences: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rungs {
    list: Vec<Rung>,
    updated_us: Option<u64>,
    known: [Known; ENCODINGS_MAX],
}

impl Rungs {
    pub(crate) fn list(&self) -> &[Rung] {
        &self.list
    }

    /// What the lowest one and all of them cost, bits per second.
    pub(crate) fn costs(&self) -> (u64, u64) {
        let costs = || self.list.iter().map(|rung| rung.bits_per_second);
        (costs().min().unwrap_or(0), costs().max().unwrap_or(0))
    }

    /// Is it time for another look? To know what is wanted costs a look at every consumer.
    pub(crate) fn are_due(&self, now_us: u64) -> bool {
        self.updated_us.is_none_or(|at| now_us.saturating_sub(at) >= INTERVAL_US)
    }

    /// Something begins or stops to flow: the next look is not put off.
    pub(crate) fn outdate(&mut self) {
        self.updated_us = None;
    }
}

impl Producer {
    /// Brings [`Producer::rungs`] up to date. `wanted`: encodings that somebody should be shown.
    pub(crate) fn update_rungs(&mut self, now_us: u64, wanted: u8) {
        self.rungs.updated_us = Some(now_us);
        self.rungs.list.clear();
        let simulcast = self.encodings.len() > 1;
        for index in 0..self.encodings.len().min(ENCODINGS_MAX) {
            let flows = self.flowing & 1 << index != 0;
            let available = self.rungs.known[index].look(now_us, flows, wanted & 1 << index != 0);
            let encoding = &self.encodings[index];
            let spatial = simulcast.then_some(index as u8);
            let before = self.rungs.list.len();
            if flows {
                add(&mut self.rungs.list, encoding, now_us, spatial, available);
            }
            let usual = if simulcast { index } else { USUAL.len() - 1 };
            let expected = self.rungs.known[index].cost(usual, encoding.announced);
            let added = &mut self.rungs.list[before..];
            let known_size = &mut self.rungs.known[index].size;
            *known_size = added.iter().filter_map(|rung| rung.size).max().or(*known_size);
            let size = known_size.or(encoding.announced);
            let cost = added.iter().map(|rung| rung.bits_per_second).max().filter(|cost| *cost > 0);
            match cost {
                Some(cost) if !encoding.is_settled(now_us) => {
                    // All of its layers, as far as they differ so far.
                    let known = self.rungs.known[index].bits_per_second > 0;
                    let whole = match known || encoding.is_fresh(now_us) {
                        true => expected,
                        false => expected.max(cost),
                    };
                    let most = self.rungs.known[index].most(whole);
                    let scale = |rung: &mut Rung| {
                        rung.peak = rung.bits_per_second * most / cost;
                        rung.bits_per_second = rung.bits_per_second * whole / cost;
                    };
                    added.iter_mut().for_each(scale);
                }
                Some(cost) => {
                    let known = &mut self.rungs.known[index];
                    known.learn(cost);
                    if simulcast {
                        added.iter_mut().for_each(|rung| rung.peak = known.peak(rung));
                    }
                }
                None => {
                    let layer = Layer { spatial: spatial.unwrap_or(0), temporal: 0 };
                    let bits_per_second = expected;
                    let peak = self.rungs.known[index].most(expected);
                    self.rungs.list.truncate(before);
                    let rung = Rung { layer, bits_per_second, peak, size, fps: 0.0, available };
                    self.rungs.list.push(rung);
                }
            }
        }
        self.rungs.list.truncate(RUNGS_MAX);
    }
}

fn fallen(from: u64, percent: u64) -> u64 {
    from * (100 - percent) / 100
}

impl Known {
    /// Notes whether the encoding flows and is asked for; returns whether it is on offer.
    fn look(&mut self, now_us: u64, flows: bool, asked: bool) -> bool {
        if flows {
            let Self { bits_per_second, peaks, size, .. } = *self;
            *self = Self { bits_per_second, peaks, size, ..Self::default() };
            return true;
        }
        if now_us < self.absent_until_us {
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

    /// Falls slowly: the last looks before a rest see it stop.
    fn learn(&mut self, cost: u64) {
        self.bits_per_second = cost.max(fallen(self.bits_per_second, FORGOTTEN_PERCENT));
        self.peaks = self.peaks.map(|peak| fallen(peak, FORGOTTEN_PERCENT_PEAK));
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

    fn cost(&self, index: usize, size: Option<(u16, u16)>) -> u64 {
        let usual = match size {
            Some((width, height)) => {
                (f64::from(width) * f64::from(height) * USUAL_PER_PIXEL) as u64
            }
            None => USUAL[index.min(USUAL.len() - 1)],
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
            list.push(Rung { layer: at, bits_per_second: 0, peak: 0, size, fps: 0.0, available });
        }
    }
    list[start..].sort_unstable_by_key(|rung| rung.layer);
    for layer in encoding.layers(now_us) {
        let own = Layer { spatial: spatial.unwrap_or(layer.spatial), temporal: layer.temporal };
        let cost = layer.bits_per_second * HEADERS_PERCENT / 100;
        for rung in &mut list[start..] {
            let there = rung.layer;
            if there.spatial >= own.spatial && there.temporal >= own.temporal {
                rung.bits_per_second += cost;
                rung.fps += if there.spatial == own.spatial { layer.fps } else { 0.0 };
            }
        }
    }
}
