//! The bytes of one outgoing packet. Equal input gives equal bytes: resending without RTX relies on it.

use crate::consumer::history::Sent;
use crate::consumer::redundancy::LEVEL_MAX;
use crate::consumer::template::{self, Fields, Source};
use crate::consumer::{Bound, Consumer};
use crate::drop_reason::DropReason;
use crate::egress::DATAGRAM_MAX;
use crate::params::{Codec, PayloadMapping};
use crate::producer::Producer;
use crate::producer::encoding::Encoding;
use crate::producer::packet::{CachedPacket, DESCRIPTOR};
use sfu_rtp::codec::{red, vp8, vp9};
use sfu_rtp::dependency_descriptor;

/// A header extension is not longer (RFC 8285 section 4.3).
const DESCRIPTOR_MAX: usize = 255;
/// A longer payload may fill the datagram.
const PAYLOAD_MAX: usize = 1300;
/// GCM's tag is the longest.
const TAG_MAX: usize = 16;

/// Everything that one outgoing packet is made of.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) consumer: &'a Consumer,
    pub(super) mapping: PayloadMapping,
    pub(super) packet: &'a CachedPacket,
    pub(super) bytes: &'a [u8],
    pub(super) payload: &'a [u8],
    /// Earlier packets that go with it.
    pub(super) repeated: Repeated<'a>,
    pub(super) sent: &'a Sent,
    /// For its first packet, how long the player should keep a picture.
    pub(super) playout_delay: Option<[u8; 3]>,
}

/// Packets that RED repeats, newest first: how far before in RTP ticks, and the payload.
pub(super) type Repeated<'a> = [Option<(u16, &'a [u8])>; LEVEL_MAX];

/// What a packet that is sent again by RTX has of its own.
pub(super) struct Rtx {
    pub(super) payload_type: u8,
    pub(super) ssrc: u32,
    pub(super) sequence_number: u16,
    pub(super) transport_sequence: u16,
    pub(super) abs_send_time: u32,
}

/// How the subscriber calls a packet's format. A subscriber without RED gets the primary block of RED as what it wraps (RFC 2198).
pub(super) fn mapping(
    bound: &Bound,
    packet: &CachedPacket,
    bytes: &[u8],
) -> Result<PayloadMapping, DropReason> {
    if let Some(mapping) = bound.mapping(packet.payload_type) {
        return Ok(mapping);
    }
    if packet.codec != Codec::Red {
        return Err(DropReason::NotNegotiated);
    }
    let primary = primary(packet.payload(bytes)).ok_or(DropReason::Malformed)?;
    bound.mapping(primary.payload_type).ok_or(DropReason::NotNegotiated)
}

/// May this packet say how long its picture should be kept? Only the first one of a picture, and only where repairs go by RTX: without it they are the same
/// bytes again.
#[inline]
pub(super) fn takes_playout_delay(
    producer: &Producer,
    consumer: &Consumer,
    packet: &CachedPacket,
    mapping: &PayloadMapping,
) -> bool {
    producer.is_video()
        && packet.info.frame_start == Some(true)
        && mapping.rtx.is_some()
        && consumer.can_be_told_to_wait()
        && usize::from(packet.payload_len) < PAYLOAD_MAX
}

/// What of a packet's payload goes out under `mapping`.
pub(super) fn payload<'a>(
    mapping: &PayloadMapping,
    packet: &CachedPacket,
    bytes: &'a [u8],
) -> &'a [u8] {
    let payload = packet.payload(bytes);
    if mapping.from == packet.payload_type {
        return payload;
    }
    primary(payload).map_or(&[], |block| block.data)
}

fn primary(payload: &[u8]) -> Option<red::RedBlock<'_>> {
    red::blocks(payload).ok()?.find(|block| block.primary)
}

/// Which earlier packets go with this one (see [`Sent::redundancy`]), if the subscriber's loss asks for `level` of them. A pause (DTX) or a
/// loss ends them.
pub(super) fn redundancy(
    source: &Encoding,
    packet: &CachedPacket,
    mapping: &PayloadMapping,
    level: usize,
) -> u8 {
    if level == 0 || mapping.red.is_none() {
        return 0;
    }
    (0..level.min(LEVEL_MAX))
        .filter(|&back| earlier(source, packet, back).is_some())
        .fold(0, |mask, back| mask | 1 << back)
}

/// The packets of a mask; `None`: one of them is gone.
#[inline]
pub(super) fn repeated<'a>(
    source: &'a Encoding,
    packet: &CachedPacket,
    mask: u8,
) -> Option<Repeated<'a>> {
    let mut repeated = Repeated::default();
    for (back, place) in repeated.iter_mut().enumerate() {
        if mask & 1 << back != 0 {
            *place = Some(earlier(source, packet, back)?);
        }
    }
    Some(repeated)
}

fn earlier<'a>(
    source: &'a Encoding,
    packet: &CachedPacket,
    back: usize,
) -> Option<(u16, &'a [u8])> {
    let seq = packet.seq.checked_sub(back as u64 + 1)?;
    let (before, bytes) = source.cache.get(seq)?;
    let ticks = packet.timestamp.wrapping_sub(before.timestamp);
    let payload = before.payload(bytes);
    let fits = ticks > 0 && ticks <= red::TIMESTAMP_OFFSET_MAX && payload.len() <= red::BLOCK_MAX;
    (fits && before.payload_type == packet.payload_type).then_some((ticks as u16, payload))
}

/// Writes a media packet; returns (header length, length).
pub(super) fn write_media(slot: &mut [u8], view: &View<'_>) -> Option<(usize, usize)> {
    let header_len = write_header(
        slot,
        view,
        &Fields {
            marker: view.sent.marker,
            payload_type: match view.sent.redundancy {
                0 => view.mapping.to,
                _ => view.mapping.red?,
            },
            sequence_number: view.sent.seq as u16,
            timestamp: view.sent.timestamp,
            ssrc: view.consumer.ssrc,
            transport_sequence: view.sent.transport_sequence,
            abs_send_time: view.sent.abs_send_time,
        },
    )?;
    let len = write_payload(slot, header_len, view)?;
    Some((header_len, len))
}

/// Only the number of a packet. Receivers take one without payload for padding; it is never sent again, as the history does not know it.
#[cold]
pub(super) fn write_blank(slot: &mut [u8], view: &View<'_>) -> Option<(usize, usize)> {
    let packet = CachedPacket { carried: Default::default(), ..*view.packet };
    let sent = Sent { redundancy: 0, picture_id: None, frame_number: None, ..*view.sent };
    let view = View { packet: &packet, payload: &[], sent: &sent, playout_delay: None, ..*view };
    write_media(slot, &view)
}

/// RFC 4588: the original sequence number stands before the payload.
pub(super) fn write_rtx(slot: &mut [u8], view: &View<'_>, rtx: &Rtx) -> Option<(usize, usize)> {
    let header_len = write_header(
        slot,
        view,
        &Fields {
            marker: view.sent.marker,
            payload_type: rtx.payload_type,
            sequence_number: rtx.sequence_number,
            timestamp: view.sent.timestamp,
            ssrc: rtx.ssrc,
            transport_sequence: rtx.transport_sequence,
            abs_send_time: rtx.abs_send_time,
        },
    )?;
    let original = header_len..header_len + 2;
    slot.get_mut(original)?.copy_from_slice(&(view.sent.seq as u16).to_be_bytes());
    let len = write_payload(slot, header_len + 2, view)?;
    Some((header_len, len))
}

#[inline]
fn write_header(slot: &mut [u8], view: &View<'_>, fields: &Fields) -> Option<usize> {
    if view.sent.frame_number.is_some() && view.consumer.ids.carried[DESCRIPTOR] != 0 {
        return write_with_descriptor(slot, view, fields);
    }
    write_with(slot, view, fields, None)
}

/// With a dependency descriptor of the subscriber's own. One that cannot be written stays as it came.
#[inline(never)]
fn write_with_descriptor(slot: &mut [u8], view: &View<'_>, fields: &Fields) -> Option<usize> {
    let mut own = [0; DESCRIPTOR_MAX];
    let len = view.packet.carried[DESCRIPTOR].of(view.bytes).and_then(|value| {
        let active = view.sent.active_targets.map(u32::from);
        let number = view.sent.frame_number?;
        let targets = view.packet.dependency.targets;
        dependency_descriptor::rewrite(value, targets, number, active, &mut own)
    });
    write_with(slot, view, fields, len.and_then(|len| own.get(..len)))
}

#[inline]
fn write_with(
    slot: &mut [u8],
    view: &View<'_>,
    fields: &Fields,
    descriptor: Option<&[u8]>,
) -> Option<usize> {
    let consumer = view.consumer;
    let playout_delay = view.playout_delay.as_ref().map(|value| &value[..]);
    let source = Source { packet: view.packet, bytes: view.bytes, descriptor, playout_delay };
    if let Some(template) = &consumer.template
        && let Some(len) = template.write(slot, fields, &consumer.ids, source)
    {
        return Some(len);
    }
    let number = consumer.bound.as_ref()?.number;
    let own = (&consumer.ids, consumer.params.mid.as_str(), number);
    template::write_by_fields(slot, fields, own, source)
}

/// Copies the payload and rewrites what its codec needs; returns the packet's length.
fn write_payload(slot: &mut [u8], start: usize, view: &View<'_>) -> Option<usize> {
    if view.sent.redundancy != 0 {
        let out = slot.get_mut(start..DATAGRAM_MAX - TAG_MAX)?;
        let blocks = view.repeated.iter().rev().flatten().copied();
        return Some(start + red::write(out, view.mapping.to, blocks, view.payload)?);
    }
    let end = start + view.payload.len();
    if end + TAG_MAX > DATAGRAM_MAX {
        return None;
    }
    let out = slot.get_mut(start..end)?;
    out.copy_from_slice(view.payload);
    let (id, tl0) = (view.sent.picture_id, view.sent.tl0_picture_index);
    match view.packet.codec {
        // A malformed descriptor stays as it came: the decoder will say so.
        Codec::Vp8 if id.is_some() => {
            vp8::rewrite(out, id, tl0, view.sent.flat).unwrap_or_default();
        }
        Codec::Vp9 if id.is_some() => vp9::rewrite(out, id, tl0).unwrap_or_default(),
        Codec::Red if view.mapping.from == view.packet.payload_type => {
            let bound = view.consumer.bound.as_ref()?;
            red::rewrite_block_payload_types(out, |pt| bound.mapping(pt).map(|m| m.to)).ok()?;
        }
        _ => {}
    }
    Some(end)
}
