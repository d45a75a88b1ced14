//! H.265 payloads (RFC 7798): single NAL units, aggregation and fragmentation, as far as telling where a receiver can
//! start. Decoding order numbers (sprop-max-don-diff above 0) are never negotiated.

use super::PayloadInfo;
use crate::error::ParseError;

const TYPE_IRAP_FIRST: u8 = 16;
const TYPE_IRAP_LAST: u8 = 21;
const TYPE_VPS: u8 = 32;
const TYPE_SPS: u8 = 33;
const TYPE_AGGREGATION: u8 = 48;
const TYPE_FRAGMENTATION: u8 = 49;
/// PACI, which WebRTC never negotiates, and the unspecified types above it.
const TYPE_PACI: u8 = 50;

/// What a packet starts. A NAL unit counts only in the packet that holds its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct H265Payload {
    /// A video or sequence parameter set. A picture parameter set does not count: it may change between keyframes.
    pub parameter_set: bool,
    /// A slice of an intra random access point picture (BLA, IDR, CRA).
    pub random_access: bool,
    /// Temporal layer: TID of the payload header less one.
    pub temporal: u8,
}

impl H265Payload {
    /// Looks at the NAL unit headers.
    ///
    /// # Errors
    /// Cut inside a header, an aggregated unit beyond the payload, a temporal id of zero, or a PACI packet.
    #[inline]
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let (header, rest) = payload.split_first_chunk::<2>().ok_or(ParseError::Truncated)?;
        let temporal = (header[1] & 0x07).checked_sub(1).ok_or(ParseError::Malformed)?;
        let mut found = Self { temporal, ..Self::default() };
        match header[0] >> 1 & 0x3F {
            TYPE_AGGREGATION => found.add_aggregated(rest)?,
            TYPE_FRAGMENTATION => {
                let &fu_header = rest.first().ok_or(ParseError::Truncated)?;
                if fu_header & 0x80 != 0 {
                    found.add(fu_header & 0x3F);
                }
            }
            TYPE_PACI.. => return Err(ParseError::Malformed),
            nal_type => found.add(nal_type),
        }
        Ok(found)
    }

    /// A receiver can start here. Parameter sets may come in packets of their own before the first slice, so either
    /// counts.
    #[inline]
    #[must_use]
    pub fn keyframe(&self) -> bool {
        self.parameter_set || self.random_access
    }

    fn add(&mut self, nal_type: u8) {
        self.parameter_set |= (TYPE_VPS..=TYPE_SPS).contains(&nal_type);
        self.random_access |= (TYPE_IRAP_FIRST..=TYPE_IRAP_LAST).contains(&nal_type);
    }

    fn add_aggregated(&mut self, mut rest: &[u8]) -> Result<(), ParseError> {
        while !rest.is_empty() {
            let (size, tail) = rest.split_first_chunk::<2>().ok_or(ParseError::Truncated)?;
            let size = usize::from(u16::from_be_bytes(*size));
            let (unit, tail) = tail.split_at_checked(size).ok_or(ParseError::Truncated)?;
            self.add(unit.first().ok_or(ParseError::Malformed)? >> 1 & 0x3F);
            rest = tail;
        }
        Ok(())
    }
}

impl From<H265Payload> for PayloadInfo {
    fn from(payload: H265Payload) -> Self {
        Self {
            keyframe: payload.keyframe(),
            lacks_parameter_sets: payload.random_access && !payload.parameter_set,
            temporal: payload.temporal,
            ..Self::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Payload header of a type, temporal layer 0.
    fn header(nal_type: u8) -> [u8; 2] {
        [nal_type << 1, 1]
    }

    #[test]
    fn single_units() {
        for nal_type in 0..48 {
            let found = H265Payload::parse(&header(nal_type)).unwrap();
            assert_eq!(found.parameter_set, matches!(nal_type, 32 | 33), "{nal_type}");
            assert_eq!(found.random_access, (16..=21).contains(&nal_type), "{nal_type}");
        }
    }

    #[test]
    fn aggregated_units() {
        let aggregate = [96, 1, 0, 3, 64, 1, 9, 0, 2, 68, 1, 0, 3, 38, 1, 9]; // VPS, PPS, IDR
        let found = H265Payload::parse(&aggregate).unwrap();
        assert!(found.parameter_set && found.random_access && found.keyframe());
        for len in 0..aggregate.len() {
            let whole = matches!(len, 2 | 7 | 11);
            assert_eq!(H265Payload::parse(&aggregate[..len]).is_ok(), whole, "{len}");
        }
        assert_eq!(H265Payload::parse(&[96, 1, 0, 0]), Err(ParseError::Malformed));
    }

    #[test]
    fn fragments_count_at_their_start() {
        let start = H265Payload::parse(&[98, 1, 0x80 | 21]).unwrap();
        assert!(start.random_access);
        for fu_header in [21, 0x40 | 21, 0x80 | 1] {
            assert!(!H265Payload::parse(&[98, 1, fu_header]).unwrap().keyframe());
        }
        assert_eq!(H265Payload::parse(&[98, 1]), Err(ParseError::Truncated));
    }

    #[test]
    fn temporal_layer_is_tid_less_one() {
        assert_eq!(H265Payload::parse(&[2, 3]).unwrap().temporal, 2);
        assert_eq!(H265Payload::parse(&[2, 0]), Err(ParseError::Malformed));
        assert_eq!(H265Payload::parse(&header(50)), Err(ParseError::Malformed));
    }
}
