//! Codec payload descriptors: what a forwarder must know of a payload without decoding it.
//!
//! Reads descriptors and NAL/OBU headers only; never looks into coded pictures beyond the frame tag that tells a
//! keyframe.

pub mod av1;
pub mod h264;
pub mod h265;
pub mod red;
pub mod ulpfec;
pub mod vp8;
pub mod vp9;

/// A payload format, as far as the media path treats formats differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 2198 redundancy around Opus.
    Red,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// AV1 RTP payload format 1.0 (AOM).
    Av1,
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// Anything passed through without looking inside (G.711, G.722, telephone-event, …).
    #[default]
    Opaque,
}

/// What every format can say about one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadInfo {
    /// A receiver can start here: the first packet of a keyframe (of parameter sets, where they come apart). For
    /// formats without keyframes (audio, opaque) always true.
    pub keyframe: bool,
    /// … but parameter sets, if the stream has them, come in packets before this one (H.264, H.265).
    pub lacks_parameter_sets: bool,
    /// The first packet of a frame (of a layer frame in VP9). `None`: the payload does not tell; compare timestamps.
    pub frame_start: Option<bool>,
    /// The last packet of a layer frame, where there are spatial layers (VP9 E); the marker only ends whole pictures.
    pub frame_end: bool,
    /// Spatial layer, 0 when there is none.
    pub spatial: u8,
    /// Temporal layer, 0 when there is none.
    pub temporal: u8,
    /// A receiver of lower temporal layers may switch up to this one here (VP8 Y, VP9 U).
    pub switching_up: bool,
    /// VP8 and VP9 picture id.
    pub picture_id: Option<u16>,
    /// VP8 and VP9 TL0PICIDX.
    pub tl0_picture_index: Option<u8>,
}

/// Spatial layers of an encoding as a packet states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatedLayers {
    /// How many, 1..=8.
    pub spatial: u8,
    /// Width and height of each in pixels, lowest first; `None` when not stated.
    pub dimensions: Option<[(u16, u16); vp9::SPATIAL_LAYERS_MAX]>,
}

/// What a packet states of its encoding's spatial layers: VP8 keyframes, VP9 scalability structures. Few packets do.
#[inline]
#[must_use]
pub fn stated_layers(format: Codec, payload: &[u8]) -> Option<StatedLayers> {
    match format {
        Codec::Vp8 => vp8::stated_layers(payload),
        Codec::Vp9 => vp9::stated_layers(payload),
        _ => None,
    }
}

/// Reads what a packet says about itself. A malformed payload gives the default: not a keyframe, layers 0.
#[inline]
#[must_use]
pub fn inspect(format: Codec, payload: &[u8]) -> PayloadInfo {
    let info = match format {
        Codec::Opus | Codec::Red | Codec::Opaque => {
            return PayloadInfo {
                keyframe: true,
                frame_start: Some(true),
                ..PayloadInfo::default()
            };
        }
        Codec::Vp8 => vp8::Vp8Descriptor::parse(payload).map(PayloadInfo::from),
        Codec::Vp9 => vp9::Vp9Descriptor::parse(payload).map(PayloadInfo::from),
        Codec::Av1 => av1::Av1Payload::parse(payload).map(PayloadInfo::from),
        Codec::H264 => h264::H264Payload::parse(payload).map(PayloadInfo::from),
        Codec::H265 => h265::H265Payload::parse(payload).map(PayloadInfo::from),
    };
    info.unwrap_or_default()
}

/// Overwrites a picture id in place, keeping its width: 7 bits in one byte, or 15 bits in two with the M bit set.
fn patch_picture_id(field: &mut [u8], picture_id: u16) {
    match field {
        [byte] => *byte = picture_id.to_be_bytes()[1] & 0x7F,
        [high, low] => [*high, *low] = (picture_id | 0x8000).to_be_bytes(),
        _ => {}
    }
}

/// Reads a picture id at `offset`; returns it and the bytes that it takes.
fn read_picture_id(payload: &[u8], offset: usize) -> Option<(u16, usize)> {
    let high = *payload.get(offset)?;
    if high & 0x80 == 0 {
        return Some((u16::from(high), 1));
    }
    let low = *payload.get(offset + 1)?;
    Some((u16::from_be_bytes([high & 0x7F, low]), 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let vp8 = inspect(Codec::Vp8, &[0x90, 0xA0, 0x05, 0x60, 0x10]);
        assert!(vp8.keyframe && vp8.switching_up);
        assert_eq!((vp8.frame_start, vp8.temporal, vp8.picture_id), (Some(true), 1, Some(5)));
        let vp9 = inspect(Codec::Vp9, &[0xA8, 0x05, 0x24, 0x09, 0x82]);
        assert_eq!((vp9.temporal, vp9.spatial, vp9.tl0_picture_index), (1, 2, Some(9)));
        assert!(inspect(Codec::H264, &[0x67, 0]).keyframe);
        assert!(inspect(Codec::H265, &[64, 1]).keyframe);
        assert!(inspect(Codec::Av1, &[0x10, 0x08]).keyframe);
        for format in [Codec::Opus, Codec::Red, Codec::Opaque] {
            assert!(inspect(format, &[]).keyframe);
        }
    }

    #[test]
    fn malformed_payloads_are_no_keyframes() {
        use Codec::{Av1, H264, H265, Vp8, Vp9};
        for format in [Vp8, Vp9, Av1, H264, H265] {
            assert_eq!(inspect(format, &[]), PayloadInfo::default());
        }
    }
}
