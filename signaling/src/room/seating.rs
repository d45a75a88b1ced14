//! Who sits in a subscriber's slots when there are more tracks than slots. No renegotiation: slots are bound anew.
//!
//! Pictures: what is on the subscriber's screen, then shared screens, then those who spoke last, then who came first. Voices: who speaks
//! is heard at once, in place of whoever has been silent longest; who has just been given a slot keeps it for a while. What is muted
//! comes last.

use super::participant::Participant;
use super::track::Track;
use super::watching::{Scene, Stage};
use super::{Effect, Room};
use crate::protocol::{Kind, TrackId};
use sfu::ConsumerId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long somebody who speaks keeps a slot, however loud others are.
const HOLD: Duration = Duration::from_secs(2);

/// What sends no levels is as loud as can be (-dBov) without taking the slot of anybody who speaks.
const UNKNOWN_LEVEL: u8 = 127;

/// The room as a subscriber's slots depend on it.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) now: Instant,
    pub(super) tracks: &'a BTreeMap<TrackId, Track>,
    pub(super) stage: &'a Stage,
    pub(super) voices: &'a Voices,
    /// For viewers.
    pub(super) scene: Scene,
}

/// Who speaks, and who did.
#[derive(Debug, Default)]
pub(super) struct Voices {
    /// Loudest first, with -dBov.
    speaking: Vec<(TrackId, u8)>,
    /// Since when those who spoke once are silent.
    silent_since: BTreeMap<TrackId, Instant>,
}

impl Voices {
    /// Who speaks now, loudest first.
    pub(super) fn hear(&mut self, now: Instant, speaking: Vec<(TrackId, u8)>) {
        for (track, _) in std::mem::replace(&mut self.speaking, speaking) {
            self.silent_since.insert(track, now);
        }
        for (track, _) in &self.speaking {
            self.silent_since.remove(track);
        }
    }

    /// Loudest first, with -dBov.
    pub(super) fn speaking(&self) -> &[(TrackId, u8)] {
        &self.speaking
    }

    /// Forgets tracks that have ended.
    pub(super) fn retain(&mut self, tracks: &BTreeMap<TrackId, Track>) {
        self.speaking.retain(|(track, _)| tracks.contains_key(track));
        self.silent_since.retain(|track, _| tracks.contains_key(track));
    }

    fn level(&self, track: TrackId) -> Option<u8> {
        self.speaking.iter().find(|(speaking, _)| *speaking == track).map(|(_, level)| *level)
    }
}

/// What is known of a voice without hearing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    /// Its packets say how loud it is.
    Levels,
    /// They do not (OBS, FFmpeg): it counts as heard.
    NoLevels,
    Muted,
}

impl Sound {
    fn of(track: &Track) -> Self {
        match (track.muted, track.has_levels()) {
            (true, _) => Self::Muted,
            (false, true) => Self::Levels,
            (false, false) => Self::NoLevels,
        }
    }
}

/// The voices that a subscriber may be given.
struct Candidates<'a> {
    sounds: BTreeMap<TrackId, Sound>,
    voices: &'a Voices,
}

impl Candidates<'_> {
    fn is_muted(&self, track: TrackId) -> bool {
        self.sounds.get(&track) == Some(&Sound::Muted)
    }

    /// -dBov of who is heard, or counts as heard.
    fn level(&self, track: TrackId) -> Option<u8> {
        let known = self.voices.level(track);
        match self.sounds.get(&track)? {
            Sound::Levels => known,
            Sound::NoLevels => known.or(Some(UNKNOWN_LEVEL)),
            Sound::Muted => None,
        }
    }

    /// Who should be heard first: the loudest, then who spoke last, then who came first.
    fn rank(&self, track: TrackId) -> (bool, bool, u8, Reverse<Option<Instant>>, TrackId) {
        let silent_since = self.voices.silent_since.get(&track).copied();
        match self.level(track) {
            Some(level) => (false, false, level, Reverse(None), track),
            None => (self.is_muted(track), true, 0, Reverse(silent_since), track),
        }
    }
}

/// Which voices are given slots, and when to look again because somebody waits for one.
///
/// `seated`: who sits, and since when.
fn seat_voices(
    now: Instant,
    capacity: usize,
    candidates: &Candidates<'_>,
    seated: &BTreeMap<TrackId, Instant>,
) -> (BTreeSet<TrackId>, Option<Instant>) {
    let all = || candidates.sounds.keys().copied();
    let mut chosen: BTreeSet<TrackId> = all().filter(|track| seated.contains_key(track)).collect();
    let mut standing: Vec<TrackId> = all().filter(|track| !chosen.contains(track)).collect();
    standing.sort_by_cached_key(|track| candidates.rank(*track));
    let free = capacity.saturating_sub(chosen.len()).min(standing.len());
    chosen.extend(standing.drain(..free));
    let held_until = |track: &TrackId| seated.get(track).map_or(now + HOLD, |since| *since + HOLD);
    let mut again = None;
    for track in standing {
        if candidates.is_muted(track) {
            break;
        }
        let level = candidates.level(track);
        // Who is silent gets a slot of somebody muted, who speaks gets any in which nobody speaks.
        let silent = chosen.iter().filter(|seated| match level {
            Some(_) => candidates.level(**seated).is_none(),
            None => candidates.is_muted(**seated),
        });
        let silent = silent.min_by_key(|seated| {
            let silent_since = candidates.voices.silent_since.get(seated);
            let muted = candidates.is_muted(**seated);
            (!muted, held_until(seated) > now, silent_since, Reverse(**seated))
        });
        let quieter = || chosen.iter().filter(|seated| candidates.level(**seated) > level);
        let victim = silent.copied().or_else(|| {
            level?;
            let free_to_go = quieter().filter(|seated| held_until(seated) <= now);
            free_to_go.max_by_key(|seated| candidates.level(**seated)).copied()
        });
        match victim {
            Some(victim) => {
                chosen.remove(&victim);
                chosen.insert(track);
            }
            // Nor do those who come after it find one.
            None if level.is_none() => break,
            None => again = again.into_iter().chain(quieter().map(held_until)).min(),
        }
    }
    (chosen, again)
}

impl Room {
    /// Works on everybody whom it concerns.
    pub(super) fn with_view(
        &mut self,
        concerns: impl Fn(&Participant) -> bool,
        mut work: impl FnMut(&mut Participant, &View<'_>, &mut Vec<Effect>),
    ) {
        let scene = self.scene();
        let Self { participants, tracks, effects, stage, voices, now, .. } = self;
        let view = View { now: *now, tracks, stage, voices, scene };
        for participant in participants.values_mut().filter(|participant| concerns(participant)) {
            work(participant, &view, effects);
        }
    }

    /// Who speaks has changed; `dominant`: also who is on stage.
    pub(super) fn follow_speakers(&mut self, dominant: bool) {
        self.with_view(
            |p| p.crowded || (dominant && p.viewing.is_some()),
            |participant, view, effects| participant.reconcile(view, effects),
        );
        if dominant {
            self.tell_demands();
        }
    }
}

impl Participant {
    /// Leaves out those tracks for which there is no slot. As long as there can be enough slots, none.
    pub(super) fn choose<'a>(
        &mut self,
        mut wanted: Vec<&'a Track>,
        view: &View<'_>,
    ) -> Vec<&'a Track> {
        (self.crowded, self.reseat_at) = (false, None);
        for kind in [Kind::Audio, Kind::Video] {
            let max = match kind {
                Kind::Audio => self.max.audio,
                Kind::Video => self.max.video,
            };
            let of_kind: Vec<&Track> = wanted.iter().copied().filter(|t| t.kind == kind).collect();
            if of_kind.len() <= max.into() {
                continue;
            }
            self.crowded = true;
            let chosen = match kind {
                Kind::Audio => self.choose_voices(&of_kind, view),
                Kind::Video => self.choose_pictures(of_kind, view),
            };
            wanted.retain(|track| track.kind != kind || chosen.contains(&track.id));
        }
        wanted
    }

    fn choose_voices(&mut self, tracks: &[&Track], view: &View<'_>) -> BTreeSet<TrackId> {
        let sounds = tracks.iter().map(|track| (track.id, Sound::of(track))).collect();
        let candidates = Candidates { sounds, voices: view.voices };
        let capacity = self.slots.of_kind(Kind::Audio).count();
        let (chosen, again) = seat_voices(view.now, capacity, &candidates, &self.heard_since);
        self.reseat_at = again;
        chosen
    }

    fn choose_pictures(&self, mut tracks: Vec<&Track>, view: &View<'_>) -> BTreeSet<TrackId> {
        tracks.sort_by_cached_key(|track| self.picture_rank(track, view.stage));
        let capacity = self.slots.of_kind(Kind::Video).count();
        tracks.iter().take(capacity).map(|track| track.id).collect()
    }

    /// What is visible right now comes before everything that is not; of that, what appeared last. What is muted shows nothing, and comes
    /// before nothing but what is not wanted.
    fn picture_rank(&self, track: &Track, stage: &Stage) -> (u8, u64, TrackId) {
        let settings = self.settings_of(track.id);
        let visible = settings.and_then(|s| Some((s.is_pinned(), s.visible_since?)));
        let hidden = settings.is_some_and(|settings| settings.paused);
        let spoke = stage.recent().position(|owner| owner == track.owner);
        let (class, order) = match (visible, spoke) {
            _ if hidden => (6, 0),
            (Some((_, since)), _) if track.muted => (5, u64::MAX - since),
            _ if track.muted => (5, u64::MAX),
            (Some((true, since)), _) => (0, u64::MAX - since),
            (Some((false, since)), _) => (1, u64::MAX - since),
            _ if track.group().1 => (2, 0),
            (None, Some(spoke)) => (3, spoke as u64),
            (None, None) => (4, 0),
        };
        (class, order, track.id)
    }

    /// Slots were bound anew: their demand is the default again, and what was known of their tracks is old.
    pub(super) fn note_bound(&mut self, changed: &[ConsumerId], now: Instant) {
        for consumer in changed {
            self.demands.remove(consumer);
        }
        let shown = |slots: &super::slots::SlotTable, kind| -> BTreeSet<TrackId> {
            slots.of_kind(kind).filter_map(|slot| slot.track).collect()
        };
        let voices = shown(&self.slots, Kind::Audio);
        self.heard_since.retain(|track, _| voices.contains(track));
        for track in voices {
            self.heard_since.entry(track).or_insert(now);
        }
        let pictures = shown(&self.slots, Kind::Video);
        self.statuses.retain(|track, _| pictures.contains(track));
    }
}
