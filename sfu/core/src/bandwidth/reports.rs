//! Peers without transport-wide feedback: what their receiver reports and REMB allow.

use super::MIN_BITS_PER_SECOND;

/// Above so much loss down by half of it, at most once per round trip and this; below so little up by 8 % a second.
const LOSS_HIGH: f64 = 0.1;
const LOSS_LOW: f64 = 0.02;
const DECREASE_GAP_US: u64 = 300_000;
const GROWTH: f64 = 1.08;
/// Without a REMB, growth ends at so much of what is sent.
const SENT_FACTOR: f64 = 2.0;
const RTT_DEFAULT_US: u64 = 200_000;

#[derive(Debug)]
pub(super) struct Reports {
    rate: f64,
    remb: Option<f64>,
    /// Of the last report.
    lossy: bool,
    reported_us: Option<u64>,
    decreased_us: Option<u64>,
}

impl Reports {
    pub(super) fn new(start: f64) -> Self {
        Self { rate: start, remb: None, lossy: false, reported_us: None, decreased_us: None }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    pub(super) fn remb(&self) -> Option<f64> {
        self.remb
    }

    /// The receiver's own estimate. It looked at the delay: as long as nothing is lost, it is right.
    pub(super) fn set_remb(&mut self, bits_per_second: f64) {
        let rate = bits_per_second.max(MIN_BITS_PER_SECOND);
        self.remb = Some(rate);
        if !self.lossy {
            self.rate = self.rate.max(rate);
        }
    }

    /// `sent` in bits per second.
    pub(super) fn report(&mut self, now_us: u64, lost: f64, rtt_us: Option<u64>, sent: f64) {
        let elapsed = now_us.saturating_sub(self.reported_us.unwrap_or(now_us));
        self.reported_us = Some(now_us);
        self.lossy = lost > LOSS_LOW;
        if lost > LOSS_HIGH {
            let gap = DECREASE_GAP_US.saturating_add(rtt_us.unwrap_or(RTT_DEFAULT_US));
            let since = self.decreased_us.map(|at| now_us.saturating_sub(at));
            if since.is_none_or(|since| since >= gap) {
                self.decreased_us = Some(now_us);
                let from = self.remb.map_or(self.rate, |remb| self.rate.min(remb));
                self.rate = (from * (1.0 - 0.5 * lost)).max(MIN_BITS_PER_SECOND);
            }
        } else if !self.lossy {
            let seconds = (elapsed as f64 / 1e6).min(5.0);
            let limit = if self.remb.is_some() { f64::INFINITY } else { SENT_FACTOR * sent };
            let grown = self.rate * GROWTH.powf(seconds) + 1_000.0 * seconds;
            self.rate = grown.min(limit).max(self.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_takes_it_down_and_none_lets_it_up_to_twice_what_is_sent() {
        let mut reports = Reports::new(1e6);
        reports.report(0, 0.2, Some(50_000), 1e6);
        assert_eq!(reports.rate(), 0.9e6);
        reports.report(200_000, 0.2, Some(50_000), 1e6);
        assert_eq!(reports.rate(), 0.9e6, "once a round trip");
        reports.report(1_200_000, 0.05, None, 1e6);
        assert_eq!(reports.rate(), 0.9e6);
        reports.report(2_200_000, 0.0, None, 1e6);
        assert_eq!(reports.rate(), 0.9e6 * 1.08 + 1_000.0);
        for second in 3..60 {
            reports.report(second * 1_000_000, 0.0, None, 0.6e6);
        }
        assert_eq!(reports.rate(), 1.2e6);
        for second in 60..200 {
            reports.report(second * 1_000_000, 1.0, None, 0.6e6);
        }
        assert_eq!(reports.rate(), MIN_BITS_PER_SECOND);
    }

    #[test]
    fn a_remb_lifts_it_unless_there_is_loss() {
        let mut reports = Reports::new(1e6);
        reports.set_remb(3e6);
        assert_eq!((reports.rate(), reports.remb()), (3e6, Some(3e6)));
        reports.report(0, 0.2, None, 1e6);
        reports.set_remb(3e6);
        assert_eq!(reports.rate(), 2.7e6);
    }
}
