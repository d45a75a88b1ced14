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
