//! What goes over the wire, as the OpenAPI document describes it.

use crate::protocol::{
    BanInfo, ParticipantState, PermissionChange, Permissions, Standing, TrackInfo, Waiting,
};
use crate::room::{ParticipantReport, RoomReport};
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
    /// Nobody new is let in.
    locked: bool,
    /// Whoever is new waits for a moderator.
    lobby: bool,
    /// How many wait.
    waiting: usize,
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
    /// Who is there, without the hidden ones; only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<Vec<Present>>,
}

/// Somebody who is in a room, and how.
#[derive(Serialize, ToSchema)]
pub(super) struct Present {
    #[schema(example = "ada")]
    identity: String,
    name: String,
    state: ParticipantState,
    #[serde(flatten)]
    standing: Standing,
}

impl From<&ParticipantReport> for Present {
    fn from(report: &ParticipantReport) -> Self {
        Self {
            identity: report.identity.clone(),
            name: report.name.clone(),
            state: report.state,
            standing: report.standing.clone(),
        }
    }
}

impl Room {
    /// Says also who is there.
    pub(super) fn with_presence(report: &RoomReport) -> Self {
        let seen = report.participants.iter().filter(|participant| !participant.hidden);
        Self { present: Some(seen.map(Present::from).collect()), ..Self::from(report) }
    }
}

impl From<&RoomReport> for Room {
    fn from(report: &RoomReport) -> Self {
        Self {
            name: report.name.clone(),
            metadata: report.state.metadata.clone(),
            locked: report.state.locked,
            lobby: report.state.lobby,
            waiting: report.waiting.len(),
            participants: report.participants.len(),
            viewers: report.viewers,
            tracks: report.participants.iter().map(|p| p.tracks.len()).sum(),
            max_participants: report.max_participants,
            empty_timeout: report.linger.as_secs(),
            present: None,
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
    /// Say also who is in each room, and how.
    #[serde(default)]
    pub(super) presence: bool,
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
    /// Whoever is new waits for a moderator.
    #[serde(default)]
    pub(super) lobby: Option<bool>,
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
    /// Nobody new is let in.
    #[serde(default)]
    pub(super) locked: Option<bool>,
    /// Whoever is new waits for a moderator. Switched off, those who wait are let in.
    #[serde(default)]
    pub(super) lobby: Option<bool>,
    /// What everybody is told of the change, up to 200 characters.
    #[serde(default)]
    pub(super) reason: String,
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
    #[serde(flatten)]
    standing: Standing,
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
            standing: report.standing,
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
    pub(super) permissions: Option<PermissionChange>,
    /// Moderates the room, without a token that says so.
    #[serde(default)]
    pub(super) moderator: Option<bool>,
    /// `false` takes a raised hand down.
    #[serde(default)]
    pub(super) hand: Option<bool>,
    /// What everybody concerned is told, up to 200 characters.
    #[serde(default)]
    pub(super) reason: String,
}

/// Why.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// What those it concerns are told, up to 200 characters.
    #[serde(default)]
    pub(super) reason: String,
}

/// Somebody to be kept out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBan {
    #[schema(example = "eve")]
    pub(super) identity: String,
    /// How long, 1 to 2592000.
    pub(super) seconds: u64,
    /// What they are told, up to 200 characters.
    #[serde(default)]
    pub(super) reason: String,
}

/// All of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct Bans {
    pub(super) bans: Vec<BanInfo>,
}

/// Who waits to be let in, who came first first.
#[derive(Serialize, ToSchema)]
pub(super) struct Lobby {
    pub(super) waiting: Vec<Waiting>,
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
    /// What its owner is told, up to 200 characters.
    #[serde(default)]
    pub(super) reason: String,
}
