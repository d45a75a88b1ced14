//! What a WHEP viewer is shown: of a whole meeting one picture and one sound at a time, or what it asked for.
//!
//! Pure: who speaks and what is published in, a choice of tracks out. A viewer's slots follow the choice without renegotiation.

use super::participant::Participant;
use super::track::Track;
use crate::protocol::{Kind, ParticipantId, TrackId};
use sfu::params::PreferredLayer;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How many of those who were on stage are remembered: as many as anybody may have slots.
const RECENT_MAX: usize = 64;

/// How long somebody must be louder than the one on stage, who is still speaking, to take the stage.
const RIVAL_HOLD: Duration = Duration::from_secs(2);

/// What a viewer came to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// A shared screen, else whoever speaks.
    Room,
    /// One participant, by identity, whenever it publishes.
    Participant(String),
    /// One track.
    Track(TrackId),
}

/// A viewer's side of a [`Participant`].
#[derive(Clone, Debug)]
pub(super) struct Viewing {
    pub(super) watch: Watch,
    /// Wish of the layer extension for whatever is in the video slot.
    pub(super) layer: PreferredLayer,
}

impl Viewing {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, layer: PreferredLayer::default() }
    }

    /// The wish, as far as this track can fulfil it.
    pub(super) fn layer_of(&self, track: &Track) -> PreferredLayer {
        if track.kind == Kind::Audio {
            return PreferredLayer::default();
        }
        let rid = self.layer.rid.clone().filter(|rid| track.layers.contains(rid));
        PreferredLayer { rid, spatial: None, temporal: self.layer.temporal }
    }
}

/// Whom a meeting is watched by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stage {
    shown: Option<ParticipantId>,
    /// Who was shown, the last first.
    recent: VecDeque<ParticipantId>,
    /// Who is louder than the one shown, and since when.
    rival: Option<(ParticipantId, Instant)>,
}

impl Stage {
    /// Who speaks now, loudest first. Returns whether somebody else is on stage.
    pub(super) fn hear(&mut self, now: Instant, speakers: &[ParticipantId]) -> bool {
        let Some(&loudest) = speakers.first() else {
            self.rival = None;
            return false;
        };
        if self.shown == Some(loudest) {
            self.rival = None;
            return false;
        }
        if !self.shown.is_some_and(|shown| speakers.contains(&shown)) {
            self.show(loudest);
            return true;
        }
        if self.rival.is_none_or(|(rival, _)| rival != loudest) {
            self.rival = Some((loudest, now));
        }
        self.tick(now)
    }

    /// Lets a rival of long standing take the stage.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let Some((rival, since)) = self.rival.filter(|(_, since)| *since + RIVAL_HOLD <= now)
        else {
            return false;
        };
        debug_assert!(since <= now);
        self.show(rival);
        true
    }

    fn show(&mut self, id: ParticipantId) {
        (self.shown, self.rival) = (Some(id), None);
        self.recent.retain(|other| *other != id);
        self.recent.push_front(id);
        self.recent.truncate(RECENT_MAX);
    }

    /// The dominant speaker.
    pub(super) fn shown(&self) -> Option<ParticipantId> {
        self.shown
    }

    /// The dominant speaker, and those who were it before, the last first.
    pub(super) fn recent(&self) -> impl Iterator<Item = ParticipantId> {
        self.recent.iter().copied()
    }

    /// When [`Stage::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.rival.map(|(_, since)| since + RIVAL_HOLD)
    }

    /// Somebody has left.
    pub(super) fn forget(&mut self, id: ParticipantId) {
        if self.shown == Some(id) {
            self.shown = None;
        }
        self.rival = self.rival.filter(|(rival, _)| *rival != id);
        self.recent.retain(|other| *other != id);
    }
}

/// A track that viewers may be shown.
#[derive(Debug)]
struct Shot {
    track: TrackId,
    kind: Kind,
    identity: String,
}

/// All tracks, the best to show first.
#[derive(Debug, Default)]
pub(super) struct Scene(Vec<Shot>);

impl Scene {
    /// A shared screen before cameras, voices before its sound; then whoever is on stage; then the one who came first. What is muted or
    /// lost comes last.
    pub(super) fn new(
        participants: &BTreeMap<ParticipantId, Participant>,
        tracks: &BTreeMap<TrackId, Track>,
        stage: &Stage,
    ) -> Self {
        // A viewer by WHEP has no way to come by a key.
        let mut ranked: Vec<_> = tracks
            .values()
            .filter(|track| !track.encrypted)
            .filter_map(|track| {
                let owner = participants.get(&track.owner)?;
                let lost = owner.transport.is_none_or(|transport| transport.silent);
                let screen = track.group().1 == (track.kind == Kind::Video);
                let on_stage = stage.shown == Some(track.owner);
                let rank = (lost, track.muted, Reverse(screen), Reverse(on_stage), track.id);
                let identity = owner.identity.clone();
                Some((rank, Shot { track: track.id, kind: track.kind, identity }))
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        Self(ranked.into_iter().map(|(_, shot)| shot).collect())
    }

    /// What there is to see for such a viewer, best first, whether it can be decoded or not.
    pub(super) fn matching(&self, watch: &Watch) -> impl Iterator<Item = (TrackId, Kind)> {
        let fits = move |shot: &&Shot| match watch {
            Watch::Room => true,
            Watch::Participant(identity) => shot.identity == *identity,
            Watch::Track(track) => shot.track == *track,
        };
        self.0.iter().filter(fits).map(|shot| (shot.track, shot.kind))
    }

    /// At most one track of each kind.
    pub(super) fn choose(&self, watch: &Watch, fits: impl Fn(TrackId) -> bool) -> Vec<TrackId> {
        let of_kind = |kind| {
            self.matching(watch).find(|(track, its)| *its == kind && fits(*track)).map(|t| t.0)
        };
        [of_kind(Kind::Audio), of_kind(Kind::Video)].into_iter().flatten().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ADA: ParticipantId = ParticipantId(1);
    const BOB: ParticipantId = ParticipantId(2);
    const EVE: ParticipantId = ParticipantId(3);

    #[test]
    fn whoever_speaks_alone_is_shown_at_once_and_kept_in_silence() {
        let (mut stage, now) = (Stage::default(), Instant::now());
        assert!(!stage.hear(now, &[]));
        assert!(stage.hear(now, &[ADA]));
        assert!(!stage.hear(now, &[]));
        assert_eq!(stage.shown, Some(ADA));
        assert!(stage.hear(now, &[BOB]));
        assert_eq!(stage.shown, Some(BOB));
    }

    #[test]
    fn a_louder_voice_takes_the_stage_only_after_a_while() {
        let (mut stage, now) = (Stage::default(), Instant::now());
        stage.hear(now, &[ADA]);
        assert!(!stage.hear(now, &[BOB, ADA]));
        assert_eq!(stage.deadline(), Some(now + RIVAL_HOLD));
        assert!(!stage.tick(now + RIVAL_HOLD / 2));
        assert!(!stage.hear(now + RIVAL_HOLD / 2, &[ADA, BOB]), "louder again");
        assert_eq!(stage.deadline(), None);
        stage.hear(now, &[BOB, ADA]);
        assert!(!stage.hear(now + RIVAL_HOLD / 2, &[EVE, ADA, BOB]), "another rival starts anew");
        assert!(!stage.tick(now + RIVAL_HOLD));
        assert!(stage.tick(now + RIVAL_HOLD / 2 + RIVAL_HOLD));
        assert_eq!((stage.shown, stage.deadline()), (Some(EVE), None));
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let (mut stage, now) = (Stage::default(), Instant::now());
        stage.hear(now, &[ADA]);
        stage.hear(now, &[BOB, ADA]);
        stage.forget(BOB);
        assert_eq!(stage.deadline(), None);
        stage.forget(ADA);
        assert_eq!(stage, Stage::default());
    }
}
