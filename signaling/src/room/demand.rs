//! What a subscriber has use for of each track, and what the media plane is told of it.

use super::participant::Participant;
use super::seating::View;
use super::track::Track;
use super::{Effect, Refusal, Room};
use crate::protocol::{
    ErrorCode, Kind, ParticipantId, Priority, Source, TrackId, TrackSetting, TrackSettings,
};
use sfu::Command;
use sfu::params::Demand;

/// Who gets bandwidth first, as [`Demand::priority`].
mod priority {
    pub(super) const PINNED: u8 = 40;
    pub(super) const SCREEN_SHARE: u8 = 30;
    pub(super) const SPEAKER: u8 = 20;
    pub(super) const NORMAL: u8 = 10;
    pub(super) const LOW: u8 = 0;
}

/// What a subscriber said of one track; it holds with or without a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) fps: u8,
    pub(super) paused: bool,
    pub(super) priority: Priority,
    /// Since when it is on the subscriber's screen: a larger number is later. `None`: it is not, as far as is known.
    pub(super) visible_since: Option<u64>,
}

impl Settings {
    fn new(setting: TrackSetting, before: Option<Self>, turn: u64) -> Self {
        let TrackSetting { width, height, fps, paused, priority, .. } = setting;
        let sized = width > 0 && height > 0;
        let visible = !paused && (sized || priority == Priority::High);
        // A window that changes its size must not reorder who is in it.
        let since = before.and_then(|before| before.visible_since).unwrap_or(turn);
        let visible_since = visible.then_some(since);
        Self { width, height, fps, paused, priority, visible_since }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.priority == Priority::High
    }

    fn demand(&self, track: &Track, dominant: Option<ParticipantId>) -> Demand {
        let priority = match self.priority {
            Priority::High => priority::PINNED,
            Priority::Low => priority::LOW,
            Priority::Normal if track.source == Source::ScreenShare => priority::SCREEN_SHARE,
            Priority::Normal if dominant == Some(track.owner) => priority::SPEAKER,
            Priority::Normal => priority::NORMAL,
        };
        let sharp = track.source == Source::ScreenShare;
        let Self { width, height, fps, paused, .. } = *self;
        Demand { width, height, fps, paused, priority, sharp }
    }
}

impl Room {
    /// `track_settings`: all of the message or, where it names what cannot be meant, nothing.
    pub(super) fn track_settings(
        &mut self,
        from: ParticipantId,
        settings: &TrackSettings,
    ) -> Result<(), Refusal> {
        for TrackSetting { track: id, .. } in &settings.tracks {
            let own = self.tracks.get(id).is_some_and(|track| track.owner == from);
            // One that has ended meanwhile is no mistake of the client's.
            if own || id.0 == 0 || id.0 >= self.next_track {
                let text = format!("There is no track {id} of another participant.");
                return Err(Refusal::new(ErrorCode::NotFound, text));
            }
        }
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        participant.check_subscribes()?;
        for (index, setting) in settings.tracks.iter().enumerate() {
            if self.tracks.contains_key(&setting.track) {
                // Of those that appear together the first is the most important one.
                let turn = participant.next_turn + (settings.tracks.len() - index) as u64;
                let before = participant.settings.get(&setting.track).copied();
                participant.settings.insert(setting.track, Settings::new(*setting, before, turn));
            }
        }
        participant.next_turn += settings.tracks.len() as u64;
        self.reconcile(from);
        Ok(())
    }

    /// Somebody else speaks: that camera goes before the others everywhere.
    pub(super) fn tell_demands(&mut self) {
        self.with_view(
            |_| true,
            |participant, view, effects| {
                participant.tell_demands(view, effects);
            },
        );
    }
}

impl Participant {
    /// Refuses what only those may ask who receive anything.
    pub(super) fn check_subscribes(&self) -> Result<(), Refusal> {
        if self.grant.permissions.can_subscribe {
            return Ok(());
        }
        let text = "You may not subscribe (video.canSubscribe of the token).";
        Err(Refusal::new(ErrorCode::NotAllowed, text))
    }

    /// Tells the media plane what is another demand than last time. A slot that was bound anew begins with the default.
    pub(super) fn tell_demands(&mut self, view: &View<'_>, effects: &mut Vec<Effect>) {
        for slot in self.slots.of_kind(Kind::Video) {
            let Some(track) = slot.track.and_then(|id| view.tracks.get(&id)) else { continue };
            let settings = self.settings.get(&track.id).copied().unwrap_or_default();
            let demand = settings.demand(track, view.stage.shown());
            let told = self.demands.entry(slot.consumer).or_default();
            if *told != demand {
                *told = demand;
                let consumer = slot.consumer;
                effects.push(Effect::Media(Command::SetDemand { consumer, demand }));
            }
        }
    }

    /// What the subscriber said of a track, if anything.
    pub(super) fn settings_of(&self, track: TrackId) -> Option<&Settings> {
        self.settings.get(&track)
    }
}
