//! Keyframe requests of one encoding: many may wish, the publisher hears at most two a second.

use std::time::{Duration, Instant};

/// RFC 4585 leaves the rate open; two a second is what encoders and links stand, whoever asks.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct KeyframeRequests {
    wanted: bool,
    last: Option<Instant>,
    sent: u64,
}

impl KeyframeRequests {
    /// Somebody needs a keyframe.
    pub(crate) fn wish(&mut self) {
        self.wanted = true;
    }

    /// One has come.
    pub(crate) fn arrived(&mut self) {
        self.wanted = false;
    }

    /// This layer stopped: others are shown.
    pub(crate) fn forget(&mut self) {
        self.wanted = false;
    }

    /// When [`KeyframeRequests::take`] will say yes; a wish that is not granted is repeated.
    pub(crate) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.last.map_or(now, |last| last + INTERVAL))
    }

    /// Whether to send a request now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if !self.wanted || self.last.is_some_and(|last| now < last + INTERVAL) {
            return false;
        }
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
        requests.arrived();
        assert!(!requests.take(t0 + Duration::from_secs(9)));
        assert_eq!(requests.next_due(t0), None);
    }
}
