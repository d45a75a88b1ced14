//! H.264 as a stream of units with start codes between them (ITU-T H.264, annex B).

/// Types of units (table 7-1).
pub(super) const SLICE: u8 = 1;
pub(super) const IDR: u8 = 5;
pub(super) const SEI: u8 = 6;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;
pub(super) const DELIMITER: u8 = 9;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a unit is; an empty one is nothing.
pub(super) fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |first| first & 0x1f)
}

/// Appends a unit with its start code.
pub(super) fn push(frame: &mut Vec<u8>, unit: &[u8]) {
    frame.extend_from_slice(&START_CODE);
    frame.extend_from_slice(unit);
}

/// The units of a frame.
pub(super) fn units(frame: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut start = None;
    let mut index = 0;
    while index + 3 <= frame.len() {
        if frame[index..index + 3] != START_CODE[1..] {
            index += 1;
            continue;
        }
        units.extend(start.map(|start| trimmed(&frame[start..index])));
        index += 3;
        start = Some(index);
    }
    units.extend(start.map(|start| trimmed(&frame[start..])));
    units.retain(|unit| !unit.is_empty());
    units
}

/// A unit does not end with a zero (section 7.4.1): those belong to the next start code.
fn trimmed(unit: &[u8]) -> &[u8] {
    let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
    &unit[..unit.len() - zeros]
}

/// The newest parameter sets of a stream: what a decoder needs before an IDR picture.
#[derive(Clone, Debug, Default)]
pub(super) struct ParameterSets {
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl ParameterSets {
    /// Notes the sets among these units, and puts them before an IDR picture that comes without.
    pub(super) fn complete(&mut self, units: &[&[u8]]) -> Vec<u8> {
        let find = |wanted| units.iter().find(|unit| kind(unit) == wanted);
        let (sps, pps) = (find(SPS), find(PPS));
        let is_bare = find(IDR).is_some() && sps.is_none();
        if let Some(sps) = sps {
            self.sps = sps.to_vec();
        }
        if let Some(pps) = pps {
            self.pps = pps.to_vec();
        }
        let mut frame = Vec::new();
        if is_bare && !self.sps.is_empty() && !self.pps.is_empty() {
            push(&mut frame, &self.sps);
            push(&mut frame, &self.pps);
        }
        for unit in units {
            push(&mut frame, unit);
        }
        frame
    }

    pub(super) fn sps(&self) -> &[u8] {
        &self.sps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_between_start_codes() {
        let frame = [0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 3, 0];
        assert_eq!(units(&frame), [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
        assert!(units(&[0, 0, 1]).is_empty() && units(&[5, 0, 0]).is_empty());
    }

    #[test]
    fn parameter_sets_come_before_every_idr_picture() {
        let mut sets = ParameterSets::default();
        let first = sets.complete(&[&[0x67, 1], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(sets.complete(&[&[0x65, 3]]), first);
        assert_eq!(sets.complete(&[&[0x41, 4]]), [0, 0, 0, 1, 0x41, 4]);
    }
}
