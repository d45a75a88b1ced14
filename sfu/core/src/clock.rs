//! The server's media clock: maps the monotonic time that callers pass in to NTP time.

use std::time::{Duration, Instant};

/// Distance of the points where deadlines meet that may be somewhat off.
const GRID: Duration = Duration::from_millis(50);

/// Monotonic epoch and the NTP time at it. Never steps: wall-clock changes after start are ignored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaClock {
    epoch: Instant,
    epoch_ntp: u64,
}

impl MediaClock {
    pub(crate) fn new(epoch: Instant, epoch_ntp: u64) -> Self {
        Self { epoch, epoch_ntp }
    }

    /// NTP time, 32.32 fixed point seconds.
    pub(crate) fn ntp(&self, now: Instant) -> u64 {
        self.epoch_ntp.wrapping_add(ntp_from_duration(now.saturating_duration_since(self.epoch)))
    }

    /// `abs-send-time`: 6.18 fixed point seconds.
    pub(crate) fn abs_send_time(&self, now: Instant) -> u32 {
        ((self.ntp(now) >> 14) & 0x00ff_ffff) as u32
    }

    /// The nearest point of the grid. A deadline that may be somewhat off goes there, so that hundreds of them are one wake-up of the worker.
    pub(crate) fn on_grid(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.epoch) + GRID / 2;
        self.epoch + (since - past_grid(since))
    }

    /// The first point of the grid after `at`.
    pub(crate) fn grid_after(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.epoch);
        self.epoch + (since - past_grid(since)) + GRID
    }

    /// The moment that is so many microseconds after the epoch.
    pub(crate) fn instant(&self, micros: u64) -> Instant {
        self.epoch.checked_add(Duration::from_micros(micros)).unwrap_or(self.epoch)
    }

    /// Microseconds since the epoch.
    pub(crate) fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }
}

/// How far beyond a point of the grid this is.
fn past_grid(since: Duration) -> Duration {
    Duration::from_nanos((since.as_nanos() % GRID.as_nanos()) as u64)
}

/// Duration as 32.32 fixed point seconds.
pub(crate) fn ntp_from_duration(duration: Duration) -> u64 {
    (duration.as_secs() << 32) + ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A difference of two NTP times (32.32) in units of an RTP clock.
pub(crate) fn ntp_diff_to_rtp(diff: i64, clock_rate: u32) -> i64 {
    ((i128::from(diff) * i128::from(clock_rate)) >> 32) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_meet_on_the_grid_and_do_not_drift() {
        let epoch = Instant::now();
        let clock = MediaClock::new(epoch, 0);
        let at = |millis: f64| epoch + Duration::from_secs_f64(millis / 1000.0);
        for (asked, given) in
            [(0.0, 0.0), (24.9, 0.0), (25.1, 50.0), (509.0, 500.0), (500.1, 500.0)]
        {
            assert_eq!(clock.on_grid(at(asked)), at(given), "{asked}");
        }
        let half = Duration::from_millis(500);
        let mut due = at(50.0);
        for _ in 0..10 {
            // Fires a little late every time.
            due = clock.on_grid(due + Duration::from_micros(80) + half);
        }
        assert_eq!(due, at(5050.0));
        assert_eq!(clock.grid_after(due), at(5100.0), "after, not at");
        assert_eq!(clock.grid_after(at(5051.0)), at(5100.0));
    }
}
