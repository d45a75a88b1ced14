//! RTP, RTCP, header extensions and payload descriptors.

use super::Reader;
use bytes::Bytes;
use sfu_rtp::codec::{
    self, av1, h264, h265, red as redundancy, vp8 as vp8_codec, vp9 as vp9_codec,
};
use sfu_rtp::{
    Codec, DependencyDescriptor, ExtensionIter, PayloadInfo, RtpHeader, TemplateStructure,
    TransportFeedback, extension, inspect,
};

/// A packet in clear.
pub(super) fn rtp(data: &[u8]) {
    let _ = sfu_rtp::classify(data);
    let Ok(mut header) = RtpHeader::parse_prefix(data) else { return };
    assert!(usize::from(header.payload_start) <= data.len());
    let with_padding = header.payload(data).len();
    let _ = header.read_padding(data);
    assert_eq!(header.payload(data).len() + usize::from(header.padding_len), with_padding);
    assert_eq!(header.csrcs(data).count(), usize::from(header.csrc_count));
    for (id, value) in header.extensions(data) {
        assert_ne!(id, 0);
        read_extension(value);
    }
}

/// The first two bytes are the profile, the others the body.
pub(super) fn extensions(data: &[u8]) {
    let mut reader = Reader(data);
    let profile = reader.u16();
    let total: usize = ExtensionIter::new(profile, reader.0).map(|(_, value)| value.len()).sum();
    assert!(total <= data.len());
    ExtensionIter::new(profile, reader.0).for_each(|(_, value)| read_extension(value));
    read_extension(data);
}

fn read_extension(value: &[u8]) {
    let _ = extension::AbsSendTime::read(value);
    let _ = extension::AudioLevel::read(value);
    let _ = extension::VideoOrientation::read(value);
    let _ = extension::PlayoutDelay::read(value);
    let _ = extension::read_transport_sequence(value);
    if let Some(mid) = extension::read_mid(value) {
        assert!(mid.len() <= 16 && mid.is_ascii());
    }
    if let Some(rid) = extension::read_rid(value) {
        assert!(rid.len() <= 16 && rid.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

/// Two values of one stream, the second read and rewritten with the structure of the first. The first byte is the length of the first.
pub(super) fn dependency_descriptor(data: &[u8]) {
    let mut reader = Reader(data);
    let len = usize::from(reader.u8());
    let first = reader.take(len);
    let structure = TemplateStructure::parse(first).ok().flatten();
    if let Some(structure) = &structure {
        assert!(usize::from(structure.decode_targets()) <= 32 && structure.templates() <= 64);
        for target in 0..=255 {
            let _ = (structure.decode_target_layers(target), structure.dimensions(target));
        }
        let layers = structure.layers_of(structure.all_decode_targets());
        // One for each template that is in use; a layer may come twice.
        assert!(layers.count() <= usize::from(structure.templates()));
    }
    for value in [first, reader.0] {
        let Ok(descriptor) = DependencyDescriptor::parse(value, structure.as_ref()) else {
            continue;
        };
        if let Some(frame) = descriptor.frame {
            for target in 0..=255 {
                let _ = frame.indication(target);
            }
        }
        rewrite_descriptor(value, &descriptor, structure.as_ref());
    }
}

/// What was rewritten says the same but for what was to be changed.
fn rewrite_descriptor(
    value: &[u8],
    descriptor: &DependencyDescriptor,
    structure: Option<&TemplateStructure>,
) {
    let mut out = [0; 300];
    let targets = structure.map_or(0, TemplateStructure::decode_targets);
    for active in [None, Some(1)] {
        let number = descriptor.frame_number ^ 0x55;
        let written =
            sfu_rtp::dependency_descriptor::rewrite(value, targets, number, active, &mut out);
        let Some(len) = written else { continue };
        let again = DependencyDescriptor::parse(&out[..len], structure).expect("what we wrote");
        assert_eq!(again.frame_number, number);
        assert_eq!(again.template_id, descriptor.template_id);
    }
}

/// A compound packet, by our own reader and by the library behind it.
pub(super) fn rtcp(data: &[u8]) {
    let _ = sfu_rtp::rtcp::sender_ssrc(data);
    let valid = sfu_rtp::rtcp::validate(data).is_ok();
    let walked: usize = sfu_rtp::compound(data).map(|packet| packet.bytes.len()).sum();
    assert!(walked <= data.len() && (!valid || walked == data.len()));
    for packet in sfu_rtp::compound(data) {
        let _ = packet.remb();
        // Those that the engine gives to the library: reports, goodbyes, NACK, PLI, FIR.
        let read = match packet.packet_type {
            200 | 201 | 203 => true,
            205 => packet.count == 1,
            206 => matches!(packet.count, 1 | 4),
            _ => false,
        };
        if read && packet.is_whole() {
            let _ = rtcp::packet::unmarshal(&mut Bytes::copy_from_slice(packet.bytes));
        }
    }
}

/// Feedback of a receiver.
pub(super) fn transport_feedback(data: &[u8]) {
    for packet in sfu_rtp::compound(data) {
        let Ok(feedback) = TransportFeedback::parse(&packet) else { continue };
        assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
    }
}

fn read_payload(format: Codec, data: &[u8]) -> PayloadInfo {
    if let Some(layers) = codec::stated_layers(format, data) {
        assert!((1..=8).contains(&layers.spatial));
    }
    inspect(format, data)
}

pub(super) fn vp8(data: &[u8]) {
    let before = read_payload(Codec::Vp8, data);
    let mut copy = data.to_vec();
    let flat = data.last().is_some_and(|byte| byte & 1 != 0);
    let rewritten = vp8_codec::rewrite(&mut copy, Some(1), Some(1), flat).is_ok();
    let after = inspect(Codec::Vp8, &copy);
    assert_eq!((copy.len(), after.keyframe), (data.len(), before.keyframe));
    assert_eq!(after.temporal, if flat && rewritten { 0 } else { before.temporal });
}

pub(super) fn vp9(data: &[u8]) {
    let before = read_payload(Codec::Vp9, data);
    if let Ok(descriptor) = vp9_codec::Vp9Descriptor::parse(data) {
        let _ = descriptor.keyframe();
    }
    let mut copy = data.to_vec();
    let _ = vp9_codec::rewrite(&mut copy, Some(1), Some(1));
    let after = inspect(Codec::Vp9, &copy);
    assert_eq!((copy.len(), after.keyframe), (data.len(), before.keyframe));
    assert_eq!((after.spatial, after.temporal), (before.spatial, before.temporal));
}

pub(super) fn av1(data: &[u8]) {
    read_payload(Codec::Av1, data);
    if let Ok(payload) = av1::Av1Payload::parse(data) {
        let _ = payload.keyframe();
    }
}

pub(super) fn h264(data: &[u8]) {
    read_payload(Codec::H264, data);
    if let Ok(payload) = h264::H264Payload::parse(data) {
        let _ = payload.keyframe();
    }
}

pub(super) fn h265(data: &[u8]) {
    read_payload(Codec::H265, data);
    if let Ok(payload) = h265::H265Payload::parse(data) {
        let _ = payload.keyframe();
    }
}

pub(super) fn red(data: &[u8]) {
    read_payload(Codec::Red, data);
    let mut copy = data.to_vec();
    let _ =
        redundancy::rewrite_block_payload_types(&mut copy, |payload_type| Some(payload_type ^ 1));
    assert_eq!(copy.len(), data.len());
    let Ok(blocks) = redundancy::blocks(data) else { return };
    assert!(blocks.map(|block| block.data.len()).sum::<usize>() < data.len());
}
