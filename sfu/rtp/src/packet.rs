//! The RTP fixed header (RFC 3550 section 5.1): a parsed view made of offsets into the packet, and its writer.
//!
//! Never copies payload and never decrypts. SRTP leaves the header in clear and encrypts the padding count with the
//! payload, so an encrypted packet is parsed in two steps: [`RtpHeader::parse_prefix`], then [`RtpHeader::read_padding`].

use crate::error::ParseError;
use crate::extension::ExtensionIter;

/// Bytes of the header without CSRCs and extensions.
pub const FIXED_HEADER_LEN: usize = 12;
/// The CSRC count is a 4-bit field.
pub const CSRC_MAX: usize = 15;

const VERSION_2: u8 = 2 << 6;
const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const MARKER_BIT: u8 = 0x80;

/// A parsed header. All offsets count from the first byte of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 0..=127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence_number: u16,
    /// RTP timestamp in units of the payload type's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Contributing sources that follow the fixed header, 0..=15.
    pub csrc_count: u8,
    /// "Defined by profile" of the header extension: 0xBEDE, 0x100X, or anything else; 0 also when there is none.
    pub extension_profile: u16,
    /// Offset of the extension body, behind its 4-byte header.
    pub extension_start: u16,
    /// Bytes of the extension body.
    pub extension_len: u16,
    /// Offset of the payload.
    pub payload_start: u16,
    /// Padding at the end in bytes, its count byte included; 0 until [`RtpHeader::read_padding`] on an encrypted packet.
    pub padding_len: u8,
}

impl RtpHeader {
    /// Parses a whole packet in clear, padding included.
    ///
    /// # Errors
    /// See [`RtpHeader::parse_prefix`] and [`RtpHeader::read_padding`].
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, ParseError> {
        let mut header = Self::parse_prefix(packet)?;
        header.read_padding(packet)?;
        Ok(header)
    }

    /// Parses the header of a packet whose payload may still be encrypted; does not look at padding.
    ///
    /// # Errors
    /// Wrong version, a header or extension longer than the packet, a packet beyond 65 535 bytes.
    #[inline]
    pub fn parse_prefix(packet: &[u8]) -> Result<Self, ParseError> {
        let Some(fixed) = packet.first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(ParseError::Truncated);
        };
        if fixed[0] & 0xC0 != VERSION_2 {
            return Err(ParseError::Version);
        }
        if packet.len() > usize::from(u16::MAX) {
            return Err(ParseError::TooLong);
        }
        let csrc_count = fixed[0] & 0x0F;
        let after_csrcs = FIXED_HEADER_LEN + 4 * usize::from(csrc_count);
        if after_csrcs > packet.len() {
            return Err(ParseError::Truncated);
        }
        let (profile, extension_start, extension_len) = if fixed[0] & EXTENSION_BIT == 0 {
            (0, after_csrcs, 0)
        } else {
            let head = packet.get(after_csrcs..after_csrcs + 4).ok_or(ParseError::Truncated)?;
            let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
            (u16::from_be_bytes([head[0], head[1]]), after_csrcs + 4, 4 * words)
        };
        let payload_start = extension_start + extension_len;
        if payload_start > packet.len() {
            return Err(ParseError::Truncated);
        }
        // The packet is at most 65 535 bytes and every offset lies inside it.
        #[allow(clippy::cast_possible_truncation)]
        Ok(Self {
            marker: fixed[1] & MARKER_BIT != 0,
            payload_type: fixed[1] & 0x7F,
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            csrc_count,
            extension_profile: profile,
            extension_start: extension_start as u16,
            extension_len: extension_len as u16,
            payload_start: payload_start as u16,
            padding_len: 0,
        })
    }

    /// Reads the padding count from the decrypted packet that this header was parsed from (authentication tag removed).
    ///
    /// # Errors
    /// The padding bit is set, and the count is zero or larger than the payload.
    #[inline]
    pub fn read_padding(&mut self, packet: &[u8]) -> Result<(), ParseError> {
        let start = usize::from(self.payload_start);
        let payload = packet.get(start..).ok_or(ParseError::Truncated)?;
        self.padding_len = 0;
        if packet.first().is_some_and(|first| first & PADDING_BIT != 0) {
            let count = *payload.last().ok_or(ParseError::Padding)?;
            if count == 0 || usize::from(count) > payload.len() {
                return Err(ParseError::Padding);
            }
            self.padding_len = count;
        }
        Ok(())
    }

    /// The payload without padding; empty when `packet` is not the packet that was parsed.
    #[inline]
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let end = packet.len().saturating_sub(usize::from(self.padding_len));
        packet.get(usize::from(self.payload_start)..end).unwrap_or_default()
    }

    /// The header extensions as (id, value), in wire order.
    #[inline]
    #[must_use]
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> ExtensionIter<'a> {
        let start = usize::from(self.extension_start);
        let body = packet.get(start..start + usize::from(self.extension_len)).unwrap_or_default();
        ExtensionIter::new(self.extension_profile, body)
    }

    /// The contributing sources in wire order.
    pub fn csrcs<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let end = FIXED_HEADER_LEN + 4 * usize::from(self.csrc_count);
        let list = packet.get(FIXED_HEADER_LEN..end).unwrap_or_default();
        list.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
    }
}

/// What [`write_header`] writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderFields<'a> {
    /// Marker bit.
    pub marker: bool,
    /// Payload type; the upper bit is ignored.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Contributing sources, at most [`CSRC_MAX`].
    pub csrcs: &'a [u32],
    /// An extension block follows. When that is known only later: [`set_extension_bit`].
    pub extension: bool,
    /// The payload ends in padding.
    pub padding: bool,
}

/// Writes the fixed header and the CSRC list; returns the bytes written, which is where
/// [`crate::ExtensionWriter`] or the payload begins. Returns 0, with `buf` unchanged, when it does not fit.
#[inline]
pub fn write_header(buf: &mut [u8], fields: &HeaderFields<'_>) -> usize {
    let len = FIXED_HEADER_LEN + 4 * fields.csrcs.len();
    if fields.csrcs.len() > CSRC_MAX || len > buf.len() {
        return 0;
    }
    let (fixed, list) = buf[..len].split_at_mut(FIXED_HEADER_LEN);
    #[allow(clippy::cast_possible_truncation)] // at most 15
    let csrc_count = fields.csrcs.len() as u8;
    fixed[0] = VERSION_2
        | csrc_count
        | if fields.padding { PADDING_BIT } else { 0 }
        | if fields.extension { EXTENSION_BIT } else { 0 };
    fixed[1] = fields.payload_type & 0x7F | if fields.marker { MARKER_BIT } else { 0 };
    fixed[2..4].copy_from_slice(&fields.sequence_number.to_be_bytes());
    fixed[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
    fixed[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
    for (slot, csrc) in list.chunks_exact_mut(4).zip(fields.csrcs) {
        slot.copy_from_slice(&csrc.to_be_bytes());
    }
    len
}

/// Sets or clears the extension bit of a written header, once it is known whether any extension was pushed.
#[inline]
pub fn set_extension_bit(packet: &mut [u8], extension: bool) {
    if let Some(first) = packet.first_mut() {
        *first = *first & !EXTENSION_BIT | if extension { EXTENSION_BIT } else { 0 };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::extension::{ExtensionWriter, PROFILE_ONE_BYTE, PROFILE_TWO_BYTE};
    use bytes::Bytes;
    use proptest::prelude::*;
    use webrtc_util::marshal::{Marshal, Unmarshal};

    /// A packet with everything: CSRC, one-byte extensions with padding inside, payload, RTP padding.
    const SAMPLE: [u8; 35] = [
        0xB1, 0xE0, 0x12, 0x34, 0x01, 0x02, 0x03, 0x04, 0x0A, 0x0B, 0x0C, 0x0D, // fixed
        0, 0, 0, 7, // CSRC
        0xBE, 0xDE, 0, 2, 0x10, b'0', 0, 0x31, 0x11, 0x22, 0, 0, // extensions 1 and 3
        1, 2, 3, 4, 0, 0, 3, // payload and three bytes of padding
    ];

    #[derive(Clone, Debug)]
    struct Fields {
        header: rtp::header::Header,
        payload: Vec<u8>,
    }

    fn extensions() -> impl Strategy<Value = (u16, Vec<(u8, Vec<u8>)>)> {
        let byte = any::<u8>();
        prop_oneof![
            prop::collection::vec((1..=14_u8, prop::collection::vec(byte, 1..=16)), 1..5)
                .prop_map(|list| (PROFILE_ONE_BYTE, list)),
            prop::collection::vec((1..=255_u8, prop::collection::vec(byte, 0..=40)), 1..5)
                .prop_map(|list| (PROFILE_TWO_BYTE, list)),
            Just((0, vec![])),
        ]
    }

    fn fields() -> impl Strategy<Value = Fields> {
        (
            any::<(bool, bool, u16, u32, u32)>(),
            0..128_u8,
            prop::collection::vec(any::<u32>(), 0..=15),
            extensions(),
            prop::collection::vec(any::<u8>(), 0..40),
        )
            .prop_map(|(flags, payload_type, csrc, (profile, list), payload)| {
                let (marker, padding, sequence_number, timestamp, ssrc) = flags;
                let extensions = list
                    .into_iter()
                    .map(|(id, value)| rtp::header::Extension { id, payload: value.into() })
                    .collect::<Vec<_>>();
                let header = rtp::header::Header {
                    version: 2,
                    padding,
                    extension: !extensions.is_empty(),
                    marker,
                    payload_type,
                    sequence_number,
                    timestamp,
                    ssrc,
                    csrc,
                    extension_profile: profile,
                    extensions,
                    extensions_padding: 0,
                };
                Fields { header, payload }
            })
    }

    fn assert_same(ours: &RtpHeader, packet: &[u8], theirs: &rtp::header::Header) {
        assert_eq!(ours.marker, theirs.marker);
        assert_eq!(ours.payload_type, theirs.payload_type);
        assert_eq!(ours.sequence_number, theirs.sequence_number);
        assert_eq!(ours.timestamp, theirs.timestamp);
        assert_eq!(ours.ssrc, theirs.ssrc);
        assert_eq!(ours.csrcs(packet).collect::<Vec<_>>(), theirs.csrc);
        assert_eq!(ours.extension_profile, theirs.extension_profile);
        let extensions = ours.extensions(packet).map(|(id, value)| (id, value.to_vec()));
        let expected = theirs.extensions.iter().map(|e| (e.id, e.payload.to_vec()));
        assert_eq!(extensions.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn reads_what_the_rtp_crate_writes(fields in fields()) {
            let packet = rtp::packet::Packet {
                header: fields.header.clone(),
                payload: fields.payload.clone().into(),
            };
            let bytes = packet.marshal().unwrap();
            let header = RtpHeader::parse(&bytes).unwrap();
            assert_same(&header, &bytes, &fields.header);
            prop_assert_eq!(header.payload(&bytes), &fields.payload);
            prop_assert_eq!(header.padding_len > 0, fields.header.padding);
        }

        #[test]
        fn writes_what_the_rtp_crate_reads(fields in fields()) {
            let mut buf = [0xFF_u8; 2000];
            let start = write_header(&mut buf, &HeaderFields {
                marker: fields.header.marker,
                payload_type: fields.header.payload_type,
                sequence_number: fields.header.sequence_number,
                timestamp: fields.header.timestamp,
                ssrc: fields.header.ssrc,
                csrcs: &fields.header.csrc,
                extension: false,
                padding: false,
            });
            let two_byte = fields.header.extension_profile == PROFILE_TWO_BYTE;
            let mut writer = ExtensionWriter::new(&mut buf[start..], two_byte);
            for extension in &fields.header.extensions {
                let offset = writer.push(extension.id, &extension.payload);
                prop_assert!(offset.is_some());
            }
            let extension_len = writer.finish();
            set_extension_bit(&mut buf, extension_len > 0);
            let payload_start = start + extension_len;
            let end = payload_start + fields.payload.len();
            buf[payload_start..end].copy_from_slice(&fields.payload);

            let packet = rtp::packet::Packet::unmarshal(&mut Bytes::copy_from_slice(&buf[..end])).unwrap();
            let mut expected = fields.header.clone();
            expected.padding = false;
            expected.extensions_padding = packet.header.extensions_padding;
            prop_assert_eq!(&packet.header, &expected);
            prop_assert_eq!(&packet.payload[..], &fields.payload);
            prop_assert_eq!(usize::from(RtpHeader::parse(&buf[..end]).unwrap().payload_start), payload_start);
        }
    }

    #[test]
    fn sample_is_understood() {
        let header = RtpHeader::parse(&SAMPLE).unwrap();
        assert_eq!(header.payload(&SAMPLE), [1, 2, 3, 4]);
        assert_eq!(header.csrcs(&SAMPLE).collect::<Vec<_>>(), [7]);
        assert_eq!((header.extension_start, header.extension_len), (20, 8));
        assert_eq!((header.payload_start, header.padding_len), (28, 3));
        let extensions = header.extensions(&SAMPLE).collect::<Vec<_>>();
        assert_eq!(extensions, [(1, &[b'0'][..]), (3, &[0x11, 0x22][..])]);
    }

    #[test]
    fn every_truncation_inside_the_header_is_an_error() {
        for len in 0..28 {
            assert_eq!(RtpHeader::parse_prefix(&SAMPLE[..len]), Err(ParseError::Truncated));
        }
        for len in 28..SAMPLE.len() {
            assert!(RtpHeader::parse_prefix(&SAMPLE[..len]).is_ok());
        }
        // Nothing left, and a count of zero.
        assert_eq!(RtpHeader::parse(&SAMPLE[..28]), Err(ParseError::Padding));
        assert_eq!(RtpHeader::parse(&SAMPLE[..33]), Err(ParseError::Padding));
    }

    #[test]
    fn padding_may_fill_the_payload_but_not_more() {
        let mut packet = SAMPLE;
        packet[34] = 7;
        let header = RtpHeader::parse(&packet).unwrap();
        assert!(header.payload(&packet).is_empty());
        packet[34] = 8;
        assert_eq!(RtpHeader::parse(&packet), Err(ParseError::Padding));
    }

    #[test]
    fn encrypted_packet_gets_its_padding_after_decryption() {
        let mut packet = SAMPLE;
        packet[34] = 0xFF; // as if encrypted
        let mut header = RtpHeader::parse_prefix(&packet).unwrap();
        assert_eq!(header.padding_len, 0);
        packet[34] = 3;
        header.read_padding(&packet).unwrap();
        assert_eq!(header.payload(&packet), [1, 2, 3, 4]);
    }

    #[test]
    fn other_versions_and_oversized_packets_are_refused() {
        let mut packet = SAMPLE;
        packet[0] = 0x70;
        assert_eq!(RtpHeader::parse(&packet), Err(ParseError::Version));
        let mut long = vec![0; 65_536];
        long[0] = 0x80;
        assert_eq!(RtpHeader::parse(&long), Err(ParseError::TooLong));
        long.pop();
        assert!(RtpHeader::parse(&long).is_ok());
    }

    #[test]
    fn header_that_does_not_fit_is_not_begun() {
        let mut buf = [0; 15];
        assert_eq!(
            write_header(&mut buf, &HeaderFields { csrcs: &[1], ..HeaderFields::default() }),
            0
        );
        assert_eq!(buf, [0; 15]);
        let mut buf = [0; 200];
        assert_eq!(
            write_header(&mut buf, &HeaderFields { csrcs: &[1; 16], ..HeaderFields::default() }),
            0
        );
    }
}
