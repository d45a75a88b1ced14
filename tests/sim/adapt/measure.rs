//! What a viewer saw: frames that could be decoded and when, freezes as libwebrtc counts them, shares of time and of frames.

use super::scenario::Meeting;
use crate::net::{MS, Micros};
use crate::subscriber::Slot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

/// Frame intervals that the mean is taken over, and how many it takes to have one.
const INTERVALS: usize = 30;
const INTERVALS_MIN: usize = 5;
/// More than this above the mean …
const FREEZE_EXTRA: Micros = 150 * MS;
/// … and more than so many times the mean is a freeze.
const FREEZE_FACTOR: Micros = 3;

/// The same TL0PICIDX comes again after 256 pictures.
const REMEMBERED: u32 = 128;

const REPAIRED: u32 = 3;
/// Until a gap is seen, and asked for.
const REPAIR_EXTRA: Micros = 30 * MS;

/// A frame on the screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// When it and everything that it refers to was there.
    pub(super) at: Micros,
    pub(super) number: u32,
    pub(super) capture: Micros,
    pub(super) layer: u8,
}

/// What one slot showed, in order.
pub(super) struct Playback {
    pub(super) shown: Vec<Shown>,
    pub(super) freezes: Vec<Range<Micros>>,
    until: Micros,
}

impl Playback {
    pub(super) fn of(meeting: &Meeting, viewer: usize) -> Self {
        Self::of_slot(meeting, viewer, 0)
    }

    pub(super) fn of_slot(meeting: &Meeting, viewer: usize, slot: usize) -> Self {
        let subscriber = &meeting.world.subscribers[meeting.viewers[viewer].subscriber];
        let slot = &subscriber.slots[slot];
        let told = Micros::from(subscriber.playout_delay.unwrap_or(0)) * MS;
        if meeting.setup.svc.is_some() {
            return Self::of_layers(meeting, slot, told);
        }
        let mut ready: HashMap<(u8, u32), Micros> = HashMap::new();
        let mut bases: HashMap<(u8, u8), u32> = HashMap::new();
        let mut shown = Vec::new();
        // When each layer could be decoded first.
        let mut began: HashMap<u8, Micros> = HashMap::new();
        for (&(_, layer, number), frame) in &slot.frames {
            // As libwebrtc: one of the lowest temporal layer refers to the one before by TL0PICIDX.
            let before = match frame.base {
                Some(base) => {
                    let before = bases.get(&(layer, base.wrapping_sub(1))).copied();
                    bases.insert((layer, base), number);
                    before.filter(|before| number.wrapping_sub(*before) <= REMEMBERED)
                }
                None => Some(number.wrapping_sub(refers_back(&frame.stamp))),
            };
            let capture = frame.stamp.capture;
            if let Some(at) = frame.before.or(frame.complete).filter(|_| frame.stamp.keyframe) {
                began.entry(layer).or_insert(at);
            }
            let earlier =
                frame.before.filter(|at| began.get(&layer).is_some_and(|first| first <= at));
            shown.extend(earlier.map(|at| Shown { at, number, capture, layer }));
            let Some(complete) = frame.complete else { continue };
            let refers = match before {
                _ if frame.stamp.keyframe => Some(0),
                before => before.and_then(|before| ready.get(&(layer, before)).copied()),
            };
            let Some(refers) = refers else { continue };
            let at = complete.max(refers);
            ready.insert((layer, number), at);
            if earlier.is_none() {
                shown.push(Shown { at, number, capture, layer });
            }
        }
        Self::of_frames(meeting, shown, told)
    }

    /// The highest spatial layer of each picture that could be decoded.
    fn of_layers(meeting: &Meeting, slot: &Slot, told: Micros) -> Self {
        let video = meeting.world.publishers[0].video.as_ref();
        let coded = &video.and_then(|video| video.svc.as_ref()).expect("spatial layers").frames;
        let mut ready: HashMap<u32, Micros> = HashMap::new();
        let mut pictures: BTreeMap<Micros, Shown> = BTreeMap::new();
        let mut frames: Vec<_> = slot.frames.values().collect();
        frames.sort_unstable_by_key(|frame| frame.stamp.frame);
        for frame in frames {
            let number = frame.stamp.frame;
            let refers = coded[&number].references.iter().map(|number| ready.get(number).copied());
            let refers = refers.collect::<Option<Vec<Micros>>>().map(|at| at.into_iter().max());
            let (Some(complete), Some(refers)) = (frame.complete, refers) else { continue };
            let at = complete.max(refers.unwrap_or(0));
            ready.insert(number, at);
            let (capture, layer) = (frame.stamp.capture, frame.stamp.layer);
            pictures.insert(capture, Shown { at, number, capture, layer });
        }
        Self::of_frames(meeting, pictures.into_values().collect(), told)
    }

    /// `told`: how long the player was told to keep pictures; one that comes until the next is due is not passed over.
    fn of_frames(meeting: &Meeting, mut shown: Vec<Shown>, told: Micros) -> Self {
        let usual = shown.iter().map(|frame| frame.at - frame.capture).min().unwrap_or(0);
        let due = |frame: &Shown| frame.at.max(frame.capture + usual + told);
        shown.sort_unstable_by_key(|frame| (due(frame), frame.number));
        let mut newest = None;
        shown.retain(|frame| {
            let newer = newest.is_none_or(|newest| frame.number > newest);
            if newer {
                newest = Some(frame.number);
            }
            newer
        });
        let until = meeting.world.now;
        let freezes = freezes(&rendered(&shown, usual, meeting.setup.rtt, told), until);
        Self { shown, freezes, until }
    }

    /// When this layer, or a better one, was first shown since `from`.
    pub(super) fn first(&self, layer: u8, from: Micros) -> Option<Micros> {
        self.shown
            .iter()
            .find(|frame| frame.at >= from && frame.layer >= layer)
            .map(|frame| frame.at)
    }

    /// Share of the time during which this layer was shown.
    pub(super) fn share(&self, layer: u8, during: Range<Micros>) -> f64 {
        let ends = self.shown.iter().skip(1).map(|next| next.at).chain([self.until]);
        let mut sum = 0;
        for (frame, end) in self.shown.iter().zip(ends) {
            if frame.layer == layer {
                sum += end.min(during.end).saturating_sub(frame.at.max(during.start));
            }
        }
        sum as f64 / (during.end - during.start) as f64
    }

    /// Changes of layer during that time.
    pub(super) fn changes(&self, during: Range<Micros>) -> Vec<(Micros, u8)> {
        let mut changes: Vec<(Micros, u8)> = Vec::new();
        for frame in self.shown.iter().filter(|frame| during.contains(&frame.at)) {
            if changes.last().is_none_or(|(_, layer)| *layer != frame.layer) {
                changes.push((frame.at, frame.layer));
            }
        }
        changes
    }

    /// The longest freeze that ends during that time.
    pub(super) fn longest_freeze(&self, during: Range<Micros>) -> Micros {
        let inside = self
            .freezes
            .iter()
            .filter(|freeze| freeze.end >= during.start && freeze.start < during.end);
        inside.map(|freeze| freeze.end - freeze.start).max().unwrap_or(0)
    }

    /// Share of the time that freezes take.
    pub(super) fn frozen(&self, during: Range<Micros>) -> f64 {
        let inside = self.freezes.iter().map(|freeze| {
            freeze.end.min(during.end).saturating_sub(freeze.start.max(during.start))
        });
        inside.sum::<Micros>() as f64 / (during.end - during.start) as f64
    }

    /// Share of the captured frames that could be decoded at most `limit` later.
    pub(super) fn in_time(
        &self,
        meeting: &mut Meeting,
        during: Range<Micros>,
        limit: Micros,
    ) -> f64 {
        let captured = meeting.world.publishers[0].video().frames.iter();
        let captured = captured.filter(|frame| during.contains(&frame.capture)).count();
        let inside = self.shown.iter().filter(|frame| during.contains(&frame.capture));
        let good = inside.filter(|frame| frame.at <= frame.capture + limit).count();
        good as f64 / captured as f64
    }
}

/// How many pictures back a frame of a higher temporal layer refers (L1T3: 0 2 1 2).
fn refers_back(stamp: &crate::stamp::Stamp) -> u32 {
    if stamp.temporal == 1 { 2 } else { 1 }
}

/// When each frame is rendered. As libwebrtc's jitter buffer: after more than three frames that were repaired there is room for a
/// round trip.
fn rendered(shown: &[Shown], usual: Micros, rtt: Micros, told: Micros) -> Vec<Micros> {
    let (mut repaired, mut last) = (0, 0);
    let render = shown.iter().map(|frame| {
        repaired += u32::from(frame.at - frame.capture > usual + rtt * 3 / 4);
        let room = if repaired > REPAIRED { rtt + REPAIR_EXTRA } else { 0 };
        last = frame.at.max(frame.capture + usual + room.max(told)).max(last);
        last
    });
    render.collect()
}

fn freezes(rendered: &[Micros], until: Micros) -> Vec<Range<Micros>> {
    let (mut last, mut freezes) = (VecDeque::new(), Vec::new());
    let ends = rendered.iter().skip(1).copied().chain([until]);
    for (&begin, end) in rendered.iter().zip(ends) {
        let interval = end.saturating_sub(begin);
        if last.len() >= INTERVALS_MIN {
            let mean = last.iter().sum::<Micros>() / last.len() as u64;
            if interval > (FREEZE_FACTOR * mean).max(mean + FREEZE_EXTRA) {
                freezes.push(begin..end);
            }
        }
        last.push_back(interval);
        if last.len() > INTERVALS {
            last.pop_front();
        }
    }
    freezes
}

/// Time in the queue of 95 of 100 datagrams.
pub(super) fn queue_p95(meeting: &mut Meeting, viewer: usize, during: Range<Micros>) -> Micros {
    let passed = &meeting.link(viewer).passed;
    let mut waits: Vec<Micros> =
        passed.iter().filter(|(at, ..)| during.contains(at)).map(|(_, waits, _)| *waits).collect();
    waits.sort_unstable();
    waits.get(waits.len() * 95 / 100).copied().unwrap_or(0)
}

/// Bits per second on the link, with all headers.
pub(super) fn bitrate(meeting: &Meeting, viewer: usize, during: Range<Micros>) -> u64 {
    let samples = &meeting.viewers[viewer].samples;
    let inside: Vec<u64> =
        samples.iter().filter(|s| during.contains(&s.at)).map(|sample| sample.sent).collect();
    inside.iter().sum::<u64>() / inside.len().max(1) as u64
}

/// Share of the audio packets that came at most `limit` after capture.
pub(super) fn audio(meeting: &Meeting, viewer: usize, during: Range<Micros>, limit: Micros) -> f64 {
    let subscriber = meeting.viewers[viewer].subscriber;
    let frames = meeting.world.subscribers[subscriber].slots[1].frames.values();
    let came = frames
        .filter(|frame| during.contains(&frame.stamp.capture))
        .filter(|frame| frame.complete.is_some_and(|at| at <= frame.stamp.capture + limit));
    let sent = (during.end - during.start) / crate::tracks::AUDIO_FRAME;
    came.count() as f64 / sent as f64
}
