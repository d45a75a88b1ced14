//! How soon a viewer who joins is shown the best.

use super::measure::Playback;
use super::scenario::{Meeting, Setup};
use crate::net::{Link, MS, Micros, SECOND};
use sfu_core::Event;

pub(super) const SEEDS: [u64; 3] = [1, 2, 3];
pub(super) const RTTS: [Micros; 3] = [20 * MS, 100 * MS, 300 * MS];

/// Every seed with every round trip.
pub(super) fn setups(seeds: &[u64]) -> impl Iterator<Item = Setup> {
    seeds.iter().flat_map(|&seed| RTTS.map(|rtt| Setup::new(seed, rtt)))
}

/// Time from the first packet on the link to the first frame of the top layer on the screen.
fn top_after(meeting: &mut Meeting, viewer: usize) -> Option<Micros> {
    let joined = meeting.viewers[viewer].joined;
    let slot = &meeting.world.subscribers[meeting.viewers[viewer].subscriber].slots[0];
    let first = slot.came.first()?.0;
    Playback::of(meeting, viewer).first(2, joined).map(|at| at.saturating_sub(first))
}

#[test]
fn start_the_top_layer_within_three_seconds_of_the_first_packet() {
    let mut misses = Vec::new();
    for setup in setups(&SEEDS) {
        for company in [true, false] {
            let mut meeting = Meeting::new(Setup { company, ..setup });
            let viewer = meeting.join(Link::new(5_000_000));
            meeting.run_seconds(6);
            let after = top_after(&mut meeting, viewer);
            if after.is_none_or(|after| after > 3 * SECOND) {
                misses.push((setup, company, after));
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// What nobody watches is not sent two seconds later, and what is needed again is asked for at once.
#[test]
fn wasted_upstream_is_nothing_after_two_seconds() {
    for setup in setups(&SEEDS[..1]) {
        let mut meeting = Meeting::new(setup);
        let viewer = meeting.join(Link::new(800_000));
        meeting.run_seconds(10);
        let unwatched = |meeting: &mut Meeting| {
            let layers = &meeting.world.publishers[0].video().layers;
            layers.iter().map(|layer| layer.active).collect::<Vec<_>>()
        };
        assert_eq!(unwatched(&mut meeting), [false, true, false], "{setup:?}: {:?}", meeting.told);
        let subscriber = meeting.viewers[viewer].subscriber;
        let left = meeting.world.now;
        meeting.world.bind(subscriber, 0, None);
        meeting.run_seconds(2);
        assert_eq!(unwatched(&mut meeting), [false; 3], "{setup:?}: {:?}", meeting.told);
        let stopped = meeting.sending.last().expect("a change").0 - left;
        assert!(stopped <= 2 * SECOND, "{setup:?}: after {stopped} µs");
        meeting.run_seconds(3);
        let back = meeting.world.now;
        meeting.world.bind(subscriber, 0, Some(crate::world::World::video_of(0)));
        meeting.run_seconds(3);
        let (told, wanted) = *meeting.told.iter().find(|(at, _)| *at >= back).expect("a wish");
        assert!(
            told - back <= 50 * MS && wanted != 0,
            "{setup:?}: {wanted} after {} µs",
            told - back
        );
        let first = Playback::of(&meeting, viewer).first(0, back).expect("a picture") - back;
        // Signaling and encoder take 100 ms, the way to the viewer a round trip.
        assert!(first <= 250 * MS + 2 * setup.rtt, "{setup:?}: {first} µs");
    }
}

/// A link that does not even carry the audio is no reason to end anything.
#[test]
fn nobody_is_disconnected() {
    let mut meeting = Meeting::new(Setup::new(1, 100 * MS));
    meeting.join(Link::new(60_000));
    meeting.run_seconds(40);
    let closed = |event: &Event| matches!(event, Event::TransportClosed { .. });
    assert!(!meeting.world.events.iter().any(|(_, event)| closed(event)));
}
