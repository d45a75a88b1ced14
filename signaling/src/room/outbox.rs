//! What goes to one participant: numbered events, those that wait for its socket, and those that are kept until it says that it has them,
//! for the case that it goes on over another socket.

use crate::protocol::{ServerMessage, TrackId};
use axum::extract::ws::Utf8Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Messages that may wait for one participant: a whole room's worth of tracks being published at once.
const OUTBOX: usize = 1024;
/// Data that may wait for one participant beside them.
const DATA_MESSAGES: usize = 1024;
const DATA_BYTES: usize = 1024 * 1024;
/// Most events that are kept for a participant which has not said that it has them.
const KEPT_EVENTS: usize = 1024;
/// Most bytes of them.
const KEPT_BYTES: usize = 1 << 20;

/// One message on its way to a socket.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Its number, unless it only concerns the socket.
    number: Option<u64>,
    /// Shared with everybody else to whom it goes.
    pub(crate) message: Utf8Bytes,
}

impl Outgoing {
    /// A message that only concerns one socket.
    pub(crate) fn unnumbered(message: &ServerMessage) -> Self {
        Self { number: None, message: message.encode().into() }
    }

    /// As it goes on the wire: an object whose first field is the number of the event.
    pub(crate) fn text(self) -> Utf8Bytes {
        match (self.number, self.message.strip_prefix('{')) {
            (Some(number), Some(fields)) => format!("{{\"event\":{number},{fields}").into(),
            _ => self.message,
        }
    }
}

/// Where messages for one participant go; the other end is its socket's task.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Outgoing>,
    data: mpsc::Sender<QueuedData>,
    /// Bytes of data that may still be queued.
    data_bytes: Arc<Semaphore>,
    /// Cancelled when the participant reads too slowly.
    overflow: CancellationToken,
}

/// A message of another participant, without number: it is not kept. Its bytes count until it is dropped.
#[derive(Debug)]
pub(crate) struct QueuedData {
    pub(crate) text: Utf8Bytes,
    _bytes: OwnedSemaphorePermit,
}

/// The socket's end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct OutboxReader {
    /// Encoded messages; ends when the room hangs up.
    pub(crate) messages: mpsc::Receiver<Outgoing>,
    /// What other participants say.
    pub(crate) data: mpsc::Receiver<QueuedData>,
    /// Cancelled when messages had to be dropped: the socket must be closed.
    pub(crate) overflow: CancellationToken,
}

/// Both ends of a new outbox.
pub(crate) fn outbox() -> (Outbox, OutboxReader) {
    let (sender, receiver) = mpsc::channel(OUTBOX);
    let overflow = CancellationToken::new();
    let (data, data_receiver) = mpsc::channel(DATA_MESSAGES);
    let data_bytes = Arc::new(Semaphore::new(DATA_BYTES));
    let reader =
        OutboxReader { messages: receiver, data: data_receiver, overflow: overflow.clone() };
    (Outbox { messages: sender, data, data_bytes, overflow }, reader)
}

impl Outbox {
    fn push(&self, outgoing: Outgoing) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.messages.try_send(outgoing) {
            self.overflow.cancel();
        }
    }

    /// Data that may be lost is left out where there is no room for it.
    fn push_data(&self, text: Utf8Bytes, reliable: bool) {
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.data_bytes).try_acquire_many_owned(bytes);
        let queued =
            room.is_ok_and(|bytes| self.data.try_send(QueuedData { text, _bytes: bytes }).is_ok());
        if !queued && reliable {
            self.overflow.cancel();
        }
    }
}

/// Everything that goes to one participant.
#[derive(Debug)]
pub(super) struct Delivery {
    outbox: Outbox,
    /// Counts the participant's sockets: only the last one speaks for it.
    pub(super) socket: u32,
    events: EventLog,
}

impl Delivery {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self { outbox, socket: 0, events: EventLog::default() }
    }

    pub(super) fn push(&mut self, subject: Option<Subject>, message: Utf8Bytes) {
        let number = Some(self.events.record(subject, message.clone()));
        self.outbox.push(Outgoing { number, message });
    }

    /// What another participant says.
    pub(super) fn push_data(&self, text: Utf8Bytes, reliable: bool) {
        self.outbox.push_data(text, reliable);
    }

    /// The participant has the events until this one.
    pub(super) fn confirm(&mut self, event: u64) {
        self.events.confirm(event);
    }

    /// Whether everything after this event is still there.
    pub(super) fn covers(&self, event: u64) -> bool {
        self.events.covers(event)
    }

    /// Goes on over another socket; returns what the participant has missed. The socket before, if it is still there, is told, and ends.
    pub(super) fn move_to(&mut self, outbox: Outbox, event: u64) -> Vec<Outgoing> {
        let message = "You go on over another socket.".to_owned();
        let closed = ServerMessage::Closed { reason: "taken_over".to_owned(), message };
        self.outbox.push(Outgoing::unnumbered(&closed));
        self.outbox = outbox;
        self.socket += 1;
        self.events.confirm(event);
        self.events.all()
    }
}

/// Of messages about one subject the last one says all there is to know, so only that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Speakers,
    Bindings,
    Status(TrackId),
    Layer(TrackId),
    PublishedLayers(TrackId),
}

impl Subject {
    pub(super) fn of(message: &ServerMessage) -> Option<Self> {
        Some(match message {
            ServerMessage::ActiveSpeakers { .. } => Self::Speakers,
            ServerMessage::Bindings { .. } => Self::Bindings,
            ServerMessage::TrackStatus(status) => Self::Status(status.track),
            ServerMessage::LayerChanged { track, .. } => Self::Layer(*track),
            ServerMessage::PublishedLayers { track, .. } => Self::PublishedLayers(*track),
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Kept {
    subject: Option<Subject>,
    message: Utf8Bytes,
}

/// The events that a participant may not have.
#[derive(Debug, Default)]
struct EventLog {
    /// Number of the last one; the first is 1.
    last: u64,
    /// Those until this one are gone, because they are confirmed or were too many.
    gone: u64,
    kept: BTreeMap<u64, Kept>,
    latest: HashMap<Subject, u64>,
    bytes: usize,
}

impl EventLog {
    fn record(&mut self, subject: Option<Subject>, message: Utf8Bytes) -> u64 {
        self.last += 1;
        if let Some(older) = subject.and_then(|subject| self.latest.insert(subject, self.last))
            && let Some(older) = self.kept.remove(&older)
        {
            self.bytes -= older.message.len();
        }
        self.bytes += message.len();
        self.kept.insert(self.last, Kept { subject, message });
        while self.kept.len() > KEPT_EVENTS || self.bytes > KEPT_BYTES {
            let Some(first) = self.kept.first_key_value().map(|(number, _)| *number) else { break };
            self.confirm(first);
        }
        self.last
    }

    fn confirm(&mut self, event: u64) {
        self.gone = self.gone.max(event.min(self.last));
        while let Some(first) = self.kept.first_entry().filter(|first| *first.key() <= event) {
            let (number, Kept { subject, message }) = first.remove_entry();
            self.bytes -= message.len();
            if let Some(subject) = subject
                && self.latest.get(&subject) == Some(&number)
            {
                self.latest.remove(&subject);
            }
        }
    }

    fn covers(&self, event: u64) -> bool {
        (self.gone..=self.last).contains(&event)
    }

    fn all(&self) -> Vec<Outgoing> {
        let outgoing = |(number, kept): (&u64, &Kept)| Outgoing {
            number: Some(*number),
            message: kept.message.clone(),
        };
        self.kept.iter().map(outgoing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Utf8Bytes {
        format!("{{\"type\":\"{text}\"}}").into()
    }

    fn texts(outgoing: impl IntoIterator<Item = Outgoing>) -> Vec<String> {
        outgoing.into_iter().map(|outgoing| outgoing.text().to_string()).collect()
    }

    fn drain(reader: &mut OutboxReader) -> Vec<String> {
        texts(std::iter::from_fn(|| reader.messages.try_recv().ok()))
    }

    #[test]
    fn data_that_is_not_read_is_bounded_and_only_what_must_arrive_costs_the_reader() {
        let (outbox, mut reader) = outbox();
        let text = Utf8Bytes::from("x".repeat(DATA_BYTES / 4));
        for _ in 0..6 {
            outbox.push_data(text.clone(), false);
        }
        assert!(!reader.overflow.is_cancelled());
        let queued = std::iter::from_fn(|| reader.data.try_recv().ok()).count();
        assert_eq!(queued, 4);
        for _ in 0..4 {
            outbox.push_data(text.clone(), true);
        }
        assert!(!reader.overflow.is_cancelled(), "what was read makes room");
        outbox.push_data(text, true);
        assert!(reader.overflow.is_cancelled());
    }

    #[test]
    fn a_full_outbox_gives_its_reader_up_and_waits_for_nobody() {
        let (outbox, reader) = outbox();
        let mut delivery = Delivery::new(outbox);
        for _ in 0..OUTBOX {
            delivery.push(None, text("x"));
        }
        assert!(!reader.overflow.is_cancelled());
        delivery.push(None, text("x"));
        assert!(reader.overflow.is_cancelled());
    }

    #[test]
    fn figure_10_what_was_missed_comes_once_and_in_order() {
        let (first, mut reader) = outbox();
        let mut delivery = Delivery::new(first);
        for name in ["a", "b"] {
            delivery.push(None, text(name));
        }
        assert_eq!(drain(&mut reader)[1], r#"{"event":2,"type":"b"}"#);
        drop(reader);
        for name in ["c", "d"] {
            delivery.push(None, text(name));
        }
        let (second, mut reader) = outbox();
        let missed = delivery.move_to(second, 2);
        assert_eq!(texts(missed), [r#"{"event":3,"type":"c"}"#, r#"{"event":4,"type":"d"}"#]);
        delivery.push(None, text("e"));
        assert_eq!(drain(&mut reader), [r#"{"event":5,"type":"e"}"#]);
        // The same again, as if nothing of it had arrived.
        assert_eq!(texts(delivery.move_to(outbox().0, 2)).len(), 3);
    }

    #[test]
    fn a_socket_that_is_taken_over_is_told() {
        let (first, mut reader) = outbox();
        let mut delivery = Delivery::new(first);
        delivery.move_to(outbox().0, 0);
        assert!(drain(&mut reader)[0].starts_with(r#"{"type":"closed","reason":"taken_over""#));
        assert!(reader.messages.is_closed() && delivery.socket == 1);
    }

    #[test]
    fn only_the_last_word_on_a_subject_is_kept() {
        let mut log = EventLog::default();
        let status = |track| Some(Subject::Status(TrackId(track)));
        log.record(status(7), text("old"));
        log.record(status(8), text("other"));
        log.record(None, text("between"));
        log.record(status(7), text("new"));
        let kept: Vec<u64> = log.kept.keys().copied().collect();
        assert_eq!(kept, [2, 3, 4]);
        assert!(log.covers(0));
        log.confirm(4);
        assert!(log.latest.is_empty() && log.bytes == 0);
    }

    #[test]
    fn too_much_is_not_kept_and_that_is_known() {
        let mut log = EventLog::default();
        for _ in 0..KEPT_EVENTS {
            log.record(None, text("x"));
        }
        assert!(log.covers(0) && log.covers(1024));
        log.record(None, text("x"));
        assert!(!log.covers(0) && log.covers(1));
        assert!(!log.covers(1026), "an event that there never was");
        log.record(None, "x".repeat(KEPT_BYTES).into());
        assert!(!log.covers(1024) && log.covers(1025));
        assert_eq!(log.bytes, KEPT_BYTES);
        log.record(None, "x".repeat(KEPT_BYTES + 1).into());
        assert!(!log.covers(1026) && log.bytes == 0);
    }

    #[test]
    fn what_is_confirmed_is_not_kept() {
        let mut log = EventLog::default();
        for _ in 0..5 {
            log.record(None, text("x"));
        }
        log.confirm(3);
        assert_eq!(log.kept.len(), 2);
        assert!(!log.covers(2) && log.covers(3));
        log.confirm(99);
        assert!(log.kept.is_empty() && log.covers(5) && !log.covers(99));
    }
}
