//! VP9 payload descriptor (RFC 9628 section 4.2), both flexible and non-flexible mode, with the scalability structure.

use super::{PayloadInfo, StatedLayers, patch_picture_id, read_picture_id};
use crate::error::ParseError;

/// Spatial layers that a 3-bit count can state.
pub const SPATIAL_LAYERS_MAX: usize = 8;
/// References that flexible mode can list.
const REFERENCES_MAX: usize = 3;

/// A parsed descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// I: picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// M: the picture id has 15 bits.
    pub picture_id_wide: bool,
    /// P: predicted from earlier pictures.
    pub inter_picture: bool,
    /// F: flexible mode.
    pub flexible: bool,
    /// B: the packet starts a layer frame.
    pub start_of_frame: bool,
    /// E: the packet ends a layer frame.
    pub end_of_frame: bool,
    /// Z: no higher spatial layer of this picture refers to this layer frame.
    pub not_spatial_reference: bool,
    /// L: layer indices are present.
    pub has_layers: bool,
    /// Temporal layer, 0 when absent.
    pub temporal: u8,
    /// U: a receiver of lower temporal layers may switch up to this one here.
    pub switching_up: bool,
    /// Spatial layer, 0 when absent.
    pub spatial: u8,
    /// D: predicted from the next lower spatial layer of this picture.
    pub inter_layer: bool,
    /// Running index of temporal base-layer pictures (non-flexible mode only).
    pub tl0_picture_index: Option<u8>,
    /// V: scalability structure.
    pub structure: Option<ScalabilityStructure>,
    /// Offset of the VP9 bitstream in the payload.
    pub len: u16,
}

/// The scalability structure of one picture group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScalabilityStructure {
    /// Spatial layers, 1..=8.
    pub spatial_layers: u8,
    /// Width and height per spatial layer in pixels, lowest first; `None` when not stated.
    pub dimensions: Option<[(u16, u16); SPATIAL_LAYERS_MAX]>,
    /// Pictures in the group; 0 when not stated.
    pub pictures: u8,
}

impl Vp9Descriptor {
    /// Parses the descriptor.
    ///
    /// # Errors
    /// The payload ends inside the descriptor, or flexible mode lists more than three references.
    #[inline]
    pub fn parse(payload: &[u8]) -> Result<Self, ParseError> {
        let fields = Fields::locate(payload)?;
        let first = payload[0];
        let mut reader = Reader { bytes: payload, offset: fields.after_layers };
        let mut descriptor = Self {
            inter_picture: first & 0x40 != 0,
            flexible: first & 0x10 != 0,
            start_of_frame: first & 0x08 != 0,
            end_of_frame: first & 0x04 != 0,
            not_spatial_reference: first & 0x01 != 0,
            tl0_picture_index: fields.tl0.and_then(|offset| payload.get(offset).copied()),
            ..Self::default()
        };
        if let Some(offset) = fields.picture_id {
            let (id, width) = read_picture_id(payload, offset).ok_or(ParseError::Truncated)?;
            descriptor.picture_id = Some(id);
            descriptor.picture_id_wide = width == 2;
        }
        if let Some(&byte) = fields.layers.and_then(|offset| payload.get(offset)) {
            descriptor.has_layers = true;
            descriptor.temporal = byte >> 5;
            descriptor.switching_up = byte & 0x10 != 0;
            descriptor.spatial = byte >> 1 & 0x07;
            descriptor.inter_layer = byte & 0x01 != 0;
        }
        if descriptor.flexible && descriptor.inter_picture {
            skip_references(&mut reader)?;
        }
        if first & 0x02 != 0 {
            descriptor.structure = Some(read_structure(&mut reader)?);
        }
        descriptor.len = u16::try_from(reader.offset).map_err(|_| ParseError::TooLong)?;
        Ok(descriptor)
    }

    /// The packet starts a key picture: the first packet of spatial layer 0, not predicted from earlier pictures.
    #[inline]
    #[must_use]
    pub fn keyframe(&self) -> bool {
        self.start_of_frame && !self.inter_picture && self.spatial == 0
    }
}

impl From<Vp9Descriptor> for PayloadInfo {
    fn from(descriptor: Vp9Descriptor) -> Self {
        Self {
            keyframe: descriptor.keyframe(),
            lacks_parameter_sets: false,
            frame_start: Some(descriptor.start_of_frame),
            frame_end: descriptor.end_of_frame,
            spatial: descriptor.spatial,
            temporal: descriptor.temporal,
            switching_up: descriptor.switching_up,
            picture_id: descriptor.picture_id,
            tl0_picture_index: descriptor.tl0_picture_index,
        }
    }
}

/// What the scalability structure says, if the packet has one (V).
#[inline]
pub(super) fn stated_layers(payload: &[u8]) -> Option<StatedLayers> {
    if payload.first()? & 0x02 == 0 {
        return None;
    }
    let structure = Vp9Descriptor::parse(payload).ok()?.structure?;
    Some(StatedLayers { spatial: structure.spatial_layers, dimensions: structure.dimensions })
}

/// Overwrites picture id and TL0PICIDX in place, keeping field widths: a 7-bit picture id takes the low 7 bits. What
/// the descriptor does not carry, and what is `None`, stays as it is.
///
/// # Errors
/// The payload ends inside these fields; then nothing is changed.
#[inline]
pub fn rewrite(
    payload: &mut [u8],
    picture_id: Option<u16>,
    tl0_picture_index: Option<u8>,
) -> Result<(), ParseError> {
    let fields = Fields::locate(payload)?;
    if let (Some(offset), Some(id)) = (fields.picture_id, picture_id) {
        patch_picture_id(&mut payload[offset..offset + fields.picture_id_len], id);
    }
    if let (Some(offset), Some(index)) = (fields.tl0, tl0_picture_index) {
        payload[offset] = index;
    }
    Ok(())
}

/// Offsets of the fields before the reference list, all inside the payload.
#[derive(Default)]
struct Fields {
    picture_id: Option<usize>,
    picture_id_len: usize,
    layers: Option<usize>,
    tl0: Option<usize>,
    after_layers: usize,
}

impl Fields {
    fn locate(payload: &[u8]) -> Result<Self, ParseError> {
        let first = *payload.first().ok_or(ParseError::Truncated)?;
        let mut fields = Self { after_layers: 1, ..Self::default() };
        if first & 0x80 != 0 {
            let (_, width) = read_picture_id(payload, 1).ok_or(ParseError::Truncated)?;
            fields.picture_id = Some(1);
            fields.picture_id_len = width;
            fields.after_layers += width;
        }
        if first & 0x20 != 0 {
            fields.layers = Some(fields.after_layers);
            fields.after_layers += 1;
            if first & 0x10 == 0 {
                fields.tl0 = Some(fields.after_layers);
                fields.after_layers += 1;
            }
        }
        if fields.after_layers > payload.len() {
            return Err(ParseError::Truncated);
        }
        Ok(fields)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> Result<u8, ParseError> {
        let byte = *self.bytes.get(self.offset).ok_or(ParseError::Truncated)?;
        self.offset += 1;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, ParseError> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }
}

fn skip_references(reader: &mut Reader<'_>) -> Result<(), ParseError> {
    for _ in 0..REFERENCES_MAX {
        if reader.u8()? & 0x01 == 0 {
            return Ok(());
        }
    }
    Err(ParseError::Malformed)
}

fn read_structure(reader: &mut Reader<'_>) -> Result<ScalabilityStructure, ParseError> {
    let head = reader.u8()?;
    let spatial_layers = (head >> 5) + 1;
    let mut structure = ScalabilityStructure { spatial_layers, ..ScalabilityStructure::default() };
    if head & 0x10 != 0 {
        let mut dimensions = [(0, 0); SPATIAL_LAYERS_MAX];
        for layer in dimensions.iter_mut().take(usize::from(spatial_layers)) {
            *layer = (reader.u16()?, reader.u16()?);
        }
        structure.dimensions = Some(dimensions);
    }
    if head & 0x08 != 0 {
        structure.pictures = reader.u8()?;
        for _ in 0..structure.pictures {
            let references = reader.u8()? >> 2 & 0x03;
            for _ in 0..references {
                reader.u8()?;
            }
        }
    }
    Ok(structure)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use rtp::codecs::vp9::Vp9Packet;
    use rtp::packetizer::Depacketizer;

    /// Non-flexible keyframe of spatial layer 0 with a structure: two layers, sizes, two pictures.
    const KEYFRAME: [u8; 21] = [
        0xAA, 0x92, 0x34, 0x10, 0x56, // I L B V, picture id, layers (U), TL0PICIDX
        0x38, 0x01, 0x40, 0x00, 0xB4, 0x02, 0x80, 0x01, 0x68, // SS: 320x180, 640x360
        2, 0x08, 1, 2, 0x34, 3,    // N_G = 2: two references, one reference
        0x82, // bitstream
    ];
    /// Flexible mode, temporal layer 1, spatial layer 2, two references.
    const FLEXIBLE: [u8; 6] = [0xFD, 0x12, 0x25, 0x03, 0x04, 0x82];

    #[test]
    fn keyframe_with_structure_is_read() {
        let descriptor = Vp9Descriptor::parse(&KEYFRAME).unwrap();
        assert!(descriptor.keyframe() && descriptor.switching_up && !descriptor.inter_layer);
        assert_eq!(
            (descriptor.picture_id, descriptor.tl0_picture_index),
            (Some(0x1234), Some(0x56))
        );
        assert_eq!(descriptor.len, 20);
        let structure = descriptor.structure.unwrap();
        assert_eq!((structure.spatial_layers, structure.pictures), (2, 2));
        assert_eq!(structure.dimensions.unwrap()[..3], [(320, 180), (640, 360), (0, 0)]);
        let stated = stated_layers(&KEYFRAME).unwrap();
        assert_eq!((stated.spatial, stated.dimensions), (2, structure.dimensions));
        assert_eq!(stated_layers(&FLEXIBLE), None);
    }

    #[test]
    fn flexible_mode_is_read() {
        let descriptor = Vp9Descriptor::parse(&FLEXIBLE).unwrap();
        assert!(descriptor.flexible && descriptor.inter_picture && descriptor.inter_layer);
        assert!(
            descriptor.start_of_frame
                && descriptor.end_of_frame
                && descriptor.not_spatial_reference
        );
        assert!(!descriptor.keyframe());
        assert_eq!((descriptor.temporal, descriptor.spatial), (1, 2));
        assert_eq!((descriptor.picture_id, descriptor.tl0_picture_index), (Some(0x12), None));
        assert_eq!(descriptor.len, 5);
    }

    #[test]
    fn keyframe_needs_the_first_packet_of_the_base_layer() {
        for (index, byte) in [(0, 0xA2), (0, 0xEA), (3, 0x12)] {
            let mut packet = KEYFRAME;
            packet[index] = byte;
            assert!(!Vp9Descriptor::parse(&packet).unwrap().keyframe(), "{byte:#x}");
        }
        assert!(Vp9Descriptor::parse(&[0x88, 0x01, 0x82]).unwrap().keyframe());
    }

    #[test]
    fn a_fourth_reference_is_malformed() {
        assert!(Vp9Descriptor::parse(&[0x50, 3, 5, 6]).is_ok());
        assert_eq!(Vp9Descriptor::parse(&[0x50, 3, 5, 7, 8]), Err(ParseError::Malformed));
    }

    #[test]
    fn truncations_are_errors() {
        for (sample, len) in [(&KEYFRAME[..], 20), (&FLEXIBLE[..], 5)] {
            for cut in 0..len {
                assert_eq!(
                    Vp9Descriptor::parse(&sample[..cut]),
                    Err(ParseError::Truncated),
                    "{cut}"
                );
            }
            assert!(Vp9Descriptor::parse(&sample[..len]).is_ok());
        }
    }

    #[test]
    fn rewriting_keeps_widths() {
        let mut packet = KEYFRAME;
        rewrite(&mut packet, Some(0xFFFE), Some(9)).unwrap();
        assert_eq!(packet[..5], [0xAA, 0xFF, 0xFE, 0x10, 9]);
        assert_eq!(packet[5..], KEYFRAME[5..]);
        let mut packet = FLEXIBLE;
        rewrite(&mut packet, Some(0xFF85), Some(9)).unwrap();
        assert_eq!(packet, [0xFD, 0x05, 0x25, 0x03, 0x04, 0x82]);
    }

    /// Keeps to what that crate reads as RFC 9628 says: it refuses spatial layers above 4 and a third reference, and
    /// takes reserved bits of the structure's head for the G bit.
    fn spare_the_oracle(payload: &mut [u8], fields: &Fields, pictures: u8) {
        if let Some(offset) = fields.layers {
            payload[offset] &= !0x08;
        }
        let mut offset = fields.after_layers;
        if payload[0] & 0x50 == 0x50 {
            if let Some(second) = payload.get_mut(offset + 1) {
                *second &= 0xFE;
            }
            let mut reader = Reader { bytes: payload, offset };
            let _ = skip_references(&mut reader);
            offset = reader.offset;
        }
        if let (true, Some(head)) = (payload[0] & 0x02 != 0, payload.get_mut(offset)) {
            *head &= 0xF8;
            let sizes = if *head & 0x10 == 0 { 0 } else { 4 * usize::from((*head >> 5) + 1) };
            if let Some(count) = payload.get_mut(offset + 1 + sizes) {
                *count = pictures;
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_rtp_crate(mut payload in prop::collection::vec(any::<u8>(), 1..80), structure: bool, pictures in 0..4_u8) {
            payload[0] = payload[0] & !0x02 | u8::from(structure) << 1;
            if let Ok(fields) = Fields::locate(&payload) {
                spare_the_oracle(&mut payload, &fields, pictures);
            }
            let mut theirs = Vp9Packet::default();
            let rest = theirs.depacketize(&Bytes::copy_from_slice(&payload));
            let ours = Vp9Descriptor::parse(&payload);
            prop_assert_eq!(ours.is_ok(), rest.is_ok());
            let (Ok(ours), Ok(rest)) = (ours, rest) else { return Ok(()) };
            prop_assert_eq!(usize::from(ours.len), payload.len() - rest.len());
            prop_assert_eq!(ours.picture_id, theirs.i.then_some(theirs.picture_id));
            prop_assert_eq!((ours.temporal, ours.spatial), (theirs.tid, theirs.sid));
            prop_assert_eq!((ours.switching_up, ours.inter_layer), (theirs.u, theirs.d));
            prop_assert_eq!((ours.start_of_frame, ours.end_of_frame), (theirs.b, theirs.e));
            prop_assert_eq!(ours.tl0_picture_index, (theirs.l && !theirs.f).then_some(theirs.tl0picidx));
            prop_assert_eq!(ours.structure.is_some(), theirs.v);
            if let Some(structure) = ours.structure {
                prop_assert_eq!((structure.spatial_layers, structure.pictures), (theirs.ns + 1, theirs.ng));
                let sizes = theirs.width.iter().copied().zip(theirs.height.iter().copied()).collect::<Vec<_>>();
                let count = if theirs.y { sizes.len() } else { 0 };
                prop_assert_eq!(&structure.dimensions.unwrap_or_default()[..count], &sizes[..]);
            }
        }
    }
}
