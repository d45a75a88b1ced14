//! Rooms of several, all of whom one viewer is shown behind one link.

use super::measure::Playback;
use super::scenario::{Meeting, Setup};
use super::start::{SEEDS, setups};
use crate::net::{Link, MS, Micros, SECOND};
use sfu_core::params::Demand;

/// A room of so many, and somebody who joins it behind such a link.
fn room(setup: Setup, rate: u64, people: usize) -> (Meeting, usize) {
    let mut meeting = Meeting::new(Setup { temporal: true, ..setup });
    (1..people).for_each(|_| meeting.add_publisher());
    meeting.run_seconds(2);
    let viewer = meeting.join_all(Link::new(rate));
    (meeting, viewer)
}

/// The longest time without a new picture since `from`.
fn longest_gap(meeting: &Meeting, viewer: usize, slot: usize, from: Micros) -> Micros {
    let shown = Playback::of_slot(meeting, viewer, slot).shown;
    let since = shown.iter().map(|frame| frame.at).filter(|at| *at >= from);
    let mut at: Vec<Micros> = since.chain([from, meeting.world.now]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// Who joins sees all of them, and goes on to see them while the link is being measured.
#[test]
fn pictures_that_appeared_go_on_while_the_link_is_being_measured() {
    let mut misses = Vec::new();
    for (rate, people) in [(2_000_000, 4), (2_000_000, 9), (5_000_000, 9)] {
        for setup in setups(&SEEDS) {
            let (mut meeting, viewer) = room(setup, rate, people);
            let joined = meeting.world.now;
            meeting.run_seconds(6);
            for slot in 0..people {
                let longest = longest_gap(&meeting, viewer, slot, joined);
                println!("{rate} bit/s, {people}, {} ms: {} ms", setup.rtt / MS, longest / MS);
                if longest > 1500 * MS {
                    misses.push((rate, people, setup, slot, longest));
                }
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// All need a keyframe of their lowest layer at once, through a link that is full. Who is given only some of its frames is given some.
#[test]
fn nobody_stands_still_for_two_seconds_when_the_link_of_a_room_is_cut() {
    let mut misses = Vec::new();
    for (before, rate, people) in [(3_000_000, 600_000, 4), (5_000_000, 1_500_000, 9)] {
        for setup in setups(&SEEDS) {
            let (mut meeting, viewer) = room(setup, before, people);
            meeting.run_seconds(12);
            let cut = meeting.world.now;
            meeting.link(viewer).rate = rate;
            meeting.run_seconds(10);
            let longest = (0..people).map(|slot| longest_gap(&meeting, viewer, slot, cut)).max();
            println!("{people} people, {setup:?}: {longest:?}");
            if longest > Some(2 * SECOND) {
                misses.push((people, setup, longest));
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// The speaker's element is large, the others are small.
#[test]
fn who_speaks_is_shown_large_within_a_second_and_the_others_go_on() {
    let small = Demand { width: 320, height: 180, ..Demand::default() };
    let large = Demand { width: 1280, height: 720, priority: 100, ..Demand::default() };
    for setup in setups(&SEEDS) {
        let (mut meeting, viewer) = room(setup, 3_000_000, 6);
        (0..6).for_each(|slot| meeting.demand(viewer, slot, small));
        meeting.run_seconds(8);
        let from = meeting.world.now;
        for speaker in 0..6 {
            meeting.demand(viewer, (speaker + 5) % 6, small);
            meeting.demand(viewer, speaker, large);
            let spoke = meeting.world.now;
            meeting.run_seconds(4);
            let large = Playback::of_slot(&meeting, viewer, speaker).first(2, spoke);
            assert!(large.is_some_and(|at| at - spoke <= SECOND), "{setup:?}: {large:?}");
        }
        let longest = (0..6).map(|slot| longest_gap(&meeting, viewer, slot, from)).max();
        assert!(longest <= Some(500 * MS), "{setup:?}: {longest:?}");
    }
}
