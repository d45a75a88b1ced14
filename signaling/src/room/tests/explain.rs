//! Explanations: what they say, and that they come whoever stays silent.

use super::*;
use crate::protocol::{PublisherLimit, Source, TrackLimited, TrackRequest};
use sfu::{Bandwidth, ConsumerStats, ConsumerStatus, Limit, TransportStats};

impl World {
    /// The media plane answers all requests for counters but those of one peer connection.
    fn answer(&mut self, bytes: u64, but: Option<TransportId>) {
        for (transport, request) in std::mem::take(&mut self.media.requests) {
            if Some(transport) == but {
                continue;
            }
            let consumers = self.media.consumers_of(transport).into_iter();
            let consumers = consumers.map(|consumer| ConsumerStats {
                consumer,
                packets: 0,
                bytes,
                resent: 0,
                fraction_lost: 0,
                rtt: None,
            });
            let cause = "delay";
            let stats = Box::new(TransportStats {
                rtt: Some(Duration::from_millis(20)),
                bandwidth: Some(Bandwidth { estimate: 900_000, cause, wanted: 3, allocated: 2 }),
                consumers: consumers.collect(),
                ..TransportStats::default()
            });
            self.apply(RoomCommand::Media(Event::Stats { request, stats }));
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.apply(RoomCommand::Tick);
    }

    /// What an explanation says now of a track at a subscriber.
    fn explained_track(&mut self, id: ParticipantId, track: TrackId) -> serde_json::Value {
        self.apply(RoomCommand::Explain);
        self.advance(1);
        let tracks = self.explained(id)["tracks"].clone();
        let named = |it: &&serde_json::Value| it["track"] == track.to_string();
        tracks.as_array().unwrap().iter().find(named).unwrap().clone()
    }

    fn explained(&mut self, id: ParticipantId) -> serde_json::Value {
        let all = self.explanation.as_ref().expect("an explanation")["participants"].clone();
        let own = |report: &&serde_json::Value| report["participant"] == id.to_string();
        all.as_array().unwrap().iter().find(own).unwrap().clone()
    }
}

#[test]
fn an_explanation_has_status_settings_and_rates() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let bob = world.join_limited("bob", &["VP8"], Some(1), None);
    let camera = world.track_of(ada, Source::Camera);
    world.publish(ada, Source::ScreenShare);
    let screen = world.track_of(ada, Source::ScreenShare);
    world.settle(bob, vec![quality::setting(camera)]);
    let consumer = world.room.participants[&bob].slots.showing(camera).unwrap().consumer;
    let limit = Limit::PublisherNotSending;
    let status = Box::new(ConsumerStatus { limit, needed: 7, ..ConsumerStatus::default() });
    world.apply(RoomCommand::Media(Event::ConsumerStatus { consumer, status }));
    let (track, reason) = (camera, PublisherLimit::Cpu);
    world.say(ada, ClientMessage::TrackLimited(TrackLimited { track, reason }));
    world.apply(RoomCommand::Explain);
    world.answer(1000, None);
    assert!(world.explanation.is_none(), "no rate yet");
    world.pass(400);
    world.pass(100);
    world.answer(51_000, None);
    let report = world.explained(bob);
    assert_eq!((&report["identity"], &report["rtt_ms"]), (&"bob".into(), &20.0.into()));
    assert_eq!(report["bandwidth"]["estimate"], 900_000);
    assert_eq!(report["bandwidth"]["cause"], "delay");
    assert_eq!(report["without_slot"], serde_json::json!([screen.to_string()]));
    let tracks = report["tracks"].as_array().unwrap();
    let shown = tracks.iter().find(|track| track["track"] == camera.to_string()).unwrap();
    assert_eq!((&shown["limit"], &shown["needed"]), (&"publisher_cpu".into(), &7.into()));
    assert_eq!(shown["settings"]["width"], 1280);
    assert_eq!(shown["measured"], 800_000, "50 000 bytes in half a second");
    let published = world.explained(ada)["published"].clone();
    assert_eq!(published[0]["limited"], "cpu");
    world.client(bob).unsubscribed.insert(camera);
    world.say(bob, ClientMessage::Unsubscribe(TrackRequest { request: None, track: camera }));
    world.apply(RoomCommand::Explain);
    world.advance(1);
    let tracks = world.explained(bob)["tracks"].clone();
    let gone = tracks.as_array().unwrap().iter().find(|t| t["track"] == camera.to_string());
    let gone = gone.unwrap();
    assert_eq!((&gone["limit"], &gone["mid"]), (&"policy".into(), &serde_json::Value::Null));
}

#[test]
fn a_muted_track_is_explained_by_that_whoever_watches_it_since_when() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let camera = world.track_of(ada, Source::Camera);
    let consumer = world.room.participants[&bob].slots.showing(camera).unwrap().consumer;
    let shown = sfu::LayerStatus { rid: None, spatial: 0, temporal: 0, size: None };
    let (wanted, shown) = (Some(shown.clone()), Some(shown));
    let status = ConsumerStatus { wanted, shown, needed: 7, available: 7, limit: Limit::None };
    let event = Event::ConsumerStatus { consumer, status: Box::new(status) };
    world.apply(RoomCommand::Media(event.clone()));
    assert!(world.explained_track(bob, camera)["shown"].is_object());
    world.mute(ada, camera, true);
    let eve = world.join("eve");
    for id in [bob, eve] {
        let track = world.explained_track(id, camera);
        assert_eq!(
            (&track["limit"], &track["muted"]),
            (&"publisher_not_sending".into(), &true.into())
        );
        assert!(track["shown"].is_null() && track["wanted"].is_null() && !track["mid"].is_null());
        assert_eq!((&track["needed"], &track["available"]), (&0.into(), &0.into()));
    }
    world.mute(ada, camera, false);
    assert_eq!(world.explained_track(bob, camera)["limit"], "waiting_keyframe");
    world.apply(RoomCommand::Media(event));
    let track = world.explained_track(bob, camera);
    assert_eq!((&track["limit"], &track["needed"]), (&"none".into(), &7.into()));
}

#[test]
fn before_anything_is_known_of_a_track_no_limit_is_made_up() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let tracks = [Source::Camera, Source::Microphone].map(|source| world.track_of(ada, source));
    let connected = |world: &mut World| {
        for track in tracks {
            let track = world.explained_track(bob, track);
            assert!(track["limit"].is_null() && track["shown"].is_null(), "{track}");
        }
        world.explained(bob)["connected"].clone()
    };
    assert_eq!(connected(&mut world), false);
    cases::connected(&mut world, bob);
    assert_eq!(connected(&mut world), true);
    let transport = world.room.participants[&bob].transport.unwrap().id;
    let silent = true;
    world.apply(RoomCommand::Media(Event::TransportSilent { transport, silent }));
    assert_eq!(connected(&mut world), false);
}

#[test]
fn who_does_not_answer_is_waited_for_no_longer_than_a_second() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let silent = world.room.participants[&bob].transport.unwrap().id;
    world.apply(RoomCommand::Explain);
    world.apply(RoomCommand::Explain);
    assert_eq!(world.media.requests.len(), 2, "two at once are one");
    world.answer(0, Some(silent));
    world.pass(400);
    world.answer(0, Some(silent));
    world.pass(599);
    assert!(world.explanation.is_none());
    world.pass(1);
    assert!(world.explained(bob)["rtt_ms"].is_null());
    assert_eq!(world.explained(ada)["rtt_ms"], 20.0);
    assert_eq!(world.room.next_deadline(), None);
}
