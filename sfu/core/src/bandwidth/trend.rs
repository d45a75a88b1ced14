//! Does the one-way delay rise? A line through the last groups' delays, against a threshold that follows the link's own noise
//! (draft-ietf-rmcat-gcc-02, 5.3 and 5.4; the line instead of the Kalman filter is what browsers use).

use super::groups::Delta;

/// Groups that the line goes through.
const WINDOW: usize = 20;
/// Weight of the past in the smoothed delay.
const SMOOTHING: f32 = 0.9;
const GAIN: f32 = 4.0;
/// The slope counts fully after so many groups.
const DELTAS_FULL: u32 = 60;
/// The threshold goes up slowly and down faster, per ms.
const K_UP: f32 = 0.0087;
const K_DOWN: f32 = 0.039;
const THRESHOLD_FIRST: f32 = 12.5;
const THRESHOLD_MIN: f32 = 6.0;
const THRESHOLD_MAX: f32 = 600.0;
/// A slope so far above the threshold is a change of the link, not noise to get used to.
const ADAPT_MAX: f32 = 15.0;
/// The threshold moves for so long at most per group.
const ADAPT_MS_MAX: f32 = 100.0;
/// Overuse is told after so long above the threshold.
const OVERUSE_MS: f32 = 10.0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Usage {
    #[default]
    Normal,
    /// The queue grows.
    Over,
    /// The queue empties.
    Under,
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    /// Since the first group.
    arrival_ms: f32,
    delay_ms: f32,
}

#[derive(Debug)]
pub(super) struct Trend {
    /// A ring; the order does not matter to the line.
    points: [Point; WINDOW],
    deltas: u32,
    arrival_ms: f32,
    delay_ms: f32,
    smoothed_ms: f32,
    slope: f32,
    threshold: f32,
    /// How long, and by how many groups, the slope was above the threshold.
    over: Option<(f32, u32)>,
    usage: Usage,
}

impl Default for Trend {
    fn default() -> Self {
        Self {
            points: [Point::default(); WINDOW],
            deltas: 0,
            arrival_ms: 0.0,
            delay_ms: 0.0,
            smoothed_ms: 0.0,
            slope: 0.0,
            threshold: THRESHOLD_FIRST,
            over: None,
            usage: Usage::Normal,
        }
    }
}

impl Trend {
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// The queue is seen to grow by other means.
    pub(super) fn overuse(&mut self) {
        self.usage = Usage::Over;
    }

    pub(super) fn add(&mut self, delta: Delta) {
        let (sent_ms, arrival_ms) =
            (delta.sent_us as f32 / 1000.0, delta.arrival_us as f32 / 1000.0);
        self.arrival_ms += arrival_ms;
        self.delay_ms += arrival_ms - sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        let at = self.deltas as usize % WINDOW;
        self.points[at] = Point { arrival_ms: self.arrival_ms, delay_ms: self.smoothed_ms };
        self.deltas = self.deltas.saturating_add(1);
        if at + 1 == WINDOW {
            self.rebase();
        }
        let before = self.slope;
        if self.deltas as usize >= WINDOW {
            self.slope = fit(&self.points).unwrap_or(before);
        }
        if self.deltas >= 2 {
            self.detect(before, sent_ms, arrival_ms);
        }
    }

    /// Only differences matter; near zero an `f32` tells them exactly, however long the call is.
    fn rebase(&mut self) {
        let (arrival_ms, delay_ms) = (self.arrival_ms, self.smoothed_ms);
        for point in &mut self.points {
            point.arrival_ms -= arrival_ms;
            point.delay_ms -= delay_ms;
        }
        self.arrival_ms = 0.0;
        self.delay_ms -= delay_ms;
        self.smoothed_ms = 0.0;
    }

    fn detect(&mut self, before: f32, sent_ms: f32, arrival_ms: f32) {
        let weighted = self.deltas.min(DELTAS_FULL) as f32 * self.slope * GAIN;
        if weighted > self.threshold {
            // The first time it was above for about half of the time since the last group.
            let (ms, groups) = match self.over {
                None => (sent_ms / 2.0, 1),
                Some((ms, groups)) => (ms + sent_ms, groups + 1),
            };
            self.over = Some((ms, groups));
            if ms > OVERUSE_MS && groups > 1 && self.slope >= before {
                self.over = Some((0.0, 0));
                self.usage = Usage::Over;
            }
        } else {
            self.over = None;
            self.usage = if weighted < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.adapt(weighted.abs(), arrival_ms);
    }

    fn adapt(&mut self, weighted: f32, arrival_ms: f32) {
        if weighted > self.threshold + ADAPT_MAX {
            return;
        }
        let k = if weighted < self.threshold { K_DOWN } else { K_UP };
        // Below 1 in sum, or a long gap would throw the threshold to the other side.
        let step = (k * arrival_ms.clamp(0.0, ADAPT_MS_MAX)).min(1.0);
        self.threshold += step * (weighted - self.threshold);
        self.threshold = self.threshold.clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

/// Slope of the least squares line; none if all arrived at once.
fn fit(points: &[Point; WINDOW]) -> Option<f32> {
    let count = WINDOW as f32;
    let x_mean = points.iter().map(|p| p.arrival_ms).sum::<f32>() / count;
    let y_mean = points.iter().map(|p| p.delay_ms).sum::<f32>() / count;
    let (mut above, mut below) = (0.0, 0.0);
    for point in points {
        let x = point.arrival_ms - x_mean;
        above += x * (point.delay_ms - y_mean);
        below += x * x;
    }
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(groups: u32, arrival_us: i64) -> Trend {
        let mut trend = Trend::default();
        for _ in 0..groups {
            trend.add(Delta { sent_us: 10_000, arrival_us });
        }
        trend
    }

    #[test]
    fn a_delay_that_rises_is_overuse_and_one_that_falls_is_underuse() {
        assert_eq!(after(100, 10_000).usage(), Usage::Normal);
        assert_eq!(after(40, 11_500).usage(), Usage::Over);
        assert_eq!(after(40, 9_000).usage(), Usage::Under);
        let slope = after(200, 11_000).slope;
        assert!((slope - 1.0 / 11.0).abs() < 0.005, "1 ms every 11 ms: {slope}");
    }

    #[test]
    fn the_threshold_follows_the_noise() {
        let mut trend = Trend::default();
        for i in 0..500_i64 {
            trend.add(Delta {
                sent_us: 10_000,
                arrival_us: 10_000 + if i % 2 == 0 { 900 } else { -900 },
            });
        }
        assert_eq!(trend.threshold, THRESHOLD_MIN);
        // A slope just above the threshold raises it.
        for _ in 0..20 {
            trend.adapt(trend.threshold + 5.0, 10.0);
        }
        assert!(trend.threshold > THRESHOLD_MIN + 5.0, "{}", trend.threshold);
    }
}
