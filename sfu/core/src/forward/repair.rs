//! Packets that are sent again.

use super::Flush;
use super::write::{self, Rtx, View};
use crate::consumer::Consumer;
use crate::consumer::history::{Haste, Resend, Sent};
use crate::drop_reason::DropReason;
use crate::producer::Producer;
use crate::transport::Transport;
use std::time::Duration;

/// From this round trip on there is no time for a third attempt.
const FAR: Duration = Duration::from_millis(60);

/// Answers one NACKed number of a consumer from the producer's cache.
pub(crate) fn retransmit(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    seq: u16,
) -> Result<(), DropReason> {
    let next = consumer.rewriter.next_seq();
    let number = sfu_rtp::sequence::extend(next, seq);
    if ((number as u32).wrapping_sub(consumer.restarted_at) as i32) < 0 {
        return Err(DropReason::BeforeSwitch);
    }
    let room = has_room(flush.now_us, producer, transport);
    // Without one that later pictures refer to there is none at all once the player has given up asking for it.
    if !room && !consumer.history.sent(number).is_some_and(|sent| is_needed(producer, &sent)) {
        return Err(DropReason::NackLimit);
    }
    let lost = match transport.send_log.acked() {
        Some(_) => 0,
        None => consumer.delivery.fraction_lost,
    };
    if !transport.repairs.allows(flush.now_us, transport.pace.total_bytes(), lost) {
        return Err(DropReason::NackLimit);
    }
    let haste = match room {
        true => haste(producer, transport),
        false if transport.pace.allows_needed_repair(flush.now_us) => Haste::Patient,
        false => Haste::Never,
    };
    match consumer.history.resend(flush.now_us, seq, next, round_trip(transport, room), haste) {
        // The link carries that layer no more: a keyframe of a lower one is awaited, or what was lost before it came.
        Resend::Send { sent, .. } if consumer.selector.has_left(sent.encoding) => {
            Err(DropReason::BeforeSwitch)
        }
        Resend::Send { sent, copies } => {
            for _ in 0..copies {
                let before = transport.pace.total_bytes();
                let bytes = resend(flush, producer, consumer, transport, &sent)?;
                transport.repairs.spend(bytes, transport.pace.total_bytes() > before);
                if !room {
                    transport.pace.needed_repair(flush.now_us, bytes);
                }
                if let Some(downlink) = &mut transport.downlink {
                    downlink.repaired(bytes);
                }
            }
            Ok(())
        }
        Resend::Lost(sent) => {
            consumer.broken |= is_needed(producer, &sent);
            Err(DropReason::NackLimit)
        }
        Resend::Late(sent) => {
            consumer.stale |= sent.map_or(producer.is_video(), |sent| is_needed(producer, &sent));
            Err(DropReason::NackNotCached)
        }
        Resend::Limited => Err(DropReason::NackLimit),
        Resend::Gone => Err(DropReason::NackNotCached),
    }
}

/// Audio always has; video not behind much that is on its way.
pub(super) fn has_room(now_us: u64, producer: &Producer, transport: &Transport) -> bool {
    !producer.is_video() || transport.pace.allows_repair(now_us)
}

/// A queue that grows makes it longer than receiver reports have said yet.
fn round_trip(transport: &Transport, room: bool) -> Option<Duration> {
    let newest = transport.send_log.acked().and_then(|acked| acked.rtt).filter(|_| !room);
    transport.rtt.max(newest)
}

fn haste(producer: &Producer, transport: &Transport) -> Haste {
    let lossy = transport.downlink.as_ref().is_some_and(|downlink| downlink.is_lossy());
    match transport.rtt {
        Some(rtt) if producer.is_video() && rtt < FAR => Haste::Patient,
        Some(_) if producer.is_video() && transport.pace.spares() => Haste::Copied,
        Some(_) if producer.is_video() && lossy => Haste::AtOnce,
        _ => Haste::Usual,
    }
}

/// Do later pictures refer to that of this packet for longer than until the next one of the lowest temporal layer? All of a flat stream do, as players see it.
pub(super) fn is_needed(producer: &Producer, sent: &Sent) -> bool {
    let source = producer.encodings.get(usize::from(sent.encoding));
    let packet = source.and_then(|source| source.cache.get(source.extend(sent.source)?));
    producer.is_video() && (sent.flat || packet.is_none_or(|(packet, _)| packet.info.temporal == 0))
}

/// Sends a packet again: as RTX where that was negotiated, else byte-identical to the first time. Returns the bytes of the datagram.
pub(super) fn resend(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    sent: &Sent,
) -> Result<usize, DropReason> {
    let len = repeat_packet(flush, producer, consumer, transport, sent, false)?;
    consumer.delivery.resent += 1;
    flush.counters.resent.count(producer.params.kind, len.payload);
    Ok(len.datagram)
}

/// Sends a packet again by RTX because a probe needs bytes.
pub(super) fn repeat(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    sent: &Sent,
) -> Result<(), DropReason> {
    let len = repeat_packet(flush, producer, consumer, transport, sent, true)?;
    flush.counters.probing.count(producer.params.kind, len.payload);
    Ok(())
}

/// Bytes of a packet.
struct Len {
    datagram: usize,
    payload: usize,
}

fn repeat_packet(
    flush: &mut Flush<'_, '_>,
    producer: &Producer,
    consumer: &mut Consumer,
    transport: &mut Transport,
    sent: &Sent,
    probes: bool,
) -> Result<Len, DropReason> {
    let tuple = transport.selected.ok_or(DropReason::NotReady)?;
    let source = producer
        .encodings
        .get(usize::from(sent.encoding))
        .filter(|encoding| encoding.epoch as u16 == sent.epoch)
        .ok_or(DropReason::NackNotCached)?;
    let seq = source.extend(sent.source).ok_or(DropReason::NackNotCached)?;
    let (packet, bytes) = source.cache.get(seq).ok_or(DropReason::NackNotCached)?;
    let bound = consumer.bound.as_ref().ok_or(DropReason::UnknownId)?;
    let mapping = write::mapping(bound, packet, bytes)?;
    let payload = write::payload(&mapping, packet, bytes);
    let repeated = write::repeated(source, packet, sent.redundancy);
    let repeated = repeated.ok_or(DropReason::NackNotCached)?;
    let takes = write::takes_playout_delay(producer, consumer, packet, &mapping);
    let playout_delay = consumer.playout_delay.said().filter(|_| takes);
    let view = View { consumer, mapping, packet, bytes, payload, repeated, sent, playout_delay };
    let rtx = mapping.rtx.zip(consumer.rtx_ssrc).filter(|_| sent.redundancy == 0);
    // The same packet again is not counted, and no probe would be complete with it.
    if probes && rtx.is_none() {
        return Err(DropReason::NackNotCached);
    }
    let slot = flush.egress.reserve();
    let (header_len, len, index) = match rtx {
        Some((payload_type, ssrc)) => {
            let rtx = Rtx {
                payload_type,
                ssrc,
                sequence_number: consumer.rtx_seq as u16,
                transport_sequence: transport.transport_sequence.wrapping_add(1),
                abs_send_time: flush.abs_send_time,
            };
            let (header_len, len) =
                write::write_rtx(slot, &view, &rtx).ok_or(DropReason::Malformed)?;
            (header_len, len, consumer.rtx_seq)
        }
        // Byte-identical to the first: one (key, SSRC, index) never seals two different byte strings.
        None => {
            let (header_len, len) = write::write_media(slot, &view).ok_or(DropReason::Malformed)?;
            (header_len, len, sent.seq)
        }
    };
    let srtp = transport.srtp_out.as_mut().ok_or(DropReason::NotReady)?;
    let len = srtp.protect_rtp(slot, header_len, len, index);
    // Spent even when sealing fails.
    consumer.rtx_seq += u64::from(rtx.is_some());
    if len == 0 {
        return Err(DropReason::Malformed);
    }
    flush.egress.commit(&tuple, len);
    match rtx {
        Some(_) => transport.numbered(flush.now_us, len, consumer.ids.transport_wide_cc != 0),
        None => transport.send_log.sent_again(flush.now_us, sent.transport_sequence),
    }
    Ok(Len { datagram: len, payload: usize::from(packet.payload_len) })
}
