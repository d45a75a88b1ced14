//! One (key, SSRC, index) seals one byte string: GCM would give its authentication key away. The tap compares everything that leaves
//! the engine; here it gets more than two rollovers of everything that could go wrong.

use crate::net::{MS, Path};
use crate::world::{SlotSpec, Tracks, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sfu_core::Command;
use sfu_core::params::PreferredLayer;

const PACKETS: usize = 1 << 17;
const TRACKS: Tracks = Tracks { rids: &["q", "f"], video: true, audio: false };
/// One slot is repaired by RTX, the other by the same packets again.
const SLOTS: [SlotSpec; 2] = [SlotSpec::VIDEO, SlotSpec { rtx: false, ..SlotSpec::VIDEO }];

/// Something that happens in a meeting, or that a hostile subscriber does.
fn disturb(world: &mut World, rng: &mut SmallRng) {
    let slot = rng.random_range(0..SLOTS.len());
    let publisher = rng.random_range(0..2);
    match rng.random_range(0..10) {
        0 => world.bind(0, slot, Some(World::video_of(publisher))),
        1 => {
            let producer = World::video_of(publisher);
            world.command(Command::PauseProducer { producer, paused: true });
            world.run(100 * MS);
            world.command(Command::PauseProducer { producer, paused: false });
        }
        2 => world.publishers[publisher].restart_video(world.now),
        3 => {
            let layer = &mut world.publishers[publisher].video().layers[1];
            layer.active = !layer.active;
        }
        4 | 5 => {
            let rid = [None, Some("q".to_owned()), Some("f".to_owned())];
            let layer = PreferredLayer {
                rid: rid[rng.random_range(0..3)].clone(),
                spatial: None,
                temporal: [None, Some(0), Some(1)][rng.random_range(0..3)],
            };
            world.command(Command::SetPreferredLayer { consumer: World::consumer(0, slot), layer });
        }
        _ => {
            let ssrc = world.ssrc(0, slot);
            let sent = world.taps[0].sent.get(&ssrc);
            let newest = sent.and_then(|sent| sent.last()).map_or(0, |sent| sent.index as u16);
            let back = rng.random_range(0..1500);
            let numbers: Vec<u16> =
                (0..40).map(|i| newest.wrapping_sub(back).wrapping_add(i)).collect();
            world.subscribers[0].send_nack(slot, &numbers);
        }
    }
}

#[test]
fn row_07_no_index_ever_seals_two_byte_strings() {
    let path = Path { delay: 10 * MS, ..Path::lossy(0.02) };
    let mut world = World::new(17, path, path);
    let mut rng = SmallRng::seed_from_u64(4);
    for _ in 0..2 {
        let publisher = world.add_publisher(TRACKS);
        let video = world.publishers[publisher].video();
        video.temporal = true;
        video.layers[1].packets = 30;
    }
    world.add_subscriber(&SLOTS);
    for slot in 0..SLOTS.len() {
        world.bind(0, slot, Some(World::video_of(slot)));
    }
    let sent =
        |world: &World, slot| world.taps[0].sent.get(&world.ssrc(0, slot)).map_or(0, Vec::len);
    while sent(&world, 0).min(sent(&world, 1)) < PACKETS {
        world.run(300 * MS);
        disturb(&mut world, &mut rng);
    }
    let tap = &world.taps[0];
    assert!(tap.rtx_packets > 1000, "{} resent as RTX", tap.rtx_packets);
    assert!(tap.identical_packets > 1000, "{} resent as they were", tap.identical_packets);
    assert!(tap.resends_max() <= 3);
    for slot in 0..SLOTS.len() {
        let sent = &tap.sent[&world.ssrc(0, slot)];
        assert!(sent.iter().any(|sent| sent.index >= 1 << 17), "two rollovers");
    }
}
