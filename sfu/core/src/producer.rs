//! An incoming track: its encodings, what was negotiated for it, and who consumes it.

pub(crate) mod cache;
pub(crate) mod encoding;
pub(crate) mod gop;
pub(crate) mod keyframe;
pub(crate) mod layers;
pub(crate) mod nack;
pub(crate) mod packet;
pub(crate) mod rates;
#[cfg(test)]
pub(crate) mod samples;

use crate::params::{MediaKind, ProducerParams, ReceiveCodec};
use crate::pipe::{PipeIn, PipeOut};
use crate::{ProducerId, speaker::LevelMeter};
use encoding::Encoding;
use std::time::Instant;

/// Encodings per track: three simulcast layers are usual, six is what `a=simulcast` may reasonably list.
pub(crate) const ENCODINGS_MAX: usize = 6;

/// Where a producer's packets come from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// From the publisher's peer connection: key of the transport.
    Transport(usize),
    /// From another worker, which has the peer connection.
    Pipe(PipeIn),
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
            params,
            encodings,
            consumers: Vec::new(),
            ready: Vec::with_capacity(64),
            flowing: 0,
            level: LevelMeter::default(),
            sender_clock: None,
            pipes: Vec::new(),
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

    /// The codec that an RTX payload type repairs.
    pub(crate) fn codec_of_rtx(&self, payload_type: u8) -> Option<&ReceiveCodec> {
        self.params.codecs.iter().find(|codec| codec.rtx_payload_type == Some(payload_type))
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
