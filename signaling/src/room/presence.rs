//! Coming and going: join, leave, lost sockets, replaced identities, shutdown.

use super::participant::{Participant, Signaling};
use super::{Effect, JoinCommand, MAX_PARTICIPANTS, Recipients, Refusal, Room};
use crate::protocol::{
    ErrorCode, LeaveReason, MediaSections, ParticipantId, ServerMessage, VERSION, Welcome,
};
use std::time::Instant;

/// Slots that a client gets unless it asks for another number.
const DEFAULT_SLOTS: u16 = 25;
/// Most slots of each kind that a client may ask for.
pub(crate) const MAX_SLOTS: u16 = 64;

impl Room {
    pub(super) fn join(&mut self, id: ParticipantId, join: JoinCommand) {
        let older = self.participants.values().find(|p| p.identity == join.identity).map(|p| p.id);
        if older.is_none() && self.participants.len() >= MAX_PARTICIPANTS {
            let text = format!("The room is full: it has {MAX_PARTICIPANTS} participants.");
            self.refuse(id, join.request, Refusal::new(ErrorCode::Limit, text));
            self.effects.push(Effect::Hangup { participant: id });
            return;
        }
        if let Some(older) = older {
            let text = "You joined this room from another page or device.";
            self.dismiss(older, "replaced", text, LeaveReason::Replaced);
        }
        let slots = |wish: Option<u16>| match join.grant.can_subscribe {
            true => wish.unwrap_or(DEFAULT_SLOTS).min(MAX_SLOTS),
            false => 0,
        };
        let max = MediaSections { audio: slots(join.max_audio), video: slots(join.max_video) };
        let mut participant = Participant {
            id,
            identity: join.identity,
            name: join.name,
            grant: join.grant,
            signaling: Signaling::Connected,
            max,
            sections: MediaSections::default(),
        };
        participant.sections = max;
        self.welcome(&participant, join.request);
        let message = ServerMessage::ParticipantJoined { participant: participant.info(vec![]) };
        self.send_to_others(participant.id, message);
        self.participants.insert(participant.id, participant);
    }

    fn welcome(&mut self, participant: &Participant, request: Option<u64>) {
        let message = ServerMessage::Welcome(Box::new(Welcome {
            request,
            version: VERSION,
            room: self.name.clone(),
            participant: participant.id,
            identity: participant.identity.clone(),
            ice_servers: self.settings.ice_servers.clone(),
            media_sections: participant.sections,
            max_video: participant.max.video,
            max_audio: participant.max.audio,
            can_publish: participant.grant.can_publish,
            can_subscribe: participant.grant.can_subscribe,
            participants: self.participants.values().map(|other| other.info(vec![])).collect(),
        }));
        self.send(participant.id, message);
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
        let (reason, message) = (reason.to_owned(), text.to_owned());
        self.send(participant, ServerMessage::Closed { reason, message });
        self.remove(participant, left);
    }

    pub(super) fn remove(&mut self, id: ParticipantId, reason: LeaveReason) {
        if self.participants.remove(&id).is_none() {
            return;
        }
        self.effects.push(Effect::Hangup { participant: id });
        let message = ServerMessage::ParticipantLeft { participant: id, reason };
        self.effects.push(Effect::Send { to: Recipients::All, message });
    }

    pub(super) fn signaling_closed(&mut self, now: Instant, id: ParticipantId, clean: bool) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if clean {
            return self.leave(id);
        }
        participant.signaling = Signaling::Lost(now);
        let state = participant.state();
        self.send_to_others(id, ServerMessage::ParticipantUpdated { participant: id, state });
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let due = |p: &&Participant| p.next_deadline().is_some_and(|deadline| deadline <= now);
        let ids: Vec<_> = self.participants.values().filter(due).map(|p| p.id).collect();
        for id in ids {
            self.remove(id, LeaveReason::Timeout);
        }
    }

    pub(super) fn shutdown(&mut self) {
        let ids: Vec<_> = self.participants.keys().copied().collect();
        for id in ids {
            self.dismiss(id, "shutdown", "The server stops or restarts.", LeaveReason::Left);
        }
    }
}
