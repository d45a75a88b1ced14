//! What was sent, and whether the application is what limits it: a budget that fills with 65 % of the estimate and that sending uses up.

/// Part of the estimate that fills the budget.
const USAGE: f64 = 0.65;
/// The budget holds so much, in both directions.
const WINDOW_US: u64 = 500_000;
/// Limited begins with so much of the budget left, and ends with so little.
const BEGIN: f64 = 0.8;
const END: f64 = 0.5;
/// The rate is measured over so long.
const RATE_US: u64 = 500_000;

#[derive(Debug)]
pub(super) struct Sent {
    /// Since the last [`Sent::settle`].
    bytes: u64,
    settled_us: u64,
    budget: f64,
    since_us: Option<u64>,
    window_bytes: u64,
    window_since_us: u64,
    rate: f64,
}

impl Sent {
    pub(super) fn new(now_us: u64) -> Self {
        Self {
            bytes: 0,
            settled_us: now_us,
            budget: 0.0,
            since_us: None,
            window_bytes: 0,
            window_since_us: now_us,
            rate: 0.0,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, size: usize) {
        self.bytes = self.bytes.saturating_add(size as u64);
    }

    /// Brings the budget up to date.
    pub(super) fn settle(&mut self, now_us: u64, estimate: f64) {
        let elapsed = now_us.saturating_sub(self.settled_us);
        self.settled_us = now_us;
        let per_us = estimate * USAGE / 8e6;
        let full = per_us * WINDOW_US as f64;
        let change = per_us * elapsed as f64 - self.bytes as f64;
        self.budget = (self.budget + change).clamp(-full, full);
        if self.budget > BEGIN * full {
            self.since_us.get_or_insert(now_us);
        } else if self.budget < END * full {
            self.since_us = None;
        }
        self.window_bytes += std::mem::take(&mut self.bytes);
        let window = now_us.saturating_sub(self.window_since_us);
        if window >= RATE_US {
            self.rate = self.window_bytes as f64 * 8e6 / window as f64;
            (self.window_bytes, self.window_since_us) = (0, now_us);
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.since_us.is_some()
    }

    /// Bits per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For `ms`, every 25 ms, at a part of an estimate of 1 Mbit/s.
    fn send(sent: &mut Sent, now_us: &mut u64, ms: u64, part: f64) {
        for _ in 0..ms / 25 {
            *now_us += 25_000;
            sent.add((part * 3125.0) as usize);
            sent.settle(*now_us, 1e6);
        }
    }

    #[test]
    fn below_two_thirds_of_the_estimate_the_application_is_the_limit() {
        let (mut sent, mut now) = (Sent::new(0), 0);
        send(&mut sent, &mut now, 2_000, 0.9);
        assert!(!sent.is_limited());
        send(&mut sent, &mut now, 5_000, 0.3);
        assert!(sent.is_limited());
        assert!((sent.rate() - 0.3e6).abs() < 0.01e6, "{}", sent.rate());
        send(&mut sent, &mut now, 300, 0.9);
        assert!(sent.is_limited(), "a frame is not the end of it");
        send(&mut sent, &mut now, 1_000, 0.9);
        assert!(!sent.is_limited());
    }
}
