//! What a client may say.

use super::decode::{StrictObject, read, shorten};
use super::{
    ChatRequest, MAX_MESSAGE_BYTES, Moderate, PresenceRequest, PublishData, Resume, Source,
    SubscribeTopics, TrackId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A message from a client, decoded and checked field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant is named for the struct that documents it")]
pub enum ClientMessage {
    Join(Join),
    Resume(Resume),
    Publish(Publish),
    Offer(Offer),
    Ready(Ready),
    Candidate(Candidate),
    Unpublish(TrackRequest),
    Mute(Mute),
    Subscribe(TrackRequest),
    Unsubscribe(TrackRequest),
    SetLayer(LayerRequest),
    TrackSettings(TrackSettings),
    TrackLimited(TrackLimited),
    Renew(Renew),
    PublishData(PublishData),
    SubscribeTopics(SubscribeTopics),
    Leave {},
    Ping(Ping),
    #[serde(untagged)]
    Chat(ChatRequest),
    #[serde(untagged)]
    Presence(PresenceRequest),
    #[serde(untagged)]
    Moderate(Moderate),
}

/// First message of every socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Echoed in `welcome` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Protocol version the client speaks.
    pub version: u32,
    /// Room name.
    pub room: String,
    /// What other people see.
    pub name: String,
    /// Tells participants apart; replaced by the token's `sub` where there is a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Join token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Most video slots the client wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_video: Option<u16>,
    /// Most audio slots the client wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_audio: Option<u16>,
    /// `bindings` do not list what only waits for a slot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compact: bool,
}

/// Describes a sending m-line of the next offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Echoed in `published` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// `a=mid` of the section.
    pub mid: String,
    /// What it shows.
    pub source: Source,
    /// Label of the track; may be empty.
    #[serde(default)]
    pub name: String,
    /// Starts muted.
    #[serde(default)]
    pub muted: bool,
    /// Simulcast layers, lowest first; empty without simulcast.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<PublishLayer>,
    /// Payloads are sealed end to end; absent: they are not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// The answer asks for Opus that sends next to nothing during silence; absent: as the offer says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dtx: bool,
}

/// One simulcast layer that a publisher announces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishLayer {
    /// `a=rid`
    pub rid: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// An SDP offer; the client is the only offerer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Echoed in `answer` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Chosen by the client, echoed in the answer.
    pub offer_id: u64,
    /// The offer.
    pub sdp: String,
}

/// The answer with this id was applied: its slots may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Which answer.
    pub offer_id: u64,
}

/// A trickled candidate; an empty one ends the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// RTCIceCandidate's `candidate`.
    pub candidate: String,
    /// RTCIceCandidate's `sdpMid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
}

/// `unpublish`, `subscribe`, `unsubscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackRequest {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Which.
    pub track: TrackId,
}

/// Mutes or unmutes the sender's own track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Which.
    pub track: TrackId,
    /// On or off.
    pub muted: bool,
}

/// Manual layer choice for a received track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerRequest {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Which.
    pub track: TrackId,
    /// Encoding; `None` means the best that flows.
    #[serde(default)]
    pub rid: Option<String>,
    /// Highest temporal layer; `None` means all.
    #[serde(default)]
    pub temporal: Option<u8>,
}

/// What the client has use for of received tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackSettings {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The most important first.
    pub tracks: Vec<TrackSetting>,
}

/// One track of `track_settings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackSetting {
    /// Which.
    pub track: TrackId,
    /// Width in device pixels at which it is shown; 0: not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub width: u16,
    /// Height in device pixels; 0: not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub height: u16,
    /// Frames per second of use; 0: all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fps: u8,
    /// Not visible: nothing need be sent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
    /// Beside the other tracks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
}

/// Who gets bandwidth and a slot first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After everything else.
    Low,
    /// As the server finds right.
    #[default]
    Normal,
    /// Before everything else: pinned.
    High,
}

/// What keeps the sender's own track from its full quality, as its browser says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackLimited {
    /// Which.
    pub track: TrackId,
    /// Why.
    pub reason: PublisherLimit,
}

/// `RTCOutboundRtpStreamStats.qualityLimitationReason`, as far as it is of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublisherLimit {
    /// Nothing does.
    #[default]
    None,
    /// The processor.
    Cpu,
    /// The uplink.
    Bandwidth,
}

/// A newer token, instead of the one of `join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// For the same room and identity.
    pub token: String,
}

/// Keeps the socket open and measures its round trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// Echoed in `pong`; any number the client likes.
    pub time: u64,
    /// Number of the last event that came: those until then need not be kept for `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
}

/// Longest sentence about a message that was refused; the longest of our own words has about half of it.
const MAX_SENTENCE_BYTES: usize = 380;

/// Why a message was refused, in a sentence for the person who wrote the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// The `request` of the message, where one could be read.
    pub request: Option<u64>,
    /// Names the field.
    pub message: String,
}

impl DecodeError {
    fn new(request: Option<u64>, mut message: String) -> Self {
        // A sentence repeats names that the client chose.
        if message.len() > MAX_SENTENCE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_SENTENCE_BYTES));
            message.push('…');
        }
        Self { request, message }
    }
}

impl ClientMessage {
    /// Decodes one text frame.
    ///
    /// # Errors
    /// Anything that `PROTOCOL.md` does not describe: not an object, unknown type, unknown, missing, repeated or ill-typed field,
    /// a name or identifier outside its length or alphabet.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        if text.len() > MAX_MESSAGE_BYTES {
            let message = format!("a message may have at most {MAX_MESSAGE_BYTES} bytes");
            return Err(DecodeError::new(None, message));
        }
        let StrictObject(mut fields) = serde_json::from_str(text)
            .map_err(|error| DecodeError::new(None, format!("not a JSON object: {error}")))?;
        let request = fields.get("request").and_then(Value::as_u64);
        let message = match fields.remove("type") {
            Some(Value::String(kind)) => Self::from_fields(&kind, fields),
            Some(_) => Err("field `type`: expected a string".to_owned()),
            None => Err("missing field `type`".to_owned()),
        };
        message
            .and_then(|message| message.check().map(|()| message))
            .map_err(|message| DecodeError::new(request, message))
    }

    fn from_fields(kind: &str, mut fields: Map<String, Value>) -> Result<Self, String> {
        if let Some(chat) = ChatRequest::from_fields(kind, &mut fields) {
            return chat.map(Self::Chat);
        }
        if let Some(presence) = PresenceRequest::from_fields(kind, &mut fields) {
            return presence.map(Self::Presence);
        }
        if let Some(moderate) = Moderate::from_fields(kind, &mut fields) {
            return moderate.map(Self::Moderate);
        }
        Ok(match kind {
            "join" => Self::Join(read(kind, fields)?),
            "resume" => Self::Resume(read(kind, fields)?),
            "publish" => Self::Publish(read(kind, fields)?),
            "offer" => Self::Offer(read(kind, fields)?),
            "ready" => Self::Ready(read(kind, fields)?),
            "candidate" => Self::Candidate(read(kind, fields)?),
            "unpublish" => Self::Unpublish(read(kind, fields)?),
            "mute" => Self::Mute(read(kind, fields)?),
            "subscribe" => Self::Subscribe(read(kind, fields)?),
            "unsubscribe" => Self::Unsubscribe(read(kind, fields)?),
            "set_layer" => Self::SetLayer(read(kind, fields)?),
            "track_settings" => Self::TrackSettings(read(kind, fields)?),
            "track_limited" => Self::TrackLimited(read(kind, fields)?),
            "renew" => Self::Renew(read(kind, fields)?),
            "publish_data" => Self::PublishData(read(kind, fields)?),
            "subscribe_topics" => Self::SubscribeTopics(read(kind, fields)?),
            "leave" if fields.is_empty() => Self::Leave {},
            "leave" => return Err("leave has no fields".to_owned()),
            "ping" => Self::Ping(read(kind, fields)?),
            other => return Err(format!("unknown type {:?}", shorten(other))),
        })
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Join(join) => {
                check_room(&join.room)?;
                check_name(&join.name)?;
                join.identity.as_deref().map_or(Ok(()), check_identity)
            }
            Self::Resume(resume) => resume.check(),
            Self::Publish(publish) => publish.check(),
            Self::Candidate(candidate) => {
                check_length("mid", candidate.mid.as_deref().unwrap_or("0"), 1, MAX_MID)?;
                check_length("candidate", &candidate.candidate, 0, 1024)
            }
            Self::SetLayer(layer) => layer.rid.as_deref().map_or(Ok(()), check_rid),
            Self::TrackSettings(settings) => settings.check(),
            Self::Chat(chat) => chat.check(),
            Self::Presence(presence) => presence.check(),
            Self::Moderate(moderate) => moderate.check(),
            Self::PublishData(publish) => publish.check(),
            Self::SubscribeTopics(topics) => topics.check(),
            Self::TrackLimited(_)
            | Self::Renew(_)
            | Self::Offer(_)
            | Self::Ready(_)
            | Self::Unpublish(_)
            | Self::Mute(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Leave {}
            | Self::Ping(_) => Ok(()),
        }
    }
}

impl Publish {
    /// At most this many simulcast layers: browsers send three.
    pub const MAX_LAYERS: usize = 4;

    fn check(&self) -> Result<(), String> {
        check_length("mid", &self.mid, 1, MAX_MID)?;
        check_name(&self.name)?;
        if self.layers.len() > Self::MAX_LAYERS {
            return Err(format!("field `layers`: at most {} entries", Self::MAX_LAYERS));
        }
        self.layers.iter().try_for_each(|layer| check_rid(&layer.rid))
    }
}

impl TrackSettings {
    /// At most this many tracks in one message: a whole room's.
    pub const MAX_TRACKS: usize = 1000;

    fn check(&self) -> Result<(), String> {
        if self.tracks.len() > Self::MAX_TRACKS {
            return Err(format!("field `tracks`: at most {} entries", Self::MAX_TRACKS));
        }
        Ok(())
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Longest `a=mid` (RFC 8843 section 15 recommends short ones; libwebrtc allows 16).
const MAX_MID: usize = 16;
const MAX_LABEL: usize = 64;

/// A room name: 1 to 64 characters of `A-Za-z0-9_.-`.
///
/// # Errors
/// A sentence that says so.
pub fn check_room(room: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=MAX_LABEL).contains(&room.len()) && room.bytes().all(allowed) {
        return Ok(());
    }
    Err("field `room`: expected 1 to 64 characters of A-Z a-z 0-9 _ . -".to_owned())
}

/// A display name: up to 64 characters, none of them a control character.
///
/// # Errors
/// A sentence that says so.
pub fn check_name(name: &str) -> Result<(), String> {
    check_length("name", name, 0, MAX_LABEL)
}

/// An identity: 1 to 64 characters, none of them a control character.
///
/// # Errors
/// A sentence that says so.
pub fn check_identity(identity: &str) -> Result<(), String> {
    check_length("identity", identity, 1, MAX_LABEL)
}

fn check_rid(rid: &str) -> Result<(), String> {
    check_length("rid", rid, 1, 32)
}

pub(super) fn check_length(field: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    if (min..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("field `{field}`: expected {min} to {max} characters without control characters"))
}
