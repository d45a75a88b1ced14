//! Events on their way to control: a bounded queue between the threads, and behind it a bounded backlog of the worker's own, so that a worker never waits
//! for control and control never misses an event in the middle.

use crate::WorkerId;
use sfu_core::Event;
use std::collections::VecDeque;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// Events kept while control's queue is full.
const BACKLOG_MAX: usize = 65_536;

/// Control is further behind than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    id: WorkerId,
    events: Sender<(WorkerId, Event)>,
    backlog: VecDeque<Event>,
    backlog_max: usize,
}

impl Outbox {
    pub(crate) fn new(id: WorkerId, events: Sender<(WorkerId, Event)>) -> Self {
        Self { id, events, backlog: VecDeque::new(), backlog_max: BACKLOG_MAX }
    }

    /// Sends an event behind all earlier ones, or keeps it.
    pub(crate) fn push(&mut self, event: Event) -> Result<(), Overflow> {
        let kept = if self.backlog.is_empty() { self.offer(event).err() } else { Some(event) };
        let Some(event) = kept else { return Ok(()) };
        if self.backlog.len() >= self.backlog_max {
            return Err(Overflow);
        }
        self.backlog.push_back(event);
        Ok(())
    }

    /// Sends of the backlog what fits now.
    pub(crate) fn retry(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(event) = self.offer(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }

    /// Is there nothing to try again?
    pub(crate) fn is_empty(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Is at least half of the queue free?
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.events.capacity() > self.events.max_capacity() / 2
    }

    /// How many are kept to be tried again.
    pub(crate) fn kept(&self) -> usize {
        self.backlog.len()
    }

    /// How many of all workers wait in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.events.max_capacity() - self.events.capacity()
    }

    /// Gives the event back when the queue is full. Without a receiver there is no control left to tell: the process is ending.
    fn offer(&self, event: Event) -> Result<(), Event> {
        match self.events.try_send((self.id, event)) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full((_, event))) => Err(event),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::TransportId;

    fn event(number: u64) -> Event {
        Event::TransportSilent { transport: TransportId(number), silent: true }
    }

    fn number(event: (WorkerId, Event)) -> u64 {
        match event {
            (WorkerId(3), Event::TransportSilent { transport, .. }) => transport.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_arrive_in_order_through_a_full_queue() {
        let (sender, mut events) = tokio::sync::mpsc::channel(2);
        let mut outbox = Outbox::new(WorkerId(3), sender);
        outbox.backlog_max = 3;
        for i in 0..5 {
            outbox.push(event(i)).unwrap();
        }
        assert_eq!(outbox.push(event(5)), Err(Overflow));
        assert_eq!(number(events.try_recv().unwrap()), 0);
        assert!(!outbox.is_empty());
        // There is room in the queue now, but 2 comes before 5.
        assert_eq!(outbox.push(event(5)), Err(Overflow));
        outbox.retry();
        outbox.push(event(5)).unwrap();
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            seen.push(number(event));
            outbox.retry();
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn without_control_events_are_let_go() {
        let (sender, events) = tokio::sync::mpsc::channel(1);
        let mut outbox = Outbox::new(WorkerId(3), sender);
        drop(events);
        for i in 0..100 {
            outbox.push(event(i)).unwrap();
        }
        assert!(outbox.is_empty());
    }
}
