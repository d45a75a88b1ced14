//! Packets that only fill a probe: what was sent last, once more by RTX, as libwebrtc does it; without that, padding.

use super::{Fan, Flush, repair};
use crate::consumer::Consumer;
use crate::consumer::template::{self, Fields, Source};
use crate::drop_reason::DropReason;
use crate::params::MediaKind;
use crate::producer::packet::CachedPacket;
use crate::transport::Transport;
use crate::transport::pace::SLOT;

/// Packets of one slot's part of a probe.
const PACKETS_MAX: usize = 64;
/// Packets back from the newest one that are sent again in turn: an early loss is mended by it.
const RECENT: u64 = 16;
/// Padding of one packet: its last byte says how many there are (RFC 3550 section 5.1).
const PADDING: usize = 255;
/// Set in the first byte of a padded packet.
const PADDED: u8 = 0x20;

impl Fan<'_> {
    /// The first keyframe and what followed it is about to leave: a probe that costs nothing.
    pub(super) fn begin_first_probe(&mut self, now_us: u64) {
        let total = self.transport.pace.total_bytes();
        let number = self.transport.transport_sequence.wrapping_add(1);
        if let Some(downlink) = &mut self.transport.downlink {
            downlink.begin_first(now_us, total, number);
        }
    }

    /// Fills the part of the probe that belongs to this slot; returns whether there is more of it.
    pub(super) fn probe(&mut self, flush: &mut Flush<'_, '_>) -> bool {
        let slot_us = SLOT.as_micros() as u64;
        let total = self.transport.pace.total_bytes();
        let number = self.transport.transport_sequence.wrapping_add(1);
        if let Some(downlink) = &mut self.transport.downlink {
            downlink.begin_probe(flush.now_us, total, number);
        }
        let mut back = 0;
        for _ in 0..PACKETS_MAX {
            let total = self.transport.pace.total_bytes();
            let last = self.transport.transport_sequence;
            let Some(downlink) = &self.transport.downlink else { return false };
            if downlink.probe_due(flush.now_us, total, last, slot_us) == 0 {
                break;
            }
            if !self.fill(flush, &mut back) {
                break;
            }
        }
        let total = self.transport.pace.total_bytes();
        let last = self.transport.transport_sequence;
        let downlink = self.transport.downlink.as_mut();
        downlink.is_some_and(|downlink| downlink.go_on(flush.now_us, total, last, slot_us))
    }

    /// Sends one packet again, or one of padding; `false`: there is no slot for either. `back`: how many were.
    fn fill(&mut self, flush: &mut Flush<'_, '_>, back: &mut u64) -> bool {
        let Self { producers, consumers, transport, .. } = self;
        let mut padded = None;
        for index in 0..transport.consumers.len() {
            let key = transport.consumers[index];
            let Some(consumer) = consumers.get_mut(key) else { continue };
            let bound = consumer.bound.as_ref().map(|bound| bound.producer);
            let Some(producer) = bound.and_then(|bound| producers.get(bound)) else { continue };
            let video = producer.is_video() && !consumer.paused;
            if !video || !consumer.has_rtx() || consumer.ids.transport_wide_cc == 0 {
                continue;
            }
            padded.get_or_insert(key);
            let newest = consumer.rewriter.next_seq();
            for _ in 0..RECENT {
                *back = *back % RECENT + 1;
                let sent = newest.checked_sub(*back).and_then(|seq| consumer.history.sent(seq));
                let Some(sent) = sent else { continue };
                match repair::repeat(flush, producer, consumer, transport, &sent) {
                    Ok(()) => return true,
                    Err(DropReason::NackNotCached) => {}
                    Err(reason) => flush.drops.count(reason),
                }
            }
        }
        let consumer = padded.and_then(|key| consumers.get_mut(key));
        consumer.is_some_and(|consumer| pad(flush, consumer, transport).is_some())
    }
}

/// Sends padding on the RTX stream of a slot: nothing waits for its numbers.
fn pad(
    flush: &mut Flush<'_, '_>,
    consumer: &mut Consumer,
    transport: &mut Transport,
) -> Option<()> {
    let (tuple, ssrc) = (transport.selected?, consumer.rtx_ssrc?);
    let bound = consumer.bound.as_ref()?;
    let fields = Fields {
        marker: false,
        payload_type: bound.rtx()?,
        sequence_number: consumer.rtx_seq as u16,
        timestamp: consumer.rewriter.newest_timestamp(),
        ssrc,
        transport_sequence: transport.transport_sequence.wrapping_add(1),
        abs_send_time: flush.abs_send_time,
    };
    let slot = flush.egress.reserve();
    let own = (&consumer.ids, consumer.params.mid.as_str(), bound.number);
    let nothing = Source {
        packet: &CachedPacket::default(),
        bytes: &[],
        descriptor: None,
        playout_delay: None,
    };
    let start = template::write_by_fields(slot, &fields, own, nothing)?;
    let padding = slot.get_mut(start..start + PADDING)?;
    padding.fill(0);
    *padding.last_mut()? = PADDING as u8;
    slot[0] |= PADDED;
    let srtp = transport.srtp_out.as_mut()?;
    let len = srtp.protect_rtp(slot, start, start + PADDING, consumer.rtx_seq);
    // Spent even when sealing fails.
    consumer.rtx_seq += 1;
    if len == 0 {
        return None;
    }
    flush.egress.commit(&tuple, len);
    transport.numbered(flush.now_us, len, true);
    flush.counters.probing.count(MediaKind::Video, PADDING);
    Some(())
}
