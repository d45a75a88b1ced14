//! What each participant is shown: wishes, slots, and what the client is told about them.

use super::participant::{Bindings, Participant, Signaling};
use super::seating::View;
use super::slots::{Slot, Wanted};
use super::status::without_slot;
use super::track::Track;
use super::watching::Scene;
use super::{Effect, Recipients, Refusal, Room};
use crate::protocol::{
    BindingEntry, ErrorCode, Kind, LayerRequest, MediaSections, ParticipantId, ServerMessage,
    TrackId, TrackLimit, UnboundEntry, UnboundReason,
};
use sfu::Command;
use sfu::params::{Binding, PreferredLayer};
use std::collections::BTreeMap;

/// Receive sections are asked for in steps of so many, so that not every new face costs a renegotiation.
const SECTIONS_STEP: u16 = 4;

/// How many receive sections show these tracks. Never fewer than before.
pub(super) fn sections_needed<'a>(
    before: MediaSections,
    max: MediaSections,
    tracks: impl Iterator<Item = &'a Track> + Clone,
) -> MediaSections {
    let needed = |kind: Kind| {
        let count = tracks.clone().filter(|track| track.kind == kind).count().max(1);
        u16::try_from(count.next_multiple_of(SECTIONS_STEP.into())).unwrap_or(u16::MAX)
    };
    MediaSections {
        audio: needed(Kind::Audio).max(before.audio).min(max.audio),
        video: needed(Kind::Video).max(before.video).min(max.video),
    }
}

impl Room {
    /// Brings everybody's slots in line with the tracks that there are.
    pub(super) fn reconcile_all(&mut self) {
        self.voices.retain(&self.tracks);
        self.with_view(
            |_| true,
            |participant, view, effects| {
                participant.reconcile(view, effects);
            },
        );
    }

    /// The same for those who are not shown everything: what is best to show has changed, not what there is.
    pub(super) fn reconcile_choices(&mut self) {
        self.with_view(
            |p| p.crowded || p.viewing.is_some(),
            |participant, view, effects| participant.reconcile(view, effects),
        );
    }

    pub(super) fn reconcile(&mut self, id: ParticipantId) {
        self.with_view(
            |p| p.id == id,
            |participant, view, effects| {
                participant.reconcile(view, effects);
            },
        );
    }

    /// Only viewers look at it.
    pub(super) fn scene(&self) -> Scene {
        match self.participants.values().any(|p| p.viewing.is_some()) {
            true => Scene::new(&self.participants, &self.tracks, &self.stage),
            false => Scene::default(),
        }
    }

    /// A track's producer has ended and another comes: its slots are empty until everybody's are reconciled. With `news` everybody is told
    /// about them again, as of a new track.
    pub(super) fn release(&mut self, track: TrackId, news: bool) {
        for participant in self.participants.values_mut() {
            participant.slots.release(track);
            participant.statuses.remove(&track);
            if news {
                participant.unavailable.remove(&track);
                participant.layers.remove(&track);
                participant.told = Bindings::default();
            }
        }
    }

    pub(super) fn subscribe(
        &mut self,
        from: ParticipantId,
        id: TrackId,
        wanted: bool,
    ) -> Result<(), Refusal> {
        self.others_track(from, id)?;
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        if wanted {
            participant.check_subscribes()?;
        }
        let changed = match wanted {
            true => participant.unsubscribed.remove(&id),
            false => participant.unsubscribed.insert(id),
        };
        if changed {
            self.reconcile(from);
            if !wanted {
                let status = without_slot(id, TrackLimit::Policy);
                self.send(from, ServerMessage::TrackStatus(Box::new(status)));
            }
        }
        Ok(())
    }

    pub(super) fn set_layer(
        &mut self,
        from: ParticipantId,
        request: LayerRequest,
    ) -> Result<(), Refusal> {
        let LayerRequest { track: id, rid, temporal, .. } = request;
        let track = self.others_track(from, id)?;
        if let Some(rid) = &rid
            && !track.layers.contains(rid)
        {
            let text = format!("Track {id} has no layer {rid:?}; it has {:?}.", track.layers);
            return Err(Refusal::new(ErrorCode::NotFound, text));
        }
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let layer = PreferredLayer { rid, spatial: None, temporal };
        participant.layers.insert(id, layer.clone());
        if let Some(consumer) = participant.slots.showing(id).map(|slot| slot.consumer) {
            self.media(Command::SetPreferredLayer { consumer, layer });
        }
        Ok(())
    }

    fn others_track(&self, from: ParticipantId, id: TrackId) -> Result<&Track, Refusal> {
        self.tracks.get(&id).filter(|track| track.owner != from).ok_or_else(|| {
            let text = format!("There is no track {id} of another participant; it may have ended.");
            Refusal::new(ErrorCode::NotFound, text)
        })
    }
}

impl Participant {
    pub(super) fn reconcile(&mut self, view: &View<'_>, effects: &mut Vec<Effect>) {
        let tracks = view.tracks;
        if let Some(viewing) = &self.viewing {
            let chosen = view.scene.choose(&viewing.watch, |track| self.can_show(track, tracks));
            let shown: Vec<_> = chosen.iter().filter_map(|track| tracks.get(track)).collect();
            return self.rebind(&shown, view, effects);
        }
        // A WHIP publisher is shown nothing and told nothing.
        if matches!(self.signaling, Signaling::Http(_)) {
            return;
        }
        self.unsubscribed.retain(|track| tracks.contains_key(track));
        self.unavailable.retain(|track| tracks.contains_key(track));
        self.layers.retain(|track, _| tracks.contains_key(track));
        self.settings.retain(|track, _| tracks.contains_key(track));
        let wanted = self.wanted(tracks, effects);
        let sections = sections_needed(self.sections, self.max, wanted.iter().copied());
        let shown = self.choose(wanted, view);
        self.rebind(&shown, view, effects);
        if sections != self.sections {
            self.sections = sections;
            let message = ServerMessage::MediaSections(sections);
            effects.push(Effect::Send { to: Recipients::One(self.id), message });
        }
        self.tell_bindings(tracks, effects);
    }

    /// What it has subscribed to and can decode; tells of what it cannot.
    fn wanted<'a>(
        &mut self,
        tracks: &'a BTreeMap<TrackId, Track>,
        effects: &mut Vec<Effect>,
    ) -> Vec<&'a Track> {
        let mut wanted = Vec::new();
        for track in tracks.values().filter(|track| track.owner != self.id) {
            if self.is_undecodable(track) {
                if self.unavailable.insert(track.id) {
                    let (codec, reason) = (track.codec().to_owned(), "codec".to_owned());
                    let message =
                        ServerMessage::TrackUnavailable { track: track.id, codec, reason };
                    effects.push(Effect::Send { to: Recipients::One(self.id), message });
                    let status = Box::new(without_slot(track.id, TrackLimit::Codec));
                    let message = ServerMessage::TrackStatus(status);
                    effects.push(Effect::Send { to: Recipients::One(self.id), message });
                }
                continue;
            }
            self.unavailable.remove(&track.id);
            if self.grant.permissions.can_subscribe && !self.unsubscribed.contains(&track.id) {
                wanted.push(track);
            }
        }
        wanted
    }

    /// Known only once there are slots of that kind.
    fn is_undecodable(&self, track: &Track) -> bool {
        let mut slots = self.slots.of_kind(track.kind).peekable();
        slots.peek().is_some() && !slots.any(|slot| self.fits(slot, track))
    }

    /// Some slot can show it.
    pub(super) fn can_show(&self, track: TrackId, tracks: &BTreeMap<TrackId, Track>) -> bool {
        let Some(track) = tracks.get(&track) else { return false };
        self.slots.of_kind(track.kind).any(|slot| self.fits(slot, track))
    }

    fn fits(&self, slot: &Slot, track: &Track) -> bool {
        let negotiated = self.negotiation.slot(&slot.mid);
        negotiated.is_some_and(|negotiated| !track.mappings(&negotiated.section).is_empty())
    }

    /// Binds slots anew as far as they show something else, and tells the media plane what use there is for it.
    fn rebind(&mut self, shown: &[&Track], view: &View<'_>, effects: &mut Vec<Effect>) {
        let tracks = view.tracks;
        let wanted: Vec<Wanted> = shown
            .iter()
            .map(|track| Wanted { track: track.id, kind: track.kind, group: track.group() })
            .collect();
        let mut slots = std::mem::take(&mut self.slots);
        let fits = |slot: &Slot, id: TrackId| tracks.get(&id).is_some_and(|t| self.fits(slot, t));
        let changed = slots.assign(&wanted, fits);
        self.slots = slots;
        // Freed slots first: a track that moves must not be in two slots for a moment.
        let (filled, freed): (Vec<_>, Vec<_>) = changed.iter().partition(|s| s.track.is_some());
        for slot in freed.into_iter().chain(filled) {
            effects.extend(self.bind(slot, tracks).into_iter().map(Effect::Media));
        }
        let changed: Vec<_> = changed.iter().map(|slot| slot.consumer).collect();
        self.note_bound(&changed, view.now);
        self.tell_demands(view, effects);
    }

    /// The commands that make a slot show what the table says.
    fn bind(&self, slot: &Slot, tracks: &BTreeMap<TrackId, Track>) -> Vec<Command> {
        let consumer = slot.consumer;
        let track = slot.track.and_then(|id| tracks.get(&id));
        let negotiated = self.negotiation.slot(&slot.mid);
        let (Some(track), Some(negotiated)) = (track, negotiated) else {
            return vec![Command::BindConsumer { consumer, binding: None }];
        };
        let layer = match &self.viewing {
            Some(viewing) => viewing.layer_of(track),
            None => self.layers.get(&track.id).cloned().unwrap_or_default(),
        };
        let payload_types = track.mappings(&negotiated.section);
        let binding = Some(Binding { producer: track.producer, payload_types });
        vec![
            Command::SetPreferredLayer { consumer, layer },
            Command::BindConsumer { consumer, binding },
        ]
    }

    /// Sends the table of slots if it is another one than last time. Before the first answer there is no table.
    fn tell_bindings(&mut self, tracks: &BTreeMap<TrackId, Track>, effects: &mut Vec<Effect>) {
        if !self.negotiation.is_established() {
            return;
        }
        let bindings = self.slots.iter().map(|slot| BindingEntry {
            mid: slot.mid.clone(),
            track: slot.track,
            csrc: slot.track.map(|track| track.0),
        });
        let others = tracks.values().filter(|track| track.owner != self.id);
        let unbound = others.filter_map(|track| {
            let reason = if !self.grant.permissions.can_subscribe {
                UnboundReason::NotAllowed
            } else if self.unsubscribed.contains(&track.id) {
                UnboundReason::Unsubscribed
            } else {
                UnboundReason::Slots
            };
            let listed =
                self.slots.showing(track.id).is_none() && !self.unavailable.contains(&track.id);
            listed.then_some(UnboundEntry { track: track.id, reason })
        });
        let table = Bindings { bindings: bindings.collect(), unbound: unbound.collect() };
        if table != self.told {
            let (bindings, mut unbound) = (table.bindings.clone(), table.unbound.clone());
            unbound.retain(|entry| !self.compact || entry.reason != UnboundReason::Slots);
            let message = ServerMessage::Bindings { bindings, unbound };
            effects.push(Effect::Send { to: Recipients::One(self.id), message });
            self.told = table;
        }
    }
}
