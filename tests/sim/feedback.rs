//! Transport-wide feedback: what a publisher's bandwidth estimator is told about its packets.

use crate::net::{MS, Path};
use crate::world::{SlotSpec, Tracks, World};
use std::collections::BTreeMap;

/// Time from arrival to feedback, and its way back.
const SETTLED: u64 = 200 * MS;

fn room(up: Path, probes: bool) -> World {
    let mut world = World::new(9, up, Path::CLEAN);
    let tracks = Tracks { rids: &["q", "f"], video: true, audio: true };
    let publisher = world.add_publisher(tracks);
    world.publishers[publisher].probes = probes;
    let subscriber = world.add_subscriber(&[SlotSpec::VIDEO]);
    world.bind(subscriber, 0, Some(World::video_of(publisher)));
    world.run_seconds(20);
    world
}

#[test]
fn every_packet_that_came_is_reported_with_its_arrival() {
    let lossy = Path { jitter: 2 * MS, ..Path::lossy(0.05) };
    for (up, probes) in [(Path::CLEAN, true), (lossy, true), (lossy, false)] {
        let world = room(up, probes);
        let publisher = &world.publishers[0];
        let mut arrived = BTreeMap::new();
        for (_, number, at) in &world.arrivals {
            // The network duplicates; SRTP takes the first.
            arrived.entry(*number).or_insert(*at);
        }
        let mut told: BTreeMap<u16, bool> = BTreeMap::new();
        for (number, at) in publisher.feedback.iter().flat_map(|(_, statuses)| statuses) {
            let came = told.entry(*number).or_default();
            *came |= at.is_some();
            if let Some(at) = at {
                let true_at = *arrived.get(number).expect("only what came is told to have come");
                let error = at.abs_diff(true_at as i64);
                assert!(error <= 250, "{number}: {error} µs wrong");
            }
        }
        let sent = publisher.transport_sent.iter().enumerate();
        let settled = sent.filter(|(_, at)| **at + SETTLED < world.now);
        for (index, _) in settled {
            let number = publisher.transport_number(index);
            // Nothing is known of what was lost before the first packet came.
            let Some(came) = told.get(&number) else { panic!("{number} is not mentioned") };
            assert_eq!(*came, arrived.contains_key(&number), "{number}");
        }
        assert!(told.len() > 4000, "{} packets", told.len());
    }
}

#[test]
fn probes_count_though_they_are_no_media() {
    use sfu_core::DropReason::{Padding, UnknownSsrc};
    let world = room(Path::CLEAN, true);
    let drops = world.engine.drops();
    assert!(drops.get(Padding) > 200 && drops.get(UnknownSsrc) > 200, "{drops:?}");
}

#[test]
fn feedback_comes_every_50_ms() {
    let world = room(Path::CLEAN, false);
    let times: Vec<u64> = world.publishers[0].feedback.iter().map(|(at, _)| *at).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The timer starts with the next packet, which may be 20 ms away.
    assert!(pauses.iter().all(|pause| (50 * MS..=71 * MS).contains(pause)), "{pauses:?}");
    let mean = pauses.iter().sum::<u64>() / pauses.len() as u64;
    assert!(mean <= 60 * MS, "{mean} µs");
}
