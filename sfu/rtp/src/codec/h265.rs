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
        Self { keyframe: payload.keyframe(), temporal: payload.temporal, ..Self::default() }
    }
}
