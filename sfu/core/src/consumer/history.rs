//! What a consumer sent, per outgoing sequence number: enough to send a packet again from the producer's cache.
//! Later offsets are wrong for earlier packets, so everything that was rewritten is kept.

use std::time::{Duration, Instant};

/// Packets that can be resent: one second at 1000 packets/s.
const LEN: usize = 1024;
/// A packet is resent at most so often.
pub(crate) const RESENDS_MAX: u8 = 3;
/// Bounds of the pause between two resends of one packet.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// One sent packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Outgoing extended sequence number (the SRTP index).
    pub(crate) seq: u64,
    /// Extended sequence number in the encoding's cache.
    pub(crate) source: u64,
    pub(crate) encoding: u8,
    /// The encoding's epoch: after it changed, the cache holds other packets under the same numbers.
    pub(crate) epoch: u32,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_picture_index: Option<u8>,
    /// Transport-wide sequence number of the first transmission.
    pub(crate) transport_sequence: u16,
    /// `abs-send-time` of the first transmission.
    pub(crate) abs_send_time: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: Sent,
    resends: u8,
    last: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Sent(Entry),
    /// Asked for before it was there: the publisher's packet is still missing.
    Wanted(u64),
}

impl Slot {
    fn seq(&self) -> u64 {
        match self {
            Self::Sent(entry) => entry.sent.seq,
            Self::Wanted(seq) => *seq,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Empty until the first packet: an unbound slot costs nothing.
    slots: Vec<Option<Slot>>,
}

impl History {
    /// Notes a packet; `true` when the subscriber asked for it already.
    pub(crate) fn record(&mut self, now: Instant, sent: Sent) -> bool {
        if self.slots.is_empty() {
            self.slots = vec![None; LEN];
        }
        let slot = &mut self.slots[sent.seq as usize & (LEN - 1)];
        let wanted = matches!(slot, Some(Slot::Wanted(seq)) if *seq == sent.seq);
        *slot = Some(Slot::Sent(Entry { sent, resends: 0, last: now }));
        wanted
    }

    /// The packet with the low 16 bits `seq`, if it may be resent now; counts the resends. `next`: the first number that was not sent yet.
    pub(crate) fn resend(
        &mut self,
        now: Instant,
        seq: u16,
        next: u64,
        rtt: Option<Duration>,
    ) -> Resend {
        let Some(slot) = self.slots.get_mut(usize::from(seq) & (LEN - 1)) else {
            return Resend::Gone;
        };
        let entry = match slot {
            Some(Slot::Sent(entry)) if entry.sent.seq as u16 == seq => entry,
            older => {
                let wanted = sfu_rtp::sequence::extend(next, seq);
                let hole = wanted < next && next - wanted < LEN as u64;
                if hole && older.is_none_or(|older| older.seq() < wanted) {
                    *older = Some(Slot::Wanted(wanted));
                }
                return Resend::Gone;
            }
        };
        // Who asks again a round trip after it asked first is never refused, even where the network hurried the second request.
        let rtt = rtt.unwrap_or(PAUSE_MIN);
        let pause = (rtt * 3 / 4).clamp(PAUSE_MIN, PAUSE_MAX);
        let since = now.saturating_duration_since(entry.last);
        if entry.resends >= RESENDS_MAX || (entry.resends > 0 && since < pause) {
            return Resend::Limited;
        }
        // A second attempt, or a first request so late that an earlier one must have been lost: another loss would come too late.
        let late = entry.resends > 0 || since > rtt.max(PAUSE_MIN) * 7 / 4;
        let copies = if late { (RESENDS_MAX - entry.resends).min(2) } else { 1 };
        entry.resends += copies;
        entry.last = now;
        Resend::Send { sent: entry.sent, copies }
    }

    /// Forgets everything: the cache that it points into is gone.
    pub(crate) fn clear(&mut self) {
        self.slots = Vec::new();
    }
}

/// Answer to one NACKed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Send it so often.
    Send { sent: Sent, copies: u8 },
    /// Three times already, or just now.
    Limited,
    /// Not in the history.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(seq: u64) -> Sent {
        Sent {
            seq,
            source: seq + 7,
            encoding: 0,
            epoch: 0,
            timestamp: 1,
            payload_type: 96,
            picture_id: None,
            tl0_picture_index: None,
            transport_sequence: 3,
            abs_send_time: 4,
        }
    }

    #[test]
    fn three_resends_with_pauses() {
        let t0 = Instant::now();
        let mut history = History::default();
        let packet = sent(0x1_0005);
        let next = packet.seq + 1;
        assert_eq!(history.resend(t0, 5, next, None), Resend::Gone);
        assert!(!history.record(t0, packet));
        let first = Resend::Send { sent: packet, copies: 1 };
        assert_eq!(history.resend(t0, 5, next, None), first);
        assert_eq!(history.resend(t0, 5, next, None), Resend::Limited, "too soon");
        let second = Resend::Send { sent: packet, copies: 2 };
        assert_eq!(history.resend(t0 + PAUSE_MIN, 5, next, None), second);
        let later = t0 + PAUSE_MAX * 9;
        assert_eq!(history.resend(later, 5, next, None), Resend::Limited, "three are enough");
        history.record(t0, sent(0x1_0005 + LEN as u64));
        assert_eq!(history.resend(t0, 5, next, None), Resend::Gone, "overwritten");
    }

    #[test]
    fn what_was_asked_for_too_early_is_remembered() {
        let t0 = Instant::now();
        let mut history = History::default();
        history.record(t0, sent(0x1_0004));
        history.record(t0, sent(0x1_0006));
        let next = 0x1_0007;
        assert_eq!(history.resend(t0, 5, next, None), Resend::Gone);
        assert_eq!(history.resend(t0, 7, next, None), Resend::Gone);
        assert!(history.record(t0, sent(0x1_0005)));
        assert!(!history.record(t0, sent(0x1_0007)), "not before its time");
    }
}
