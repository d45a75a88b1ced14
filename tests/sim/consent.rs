//! Whose datagrams count, and for how long.

use crate::call::{TRACKS, call};
use crate::net::{MS, Path, SECOND};
use crate::world::{SlotSpec, World};
use sfu_core::{CloseReason, Event, TransportId};
use std::net::SocketAddr;
use switchyard_tests::peer::{answer_check, check, credentials};

/// Checks come every 2.5 s, and the engine looks every 500 ms.
const SLACK: u64 = 4 * SECOND;

fn silent_at(world: &World, id: TransportId, expected: bool) -> Option<u64> {
    world.events.iter().find_map(|(at, event)| match event {
        Event::TransportSilent { transport, silent } => {
            (*transport == id && *silent == expected).then_some(*at)
        }
        _ => None,
    })
}

fn closed_at(world: &World, id: TransportId) -> Option<(u64, CloseReason)> {
    world.events.iter().find_map(|(at, event)| match event {
        Event::TransportClosed { transport, reason } => {
            (*transport == id).then(|| (*at, reason.clone()))
        }
        _ => None,
    })
}

fn whole_frames(world: &World, since: u64) -> usize {
    let frames = world.subscribers[0].slots[0].frames.values();
    frames.filter(|frame| frame.complete.is_some_and(|at| at >= since)).count()
}

#[test]
fn row_12_consent_ends_for_a_receiver_and_for_a_sender_of_media() {
    let mut world = call(8, Path::CLEAN);
    let start = world.now;
    for peer in [&mut world.publishers[0].endpoint, &mut world.subscribers[0].endpoint] {
        (peer.checks, peer.answers) = (false, false);
    }
    world.run_seconds(40);
    let publisher = TransportId(1);
    for id in [publisher, world.transport_of_subscriber(0)] {
        let silent = silent_at(&world, id, true).expect("silent") - start;
        assert!((15 * SECOND - SLACK..=16 * SECOND).contains(&silent), "{silent} µs");
        let (closed, reason) = closed_at(&world, id).expect("closed");
        assert_eq!(reason, CloseReason::ConsentExpired);
        let closed = closed - start;
        assert!((30 * SECOND - SLACK..=31 * SECOND).contains(&closed), "{closed} µs");
    }
    // The publisher sent media all the time.
    let last = *world.publishers[0].transport_sent.last().expect("media");
    assert!(world.now - last < SECOND);
    assert_eq!(world.engine.population(), (0, 0, 0));
    let before = world.taps[0].datagrams;
    world.run_seconds(2);
    assert_eq!(world.taps[0].datagrams, before, "nothing is sent without consent");
}

#[test]
fn who_sends_no_checks_and_answers_ours_stays() {
    let mut world = call(8, Path::CLEAN);
    world.publishers[0].endpoint.checks = false;
    world.subscribers[0].endpoint.checks = false;
    let before = world.now;
    world.run_seconds(60);
    for id in [TransportId(1), world.transport_of_subscriber(0)] {
        assert_eq!((silent_at(&world, id, true), closed_at(&world, id)), (None, None));
    }
    assert!(whole_frames(&world, before + 50 * SECOND) > 200, "pictures go on");
}

#[test]
fn a_silence_that_ends_is_told() {
    let mut world = call(8, Path::CLEAN);
    let id = world.transport_of_subscriber(0);
    let endpoint = &mut world.subscribers[0].endpoint;
    (endpoint.checks, endpoint.answers) = (false, false);
    world.run_seconds(20);
    assert!(silent_at(&world, id, true).is_some() && silent_at(&world, id, false).is_none());
    world.subscribers[0].endpoint.checks = true;
    world.run_seconds(20);
    assert!(silent_at(&world, id, false).is_some());
    assert_eq!(closed_at(&world, id), None);
}

#[test]
fn media_follows_a_client_to_its_new_address() {
    let mut world = call(8, Path::CLEAN);
    let old = world.subscribers[0].endpoint.address;
    let new: SocketAddr = "192.0.2.9:5555".parse().unwrap();
    world.subscribers[0].endpoint.priority += 1;
    world.move_subscriber(0, new);
    let start = world.now;
    world.run_seconds(2);
    let whole = whole_frames(&world, start);
    assert!(whole >= 58, "{whole} whole frames in two seconds");
    // Once more, with the lower priority: the pair that is silent yields.
    world.subscribers[0].endpoint.priority -= 2;
    world.move_subscriber(0, old);
    world.run_seconds(8);
    let start = world.now;
    world.run_seconds(1);
    let whole = whole_frames(&world, start);
    assert!(whole >= 29, "{whole} whole frames in the last second");
    world.taps[0].assert_continuous(world.ssrc(0, 0));
    let id = world.transport_of_subscriber(0);
    assert_eq!(closed_at(&world, id), None);
}

#[test]
fn row_03_unproved_addresses_get_nothing_and_change_nothing() {
    let mut world = call(8, Path::CLEAN);
    let population = world.engine.population();
    let of_transports = |world: &World| {
        let other = |event: &Event| {
            matches!(event, Event::ConsumerStatus { .. } | Event::PublishedLayers { .. })
        };
        world.events.iter().filter(|(_, event)| !other(event)).count()
    };
    let events = of_transports(&world);
    let stranger: SocketAddr = "198.51.100.77:7777".parse().unwrap();
    let mut unsigned = check(1, 99, &[(0x0025, &[])]);
    unsigned.truncate(unsigned.len() - 32);
    let length = (unsigned.len() - 20) as u16;
    unsigned[2..4].copy_from_slice(&length.to_be_bytes());
    let mut forged = check(1, 98, &[(0x0025, &[])]);
    let tampered = forged.len() - 10;
    forged[tampered] ^= 1;
    let mut datagrams = vec![unsigned, forged, check(77, 97, &[(0x0025, &[])])];
    datagrams.push([&[22, 0xfe, 0xfd][..], &[0; 60]].concat());
    datagrams.extend([vec![0x80; 40], vec![0x81, 200, 0, 1, 0, 0, 0, 1], vec![0xff; 9], vec![0]]);
    let captured = world.captured.clone();
    assert!(!captured.is_empty());
    datagrams.extend(captured);
    let start = world.now;
    for datagram in &datagrams {
        world.inject(stranger, datagram.clone());
    }
    world.run_seconds(2);
    assert_eq!(world.stray, vec![], "an unproved address gets no byte");
    assert_eq!(world.engine.population(), population);
    assert_eq!(of_transports(&world), events);
    let whole = whole_frames(&world, start);
    assert!(whole >= 58, "{whole} whole frames in two seconds");
    let tap = &world.taps[0];
    tap.assert_continuous(world.ssrc(0, 0));
    assert_eq!(world.engine.counters().resent.video.packets, 0);
}

#[test]
fn row_03_copies_that_overtake_their_originals_move_no_media() {
    let far = Path { delay: 50 * MS, ..Path::CLEAN };
    let mut world = call(8, far);
    let stranger: SocketAddr = "198.51.100.77:7777".parse().unwrap();
    let start = world.now;
    for _ in 0..30 {
        let endpoint = &mut world.subscribers[0].endpoint;
        endpoint.send_check();
        endpoint.send_rtcp_bytes(vec![0x80, 201, 0, 1, 0, 0, 0, 9]);
        // Checks prove an address, whoever copied them; no more.
        for mut copy in endpoint.out.clone() {
            let answers = world.feed(stranger, &mut copy.1);
            assert!(answers.iter().all(|(_, answer)| answer[0] == 1), "more than an answer");
        }
        world.run(250 * MS);
    }
    assert_eq!(world.stray, vec![], "media for a stranger");
    let whole = whole_frames(&world, start);
    assert!(whole >= 220, "{whole} whole frames in 7.5 seconds");
}

#[test]
fn row_03_a_check_in_the_name_of_another_takes_nothing_from_him() {
    let lossy = Path { delay: 20 * MS, loss: 0.02, ..Path::CLEAN };
    let mut world = call(8, lossy);
    let victim = world.subscribers[0].endpoint.address;
    let start = world.now;
    for transaction in 0..100 {
        // The publisher holds its own password, and says that it is where the viewer is. What is sealed for the publisher would be a fault at the viewer's.
        let forged = check(1, 1000 + transaction, &[(0x0024, &[0xff; 4]), (0x0025, &[])]);
        world.inject(victim, forged);
        world.run(100 * MS);
    }
    let whole = whole_frames(&world, start);
    assert!(whole >= 294, "{whole} whole frames in ten seconds");
    assert!(world.engine.counters().resent.video.packets > 0, "the viewer's NACKs are heard");
}

#[test]
fn who_proves_that_it_is_at_an_address_in_use_gets_it() {
    let mut world = call(8, Path::CLEAN);
    let shared = world.subscribers[0].endpoint.address;
    world.add_subscriber(&[SlotSpec::VIDEO]);
    let newcomer = world.transport_of_subscriber(1);
    let endpoint = &mut world.subscribers[1].endpoint;
    endpoint.checks = false;
    endpoint.out.clear();
    let (number, password) = (newcomer.0, credentials('p', newcomer.0).password);
    let connected = |world: &World| {
        let is = |event: &Event| matches!(event, Event::TransportConnected { transport, .. } if *transport == newcomer);
        world.events.iter().any(|(_, event)| is(event))
    };
    let nominating = |transaction| check(number, transaction, &[(0x0025, &[])]);
    let answers = world.feed(shared, &mut nominating(1));
    assert_eq!(answers.len(), 2, "an answer, and a check of ours");
    let (to, ours) = &answers[1];
    assert_eq!(*to, shared);
    world.run(SECOND);
    assert!(!connected(&world), "a check alone proves nothing where somebody else is");
    assert_eq!(answer_check(&credentials('p', 1).password, ours), None, "it takes the password");
    let mut answer = answer_check(&password, ours).expect("a good check");
    let elsewhere: SocketAddr = "198.51.100.77:7777".parse().unwrap();
    world.feed(elsewhere, &mut answer.clone());
    // Who was there before has gone without a word.
    let before = &mut world.subscribers[0];
    (before.mute, before.endpoint.checks, before.endpoint.answers) = (true, false, false);
    let proved = world.now;
    world.feed(shared, &mut answer);
    world.feed(shared, &mut nominating(2));
    world.run(SECOND);
    assert!(connected(&world));
    assert_eq!(whole_frames(&world, proved), 0, "what is for the one before goes to the newcomer");
}

#[test]
fn duplicates_are_not_forwarded_twice() {
    let path = Path { duplicate: 0.5, jitter: 3 * MS, ..Path::CLEAN };
    let mut world = World::new(8, path, path);
    world.add_publisher(TRACKS);
    world.add_subscriber(&[SlotSpec { rtx: false, ..SlotSpec::VIDEO }, SlotSpec::AUDIO]);
    world.bind(0, 0, Some(World::video_of(0)));
    world.bind(0, 1, Some(World::audio_of(0)));
    world.subscribers[0].slots[0].nacks = false;
    world.run_seconds(10);
    let tap = &world.taps[0];
    assert_eq!(tap.identical_packets, 0);
    let mut packets: Vec<_> = tap
        .sent
        .values()
        .flatten()
        .map(|s| (s.stamp.track, s.stamp.frame, s.stamp.index))
        .collect();
    let count = packets.len();
    packets.sort_unstable();
    packets.dedup();
    assert_eq!(packets.len(), count, "a packet left twice");
    assert!(count > 1900, "{count} packets");
    assert!(world.engine.drops().get(sfu_core::DropReason::Replay) > 900);
}
