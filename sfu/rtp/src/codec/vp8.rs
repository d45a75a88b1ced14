//! VP8 payload descriptor (RFC 7741 section 4.2) and the frame tag of keyframes (section 4.3).

use super::{PayloadInfo, StatedLayers, patch_picture_id, read_picture_id};
use crate::error::ParseError;

/// N in the first byte.
const NON_REFERENCE: u8 = 0x20;
/// KEYIDX in the byte that has TID and Y as well.
const KEY_INDEX: u8 = 0x1F;

/// A parsed descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// I: picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// M: the picture id has 15 bits.
    pub picture_id_wide: bool,
    /// L: running index of temporal base-layer frames.
    pub tl0_picture_index: Option<u8>,
    /// T: temporal layer; 0 when absent.
    pub temporal: u8,
    /// Y: depends on the base layer only, so a receiver may switch up to this layer here.
    pub layer_sync: bool,
    /// K: temporal key frame index, 5 bits.
    pub key_index: Option<u8>,
    /// N: no other frame refers to this one.
    pub non_reference: bool,
    /// S: the packet starts a partition.
    pub start_of_partition: bool,
    /// PID: partition index, 0..=7.
    pub partition: u8,
    /// The packet starts a keyframe.
    pub keyframe: bool,
    /// Width and height in pixels, where the packet starts a keyframe.
    pub dimensions: Option<(u16, u16)>,
    /// Bytes of the descriptor.
    pub len: u8,
}

impl Vp8Descriptor {
    /// Parses the descriptor and, where a frame starts, its frame tag.
    ///
    /// # Errors
    /// The payload ends inside the descriptor.
    #[inline]
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let fields = Fields::locate(payload)?;
        let first = payload[0];
        let mut descriptor = Self {
            non_reference: first & NON_REFERENCE != 0,
            start_of_partition: first & 0x10 != 0,
            partition: first & 0x07,
            #[allow(clippy::cast_possible_truncation)] // at most 6
            len: fields.len as u8,
            ..Self::default()
        };
        if let Some(offset) = fields.picture_id {
            let (id, width) = read_picture_id(payload, offset).ok_or(ParseError::Truncated)?;
            descriptor.picture_id = Some(id);
            descriptor.picture_id_wide = width == 2;
        }
        if let Some(offset) = fields.tl0 {
            descriptor.tl0_picture_index = payload.get(offset).copied();
        }
        if let Some(&byte) = fields.layer.and_then(|offset| payload.get(offset)) {
            if fields.has_temporal {
                descriptor.temporal = byte >> 6;
                descriptor.layer_sync = byte & 0x20 != 0;
            }
            descriptor.key_index = fields.has_key_index.then_some(byte & KEY_INDEX);
        }
        if descriptor.start_of_frame() {
            descriptor.read_frame_tag(&payload[fields.len..]);
        }
        Ok(descriptor)
    }

    /// The packet starts a frame: S is set and the partition is 0.
    #[inline]
    #[must_use]
    pub fn start_of_frame(&self) -> bool {
        self.start_of_partition && self.partition == 0
    }

    /// RFC 6386 section 9.1: 3 bytes of tag with the inverse keyframe bit lowest; a keyframe goes on with the start
    /// code and two 14-bit dimensions below 2 bits of scale.
    fn read_frame_tag(&mut self, frame: &[u8]) {
        self.keyframe = frame.first().is_some_and(|tag| tag & 0x01 == 0);
        if let (true, Some(&[_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1])) =
            (self.keyframe, frame.first_chunk::<10>())
        {
            let width = u16::from_le_bytes([w0, w1]) & 0x3FFF;
            let height = u16::from_le_bytes([h0, h1]) & 0x3FFF;
            self.dimensions = Some((width, height));
        }
    }
}

impl From<Vp8Descriptor> for PayloadInfo {
    fn from(descriptor: Vp8Descriptor) -> Self {
        Self {
            keyframe: descriptor.keyframe,
            lacks_parameter_sets: false,
            frame_start: Some(descriptor.start_of_frame()),
            frame_end: false,
            spatial: 0,
            temporal: descriptor.temporal,
            switching_up: descriptor.layer_sync,
            picture_id: descriptor.picture_id,
            tl0_picture_index: descriptor.tl0_picture_index,
        }
    }
}

/// The size that a keyframe states.
pub(super) fn stated_layers(payload: &[u8]) -> Option<StatedLayers> {
    let dimensions = Vp8Descriptor::parse(payload).ok()?.dimensions?;
    let mut all = [(0, 0); super::vp9::SPATIAL_LAYERS_MAX];
    all[0] = dimensions;
    Some(StatedLayers { spatial: 1, dimensions: Some(all) })
}

/// Overwrites picture id and TL0PICIDX in place, keeping field widths: a 7-bit picture id takes the low 7 bits. What
/// the descriptor does not carry, and what is `None`, stays as it is. `flat`: the picture becomes one of the lowest temporal layer, that others
/// refer to.
///
/// # Errors
/// The payload ends inside the descriptor; then nothing is changed.
#[inline]
pub fn rewrite(
    payload: &mut [u8],
    picture_id: Option<u16>,
    tl0_picture_index: Option<u8>,
    flat: bool,
) -> Result<(), ParseError> {
    let fields = Fields::locate(payload)?;
    if flat {
        payload[0] &= !NON_REFERENCE;
        if let Some(offset) = fields.layer.filter(|_| fields.has_temporal) {
            payload[offset] &= KEY_INDEX;
        }
    }
    if let (Some(offset), Some(id)) = (fields.picture_id, picture_id) {
        patch_picture_id(&mut payload[offset..offset + fields.picture_id_len], id);
    }
    if let (Some(offset), Some(index)) = (fields.tl0, tl0_picture_index) {
        payload[offset] = index;
    }
    Ok(())
}

/// Offsets of the optional fields, all inside the payload.
#[derive(Default)]
struct Fields {
    picture_id: Option<usize>,
    picture_id_len: usize,
    tl0: Option<usize>,
    layer: Option<usize>,
    has_temporal: bool,
    has_key_index: bool,
    len: usize,
}

impl Fields {
    fn locate(payload: &[u8]) -> Result<Self, ParseError> {
        let first = *payload.first().ok_or(ParseError::Truncated)?;
        let mut fields = Self { len: 1, ..Self::default() };
        if first & 0x80 == 0 {
            return Ok(fields);
        }
        let present = *payload.get(1).ok_or(ParseError::Truncated)?;
        fields.len = 2;
        if present & 0x80 != 0 {
            let (_, width) = read_picture_id(payload, fields.len).ok_or(ParseError::Truncated)?;
            fields.picture_id = Some(fields.len);
            fields.picture_id_len = width;
            fields.len += width;
        }
        if present & 0x40 != 0 {
            fields.tl0 = Some(fields.len);
            fields.len += 1;
        }
        fields.has_temporal = present & 0x20 != 0;
        fields.has_key_index = present & 0x10 != 0;
        if fields.has_temporal || fields.has_key_index {
            fields.layer = Some(fields.len);
            fields.len += 1;
        }
        if fields.len > payload.len() {
            return Err(ParseError::Truncated);
        }
        Ok(fields)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codecs::vp8::Vp8Packet;
    use rtp::packetizer::Depacketizer;

    /// Everything present, 15-bit picture id, the start of a 640x480 keyframe.
    const KEYFRAME: [u8; 16] = [
        0x90, 0xF0, 0x92, 0x34, 0x56, 0xA7, // descriptor
        0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, // frame tag and start code
        0x80, 0x82, 0xE0, 0x41, // dimensions with scale bits
    ];
    /// 7-bit picture id, temporal layer 2, an inter frame.
    const INTER: [u8; 5] = [0xB0, 0xA0, 0x12, 0x80, 0x11];

    #[test]
    fn keyframe_is_read() {
        let expected = Vp8Descriptor {
            picture_id: Some(0x1234),
            picture_id_wide: true,
            tl0_picture_index: Some(0x56),
            temporal: 2,
            layer_sync: true,
            key_index: Some(7),
            non_reference: false,
            start_of_partition: true,
            partition: 0,
            keyframe: true,
            dimensions: Some((640, 480)),
            len: 6,
        };
        assert_eq!(Vp8Descriptor::parse(&KEYFRAME), Ok(expected));
        let stated = stated_layers(&KEYFRAME).unwrap();
        assert_eq!((stated.spatial, stated.dimensions.unwrap()[0]), (1, (640, 480)));
    }

    #[test]
    fn inter_frames_and_later_packets_are_no_keyframes() {
        let inter = Vp8Descriptor::parse(&INTER).unwrap();
        assert!(!inter.keyframe && inter.start_of_frame() && inter.non_reference);
        assert_eq!((inter.picture_id, inter.picture_id_wide), (Some(0x12), false));
        assert_eq!((inter.temporal, inter.layer_sync, inter.key_index), (2, false, None));
        for first in [0x80, 0x91] {
            let mut packet = KEYFRAME;
            packet[0] = first;
            let later = Vp8Descriptor::parse(&packet).unwrap();
            assert!(!later.keyframe && !later.start_of_frame() && later.dimensions.is_none());
        }
    }

    #[test]
    fn truncations_are_errors_or_lack_only_what_was_cut() {
        for len in 0..6 {
            assert_eq!(Vp8Descriptor::parse(&KEYFRAME[..len]), Err(ParseError::Truncated));
            let mut cut = KEYFRAME;
            assert!(rewrite(&mut cut[..len], Some(0), Some(0), true).is_err());
            assert_eq!(cut, KEYFRAME);
        }
        assert!(!Vp8Descriptor::parse(&KEYFRAME[..6]).unwrap().keyframe);
        for len in 7..16 {
            let descriptor = Vp8Descriptor::parse(&KEYFRAME[..len]).unwrap();
            assert!(descriptor.keyframe && descriptor.dimensions.is_none());
            assert_eq!(stated_layers(&KEYFRAME[..len]), None);
        }
    }

    #[test]
    fn rewriting_keeps_widths_and_everything_else() {
        let mut packet = KEYFRAME;
        rewrite(&mut packet, Some(0xFFFE), Some(9), false).unwrap();
        assert_eq!(packet[..6], [0x90, 0xF0, 0xFF, 0xFE, 9, 0xA7]);
        assert_eq!(packet[6..], KEYFRAME[6..]);
        let mut packet = INTER;
        rewrite(&mut packet, Some(0x1285), Some(9), false).unwrap();
        assert_eq!(packet, [0xB0, 0xA0, 0x05, 0x80, 0x11]);
        let mut packet = KEYFRAME;
        rewrite(&mut packet, None, None, false).unwrap();
        assert_eq!(packet, KEYFRAME);
        let mut bare = [0x10, 0x00];
        rewrite(&mut bare, Some(1), Some(1), true).unwrap();
        assert_eq!(bare, [0x10, 0x00]);
    }

    #[test]
    fn a_flat_picture_is_of_the_lowest_temporal_layer() {
        let mut packet = INTER;
        rewrite(&mut packet, None, None, true).unwrap();
        let flat = Vp8Descriptor::parse(&packet).unwrap();
        assert_eq!((flat.temporal, flat.non_reference, flat.picture_id), (0, false, Some(0x12)));
        let mut packet = KEYFRAME;
        rewrite(&mut packet, None, Some(3), true).unwrap();
        assert_eq!(packet[..6], [0x90, 0xF0, 0x92, 0x34, 3, 0x07], "the key index stays");
    }

    proptest! {
        #[test]
        fn agrees_with_the_rtp_crate(payload in prop::collection::vec(any::<u8>(), 8..40)) {
            let mut theirs = Vp8Packet::default();
            let rest = theirs.depacketize(&Bytes::copy_from_slice(&payload)).unwrap();
            let ours = Vp8Descriptor::parse(&payload).unwrap();
            prop_assert_eq!(usize::from(ours.len), payload.len() - rest.len());
            prop_assert_eq!(ours.picture_id, (theirs.i == 1).then_some(theirs.picture_id));
            prop_assert_eq!(ours.tl0_picture_index, (theirs.l == 1).then_some(theirs.tl0_pic_idx));
            prop_assert_eq!(ours.temporal, theirs.tid);
            prop_assert_eq!(ours.layer_sync, theirs.y == 1);
            prop_assert_eq!(ours.key_index, (theirs.k == 1).then_some(theirs.key_idx));
            prop_assert_eq!((ours.start_of_partition, ours.partition), (theirs.s == 1, theirs.pid));
            prop_assert_eq!(ours.non_reference, theirs.n == 1);
        }

        #[test]
        fn rewritten_values_read_back(mut payload in prop::collection::vec(any::<u8>(), 8..40), id: u16, tl0: u8) {
            let before = Vp8Descriptor::parse(&payload).unwrap();
            rewrite(&mut payload, Some(id), Some(tl0), false).unwrap();
            let mask = if before.picture_id_wide { 0x7FFF } else { 0x7F };
            let expected = Vp8Descriptor {
                picture_id: before.picture_id.map(|_| id & mask),
                tl0_picture_index: before.tl0_picture_index.map(|_| tl0),
                ..before
            };
            prop_assert_eq!(Vp8Descriptor::parse(&payload), Ok(expected));
        }
    }
}
