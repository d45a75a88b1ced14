//! RTCP framing: telling RTCP from RTP, and walking a compound packet (RFC 3550 section 6.1, RFC 5506, RFC 5761).
//!
//! Never interprets packet bodies; the `rtcp` crate does that outside the hot path.

use crate::error::ParseError;

/// Sender report.
pub const SENDER_REPORT: u8 = 200;
/// Receiver report.
pub const RECEIVER_REPORT: u8 = 201;
/// Source description.
pub const SOURCE_DESCRIPTION: u8 = 202;
/// Goodbye.
pub const GOODBYE: u8 = 203;
/// Application-defined.
pub const APPLICATION: u8 = 204;
/// Transport-layer feedback (RFC 4585): NACK is count 1, transport-wide feedback is count 15.
pub const TRANSPORT_FEEDBACK: u8 = 205;
/// Payload-specific feedback (RFC 4585): PLI is count 1, FIR is count 4, REMB is count 15.
pub const PAYLOAD_FEEDBACK: u8 = 206;
/// Extended report (RFC 3611).
pub const EXTENDED_REPORT: u8 = 207;

const HEADER_LEN: usize = 4;

/// What a datagram holds once ICE and DTLS are ruled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// An RTP packet.
    Rtp,
    /// A compound RTCP packet.
    Rtcp,
}

/// Tells RTP from RTCP on one port by the second byte (RFC 5761 section 4: 192..=223 is RTCP). `None`: not version 2,
/// or too short to be either.
#[inline]
#[must_use]
pub fn classify(datagram: &[u8]) -> Option<PacketKind> {
    let &[first, second, ..] = datagram else { return None };
    if first >> 6 != 2 {
        return None;
    }
    let (kind, len_min) = match second {
        192..=223 => (PacketKind::Rtcp, HEADER_LEN),
        _ => (PacketKind::Rtp, crate::packet::FIXED_HEADER_LEN),
    };
    (datagram.len() >= len_min).then_some(kind)
}

/// The SSRC behind the first RTCP header: the sender of the whole compound packet. SRTCP leaves it in clear.
#[inline]
#[must_use]
pub fn sender_ssrc(datagram: &[u8]) -> Option<u32> {
    let bytes = datagram.get(4..8)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// One packet of a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcpPacket<'a> {
    /// Packet type, 192..=223.
    pub packet_type: u8,
    /// The 5-bit field: report count, source count, or feedback message type.
    pub count: u8,
    /// What follows the 4-byte header, without padding.
    pub body: &'a [u8],
    /// The whole packet, header and padding included, for a parser that wants it.
    pub bytes: &'a [u8],
}

impl<'a> RtcpPacket<'a> {
    /// Parses the first packet; returns it and what follows.
    ///
    /// # Errors
    /// Wrong version or packet type, a length beyond the bytes, bad padding.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::Truncated);
        };
        if header[0] >> 6 != 2 {
            return Err(ParseError::Version);
        }
        if !(192..=223).contains(&header[1]) {
            return Err(ParseError::Malformed);
        }
        let len = HEADER_LEN + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (bytes, rest) = bytes.split_at_checked(len).ok_or(ParseError::Truncated)?;
        let mut body = &bytes[HEADER_LEN..];
        if header[0] & 0x20 != 0 {
            // RFC 3550 section 6.4.1: the count includes itself and is a multiple of four. Peers round only the whole
            // packet up, so just its bounds are checked.
            let count = usize::from(*body.last().ok_or(ParseError::Padding)?);
            if count == 0 || count > body.len() {
                return Err(ParseError::Padding);
            }
            body = &body[..body.len() - count];
        }
        Ok((Self { packet_type: header[1], count: header[0] & 0x1F, body, bytes }, rest))
    }
}

impl RtcpPacket<'_> {
    /// Has it all that its type and count promise? Checked for what parsers are given: reports and goodbyes (RFC 3550 sections 6.4 and 6.6), NACK and
    /// PLI (RFC 4585 section 6), FIR (RFC 5104 section 4.3.1).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let count = usize::from(self.count);
        let least = match (self.packet_type, count) {
            (200, _) => 24 + 24 * count,
            (201, _) => 4 + 24 * count,
            (203, _) => 4 * count,
            (205, 1) => 12,
            (206, 1) => 8,
            (206, 4) => 16,
            _ => 0,
        };
        let rest_is_whole = match (self.packet_type, count) {
            (203, _) => self.reason_is_whole(),
            // Entries of 8 bytes, and padding is taken for one.
            (206, 4) => self.bytes.len() % 8 == 4,
            _ => true,
        };
        self.body.len() >= least && rest_is_whole
    }

    /// Is the reason of a goodbye, if there is one, as long as it says? Parsers take padding for one.
    fn reason_is_whole(&self) -> bool {
        let reason = self.bytes.get(4 + 4 * usize::from(self.count)..).unwrap_or_default();
        reason.split_first().is_none_or(|(&len, text)| text.len() >= usize::from(len))
    }

    /// The SSRCs that a REMB is about; at most 255.
    pub fn remb_ssrcs(&self) -> impl Iterator<Item = u32> {
        let count = self.body.get(12).copied().map_or(0, usize::from);
        let (words, _) = self.body.get(16..).unwrap_or_default().as_chunks::<4>();
        words.iter().take(count).map(|word| u32::from_be_bytes(*word))
    }

    /// The bits per second that a REMB names (draft-alvestrand-rmcat-remb-03 section 2.2), for all its SSRCs together. `None`: it is none.
    #[must_use]
    pub fn remb(&self) -> Option<u64> {
        let &[_, _, _, _, _, _, _, _, b'R', b'E', b'M', b'B', _, first, second, third, ..] =
            self.body
        else {
            return None;
        };
        let mantissa = u32::from_be_bytes([0, first & 3, second, third]);
        let bits_per_second = u128::from(mantissa) << (first >> 2);
        Some(u64::try_from(bits_per_second).unwrap_or(u64::MAX))
    }
}

/// Iterates over the packets of a compound (or reduced-size) packet; ends before the first malformed one.
#[inline]
#[must_use]
pub fn compound(datagram: &[u8]) -> Compound<'_> {
    Compound { rest: datagram }
}

/// Checks every packet of a compound packet.
///
/// # Errors
/// It is empty, or one of its packets is malformed.
pub fn validate(datagram: &[u8]) -> Result<(), ParseError> {
    let mut rest = datagram;
    loop {
        (_, rest) = RtcpPacket::parse(rest)?;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// See [`compound`].
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = RtcpPacket<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (packet, rest) = RtcpPacket::parse(std::mem::take(&mut self.rest)).ok()?;
        self.rest = rest;
        Some(packet)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use webrtc_util::marshal::Marshal;

    /// An empty receiver report, then a PLI.
    const COMPOUND: [u8; 20] =
        [0x80, 201, 0, 1, 0, 0, 0, 9, 0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 5];

    #[test]
    fn rtcp_is_told_by_its_second_byte() {
        for second in 0..=255_u8 {
            let mut datagram = [0; 12];
            (datagram[0], datagram[1]) = (0x80, second);
            let rtcp = (192..=223).contains(&second);
            let expected = if rtcp { PacketKind::Rtcp } else { PacketKind::Rtp };
            assert_eq!(classify(&datagram), Some(expected));
            assert_eq!(classify(&datagram[..11]), rtcp.then_some(PacketKind::Rtcp));
        }
        assert_eq!(classify(&[0x40; 12]), None);
        assert_eq!(classify(&[0x80, 200, 0]), None);
    }

    #[test]
    fn compound_is_walked() {
        let packets = compound(&COMPOUND).collect::<Vec<_>>();
        assert_eq!(packets.len(), 2);
        assert_eq!((packets[0].packet_type, packets[0].count), (RECEIVER_REPORT, 0));
        assert_eq!((packets[1].packet_type, packets[1].count), (PAYLOAD_FEEDBACK, 1));
        assert_eq!(packets[1].body, [0, 0, 0, 9, 0, 0, 0, 5]);
        assert_eq!(packets[1].bytes, &COMPOUND[8..]);
        assert_eq!(sender_ssrc(&COMPOUND), Some(9));
        assert_eq!(validate(&COMPOUND), Ok(()));
    }

    #[test]
    fn truncations_end_before_the_cut_packet() {
        for len in 0..COMPOUND.len() {
            let expected = usize::from(len >= 8);
            assert_eq!(compound(&COMPOUND[..len]).count(), expected);
            let whole = len == 8;
            assert_eq!(validate(&COMPOUND[..len]).is_ok(), whole);
        }
    }

    #[test]
    fn padding_is_cut_off_and_checked() {
        let mut packet = [0xA1, 206, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 4];
        assert_eq!(compound(&packet).next().unwrap().body.len(), 8);
        for bad in [0, 13, 255] {
            packet[15] = bad;
            assert_eq!(validate(&packet), Err(ParseError::Padding));
        }
        assert_eq!(validate(&[0xA0, 203, 0, 0]), Err(ParseError::Padding));
    }

    #[test]
    fn foreign_versions_and_types_are_errors() {
        assert_eq!(validate(&[0x40, 203, 0, 0]), Err(ParseError::Version));
        assert_eq!(validate(&[0x80, 100, 0, 0]), Err(ParseError::Malformed));
    }

    #[test]
    fn remb_is_mantissa_and_exponent() {
        let remb = |head: [u8; 3]| {
            let mut packet = vec![0x8F, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0];
            packet.extend(*b"REMB");
            // More SSRCs are promised than follow.
            packet.push(200);
            packet.extend(head);
            packet.extend([0, 0, 0, 5]);
            let packet = compound(&packet).next().unwrap();
            assert_eq!(packet.remb_ssrcs().collect::<Vec<_>>(), [5]);
            packet.remb()
        };
        assert_eq!(remb([0x0B, 0xD0, 0x90]), Some(0x3_D090 << 2));
        assert_eq!(remb([0, 0, 0]), Some(0));
        assert_eq!(remb([0xFF, 0xFF, 0xFF]), Some(u64::MAX));
        assert_eq!(compound(&COMPOUND).nth(1).unwrap().remb(), None);
    }

    /// Type, count, and how many words such a packet has at least.
    #[test]
    fn row_16_a_goodbye_whose_reason_goes_past_its_end_is_not_whole() {
        for (len, whole) in [(0, true), (3, true), (4, false), (0x44, false)] {
            let bytes = [0x81, 203, 0, 2, 0, 0, 0, 1, len, b'b', b'y', b'e'];
            assert_eq!(compound(&bytes).next().unwrap().is_whole(), whole, "{len}");
        }
        let padded = [0xA1, 203, 0, 2, 0, 0, 0, 1, 9, 9, 9, 4];
        assert!(!compound(&padded).next().unwrap().is_whole());
    }

    #[test]
    fn row_16_half_an_entry_of_a_keyframe_request_is_not_whole() {
        for (words, whole) in [(4, true), (5, false), (6, true), (7, false)] {
            let mut bytes = vec![0x84, 206, 0, words];
            bytes.resize(4 + 4 * usize::from(words), 1);
            assert_eq!(compound(&bytes).next().unwrap().is_whole(), whole, "{words} words");
        }
    }

    #[test]
    fn row_16_what_promises_more_than_it_has_is_not_whole() {
        let cases = [
            (200, 0, 6),
            (200, 2, 18),
            (201, 0, 1),
            (201, 31, 187),
            (203, 3, 3),
            (205, 1, 3),
            (206, 1, 2),
            (206, 4, 4),
        ];
        for (packet_type, count, words) in cases {
            for (there, whole) in [(words, true), (words - 1, false)] {
                let mut packet = vec![0x80 | count, packet_type, 0, there];
                packet.resize(4 + 4 * usize::from(there), 1);
                let packet = compound(&packet).next().unwrap();
                assert_eq!(packet.is_whole(), whole, "{packet_type}/{count}: {there} words");
                if whole {
                    let mut bytes = packet.bytes;
                    assert!(rtcp::packet::unmarshal(&mut bytes).is_ok(), "{packet_type}/{count}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn reads_the_rembs_that_the_rtcp_crate_writes(bits_per_second in 1000..1_000_000_000_u32) {
            use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
            let bitrate = bits_per_second as f32;
            let remb = ReceiverEstimatedMaximumBitrate { sender_ssrc: 1, bitrate, ssrcs: vec![7, 8] };
            let bytes = remb.marshal().unwrap();
            let read = compound(&bytes).next().unwrap().remb().unwrap() as f64;
            let exact = f64::from(bits_per_second);
            prop_assert!((read - exact).abs() <= exact / 100_000.0, "{read} for {exact}");
        }

        #[test]
        fn walks_what_the_rtcp_crate_writes(ssrc in any::<u32>(), sources in prop::collection::vec(any::<u32>(), 0..31),
                                            nacks in prop::collection::vec(any::<(u16, u16)>(), 1..10)) {
            use rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
            let goodbye = rtcp::goodbye::Goodbye { sources: sources.clone(), reason: "x".into() };
            let nack = TransportLayerNack {
                sender_ssrc: ssrc,
                media_ssrc: 1,
                nacks: nacks.iter().map(|&(packet_id, lost_packets)| NackPair { packet_id, lost_packets }).collect(),
            };
            let mut bytes = nack.marshal().unwrap().to_vec();
            bytes.extend_from_slice(&goodbye.marshal().unwrap());
            let packets = compound(&bytes).collect::<Vec<_>>();
            prop_assert_eq!(validate(&bytes), Ok(()));
            prop_assert_eq!(packets.len(), 2);
            prop_assert_eq!((packets[0].packet_type, packets[0].count), (TRANSPORT_FEEDBACK, 1));
            prop_assert_eq!(packets[0].body.len(), 8 + 4 * nacks.len());
            prop_assert_eq!((packets[1].packet_type, usize::from(packets[1].count)), (GOODBYE, sources.len()));
            prop_assert_eq!(sender_ssrc(&bytes), Some(ssrc));
        }
    }
}
