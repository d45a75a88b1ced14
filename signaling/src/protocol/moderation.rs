//! What moderators ask for, and what is told of it.

use super::client::check_identity;
use super::decode::read;
use super::{PermissionChange, TrackId, check_attributes, check_metadata, check_name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Longest reason, in characters.
const MAX_REASON: usize = 200;
/// Longest ban.
const MAX_BAN_SECONDS: u64 = 30 * 24 * 3600;

/// What a moderator asks for. Every request has an optional `request` and an optional `reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moderate {
    /// Echoed in the answer or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// For people: what those it concerns are told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What.
    #[serde(flatten)]
    pub action: ModeratorAction,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "fields are those of PROTOCOL.md")]
pub enum ModeratorAction {
    /// Mutes a track of somebody else's.
    MuteTrack(OneTrack),
    /// Mutes the microphones of all who do not moderate.
    MuteAll(Nothing),
    /// Ends a track, such as a shared screen.
    StopTrack(OneTrack),
    /// Takes a raised hand down.
    LowerHand(OnePerson),
    /// Sends somebody away; they may come again.
    Kick(OnePerson),
    /// Sends somebody away, or keeps somebody out, for a time.
    Ban(Ban),
    /// Ends a ban.
    Unban(OnePerson),
    /// Asks who is banned; answered by `bans`.
    ListBans(Nothing),
    /// Lets somebody in who waits.
    Admit(OnePerson),
    /// Sends somebody away who waits.
    Deny(OnePerson),
    /// Changes the room.
    UpdateRoom(UpdateRoom),
    /// Changes how somebody is shown.
    UpdateParticipant(UpdateParticipant),
    /// Changes what somebody may do.
    SetPermissions(SetPermissions),
    /// Makes somebody a moderator, or ends that.
    SetModerator(SetModerator),
    /// Sends everybody away and ends the room.
    EndRoom(Nothing),
}

/// `mute_all`, `list_bans`, `end_room`: the whole room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `mute_track`, `stop_track`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneTrack {
    /// Which.
    pub track: TrackId,
}

/// `lower_hand`, `kick`, `unban`, `admit`, `deny`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnePerson {
    /// Whom.
    pub identity: String,
}

/// `ban`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    /// Whom.
    pub identity: String,
    /// How long.
    pub seconds: u64,
}

/// `update_room`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateRoom {
    /// Text of the application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Nobody new is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// Whoever is new waits until a moderator lets them in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lobby: Option<bool>,
}

/// `update_participant`: what is absent stays. Needs no moderator for oneself, but the grant `canUpdateOwnMetadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateParticipant {
    /// Whom; absent: the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text of the application's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// These are set; those with an empty value are taken away; others stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
}

/// `set_permissions`: what is absent stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPermissions {
    /// Whose.
    pub identity: String,
    /// What they may do from now on.
    pub permissions: PermissionChange,
}

/// `set_moderator`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetModerator {
    /// Whom.
    pub identity: String,
    /// On or off.
    pub moderator: bool,
}

/// What is told of moderation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "fields are those of PROTOCOL.md")]
pub enum ModerationNews {
    /// Somebody who manages the room did something: to everybody.
    Moderated(Moderated),
    /// Who waits to be let in: to moderators.
    Lobby { waiting: Vec<Waiting> },
    /// The answer to a `join` that has to wait, and again when the place changes.
    Waiting {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        room: String,
        identity: String,
        place: usize,
    },
    /// Answer to `list_bans`.
    Bans {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u64>,
        bans: Vec<BanInfo>,
    },
}

/// What was done, by whom, to whom, why. What does not apply is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moderated {
    /// As the request was called.
    pub action: String,
    /// The moderator's identity; absent: by the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Whom it concerns; absent: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Which track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackId>,
    /// Of a switch: what it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Told to those whom it concerns and to moderators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Who.
    pub identity: String,
    /// For people.
    pub name: String,
}

/// Somebody who is kept out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BanInfo {
    /// Who.
    pub identity: String,
    /// For people: what they were called when they were banned; absent: nobody with this identity was there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How long it lasts yet.
    pub seconds: u64,
    /// Who decided it; absent: by the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Moderate {
    /// `None`: not one of these types.
    pub(super) fn from_fields(
        kind: &str,
        fields: &mut Map<String, Value>,
    ) -> Option<Result<Self, String>> {
        use ModeratorAction as Action;
        type Reader = fn(&str, Map<String, Value>) -> Result<Action, String>;
        let reader: Reader = match kind {
            "mute_track" => |kind, fields| read(kind, fields).map(Action::MuteTrack),
            "mute_all" => |kind, fields| read(kind, fields).map(Action::MuteAll),
            "stop_track" => |kind, fields| read(kind, fields).map(Action::StopTrack),
            "lower_hand" => |kind, fields| read(kind, fields).map(Action::LowerHand),
            "kick" => |kind, fields| read(kind, fields).map(Action::Kick),
            "ban" => |kind, fields| read(kind, fields).map(Action::Ban),
            "unban" => |kind, fields| read(kind, fields).map(Action::Unban),
            "list_bans" => |kind, fields| read(kind, fields).map(Action::ListBans),
            "admit" => |kind, fields| read(kind, fields).map(Action::Admit),
            "deny" => |kind, fields| read(kind, fields).map(Action::Deny),
            "update_room" => |kind, fields| read(kind, fields).map(Action::UpdateRoom),
            "update_participant" => {
                |kind, fields| read(kind, fields).map(Action::UpdateParticipant)
            }
            "set_permissions" => |kind, fields| read(kind, fields).map(Action::SetPermissions),
            "set_moderator" => |kind, fields| read(kind, fields).map(Action::SetModerator),
            "end_room" => |kind, fields| read(kind, fields).map(Action::EndRoom),
            _ => return None,
        };
        Some(Self::read(kind, std::mem::take(fields), reader))
    }

    fn read(
        kind: &str,
        mut fields: Map<String, Value>,
        reader: fn(&str, Map<String, Value>) -> Result<ModeratorAction, String>,
    ) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Common {
            #[serde(default)]
            request: Option<u64>,
            #[serde(default)]
            reason: String,
        }
        let common = ["request", "reason"]
            .into_iter()
            .filter_map(|field| fields.remove_entry(field))
            .collect();
        let Common { request, reason } = read(kind, common)?;
        Ok(Self { request, reason, action: reader(kind, fields)? })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        check_reason(&self.reason)?;
        match &self.action {
            ModeratorAction::LowerHand(it)
            | ModeratorAction::Kick(it)
            | ModeratorAction::Unban(it)
            | ModeratorAction::Admit(it)
            | ModeratorAction::Deny(it) => check_identity(&it.identity),
            ModeratorAction::Ban(ban) => {
                check_identity(&ban.identity)?;
                check_ban_seconds(ban.seconds)
            }
            ModeratorAction::UpdateRoom(room) => {
                room.metadata.as_deref().map_or(Ok(()), check_metadata)
            }
            ModeratorAction::UpdateParticipant(it) => {
                it.identity.as_deref().map_or(Ok(()), check_identity)?;
                it.name.as_deref().map_or(Ok(()), check_name)?;
                it.metadata.as_deref().map_or(Ok(()), check_metadata)?;
                it.attributes.as_ref().map_or(Ok(()), check_attributes)
            }
            ModeratorAction::SetPermissions(it) => check_identity(&it.identity),
            ModeratorAction::SetModerator(it) => check_identity(&it.identity),
            ModeratorAction::MuteTrack(_)
            | ModeratorAction::StopTrack(_)
            | ModeratorAction::MuteAll(_)
            | ModeratorAction::ListBans(_)
            | ModeratorAction::EndRoom(_) => Ok(()),
        }
    }
}

impl ModeratorAction {
    /// The type of its message.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::MuteTrack(_) => "mute_track",
            Self::MuteAll(_) => "mute_all",
            Self::StopTrack(_) => "stop_track",
            Self::LowerHand(_) => "lower_hand",
            Self::Kick(_) => "kick",
            Self::Ban(_) => "ban",
            Self::Unban(_) => "unban",
            Self::ListBans(_) => "list_bans",
            Self::Admit(_) => "admit",
            Self::Deny(_) => "deny",
            Self::UpdateRoom(_) => "update_room",
            Self::UpdateParticipant(_) => "update_participant",
            Self::SetPermissions(_) => "set_permissions",
            Self::SetModerator(_) => "set_moderator",
            Self::EndRoom(_) => "end_room",
        }
    }
}

/// A reason: up to 200 characters, none of them a control character.
///
/// # Errors
/// A sentence that says so.
pub fn check_reason(reason: &str) -> Result<(), String> {
    super::client::check_length("reason", reason, 0, MAX_REASON)
}

/// A ban lasts from a second to 30 days.
///
/// # Errors
/// A sentence that says so.
pub fn check_ban_seconds(seconds: u64) -> Result<(), String> {
    if (1..=MAX_BAN_SECONDS).contains(&seconds) {
        return Ok(());
    }
    Err(format!("field `seconds`: expected 1 to {MAX_BAN_SECONDS}"))
}
