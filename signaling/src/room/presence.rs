//! Coming and going: join, leave, lost sockets, replaced identities, shutdown.

use super::binding::sections_needed;
use super::lobby::Entry;
use super::participant::{Participant, Signaling};
use super::standing::Social;
use super::{Effect, Farewell, JoinCommand, Outlook, Recipients, Refusal, Room};
use crate::ice;
use crate::negotiation::LocalMedia;
use crate::protocol::{
    ErrorCode, LeaveReason, MediaSections, ParticipantId, ParticipantUpdate, Permissions,
    ServerMessage, TrackInfo, VERSION, Welcome,
};
use crate::webhook::Happening;
use sfu::Command;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Slots that a client gets unless it asks for another number.
const DEFAULT_SLOTS: u16 = 25;
/// Most slots of each kind that a client may ask for.
const MAX_SLOTS: u16 = 64;

/// How many slots a client may have.
pub(super) fn slots_granted(
    permissions: &Permissions,
    audio: Option<u16>,
    video: Option<u16>,
) -> MediaSections {
    let granted = |wish: Option<u16>| match permissions.can_subscribe {
        true => wish.unwrap_or(DEFAULT_SLOTS).min(MAX_SLOTS),
        false => 0,
    };
    MediaSections { audio: granted(audio), video: granted(video) }
}

impl Room {
    pub(super) fn join(
        &mut self,
        id: ParticipantId,
        join: Box<JoinCommand>,
        local: Arc<LocalMedia>,
    ) {
        match self.check_door(&join.identity, &join.grant) {
            Ok(Entry::Free) => self.seat(id, *join, local),
            Ok(Entry::Wait) => self.knock(id, join, local),
            Err(refusal) => self.turn_away(id, join.request, refusal),
        }
    }

    /// Lets somebody in whom the door does not keep out.
    pub(super) fn seat(&mut self, id: ParticipantId, join: JoinCommand, local: Arc<LocalMedia>) {
        let mut social = match self.make_place(&join.identity) {
            Ok(social) => social,
            Err(refusal) => return self.turn_away(id, join.request, refusal),
        };
        if self.forget_knock(&join.identity) {
            self.tell_lobby();
        }
        social.appointed |= !join.grant.hidden && self.inherits(join.grant.identity.is_none());
        let max = slots_granted(&join.grant.permissions, join.max_audio, join.max_video);
        let (identity, name, grant) = (join.identity, join.name, join.grant);
        let signaling = Signaling::Connected;
        let mut participant =
            Participant::new(id, identity, name, grant, signaling, local, &mut self.rng);
        participant.social = social;
        participant.max = max;
        participant.compact = join.compact;
        participant.resumption.takes(join.request);
        participant.wished = slots_granted(&Permissions::ALL, join.max_audio, join.max_video);
        participant.sections = sections_needed(MediaSections::default(), max, self.tracks.values());
        self.welcome(&participant, join.request);
        self.admit(participant);
        self.tell_history(id);
        self.tell_speakers(id);
        if self.participants.get(&id).is_some_and(Participant::is_moderator) {
            self.tell_lobby_to(id);
        }
    }

    /// Replaces an older participant with this identity, of whom it returns what stays; refuses somebody new when the room is full.
    pub(super) fn make_place(&mut self, identity: &str) -> Result<Social, Refusal> {
        let mut older = self.participants.values_mut();
        let older = older.find(|p| !p.is_viewer() && p.identity == identity);
        let Some((id, mut social)) = older.map(|p| (p.id, std::mem::take(&mut p.social))) else {
            return self.check_capacity().map(|()| Social::default());
        };
        social.typing_until = None;
        let text = "You joined this room from another page or device.";
        self.dismiss(id, "replaced", text, LeaveReason::Replaced);
        Ok(social)
    }

    pub(super) fn check_capacity(&self) -> Result<(), Refusal> {
        if self.participants.values().filter(|p| !p.is_viewer()).count() < self.max_participants() {
            return Ok(());
        }
        let text = format!("The room is full: it has {} participants.", self.max_participants());
        Err(Refusal::new(ErrorCode::Limit, text))
    }

    /// Puts somebody on the list and tells the others.
    pub(super) fn admit(&mut self, participant: Participant) {
        if !participant.hidden {
            let participant = participant.info(Vec::new());
            let id = participant.participant;
            self.send_to_others(id, ServerMessage::ParticipantJoined { participant });
        }
        if !participant.is_viewer() {
            let report = Box::new(participant.report(Vec::new()));
            self.effects.push(Effect::Happened(Happening::Joined(report)));
        }
        self.participants.insert(participant.id, participant);
    }

    fn welcome(&mut self, participant: &Participant, request: Option<u64>) {
        let others = self.participants.values().filter(|other| !other.hidden);
        let message = ServerMessage::Welcome(Box::new(Welcome {
            request,
            version: VERSION,
            room: self.name.clone(),
            participant: participant.id,
            identity: participant.identity.clone(),
            secret: participant.resumption.secret(),
            ice_servers: ice::issue(&self.settings.ice_servers, SystemTime::now()),
            media_sections: participant.sections,
            max_video: participant.max.video,
            max_audio: participant.max.audio,
            permissions: participant.grant.permissions.clone(),
            standing: participant.standing(),
            state: self.state(),
            participants: others.map(|other| other.info(self.tracks_of(other.id))).collect(),
        }));
        self.send(participant.id, message);
    }

    pub(super) fn tracks_of(&self, owner: ParticipantId) -> Vec<TrackInfo> {
        let tracks = self.tracks.values().filter(|track| track.owner == owner);
        tracks.map(|track| track.info()).collect()
    }

    pub(super) fn leave(&mut self, participant: ParticipantId) {
        self.remove(participant, LeaveReason::Left);
    }

    /// Tells a participant why it must go, and removes it.
    pub(super) fn dismiss(
        &mut self,
        participant: ParticipantId,
        reason: &str,
        text: &str,
        left: LeaveReason,
    ) {
        let farewell = match left {
            LeaveReason::Replaced => Some(Farewell::Replaced),
            // Whoever closed its peer connection, or was sent away, is not to come again.
            LeaveReason::Removed => None,
            LeaveReason::Left if reason != "shutdown" => None,
            _ => Some(Farewell::Reconnect),
        };
        let followed = self.participants.get(&participant).and_then(|p| p.followed.clone());
        if let (Some(outlook), Some(_)) = (followed, farewell) {
            let outlook = Outlook { farewell, ..outlook };
            self.effects.push(Effect::Outlook { participant, outlook });
        }
        let (reason, message) = (reason.to_owned(), text.to_owned());
        if matches!(left, LeaveReason::Replaced | LeaveReason::Removed) {
            self.note_departure(participant, &reason, &message);
        }
        self.send(participant, ServerMessage::Closed { reason, message });
        self.remove(participant, left);
    }

    /// Removes a participant with its tracks and its peer connection.
    pub(super) fn remove(&mut self, id: ParticipantId, reason: LeaveReason) {
        for track in self.tracks_of(id) {
            self.note_track(id, track, false);
        }
        let Some(participant) = self.participants.remove(&id) else { return };
        if !participant.is_viewer() {
            let report = Box::new(participant.report(Vec::new()));
            self.effects.push(Effect::Happened(Happening::Left(report)));
        }
        self.stage.forget(id);
        self.effects.push(Effect::Hangup { participant: id });
        if let Some(transport) = participant.transport {
            self.media(Command::CloseTransport { transport: transport.id });
        }
        for slot in participant.slots.iter() {
            self.consumers.remove(&slot.consumer);
        }
        if !participant.hidden {
            let message = ServerMessage::ParticipantLeft { participant: id, reason };
            self.effects.push(Effect::Send { to: Recipients::All, message });
        }
        // The transport took its producers with it, and `participant_left` tells of the tracks.
        let count = self.tracks.len();
        self.tracks.retain(|_, track| track.owner != id);
        if self.tracks.len() != count {
            self.reconcile_all();
        }
    }

    pub(super) fn signaling_closed(&mut self, now: Instant, id: ParticipantId, clean: bool) {
        if self.stop_waiting(id) {
            return;
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if clean {
            return self.leave(id);
        }
        participant.signaling = Signaling::Lost(now);
        let (state, hidden) = (Some(participant.state()), participant.hidden);
        if !hidden {
            let update = ParticipantUpdate { state, ..ParticipantUpdate::of(id) };
            self.send_to_others(id, ServerMessage::ParticipantUpdated(Box::new(update)));
        }
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let gone = self.participants.values().filter(|p| p.is_gone(now));
        for id in gone.map(|p| p.id).collect::<Vec<_>>() {
            self.remove(id, LeaveReason::Timeout);
        }
        let due = |p: &&Participant| p.resume_at.is_some_and(|deadline| deadline <= now);
        let due = self.participants.values().filter(due).map(|p| p.id);
        for id in due.collect::<Vec<_>>() {
            self.resume(id);
        }
        let due = |p: &&Participant| p.reseat_at.is_some_and(|deadline| deadline <= now);
        let due = self.participants.values().filter(due).map(|p| p.id);
        for id in due.collect::<Vec<_>>() {
            self.reconcile(id);
        }
        self.tick_typing(now);
        self.tick_inquiry();
        if self.stage.tick(now) {
            self.follow_speakers(true);
        }
    }

    pub(super) fn drain(&mut self, seconds: u64) {
        self.linger = None;
        let message = "The server will stop or restart; nobody new is let in.".to_owned();
        let message = ServerMessage::Closing { seconds, message };
        self.effects.push(Effect::Send { to: Recipients::All, message });
    }

    pub(super) fn shutdown(&mut self) {
        self.deny(None, "shutdown", "The server stops or restarts.");
        let ids: Vec<_> = self.participants.keys().copied().collect();
        for id in ids {
            self.dismiss(id, "shutdown", "The server stops or restarts.", LeaveReason::Left);
        }
    }
}
