//! An incoming track: its encodings, what was negotiated for it, and who consumes it.

pub(crate) mod audio_rate;
pub(crate) mod cache;
pub(crate) mod ceiling;
pub(crate) mod encoding;
pub(crate) mod gop;
pub(crate) mod keyframe;
pub(crate) mod layers;
pub(crate) mod nack;
pub(crate) mod order;
pub(crate) mod packet;
pub(crate) mod rates;
pub(crate) mod rungs;
#[cfg(test)]
pub(crate) mod samples;

use crate::params::{MediaKind, ProducerParams, ReceiveCodec, VideoFec};
use crate::pipe::{PipeIn, PipeOut};
use crate::{ProducerId, speaker::LevelMeter};
use ceiling::Ceiling;
use encoding::Encoding;
use layers::SPATIAL_MAX;
use rungs::Rungs;
use std::time::Instant;

/// Encodings per track: three simulcast layers are usual, six is what `a=simulcast` may reasonably list.
pub(crate) const ENCODINGS_MAX: usize = 6;

/// Packets of one publisher that are kept: beyond it nothing is for those who come later.
const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a producer's packets come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// From the publisher's peer connection: key of the transport.
    Transport(usize),
    /// From another worker, which has the peer connection.
    Pipe(PipeIn),
}

/// Encodings that have viewers, or of an only one its spatial layers, a bit each, as control was told.
#[derive(Debug)]
pub(crate) struct Published {
    told: u8,
    /// There is one encoding.
    only: bool,
    /// Since when fewer have viewers than control was told, and whether any has.
    unwatched: Option<(u64, bool)>,
}

/// A layer without viewers goes on for so long: pages are turned and links recover.
const REST_AFTER_US: u64 = 1_000_000;
/// … inside an only encoding for so long: the others begin anew then, with a keyframe, for which a link that became narrow must have room again.
const SPATIAL_REST_AFTER_US: u64 = 1_500_000;

impl Published {
    /// Everything is sent until somebody says otherwise.
    fn new(encodings: usize) -> Self {
        Self { told: all(encodings), only: encodings == 1, unwatched: None }
    }

    /// What control was told.
    pub(crate) fn told(&self) -> u8 {
        self.told
    }

    /// Takes what is watched now; returns what control is to be told. More at once, less after a while.
    pub(crate) fn update(&mut self, now_us: u64, wanted: u8) -> Option<u8> {
        if wanted & !self.told != 0 {
            // What may rest soon rests with the next look, unless that would be another keyframe.
            self.unwatched = self.unwatched.filter(|_| !self.only);
            self.told |= wanted;
            return Some(self.told);
        }
        if wanted == self.told {
            self.unwatched = None;
            return None;
        }
        // That nobody watches at all may only be the moment between two slots.
        let some = wanted != 0;
        let begun = self.unwatched.filter(|(_, before)| *before == some);
        let (since, _) = *self.unwatched.insert(begun.unwrap_or((now_us, some)));
        let patience_us = if self.only && some { SPATIAL_REST_AFTER_US } else { REST_AFTER_US };
        if now_us.saturating_sub(since) < patience_us {
            return None;
        }
        (self.told, self.unwatched) = (wanted, None);
        Some(wanted)
    }
}

/// A bit for each encoding, or for each spatial layer that an only one may have.
pub(crate) fn all(encodings: usize) -> u8 {
    up_to(if encodings == 1 { SPATIAL_MAX } else { encodings })
}

/// The lowest of them.
pub(crate) fn up_to(count: usize) -> u8 {
    u8::MAX >> (8 - count.clamp(1, 8))
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) id: ProducerId,
    pub(crate) origin: Origin,
    pub(crate) params: ProducerParams,
    /// Lowest quality first.
    pub(crate) encodings: Vec<Encoding>,
    /// Keys of the consumers bound to it.
    pub(crate) consumers: Vec<usize>,
    pub(crate) paused: bool,
    /// Packets of this input batch that wait for fan-out: (encoding, extended sequence number).
    pub(crate) ready: Vec<(u8, u64)>,
    /// Bit per encoding that flows.
    pub(crate) flowing: u8,
    pub(crate) level: LevelMeter,
    /// Publisher's NTP clock to ours, as its transport measured it.
    pub(crate) sender_clock: Option<i64>,
    /// Workers that have consumers of it.
    pub(crate) pipes: Vec<PipeOut>,
    /// What consumers can be given.
    pub(crate) rungs: Rungs,
    /// Which layers have viewers.
    pub(crate) published: Published,
    /// The most that it should send.
    pub(crate) ceiling: Ceiling,
    /// Stands in the list of producers of which other workers are to be told.
    pub(crate) pipe_due: bool,
}

impl Producer {
    pub(crate) fn new(id: ProducerId, origin: Origin, mut params: ProducerParams) -> Self {
        params.encodings.truncate(ENCODINGS_MAX);
        let clock_rate = params.codecs.first().map_or(90_000, |codec| codec.clock_rate);
        let mut encodings: Vec<Encoding> =
            params.encodings.iter().map(|e| Encoding::new(e, params.kind, clock_rate)).collect();
        if params.codecs.iter().all(|codec| !codec.feedback.pli && !codec.feedback.fir) {
            encodings.iter_mut().for_each(|encoding| encoding.keyframes.ignore());
        }
        Self {
            id,
            origin,
            paused: params.paused,
            published: Published::new(encodings.len()),
            ceiling: Ceiling::default(),
            params,
            encodings,
            consumers: Vec::new(),
            ready: Vec::with_capacity(64),
            flowing: 0,
            level: LevelMeter::default(),
            sender_clock: None,
            pipes: Vec::new(),
            rungs: Rungs::default(),
            pipe_due: false,
        }
    }

    pub(crate) fn is_video(&self) -> bool {
        self.params.kind == MediaKind::Video
    }

    /// Key of the publisher's transport, if it is on this worker.
    pub(crate) fn transport(&self) -> Option<usize> {
        match self.origin {
            Origin::Transport(key) => Some(key),
            Origin::Pipe(_) => None,
        }
    }

    /// The codec of a media payload type.
    pub(crate) fn codec(&self, payload_type: u8) -> Option<&ReceiveCodec> {
        self.params.codecs.iter().find(|codec| codec.payload_type == payload_type)
    }

    /// Is it of the media streams?
    pub(crate) fn is_media(&self, payload_type: u8) -> bool {
        self.codec(payload_type).is_some() || self.red(payload_type).is_some()
    }

    /// Of the payload type of RED around video: what may be inside.
    pub(crate) fn red(&self, payload_type: u8) -> Option<VideoFec> {
        self.params.fec.filter(|fec| fec.red_payload_type == payload_type)
    }

    /// The payload type that an RTX payload type repairs.
    pub(crate) fn repaired_by(&self, payload_type: u8) -> Option<u8> {
        let repairs = |rtx: Option<u8>| rtx == Some(payload_type);
        let codec = self.params.codecs.iter().find(|codec| repairs(codec.rtx_payload_type));
        let red = self.params.fec.filter(|fec| repairs(fec.rtx_payload_type));
        codec.map(|codec| codec.payload_type).or(red.map(|fec| fec.red_payload_type))
    }

    /// Brings [`Producer::flowing`] up to date.
    pub(crate) fn update_flow(&mut self, now: Instant) {
        self.flowing = self
            .encodings
            .iter()
            .enumerate()
            .filter(|(_, encoding)| encoding.flows(now))
            .fold(0, |mask, (i, _)| mask | 1 << i);
    }

    /// Gives back what nobody can use, and keeps little where the publisher's encodings take `held` bytes together.
    pub(crate) fn look_after_memory(&mut self, now: Instant, held: usize) {
        for encoding in &mut self.encodings {
            encoding.frugal = held > CACHE_BYTES_MAX;
            encoding.rest(now);
        }
    }

    pub(crate) fn cached_bytes(&self) -> usize {
        self.encodings.iter().map(|encoding| encoding.cache.bytes()).sum()
    }

    /// The highest flowing encoding up to `limit`; if none flows there, the lowest that flows at all.
    pub(crate) fn best_flowing(&self, limit: Option<usize>) -> Option<usize> {
        let allowed =
            limit.map_or(self.flowing, |limit| self.flowing & (u8::MAX >> (7 - limit.min(7))));
        match (allowed, self.flowing) {
            (0, 0) => None,
            (0, any) => Some(any.trailing_zeros() as usize),
            (some, _) => Some(7 - some.leading_zeros() as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn less_is_sent_after_a_while_and_more_at_once() {
        let mut published = Published::new(3);
        assert_eq!(published.update(0, 0b001), None);
        assert_eq!(published.update(SECOND - 1, 0b001), None);
        assert_eq!(published.update(SECOND, 0b001), Some(0b001));
        assert_eq!(published.update(SECOND, 0b100), Some(0b101));
        assert_eq!(published.update(2 * SECOND, 0b100), None);
        assert_eq!(published.update(3 * SECOND, 0b100), Some(0b100));
    }

    #[test]
    fn a_moment_without_viewers_stops_nothing_that_was_about_to_rest() {
        let mut published = Published::new(1);
        assert_eq!(published.update(0, 0b0001), None);
        assert_eq!(published.update(SECOND * 14 / 10, 0), None, "between two slots");
        assert_eq!(published.update(SECOND * 14 / 10, 0b0001), None);
        assert_eq!(published.update(SECOND * 3, 0b0001), Some(0b0001));
        assert_eq!(published.update(SECOND * 4, 0b0011), Some(0b0011));
        assert_eq!(published.update(SECOND * 5, 0b0001), None);
        assert_eq!(published.update(SECOND * 6, 0b1111), Some(0b1111));
        assert_eq!(published.update(SECOND * 7, 0b0001), None, "not in a row");
        assert_eq!(published.update(SECOND * 85 / 10, 0b0001), Some(0b0001));
    }
}
