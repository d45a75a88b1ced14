//! What goes over the wire, as the OpenAPI document describes it.

use crate::protocol::{ParticipantState, Permissions, Source, TrackInfo};
use crate::room::{ParticipantReport, PermissionChange, RoomReport};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A room.
#[derive(Serialize, ToSchema)]
pub(super) struct Room {
    /// Its name.
    #[schema(example = "demo")]
    name: String,
    /// Text of the application's, which everybody in the room can read.
    metadata: String,
    /// How many are there, viewers by WHEP not counted.
    participants: usize,
    /// How many watch by WHEP.
    viewers: usize,
    /// How many tracks are published.
    tracks: usize,
    /// Most participants.
    max_participants: usize,
    /// How long the room stays when nobody is in it, in seconds.
    empty_timeout: u64,
}

impl From<&RoomReport> for Room {
    fn from(report: &RoomReport) -> Self {
        Self {
            name: report.name.clone(),
            metadata: report.metadata.clone(),
            participants: report.participants.len(),
            viewers: report.viewers,
            tracks: report.participants.iter().map(|p| p.tracks.len()).sum(),
            max_participants: report.max_participants,
            empty_timeout: report.linger.as_secs(),
        }
    }
}

/// A part of all rooms, by name.
#[derive(Serialize, ToSchema)]
pub(super) struct Rooms {
    pub(super) rooms: Vec<Room>,
    /// There are more: ask with `?after=` this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Which part.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// Rooms whose names come after this one.
    pub(super) after: Option<String>,
    /// So many at most [default: 100, at most 1000].
    pub(super) limit: Option<usize>,
}

/// A room to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRoom {
    /// 1 to 64 characters of A-Z a-z 0-9 _ . -
    #[schema(example = "demo")]
    pub(super) name: String,
    /// Text of the application's, at most 2048 bytes.
    #[serde(default)]
    pub(super) metadata: Option<String>,
    /// How long the room stays when nobody is in it, in seconds, at most 86400 [default: 300].
    #[serde(default)]
    pub(super) empty_timeout: Option<u64>,
    /// Most participants, at most 200.
    #[serde(default)]
    pub(super) max_participants: Option<usize>,
}

/// What becomes of a room; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RoomPatch {
    /// Text of the application's, at most 2048 bytes.
    #[serde(default)]
    pub(super) metadata: Option<String>,
    /// How long the room stays when nobody is in it, in seconds, at most 86400.
    #[serde(default)]
    pub(super) empty_timeout: Option<u64>,
    /// Most participants, at most 200. Who is there stays.
    #[serde(default)]
    pub(super) max_participants: Option<usize>,
}

/// Somebody in a room; viewers by WHEP are only counted.
#[derive(Serialize, ToSchema)]
pub(super) struct Participant {
    #[schema(example = "p1")]
    participant: String,
    #[schema(example = "ada")]
    identity: String,
    name: String,
    state: ParticipantState,
    /// The others are not told.
    hidden: bool,
    /// It publishes by WHIP.
    whip: bool,
    metadata: String,
    attributes: BTreeMap<String, String>,
    permissions: Permissions,
    tracks: Vec<TrackInfo>,
}

impl From<ParticipantReport> for Participant {
    fn from(report: ParticipantReport) -> Self {
        Self {
            participant: report.id.to_string(),
            identity: report.identity,
            name: report.name,
            state: report.state,
            hidden: report.hidden,
            whip: report.over_http,
            metadata: report.metadata,
            attributes: report.attributes,
            permissions: report.permissions,
            tracks: report.tracks,
        }
    }
}

/// All of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct Participants {
    pub(super) participants: Vec<Participant>,
}

/// What becomes of a participant; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ParticipantPatch {
    #[serde(default)]
    pub(super) name: Option<String>,
    /// At most 2048 bytes.
    #[serde(default)]
    pub(super) metadata: Option<String>,
    /// All of them: at most 32, of 2048 bytes taken together.
    #[serde(default)]
    pub(super) attributes: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) permissions: Option<PermissionsPatch>,
}

/// What somebody may do from now on; what is absent stays as it is. What they do beyond it ends at once.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PermissionsPatch {
    #[serde(default)]
    can_publish: Option<bool>,
    #[serde(default)]
    can_subscribe: Option<bool>,
    #[serde(default)]
    can_publish_data: Option<bool>,
    /// Empty: every source.
    #[serde(default)]
    can_publish_sources: Option<Vec<Source>>,
}

impl From<PermissionsPatch> for PermissionChange {
    fn from(patch: PermissionsPatch) -> Self {
        Self {
            can_publish: patch.can_publish,
            can_subscribe: patch.can_subscribe,
            can_publish_data: patch.can_publish_data,
            can_publish_sources: patch.can_publish_sources,
        }
    }
}

/// A track and whose it is.
#[derive(Serialize, ToSchema)]
pub(super) struct Track {
    #[schema(example = "p1")]
    pub(super) participant: String,
    #[schema(example = "ada")]
    pub(super) identity: String,
    #[serde(flatten)]
    pub(super) track: TrackInfo,
}

/// All of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct Tracks {
    pub(super) tracks: Vec<Track>,
}

/// What becomes of a track.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrackPatch {
    /// `true`: only its owner can unmute it.
    pub(super) muted: bool,
}
