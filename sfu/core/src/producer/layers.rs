//! The spatial and temporal layers inside one encoding: what its packets say of them, and how much each of them takes.
//!
//! A dependency descriptor says most; it needs the template structure, which comes with keyframes and is kept here. Decode targets are called by
//! their layers from here on, so that nobody else has to know a structure's order.

use crate::params::{Codec, Layer};
use crate::producer::cache::PacketCache;
use crate::producer::packet::{CachedPacket, DESCRIPTOR, Dependency};
use crate::producer::rates::{Counted, LayerRate, LayerRates};
use sfu_rtp::codec::{self, StatedLayers};
use sfu_rtp::dependency_descriptor::{DependencyDescriptor, Indication, TemplateStructure};

/// Encoders make three of each.
pub(crate) const SPATIAL_MAX: usize = 4;
pub(crate) const TEMPORAL_MAX: usize = 4;
pub(crate) const LAYERS: usize = SPATIAL_MAX * TEMPORAL_MAX;
/// Packets of one picture that may stand before its first slice: parameter sets, messages.
const BEFORE_SLICE_MAX: u64 = 8;
/// L3T3 has nine. What has more is forwarded whole.
const DECODE_TARGETS_MAX: usize = 16;

/// Where a layer has its place in arrays and sets; what is higher than there can be counts as the highest.
pub(crate) fn place(layer: Layer) -> usize {
    let spatial = usize::from(layer.spatial).min(SPATIAL_MAX - 1);
    spatial * TEMPORAL_MAX + usize::from(layer.temporal).min(TEMPORAL_MAX - 1)
}

/// Some of the layers that there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerSet(u16);

impl LayerSet {
    pub(crate) const ALL: Self = Self(u16::MAX);

    pub(crate) fn of(layers: impl Iterator<Item = Layer>) -> Self {
        Self(layers.fold(0, |set, layer| set | 1 << place(layer)))
    }

    pub(crate) fn contains(self, layer: Layer) -> bool {
        self.0 & 1 << place(layer) != 0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The highest layer of the set within `limit`: its spatial layer counts more. The lowest one if none is.
    pub(crate) fn best(self, limit: Layer) -> Option<Layer> {
        let columns = u16::MAX >> (LAYERS - 1 - usize::from(limit.temporal).min(TEMPORAL_MAX - 1));
        let columns = [0, 1, 2, 3].iter().fold(0, |all, row| all | columns << (row * TEMPORAL_MAX));
        let rows = u16::MAX >> (LAYERS - 1 - place(Layer { temporal: u8::MAX, ..limit }));
        let at = match self.0 & columns & rows {
            0 => self.0.checked_ilog2().map(|_| self.0.trailing_zeros())?,
            within => within.ilog2(),
        };
        Some(layer_at(at as usize))
    }

    /// Lowest first, the temporal layers of one spatial layer together.
    pub(crate) fn iter(self) -> impl Iterator<Item = Layer> {
        (0..LAYERS).filter(move |place| self.0 & 1 << place != 0).map(layer_at)
    }
}

fn layer_at(place: usize) -> Layer {
    Layer { spatial: (place / TEMPORAL_MAX) as u8, temporal: (place % TEMPORAL_MAX) as u8 }
}

/// A template structure as far as layer selection needs it. Decode targets go by their layers.
#[derive(Debug)]
pub(crate) struct Structure {
    templates: TemplateStructure,
    /// Extended sequence number of the packet that brought it.
    since: u64,
    serial: u8,
    /// Layers of each decode target.
    targets: [Layer; DECODE_TARGETS_MAX],
    /// The decode targets that there are.
    exists: LayerSet,
    /// By a decode target's place: those that have no frame that it has not, itself among them.
    parts: [LayerSet; LAYERS],
    /// Decode targets that the publisher keeps up, bit 0 for target 0.
    active: u32,
    /// The same by their layers.
    kept_up: LayerSet,
}

impl Structure {
    fn new(templates: TemplateStructure, since: u64, serial: u8) -> Self {
        let mut targets = [Layer::default(); DECODE_TARGETS_MAX];
        for (index, layer) in (0..templates.decode_targets()).zip(&mut targets) {
            let (spatial, temporal) = templates.decode_target_layers(index).unwrap_or_default();
            *layer = Layer { spatial, temporal };
        }
        let active = templates.all_decode_targets();
        let known = &targets[..usize::from(templates.decode_targets()).min(DECODE_TARGETS_MAX)];
        let mut parts = [LayerSet::default(); LAYERS];
        for (whole, layer) in (0..).zip(known) {
            let included = (0..).zip(known).filter(|(part, _)| templates.includes(whole, *part));
            parts[place(*layer)] = LayerSet::of(included.map(|(_, part)| *part));
        }
        let exists = LayerSet::of(known.iter().copied());
        Self { templates, since, serial, targets, exists, parts, active, kept_up: exists }
    }

    fn keep_up(&mut self, active: u32) {
        if std::mem::replace(&mut self.active, active) != active {
            let known = self.targets.iter().zip(0..self.count());
            let active = known.filter(|(_, index)| active >> index & 1 != 0);
            self.kept_up = LayerSet::of(active.map(|(layer, _)| *layer));
        }
    }

    /// The decode target for a receiver that wants at most these layers.
    pub(crate) fn best(&self, limit: Layer) -> Option<Layer> {
        self.exists.best(limit)
    }

    /// The same among those that the publisher keeps up.
    pub(crate) fn best_active(&self, limit: Layer) -> Option<Layer> {
        self.kept_up.best(limit)
    }

    /// Whether whoever gets decode target `whole` has everything for `part`.
    pub(crate) fn includes(&self, whole: Layer, part: Layer) -> bool {
        self.parts[place(whole)].contains(part)
    }

    /// Decode targets that the publisher keeps up, bit 0 for the structure's first.
    pub(crate) fn active(&self) -> u16 {
        self.active as u16
    }

    /// Those of them that whoever gets `target` can decode.
    pub(crate) fn active_within(&self, target: Layer) -> u16 {
        let all = (0..self.count().min(DECODE_TARGETS_MAX as u8)).zip(self.targets);
        let within = all.filter(|(_, part)| self.includes(target, *part));
        within.fold(0, |set, (index, _)| set | 1 << index) & self.active()
    }

    fn count(&self) -> u8 {
        self.templates.decode_targets()
    }

    /// Layers that have frames in what the publisher keeps up.
    fn layers(&self) -> LayerSet {
        let layers = self.templates.layers_of(self.active);
        LayerSet::of(layers.map(|(spatial, temporal)| Layer { spatial, temporal }))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    structure: Option<Box<Structure>>,
    /// The one before it, for packets that come late.
    previous: Option<Box<Structure>>,
    serial: u8,
    /// Spatial layers as the payload states them, or as came.
    spatial: u8,
    /// Packet that stated them.
    stated_at: u64,
    sizes: [Option<(u16, u16)>; SPATIAL_MAX],
    /// H.264 and H.265: parameter sets come with the keyframes, and not by signaling.
    parameter_sets: bool,
    rates: LayerRates,
}

impl Layers {
    /// Another sequence space begins.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The newest template structure.
    pub(crate) fn structure(&self) -> Option<&Structure> {
        self.structure.as_deref()
    }

    /// The structure with this serial number, while it is remembered.
    pub(crate) fn structure_of(&self, serial: u8) -> Option<&Structure> {
        let known = [&self.structure, &self.previous];
        known.into_iter().filter_map(|s| s.as_deref()).find(|structure| structure.serial == serial)
    }

    /// Without a structure: the highest spatial layer that is known.
    pub(crate) fn highest_spatial(&self) -> u8 {
        self.spatial.saturating_sub(1)
    }

    /// Fills in what payload and dependency descriptor say. `true`: a new template structure came, and packets after this one that came before it
    /// are known by it.
    pub(crate) fn describe(&mut self, packet: &mut CachedPacket, bytes: &[u8]) -> bool {
        let payload = packet.payload(bytes);
        packet.info = codec::inspect(packet.codec, payload);
        self.parameter_sets |= matches!(packet.codec, Codec::H264 | Codec::H265)
            && packet.info.keyframe
            && !packet.info.lacks_parameter_sets;
        if packet.info.keyframe || packet.codec == Codec::Vp9 {
            let stated = codec::stated_layers(packet.codec, payload);
            if let Some(stated) = stated.filter(|_| packet.seq >= self.stated_at) {
                self.state(&stated);
                self.stated_at = packet.seq;
            }
        }
        match packet.carried[DESCRIPTOR].of(bytes) {
            Some(value) => self.read_descriptor(packet, value),
            None => {
                if packet.info.keyframe {
                    (self.structure, self.previous) = (None, None);
                }
                if packet.codec == Codec::Av1 {
                    // The rest of a fragment does not say its layers: a frame could be torn in two.
                    (packet.info.spatial, packet.info.temporal) = (0, 0);
                }
                if packet.seq >= self.stated_at {
                    self.spatial = self.spatial.max(packet.info.spatial + 1);
                }
                false
            }
        }
    }

    /// May a receiver start with this packet? Not with a slice that overtook its parameter sets: with those it is sent what follows them from the cache.
    pub(crate) fn starts(&self, packet: &CachedPacket, cache: &PacketCache) -> bool {
        if !packet.info.keyframe || !packet.info.lacks_parameter_sets || !self.parameter_sets {
            return packet.info.keyframe;
        }
        for seq in (packet.seq.saturating_sub(BEFORE_SLICE_MAX)..packet.seq).rev() {
            match cache.get(seq) {
                Some((before, _)) if before.timestamp != packet.timestamp => return true,
                Some((before, _)) if before.info.keyframe => return true,
                Some(_) => {}
                None => return false,
            }
        }
        true
    }

    fn state(&mut self, stated: &StatedLayers) {
        self.spatial = stated.spatial;
        self.sizes = [None; SPATIAL_MAX];
        let count = usize::from(stated.spatial);
        let sizes = stated.dimensions.into_iter().flatten().take(count);
        for (size, stated) in self.sizes.iter_mut().zip(sizes) {
            *size = Some(stated).filter(|(width, height)| *width > 0 && *height > 0);
        }
    }

    fn read_descriptor(&mut self, packet: &mut CachedPacket, value: &[u8]) -> bool {
        let stored = self.structure.as_ref().filter(|structure| structure.since <= packet.seq);
        let stored = stored.or(self.previous.as_ref());
        let Ok(parsed) =
            DependencyDescriptor::parse(value, stored.map(|structure| &structure.templates))
        else {
            packet.dependency = Dependency::default();
            return false;
        };
        packet.dependency =
            Dependency { frame_number: parsed.frame_number, ..Dependency::default() };
        packet.info.frame_start = Some(parsed.start_of_frame);
        packet.info.frame_end = parsed.end_of_frame;
        let new = parsed.structure_attached && self.keep_structure(packet.seq, value);
        let structure = self.structure.as_mut().filter(|structure| structure.since <= packet.seq);
        let structure = structure.or(self.previous.as_mut());
        let (Some(frame), Some(structure)) = (parsed.frame, structure) else {
            if packet.codec == Codec::Av1 {
                (packet.info.spatial, packet.info.temporal) = (0, 0);
            }
            return new;
        };
        if let Some(active) = parsed.active_decode_targets {
            structure.keep_up(active);
        }
        (packet.info.spatial, packet.info.temporal) = (frame.spatial, frame.temporal);
        packet.info.keyframe &= frame.spatial == 0;
        let count = structure.count();
        if usize::from(count) > DECODE_TARGETS_MAX {
            return new;
        }
        let with = |wanted: fn(Indication) -> bool| {
            let targets = structure.targets.iter().zip(0..count);
            LayerSet::of(
                targets.filter(|(_, index)| wanted(frame.indication(*index))).map(|(t, _)| *t),
            )
        };
        packet.dependency.present = with(|indication| indication != Indication::NotPresent);
        packet.dependency.switch = with(|indication| indication == Indication::Switch);
        packet.dependency.structure = structure.serial;
        packet.dependency.targets = count;
        new
    }

    /// Takes the structure that a packet brings, if it is a newer one than is known and says something else.
    fn keep_structure(&mut self, seq: u64, value: &[u8]) -> bool {
        let Ok(Some(templates)) = TemplateStructure::parse(value) else { return false };
        // One that came late has its place before the one that is known.
        let late = self.structure.as_ref().is_some_and(|there| seq < there.since);
        let there = if late { &mut self.previous } else { &mut self.structure };
        if there.as_ref().is_some_and(|there| seq < there.since || there.templates == templates) {
            return false;
        }
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        if late {
            *there = Some(Box::new(Structure::new(templates, seq, self.serial)));
            return true;
        }
        let sizes = (0..SPATIAL_MAX as u8).zip(&mut self.sizes);
        sizes.for_each(|(spatial, size)| *size = templates.dimensions(spatial).or(*size));
        let structure = Box::new(Structure::new(templates, seq, self.serial));
        self.previous = self.structure.replace(structure);
        true
    }

    /// Counts a packet that came just now.
    pub(crate) fn count(&mut self, at_us: u64, packet: &CachedPacket) {
        let info = &packet.info;
        let other = self.rates.timestamp() != Some(packet.timestamp);
        self.rates.count(
            at_us,
            Counted {
                layer: Layer { spatial: info.spatial, temporal: info.temporal },
                bytes: packet.payload_len.into(),
                frame: info.frame_start.unwrap_or(other),
                timestamp: packet.timestamp,
            },
        );
    }

    fn declared(&self) -> LayerSet {
        match &self.structure {
            Some(structure) => structure.layers(),
            None => LayerSet::of((0..self.spatial).map(|spatial| Layer { spatial, temporal: 0 })),
        }
    }

    /// Layers that are declared or were seen in the last second.
    fn known(&self, now_us: u64) -> LayerSet {
        self.declared().union(self.rates.seen(now_us))
    }

    /// Spatial layers that are declared.
    pub(crate) fn spatial_layers(&self) -> u8 {
        self.declared().iter().map(|layer| layer.spatial + 1).max().unwrap_or(0)
    }

    /// Whether whoever is forwarded everything up to `whole` gets the frames of layer `part`: not those of lower spatial layers that only key pictures refer to.
    pub(crate) fn takes(&self, whole: Layer, part: Layer) -> bool {
        let below = part.spatial <= whole.spatial && part.temporal <= whole.temporal;
        let structure = self.structure().filter(|structure| {
            structure.exists.contains(whole) && structure.exists.contains(part)
        });
        structure.map_or(below, |structure| structure.includes(whole, part))
    }

    /// Each layer, lowest first. `announced`: the size of the whole, used where the packets do not say one.
    pub(crate) fn rates(
        &self,
        announced: Option<(u16, u16)>,
        now_us: u64,
    ) -> impl Iterator<Item = LayerRate> {
        let known = self.known(now_us);
        let highest = known.iter().map(|layer| layer.spatial).max().unwrap_or(0);
        self.rates.of(known, now_us).map(move |rate| {
            let stated = self.sizes[usize::from(rate.spatial)];
            // Each spatial layer is half as wide as the next one (W3C webrtc-svc, the modes without "h").
            let halvings = highest - rate.spatial;
            let halved =
                || announced.map(|(width, height)| (width >> halvings, height >> halvings));
            LayerRate { size: stated.or_else(halved), ..rate }
        })
    }

    pub(crate) fn are_settled(&self, now_us: u64) -> bool {
        self.rates.is_settled(now_us)
    }

    pub(crate) fn are_fresh(&self, now_us: u64) -> bool {
        self.rates.is_fresh(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::packet::Slice;
    use crate::producer::samples::{Frame, Mode};

    const L3T3: Mode = Mode { spatial: 3, temporal: 3, key: false, offset: 0 };
    const L3T3_KEY: Mode = Mode { key: true, offset: 20, ..L3T3 };
    const BASE: Layer = Layer { spatial: 0, temporal: 0 };

    fn at(spatial: u8, temporal: u8) -> Layer {
        Layer { spatial, temporal }
    }

    /// An AV1 packet of a frame, as `layers` describes it.
    fn take(layers: &mut Layers, seq: u64, mode: Mode, frame: Frame) -> (CachedPacket, bool) {
        let mut bytes = mode.descriptor(frame);
        let mut packet = CachedPacket { seq, codec: Codec::Av1, ..CachedPacket::default() };
        packet.carried[DESCRIPTOR] = Slice::new(0, bytes.len());
        packet.payload_start = bytes.len() as u16;
        // One OBU, a sequence header in keyframes.
        bytes.extend_from_slice(if frame.key { &[0x18, 0x08, 0] } else { &[0x10, 0x30, 0] });
        packet.payload_len = 3;
        let new = layers.describe(&mut packet, &bytes);
        (packet, new)
    }

    fn key(structure: bool) -> Frame {
        Frame { key: true, structure, number: 7, ..Frame::default() }
    }

    fn delta(spatial: u8, temporal: u8) -> Frame {
        Frame { layer: at(spatial, temporal), number: 8, ..Frame::default() }
    }

    #[test]
    fn a_descriptor_says_layers_and_decode_targets() {
        let mut layers = Layers::default();
        let (packet, new) = take(&mut layers, 10, L3T3_KEY, key(true));
        assert!(new && packet.info.keyframe);
        assert_eq!(packet.dependency.frame_number, 7);
        assert_eq!((packet.dependency.structure, packet.dependency.targets), (1, 9));
        assert_eq!(packet.dependency.switch.iter().count(), 9);
        let (packet, new) = take(&mut layers, 11, L3T3_KEY, delta(1, 1));
        assert!(!new && !packet.info.keyframe && packet.info.frame_start == Some(true));
        assert_eq!((packet.info.spatial, packet.info.temporal), (1, 1));
        assert_eq!(packet.dependency.present, LayerSet::of([at(1, 1), at(1, 2)].into_iter()));
        assert_eq!(packet.dependency.switch, LayerSet::of([at(1, 2)].into_iter()));
        // The enhancement layer of a key picture is no start.
        let upper = Frame { layer: at(1, 0), structure: false, ..key(false) };
        assert!(!take(&mut layers, 12, L3T3_KEY, upper).0.info.keyframe);
        let sizes: Vec<_> = layers.rates(None, 0).map(|rate| rate.size).collect();
        assert_eq!((sizes.len(), sizes[0], sizes[8]), (9, Some((320, 180)), Some((1280, 720))));
    }

    #[test]
    fn a_late_packet_is_read_by_the_structure_of_its_time() {
        let mut layers = Layers::default();
        take(&mut layers, 10, L3T3, key(true));
        assert!(!take(&mut layers, 15, L3T3, key(true)).1, "the same again");
        assert!(take(&mut layers, 20, L3T3_KEY, key(true)).1);
        let (late, _) = take(&mut layers, 18, L3T3, delta(0, 0));
        assert_eq!((late.dependency.structure, late.dependency.present.iter().count()), (1, 9));
        let (packet, _) = take(&mut layers, 21, L3T3_KEY, delta(0, 0));
        assert_eq!((packet.dependency.structure, packet.dependency.present.iter().count()), (2, 3));
        // Its own structure comes late.
        assert!(take(&mut layers, 19, Mode { offset: 50, ..L3T3 }, key(true)).1);
    }

    #[test]
    fn without_the_structure_nothing_is_known_but_the_number() {
        let mut layers = Layers::default();
        let (packet, _) = take(&mut layers, 10, L3T3, delta(2, 2));
        assert_eq!((packet.info.spatial, packet.info.temporal), (0, 0));
        let expected = Dependency { frame_number: 8, ..Dependency::default() };
        assert_eq!(packet.dependency, expected);
    }

    #[test]
    fn layers_that_the_publisher_left_are_not_declared() {
        let mut layers = Layers::default();
        take(&mut layers, 10, L3T3, key(true));
        take(&mut layers, 11, L3T3, Frame { active: Some(0b111), ..delta(0, 0) });
        let known: Vec<_> = layers.rates(None, 0).map(|r| (r.spatial, r.temporal)).collect();
        assert_eq!(known, [(0, 0), (0, 1), (0, 2)]);
    }

    #[test]
    fn the_best_layer_within_a_limit() {
        let set = LayerSet::of([at(0, 0), at(0, 2), at(1, 0), at(2, 1)].into_iter());
        let best = |spatial, temporal| set.best(at(spatial, temporal)).unwrap();
        assert_eq!(best(255, 255), at(2, 1));
        assert_eq!(best(2, 0), at(1, 0));
        assert_eq!((best(0, 1), best(0, 3), best(1, 3)), (at(0, 0), at(0, 2), at(1, 0)));
        let set = LayerSet::of([at(1, 1), at(2, 0)].into_iter());
        assert_eq!(set.best(BASE), Some(at(1, 1)), "the lowest that there is");
        assert_eq!(LayerSet::default().best(at(3, 3)), None);
    }

    #[test]
    fn active_targets_are_those_that_can_be_decoded() {
        let mut layers = Layers::default();
        take(&mut layers, 10, L3T3, key(true));
        let active = |layers: &Layers, spatial, temporal| {
            layers.structure().unwrap().active_within(at(spatial, temporal))
        };
        assert_eq!(active(&layers, 1, 1), 0b000_011_011);
        assert_eq!(active(&layers, 2, 2), 0b111_111_111);
        take(&mut layers, 20, L3T3_KEY, key(true));
        // Whoever gets a higher spatial layer gets the lower ones in key pictures only.
        assert_eq!(active(&layers, 2, 1), 0b011_000_000);
        take(&mut layers, 21, L3T3_KEY, Frame { active: Some(0b111), ..delta(0, 0) });
        assert_eq!((active(&layers, 2, 1), active(&layers, 0, 2)), (0, 0b111));
        assert_eq!(layers.structure().unwrap().best_active(at(2, 1)), Some(at(0, 1)));
    }

    #[test]
    fn an_announced_size_is_halved_where_packets_say_none() {
        let mut layers = Layers::default();
        // VP9, two spatial layers of unknown size.
        let mut packet = CachedPacket { codec: Codec::Vp9, ..CachedPacket::default() };
        let bytes = [0x0a, 0x20, 0x82];
        packet.payload_len = 3;
        layers.describe(&mut packet, &bytes);
        let sizes: Vec<_> = layers.rates(Some((1280, 720)), 0).map(|rate| rate.size).collect();
        assert_eq!(sizes, [Some((640, 360)), Some((1280, 720))]);
        assert!(layers.known(0).contains(BASE));
    }
}
