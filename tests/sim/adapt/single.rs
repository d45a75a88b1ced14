//! A picture of one layer, which no link can have less of.
#![allow(clippy::print_stdout)]

use super::measure::{Playback, audio};
use super::scenario::{Meeting, Setup};
use super::start::{SEEDS, setups};
use crate::net::{Link, MS, SECOND};
use crate::world::World;
use sfu_core::{Event, Limit};

/// The picture stutters or is not there; who talks is heard, no more than 300 ms later than the way takes, and the reason is told.
#[test]
fn a_link_too_narrow_for_it_carries_the_sound() {
    let mut misses = Vec::new();
    for setup in setups(&SEEDS) {
        for narrow in [1_200_000, 1_500_000, 1_800_000] {
            let mut meeting = Meeting::new(Setup { single: Some(2_200_000), ..setup });
            let viewer = meeting.join(Link::new(5_000_000));
            meeting.run_seconds(10);
            meeting.link(viewer).rate = narrow;
            let cut = meeting.world.now;
            meeting.run_seconds(20);
            let during = cut..meeting.world.now - SECOND;
            let heard = audio(&meeting, viewer, during.clone(), setup.rtt + 300 * MS);
            let consumer = World::consumer(meeting.viewers[viewer].subscriber, 0);
            let told = meeting.world.events.iter().rev().find_map(|(_, event)| match event {
                Event::ConsumerStatus { consumer: of, status } if *of == consumer => Some(status),
                _ => None,
            });
            let told = told.expect("a status");
            let (limit, lacks) = (told.limit, told.available < told.needed);
            meeting.link(viewer).rate = 5_000_000;
            let back = meeting.world.now;
            meeting.run_seconds(10);
            let playback = Playback::of(&meeting, viewer);
            let frozen = playback.frozen(during);
            let well = playback.frozen(back + 8 * SECOND..meeting.world.now);
            let what = format!(
                "seed {}, {} ms, {} kbit/s: {:.1} % heard, frozen {:.0} %, {limit:?} {lacks}, frozen {:.0} % afterwards",
                setup.seed,
                setup.rtt / MS,
                narrow / 1000,
                heard * 100.0,
                frozen * 100.0,
                well * 100.0
            );
            println!("{what}");
            if heard < 0.98 || limit != Limit::Bandwidth || !lacks || well > 0.0 {
                misses.push(what);
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// A camera that the system switched off, or a capture that hangs: nobody tells its publisher to rest meanwhile.
#[test]
fn a_publisher_that_stalled_is_seen_at_once_when_it_goes_on() {
    for single in [Some(1_000_000), None] {
        let mut meeting = Meeting::new(Setup { single, ..Setup::new(1, 20 * MS) });
        let viewer = meeting.join(Link::new(5_000_000));
        meeting.run_seconds(5);
        meeting.world.publishers[0].video().enabled = false;
        meeting.run_seconds(25);
        meeting.world.publishers[0].video().enabled = true;
        let back = meeting.world.now;
        meeting.run_seconds(3);
        let first = Playback::of(&meeting, viewer).first(0, back).map(|at| (at - back) / MS);
        assert!(first.is_some_and(|ms| ms <= 500), "{single:?}: {first:?} ms");
    }
}
