//! What control would have negotiated for the simulated peers.

use crate::publisher;
use sfu_core::params::{
    Codec, EncodingParams, ExtensionKind, ExtensionMapping, Feedback, MediaKind, PayloadMapping,
    ProducerParams, ReceiveCodec, VideoFec,
};

pub(crate) fn mappings(list: &[(u8, ExtensionKind)]) -> Vec<ExtensionMapping> {
    list.iter().map(|&(id, kind)| ExtensionMapping { id, kind }).collect()
}

pub(crate) fn mapping(from: u8, to: u8, rtx: Option<u8>, nack: bool) -> PayloadMapping {
    PayloadMapping { from, to, rtx, nack, red: None }
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
        codecs: vec![
            video_codec(publisher::VP8, Codec::Vp8),
            video_codec(publisher::VP9, Codec::Vp9),
            video_codec(publisher::AV1, Codec::Av1),
        ],
        fec: Some(VideoFec {
            red_payload_type: publisher::RED,
            rtx_payload_type: Some(publisher::RED + 1),
            payload_type: publisher::ULPFEC,
        }),
        number,
        paused: false,
    }
}

fn video_codec(payload_type: u8, codec: Codec) -> ReceiveCodec {
    ReceiveCodec {
        payload_type,
        rtx_payload_type: Some(payload_type + 1),
        codec,
        clock_rate: 90_000,
        feedback: Feedback { nack: true, pli: true, transport_cc: true, ..Default::default() },
    }
}

fn audio_codec(payload_type: u8, codec: Codec) -> ReceiveCodec {
    ReceiveCodec {
        payload_type,
        rtx_payload_type: None,
        codec,
        clock_rate: 48_000,
        feedback: Feedback { transport_cc: true, ..Default::default() },
    }
}

pub(crate) fn audio_params(number: u32) -> ProducerParams {
    ProducerParams {
        kind: MediaKind::Audio,
        mid: Some("1".into()),
        encodings: vec![EncodingParams::default()],
        codecs: vec![
            audio_codec(publisher::OPUS, Codec::Opus),
            audio_codec(publisher::OPUS_RED, Codec::Red),
        ],
        fec: None,
        number,
        paused: false,
    }
}
