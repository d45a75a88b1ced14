//! One received packet as the cache keeps it: parsed once, read by every consumer.

use crate::params::{Codec, ExtensionKind};
use crate::producer::layers::LayerSet;
use sfu_rtp::RtpHeader;
use sfu_rtp::codec::PayloadInfo;

/// Where a header extension's value stands in the packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice {
    start: u16,
    len: u8,
}

impl Slice {
    pub(crate) fn new(start: usize, len: usize) -> Self {
        match (u16::try_from(start), u8::try_from(len)) {
            (Ok(start), Ok(len)) => Self { start, len },
            _ => Self::default(),
        }
    }

    /// For a pipe to another worker.
    pub(crate) fn to_bytes(self) -> [u8; 3] {
        let [high, low] = self.start.to_be_bytes();
        [high, low, self.len]
    }

    pub(crate) fn from_bytes([high, low, len]: [u8; 3]) -> Self {
        Self { start: u16::from_be_bytes([high, low]), len }
    }

    /// The value; `None` when the packet had none.
    pub(crate) fn of<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if self.len == 0 {
            return None;
        }
        let start = usize::from(self.start);
        bytes.get(start..start + usize::from(self.len))
    }
}

/// Header extensions that travel from publisher to subscriber (with the subscriber's ids).
pub(crate) const CARRIED: [ExtensionKind; 5] = [
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::DependencyDescriptor,
];

/// Where [`CachedPacket::carried`] has the playout delay.
pub(crate) const PLAYOUT_DELAY: usize = 2;
/// Where [`CachedPacket::carried`] has the dependency descriptor.
pub(crate) const DESCRIPTOR: usize = 4;

/// What the dependency descriptor says of the packet's frame. Decode targets go by their layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) frame_number: u16,
    /// Decode targets that the frame is part of.
    pub(crate) present: LayerSet,
    /// Decode targets that a receiver may switch to with it.
    pub(crate) switch: LayerSet,
    /// Serial number of the template structure; 0: it is not known, and nothing else but the frame number is.
    pub(crate) structure: u8,
    /// Decode targets that the structure has.
    pub(crate) targets: u8,
}

/// Index into [`CachedPacket::carried`].
pub(crate) fn carried_index(kind: ExtensionKind) -> Option<usize> {
    CARRIED.iter().position(|&k| k == kind)
}

/// A received packet. The payload is after RTX was taken apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CachedPacket {
    /// Extended sequence number within the encoding.
    pub(crate) seq: u64,
    /// Absolute position in the cache's byte ring.
    pub(crate) position: u64,
    /// Bytes of the whole packet.
    pub(crate) len: u16,
    pub(crate) payload_start: u16,
    pub(crate) payload_len: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) codec: Codec,
    /// Arrival in microseconds of the media clock.
    pub(crate) arrival_us: u64,
    pub(crate) carried: [Slice; CARRIED.len()],
    pub(crate) info: PayloadInfo,
    pub(crate) dependency: Dependency,
}

impl CachedPacket {
    /// From a header whose padding was read.
    pub(crate) fn new(header: &RtpHeader, bytes: &[u8], carried: [Slice; CARRIED.len()]) -> Self {
        Self {
            payload_start: header.payload_start,
            payload_len: header.payload(bytes).len() as u16,
            timestamp: header.timestamp,
            marker: header.marker,
            payload_type: header.payload_type,
            carried,
            ..Self::default()
        }
    }

    /// Of the dependency descriptor, if there is one.
    pub(crate) fn frame_number(&self) -> Option<u16> {
        (self.carried[DESCRIPTOR].len != 0).then_some(self.dependency.frame_number)
    }

    /// Bytes of the values in [`CachedPacket::carried`].
    pub(crate) fn carried_len(&self) -> usize {
        self.carried.iter().map(|slice| usize::from(slice.len)).sum()
    }

    /// The payload inside the packet's bytes.
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload_start);
        bytes.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_packet_is_small() {
        assert!(size_of::<CachedPacket>() <= 80, "{}", size_of::<CachedPacket>());
        assert_eq!(carried_index(ExtensionKind::DependencyDescriptor), Some(DESCRIPTOR));
    }
}
