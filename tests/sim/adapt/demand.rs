//! What a viewer has no use for is not sent.

use super::measure::Playback;
use super::scenario::{LAYERS, Meeting, Setup};
use super::start::{SEEDS, setups};
use crate::net::{Link, MS, SECOND};
use crate::tap::Sent;
use crate::world::{Tracks, World};
use sfu_core::params::Demand;
use sfu_core::{Event, Limit};

#[test]
fn hidden_tiles_cost_nothing() {
    for setup in setups(&SEEDS[..1]) {
        let mut meeting = Meeting::new(setup);
        let viewer = meeting.join(Link::new(5_000_000));
        meeting.run_seconds(5);
        meeting.demand(viewer, 0, Demand { paused: true, ..Demand::default() });
        let hidden = meeting.world.now;
        meeting.run_seconds(5);
        let slot = &meeting.world.subscribers[meeting.viewers[viewer].subscriber].slots[0];
        // What was under way still comes.
        let late = hidden + 100 * MS + setup.rtt / 2;
        let came: usize = slot.came.iter().filter(|(at, _)| *at > late).map(|(_, b)| b).sum();
        assert_eq!(came, 0, "{setup:?}");
        meeting.demand(viewer, 0, Demand::default());
        let back = meeting.world.now;
        meeting.run_seconds(3);
        let playback = Playback::of(&meeting, viewer);
        let first = playback.first(0, back).expect("a picture") - back;
        assert!(first <= 250 * MS + 2 * setup.rtt, "{setup:?}: {first} µs");
        let top = playback.first(2, back).expect("the top layer") - back;
        assert!(top <= SECOND + 2 * setup.rtt, "{setup:?}: {top} µs");
    }
}

#[test]
fn a_small_element_gets_a_small_layer() {
    for setup in setups(&SEEDS[..1]) {
        let mut meeting = Meeting::new(setup);
        let viewer = meeting.join(Link::new(5_000_000));
        meeting.demand(viewer, 0, Demand { width: 320, height: 180, ..Demand::default() });
        meeting.run_seconds(6);
        let now = meeting.world.now;
        let playback = Playback::of(&meeting, viewer);
        assert!(playback.share(0, now - 2 * SECOND..now) > 0.99, "{:?}", playback.changes(0..now));
        meeting.demand(viewer, 0, Demand { width: 1280, height: 720, ..Demand::default() });
        meeting.run_seconds(4);
        let playback = Playback::of(&meeting, viewer);
        let top = playback.first(2, now).expect("the top layer") - now;
        assert!(top <= SECOND + 2 * setup.rtt, "{setup:?}: {top} µs");
        meeting.demand(viewer, 0, Demand { width: 320, height: 180, ..Demand::default() });
        let small = meeting.world.now;
        meeting.run_seconds(3);
        let playback = Playback::of(&meeting, viewer);
        let changes = playback.changes(now..meeting.world.now);
        assert!(
            playback.share(0, small + SECOND..small + 3 * SECOND) > 0.99,
            "{setup:?}: {changes:?} since {small}, {:?}",
            meeting.told
        );
        assert_eq!(playback.longest_freeze(now..meeting.world.now), 0, "{setup:?}");
    }
}

/// A slot that begins again on a layer which rested until then goes on in time: what the layer sent before it rested is not what is live.
#[test]
fn a_layer_that_rested_goes_on_in_time() {
    let small = Demand { width: 320, height: 180, ..Demand::default() };
    let mut meeting = Meeting::new(Setup::new(1, 300 * MS));
    let [viewer, other] = [(); 2].map(|()| meeting.join(Link::new(5_000_000)));
    meeting.demand(other, 0, small);
    meeting.run_seconds(5);
    meeting.demand(other, 0, Demand { paused: true, ..small });
    meeting.run_seconds(4);
    let begins = meeting.world.now;
    meeting.demand(viewer, 0, Demand { paused: true, ..small });
    meeting.run(20 * MS);
    meeting.demand(viewer, 0, small);
    meeting.run_seconds(4);
    let subscriber = meeting.viewers[viewer].subscriber;
    let ssrc = meeting.world.ssrc(subscriber, 0);
    let sent = &meeting.world.taps[subscriber].sent[&ssrc];
    let before = sent.iter().rfind(|sent| sent.at < begins).expect("a picture");
    // Milliseconds by which the timeline is ahead of what it was.
    let ahead = |sent: &Sent| {
        let out = i64::from(sent.timestamp.wrapping_sub(before.timestamp) as i32) / 90;
        out - (sent.stamp.capture as i64 - before.stamp.capture as i64) / 1000
    };
    let low = sent.iter().filter(|sent| sent.at > begins && sent.stamp.layer == 0);
    let ahead: Vec<i64> = low.map(ahead).collect();
    assert!(ahead.len() > 60 && ahead.iter().all(|ms| ms.abs() < 100), "{ahead:?}");
}

/// Two tracks on a link that carries one and a half: the pinned one has the top layer.
#[test]
fn the_pinned_slot_is_served_first() {
    let mut misses = Vec::new();
    for setup in setups(&SEEDS) {
        let mut meeting = Meeting::new(setup);
        let tracks = Tracks { rids: &["q", "h", "f"], video: true, audio: false };
        let other = meeting.world.add_publisher(tracks);
        for (layer, rate) in LAYERS.into_iter().enumerate() {
            meeting.world.publishers[other].video().set_bitrate(layer, rate);
        }
        meeting.run_seconds(1);
        let viewer = meeting.join(Link::new(2_800_000));
        let subscriber = meeting.viewers[viewer].subscriber;
        meeting.world.bind(subscriber, 2, Some(World::video_of(other)));
        meeting.demand(viewer, 0, Demand { priority: 1, ..Demand::default() });
        meeting.run_seconds(20);
        let now = meeting.world.now;
        let during = now - 10 * SECOND..now;
        let pinned = Playback::of_slot(&meeting, viewer, 0);
        let beside = Playback::of_slot(&meeting, viewer, 2);
        let top = |playback: &Playback| playback.share(2, during.clone());
        if top(&pinned) < 0.7 || top(&beside) > 0.05 {
            misses.push((setup, top(&pinned), top(&beside), pinned.changes(0..now)));
        }
        // Pinned the other way round, they change places.
        meeting.demand(viewer, 0, Demand::default());
        meeting.demand(viewer, 2, Demand { priority: 1, ..Demand::default() });
        meeting.run_seconds(8);
        let now = meeting.world.now;
        let during = now - 4 * SECOND..now;
        let pinned = Playback::of_slot(&meeting, viewer, 2);
        if pinned.share(2, during.clone()) < 0.7 {
            misses.push((setup, pinned.share(2, during), 0.0, pinned.changes(0..now)));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// OBS lists the largest encoding first: everybody would be shown the smallest, as the best that there is.
#[test]
fn encodings_from_the_largest_to_the_lowest_are_noticed() {
    let [low, middle, high] = [(320, 180), (640, 360), (1280, 720)];
    let falling = [1_700_000, 1_100_000, 500_000];
    for (sizes, rates, told) in [
        ([high, middle, low], falling, 1),
        // An uplink without room.
        ([low, middle, high], falling, 0),
        ([low, middle, high], LAYERS, 0),
    ] {
        let mut meeting = Meeting::new(Setup::new(1, 40 * MS));
        let video = meeting.world.publishers[0].video();
        for (index, (rate, size)) in rates.into_iter().zip(sizes).enumerate() {
            video.set_bitrate(index, rate);
            let layer = &mut video.layers[index];
            (layer.active, layer.keyframe, layer.size) = (true, true, size);
        }
        meeting.join(Link::new(50_000_000));
        // It sends all of them, whatever it is told.
        for _ in 0..80 {
            meeting.world.run(100 * MS);
        }
        let reversed = meeting.world.events.iter().filter(|(_, event)| {
            matches!(event, Event::EncodingsReversed { producer } if *producer == World::video_of(0))
        });
        assert_eq!(reversed.count(), told, "{rates:?} {sizes:?}");
    }
}

/// The larger picture flows for others; it is shown from its next keyframe on, and until then that is the cause.
#[test]
fn who_waits_for_a_keyframe_is_told_so() {
    let mut meeting = Meeting::new(Setup { company: true, ..Setup::new(1, 40 * MS) });
    let viewer = meeting.join(Link::new(20_000_000));
    let sized = |width, height| Demand { width, height, ..Demand::default() };
    meeting.demand(viewer, 0, sized(320, 180));
    meeting.run_seconds(4);
    let from = meeting.world.events.len();
    meeting.demand(viewer, 0, sized(1280, 720));
    meeting.run_seconds(2);
    let own = World::consumer(meeting.viewers[viewer].subscriber, 0);
    let limits = meeting.world.events[from..].iter().filter_map(|(_, event)| match event {
        Event::ConsumerStatus { consumer, status } if *consumer == own => Some(status.limit),
        _ => None,
    });
    let limits: Vec<Limit> = limits.collect();
    assert_eq!(limits.first(), Some(&Limit::WaitingKeyframe), "{limits:?}");
    assert_eq!(limits.last(), Some(&Limit::None), "{limits:?}");
}
