//! The server stands still for five seconds: a SIGSTOP, a virtual machine that is moved.

use crate::call::{TRACKS, call};
use crate::net::{MS, Micros, Path, SECOND};
use crate::world::{SlotSpec, World};
use sfu_core::Event;

const PAUSE: Micros = 5 * SECOND;
/// A round trip of 40 ms.
const NEAR: Path = Path { delay: 20 * MS, ..Path::CLEAN };

/// Media datagrams that left for a subscriber in a span of time.
fn left(world: &World, subscriber: usize, from: Micros, span: Micros) -> usize {
    let sent = &world.taps[subscriber].sent[&world.ssrc(subscriber, 0)];
    sent.iter().filter(|sent| (from..from + span).contains(&sent.at)).count()
}

#[test]
fn figure_20_after_a_pause_of_five_seconds_media_goes_on_within_one() {
    for seed in [1, 2, 3] {
        let mut world = call(seed, NEAR);
        for other in 1..4 {
            world.add_publisher(TRACKS);
            world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
            world.bind(other, 0, Some(World::video_of(other)));
            world.bind(other, 1, Some(World::audio_of(other)));
        }
        world.run_seconds(5);
        let before = left(&world, 0, world.now - SECOND, SECOND);
        world.stop_for(PAUSE);
        let woke = world.now;
        world.run_seconds(5);
        let closed = |event: &Event| matches!(event, Event::TransportClosed { .. });
        assert!(!world.events.iter().any(|(_, event)| closed(event)), "nobody is lost");
        for subscriber in 0..4 {
            let slot = &world.subscribers[subscriber].slots[0];
            // A frame that was captured after the pause.
            let new = slot.frames.values().filter(|frame| frame.stamp.capture > woke);
            let first = new.filter_map(|frame| frame.complete).min().expect("a frame") - woke;
            assert!(first <= SECOND, "seed {seed}: a new frame after {first} µs");
            let burst = left(&world, subscriber, woke, SECOND);
            assert!(
                burst <= 2 * before,
                "seed {seed}: {burst} packets in the first second, not {before}"
            );
            let later = left(&world, subscriber, world.now - SECOND, SECOND);
            assert!(later * 10 >= before * 9, "seed {seed}: {later} of {before} at last");
        }
    }
}
