//! Single stories.

use super::*;
use crate::protocol::{
    ParticipantState, PublishLayer, Source, TrackRequest, UnboundEntry, UnboundReason,
};
use crate::room::participant::{RECONNECT_MAX, RECONNECT_SILENT};
use sfu::params::PreferredLayer;
use sfu::{Speaker, SrtpProfile};

fn transport(world: &World, id: ParticipantId) -> TransportId {
    world.room.participants[&id].transport.unwrap().id
}

pub(super) fn connected(world: &mut World, id: ParticipantId) {
    let event = Event::TransportConnected {
        transport: transport(world, id),
        profile: SrtpProfile::AeadAes128Gcm,
    };
    world.apply(RoomCommand::Media(event));
}

fn silent(world: &mut World, id: ParticipantId, silent: bool) {
    let transport = transport(world, id);
    world.apply(RoomCommand::Media(Event::TransportSilent { transport, silent }));
}

#[test]
fn everybody_is_shown_to_everybody() {
    let mut world = World::new();
    let ids = ["a", "b", "c"].map(|identity| world.join(identity));
    for id in ids {
        world.publish(id, Source::Camera);
        world.publish(id, Source::Microphone);
        world.check();
    }
    for id in ids {
        assert_eq!(
            world.client(id).bindings.iter().filter(|entry| entry.track.is_some()).count(),
            4
        );
    }
}

#[test]
fn sections_grow_in_steps_up_to_the_wish() {
    let mut world = World::new();
    let viewer = world.join_with("viewer", &["VP8"], Some(6));
    assert_eq!(world.client(viewer).sections.video, 4);
    for number in 0..9 {
        let id = world.join(&format!("p{number}"));
        world.publish(id, Source::Camera);
        world.check();
        let expected = [4, 4, 4, 4, 6, 6, 6, 6, 6][number];
        assert_eq!(world.client(viewer).sections.video, expected, "{number}");
    }
    let unbound = &world.client(viewer).unbound;
    assert_eq!(unbound.len(), 3);
    assert!(unbound.iter().all(|entry| entry.reason == UnboundReason::Slots));
}

#[test]
fn a_compact_table_lists_what_was_decided_and_not_what_waits() {
    let mut world = World::new();
    let publisher = world.join("p");
    for _ in 0..4 {
        world.publish(publisher, Source::Camera);
    }
    let viewer = world.join_with("viewer", &["VP8"], Some(2));
    assert!(world.client(viewer).compact);
    world.check();
    assert_eq!(world.client(viewer).unbound, []);
    let unwanted = *world.client(publisher).own.values().next().unwrap();
    world.client(viewer).unsubscribed.insert(unwanted);
    let request = TrackRequest { request: None, track: unwanted };
    world.say(viewer, ClientMessage::Unsubscribe(request));
    world.check();
    let reason = UnboundReason::Unsubscribed;
    assert_eq!(world.client(viewer).unbound, [UnboundEntry { track: unwanted, reason }]);
}

#[test]
fn a_viewer_who_cannot_decode_is_told_and_never_bound() {
    let mut world = World::new();
    let publisher = world.join_with("h264", &["H264"], None);
    world.publish(publisher, Source::Camera);
    let viewer = world.join_with("vp8", &["VP8"], None);
    world.check();
    assert_eq!(world.client(viewer).unavailable.len(), 1);
    assert!(world.client(viewer).bindings.iter().all(|entry| entry.track.is_none()));
    assert!(world.client(viewer).unbound.is_empty());
}

#[test]
fn a_lost_socket_waits_as_long_as_media_lives_and_a_minute_at_most() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    connected(&mut world, bob);
    world.lose(bob);
    assert_eq!(world.client(ada).state_of(bob), Some(ParticipantState::Reconnecting));
    world.advance(RECONNECT_MAX.as_secs() - 1);
    assert!(world.client(ada).state_of(bob).is_some());
    world.advance(1);
    assert!(world.client(ada).state_of(bob).is_none());
    world.check();
}

#[test]
fn a_lost_socket_without_media_goes_after_fifteen_seconds() {
    let mut world = World::new();
    let (ada, bob, eve) = (world.join("ada"), world.join("bob"), world.join("eve"));
    connected(&mut world, bob);
    connected(&mut world, eve);
    world.lose(bob);
    silent(&mut world, bob, true);
    world.advance(RECONNECT_SILENT.as_secs() - 1);
    assert!(world.client(ada).state_of(bob).is_some());
    world.advance(1);
    assert!(world.client(ada).state_of(bob).is_none());
    // Silence that comes late counts at once; silence with a socket does not matter.
    silent(&mut world, eve, true);
    world.advance(100);
    assert!(world.client(ada).state_of(eve).is_some());
    silent(&mut world, eve, false);
    world.lose(eve);
    world.advance(30);
    assert!(world.client(ada).state_of(eve).is_some());
    silent(&mut world, eve, true);
    world.advance(0);
    assert!(world.client(ada).state_of(eve).is_none());
}

#[test]
fn a_rejoin_takes_the_place_of_a_reconnecting_one() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.publish(bob, Source::Camera);
    world.lose(bob);
    let again = world.join("bob");
    assert!(world.client(ada).state_of(bob).is_none());
    assert_eq!(world.client(ada).state_of(again), Some(ParticipantState::Active));
    assert!(world.room.tracks.is_empty());
    world.check();
}

#[test]
fn a_track_is_piped_once_to_each_worker_that_shows_it() {
    let mut world = World::new();
    let ids = ["a", "b", "c", "d", "e"].map(|identity| world.join(identity));
    world.publish(ids[0], Source::Camera);
    world.check();
    assert_eq!(world.media.pipes(), 2, "five participants on three workers");
    let track = *world.room.tracks.keys().next().unwrap();
    let request = |track| TrackRequest { request: None, track };
    world.client(ids[2]).unsubscribed.insert(track);
    world.say(ids[2], ClientMessage::Unsubscribe(request(track)));
    assert_eq!(world.media.pipes(), 1, "the only one on its worker");
    world.client(ids[1]).unsubscribed.insert(track);
    world.say(ids[1], ClientMessage::Unsubscribe(request(track)));
    assert_eq!(world.media.pipes(), 1, "there is another one");
    world.apply(RoomCommand::Leave { participant: ids[4] });
    assert_eq!(world.media.pipes(), 0);
    world.client(ids[1]).unsubscribed.remove(&track);
    world.say(ids[1], ClientMessage::Subscribe(request(track)));
    assert_eq!(world.media.pipes(), 1);
    world.check();
    world.apply(RoomCommand::Leave { participant: ids[0] });
    assert_eq!((world.media.pipes(), world.media.producers()), (0, 0));
    world.check();
}

#[test]
fn a_failed_media_connection_ends_the_participation() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let transport = transport(&world, bob);
    world.fail(transport);
    assert!(world.client(ada).state_of(bob).is_none());
    assert!(!world.clients.contains_key(&bob));
    world.check();
}

#[test]
fn whoever_closes_its_peer_connection_has_left() {
    use crate::protocol::LeaveReason;
    use sfu::CloseReason;
    for (closed, expected) in [
        (CloseReason::DtlsClosed, LeaveReason::Left),
        (CloseReason::ConsentExpired, LeaveReason::ConnectionFailed),
    ] {
        let mut world = World::new();
        let (_, bob) = (world.join("ada"), world.join("bob"));
        let event = Event::TransportClosed { transport: transport(&world, bob), reason: closed };
        let effects = world.room.apply(world.now, RoomCommand::Media(event));
        let told = effects.iter().find_map(|effect| match effect {
            Effect::Send {
                message: ServerMessage::ParticipantLeft { participant, reason },
                ..
            } => Some((*participant, *reason)),
            _ => None,
        });
        assert_eq!(told, Some((bob, expected)));
    }
}

#[test]
fn new_slots_start_on_ready_on_connect_or_after_a_second() {
    let mut world = World::new();
    let id = ParticipantId(1);
    world.clients.insert(id, Client::new(&["VP8"]));
    world.last = 1;
    let join = JoinCommand {
        request: None,
        identity: "a".into(),
        name: "A".into(),
        grant: Grant::OPEN,
        max_audio: None,
        max_video: None,
        compact: false,
    };
    world.step(RoomCommand::Join { participant: id, join: Box::new(join), local: local(id) });
    let offer = world.client(id).act().unwrap();
    world.step(RoomCommand::Message { from: id, message: offer });
    assert_eq!(world.media.running(), 0);
    let late = crate::protocol::Ready { offer_id: 7 };
    world.step(RoomCommand::Message { from: id, message: ClientMessage::Ready(late) });
    assert_eq!(world.media.running(), 0, "that was another answer");
    world.now += Duration::from_secs(1);
    assert_eq!(world.room.next_deadline(), Some(world.now));
    world.step(RoomCommand::Tick);
    assert_eq!(world.media.running(), 8);
    assert_eq!(world.room.next_deadline(), None);
}

#[test]
fn what_was_announced_but_not_offered_is_refused() {
    let mut world = World::new();
    let id = world.join("a");
    let publish = |mid: &str, source| Publish {
        request: Some(5),
        mid: mid.into(),
        source,
        name: String::new(),
        muted: false,
        layers: Vec::new(),
        encrypted: false,
        dtx: false,
    };
    let camera = world.client(id).publish(Source::Camera);
    // A microphone on a video section, and a section that the offer does not have.
    for message in [publish(&camera.mid, Source::Microphone), publish("77", Source::Camera)] {
        world.step(RoomCommand::Message { from: id, message: ClientMessage::Publish(message) });
    }
    let twice = publish("77", Source::Camera);
    world.step(RoomCommand::Message { from: id, message: ClientMessage::Publish(twice) });
    world.client(id).dirty = true;
    world.apply(RoomCommand::Tick);
    let codes: Vec<_> = world.client(id).errors.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [ErrorCode::BadState, ErrorCode::BadSdp, ErrorCode::BadSdp]);
    assert!(world.room.tracks.is_empty());
    world.check();
}

#[test]
fn tracks_are_capped() {
    let mut world = World::new();
    let id = world.join("a");
    for _ in 0..MAX_TRACKS {
        world.publish(id, Source::Camera);
    }
    assert!(world.client(id).errors.is_empty());
    world.publish(id, Source::Camera);
    assert_eq!(world.client(id).errors[0].0, ErrorCode::Limit);
    assert_eq!(world.room.tracks.len(), MAX_TRACKS);
}

#[test]
fn the_room_is_capped() {
    let mut world = World::new();
    for number in 0..MAX_PARTICIPANTS {
        let participant = ParticipantId(1 + number as u32);
        world.step(RoomCommand::Join {
            participant,
            join: Box::new(join_command(&format!("i{number}"))),
            local: local(participant),
        });
    }
    let late = ParticipantId(1000);
    let effects = |world: &mut World, identity: &str| {
        let join = Box::new(join_command(identity));
        let command = RoomCommand::Join { participant: late, join, local: local(late) };
        format!("{:?}", world.room.apply(world.now, command))
    };
    let text = effects(&mut world, "one too many");
    assert!(text.contains("Limit") && text.contains("Hangup"), "{text}");
    assert!(effects(&mut world, "i7").contains("Welcome"), "a replacement needs no place");
}

pub(super) fn join_command(identity: &str) -> JoinCommand {
    JoinCommand {
        request: None,
        identity: identity.into(),
        name: String::new(),
        grant: Grant::OPEN,
        max_audio: None,
        max_video: None,
        compact: false,
    }
}

#[test]
fn grants_are_held() {
    let mut world = World::new();
    let publisher = world.join("p");
    world.publish(publisher, Source::Camera);
    let permissions = Permissions { can_publish: false, can_subscribe: false, ..Permissions::ALL };
    let grant = Grant { permissions, ..Grant::OPEN };
    let (id, join) = (ParticipantId(50), JoinCommand { grant, ..join_command("mute and blind") });
    world.clients.insert(id, Client::new(&["VP8"]));
    world.apply(RoomCommand::Join { participant: id, join: Box::new(join), local: local(id) });
    assert_eq!(world.client(id).sections, Default::default());
    world.publish(id, Source::Camera);
    assert_eq!(world.client(id).errors[0].0, ErrorCode::NotAllowed);
    let peer = &mut world.client(id).peer;
    peer.add(crate::protocol::Kind::Video, crate::testing::Way::Both, &["VP8"]);
    world.client(id).dirty = true;
    world.apply(RoomCommand::Tick);
    assert!(world.client(id).bindings.is_empty());
    assert_eq!(world.room.tracks.len(), 1);
    let track = *world.room.tracks.keys().next().unwrap();
    let request = TrackRequest { request: None, track };
    world.say(id, ClientMessage::Subscribe(request));
    assert_eq!(world.client(id).errors[1].0, ErrorCode::NotAllowed);
    let settings = crate::protocol::TrackSettings { request: None, tracks: Vec::new() };
    world.say(id, ClientMessage::TrackSettings(settings));
    assert_eq!(world.client(id).errors[2].0, ErrorCode::NotAllowed);
}

#[test]
fn layers_are_sorted_as_announced_and_chosen_by_name() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join("p"), world.join("v"));
    let mut publish = world.client(publisher).publish(Source::Camera);
    world.client(publisher).peer.section(&publish.mid).rids = vec!["f", "h", "q"];
    let layer = |rid: &str| PublishLayer { rid: rid.into(), width: 1, height: 1 };
    publish.layers = ["q", "h", "f"].map(layer).to_vec();
    world.say(publisher, ClientMessage::Publish(publish));
    let track = world.room.tracks.values().next().unwrap();
    assert_eq!(track.layers, ["q", "h", "f"]);
    let rids: Vec<_> =
        track.producer_params().encodings.iter().map(|e| e.rid.clone().unwrap()).collect();
    assert_eq!(rids, ["q", "h", "f"]);
    let id = track.id;
    let mut choose = |rid: &str| {
        let request = crate::protocol::LayerRequest {
            request: None,
            track: id,
            rid: Some(rid.into()),
            temporal: Some(1),
        };
        let message = ClientMessage::SetLayer(request);
        format!("{:?}", world.room.apply(world.now, RoomCommand::Message { from: viewer, message }))
    };
    assert!(choose("x").contains("NotFound"));
    let expected = PreferredLayer { rid: Some("h".into()), spatial: None, temporal: Some(1) };
    assert!(choose("h").contains(&format!("{expected:?}")));
}

#[test]
fn speakers_are_named() {
    let mut world = World::new();
    let id = world.join("a");
    world.publish(id, Source::Microphone);
    let producer = world.room.tracks.values().next().unwrap().producer;
    let speakers =
        vec![Speaker { producer, level: 20 }, Speaker { producer: sfu::ProducerId(1), level: 30 }];
    let router = RouterId(0);
    let event = Event::ActiveSpeakers { router, speakers };
    let effects = world.room.apply(world.now, RoomCommand::Media(event));
    let [Effect::Send { to: Recipients::All, message: ServerMessage::ActiveSpeakers { speakers } }] =
        effects.as_slice()
    else {
        panic!("one message: {effects:?}")
    };
    assert_eq!(speakers.len(), 1);
    assert_eq!((speakers[0].participant, speakers[0].level), (id, 20));
}

#[test]
fn a_newcomer_is_told_who_speaks() {
    let mut world = World::new();
    let speaks = world.join("a");
    world.publish(speaks, Source::Microphone);
    let producer = world.room.tracks.values().next().unwrap().producer;
    let mut told = |number: u32, heard: Vec<Speaker>| {
        let event = Event::ActiveSpeakers { router: RouterId(0), speakers: heard };
        world.room.apply(world.now, RoomCommand::Media(event));
        let participant = ParticipantId(number);
        let join = Box::new(JoinCommand {
            request: None,
            identity: format!("n{number}"),
            name: "N".to_owned(),
            grant: Grant::OPEN,
            max_audio: None,
            max_video: None,
            compact: false,
        });
        let join = RoomCommand::Join { participant, join, local: local(participant) };
        let effects = world.room.apply(world.now, join);
        let mut sent = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send { to, message: ServerMessage::ActiveSpeakers { speakers } } => {
                Some((to, speakers))
            }
            _ => None,
        });
        let told = sent.next();
        assert!(sent.next().is_none(), "nobody else is told anew");
        told
    };
    assert_eq!(told(90, Vec::new()), None, "nobody speaks yet");
    let (to, speakers) = told(91, vec![Speaker { producer, level: 20 }]).unwrap();
    assert_eq!(to, Recipients::One(ParticipantId(91)));
    assert_eq!((speakers[0].participant, speakers[0].level), (speaks, 20));
    assert_eq!(told(92, Vec::new()), None, "nobody speaks any more");
}

#[test]
fn a_whep_viewer_that_never_connects_is_reaped() {
    let mut world = World::new();
    let publisher = world.join("p");
    world.publish(publisher, Source::Camera);
    let mut peer = crate::testing::FakePeer::new();
    peer.add(crate::protocol::Kind::Video, crate::testing::Way::Receive, &["VP8"]);
    for number in [90, 91] {
        let join = HttpJoin {
            role: HttpRole::Viewer,
            watch: Watch::Room,
            identity: format!("v{number}"),
            name: String::new(),
            grant: Grant::OPEN,
            sdp: peer.offer(),
        };
        let participant = ParticipantId(number);
        let local = local(participant);
        world.apply(RoomCommand::JoinOverHttp { participant, join: Box::new(join), local });
    }
    connected(&mut world, ParticipantId(91));
    world.check();
    world.advance(15);
    assert!(!world.room.participants.contains_key(&ParticipantId(90)));
    assert!(world.room.participants.contains_key(&ParticipantId(91)));
    world.advance(1000);
    assert!(world.room.participants.contains_key(&ParticipantId(91)));
    world.check();
}
