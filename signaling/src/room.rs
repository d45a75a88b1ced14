//! A room as a pure state machine: command and time in, effects out.
//!
//! Owns who is here, what they publish and what each of them is shown. Never waits, never touches a socket, never reads the clock;
//! randomness comes from a seeded generator. [`actor`] runs it, [`registry`] finds it.

mod actor;
mod participant;
mod presence;
mod registry;
mod slots;

pub use actor::{Outbox, OutboxReader, RoomHandle, outbox};
pub use registry::{JoinError, Registry};

use crate::auth::Grant;
use crate::protocol::{
    ClientMessage, ErrorCode, IceServer, ParticipantId, ServerMessage,
};
use participant::Participant;
use std::collections::BTreeMap;
use std::time::Instant;

/// Most participants of one room.
pub const MAX_PARTICIPANTS: usize = 200;

/// What happens to a room.
#[derive(Debug)]
pub enum RoomCommand {
    /// Somebody wants in.
    Join {
        /// Chosen by the actor, never used before in this room; it already knows where messages for it go.
        participant: ParticipantId,
        /// Who and what.
        join: Box<JoinCommand>,
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
    /// The time of [`Room::next_deadline`] has come.
    Tick,
    /// The server stops: everybody is told and sent away.
    Shutdown,
}

/// Who wants in. All text has been checked by the protocol module.
#[derive(Clone, Debug)]
pub struct JoinCommand {
    /// Of the `join` message.
    pub request: Option<u64>,
    /// Who.
    pub identity: String,
    /// For people.
    pub name: String,
    /// What the token allows.
    pub grant: Grant,
    /// Most audio slots that the client wants; capped at 64.
    pub max_audio: Option<u16>,
    /// Most video slots that the client wants; capped at 64.
    pub max_video: Option<u16>,
}

/// What the actor does next, in order.
#[derive(Debug)]
pub enum Effect {
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
}

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// One.
    One(ParticipantId),
    /// All but one.
    AllBut(ParticipantId),
    /// All.
    All,
}

/// What all rooms of a server have in common.
#[derive(Clone, Debug, Default)]
pub struct RoomSettings {
    /// Handed to clients.
    pub ice_servers: Vec<IceServer>,
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

/// One room.
#[derive(Debug)]
pub struct Room {
    name: String,
    settings: RoomSettings,
    participants: BTreeMap<ParticipantId, Participant>,
    effects: Vec<Effect>,
}

impl Room {
    /// An empty room.
    pub fn new(name: String, settings: RoomSettings) -> Self {
        Self { name, settings, participants: BTreeMap::new(), effects: Vec::new() }
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    /// When [`RoomCommand::Tick`] is due, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.participants.values().filter_map(Participant::next_deadline).min()
    }

    /// Executes one command.
    pub fn apply(&mut self, now: Instant, command: RoomCommand) -> Vec<Effect> {
        match command {
            RoomCommand::Join { participant, join } => self.join(participant, *join),
            RoomCommand::Message { from, message } => self.handle_message(from, message),
            RoomCommand::SignalingClosed { participant, clean } => {
                self.signaling_closed(now, participant, clean);
            }
            RoomCommand::Tick => self.tick(now),
            RoomCommand::Shutdown => self.shutdown(),
        }
        std::mem::take(&mut self.effects)
    }

    fn handle_message(&mut self, from: ParticipantId, message: ClientMessage) {
        if !self.participants.contains_key(&from) {
            return;
        }
        match message {
            ClientMessage::Leave {} => self.leave(from),
            _ => {}
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
}
