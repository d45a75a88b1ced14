//! What those do who manage a room: look at it, change it, send people away. What they take from somebody takes effect at once.

use super::over_http::Reply;
use super::participant::{Participant, Signaling};
use super::{Effect, MAX_PARTICIPANTS, Refusal, Room};
use crate::auth::{Grant, Verdict};
use crate::protocol::{
    BanInfo, ErrorCode, LeaveReason, ModeratorAction, OnePerson, ParticipantId, ParticipantState,
    ParticipantUpdate, PermissionChange, Permissions, RoomState, ServerMessage, SetPermissions,
    Standing, TrackId, TrackInfo, UpdateRoom, Waiting,
};
use crate::webhook::Happening;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is asked of a room by somebody who manages it; answered by [`Effect::Reply`].
#[derive(Clone, Debug)]
pub(crate) enum AdminCommand {
    /// Everything that there is.
    Describe,
    /// Change the room.
    Configure(RoomChange),
    /// Change everybody with an identity.
    Update {
        /// Whom.
        identity: String,
        /// How.
        change: Box<ParticipantChange>,
        /// What they are told of their permissions.
        reason: String,
    },
    /// Send everybody with an identity away.
    Remove {
        /// Whom.
        identity: String,
        /// What they are told.
        reason: String,
    },
    /// What moderators may do, too.
    Moderate {
        /// What.
        action: ModeratorAction,
        /// What those it concerns are told.
        reason: String,
    },
}

/// What becomes of a room; `None`: as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoomChange {
    pub(crate) room: UpdateRoom,
    /// How long it stays without anybody.
    pub(crate) linger: Option<Duration>,
    pub(crate) max_participants: Option<usize>,
    /// What everybody is told of the change.
    pub(crate) reason: String,
}

/// What becomes of a participant; `None`: as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParticipantChange {
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<String>,
    pub(crate) attributes: Option<BTreeMap<String, String>>,
    pub(crate) permissions: Option<PermissionChange>,
}

/// A room as those see it who manage it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoomReport {
    pub(crate) name: String,
    pub(crate) state: RoomState,
    /// Who waits to be let in.
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) bans: Vec<BanInfo>,
    pub(crate) max_participants: usize,
    pub(crate) linger: Duration,
    /// Viewers by WHEP.
    pub(crate) viewers: usize,
    /// All others, the hidden ones too.
    pub(crate) participants: Vec<ParticipantReport>,
}

impl Participant {
    pub(super) fn report(&self, tracks: Vec<TrackInfo>) -> ParticipantReport {
        ParticipantReport {
            id: self.id,
            identity: self.identity.clone(),
            name: self.name.clone(),
            state: self.state(),
            hidden: self.hidden,
            over_http: matches!(self.signaling, Signaling::Http(_)),
            metadata: self.grant.metadata.clone(),
            attributes: self.grant.attributes.clone(),
            standing: self.standing(),
            permissions: self.grant.permissions.clone(),
            tracks,
        }
    }
}

/// A participant as those see it who manage the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParticipantReport {
    pub(crate) id: ParticipantId,
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) state: ParticipantState,
    pub(crate) hidden: bool,
    /// It came by WHIP.
    pub(crate) over_http: bool,
    pub(crate) metadata: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) standing: Standing,
    pub(crate) permissions: Permissions,
    pub(crate) tracks: Vec<TrackInfo>,
}

pub(super) fn no_participant(identity: &str) -> Refusal {
    let text = format!("There is no participant {identity:?} in this room.");
    Refusal::new(ErrorCode::NotFound, text)
}

pub(super) fn no_track(track: TrackId) -> Refusal {
    let text = format!("There is no track {track} in this room; it may have ended.");
    Refusal::new(ErrorCode::NotFound, text)
}

impl Room {
    pub(super) fn administer(&mut self, command: AdminCommand) -> Result<Reply, Refusal> {
        match command {
            AdminCommand::Describe => return Ok(Reply::Report(Box::new(self.describe()))),
            AdminCommand::Configure(change) => self.configure(change)?,
            AdminCommand::Update { identity, change, reason } => {
                self.update_all(&identity, &change, &reason)?;
            }
            AdminCommand::Remove { identity, reason } => self.remove_all(&identity, &reason)?,
            AdminCommand::Moderate { action, reason } => self.act(None, action, &reason)?,
        }
        Ok(Reply::Done)
    }

    fn describe(&self) -> RoomReport {
        let seen = self.participants.values().filter(|p| !p.is_viewer());
        let participants = seen.map(|p| p.report(self.tracks_of(p.id)));
        RoomReport {
            name: self.name.clone(),
            state: self.state(),
            waiting: self.door.waiting(),
            bans: self.door.bans(self.now),
            max_participants: self.max_participants(),
            linger: self.linger.unwrap_or_default(),
            viewers: self.viewers(),
            participants: participants.collect(),
        }
    }

    fn configure(&mut self, change: RoomChange) -> Result<(), Refusal> {
        self.linger = change.linger.or(self.linger);
        self.limit = change.max_participants.or(self.limit);
        self.act(None, ModeratorAction::UpdateRoom(change.room), &change.reason)
    }

    /// Most participants of this room.
    pub(super) fn max_participants(&self) -> usize {
        self.limit.unwrap_or(MAX_PARTICIPANTS)
    }

    pub(super) fn with_identity(&self, identity: &str) -> Result<Vec<ParticipantId>, Refusal> {
        let found = self.participants.values().filter(|p| p.identity == identity);
        let found: Vec<_> = found.map(|p| p.id).collect();
        if found.is_empty() { Err(no_participant(identity)) } else { Ok(found) }
    }

    /// Their tokens do not bring them back.
    fn remove_all(&mut self, identity: &str, reason: &str) -> Result<(), Refusal> {
        for id in self.with_identity(identity)? {
            self.revoke(id, Verdict::Removed);
        }
        let identity = identity.to_owned();
        self.act(None, ModeratorAction::Kick(OnePerson { identity }), reason)
    }

    /// Somebody who is in the room, viewers not.
    pub(super) fn member_with_identity(&self, identity: &str) -> Option<ParticipantId> {
        let mut members = self.participants.values().filter(|p| !p.is_viewer());
        members.find(|p| p.identity == identity).map(|p| p.id)
    }

    /// The same, of whom everybody is told.
    pub(super) fn seen_with_identity(&self, identity: &str) -> Option<ParticipantId> {
        let mut seen = self.participants.values().filter(|p| !p.is_viewer() && !p.hidden);
        seen.find(|p| p.identity == identity).map(|p| p.id)
    }

    fn update_all(
        &mut self,
        identity: &str,
        change: &ParticipantChange,
        reason: &str,
    ) -> Result<(), Refusal> {
        for id in self.with_identity(identity)? {
            self.update_participant(id, change);
        }
        let Some(permissions) = change.permissions.clone() else { return Ok(()) };
        let it = SetPermissions { identity: identity.to_owned(), permissions };
        self.act(None, ModeratorAction::SetPermissions(it), reason)
    }

    /// The token with which it came is worth another thing from now on.
    pub(super) fn revoke(&mut self, id: ParticipantId, verdict: Verdict) {
        if let Some(participant) = self.participants.get(&id) {
            let grant = Box::new(participant.grant.clone());
            self.effects.push(Effect::Revoke { grant, verdict });
        }
    }

    /// Whether something is another than before.
    pub(super) fn update_participant(
        &mut self,
        id: ParticipantId,
        change: &ParticipantChange,
    ) -> bool {
        let Some(participant) = self.participants.get_mut(&id) else { return false };
        let ParticipantChange { name, metadata, attributes, .. } = change.clone();
        let name = name.filter(|name| *name != participant.name);
        let metadata = metadata.filter(|metadata| *metadata != participant.grant.metadata);
        let attributes = attributes.filter(|new| *new != participant.grant.attributes);
        if name.is_none() && metadata.is_none() && attributes.is_none() {
            return false;
        }
        if let Some(name) = &name {
            participant.name.clone_from(name);
        }
        if let Some(metadata) = &metadata {
            participant.grant.metadata.clone_from(metadata);
        }
        if let Some(attributes) = &attributes {
            participant.grant.attributes.clone_from(attributes);
        }
        let update = ParticipantUpdate { name, metadata, attributes, ..ParticipantUpdate::of(id) };
        self.tell_update(update);
        true
    }

    /// A newer token of somebody who is here. Whether it is hidden was decided when it came.
    pub(super) fn renew(&mut self, id: ParticipantId, request: Option<u64>, grant: Grant) {
        if !self.takes(id, request) {
            return;
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let before = participant.is_moderator();
        participant.grant.validity = grant.validity;
        participant.grant.moderator = grant.moderator;
        participant.grant.token_id = grant.token_id;
        let permissions = grant.permissions;
        let change = ParticipantChange {
            name: grant.name,
            metadata: Some(grant.metadata),
            attributes: Some(grant.attributes),
            permissions: None,
        };
        self.send(id, ServerMessage::Ok { request });
        self.update_participant(id, &change);
        self.set_permissions(id, &permissions);
        self.tell_role(id, before);
    }

    /// From now on it may do this: what it does beyond that ends in this moment.
    pub(super) fn set_permissions(&mut self, id: ParticipantId, permissions: &Permissions) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.grant.permissions == *permissions {
            return;
        }
        participant.grant.permissions.clone_from(permissions);
        self.configure_data(id);
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let over_http = matches!(participant.signaling, Signaling::Http(_));
        if permissions.can_subscribe && !over_http {
            participant.max = participant.wished;
        }
        let excess = |publish: &crate::protocol::Publish| !permissions.allows(publish.source);
        let announced = std::mem::take(&mut participant.announced);
        let (refused, kept) = announced.into_iter().partition(|(_, publish)| excess(publish));
        participant.announced = kept;
        let own = self.tracks.values().filter(|track| track.owner == id);
        let excess = own.filter(|track| !permissions.allows(track.source));
        let excess: Vec<TrackId> = excess.map(|track| track.id).collect();
        let watches = self.participants.get(&id).is_some_and(|p| p.is_viewer());
        if over_http && (!excess.is_empty() || (watches && !permissions.can_subscribe)) {
            let text = "You may not do this in the room any more.";
            return self.dismiss(id, "removed", text, LeaveReason::Removed);
        }
        self.send(id, ServerMessage::Permissions(permissions.clone()));
        let refused: BTreeMap<_, crate::protocol::Publish> = refused;
        for publish in refused.into_values() {
            let text = "You may not publish this any more.";
            self.refuse(id, publish.request, Refusal::new(ErrorCode::NotAllowed, text));
        }
        let ended = !excess.is_empty();
        excess.into_iter().for_each(|track| self.withdraw(id, track));
        match ended {
            true => self.reconcile_all(),
            false => self.reconcile(id),
        }
    }

    /// For the operator's programs: somebody published, or does not any more.
    pub(super) fn note_track(&mut self, owner: ParticipantId, track: TrackInfo, published: bool) {
        let Some(owner) = self.participants.get(&owner) else { return };
        let (owner, track) = (Box::new(owner.report(Vec::new())), Box::new(track));
        self.effects.push(Effect::Happened(match published {
            true => Happening::Published(owner, track),
            false => Happening::Unpublished(owner, track),
        }));
    }

    /// Ends a track against the will of its owner, who is told.
    pub(super) fn withdraw(&mut self, owner: ParticipantId, track: TrackId) {
        let Some(mid) = self.tracks.get(&track).map(|track| track.mid.clone()) else { return };
        if let Some(participant) = self.participants.get_mut(&owner) {
            participant.negotiation.unpublish(&mid);
        }
        self.end_track(track);
        self.send(owner, ServerMessage::TrackUnpublished { participant: owner, track });
    }

    /// Somebody came in while what it may do was changed: `None` removes it.
    pub(super) fn correct(&mut self, id: ParticipantId, grant: Option<&Grant>) {
        self.correct_waiting(id, grant);
        match grant {
            Some(grant) => self.set_permissions(id, &grant.permissions),
            None => {
                let text = "You were removed from this room.";
                self.dismiss(id, "removed", text, LeaveReason::Removed);
            }
        }
    }
}
