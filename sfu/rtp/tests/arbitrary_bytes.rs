//! Nothing in this crate may panic on bytes from the network, whatever they are.

use proptest::prelude::*;
use sfu_rtp::codec::ulpfec::{FecPacket, Rebuilder};
use sfu_rtp::codec::{red, vp8, vp9};
use sfu_rtp::{
    Codec, DependencyDescriptor, ExtensionIter, RtpHeader, TemplateStructure, TransportFeedback,
    extension, inspect, rtcp,
};

const FORMATS: [Codec; 8] = [
    Codec::Opus,
    Codec::Red,
    Codec::Vp8,
    Codec::Vp9,
    Codec::Av1,
    Codec::H264,
    Codec::H265,
    Codec::Opaque,
];

fn read_everything(bytes: &[u8]) {
    let _ = rtcp::classify(bytes);
    let _ = rtcp::sender_ssrc(bytes);
    let validated = rtcp::validate(bytes).is_ok();
    let walked: usize = rtcp::compound(bytes).map(|packet| packet.bytes.len()).sum();
    assert!(walked <= bytes.len() && (!validated || walked == bytes.len()));
    for packet in rtcp::compound(bytes) {
        read_feedback(&packet);
    }
    if let Ok(mut header) = RtpHeader::parse_prefix(bytes) {
        let with_padding = header.payload(bytes).len();
        let _ = header.read_padding(bytes);
        assert_eq!(header.payload(bytes).len() + usize::from(header.padding_len), with_padding);
        assert_eq!(header.csrcs(bytes).count(), usize::from(header.csrc_count));
        header.extensions(bytes).for_each(|(_, value)| read_extension(value));
        // A header used with another packet than its own.
        for len in 0..bytes.len() {
            let _ = header.payload(&bytes[..len]);
            header.extensions(&bytes[..len]).count();
            header.csrcs(&bytes[..len]).count();
            let _ = header.read_padding(&bytes[..len]);
        }
    }
    for profile in [0xBEDE, 0x1000, 0x100F, 0] {
        let total: usize = ExtensionIter::new(profile, bytes).map(|(_, value)| value.len()).sum();
        assert!(total <= bytes.len());
    }
    read_extension(bytes);
    for format in FORMATS {
        let _ = inspect(format, bytes);
    }
    if let Ok(blocks) = red::blocks(bytes) {
        assert!(blocks.map(|block| block.data.len()).sum::<usize>() < bytes.len());
    }
    if let Ok(fec) = FecPacket::parse(bytes) {
        assert!(fec.mask != 0 && fec.mask < 1 << 48);
        let mut rebuilder = Rebuilder::new(&fec);
        rebuilder.add(&[0xFF; 12], [bytes, bytes]);
        assert!(rebuilder.finish(1, 2).map_or(true, |packet| packet.len() <= bytes.len()));
    }
    let mut copy = bytes.to_vec();
    let _ = vp8::rewrite(&mut copy, Some(1), Some(1), true);
    let _ = vp9::rewrite(&mut copy, Some(1), Some(1));
    let _ = red::rewrite_block_payload_types(&mut copy, |payload_type| Some(payload_type ^ 1));
    assert_eq!(copy.len(), bytes.len());
}

fn read_feedback(packet: &rtcp::RtcpPacket<'_>) {
    if let Ok(feedback) = TransportFeedback::parse(packet) {
        assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
    }
}

fn read_extension(value: &[u8]) {
    let _ = extension::AbsSendTime::read(value);
    let _ = extension::AudioLevel::read(value);
    let _ = extension::VideoOrientation::read(value);
    let _ = extension::PlayoutDelay::read(value);
    let _ = extension::read_transport_sequence(value);
    let _ = extension::read_mid(value);
    let _ = extension::read_rid(value);
    let structure = TemplateStructure::parse(value).ok().flatten();
    if let Ok(descriptor) = DependencyDescriptor::parse(value, structure.as_ref()) {
        for target in 0..=255 {
            let _ = descriptor.frame.map(|frame| frame.indication(target));
            let _ = structure.as_ref().map(|structure| {
                (structure.decode_target_layers(target), structure.dimensions(target))
            });
        }
    }
}

/// Bytes that look like RTP or RTCP far enough to get past the first checks.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let rtp =
        (prop::collection::vec(any::<u8>(), 12..80), 0..64_u8).prop_map(|(mut bytes, flags)| {
            bytes[0] = 0x80 | flags;
            bytes
        });
    let feedback = prop::collection::vec(any::<u8>(), 20..80).prop_map(|mut bytes| {
        bytes.truncate(bytes.len() & !3);
        let words = (bytes.len() / 4 - 1).to_be_bytes();
        (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x8F, 205, words[6], words[7]);
        bytes[14] = 0; // few enough statuses to be plausible
        bytes
    });
    // An attached template structure.
    let descriptor = prop::collection::vec(any::<u8>(), 4..255).prop_map(|mut bytes| {
        bytes[3] |= 0x80;
        bytes
    });
    prop_oneof![rtp, feedback, descriptor, prop::collection::vec(any::<u8>(), 0..120)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn reading_never_panics(bytes in plausible()) {
        read_everything(&bytes);
    }

    #[test]
    fn a_stored_structure_serves_any_later_value(mut first in prop::collection::vec(any::<u8>(), 20..255),
                                                 value in prop::collection::vec(any::<u8>(), 0..40)) {
        first[3] |= 0x80;
        if let Ok(Some(structure)) = TemplateStructure::parse(&first) {
            let _ = DependencyDescriptor::parse(&value, Some(&structure));
        }
    }
}

#[test]
fn every_short_input_is_safe() {
    read_everything(&[]);
    for first in 0..=255_u8 {
        read_everything(&[first]);
        for second in 0..=255_u8 {
            read_everything(&[first, second]);
            read_everything(&[first, second, 0xFF, 0xFF]);
        }
    }
}

#[test]
fn constant_inputs_of_every_length_are_safe() {
    for byte in [0x00, 0x10, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xFF] {
        for len in 0..300 {
            read_everything(&vec![byte; len]);
        }
    }
}
