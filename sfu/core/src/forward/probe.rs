//! Packets that only fill a probe: what was sent last, once more by RTX, as libwebrtc does it.

use super::{Fan, Flush, repair};
use crate::drop_reason::DropReason;
use crate::transport::pace::SLOT;

/// Packets of one slot's part of a probe.
const PACKETS_MAX: usize = 64;
/// Packets back from the newest one that are sent again in turn: an early loss is mended by it.
const RECENT: u64 = 16;

impl Fan<'_> {
    /// Fills the part of the probe that belongs to this slot; returns whether there is more of it.
    pub(super) fn probe(&mut self, flush: &mut Flush<'_, '_>) -> bool {
        let slot_us = SLOT.as_micros() as u64;
        let mut back = 0;
        for _ in 0..PACKETS_MAX {
            let total = self.transport.send_log.total_bytes();
            let Some(downlink) = &self.transport.downlink else { return false };
            if downlink.probe_due(flush.now_us, total, slot_us) == 0 {
                break;
            }
            if !self.fill(flush, &mut back) {
                break;
            }
        }
        let total = self.transport.send_log.total_bytes();
        let last = self.transport.transport_sequence;
        let downlink = self.transport.downlink.as_mut();
        downlink.is_some_and(|downlink| downlink.go_on(flush.now_us, total, last, slot_us))
    }

    /// Sends one packet again; `false`: there is none. `back`: how many were.
    fn fill(&mut self, flush: &mut Flush<'_, '_>, back: &mut u64) -> bool {
        let Self { producers, consumers, transport, .. } = self;
        for index in 0..transport.consumers.len() {
            let Some(consumer) = consumers.get_mut(transport.consumers[index]) else { continue };
            let bound = consumer.bound.as_ref().map(|bound| bound.producer);
            let Some(producer) = bound.and_then(|bound| producers.get(bound)) else { continue };
            if consumer.rtx_ssrc.is_none() || consumer.ids.transport_wide_cc == 0 {
                continue;
            }
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
        false
    }
}
