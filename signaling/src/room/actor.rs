//! One task per room: takes commands from a bounded mailbox, applies them, carries out the effects.
//!
//! Never waits for a participant: a full outbox closes that participant's socket.

use super::registry::Registry;
use super::{Effect, JoinCommand, Recipients, Room, RoomCommand, RoomSettings};
use crate::protocol::{ParticipantId, ServerMessage};
use axum::extract::ws::Utf8Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Commands that may wait for a room. Sockets wait when it is full, so a flood slows its senders down.
const MAILBOX: usize = 1024;

/// Messages that may wait for one participant: a whole room's worth of tracks being published at once.
const OUTBOX: usize = 1024;

/// Where messages for one participant go; the other end is its socket's task.
#[derive(Clone, Debug)]
pub struct Outbox {
    messages: mpsc::Sender<Utf8Bytes>,
    /// Cancelled when the participant reads too slowly.
    overflow: CancellationToken,
}

/// The socket's end of an [`Outbox`].
#[derive(Debug)]
pub struct OutboxReader {
    /// Encoded messages; ends when the room hangs up.
    pub messages: mpsc::Receiver<Utf8Bytes>,
    /// Cancelled when messages had to be dropped: the socket must be closed.
    pub overflow: CancellationToken,
}

/// Both ends of a new outbox.
pub fn outbox() -> (Outbox, OutboxReader) {
    let (sender, receiver) = mpsc::channel(OUTBOX);
    let overflow = CancellationToken::new();
    let reader = OutboxReader { messages: receiver, overflow: overflow.clone() };
    (Outbox { messages: sender, overflow }, reader)
}

#[derive(Debug)]
pub(super) enum Mail {
    Join { join: Box<JoinCommand>, outbox: Outbox, reply: oneshot::Sender<ParticipantId> },
    Command(RoomCommand),
}

/// Sends commands to one room.
#[derive(Clone, Debug)]
pub struct RoomHandle {
    pub(super) mailbox: mpsc::Sender<Mail>,
}

impl RoomHandle {
    /// Queues a command; waits while the mailbox is full. A room that has ended ignores it.
    pub async fn send(&self, command: RoomCommand) {
        // The room ends only when nobody is in it, so nobody is left who could miss the command.
        let _ = self.mailbox.send(Mail::Command(command)).await;
    }

    /// `None`: the room ended before it saw the request.
    pub(super) async fn join(&self, join: JoinCommand, outbox: Outbox) -> Option<ParticipantId> {
        let (reply, answer) = oneshot::channel();
        let join = Box::new(join);
        self.mailbox.send(Mail::Join { join, outbox, reply }).await.ok()?;
        answer.await.ok()
    }
}

struct Actor {
    room: Room,
    outboxes: HashMap<ParticipantId, Outbox>,
    next_participant: u32,
}

/// Starts a room's task; it ends when nobody is in the room any more.
pub(super) fn spawn(name: String, settings: RoomSettings, registry: Arc<Registry>) -> RoomHandle {
    let (mailbox, mail) = mpsc::channel(MAILBOX);
    let room = Room::new(name.clone(), settings);
    let actor = Actor { room, outboxes: HashMap::new(), next_participant: 1 };
    tokio::spawn(actor.run(name, mail, registry));
    RoomHandle { mailbox }
}

impl Actor {
    async fn run(mut self, name: String, mut mail: mpsc::Receiver<Mail>, registry: Arc<Registry>) {
        tracing::info!(room = name, "room opened");
        loop {
            let next = tokio::select! {
                next = mail.recv() => next,
                () = at(self.room.next_deadline()) => Some(Mail::Command(RoomCommand::Tick)),
            };
            let Some(next) = next else { break };
            self.handle(next);
            if self.room.is_empty() && registry.retire(&name, &mut mail) {
                break;
            }
        }
        tracing::info!(room = name, "room closed");
    }

    fn handle(&mut self, mail: Mail) {
        let now = Instant::now();
        let effects = match mail {
            Mail::Command(command) => self.room.apply(now, command),
            Mail::Join { join, outbox, reply } => {
                let participant = ParticipantId(self.next_participant);
                self.next_participant = self.next_participant.saturating_add(1);
                self.outboxes.insert(participant, outbox);
                // A socket that is gone already says so itself: its handle still sends SignalingClosed.
                let _ = reply.send(participant);
                self.room.apply(now, RoomCommand::Join { participant, join })
            }
        };
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } => self.deliver(to, &message),
            Effect::Hangup { participant } => {
                self.outboxes.remove(&participant);
            }
        }
    }

    fn deliver(&self, to: Recipients, message: &ServerMessage) {
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

/// Waits until then, or for ever.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
