//! WHEP viewers: what they are shown of a meeting, and what the meeting notices of them.

use super::cases::connected;
use super::*;
use crate::protocol::{Kind, Source, TrackLimit, WatchedLayers};
use crate::testing::{FakePeer, Way};
use sfu::{ConsumerStatus, Limit, Speaker};

impl World {
    /// Somebody with a camera and a microphone.
    pub(super) fn join_with_media(&mut self, identity: &str) -> ParticipantId {
        let id = self.join(identity);
        self.publish(id, Source::Camera);
        self.publish(id, Source::Microphone);
        id
    }

    pub(super) fn watch(&mut self, watch: Watch) -> ParticipantId {
        let participant = self.post(watch, "VP8");
        connected(self, participant);
        participant
    }

    /// A viewer that has yet to connect.
    fn post(&mut self, watch: Watch, codec: &'static str) -> ParticipantId {
        let mut peer = FakePeer::new();
        peer.add(Kind::Audio, Way::Receive, &[]);
        peer.add(Kind::Video, Way::Receive, &[codec]);
        self.last += 1;
        let participant = ParticipantId(self.last);
        let join = HttpJoin {
            role: HttpRole::Viewer,
            watch,
            identity: format!("viewer {participant}"),
            name: String::new(),
            grant: Grant::OPEN,
            sdp: peer.offer(),
        };
        let local = local(participant);
        self.apply(RoomCommand::JoinOverHttp { participant, join: Box::new(join), local });
        participant
    }

    pub(super) fn speak(&mut self, loudest_first: &[ParticipantId]) {
        let speakers = loudest_first.iter().enumerate().map(|(index, id)| {
            let own = |t: &&Track| t.owner == *id && t.source == Source::Microphone;
            let microphone = self.room.tracks.values().find(own).unwrap();
            Speaker { producer: microphone.producer, level: 20 + index as u8 }
        });
        let (router, speakers) = (self.room.ids.router(), speakers.collect());
        self.apply(RoomCommand::Media(Event::ActiveSpeakers { router, speakers }));
    }

    /// What the media plane shows a viewer: of audio and of video, whose and which source.
    pub(super) fn shown(&self, viewer: ParticipantId) -> Vec<(ParticipantId, Source)> {
        self.check();
        let slots = self.room.participants[&viewer].slots.iter();
        let bound = slots.filter_map(|slot| self.media.bound(slot.consumer));
        bound
            .map(|producer| {
                let track = self.room.tracks.values().find(|t| t.producer == producer).unwrap();
                (track.owner, track.source)
            })
            .collect()
    }

    fn outlook(&self, viewer: ParticipantId) -> Outlook {
        self.room.participants[&viewer].followed.clone().unwrap()
    }
}

fn both(id: ParticipantId) -> Vec<(ParticipantId, Source)> {
    vec![(id, Source::Microphone), (id, Source::Camera)]
}

#[test]
fn a_viewer_of_the_room_sees_whoever_speaks() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let viewer = world.watch(Watch::Room);
    assert_eq!(world.shown(viewer), both(ada), "the first as long as nobody speaks");
    world.speak(&[bob]);
    assert_eq!(world.shown(viewer), both(bob));
    world.speak(&[]);
    assert_eq!(world.shown(viewer), both(bob), "silence changes nothing");
    world.speak(&[ada, bob]);
    assert_eq!(world.shown(viewer), both(bob), "not at the first word");
    world.advance(3);
    assert_eq!(world.shown(viewer), both(ada));
    // Whoever comes now sees the same.
    let late = world.watch(Watch::Room);
    assert_eq!(world.shown(late), both(ada));
    world.say(ada, ClientMessage::Leave {});
    assert_eq!(world.shown(viewer), both(bob));
}

#[test]
fn a_shared_screen_wins_over_cameras_and_leaves_voices_alone() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let viewer = world.watch(Watch::Room);
    world.publish(bob, Source::ScreenShare);
    world.publish(bob, Source::ScreenShareAudio);
    assert_eq!(world.shown(viewer), [(ada, Source::Microphone), (bob, Source::ScreenShare)]);
    world.speak(&[bob]);
    assert_eq!(world.shown(viewer), [(bob, Source::Microphone), (bob, Source::ScreenShare)]);
    let own = |t: &&Track| t.source == Source::ScreenShare;
    let screen = world.room.tracks.values().find(own).unwrap().id;
    let track = crate::protocol::TrackRequest { request: None, track: screen };
    world.client(bob).own.retain(|_, own| *own != screen);
    world.say(bob, ClientMessage::Unpublish(track));
    assert_eq!(world.shown(viewer), both(bob));
}

#[test]
fn a_muted_camera_gives_way_to_another() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let viewer = world.watch(Watch::Room);
    let own = |t: &&Track| t.owner == ada && t.source == Source::Camera;
    let camera = world.room.tracks.values().find(own).unwrap().id;
    for (muted, shown) in [(true, bob), (false, ada)] {
        let mute = crate::protocol::Mute { request: None, track: camera, muted };
        world.say(ada, ClientMessage::Mute(mute));
        assert_eq!(world.shown(viewer), [(ada, Source::Microphone), (shown, Source::Camera)]);
    }
}

#[test]
fn one_participant_or_one_track_can_be_watched() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let own = |t: &&Track| t.owner == bob && t.source == Source::Camera;
    let camera = world.room.tracks.values().find(own).unwrap().id;
    let (person, track) =
        (world.watch(Watch::Participant("bob".into())), world.watch(Watch::Track(camera)));
    world.speak(&[ada]);
    assert_eq!(world.shown(person), both(bob));
    assert_eq!(world.shown(track), [(bob, Source::Camera)]);
    world.say(bob, ClientMessage::Leave {});
    assert_eq!((world.shown(person), world.shown(track)), (vec![], vec![]));
}

#[test]
fn a_publisher_over_http_is_told_what_is_watched() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let producer = world.room.tracks[&world.track_of(ada, Source::Camera)].producer;
    world.step(RoomCommand::Follow { participant: ada });
    assert_eq!(world.outlook(ada).watched, None, "all of it is wanted");
    for (layers, spatial_layers, max_bitrate) in [
        (vec![], None, None),
        (vec![String::new()], Some(2), None),
        (vec![String::new()], None, Some(9)),
    ] {
        let encodings = layers.len() as u8;
        let watched = sfu::Watched { encodings, spatial_layers, max_bitrate };
        world.step(RoomCommand::Media(Event::PublishedLayers { producer, watched }));
        let expected = WatchedLayers { layers, spatial_layers, max_bitrate };
        assert_eq!(world.outlook(ada).watched, Some(expected));
    }
}

#[test]
fn a_viewer_that_follows_is_told_what_is_shown_and_why() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let camera = world.track_of(ada, Source::Camera);
    let (viewer, other) = (world.watch(Watch::Room), world.watch(Watch::Room));
    world.step(RoomCommand::Follow { participant: viewer });
    assert_eq!(world.outlook(viewer).status, None, "nothing is known");
    let slots = [viewer, other]
        .map(|id| world.room.participants[&id].slots.showing(camera).unwrap().consumer);
    let mut told = |consumer, limit| {
        let status = Box::new(ConsumerStatus { limit, needed: 7, ..ConsumerStatus::default() });
        let event = RoomCommand::Media(Event::ConsumerStatus { consumer, status });
        let effects = world.room.apply(world.now, event);
        let outlooks = effects.into_iter().filter_map(|effect| match effect {
            Effect::Outlook { participant, outlook } => Some((participant, outlook.status?.limit)),
            _ => None,
        });
        outlooks.collect::<Vec<_>>()
    };
    assert_eq!(told(slots[0], Limit::Bandwidth), [(viewer, TrackLimit::Bandwidth)]);
    assert_eq!(told(slots[0], Limit::Bandwidth), []);
    assert_eq!(told(slots[1], Limit::Bandwidth), [], "of somebody who does not follow");
    world.mute(ada, camera, true);
    let status = world.outlook(viewer).status.unwrap();
    assert_eq!((status.limit, status.needed), (TrackLimit::PublisherNotSending, 0));
    world.say(ada, ClientMessage::Leave {});
    assert_eq!(world.outlook(viewer).status, None);
}

#[test]
fn a_publisher_that_comes_back_is_shown_again() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let viewer = world.watch(Watch::Participant("ada".into()));
    let room = world.watch(Watch::Room);
    world.step(RoomCommand::Follow { participant: viewer });
    assert!(world.outlook(viewer).active);
    world.say(ada, ClientMessage::Leave {});
    assert_eq!(world.shown(viewer), []);
    assert!(!world.outlook(viewer).active);
    world.advance(10);
    let ada = world.join_with_media("ada");
    assert_eq!((world.shown(viewer), world.shown(room)), (both(ada), both(ada)));
    assert!(world.outlook(viewer).active);
}

#[test]
fn viewers_are_counted_with_pauses_and_not_listed() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let first = world.watch(Watch::Room);
    world.step(RoomCommand::Follow { participant: first });
    assert_eq!(world.outlook(first).viewers, 1);
    let second = world.watch(Watch::Room);
    world.watch(Watch::Room);
    assert_eq!(world.outlook(first).viewers, 1, "not at once");
    world.advance(1);
    assert_eq!(world.outlook(first).viewers, 3);
    world.advance(1);
    world.step(RoomCommand::Leave { participant: second });
    assert_eq!(world.outlook(first).viewers, 2);
    assert!(world.client(ada).participants.is_empty());
    world.check();
}

#[test]
fn a_chosen_layer_is_asked_for_again_after_a_switch() {
    let mut world = World::new();
    world.join_with_media("ada");
    let viewer = world.watch(Watch::Room);
    let wish = LayerWish { section: None, rid: None, temporal: Some(1) };
    world.step(RoomCommand::SetViewerLayer { participant: viewer, wish });
    let bob = world.join_with_media("bob");
    let own = |t: &&Track| t.owner == bob && t.source == Source::Microphone;
    let producer = world.room.tracks.values().find(own).unwrap().producer;
    let router = world.room.ids.router();
    let speakers = vec![Speaker { producer, level: 20 }];
    let event = Event::ActiveSpeakers { router, speakers };
    let effects = world.room.apply(world.now, RoomCommand::Media(event));
    let layers = effects.iter().filter_map(|effect| match effect {
        Effect::Media(Command::SetPreferredLayer { layer, .. }) => layer.temporal,
        _ => None,
    });
    assert_eq!(layers.collect::<Vec<_>>(), [1], "of the picture, not of the sound");
}

#[test]
fn only_whoever_did_not_want_to_go_is_told_to_come_again() {
    use sfu::CloseReason;
    let mut world = World::new();
    world.join_with_media("ada");
    for (reason, expected) in
        [(CloseReason::DtlsClosed, false), (CloseReason::ConsentExpired, true)]
    {
        let viewer = world.watch(Watch::Room);
        world.step(RoomCommand::Follow { participant: viewer });
        let transport = world.room.participants[&viewer].transport.unwrap().id;
        let event = Event::TransportClosed { transport, reason };
        let effects = world.room.apply(world.now, RoomCommand::Media(event));
        let told = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Outlook { outlook, .. } if outlook.farewell == Some(Farewell::Reconnect)));
        assert_eq!(told, expected);
    }
}

/// The time of draft-ietf-wish-whep section 4.3.2, where no other is said.
#[test]
fn an_offer_of_ours_is_valid_for_30_seconds() {
    let mut world = World::new();
    world.join_with_media("a");
    let viewer = world.post(Watch::Room, "H264");
    world.advance(29);
    assert!(world.room.participants[&viewer].answer_by.is_some());
    world.advance(1);
    assert!(!world.room.participants.contains_key(&viewer));
}
