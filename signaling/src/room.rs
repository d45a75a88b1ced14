//! A room as a pure state machine: command and time in, effects out.
//!
//! Owns who is here, what they publish and what each of them is shown. Never waits, never touches a socket, never reads the clock;
//! randomness comes from a seeded generator. [`actor`] runs it, [`registry`] finds it.

mod actor;
mod admin;
mod binding;
mod bitrates;
mod chat;
mod command;
mod data;
mod demand;
mod events;
mod explain;
mod lobby;
mod moderation;
mod outbox;
mod outlook;
mod over_http;
mod participant;
mod presence;
mod publishing;
mod registry;
mod resumption;
mod seating;
mod slots;
mod standing;
mod status;
#[cfg(test)]
mod tests;
mod track;
mod watching;

pub(crate) use actor::{ResumeRequest, Resumption, RoomHandle, Seat, SocketCommand};
pub(crate) use admin::{
    AdminCommand, ParticipantChange, ParticipantReport, RoomChange, RoomReport,
};
pub(crate) use command::{Effect, JoinCommand, Recipients, RoomCommand};
pub(crate) use explain::Explanation;
pub(crate) use outbox::{OutboxReader, Outgoing, outbox};
#[cfg(test)]
pub(crate) use outlook::LayerInfo;
pub(crate) use outlook::{Farewell, LayerWish, Outlook};
pub(crate) use over_http::{HttpJoin, HttpRole, IceSession, IfMatch, Joined, Reply};
pub(crate) use registry::{JoinError, Registry};
pub(crate) use resumption::{Resumed, Unresumable, nothing_to_resume};
pub(crate) use watching::Watch;

use crate::ice::ConfiguredIceServer;
use crate::protocol::{
    ChatRequest, ClientMessage, ErrorCode, ParticipantId, PresenceRequest, ServerMessage, TrackId,
};
use bitrates::Bitrates;
use chat::ChatLog;
use explain::Inquiry;
use lobby::Door;
use outlook::ViewerCount;
use participant::Participant;
use rand::SeedableRng;
use rand::rngs::StdRng;
use resumption::Departed;
use seating::Voices;
use sfu::{Command, ConsumerId, Event, RouterId};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use track::Track;
use watching::Stage;

/// Most participants of one room.
pub(crate) const MAX_PARTICIPANTS: usize = 200;
/// Most WHEP viewers of one room; nobody is told of them, so they cost less.
pub(crate) const MAX_VIEWERS: usize = 2000;
/// Most tracks of one participant.
pub(crate) const MAX_TRACKS: usize = 20;
/// Most tracks of one room: a `welcome` that lists them all stays below the socket's write buffer.
pub(crate) const MAX_ROOM_TRACKS: usize = 1000;

/// What all rooms of a server have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomSettings {
    /// Handed to clients.
    pub(crate) ice_servers: Vec<ConfiguredIceServer>,
}

/// Why a request was refused: goes back as `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Numbers for media objects. The upper half is the room's serial, so that an event finds its room; none is ever used twice.
#[derive(Debug)]
pub(crate) struct MediaIds {
    room: u32,
    next: u32,
}

impl MediaIds {
    pub(crate) fn new(room: u32) -> Self {
        Self { room, next: 1 }
    }

    pub(crate) fn router(&self) -> RouterId {
        RouterId(u64::from(self.room) << 32)
    }

    fn next(&mut self) -> u64 {
        let id = (u64::from(self.room) << 32) | u64::from(self.next);
        self.next = self.next.checked_add(1).expect("four thousand million objects in one room");
        id
    }

    /// The serial of the room that made an id.
    pub(crate) fn room_of(id: u64) -> u32 {
        (id >> 32) as u32
    }
}

/// Whether it may change what event streams are told. The rest is frequent, and no news for anybody but the one concerned.
fn is_news(command: &RoomCommand) -> bool {
    !matches!(
        command,
        RoomCommand::Heard { .. }
            | RoomCommand::Media(
                Event::ConsumerLayer { .. }
                    | Event::ConsumerStatus { .. }
                    | Event::PublishedLayers { .. }
                    | Event::Data { .. }
            )
            | RoomCommand::Message { message: ClientMessage::PublishData(_), .. }
    )
}

/// One room.
#[derive(Debug)]
pub(crate) struct Room {
    name: String,
    settings: RoomSettings,
    /// Text of the application's.
    metadata: String,
    /// How long it stays without anybody, where that was asked for.
    linger: Option<Duration>,
    /// It ends then, unless somebody comes.
    ends_at: Option<Instant>,
    /// Most participants, where fewer than usual.
    limit: Option<usize>,
    ids: MediaIds,
    rng: StdRng,
    participants: BTreeMap<ParticipantId, Participant>,
    tracks: BTreeMap<TrackId, Track>,
    next_track: u32,
    /// Whose slot a consumer is.
    consumers: HashMap<ConsumerId, ParticipantId>,
    /// What viewers of the whole room are shown.
    stage: Stage,
    voices: Voices,
    departed: Departed,
    /// Of the command that is being executed.
    now: Instant,
    viewer_count: ViewerCount,
    bitrates: Bitrates,
    inquiry: Option<Inquiry>,
    chat: ChatLog,
    door: Door,
    /// Numbers raised hands.
    last_hand: u64,
    /// The media plane passes data on to the room.
    data_tapped: bool,
    effects: Vec<Effect>,
}

impl Room {
    /// An empty room. `seed` must be unpredictable outside of tests: ICE passwords come from it.
    pub(crate) fn new(
        name: String,
        settings: RoomSettings,
        ids: MediaIds,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        Self {
            name,
            settings,
            metadata: String::new(),
            linger: None,
            ends_at: None,
            limit: None,
            ids,
            rng: StdRng::from_seed(seed),
            participants: BTreeMap::new(),
            tracks: BTreeMap::new(),
            next_track: 1,
            consumers: HashMap::new(),
            stage: Stage::default(),
            voices: Voices::default(),
            departed: Departed::default(),
            now,
            viewer_count: ViewerCount::default(),
            bitrates: Bitrates::default(),
            inquiry: None,
            chat: ChatLog::default(),
            door: Door::default(),
            last_hand: 0,
            data_tapped: false,
            effects: Vec::new(),
        }
    }

    /// Whether nobody is here, nor awaited any longer.
    pub(crate) fn is_over(&self) -> bool {
        self.participants.is_empty() && self.ends_at.is_none() && self.door.is_clear()
    }

    /// Text of the application's.
    pub(crate) fn metadata(&self) -> &str {
        &self.metadata
    }

    /// How many are here, viewers not.
    pub(crate) fn members(&self) -> usize {
        self.participants.values().filter(|p| !p.is_viewer()).count()
    }

    /// How many are here, viewers included.
    pub(crate) fn population(&self) -> usize {
        self.participants.len()
    }

    /// When [`RoomCommand::Tick`] is due, if ever.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let own = self.participants.values().filter_map(Participant::next_deadline).min();
        let inquiry = self.inquiry.as_ref().map(Inquiry::next_deadline);
        let news = [self.stage.deadline(), self.viewers_deadline(), self.bitrates.deadline()];
        [own, inquiry, self.ends_at].into_iter().chain(news).flatten().min()
    }

    /// Executes one command.
    pub(crate) fn apply(&mut self, now: Instant, command: RoomCommand) -> Vec<Effect> {
        self.now = now;
        let news = is_news(&command);
        match command {
            RoomCommand::Join { participant, join, local } => self.join(participant, join, local),
            RoomCommand::JoinOverHttp { participant, join, local } => {
                let answer = self.join_over_http(now, participant, *join, local);
                self.effects.push(Effect::HttpAnswer { participant, answer });
            }
            RoomCommand::Message { from, message } => self.handle_message(now, from, message),
            RoomCommand::Refuse { participant, request, refusal } => {
                self.refuse_unread(participant, request, refusal);
            }
            RoomCommand::Resume { participant, secret, covered, unix } => {
                self.resume_signaling(now, participant, &secret, covered, unix);
            }
            RoomCommand::Heard { participant } => self.heard(participant),
            RoomCommand::SignalingClosed { participant, clean } => {
                self.signaling_closed(now, participant, clean);
            }
            RoomCommand::Leave { participant } => self.leave(participant),
            RoomCommand::PatchIce { participant, if_match, fragment } => {
                let reply = self.patch_ice(participant, &if_match, fragment);
                self.effects.push(Effect::Reply(reply));
            }
            RoomCommand::AnswerOffer { participant, sdp } => {
                let reply = self.answer_offer(now, participant, &sdp).map(|()| Reply::Done);
                self.effects.push(Effect::Reply(reply));
            }
            RoomCommand::Follow { participant } => {
                let reply = self.follow(participant).map(|()| Reply::Done);
                self.effects.push(Effect::Reply(reply));
            }
            RoomCommand::SetViewerLayer { participant, wish } => {
                let reply = self.set_viewer_layer(participant, wish).map(|()| Reply::Done);
                self.effects.push(Effect::Reply(reply));
            }
            RoomCommand::Renew { participant, request, grant } => {
                self.renew(participant, request, *grant);
            }
            RoomCommand::Correct { participant, grant } => {
                self.correct(participant, grant.as_deref());
            }
            RoomCommand::Admin(command) => {
                let reply = self.administer(command);
                self.effects.push(Effect::Reply(reply));
            }
            RoomCommand::Explain => self.explain(),
            RoomCommand::Media(event) => self.handle_event(now, event),
            RoomCommand::Tick => self.tick(now),
            RoomCommand::Drain { seconds } => self.drain(seconds),
            RoomCommand::Shutdown => self.shutdown(),
        }
        if news {
            self.pass_role_on();
            self.measure(now);
            self.tap_data();
            self.tell_followers(now);
        }
        self.ends_at = match self.linger.filter(|_| self.participants.is_empty()) {
            Some(linger) => self.ends_at.or(Some(now + linger)),
            None => None,
        };
        if self.ends_at.is_some_and(|end| end <= now) {
            (self.linger, self.ends_at) = (None, None);
        }
        if self.is_over() {
            // Somebody may come in this very moment: they find a new room.
            (self.door.locked, self.door.lobby, self.chat) = (false, false, self.chat.emptied());
        }
        std::mem::take(&mut self.effects)
    }

    fn handle_message(&mut self, now: Instant, from: ParticipantId, message: ClientMessage) {
        if self.hear_waiting(from, &message) || !self.takes(from, message.request()) {
            return;
        }
        let (request, result) = match message {
            ClientMessage::Offer(offer) => {
                let request = offer.request;
                return match self.offer(now, from, offer) {
                    Ok(()) => {}
                    Err(refusal) => self.refuse(from, request, refusal),
                };
            }
            ClientMessage::Publish(publish) => {
                let request = publish.request;
                return match self.announce(from, publish) {
                    Ok(()) => {}
                    Err(refusal) => self.refuse(from, request, refusal),
                };
            }
            ClientMessage::Candidate(candidate) => {
                return match Self::check_candidate(&candidate.candidate) {
                    Ok(()) => {}
                    Err(refusal) => self.refuse(from, None, refusal),
                };
            }
            ClientMessage::Ready(ready) => return self.ready(from, ready.offer_id),
            ClientMessage::Leave {} => return self.leave(from),
            ClientMessage::PublishData(publish) => {
                let request = publish.request;
                let result = self.publish_data(now, from, publish);
                // Whoever does not ask is told of refusals only.
                if result.is_ok() && request.is_none() {
                    return;
                }
                (request, result)
            }
            ClientMessage::SubscribeTopics(it) => {
                let request = it.request;
                self.subscribe_topics(from, it);
                (request, Ok(()))
            }
            ClientMessage::Unpublish(it) => (it.request, self.unpublish(from, it.track)),
            ClientMessage::Mute(it) => (it.request, self.mute(from, it.track, it.muted)),
            ClientMessage::Subscribe(it) => (it.request, self.subscribe(from, it.track, true)),
            ClientMessage::Unsubscribe(it) => (it.request, self.subscribe(from, it.track, false)),
            ClientMessage::SetLayer(it) => (it.request, self.set_layer(from, it)),
            ClientMessage::TrackSettings(it) => (it.request, self.track_settings(from, &it)),
            ClientMessage::TrackLimited(limited) => {
                return match self.track_limited(from, limited) {
                    Ok(()) => {}
                    Err(refusal) => self.refuse(from, None, refusal),
                };
            }
            ClientMessage::Chat(ChatRequest::Typing(it)) => return self.typing(from, it.typing),
            ClientMessage::Chat(it) => (it.request(), self.chat_request(from, it)),
            ClientMessage::Presence(it) => (it.request(), self.presence_request(from, it)),
            ClientMessage::Moderate(it) => return self.moderate(from, it),
            // The socket's task answers these itself.
            ClientMessage::Join(_)
            | ClientMessage::Resume(_)
            | ClientMessage::Ping(_)
            | ClientMessage::Renew(_) => return,
        };
        match result {
            Ok(()) => self.send(from, ServerMessage::Ok { request }),
            Err(refusal) => self.refuse(from, request, refusal),
        }
    }

    fn chat_request(&mut self, from: ParticipantId, request: ChatRequest) -> Result<(), Refusal> {
        match request {
            ChatRequest::Chat(it) => self.say(from, it.text, it.to),
            ChatRequest::ChatDelete(it) => self.take_back(from, it.message, it.reason),
            // It is not answered.
            ChatRequest::Typing(_) => Ok(()),
        }
    }

    fn presence_request(
        &mut self,
        from: ParticipantId,
        request: PresenceRequest,
    ) -> Result<(), Refusal> {
        match request {
            PresenceRequest::Presence(it) => self.set_presence(from, it),
            PresenceRequest::React(it) => self.react(from, it.reaction),
        }
    }

    fn send(&mut self, to: ParticipantId, message: ServerMessage) {
        self.effects.push(Effect::Send { to: Recipients::One(to), message });
    }

    fn send_to_others(&mut self, than: ParticipantId, message: ServerMessage) {
        self.effects.push(Effect::Send { to: Recipients::AllBut(than), message });
    }

    fn refuse(&mut self, to: ParticipantId, request: Option<u64>, refusal: Refusal) {
        let Refusal { code, message } = refusal;
        self.send(to, ServerMessage::Error { request, code, message });
    }

    fn media(&mut self, command: Command) {
        self.effects.push(Effect::Media(command));
    }
}
