//! What the engine counts for metrics is what goes over its wires.

use crate::net::{Path, SECOND};
use crate::world::{SlotSpec, Tracks, World};

const SUBSCRIBERS: usize = 3;

#[test]
fn media_is_counted_by_kind_and_repairs_apart() {
    let path = Path::lossy(0.05);
    let mut world = World::new(5, path, path);
    let publisher = world.add_publisher(Tracks { video: true, audio: true, ..Tracks::default() });
    for _ in 0..SUBSCRIBERS {
        let subscriber = world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
        world.bind(subscriber, 0, Some(World::video_of(publisher)));
        world.bind(subscriber, 1, Some(World::audio_of(publisher)));
    }
    world.run(10 * SECOND);
    let counted = *world.engine.counters();
    for (slot, forwarded) in [(0, counted.forwarded.video), (1, counted.forwarded.audio)] {
        let sent = |subscriber: usize| {
            let slot = world.taps[subscriber].sent.get(&world.ssrc(subscriber, slot));
            slot.map_or(0, |packets| packets.iter().filter(|sent| !sent.blank).count() as u64)
        };
        assert_eq!(forwarded.packets, (0..SUBSCRIBERS).map(sent).sum::<u64>(), "slot {slot}");
        assert!(forwarded.bytes > 50 * forwarded.packets);
    }
    let repairs: u64 = world.taps.iter().map(|tap| tap.rtx_packets + tap.identical_packets).sum();
    let resent = counted.resent.video.packets + counted.resent.audio.packets;
    let probing = counted.probing.video.packets;
    let padding: u64 = world.taps.iter().map(|tap| tap.padding_packets).sum();
    assert!(resent > 0 && probing > 0);
    assert_eq!(resent + probing, repairs + padding);
    let received = counted.received.video.packets;
    assert!(received * 3 >= counted.forwarded.video.packets && received > 500, "{received}");
    assert!(counted.received.audio.packets > 400);
}
