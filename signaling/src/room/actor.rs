//! One task per room: takes commands from a bounded mailbox, applies them, carries out the effects.
//!
//! Never waits for a participant: a full outbox closes that participant's socket.

use super::registry::Registry;
use super::{
    AdminCommand, Effect, Explanation, HttpJoin, JoinCommand, Joined, Outlook, Recipients, Refusal,
    Reply, Room, RoomCommand,
};
use crate::auth::{Revocations, unix_seconds};
use crate::media::Place;
use crate::protocol::{ParticipantId, ServerMessage};
use crate::webhook::{Happening, RoomFacts, Webhooks};
use axum::extract::ws::Utf8Bytes;
use sfu::{Event, WorkerId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Commands that may wait for a room. Sockets wait when it is full, so a flood slows its senders down.
const MAILBOX: usize = 1024;

/// Messages that may wait for one participant: a whole room's worth of tracks being published at once.
const OUTBOX: usize = 1024;

/// Data that may wait for one participant beside them.
const DATA_MESSAGES: usize = 1024;
const DATA_BYTES: usize = 1024 * 1024;

/// Where messages for one participant go; the other end is its socket's task.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    messages: mpsc::Sender<Utf8Bytes>,
    data: mpsc::Sender<QueuedData>,
    /// Bytes of data that may still be queued.
    data_bytes: Arc<Semaphore>,
    /// Cancelled when the participant reads too slowly.
    overflow: CancellationToken,
}

/// A message of another participant; its bytes count until it is dropped.
#[derive(Debug)]
pub(crate) struct QueuedData {
    pub(crate) text: Utf8Bytes,
    _bytes: OwnedSemaphorePermit,
}

/// The socket's end of an [`Outbox`].
#[derive(Debug)]
pub(crate) struct OutboxReader {
    /// Encoded messages; ends when the room hangs up.
    pub(crate) messages: mpsc::Receiver<Utf8Bytes>,
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

#[derive(Debug)]
pub(super) enum Mail {
    Join {
        join: Box<JoinCommand>,
        outbox: Outbox,
        reply: oneshot::Sender<ParticipantId>,
    },
    JoinOverHttp {
        join: Box<HttpJoin>,
        seat: Seat,
        reply: oneshot::Sender<HttpAnswer>,
    },
    Command(RoomCommand),
    /// A command that [`Effect::Reply`] answers.
    Ask(RoomCommand, oneshot::Sender<Result<Reply, Refusal>>),
    /// [`Effect::Explanation`] answers it.
    Explain(oneshot::Sender<Arc<Explanation>>),
    /// What a worker tells.
    Media(WorkerId, Event),
}

/// The new participant, and the answer to its offer.
pub(crate) type HttpAnswer = (ParticipantId, Result<Joined, Refusal>);

/// The room's end of a WHIP or WHEP session.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// Cancelled when the participant is gone.
    pub(crate) ended: CancellationToken,
    /// For its event streams.
    pub(crate) outlook: watch::Sender<Outlook>,
}

/// Sends commands to one room.
#[derive(Clone, Debug)]
pub(crate) struct RoomHandle {
    pub(super) mailbox: mpsc::Sender<Mail>,
}

impl RoomHandle {
    /// Queues a command; waits while the mailbox is full. A room that has ended ignores it.
    pub(crate) async fn send(&self, command: RoomCommand) {
        // The room ends only when nobody is in it, so nobody is left who could miss the command.
        let _ = self.mailbox.send(Mail::Command(command)).await;
    }

    /// Queues an event of the media plane.
    pub(crate) async fn hear(&self, worker: WorkerId, event: Event) {
        let _ = self.mailbox.send(Mail::Media(worker, event)).await;
    }

    /// Queues a command and waits for its answer. `None`: the room has ended.
    pub(crate) async fn ask(&self, command: RoomCommand) -> Option<Result<Reply, Refusal>> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Mail::Ask(command, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Does what somebody asks who manages the room. `None`: the room has ended.
    pub(crate) async fn administer(&self, command: AdminCommand) -> Option<Result<Reply, Refusal>> {
        self.ask(RoomCommand::Admin(command)).await
    }

    /// Why everybody sees what they see. `None`: the room has ended.
    pub(crate) async fn explain(&self) -> Option<Arc<Explanation>> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Mail::Explain(reply)).await.ok()?;
        answer.await.ok()
    }

    /// `None`: the room ended before it saw the request.
    pub(super) async fn join(&self, join: JoinCommand, outbox: Outbox) -> Option<ParticipantId> {
        let (reply, answer) = oneshot::channel();
        let join = Box::new(join);
        self.mailbox.send(Mail::Join { join, outbox, reply }).await.ok()?;
        answer.await.ok()
    }

    /// `None`: the room ended before it saw the request.
    pub(super) async fn join_over_http(&self, join: HttpJoin, seat: Seat) -> Option<HttpAnswer> {
        let (reply, answer) = oneshot::channel();
        let join = Box::new(join);
        self.mailbox.send(Mail::JoinOverHttp { join, seat, reply }).await.ok()?;
        answer.await.ok()
    }
}

pub(super) struct Actor {
    facts: RoomFacts,
    pub(super) room: Room,
    pub(super) place: Place,
    outboxes: HashMap<ParticipantId, Outbox>,
    /// Somebody to whom nothing was said yet; what is said to all before its welcome is not for it.
    entering: Option<(ParticipantId, Outbox)>,
    replies: HashMap<ParticipantId, oneshot::Sender<HttpAnswer>>,
    /// Ends the WHIP or WHEP session with its participant.
    sessions: HashMap<ParticipantId, (DropGuard, watch::Sender<Outlook>)>,
    /// Who waits for the answer to the command that is being executed.
    asking: Option<oneshot::Sender<Result<Reply, Refusal>>>,
    webhooks: Webhooks,
    /// Where it writes down whose token is worth less than it says.
    revocations: Arc<Revocations>,
    /// Who waits for an explanation.
    explaining: Vec<oneshot::Sender<Arc<Explanation>>>,
    next_participant: u32,
}

/// A mailbox for a room that is yet to be started.
pub(super) fn mailbox() -> (RoomHandle, mpsc::Receiver<Mail>) {
    let (mailbox, mail) = mpsc::channel(MAILBOX);
    (RoomHandle { mailbox }, mail)
}

impl Actor {
    pub(super) fn new(
        name: &str,
        room: Room,
        place: Place,
        revocations: Arc<Revocations>,
        webhooks: Webhooks,
    ) -> Self {
        Self {
            facts: RoomFacts::new(name, SystemTime::now()),
            revocations,
            webhooks,
            room,
            place,
            outboxes: HashMap::new(),
            entering: None,
            replies: HashMap::new(),
            sessions: HashMap::new(),
            asking: None,
            explaining: Vec::new(),
            next_participant: 1,
        }
    }

    /// Runs until nobody is in the room any more.
    pub(super) async fn run(mut self, mut mail: mpsc::Receiver<Mail>, registry: Arc<Registry>) {
        tracing::debug!(room = self.facts.name, "room opened");
        self.webhooks.tell(&self.facts, &Happening::Started);
        let mut share = registry.population.share(0);
        loop {
            let next = tokio::select! {
                next = mail.recv() => next,
                () = at(self.room.next_deadline()) => Some(Mail::Command(RoomCommand::Tick)),
            };
            let Some(next) = next else { break };
            self.handle(next).await;
            share.set(self.room.population());
            if self.room.is_over() && registry.retire(&self.facts.name, &mut mail) {
                break;
            }
        }
        self.webhooks.tell(&self.facts, &Happening::Finished);
        tracing::debug!(room = self.facts.name, "room closed");
    }

    async fn handle(&mut self, mail: Mail) {
        let command = match mail {
            Mail::Command(command) => command,
            Mail::Ask(command, reply) => {
                self.asking = Some(reply);
                command
            }
            Mail::Explain(reply) => {
                self.explaining.push(reply);
                RoomCommand::Explain
            }
            Mail::Media(worker, event) => RoomCommand::Media(self.place.hear(worker, event).await),
            Mail::Join { join, outbox, reply } => {
                let participant = self.new_participant();
                self.entering = Some((participant, outbox));
                // If the socket has gone meanwhile, its task still sends SignalingClosed.
                let _ = reply.send(participant);
                let local = self.place.enter(participant);
                RoomCommand::Join { participant, join, local }
            }
            Mail::JoinOverHttp { join, seat, reply } => {
                let participant = self.new_participant();
                self.replies.insert(participant, reply);
                self.sessions.insert(participant, (seat.ended.drop_guard(), seat.outlook));
                let local = self.place.enter(participant);
                RoomCommand::JoinOverHttp { participant, join, local }
            }
        };
        for effect in self.room.apply(Instant::now(), command) {
            self.carry_out(effect).await;
        }
    }

    fn new_participant(&mut self) -> ParticipantId {
        let participant = ParticipantId(self.next_participant);
        let next = self.next_participant.checked_add(1);
        self.next_participant = next.expect("four thousand million joins of one room");
        participant
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                if let Recipients::One(to) = to
                    && let Some((id, outbox)) = self.entering.take_if(|(id, _)| *id == to)
                {
                    self.outboxes.insert(id, outbox);
                }
                self.deliver(to, &message);
            }
            Effect::Data { to, reliable, message } => {
                let text = Utf8Bytes::from(message.encode());
                let outboxes = to.iter().filter_map(|id| self.outboxes.get(id));
                outboxes.for_each(|outbox| outbox.push_data(text.clone(), reliable));
            }
            Effect::Hangup { participant } => {
                self.outboxes.remove(&participant);
                self.sessions.remove(&participant);
                self.place.leave(participant);
            }
            Effect::HttpAnswer { participant, answer } => {
                if answer.is_err() {
                    self.sessions.remove(&participant);
                    self.place.leave(participant);
                }
                if let Some(reply) = self.replies.remove(&participant) {
                    // A requester that has gone leaves a session behind that never connects: it is reaped.
                    let _ = reply.send((participant, answer));
                }
            }
            Effect::Revoke { grant, verdict } => {
                let now = unix_seconds(SystemTime::now());
                self.revocations.add(now, &self.facts.name, &grant, verdict);
            }
            Effect::Happened(happening) => {
                self.facts.participants = self.room.members();
                self.room.metadata().clone_into(&mut self.facts.metadata);
                self.webhooks.tell(&self.facts, &happening);
            }
            Effect::Settle { transport, worker } => self.place.settle(transport, worker),
            Effect::Reply(answer) => {
                if let Some(reply) = self.asking.take() {
                    // Whoever asked may have gone; what was done stays done.
                    let _ = reply.send(answer);
                }
            }
            Effect::Explanation(explanation) => {
                let explanation = Arc::from(explanation);
                for reply in self.explaining.drain(..) {
                    // Whoever asked may have gone.
                    let _ = reply.send(Arc::clone(&explanation));
                }
            }
            Effect::Outlook { participant, outlook } => {
                if let Some((_, sender)) = self.sessions.get(&participant) {
                    sender.send_replace(outlook);
                }
            }
            Effect::Media(command) => self.place.execute(command).await,
        }
    }

    fn deliver(&self, to: Recipients, message: &ServerMessage) {
        // Who came over HTTP has no socket.
        if matches!(to, Recipients::One(id) if !self.outboxes.contains_key(&id)) {
            return;
        }
        let text = Utf8Bytes::from(message.encode());
        let everybody = self.outboxes.iter();
        match to {
            Recipients::One(id) => {
                self.outboxes.get(&id).into_iter().for_each(|outbox| outbox.push(text.clone()));
            }
            Recipients::All => everybody.for_each(|(_, outbox)| outbox.push(text.clone())),
            Recipients::AllBut(id) => everybody
                .filter(|(other, _)| **other != id)
                .for_each(|(_, outbox)| outbox.push(text.clone())),
        }
    }
}

impl Outbox {
    fn push(&self, text: Utf8Bytes) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.messages.try_send(text) {
            self.overflow.cancel();
        }
    }
}

impl Outbox {
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

/// Waits until then, or for ever.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for _ in 0..OUTBOX {
            outbox.push(Utf8Bytes::from_static("x"));
        }
        assert!(!reader.overflow.is_cancelled());
        outbox.push(Utf8Bytes::from_static("x"));
        assert!(reader.overflow.is_cancelled());
    }
}
