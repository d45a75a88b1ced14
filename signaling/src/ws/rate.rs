//! A token bucket. A socket that is out of tokens is not read, so a flood backs up into its sender.

use tokio::time::{Duration, Instant};

/// Frames per second in the long run.
const RATE: u32 = 50;
/// Frames at once.
const BURST: u32 = 200;

const COST: Duration = Duration::from_millis(1000 / RATE as u64);

/// Counts in time: it is full when `full_at` lies in the past, and each frame moves `full_at` by [`COST`].
#[derive(Debug)]
pub(crate) struct TokenBucket {
    full_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// When the next frame may be read.
    pub(crate) fn ready_at(&self) -> Instant {
        self.full_at.checked_sub(COST * (BURST - 1)).unwrap_or(self.full_at)
    }

    /// Pays for one frame that counts so often.
    pub(crate) fn take(&mut self, now: Instant, count: u32) {
        self.full_at = self.full_at.max(now) + COST.saturating_mul(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_28_a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut bucket = TokenBucket::new(start);
        for frame in 0..BURST {
            assert!(bucket.ready_at() <= start, "frame {frame}");
            bucket.take(start, 1);
        }
        assert_eq!(bucket.ready_at(), start + COST);
        let later = start + COST;
        bucket.take(later, 1);
        assert_eq!(bucket.ready_at(), later + COST);
    }

    #[test]
    fn a_large_frame_counts_as_many() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut bucket = TokenBucket::new(start);
        bucket.take(start, BURST);
        assert_eq!(bucket.ready_at(), start + COST);
    }

    #[test]
    fn an_idle_bucket_does_not_save_more_than_a_burst() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut bucket = TokenBucket::new(start);
        let later = start + Duration::from_secs(1000);
        for _ in 0..BURST {
            bucket.take(later, 1);
        }
        assert!(bucket.ready_at() > later);
    }
}
