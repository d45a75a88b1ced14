//! How somebody is here besides media: hand, status, reactions, and who moderates.

use super::participant::{Participant, Signaling};
use super::{Effect, Recipients, Refusal, Room};
use crate::protocol::{
    ErrorCode, ParticipantId, ParticipantUpdate, Presence, PresenceNews, ServerMessage, Standing,
};
use std::time::{Duration, Instant};

/// What everybody is told of by one participant: so many at once, then one in this time.
const AT_ONCE: u32 = 20;
const EVERY: Duration = Duration::from_millis(500);

/// What a participant keeps when it comes back in its own place.
#[derive(Debug, Default)]
pub(super) struct Social {
    /// Moderates, not by its token but because the room made it so.
    pub(super) appointed: bool,
    /// Order of the raised hand; 0: it is down.
    hand: u64,
    status: String,
    budget: Budget,
    pub(super) typing_until: Option<Instant>,
    pub(super) typing_budget: Budget,
}

/// How much may be done. Counts in time: it is whole when `whole_at` has passed.
#[derive(Debug, Default)]
pub(super) struct Budget {
    whole_at: Option<Instant>,
}

impl Budget {
    /// Whether there was something left.
    pub(super) fn spend(&mut self, now: Instant, at_once: u32, every: Duration) -> bool {
        let whole_at = self.whole_at.map_or(now, |at| at.max(now));
        if whole_at > now + every * (at_once - 1) {
            return false;
        }
        self.whole_at = Some(whole_at + every);
        true
    }
}

impl Participant {
    /// By its token, or because the room made it so.
    pub(super) fn is_moderator(&self) -> bool {
        self.grant.moderator || self.social.appointed
    }

    pub(super) fn standing(&self) -> Standing {
        let Social { hand, status, .. } = &self.social;
        Standing { moderator: self.is_moderator(), hand: *hand, status: status.clone() }
    }

    /// There are no keys, so no token says who moderates.
    pub(super) fn is_open(&self) -> bool {
        self.grant.identity.is_none()
    }

    /// Has a socket to do it by, and is seen.
    pub(super) fn may_moderate(&self) -> bool {
        !self.hidden && !matches!(self.signaling, Signaling::Http(_))
    }

    /// Is made a moderator where nobody is by a token.
    fn may_inherit(&self) -> bool {
        self.is_open() && self.may_moderate() && self.signaling == Signaling::Connected
    }
}

impl Room {
    /// Somebody may say something to all.
    pub(super) fn check_talks(&self, id: ParticipantId) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get(&id) else { return Ok(()) };
        let text = if !participant.grant.permissions.can_publish_data {
            "You may not say anything here (video.canPublishData of the token)."
        } else if participant.hidden {
            "You are hidden (video.hidden of the token), so nobody could be told who says it."
        } else {
            return Ok(());
        };
        Err(Refusal::new(ErrorCode::NotAllowed, text))
    }

    /// Refuses what comes too fast.
    pub(super) fn spend(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        let now = self.now;
        let Some(participant) = self.participants.get_mut(&id) else { return Ok(()) };
        if participant.social.budget.spend(now, AT_ONCE, EVERY) {
            return Ok(());
        }
        let text = "Too much at once; wait some seconds.";
        Err(Refusal::new(ErrorCode::Limit, text))
    }

    pub(super) fn set_presence(
        &mut self,
        id: ParticipantId,
        presence: Presence,
    ) -> Result<(), Refusal> {
        if self.participants.get(&id).is_some_and(|p| p.hidden) {
            let text = "You are hidden (video.hidden of the token), so nobody could be told.";
            return Err(Refusal::new(ErrorCode::NotAllowed, text));
        }
        self.spend(id)?;
        if let Some(raised) = presence.hand {
            self.set_hand(id, raised);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return Ok(()) };
        let status = presence.status.filter(|status| *status != participant.social.status);
        if let Some(status) = &status {
            participant.social.status.clone_from(status);
            self.tell_update(ParticipantUpdate {
                status: Some(status.clone()),
                ..ParticipantUpdate::of(id)
            });
        }
        Ok(())
    }

    /// Raises a hand behind those that are up, or takes it down. Whether that changed anything.
    pub(super) fn set_hand(&mut self, id: ParticipantId, raised: bool) -> bool {
        let Some(participant) = self.participants.get_mut(&id) else { return false };
        if (participant.social.hand > 0) == raised {
            return false;
        }
        self.last_hand += u64::from(raised);
        let hand = if raised { self.last_hand } else { 0 };
        participant.social.hand = hand;
        self.tell_update(ParticipantUpdate { hand: Some(hand), ..ParticipantUpdate::of(id) });
        true
    }

    pub(super) fn react(&mut self, id: ParticipantId, reaction: String) -> Result<(), Refusal> {
        self.check_talks(id)?;
        self.spend(id)?;
        let news = PresenceNews::Reaction { participant: id, reaction };
        let message = ServerMessage::Presence(news);
        self.effects.push(Effect::Send { to: Recipients::All, message });
        Ok(())
    }

    /// Tells everybody something of somebody; of who is hidden only themselves.
    pub(super) fn tell_update(&mut self, update: ParticipantUpdate) {
        let id = update.participant;
        let hidden = self.participants.get(&id).is_none_or(|participant| participant.hidden);
        let to = if hidden { Recipients::One(id) } else { Recipients::All };
        let message = ServerMessage::ParticipantUpdated(Box::new(update));
        self.effects.push(Effect::Send { to, message });
    }

    pub(super) fn moderators(&self) -> Vec<ParticipantId> {
        self.participants.values().filter(|p| p.is_moderator()).map(|p| p.id).collect()
    }

    /// Makes somebody a moderator, or ends that. Whether that changed anything.
    pub(super) fn appoint(&mut self, id: ParticipantId, appointed: bool) -> bool {
        let Some(participant) = self.participants.get_mut(&id) else { return false };
        let before = participant.is_moderator();
        participant.social.appointed = appointed;
        self.tell_role(id, before)
    }

    /// Tells of a role that may have changed. Whether it has.
    pub(super) fn tell_role(&mut self, id: ParticipantId, before: bool) -> bool {
        let Some(now) = self.participants.get(&id).map(Participant::is_moderator) else {
            return false;
        };
        if now == before {
            return false;
        }
        self.tell_update(ParticipantUpdate { moderator: Some(now), ..ParticipantUpdate::of(id) });
        if now {
            self.tell_lobby_to(id);
        }
        true
    }

    /// Whoever comes now moderates: there are no keys, and nobody else does.
    pub(super) fn inherits(&self, open: bool) -> bool {
        open && !self.participants.values().any(Participant::is_moderator)
    }

    /// Without keys somebody always moderates: who has been here longest, when the last moderator has left.
    pub(super) fn pass_role_on(&mut self) {
        if self.participants.values().any(Participant::is_moderator) {
            return;
        }
        let heir = self.participants.values().find(|p| p.may_inherit()).map(|p| p.id);
        match heir {
            Some(heir) => drop(self.appoint(heir, true)),
            None => self.admit_heir(),
        }
    }
}
