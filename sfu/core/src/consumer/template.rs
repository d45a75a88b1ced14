//! The start of a slot's packets as far as it is the same in all of them: fixed header, CSRC, and the extensions that every packet has
//! (RFC 3550 section 5.1, RFC 8285 section 4.2). A packet begins as a copy of it, and a few fields are filled in.
//!
//! Knows only the one-byte form; what does not fit that has no template and is written field by field.

use crate::consumer::ExtensionIds;
use crate::producer::packet::{CachedPacket, DESCRIPTOR, PLAYOUT_DELAY};
use sfu_rtp::packet::set_extension_bit;
use sfu_rtp::{ExtensionWriter, HeaderFields, write_header};

/// Fixed header, one CSRC, extension header, transport-wide number, `abs-send-time`, MID of 16 bytes; a multiple of 4.
const LEN_MAX: usize = 12 + 4 + 4 + 3 + 4 + 17;
/// Where the extension header begins.
const EXTENSIONS_AT: usize = 16;
const ONE_BYTE_VALUE_MAX: usize = 16;
const ONE_BYTE_ID_MAX: u8 = 14;

/// What differs from packet to packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence_number: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) transport_sequence: u16,
    pub(crate) abs_send_time: u32,
}

/// Where the values come from that travel with a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) packet: &'a CachedPacket,
    pub(crate) bytes: &'a [u8],
    /// Stands in the place of the packet's own dependency descriptor.
    pub(crate) descriptor: Option<&'a [u8]>,
    /// Where the packet has none of its own.
    pub(crate) playout_delay: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// Values with the subscriber's ids, where it has one.
    #[inline]
    fn values(self, ids: &ExtensionIds) -> impl Iterator<Item = (u8, &'a [u8])> {
        let Self { packet, bytes, descriptor, playout_delay } = self;
        packet.carried.iter().zip(ids.carried).enumerate().filter_map(
            move |(index, (slice, id))| {
                let value = match slice.of(bytes) {
                    None if index == PLAYOUT_DELAY => playout_delay,
                    own => own,
                };
                let value = value.filter(|_| id != 0)?;
                Some((id, descriptor.filter(|_| index == DESCRIPTOR).unwrap_or(value)))
            },
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    bytes: [u8; LEN_MAX],
    /// Bytes up to the padding of the extensions.
    unpadded: u8,
    /// Where the values are filled in; 0: not negotiated.
    transport_sequence_at: u8,
    abs_send_time_at: u8,
}

impl Template {
    /// `number`: the track's, sent as CSRC. `None` without any extension that every packet has, and where the one-byte form does not do.
    pub(crate) fn new(ids: &ExtensionIds, mid: &str, number: u32) -> Option<Self> {
        let mut bytes = [0; LEN_MAX];
        let fields = HeaderFields { csrcs: &[number], extension: true, ..HeaderFields::default() };
        let start = write_header(&mut bytes, &fields);
        let mut writer = ExtensionWriter::new(&mut bytes[start..], false);
        let mut unpadded = start;
        let mut push = |id: u8, value: &[u8]| {
            if id == 0 {
                return Some(0);
            }
            let at = start + writer.push(id, value)?;
            unpadded = at + value.len();
            u8::try_from(at).ok()
        };
        let transport_sequence_at = push(ids.transport_wide_cc, &[0; 2])?;
        let abs_send_time_at = push(ids.abs_send_time, &[0; 3])?;
        push(ids.mid, mid.as_bytes())?;
        if writer.finish() == 0 {
            return None;
        }
        Some(Self { bytes, unpadded: unpadded as u8, transport_sequence_at, abs_send_time_at })
    }

    /// Writes the header with what `packet` carries; returns its length. `None`: it must be written field by field.
    #[inline]
    pub(crate) fn write(
        &self,
        slot: &mut [u8],
        fields: &Fields,
        ids: &ExtensionIds,
        source: Source<'_>,
    ) -> Option<usize> {
        let head = slot.first_chunk_mut::<LEN_MAX>()?;
        *head = self.bytes;
        head[1] = fields.payload_type & 0x7f | u8::from(fields.marker) << 7;
        head[2..4].copy_from_slice(&fields.sequence_number.to_be_bytes());
        head[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        head[8..12].copy_from_slice(&fields.ssrc.to_be_bytes());
        if let at @ 1.. = usize::from(self.transport_sequence_at) {
            head.get_mut(at..at + 2)?.copy_from_slice(&fields.transport_sequence.to_be_bytes());
        }
        if let at @ 1.. = usize::from(self.abs_send_time_at) {
            head.get_mut(at..at + 3)?.copy_from_slice(&fields.abs_send_time.to_be_bytes()[1..]);
        }
        let mut end = usize::from(self.unpadded);
        for (id, value) in source.values(ids) {
            if id > ONE_BYTE_ID_MAX || value.len() > ONE_BYTE_VALUE_MAX {
                return None;
            }
            *slot.get_mut(end)? = id << 4 | (value.len() - 1) as u8;
            slot.get_mut(end + 1..end + 1 + value.len())?.copy_from_slice(value);
            end += 1 + value.len();
        }
        let padded = end.next_multiple_of(4);
        slot.get_mut(end..padded)?.fill(0);
        let words = ((padded - EXTENSIONS_AT - 4) / 4) as u16;
        slot.get_mut(EXTENSIONS_AT + 2..EXTENSIONS_AT + 4)?.copy_from_slice(&words.to_be_bytes());
        Some(padded)
    }
}

/// Writes the same header field by field, in the form that its ids and values need.
pub(crate) fn write_by_fields(
    slot: &mut [u8],
    fields: &Fields,
    (ids, mid, number): (&ExtensionIds, &str, u32),
    source: Source<'_>,
) -> Option<usize> {
    let start = write_header(
        slot,
        &HeaderFields {
            marker: fields.marker,
            payload_type: fields.payload_type,
            sequence_number: fields.sequence_number,
            timestamp: fields.timestamp,
            ssrc: fields.ssrc,
            csrcs: &[number],
            ..HeaderFields::default()
        },
    );
    let two_byte = source
        .values(ids)
        .any(|(id, value)| id > ONE_BYTE_ID_MAX || value.len() > ONE_BYTE_VALUE_MAX)
        || [ids.mid, ids.transport_wide_cc, ids.abs_send_time]
            .iter()
            .any(|&id| id > ONE_BYTE_ID_MAX);
    let mut writer = ExtensionWriter::new(slot.get_mut(start..)?, two_byte);
    if ids.transport_wide_cc != 0 {
        writer.push(ids.transport_wide_cc, &fields.transport_sequence.to_be_bytes())?;
    }
    if ids.abs_send_time != 0 {
        writer.push(ids.abs_send_time, &fields.abs_send_time.to_be_bytes()[1..])?;
    }
    if ids.mid != 0 {
        writer.push(ids.mid, mid.as_bytes())?;
    }
    for (id, value) in source.values(ids) {
        writer.push(id, value)?;
    }
    let extensions = writer.finish();
    set_extension_bit(slot, extensions > 0);
    Some(start + extensions)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::producer::packet::Slice;

    const FIELDS: Fields = Fields {
        marker: true,
        payload_type: 100,
        sequence_number: 0xabcd,
        timestamp: 0x1234_5678,
        ssrc: 0x9abc_def0,
        transport_sequence: 0x5566,
        abs_send_time: 0x0077_8899,
    };

    /// Both ways must give the same bytes: a packet may be sent one way and again the other.
    #[test]
    fn a_template_gives_what_the_fields_give() {
        let bytes = [9; 40];
        for wide in [0, 3] {
            for send_time in [0, 2] {
                for mid in ["0", "sixteen-bytes-id"] {
                    for carried in 0..=5 {
                        let mut ids = ExtensionIds {
                            mid: 1,
                            transport_wide_cc: wide,
                            abs_send_time: send_time,
                            ..ExtensionIds::default()
                        };
                        let mut packet = CachedPacket::default();
                        for i in 0..carried {
                            ids.carried[i] = 5 + i as u8;
                            packet.carried[i] = Slice::new(i, 1 + i);
                        }
                        // The last one is the dependency descriptor; the value in its place is longer.
                        let descriptor = (wide == 0).then_some(&[3; 9][..]);
                        let playout_delay = (mid == "0").then_some(&[4, 5, 6][..]);
                        let source =
                            Source { packet: &packet, bytes: &bytes, descriptor, playout_delay };
                        let (mut a, mut b) = ([0xff; 200], [0xee; 200]);
                        let template = Template::new(&ids, mid, 77).unwrap();
                        let len = template.write(&mut a, &FIELDS, &ids, source).unwrap();
                        let other =
                            write_by_fields(&mut b, &FIELDS, (&ids, mid, 77), source).unwrap();
                        assert_eq!(a[..len], b[..other], "{ids:?} {mid} {carried}");
                    }
                }
            }
        }
    }

    #[test]
    fn another_descriptor_stands_in_the_place_of_the_own_one() {
        let mut ids = ExtensionIds { mid: 1, ..ExtensionIds::default() };
        ids.carried[DESCRIPTOR] = 9;
        let mut packet = CachedPacket::default();
        packet.carried[DESCRIPTOR] = Slice::new(0, 3);
        let mut out = [0; 200];
        let written = |out: &mut [u8], descriptor| {
            let source =
                Source { packet: &packet, bytes: &[1, 2, 3], descriptor, playout_delay: None };
            let len = write_by_fields(out, &FIELDS, (&ids, "0", 7), source).unwrap();
            let header = sfu_rtp::RtpHeader::parse_prefix(&out[..len]).unwrap();
            let value = header.extensions(out).find(|(id, _)| *id == 9).unwrap().1;
            value.to_vec()
        };
        assert_eq!(written(&mut out, None), [1, 2, 3]);
        assert_eq!(written(&mut out, Some(&[7; 5])), [7; 5]);
        assert_eq!(written(&mut out, Some(&[8; 30])), [8; 30], "in the two-byte form");
    }

    #[test]
    fn what_needs_two_bytes_has_no_template() {
        let ids = ExtensionIds { mid: 15, ..ExtensionIds::default() };
        assert!(Template::new(&ids, "0", 1).is_none());
        assert!(Template::new(&ExtensionIds::default(), "0", 1).is_none());
        let mut ids = ExtensionIds { mid: 4, ..ExtensionIds::default() };
        let template = Template::new(&ids, "0", 1).unwrap();
        ids.carried[0] = 20;
        let mut packet = CachedPacket::default();
        packet.carried[0] = Slice::new(0, 1);
        let source = Source { packet: &packet, bytes: &[1], descriptor: None, playout_delay: None };
        assert!(template.write(&mut [0; 200], &FIELDS, &ids, source).is_none());
    }
}
