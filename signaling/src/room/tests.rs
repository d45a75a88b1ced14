//! The room as its clients see it: a model client for each participant, and a model of the media plane, compared with the room's own
//! state after every step of random histories.
#![allow(clippy::unwrap_used)]

mod admin;
mod cases;
mod client;
mod data;
mod door;
mod encrypted;
mod explain;
mod histories;
mod media;
mod moderation;
mod quality;
mod resumption;
mod seats;
mod social;
mod viewers;

use super::*;
use crate::auth::{Grant, Verdict};
use crate::media::Routes;
use crate::negotiation::LocalMedia;
use crate::protocol::Permissions;
use crate::protocol::Publish;
use client::Client;
use media::MediaModel;
use sfu::{TransportId, WorkerId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A room with its clients and its media.
struct World {
    room: Room,
    routes: Routes,
    media: MediaModel,
    now: Instant,
    clients: BTreeMap<ParticipantId, Client>,
    /// As the media plane said last.
    speaking: BTreeSet<TrackId>,
    /// The last one.
    explanation: Option<serde_json::Value>,
    /// What came of data through the room.
    data: Vec<(ParticipantId, crate::protocol::Data)>,
    /// Clients whose socket is lost, or who are gone.
    last: u32,
}

/// Participants take turns on three workers.
fn local(participant: ParticipantId) -> Arc<LocalMedia> {
    Arc::new(LocalMedia {
        worker: WorkerId(participant.0 as usize % 3),
        fingerprint: sfu::params::Fingerprint {
            hash: sfu::params::FingerprintHash::Sha256,
            digest: vec![1; 32],
        },
        candidates: vec!["192.0.2.1:8080".parse().unwrap()],
        tcp_candidates: Vec::new(),
    })
}

impl World {
    fn new() -> Self {
        let settings = RoomSettings::default();
        let now = Instant::now();
        let room = Room::new("demo".into(), settings, MediaIds::new(3), [7; 32], now);
        let (routes, media) = (Routes::default(), MediaModel::default());
        let (clients, speaking) = (BTreeMap::new(), BTreeSet::new());
        let (explanation, data) = (None, Vec::new());
        Self { room, routes, media, now, clients, speaking, explanation, data, last: 0 }
    }

    fn join(&mut self, identity: &str) -> ParticipantId {
        self.join_with(identity, &["VP8"], None)
    }

    fn join_with(
        &mut self,
        identity: &str,
        codecs: &'static [&'static str],
        max_video: Option<u16>,
    ) -> ParticipantId {
        self.join_limited(identity, codecs, max_video, None)
    }

    fn join_limited(
        &mut self,
        identity: &str,
        codecs: &'static [&'static str],
        max_video: Option<u16>,
        max_audio: Option<u16>,
    ) -> ParticipantId {
        self.last += 1;
        let participant = ParticipantId(self.last);
        // Half of them know by themselves what waits for a slot.
        let compact = self.last.is_multiple_of(2);
        let mut client = Client::new(codecs);
        client.compact = compact;
        self.clients.insert(participant, client);
        let join = JoinCommand {
            request: None,
            identity: identity.to_owned(),
            name: identity.to_uppercase(),
            grant: Grant::OPEN,
            max_audio,
            max_video,
            compact,
        };
        let local = local(participant);
        self.apply(RoomCommand::Join { participant, join: Box::new(join), local });
        participant
    }

    /// Applies a command, hands out the effects, and lets the clients offer until all are content.
    fn apply(&mut self, command: RoomCommand) {
        self.step(command);
        for _ in 0..100 {
            let next = self.clients.iter_mut().find_map(|(id, client)| Some((*id, client.act()?)));
            let Some((from, message)) = next else { return };
            self.step(RoomCommand::Message { from, message });
        }
        panic!("the clients never come to rest");
    }

    fn step(&mut self, command: RoomCommand) {
        if let RoomCommand::Media(Event::ActiveSpeakers { speakers, .. }) = &command {
            let producers: Vec<_> = speakers.iter().map(|speaker| speaker.producer).collect();
            let tracks = self.room.tracks.values();
            let speaking = tracks.filter(|track| producers.contains(&track.producer));
            self.speaking = speaking.map(|track| track.id).collect();
        }
        for effect in self.room.apply(self.now, command) {
            match effect {
                Effect::Send { to, message } => self.deliver(to, &message),
                Effect::Data { to, message, .. } => {
                    assert!(!to.is_empty());
                    let ServerMessage::Data(data) = message else { panic!("{message:?}") };
                    let got = to.into_iter().map(|id| (id, (*data).clone()));
                    self.data.extend(got);
                }
                Effect::Hangup { participant } => {
                    self.clients.remove(&participant);
                }
                Effect::Settle { transport, worker } => self.routes.settle(transport, worker),
                Effect::Media(command) => {
                    for (worker, command) in self.routes.route(command) {
                        self.media.execute(worker, command);
                    }
                }
                Effect::HttpAnswer { answer, .. } => {
                    answer.unwrap();
                }
                Effect::Reply(reply) => {
                    reply.unwrap();
                }
                Effect::Outlook { .. }
                | Effect::Revoke { .. }
                | Effect::Happened(_)
                | Effect::Resumed(_)
                | Effect::Wait { .. }
                | Effect::Admit { .. }
                | Effect::Bans(_) => {}
                Effect::Explanation(explanation) => {
                    self.explanation = Some(serde_json::to_value(explanation).unwrap());
                }
            }
        }
    }

    /// A peer connection ends by itself.
    fn fail(&mut self, transport: TransportId) {
        self.media.close(transport);
        for (worker, command) in self.routes.transport_closed(transport) {
            self.media.execute(worker, command);
        }
        let reason = sfu::CloseReason::ConsentExpired;
        self.apply(RoomCommand::Media(Event::TransportClosed { transport, reason }));
    }

    fn deliver(&mut self, to: Recipients, message: &ServerMessage) {
        for (id, client) in &mut self.clients {
            let meant = match to {
                Recipients::One(one) => one == *id,
                Recipients::AllBut(one) => one != *id && client.is_welcome(),
                Recipients::All => client.is_welcome(),
            };
            if meant {
                client.handle(message);
            }
        }
    }

    fn say(&mut self, from: ParticipantId, message: ClientMessage) {
        self.apply(RoomCommand::Message { from, message });
    }

    fn client(&mut self, id: ParticipantId) -> &mut Client {
        self.clients.get_mut(&id).unwrap()
    }

    /// Announces a track and offers it.
    fn publish(&mut self, from: ParticipantId, source: crate::protocol::Source) {
        let publish = self.client(from).publish(source);
        self.say(from, ClientMessage::Publish(publish));
    }

    fn lose(&mut self, participant: ParticipantId) {
        self.clients.remove(&participant);
        self.apply(RoomCommand::SignalingClosed { participant, clean: false });
    }

    fn advance(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(deadline) = self.room.next_deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.apply(RoomCommand::Tick);
            assert!(
                self.room.next_deadline().is_none_or(|next| next > self.now),
                "a tick leaves nothing that is due"
            );
        }
        self.now = until;
    }

    /// Every view equals the server's, and the media plane does what the views say.
    fn check(&self) {
        for (id, client) in self.clients.iter().filter(|(_, client)| client.is_welcome()) {
            client.check(*id, &self.room);
        }
        for (id, participant) in &self.room.participants {
            for slot in participant.slots.iter() {
                let producer = slot.track.map(|track| self.room.tracks[&track].producer);
                assert_eq!(self.media.bound(slot.consumer), producer, "{id} {slot:?}");
                assert_eq!(self.room.consumers.get(&slot.consumer), Some(id));
            }
        }
        let consumers: usize =
            self.room.participants.values().map(|p| p.slots.iter().count()).sum();
        assert_eq!(self.media.consumers(), consumers);
        assert_eq!(self.room.consumers.len(), consumers);
        assert_eq!(self.media.producers(), self.room.tracks.len());
        self.media.check_pipes();
        for track in self.room.tracks.values() {
            assert_eq!(self.media.paused(track.producer), track.muted);
        }
        self.check_seats();
        self.check_demands();
    }
}
