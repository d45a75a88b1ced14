//! What waits for one subscriber: bounded and limited in time.

use super::frame::Parcel;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that must arrive: whoever lets more wait is too slow.
const RELIABLE_BYTES_MAX: usize = 2 << 20;
const RELIABLE_MESSAGES_MAX: usize = 8192;
/// Whoever lets so much wait delays those who address messages to it …
const PRESSED_ABOVE: usize = 256 * 1024;
/// … until there is no more than this.
const PRESSED_UNTIL: usize = 128 * 1024;
/// Whoever took nothing for so long, or took so little that a sender waited so long, is too slow.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Messages that may be lost: older ones make room.
const LOSSY_BYTES_MAX: usize = 128 * 1024;
const LOSSY_MESSAGES_MAX: usize = 512;
/// Older ones are not sent any more.
const LOSSY_AGE_MAX: Duration = Duration::from_millis(200);

/// Beyond this, nothing more is read for another worker, or for control.
const OUTFLOW_BYTES_MAX: usize = 512 * 1024;
const OUTFLOW_MESSAGES_MAX: usize = 1024;

/// One message for one channel.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) stream: u16,
    /// Without header.
    pub(crate) raw: bool,
    pub(crate) parcel: Arc<Parcel>,
    since: Instant,
}

impl Waiting {
    pub(crate) fn new(now: Instant, stream: u16, raw: bool, parcel: Arc<Parcel>) -> Self {
        Self { stream, raw, parcel, since: now }
    }
}

/// Messages that must arrive.
#[derive(Debug, Default)]
pub(crate) struct ReliableQueue {
    messages: VecDeque<Waiting>,
    bytes: usize,
    /// When the first one came, or the last one left.
    moved: Option<Instant>,
    pressed: bool,
    /// Since when a sender waits until less does.
    awaited: Option<Instant>,
}

impl ReliableQueue {
    /// `false`: too much waits already.
    pub(crate) fn push(&mut self, waiting: Waiting) -> bool {
        let len = waiting.parcel.len();
        if self.messages.len() >= RELIABLE_MESSAGES_MAX || self.bytes + len > RELIABLE_BYTES_MAX {
            return false;
        }
        self.moved.get_or_insert(waiting.since);
        self.bytes += len;
        self.messages.push_back(waiting);
        self.update();
        true
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<Waiting> {
        let waiting = self.messages.pop_front()?;
        self.bytes -= waiting.parcel.len();
        self.moved = (!self.messages.is_empty()).then_some(now);
        self.update();
        Some(waiting)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Channel of the first message, if nothing has left for too long, or too little for a sender who waits.
    pub(crate) fn stalled(&self, now: Instant) -> Option<u16> {
        let stalled = |at: Instant| now.saturating_duration_since(at) >= STALLED_AFTER;
        let mut since = self.moved.into_iter().chain(self.awaited);
        if since.any(stalled) { self.first() } else { None }
    }

    /// A sender waits for it.
    pub(crate) fn hold_up(&mut self, now: Instant) {
        if self.pressed {
            self.awaited.get_or_insert(now);
        }
    }

    /// Channel of the first message.
    pub(crate) fn first(&self) -> Option<u16> {
        self.messages.front().map(|waiting| waiting.stream)
    }

    /// Drops what waits for a channel.
    pub(crate) fn forget(&mut self, now: Instant, stream: u16) {
        self.messages.retain(|waiting| waiting.stream != stream);
        self.bytes = self.messages.iter().map(|waiting| waiting.parcel.len()).sum();
        self.moved = (!self.messages.is_empty()).then_some(now);
        self.update();
    }

    /// So much waits that senders should wait too.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed
    }

    fn update(&mut self) {
        let limit = if self.pressed { PRESSED_UNTIL } else { PRESSED_ABOVE };
        self.pressed = self.bytes > limit;
        self.awaited = self.awaited.filter(|_| self.pressed);
    }
}

/// Messages that may be lost.
#[derive(Debug, Default)]
pub(crate) struct LossyQueue {
    messages: VecDeque<Waiting>,
    bytes: usize,
}

impl LossyQueue {
    /// Returns how many older ones had to go.
    pub(crate) fn push(&mut self, waiting: Waiting) -> u64 {
        self.bytes += waiting.parcel.len();
        self.messages.push_back(waiting);
        let mut dropped = 0;
        while self.messages.len() > 1
            && (self.bytes > LOSSY_BYTES_MAX || self.messages.len() > LOSSY_MESSAGES_MAX)
        {
            self.take();
            dropped += 1;
        }
        dropped
    }

    /// The next one that is not too old, and how many were.
    pub(crate) fn pop(&mut self, now: Instant) -> (Option<Waiting>, u64) {
        let mut dropped = 0;
        while let Some(waiting) = self.take() {
            if now.saturating_duration_since(waiting.since) <= LOSSY_AGE_MAX {
                return (Some(waiting), dropped);
            }
            dropped += 1;
        }
        (None, dropped)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn take(&mut self) -> Option<Waiting> {
        let waiting = self.messages.pop_front()?;
        self.bytes -= waiting.parcel.len();
        Some(waiting)
    }
}

/// What waits for another worker or for control, which are never slow for long: beyond the limit nothing is read that would have to go there.
#[derive(Debug)]
pub(crate) struct Outflow<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Default for Outflow<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Outflow<T> {
    pub(crate) fn push(&mut self, item: T, bytes: usize) {
        self.bytes += bytes;
        self.waiting.push_back((item, bytes));
    }

    pub(crate) fn first(&self) -> Option<&T> {
        self.waiting.front().map(|(item, _)| item)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let (item, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some(item)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Messages that may be lost are, and others are not read.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= OUTFLOW_BYTES_MAX || self.waiting.len() >= OUTFLOW_MESSAGES_MAX
    }

    /// Far beyond: what nobody can hold back is lost.
    pub(crate) fn overflows(&self) -> bool {
        self.bytes >= 4 * OUTFLOW_BYTES_MAX || self.waiting.len() >= 4 * OUTFLOW_MESSAGES_MAX
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::DataMessage;
    use super::*;

    fn waiting(now: Instant, stream: u16, len: usize) -> Waiting {
        let payload = vec![0; len].into();
        let parcel = Parcel::new(&DataMessage { payload, ..DataMessage::default() });
        Waiting::new(now, stream, false, Arc::new(parcel))
    }

    #[test]
    fn a_reliable_queue_is_bounded_and_presses_before_it_is_full() {
        let now = Instant::now();
        let mut queue = ReliableQueue::default();
        let mut pressed_at = None;
        let taken = (0..100).take_while(|n| {
            let taken = queue.push(waiting(now, 1, 64 * 1024));
            if queue.is_pressed() {
                pressed_at.get_or_insert(*n);
            }
            taken
        });
        assert_eq!(taken.count(), 31);
        assert_eq!(pressed_at, Some(3), "above 256 KiB");
        while queue.is_pressed() {
            queue.pop(now).unwrap();
        }
        assert_eq!(queue.messages.len(), 1, "128 KiB with their headers are more than that");
        let mut small = ReliableQueue::default();
        let taken = (0..10_000).take_while(|_| small.push(waiting(now, 1, 1))).count();
        assert_eq!(taken, RELIABLE_MESSAGES_MAX);
    }

    #[test]
    fn who_takes_nothing_for_ten_seconds_stalls() {
        let t0 = Instant::now();
        let at = |seconds| t0 + Duration::from_secs(seconds);
        let mut queue = ReliableQueue::default();
        assert_eq!(queue.stalled(at(100)), None);
        queue.push(waiting(at(0), 3, 10));
        queue.push(waiting(at(5), 4, 10));
        assert_eq!(queue.stalled(at(9)), None);
        assert_eq!(queue.stalled(at(10)), Some(3));
        queue.pop(at(10));
        assert_eq!(queue.stalled(at(19)), None);
        assert_eq!(queue.stalled(at(20)), Some(4));
        queue.forget(at(20), 4);
        assert!(queue.is_empty() && queue.stalled(at(50)).is_none());
    }

    #[test]
    fn old_lossy_messages_make_room_and_are_not_sent_late() {
        let t0 = Instant::now();
        let mut queue = LossyQueue::default();
        let dropped: u64 = (0..600).map(|n| queue.push(waiting(t0, n, 10))).sum();
        assert_eq!(dropped, 88);
        let (first, late) = queue.pop(t0);
        assert_eq!((first.unwrap().stream, late), (88, 0));
        queue.push(waiting(t0 + LOSSY_AGE_MAX, 9, 10));
        let (next, late) = queue.pop(t0 + LOSSY_AGE_MAX + Duration::from_millis(1));
        assert_eq!((next.unwrap().stream, late), (9, 511));
        assert_eq!(queue.push(waiting(t0, 1, LOSSY_BYTES_MAX * 2)), 0, "one is always taken");
        assert_eq!(queue.push(waiting(t0, 2, 10)), 1);
        assert_eq!(queue.messages.len(), 1);
    }
}
