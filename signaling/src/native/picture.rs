//! What a file's header has to say of a video, read from its first keyframe.

use anyhow::Context as _;
use bitstream_io::{BigEndian, BitRead as _, BitReader};
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::rbsp;
use std::io;

use super::annex_b;
use super::format::Format;

const AV1_SEQUENCE_HEADER: u8 = 1;

/// Of a keyframe, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The picture that a decoder can start with; `None` where the frame needs others, or is damaged.
pub(super) fn of_keyframe(format: Format, frame: &[u8]) -> Option<Picture> {
    match format {
        Format::Vp8 => of_vp8(frame),
        Format::Vp9 { .. } => of_vp9(frame).ok().flatten(),
        Format::Av1 => of_av1(sequence_header(frame)?.payload).ok(),
        Format::H264 { .. } => of_h264(frame),
        Format::Opus => None,
    }
}

/// RFC 6386 section 9.1.
fn of_vp8(frame: &[u8]) -> Option<Picture> {
    let head = frame.first_chunk::<10>()?;
    let is_keyframe = head[0] & 1 == 0 && head[3..6] == [0x9d, 0x01, 0x2a];
    let size = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    is_keyframe.then(|| Picture { width: size(head[6], head[7]), height: size(head[8], head[9]) })
}

/// VP9 bitstream specification 0.7, section 6.2: the uncompressed header.
fn of_vp9(frame: &[u8]) -> io::Result<Option<Picture>> {
    let mut bits = BitReader::endian(frame, BigEndian);
    let marker: u8 = bits.read_var(2)?;
    let profile = vp9_profile_bits(&mut bits)?;
    if marker != 2 || (profile == 3 && bits.read_bit()?) {
        return Ok(None);
    }
    let (shows_another, predicted) = (bits.read_bit()?, bits.read_bit()?);
    let _shown_and_error_resilient: u8 = bits.read_var(2)?;
    if shows_another || predicted || bits.read_var::<u32>(24)? != 0x49_8342 {
        return Ok(None);
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    let rgb = bits.read_var::<u8>(3)? == 7;
    bits.skip(match (rgb, profile == 1 || profile == 3) {
        (false, true) => 4,
        (false, false) | (true, true) => 1,
        (true, false) => 0,
    })?;
    let width = bits.read_var::<u32>(16)? + 1;
    Ok(Some(Picture { width, height: bits.read_var::<u32>(16)? + 1 }))
}

fn vp9_profile_bits(bits: &mut BitReader<&[u8], BigEndian>) -> io::Result<u8> {
    let (low, high) = (bits.read_bit()?, bits.read_bit()?);
    Ok(u8::from(high) << 1 | u8::from(low))
}

/// Of any frame: its third and fourth bit (section 6.2).
pub(super) fn vp9_profile(frame: &[u8]) -> anyhow::Result<u8> {
    let mut bits = BitReader::endian(frame, BigEndian);
    bits.skip(2)?;
    vp9_profile_bits(&mut bits).context("the first VP9 frame is empty")
}

/// An AV1 sequence header: the whole unit, and what is in it.
pub(super) struct SequenceHeader<'a> {
    pub(super) unit: &'a [u8],
    payload: &'a [u8],
}

/// Of a temporal unit in which every unit has a size (AV1 specification, section 5.3).
pub(super) fn sequence_header(mut frame: &[u8]) -> Option<SequenceHeader<'_>> {
    loop {
        let &header = frame.first()?;
        if header & 0x02 == 0 {
            return None;
        }
        let start = if header & 0x04 == 0 { 1 } else { 2 };
        let (size, length) = leb128(frame.get(start..)?)?;
        let end = (start + length).checked_add(size)?;
        let unit = frame.get(..end)?;
        if header >> 3 & 0x0f == AV1_SEQUENCE_HEADER {
            return Some(SequenceHeader { unit, payload: &unit[start + length..] });
        }
        frame = &frame[end..];
    }
}

/// Section 4.10.5: the value, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

/// Section 5.5.1.
fn of_av1(payload: &[u8]) -> io::Result<Picture> {
    let mut bits = BitReader::endian(payload, BigEndian);
    bits.skip(4)?; // the profile, and whether it is a still picture
    if bits.read_bit()? {
        bits.skip(5)?;
    } else {
        skip_av1_operating_points(&mut bits)?;
    }
    let width_bits = bits.read_var::<u32>(4)? + 1;
    let height_bits = bits.read_var::<u32>(4)? + 1;
    let width = bits.read_var::<u32>(width_bits)? + 1;
    Ok(Picture { width, height: bits.read_var::<u32>(height_bits)? + 1 })
}

fn skip_av1_operating_points(bits: &mut BitReader<&[u8], BigEndian>) -> io::Result<()> {
    let mut delay_bits = None;
    if bits.read_bit()? {
        bits.skip(64)?;
        if bits.read_bit()? {
            let zeros = bits.read_unary::<1>()?;
            bits.skip(zeros)?;
        }
        if bits.read_bit()? {
            delay_bits = Some(bits.read_var::<u32>(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let has_display_delay = bits.read_bit()?;
    for _ in 0..=bits.read_var::<u8>(5)? {
        bits.skip(12)?;
        if bits.read_var::<u8>(5)? > 7 {
            bits.skip(1)?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.read_bit()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if has_display_delay && bits.read_bit()? {
            bits.skip(4)?;
        }
    }
    Ok(())
}

fn of_h264(frame: &[u8]) -> Option<Picture> {
    let units = annex_b::units(frame);
    let has = |kind| units.iter().find(|unit| annex_b::kind(unit) == kind);
    has(annex_b::IDR)?;
    let (width, height) = sequence_parameters(has(annex_b::SPS)?)?.pixel_dimensions().ok()?;
    Some(Picture { width, height })
}

/// Reads an H.264 sequence parameter set; `None` where it is damaged.
pub(super) fn sequence_parameters(unit: &[u8]) -> Option<SeqParameterSet> {
    let decoded = rbsp::decode_nal(unit).ok()?;
    SeqParameterSet::from_bits(rbsp::BitReader::new(&decoded[..])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of what FFmpeg's encoders made of pictures of these sizes.
    #[test]
    fn sizes_are_read_from_keyframes() {
        let h264 = Format::H264 { profile_level_id: [0; 3] };
        let vp9 = Format::Vp9 { profile: 0 };
        for (format, frame, width, height) in [
            (Format::Vp8, "706e009d012a4001f0000007", 320, 240),
            (vp9, "824983420013f00ef60638241c184200", 320, 240),
            (Format::Av1, "12000a0b000000043cffbcfbf90040328f2f14", 320, 240),
            (Format::Av1, "12000a0b000000043d07c4daf9004032de3b10", 322, 242),
            (
                h264,
                "000000016742c00bd902847e5c0440000003004000000c83c50a920000000168cb8cb20000016588840d",
                160,
                120,
            ),
        ] {
            let bytes: Vec<u8> = (0..frame.len() / 2)
                .filter_map(|index| u8::from_str_radix(&frame[2 * index..2 * index + 2], 16).ok())
                .collect();
            let expected = Some(Picture { width, height });
            assert_eq!(of_keyframe(format, &bytes), expected, "{format:?}");
            // Whatever is cut off, it is no picture, and no panic.
            for end in 0..bytes.len() / 3 {
                assert_eq!(of_keyframe(format, &bytes[..end]), None, "{format:?} cut at {end}");
            }
        }
    }

    #[test]
    fn other_frames_are_no_keyframes() {
        for (format, frame) in [
            (Format::Vp8, &[0x71, 0x6e, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0][..]),
            (Format::Vp9 { profile: 0 }, &[0x86, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0e, 0xf6]),
            (Format::Av1, &[0x12, 0x00, 0x32, 0x01, 0x00]),
            (Format::H264 { profile_level_id: [0; 3] }, &[0, 0, 0, 1, 0x41, 0x9a]),
            (Format::Opus, &[0xfc, 1, 2]),
        ] {
            assert_eq!(of_keyframe(format, frame), None, "{format:?}");
        }
    }
}
