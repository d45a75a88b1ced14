//! What control would have negotiated for the simulated peers.

use crate::publisher;
use sfu_core::params::{
    Codec, EncodingParams, ExtensionKind, ExtensionMapping, Feedback, MediaKind, PayloadMapping,
    ProducerParams, ReceiveCodec,
};

pub(crate) fn mappings(list: &[(u8, ExtensionKind)]) -> Vec<ExtensionMapping> {
    list.iter().map(|&(id, kind)| ExtensionMapping { id, kind }).collect()
}

pub(crate) fn mapping(from: u8, to: u8, rtx: Option<u8>, nack: bool) -> PayloadMapping {
    PayloadMapping { from, to, rtx, nack }
}

pub(crate) fn video_params(rids: &[&str], number: u32) -> ProducerParams {
    let named = |rid: &&str| EncodingParams { rid: Some((*rid).into()), ..Default::default() };
    let encodings = match rids {
        [] => vec![EncodingParams::default()],
        rids => rids.iter().map(named).collect(),
    };
    ProducerParams {
        kind: MediaKind::Video,
        mid: Some("0".into()),
        encodings,
        codecs: vec![ReceiveCodec {
            payload_type: publisher::VP8,
            rtx_payload_type: Some(publisher::VP8_RTX),
            codec: Codec::Vp8,
            clock_rate: 90_000,
            feedback: Feedback { nack: true, pli: true, transport_cc: true, ..Default::default() },
        }],
        number,
        paused: false,
    }
}

pub(crate) fn audio_params(number: u32) -> ProducerParams {
    ProducerParams {
        kind: MediaKind::Audio,
        mid: Some("1".into()),
        encodings: vec![EncodingParams::default()],
        codecs: vec![ReceiveCodec {
            payload_type: publisher::OPUS,
            rtx_payload_type: None,
            codec: Codec::Opus,
            clock_rate: 48_000,
            feedback: Feedback { transport_cc: true, ..Default::default() },
        }],
        number,
        paused: false,
    }
}
