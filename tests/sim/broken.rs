//! Networks that break: nothing passes for a while, and clients that come back from another address. Numbers are those of the reliability figures
//! in `tests/README.md`.

use crate::call::call;
use crate::net::{MS, Micros, Path, SECOND};
use crate::world::World;
use sfu_core::Event;
use std::net::SocketAddr;

/// An empty receiver report: something that is said often, as media of one's own.
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

/// A round trip of 100 ms.
const FAR: Path = Path { delay: 50 * MS, ..Path::CLEAN };

/// When frames were whole at the subscriber, in order.
fn whole(world: &World) -> Vec<Micros> {
    let frames = world.subscribers[0].slots[0].frames.values();
    let mut whole: Vec<Micros> = frames.filter_map(|frame| frame.complete).collect();
    whole.sort_unstable();
    whole
}

fn assert_nobody_closed(world: &World) {
    let closed = |event: &Event| matches!(event, Event::TransportClosed { .. });
    assert!(!world.events.iter().any(|(_, event)| closed(event)));
}

#[test]
fn figure_08_five_seconds_without_a_network_cost_no_reconnect() {
    // Nobody had a network, or only somebody who watches, who asks for no keyframe.
    for (seed, all) in [1, 2, 3].into_iter().flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut world = call(seed, FAR);
        let paths = (world.net.up, world.net.down);
        let viewer = world.subscribers[0].endpoint.address;
        if all {
            (world.net.up.loss, world.net.down.loss) = (1.0, 1.0);
        } else {
            world.subscribers[0].patient = true;
            world.net.lose(viewer);
        }
        world.run_seconds(5);
        (world.net.up, world.net.down) = paths;
        world.net.find(viewer);
        let back = world.now;
        world.run_seconds(5);
        assert_nobody_closed(&world);
        // A keyframe is needed, for none of the frames before it came.
        let shown = world.subscribers[0].slots[0]
            .frames
            .values()
            .filter_map(|frame| frame.complete.filter(|at| *at > back && frame.stamp.keyframe));
        let first = shown.min().expect("a keyframe") - back;
        assert!(first <= SECOND, "seed {seed}: the first frame after {first} µs");
        let last_second = whole(&world).iter().filter(|at| **at > world.now - SECOND).count();
        assert!(last_second >= 29, "seed {seed}: {last_second} frames in the last second");
        world.taps[0].assert_continuous(world.ssrc(0, 0));
    }
}

#[test]
fn figure_09_a_client_that_changes_its_network_misses_little() {
    let mut world = call(4, FAR);
    let mut gaps = Vec::new();
    for step in 0..100_u16 {
        let address = SocketAddr::from(([192, 0, 2, 9], 5000 + step));
        world.subscribers[0].endpoint.priority += 1;
        let (moved, old) = (world.now, world.subscribers[0].endpoint.address);
        world.move_subscriber(0, address);
        world.net.lose(old);
        world.run(2 * SECOND + u64::from(step) * 7 * MS % SECOND);
        let whole = whole(&world);
        let around = whole.windows(2).filter(|pair| pair[1] > moved);
        gaps.push(around.map(|pair| pair[1] - pair[0]).max().expect("frames"));
    }
    gaps.sort_unstable();
    let (p95, most) = (gaps[94], gaps[99]);
    assert!(p95 <= 500 * MS && most <= SECOND, "p95 {p95} µs, at most {most} µs");
    assert_nobody_closed(&world);
    world.taps[0].assert_continuous(world.ssrc(0, 0));
}

/// Times without a new frame at a client whose NAT rebinds again and again, in silence; sorted. It says something every 50 ms if it `talks`.
fn gaps_behind_a_nat(talks: bool, answers: bool) -> Vec<Micros> {
    let mut world = call(4, FAR);
    world.subscribers[0].endpoint.answers = answers;
    world.subscribers[0].endpoint.send_rtcp_bytes(REPORT.to_vec());
    world.run(SECOND);
    let home = world.subscribers[0].endpoint.address.ip();
    let mut gaps = Vec::new();
    for step in 0..40_u16 {
        let moved = world.now;
        world.rebind_subscriber(0, SocketAddr::new(home, 5000 + step));
        // At every moment between two checks.
        let end = moved + 10 * SECOND + u64::from(step) * 137 * MS % (2500 * MS);
        while world.now < end {
            if talks {
                world.subscribers[0].endpoint.send_rtcp_bytes(REPORT.to_vec());
            }
            world.run(50 * MS);
        }
        let whole = whole(&world);
        let around = whole.windows(2).filter(|pair| pair[1] > moved);
        gaps.push(around.map(|pair| pair[1] - pair[0]).max().expect("frames"));
    }
    assert_nobody_closed(&world);
    world.taps[0].assert_continuous(world.ssrc(0, 0));
    gaps.sort_unstable();
    gaps
}

#[test]
fn figure_09_a_nat_that_rebinds_in_silence_is_found_by_a_check_of_ours() {
    let gaps = gaps_behind_a_nat(true, true);
    assert!(gaps[37] <= 500 * MS && gaps[39] <= SECOND, "{gaps:?} µs");
    // Who only watches says something every second, and nothing of what comes can be known for it before.
    let gaps = gaps_behind_a_nat(false, true);
    assert!(gaps[39] <= 1500 * MS, "{gaps:?} µs");
}

#[test]
fn figure_09_where_checks_of_ours_are_not_answered_the_clients_next_one_and_media_do() {
    // Up to the next check, until nothing has come from the old address for a while, and a round trip with a keyframe.
    let longest = gaps_behind_a_nat(true, false)[39];
    assert!((SECOND..=3 * SECOND).contains(&longest), "{longest} µs");
    // Who only watches says something every second.
    let longest = gaps_behind_a_nat(false, false)[39];
    assert!(longest <= 5 * SECOND, "{longest} µs");
}
