//! What the event streams of WHIP and WHEP are told: how many watch; viewers also whether there is something to see, in which layers; publishers which of
//! their layers are watched.

use super::participant::Transport;
use super::{Effect, Refusal, Room};
use crate::protocol::{ErrorCode, Kind, ParticipantId, TrackStatus, WatchedLayers};
use sfu::Command;
use sfu::params::PreferredLayer;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How often the number of viewers is told at most.
const VIEWERS_EVERY: Duration = Duration::from_secs(1);

/// The room as a viewer sees it, as far as the events of WHEP speak of it. A publisher is shown nothing, and told the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Something is shown.
    pub(crate) active: bool,
    /// Of the whole room.
    pub(crate) viewers: usize,
    /// The video section's number in the offer, and the layers of what is shown there, best first.
    pub(crate) layers: Option<(usize, Vec<LayerInfo>)>,
    /// Of what is shown in the video section: how much of it, and why not more. `None`: nothing is known.
    pub(crate) status: Option<TrackStatus>,
    /// Of its own video, the encodings that have viewers, as `published_layers` names them. `None`: it sends none, or all of it is wanted so far.
    pub(crate) watched: Option<WatchedLayers>,
    /// The session ends, and not by its own will.
    pub(crate) farewell: Option<Farewell>,
}

/// What to do after the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Come again.
    Reconnect,
    /// Stay away: a newer session of the same identity took the place.
    Replaced,
}

/// One encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerInfo {
    pub(crate) rid: String,
    /// In bits per second; 0: nothing comes. `None`: not measured yet.
    pub(crate) bitrate: Option<u64>,
}

/// How many watch, told with pauses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ViewerCount {
    told: usize,
    told_at: Option<Instant>,
}

/// A wish of the layer extension. Every encoding that we forward is one spatial layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerWish {
    /// The video section's number in the offer; `None`: the first one.
    pub(crate) section: Option<usize>,
    /// `None`: the best that flows.
    pub(crate) rid: Option<String>,
    /// Highest temporal layer.
    pub(crate) temporal: Option<u8>,
}

impl Room {
    /// A session made an event stream: it is told everything, and every change from now on.
    pub(super) fn follow(&mut self, id: ParticipantId) -> Result<(), Refusal> {
        let outlook = self.outlook_of(id).ok_or_else(super::over_http::gone)?;
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.followed = Some(outlook.clone());
            self.effects.push(Effect::Outlook { participant: id, outlook });
        }
        Ok(())
    }

    /// Viewers with a connection.
    pub(super) fn viewers(&self) -> usize {
        let connected = |p: &&super::Participant| p.transport.is_some_and(|t| t.connected);
        self.participants.values().filter(|p| p.is_viewer()).filter(connected).count()
    }

    /// When the number of viewers may be told again, if it is another one.
    pub(super) fn viewers_deadline(&self) -> Option<Instant> {
        let due = self.viewer_count.told_at? + VIEWERS_EVERY;
        (self.has_followers() && self.viewers() != self.viewer_count.told).then_some(due)
    }

    fn has_followers(&self) -> bool {
        self.participants.values().any(|p| p.followed.is_some())
    }

    /// Asks the media plane for counters from time to time, while somebody wants to know of layers.
    pub(super) fn measure(&mut self, now: Instant) {
        let wanted =
            self.participants.values().any(|p| p.followed.is_some() && p.viewing.is_some());
        if !self.bitrates.is_due(now, wanted) {
            return;
        }
        let video = self.tracks.values().filter(|track| track.layers.len() > 1);
        let owners: BTreeSet<ParticipantId> = video.map(|track| track.owner).collect();
        for owner in owners {
            let transport = self.participants.get(&owner).and_then(|p| p.transport);
            if let Some(Transport { id: transport, .. }) = transport {
                let request = self.ids.next();
                self.media(Command::RequestStats { transport, request });
            }
        }
    }

    /// Tells those who follow what is another than last time.
    pub(super) fn tell_followers(&mut self, now: Instant) {
        if !self.has_followers() {
            return;
        }
        let viewers = self.viewers();
        let count = &mut self.viewer_count;
        if viewers != count.told && count.told_at.is_none_or(|at| at + VIEWERS_EVERY <= now) {
            *count = ViewerCount { told: viewers, told_at: Some(now) };
        }
        for id in self.participants.keys().copied().collect::<Vec<_>>() {
            self.tell_follower(id);
        }
    }

    pub(super) fn tell_follower(&mut self, id: ParticipantId) {
        if self.participants.get(&id).is_none_or(|p| p.followed.is_none()) {
            return;
        }
        let Some(outlook) = self.outlook_of(id) else { return };
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.followed.as_ref() == Some(&outlook) {
            return;
        }
        participant.followed = Some(outlook.clone());
        self.effects.push(Effect::Outlook { participant: id, outlook });
    }

    fn outlook_of(&self, id: ParticipantId) -> Option<Outlook> {
        let participant = self.participants.get(&id)?;
        let video = participant.slots.of_kind(Kind::Video).next();
        let layers = video.and_then(|slot| {
            let section = participant.negotiation.slot(&slot.mid)?.section.index;
            let track = self.tracks.get(&slot.track?)?;
            let watched = track.watched_layers().layers;
            let layers = track.layers.iter().rev().map(|rid| {
                let bitrate = self.bitrates.of(track.producer, Some(rid));
                // What rests because nobody watches it comes when it is asked for.
                let bitrate = bitrate.filter(|bitrate| *bitrate > 0 || watched.contains(rid));
                LayerInfo { rid: rid.clone(), bitrate }
            });
            Some((section, layers.collect()))
        });
        let picture = video.and_then(|slot| self.tracks.get(&slot.track?));
        Some(Outlook {
            active: participant.slots.iter().any(|slot| slot.track.is_some()),
            viewers: self.viewer_count.told,
            layers,
            status: picture.and_then(|track| participant.status_of(track)),
            watched: self.watched_of(id),
            farewell: None,
        })
    }

    fn watched_of(&self, owner: ParticipantId) -> Option<WatchedLayers> {
        let own = |track: &&super::Track| track.owner == owner && track.kind == Kind::Video;
        let track = self.tracks.values().find(own)?;
        track.watched.map(|_| track.watched_layers())
    }

    /// The layer extension: what the viewer wants in its video slot, now and after any switch to another track.
    pub(super) fn set_viewer_layer(
        &mut self,
        id: ParticipantId,
        wish: LayerWish,
    ) -> Result<(), Refusal> {
        let refuse = |text: String| Refusal::new(ErrorCode::BadState, text);
        let participant = self.participants.get_mut(&id).ok_or_else(super::over_http::gone)?;
        let slot = participant.slots.of_kind(Kind::Video).next();
        let slot = slot.ok_or_else(|| refuse("The session has no video.".to_owned()))?.clone();
        let index = participant.negotiation.slot(&slot.mid).map(|slot| slot.section.index);
        if wish.section.is_some() && wish.section != index {
            return Err(refuse("mediaId names no video section of the session.".to_owned()));
        }
        let track = slot.track.and_then(|track| self.tracks.get(&track));
        let layers = track.map(|track| track.layers.as_slice()).unwrap_or_default();
        let rid = wish.rid;
        if rid.as_ref().is_some_and(|rid| !layers.contains(rid)) {
            return Err(refuse(format!("There is no such layer now; there are {layers:?}.")));
        }
        let Some(viewing) = &mut participant.viewing else { return Err(super::over_http::gone()) };
        viewing.layer = PreferredLayer { rid, spatial: None, temporal: wish.temporal };
        let (consumer, layer) = (slot.consumer, viewing.layer.clone());
        self.media(Command::SetPreferredLayer { consumer, layer });
        Ok(())
    }
}
