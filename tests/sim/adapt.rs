//! What one subscriber is given behind a narrow link.

use crate::net::{Link, MS, Micros, Path, SECOND};
use crate::world::{SlotSpec, Tracks, World};
use sfu_core::Event;

/// Payload bits per second of three layers, as libwebrtc sends 320x180, 640x360 and 1280x720.
const LAYERS: [u64; 3] = [150_000, 500_000, 1_700_000];

/// A publisher with three layers and audio, who has been sending for two seconds, and one who watches from behind a link.
fn watch(seed: u64, link: Link, delay: Micros) -> (World, usize) {
    let path = Path { delay: delay / 4, ..Path::CLEAN };
    let mut world = World::new(seed, path, path);
    let tracks = Tracks { rids: &["q", "h", "f"], video: true, audio: true };
    let publisher = world.add_publisher(tracks);
    for (layer, rate) in LAYERS.into_iter().enumerate() {
        world.publishers[publisher].video().set_bitrate(layer, rate);
    }
    world.run_seconds(2);
    let subscriber = world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    world.net.links.push(link);
    let address = world.subscribers[subscriber].endpoint.address;
    world.net.link(address, 0);
    world.bind(subscriber, 0, Some(World::video_of(publisher)));
    world.bind(subscriber, 1, Some(World::audio_of(publisher)));
    (world, subscriber)
}

/// Layer of the newest complete frame, at each time that it changed.
fn shown(world: &World, subscriber: usize) -> Vec<(Micros, u8)> {
    let mut frames: Vec<_> = world.subscribers[subscriber].slots[0]
        .frames
        .values()
        .filter_map(|frame| Some((frame.complete?, frame.stamp.layer)))
        .collect();
    frames.sort_unstable();
    frames.dedup_by_key(|(_, layer)| *layer);
    frames
}

/// Longest time in the queue of 95 of 100 datagrams since `from`.
fn queued(world: &World, from: Micros) -> Micros {
    let passed = world.net.links[0].passed.iter().filter(|(at, ..)| *at >= from);
    let mut waits: Vec<Micros> = passed.map(|(_, waits, _)| *waits).collect();
    waits.sort_unstable();
    waits.get(waits.len() * 95 / 100).copied().unwrap_or(0)
}

#[test]
fn the_top_layer_within_three_seconds() {
    for seed in [1, 2, 3] {
        let (mut world, subscriber) = watch(seed, Link::new(5_000_000), 40 * MS);
        world.run_seconds(10);
        let shown = shown(&world, subscriber);
        println!("{seed}: {shown:?} p95 queue {}", queued(&world, 0));
        for (at, event) in &world.events {
            if let Event::ConsumerStatus { status, .. } = event {
                println!("  {at} {status:?}");
            }
        }
    }
}
