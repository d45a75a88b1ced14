use super::*;
use crate::ProducerId;
use crate::params::{EncodingParams, Feedback, MediaKind, ProducerParams, ReceiveCodec};
use crate::producer::Origin;
use std::time::Instant;

fn producer(rids: &[&str], flowing: u8) -> Producer {
    let encodings = rids
        .iter()
        .map(|rid| EncodingParams { rid: Some((*rid).into()), ..EncodingParams::default() })
        .collect();
    let params = ProducerParams {
        kind: MediaKind::Video,
        mid: None,
        encodings,
        codecs: Vec::new(),
        fec: None,
        number: 1,
        paused: false,
    };
    let mut producer = Producer::new(ProducerId(1), Origin::Transport(0), params);
    producer.flowing = flowing;
    producer
}

fn packet(keyframe: bool, temporal: u8) -> CachedPacket {
    let mut packet = CachedPacket::default();
    packet.info.keyframe = keyframe;
    packet.info.frame_start = Some(true);
    packet.info.temporal = temporal;
    packet.payload_len = 1;
    packet
}

fn only(spatial: Option<u8>, temporal: Option<u8>) -> PreferredLayer {
    PreferredLayer { rid: None, spatial, temporal }
}

#[test]
fn starts_with_any_keyframe_and_moves_to_the_best() {
    let producer = producer(&["q", "h", "f"], 0b111);
    let mut selector = Selector::default();
    assert_eq!(selector.select(&producer, 0, &packet(false, 0)), Selection::WaitKeyframe);
    assert_eq!(selector.select(&producer, 0, &packet(true, 0)), Selection::Switch);
    assert_eq!(selector.needs_keyframe(&producer), Some(2));
    assert_eq!(selector.select(&producer, 1, &packet(true, 0)), Selection::Other);
    assert_eq!(selector.select(&producer, 2, &packet(false, 0)), Selection::Other);
    assert_eq!(selector.select(&producer, 2, &packet(true, 0)), Selection::Switch);
    assert_eq!(selector.needs_keyframe(&producer), None);
    assert_eq!(selector.select(&producer, 0, &packet(true, 0)), Selection::Other);
}

#[test]
fn a_wish_switches_at_a_keyframe_and_a_dead_layer_is_left() {
    let mut producer = producer(&["q", "h", "f"], 0b111);
    let mut selector = Selector::default();
    assert_eq!(selector.select(&producer, 2, &packet(true, 0)), Selection::Switch);
    selector.prefer(PreferredLayer { rid: Some("h".into()), ..PreferredLayer::default() });
    assert_eq!(selector.select(&producer, 2, &packet(false, 0)), Selection::Forward);
    assert_eq!(selector.needs_keyframe(&producer), Some(1));
    assert_eq!(selector.select(&producer, 1, &packet(true, 0)), Selection::Switch);
    producer.flowing = 0b101;
    assert_eq!(selector.needs_keyframe(&producer), Some(0));
}

#[test]
fn temporal_layers_go_down_at_a_frame_and_up_at_a_sync_point() {
    let producer = producer(&["f"], 1);
    let mut selector = Selector::default();
    let mut seq = 0;
    let mut packet = |keyframe, temporal| {
        seq += 1;
        let timestamp = seq as u32;
        CachedPacket { seq, timestamp, codec: Codec::Vp8, ..packet(keyframe, temporal) }
    };
    selector.select(&producer, 0, &packet(true, 0));
    assert_eq!(selector.select(&producer, 0, &packet(false, 2)), Selection::Forward);
    selector.prefer(only(None, Some(0)));
    let mut middle = packet(false, 2);
    middle.info.frame_start = Some(false);
    assert_eq!(selector.select(&producer, 0, &middle), Selection::Forward);
    assert_eq!(
        selector.select(&producer, 0, &packet(false, 1)),
        Selection::Skip(DropReason::TemporalLayer)
    );
    selector.prefer(only(None, Some(1)));
    assert_eq!(
        selector.select(&producer, 0, &packet(false, 1)),
        Selection::Skip(DropReason::TemporalLayer)
    );
    assert_eq!(selector.select(&producer, 0, &packet(false, 0)), Selection::Forward);
    let mut sync = packet(false, 1);
    sync.info.switching_up = true;
    assert_eq!(selector.select(&producer, 0, &sync), Selection::Forward);
    assert_eq!(selector.select(&producer, 0, &packet(false, 1)), Selection::Forward);
    assert_eq!(
        selector.select(&producer, 0, &packet(false, 2)),
        Selection::Skip(DropReason::TemporalLayer)
    );
}
#[test]
fn a_frame_whose_start_was_overtaken_is_judged_as_one() {
    let producer = producer(&["f"], 1);
    let mut selector = Selector::default();
    let at = |seq, start, temporal| {
        let timestamp = seq as u32 / 2 * 2;
        let mut packet = CachedPacket { seq, timestamp, ..packet(false, temporal) };
        packet.info.frame_start = Some(start);
        packet
    };
    selector.select(&producer, 0, &CachedPacket { seq: 1, ..packet(true, 0) });
    selector.prefer(only(None, Some(0)));
    assert_eq!(selector.select(&producer, 0, &at(3, false, 2)), Selection::Forward);
    assert_eq!(selector.select(&producer, 0, &at(2, true, 2)), Selection::Forward);
    assert_eq!(
        selector.select(&producer, 0, &at(5, true, 2)),
        Selection::Skip(DropReason::TemporalLayer)
    );
    assert_eq!(selector.select(&producer, 0, &at(4, false, 2)), Selection::Forward, "late");
}

/// A stream of pictures in one encoding, and what a receiver of the forwarded part of it can decode.
mod model {
    use super::*;
    use crate::producer::packet::Slice;
    use crate::producer::samples::{Frame, Mode};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    use std::collections::{HashMap, HashSet};

    /// Temporal layers of four pictures.
    const PATTERN: [[u8; 4]; 3] = [[0, 0, 0, 0], [0, 1, 0, 1], [0, 2, 1, 2]];
    /// Packets of one frame.
    const PACKETS: u8 = 2;

    struct Encoder {
        mode: Mode,
        vp9: bool,
        seq: u64,
        picture: u32,
        since_key: u32,
        number: u16,
        /// Last frame of each layer.
        last: HashMap<(u8, u8), u16>,
    }

    /// One packet, and the frames that its frame refers to.
    struct Made {
        packet: CachedPacket,
        bytes: Vec<u8>,
        number: u16,
        references: Vec<u16>,
    }

    impl Encoder {
        fn new(mode: Mode, vp9: bool) -> Self {
            let last = HashMap::new();
            Self { mode, vp9, seq: 1000, picture: 0, since_key: 0, number: 0, last }
        }

        /// The last frame of a spatial layer among these temporal ones.
        fn newest(&self, spatial: u8, temporal: u8) -> Option<u16> {
            (0..=temporal).filter_map(|t| self.last.get(&(spatial, t))).max().copied()
        }

        fn picture(&mut self, key: bool) -> Vec<Made> {
            if key {
                self.since_key = 0;
                self.last.clear();
            }
            let pattern = PATTERN[usize::from(self.mode.temporal) - 1];
            let temporal = pattern[self.since_key as usize % 4];
            self.since_key += 1;
            self.picture += 1;
            let mut made = Vec::new();
            let mut below = None;
            for spatial in 0..self.mode.spatial {
                self.number += 1;
                // A frame of the base layer refers to the base layer, others to what is newest below them.
                let mut references: Vec<u16> =
                    self.newest(spatial, temporal.saturating_sub(1)).into_iter().collect();
                if key || !self.mode.key {
                    references.extend(below);
                }
                let layer = Layer { spatial, temporal };
                for index in 0..PACKETS {
                    made.push(self.packet(layer, key, index, references.clone()));
                }
                self.last.insert((spatial, temporal), self.number);
                below = Some(self.number);
            }
            made
        }

        fn packet(&mut self, layer: Layer, key: bool, index: u8, references: Vec<u16>) -> Made {
            let Layer { spatial, temporal } = layer;
            let (first, last) = (index == 0, index + 1 == PACKETS);
            let codec = if self.vp9 { Codec::Vp9 } else { Codec::Av1 };
            let (seq, timestamp) = (self.seq, self.picture * 3000);
            let mut packet = CachedPacket { seq, timestamp, codec, ..CachedPacket::default() };
            packet.arrival_us = u64::from(self.picture) * 33_000;
            packet.marker = last && spatial + 1 == self.mode.spatial;
            let mut bytes = Vec::new();
            let payload: Vec<u8> = if self.vp9 {
                let head = 0xa0 | u8::from(!key) << 6 | u8::from(first) << 3 | u8::from(last) << 2;
                // libwebrtc: nothing of this temporal layer is referred to.
                let up = temporal > 0 && (self.mode.key || spatial == 0);
                let layers = temporal << 5 | u8::from(up) << 4 | spatial << 1;
                vec![head, self.picture as u8 & 0x7f, layers, 0, 0x82]
            } else {
                let structure = key && first && spatial == 0;
                let number = self.number;
                bytes = self.mode.descriptor(Frame { layer, key, number, structure, active: None });
                bytes[0] = bytes[0] & 0x3f | u8::from(first) << 7 | u8::from(last) << 6;
                packet.carried[DESCRIPTOR] = Slice::new(0, bytes.len());
                if structure { vec![0x18, 0x08] } else { vec![0x10, 0x30] }
            };
            packet.payload_start = bytes.len() as u16;
            packet.payload_len = payload.len() as u16;
            bytes.extend(payload);
            self.seq += 1;
            Made { packet, bytes, number: self.number, references }
        }
    }

    fn receive(producer: &mut Producer, made: &mut Made) {
        let layers = producer.encodings[0].layers.as_mut().unwrap();
        layers.describe(&mut made.packet, &made.bytes);
    }

    /// Runs through 3000 pictures with random wishes; returns how often the limit came true, and keyframes that were made for that.
    fn run(mode: Mode, vp9: bool, seed: u64) -> (u32, u32) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut producer = producer(&["f"], 1);
        let mut selector = Selector::default();
        let mut encoder = Encoder::new(mode, vp9);
        let (mut decoded, mut wish) = (HashSet::new(), Layer { spatial: 3, temporal: 3 });
        let (mut reached, mut keys) = (0, 0);
        for number in 0..3000 {
            if number % 40 == 0 {
                wish = Layer { spatial: rng.random_range(0..4), temporal: rng.random_range(0..4) };
                selector.aim(Aim::Layer(wish));
            }
            // A keyframe comes some pictures after it was needed, and sometimes for no reason.
            let needed = selector.needs_keyframe(&producer).is_some() && rng.random_bool(0.3);
            let key = number == 0 || needed || rng.random_bool(0.005);
            keys += u32::from(needed && number > 0);
            let mut picture = encoder.picture(key);
            let (mut forwarded, mut marked, mut highest) = (0, 0, (0, 0));
            let mut have: HashMap<u16, u8> = HashMap::new();
            for made in &mut picture {
                receive(&mut producer, made);
                let selection = selector.select(&producer, 0, &made.packet);
                if !matches!(selection, Selection::Forward | Selection::Switch) {
                    continue;
                }
                assert_eq!(marked, 0, "the marker ends the picture");
                let told = selector.tell(&producer.encodings[0], &made.packet, &made.bytes);
                marked += u32::from(told.marker);
                forwarded += 1;
                *have.entry(made.number).or_default() += 1;
                let whole = made.references.iter().all(|frame| decoded.contains(frame));
                assert!(
                    whole,
                    "{made_number} needs {:?}",
                    made.references,
                    made_number = made.number
                );
                if have[&made.number] == PACKETS {
                    decoded.insert(made.number);
                }
                highest = (made.packet.info.spatial, made.packet.info.temporal);
            }
            assert!(have.values().all(|packets| *packets == PACKETS), "no frame is torn");
            assert!(forwarded == 0 || marked == 1, "picture {number}: {marked} markers");
            let top = (wish.spatial.min(mode.spatial - 1), wish.temporal.min(mode.temporal - 1));
            reached += u32::from(number % 40 > 30 && forwarded > 0 && highest == top);
            assert!(highest.1 <= top.1 || number % 40 < 6, "more frames than were wanted");
        }
        (reached, keys)
    }

    #[test]
    fn what_is_forwarded_can_be_decoded() {
        let mode = |spatial, temporal, key| Mode { spatial, temporal, key, offset: 60 };
        let modes = [
            mode(1, 3, false),
            mode(1, 2, false),
            mode(3, 3, false),
            mode(3, 3, true),
            mode(2, 1, false),
            mode(2, 2, true),
        ];
        for (seed, mode) in (0..).zip(modes) {
            for vp9 in [false, true] {
                let (reached, keys) = run(mode, vp9, seed);
                assert!(reached > 100, "{mode:?} VP9 {vp9}: {reached}");
                let needed = mode.spatial > 1;
                assert_eq!(keys > 0, needed, "{mode:?} VP9 {vp9}: {keys} keyframes");
            }
        }
    }
}

/// A packet of H.264 comes, with one NAL unit.
fn take(producer: &mut Producer, seq: u64, timestamp: u32, nal: u8) -> CachedPacket {
    let codec = ReceiveCodec {
        payload_type: 96,
        rtx_payload_type: None,
        codec: Codec::H264,
        clock_rate: 90_000,
        feedback: Feedback::default(),
    };
    let fresh = CachedPacket { seq, timestamp, len: 2, payload_len: 2, ..CachedPacket::default() };
    let there = &mut producer.encodings[0];
    there.receive_piped((Instant::now(), false), &codec, fresh, &[nal, 0]).unwrap();
    *there.cache.get(seq).unwrap().0
}

#[test]
fn slices_that_overtook_their_parameter_sets_are_no_start() {
    const SETS: u8 = 7;
    const KEY: u8 = 5;
    const DELTA: u8 = 1;
    let overtaken = [
        (13, 2, DELTA, Selection::WaitKeyframe),
        (15, 3, KEY, Selection::WaitKeyframe),
        (16, 3, DELTA, Selection::WaitKeyframe),
        (14, 3, SETS, Selection::Switch),
        (15, 3, KEY, Selection::Forward),
    ];
    // Where nothing but slices is sent, they are all there is.
    let without = [(13, 2, DELTA, Selection::WaitKeyframe), (15, 3, KEY, Selection::Switch)];
    for (first, packets) in [(SETS, &overtaken[..]), (DELTA, &without[..])] {
        let mut producer = producer(&["f"], 1);
        take(&mut producer, 11, 1, first);
        take(&mut producer, 12, 1, KEY);
        let mut selector = Selector::default();
        for &(seq, timestamp, nal, expected) in packets {
            let there = producer.encodings[0].cache.get(seq).map(|(packet, _)| *packet);
            let packet = there.unwrap_or_else(|| take(&mut producer, seq, timestamp, nal));
            assert_eq!(selector.select(&producer, 0, &packet), expected, "{seq}");
        }
        // Nothing of it is missing behind a whole picture.
        take(&mut producer, 17, 4, DELTA);
        let packet = take(&mut producer, 18, 5, KEY);
        assert_eq!(Selector::default().select(&producer, 0, &packet), Selection::Switch);
    }
}
