//! H.264 payloads (RFC 6184): single NAL units, STAP-A and FU-A, as far as telling where a receiver can start.
//!
//! The interleaved types (STAP-B, MTAP, FU-B) belong to packetization-mode 2, which is never negotiated.

use super::PayloadInfo;
use crate::error::ParseError;

const TYPE_IDR: u8 = 5;
const TYPE_SPS: u8 = 7;
const TYPE_STAP_A: u8 = 24;
const TYPE_FU_A: u8 = 28;

/// What a packet starts. A NAL unit counts only in the packet that holds its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct H264Payload {
    /// A sequence parameter set.
    pub sps: bool,
    /// A slice of an IDR picture.
    pub idr: bool,
}

impl H264Payload {
    /// Looks at the NAL unit headers.
    ///
    /// # Errors
    /// Empty, cut inside an aggregation or fragmentation header, or of an interleaved or reserved type.
    #[inline]
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let mut found = Self::default();
        let (&first, rest) = payload.split_first().ok_or(ParseError::Truncated)?;
        match first & 0x1F {
            nal_type @ 1..=23 => found.add(nal_type),
            TYPE_STAP_A => found.add_aggregated(rest)?,
            TYPE_FU_A => {
                let &fu_header = rest.first().ok_or(ParseError::Truncated)?;
                if fu_header & 0x80 != 0 {
                    found.add(fu_header & 0x1F);
                }
            }
            _ => return Err(ParseError::Malformed),
        }
        Ok(found)
    }

    /// A receiver can start here. Parameter sets may come in a packet of their own before the IDR slices, so either
    /// counts.
    #[inline]
    #[must_use]
    pub fn keyframe(&self) -> bool {
        self.sps || self.idr
    }

    fn add(&mut self, nal_type: u8) {
        self.sps |= nal_type == TYPE_SPS;
        self.idr |= nal_type == TYPE_IDR;
    }

    fn add_aggregated(&mut self, mut rest: &[u8]) -> Result<(), ParseError> {
        while !rest.is_empty() {
            let (size, tail) = rest.split_first_chunk::<2>().ok_or(ParseError::Truncated)?;
            let size = usize::from(u16::from_be_bytes(*size));
            let (unit, tail) = tail.split_at_checked(size).ok_or(ParseError::Truncated)?;
            self.add(unit.first().ok_or(ParseError::Malformed)? & 0x1F);
            rest = tail;
        }
        Ok(())
    }
}

impl From<H264Payload> for PayloadInfo {
    fn from(payload: H264Payload) -> Self {
        Self {
            keyframe: payload.keyframe(),
            lacks_parameter_sets: payload.idr && !payload.sps,
            ..Self::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn starts(payload: &[u8]) -> (bool, bool) {
        let found = H264Payload::parse(payload).unwrap();
        (found.sps, found.idr)
    }

    #[test]
    fn single_units() {
        assert_eq!(starts(&[0x67, 0x42, 0xE0, 0x1F]), (true, false));
        assert_eq!(starts(&[0x65, 0x88]), (false, true));
        assert_eq!(starts(&[0x61, 0x9A]), (false, false));
        assert_eq!(starts(&[0x68, 0xCE]), (false, false));
    }

    #[test]
    fn aggregated_units() {
        let aggregate = [0x78, 0, 2, 0x67, 0x42, 0, 1, 0x68, 0, 3, 0x65, 0x88, 0x80];
        assert_eq!(starts(&aggregate), (true, true));
        for len in 1..aggregate.len() {
            let whole = matches!(len, 1 | 5 | 8);
            assert_eq!(H264Payload::parse(&aggregate[..len]).is_ok(), whole, "{len}");
        }
        assert_eq!(starts(&aggregate[..5]), (true, false));
        assert_eq!(H264Payload::parse(&[0x78, 0, 0]), Err(ParseError::Malformed));
    }

    #[test]
    fn fragments_count_at_their_start() {
        assert_eq!(starts(&[0x7C, 0x85, 0x88]), (false, true));
        assert_eq!(starts(&[0x7C, 0x05, 0x88]), (false, false));
        assert_eq!(starts(&[0x7C, 0x45, 0x88]), (false, false));
        assert_eq!(starts(&[0x5C, 0x81, 0x9A]), (false, false));
        assert_eq!(H264Payload::parse(&[0x7C]), Err(ParseError::Truncated));
    }

    #[test]
    fn interleaved_reserved_and_empty_are_errors() {
        assert_eq!(H264Payload::parse(&[]), Err(ParseError::Truncated));
        for nal_type in [0, 25, 26, 27, 29, 30, 31] {
            assert_eq!(H264Payload::parse(&[nal_type, 0, 0, 0]), Err(ParseError::Malformed));
        }
    }
}
