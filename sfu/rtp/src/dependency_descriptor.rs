//! The dependency descriptor header extension (AOM "RTP Payload Format For AV1" appendix A), used with any codec.
//!
//! Reads what layer selection needs: frame limits and number, layers, decode target indications, active decode
//! targets. Frame differences and chains are checked for their bounds and skipped. The template structure arrives with
//! keyframes and is kept by the caller.

mod rewrite;

pub use rewrite::rewrite;

use crate::error::ParseError;

/// Template ids have 6 bits.
pub const TEMPLATES_MAX: usize = 64;
/// The count of decode targets has 5 bits, less one.
pub const DECODE_TARGETS_MAX: usize = 32;
/// AV1 has 2 bits for spatial layers (bitstream specification section 5.3.3).
pub const SPATIAL_LAYERS_MAX: usize = 4;
/// AV1 has 3 bits for temporal layers.
pub const TEMPORAL_LAYERS_MAX: usize = 8;

/// What a frame is to a decode target (section A.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// Not part of it.
    NotPresent,
    /// Part of it, and nothing later in it refers to this frame.
    Discardable,
    /// Part of it, and a receiver may switch to it here.
    Switch,
    /// Part of it.
    Required,
}

/// Decode target indications, 2 bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Indications(u64);

impl Indications {
    fn get(self, target: u8) -> Indication {
        match self.0.checked_shr(2 * u32::from(target)).unwrap_or(0) & 0x03 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    fn read(bits: &mut BitReader<'_>, targets: u8) -> Result<Self, ParseError> {
        let mut all = 0;
        for target in 0..targets {
            all |= u64::from(bits.read(2)?) << (2 * target);
        }
        Ok(Self(all))
    }
}

/// One parsed descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DependencyDescriptor {
    /// First packet of the frame.
    pub start_of_frame: bool,
    /// Last packet of the frame.
    pub end_of_frame: bool,
    /// Template id, 0..=63, not yet less the structure's offset.
    pub template_id: u8,
    /// Frame number, wraps at 16 bits.
    pub frame_number: u16,
    /// A template structure is attached: keep [`TemplateStructure::parse`] of the same value.
    pub structure_attached: bool,
    /// Active decode targets, bit 0 for target 0. Present when stated here or when a structure is attached (then all);
    /// otherwise the last stated value still holds.
    pub active_decode_targets: Option<u32>,
    /// What the template says of the frame. `None`: no structure is known, or the known one lacks this template (it is
    /// an older one).
    pub frame: Option<FrameDependency>,
}

/// What template and descriptor say of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameDependency {
    /// Spatial layer, 0..=3.
    pub spatial: u8,
    /// Temporal layer, 0..=7.
    pub temporal: u8,
    /// Width and height in pixels, where the structure states them.
    pub dimensions: Option<(u16, u16)>,
    indications: Indications,
}

impl FrameDependency {
    /// What the frame is to a decode target; [`Indication::NotPresent`] for targets that do not exist.
    #[inline]
    #[must_use]
    pub fn indication(&self, target: u8) -> Indication {
        self.indications.get(target)
    }
}

impl DependencyDescriptor {
    /// Parses an extension value. `stored` is the last structure received on this encoding.
    ///
    /// # Errors
    /// The value ends early, a structure has more templates or layers than can exist, or lacks the frame's template.
    pub fn parse(value: &[u8], stored: Option<&TemplateStructure>) -> Result<Self, ParseError> {
        let mut bits = BitReader::new(value);
        let head = Head::read(&mut bits)?;
        let attached =
            if head.structure_attached { Some(TemplateStructure::read(&mut bits)?) } else { None };
        let mut descriptor = Self {
            start_of_frame: head.start_of_frame,
            end_of_frame: head.end_of_frame,
            template_id: head.template_id,
            frame_number: head.frame_number,
            structure_attached: head.structure_attached,
            active_decode_targets: attached.as_ref().map(TemplateStructure::all_decode_targets),
            frame: None,
        };
        let Some(structure) = attached.as_ref().or(stored) else {
            return Ok(descriptor);
        };
        if head.has_active_targets {
            descriptor.active_decode_targets = Some(bits.read(structure.decode_targets.into())?);
        }
        descriptor.frame = match structure.template(head.template_id) {
            Some(template) => Some(read_frame(&mut bits, &head, structure, template)?),
            None if attached.is_some() => return Err(ParseError::Malformed),
            None => None,
        };
        Ok(descriptor)
    }
}

/// `frame_dependency_definition()`
fn read_frame(
    bits: &mut BitReader<'_>,
    head: &Head,
    structure: &TemplateStructure,
    template: &Template,
) -> Result<FrameDependency, ParseError> {
    let indications = if head.custom_indications {
        Indications::read(bits, structure.decode_targets)?
    } else {
        template.indications
    };
    if head.custom_differences {
        loop {
            match bits.read(2)? {
                0 => break,
                size => bits.read(4 * size)?,
            };
        }
    }
    if head.custom_chains {
        for _ in 0..structure.chains {
            bits.read(8)?;
        }
    }
    let dimensions = structure
        .dimensions
        .and_then(|dimensions| dimensions.get(usize::from(template.spatial)).copied());
    Ok(FrameDependency {
        spatial: template.spatial,
        temporal: template.temporal,
        dimensions,
        indications,
    })
}

/// The mandatory and extended fields in front.
struct Head {
    start_of_frame: bool,
    end_of_frame: bool,
    template_id: u8,
    frame_number: u16,
    structure_attached: bool,
    has_active_targets: bool,
    custom_indications: bool,
    custom_differences: bool,
    custom_chains: bool,
}

impl Head {
    #[allow(clippy::cast_possible_truncation)] // fields of 6 and 16 bits
    fn read(bits: &mut BitReader<'_>) -> Result<Self, ParseError> {
        let mut head = Self {
            start_of_frame: bits.flag()?,
            end_of_frame: bits.flag()?,
            template_id: bits.read(6)? as u8,
            frame_number: bits.read(16)? as u16,
            structure_attached: false,
            has_active_targets: false,
            custom_indications: false,
            custom_differences: false,
            custom_chains: false,
        };
        // A value of exactly 3 bytes has no extended fields.
        if bits.bytes.len() > 3 {
            head.structure_attached = bits.flag()?;
            head.has_active_targets = bits.flag()?;
            head.custom_indications = bits.flag()?;
            head.custom_differences = bits.flag()?;
            head.custom_chains = bits.flag()?;
        }
        Ok(head)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Template {
    spatial: u8,
    temporal: u8,
    indications: Indications,
}

/// A template dependency structure. About 1 KB: keep it boxed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateStructure {
    id_offset: u8,
    decode_targets: u8,
    chains: u8,
    template_count: u8,
    templates: [Template; TEMPLATES_MAX],
    dimensions: Option<[(u16, u16); SPATIAL_LAYERS_MAX]>,
}

impl TemplateStructure {
    /// Parses the structure attached to an extension value; `None` when there is none.
    ///
    /// # Errors
    /// The value ends early, or there are more templates or layers than can exist.
    pub fn parse(value: &[u8]) -> Result<Option<Self>, ParseError> {
        let mut bits = BitReader::new(value);
        let head = Head::read(&mut bits)?;
        if head.structure_attached { Self::read(&mut bits).map(Some) } else { Ok(None) }
    }

    /// Number of decode targets, 1..=32.
    #[must_use]
    pub fn decode_targets(&self) -> u8 {
        self.decode_targets
    }

    /// Number of templates, 1..=64.
    #[must_use]
    pub fn templates(&self) -> u8 {
        self.template_count
    }

    /// Width and height in pixels of a spatial layer, where stated.
    #[must_use]
    pub fn dimensions(&self, spatial: u8) -> Option<(u16, u16)> {
        self.dimensions?
            .get(usize::from(spatial))
            .copied()
            .filter(|_| spatial <= self.highest_layer(|template| template.spatial))
    }

    /// The highest (spatial, temporal) layers in a decode target; `None` when no template is part of it.
    #[must_use]
    pub fn decode_target_layers(&self, target: u8) -> Option<(u8, u8)> {
        let members = self
            .used_templates()
            .filter(|template| template.indications.get(target) != Indication::NotPresent);
        members
            .map(|template| (template.spatial, template.temporal))
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// Whether every frame of decode target `part` is one of decode target `whole` too, as the templates say.
    #[must_use]
    pub fn includes(&self, whole: u8, part: u8) -> bool {
        self.used_templates().all(|template| {
            let is_in = |target| template.indications.get(target) != Indication::NotPresent;
            is_in(whole) || !is_in(part)
        })
    }

    /// Layers (spatial, temporal) with frames in one of these decode targets, bit 0 for target 0; one may come twice.
    pub fn layers_of(&self, targets: u32) -> impl Iterator<Item = (u8, u8)> + '_ {
        let count = self.decode_targets;
        let active = (0..count).filter(move |target| targets >> target & 1 != 0);
        self.used_templates()
            .filter(move |template| {
                active
                    .clone()
                    .any(|target| template.indications.get(target) != Indication::NotPresent)
            })
            .map(|template| (template.spatial, template.temporal))
    }

    /// Every decode target.
    #[must_use]
    pub fn all_decode_targets(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.decode_targets))
    }

    fn used_templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter().take(usize::from(self.template_count))
    }

    fn highest_layer(&self, layer: impl Fn(&Template) -> u8) -> u8 {
        self.used_templates().map(layer).max().unwrap_or(0)
    }

    fn template(&self, id: u8) -> Option<&Template> {
        let index = id.wrapping_sub(self.id_offset) & 0x3F;
        self.templates.get(usize::from(index)).filter(|_| index < self.template_count)
    }

    /// `template_dependency_structure()`
    #[allow(clippy::cast_possible_truncation)] // fields of at most 6 bits
    fn read(bits: &mut BitReader<'_>) -> Result<Self, ParseError> {
        let mut structure = Self {
            id_offset: bits.read(6)? as u8,
            decode_targets: bits.read(5)? as u8 + 1,
            chains: 0,
            template_count: 0,
            templates: [Template::default(); TEMPLATES_MAX],
            dimensions: None,
        };
        structure.read_layers(bits)?;
        let count = usize::from(structure.template_count);
        for template in &mut structure.templates[..count] {
            template.indications = Indications::read(bits, structure.decode_targets)?;
        }
        for _ in 0..count {
            while bits.flag()? {
                bits.read(4)?;
            }
        }
        structure.read_chains(bits)?;
        if bits.flag()? {
            let mut dimensions = [(0, 0); SPATIAL_LAYERS_MAX];
            let layers = usize::from(structure.highest_layer(|template| template.spatial)) + 1;
            for layer in dimensions.iter_mut().take(layers) {
                let width = bits.read(16)? as u16;
                let height = bits.read(16)? as u16;
                *layer = (width.saturating_add(1), height.saturating_add(1));
            }
            structure.dimensions = Some(dimensions);
        }
        Ok(structure)
    }

    /// `template_layers()`
    fn read_layers(&mut self, bits: &mut BitReader<'_>) -> Result<(), ParseError> {
        let (mut spatial, mut temporal) = (0_u8, 0_u8);
        loop {
            let slot = self
                .templates
                .get_mut(usize::from(self.template_count))
                .ok_or(ParseError::Malformed)?;
            (slot.spatial, slot.temporal) = (spatial, temporal);
            self.template_count += 1;
            match bits.read(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Ok(()),
            }
            if usize::from(spatial) >= SPATIAL_LAYERS_MAX
                || usize::from(temporal) >= TEMPORAL_LAYERS_MAX
            {
                return Err(ParseError::Malformed);
            }
        }
    }

    /// `template_chains()`
    fn read_chains(&mut self, bits: &mut BitReader<'_>) -> Result<(), ParseError> {
        #[allow(clippy::cast_possible_truncation)] // at most 32
        let chains = bits.read_non_symmetric(u32::from(self.decode_targets) + 1)? as u8;
        self.chains = chains;
        if chains == 0 {
            return Ok(());
        }
        for _ in 0..self.decode_targets {
            bits.read_non_symmetric(chains.into())?;
        }
        for _ in 0..u32::from(self.template_count) * u32::from(chains) {
            bits.read(4)?;
        }
        Ok(())
    }
}

/// Reads big-endian bit fields; fails behind the last byte.
struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    fn flag(&mut self) -> Result<bool, ParseError> {
        Ok(self.read(1)? != 0)
    }

    /// `f(count)` with a count of at most 32.
    fn read(&mut self, count: u32) -> Result<u32, ParseError> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.position / 8).ok_or(ParseError::Truncated)?;
            let bit = byte >> (7 - self.position % 8) & 1;
            value = value << 1 | u32::from(bit);
            self.position += 1;
        }
        Ok(value)
    }

    /// `ns(limit)`: a value below `limit`, which is 1..=33 here, in as few bits as its size allows.
    fn read_non_symmetric(&mut self, limit: u32) -> Result<u32, ParseError> {
        let width = u32::BITS - limit.leading_zeros();
        let short_values = (1 << width) - limit;
        let value = self.read(width - 1)?;
        if value < short_values {
            return Ok(value);
        }
        let extra = self.read(1)?;
        Ok((value << 1) - short_values + extra)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use Indication::{Discardable, NotPresent, Required, Switch};
    use proptest::prelude::*;

    /// Writes bit fields, so that a sample reads like the specification's syntax.
    #[derive(Default)]
    struct BitWriter {
        bits: Vec<bool>,
    }

    impl BitWriter {
        fn put(&mut self, value: u32, count: u32) -> &mut Self {
            self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 != 0));
            self
        }

        fn put_all(&mut self, values: &[u32], count: u32) -> &mut Self {
            values.iter().for_each(|&value| {
                self.put(value, count);
            });
            self
        }

        /// `ns(limit)` out of its definition: short codes first, then one bit more.
        fn put_non_symmetric(&mut self, value: u32, limit: u32) -> &mut Self {
            let mut width = 0;
            while limit >> width != 0 {
                width += 1;
            }
            let short = (1 << width) - limit;
            if value < short { self.put(value, width - 1) } else { self.put(value + short, width) }
        }

        fn bytes(&self) -> Vec<u8> {
            let byte = |bits: &[bool]| {
                bits.iter()
                    .enumerate()
                    .fold(0, |byte, (index, &bit)| byte | u8::from(bit) << (7 - index))
            };
            self.bits.chunks(8).map(byte).collect()
        }
    }

    fn mandatory(template_id: u32, frame_number: u32) -> BitWriter {
        let mut writer = BitWriter::default();
        writer.put(1, 1).put(0, 1).put(template_id, 6).put(frame_number, 16);
        writer
    }

    /// Two spatial by two temporal layers, template ids from 62 on, four decode targets, two chains, resolutions.
    fn keyframe() -> Vec<u8> {
        let mut writer = mandatory(62, 0x1234);
        writer.put(0b10000, 5).put(62, 6).put(3, 5);
        writer.put_all(&[1, 2, 1, 3], 2); // S0T0, S0T1, S1T0, S1T1
        writer.put_all(&[2, 3, 2, 3], 2); // targets 0: S0T0, 1: S0T1, 2: S1T0, 3: S1T1
        writer.put_all(&[0, 1, 0, 3], 2);
        writer.put_all(&[0, 0, 2, 3], 2);
        writer.put_all(&[0, 0, 0, 1], 2);
        writer.put(0, 1).put(1, 1).put(3, 4).put(0, 1).put(1, 1).put(0, 4).put(0, 1);
        writer.put(1, 1).put(1, 4).put(1, 1).put(0, 4).put(0, 1);
        writer.put_non_symmetric(2, 5);
        for chain in [0, 0, 1, 1] {
            writer.put_non_symmetric(chain, 2);
        }
        writer.put_all(&[4, 3, 2, 1, 1, 1, 3, 2], 4);
        writer.put(1, 1).put_all(&[319, 179, 639, 359], 16);
        writer.bytes()
    }

    #[test]
    fn keyframe_with_structure_is_read() {
        let value = keyframe();
        let descriptor = DependencyDescriptor::parse(&value, None).unwrap();
        assert!(
            descriptor.start_of_frame && !descriptor.end_of_frame && descriptor.structure_attached
        );
        assert_eq!((descriptor.template_id, descriptor.frame_number), (62, 0x1234));
        assert_eq!(descriptor.active_decode_targets, Some(0b1111));
        let frame = descriptor.frame.unwrap();
        assert_eq!((frame.spatial, frame.temporal, frame.dimensions), (0, 0, Some((320, 180))));
        let indications = [0, 1, 2, 3, 4, 200].map(|target| frame.indication(target));
        assert_eq!(indications, [Switch, Required, Switch, Required, NotPresent, NotPresent]);

        let structure = TemplateStructure::parse(&value).unwrap().unwrap();
        assert_eq!((structure.templates(), structure.decode_targets()), (4, 4));
        let layers = [0, 1, 2, 3, 4].map(|target| structure.decode_target_layers(target));
        assert_eq!(layers, [Some((0, 0)), Some((0, 1)), Some((1, 0)), Some((1, 1)), None]);
        assert_eq!(
            [0, 1, 2].map(|s| structure.dimensions(s)),
            [Some((320, 180)), Some((640, 360)), None]
        );
    }

    #[test]
    fn later_frames_use_the_stored_structure() {
        let structure = TemplateStructure::parse(&keyframe()).unwrap().unwrap();
        // Three bytes; template ids wrap at 64: 1 is the fourth.
        let value = mandatory(1, 7).bytes();
        let frame = DependencyDescriptor::parse(&value, Some(&structure)).unwrap().frame.unwrap();
        assert_eq!((frame.spatial, frame.temporal), (1, 1));
        assert_eq!([0, 3].map(|target| frame.indication(target)), [NotPresent, Discardable]);
        assert_eq!(TemplateStructure::parse(&value), Ok(None));

        // Everything custom, two active targets.
        let mut writer = mandatory(63, 8);
        writer.put(0b01111, 5).put(0b0011, 4).put_all(&[0, 2, 0, 0], 2);
        writer
            .put(1, 2)
            .put(5, 4)
            .put(3, 2)
            .put(0, 12)
            .put(3, 2)
            .put(0, 12)
            .put(0, 2)
            .put_all(&[9, 9], 8);
        let value = writer.bytes();
        let descriptor = DependencyDescriptor::parse(&value, Some(&structure)).unwrap();
        assert_eq!(descriptor.active_decode_targets, Some(0b0011));
        let frame = descriptor.frame.unwrap();
        assert_eq!((frame.spatial, frame.temporal, frame.indication(1)), (0, 1, Switch));
        for len in 0..value.len() {
            let cut = DependencyDescriptor::parse(&value[..len], Some(&structure));
            // Cut to the mandatory fields it is a whole descriptor.
            assert_eq!(cut.is_ok(), len == 3, "{len}");
        }
    }

    #[test]
    fn without_the_structure_the_mandatory_fields_remain() {
        let value = mandatory(5, 9).bytes();
        let expected = DependencyDescriptor {
            start_of_frame: true,
            end_of_frame: false,
            template_id: 5,
            frame_number: 9,
            structure_attached: false,
            active_decode_targets: None,
            frame: None,
        };
        assert_eq!(DependencyDescriptor::parse(&value, None), Ok(expected));
        let structure = TemplateStructure::parse(&keyframe()).unwrap().unwrap();
        assert_eq!(DependencyDescriptor::parse(&value, Some(&structure)), Ok(expected));
    }

    #[test]
    fn every_truncation_of_a_structure_is_an_error() {
        let value = keyframe();
        for len in 0..value.len() {
            let cut = DependencyDescriptor::parse(&value[..len], None);
            assert_eq!(cut.is_ok(), len == 3, "{len}");
        }
    }

    #[test]
    fn too_many_templates_or_layers_are_malformed() {
        let structure = |steps: &[u32]| {
            let mut writer = mandatory(0, 0);
            writer.put(0b10000, 5).put(0, 6).put(0, 5).put_all(steps, 2);
            writer.put_all(&[0; 400], 1);
            TemplateStructure::parse(&writer.bytes())
        };
        let end = |steps: Vec<u32>| [steps, vec![3]].concat();
        assert_eq!(structure(&end(vec![0; 63])).unwrap().unwrap().templates(), 64);
        assert_eq!(structure(&end(vec![0; 64])), Err(ParseError::Malformed));
        assert!(structure(&end(vec![2; 3])).is_ok());
        assert_eq!(structure(&end(vec![2; 4])), Err(ParseError::Malformed));
        assert!(structure(&end(vec![1; 7])).is_ok());
        assert_eq!(structure(&end(vec![1; 8])), Err(ParseError::Malformed));
    }

    #[test]
    fn an_attached_structure_must_have_the_template() {
        let mut value = keyframe();
        value[0] = 0x80 | 2;
        assert_eq!(DependencyDescriptor::parse(&value, None), Err(ParseError::Malformed));
    }

    fn rewritten(value: &[u8], targets: u8, number: u16, active: Option<u32>) -> Option<Vec<u8>> {
        let mut out = [0xff; 255];
        let len = rewrite(value, targets, number, active, &mut out)?;
        assert_eq!(rewrite(value, targets, number, active, &mut out[..len - 1]), None);
        Some(out[..len].to_vec())
    }

    #[test]
    fn a_frame_number_alone_changes_two_bytes() {
        let value = keyframe();
        let out = rewritten(&value, 0, 0xabcd, None).unwrap();
        assert_eq!(
            (&out[..1], &out[1..3], &out[3..]),
            (&value[..1], &[0xab, 0xcd][..], &value[3..])
        );
        assert_eq!(rewrite(&[0x80, 0], 4, 1, None, &mut [0; 20]), None);
    }

    #[test]
    fn active_targets_stand_behind_the_structure() {
        let value = keyframe();
        let structure = TemplateStructure::parse(&value).unwrap().unwrap();
        let out = rewritten(&value, 9, 7, Some(0b0011)).unwrap();
        let before = DependencyDescriptor::parse(&value, None).unwrap();
        let expected =
            DependencyDescriptor { frame_number: 7, active_decode_targets: Some(0b0011), ..before };
        assert_eq!(DependencyDescriptor::parse(&out, None), Ok(expected));
        assert_eq!(TemplateStructure::parse(&out).unwrap().unwrap(), structure);
        // Where there were some they are replaced.
        assert_eq!(rewritten(&out, 9, 7, Some(0b1111)).unwrap().len(), out.len());
        let again = rewritten(&out, 9, 7, Some(0b0001)).unwrap();
        let active = DependencyDescriptor::parse(&again, None).unwrap().active_decode_targets;
        assert_eq!(active, Some(0b0001));
    }

    #[test]
    fn three_bytes_become_five() {
        let structure = TemplateStructure::parse(&keyframe()).unwrap().unwrap();
        let value = mandatory(1, 7).bytes();
        assert_eq!(rewritten(&value, 0, 7, Some(1)), None, "nobody knows how many there are");
        let out = rewritten(&value, 4, 9, Some(0b0101)).unwrap();
        assert_eq!(out.len(), 5);
        let before = DependencyDescriptor::parse(&value, Some(&structure)).unwrap();
        let expected =
            DependencyDescriptor { frame_number: 9, active_decode_targets: Some(0b0101), ..before };
        assert_eq!(DependencyDescriptor::parse(&out, Some(&structure)), Ok(expected));
    }

    #[test]
    fn custom_values_move_along() {
        let structure = TemplateStructure::parse(&keyframe()).unwrap().unwrap();
        for stated in [false, true] {
            let mut writer = mandatory(63, 8);
            writer.put(if stated { 0b01111 } else { 0b00111 }, 5);
            writer.put(0b1011, if stated { 4 } else { 0 }).put_all(&[0, 2, 0, 1], 2);
            writer.put(1, 2).put(5, 4).put(3, 2).put(77, 12).put(0, 2).put_all(&[9, 201], 8);
            let value = writer.bytes();
            let out = rewritten(&value, 4, 8, Some(0b0001)).unwrap();
            let mut expected = mandatory(63, 8);
            expected.put(0b01111, 5).put(0b0001, 4).put_all(&[0, 2, 0, 1], 2);
            expected.put(1, 2).put(5, 4).put(3, 2).put(77, 12).put(0, 2).put_all(&[9, 201], 8);
            let expected = expected.bytes();
            assert_eq!(out[..expected.len()], expected[..]);
            assert!(out[expected.len()..].iter().all(|byte| *byte == 0), "padding");
            let frame = DependencyDescriptor::parse(&out, Some(&structure)).unwrap().frame.unwrap();
            assert_eq!(frame.indication(3), Discardable);
        }
    }

    proptest! {
        #[test]
        fn rewriting_survives_any_bytes(value in prop::collection::vec(any::<u8>(), 0..120), targets in 0..40_u8, active: Option<u32>, room in 0..140_usize) {
            let mut out = vec![0; room];
            if let Some(len) = rewrite(&value, targets, 1, active, &mut out) {
                prop_assert!(len <= room && len + 1 >= value.len().min(3));
            }
        }

        #[test]
        fn non_symmetric_values_read_back(limit in 1..34_u32, seed: u32) {
            let value = seed % limit;
            let mut writer = BitWriter::default();
            writer.put_non_symmetric(value, limit).put(0b10110, 5);
            let bytes = writer.bytes();
            let mut reader = BitReader::new(&bytes);
            prop_assert_eq!(reader.read_non_symmetric(limit), Ok(value));
            prop_assert_eq!(reader.read(5), Ok(0b10110));
        }

        #[test]
        fn random_structures_read_back(steps in prop::collection::vec(0..3_u32, 0..20), targets in 1..=32_u32, offset in 0..64_u32,
                                       which: prop::sample::Index, chains in 0..=32_u32, seed in any::<u64>()) {
            let mut steps = steps;
            let mut layers = vec![(0_u8, 0_u8)];
            for step in &mut steps {
                let (spatial, temporal) = *layers.last().unwrap();
                layers.push(match step {
                    1 if temporal < 7 => (spatial, temporal + 1),
                    2 if spatial < 3 => (spatial + 1, 0),
                    _ => {
                        *step = 0;
                        (spatial, temporal)
                    }
                });
            }
            let chains = chains.min(targets);
            #[allow(clippy::cast_possible_truncation)]
            let noise = |index: u32, limit: u32| (seed.rotate_left(index * 7) as u32) % limit;
            let chosen = which.index(layers.len());
            #[allow(clippy::cast_possible_truncation)]
            let template_id = (chosen as u32 + offset) % 64;
            let count = u32::try_from(layers.len()).unwrap();
            let mut writer = mandatory(template_id, 1);
            writer.put(0b10000, 5).put(offset, 6).put(targets - 1, 5).put_all(&steps, 2).put(3, 2);
            (0..count * targets).for_each(|index| { writer.put(noise(index, 4), 2); });
            (0..count).for_each(|index| {
                (0..noise(index, 4)).for_each(|_| { writer.put(1, 1).put(9, 4); });
                writer.put(0, 1);
            });
            writer.put_non_symmetric(chains, targets + 1);
            if chains > 0 {
                (0..targets).for_each(|index| { writer.put_non_symmetric(noise(index, chains), chains); });
                (0..count * chains).for_each(|index| { writer.put(noise(index, 16), 4); });
            }
            let highest = u32::from(layers.last().unwrap().0);
            writer.put(1, 1);
            (0..=highest).for_each(|spatial| { writer.put(100 + spatial, 16).put(50 + spatial, 16); });
            let bits = writer.bits.len();
            let value = writer.bytes();

            let descriptor = DependencyDescriptor::parse(&value, None).unwrap();
            let frame = descriptor.frame.unwrap();
            prop_assert_eq!((frame.spatial, frame.temporal), layers[chosen]);
            let size = u16::from(frame.spatial);
            prop_assert_eq!(frame.dimensions, Some((101 + size, 51 + size)));
            for target in 0..targets {
                let expected = noise(u32::try_from(chosen).unwrap() * targets + target, 4);
                let got = frame.indication(u8::try_from(target).unwrap());
                prop_assert_eq!(got, [NotPresent, Discardable, Switch, Required][expected as usize]);
            }
            prop_assert_eq!(descriptor.active_decode_targets.unwrap().count_ones(), targets);
            prop_assert_eq!(DependencyDescriptor::parse(&value[..(bits - 1) / 8], None), Err(ParseError::Truncated));
        }
    }
}
