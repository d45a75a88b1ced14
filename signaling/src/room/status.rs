//! What is shown of a track and why not better: from the media plane to subscribers, and from subscribers to publishers.

use super::participant::Participant;
use super::track::Track;
use super::{Effect, Recipients, Refusal, Room};
use crate::protocol::{
    LayerName, ParticipantId, PublisherLimit, ServerMessage, TrackId, TrackLimit, TrackLimited,
    TrackStatus, WatchedLayers,
};
use sfu::{ConsumerId, ConsumerStatus, LayerStatus, Limit, ProducerId, Watched};

/// What a subscriber knows of the track in one of its slots.
#[derive(Debug)]
pub(super) struct Known {
    /// As the media plane said.
    said: ConsumerStatus,
    /// As the subscriber was told.
    told: TrackStatus,
}

/// Of a track that has no slot.
pub(super) fn without_slot(track: TrackId, limit: TrackLimit) -> TrackStatus {
    TrackStatus { track, wanted: None, shown: None, limit, needed: 0, available: 0 }
}

/// Of a muted track, in a slot or not.
fn muted(track: TrackId) -> TrackStatus {
    without_slot(track, TrackLimit::PublisherNotSending)
}

fn name(layer: &LayerStatus) -> LayerName {
    LayerName {
        rid: layer.rid.clone(),
        spatial: layer.spatial,
        temporal: layer.temporal,
        width: layer.size.map(|(width, _)| width),
        height: layer.size.map(|(_, height)| height),
    }
}

fn compose(track: &Track, said: &ConsumerStatus) -> TrackStatus {
    if track.muted {
        return muted(track.id);
    }
    let limit = match said.limit {
        Limit::None => own_limit(track, said),
        Limit::Bandwidth => TrackLimit::Bandwidth,
        Limit::Viewport => TrackLimit::Viewport,
        Limit::Policy => TrackLimit::Policy,
        Limit::PublisherNotSending if track.limited == PublisherLimit::Cpu => {
            TrackLimit::PublisherCpu
        }
        Limit::PublisherNotSending => TrackLimit::PublisherNotSending,
        Limit::WaitingKeyframe => TrackLimit::WaitingKeyframe,
    };
    TrackStatus {
        track: track.id,
        wanted: said.wanted.as_ref().map(name),
        shown: said.shown.as_ref().map(name),
        limit,
        needed: said.needed,
        available: said.available,
    }
}

/// Of a track that is shown as well as it comes: why it does not come better, as far as its publisher says and the picture tells.
fn own_limit(track: &Track, said: &ConsumerStatus) -> TrackLimit {
    let limit = match track.limited {
        PublisherLimit::None => return TrackLimit::None,
        PublisherLimit::Cpu => TrackLimit::PublisherCpu,
        PublisherLimit::Bandwidth => TrackLimit::PublisherNotSending,
    };
    let shown = said.shown.as_ref();
    let announced = track
        .sizes
        .iter()
        .find(|(rid, _)| shown.is_some_and(|shown| shown.rid.as_ref() == Some(rid)));
    let smaller = match (shown.and_then(|shown| shown.size), announced) {
        (Some((width, height)), Some(&(_, (wide, high)))) => {
            u32::from(width) * u32::from(height) < u32::from(wide) * u32::from(high)
        }
        // Without a size to compare with, only what never passes unseen is told.
        _ => track.limited == PublisherLimit::Cpu,
    };
    if smaller { limit } else { TrackLimit::None }
}

impl Room {
    /// The media plane shows something else in a slot, or for another reason.
    pub(super) fn consumer_status(&mut self, consumer: ConsumerId, said: ConsumerStatus) {
        let Some(&id) = self.consumers.get(&consumer) else { return };
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let slot = participant.slots.iter().find(|slot| slot.consumer == consumer);
        let Some(track) = slot.and_then(|slot| self.tracks.get(&slot.track?)) else { return };
        participant.tell_status(track, said, &mut self.effects);
        self.tell_follower(id);
    }

    /// Other layers of a track have viewers now, or their links carry more or less of it.
    pub(super) fn published_layers(&mut self, producer: ProducerId, watched: Watched) {
        let track = self.tracks.values_mut().find(|track| track.producer == producer);
        let Some(track) = track else { return };
        track.watched = Some(watched);
        let (owner, message) = (track.owner, track.published_layers());
        self.send(owner, message);
        self.tell_follower(owner);
    }

    /// `track_limited`
    pub(super) fn track_limited(
        &mut self,
        from: ParticipantId,
        limited: TrackLimited,
    ) -> Result<(), Refusal> {
        let TrackLimited { track: id, reason } = limited;
        self.own_track(from, id)?.limited = reason;
        self.tell_statuses(id, |_| {});
        Ok(())
    }

    /// A track was muted or unmuted. The media plane says nothing while it is muted, and begins with the next keyframe afterwards.
    pub(super) fn tell_muted(&mut self, id: TrackId) {
        self.tell_statuses(id, |said| {
            if said.shown.take().is_some() && said.limit != Limit::Bandwidth {
                said.limit = Limit::WaitingKeyframe;
            }
        });
    }

    /// Tells everybody who was told of a track what became of that.
    fn tell_statuses(&mut self, id: TrackId, change: impl Fn(&mut ConsumerStatus)) {
        let Self { participants, tracks, effects, .. } = self;
        let Some(track) = tracks.get(&id) else { return };
        for participant in participants.values_mut() {
            let known = participant.statuses.get(&id);
            if let Some(mut said) = known.map(|known| known.said.clone()) {
                change(&mut said);
                participant.tell_status(track, said, effects);
            }
        }
    }
}

impl Track {
    /// What has viewers; without simulcast the one encoding has an empty name.
    pub(super) fn watched_layers(&self) -> WatchedLayers {
        let all = Watched { encodings: u8::MAX, ..Watched::default() };
        let Watched { encodings: mask, spatial_layers, max_bitrate } = self.watched.unwrap_or(all);
        let all = match self.layers.is_empty() {
            true => vec![String::new()],
            false => self.layers.clone(),
        };
        let watched = all.into_iter().enumerate().filter(|(index, _)| mask & (1 << index) != 0);
        let layers = watched.map(|(_, rid)| rid).collect();
        WatchedLayers { layers, spatial_layers, max_bitrate }
    }

    pub(super) fn published_layers(&self) -> ServerMessage {
        ServerMessage::PublishedLayers { track: self.id, watched: self.watched_layers() }
    }
}

impl Participant {
    /// What is shown of a track that is in a slot, as far as anything is known.
    pub(super) fn status_of(&self, track: &Track) -> Option<TrackStatus> {
        match track.muted {
            true => Some(muted(track.id)),
            false => self.statuses.get(&track.id).map(|known| known.told.clone()),
        }
    }

    /// Tells a subscriber what is news to it.
    fn tell_status(&mut self, track: &Track, said: ConsumerStatus, effects: &mut Vec<Effect>) {
        let told = compose(track, &said);
        let before = self.statuses.insert(track.id, Known { said, told: told.clone() });
        if before.is_none_or(|known| known.told != told) {
            let message = ServerMessage::TrackStatus(Box::new(told));
            effects.push(Effect::Send { to: Recipients::One(self.id), message });
        }
    }
}
