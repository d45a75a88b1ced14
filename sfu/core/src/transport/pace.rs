//! How much may leave to one subscriber at once, and what waits because of it.
//!
//! A flush that found much (a caught-up keyframe, a worker that was kept waiting) would leave as one burst, which queues in front of the subscriber's
//! access link and delays its audio. What is above the limit waits as references into the producers' caches; it is judged only when it leaves.
//!
//! While the subscriber's link is not estimated, the limit is what it was sent so far. With an estimate it is that, and
//! all that leaves is charged to it: audio and repairs go at once, and video then waits the longer.

use std::collections::VecDeque;
use std::time::Duration;

/// How long the rest of a flush waits for the next part of it.
pub(crate) const SLOT: Duration = Duration::from_millis(5);
/// A flush may always be so many packets …
const PACKETS_MIN: usize = 10;
/// … or so much of the subscriber's rate, if that is more …
const BURST: Duration = Duration::from_millis(10);
/// … but never more bytes.
const BYTES_MAX: usize = 32 * 1024;
/// A worker that comes late sends what the slots that it missed would have sent; it makes up for so many.
const SLOTS_MAX: u64 = 8;
/// References that wait; more are dropped.
const WAITING_MAX: usize = 1024;
/// What waited so long is of no use any more, …
const WAIT_MAX_US: u64 = 500_000;
/// … or so long where a keyframe is in front of it that is needed because something was: it would be for nothing.
const WAIT_MAX_BEHIND_US: u64 = 2_000_000;
/// What waited so long leaves whatever the rate says: the queue is bounded in time.
const HURRY_US: u64 = 200_000;
/// The rate is measured over so long.
const WINDOW_US: u64 = 250_000;
/// Video leaves at so much of the estimate. At libwebrtc's 250 a keyframe builds a queue, which the estimator takes for a link that is
/// too narrow: on links that a layer fills by two thirds or more it fell each time that one was climbed to.
const PACE_PERCENT: u64 = 105;
/// With what it was given it may always be paced in so much of it, or it would wait for ever.
const GIVEN_PERCENT: u64 = 110;
/// What leaves unasked (audio, repairs) holds video up for so long at most.
const BEHIND_US: u64 = 250_000;
/// Repairs stand back when so much is on its way already: what a full queue lost would only fill it again.
const REPAIRS_BEHIND_US: u64 = 100_000;
/// … but for those of the lowest temporal layer, without which nothing goes on: they may take one part in so many of the rate.
const NEEDED_PART: u64 = 4;
/// At a paced rate so much may leave at once, beside the packet that begins within it …
const PACED_BURST_US: u64 = 10_000;
/// … and a whole frame where a link shows no limit: packets that leave together cost a third.
const ROOMY_BURST_US: u64 = 35_000;

/// A packet of a producer that a slot has not taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Key of the consumer, and which of its bindings this is for.
    pub(crate) consumer: usize,
    pub(crate) binding: u32,
    pub(crate) encoding: u8,
    /// Extended sequence number in the encoding's cache.
    pub(crate) seq: u64,
    /// Since when, in µs of the media clock.
    pub(crate) since_us: u64,
}

impl Waiting {
    /// `behind`: a keyframe for a slot that gave up.
    pub(crate) fn is_overdue(&self, now_us: u64, behind: bool) -> bool {
        let most = if behind { WAIT_MAX_BEHIND_US } else { WAIT_MAX_US };
        now_us.saturating_sub(self.since_us) > most
    }

    fn hurries(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.since_us) > HURRY_US
    }
}

/// What one flush took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) packets: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Pace {
    waiting: VecDeque<Waiting>,
    /// When something was left waiting last.
    left_us: u64,
    /// Bytes sent since the window began.
    window_bytes: u64,
    window_since_us: u64,
    /// Bytes per second of the last full window.
    rate: u64,
    /// Nanoseconds that a byte takes at the paced rate; 0: there is no estimate.
    byte_ns: u64,
    /// When all that left will have passed at the paced rate, in ns of the media clock.
    free_ns: u64,
    /// When there may be a repair again that there is no room for, likewise.
    needed_ns: u64,
    burst_us: u64,
    /// Nothing hurries: more is to be sent than the link carries, and the sound must get through.
    strict: bool,
    /// Bytes of all datagrams that left so far.
    total_bytes: u64,
    /// Video leaves twice, as far as there is room.
    spares: bool,
}

impl Pace {
    /// The same for a packet that waits.
    pub(crate) fn allows_waiting(
        &self,
        now_us: u64,
        taken: Taken,
        slots: usize,
        next: &Waiting,
    ) -> bool {
        let hurries = !self.strict && next.hurries(now_us) && taken.bytes < BYTES_MAX;
        hurries || self.allows(now_us, taken, slots)
    }

    /// May a flush that took so much already take one more packet? `slots`: of [`SLOT`], that it stands for.
    pub(crate) fn allows(&self, now_us: u64, taken: Taken, slots: usize) -> bool {
        if taken.bytes >= BYTES_MAX {
            return false;
        }
        if self.byte_ns > 0 {
            let free_ns = self.free_ns.max(now_us * 1000) + taken.bytes as u64 * self.byte_ns;
            return free_ns <= (now_us + self.burst_us) * 1000;
        }
        let burst = (self.rate as f64 * BURST.as_secs_f64()) as usize;
        taken.packets < PACKETS_MIN * slots || taken.bytes < burst * slots
    }

    /// The link is estimated at so many bits per second, and the slots were given so many of them (`None`: more than that, which does not leave faster for it).
    /// `roomy`: it shows no limit.
    pub(crate) fn set_estimate(&mut self, estimate: u64, given: Option<u64>, roomy: bool) {
        let given_rate = given.unwrap_or(0).saturating_mul(GIVEN_PERCENT);
        let rate = estimate.saturating_mul(PACE_PERCENT).max(given_rate);
        // What waited because of that would leave in one go when it is over.
        self.strict = given.is_none() || (self.strict && !self.waiting.is_empty());
        self.byte_ns = (8_000_000_000 * 100) / rate.max(100);
        self.burst_us = if roomy { ROOMY_BURST_US } else { PACED_BURST_US };
    }

    pub(crate) fn set_spares(&mut self, spares: bool) {
        self.spares = spares;
    }

    pub(crate) fn spares(&self) -> bool {
        self.spares
    }

    /// Bytes of all datagrams that left so far.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// A datagram leaves, whatever it is.
    #[inline]
    pub(crate) fn charge(&mut self, now_us: u64, bytes: usize) {
        self.total_bytes += bytes as u64;
        if self.byte_ns > 0 {
            let free_ns = self.free_ns.max(now_us * 1000) + bytes as u64 * self.byte_ns;
            self.free_ns = free_ns.min((now_us + BEHIND_US) * 1000);
        }
    }

    /// Is there room for a repair of video?
    pub(crate) fn allows_repair(&self, now_us: u64) -> bool {
        self.byte_ns == 0 || self.free_ns <= (now_us + REPAIRS_BEHIND_US) * 1000
    }

    /// May there be one that later pictures need, though there is no room?
    pub(crate) fn allows_needed_repair(&self, now_us: u64) -> bool {
        self.needed_ns <= now_us * 1000
    }

    /// A repair left that there was no room for.
    pub(crate) fn needed_repair(&mut self, now_us: u64, bytes: usize) {
        self.needed_ns = now_us * 1000 + bytes as u64 * self.byte_ns * NEEDED_PART;
    }

    /// Slots since something was left waiting.
    pub(crate) fn slots(&self, now_us: u64) -> usize {
        let passed = now_us.saturating_sub(self.left_us) / SLOT.as_micros() as u64;
        passed.clamp(1, SLOTS_MAX) as usize
    }

    /// Something is left waiting; it is due after [`SLOT`].
    pub(crate) fn left(&mut self, now_us: u64) {
        self.left_us = now_us;
    }

    /// Counts what a flush sent.
    pub(crate) fn sent(&mut self, now_us: u64, taken: Taken) {
        let elapsed = now_us.saturating_sub(self.window_since_us);
        if elapsed >= WINDOW_US {
            // After a pause the old window says nothing.
            let measured = self.window_bytes * 1_000_000 / elapsed;
            self.rate = if elapsed < 4 * WINDOW_US { measured } else { 0 };
            (self.window_bytes, self.window_since_us) = (0, now_us);
        }
        self.window_bytes += taken.bytes as u64;
    }

    /// Is there nothing that must leave before what comes now?
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets one more wait. `false`: there is no room.
    pub(crate) fn wait(&mut self, one: Waiting) -> bool {
        let room = self.waiting.len() < WAITING_MAX;
        if room {
            self.waiting.push_back(one);
        }
        room
    }

    /// Everything that waits, oldest first; what is not taken of it must be given back with [`Pace::give_back`].
    pub(crate) fn take(&mut self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn give_back(&mut self, rest: VecDeque<Waiting>) {
        // An empty one gives its memory back: few subscribers ever wait.
        if !rest.is_empty() {
            self.waiting = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pace: &Pace, size: usize) -> usize {
        let mut taken = Taken::default();
        while pace.allows(0, taken, 1) {
            taken = Taken { packets: taken.packets + 1, bytes: taken.bytes + size };
        }
        taken.packets
    }

    #[test]
    fn a_flush_is_ten_packets_or_ten_milliseconds_or_32_kib() {
        let (mut pace, mut now) = (Pace::default(), 0);
        assert_eq!(allowed(&pace, 1100), 10);
        for (rate, packets) in [(2_500_000, 23), (50_000_000, 30), (100_000, 10)] {
            for _ in 0..100 {
                now += 10_000;
                pace.sent(now, Taken { packets: 1, bytes: rate / 100 });
            }
            assert_eq!(allowed(&pace, 1100), packets, "{rate} bytes/s");
        }
    }

    /// Or what waits would become more and more as soon as the worker has much to do.
    #[test]
    fn a_late_flush_makes_up_for_the_slots_it_missed() {
        let mut pace = Pace::default();
        pace.left(1_000_000);
        assert_eq!([1, 5, 12, 900].map(|ms| pace.slots(1_000_000 + ms * 1000)), [1, 1, 2, 8]);
        let packets = |packets| Taken { packets, bytes: packets * 1100 };
        assert!(pace.allows(0, packets(19), 2) && !pace.allows(0, packets(20), 2));
        assert!(!pace.allows(0, packets(30), 8), "32 KiB at most");
    }

    /// 1 Mbit/s estimated, 1.05 Mbit/s paced: 131 bytes in 1 ms.
    #[test]
    fn with_an_estimate_what_leaves_is_paced() {
        let mut pace = Pace::default();
        pace.set_estimate(1_000_000, Some(600_000), false);
        let mut sent = 0;
        for now_us in (1_000_000..2_000_000).step_by(5000) {
            let mut taken = Taken::default();
            while pace.allows(now_us, taken, 1) {
                taken = Taken { packets: taken.packets + 1, bytes: taken.bytes + 1200 };
            }
            assert!(taken.packets <= 2, "a burst of {}", taken.packets);
            (0..taken.packets).for_each(|_| pace.charge(now_us, 1200));
            sent += taken.bytes;
        }
        assert!(sent.abs_diff(131_250) < 3000, "{sent}");
        // After a pause nothing is saved up; audio and repairs are charged.
        assert!(pace.allows(3_000_000, Taken { packets: 1, bytes: 1200 }, 1));
        assert!(!pace.allows(3_000_000, Taken { packets: 2, bytes: 2400 }, 1));
        (0..10).for_each(|_| pace.charge(3_000_000, 1200));
        assert!(pace.allows_repair(3_000_000), "91 ms behind");
        (0..10).for_each(|_| pace.charge(3_000_000, 1200));
        assert!(!pace.allows_repair(3_000_000), "183 ms behind");
        assert!(pace.allows_needed_repair(3_000_000), "one, all the same");
        pace.needed_repair(3_000_000, 1200);
        assert!(!pace.allows_needed_repair(3_036_000), "a quarter of the rate");
        assert!(pace.allows_needed_repair(3_037_000));
        assert!(!pace.allows(3_170_000, Taken::default(), 1));
        assert!(pace.allows(3_175_000, Taken::default(), 1));
        (0..1000).for_each(|_| pace.charge(4_000_000, 1200));
        assert!(pace.allows(4_250_000, Taken::default(), 1), "no debt is for ever");
        pace.set_estimate(100_000, Some(2_000_000), false);
        assert_eq!(pace.byte_ns, 3636, "it was given 2 Mbit/s");
    }

    #[test]
    fn what_is_more_than_the_link_carries_does_not_hurry() {
        let old = Waiting { consumer: 0, binding: 0, encoding: 0, seq: 0, since_us: 1_000_000 };
        let now_us = old.since_us + HURRY_US + 1;
        let mut pace = Pace::default();
        for (given, leaves) in [(Some(2_000_000), true), (None, false)] {
            pace.set_estimate(1_000_000, given, false);
            (0..20).for_each(|_| pace.charge(now_us, 1200));
            assert_eq!(pace.allows_waiting(now_us, Taken::default(), 1, &old), leaves);
        }
        assert_eq!(pace.byte_ns, 7619, "1.05 Mbit/s");
        pace.wait(old);
        let hurries = |pace: &Pace| pace.allows_waiting(now_us, Taken::default(), 1, &old);
        pace.set_estimate(1_000_000, Some(500_000), false);
        assert!(!hurries(&pace), "there is enough again, and much waits");
        pace.give_back(VecDeque::new());
        let _ = pace.take();
        pace.set_estimate(1_000_000, Some(500_000), false);
        assert!(hurries(&pace));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut pace = Pace::default();
        let one = Waiting { consumer: 0, binding: 0, encoding: 0, seq: 0, since_us: 0 };
        let kept = (0..10_000).filter(|_| pace.wait(one)).count();
        assert_eq!(kept, WAITING_MAX);
        assert!(one.is_overdue(WAIT_MAX_US + 1, false) && !one.is_overdue(WAIT_MAX_US, false));
        assert!(!one.is_overdue(WAIT_MAX_US + 1, true) && one.is_overdue(2_000_001, true));
    }
}
