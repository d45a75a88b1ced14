//! Peers without transport-wide feedback: what their receiver reports and REMB allow.
//!
//! A REMB that falls below what is sent is right at once: its receiver saw a queue. One that rises, or is well above what is sent, follows that (1.5 times
//! of it at most), so it is no limit to what could come. One that stays to the bit is one. One that is not repeated, as none is while no video comes, says
//! nothing after a while.

use super::MIN_BITS_PER_SECOND;

/// Above so much loss down by half of it, at most once per round trip and this; below so little up by 8 % a second.
const LOSS_HIGH: f64 = 0.1;
const LOSS_LOW: f64 = 0.02;
const DECREASE_GAP_US: u64 = 300_000;
const GROWTH: f64 = 1.08;
/// No link loses so much of what it has room for.
const LOSS_FULL: f64 = 0.33;
/// Less is sound: what is lost of that says little of what pictures may take.
const SOUND: f64 = 300_000.0;
/// Growth ends at so much of what is sent: above the next layer of a simulcast.
const SENT_FACTOR: f64 = 4.0;
/// Below so much of the highest since it fell last, a REMB has fallen.
const FELL: f64 = 0.95;
/// Below so much of what is sent a REMB limits that.
const LIMITS: f64 = 1.2;
/// Near to where it fell, growth is so slow, for so long: to find out costs pictures.
const GROWTH_NEAR: f64 = 1.02;
const NEAR: f64 = 0.9;
const NEAR_US: u64 = 60_000_000;
/// What fell below so much of what is sent was no queue: a receiver says 0.85 of what came.
const CREDIBLE: f64 = 0.4;
/// So long a REMB counts, and that it rose. Receivers repeat it each 0.5 to 1 s.
const FRESH_US: u64 = 2_500_000;
const RTT_DEFAULT_US: u64 = 200_000;

/// REMBs about so many sets of SSRCs are kept, the newest.
const REMBS_MAX: usize = 16;

/// What a receiver said of some SSRCs last.
#[derive(Clone, Copy, Debug)]
struct Remb {
    /// The first of them.
    about: u32,
    bits_per_second: f64,
    /// What was sent then that it is not about.
    beside: f64,
    at_us: u64,
    /// That it said since it fell last.
    highest: f64,
    rose_us: Option<u64>,
    /// The one before said the same.
    steady: bool,
}

impl Remb {
    /// What all may take by its measure, if it limits that. `sent`: all that is, bits per second.
    fn limit(&self, now_us: u64, sent: f64) -> Option<f64> {
        let fresh = |at_us: u64| now_us.saturating_sub(at_us) < FRESH_US;
        let above = self.bits_per_second > LIMITS * (sent - self.beside);
        let follows = self.rose_us.is_some_and(fresh) || above;
        (fresh(self.at_us) && (self.steady || !follows)).then_some(self.all())
    }

    fn all(&self) -> f64 {
        self.bits_per_second + self.beside
    }
}

#[derive(Debug)]
pub(super) struct Reports {
    rate: f64,
    rembs: Vec<Remb>,
    /// The rate when a REMB fell last, and when that was.
    fell: Option<(f64, u64)>,
    /// Of the last report.
    lossy: bool,
    very_lossy: bool,
    reported_us: Option<u64>,
    decreased_us: Option<u64>,
}

impl Reports {
    pub(super) fn new(start: f64) -> Self {
        Self {
            rate: start,
            rembs: Vec::new(),
            fell: None,
            lossy: false,
            very_lossy: false,
            reported_us: None,
            decreased_us: None,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// The limit that the receiver sets. `sent` in bits per second.
    pub(super) fn remb(&self, now_us: u64, sent: f64) -> Option<f64> {
        self.rembs.iter().filter_map(|remb| remb.limit(now_us, sent)).min_by(f64::total_cmp)
    }

    /// Was there a REMB?
    pub(super) fn has_remb(&self) -> bool {
        !self.rembs.is_empty()
    }

    /// Was much lost of what the last report is about?
    pub(super) fn is_very_lossy(&self) -> bool {
        self.very_lossy
    }

    /// The receiver's own estimate of the SSRCs that begin with `about`. It looked at the delay: as long as nothing is lost, it is right.
    /// `beside`: what is sent that it is not about; `sent`: all that is.
    pub(super) fn set_remb(
        &mut self,
        now_us: u64,
        (about, bits_per_second): (u32, f64),
        beside: f64,
        sent: f64,
    ) {
        let bits_per_second = bits_per_second.max(MIN_BITS_PER_SECOND);
        let at = self.rembs.iter().position(|remb| remb.about == about);
        let before = at.map(|at| self.rembs.remove(at));
        let lower = before.is_some_and(|remb| bits_per_second < FELL * remb.highest);
        let rose = before.is_some_and(|remb| bits_per_second > remb.highest);
        let kept = before.filter(|_| !lower);
        let remb = Remb {
            about,
            bits_per_second,
            beside,
            at_us: now_us,
            highest: kept.map_or(bits_per_second, |remb| remb.highest.max(bits_per_second)),
            rose_us: if rose { Some(now_us) } else { kept.and_then(|remb| remb.rose_us) },
            steady: before.is_some_and(|remb| remb.bits_per_second == bits_per_second),
        };
        if self.rembs.len() == REMBS_MAX {
            self.rembs.remove(0);
        }
        self.rembs.push(remb);
        let measured = sent - beside;
        if lower && bits_per_second < LIMITS * measured {
            if bits_per_second > CREDIBLE * measured {
                self.fell = Some((self.rate, now_us));
            }
            self.rate = self.rate.min(remb.all());
        } else if !self.lossy {
            self.rate = self.rate.max(remb.all());
        }
    }

    /// `sent` in bits per second.
    pub(super) fn report(&mut self, now_us: u64, lost: f64, rtt_us: Option<u64>, sent: f64) {
        let elapsed = now_us.saturating_sub(self.reported_us.unwrap_or(now_us));
        self.reported_us = Some(now_us);
        (self.lossy, self.very_lossy) = (lost > LOSS_LOW, lost > LOSS_HIGH);
        if lost > LOSS_HIGH {
            let gap = DECREASE_GAP_US.saturating_add(rtt_us.unwrap_or(RTT_DEFAULT_US));
            let since = self.decreased_us.map(|at| now_us.saturating_sub(at));
            if since.is_none_or(|since| since >= gap) {
                self.decreased_us = Some(now_us);
                let from = self.remb(now_us, sent).map_or(self.rate, |remb| self.rate.min(remb));
                // What is sent is too much already, however much more was thought possible. Some report each five seconds only.
                let from = from.min(sent.max(SOUND));
                let got = if lost > LOSS_FULL { 1.0 - lost } else { 1.0 - 0.5 * lost };
                self.rate = (from * got).max(MIN_BITS_PER_SECOND);
            }
        } else if !self.lossy {
            let seconds = (elapsed as f64 / 1e6).min(5.0);
            let limit = self.rembs.iter().map(Remb::all).fold(SENT_FACTOR * sent, f64::max);
            let near = self.fell.is_some_and(|(rate, at_us)| {
                self.rate > NEAR * rate && now_us.saturating_sub(at_us) < NEAR_US
            });
            let growth = if near { GROWTH_NEAR } else { GROWTH };
            let grown = self.rate * growth.powf(seconds) + 1_000.0 * seconds;
            self.rate = grown.min(limit).max(self.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_takes_it_down_and_none_lets_it_up_to_four_times_what_is_sent() {
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
        assert_eq!(reports.rate(), 2.4e6);
        for second in 60..200 {
            reports.report(second * 1_000_000, 1.0, None, 0.6e6);
        }
        assert_eq!(reports.rate(), MIN_BITS_PER_SECOND);
    }

    #[test]
    fn a_report_of_a_link_that_became_narrow_is_enough() {
        let mut reports = Reports::new(4e6);
        reports.report(0, 0.75, None, 1.7e6);
        assert_eq!(reports.rate(), 0.425e6);
        let mut reports = Reports::new(4e6);
        reports.report(0, 0.2, None, 1.7e6);
        assert_eq!(reports.rate(), 0.9 * 1.7e6);
        let mut reports = Reports::new(0.5e6);
        reports.report(0, 0.2, None, 0.04e6);
        assert_eq!(reports.rate(), 0.9 * SOUND, "of sound alone");
    }

    #[test]
    fn a_remb_lifts_it_unless_there_is_loss() {
        let mut reports = Reports::new(1e6);
        reports.set_remb(0, (7, 3e6), 0.0, 1e6);
        assert_eq!((reports.rate(), reports.remb(0, 3e6)), (3e6, Some(3e6)));
        reports.report(0, 0.2, None, 1e6);
        reports.set_remb(0, (7, 3e6), 0.0, 1e6);
        assert_eq!(reports.rate(), 0.9e6, "of 1 Mbit/s a fifth is lost");
        assert!(reports.is_very_lossy());
    }

    #[test]
    fn a_remb_that_falls_counts_at_once_and_one_that_follows_is_no_limit() {
        const SECOND: u64 = 1_000_000;
        let mut reports = Reports::new(1e6);
        reports.set_remb(0, (7, 1e6), 0.0, 0.7e6);
        assert_eq!(reports.remb(0, 0.7e6), None, "above what is sent");
        reports.set_remb(SECOND, (7, 0.3e6), 0.1e6, 0.7e6);
        assert_eq!((reports.rate(), reports.remb(SECOND, 0.7e6)), (0.4e6, Some(0.4e6)));
        // It stays: that is a limit, for as long as it is repeated.
        reports.set_remb(2 * SECOND, (7, 0.3e6), 0.1e6, 0.2e6);
        assert_eq!(reports.remb(4 * SECOND, 0.2e6), Some(0.4e6));
        assert_eq!(reports.remb(4 * SECOND + SECOND / 2, 0.2e6), None);
        // It rises with what is sent.
        reports.set_remb(5 * SECOND, (7, 0.31e6), 0.1e6, 0.2e6);
        assert_eq!(reports.remb(5 * SECOND, 0.4e6), None);
        for second in 5..120 {
            reports.report(second * SECOND, 0.0, None, 0.2e6);
        }
        assert_eq!(reports.rate(), 0.8e6, "four times what is sent");
        // It falls with what is sent, and stays above that.
        reports.set_remb(120 * SECOND, (7, 0.25e6), 0.0, 0.15e6);
        assert_eq!((reports.rate(), reports.remb(120 * SECOND, 0.15e6)), (0.8e6, None));
        reports.set_remb(121 * SECOND, (7, 0.13e6), 0.0, 0.15e6);
        assert_eq!((reports.rate(), reports.remb(121 * SECOND, 0.15e6)), (0.13e6, Some(0.13e6)));
        assert!(!reports.is_very_lossy());
    }

    #[test]
    fn each_track_has_an_estimate_of_its_own() {
        let mut reports = Reports::new(1e6);
        for half_second in 0..20 {
            let now_us = half_second * 500_000;
            // 300 and 100 kbit/s are sent; each follows its own.
            let wave = (half_second % 2) as f64 * 1e3;
            reports.set_remb(now_us, (7, 0.45e6 + wave), 0.1e6, 0.4e6);
            reports.set_remb(now_us, (8, 0.16e6 + wave), 0.3e6, 0.4e6);
            reports.report(now_us, 0.0, None, 0.4e6);
            assert_eq!(reports.remb(now_us, 0.4e6), None);
        }
        assert!(reports.rate() > 1.5e6, "nothing fell: {}", reports.rate());
        reports.set_remb(10_000_000, (7, 0.32e6), 0.1e6, 0.4e6);
        assert_eq!(reports.rate(), 0.42e6, "lower than it was, if not than the other's");
        reports.set_remb(10_000_000, (8, 0.08e6), 0.3e6, 0.4e6);
        assert_eq!(reports.rate(), 0.38e6);
        for about in 0..1000 {
            reports.set_remb(11_000_000, (about, 1e6), 0.0, 0.4e6);
        }
        assert_eq!(reports.rembs.len(), REMBS_MAX);
    }
}
