//! What a worker counts, and how control gets to see it.
//!
//! A worker counts into plain fields of its own and copies them out about once a second, idle or not; control reads the copy. So a
//! scrape never costs a packet anything, shows values that are at most a second old, and tells a worker that hangs from one that has
//! nothing to do.

use crate::socket::SocketStats;
pub use crate::tcp::TcpStats;
use crate::{Handle, SrtpProfile, WorkerId};
use sfu_core::{Drops, MediaCounters};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of [`Durations`], in microseconds.
const DURATION_BOUNDS_US: [u64; 13] =
    [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];
/// Buckets of [`Sizes`]: up to 1, 2, 4, … 2048.
const SIZE_BUCKETS: usize = 12;

/// How often each size occurred, in powers of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    counts: [u64; SIZE_BUCKETS],
    sum: u64,
}

impl Sizes {
    pub(crate) fn record(&mut self, size: usize) {
        let bucket = (usize::BITS - size.saturating_sub(1).leading_zeros()) as usize;
        self.counts[bucket.min(SIZE_BUCKETS - 1)] += 1;
        self.sum += size as u64;
    }

    /// Occurrences of sizes up to `largest`, which becomes the last bound but infinity.
    #[must_use]
    pub fn distribution(&self, largest: u64) -> Distribution {
        let bounded = self.counts.iter().enumerate().map(|(i, &count)| (1_u64 << i, count));
        let (below, above): (Vec<_>, Vec<_>) = bounded.partition(|(bound, _)| *bound <= largest);
        let above = above.iter().map(|(_, count)| count).sum();
        let below = below.into_iter().map(|(bound, count)| (bound as f64, count));
        let buckets = below.chain([(f64::INFINITY, above)]).collect();
        Distribution { sum: self.sum as f64, buckets }
    }
}

/// How often something took how long, from 10 µs to 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    counts: [u64; DURATION_BOUNDS_US.len() + 1],
    sum: Duration,
}

impl Durations {
    pub(crate) fn record(&mut self, duration: Duration) {
        let bucket = DURATION_BOUNDS_US
            .iter()
            .position(|&bound| duration <= Duration::from_micros(bound))
            .unwrap_or(DURATION_BOUNDS_US.len());
        self.counts[bucket] += 1;
        self.sum += duration;
    }

    /// In seconds.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let bounds = DURATION_BOUNDS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::INFINITY]);
        let buckets = bounds.zip(self.counts).collect();
        Distribution { sum: self.sum.as_secs_f64(), buckets }
    }
}

/// A histogram, ready to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Of everything recorded.
    pub sum: f64,
    /// Upper bound and what was recorded between the bound before it and this one; the last bound is infinity.
    pub buckets: Vec<(f64, u64)>,
}

/// Connections made so far, by SRTP profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    aead_aes_128_gcm: u64,
    aead_aes_256_gcm: u64,
    aes_128_cm_sha1_80: u64,
}

impl Connections {
    pub(crate) fn count(&mut self, profile: SrtpProfile) {
        match profile {
            SrtpProfile::AeadAes128Gcm => self.aead_aes_128_gcm += 1,
            SrtpProfile::AeadAes256Gcm => self.aead_aes_256_gcm += 1,
            SrtpProfile::Aes128CmSha1_80 => self.aes_128_cm_sha1_80 += 1,
        }
    }

    /// A stable name of every profile, and its connections.
    #[must_use]
    pub fn by_profile(&self) -> [(&'static str, u64); 3] {
        [
            ("aead_aes_128_gcm", self.aead_aes_128_gcm),
            ("aead_aes_256_gcm", self.aead_aes_256_gcm),
            ("aes128_cm_hmac_sha1_80", self.aes_128_cm_sha1_80),
        ]
    }
}

/// One worker's counters as of its last publication.
#[derive(Clone, Debug, Default)]
pub struct WorkerMetrics {
    /// Its socket.
    pub socket: SocketStats,
    /// Its TCP connections.
    pub tcp: TcpStats,
    /// Its media.
    pub media: MediaCounters,
    /// Its dropped packets.
    pub drops: Drops,
    /// Time that forwarding took, system calls included, of each turn that sent something.
    pub flushes: Durations,
    /// Connections made.
    pub connections: Connections,
    /// Peer connections now.
    pub transports: usize,
    /// Incoming tracks now.
    pub producers: usize,
    /// Slots now.
    pub consumers: usize,
    /// Time not spent waiting, since the start.
    pub busy: Duration,
    /// The same over the last second, from 0.0 to 1.0.
    pub busy_ratio: f64,
    /// Commands that wait for this worker, at the time of asking.
    pub commands_waiting: usize,
    /// Events that the worker keeps because the queue to control is full.
    pub events_kept: usize,
    /// Events of all workers in the queue to control.
    pub events_queued: usize,
}

/// Where a worker puts its counters for control.
#[derive(Debug)]
pub(crate) struct Published {
    start: Instant,
    /// When the worker's loop last came round, in milliseconds after `start`.
    seen_ms: AtomicU64,
    commands_waiting: AtomicUsize,
    latest: Mutex<WorkerMetrics>,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            seen_ms: AtomicU64::new(0),
            commands_waiting: AtomicUsize::new(0),
            latest: Mutex::default(),
        }
    }
}

impl Published {
    /// Replaces what control sees. Never waits: while control is copying, its copy stays the one from before.
    pub(crate) fn publish(&self, now: Instant, fill: impl FnOnce(&mut WorkerMetrics)) {
        let seen = now.saturating_duration_since(self.start).as_millis() as u64;
        self.seen_ms.store(seen, Ordering::Relaxed);
        match self.latest.try_lock() {
            Ok(mut latest) => fill(&mut latest),
            Err(TryLockError::Poisoned(latest)) => fill(&mut latest.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    pub(crate) fn command_queued(&self) {
        self.commands_waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn commands_taken(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.commands_waiting.fetch_sub(count, Ordering::Relaxed);
    }

    fn read(&self) -> WorkerMetrics {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let commands_waiting = self.commands_waiting.load(Ordering::Relaxed);
        WorkerMetrics { commands_waiting, ..latest }
    }

    fn silence(&self, now: Instant) -> Duration {
        let seen = self.start + Duration::from_millis(self.seen_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(seen)
    }
}

impl Handle {
    /// A worker's counters, at most about a second old; `None`: there is no such worker.
    #[must_use]
    pub fn metrics(&self, worker: WorkerId) -> Option<WorkerMetrics> {
        self.link(worker).map(|link| link.published.read())
    }

    /// How long a worker's loop has not come round, as of `now`. It does so at least once a second, whether or not there is work.
    #[must_use]
    pub fn silence(&self, worker: WorkerId, now: Instant) -> Duration {
        self.link(worker).map_or(Duration::ZERO, |link| link.published.silence(now))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Config, DropReason, Sfu};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sizes_are_counted_in_powers_of_two() {
        let mut sizes = Sizes::default();
        for size in [1, 2, 3, 4, 5, 64, 65, 2048, 5000] {
            sizes.record(size);
        }
        let Distribution { sum, buckets } = sizes.distribution(64);
        assert!((sum - 7192.0).abs() < f64::EPSILON);
        let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 2, 1, 0, 0, 1, 3]);
        assert_eq!((buckets[6].0, buckets[7].0), (64.0, f64::INFINITY));
        assert_eq!(sizes.distribution(2048).buckets.len(), SIZE_BUCKETS + 1);
    }

    #[test]
    fn durations_are_counted_up_to_their_bounds() {
        let mut durations = Durations::default();
        for us in [0, 10, 11, 100_000, 100_001, 9_000_000] {
            durations.record(Duration::from_micros(us));
        }
        let Distribution { sum, buckets } = durations.distribution();
        assert!((sum - 9.200_022).abs() < 1e-9, "{sum}");
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1e-5, 2), (2e-5, 1), (0.1, 1), (f64::INFINITY, 2)]);
    }

    #[test]
    fn publishing_never_waits_for_a_reader() {
        let published = Published::default();
        published.publish(published.start, |metrics| metrics.transports = 1);
        let reader = published.latest.lock().unwrap();
        published.publish(published.start + SECOND, |metrics| metrics.transports = 2);
        drop(reader);
        assert_eq!(published.read().transports, 1);
        assert_eq!(
            published.silence(published.start + SECOND),
            Duration::ZERO,
            "alive all the same"
        );
        published.publish(published.start + SECOND, |metrics| metrics.transports = 2);
        assert_eq!(published.read().transports, 2);
        assert_eq!(published.silence(published.start + 8 * SECOND), 7 * SECOND);
    }

    #[test]
    fn an_idle_worker_shows_what_came_in_and_that_it_lives() {
        let media_ips = vec!["127.0.0.1".parse().unwrap()];
        let (handle, _events) =
            Sfu::start(Config { media_ips, workers: 1, ..Config::default() }).unwrap();
        let worker = WorkerId(0);
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let candidate = handle.candidates(worker)[0];
        peer.send_to(&[0xff; 100], candidate).unwrap();
        // A version 2 RTP header from an address that was never proved.
        peer.send_to(&[0x80; 50], candidate).unwrap();
        let command = crate::Command::CloseTransport { transport: crate::TransportId(1) };
        handle.send(worker, command).unwrap();
        let deadline = Instant::now() + 5 * SECOND;
        let metrics = loop {
            let metrics = handle.metrics(worker).unwrap();
            if metrics.socket.received == 2 && metrics.drops.get(DropReason::UnknownId) == 1 {
                break metrics;
            }
            assert!(Instant::now() < deadline, "{metrics:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(metrics.socket.received_bytes, 150);
        assert_eq!(metrics.drops.get(DropReason::Malformed), 1);
        assert_eq!(metrics.drops.get(DropReason::UnknownTuple), 1);
        assert_eq!(metrics.commands_waiting, 0);
        // Nothing comes any more, and yet it shows that it lives.
        let later = Instant::now() + 2 * SECOND + SECOND / 2;
        while Instant::now() < later {
            assert!(handle.silence(worker, Instant::now()) < 2 * SECOND);
            std::thread::sleep(Duration::from_millis(50));
        }
        handle.shutdown();
        assert!(handle.silence(worker, Instant::now() + 6 * SECOND) > 5 * SECOND);
        assert!(handle.metrics(WorkerId(1)).is_none());
    }
}
