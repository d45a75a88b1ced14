//! What the server says.

use super::{
    ChatNews, Data, Kind, ModerationNews, ParticipantId, Permissions, PresenceNews, RoomState,
    Source, Standing, TrackId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A message to a client. Also decodable, for native clients and tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "fields are those of PROTOCOL.md")]
pub enum ServerMessage {
    /// Answer to `join`.
    Welcome(Box<Welcome>),
    /// Answer to `resume`.
    Resumed {
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        participant: ParticipantId,
        secret: String,
        taken: u64,
    },
    /// How many receive sections the next offer must have.
    MediaSections(MediaSections),
    /// Answer to `offer`.
    Answer {
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        offer_id: u64,
        sdp: String,
    },
    /// Answer to `publish`.
    Published {
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        mid: String,
        track: TrackId,
        number: u32,
    },
    /// The complete table of what each slot shows.
    Bindings { bindings: Vec<BindingEntry>, unbound: Vec<UnboundEntry> },
    /// Answer to a request that has no other.
    Ok {
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
    },
    /// Somebody publishes.
    TrackPublished { participant: ParticipantId, track: TrackInfo },
    /// Somebody stopped publishing.
    TrackUnpublished { participant: ParticipantId, track: TrackId },
    /// Somebody muted or unmuted.
    TrackMuted { participant: ParticipantId, track: TrackId, muted: bool },
    /// This client cannot decode the track; it is never bound.
    TrackUnavailable { track: TrackId, codec: String, reason: String },
    /// Another encoding or temporal layer is shown.
    LayerChanged { track: TrackId, rid: Option<String>, temporal: Option<u8> },
    /// What a slot's track is shown as, and why not better.
    TrackStatus(Box<TrackStatus>),
    /// What of the client's own track has viewers; the rest may rest.
    PublishedLayers {
        track: TrackId,
        #[serde(flatten)]
        watched: WatchedLayers,
    },
    /// Who speaks, loudest first.
    ActiveSpeakers { speakers: Vec<SpeakerInfo> },
    /// Somebody came.
    ParticipantJoined { participant: ParticipantInfo },
    /// Something about somebody changed, the client itself included.
    ParticipantUpdated(Box<ParticipantUpdate>),
    /// What this client may do has changed.
    Permissions(Permissions),
    /// Something about the room changed.
    RoomUpdated(RoomState),
    /// Somebody said something.
    Data(Box<Data>),
    /// A data channel of this client was closed.
    DataClosed { channel: String, reason: String, message: String },
    /// Somebody is gone.
    ParticipantLeft { participant: ParticipantId, reason: LeaveReason },
    /// A request was refused.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        code: ErrorCode,
        message: String,
    },
    /// The server will stop: in so many seconds at most, or when everybody has left.
    Closing { seconds: u64, message: String },
    /// Last message before the server closes the socket.
    Closed { reason: String, message: String },
    /// Answer to `ping`.
    Pong { time: u64 },
    /// Of the chat.
    #[serde(untagged)]
    Chat(ChatNews),
    /// Of how others are here.
    #[serde(untagged)]
    Presence(PresenceNews),
    /// Of moderation.
    #[serde(untagged)]
    Moderation(ModerationNews),
}

/// What of a track has viewers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedLayers {
    /// Encodings by rid; without simulcast the one encoding has an empty name.
    pub layers: Vec<String>,
    /// Of the one encoding so many spatial layers, counted from the lowest; all that it has if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spatial_layers: Option<u8>,
    /// Bits per second that the best of their links carries of the one encoding, if none carries all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<u64>,
}

/// Everything a client needs to know when it enters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Of `join`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Of the protocol.
    pub version: u32,
    /// Room name.
    pub room: String,
    /// The client's own id.
    pub participant: ParticipantId,
    /// The client's own identity, as the server understood it.
    pub identity: String,
    /// What `resume` needs.
    pub secret: String,
    /// For RTCPeerConnection.
    pub ice_servers: Vec<IceServer>,
    /// Receive sections of the first offer.
    pub media_sections: MediaSections,
    /// Granted.
    pub max_video: u16,
    /// Granted.
    pub max_audio: u16,
    /// What this client may do.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// How the client itself is here.
    #[serde(flatten)]
    pub standing: Standing,
    /// What holds for the whole room.
    #[serde(flatten)]
    pub state: RoomState,
    /// The others.
    pub participants: Vec<ParticipantInfo>,
}

/// RTCIceServer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` addresses.
    pub urls: Vec<String>,
    /// TURN user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Numbers of receive sections (slots).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSections {
    /// Audio slots in total.
    pub audio: u16,
    /// Video slots in total.
    pub video: u16,
}

/// One slot of `bindings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingEntry {
    /// `a=mid` of the slot.
    pub mid: String,
    /// What it shows.
    pub track: Option<TrackId>,
    /// The CSRC of its packets: the track's number.
    pub csrc: Option<u32>,
}

/// A track without a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnboundEntry {
    /// Which.
    pub track: TrackId,
    /// Why.
    pub reason: UnboundReason,
}

/// Why a track has no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnboundReason {
    /// There is no free slot up to `max_video` or `max_audio`, or the client has not yet offered enough.
    Slots,
    /// The client said `unsubscribe`.
    Unsubscribed,
    /// The client may not receive anything.
    NotAllowed,
}

/// What has changed about a participant; the rest is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantUpdate {
    /// Who.
    pub participant: ParticipantId,
    /// Connection state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ParticipantState>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text of the application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// All of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Moderates the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderator: Option<bool>,
    /// Order of the raised hand; 0: it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand: Option<u64>,
    /// Such as `away`; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl ParticipantUpdate {
    /// Nothing has changed.
    pub fn of(participant: ParticipantId) -> Self {
        Self {
            participant,
            state: None,
            name: None,
            metadata: None,
            attributes: None,
            moderator: None,
            hand: None,
            status: None,
        }
    }
}

/// A participant as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantInfo {
    /// Id in this room.
    pub participant: ParticipantId,
    /// Stable across joins.
    pub identity: String,
    /// For people.
    pub name: String,
    /// Connection state.
    pub state: ParticipantState,
    /// Text of the application's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// The same as names and values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// How they are here.
    #[serde(flatten)]
    pub standing: Standing,
    /// What they publish.
    pub tracks: Vec<TrackInfo>,
}

/// Whether a participant's signaling is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantState {
    /// Here.
    Active,
    /// The socket was lost; media may still flow.
    Reconnecting,
}

/// A track as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrackInfo {
    /// Id in this room.
    #[schema(value_type = String, example = "t7")]
    pub track: TrackId,
    /// CSRC of its packets.
    pub number: u32,
    /// Audio or video.
    pub kind: Kind,
    /// What it shows.
    pub source: Source,
    /// Label.
    pub name: String,
    /// Name of the codec as in `a=rtpmap`.
    pub codec: String,
    /// Muted by its owner.
    pub muted: bool,
    /// More than one encoding.
    pub simulcast: bool,
    /// Encodings, lowest first; empty without simulcast.
    pub layers: Vec<String>,
    /// Payloads are sealed end to end; absent: they are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
}

/// A layer of a track by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerName {
    /// Encoding; `None` without simulcast.
    pub rid: Option<String>,
    /// Spatial layer inside the encoding, 0 without.
    pub spatial: u8,
    /// Highest temporal layer.
    pub temporal: u8,
    /// Pixels, as far as known.
    pub width: Option<u16>,
    /// Pixels, as far as known.
    pub height: Option<u16>,
}

/// What a subscriber is shown of a track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackStatus {
    /// Which.
    pub track: TrackId,
    /// The best that the subscriber has use for.
    pub wanted: Option<LayerName>,
    /// What is forwarded now.
    pub shown: Option<LayerName>,
    /// What keeps the subscriber from the best that there is.
    pub limit: TrackLimit,
    /// Bitrate of `wanted`, bits per second.
    pub needed: u64,
    /// What the link has for this track, bits per second; 0: not measured.
    pub available: u64,
}

/// The one cause why a track is not shown as well as it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackLimit {
    /// Nothing: it is the best that there is.
    None,
    /// The subscriber's link.
    Bandwidth,
    /// It is shown small, or not at all.
    Viewport,
    /// `set_layer`, `unsubscribe`, or no slot is left for it.
    Policy,
    /// The publisher does not send it.
    PublisherNotSending,
    /// It comes with the next keyframe.
    WaitingKeyframe,
    /// The publisher does not send it because its processor cannot keep up.
    PublisherCpu,
    /// The subscriber cannot decode it.
    Codec,
}

/// One entry of `active_speakers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerInfo {
    /// Who.
    pub participant: ParticipantId,
    /// Through which track.
    pub track: TrackId,
    /// -dBov, 0 loudest.
    pub level: u8,
}

/// Why somebody is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// `leave`, a clean close, or a closed peer connection.
    Left,
    /// The same identity joined again.
    Replaced,
    /// The socket was lost and did not come back.
    Timeout,
    /// The media connection failed.
    ConnectionFailed,
    /// Somebody with the right to do so sent them away.
    Removed,
}

/// What kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Could not be decoded.
    BadMessage,
    /// Over a size limit.
    TooLarge,
    /// `join` must come first.
    NotJoined,
    /// `join` came twice.
    AlreadyJoined,
    /// The token is missing or wrong.
    Unauthorized,
    /// The token does not allow this.
    NotAllowed,
    /// There is no such thing.
    NotFound,
    /// The offer cannot be answered.
    BadSdp,
    /// Not now.
    BadState,
    /// A cap is reached.
    Limit,
    /// Another protocol version.
    Version,
    /// The server has no room for more, or stops: elsewhere, or later.
    Unavailable,
}

impl ServerMessage {
    /// The message as it goes on the wire.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("maps with string keys and finite numbers only")
    }
}
