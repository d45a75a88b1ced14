//! Keyframe requests of one encoding: many may wish, the publisher hears at most two a second.

use std::time::{Duration, Instant};

/// RFC 4585 leaves the rate open; two a second is what encoders and links stand, whoever asks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Where nobody seems to listen, after so many requests in vain.
const INTERVAL_IN_VAIN: Duration = Duration::from_secs(2);
const SLOWER_AFTER: u8 = 4;

/// Requests in vain, after which the publisher counts as one that does not answer (FFmpeg and OBS make keyframes when they like).
const IN_VAIN_MAX: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct KeyframeRequests {
    wanted: bool,
    last: Option<Instant>,
    sent: u64,
    /// The first request that was not followed by a keyframe yet.
    open: Option<Instant>,
    /// Requests in a row that none followed soon.
    in_vain: u8,
    /// The same before the first request that is open.
    in_vain_before: u8,
    /// One has been.
    answered: bool,
}

impl KeyframeRequests {
    /// Somebody needs a keyframe.
    pub(crate) fn wish(&mut self) {
        self.wanted = true;
    }

    /// One has come.
    pub(crate) fn arrived(&mut self, now: Instant) {
        self.wanted = false;
        if let Some(first) = self.open.take() {
            // After the first one of them: some keyframe comes after the last one in any case.
            let soon = now < first + INTERVAL;
            self.answered |= soon;
            // Repetitions were counted as they were sent.
            let once = u8::from(self.last == Some(first));
            self.in_vain = if soon { 0 } else { self.in_vain.saturating_add(once) };
        }
    }

    /// The layer begins, or begins again: what was asked for while it stood still was not ignored, there was nobody to hear it.
    pub(crate) fn began(&mut self) {
        if self.open.take().is_some() {
            self.in_vain = self.in_vain_before;
        }
    }

    /// The publisher is known to send one soon after each request.
    pub(crate) fn are_answered(&self) -> bool {
        self.answered && self.in_vain < IN_VAIN_MAX
    }

    /// The publisher is known not to. Before anything was asked neither is known.
    pub(crate) fn are_ignored(&self) -> bool {
        self.in_vain >= if self.answered { IN_VAIN_MAX } else { 1 }
    }

    fn interval(&self) -> Duration {
        if self.in_vain < SLOWER_AFTER { INTERVAL } else { INTERVAL_IN_VAIN }
    }

    /// What the worker knows that does ask.
    pub(crate) fn told(&mut self, ignored: bool) {
        self.in_vain = if ignored { IN_VAIN_MAX } else { 0 };
    }

    /// Nothing was negotiated by which it could be asked.
    pub(crate) fn ignore(&mut self) {
        self.in_vain = IN_VAIN_MAX;
    }

    /// This layer stopped: others are shown.
    pub(crate) fn forget(&mut self) {
        self.wanted = false;
    }

    /// When [`KeyframeRequests::take`] will say yes; a wish that is not granted is repeated.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.last.map_or(now, |last| last + self.interval()))
    }

    /// Whether to send a request now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if !self.wanted || self.last.is_some_and(|last| now < last + self.interval()) {
            return false;
        }
        if self.open.is_none() {
            self.in_vain_before = self.in_vain;
        }
        self.in_vain = self.in_vain.saturating_add(u8::from(self.open.is_some()));
        self.open.get_or_insert(now);
        self.last = Some(now);
        self.sent += 1;
        true
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_a_second_and_repeated_until_it_comes() {
        let t0 = Instant::now();
        let mut requests = KeyframeRequests::default();
        let mut sent = 0;
        for ms in 0..2000 {
            requests.wish();
            sent += u32::from(requests.take(t0 + Duration::from_millis(ms)));
        }
        assert_eq!(sent, 4);
        requests.arrived(t0 + Duration::from_secs(2));
        assert!(!requests.take(t0 + Duration::from_secs(9)));
        assert_eq!(requests.next_due(t0), None);
    }

    #[test]
    fn a_layer_that_stood_still_ignored_nothing() {
        let t0 = Instant::now();
        let mut requests = KeyframeRequests::default();
        for ms in (0..1500).step_by(500) {
            requests.wish();
            assert!(requests.take(t0 + Duration::from_millis(ms)));
        }
        assert!(requests.are_ignored());
        requests.began();
        requests.arrived(t0 + Duration::from_millis(1600));
        assert!(!requests.are_ignored());
    }

    #[test]
    fn who_answers_is_learned() {
        let mut now = Instant::now();
        let mut requests = KeyframeRequests::default();
        let mut ask = |requests: &mut KeyframeRequests, answer_ms: u64| {
            now += Duration::from_secs(5);
            requests.wish();
            assert!(requests.take(now));
            // Twice a second, until one comes.
            for ms in (500..answer_ms.min(2000)).step_by(500) {
                assert!(requests.take(now + Duration::from_millis(ms)));
            }
            requests.arrived(now + Duration::from_millis(answer_ms));
            (requests.are_answered(), requests.are_ignored())
        };
        assert_eq!(ask(&mut requests, 60), (true, false));
        assert_eq!(ask(&mut requests, 800), (true, false), "one that got lost");
        assert_eq!(ask(&mut requests, 1800), (false, true));
        assert_eq!(ask(&mut requests, 60), (true, false));
        let mut requests = KeyframeRequests::default();
        assert_eq!((requests.are_answered(), requests.are_ignored()), (false, false));
        assert_eq!(
            ask(&mut requests, 1200),
            (false, true),
            "200 ms after the last request, but not for it"
        );
    }
}
