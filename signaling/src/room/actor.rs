//! One task per room: takes commands from a bounded mailbox, applies them, carries out the effects.
//!
//! Never waits for a participant: a full outbox closes that participant's socket.

use super::outbox::{Delivery, Outbox, Outgoing, Subject};
use super::registry::Registry;
use super::resumption::nothing_to_resume;
use super::{
    AdminCommand, Effect, Explanation, HttpJoin, JoinCommand, Joined, Outlook, Recipients, Refusal,
    Reply, Resumed, Room, RoomCommand, Unresumable,
};
use crate::auth::{Grant, Revocations, Secret, unix_seconds};
use crate::media::Place;
use crate::protocol::{ParticipantId, ServerMessage};
use crate::webhook::{Happening, RoomFacts, Webhooks};
use axum::extract::ws::Utf8Bytes;
use sfu::{Event, WorkerId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Commands that may wait for a room. Sockets wait when it is full, so a flood slows its senders down.
const MAILBOX: usize = 1024;

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
    Resume {
        resume: ResumeRequest,
        outbox: Outbox,
        reply: oneshot::Sender<ResumeAnswer>,
    },
    /// A command from a participant's socket, of its sockets this one.
    FromSocket {
        participant: ParticipantId,
        socket: u32,
        command: SocketCommand,
    },
    /// A command that [`Effect::Reply`] answers.
    Ask(RoomCommand, oneshot::Sender<Result<Reply, Refusal>>),
    /// [`Effect::Explanation`] answers it.
    Explain(oneshot::Sender<Arc<Explanation>>),
    /// What a worker tells.
    Media(WorkerId, Event),
}

/// What a socket says on behalf of its participant.
#[derive(Debug)]
pub(crate) enum SocketCommand {
    Room(RoomCommand),
    /// The client has the events until this one.
    Confirm(u64),
}

/// Who wants to go on over another socket.
#[derive(Debug)]
pub(crate) struct ResumeRequest {
    pub(crate) participant: ParticipantId,
    pub(crate) secret: Secret,
    /// Number of the last event that came.
    pub(crate) event: u64,
}

/// Somebody who goes on.
#[derive(Debug)]
pub(crate) struct Resumption {
    pub(crate) resumed: Resumed,
    /// Number of the new one among the participant's sockets.
    pub(crate) socket: u32,
    /// Events that did not arrive.
    pub(crate) missed: Vec<Outgoing>,
}

pub(crate) type ResumeAnswer = Result<Resumption, Unresumable>;

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

    /// Queues what a participant's socket has to say; without effect where a newer socket speaks for the participant.
    pub(crate) async fn send_from(
        &self,
        participant: ParticipantId,
        socket: u32,
        command: SocketCommand,
    ) {
        let _ = self.mailbox.send(Mail::FromSocket { participant, socket, command }).await;
    }

    /// Moves a participant to another socket. `None`: the room has ended.
    pub(crate) async fn resume(
        &self,
        resume: ResumeRequest,
        outbox: Outbox,
    ) -> Option<ResumeAnswer> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Mail::Resume { resume, outbox, reply }).await.ok()?;
        answer.await.ok()
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
    deliveries: HashMap<ParticipantId, Delivery>,
    /// To those who wait to be let in; what is said to all is not for them.
    lobby: HashMap<ParticipantId, Delivery>,
    /// Somebody to whom nothing was said yet; what is said to all before its welcome is not for it.
    entering: Option<(ParticipantId, Outbox)>,
    /// Who waits for the answer to a resumption.
    resuming: Option<(ParticipantId, u64, Outbox, oneshot::Sender<ResumeAnswer>)>,
    replies: HashMap<ParticipantId, oneshot::Sender<HttpAnswer>>,
    /// Ends the WHIP or WHEP session with its participant.
    sessions: HashMap<ParticipantId, (DropGuard, watch::Sender<Outlook>)>,
    /// Who waits for the answer to the command that is being executed.
    asking: Option<oneshot::Sender<Result<Reply, Refusal>>>,
    webhooks: Webhooks,
    /// Where it writes down whose token is worth less than it says.
    revocations: Arc<Revocations>,
    /// To be done before anything else.
    corrections: Vec<RoomCommand>,
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
            deliveries: HashMap::new(),
            lobby: HashMap::new(),
            entering: None,
            resuming: None,
            replies: HashMap::new(),
            sessions: HashMap::new(),
            asking: None,
            corrections: Vec::new(),
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
        // Whoever was let in before the end may say something yet. Unheard in the mailbox, it would keep waiting for an answer.
        while mail.recv().await.is_some() {}
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
            Mail::Resume { resume, outbox, reply } => {
                let ResumeRequest { participant, secret, event } = resume;
                let delivery = self.deliveries.get(&participant);
                // Of somebody who is not here any more nothing is kept, but for why.
                let covered = delivery.is_some_and(|delivery| delivery.covers(event));
                self.resuming = Some((participant, event, outbox, reply));
                let unix = unix_seconds(SystemTime::now());
                RoomCommand::Resume { participant, secret, covered, unix }
            }
            Mail::FromSocket { participant, socket, command } => {
                match self.hear_socket(participant, socket, command) {
                    Some(command) => command,
                    None => return,
                }
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
        let mut next = Some(command);
        while let Some(command) = next {
            for effect in self.room.apply(Instant::now(), command) {
                self.carry_out(effect).await;
            }
            next = self.corrections.pop();
        }
    }

    /// Nothing, if a newer socket speaks for the participant.
    fn hear_socket(
        &mut self,
        participant: ParticipantId,
        socket: u32,
        command: SocketCommand,
    ) -> Option<RoomCommand> {
        let delivery = self.delivery(participant);
        let delivery = delivery.filter(|delivery| delivery.socket == socket)?;
        Some(match command {
            SocketCommand::Room(command) => command,
            SocketCommand::Confirm(event) => {
                delivery.confirm(event);
                RoomCommand::Heard { participant }
            }
        })
    }

    fn answer_resume(&mut self, answer: Result<Resumed, Unresumable>) {
        let Some((participant, event, outbox, reply)) = self.resuming.take() else { return };
        let delivery = self.deliveries.get_mut(&participant);
        let answer = answer.and_then(|resumed| {
            let delivery = delivery.ok_or_else(nothing_to_resume)?;
            let missed = delivery.move_to(outbox, event);
            Ok(Resumption { resumed, socket: delivery.socket, missed })
        });
        // A socket's task waits for the answer, whatever becomes of its socket.
        let _ = reply.send(answer);
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
                    self.deliveries.insert(id, Delivery::new(outbox));
                }
                self.deliver(to, &message);
            }
            Effect::Data { to, reliable, message } => {
                let text = Utf8Bytes::from(message.encode());
                let deliveries = to.iter().filter_map(|id| self.deliveries.get(id));
                deliveries.for_each(|delivery| delivery.push_data(text.clone(), reliable));
            }
            Effect::Wait { participant } => {
                if let Some((id, outbox)) = self.entering.take_if(|(id, _)| *id == participant) {
                    self.lobby.insert(id, Delivery::new(outbox));
                }
            }
            Effect::Admit { participant, grant } => self.admit(participant, &grant),
            Effect::Bans(bans) => self.revocations.set_bans(&self.facts.name, &bans),
            Effect::Hangup { participant } => {
                self.deliveries.remove(&participant);
                self.lobby.remove(&participant);
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
            Effect::Resumed(answer) => self.answer_resume(answer),
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

    /// Somebody who waited in the lobby is let in.
    fn admit(&mut self, participant: ParticipantId, grant: &Grant) {
        if let Some(delivery) = self.lobby.remove(&participant) {
            self.deliveries.insert(participant, delivery);
        }
        // A token may have been revoked meanwhile.
        let correction = self.revocations.correction(&self.facts.name, participant, grant);
        self.corrections.extend(correction);
    }

    /// To somebody who is here, or waits to be let in.
    fn delivery(&mut self, id: ParticipantId) -> Option<&mut Delivery> {
        self.deliveries.get_mut(&id).or_else(|| self.lobby.get_mut(&id))
    }

    fn deliver(&mut self, to: Recipients, message: &ServerMessage) {
        // Who came over HTTP has no socket.
        if matches!(to, Recipients::One(id) if self.delivery(id).is_none()) {
            return;
        }
        let subject = Subject::of(message);
        let text = Utf8Bytes::from(message.encode());
        let push = |delivery: &mut Delivery| delivery.push(subject, text.clone());
        match to {
            Recipients::One(id) => self.delivery(id).into_iter().for_each(push),
            Recipients::All => self.deliveries.values_mut().for_each(push),
            Recipients::AllBut(id) => {
                let others = self.deliveries.iter_mut().filter(|(other, _)| **other != id);
                others.for_each(|(_, delivery)| push(delivery));
            }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{RoomSettings, outbox};
    use super::*;
    use crate::media::Media;
    use serde_json::Value;
    use tokio::sync::mpsc::error::TryRecvError;

    #[tokio::test]
    async fn what_an_older_socket_still_brings_counts_for_nothing() {
        let sfu = sfu::Config { workers: 1, ..sfu::Config::default() };
        let media = Media::new(sfu::Sfu::start(sfu).unwrap().0, Vec::new());
        let (settings, webhooks) = (RoomSettings::default(), Webhooks::default());
        let registry = Registry::new(settings, media, Arc::default(), webhooks);
        let (sender, mut reader) = outbox();
        let join = JoinCommand {
            request: None,
            identity: "ada".into(),
            name: "Ada".into(),
            grant: Grant::OPEN,
            max_audio: None,
            max_video: None,
            compact: false,
        };
        let (room, participant) = registry.join("r", join, sender).await.unwrap();
        let welcome = reader.messages.recv().await.unwrap().text();
        let welcome: Value = serde_json::from_str(&welcome).unwrap();
        let secret = Secret::new(welcome["secret"].as_str().unwrap().to_owned());
        let resume = ResumeRequest { participant, secret, event: 1 };
        let (sender, mut reader) = outbox();
        let moved = room.resume(resume, sender).await.unwrap().unwrap();
        assert_eq!(moved.socket, 1);
        let leave = || SocketCommand::Room(RoomCommand::Leave { participant });
        let lost = RoomCommand::SignalingClosed { participant, clean: true };
        room.send_from(participant, 0, SocketCommand::Room(lost)).await;
        room.send_from(participant, 0, leave()).await;
        assert!(room.administer(AdminCommand::Describe).await.is_some());
        assert_eq!(reader.messages.try_recv().unwrap_err(), TryRecvError::Empty, "she is here");
        room.send_from(participant, 1, leave()).await;
        assert!(reader.messages.recv().await.is_none());
    }
}
