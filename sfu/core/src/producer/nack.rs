//! Which packets of an encoding are missing, and when to ask for them again.

use std::time::{Duration, Instant};

/// Missing packets that are tracked; beyond it the oldest are given up and a keyframe is asked for.
const MISSING_MAX: usize = 512;
/// Room for reordering before the first request.
const FIRST_DELAY: Duration = Duration::from_millis(10);
/// Requests per packet. More than the three resends that a sender allows, because requests get lost as well.
const REQUESTS_MAX: u8 = 12;
/// What was asked for in vain is then asked for twice in a row: a lost request costs no further round trip. libwebrtc ignores the second
/// within one round trip; who answers both brings a packet that was lost twice the more surely.
const ECHO: Duration = Duration::from_millis(20);
/// Older than this nobody waits for it any more.
pub(crate) const GIVE_UP_AFTER: Duration = Duration::from_millis(1000);
/// More packets than that, missing after nothing came for [`GIVE_UP_AFTER`], were sent while nothing came. What is left of them would come as one
/// burst, before the keyframe that is needed anyhow, and receivers would take its age for the delay of the network. Fewer may be the start of
/// the first frame after a pause (a still screen).
const PAUSED_MAX: u64 = 8;
/// Bounds of the pause between two requests for one packet.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: u64,
    since: Instant,
    due: Instant,
    requests: u8,
}

#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    /// Ascending by sequence number.
    missing: Vec<Missing>,
    requested: u64,
}

/// What a packet meant for the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Nothing new is missing.
    None,
    /// Packets are missing.
    Missing,
    /// Too many, or too old: only a keyframe helps.
    TooWide,
}

impl NackGenerator {
    /// Notes that `seq` follows `highest` (both extended), so that everything between is missing. `silence`: how long nothing came before it, unless a keyframe
    /// would be asked for in vain.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        silence: Option<Duration>,
        highest: u64,
        seq: u64,
    ) -> Gap {
        let gap = seq.saturating_sub(highest + 1);
        if gap == 0 {
            return Gap::None;
        }
        let paused = silence.is_some_and(|silence| silence >= GIVE_UP_AFTER) && gap > PAUSED_MAX;
        if paused || gap as usize + self.missing.len() > MISSING_MAX {
            self.missing.clear();
            return Gap::TooWide;
        }
        let due = now + FIRST_DELAY;
        self.missing.extend((highest + 1..seq).map(|seq| Missing {
            seq,
            since: now,
            due,
            requests: 0,
        }));
        Gap::Missing
    }

    /// A late packet is there. Returns how long it was missing after the first request, if it was requested.
    pub(crate) fn arrived(&mut self, now: Instant, seq: u64) -> Option<Duration> {
        let at = self.missing.binary_search_by_key(&seq, |m| m.seq).ok()?;
        let found = self.missing.remove(at);
        (found.requests == 1).then(|| now.saturating_duration_since(found.since + FIRST_DELAY))
    }

    /// Is this one asked for?
    pub(crate) fn asks(&self, seq: u64) -> bool {
        self.missing.binary_search_by_key(&seq, |m| m.seq).is_ok()
    }

    /// Packets that are asked for.
    pub(crate) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// When [`NackGenerator::due`] has something to ask.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.missing.iter().map(|m| m.due).min()
    }

    /// Sequence numbers to request now, ascending. `gave_up` counts those that are not asked for any more.
    pub(crate) fn due(&mut self, now: Instant, rtt: Duration, out: &mut Vec<u16>) -> u32 {
        let pause = (rtt + rtt / 16).clamp(PAUSE_MIN, PAUSE_MAX);
        let before = self.missing.len();
        self.missing.retain(|m| {
            m.due > now
                || (m.requests < REQUESTS_MAX
                    && now.saturating_duration_since(m.since) < GIVE_UP_AFTER)
        });
        for m in self.missing.iter_mut().filter(|m| m.due <= now) {
            m.requests += 1;
            m.due = now
                + match m.requests {
                    1 => pause,
                    even if even % 2 == 0 => ECHO,
                    _ => pause.saturating_sub(ECHO).max(ECHO),
                };
            self.requested += 1;
            out.push(m.seq as u16);
        }
        (before - self.missing.len()) as u32
    }

    /// Sequence numbers requested so far, repeats included.
    pub(crate) fn requested(&self) -> u64 {
        self.requested
    }

    pub(crate) fn clear(&mut self) {
        self.missing.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_after_the_reordering_delay_and_stops_when_it_came() {
        let t0 = Instant::now();
        let rtt = Duration::from_millis(100);
        let mut nack = NackGenerator::default();
        assert_eq!(nack.advance(t0, None, 10, 13), Gap::Missing);
        let mut out = Vec::new();
        nack.due(t0, rtt, &mut out);
        assert!(out.is_empty(), "reordering gets its time");
        let t1 = t0 + FIRST_DELAY;
        nack.due(t1, rtt, &mut out);
        assert_eq!(out, [11, 12]);
        assert_eq!(nack.arrived(t1 + rtt, 11), Some(rtt));
        out.clear();
        nack.due(t1 + Duration::from_millis(120), rtt, &mut out);
        assert_eq!(out, [12]);
    }

    #[test]
    fn gives_up_and_never_grows() {
        let t0 = Instant::now();
        let mut nack = NackGenerator::default();
        assert_eq!(nack.advance(t0, None, 10, 10_000), Gap::TooWide);
        assert_eq!(nack.next_due(), None);
        nack.advance(t0, None, 10, 12);
        let mut out = Vec::new();
        assert_eq!(nack.due(t0 + Duration::from_secs(2), Duration::ZERO, &mut out), 1);
        assert!(out.is_empty());
    }

    #[test]
    fn what_was_sent_in_a_long_pause_is_not_asked_for() {
        let t0 = Instant::now();
        let mut nack = NackGenerator::default();
        assert_eq!(nack.advance(t0, Some(GIVE_UP_AFTER), 10, 20), Gap::TooWide);
        assert_eq!(nack.next_due(), None);
        let short = GIVE_UP_AFTER - Duration::from_millis(1);
        assert_eq!(nack.advance(t0, Some(short), 20, 30), Gap::Missing, "a short one");
        let frame = nack.advance(t0, Some(GIVE_UP_AFTER), 30, 39);
        assert_eq!(frame, Gap::Missing, "a frame's start");
        assert_eq!(nack.advance(t0, None, 39, 60), Gap::Missing, "keyframes come when they like");
    }
}
