//! Deadlines: a small table per transport, and one heap over all transports. Cost follows due timers, not participants.

use crate::TransportId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Why a transport wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerKind {
    /// Consent, receiver and sender reports, which encodings flow: every 500 ms.
    Housekeeping,
    /// Transport-wide feedback to a publisher.
    Feedback,
    /// NACKs and keyframe requests to a publisher.
    Repair,
    /// DTLS retransmission or handshake timeout.
    Dtls,
    /// SCTP retransmission.
    Sctp,
    /// The next part of what waits to leave.
    Pace,
    /// A message for all that was too much when it came.
    Data,
}

impl TimerKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Pace,
        Self::Housekeeping,
        Self::Feedback,
        Self::Repair,
        Self::Dtls,
        Self::Sctp,
        Self::Data,
    ];
}

/// One transport's deadlines.
#[derive(Debug, Default)]
pub(crate) struct TimerTable {
    due: [Option<Instant>; TimerKind::ALL.len()],
    /// The deadline that stands in the heap.
    armed: Option<Instant>,
}

impl TimerTable {
    pub(crate) fn set(&mut self, kind: TimerKind, at: Option<Instant>) {
        self.due[kind as usize] = at;
    }

    /// Moves a deadline forward, never back.
    pub(crate) fn set_earlier(&mut self, kind: TimerKind, at: Instant) {
        let due = &mut self.due[kind as usize];
        *due = Some(due.map_or(at, |there| there.min(at)));
    }

    /// Takes a deadline that has passed.
    pub(crate) fn take(&mut self, kind: TimerKind, now: Instant) -> bool {
        let due = &mut self.due[kind as usize];
        let passed = due.is_some_and(|at| at <= now);
        if passed {
            *due = None;
        }
        passed
    }

    fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }
}

/// The heap. Entries that were overtaken by an earlier one stay in it and are skipped.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    heap: BinaryHeap<Reverse<(Instant, usize, TransportId)>>,
}

impl TimerQueue {
    /// Puts a transport's next deadline into the heap, if it is earlier than the one that stands there.
    pub(crate) fn arm(&mut self, key: usize, id: TransportId, table: &mut TimerTable) {
        let Some(next) = table.next() else { return };
        if table.armed.is_none_or(|armed| next < armed) {
            table.armed = Some(next);
            self.heap.push(Reverse((next, key, id)));
        }
    }

    /// Entries, those to skip included.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The earliest entry; it may be one to skip.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Removes the earliest entry that has passed.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, usize, TransportId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Whether a popped entry is the one that the table waits for; then it must be armed again afterwards.
    pub(crate) fn fires(table: &mut TimerTable, at: Instant) -> bool {
        let fires = table.armed == Some(at);
        if fires {
            table.armed = None;
        }
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_overtaken_entry_is_skipped() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let (mut queue, mut table) = (TimerQueue::default(), TimerTable::default());
        table.set(TimerKind::Housekeeping, Some(at(500)));
        queue.arm(3, TransportId(7), &mut table);
        table.set_earlier(TimerKind::Repair, at(20));
        queue.arm(3, TransportId(7), &mut table);
        assert!(queue.pop(at(10)).is_none());
        let (due, key, _) = queue.pop(at(20)).expect("the earlier one");
        assert_eq!(key, 3);
        assert!(TimerQueue::fires(&mut table, due));
        assert!(table.take(TimerKind::Repair, at(20)));
        assert!(!table.take(TimerKind::Housekeeping, at(20)));
        queue.arm(3, TransportId(7), &mut table);
        let fired = std::iter::from_fn(|| queue.pop(at(500)))
            .filter(|(due, _, _)| TimerQueue::fires(&mut table, *due))
            .count();
        assert_eq!(fired, 1);
    }
}
