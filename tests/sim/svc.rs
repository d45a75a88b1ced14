//! An encoder with spatial and temporal layers in one stream: VP9 by its payload descriptor, AV1 by real dependency descriptors.
//! It keeps account of what each frame refers to.

use crate::net::SECOND;
use crate::stamp::{STAMP_LEN, Stamp};
use crate::tracks::FRAME;
use rand::Rng;
use rand::rngs::SmallRng;
use std::collections::HashMap;

/// Temporal layers of four pictures, by how many there are.
const PATTERN: [[u8; 4]; 3] = [[0, 0, 0, 0], [0, 1, 0, 1], [0, 2, 1, 2]];
/// Most bytes of a packet.
const PACKET: u64 = 1100;
/// Of the first template: ids wrap.
const TEMPLATE_OFFSET: u32 = 60;

/// (spatial, temporal)
pub(crate) type Layer = (u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Vp9,
    Av1,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// Spatial layers are predicted from lower ones in key pictures only.
    pub(crate) key: bool,
    pub(crate) format: Format,
}

/// A frame that was made.
#[derive(Clone, Debug)]
pub(crate) struct Coded {
    pub(crate) layer: Layer,
    pub(crate) key: bool,
    pub(crate) references: Vec<u32>,
    pub(crate) picture_id: u16,
}

/// One packet: payload, dependency descriptor, marker.
pub(crate) struct Packet {
    pub(crate) payload: Vec<u8>,
    pub(crate) descriptor: Option<Vec<u8>>,
    pub(crate) marker: bool,
}

pub(crate) struct Svc {
    pub(crate) mode: Mode,
    /// By frame number.
    pub(crate) frames: HashMap<u32, Coded>,
    /// Spatial layers that are made.
    pub(crate) active: u8,
    /// Bits per second of each spatial layer; without, frames have any size.
    pub(crate) rates: Option<[u64; 3]>,
    /// Spatial layers of the mode at the beginning: the last of them is 1280 wide.
    whole: u8,
    /// What was told of that.
    told: u8,
    number: u32,
    picture_id: u16,
    since_key: u32,
    /// Last frame of each layer.
    last: HashMap<Layer, u32>,
}

impl Mode {
    pub(crate) fn targets(self) -> Vec<Layer> {
        (0..self.spatial).flat_map(|s| (0..self.temporal).map(move |t| (s, t))).collect()
    }

    fn templates(self) -> Vec<(Layer, bool)> {
        let with_key = |layer: Layer| (layer.1 == 0).then_some((layer, true));
        self.targets()
            .into_iter()
            .flat_map(|l| with_key(l).into_iter().chain([(l, false)]))
            .collect()
    }

    /// 0: not present, 1: discardable, 2: switch, 3: required.
    pub(crate) fn indication(self, layer: Layer, key: bool, target: Layer) -> u32 {
        let own = layer.0 == target.0;
        let present = if self.key && !key { own } else { layer.0 <= target.0 };
        match (present && layer.1 <= target.1, own) {
            (false, _) => 0,
            _ if key => 2,
            (_, false) => 3,
            _ if layer.1 == 0 || layer.1 < target.1 => 2,
            _ => 1,
        }
    }
}

/// Bit fields, highest bit first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 != 0));
        self
    }

    fn non_symmetric(&mut self, value: u32, limit: u32) -> &mut Self {
        let width = u32::BITS - limit.leading_zeros();
        let short = (1 << width) - limit;
        if value < short { self.put(value, width - 1) } else { self.put(value + short, width) }
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << (7 - i))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

impl Svc {
    pub(crate) fn new(mode: Mode, rng: &mut SmallRng) -> Self {
        Self {
            mode,
            frames: HashMap::new(),
            active: mode.spatial,
            rates: None,
            whole: mode.spatial,
            told: mode.spatial,
            number: rng.random_range(0..0x1_0000),
            picture_id: rng.random_range(0..0x8000),
            since_key: 0,
            last: HashMap::new(),
        }
    }

    /// Frame numbers and picture ids wrap within the first half second.
    pub(crate) fn near_the_end(self) -> Self {
        Self { number: 0xfff8, picture_id: 0x7ff8, ..self }
    }

    /// Another `scalabilityMode` and a size that goes with it: it begins with a keyframe.
    pub(crate) fn make(&mut self, spatial: u8) {
        (self.mode.spatial, self.active, self.told) = (spatial, spatial, spatial);
    }

    /// Packets of a frame, and the bytes of each.
    fn cut(&self, rng: &mut SmallRng, spatial: u8, key: bool) -> (u8, usize) {
        let Some(rates) = self.rates else {
            return (rng.random_range(1..=2 + spatial), rng.random_range(300..1000));
        };
        let bytes = rates[usize::from(spatial)] * FRAME / SECOND / 8 * if key { 2 } else { 1 };
        let count = bytes.div_ceil(PACKET).max(1);
        (count as u8, (bytes / count) as usize)
    }

    /// One picture: a frame of each spatial layer. `stamp`: of the picture.
    pub(crate) fn picture(&mut self, rng: &mut SmallRng, key: bool, stamp: &Stamp) -> Vec<Packet> {
        if key {
            self.since_key = 0;
            self.last.clear();
        }
        let temporal = PATTERN[usize::from(self.mode.temporal) - 1][self.since_key as usize % 4];
        self.since_key += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let (mut packets, mut below) = (Vec::new(), None);
        for spatial in 0..self.active {
            self.number += 1;
            let same = (0..temporal.max(1)).filter_map(|t| self.last.get(&(spatial, t)));
            let mut references: Vec<u32> = same.max().copied().into_iter().collect();
            if key || !self.mode.key {
                references.extend(below);
            }
            let (count, len) = self.cut(rng, spatial, key);
            let coded =
                Coded { layer: (spatial, temporal), key, references, picture_id: self.picture_id };
            // Some frames say what everybody knows.
            let changed =
                spatial == 0 && std::mem::replace(&mut self.told, self.active) != self.active;
            // A structure alone says that all targets are active.
            let limited = key && spatial == 0 && self.active < self.mode.spatial;
            let stated = rng.random_bool(0.1) || changed || limited;
            for index in 0..count {
                let frame = self.number;
                let stamp = Stamp { layer: spatial, temporal, frame, index, count, ..*stamp };
                packets.push(self.packet(&coded, &stamp, len, stated));
            }
            self.frames.insert(self.number, coded);
            self.last.insert((spatial, temporal), self.number);
            below = Some(self.number);
        }
        packets
    }

    fn packet(&self, coded: &Coded, stamp: &Stamp, len: usize, stated: bool) -> Packet {
        let (first, last) = (stamp.index == 0, stamp.index + 1 == stamp.count);
        let mut payload = match self.mode.format {
            Format::Vp9 => self.vp9(coded, first, last),
            Format::Av1 if coded.key && first && coded.layer.0 == 0 => vec![0x18, 0x08],
            Format::Av1 => vec![0x10, 0x30],
        };
        payload.resize(len - STAMP_LEN, 0xcd);
        stamp.write(&mut payload);
        let descriptor = (self.mode.format == Format::Av1)
            .then(|| self.descriptor(coded, stamp.frame, (first, last), stated));
        Packet { payload, descriptor, marker: last && coded.layer.0 + 1 == self.active }
    }

    /// RFC 9628 section 4.2, non-flexible mode; key pictures have the scalability structure.
    fn vp9(&self, coded: &Coded, first: bool, last: bool) -> Vec<u8> {
        let (spatial, temporal) = coded.layer;
        let structure = coded.key && first && spatial == 0;
        let head = 0xa0 | u8::from(!coded.key) << 6 | u8::from(first) << 3 | u8::from(last) << 2;
        let mut payload = vec![head | u8::from(structure) << 1];
        payload.extend_from_slice(&(0x8000 | coded.picture_id).to_be_bytes());
        let inter_layer = spatial > 0 && (coded.key || !self.mode.key);
        let up = temporal > 0 && !inter_layer;
        let layers = temporal << 5 | u8::from(up) << 4 | spatial << 1 | u8::from(inter_layer);
        payload.extend_from_slice(&[layers, 7]);
        if structure {
            payload.push((self.mode.spatial - 1) << 5 | 0x10);
            for layer in 0..self.mode.spatial {
                let shift = self.whole - 1 - layer;
                payload.extend(
                    [1280_u16 >> shift, 720 >> shift].into_iter().flat_map(u16::to_be_bytes),
                );
            }
        }
        payload
    }

    fn descriptor(&self, coded: &Coded, number: u32, ends: (bool, bool), stated: bool) -> Vec<u8> {
        let Mode { spatial, .. } = self.mode;
        let whole = self.whole;
        let (templates, targets) = (self.mode.templates(), self.mode.targets());
        let index = templates.iter().position(|t| *t == (coded.layer, coded.key)).unwrap() as u32;
        let structure = coded.key && coded.layer.0 == 0 && ends.0;
        let mut bits = Bits::default();
        bits.put(ends.0.into(), 1).put(ends.1.into(), 1).put((TEMPLATE_OFFSET + index) % 64, 6);
        bits.put(number & 0xffff, 16);
        bits.put(structure.into(), 1).put(stated.into(), 1).put(0b010, 3);
        if structure {
            bits.put(TEMPLATE_OFFSET, 6).put(targets.len() as u32 - 1, 5);
            for pair in templates.windows(2) {
                let ((a, _), (b, _)) = (pair[0], pair[1]);
                bits.put(
                    if a == b {
                        0
                    } else if a.0 == b.0 {
                        1
                    } else {
                        2
                    },
                    2,
                );
            }
            bits.put(3, 2);
            for &(layer, key) in &templates {
                for &target in &targets {
                    bits.put(self.mode.indication(layer, key, target), 2);
                }
            }
            templates.iter().for_each(|_| {
                bits.put(0, 1);
            });
            // A chain for each spatial layer.
            bits.non_symmetric(spatial.into(), targets.len() as u32 + 1);
            for target in &targets {
                bits.non_symmetric(target.0.into(), spatial.into());
            }
            for _ in 0..templates.len() * usize::from(spatial) {
                bits.put(1, 4);
            }
            bits.put(1, 1);
            for layer in 0..spatial {
                let shift = whole - 1 - layer;
                bits.put((1280 >> shift) - 1, 16).put((720 >> shift) - 1, 16);
            }
        }
        if stated {
            for target in (0..targets.len()).rev() {
                bits.put((targets[target].0 < self.active).into(), 1);
            }
        }
        for reference in &coded.references {
            bits.put(2, 2).put(number - reference - 1, 8);
        }
        bits.put(0, 2);
        bits.bytes()
    }
}
