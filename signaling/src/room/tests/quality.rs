//! What is wanted, what is shown, and why.

use super::*;
use crate::protocol::{
    Kind, Priority, PublishLayer, PublisherLimit, Source, TrackLimit, TrackLimited, TrackRequest,
    TrackSetting, TrackSettings,
};
use sfu::params::Demand;
use sfu::{ConsumerId, ConsumerStatus, LayerStatus, Limit, ProducerId, Watched};

impl World {
    fn slot(&self, id: ParticipantId, track: TrackId) -> ConsumerId {
        self.room.participants[&id].slots.showing(track).unwrap().consumer
    }

    fn demand(&self, id: ParticipantId, track: TrackId) -> Demand {
        self.media.demand(self.slot(id, track))
    }

    fn status(&mut self, consumer: ConsumerId, limit: Limit) {
        let shown = LayerStatus {
            rid: Some("h".to_owned()),
            spatial: 0,
            temporal: 2,
            size: Some((640, 360)),
        };
        let wanted = LayerStatus { rid: Some("f".to_owned()), size: None, ..shown.clone() };
        let (shown, wanted, needed, available) = (Some(shown), Some(wanted), 1_700_000, 600_000);
        let status = Box::new(ConsumerStatus { wanted, shown, limit, needed, available });
        self.apply(RoomCommand::Media(Event::ConsumerStatus { consumer, status }));
    }

    /// The media plane knows what each subscriber said, and nothing else.
    pub(super) fn check_demands(&self) {
        for (id, participant) in &self.room.participants {
            // Whose socket is lost said things that its model has taken along.
            if !self.clients.contains_key(id) && participant.viewing.is_none() {
                continue;
            }
            for slot in participant.slots.iter() {
                let Some(track) = slot.track.map(|track| &self.room.tracks[&track]) else {
                    continue;
                };
                let client = self.clients.get(id);
                let setting = client.and_then(|client| client.settings.get(&track.id));
                let expected = match slot.kind {
                    Kind::Video => self.expected_demand(track, setting),
                    Kind::Audio => Demand::default(),
                };
                assert_eq!(self.media.demand(slot.consumer), expected, "{id} {slot:?}");
            }
        }
    }

    fn expected_demand(&self, track: &Track, setting: Option<&TrackSetting>) -> Demand {
        let sharp = track.source == Source::ScreenShare;
        let speaks = self.room.stage.shown() == Some(track.owner);
        let priority = match setting.map(|setting| setting.priority).unwrap_or_default() {
            Priority::High => 40,
            Priority::Normal if sharp => 30,
            Priority::Normal if speaks => 20,
            Priority::Normal => 10,
            Priority::Low => 0,
        };
        let (width, height, fps, paused) = setting.map_or((0, 0, 0, false), |setting| {
            (setting.width, setting.height, setting.fps, setting.paused)
        });
        Demand { width, height, fps, paused, priority, sharp }
    }
}

pub(super) fn setting(track: TrackId) -> TrackSetting {
    let (width, height, fps) = (1280, 720, 30);
    TrackSetting { track, width, height, fps, paused: false, priority: Priority::Normal }
}

fn priorities(world: &World, viewer: ParticipantId, tracks: &[TrackId]) -> Vec<u8> {
    tracks.iter().map(|track| world.demand(viewer, *track).priority).collect()
}

#[test]
fn settings_reach_the_media_plane_and_outlive_the_slot() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let camera = world.track_of(ada, Source::Camera);
    assert_eq!(world.demand(bob, camera), Demand { priority: 10, ..Demand::default() });
    world.settle(bob, vec![setting(camera)]);
    let expected = Demand { width: 1280, height: 720, fps: 30, priority: 10, ..Demand::default() };
    assert_eq!(world.demand(bob, camera), expected);
    world.client(bob).unsubscribed.insert(camera);
    let request = || TrackRequest { request: None, track: camera };
    world.say(bob, ClientMessage::Unsubscribe(request()));
    world.check();
    world.client(bob).unsubscribed.remove(&camera);
    world.say(bob, ClientMessage::Subscribe(request()));
    assert_eq!(world.demand(bob, camera), expected, "the slot was bound anew");
    world.settle(bob, vec![TrackSetting { paused: true, ..setting(camera) }]);
    assert!(world.demand(bob, camera).paused);
    world.check();
}

#[test]
fn settings_that_name_nonsense_change_nothing() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let camera = world.track_of(ada, Source::Camera);
    for wrong in [TrackId(0), TrackId(99), world.track_of(bob, Source::Camera)] {
        let tracks = vec![setting(camera), setting(wrong)];
        let settings = TrackSettings { request: Some(3), tracks };
        world.say(bob, ClientMessage::TrackSettings(settings));
        assert_eq!(world.client(bob).errors.pop().unwrap().0, ErrorCode::NotFound);
        assert_eq!(world.demand(bob, camera).width, 0);
    }
    // The end of a track may cross the message on its way.
    let microphone = world.track_of(ada, Source::Microphone);
    world.client(ada).own.retain(|_, track| *track != microphone);
    let track = TrackRequest { request: None, track: microphone };
    world.say(ada, ClientMessage::Unpublish(track));
    let tracks = vec![setting(microphone), setting(camera)];
    world.say(bob, ClientMessage::TrackSettings(TrackSettings { request: None, tracks }));
    assert!(world.client(bob).errors.is_empty());
    assert_eq!(world.demand(bob, camera).width, 1280);
}

#[test]
fn pinned_before_screens_before_speakers_before_the_rest() {
    let mut world = World::new();
    let people = ["a", "b", "c", "d"].map(|identity| world.join_with_media(identity));
    let viewer = world.join("viewer");
    world.publish(people[0], Source::ScreenShare);
    let screen = world.track_of(people[0], Source::ScreenShare);
    let cameras = people.map(|id| world.track_of(id, Source::Camera));
    let tracks = [screen, cameras[0], cameras[1], cameras[2], cameras[3]];
    assert_eq!(priorities(&world, viewer, &tracks), [30, 10, 10, 10, 10]);
    assert!(world.demand(viewer, screen).sharp && !world.demand(viewer, cameras[0]).sharp);
    let (high, low) = (Priority::High, Priority::Low);
    world.settle(viewer, vec![TrackSetting { priority: high, ..setting(cameras[3]) }]);
    world.settle(viewer, vec![TrackSetting { priority: low, ..setting(cameras[2]) }]);
    assert_eq!(priorities(&world, viewer, &tracks), [30, 10, 10, 0, 40]);
    world.speak(&[people[1]]);
    assert_eq!(priorities(&world, viewer, &tracks), [30, 10, 20, 0, 40]);
    world.speak(&[people[0]]);
    assert_eq!(priorities(&world, viewer, &tracks), [30, 20, 10, 0, 40]);
    world.check();
}

#[test]
fn a_status_is_told_on_change_and_ends_with_the_slot() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let camera = world.track_of(ada, Source::Camera);
    let slot = world.slot(bob, camera);
    world.status(slot, Limit::Bandwidth);
    world.status(slot, Limit::Bandwidth);
    assert_eq!(world.client(bob).status_count, 1);
    let status = world.client(bob).statuses[&camera].clone();
    assert_eq!((status.limit, status.needed), (TrackLimit::Bandwidth, 1_700_000));
    assert_eq!(status.available, 600_000);
    let shown = status.shown.unwrap();
    assert_eq!(
        (shown.rid.as_deref(), shown.width, shown.height),
        (Some("h"), Some(640), Some(360))
    );
    assert_eq!(status.wanted.unwrap().width, None);
    world.status(slot, Limit::WaitingKeyframe);
    assert_eq!(world.client(bob).statuses[&camera].limit, TrackLimit::WaitingKeyframe);
    world.client(bob).unsubscribed.insert(camera);
    world.say(bob, ClientMessage::Unsubscribe(TrackRequest { request: None, track: camera }));
    assert_eq!(world.client(bob).statuses[&camera].limit, TrackLimit::Policy);
    let count = world.client(bob).status_count;
    world.status(slot, Limit::None);
    assert_eq!(world.client(bob).status_count, count, "there is nothing in the slot");
}

#[test]
fn what_is_muted_is_not_shown_and_what_is_unmuted_waits_for_a_keyframe() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let camera = world.track_of(ada, Source::Camera);
    let slot = world.slot(bob, camera);
    for (before, after) in [
        (Limit::None, TrackLimit::WaitingKeyframe),
        (Limit::Viewport, TrackLimit::WaitingKeyframe),
        (Limit::Bandwidth, TrackLimit::Bandwidth),
    ] {
        world.status(slot, before);
        assert!(world.client(bob).statuses[&camera].shown.is_some());
        let count = world.client(bob).status_count;
        world.mute(ada, camera, true);
        let muted = status::without_slot(camera, TrackLimit::PublisherNotSending);
        assert_eq!(world.client(bob).statuses[&camera], muted);
        // What was on its way comes too late, and so does a reason.
        world.status(slot, before);
        for reason in [PublisherLimit::Cpu, PublisherLimit::None] {
            let limited = TrackLimited { track: camera, reason };
            world.say(ada, ClientMessage::TrackLimited(limited));
        }
        assert_eq!(world.client(bob).status_count, count + 1);
        world.mute(ada, camera, false);
        let status = world.client(bob).statuses[&camera].clone();
        assert_eq!((status.limit, status.shown, status.needed), (after, None, 1_700_000));
        assert!(status.wanted.is_some());
    }
}

#[test]
fn an_undecodable_track_has_its_codec_as_limit() {
    let mut world = World::new();
    let publisher = world.join_with("h264", &["H264"], None);
    world.publish(publisher, Source::Camera);
    let viewer = world.join("vp8");
    let camera = world.track_of(publisher, Source::Camera);
    assert_eq!(world.client(viewer).statuses[&camera].limit, TrackLimit::Codec);
}

#[test]
fn a_publisher_whose_processor_cannot_keep_up_is_the_cause() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let camera = world.track_of(ada, Source::Camera);
    let slot = world.slot(bob, camera);
    let limited = |reason| ClientMessage::TrackLimited(TrackLimited { track: camera, reason });
    world.status(slot, Limit::PublisherNotSending);
    let limit = |world: &mut World| world.client(bob).statuses[&camera].limit;
    assert_eq!(limit(&mut world), TrackLimit::PublisherNotSending);
    world.say(ada, limited(PublisherLimit::Cpu));
    assert_eq!(limit(&mut world), TrackLimit::PublisherCpu);
    world.say(ada, limited(PublisherLimit::Bandwidth));
    assert_eq!(limit(&mut world), TrackLimit::PublisherNotSending);
    world.say(ada, limited(PublisherLimit::Cpu));
    world.status(slot, Limit::Viewport);
    assert_eq!(limit(&mut world), TrackLimit::Viewport);
    world.say(bob, limited(PublisherLimit::Cpu));
    assert_eq!(world.client(bob).errors[0].0, ErrorCode::NotFound, "somebody else's track");
}

#[test]
fn a_picture_that_its_publisher_made_smaller_is_not_the_best_there_is() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let mut publish = world.client(ada).publish(Source::Camera);
    world.client(ada).peer.section(&publish.mid).rids = vec!["q", "h"];
    let layer = |rid: &str, width, height| PublishLayer { rid: rid.into(), width, height };
    publish.layers = vec![layer("q", 640, 360), layer("h", 1280, 720)];
    world.say(ada, ClientMessage::Publish(publish));
    let camera = world.track_of(ada, Source::Camera);
    let slot = world.slot(bob, camera);
    let limited = |reason| ClientMessage::TrackLimited(TrackLimited { track: camera, reason });
    world.status(slot, Limit::None);
    let mut limits = [PublisherLimit::Bandwidth, PublisherLimit::Cpu, PublisherLimit::None]
        .into_iter()
        .map(|reason| {
            world.say(ada, limited(reason));
            world.client(bob).statuses[&camera].limit
        });
    let of = [limits.next(), limits.next(), limits.next()].map(Option::unwrap);
    drop(limits);
    use TrackLimit::{None, PublisherCpu, PublisherNotSending};
    assert_eq!(of, [PublisherNotSending, PublisherCpu, None]);
    world.room.tracks.get_mut(&camera).unwrap().sizes[1].1 = (640, 360);
    world.say(ada, limited(PublisherLimit::Cpu));
    assert_eq!(world.client(bob).statuses[&camera].limit, None, "it is as large as announced");
}

#[test]
fn a_publisher_learns_which_layers_have_viewers() {
    let mut world = World::new();
    let ada = world.join("ada");
    let mut publish = world.client(ada).publish(Source::Camera);
    world.client(ada).peer.section(&publish.mid).rids = vec!["q", "h", "f"];
    let layer = |rid: &str, width, height| PublishLayer { rid: rid.into(), width, height };
    publish.layers = vec![layer("q", 320, 180), layer("h", 640, 360), layer("f", 0, 99_999)];
    let mid = publish.mid.clone();
    world.say(ada, ClientMessage::Publish(publish));
    let camera = world.track_of(ada, Source::Camera);
    let producer = world.room.tracks[&camera].producer;
    let sizes: Vec<_> = world.room.tracks[&camera].producer_params().encodings;
    let sizes: Vec<_> = sizes.iter().map(|encoding| encoding.size).collect();
    assert_eq!(sizes, [Some((320, 180)), Some((640, 360)), None], "as far as they are sizes");
    for (wanted, expected) in [(0b011, &["q", "h"][..]), (0, &[]), (0b111, &["q", "h", "f"])] {
        world.apply(published(producer, wanted, (None, None)));
        assert_eq!(world.client(ada).watched[&camera].layers, expected);
    }
    world.apply(published(producer, 1, (None, None)));
    // Another form of the same track is another producer, of which all is wanted at first.
    world.client(ada).peer.section(&mid).rids = vec!["q", "h"];
    world.client(ada).dirty = true;
    world.apply(RoomCommand::Tick);
    assert_ne!(world.room.tracks[&camera].producer, producer);
    assert_eq!(world.client(ada).watched[&camera].layers, ["q", "h"]);
}

#[test]
fn encodings_that_are_listed_from_the_largest_on_are_turned_round() {
    let mut world = World::new();
    let ada = world.join("ada");
    let mut publish = world.client(ada).publish(Source::Camera);
    world.client(ada).peer.section(&publish.mid).rids = vec!["0", "1", "2"];
    publish.layers = Vec::new();
    world.say(ada, ClientMessage::Publish(publish));
    let bob = world.join("bob");
    let camera = world.track_of(ada, Source::Camera);
    let producer = world.room.tracks[&camera].producer;
    world.apply(RoomCommand::Media(Event::EncodingsReversed { producer }));
    let track = &world.room.tracks[&camera];
    assert_ne!(track.producer, producer);
    let rids = track.producer_params().encodings.into_iter().filter_map(|encoding| encoding.rid);
    assert_eq!(rids.collect::<Vec<_>>(), ["2", "1", "0"]);
    assert_eq!(world.shown(bob).len(), 1, "it is shown again");
    let turned = world.room.tracks[&camera].producer;
    // Another worker's word of the one before.
    world.apply(RoomCommand::Media(Event::EncodingsReversed { producer }));
    assert_eq!(world.room.tracks[&camera].producer, turned);
    world.apply(RoomCommand::Media(Event::EncodingsReversed { producer: turned }));
    assert_eq!(world.room.tracks[&camera].producer, turned, "once");
}

#[test]
fn encodings_that_were_announced_are_not_turned_round() {
    let mut world = World::new();
    let ada = world.join("ada");
    let mut publish = world.client(ada).publish(Source::Camera);
    world.client(ada).peer.section(&publish.mid).rids = vec!["l", "h"];
    let layer = |rid: &str| PublishLayer { rid: rid.into(), width: 0, height: 0 };
    publish.layers = vec![layer("l"), layer("h")];
    world.say(ada, ClientMessage::Publish(publish));
    let camera = world.track_of(ada, Source::Camera);
    let producer = world.room.tracks[&camera].producer;
    world.apply(RoomCommand::Media(Event::EncodingsReversed { producer }));
    assert_eq!(world.room.tracks[&camera].producer, producer);
}

#[test]
fn the_one_layer_of_a_track_without_simulcast_has_an_empty_name() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let camera = world.track_of(ada, Source::Camera);
    let producer = world.room.tracks[&camera].producer;
    for (wanted, expected) in [(0, &[][..]), (1, &[""])] {
        world.apply(published(producer, wanted, (None, None)));
        assert_eq!(world.client(ada).watched[&camera].layers, expected);
    }
}

#[test]
fn a_publisher_is_told_how_much_of_its_one_layer_is_carried() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let camera = world.track_of(ada, Source::Camera);
    let producer = world.room.tracks[&camera].producer;
    let told = |world: &mut World| {
        let watched = &world.client(ada).watched[&camera];
        (watched.spatial_layers, watched.max_bitrate)
    };
    for most in [(None, Some(850_000)), (Some(1), Some(400_000)), (Some(2), None), (None, None)] {
        world.apply(published(producer, 1, most));
        assert_eq!(told(&mut world), most);
    }
    world.apply(published(producer, 1, (Some(2), Some(1))));
    // Another form of the same track is another producer, of which nothing is known.
    let mid = world.room.tracks[&camera].mid.clone();
    world.client(ada).peer.section(&mid).rids = vec!["q", "h"];
    world.client(ada).dirty = true;
    world.apply(RoomCommand::Tick);
    assert_ne!(world.room.tracks[&camera].producer, producer);
    assert_eq!(told(&mut world), (None, None));
}

/// `of_one`: spatial layers and bits per second of the one encoding.
fn published(
    producer: ProducerId,
    encodings: u8,
    of_one: (Option<u8>, Option<u64>),
) -> RoomCommand {
    let (spatial_layers, max_bitrate) = of_one;
    let watched = Watched { encodings, spatial_layers, max_bitrate };
    RoomCommand::Media(Event::PublishedLayers { producer, watched })
}
