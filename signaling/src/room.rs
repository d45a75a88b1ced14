//! A room as a pure state machine: command and time in, effects out.
//!
//! Owns who is here, what they publish and what each of them is shown. Never waits, never touches a socket, never reads the clock;
//! randomness comes from a seeded generator. [`actor`] runs it, [`registry`] finds it.

mod actor;
mod binding;
mod bitrates;
mod demand;
mod events;
mod explain;
mod outlook;
mod over_http;
mod participant;
mod presence;
mod publishing;
mod registry;
mod seating;
mod slots;
mod status;
#[cfg(test)]
mod tests;
mod track;
mod watching;

pub(crate) use actor::{OutboxReader, RoomHandle, Seat, outbox};
pub(crate) use explain::Explanation;
#[cfg(test)]
pub(crate) use outlook::LayerInfo;
pub(crate) use outlook::{Farewell, LayerWish, Outlook};
pub(crate) use over_http::{HttpJoin, HttpRole, IceSession, IfMatch, Joined, Reply};
pub(crate) use registry::{JoinError, Registry};
pub(crate) use watching::Watch;

use crate::auth::Grant;
use crate::ice::ConfiguredIceServer;
use crate::negotiation::LocalMedia;
use crate::protocol::{ClientMessage, ErrorCode, ParticipantId, ServerMessage, TrackId};
use crate::sdp::IceFragment;
use bitrates::Bitrates;
use explain::Inquiry;
use outlook::ViewerCount;
use participant::Participant;
use rand::SeedableRng;
use rand::rngs::StdRng;
use seating::Voices;
use sfu::{Command, ConsumerId, Event, RouterId, TransportId, WorkerId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
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

/// What happens to a room.
#[derive(Debug)]
pub(crate) enum RoomCommand {
    /// Somebody wants in.
    Join {
        /// Chosen by the actor, never used before in this room; it already knows where messages for it go.
        participant: ParticipantId,
        /// Who and what.
        join: Box<JoinCommand>,
        /// Where its media will be received.
        local: Arc<LocalMedia>,
    },
    /// Somebody wants in by WHIP or WHEP; answered by [`Effect::HttpAnswer`].
    JoinOverHttp {
        /// Chosen by the actor.
        participant: ParticipantId,
        /// Who and what.
        join: Box<HttpJoin>,
        /// Where its media will be received.
        local: Arc<LocalMedia>,
    },
    /// A message of somebody who is in.
    Message {
        /// Who.
        from: ParticipantId,
        /// What.
        message: ClientMessage,
    },
    /// The socket of a participant ended.
    SignalingClosed {
        /// Whose.
        participant: ParticipantId,
        /// With code 1000 or 1001.
        clean: bool,
    },
    /// `DELETE` of a WHIP or WHEP session.
    Leave {
        /// Whose.
        participant: ParticipantId,
    },
    /// `PATCH` of a WHIP or WHEP session: candidates, or an ICE restart; answered by [`Effect::Reply`].
    PatchIce {
        /// Whose.
        participant: ParticipantId,
        /// The client's precondition.
        if_match: IfMatch,
        /// What it says about its side.
        fragment: IceFragment,
    },
    /// The answer of a viewer to our offer; answered by [`Effect::Reply`].
    AnswerOffer {
        /// Whose.
        participant: ParticipantId,
        /// The SDP answer.
        sdp: String,
    },
    /// A session wants events; answered by [`Effect::Reply`], followed by [`Effect::Outlook`] from then on.
    Follow {
        /// Whose.
        participant: ParticipantId,
    },
    /// A viewer chooses a layer; answered by [`Effect::Reply`].
    SetViewerLayer {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        wish: LayerWish,
    },
    /// Somebody wants to know why everybody sees what they see; answered by [`Effect::Explanation`].
    Explain,
    /// What the media plane tells.
    Media(Event),
    /// The time of [`Room::next_deadline`] has come.
    Tick,
    /// The server stops: everybody is told and sent away.
    Shutdown,
}

/// Who wants in. All text has been checked by the protocol module.
#[derive(Clone, Debug)]
pub(crate) struct JoinCommand {
    /// Of the `join` message.
    pub(crate) request: Option<u64>,
    /// Who.
    pub(crate) identity: String,
    /// For people.
    pub(crate) name: String,
    /// What the token allows.
    pub(crate) grant: Grant,
    /// Most audio slots that the client wants; capped at 64.
    pub(crate) max_audio: Option<u16>,
    /// Most video slots that the client wants; capped at 64.
    pub(crate) max_video: Option<u16>,
}

/// What the actor does next, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Queue a message.
    Send {
        /// For whom.
        to: Recipients,
        /// What.
        message: ServerMessage,
    },
    /// Close the participant's socket once what is queued was sent; nothing more will come.
    Hangup {
        /// Whose.
        participant: ParticipantId,
    },
    /// Answers [`RoomCommand::JoinOverHttp`].
    HttpAnswer {
        /// Whose.
        participant: ParticipantId,
        /// What it is let in with.
        answer: Result<Joined, Refusal>,
    },
    /// Answers the command that is being executed.
    Reply(Result<Reply, Refusal>),
    /// Answers [`RoomCommand::Explain`], and all others that came since the last explanation.
    Explanation(Box<Explanation>),
    /// For the event streams of a viewer.
    Outlook {
        /// Whose.
        participant: ParticipantId,
        /// All there is to tell.
        outlook: Outlook,
    },
    /// The transport that is created next lives on this worker.
    Settle {
        /// Which.
        transport: TransportId,
        /// Where.
        worker: WorkerId,
    },
    /// For the workers that it concerns.
    Media(Command),
}

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipients {
    /// One.
    One(ParticipantId),
    /// All but one.
    AllBut(ParticipantId),
    /// All.
    All,
}

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
        RoomCommand::Media(
            Event::ConsumerLayer { .. }
                | Event::ConsumerStatus { .. }
                | Event::PublishedLayers { .. }
        )
    )
}

/// One room.
#[derive(Debug)]
pub(crate) struct Room {
    name: String,
    settings: RoomSettings,
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
    /// Of the command that is being executed.
    now: Instant,
    viewer_count: ViewerCount,
    bitrates: Bitrates,
    inquiry: Option<Inquiry>,
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
            ids,
            rng: StdRng::from_seed(seed),
            participants: BTreeMap::new(),
            tracks: BTreeMap::new(),
            next_track: 1,
            consumers: HashMap::new(),
            stage: Stage::default(),
            voices: Voices::default(),
            now,
            viewer_count: ViewerCount::default(),
            bitrates: Bitrates::default(),
            inquiry: None,
            effects: Vec::new(),
        }
    }

    /// Whether nobody is here.
    pub(crate) fn is_empty(&self) -> bool {
        self.participants.is_empty()
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
        [own, inquiry].into_iter().chain(news).flatten().min()
    }

    /// Executes one command.
    pub(crate) fn apply(&mut self, now: Instant, command: RoomCommand) -> Vec<Effect> {
        self.now = now;
        let news = is_news(&command);
        match command {
            RoomCommand::Join { participant, join, local } => self.join(participant, *join, local),
            RoomCommand::JoinOverHttp { participant, join, local } => {
                let answer = self.join_over_http(now, participant, *join, local);
                self.effects.push(Effect::HttpAnswer { participant, answer });
            }
            RoomCommand::Message { from, message } => self.handle_message(now, from, message),
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
            RoomCommand::Explain => self.explain(),
            RoomCommand::Media(event) => self.handle_event(now, event),
            RoomCommand::Tick => self.tick(now),
            RoomCommand::Shutdown => self.shutdown(),
        }
        if news {
            self.measure(now);
            self.tell_followers(now);
        }
        std::mem::take(&mut self.effects)
    }

    fn handle_message(&mut self, now: Instant, from: ParticipantId, message: ClientMessage) {
        if !self.participants.contains_key(&from) {
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
            // The socket's task answers these itself.
            ClientMessage::Join(_) | ClientMessage::Ping(_) => return,
        };
        match result {
            Ok(()) => self.send(from, ServerMessage::Ok { request }),
            Err(refusal) => self.refuse(from, request, refusal),
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
