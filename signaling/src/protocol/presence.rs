//! How somebody is here: a raised hand, a status, a reaction.

use super::ParticipantId;
use super::client::{check_length, is_default};
use super::decode::read;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Longest status, in characters.
const MAX_STATUS: usize = 64;
/// Longest reaction, in characters: emoji are made of several.
const MAX_REACTION: usize = 16;

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant is named for the struct that documents it")]
pub enum PresenceRequest {
    Presence(Presence),
    React(React),
}

/// What is absent stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Raised, or taken down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand: Option<bool>,
    /// Such as `away`; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Shows everybody something for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct React {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// An emoji.
    pub reaction: String,
}

/// What a client is told of how others are here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "fields are those of PROTOCOL.md")]
pub enum PresenceNews {
    /// Somebody reacts, the client itself included.
    Reaction { participant: ParticipantId, reaction: String },
}

/// How somebody is here; what is off or empty is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// Moderates the room.
    #[serde(default, skip_serializing_if = "is_default")]
    pub moderator: bool,
    /// Order of the raised hand: who has the lowest number raised it first; 0: it is down.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hand: u64,
    /// Such as `away`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: String,
}

/// What holds for a whole room; what is empty or off is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomState {
    /// Text of the application's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub metadata: String,
    /// Nobody new is let in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub locked: bool,
    /// Whoever is new waits for a moderator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lobby: bool,
}

impl PresenceRequest {
    /// `None`: not one of these types.
    pub(super) fn from_fields(
        kind: &str,
        fields: &mut Map<String, Value>,
    ) -> Option<Result<Self, String>> {
        let mut fields = || std::mem::take(fields);
        Some(match kind {
            "presence" => read(kind, fields()).map(Self::Presence),
            "react" => read(kind, fields()).map(Self::React),
            _ => return None,
        })
    }

    pub(super) fn request(&self) -> Option<u64> {
        match self {
            Self::Presence(it) => it.request,
            Self::React(it) => it.request,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Presence(presence) => {
                check_length("status", presence.status.as_deref().unwrap_or(""), 0, MAX_STATUS)
            }
            Self::React(react) => check_length("reaction", &react.reaction, 1, MAX_REACTION),
        }
    }
}
