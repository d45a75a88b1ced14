//! Offers and what they change: transports, tracks, slots.

use super::participant::Transport;
use super::slots::Slot;
use super::track::{self, Track};
use super::{MAX_ROOM_TRACKS, MAX_TRACKS, Refusal, Room};
use crate::negotiation::{Changes, TransportChange, Wishes};
use crate::protocol::{
    ErrorCode, Kind, Offer, ParticipantId, Publish, PublisherLimit, ServerMessage, Source, TrackId,
};
use crate::sdp::{self, NegotiatedSection};
use sfu::{Command, ConsumerId, ProducerId, TransportId};
use std::time::{Duration, Instant};

/// New slots start after so long even if the client never says that it applied the answer.
const RESUME_AFTER: Duration = Duration::from_secs(1);

/// Who publishes over HTTP does not say from what.
pub(super) fn guessed_source(kind: Kind) -> Source {
    match kind {
        Kind::Audio => Source::Microphone,
        Kind::Video => Source::Camera,
    }
}

impl Room {
    /// `publish`: remembered until the next offer.
    pub(super) fn announce(
        &mut self,
        from: ParticipantId,
        publish: Publish,
    ) -> Result<(), Refusal> {
        let own = self.tracks.values().filter(|track| track.owner == from);
        let (mut count, mut taken) = (0, None);
        for track in own {
            count += 1;
            taken = taken.or((track.mid == publish.mid).then_some(track.id));
        }
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        participant.check_publishes(publish.source)?;
        if let Some(track) = taken {
            let text =
                format!("Section {} publishes {track} already; unpublish it first.", publish.mid);
            return Err(Refusal::new(ErrorCode::BadState, text));
        }
        if participant.announced.contains_key(&publish.mid) {
            let text =
                format!("Section {} has been announced for the next offer already.", publish.mid);
            return Err(Refusal::new(ErrorCode::BadState, text));
        }
        if count + participant.announced.len() >= MAX_TRACKS || self.tracks.len() >= MAX_ROOM_TRACKS
        {
            let text = format!(
                "A participant may publish {MAX_TRACKS} tracks, and a room may have {MAX_ROOM_TRACKS}."
            );
            return Err(Refusal::new(ErrorCode::Limit, text));
        }
        participant.announced.insert(publish.mid.clone(), publish);
        Ok(())
    }

    /// `offer`: answered at once, or refused without a trace.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        from: ParticipantId,
        offer: Offer,
    ) -> Result<(), Refusal> {
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        let announced = &participant.announced;
        let sealed =
            |track: &Track, mid: &str| track.owner == from && track.encrypted && track.mid == mid;
        let wishes = Wishes {
            publishes: &|mid, kind| announced.get(mid).is_some_and(|p| p.source.kind() == kind),
            encrypted: &|mid| match announced.get(mid) {
                Some(publish) => publish.encrypted,
                None => self.tracks.values().any(|track| sealed(track, mid)),
            },
            dtx: &|mid| announced.get(mid).is_some_and(|publish| publish.dtx),
            slots: participant.sections,
            over_http: false,
        };
        let (sdp, changes) = participant
            .negotiation
            .handle_offer(&offer.sdp, &participant.local, &wishes, &mut self.rng)
            .map_err(|error| Refusal::new(ErrorCode::BadSdp, error.to_string()))?;
        participant.last_offer = Some(offer.offer_id);
        let announced = std::mem::take(&mut participant.announced);
        let (request, offer_id) = (offer.request, offer.offer_id);
        let answer = ServerMessage::Answer { request, offer_id, sdp };
        self.carry_out(now, from, changes, announced.into_values().collect(), Some(answer));
        Ok(())
    }

    /// Turns the changes of an answered offer into commands and messages.
    pub(super) fn carry_out(
        &mut self,
        now: Instant,
        id: ParticipantId,
        changes: Changes,
        mut announced: Vec<Publish>,
        answer: Option<ServerMessage>,
    ) {
        let Some(transport) = self.carry_out_transport(id, &changes) else { return };
        // A thousand viewers that come at once must not be looked at a thousand times each.
        let others = !(changes.unpublished.is_empty()
            && changes.republished.is_empty()
            && changes.published.is_empty());
        for mid in &changes.closed_slots {
            let slot = self.participants.get_mut(&id).and_then(|p| p.slots.close(mid));
            if let Some(Slot { consumer, .. }) = slot {
                self.consumers.remove(&consumer);
                self.media(Command::CloseConsumer { consumer });
            }
        }
        for mid in &changes.unpublished {
            let track = self.tracks.values().find(|t| t.owner == id && t.mid == *mid);
            if let Some(track) = track.map(|track| track.id) {
                self.end_track(track);
            }
        }
        for (mid, section) in changes.republished {
            self.republish(transport, id, (&mid, section), None);
        }
        let mut made = Vec::new();
        for (mid, section) in changes.published {
            let index = announced.iter().position(|publish| publish.mid == mid);
            let publish = index.map(|index| announced.swap_remove(index));
            made.push((self.create_track(transport, id, mid, section, publish.as_ref()), publish));
        }
        self.open_slots(now, transport, id, changes.opened_slots);
        if let Some(answer) = answer {
            self.send(id, answer);
        }
        self.tell_of_tracks(id, made, announced);
        match others {
            true => self.reconcile_all(),
            false => self.reconcile(id),
        }
    }

    pub(super) fn restart_ice(&mut self, transport: TransportId, change: TransportChange) {
        if let TransportChange::RestartIce { local, remote } = change {
            self.media(Command::RestartIce { transport, local_ice: local, remote_ice: remote });
        }
    }

    fn carry_out_transport(&mut self, id: ParticipantId, changes: &Changes) -> Option<TransportId> {
        let participant = self.participants.get_mut(&id)?;
        if let Some(TransportChange::Create(params)) = &changes.transport {
            let transport = TransportId(self.ids.next());
            participant.transport =
                Some(Transport { id: transport, connected: false, silent: false });
            let worker = participant.local.worker;
            self.effects.push(super::Effect::Settle { transport, worker });
            let (router, params) = (self.ids.router(), params.clone());
            self.media(Command::CreateTransport { transport, router, params });
            self.configure_data(id);
        }
        let transport = self.participants.get(&id)?.transport?.id;
        if let Some(TransportChange::RestartIce { local, remote }) = &changes.transport {
            let (local_ice, remote_ice) = (local.clone(), remote.clone());
            self.media(Command::RestartIce { transport, local_ice, remote_ice });
        }
        if let Some(header_extensions) = changes.extensions.clone() {
            self.media(Command::ConfigureTransport { transport, header_extensions });
        }
        Some(transport)
    }

    fn open_slots(
        &mut self,
        now: Instant,
        transport: TransportId,
        id: ParticipantId,
        opened: Vec<crate::negotiation::OpenedSlot>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if !opened.is_empty() {
            participant.resume_at = Some(now + RESUME_AFTER);
        }
        for opened in opened {
            let consumer = ConsumerId(self.ids.next());
            let params = Box::new(opened.section.consumer_params(&opened.slot, true));
            let (mid, kind, pair) = (opened.mid, opened.kind, opened.pair);
            participant.slots.open(Slot { mid, kind, pair, consumer, track: None });
            self.consumers.insert(consumer, id);
            let command = Command::CreateConsumer { transport, consumer, params };
            self.effects.push(super::Effect::Media(command));
        }
    }

    fn create_track(
        &mut self,
        transport: TransportId,
        owner: ParticipantId,
        mid: String,
        section: NegotiatedSection,
        publish: Option<&Publish>,
    ) -> TrackId {
        let id = TrackId(self.next_track);
        self.next_track = self.next_track.checked_add(1).expect("four thousand million tracks");
        let kind = crate::negotiation::kind_of(section.kind);
        let rids: Vec<String> = publish
            .into_iter()
            .flat_map(|publish| publish.layers.iter().map(|layer| layer.rid.clone()))
            .collect();
        let track = Track {
            id,
            owner,
            producer: ProducerId(self.ids.next()),
            mid,
            source: publish.map_or(guessed_source(kind), |publish| publish.source),
            kind,
            name: publish.map(|publish| publish.name.clone()).unwrap_or_default(),
            muted: publish.is_some_and(|publish| publish.muted),
            encrypted: publish.is_some_and(|publish| publish.encrypted),
            layers: track::layers(&section, &rids),
            ordered: !rids.is_empty(),
            sizes: publish.map(|publish| track::sizes(&publish.layers)).unwrap_or_default(),
            limited: PublisherLimit::None,
            watched: None,
            section,
        };
        let (producer, params) = (track.producer, Box::new(track.producer_params()));
        self.media(Command::CreateProducer { transport, producer, params });
        self.note_track(owner, track.info(), true);
        self.tracks.insert(id, track);
        id
    }

    /// The encodings of a track turned out to be listed from the largest to the lowest. Whoever says in `publish` which they are lists the lowest first.
    pub(super) fn turn_round(&mut self, producer: ProducerId) {
        let track = self.tracks.values_mut().find(|track| track.producer == producer);
        let Some(track) = track.filter(|track| track.layers.len() > 1 && !track.ordered) else {
            return;
        };
        // Once: an uplink that is short of room may look like that, too.
        track.ordered = true;
        let order = track.layers.iter().rev().cloned().collect();
        let (owner, mid, section) = (track.owner, track.mid.clone(), track.section.clone());
        let transport = self.participants.get(&owner).and_then(|owner| owner.transport.as_ref());
        if let Some(transport) = transport.map(|transport| transport.id) {
            self.republish(transport, owner, (&mid, section), Some(order));
            self.reconcile_all();
        }
    }

    /// The same track in another form: a new producer, for which all slots are looked for anew. `order`: of its layers, if that is another one now.
    fn republish(
        &mut self,
        transport: TransportId,
        owner: ParticipantId,
        (mid, section): (&str, NegotiatedSection),
        order: Option<Vec<String>>,
    ) {
        let Some(track) = self.tracks.values_mut().find(|t| t.owner == owner && t.mid == mid)
        else {
            return;
        };
        let before = track.info();
        let old = std::mem::replace(&mut track.producer, ProducerId(self.ids.next()));
        track.layers = track::layers(&section, order.as_ref().unwrap_or(&track.layers));
        track.section = section;
        let (id, producer, params) = (track.id, track.producer, Box::new(track.producer_params()));
        let after = track.info();
        // The new producer begins with all of its encodings wanted, and so must who sends them.
        let resume = track.watched.take().map(|_| track.published_layers());
        self.media(Command::CloseProducer { producer: old });
        self.media(Command::CreateProducer { transport, producer, params });
        self.release(id, before != after);
        if let Some(resume) = resume {
            self.send(owner, resume);
        }
        if before != after {
            let gone = ServerMessage::TrackUnpublished { participant: owner, track: id };
            self.send_to_others(owner, gone);
            self.send_to_others(
                owner,
                ServerMessage::TrackPublished { participant: owner, track: after },
            );
        }
    }

    /// After the answer: numbers for those who asked, news for the others, refusals for what the offer did not have.
    fn tell_of_tracks(
        &mut self,
        id: ParticipantId,
        made: Vec<(TrackId, Option<Publish>)>,
        left_over: Vec<Publish>,
    ) {
        for (track, publish) in &made {
            if let Some(Publish { request, mid, .. }) = publish {
                let (request, mid) = (*request, mid.clone());
                self.send(
                    id,
                    ServerMessage::Published { request, mid, track: *track, number: track.0 },
                );
            }
        }
        for Publish { request, mid, .. } in left_over {
            let text = format!(
                "The offer has no section {mid} on which you send this kind of media in a format that this server forwards."
            );
            self.refuse(id, request, Refusal::new(ErrorCode::BadSdp, text));
        }
        for (track, _) in made {
            if let Some(track) = self.tracks.get(&track).map(Track::info) {
                self.send_to_others(id, ServerMessage::TrackPublished { participant: id, track });
            }
        }
    }

    /// Ends a track whose owner stays.
    pub(super) fn end_track(&mut self, id: TrackId) {
        let Some(track) = self.tracks.remove(&id) else { return };
        self.note_track(track.owner, track.info(), false);
        self.media(Command::CloseProducer { producer: track.producer });
        let message = ServerMessage::TrackUnpublished { participant: track.owner, track: id };
        self.send_to_others(track.owner, message);
    }

    pub(super) fn unpublish(&mut self, from: ParticipantId, id: TrackId) -> Result<(), Refusal> {
        let mid = self.own_track(from, id)?.mid.clone();
        if let Some(participant) = self.participants.get_mut(&from) {
            participant.negotiation.unpublish(&mid);
        }
        self.end_track(id);
        self.reconcile_all();
        Ok(())
    }

    pub(super) fn mute(
        &mut self,
        from: ParticipantId,
        id: TrackId,
        muted: bool,
    ) -> Result<(), Refusal> {
        let track = self.own_track(from, id)?;
        if std::mem::replace(&mut track.muted, muted) != muted {
            let producer = track.producer;
            self.media(Command::PauseProducer { producer, paused: muted });
            self.reconcile_choices();
            // Nobody is to take what was said of a muted track for that of one that is not.
            self.tell_muted(id);
            self.send_to_others(
                from,
                ServerMessage::TrackMuted { participant: from, track: id, muted },
            );
        }
        Ok(())
    }

    pub(super) fn own_track(
        &mut self,
        owner: ParticipantId,
        id: TrackId,
    ) -> Result<&mut Track, Refusal> {
        self.tracks.get_mut(&id).filter(|track| track.owner == owner).ok_or_else(|| {
            let text =
                format!("There is no track {id} of yours; it may have been unpublished already.");
            Refusal::new(ErrorCode::NotFound, text)
        })
    }

    /// `ready`: the client applied that answer. An older one says nothing about the slots of the newest.
    pub(super) fn ready(&mut self, from: ParticipantId, offer_id: u64) {
        if self.participants.get(&from).is_some_and(|p| p.last_offer == Some(offer_id)) {
            self.resume(from);
        }
    }

    /// Lets new slots send.
    pub(super) fn resume(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if participant.resume_at.take().is_some()
            && let Some(transport) = participant.transport
        {
            self.media(Command::ResumeConsumers { transport: transport.id });
        }
    }

    /// The server is ICE-lite and needs no candidates; a malformed one is worth telling.
    pub(super) fn check_candidate(candidate: &str) -> Result<(), Refusal> {
        if candidate.is_empty() {
            return Ok(());
        }
        sdp::parse_candidate(candidate)
            .map(|_| ())
            .map_err(|error| Refusal::new(ErrorCode::BadMessage, error.to_string()))
    }
}
