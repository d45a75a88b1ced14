//! Dependency descriptors of L1T3, L3T3 and the like for tests, as an encoder would write them.

use crate::params::Layer;

/// Bit fields, highest bit first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 != 0));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            bits.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << (7 - i))
        };
        self.0.chunks(8).map(byte).collect()
    }
}

/// So many spatial and temporal layers; `key`: spatial layers are predicted from lower ones in key pictures only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    pub(crate) key: bool,
    /// Of the first template.
    pub(crate) offset: u8,
}

/// One frame.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) layer: Layer,
    pub(crate) key: bool,
    pub(crate) number: u16,
    pub(crate) structure: bool,
    pub(crate) active: Option<u32>,
}

impl Mode {
    /// Layer and kind of each template.
    fn templates(self) -> Vec<(Layer, bool)> {
        let layers = (0..self.spatial).flat_map(|spatial| {
            (0..self.temporal).map(move |temporal| Layer { spatial, temporal })
        });
        layers
            .flat_map(|layer| {
                let key = (layer.temporal == 0).then_some((layer, true));
                key.into_iter().chain([(layer, false)])
            })
            .collect()
    }

    fn targets(self) -> Vec<Layer> {
        let all = (0..self.spatial).flat_map(|spatial| {
            (0..self.temporal).map(move |temporal| Layer { spatial, temporal })
        });
        all.collect()
    }

    fn indication(self, layer: Layer, key: bool, target: Layer) -> u32 {
        let own = layer.spatial == target.spatial;
        let spatial = if self.key && !key { own } else { layer.spatial <= target.spatial };
        if !spatial || layer.temporal > target.temporal {
            0
        } else if key || own && (layer.temporal == 0 || layer.temporal < target.temporal) {
            2
        } else if own {
            1
        } else {
            3
        }
    }

    /// First packet of a frame.
    pub(crate) fn descriptor(self, frame: Frame) -> Vec<u8> {
        let (templates, targets) = (self.templates(), self.targets());
        let index = templates.iter().position(|t| *t == (frame.layer, frame.key)).unwrap_or(0);
        let mut bits = Bits::default();
        bits.put(1, 1).put(1, 1).put((u32::from(self.offset) + index as u32) % 64, 6);
        bits.put(frame.number.into(), 16);
        if !frame.structure && frame.active.is_none() {
            return bits.bytes();
        }
        bits.put(frame.structure.into(), 1).put(frame.active.is_some().into(), 1).put(0, 3);
        if frame.structure {
            bits.put(self.offset.into(), 6).put(targets.len() as u32 - 1, 5);
            for pair in templates.windows(2) {
                let ((a, _), (b, _)) = (pair[0], pair[1]);
                bits.put(
                    if a == b {
                        0
                    } else if a.spatial == b.spatial {
                        1
                    } else {
                        2
                    },
                    2,
                );
            }
            bits.put(3, 2);
            for &(layer, key) in &templates {
                targets.iter().for_each(|target| {
                    bits.put(self.indication(layer, key, *target), 2);
                });
            }
            templates.iter().for_each(|(_, key)| {
                bits.put(if *key { 0 } else { 0b100_000 }, if *key { 1 } else { 6 });
            });
            // No chains: ns(targets + 1) of 0.
            bits.put(0, (targets.len() as u32 + 1).ilog2());
            bits.put(1, 1);
            for spatial in 0..self.spatial {
                let shift = self.spatial - 1 - spatial;
                bits.put((1280 >> shift) - 1, 16).put((720 >> shift) - 1, 16);
            }
        }
        if let Some(active) = frame.active {
            bits.put(active, targets.len() as u32);
        }
        bits.bytes()
    }
}
