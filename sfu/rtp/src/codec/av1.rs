//! AV1 payloads (AOM "RTP Payload Format For AV1" section 4): aggregation header and OBU headers.
//!
//! Layers come from OBU extension headers here; where the dependency descriptor was negotiated it knows better
//! ([`crate::dependency_descriptor`]).

use super::PayloadInfo;
use crate::error::ParseError;

const OBU_SEQUENCE_HEADER: u8 = 1;
/// AV1 bitstream specification section 4.10.5.
const LEB128_BYTES_MAX: u32 = 8;

/// A parsed payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Av1Payload {
    /// Z: the first OBU element continues one of the previous packet.
    pub continues_previous: bool,
    /// Y: the last OBU element goes on in the next packet.
    pub continues_next: bool,
    /// N: the first packet of a coded video sequence.
    pub new_sequence: bool,
    /// A sequence header starts in this packet.
    pub sequence_header: bool,
    /// Temporal layer of the first OBU that states one, else 0.
    pub temporal: u8,
    /// Spatial layer of the first OBU that states one, else 0.
    pub spatial: u8,
}

impl Av1Payload {
    /// Parses the aggregation header and the header of every OBU that starts in this packet.
    ///
    /// # Errors
    /// Empty, an OBU element beyond the payload, or N together with Z, which section 4.4 forbids.
    #[inline]
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let (&first, mut rest) = payload.split_first().ok_or(ParseError::Truncated)?;
        let mut found = Self {
            continues_previous: first & 0x80 != 0,
            continues_next: first & 0x40 != 0,
            new_sequence: first & 0x08 != 0,
            ..Self::default()
        };
        if found.continues_previous && found.new_sequence {
            return Err(ParseError::Malformed);
        }
        let element_count = first >> 4 & 0x03; // 0: every element has its length
        let mut index = 0_u8;
        let mut layer_known = false;
        while !rest.is_empty() {
            index = index.saturating_add(1);
            let element = if element_count == index {
                std::mem::take(&mut rest)
            } else {
                let (len, tail) = read_leb128(rest)?;
                let (element, tail) = tail.split_at_checked(len).ok_or(ParseError::Truncated)?;
                rest = tail;
                element
            };
            let fragment = index == 1 && found.continues_previous;
            if let (false, Some(&header)) = (fragment, element.first()) {
                found.sequence_header |= header >> 3 & 0x0F == OBU_SEQUENCE_HEADER;
                if let (true, false, Some(extension)) =
                    (header & 0x04 != 0, layer_known, element.get(1))
                {
                    layer_known = true;
                    found.temporal = extension >> 5;
                    found.spatial = extension >> 3 & 0x03;
                }
            }
        }
        if index < element_count {
            return Err(ParseError::Truncated);
        }
        Ok(found)
    }

    /// A receiver can start here.
    #[inline]
    #[must_use]
    pub fn keyframe(&self) -> bool {
        self.new_sequence || self.sequence_header
    }
}

impl From<Av1Payload> for PayloadInfo {
    fn from(payload: Av1Payload) -> Self {
        Self {
            keyframe: payload.keyframe(),
            spatial: payload.spatial,
            temporal: payload.temporal,
            ..Self::default()
        }
    }
}

fn read_leb128(mut bytes: &[u8]) -> Result<(usize, &[u8]), ParseError> {
    let mut value = 0_u64;
    for index in 0..LEB128_BYTES_MAX {
        let (&byte, rest) = bytes.split_first().ok_or(ParseError::Truncated)?;
        bytes = rest;
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let value = usize::try_from(value).map_err(|_| ParseError::TooLong)?;
            return Ok((value, bytes));
        }
    }
    Err(ParseError::Malformed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// N, W = 2: sequence header with its length, the beginning of a frame with an extension (T1, S2).
    const KEYFRAME: [u8; 8] = [0x68, 0x03, 0x08, 0x00, 0x00, 0x34, 0x30, 0xAA];

    #[test]
    fn keyframe_is_read() {
        let expected = Av1Payload {
            continues_previous: false,
            continues_next: true,
            new_sequence: true,
            sequence_header: true,
            temporal: 1,
            spatial: 2,
        };
        assert_eq!(Av1Payload::parse(&KEYFRAME), Ok(expected));
        assert!(expected.keyframe());
    }

    #[test]
    fn a_sequence_header_or_n_suffices() {
        assert!(Av1Payload::parse(&[0x10, 0x08, 0x00]).unwrap().keyframe());
        assert!(Av1Payload::parse(&[0x18, 0x30, 0x00]).unwrap().keyframe());
        assert!(!Av1Payload::parse(&[0x10, 0x30, 0x00]).unwrap().keyframe());
    }

    #[test]
    fn the_rest_of_a_fragment_has_no_header() {
        // The continued bytes look like a sequence header with layers.
        let found = Av1Payload::parse(&[0x90, 0x0C, 0xFF]).unwrap();
        assert!(!found.keyframe());
        assert_eq!((found.temporal, found.spatial), (0, 0));
        // A second element in the same packet does have one.
        let found = Av1Payload::parse(&[0xA0, 0x01, 0xFF, 0x34, 0x68]).unwrap();
        assert_eq!((found.temporal, found.spatial), (3, 1));
        assert_eq!(Av1Payload::parse(&[0x98, 0x00]), Err(ParseError::Malformed));
    }

    #[test]
    fn without_a_count_every_element_has_a_length() {
        let packet = [0x00, 0x02, 0x32, 0x00, 0x02, 0x0A, 0x00];
        assert!(Av1Payload::parse(&packet).unwrap().sequence_header);
        for len in 0..packet.len() {
            let whole = matches!(len, 1 | 4);
            assert_eq!(Av1Payload::parse(&packet[..len]).is_ok(), whole, "{len}");
        }
    }

    #[test]
    fn fewer_elements_than_counted_are_an_error() {
        assert_eq!(Av1Payload::parse(&[0x10]), Err(ParseError::Truncated));
        assert_eq!(Av1Payload::parse(&[0x20, 0x01, 0x30]), Err(ParseError::Truncated));
        assert!(Av1Payload::parse(&[0x20, 0x01, 0x30, 0x30]).is_ok());
    }

    #[test]
    fn leb128_is_bounded() {
        assert_eq!(read_leb128(&[0xE5, 0x8E, 0x26, 7]), Ok((624_485, &[7][..])));
        assert_eq!(read_leb128(&[0x80; 8]), Err(ParseError::Malformed));
        assert_eq!(read_leb128(&[0x80; 3]), Err(ParseError::Truncated));
        assert_eq!(
            Av1Payload::parse(&[0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
            Err(ParseError::Truncated)
        );
    }
}
