//! Lip sync: receivers compute capture moments from our sender reports, and those of one publisher's tracks agree.

use crate::net::{MS, Micros, Path, SECOND};
use crate::world::{SlotSpec, Tracks, World};
use sfu_core::Command;
use sfu_core::params::PreferredLayer;

const BOTH: Tracks = Tracks { rids: &[], video: true, audio: true };
const LAYERS: Tracks = Tracks { rids: &["q", "f"], video: true, audio: true };

fn room(path: Path, tracks: Tracks, sender_reports: bool) -> World {
    let mut world = World::new(5, path, path);
    let publisher = world.add_publisher(tracks);
    world.publishers[publisher].sender_reports = sender_reports;
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    bind(&mut world, publisher);
    world
}

fn bind(world: &mut World, publisher: usize) {
    world.bind(0, 0, Some(World::video_of(publisher)));
    world.bind(0, 1, Some(World::audio_of(publisher)));
}

/// The furthest that audio and video were apart since some time, in µs.
fn apart(world: &World, since: Micros) -> i64 {
    let [video, audio] = &world.subscribers[0].slots[..] else { panic!("two slots") };
    let mut audio = audio.skews.iter().peekable();
    let mut last = None;
    let mut worst = 0;
    let mut compared = 0;
    for (at, _, video) in video.skews.iter().filter(|(at, ..)| *at >= since) {
        while let Some((_, _, skew)) = audio.next_if(|(heard, ..)| heard <= at) {
            last = Some(*skew);
        }
        if let Some(audio) = last {
            worst = worst.max((video - audio).abs());
            compared += 1;
        }
    }
    assert!(compared > 100, "compared {compared} packets");
    // One server timeline for all publishers: what is unknown is only how long their packets take to us.
    let slots = world.subscribers[0].slots.iter();
    let skews = slots.flat_map(|slot| &slot.skews).filter(|(at, ..)| *at >= since);
    let off = skews.map(|(_, _, skew)| skew.abs()).max().unwrap_or(0);
    assert!(off <= 100_000, "{off} µs off the server's timeline");
    worst
}

/// A sender report of the slot left with its first packet after `since`.
fn assert_reported_at_once(world: &World, slot: usize, since: Micros) {
    let tap = &world.taps[0];
    let ssrc = world.ssrc(0, slot);
    let first = tap.sent[&ssrc].iter().find(|sent| sent.at >= since).expect("media").at;
    let reported = tap.reports.iter().any(|report| report.ssrc == ssrc && report.at == first);
    assert!(reported, "no sender report with the first packet at {first} µs");
}

#[test]
fn audio_and_video_agree_though_the_publishers_clock_is_hours_off() {
    for path in [Path::CLEAN, Path { jitter: 8 * MS, ..Path::lossy(0.02) }] {
        let mut world = room(path, BOTH, true);
        world.run_seconds(20);
        let apart = apart(&world, 3 * SECOND);
        assert!(apart <= 10_000, "{apart} µs apart");
        assert_reported_at_once(&world, 0, 0);
        assert_reported_at_once(&world, 1, 0);
    }
}

#[test]
fn they_agree_over_switches_and_rebinding() {
    let mut world = room(Path::CLEAN, LAYERS, true);
    world.add_publisher(BOTH);
    world.run_seconds(3);
    for (step, rid) in ["q", "f", "q"].into_iter().enumerate() {
        let now = world.now;
        let layer = PreferredLayer { rid: Some(rid.into()), ..PreferredLayer::default() };
        world.command(Command::SetPreferredLayer { consumer: World::consumer(0, 0), layer });
        world.run_seconds(2);
        let layer = [0, 1, 0][step];
        let video = &world.taps[0].sent[&world.ssrc(0, 0)];
        let switched = video.iter().find(|s| s.at >= now && s.stamp.layer == layer).unwrap().at;
        assert_reported_at_once(&world, 0, switched);
    }
    for publisher in [1, 0] {
        let now = world.now;
        bind(&mut world, publisher);
        assert_reported_at_once_after_running(&mut world, now);
    }
    // Not while one slot shows the old publisher and the other the new one already.
    world.run_seconds(3);
    let apart = apart(&world, world.now - 3 * SECOND);
    assert!(apart <= 10_000, "{apart} µs apart");
}

fn assert_reported_at_once_after_running(world: &mut World, since: Micros) {
    world.run_seconds(2);
    for slot in 0..2 {
        assert_reported_at_once(world, slot, since);
    }
}

#[test]
fn layers_agree_with_audio_after_a_switch() {
    let mut world = room(Path::CLEAN, LAYERS, true);
    world.run_seconds(3);
    for rid in ["q", "f", "q", "f"] {
        let layer = PreferredLayer { rid: Some(rid.into()), ..PreferredLayer::default() };
        world.command(Command::SetPreferredLayer { consumer: World::consumer(0, 0), layer });
        world.run_seconds(2);
    }
    let apart = apart(&world, 3 * SECOND);
    assert!(apart <= 10_000, "{apart} µs apart");
}

#[test]
fn no_sender_report_of_the_publisher_never_blocks_a_switch() {
    let mut world = room(Path::CLEAN, LAYERS, false);
    world.run_seconds(2);
    for (rid, shown) in [("q", 0), ("f", 1), ("q", 0)] {
        let layer = PreferredLayer { rid: Some(rid.into()), ..PreferredLayer::default() };
        world.command(Command::SetPreferredLayer { consumer: World::consumer(0, 0), layer });
        let now = world.now;
        world.run(SECOND);
        let video = &world.taps[0].sent[&world.ssrc(0, 0)];
        let switched = video.iter().find(|s| s.at >= now && s.stamp.layer == shown).expect(rid);
        assert!(switched.at - now <= 100 * MS, "{rid} after {} µs", switched.at - now);
    }
    world.taps[0].assert_continuous(world.ssrc(0, 0));
    // Arrival times are all there is; the pacer of a keyframe is in them.
    let apart = apart(&world, SECOND);
    assert!(apart <= 40_000, "{apart} µs apart");
}
