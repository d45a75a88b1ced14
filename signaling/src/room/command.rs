//! What is asked of a room, and what it wants done.

use super::{
    AdminCommand, Explanation, HttpJoin, IfMatch, Joined, LayerWish, Outlook, Refusal, Reply,
    Resumed, Unresumable,
};
use crate::auth::{Ban, Grant, Secret, Verdict};
use crate::negotiation::LocalMedia;
use crate::protocol::{ClientMessage, ParticipantId, ServerMessage};
use crate::sdp::IceFragment;
use crate::webhook::Happening;
use sfu::{Command, Event, TransportId, WorkerId};
use std::sync::Arc;

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
    /// A message of somebody who is in that was refused before the room saw it.
    Refuse {
        /// Whose.
        participant: ParticipantId,
        /// Of the message.
        request: Option<u64>,
        /// Why.
        refusal: Refusal,
    },
    /// A participant confirmed events over its newest socket.
    Heard {
        /// Who.
        participant: ParticipantId,
    },
    /// Somebody wants to go on over another socket; answered by [`Effect::Resumed`].
    Resume {
        /// Who.
        participant: ParticipantId,
        /// Proves it.
        secret: Secret,
        /// Everything that it has missed is still there.
        covered: bool,
        /// Seconds since 1970.
        unix: u64,
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
    /// A newer token of somebody who is in.
    Renew {
        /// Whose.
        participant: ParticipantId,
        /// Of the message.
        request: Option<u64>,
        /// What it allows.
        grant: Box<Grant>,
    },
    /// Somebody came in with a token that had been revoked a moment before: it may do this, or nothing.
    Correct {
        /// Who.
        participant: ParticipantId,
        /// `None`: not even be here.
        grant: Option<Box<Grant>>,
    },
    /// Somebody who manages the room asks; answered by [`Effect::Reply`].
    Admin(AdminCommand),
    /// Somebody wants to know why everybody sees what they see; answered by [`Effect::Explanation`].
    Explain,
    /// What the media plane tells.
    Media(Event),
    /// The time of [`super::Room::next_deadline`] has come.
    Tick,
    /// The server will stop in so many seconds: everybody is told.
    Drain {
        /// At most.
        seconds: u64,
    },
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
    /// Its tables do not list what only waits for a slot.
    pub(crate) compact: bool,
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
    /// Queue a message of other participants, which must not keep the room's own from anybody.
    Data {
        /// For whom.
        to: Vec<ParticipantId>,
        /// Who has no room for it is too slow; else it is left out.
        reliable: bool,
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
    /// Answers [`RoomCommand::Resume`].
    Resumed(Result<Resumed, Unresumable>),
    /// Answers the command that is being executed.
    Reply(Result<Reply, Refusal>),
    /// Answers [`RoomCommand::Explain`], and all others that came since the last explanation.
    Explanation(Box<Explanation>),
    /// Tokens like this one, made until now, are worth what the verdict says.
    Revoke {
        /// With which somebody came.
        grant: Box<Grant>,
        /// What it is worth.
        verdict: Verdict,
    },
    /// Somebody waits to be let in: what is said to all is not for them.
    Wait {
        /// Who.
        participant: ParticipantId,
    },
    /// Somebody who waited is in.
    Admit {
        /// Who.
        participant: ParticipantId,
        /// With what they came.
        grant: Box<Grant>,
    },
    /// Whoever is kept out of the room, also after it has ended.
    Bans(Vec<Ban>),
    /// For the operator's programs.
    Happened(Happening),
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
