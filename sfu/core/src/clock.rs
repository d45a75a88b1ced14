//! The server's media clock: maps the monotonic time that callers pass in to NTP time.

use std::time::{Duration, Instant};

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

    /// Microseconds since the epoch.
    pub(crate) fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }
}

/// Duration as 32.32 fixed point seconds.
pub(crate) fn ntp_from_duration(duration: Duration) -> u64 {
    (duration.as_secs() << 32) + ((u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A difference of two NTP times (32.32) in units of an RTP clock.
pub(crate) fn ntp_diff_to_rtp(diff: i64, clock_rate: u32) -> i64 {
    ((i128::from(diff) * i128::from(clock_rate)) >> 32) as i64
}
