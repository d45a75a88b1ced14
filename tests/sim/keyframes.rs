//! Keyframe requests: many ask, the publisher hears few, and who is new hears soon.

use crate::net::{MS, Micros, Path, SECOND};
use crate::world::{SlotSpec, Tracks, World};
use sfu_core::Command;
use std::collections::BTreeMap;

const ASKERS: usize = 12;
/// There and back, and the raster of arrivals.
const ROUND_TRIP: Micros = 2 * Path::CLEAN.delay + MS;

fn room(rids: &'static [&'static str], slot: SlotSpec) -> World {
    let mut world = World::new(3, Path::CLEAN, Path::CLEAN);
    world.add_publisher(Tracks { rids, video: true, audio: false });
    for index in 0..ASKERS {
        world.add_subscriber(&[slot]);
        world.bind(index, 0, Some(World::video_of(0)));
    }
    world.run_seconds(2);
    world
}

/// Per encoding, no more than two within any second.
fn assert_limited(world: &World) {
    let mut by_ssrc: BTreeMap<u32, Vec<Micros>> = BTreeMap::new();
    for (at, ssrc) in &world.publishers[0].keyframe_requests {
        by_ssrc.entry(*ssrc).or_default().push(*at);
    }
    for times in by_ssrc.values() {
        for three in times.windows(3) {
            assert!(three[2] - three[0] >= SECOND, "{three:?}");
        }
    }
}

#[test]
fn whoever_asks_the_publisher_hears_two_a_second() {
    for rids in [&[][..], &["q", "h", "f"][..]] {
        let mut world = room(rids, SlotSpec::VIDEO);
        // Everybody has climbed to the layer that the link carries.
        world.run_seconds(3);
        let before = world.publishers[0].keyframe_requests.len();
        for round in 0..200 {
            for subscriber in &mut world.subscribers {
                if round % 2 == 0 {
                    subscriber.send_pli(0);
                } else {
                    subscriber.send_fir(0, round as u8);
                }
            }
            world.run(50 * MS);
        }
        assert_limited(&world);
        let heard = world.publishers[0].keyframe_requests.len() - before;
        assert!((18..=21).contains(&heard), "{heard} requests in ten seconds");
    }
}

#[test]
fn a_new_subscriber_gets_a_keyframe_at_once() {
    let mut world = room(&["q", "f"], SlotSpec::VIDEO);
    // The last one is too old for a publisher that makes them when asked.
    world.run_seconds(2);
    let start = world.now;
    let late = world.add_subscriber(&[SlotSpec::VIDEO]);
    world.bind(late, 0, Some(World::video_of(0)));
    world.run_seconds(1);
    let ssrc = world.ssrc(late, 0);
    let first = world.taps[late].sent[&ssrc][0];
    assert!(first.stamp.keyframe && first.stamp.index == 0, "{first:?}");
    // Its first check, the request, the next frame of the encoder, the frame's way.
    let bound = 2 * ROUND_TRIP + SECOND / 30 + 2 * MS;
    assert!(first.at - start <= bound, "after {} µs", first.at - start);
    let asked = world.publishers[0].keyframe_requests.iter().find(|(at, _)| *at >= start);
    assert!(asked.is_some_and(|(at, _)| *at - start <= ROUND_TRIP + MS), "{asked:?}");
    assert_limited(&world);
}

#[test]
fn a_paused_slot_waits_for_its_client() {
    let mut world = room(&[], SlotSpec { paused: true, ..SlotSpec::VIDEO });
    assert!(world.taps.iter().all(|tap| tap.sent.is_empty()), "paused slots are silent");
    let asked = world.publishers[0].keyframe_requests.len();
    assert_eq!(asked, 0, "nobody can use a keyframe yet");
    let transport = world.transport_of_subscriber(0);
    let start = world.now;
    world.command(Command::ResumeConsumers { transport });
    world.run_seconds(1);
    let ssrc = world.ssrc(0, 0);
    let first = world.taps[0].sent[&ssrc][0];
    assert!(first.stamp.keyframe && first.stamp.index == 0, "{first:?}");
    assert!(first.at - start <= ROUND_TRIP + SECOND / 30 + 2 * MS);
    assert!(world.taps[1..].iter().all(|tap| tap.sent.is_empty()), "others wait on");
    world.taps[0].assert_continuous(ssrc);
}
