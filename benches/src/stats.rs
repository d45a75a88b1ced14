//! What is counted in a window: histograms of fixed size, so that a long run costs what a short one does.

use hdrhistogram::Histogram;

use crate::target::Kind;

/// Run lengths that are told apart; longer ones count as the last.
pub(crate) const RUNS: usize = 16;
/// Longer delays count as this: a minute, in ns.
const DELAY_NS_MAX: u64 = 60_000_000_000;

/// Shared by all peers, because nobody asks for the delay of one.
#[derive(Debug)]
pub(crate) struct Stats {
    /// From the stamp in the payload to the kernel's arrival time, in ns: audio, video.
    delays: [Histogram<u64>; 2],
    /// How much later than planned a frame left, in ns.
    pub(crate) slip: Histogram<u64>,
    /// Packets in runs of 1, 2, … that arrived as one: the kernel stamps the segments of a message alike.
    pub(crate) runs: [u64; RUNS],
}

impl Stats {
    /// # Errors
    /// Never: the bounds are constants.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1_000, DELAY_NS_MAX, 3);
        Ok(Self { delays: [histogram()?, histogram()?], slip: histogram()?, runs: [0; RUNS] })
    }

    /// Forgets everything: a window begins.
    pub(crate) fn clear(&mut self) {
        self.delays.iter_mut().for_each(Histogram::clear);
        self.slip.clear();
        self.runs = [0; RUNS];
    }

    pub(crate) fn record_delay(&mut self, kind: Kind, ns: u64) {
        self.delays[kind as usize].saturating_record(ns);
    }

    pub(crate) fn record_run(&mut self, packets: usize) {
        if let Some(index) = packets.checked_sub(1) {
            self.runs[index.min(RUNS - 1)] += packets as u64;
        }
    }

    /// The delay in ms below which the share `q` of the sample lies; not a number without one.
    pub(crate) fn delay_ms(&self, kind: Kind, q: f64) -> f64 {
        quantile_ms(&self.delays[kind as usize], q)
    }

    /// Share of the packets whose run has a length in `lengths`, in percent.
    pub(crate) fn run_share(&self, lengths: impl Fn(usize) -> bool) -> f64 {
        let total: u64 = self.runs.iter().sum();
        let those: u64 = (1..)
            .zip(self.runs)
            .filter(|(length, _)| lengths(*length))
            .map(|(_, count)| count)
            .sum();
        100.0 * those as f64 / total as f64
    }
}

/// In ms, of a histogram in ns.
pub(crate) fn quantile_ms(histogram: &Histogram<u64>, q: f64) -> f64 {
    if histogram.is_empty() { f64::NAN } else { histogram.value_at_quantile(q) as f64 / 1e6 }
}

/// The middle one, or the mean of the two in the middle; not a number without values. What is not a number is left out.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if middle > 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values.get(middle).copied().unwrap_or(f64::NAN),
    }
}

/// The value below which the share `q` of `values` lies.
pub(crate) fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = ((values.len() as f64 * q).ceil() as usize).saturating_sub(1);
    values.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, f64::NAN, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[f64::NAN]).is_nan());
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((quantile(hundred.clone(), 0.5), quantile(hundred, 0.99)), (50.0, 99.0));
        assert!(quantile(Vec::new(), 0.5).is_nan());
    }

    #[test]
    fn delays_are_kept_apart_and_forgotten() {
        let mut stats = Stats::new().unwrap();
        for ms in 1..=100 {
            stats.record_delay(Kind::Video, ms * 1_000_000);
        }
        stats.record_delay(Kind::Audio, u64::MAX);
        assert!((stats.delay_ms(Kind::Video, 0.5) - 50.0).abs() < 0.1);
        assert!((stats.delay_ms(Kind::Video, 0.99) - 99.0).abs() < 0.1);
        assert!(stats.delay_ms(Kind::Audio, 0.5) >= 59_000.0);
        stats.clear();
        assert!(stats.delay_ms(Kind::Video, 0.5).is_nan());
    }

    #[test]
    fn runs_are_shares_of_packets() {
        let mut stats = Stats::new().unwrap();
        for packets in [5, 5, 5, 5, 1, 1, 1, 1, 1, 0, 75] {
            stats.record_run(packets);
        }
        assert_eq!(stats.run_share(|length| length == 5), 20.0);
        assert_eq!(stats.run_share(|length| length == 1), 5.0);
        assert_eq!(stats.run_share(|length| length > 5), 75.0);
    }
}
