//! A descriptor for somebody who gets only some of the decode targets.

use super::{BitReader, DECODE_TARGETS_MAX, Head, TemplateStructure};

/// Writes the descriptor `value` with another frame number and, where given, with these active decode targets (bit 0 for target 0) into `out`;
/// returns its length. `decode_targets`: how many there are, for a value without a structure of its own. Equal input gives equal bytes.
///
/// Only with active decode targets the length changes: by as many bits as there are targets, and by the flags if there were none.
/// `None`: the value ends early, `out` is too short, or the number of decode targets is not known.
#[must_use]
pub fn rewrite(
    value: &[u8],
    decode_targets: u8,
    frame_number: u16,
    active_decode_targets: Option<u32>,
    out: &mut [u8],
) -> Option<usize> {
    let Some(active) = active_decode_targets else {
        out.get_mut(..value.len())?.copy_from_slice(value);
        out.get_mut(1..3)
            .filter(|_| value.len() >= 3)?
            .copy_from_slice(&frame_number.to_be_bytes());
        return Some(value.len());
    };
    let mut bits = BitReader::new(value);
    let head = Head::read(&mut bits).ok()?;
    let structure = bits.position;
    let own = match head.structure_attached {
        true => TemplateStructure::read(&mut bits).ok()?.decode_targets,
        false => decode_targets,
    };
    if own == 0 || usize::from(own) > DECODE_TARGETS_MAX {
        return None;
    }
    let structure_bits = bits.position - structure;
    if head.has_active_targets {
        bits.read(own.into()).ok()?;
    }
    // Everything behind belongs to custom values; without them it is padding.
    let custom = head.custom_indications || head.custom_differences || head.custom_chains;
    let rest = if custom { value.len() * 8 - bits.position } else { 0 };

    let mut writer = BitWriter { out, position: 0 };
    writer.put((*value.first()?).into(), 8)?;
    writer.put(frame_number.into(), 16)?;
    let flags = [
        head.structure_attached,
        true,
        head.custom_indications,
        head.custom_differences,
        head.custom_chains,
    ];
    flags.into_iter().try_for_each(|flag| writer.put(flag.into(), 1))?;
    writer.copy(&mut BitReader { bytes: value, position: structure }, structure_bits)?;
    writer.put(active, own.into())?;
    writer.copy(&mut bits, rest)?;
    Some(writer.position.div_ceil(8))
}

/// Writes big-endian bit fields; clears the rest of each byte that it begins.
struct BitWriter<'a> {
    out: &'a mut [u8],
    position: usize,
}

impl BitWriter<'_> {
    /// The lowest `count` bits, at most 32.
    fn put(&mut self, value: u32, count: u32) -> Option<()> {
        for bit in (0..count).rev() {
            let byte = self.out.get_mut(self.position / 8)?;
            if self.position.is_multiple_of(8) {
                *byte = 0;
            }
            let set = value >> bit & 1 != 0;
            *byte |= u8::from(set) << (7 - self.position % 8);
            self.position += 1;
        }
        Some(())
    }

    fn copy(&mut self, from: &mut BitReader<'_>, count: usize) -> Option<()> {
        for _ in 0..count {
            self.put(from.read(1).ok()?, 1)?;
        }
        Some(())
    }
}
