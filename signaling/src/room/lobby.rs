//! The door of a room: who is kept out, who waits, who is let in.

use super::participant::Participant;
use super::{Effect, JoinCommand, Refusal, Room};
use crate::auth::{Ban, Grant, seconds_until};
use crate::negotiation::LocalMedia;
use crate::protocol::{
    BanInfo, ClientMessage, ErrorCode, LeaveReason, ModerationNews, ParticipantId, ServerMessage,
    Waiting,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most people who wait to be let in.
pub(super) const WAITING_MAX: usize = 50;
/// Most bans of a room.
pub(super) const BANS_MAX: usize = 200;

/// Whether and how somebody comes in.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Nobody new is let in.
    pub(super) locked: bool,
    /// Whoever is new waits for a moderator.
    pub(super) lobby: bool,
    /// Who came first is first.
    waiting: Vec<Knock>,
    bans: Vec<Ban>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Knock {
    id: ParticipantId,
    join: Box<JoinCommand>,
    local: Arc<LocalMedia>,
}

/// What becomes of somebody at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Free,
    Wait,
}

impl Door {
    /// Nobody waits.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let of = |Knock { join, .. }: &Knock| Waiting {
            identity: join.identity.clone(),
            name: join.name.clone(),
        };
        self.waiting.iter().map(of).collect()
    }

    pub(super) fn bans(&self, now: Instant) -> Vec<BanInfo> {
        let of = |ban: &Ban| BanInfo {
            identity: ban.identity.clone(),
            name: ban.name.clone(),
            seconds: seconds_until(now, ban.until),
            by: ban.by.clone(),
            reason: ban.reason.clone(),
        };
        self.bans.iter().filter(|ban| now < ban.until).map(of).collect()
    }

    fn place_of(&self, identity: &str) -> Option<usize> {
        self.waiting.iter().position(|knock| knock.join.identity == identity)
    }
}

impl Room {
    /// Bans of an earlier room of this name.
    pub(crate) fn restore_bans(&mut self, bans: Vec<Ban>) {
        self.door.bans = bans;
    }

    /// Whether somebody may come in.
    pub(super) fn check_door(&self, identity: &str, grant: &Grant) -> Result<Entry, Refusal> {
        let refuse = |text: String| Err(Refusal::new(ErrorCode::NotAllowed, text));
        let mut bans = self.door.bans.iter();
        if let Some(ban) = bans.find(|ban| ban.holds(self.now, identity, grant)) {
            return refuse(ban.sentence(self.now));
        }
        let mut members = self.participants.values().filter(|p| !p.is_viewer());
        let returns = members.any(|p| p.identity == identity);
        if returns || grant.moderator || self.inherits(grant.identity.is_none()) {
            return Ok(Entry::Free);
        }
        match (self.door.locked, self.door.lobby) {
            (true, _) => refuse("The room is locked; its moderators let nobody new in.".to_owned()),
            (false, true) => Ok(Entry::Wait),
            (false, false) => Ok(Entry::Free),
        }
    }

    /// The same for who cannot wait.
    pub(super) fn check_door_over_http(
        &self,
        identity: &str,
        grant: &Grant,
    ) -> Result<(), Refusal> {
        // Over HTTP nobody becomes a moderator.
        let inherits = self.inherits(grant.identity.is_none());
        let closed = self.door.locked || self.door.lobby;
        match self.check_door(identity, grant)? {
            Entry::Free if !inherits || !closed => Ok(()),
            _ => {
                let text = "Whoever is new in this room is let in by a moderator, which is not for WHIP and WHEP.";
                Err(Refusal::new(ErrorCode::NotAllowed, text))
            }
        }
    }

    pub(super) fn knock(
        &mut self,
        id: ParticipantId,
        join: Box<JoinCommand>,
        local: Arc<LocalMedia>,
    ) {
        self.forget_knock(&join.identity);
        if self.door.waiting.len() >= WAITING_MAX {
            let text = format!("{WAITING_MAX} people wait to be let in; come again later.");
            return self.turn_away(id, join.request, Refusal::new(ErrorCode::Limit, text));
        }
        let (request, identity) = (join.request, join.identity.clone());
        self.door.waiting.push(Knock { id, join, local });
        self.effects.push(Effect::Wait { participant: id });
        let (room, place) = (self.name.clone(), self.door.waiting.len());
        let news = ModerationNews::Waiting { request, room, identity, place };
        self.send(id, ServerMessage::Moderation(news));
        self.tell_lobby();
    }

    pub(super) fn turn_away(&mut self, id: ParticipantId, request: Option<u64>, refusal: Refusal) {
        self.refuse(id, request, refusal);
        self.effects.push(Effect::Hangup { participant: id });
    }

    /// An older knock of an identity that comes again. Whether there was one.
    pub(super) fn forget_knock(&mut self, identity: &str) -> bool {
        let Some(place) = self.door.place_of(identity) else { return false };
        let knock = self.door.waiting.remove(place);
        let text = "You came to this room from another page or device.";
        self.send_off(knock.id, "replaced", text);
        self.tell_places(place);
        true
    }

    fn send_off(&mut self, id: ParticipantId, reason: &str, text: &str) {
        let (reason, message) = (reason.to_owned(), text.to_owned());
        self.send(id, ServerMessage::Closed { reason, message });
        self.effects.push(Effect::Hangup { participant: id });
    }

    /// Who waits has nothing to say but that they go. Whether it was of somebody who waits.
    pub(super) fn hear_waiting(&mut self, from: ParticipantId, message: &ClientMessage) -> bool {
        if !self.door.waiting.iter().any(|knock| knock.id == from) {
            return false;
        }
        if matches!(message, ClientMessage::Leave {}) {
            self.stop_waiting(from);
        } else {
            let text = "You wait to be let in.";
            self.refuse(from, message.request(), Refusal::new(ErrorCode::BadState, text));
        }
        true
    }

    /// Somebody who waited does not any more. Whether they did.
    pub(super) fn stop_waiting(&mut self, id: ParticipantId) -> bool {
        let Some(place) = self.door.waiting.iter().position(|knock| knock.id == id) else {
            return false;
        };
        self.door.waiting.remove(place);
        self.effects.push(Effect::Hangup { participant: id });
        self.tell_places(place);
        self.tell_lobby();
        true
    }

    /// Sends those away who wait; `identity`: only this one.
    pub(super) fn deny(&mut self, identity: Option<&str>, reason: &str, text: &str) -> bool {
        let waiting = std::mem::take(&mut self.door.waiting);
        let denied = |knock: &Knock| identity.is_none_or(|one| knock.join.identity == one);
        let (denied, kept) = waiting.into_iter().partition(denied);
        self.door.waiting = kept;
        let denied: Vec<Knock> = denied;
        for knock in &denied {
            self.send_off(knock.id, reason, text);
        }
        if !denied.is_empty() {
            self.tell_places(0);
            self.tell_lobby();
        }
        !denied.is_empty()
    }

    /// Lets somebody in who waits.
    pub(super) fn let_in(&mut self, identity: &str) -> Result<(), Refusal> {
        let Some(place) = self.door.place_of(identity) else {
            let text = format!("{identity:?} does not wait to be let in; they may have gone.");
            return Err(Refusal::new(ErrorCode::NotFound, text));
        };
        self.check_capacity()?;
        let Knock { id, join, local } = self.door.waiting.remove(place);
        let grant = Box::new(join.grant.clone());
        self.effects.push(Effect::Admit { participant: id, grant });
        self.seat(id, *join, local);
        self.tell_places(place);
        self.tell_lobby();
        Ok(())
    }

    /// The lobby is no more: who waits is let in, as far as there is room.
    pub(super) fn let_all_in(&mut self) {
        while let Some(first) = self.door.waiting.first() {
            let identity = first.join.identity.clone();
            if let Err(refusal) = self.let_in(&identity) {
                self.deny(None, "denied", &refusal.message);
            }
        }
    }

    /// Nobody is left who could let anybody in, and there are no keys: who waited longest comes in, and moderates.
    pub(super) fn admit_heir(&mut self) {
        let first = self.door.waiting.first();
        let Some(first) = first.filter(|knock| knock.join.grant.identity.is_none()) else { return };
        let identity = first.join.identity.clone();
        if let Err(refusal) = self.let_in(&identity) {
            self.deny(None, "denied", &refusal.message);
        }
    }

    /// What a token of somebody who waits is worth has changed.
    pub(super) fn correct_waiting(&mut self, id: ParticipantId, grant: Option<&Grant>) {
        let Some(knock) = self.door.waiting.iter_mut().find(|knock| knock.id == id) else { return };
        match grant {
            Some(grant) => knock.join.grant = grant.clone(),
            None => {
                let identity = knock.join.identity.clone();
                self.deny(Some(&identity), "removed", "You were removed from this room.");
            }
        }
    }

    pub(super) fn tell_lobby(&mut self) {
        for id in self.moderators() {
            let news = ModerationNews::Lobby { waiting: self.door.waiting() };
            self.send(id, ServerMessage::Moderation(news));
        }
    }

    /// A new moderator is told who waits, if anybody.
    pub(super) fn tell_lobby_to(&mut self, id: ParticipantId) {
        if !self.door.waiting.is_empty() {
            let news = ModerationNews::Lobby { waiting: self.door.waiting() };
            self.send(id, ServerMessage::Moderation(news));
        }
    }

    fn tell_places(&mut self, from: usize) {
        let room = self.name.clone();
        let moved = self.door.waiting.iter().enumerate().skip(from);
        let moved = moved.map(|(index, knock)| (index + 1, knock.id, knock.join.identity.clone()));
        for (place, id, identity) in moved.collect::<Vec<_>>() {
            let (request, room) = (None, room.clone());
            let news = ModerationNews::Waiting { request, room, identity, place };
            self.send(id, ServerMessage::Moderation(news));
        }
    }

    /// Keeps an identity out from now on, whether it is here or not.
    pub(super) fn ban(&mut self, mut ban: Ban) -> Result<(), Refusal> {
        self.check_lifts(ban.by_token, &ban.identity)?;
        let now = self.now;
        // Of somebody who is kept out already nobody knows the name and with which token they came but the older ban.
        let same = |known: &&Ban| now < known.until && known.identity == ban.identity;
        if let Some(older) = self.door.bans.iter().find(same) {
            ban.token_id = ban.token_id.or_else(|| older.token_id.clone());
            if ban.name.is_empty() {
                ban.name.clone_from(&older.name);
            }
        }
        self.door.bans.retain(|known| now < known.until && known.identity != ban.identity);
        if self.door.bans.len() >= BANS_MAX {
            let text = format!("This room has {BANS_MAX} bans; lift one first.");
            return Err(Refusal::new(ErrorCode::Limit, text));
        }
        self.door.bans.push(ban);
        self.keep_bans();
        Ok(())
    }

    /// Nobody who moderates by being made so ends a ban of somebody who does by a token, or puts another in its place.
    fn check_lifts(&self, by_token: bool, identity: &str) -> Result<(), Refusal> {
        let of_token = |ban: &Ban| ban.by_token && ban.identity == identity && self.now < ban.until;
        if by_token || !self.door.bans.iter().any(of_token) {
            return Ok(());
        }
        let text = "They were banned by the HTTP API, or by somebody who moderates by their token (video.roomAdmin); only those can change it.";
        Err(Refusal::new(ErrorCode::NotAllowed, text))
    }

    pub(super) fn unban(
        &mut self,
        by: Option<ParticipantId>,
        identity: &str,
    ) -> Result<(), Refusal> {
        self.check_lifts(self.acts_by_token(by), identity)?;
        let (now, count) = (self.now, self.door.bans(self.now).len());
        self.door.bans.retain(|known| now < known.until && known.identity != identity);
        if self.door.bans.len() == count {
            let text = format!("{identity:?} is not banned from this room.");
            return Err(Refusal::new(ErrorCode::NotFound, text));
        }
        self.keep_bans();
        Ok(())
    }

    fn keep_bans(&mut self) {
        let bans = self.door.bans.clone();
        self.effects.push(Effect::Bans(bans));
    }

    pub(super) fn ban_of(
        &self,
        participants: &[ParticipantId],
        identity: &str,
        seconds: u64,
    ) -> Ban {
        let here = participants.iter().find_map(|id| self.participants.get(id));
        let known = here.map(|participant: &Participant| (&participant.name, &participant.grant));
        let waiting = self.door.place_of(identity).and_then(|place| self.door.waiting.get(place));
        let known = known.or(waiting.map(|knock| (&knock.join.name, &knock.join.grant)));
        Ban {
            identity: identity.to_owned(),
            name: known.map_or_else(String::new, |(name, _)| name.clone()),
            token_id: known.and_then(|(_, grant)| grant.token_id.clone()),
            until: self.now + Duration::from_secs(seconds),
            by: None,
            reason: String::new(),
            by_token: false,
        }
    }

    /// Sends somebody away who is here.
    pub(super) fn expel(&mut self, ids: &[ParticipantId], reason: &str, text: &str) {
        for id in ids {
            self.dismiss(*id, reason, text, LeaveReason::Removed);
        }
    }
}
