//! Opus packets, as far as a file has to know them.

use std::time::Duration;

/// How the first packet of an Ogg stream begins, and the private data of a Matroska track (RFC 7845 section 5.1).
pub(super) const HEAD: &[u8] = b"OpusHead";
/// How the second packet of an Ogg stream begins (section 5.2).
pub(super) const TAGS: &[u8] = b"OpusTags";

/// Stereo, as Opus always is in RTP (RFC 7587 section 7), with nothing to skip: a recording begins in the middle
/// of a stream, and leaves out nothing that it received.
pub(super) fn head() -> Vec<u8> {
    let mut head = HEAD.to_vec();
    head.extend([1, 2]); // version, channels
    head.extend(0u16.to_le_bytes()); // samples to skip
    head.extend(48_000u32.to_le_bytes()); // of the input, for information
    head.extend([0, 0, 0]); // gain, mapping family
    head
}

/// How long a packet sounds (RFC 6716 section 3.1 and 3.2); `None` for one that is none.
pub(super) fn duration(packet: &[u8]) -> Option<Duration> {
    let &first = packet.first()?;
    let frame_us = match first >> 3 {
        config @ 0..12 => [10_000, 20_000, 40_000, 60_000][usize::from(config % 4)],
        config @ 12..16 => [10_000, 20_000][usize::from(config % 2)],
        config => [2_500, 5_000, 10_000, 20_000][usize::from(config % 4)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    Some(Duration::from_micros(frame_us * frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_by_the_first_byte() {
        for (packet, expected) in [
            (&[0xfc][..], 20_000), // CELT, 20 ms, one frame
            (&[0x08], 20_000),     // SILK, 20 ms
            (&[0x19], 120_000),    // SILK, 60 ms, two frames
            (&[0x60], 10_000),     // hybrid, 10 ms
            (&[0xe3, 0x03], 7_500),
        ] {
            assert_eq!(duration(packet), Some(Duration::from_micros(expected)), "{packet:?}");
        }
        assert_eq!((duration(&[]), duration(&[0x03])), (None, None));
    }
}
