//! What the media plane tells a room.

use super::{Effect, Recipients, Room};
use crate::protocol::{LeaveReason, ParticipantId, ServerMessage, SpeakerInfo};
use sfu::{CloseReason, ConsumerId, Event, Speaker, TransportId};
use std::time::Instant;

impl Room {
    pub(super) fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::TransportConnected { transport, profile } => {
                let Some(id) = self.owner_of(transport) else { return };
                tracing::info!(room = self.name, participant = %id, srtp = profile.name(), "media connected");
                self.update(id, |transport| transport.connected = true);
                self.resume(id);
            }
            Event::TransportSilent { transport, silent } => {
                // Whether a silent participant is gone by now is decided by the next tick, which is due at once then.
                let Some(id) = self.owner_of(transport) else { return };
                self.update(id, |transport| transport.silent = silent);
                self.reconcile_choices();
            }
            Event::TransportClosed { transport, reason } => {
                let Some(id) = self.owner_of(transport) else { return };
                self.transport_closed(id, &reason);
            }
            Event::Data { recipients, others, message, .. } => {
                self.pass_data(&message, &recipients, others);
            }
            Event::DataSlowReader { transport, label } => {
                let Some(id) = self.owner_of(transport) else { return };
                self.data_closed(id, label);
            }
            Event::DataRefused { transport, fault } => {
                let Some(id) = self.owner_of(transport) else { return };
                self.data_refused(id, fault);
            }
            Event::ActiveSpeakers { speakers, .. } => self.active_speakers(now, &speakers),
            Event::ConsumerLayer { consumer, rid, temporal } => {
                self.layer_changed(consumer, rid, temporal);
            }
            Event::ConsumerStatus { consumer, status } => self.consumer_status(consumer, *status),
            Event::PublishedLayers { producer, watched } => {
                self.published_layers(producer, watched);
            }
            Event::EncodingsReversed { producer } => self.turn_round(producer),
            Event::Stats { request, stats } => {
                if !self.note_stats(request, &stats) {
                    self.bitrates.note(now, &stats.producers);
                }
            }
        }
    }

    fn owner_of(&self, transport: TransportId) -> Option<ParticipantId> {
        let owns = |p: &&super::Participant| p.transport.is_some_and(|t| t.id == transport);
        self.participants.values().find(owns).map(|p| p.id)
    }

    fn update(
        &mut self,
        id: ParticipantId,
        change: impl FnOnce(&mut super::participant::Transport),
    ) {
        let participant = self.participants.get_mut(&id);
        if let Some(transport) = participant.and_then(|p| p.transport.as_mut()) {
            change(transport);
        }
    }

    fn transport_closed(&mut self, id: ParticipantId, reason: &CloseReason) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.transport = None;
        let left = match reason {
            // DTLS's goodbye may overtake a `leave` on the WebSocket.
            CloseReason::DtlsClosed => LeaveReason::Left,
            _ => LeaveReason::ConnectionFailed,
        };
        let text = match reason {
            CloseReason::ConsentExpired => {
                "Nothing was heard of your media connection for 30 seconds."
            }
            CloseReason::ConnectTimeout => {
                "The media connection did not come about; UDP to this server may be blocked."
            }
            CloseReason::FingerprintMismatch => {
                "The media connection used another certificate than the offer announced."
            }
            CloseReason::DtlsFailed(_) => "The media connection could not be encrypted.",
            CloseReason::DtlsClosed => "Your side closed the media connection.",
            CloseReason::Internal => "The media connection ended by an error of the server.",
        };
        tracing::info!(room = self.name, participant = %id, ?reason, "media connection ended");
        self.dismiss(id, "connection_failed", text, left);
    }

    fn active_speakers(&mut self, now: Instant, speakers: &[Speaker]) {
        let known = speakers.iter().filter_map(|speaker| {
            let track = self.tracks.values().find(|track| track.producer == speaker.producer)?;
            Some(SpeakerInfo { participant: track.owner, track: track.id, level: speaker.level })
        });
        let speakers: Vec<SpeakerInfo> = known.collect();
        let people: Vec<ParticipantId> = speakers.iter().map(|s| s.participant).collect();
        self.voices.hear(now, speakers.iter().map(|s| (s.track, s.level)).collect());
        let message = ServerMessage::ActiveSpeakers { speakers };
        self.effects.push(Effect::Send { to: Recipients::All, message });
        let dominant = self.stage.hear(now, &people);
        self.follow_speakers(dominant);
    }

    /// Tells somebody new who speaks: else it would be told when that changes.
    pub(super) fn tell_speakers(&mut self, to: ParticipantId) {
        let known = self.voices.speaking().iter().filter_map(|&(track, level)| {
            let participant = self.tracks.get(&track)?.owner;
            Some(SpeakerInfo { participant, track, level })
        });
        let speakers: Vec<SpeakerInfo> = known.collect();
        if !speakers.is_empty() {
            self.send(to, ServerMessage::ActiveSpeakers { speakers });
        }
    }

    fn layer_changed(&mut self, consumer: ConsumerId, rid: Option<String>, temporal: Option<u8>) {
        let Some(participant) =
            self.consumers.get(&consumer).and_then(|id| self.participants.get(id))
        else {
            return;
        };
        let slot = participant.slots.iter().find(|slot| slot.consumer == consumer);
        if let Some(track) = slot.and_then(|slot| slot.track) {
            let message = ServerMessage::LayerChanged { track, rid, temporal };
            self.send(participant.id, message);
        }
    }
}
