//! What publishers write into the end of every payload, so that a receiver can tell which packet of which frame it has.

use sfu_rtp::codec::vp8::Vp8Descriptor;

/// Identity of one media packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The track's number.
    pub(crate) track: u8,
    /// Encoding.
    pub(crate) layer: u8,
    pub(crate) keyframe: bool,
    pub(crate) temporal: u8,
    pub(crate) frame: u32,
    /// Packet `index` of `count` in the frame.
    pub(crate) index: u8,
    pub(crate) count: u8,
    /// Virtual time of capture in microseconds.
    pub(crate) capture: u64,
}

const MAGIC: [u8; 4] = *b"sWyD";
pub(crate) const STAMP_LEN: usize = 24;

impl Stamp {
    pub(crate) fn write(&self, payload: &mut Vec<u8>) {
        payload.extend_from_slice(&MAGIC);
        payload.extend_from_slice(&[
            self.track,
            self.layer,
            u8::from(self.keyframe),
            self.temporal,
            self.index,
            self.count,
            0,
            0,
        ]);
        payload.extend_from_slice(&self.frame.to_be_bytes());
        payload.extend_from_slice(&self.capture.to_be_bytes());
    }

    /// Panics when the payload is not a publisher's: the engine damaged it.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let bytes: &[u8; STAMP_LEN] = payload.last_chunk().expect("a payload with its stamp");
        assert_eq!(bytes[..4], MAGIC, "payload was damaged");
        Self {
            track: bytes[4],
            layer: bytes[5],
            keyframe: bytes[6] != 0,
            temporal: bytes[7],
            index: bytes[8],
            count: bytes[9],
            frame: u32::from_be_bytes(*bytes[12..].first_chunk().unwrap()),
            capture: u64::from_be_bytes(*bytes[16..].first_chunk().unwrap()),
        }
    }
}

/// TL0PICIDX, where VP8's descriptor says that the picture is of the lowest temporal layer.
pub(crate) fn base_of(payload: &[u8]) -> Option<u8> {
    let descriptor = Vp8Descriptor::parse(payload).ok().filter(|it| it.temporal == 0)?;
    descriptor.tl0_picture_index
}
