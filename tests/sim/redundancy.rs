//! Audio under loss: RED for who can read it, NACK for who asks.

use crate::net::{Link, MS, Micros, Path, SECOND};
use crate::params::mapping;
use crate::world::{SlotSpec, Tracks, World};
use crate::{publisher, subscriber};
use sfu_core::Command;
use sfu_core::params::Binding;

/// Somebody speaks; somebody listens behind a link that loses so much.
fn call(loss: f64, nacks: bool, seed: u64) -> (World, usize, usize) {
    let path = Path { delay: 10 * MS, ..Path::CLEAN };
    let mut world = World::new(seed, path, path);
    let publisher = world.add_publisher(Tracks { audio: true, ..Tracks::default() });
    let subscriber = world.add_subscriber(&[SlotSpec::AUDIO]);
    let mut link = Link::new(1_000_000);
    link.loss = loss;
    world.net.links.push(link);
    let address = world.subscribers[subscriber].endpoint.address;
    world.net.link(address, 0);
    world.subscribers[subscriber].slots[0].nacks = nacks;
    world.bind(subscriber, 0, Some(World::audio_of(publisher)));
    (world, publisher, subscriber)
}

/// Share of audio packets that came within 150 ms, after ten seconds of getting used to it; and how many came by RED.
fn heard(loss: f64, nacks: bool, seed: u64) -> (f64, u64) {
    const BY: Micros = 150 * MS;
    let (mut world, _, subscriber) = call(loss, nacks, seed);
    world.run_seconds(70);
    let slot = &world.subscribers[subscriber].slots[0];
    let (from, to) = (10 * SECOND, 69 * SECOND);
    let frames = slot.frames.values().filter(|f| (from..to).contains(&f.stamp.capture));
    let in_time = frames.filter(|f| f.complete.is_some_and(|at| at - f.stamp.capture <= BY));
    let sent = (to - from) / (20 * MS);
    (in_time.count() as f64 / sent as f64, slot.redundant)
}

#[test]
fn ten_percent_loss_is_not_heard_with_red() {
    for seed in [1, 2, 3] {
        let (share, redundant) = heard(0.1, false, seed);
        assert!(share >= 0.995 && redundant > 5000, "seed {seed}: {share}, {redundant} by RED");
    }
}

#[test]
fn five_percent_loss_is_not_heard_with_nacks() {
    let (share, _) = heard(0.05, true, 4);
    assert!(share >= 0.998, "{share}");
}

#[test]
fn without_loss_nothing_comes_twice() {
    assert_eq!(heard(0.0, false, 5), (1.0, 0));
}

/// With DTX a pause is one packet every 400 ms, and no gap: nobody asks for what was never sent, and nothing is added.
#[test]
fn the_pauses_of_dtx_stay_pauses() {
    for (loss, nacks) in [(0.0, true), (0.1, false)] {
        let (mut world, publisher, subscriber) = call(loss, nacks, 6);
        world.publishers[publisher].audio.as_mut().unwrap().dtx = true;
        world.run_seconds(30);
        let sent = world.publishers[publisher].audio.as_ref().unwrap().number;
        let slot = &world.subscribers[subscriber].slots[0];
        let came = slot.frames.values().filter(|frame| frame.complete.is_some()).count();
        assert!((600..800).contains(&sent), "{sent} packets in 30 s");
        match loss > 0.0 {
            false => {
                assert!(came + 5 > sent as usize, "{came} of {sent}");
                assert_eq!((slot.asked, slot.redundant), (0, 0));
            }
            true => assert!(slot.redundant > 50 && came * 100 > sent as usize * 97),
        }
    }
}

/// What the publisher repeats goes through to who can read it, with their numbers of the formats inside; the others get what is new of it.
#[test]
fn a_publishers_red_is_kept_for_some_and_taken_off_for_others() {
    for (reads, loss) in [(true, 0.0), (true, 0.03), (false, 0.0)] {
        let (mut world, publisher, subscriber) = call(loss, false, 7);
        world.publishers[publisher].audio().before = Some(Vec::new());
        let red = mapping(publisher::OPUS_RED, subscriber::RED, None, false);
        let opus = mapping(publisher::OPUS, subscriber::OPUS, None, false);
        let payload_types = if reads { vec![red, opus] } else { vec![opus] };
        let producer = World::audio_of(publisher);
        let consumer = World::consumer(subscriber, 0);
        let binding = Some(Binding { producer, payload_types });
        world.command(Command::BindConsumer { consumer, binding });
        world.run_seconds(20);
        let sent = world.publishers[publisher].audio().number;
        let slot = &world.subscribers[subscriber].slots[0];
        let came = slot.frames.values().filter(|frame| frame.complete.is_some()).count();
        let size = slot.came.iter().map(|(_, bytes)| bytes).sum::<usize>() / slot.came.len();
        let line = format!(
            "reads {reads}, {loss}: {came} of {sent}, {} repeated, {size} bytes each",
            slot.redundant
        );
        println!("{line}");
        assert!(came as f64 > 0.994 * f64::from(sent), "{line}");
        match reads {
            true => assert!(slot.redundant as f64 > 0.9 * f64::from(sent), "{line}"),
            // Nothing but what is new: about 100 bytes, and headers.
            false => assert!(slot.redundant == 0 && size < 170, "{line}"),
        }
    }
}
