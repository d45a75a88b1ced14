//! How long the queue at the link is: the one-way delay above the least one that was seen lately.
//!
//! The trend tells that a queue grows. How long it is decides whether that needs an answer at once: what encoders send moves by a tenth within a second, and a
//! link that carries just that has a queue at times, which goes by itself.

/// The least delay is looked for in the last one to two of these, for clocks drift.
const BASE_US: u64 = 15_000_000;
/// … or these, while somebody else keeps it long.
const BASE_US_CONTENDED: u64 = 60_000_000;
/// Packets that it takes to say anything.
const PACKETS_MIN: u32 = 3;
/// So long it is too long …
const LONG_US: i64 = 30_000;
/// … until it is this short.
const SHORT_US: i64 = 12_000;

/// A queue of so much …
const JUMP_US: i64 = 35_000;
/// … that grew by so much since the last feedback needs no trend to be seen.
const JUMP_GROWTH_US: i64 = 30_000;

/// Packets that came one after the other because the link is slow waited for so much of the time between them, at least.
const SPREAD: f64 = 0.3;
/// If each of them waited for so much of it, they left together, and come one by one: one pause of the link is not like that …
const STRUNG: f64 = 0.6;
/// … so that it is enough if the last one is so late …
const STRUNG_US: i64 = 50_000;
/// … and the last two have so many bytes: what small packets wait for is in front of them.
const STRUNG_BYTES: u32 = 1200;

/// A queue so old without anything that grew is another way, or how this one is.
const OLD_US: u64 = 5_000_000;
/// It empties when it got so much shorter.
const SHRINK_US: i64 = 5_000;

/// How the queue is, as far as feedback tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// Nothing is known of it.
    #[default]
    Unknown,
    /// It is short, or was so last and is not long yet.
    Short,
    /// It is long, or was so last and is not short yet.
    Long,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Least difference between the receiver's clock at arrival and ours at departure, in this part of the time and in the one before it.
    base: [Option<i64>; 2],
    since_us: u64,
    /// When it was not long last, or grew.
    grew_us: u64,
    /// The least one of some packets: a frame that leaves at once waits for itself. And how many they are.
    least: Option<i64>,
    packets: u32,
    /// The last packets, a ring.
    newest: [Packet; PACKETS_MIN as usize],
    count: u32,
    /// When there were enough packets last.
    last_us: i64,
    last_newest_us: i64,
    jumped: bool,
    strung_out: bool,
    shrank: bool,
    backlog: Backlog,
}

#[derive(Clone, Copy, Debug, Default)]
struct Packet {
    delay_us: i64,
    arrival_us: i64,
    bytes: u16,
}

impl Queue {
    #[inline]
    pub(super) fn add(&mut self, sent_us: u64, arrival_us: i64, bytes: u16) {
        let delay = arrival_us.wrapping_sub(sent_us as i64);
        self.least = Some(self.least.map_or(delay, |least| least.min(delay)));
        self.packets += 1;
        self.newest[(self.count % PACKETS_MIN) as usize] =
            Packet { delay_us: delay, arrival_us, bytes };
        self.count = self.count.wrapping_add(1);
    }

    /// After the packets of one feedback.
    /// `grows`: the trend says so; `contended`: somebody else keeps it long.
    pub(super) fn settle(&mut self, now_us: u64, grows: bool, contended: bool) {
        let base_us = if contended { BASE_US_CONTENDED } else { BASE_US };
        self.shrank = false;
        self.look_for_jump();
        if self.packets < PACKETS_MIN {
            return;
        }
        let Some(delay) = self.least.take() else { return };
        self.packets = 0;
        if now_us.saturating_sub(self.since_us) >= base_us {
            self.base = [None, self.base[0]];
            self.since_us = now_us;
        }
        self.base[0] = Some(self.base[0].map_or(delay, |base| base.min(delay)));
        let base = self.base().unwrap_or(delay);
        let long = delay.saturating_sub(base);
        self.shrank = self.last_us.saturating_sub(long) >= SHRINK_US;
        self.last_us = long;
        if grows || contended || self.backlog != Backlog::Long {
            self.grew_us = now_us;
        } else if now_us.saturating_sub(self.grew_us) >= OLD_US {
            self.base = [Some(delay), None];
        }
        self.backlog = match long {
            long if long >= LONG_US => Backlog::Long,
            short if short <= SHORT_US => Backlog::Short,
            _ => self.backlog,
        };
    }

    /// How long it was when there were enough packets last.
    pub(super) fn long_us(&self) -> i64 {
        self.last_us
    }

    /// Does a packet with this delay wait long?
    pub(super) fn is_late(&self, delay_us: i64) -> bool {
        self.base().is_some_and(|base| delay_us.saturating_sub(base) >= LONG_US)
    }

    fn base(&self) -> Option<i64> {
        self.base.iter().flatten().min().copied()
    }

    /// The newest packets tell of it a feedback sooner than the least delay of all.
    fn look_for_jump(&mut self) {
        (self.jumped, self.strung_out) = (false, false);
        let Some(base) = self.base().filter(|_| self.packets > 0) else { return };
        let least = self.newest.iter().map(|packet| packet.delay_us).min().unwrap_or(base);
        let long = least.saturating_sub(base);
        self.jumped = long >= JUMP_US && long.saturating_sub(self.last_newest_us) >= JUMP_GROWTH_US;
        self.last_newest_us = long;
        let [first, second, third] = self.newest();
        let waits = |before: Packet, packet: Packet| {
            let took = packet.arrival_us.saturating_sub(before.arrival_us);
            let waited = packet.delay_us.saturating_sub(before.delay_us);
            took > 0 && waited as f64 >= STRUNG * took as f64
        };
        let late = third.delay_us.saturating_sub(base) >= STRUNG_US;
        let large = u32::from(second.bytes) + u32::from(third.bytes) >= STRUNG_BYTES;
        self.strung_out = late && large && waits(first, second) && waits(second, third);
    }

    /// The last packets, oldest first.
    fn newest(&self) -> [Packet; PACKETS_MIN as usize] {
        let mut newest = self.newest;
        newest.rotate_left((self.count % PACKETS_MIN) as usize);
        newest
    }

    /// Did it become long within this feedback? The link is another one, and the trend needs 20 groups to see it.
    pub(super) fn has_jumped(&self) -> bool {
        self.jumped
    }

    /// Did the newest packets leave together and come one by one? A slow link's do; what it carries tells whether it is slower than before.
    pub(super) fn is_strung_out(&self) -> bool {
        self.strung_out
    }

    /// It is known to be long, sooner than the least delay of all tells.
    pub(super) fn lengthen(&mut self) {
        self.backlog = Backlog::Long;
    }

    /// What the link carried between the newest packets, bits per second, if they left much faster: who waits in a queue comes right behind the one before.
    pub(super) fn carried(&self) -> Option<f64> {
        let [first, second, third] = self.newest();
        let took = third.arrival_us.saturating_sub(first.arrival_us);
        let bytes = u32::from(second.bytes) + u32::from(third.bytes);
        let waited = third.delay_us.saturating_sub(first.delay_us);
        let spread = waited as f64 >= SPREAD * took as f64;
        (took > 0 && spread).then(|| f64::from(bytes) * 8e6 / took as f64)
    }

    /// Did it become shorter since the last feedback, whatever the trend says of what was before?
    pub(super) fn has_shrunk(&self) -> bool {
        self.shrank
    }

    pub(super) fn backlog(&self) -> Backlog {
        self.backlog
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(queue: &mut Queue, now_us: u64, delays_ms: &[i64]) -> Backlog {
        for delay in delays_ms.iter().cycle().take(delays_ms.len() * 3) {
            queue.add(now_us, now_us as i64 - 5_000_000_000 + delay * 1000, 1000);
        }
        queue.settle(now_us, false, false);
        queue.backlog()
    }

    #[test]
    fn it_is_long_until_it_is_short_again() {
        let mut queue = Queue::default();
        assert_eq!(queue.backlog(), Backlog::Unknown);
        let of = [20, 40, 51, 40, 33, 32, 40].map(|delay| after(&mut queue, 1_000_000, &[delay]));
        use Backlog::{Long, Short};
        assert_eq!(of, [Short, Short, Long, Long, Long, Short, Short]);
        assert_eq!(after(&mut queue, 1_100_000, &[90, 70, 25, 80]), Short, "a frame of its own");
        assert_eq!(after(&mut queue, 1_200_000, &[]), Short);
    }

    #[test]
    fn a_jump_is_seen_at_once_and_a_slow_growth_is_none() {
        let jumps = |delays: [i64; 6]| {
            let mut queue = Queue::default();
            delays.map(|delay| {
                after(&mut queue, 1_000_000, &[delay]);
                (queue.has_jumped(), queue.has_shrunk())
            })
        };
        let (no, jump, shrunk) = ((false, false), (true, false), (false, true));
        assert_eq!(jumps([20, 30, 110, 190, 195, 150]), [no, no, jump, jump, no, shrunk]);
        assert_eq!(jumps([20, 45, 70, 95, 120, 117]), [no; 6]);
        let mut queue = Queue::default();
        after(&mut queue, 1_000_000, &[20]);
        queue.add(1_000_000, 1_000_000 - 5_000_000_000 + 500_000, 1000);
        queue.settle(1_100_000, false, false);
        assert!(!queue.has_jumped(), "one packet");
    }

    #[test]
    fn what_waits_tells_what_the_link_carries() {
        let mut queue = Queue::default();
        assert_eq!(queue.carried(), None);
        for arrival in [5_000, 16_000, 32_000, 48_000] {
            queue.add(0, arrival, 1000);
        }
        assert_eq!(queue.carried(), Some(500_000.0));
        for at in [100_000, 120_000, 140_000] {
            queue.add(at, at as i64 + 48_000, 1000);
        }
        assert_eq!(queue.carried(), None, "they left like that");
    }

    #[test]
    fn packets_that_left_together_and_come_one_by_one_show_a_slow_link() {
        let strung = |arrivals_ms: [i64; 4], bytes: u16| {
            let mut queue = Queue::default();
            after(&mut queue, 0, &[2]);
            for arrival in arrivals_ms {
                queue.add(1_000_000, 1_000_000 - 5_000_000_000 + arrival * 1000, bytes);
            }
            queue.settle(1_100_000, false, false);
            queue.is_strung_out()
        };
        let strung_out = |arrivals_ms| strung(arrivals_ms, 1200);
        assert!(!strung([4, 20, 36, 52], 120), "sound, behind something else");
        assert!(strung_out([4, 20, 36, 52]));
        assert!(!strung_out([4, 8, 12, 16]), "not late");
        assert!(!strung_out([4, 6, 60, 60]), "one pause");
        assert!(!strung_out([4, 60, 62, 60]), "out of order");
        let mut queue = Queue::default();
        after(&mut queue, 0, &[2]);
        for (sent, delay) in [(1_000_000, 20), (1_030_000, 40), (1_060_000, 60)] {
            queue.add(sent, sent as i64 - 5_000_000_000 + delay * 1000, 1200);
        }
        queue.settle(1_200_000, false, false);
        assert!(!queue.is_strung_out(), "they left one by one");
    }

    /// Another way, or a clock that drifts.
    #[test]
    fn what_stays_is_no_queue() {
        let mut queue = Queue::default();
        after(&mut queue, 0, &[20]);
        assert_eq!(after(&mut queue, 5_000_000, &[120]), Backlog::Long);
        let shorter =
            (6..20).find(|at| after(&mut queue, at * 1_000_000, &[120]) == Backlog::Short);
        assert_eq!(shorter, Some(11));
        assert_eq!(after(&mut queue, 12_000_000, &[155]), Backlog::Long);
    }
}
