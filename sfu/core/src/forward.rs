//! The hot loop: what was received in this batch goes out subscriber by subscriber.
//!
//! Free functions over split borrows. Nothing here allocates after warm-up, looks up a hash, logs or reads a clock.

use crate::clock::MediaClock;
use crate::consumer::history::{Resend, Sent};
use crate::consumer::rewriter::Rewritten;
use crate::consumer::selector::Selection;
use crate::consumer::{Bound, Consumer};
use crate::counters::MediaCounters;
use crate::drop_reason::{DropReason, Drops};
use crate::egress::{DATAGRAM_MAX, Egress, Tuple};
use crate::params::{Codec, PayloadMapping};
use crate::producer::Producer;
use crate::producer::packet::CachedPacket;
use crate::transport::Transport;
use sfu_rtp::codec::{red, vp8, vp9};
use sfu_rtp::packet::set_extension_bit;
use sfu_rtp::{ExtensionWriter, HeaderFields, write_header};
use std::time::Instant;

/// GCM's tag is the longest.
const TAG_MAX: usize = 16;
/// One-byte extension headers hold so much.
const ONE_BYTE_VALUE_MAX: usize = 16;
const ONE_BYTE_ID_MAX: u8 = 14;

/// What every call of one flush shares.
#[derive(Debug)]
pub(crate) struct Flush<'a, 'b> {
    pub(crate) now: Instant,
    pub(crate) clock: &'a MediaClock,
    /// `now` in microseconds of the media clock.
    pub(crate) now_us: u64,
    /// `abs-send-time` of this flush.
    pub(crate) abs_send_time: u32,
    pub(crate) egress: &'a mut Egress<'b>,
    pub(crate) drops: &'a mut Drops,
    pub(crate) counters: &'a mut MediaCounters,
}

impl<'a, 'b> Flush<'a, 'b> {
    pub(crate) fn new(
        now: Instant,
        clock: &'a MediaClock,
        egress: &'a mut Egress<'b>,
        drops: &'a mut Drops,
        counters: &'a mut MediaCounters,
    ) -> Self {
        let (now_us, abs_send_time) = (clock.micros(now), clock.abs_send_time(now));
        Self { now, clock, now_us, abs_send_time, egress, drops, counters }
    }
}

/// Sends the packets that wait at `producer` to one of its consumers; returns the encoding whose keyframe it waits for.
/// `sender_clock`: offset of the publisher's NTP clock.
pub(crate) fn forward(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    sender_clock: Option<i64>,
) -> Option<u8> {
    let Some(tuple) = transport.selected.filter(|_| transport.is_connected() && !consumer.paused)
    else {
        flush.drops.count(DropReason::NotReady);
        return None;
    };
    let mut path = Path { producer, consumer, transport, tuple, sender_clock };
    for (at, &(encoding, seq)) in producer.ready.iter().enumerate() {
        if path.forward_and_report(flush, encoding, seq) {
            path.catch_up(flush, encoding, seq, &producer.ready[at + 1..]);
        }
    }
    consumer.selector.needs_keyframe(producer)
}

/// One producer's packets on their way to one consumer.
struct Path<'a> {
    producer: &'a Producer,
    consumer: &'a mut Consumer,
    transport: &'a mut Transport,
    tuple: Tuple,
    sender_clock: Option<i64>,
}

impl Path<'_> {
    /// Forwards one packet, with a sender report where one is due. Whether the consumer switched to this source with it.
    fn forward_and_report(&mut self, flush: &mut Flush<'_, '_>, encoding: u8, seq: u64) -> bool {
        let Self { producer, consumer, transport, tuple, .. } = self;
        let forwarded = forward_packet(flush, producer, consumer, transport, tuple, encoding, seq);
        let forwarded = match forwarded {
            Ok(forwarded) => forwarded,
            Err(reason) => {
                flush.drops.count(reason);
                return false;
            }
        };
        if forwarded.wanted {
            // Asked for before it was here: it is late already, and a loss now would make it too late.
            let copy = retransmit(flush, producer, consumer, transport, forwarded.seq as u16);
            if let Err(reason) = copy {
                flush.drops.count(reason);
            }
        }
        if std::mem::take(&mut consumer.report_due) {
            let clock = self.sender_clock;
            let report =
                crate::feedback::sender_report(flush.now, flush.clock, producer, consumer, clock);
            if let Some(report) = report {
                transport.send_rtcp(flush.egress, &report);
            }
        }
        forwarded.switched
    }

    /// Forwards what came before the keyframe that it follows: a keyframe's first packet may be the last one to come. `rest`: what is still to be forwarded in this flush.
    fn catch_up(
        &mut self,
        flush: &mut Flush<'_, '_>,
        encoding: u8,
        keyframe: u64,
        rest: &[(u8, u64)],
    ) {
        let Some(source) = self.producer.encodings.get(usize::from(encoding)) else { return };
        let highest = source.highest().unwrap_or(keyframe);
        for seq in keyframe + 1..=highest {
            if source.cache.contains(seq) && !rest.contains(&(encoding, seq)) {
                self.forward_and_report(flush, encoding, seq);
            }
        }
    }
}

/// What forwarding one packet meant.
struct Forwarded {
    /// Outgoing extended sequence number.
    seq: u64,
    /// It began a new source.
    switched: bool,
    /// The subscriber asked for it already.
    wanted: bool,
}

fn forward_packet(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    tuple: &Tuple,
    encoding: u8,
    seq: u64,
) -> Result<Forwarded, DropReason> {
    let source = producer.encodings.get(usize::from(encoding)).ok_or(DropReason::TooOld)?;
    let (packet, bytes) = source.cache.get(seq).ok_or(DropReason::TooOld)?;
    let bound = consumer.bound.as_ref().ok_or(DropReason::UnknownId)?;
    let (mapping, payload) = outgoing(producer, bound, packet, bytes)?;
    let selection = consumer.selector.select(producer, encoding, packet);
    match selection {
        Selection::Forward => {}
        Selection::Switch => {
            let offset = exact_offset(producer, consumer, encoding);
            consumer.rewriter.switch(packet, source.clock_rate, offset);
            consumer.switched_from = Some((encoding, source.epoch));
            consumer.report_due = true;
            consumer.layer_changed = true;
        }
        Selection::Skip => {
            let hole = consumer.rewriter.skip(packet).ok_or(DropReason::TemporalLayer)?;
            return fill(flush, producer, consumer, transport, tuple, (packet, mapping, hole));
        }
        Selection::Other => return Err(DropReason::OtherEncoding),
        Selection::WaitKeyframe => return Err(DropReason::WaitingKeyframe),
    }
    let Rewritten { seq: out_seq, timestamp, picture_id, tl0_picture_index } =
        consumer.rewriter.rewrite(packet)?;
    transport.transport_sequence = transport.transport_sequence.wrapping_add(1);
    let sent = Sent {
        seq: out_seq,
        source: seq as u32,
        encoding,
        epoch: source.epoch,
        timestamp,
        picture_id,
        tl0_picture_index,
        transport_sequence: transport.transport_sequence,
        abs_send_time: flush.abs_send_time,
    };
    let view = View { producer, consumer, mapping: &mapping, packet, bytes, payload, sent: &sent };
    let srtp = transport.srtp_out.as_mut().ok_or(DropReason::NotReady)?;
    let slot = flush.egress.reserve();
    let (header_len, len) = write_media(slot, &view).ok_or(DropReason::Malformed)?;
    let len = srtp.protect_rtp(slot, header_len, len, out_seq);
    if len == 0 {
        return Err(DropReason::Malformed);
    }
    flush.egress.commit(tuple, len);
    consumer.delivery.packets += 1;
    flush.counters.forwarded.count(producer.params.kind, usize::from(packet.payload_len));
    consumer.delivery.bytes += u64::from(packet.payload_len);
    let wanted = mapping.nack && consumer.history.record(flush.now_us, &sent);
    Ok(Forwarded { seq: out_seq, switched: selection == Selection::Switch, wanted })
}

/// Fills a number that was reserved for a packet that is left out with a packet without payload, which receivers take for padding.
/// It is never sent again: the history does not know it.
fn fill(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &Consumer,
    transport: &mut Transport,
    tuple: &Tuple,
    (packet, mapping, hole): (&CachedPacket, PayloadMapping, Rewritten),
) -> Result<Forwarded, DropReason> {
    let packet = CachedPacket { marker: false, carried: Default::default(), ..*packet };
    transport.transport_sequence = transport.transport_sequence.wrapping_add(1);
    let sent = Sent {
        seq: hole.seq,
        source: packet.seq as u32,
        encoding: 0,
        epoch: 0,
        timestamp: hole.timestamp,
        picture_id: None,
        tl0_picture_index: None,
        transport_sequence: transport.transport_sequence,
        abs_send_time: flush.abs_send_time,
    };
    let view = View {
        producer,
        consumer,
        mapping: &mapping,
        packet: &packet,
        bytes: &[],
        payload: &[],
        sent: &sent,
    };
    let srtp = transport.srtp_out.as_mut().ok_or(DropReason::NotReady)?;
    let slot = flush.egress.reserve();
    let (header_len, len) = write_media(slot, &view).ok_or(DropReason::Malformed)?;
    let len = srtp.protect_rtp(slot, header_len, len, hole.seq);
    if len == 0 {
        return Err(DropReason::Malformed);
    }
    flush.egress.commit(tuple, len);
    Ok(Forwarded { seq: hole.seq, switched: false, wanted: false })
}

/// How the subscriber calls a packet's format, and the payload in it. A subscriber without RED gets the primary block of RED as what it wraps (RFC 2198).
fn outgoing<'a>(
    producer: &Producer,
    bound: &Bound,
    packet: &CachedPacket,
    bytes: &'a [u8],
) -> Result<(PayloadMapping, &'a [u8]), DropReason> {
    let payload = packet.payload(bytes);
    if let Some(mapping) = bound.mapping(packet.payload_type) {
        return Ok((*mapping, payload));
    }
    let codec = producer.codec(packet.payload_type).ok_or(DropReason::UnknownPayloadType)?;
    if codec.codec != Codec::Red {
        return Err(DropReason::NotNegotiated);
    }
    let primary = red::blocks(payload)
        .ok()
        .and_then(|mut blocks| blocks.find(|block| block.primary))
        .ok_or(DropReason::Malformed)?;
    let mapping = bound.mapping(primary.payload_type).ok_or(DropReason::NotNegotiated)?;
    Ok((*mapping, primary.data))
}

/// Timestamp offset that keeps capture times exact over a switch between two encodings of one track, from both encodings' sender reports.
fn exact_offset(producer: &Producer, consumer: &Consumer, to: u8) -> Option<u32> {
    let (from, epoch) = consumer.switched_from?;
    let from = producer.encodings.get(usize::from(from)).filter(|e| e.epoch == epoch)?;
    let to = producer.encodings.get(usize::from(to))?;
    let (from_report, to_report) = (from.sender_report?, to.sender_report?);
    let elapsed = to_report.ntp.wrapping_sub(from_report.ntp) as i64;
    let ticks = crate::clock::ntp_diff_to_rtp(elapsed, from.clock_rate) as u32;
    // Both name the same moment: the old encoding's time then, and the new one's.
    let old = from_report.rtp.wrapping_add(ticks);
    Some(consumer.rewriter.timestamp_offset().wrapping_add(old).wrapping_sub(to_report.rtp))
}

/// Everything that one outgoing packet is made of.
struct View<'a> {
    producer: &'a Producer,
    consumer: &'a Consumer,
    mapping: &'a PayloadMapping,
    packet: &'a CachedPacket,
    bytes: &'a [u8],
    payload: &'a [u8],
    sent: &'a Sent,
}

/// Writes a media packet; returns (header length, length). Equal input gives equal bytes: resending without RTX relies on it.
fn write_media(slot: &mut [u8], view: &View<'_>) -> Option<(usize, usize)> {
    let fields = HeaderFields {
        marker: view.packet.marker,
        payload_type: view.mapping.to,
        sequence_number: view.sent.seq as u16,
        timestamp: view.sent.timestamp,
        ssrc: view.consumer.params.ssrc,
        ..HeaderFields::default()
    };
    let stamp = (view.sent.transport_sequence, view.sent.abs_send_time);
    let header_len = write_header_and_extensions(slot, view, fields, stamp)?;
    let len = write_payload(slot, header_len, view)?;
    Some((header_len, len))
}

fn write_header_and_extensions(
    slot: &mut [u8],
    view: &View<'_>,
    fields: HeaderFields<'_>,
    (transport_sequence, abs_send_time): (u16, u32),
) -> Option<usize> {
    let number = [view.consumer.bound.as_ref()?.number];
    let start = write_header(slot, &HeaderFields { csrcs: &number, ..fields });
    let ids = &view.consumer.ids;
    let carried = || view.packet.carried.iter().zip(ids.carried);
    let two_byte = carried().any(|(slice, id)| {
        id != 0
            && slice
                .of(view.bytes)
                .is_some_and(|value| id > ONE_BYTE_ID_MAX || value.len() > ONE_BYTE_VALUE_MAX)
    }) || [ids.mid, ids.transport_wide_cc, ids.abs_send_time]
        .iter()
        .any(|&id| id > ONE_BYTE_ID_MAX);
    let mut writer = ExtensionWriter::new(slot.get_mut(start..)?, two_byte);
    if ids.transport_wide_cc != 0 {
        writer.push(ids.transport_wide_cc, &transport_sequence.to_be_bytes())?;
    }
    if ids.abs_send_time != 0 {
        writer.push(ids.abs_send_time, &abs_send_time.to_be_bytes()[1..])?;
    }
    if ids.mid != 0 {
        writer.push(ids.mid, view.consumer.params.mid.as_bytes())?;
    }
    for (slice, id) in carried().filter(|(_, id)| *id != 0) {
        if let Some(value) = slice.of(view.bytes) {
            writer.push(id, value)?;
        }
    }
    let extensions = writer.finish();
    set_extension_bit(slot, extensions > 0);
    Some(start + extensions)
}

/// Copies the payload and rewrites what its codec needs; returns the packet's length.
fn write_payload(slot: &mut [u8], start: usize, view: &View<'_>) -> Option<usize> {
    let end = start + view.payload.len();
    if end + TAG_MAX > DATAGRAM_MAX {
        return None;
    }
    let out = slot.get_mut(start..end)?;
    out.copy_from_slice(view.payload);
    let (id, tl0) = (view.sent.picture_id, view.sent.tl0_picture_index);
    let codec = view.producer.codec(view.mapping.from)?.codec;
    match codec {
        // A malformed descriptor stays as it came: the decoder will say so.
        Codec::Vp8 if id.is_some() => vp8::rewrite(out, id, tl0).unwrap_or_default(),
        Codec::Vp9 if id.is_some() => vp9::rewrite(out, id, tl0).unwrap_or_default(),
        Codec::Red => {
            let bound = view.consumer.bound.as_ref()?;
            red::rewrite_block_payload_types(out, |pt| bound.mapping(pt).map(|m| m.to)).ok()?;
        }
        _ => {}
    }
    Some(end)
}

/// Answers one NACKed number of a consumer from the producer's cache.
pub(crate) fn retransmit(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    seq: u16,
) -> Result<(), DropReason> {
    let next = consumer.rewriter.next_seq();
    match consumer.history.resend(flush.now_us, seq, next, transport.rtt) {
        Resend::Send { sent, copies } => {
            for _ in 0..copies {
                resend(flush, producer, consumer, transport, &sent)?;
            }
            Ok(())
        }
        Resend::Limited => Err(DropReason::NackLimit),
        Resend::Gone => Err(DropReason::NackNotCached),
    }
}

/// Sends a packet again: as RTX where that was negotiated, else byte-identical to the first time.
fn resend(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    sent: &Sent,
) -> Result<(), DropReason> {
    let tuple = transport.selected.ok_or(DropReason::NotReady)?;
    let source = producer
        .encodings
        .get(usize::from(sent.encoding))
        .filter(|encoding| encoding.epoch == sent.epoch)
        .ok_or(DropReason::NackNotCached)?;
    let seq = source.extend(sent.source).ok_or(DropReason::NackNotCached)?;
    let (packet, bytes) = source.cache.get(seq).ok_or(DropReason::NackNotCached)?;
    let bound = consumer.bound.as_ref().ok_or(DropReason::UnknownId)?;
    let (mapping, payload) = outgoing(producer, bound, packet, bytes)?;
    let view = View { producer, consumer, mapping: &mapping, packet, bytes, payload, sent };
    let rtx = mapping.rtx.zip(consumer.params.rtx_ssrc);
    let slot = flush.egress.reserve();
    let (header_len, len, index) = match rtx {
        Some((payload_type, ssrc)) => {
            transport.transport_sequence = transport.transport_sequence.wrapping_add(1);
            let stamp = (transport.transport_sequence, flush.abs_send_time);
            let index = consumer.rtx_seq;
            let (header_len, len) =
                write_rtx(slot, &view, (payload_type, ssrc, index as u16), stamp)
                    .ok_or(DropReason::Malformed)?;
            (header_len, len, index)
        }
        // Byte-identical to the first: one (key, SSRC, index) never seals two different byte strings.
        None => {
            let (header_len, len) = write_media(slot, &view).ok_or(DropReason::Malformed)?;
            (header_len, len, sent.seq)
        }
    };
    let srtp = transport.srtp_out.as_mut().ok_or(DropReason::NotReady)?;
    let len = srtp.protect_rtp(slot, header_len, len, index);
    if rtx.is_some() {
        consumer.rtx_seq += 1;
    }
    if len == 0 {
        return Err(DropReason::Malformed);
    }
    flush.egress.commit(&tuple, len);
    consumer.delivery.resent += 1;
    flush.counters.resent.count(producer.params.kind, usize::from(packet.payload_len));
    Ok(())
}

/// RFC 4588: the original sequence number stands before the payload.
fn write_rtx(
    slot: &mut [u8],
    view: &View<'_>,
    (payload_type, ssrc, sequence_number): (u8, u32, u16),
    stamp: (u16, u32),
) -> Option<(usize, usize)> {
    let fields = HeaderFields {
        marker: view.packet.marker,
        payload_type,
        sequence_number,
        timestamp: view.sent.timestamp,
        ssrc,
        ..HeaderFields::default()
    };
    let header_len = write_header_and_extensions(slot, view, fields, stamp)?;
    let original = header_len..header_len + 2;
    slot.get_mut(original)?.copy_from_slice(&(view.sent.seq as u16).to_be_bytes());
    let len = write_payload(slot, header_len + 2, view)?;
    Some((header_len, len))
}
