//! Which encoding of a track a slot shows, and up to which temporal layer. Switches only at keyframes; the seam for
//! layer choice by bandwidth: an allocator will set what `set_layer` sets by hand.

use crate::params::{Layer, PreferredLayer};
use crate::producer::Producer;
use crate::producer::packet::CachedPacket;

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
    /// Leave out, and close the gap: the temporal layer is above the wanted one.
    Skip,
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

#[derive(Debug, Default)]
pub(crate) struct Selector {
    current: Option<Source>,
    preferred: PreferredLayer,
    aim: Aim,
    /// Temporal layer in force; follows the wish down at once and up at a sync point.
    temporal: Option<u8>,
    /// Packets before this one (source sequence numbers) are judged by the limit that held then.
    since: u64,
    before: Option<u8>,
    /// Newest packet of the current source that was judged.
    newest: u64,
}

impl Selector {
    pub(crate) fn prefer(&mut self, layer: PreferredLayer) {
        self.preferred = layer;
        if self.current.is_none() {
            self.temporal = self.wish();
        }
    }

    /// Takes what the allocator decided. What begins again needs a keyframe.
    pub(crate) fn aim(&mut self, aim: Aim) {
        self.aim = aim;
        if aim == Aim::Nothing {
            self.current = None;
        }
        if self.current.is_none() {
            self.temporal = self.wish();
        }
    }

    pub(crate) fn aimed(&self) -> Aim {
        self.aim
    }

    /// Highest temporal layer that is wanted; `None`: all.
    fn wish(&self) -> Option<u8> {
        let given = match self.aim {
            Aim::Layer(layer) => Some(layer.temporal),
            Aim::Best | Aim::Nothing => None,
        };
        [self.preferred.temporal, given].into_iter().flatten().min()
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
        self.temporal = self.wish();
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
        producer.best_flowing(limit).map(|encoding| encoding as u8)
    }

    /// The encoding that must send a keyframe before this slot shows what it should.
    pub(crate) fn needs_keyframe(&self, producer: &Producer) -> Option<u8> {
        if !producer.is_video() || self.aim == Aim::Nothing {
            return None;
        }
        // A still screen share sends nothing at all: its first viewer must ask all the same.
        let idle = || self.current.is_none().then_some(0);
        let target = self.target(producer).or_else(idle)?;
        let epoch = producer.encodings.get(usize::from(target))?.epoch;
        (self.current != Some(Source { encoding: target, epoch })).then_some(target)
    }

    /// Decides on one packet of `encoding`.
    pub(crate) fn select(
        &mut self,
        producer: &Producer,
        encoding: u8,
        packet: &CachedPacket,
    ) -> Selection {
        let epoch = producer.encodings.get(usize::from(encoding)).map_or(0, |e| e.epoch);
        let source = Source { encoding, epoch };
        if self.current == Some(source) {
            return self.select_temporal(packet);
        }
        if self.aim == Aim::Nothing {
            return Selection::Paused;
        }
        let starts = !producer.is_video() || packet.info.keyframe;
        let wanted = self.target(producer) == Some(encoding);
        // With nothing to show, any keyframe is better than waiting for the best one.
        let first = self.current.is_none_or(|s| s.encoding == encoding);
        match (starts, wanted || first) {
            (true, true) => {
                self.current = Some(source);
                self.temporal = self.wish();
                (self.since, self.newest) = (packet.seq, packet.seq);
                Selection::Switch
            }
            _ if self.current.is_none() => Selection::WaitKeyframe,
            _ => Selection::Other,
        }
    }

    fn select_temporal(&mut self, packet: &CachedPacket) -> Selection {
        let info = &packet.info;
        let (wish, now) = (self.wish(), self.temporal);
        // A frame is forwarded whole or left out whole: nothing changes in the middle of one whose start was overtaken.
        let next_frame = info.frame_start == Some(true) && packet.seq > self.newest;
        self.newest = self.newest.max(packet.seq);
        if wish != now && next_frame {
            let lower = wish.is_some_and(|wish| now.is_none_or(|now| wish < now));
            if lower || info.keyframe {
                self.temporal = wish;
            } else if info.switching_up && now.is_some_and(|now| info.temporal > now) {
                // A sync frame refers to nothing above the base layer: from here on this layer decodes.
                self.temporal = match wish {
                    Some(wish) => Some(wish.min(info.temporal)),
                    // Three temporal layers are the most that encoders make.
                    None => (info.temporal < 2).then_some(info.temporal),
                };
            }
        }
        if self.temporal != now {
            (self.since, self.before) = (packet.seq, now);
        }
        let limit = if packet.seq < self.since { self.before } else { self.temporal };
        match limit {
            Some(max) if info.temporal > max => Selection::Skip,
            _ => Selection::Forward,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProducerId;
    use crate::params::{EncodingParams, MediaKind, ProducerParams};
    use crate::producer::Origin;

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
        packet
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
        selector.prefer(PreferredLayer { rid: Some("h".into()), temporal: None });
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
            CachedPacket { seq, ..packet(keyframe, temporal) }
        };
        selector.select(&producer, 0, &packet(true, 0));
        assert_eq!(selector.select(&producer, 0, &packet(false, 2)), Selection::Forward);
        selector.prefer(PreferredLayer { rid: None, temporal: Some(0) });
        let mut middle = packet(false, 2);
        middle.info.frame_start = Some(false);
        assert_eq!(selector.select(&producer, 0, &middle), Selection::Forward);
        assert_eq!(selector.select(&producer, 0, &packet(false, 1)), Selection::Skip);
        selector.prefer(PreferredLayer { rid: None, temporal: Some(1) });
        assert_eq!(selector.select(&producer, 0, &packet(false, 1)), Selection::Skip);
        assert_eq!(selector.select(&producer, 0, &packet(false, 0)), Selection::Forward);
        let mut sync = packet(false, 1);
        sync.info.switching_up = true;
        assert_eq!(selector.select(&producer, 0, &sync), Selection::Forward);
        assert_eq!(selector.select(&producer, 0, &packet(false, 1)), Selection::Forward);
        assert_eq!(selector.select(&producer, 0, &packet(false, 2)), Selection::Skip);
    }
    #[test]
    fn a_frame_whose_start_was_overtaken_is_judged_as_one() {
        let producer = producer(&["f"], 1);
        let mut selector = Selector::default();
        let at = |seq, start, temporal| {
            let mut packet = CachedPacket { seq, ..packet(false, temporal) };
            packet.info.frame_start = Some(start);
            packet
        };
        selector.select(&producer, 0, &CachedPacket { seq: 1, ..packet(true, 0) });
        selector.prefer(PreferredLayer { rid: None, temporal: Some(0) });
        assert_eq!(selector.select(&producer, 0, &at(3, false, 2)), Selection::Forward);
        assert_eq!(selector.select(&producer, 0, &at(2, true, 2)), Selection::Forward);
        assert_eq!(selector.select(&producer, 0, &at(5, true, 2)), Selection::Skip);
        assert_eq!(selector.select(&producer, 0, &at(4, false, 2)), Selection::Forward, "late");
    }
}
