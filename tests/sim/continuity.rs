//! Whatever a slot shows, what leaves it is one stream: numbers without holes, time that goes forward, picture ids one by one.

use crate::net::{MS, Micros, Path, SECOND};
use crate::tap::Sent;
use crate::world::{SlotSpec, Tracks, World};
use sfu_core::Command;
use sfu_core::params::PreferredLayer;

const LAYERS: Tracks = Tracks { rids: &["q", "h", "f"], video: true, audio: false };
const PLAIN: Tracks = Tracks { rids: &[], video: true, audio: false };

/// Packets overtake each other, and some come twice, but all come.
const SHUFFLED: Path = Path {
    delay: 20 * MS,
    jitter: MS,
    loss: 0.0,
    reorder: 0.1,
    reorder_delay: 6 * MS,
    duplicate: 0.05,
};

/// Publishers, and one subscriber with one video slot bound to the first.
fn room(path: Path, publishers: &[Tracks]) -> World {
    let mut world = World::new(11, path, path);
    for tracks in publishers {
        world.add_publisher(*tracks);
    }
    let subscriber = world.add_subscriber(&[SlotSpec::VIDEO]);
    world.bind(subscriber, 0, Some(World::video_of(0)));
    world.run_seconds(2);
    world
}

fn prefer(world: &mut World, rid: Option<&str>, temporal: Option<u8>) {
    let layer = PreferredLayer { rid: rid.map(str::to_owned), spatial: None, temporal };
    world.command(Command::SetPreferredLayer { consumer: World::consumer(0, 0), layer });
}

fn sent(world: &World) -> &[Sent] {
    &world.taps[0].sent[&world.ssrc(0, 0)]
}

/// What left the slot lately.
fn lately(world: &World, span: Micros) -> Vec<Sent> {
    let since = world.now - span;
    sent(world).iter().filter(|sent| sent.at >= since && !sent.blank).copied().collect()
}

fn assert_continuous(world: &World) {
    world.taps[0].assert_continuous(world.ssrc(0, 0));
}

/// Nearly every frame of the last second is whole.
fn assert_flows(world: &World) {
    let since = world.now - SECOND;
    let whole = world.subscribers[0].slots[0]
        .frames
        .values()
        .filter(|frame| frame.complete.is_some_and(|at| at >= since))
        .count();
    assert!(whole >= 28, "{whole} frames in the last second");
}

#[test]
fn layers_switch_by_wish() {
    let mut world = room(Path::CLEAN, &[LAYERS]);
    let steps = [(Some("q"), 0), (Some("f"), 2), (Some("h"), 1), (Some("q"), 0), (None, 2)];
    for (rid, layer) in steps {
        prefer(&mut world, rid, None);
        world.run_seconds(2);
        let last = lately(&world, SECOND);
        assert!(last.iter().all(|sent| sent.stamp.layer == layer), "{rid:?} is shown");
        assert_flows(&world);
    }
    assert_continuous(&world);
    assert_capture_times(sent(&world), 2 * SECOND, MS);
}

/// Timestamps advance as capture times do, as exactly as this, from some time on.
fn assert_capture_times(sent: &[Sent], since: Micros, exact: Micros) {
    for pair in sent.windows(2).filter(|pair| pair[0].at > since && !pair[0].blank) {
        let ticks = i64::from(pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32);
        let captured = pair[1].stamp.capture as i64 - pair[0].stamp.capture as i64;
        let error = (ticks * 1000 / 90 - captured).unsigned_abs();
        assert!(error <= exact, "{error} µs: {pair:?}");
    }
}

#[test]
fn layers_switch_under_reordering() {
    let mut world = room(SHUFFLED, &[LAYERS]);
    for step in 0..40 {
        prefer(&mut world, Some(["q", "h", "f"][step % 3]), None);
        world.run(700 * MS);
    }
    let ssrc = world.ssrc(0, 0);
    world.taps[0].assert_continuous_but_late(ssrc);
    assert_flows(&world);
}

#[test]
fn a_keyframe_whose_first_packet_comes_last_is_whole() {
    let mut world = room(Path { reorder: 0.5, ..SHUFFLED }, &[PLAIN]);
    for _ in 0..30 {
        world.publishers[0].restart_video(world.now);
        world.run(500 * MS);
    }
    let slot = &world.subscribers[0].slots[0];
    let keyframes = slot.frames.values().filter(|frame| frame.stamp.keyframe);
    let broken = keyframes.clone().filter(|frame| frame.complete.is_none()).count();
    assert!(keyframes.count() >= 30);
    assert_eq!(broken, 0, "keyframes that never became whole");
    assert_flows(&world);
}

#[test]
fn temporal_layers_leave_no_holes() {
    for path in [Path::CLEAN, SHUFFLED] {
        let mut world = room(path, &[PLAIN]);
        world.publishers[0].video().temporal = true;
        world.run_seconds(1);
        for (wish, highest) in [(Some(0), 0), (Some(1), 1), (None, 2), (Some(1), 1), (Some(2), 2)] {
            prefer(&mut world, None, wish);
            world.run_seconds(2);
            let shown = lately(&world, SECOND).iter().map(|sent| sent.stamp.temporal).max();
            assert_eq!(shown, Some(highest));
        }
        assert_continuous(&world);
    }
}

#[test]
fn an_encoding_stops_and_returns() {
    let mut world = room(Path::CLEAN, &[LAYERS]);
    for active in [false, true, false, true] {
        world.publishers[0].video().layers[2].active = active;
        world.run_seconds(3);
        let layer = if active { 2 } else { 1 };
        assert!(lately(&world, SECOND).iter().all(|sent| sent.stamp.layer == layer));
        assert_flows(&world);
    }
    assert_continuous(&world);
    assert_capture_times(sent(&world), 2 * SECOND, MS);
}

#[test]
fn a_slot_is_bound_to_one_track_after_the_other() {
    let mut world = room(Path::CLEAN, &[PLAIN, LAYERS]);
    for step in 0..8 {
        let publisher = (step + 1) % 2;
        world.bind(0, 0, Some(World::video_of(publisher)));
        world.run_seconds(2);
        let track = publisher as u32 + 1;
        assert!(lately(&world, SECOND).iter().all(|sent| sent.csrc == track));
        assert_flows(&world);
        if step % 3 == 2 {
            world.bind(0, 0, None);
            world.run_seconds(1);
            assert!(lately(&world, 900 * MS).is_empty(), "an unbound slot is silent");
        }
    }
    assert!(sent(&world).iter().all(|sent| sent.csrc == u32::from(sent.stamp.track)));
    assert_continuous(&world);
    assert_capture_times(sent(&world), 2 * SECOND, 60 * MS);
}

#[test]
fn mute_and_unmute() {
    let mut world = room(Path::CLEAN, &[PLAIN]);
    for _ in 0..4 {
        let producer = World::video_of(0);
        world.command(Command::PauseProducer { producer, paused: true });
        world.run_seconds(3);
        assert!(lately(&world, 2 * SECOND).is_empty());
        world.command(Command::PauseProducer { producer, paused: false });
        world.run_seconds(2);
        assert_flows(&world);
    }
    assert_continuous(&world);
    assert_capture_times(sent(&world), 2 * SECOND, 60 * MS);
}

#[test]
fn a_publisher_starts_again_on_other_ssrcs() {
    for tracks in [PLAIN, LAYERS] {
        let mut world = room(Path::CLEAN, &[tracks]);
        for _ in 0..5 {
            world.publishers[0].restart_video(world.now);
            world.run_seconds(2);
            assert_flows(&world);
        }
        assert_continuous(&world);
        assert_capture_times(sent(&world), 2 * SECOND, 60 * MS);
    }
}
