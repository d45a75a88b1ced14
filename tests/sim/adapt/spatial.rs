//! Spatial layers inside one stream: what is shown of them, and what the publisher is spared.
#![allow(clippy::print_stdout)]

use super::goals::{best, last};
use super::measure::{Playback, bitrate, queue_p95};
use super::scenario::{Meeting, Setup};
use super::start::{SEEDS, setups};
use crate::net::{Link, MS, Micros, SECOND};
use crate::svc::{Format, Mode};
use sfu_core::params::Demand;

const WIDE: u64 = 5_000_000;

fn modes() -> impl Iterator<Item = Mode> {
    let of = |format, key| Mode { spatial: 3, temporal: 1, key, format };
    [(Format::Av1, true), (Format::Av1, false), (Format::Vp9, true), (Format::Vp9, false)]
        .into_iter()
        .map(move |(format, key)| of(format, key))
}

/// With each of the modes; with one of them also where the viewers are on another worker.
fn meetings(seeds: &[u64]) -> impl Iterator<Item = (Setup, String)> {
    let far = modes().take(1).map(|mode| (mode, true));
    modes().map(|mode| (mode, false)).chain(far).flat_map(|(mode, far)| {
        setups(seeds).map(move |setup| {
            let what = format!(
                "{:?}{}, seed {}, {} ms{}",
                mode.format,
                if mode.key { " by key pictures" } else { "" },
                setup.seed,
                setup.rtt / MS,
                if far { ", another worker" } else { "" },
            );
            (Setup { svc: Some(mode), far, ..setup }, what)
        })
    })
}

fn wide(width: u16) -> Demand {
    Demand { width, height: width / 16 * 9, ..Demand::default() }
}

/// When the publisher was first told so since `from`.
fn told(meeting: &Meeting, from: Micros, layers: Option<u8>) -> Option<Micros> {
    let told = meeting.spatial.iter().find(|&&(at, told)| at >= from && told == layers);
    told.map(|(at, _)| at - from)
}

#[test]
fn the_best_layer_that_fits_is_shown_and_those_above_it_rest() {
    let mut misses = Vec::new();
    for (setup, what) in meetings(&SEEDS[..1]) {
        for rate in [450, 800, 1000, 1500, 2200, 2500, 3500, 10_000].map(|kbps| kbps * 1000) {
            let mut meeting = Meeting::new(setup);
            let viewer = meeting.join(Link::new(rate));
            meeting.run_seconds(40);
            let during = last(&meeting, 30 * SECOND);
            let best = best(rate);
            let playback = Playback::of(&meeting, viewer);
            let above: f64 = (best..3).map(|layer| playback.share(layer, during.clone())).sum();
            let queue = queue_p95(&mut meeting, viewer, during.clone());
            let limit = if rate >= 1_000_000 { 50 * MS } else { 120 * MS };
            let frozen = playback.frozen(during.clone());
            let rests = meeting.spatial.last().map_or(3, |(_, layers)| layers.unwrap_or(3));
            let line = format!(
                "{what}, {} kbit/s: layer {best} or better {:.1} % of the time, {} changes, {rests} sent, p95 in the queue {} ms, frozen {:.1} %",
                rate / 1000,
                above * 100.0,
                playback.changes(during).len(),
                queue / MS,
                frozen * 100.0
            );
            println!("{line}");
            if above < 0.95 || queue > limit || frozen > 0.005 || best < 2 && rests != best + 1 {
                misses.push(line);
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

#[test]
fn a_small_element_lets_layers_rest_and_a_large_one_has_them_soon() {
    let mut misses = Vec::new();
    for (setup, what) in meetings(&SEEDS) {
        let mut meeting = Meeting::new(setup);
        let viewer = meeting.join(Link::new(WIDE));
        meeting.run_seconds(8);
        for (width, layers) in [(320, 1), (640, 2), (320, 1), (640, 2)] {
            let at = meeting.world.now;
            meeting.demand(viewer, 0, wide(width));
            meeting.run_seconds(5);
            let rests = told(&meeting, at, Some(layers));
            if rests.is_none_or(|after| after > 2 * SECOND) {
                misses.push(format!("{what}: {layers} layers after {rests:?}"));
            }
        }
        let at = meeting.world.now;
        meeting.demand(viewer, 0, wide(1280));
        meeting.run_seconds(4);
        let playback = Playback::of(&meeting, viewer);
        let asked = told(&meeting, at, None);
        let top = playback.first(2, at).map(|top| (top - at) / MS);
        let freeze = playback.longest_freeze(0..meeting.world.now) / MS;
        println!(
            "{what}: asked for after {asked:?}, seen after {top:?} ms, longest freeze {freeze} ms"
        );
        let soon = asked.is_some_and(|after| after <= 50 * MS);
        if !soon || top.is_none_or(|top| top > 1000) || freeze > 400 {
            misses.push(format!("{what}: asked {asked:?}, seen {top:?}, a freeze of {freeze} ms"));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

#[test]
fn a_link_becomes_narrow_and_wide_again() {
    let mut misses = Vec::new();
    for (setup, what) in meetings(&SEEDS) {
        for low in [1_500_000, 1_000_000, 400_000] {
            let mut meeting = Meeting::new(setup);
            let viewer = meeting.join(Link::new(3_000_000));
            meeting.run_seconds(10);
            let fell = meeting.world.now;
            let before = bitrate(&meeting, viewer, fell - 2 * SECOND..fell);
            meeting.link(viewer).rate = low;
            meeting.run_seconds(15);
            let sent = bitrate(&meeting, viewer, fell + SECOND..fell + 2 * SECOND);
            let rests = meeting.spatial.last().and_then(|(_, layers)| *layers);
            let back = meeting.world.now;
            meeting.link(viewer).rate = 3_000_000;
            meeting.run_seconds(12);
            let again = bitrate(&meeting, viewer, back + 6 * SECOND..back + 8 * SECOND);
            let playback = Playback::of(&meeting, viewer);
            let freeze = playback.longest_freeze(fell..meeting.world.now) / MS;
            let top = playback.first(2, back).map(|at| (at - back) / MS);
            let line = format!(
                "{what}, {} kbit/s: {} kbit/s after a second, {rests:?} layers, freeze {freeze} ms; the top after {top:?} ms, {} of {} kbit/s",
                low / 1000,
                sent / 1000,
                again / 1000,
                before / 1000
            );
            println!("{line}");
            // A seventh is left: the queue is full before anybody can know, and the keyframe comes from half a round trip away.
            let longest = if setup.rtt > 100 * MS && low < 1_000_000 { 700 } else { 500 };
            let rested = rests == Some(best(low) + 1);
            if sent > low
                || freeze > longest
                || !rested
                || top.is_none_or(|ms| ms > 8000)
                || again < before * 9 / 10
            {
                misses.push(line);
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

#[test]
fn who_has_more_room_is_not_held_down_and_takes_the_layers_along() {
    for (setup, what) in meetings(&SEEDS[..1]) {
        let mut meeting = Meeting::new(setup);
        let poor = meeting.join(Link::new(400_000));
        let rich = meeting.join(Link::new(WIDE));
        meeting.run_seconds(20);
        let during = last(&meeting, 10 * SECOND);
        let share = |viewer, layer| Playback::of(&meeting, viewer).share(layer, during.clone());
        assert!(share(rich, 2) > 0.99, "{what}: {}", share(rich, 2));
        assert!(share(poor, 0) > 0.99, "{what}: {}", share(poor, 0));
        assert_eq!(told(&meeting, during.start, Some(1)), None, "{what}");
        let at = meeting.world.now;
        meeting.demand(rich, 0, Demand { paused: true, ..Demand::default() });
        meeting.run_seconds(3);
        assert!(told(&meeting, at, Some(1)).is_some_and(|after| after <= 2 * SECOND), "{what}");
        let freeze = Playback::of(&meeting, poor).longest_freeze(at..meeting.world.now);
        assert!(freeze < 400 * MS, "{what}: {freeze}");
    }
}

/// What stands still is asked for as it was, and not for more and more.
#[test]
fn a_publisher_that_stalls_is_not_asked_for_layers_that_nobody_watches() {
    for (setup, what) in meetings(&SEEDS[..1]) {
        let mut meeting = Meeting::new(setup);
        let viewer = meeting.join(Link::new(WIDE));
        meeting.run_seconds(8);
        meeting.demand(viewer, 0, wide(320));
        meeting.run_seconds(5);
        assert_eq!(meeting.spatial.last().map(|(_, layers)| *layers), Some(Some(1)), "{what}");
        let at = meeting.world.now;
        meeting.world.publishers[0].video().enabled = false;
        meeting.run_seconds(7);
        for more in [Some(2), None] {
            assert_eq!(told(&meeting, at, more), None, "{what}: {more:?}");
        }
        meeting.world.publishers[0].video().enabled = true;
        let on = meeting.world.now;
        meeting.run_seconds(4);
        let again = Playback::of(&meeting, viewer).first(0, on);
        assert!(again.is_some_and(|again| again < on + SECOND), "{what}: {again:?}");
    }
}
