//! Counters that start just before they wrap: nothing stands still, and what leaves goes on by one.

use crate::net::{Path, SECOND};
use crate::svc::{Format, Mode, Svc};
use crate::world::{SlotSpec, Tracks, World};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::BTreeSet;

const LAYERS: Tracks = Tracks { rids: &["q", "h", "f"], video: true, audio: true };

/// Every counter of the publisher wraps within the first two seconds.
fn near_the_end(world: &mut World) {
    let publisher = &mut world.publishers[0];
    publisher.transport_first = 65_500;
    let audio = publisher.audio();
    audio.seq = 65_530;
    audio.timestamp_offset = u32::MAX - 48_000;
    for layer in &mut publisher.video().layers {
        (layer.seq, layer.rtx_seq) = (65_520, 65_534);
        layer.timestamp_offset = u32::MAX - 90_000;
        layer.picture_id = 0x7ff0;
        layer.tl0 = 250;
    }
}

fn room(path: Path) -> World {
    let mut world = World::new(3, path, path);
    world.add_publisher(LAYERS);
    near_the_end(&mut world);
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    world.bind(0, 0, Some(World::video_of(0)));
    world.bind(0, 1, Some(World::audio_of(0)));
    world
}

/// Frames of the last second, sound as well.
fn assert_flows(world: &World) {
    let since = world.now - SECOND;
    for (slot, least) in [(0, 27), (1, 45)] {
        let frames = world.subscribers[0].slots[slot].frames.values();
        let whole = frames.filter(|frame| frame.complete.is_some_and(|at| at >= since)).count();
        assert!(whole >= least, "slot {slot}: {whole} whole frames at {} µs", world.now);
    }
}

#[test]
fn figure_21_every_counter_wraps_in_the_first_seconds() {
    for path in [Path::CLEAN, Path::lossy(0.03)] {
        let mut world = room(path);
        world.run_seconds(2);
        for _ in 0..10 {
            world.run_seconds(1);
            assert_flows(&world);
        }
        let video = &world.publishers[0].video().layers[2];
        assert!(video.seq > 0x1_0000 && video.picture_id < 0x7ff0, "it wrapped");
        if path.loss == 0.0 {
            world.taps[0].assert_continuous(world.ssrc(0, 0));
        }
    }
}

#[test]
fn figure_21_descriptors_of_svc_wrap() {
    for format in [Format::Vp9, Format::Av1] {
        let mut world = World::new(4, Path::CLEAN, Path::CLEAN);
        world.add_publisher(Tracks { rids: &[], ..LAYERS });
        near_the_end(&mut world);
        let mode = Mode { spatial: 2, temporal: 3, key: false, format };
        let svc = Svc::new(mode, &mut SmallRng::seed_from_u64(4));
        world.publishers[0].video().svc = Some(svc.near_the_end());
        world.add_subscriber(&[SlotSpec::VIDEO]);
        world.bind(0, 0, Some(World::video_of(0)));
        world.run_seconds(2);
        for _ in 0..5 {
            let since = world.now;
            world.run_seconds(1);
            let sent = &world.taps[0].sent[&world.ssrc(0, 0)];
            let pictures: BTreeSet<u32> =
                sent.iter().filter(|sent| sent.at > since).map(|sent| sent.timestamp).collect();
            assert!(pictures.len() >= 28, "{format:?}: {} pictures", pictures.len());
        }
        let asked = world.publishers[0].keyframe_requests.len();
        assert!(asked <= 1, "{format:?}: {asked} keyframes were asked for");
    }
}

/// 100 packets a second each way, 65 536 numbers: everything that the engine counts itself wraps too, whatever it began with.
#[test]
fn figure_21_the_engines_own_counters_wrap() {
    let mut world = World::new(5, Path::CLEAN, Path::CLEAN);
    world.add_publisher(Tracks { rids: &[], ..LAYERS });
    for layer in &mut world.publishers[0].video().layers {
        layer.packets = 12;
    }
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    world.bind(0, 0, Some(World::video_of(0)));
    world.bind(0, 1, Some(World::audio_of(0)));
    for _ in 0..19 {
        world.run_seconds(10);
        assert_flows(&world);
    }
    assert!(world.taps[0].datagrams > 0x1_0000, "{} datagrams", world.taps[0].datagrams);
    world.taps[0].assert_continuous(world.ssrc(0, 0));
}
