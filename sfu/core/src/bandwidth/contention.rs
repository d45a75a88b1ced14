//! Does somebody else keep the queue long? A queue of our own goes away when less is sent. Where one stays, and packets that left together
//! come at a far higher rate than all that arrives of us, a flow that answers only to loss (a download by TCP) has the rest: giving way to
//! the delay then gives it everything. The rate is kept at a share of the link instead until the queue is gone, as RFC 8698 (NADA, 4.3) and
//! RFC 8298 (SCReAM, 4.1.2.1) also do; what the loss allows bounds it as ever.

use super::queue::Backlog;
use super::{FIRST_PROBE, PacketResult, ProbeCluster};

/// A queue of our own becomes so much shorter sooner, if we send so little.
const STAYS_US: u64 = 1_000_000;
const SHRINK_US: i64 = 50_000;
/// Below this share of what the link carries somebody else has the rest …
const OTHERS: f64 = 0.6;
/// … and this is ours.
const SHARE: f64 = 0.45;
/// The queue was empty for so long: they are gone. The window of one TCP flow after a loss leaves it empty for less.
const GONE_US: u64 = 1_000_000;
/// What arrived before is remembered for so long, and somewhat more would have.
const MEMORY_US: f64 = 30e6;
const MORE: f64 = 1.2;
/// Weight of a new value.
const WEIGHT: f64 = 0.1;

/// Two packets that leave together show what the link carries, if none did so by themselves: asked for after so long, and so often.
const ASK_US: u64 = 1_000_000;
const ASKS_MAX: u32 = 3;
const CLUSTER: ProbeCluster = ProbeCluster {
    id: FIRST_PROBE - 1,
    bits_per_second: 2_400_000,
    min_bytes: 1200,
    min_packets: 2,
    duration_us: 5_000,
};
/// Packets that left together tell of the link if they took so long (arrivals come in steps of 250 µs), and are so large.
const RUN_US: i64 = 500;
const RUN_BYTES: u32 = 500;

/// What one feedback tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) backlog: Backlog,
    /// How long the queue is.
    pub(super) queue_us: i64,
    /// Of all that arrives, bits per second.
    pub(super) acked: Option<f64>,
    /// Far less arrives than was sent.
    pub(super) choked: bool,
}

/// Packets that left at one time and came in a row.
#[derive(Debug, Default)]
struct Run {
    sent_us: u64,
    first_us: i64,
    last_us: i64,
    /// After the first one.
    bytes: u32,
    /// The first one waited long.
    late: bool,
}

#[derive(Debug, Default)]
pub(super) struct Contention {
    run: Run,
    /// Since when the queue is long and does not empty, and the longest that it was since.
    stays: Option<(u64, i64)>,
    /// Since when it is not long.
    short_us: Option<u64>,
    updated_us: u64,
    /// What arrived while it was short.
    before: f64,
    /// What the link carries, of packets that waited.
    capacity: Option<f64>,
    share: Option<f64>,
    asked: (u32, u64),
    asks: bool,
}

impl Contention {
    /// What the rate does not go below, in bits per second, while there is somebody.
    pub(super) fn share(&self) -> Option<f64> {
        self.share
    }

    /// `late`: it waited long.
    pub(super) fn add(&mut self, packet: &PacketResult, arrival_us: i64, late: bool) {
        if self.run.sent_us == packet.sent_us {
            self.run.last_us = self.run.last_us.max(arrival_us);
            self.run.bytes = self.run.bytes.saturating_add(packet.size.into());
            return;
        }
        let sent_us = packet.sent_us;
        let (first_us, last_us) = (arrival_us, arrival_us);
        let run =
            std::mem::replace(&mut self.run, Run { sent_us, first_us, last_us, bytes: 0, late });
        let took = run.last_us.saturating_sub(run.first_us);
        if run.late && took >= RUN_US && run.bytes >= RUN_BYTES {
            let rate = f64::from(run.bytes) * 8e6 / took as f64;
            self.capacity = Some(self.capacity.map_or(rate, |old| old + WEIGHT * (rate - old)));
        }
    }

    pub(super) fn update(&mut self, now_us: u64, seen: Seen) {
        let elapsed_us = now_us.saturating_sub(self.updated_us);
        self.updated_us = now_us;
        if seen.backlog != Backlog::Long {
            self.not_long(now_us, elapsed_us, seen.acked);
            return;
        }
        self.short_us = None;
        let (since_us, longest) = self
            .stays
            .filter(|(_, longest)| seen.queue_us > longest - SHRINK_US)
            .unwrap_or((now_us, seen.queue_us));
        self.stays = Some((since_us, longest.max(seen.queue_us)));
        let long_us = now_us.saturating_sub(since_us);
        let Some(acked) = seen.acked else { return };
        let Some(capacity) = self.capacity else {
            let (asked, at) = self.asked;
            self.asks = long_us >= ASK_US
                && acked < OTHERS * self.before
                && asked < ASKS_MAX
                && now_us.saturating_sub(at) >= ASK_US;
            return;
        };
        if self.share.is_some() || long_us >= STAYS_US && acked < OTHERS * capacity && !seen.choked
        {
            self.share = Some((SHARE * capacity).min(self.before * MORE));
        }
    }

    fn not_long(&mut self, now_us: u64, elapsed_us: u64, acked: Option<f64>) {
        self.stays = None;
        let since = *self.short_us.get_or_insert(now_us);
        if now_us.saturating_sub(since) >= GONE_US {
            (self.share, self.capacity, self.asked.0) = (None, None, 0);
        }
        if self.share.is_none() {
            let fades = (-(elapsed_us as f64) / MEMORY_US).exp();
            self.before = (self.before * fades).max(acked.unwrap_or(0.0));
        }
    }

    /// Packets to send together.
    pub(super) fn poll_probe(&mut self, now_us: u64) -> Option<ProbeCluster> {
        if !std::mem::take(&mut self.asks) {
            return None;
        }
        self.asked = (self.asked.0 + 1, now_us);
        Some(CLUSTER)
    }
}

/// Is it one of those? They are no probe of the rate.
pub(super) fn is_own(cluster: u16) -> bool {
    cluster == CLUSTER.id
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feedback every 50 ms, with as many packets of 1000 bytes together, one each 2 ms (4 Mbit/s).
    struct Link {
        contention: Contention,
        now_us: u64,
        together: u16,
    }

    impl Link {
        /// With 2 Mbit/s and no queue for two seconds.
        fn new(together: u16) -> Self {
            let mut link = Self { contention: Contention::default(), now_us: 0, together };
            link.pass(2_000, 2e6, |_| 0);
            link
        }

        fn pass(&mut self, ms: u64, acked: f64, queue_ms: impl Fn(i64) -> i64) {
            for at in (0..ms).step_by(50) {
                self.now_us += 50_000;
                let queue_us = queue_ms(at as i64) * 1000;
                for number in 0..self.together {
                    let arrival_us = self.now_us as i64 + queue_us + i64::from(number) * 2_000;
                    let packet = PacketResult {
                        number,
                        sent_us: self.now_us,
                        arrival_us: Some(arrival_us),
                        size: 1000,
                    };
                    self.contention.add(&packet, arrival_us, queue_us >= 30_000);
                }
                let backlog = if queue_us >= 30_000 { Backlog::Long } else { Backlog::Short };
                let seen = Seen { backlog, queue_us, acked: Some(acked), choked: false };
                self.contention.update(self.now_us, seen);
            }
        }
    }

    #[test]
    fn a_queue_that_stays_is_of_somebody_else() {
        let mut link = Link::new(3);
        link.pass(900, 4e5, |_| 100);
        assert_eq!(link.contention.share(), None, "it may be on its way down");
        link.pass(200, 4e5, |_| 100);
        assert_eq!(link.contention.share(), Some(SHARE * 4e6));
        link.pass(900, 4e5, |_| 0);
        assert!(link.contention.share().is_some(), "after a loss");
        link.pass(200, 4e5, |_| 0);
        assert_eq!(link.contention.share(), None);
    }

    #[test]
    fn it_is_ours_if_it_shrinks_or_the_link_carries_no_more() {
        let mut link = Link::new(3);
        link.pass(3_000, 4e5, |at| 330 - at / 10);
        assert_eq!(link.contention.share(), None, "it shrinks");
        let mut link = Link::new(3);
        link.pass(3_000, 3.6e6, |_| 200);
        assert_eq!(link.contention.share(), None, "everything that the link carries arrives");
    }

    #[test]
    fn packets_are_sent_together_if_none_were() {
        let mut link = Link::new(1);
        link.pass(900, 4e5, |_| 100);
        assert!(link.contention.poll_probe(link.now_us).is_none(), "too soon");
        link.pass(200, 4e5, |_| 100);
        assert!(link.contention.poll_probe(link.now_us).is_some());
        assert!(link.contention.poll_probe(link.now_us).is_none(), "once");
        link.together = 2;
        link.pass(100, 4e5, |_| 100);
        assert_eq!(link.contention.share(), Some(SHARE * 4e6));
    }
}
