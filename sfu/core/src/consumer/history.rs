//! What a consumer sent, per outgoing sequence number: enough to send a packet again from the producer's cache.
//! Later offsets are wrong for earlier packets, so everything that was rewritten is kept.

use std::time::{Duration, Instant};

/// Packets that can be resent: one second at 1000 packets/s.
const LEN: usize = 1024;
/// A packet is resent at most so often.
pub(crate) const RESENDS_MAX: u8 = 3;
/// Bounds of the pause between two resends of one packet.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(100);

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

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Empty until the first packet: an unbound slot costs nothing.
    entries: Vec<Option<Entry>>,
}

impl History {
    pub(crate) fn record(&mut self, now: Instant, sent: Sent) {
        if self.entries.is_empty() {
            self.entries = vec![None; LEN];
        }
        self.entries[sent.seq as usize & (LEN - 1)] = Some(Entry { sent, resends: 0, last: now });
    }

    /// The packet with the low 16 bits `seq`, if it may be resent now; counts the resend.
    pub(crate) fn resend(&mut self, now: Instant, seq: u16, rtt: Option<Duration>) -> Resend {
        let entry = self.entries.get_mut(usize::from(seq) & (LEN - 1)).and_then(Option::as_mut);
        let Some(entry) = entry.filter(|entry| entry.sent.seq as u16 == seq) else {
            return Resend::Gone;
        };
        let pause = rtt.unwrap_or(PAUSE_MIN).clamp(PAUSE_MIN, PAUSE_MAX);
        if entry.resends >= RESENDS_MAX
            || (entry.resends > 0 && now.saturating_duration_since(entry.last) < pause)
        {
            return Resend::Limited;
        }
        entry.resends += 1;
        entry.last = now;
        Resend::Send(entry.sent)
    }

    /// Forgets everything: the cache that it points into is gone.
    pub(crate) fn clear(&mut self) {
        self.entries = Vec::new();
    }
}

/// Answer to one NACKed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    Send(Sent),
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
        assert_eq!(history.resend(t0, 5, None), Resend::Gone);
        history.record(t0, sent(0x1_0005));
        assert_eq!(history.resend(t0, 5, None), Resend::Send(sent(0x1_0005)));
        assert_eq!(history.resend(t0, 5, None), Resend::Limited, "too soon");
        for i in 1..3u32 {
            let at = t0 + PAUSE_MIN * i;
            assert!(matches!(history.resend(at, 5, None), Resend::Send(_)));
        }
        assert_eq!(
            history.resend(t0 + PAUSE_MAX * 9, 5, None),
            Resend::Limited,
            "three are enough"
        );
        history.record(t0, sent(0x1_0005 + LEN as u64));
        assert_eq!(history.resend(t0, 5, None), Resend::Gone, "overwritten");
    }
}
