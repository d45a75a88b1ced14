//! Subscribers that lie about their link, or do not read.

use super::TRACKS;
use crate::net::{Link, MS, Micros, Path, SECOND};
use crate::world::{SlotSpec, Tracks, World};

fn latencies(world: &World, subscriber: usize, since: Micros) -> Vec<Micros> {
    let frames = world.subscribers[subscriber].slots[0].frames.values();
    let whole = frames.filter(|frame| frame.stamp.capture >= since);
    let mut late: Vec<Micros> =
        whole.filter_map(|frame| Some(frame.complete? - frame.stamp.capture)).collect();
    late.sort_unstable();
    late
}

fn percentile_99(sorted: &[Micros]) -> Micros {
    sorted[sorted.len() * 99 / 100]
}

/// A viewer behind a narrow link says that everything came at once. It spoils its own picture and nobody else's, and is sent no more than there is.
#[test]
fn row_23_who_lies_about_its_link_harms_itself() {
    let mut world = World::new(23, Path::CLEAN, Path::CLEAN);
    world.add_publisher(Tracks { rids: &["q", "h", "f"], video: true, audio: false });
    for (layer, bitrate) in [150_000, 500_000, 2_500_000].into_iter().enumerate() {
        world.publishers[0].video().set_bitrate(layer, bitrate);
    }
    for viewer in 0..3 {
        world.add_subscriber(&[SlotSpec::VIDEO]);
        world.bind(viewer, 0, Some(World::video_of(0)));
        let address = world.subscribers[viewer].endpoint.address;
        world.net.links.push(Link::new(1_000_000));
        world.net.link(address, viewer);
    }
    world.subscribers[0].lies = true;
    world.run_seconds(20);
    let start = world.now;
    let sent = world.engine.counters().forwarded.video.bytes;
    world.run_seconds(20);
    for honest in [1, 2] {
        let late = latencies(&world, honest, start);
        assert!(late.len() > 500, "{} frames", late.len());
        let p99 = percentile_99(&late);
        assert!(p99 <= 100 * MS + 40 * MS, "{p99} µs, of which 40 ms are the way and the frame");
    }
    // Never more than the best layer with the keyframes that it asks for, whatever it claims to take, and 500 kbit/s for the others.
    let sent = (world.engine.counters().forwarded.video.bytes - sent) * 8 / 20;
    assert!(sent <= 5_000_000, "{sent} bit/s to three viewers");
}

/// Half of a hundred subscribers tell nothing and ask for nothing any more.
#[test]
fn row_24_who_does_not_read_holds_nobody_up() {
    let run = |stalled: bool| {
        let mut world = World::new(24, Path::CLEAN, Path::CLEAN);
        world.add_publisher(Tracks { audio: false, ..TRACKS });
        for viewer in 0..100 {
            world.add_subscriber(&[SlotSpec::VIDEO]);
            world.bind(viewer, 0, Some(World::video_of(0)));
        }
        world.run_seconds(5);
        for viewer in 50..100 {
            world.subscribers[viewer].mute = stalled;
        }
        let start = world.now;
        world.run_seconds(10);
        let late: Vec<Micros> =
            (0..50).flat_map(|viewer| latencies(&world, viewer, start)).collect();
        (late, world)
    };
    let sorted = |mut late: Vec<Micros>| {
        late.sort_unstable();
        late
    };
    let (quiet, _) = run(false);
    let (attacked, mut world) = run(true);
    assert_eq!(quiet.len(), attacked.len(), "frames of those who read");
    let (quiet, attacked) = (percentile_99(&sorted(quiet)), percentile_99(&sorted(attacked)));
    assert!(attacked <= quiet + MS, "{attacked} µs, {quiet} µs without");
    // Who reads again has a picture within two seconds.
    for viewer in 50..100 {
        world.subscribers[viewer].mute = false;
    }
    let again = world.now;
    world.run(2 * SECOND);
    for viewer in 50..100 {
        let frames = latencies(&world, viewer, again).len();
        assert!(frames >= 25, "{frames} frames of viewer {viewer}");
    }
}
