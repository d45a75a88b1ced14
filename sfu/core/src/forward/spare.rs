//! Copies that nobody has asked for yet: on a far and lossy link with room to spare every packet leaves twice.
//!
//! A repair that is asked for comes a round trip late; players pass over pictures of the higher temporal layers by then (unless they are flat), and stand still for the others. The copy leaves by RTX
//! a moment after the packet, when a short burst of loss has passed, and only takes what the estimate leaves over.

use super::{Fan, Flush, repair};
use crate::consumer::history::Spare;
use crate::transport::downlink::Downlink;
use crate::transport::pace::Taken;

/// Packets of one slot that are copied in one part.
const PACKETS_MAX: usize = 64;
/// Packets back from the newest one that are looked at.
const RECENT: u64 = 128;

impl Fan<'_> {
    /// Sends the copies that are due; returns whether there will be more.
    pub(super) fn spare(&mut self, flush: &mut Flush<'_, '_>) -> bool {
        let Self { producers, consumers, transport, .. } = self;
        if !transport.pace.spares() {
            return false;
        }
        let mut more = false;
        for index in 0..transport.consumers.len() {
            let Some(consumer) = consumers.get_mut(transport.consumers[index]) else { continue };
            let bound = consumer.bound.as_ref().map(|bound| bound.producer);
            let Some(producer) = bound.and_then(|bound| producers.get(bound)) else { continue };
            if !producer.is_video() || consumer.paused || !consumer.has_rtx() {
                continue;
            }
            let next = consumer.rewriter.next_seq();
            let mut seq = consumer.spared.max(next.saturating_sub(RECENT));
            for _ in 0..PACKETS_MAX {
                let sent = match consumer.history.spare(flush.now_us, seq) {
                    _ if seq >= next => break,
                    Spare::Early => {
                        more = true;
                        break;
                    }
                    Spare::None => {
                        seq += 1;
                        continue;
                    }
                    Spare::Send(sent) => sent,
                };
                if !transport.pace.allows(flush.now_us, Taken::default(), 1) {
                    more = true;
                    break;
                }
                seq += 1;
                // The link carries that layer no more.
                if consumer.selector.has_left(sent.encoding) {
                    continue;
                }
                let needed = repair::is_needed(producer, &sent);
                let may = |downlink: &mut Box<Downlink>| downlink.has_spare(flush.now_us, needed);
                if !transport.downlink.as_mut().is_some_and(may) {
                    continue;
                }
                consumer.history.spared(flush.now_us, sent.seq);
                match repair::resend(flush, producer, consumer, transport, &sent) {
                    Ok(bytes) => {
                        if let Some(downlink) = &mut transport.downlink {
                            downlink.spared(bytes);
                        }
                    }
                    Err(reason) => flush.drops.count(reason),
                }
            }
            consumer.spared = seq;
        }
        more
    }
}
