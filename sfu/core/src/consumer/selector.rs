//! Which encoding of a track a slot shows, and which of its spatial and temporal layers.
//!
//! Between encodings it switches at keyframes. Inside one, layers that are not wanted are left out from the next picture on. More come back where
//! what was forwarded so far is enough to decode them: at a keyframe, at a VP8 or VP9 sync point, or where the dependency descriptor says Switch.

use crate::drop_reason::DropReason;
use crate::params::{Codec, Layer, PreferredLayer};
use crate::producer::Producer;
use crate::producer::encoding::Encoding;
use crate::producer::layers::Structure;
use crate::producer::packet::{CachedPacket, DESCRIPTOR};

/// Every layer that there is.
const ALL: Layer = Layer { spatial: u8::MAX, temporal: u8::MAX };
/// Earlier limits that are remembered for late packets.
const EARLIER: usize = 3;
/// For so long after a change every frame says what is forwarded: a loss then does not matter.
const TOLD_US: u64 = 1_000_000;

/// An encoding and the sequence space it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) encoding: u8,
    pub(crate) epoch: u32,
}

/// What to do with one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Forward; it belongs to the current source.
    Forward,
    /// Forward; it is the first packet of a new source.
    Switch,
    /// Leave out, and close the gap: its layer is not wanted, or it is padding.
    Skip(DropReason),
    /// Not of the current source.
    Other,
    /// Nothing can be shown before a keyframe.
    WaitKeyframe,
    /// The allocator gave the slot nothing.
    Paused,
}

/// What the allocator gave the slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Aim {
    /// It has not decided: the best that flows.
    #[default]
    Best,
    /// At most this.
    Layer(Layer),
    /// Nothing is sent.
    Nothing,
}

/// What a forwarded packet says of the layers that go with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Nothing more of this picture follows.
    pub(crate) marker: bool,
    /// Active decode targets, by the structure's order, where the dependency descriptor has to say them.
    pub(crate) active_targets: Option<u16>,
}

/// A limit, and the first packet (source sequence number) for which it held.
#[derive(Clone, Copy, Debug)]
struct Limit {
    since: u64,
    layer: Layer,
}

#[derive(Debug)]
pub(crate) struct Selector {
    current: Option<Source>,
    preferred: PreferredLayer,
    aim: Aim,
    /// Nothing above the aim is shown, also when nothing else flows yet.
    starved: bool,
    /// The highest encoding that may be repaired, since what was above it was ended for lack of room.
    left_above: Option<u8>,
    /// Layers in force: at most these, or with a dependency descriptor the decode target of these layers.
    limit: Limit,
    /// Newest packet of the current source that was judged, and its timestamp.
    newest: u64,
    picture: u32,
    /// Once the limit has changed. Behind a pointer: few packets need it.
    changes: Option<Box<Changes>>,
}

#[derive(Debug)]
struct Changes {
    /// Limits that held before, newest first.
    earlier: [Limit; EARLIER],
    /// Arrival of the packet with which the limit changed.
    last_us: u64,
}

impl Default for Selector {
    fn default() -> Self {
        Self {
            current: None,
            preferred: PreferredLayer::default(),
            aim: Aim::default(),
            starved: false,
            left_above: None,
            limit: Limit { since: 0, layer: ALL },
            newest: 0,
            picture: 0,
            changes: None,
        }
    }
}

impl Selector {
    pub(crate) fn prefer(&mut self, layer: PreferredLayer) {
        self.preferred = layer;
    }

    /// Takes what the allocator decided. What begins again needs a keyframe.
    pub(crate) fn aim(&mut self, aim: Aim) {
        self.aim = aim;
        if aim == Aim::Nothing {
            self.current = None;
        }
    }

    pub(crate) fn aimed(&self) -> Aim {
        self.aim
    }

    /// The highest layers that are wanted inside an encoding; `alone`: it is the only one, so that spatial layers are its own.
    fn wish(&self, alone: bool) -> Layer {
        let given = match self.aim {
            Aim::Layer(layer) => layer,
            Aim::Best | Aim::Nothing => ALL,
        };
        let least = |a: Option<u8>, b: u8| a.map_or(b, |a| a.min(b));
        Layer {
            spatial: if alone { least(self.preferred.spatial, given.spatial) } else { ALL.spatial },
            temporal: least(self.preferred.temporal, given.temporal),
        }
    }

    pub(crate) fn preferred(&self) -> &PreferredLayer {
        &self.preferred
    }

    pub(crate) fn current(&self) -> Option<Source> {
        self.current
    }

    /// Starts over: bound to another track, resumed, unmuted.
    pub(crate) fn reset(&mut self) {
        self.current = None;
    }

    /// What is shown is far above what there is room for: it ends, and the next is at most what the allocator gives.
    pub(crate) fn starve(&mut self) {
        self.current = None;
        self.starved = true;
        self.left_above = match self.aim {
            Aim::Layer(layer) => Some(layer.spatial),
            Aim::Best | Aim::Nothing => None,
        };
    }

    /// Was this encoding ended because there was no room for it?
    pub(crate) fn has_left(&self, encoding: u8) -> bool {
        self.left_above.is_some_and(|shown| encoding > shown)
    }

    /// May this encoding be shown, as far as room matters?
    fn has_room(&self, encoding: u8) -> bool {
        !self.starved || !matches!(self.aim, Aim::Layer(layer) if encoding > layer.spatial)
    }

    /// The encoding that should be shown.
    pub(crate) fn target(&self, producer: &Producer) -> Option<u8> {
        let limit = self.preferred.rid.as_ref().and_then(|rid| {
            producer.encodings.iter().position(|encoding| encoding.rid.as_ref() == Some(rid))
        });
        let given = match self.aim {
            Aim::Best => None,
            Aim::Layer(layer) => Some(usize::from(layer.spatial)),
            Aim::Nothing => return None,
        };
        let limit = [limit, given].into_iter().flatten().min();
        let best = producer.best_flowing(limit).map(|encoding| encoding as u8);
        best.filter(|encoding| self.has_room(*encoding))
    }

    /// The encoding that must send a keyframe before this slot shows what it should.
    pub(crate) fn needs_keyframe(&self, producer: &Producer) -> Option<u8> {
        if !producer.is_video() || self.aim == Aim::Nothing {
            return None;
        }
        // A still screen share sends nothing at all: its first viewer must ask all the same.
        let idle = || self.current.is_none().then_some(0);
        let target = self.target(producer).or_else(idle)?;
        let encoding = producer.encodings.get(usize::from(target))?;
        let shown = self.current == Some(Source { encoding: target, epoch: encoding.epoch });
        let wish = self.wish(producer.encodings.len() == 1);
        (!shown || self.lacks_spatial_layer(encoding, wish)).then_some(target)
    }

    /// Whether other spatial layers are wanted that cannot be decoded after what was forwarded.
    fn lacks_spatial_layer(&self, encoding: &Encoding, wish: Layer) -> bool {
        let Some(layers) = &encoding.layers else { return false };
        let limit = self.limit.layer;
        let Some(structure) = layers.structure() else {
            return wish.spatial.min(layers.highest_spatial()) > limit.spatial;
        };
        let (Some(now), Some(then)) = (structure.best(limit), structure.best_active(wish)) else {
            return false;
        };
        then.spatial != now.spatial && !structure.includes(now, then)
    }

    /// Of an only encoding, the spatial layer that is shown until a keyframe, because the one that is wanted cannot be decoded after it.
    pub(crate) fn stuck_on(&self, encoding: &Encoding) -> Option<u8> {
        let structure = self.current.and(encoding.layers.as_ref()?.structure())?;
        let shown = structure.best(self.limit.layer)?;
        self.lacks_spatial_layer(encoding, self.wish(true)).then_some(shown.spatial)
    }

    /// Decides on one packet of `encoding`.
    pub(crate) fn select(
        &mut self,
        producer: &Producer,
        encoding: u8,
        packet: &CachedPacket,
    ) -> Selection {
        let there = producer.encodings.get(usize::from(encoding));
        let source = Source { encoding, epoch: there.map_or(0, |e| e.epoch) };
        let wish = self.wish(producer.encodings.len() == 1);
        let structure = there.and_then(|there| structure_of(there, packet));
        if self.current == Some(source) {
            if packet.payload_len == 0 && producer.is_video() {
                return Selection::Skip(DropReason::Padding);
            }
            return self.select_layer(structure, wish, packet);
        }
        if self.aim == Aim::Nothing {
            return Selection::Paused;
        }
        let starts = !producer.is_video() || there.is_some_and(|there| there.starts(packet));
        let wanted = self.target(producer) == Some(encoding);
        // With nothing to show, any keyframe is better than waiting for the best one.
        let first = self.current.is_none_or(|s| s.encoding == encoding) && self.has_room(encoding);
        match (starts, wanted || first) {
            (true, true) => {
                self.current = Some(source);
                self.starved = false;
                self.left_above = self.left_above.filter(|above| encoding <= *above);
                self.begin(structure, wish, packet);
                Selection::Switch
            }
            _ if self.current.is_none() => Selection::WaitKeyframe,
            _ => Selection::Other,
        }
    }

    fn begin(&mut self, structure: Option<&Structure>, wish: Layer, packet: &CachedPacket) {
        let layer = structure.and_then(|structure| structure.best_active(wish)).unwrap_or(wish);
        self.limit = Limit { since: 0, layer };
        (self.newest, self.picture) = (packet.seq, packet.timestamp);
        let whole = structure.is_none_or(|structure| structure.best(ALL) == Some(layer));
        let last_us = packet.arrival_us;
        self.changes =
            (!whole).then(|| Box::new(Changes { earlier: [self.limit; EARLIER], last_us }));
    }

    fn select_layer(
        &mut self,
        structure: Option<&Structure>,
        wish: Layer,
        packet: &CachedPacket,
    ) -> Selection {
        let info = &packet.info;
        // A frame is forwarded whole or left out whole: nothing changes in the middle of one whose start was overtaken.
        if packet.seq > self.newest {
            if wish != self.limit.layer && info.frame_start == Some(true) {
                self.adapt(structure, wish, packet);
            }
            (self.newest, self.picture) = (packet.seq, packet.timestamp);
        }
        let limit = self.limit_at(packet.seq);
        let (spatial, temporal) = match structure.and_then(|structure| structure.best(limit)) {
            Some(target) if packet.dependency.present.contains(target) => (true, true),
            // Of two layers that a decode target has not, the spatial one is what was chosen.
            Some(target) => (info.spatial == target.spatial, false),
            None => (info.spatial <= limit.spatial, info.temporal <= limit.temporal),
        };
        match (spatial, temporal) {
            (true, true) => Selection::Forward,
            (true, false) => Selection::Skip(DropReason::TemporalLayer),
            (false, _) => Selection::Skip(DropReason::SpatialLayer),
        }
    }

    /// The limit by which a packet is judged: a late one by that of its time.
    fn limit_at(&self, seq: u64) -> Layer {
        let Some(changes) = self.changes.as_ref().filter(|_| seq < self.limit.since) else {
            return self.limit.layer;
        };
        let held = changes.earlier.iter().find(|earlier| seq >= earlier.since);
        held.unwrap_or(&changes.earlier[EARLIER - 1]).layer
    }

    /// Comes nearer to the wish with the frame that begins here, as far as that can be decoded.
    fn adapt(&mut self, structure: Option<&Structure>, wish: Layer, packet: &CachedPacket) {
        let info = &packet.info;
        let other_picture = packet.timestamp != self.picture;
        let begins = other_picture && (info.spatial == 0 || packet.seq == self.newest + 1);
        let now = self.limit.layer;
        let next = match structure {
            Some(structure) => by_targets(structure, now, wish, packet, begins),
            None if info.keyframe => wish,
            None if begins => by_payload(now, wish, packet),
            None => now,
        };
        if next == now {
            return;
        }
        let limit = self.limit;
        let none = || Box::new(Changes { earlier: [limit; EARLIER], last_us: 0 });
        let changes = self.changes.get_or_insert_with(none);
        changes.earlier.rotate_right(1);
        changes.earlier[0] = limit;
        changes.last_us = packet.arrival_us;
        self.limit = Limit { since: packet.seq, layer: next };
    }

    /// What a packet that is forwarded must say about layers. `bytes`: of the packet.
    #[inline]
    pub(crate) fn tell(&self, encoding: &Encoding, packet: &CachedPacket, bytes: &[u8]) -> Told {
        let structure = structure_of(encoding, packet);
        if structure.is_none() && !packet.info.frame_end {
            return Told { marker: packet.marker, active_targets: None };
        }
        let limit = self.limit_at(packet.seq);
        let target = structure.and_then(|structure| structure.best(limit));
        let highest = target.unwrap_or(limit).spatial;
        let last = packet.info.frame_end && packet.info.spatial == highest;
        let value = packet.carried[DESCRIPTOR].of(bytes);
        let active_targets =
            structure.zip(target).zip(value).and_then(|((structure, target), value)| {
                let first = packet.info.frame_start == Some(true);
                let change = self.changes.as_ref().filter(|_| first).map(|changes| changes.last_us);
                let recent =
                    change.is_some_and(|at| packet.arrival_us.saturating_sub(at) < TOLD_US);
                let active = structure.active_within(target);
                // Structure and active decode targets have their flags in the fourth byte; a structure alone says all of them.
                let stated = value.get(3).is_some_and(|flags| flags & 0xc0 != 0);
                (recent || stated && active != structure.active()).then_some(active)
            });
        Told { marker: packet.marker || last, active_targets }
    }
}

/// The template structure by which a packet was read.
#[inline]
fn structure_of<'a>(encoding: &'a Encoding, packet: &CachedPacket) -> Option<&'a Structure> {
    match packet.dependency.structure {
        0 => None,
        serial => encoding.layers.as_ref()?.structure_of(serial),
    }
}

/// The next limit by decode targets. `begins`: a picture begins.
fn by_targets(
    structure: &Structure,
    limit: Layer,
    wish: Layer,
    packet: &CachedPacket,
    begins: bool,
) -> Layer {
    let (Some(now), Some(then)) = (structure.best(limit), structure.best_active(wish)) else {
        return limit;
    };
    if now == then || packet.info.keyframe {
        return then;
    }
    let dependency = &packet.dependency;
    let fewer = |to: Layer| begins && structure.includes(now, to);
    let more = |to: Layer| dependency.present.contains(now) && dependency.switch.contains(to);
    let lowest =
        Layer { spatial: now.spatial.min(then.spatial), temporal: now.temporal.min(then.temporal) };
    // What cannot be had at once in both directions may be in one.
    let steps = [then, lowest, Layer { spatial: now.spatial, temporal: then.temporal }];
    let steps = steps.into_iter().filter_map(|step| structure.best(step));
    steps.into_iter().find(|&step| step != now && (fewer(step) || more(step))).unwrap_or(limit)
}

/// The next limit where only the payload tells, at the begin of a picture that is no keyframe.
fn by_payload(now: Layer, wish: Layer, packet: &CachedPacket) -> Layer {
    let info = &packet.info;
    let spatial = now.spatial.min(wish.spatial);
    if wish.temporal <= now.temporal {
        return Layer { spatial, temporal: wish.temporal };
    }
    let temporal = match (info.switching_up, packet.codec) {
        (false, _) => now.temporal,
        // Later pictures refer to nothing above this layer from before (RFC 9628 section 4.2) …
        (true, Codec::Vp9) if info.temporal <= now.temporal => wish.temporal,
        // … and in libwebrtc this one refers to lower layers only, of which all but the next one may be missing.
        (true, Codec::Vp9) if info.temporal > now.temporal + 1 => now.temporal,
        // VP8: it refers to nothing above the base layer. Three temporal layers are the most that encoders make.
        (true, _) if info.temporal <= now.temporal => now.temporal,
        (true, _) if info.temporal >= 2 => wish.temporal,
        (true, _) => wish.temporal.min(info.temporal),
    };
    Layer { spatial, temporal }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
