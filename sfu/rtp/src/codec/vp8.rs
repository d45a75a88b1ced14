//! VP8 payload descriptor (RFC 7741 section 4.2) and the frame tag of keyframes (section 4.3).

use super::{PayloadInfo, patch_picture_id, read_picture_id};
use crate::error::ParseError;

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
            non_reference: first & 0x20 != 0,
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
            descriptor.key_index = fields.has_key_index.then_some(byte & 0x1F);
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
            frame_start: Some(descriptor.start_of_frame()),
            spatial: 0,
            temporal: descriptor.temporal,
            switching_up: descriptor.layer_sync,
            picture_id: descriptor.picture_id,
            tl0_picture_index: descriptor.tl0_picture_index,
            dimensions: descriptor.dimensions,
        }
    }
}

/// Overwrites picture id and TL0PICIDX in place, keeping field widths: a 7-bit picture id takes the low 7 bits. What
/// the descriptor does not carry, and what is `None`, stays as it is.
///
/// # Errors
/// The payload ends inside the descriptor; then nothing is changed.
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
