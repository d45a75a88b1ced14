//! What moderators do, by the socket or by the HTTP API. Everybody is told what was done, those it concerns also why.

use super::admin::{ParticipantChange, no_participant, no_track};
use super::{Effect, Recipients, Refusal, Room};
use crate::auth::{Span, Verdict, because};
use crate::protocol::{
    ErrorCode, Kind, Moderate, Moderated, ModerationNews, ModeratorAction, OneTrack, ParticipantId,
    PermissionChange, RoomState, ServerMessage, Source, TrackId, UpdateParticipant, UpdateRoom,
    check_attributes,
};
use std::collections::BTreeMap;

/// Whom something concerns.
#[derive(Debug)]
enum Concerned {
    Everybody,
    These(Vec<ParticipantId>),
}

impl Room {
    /// A request by the socket.
    pub(super) fn moderate(&mut self, from: ParticipantId, moderate: Moderate) {
        let Moderate { request, reason, action } = moderate;
        let result = match action {
            ModeratorAction::UpdateParticipant(it) if self.is_own(from, &it) => {
                self.update_own(from, it)
            }
            ModeratorAction::ListBans(_) => match self.check_moderates(from) {
                Ok(()) => {
                    let news = ModerationNews::Bans { request, bans: self.door.bans(self.now) };
                    return self.send(from, ServerMessage::Moderation(news));
                }
                Err(refusal) => Err(refusal),
            },
            // Nobody is left to be answered afterwards.
            ModeratorAction::EndRoom(_) => match self.check_ends(from) {
                Ok(()) => {
                    self.send(from, ServerMessage::Ok { request });
                    return drop(self.act(Some(from), action, &reason));
                }
                Err(refusal) => Err(refusal),
            },
            action => {
                self.check_moderates(from).and_then(|()| self.act(Some(from), action, &reason))
            }
        };
        match result {
            Ok(()) => self.send(from, ServerMessage::Ok { request }),
            Err(refusal) => self.refuse(from, request, refusal),
        }
    }

    fn check_moderates(&self, id: ParticipantId) -> Result<(), Refusal> {
        if self.participants.get(&id).is_some_and(super::Participant::is_moderator) {
            return Ok(());
        }
        let text = "Only moderators may do this: with video.roomAdmin of the token, or made one by another moderator.";
        Err(Refusal::new(ErrorCode::NotAllowed, text))
    }

    /// Does what a moderator asks; `None`: the HTTP API.
    pub(super) fn act(
        &mut self,
        by: Option<ParticipantId>,
        action: ModeratorAction,
        reason: &str,
    ) -> Result<(), Refusal> {
        let news = Moderated {
            action: action.name().to_owned(),
            by: by.and_then(|id| self.participants.get(&id)).and_then(|moderator| {
                // Of somebody who is hidden nobody is told.
                (!moderator.hidden).then(|| moderator.identity.clone())
            }),
            reason: reason.to_owned(),
            ..Moderated::default()
        };
        match action {
            ModeratorAction::MuteTrack(OneTrack { track }) => self.mute_other(by, track, news),
            ModeratorAction::MuteAll(_) => self.mute_all(by, news),
            ModeratorAction::StopTrack(OneTrack { track }) => self.stop_track(by, track, news),
            ModeratorAction::LowerHand(it) => self.lower_hand(&it.identity, news),
            ModeratorAction::Kick(it) => self.kick(by, &it.identity, news),
            ModeratorAction::Ban(it) => self.shut_out(by, &it.identity, it.seconds, news),
            ModeratorAction::Unban(it) => {
                self.unban(by, &it.identity)?;
                self.tell(news, Some(it.identity), Concerned::Everybody);
                Ok(())
            }
            ModeratorAction::Admit(it) => {
                self.let_in(&it.identity)?;
                self.tell(news, Some(it.identity), Concerned::Everybody);
                Ok(())
            }
            ModeratorAction::Deny(it) => self.turn_down(&it.identity, &news),
            ModeratorAction::UpdateRoom(it) => {
                self.update_room(it, news);
                Ok(())
            }
            ModeratorAction::UpdateParticipant(it) => self.update_other(by, it, news),
            ModeratorAction::SetPermissions(it) => {
                self.permit(by, &it.identity, &it.permissions, news)
            }
            ModeratorAction::SetModerator(it) => {
                self.set_moderator(by, &it.identity, it.moderator, news)
            }
            ModeratorAction::EndRoom(_) => {
                self.end_for_all(by, &news);
                Ok(())
            }
            ModeratorAction::ListBans(_) => Ok(()),
        }
    }

    /// Everybody is told what was done; the reason is for those whom it concerns, and for moderators.
    fn tell(&mut self, news: Moderated, identity: Option<String>, concerned: Concerned) {
        let news = Moderated { identity, ..news };
        let message = |news: Moderated| ServerMessage::Moderation(ModerationNews::Moderated(news));
        let these = match concerned {
            Concerned::These(these) => these,
            Concerned::Everybody => {
                return self
                    .effects
                    .push(Effect::Send { to: Recipients::All, message: message(news) });
            }
        };
        let hidden = |id: &ParticipantId| self.participants.get(id).is_none_or(|p| p.hidden);
        let secret = these.iter().all(hidden);
        let silent = message(Moderated { reason: String::new(), ..news.clone() });
        let told = self.participants.values().map(|participant| {
            let knows = these.contains(&participant.id) || participant.is_moderator();
            (participant.id, knows)
        });
        for (id, knows) in told.collect::<Vec<_>>() {
            match (knows, secret) {
                (true, _) => self.send(id, message(news.clone())),
                (false, false) => self.send(id, silent.clone()),
                (false, true) => {}
            }
        }
    }

    /// Nobody who moderates by being made so acts against somebody who does by a token.
    fn check_outranks(
        &self,
        by: Option<ParticipantId>,
        ids: &[ParticipantId],
    ) -> Result<(), Refusal> {
        if self.acts_by_token(by) || !ids.iter().any(|id| self.acts_by_token(Some(*id))) {
            return Ok(());
        }
        let text = "They moderate by their token (video.roomAdmin), and you do not.";
        Err(Refusal::new(ErrorCode::NotAllowed, text))
    }

    /// Whether somebody may send everybody away.
    fn check_ends(&self, id: ParticipantId) -> Result<(), Refusal> {
        self.check_moderates(id)?;
        let all: Vec<_> = self.participants.keys().copied().collect();
        self.check_outranks(Some(id), &all).map_err(|refusal| Refusal {
            message: "Somebody here moderates by their token (video.roomAdmin); only they can end the room.".to_owned(),
            ..refusal
        })
    }

    /// The HTTP API, or somebody who moderates by a token.
    pub(super) fn acts_by_token(&self, by: Option<ParticipantId>) -> bool {
        by.is_none_or(|id| self.participants.get(&id).is_some_and(|p| p.grant.moderator))
    }

    fn owner_of_track(&self, track: TrackId) -> Result<ParticipantId, Refusal> {
        self.tracks.get(&track).map(|track| track.owner).ok_or_else(|| no_track(track))
    }

    fn identity_of(&self, id: ParticipantId) -> Option<String> {
        self.participants.get(&id).map(|participant| participant.identity.clone())
    }

    fn mute_other(
        &mut self,
        by: Option<ParticipantId>,
        track: TrackId,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let owner = self.owner_of_track(track)?;
        self.check_outranks(by, &[owner])?;
        if self.mute_for_all(owner, track)? {
            let news = Moderated { track: Some(track), ..news };
            self.tell(news, self.identity_of(owner), Concerned::These(vec![owner]));
        }
        Ok(())
    }

    /// Whether it was not muted before.
    fn mute_for_all(&mut self, owner: ParticipantId, track: TrackId) -> Result<bool, Refusal> {
        if self.tracks.get(&track).is_some_and(|track| track.muted) {
            return Ok(false);
        }
        self.mute(owner, track, true)?;
        // The others have been told.
        self.send(owner, ServerMessage::TrackMuted { participant: owner, track, muted: true });
        Ok(true)
    }

    fn mute_all(&mut self, by: Option<ParticipantId>, news: Moderated) -> Result<(), Refusal> {
        let sounds = self.tracks.values().filter(|track| track.kind == Kind::Audio);
        let spared = |id| self.participants.get(&id).is_none_or(super::Participant::is_moderator);
        let those = sounds.filter(|track| !spared(track.owner) && Some(track.owner) != by);
        let mut changed = false;
        for (owner, track) in those.map(|track| (track.owner, track.id)).collect::<Vec<_>>() {
            changed |= self.mute_for_all(owner, track)?;
        }
        if changed {
            self.tell(news, None, Concerned::Everybody);
        }
        Ok(())
    }

    fn stop_track(
        &mut self,
        by: Option<ParticipantId>,
        track: TrackId,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let owner = self.owner_of_track(track)?;
        self.check_outranks(by, &[owner])?;
        let is_screen = self.tracks.get(&track).is_some_and(|t| t.source == Source::ScreenShare);
        // A shared screen is heard, too.
        let sounds = self
            .tracks
            .values()
            .filter(|t| is_screen && t.owner == owner && t.source == Source::ScreenShareAudio);
        let ended: Vec<TrackId> = sounds.map(|sound| sound.id).chain([track]).collect();
        // Before they are gone: its owner would not know which one that was.
        let news = Moderated { track: Some(track), ..news };
        self.tell(news, self.identity_of(owner), Concerned::These(vec![owner]));
        ended.into_iter().for_each(|track| self.withdraw(owner, track));
        self.reconcile_all();
        Ok(())
    }

    fn lower_hand(&mut self, identity: &str, news: Moderated) -> Result<(), Refusal> {
        let id = self.seen_with_identity(identity).ok_or_else(|| no_participant(identity))?;
        if self.set_hand(id, false) {
            self.tell(news, Some(identity.to_owned()), Concerned::These(vec![id]));
        }
        Ok(())
    }

    /// Those with an identity, whom somebody may send away.
    fn expendable(
        &self,
        by: Option<ParticipantId>,
        identity: &str,
    ) -> Result<Vec<ParticipantId>, Refusal> {
        let found = self.participants.values().filter(|p| p.identity == identity);
        let found: Vec<_> = found.map(|p| p.id).collect();
        if by.is_some_and(|by| found.contains(&by)) {
            let text = "That is you: leave the room instead.";
            return Err(Refusal::new(ErrorCode::BadState, text));
        }
        self.check_outranks(by, &found)?;
        Ok(found)
    }

    /// Such as ` by Ada`.
    fn by_name(&self, by: Option<ParticipantId>) -> String {
        let by = by.and_then(|id| self.participants.get(&id)).filter(|by| !by.hidden);
        by.map(|by| format!(" by {}", by.name)).unwrap_or_default()
    }

    fn kick(
        &mut self,
        by: Option<ParticipantId>,
        identity: &str,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let found = self.expendable(by, identity)?;
        if found.is_empty() {
            return Err(no_participant(identity));
        }
        let (by, because) = (self.by_name(by), because(&news.reason));
        self.tell(news, Some(identity.to_owned()), Concerned::These(found.clone()));
        self.expel(&found, "removed", &format!("You were removed from this room{by}.{because}"));
        Ok(())
    }

    fn shut_out(
        &mut self,
        by: Option<ParticipantId>,
        identity: &str,
        seconds: u64,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let found = self.expendable(by, identity)?;
        let mut ban = self.ban_of(&found, identity, seconds);
        (ban.by, ban.reason) = (news.by.clone(), news.reason.clone());
        // They may be absent, so that nobody knows whether they moderate by a token.
        ban.by_token = self.acts_by_token(by);
        self.ban(ban)?;
        let (by, because) = (self.by_name(by), because(&news.reason));
        let text = match Span::of(seconds) {
            Span::Minutes(count) => {
                format!("You were banned from this room{by} for {count} minutes.{because}")
            }
            Span::Hours(count) => {
                format!("You were banned from this room{by} for {count} hours.{because}")
            }
            Span::Days(count) => {
                format!("You were banned from this room{by} for {count} days.{because}")
            }
        };
        self.tell(news, Some(identity.to_owned()), Concerned::These(found.clone()));
        self.expel(&found, "banned", &text);
        self.deny(Some(identity), "banned", &text);
        Ok(())
    }

    fn turn_down(&mut self, identity: &str, news: &Moderated) -> Result<(), Refusal> {
        let text = format!("You were not let into this room.{}", because(&news.reason));
        if self.deny(Some(identity), "denied", &text) {
            // Who was never in the room is nobody's business but the moderators'.
            self.tell(news.clone(), Some(identity.to_owned()), Concerned::These(Vec::new()));
            return Ok(());
        }
        let text = format!("{identity:?} does not wait to be let in; they may have gone.");
        Err(Refusal::new(ErrorCode::NotFound, text))
    }

    pub(super) fn state(&self) -> RoomState {
        let (locked, lobby) = (self.door.locked, self.door.lobby);
        RoomState { metadata: self.metadata.clone(), locked, lobby }
    }

    fn update_room(&mut self, update: UpdateRoom, news: Moderated) {
        let before = self.state();
        if let Some(metadata) = update.metadata {
            self.metadata = metadata;
        }
        self.door.locked = update.locked.unwrap_or(before.locked);
        self.door.lobby = update.lobby.unwrap_or(before.lobby);
        let now = self.state();
        if now == before {
            return;
        }
        let message = ServerMessage::RoomUpdated(now);
        self.effects.push(Effect::Send { to: Recipients::All, message });
        self.tell(news, None, Concerned::Everybody);
        if !self.door.lobby {
            self.let_all_in();
        }
    }

    fn is_own(&self, from: ParticipantId, update: &UpdateParticipant) -> bool {
        let own = self.participants.get(&from).map(|participant| participant.identity.as_str());
        update.identity.is_none() || update.identity.as_deref() == own
    }

    fn update_own(
        &mut self,
        from: ParticipantId,
        update: UpdateParticipant,
    ) -> Result<(), Refusal> {
        let allowed = self.participants.get(&from).is_some_and(|participant| {
            participant.grant.permissions.can_update_metadata || participant.is_moderator()
        });
        if !allowed {
            let text = "You may not change your name, metadata or attributes (video.canUpdateOwnMetadata of the token).";
            return Err(Refusal::new(ErrorCode::NotAllowed, text));
        }
        let change = self.change_of(from, update)?;
        self.spend(from)?;
        self.update_participant(from, &change);
        Ok(())
    }

    fn update_other(
        &mut self,
        by: Option<ParticipantId>,
        update: UpdateParticipant,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let identity = update.identity.clone().unwrap_or_default();
        let id = self.member_with_identity(&identity).ok_or_else(|| no_participant(&identity))?;
        self.check_outranks(by, &[id])?;
        let change = self.change_of(id, update)?;
        if self.update_participant(id, &change) {
            self.tell(news, Some(identity), Concerned::These(vec![id]));
        }
        Ok(())
    }

    /// Attributes that are named are set, those without a value taken away, others left alone.
    fn change_of(
        &self,
        id: ParticipantId,
        update: UpdateParticipant,
    ) -> Result<ParticipantChange, Refusal> {
        let known = self.participants.get(&id).map(|participant| &participant.grant.attributes);
        let attributes = update.attributes.map(|named| {
            let mut all: BTreeMap<_, _> = known.cloned().unwrap_or_default();
            all.extend(named);
            all.retain(|_, value| !value.is_empty());
            all
        });
        attributes
            .as_ref()
            .map_or(Ok(()), check_attributes)
            .map_err(|text| Refusal::new(ErrorCode::Limit, text))?;
        let UpdateParticipant { name, metadata, .. } = update;
        Ok(ParticipantChange { name, metadata, attributes, permissions: None })
    }

    fn permit(
        &mut self,
        by: Option<ParticipantId>,
        identity: &str,
        change: &PermissionChange,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let found = self.with_identity(identity)?;
        self.check_outranks(by, &found)?;
        let changes = |id: &ParticipantId| {
            let permissions = self.participants.get(id).map(|p| &p.grant.permissions);
            permissions.is_some_and(|before| change.apply(before) != *before)
        };
        if found.iter().any(changes) {
            self.tell(news, Some(identity.to_owned()), Concerned::These(found.clone()));
        }
        // Older tokens may have allowed more, and do not any longer.
        for id in found {
            let Some(participant) = self.participants.get(&id) else { continue };
            let permissions = change.apply(&participant.grant.permissions);
            self.revoke(id, Verdict::Changed(permissions.clone()));
            self.set_permissions(id, &permissions);
        }
        Ok(())
    }

    fn set_moderator(
        &mut self,
        by: Option<ParticipantId>,
        identity: &str,
        moderator: bool,
        news: Moderated,
    ) -> Result<(), Refusal> {
        let id = self.member_with_identity(identity).ok_or_else(|| no_participant(identity))?;
        let Some(participant) = self.participants.get(&id) else { return Ok(()) };
        let refuse = |text: &str| Err(Refusal::new(ErrorCode::BadState, text));
        if participant.grant.moderator {
            return match moderator {
                true => Ok(()),
                false => {
                    refuse("They moderate by their token (video.roomAdmin); give them another one.")
                }
            };
        }
        if moderator && !participant.may_moderate() {
            return refuse("Whoever is hidden, or came by WHIP, cannot moderate.");
        }
        if !moderator && by == Some(id) && self.moderators() == [id] && participant.is_open() {
            return refuse("Somebody has to moderate: make somebody else a moderator first.");
        }
        if self.appoint(id, moderator) {
            let news = Moderated { on: Some(moderator), ..news };
            self.tell(news, Some(identity.to_owned()), Concerned::These(vec![id]));
        }
        Ok(())
    }

    fn end_for_all(&mut self, by: Option<ParticipantId>, news: &Moderated) {
        self.linger = None;
        let by = self.by_name(by);
        let text = format!("The room was closed{by}.{}", because(&news.reason));
        let all: Vec<_> = self.participants.keys().copied().collect();
        self.deny(None, "room_deleted", &text);
        self.expel(&all, "room_deleted", &text);
    }
}
