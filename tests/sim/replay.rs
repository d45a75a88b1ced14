//! Late viewers: they begin with the last keyframe, whoever the publisher is, and are soon where the early ones are.

use crate::net::{MS, Micros, Path, SECOND};
use crate::params::mapping;
use crate::publisher;
use crate::tap::Sent;
use crate::tracks::FRAME;
use crate::world::{SlotSpec, Tracks, World};
use sfu_core::params::Binding;
use sfu_core::{Command, DropReason};
use std::collections::HashMap;

const PLAIN: Tracks = Tracks { rids: &[], video: true, audio: false };

/// One that makes a keyframe every so often, and not when it is asked (FFmpeg, OBS); somebody has watched it for three seconds.
fn deaf(path: Path, period: Micros) -> World {
    let mut world = World::new(5, path, path);
    world.add_publisher(PLAIN);
    world.publishers[0].keyframe_period = Some(period);
    join(&mut world);
    world.run_seconds(3);
    world
}

fn join(world: &mut World) -> usize {
    let viewer = world.add_subscriber(&[SlotSpec::VIDEO]);
    world.bind(viewer, 0, Some(World::video_of(0)));
    viewer
}

pub(crate) fn sent(world: &World, viewer: usize) -> &[Sent] {
    world.taps[viewer].sent.get(&world.ssrc(viewer, 0)).map_or(&[], Vec::as_slice)
}

/// When the last packet of each frame left, by frame number.
fn left(world: &World, viewer: usize) -> HashMap<u32, Micros> {
    sent(world, viewer).iter().map(|sent| (sent.stamp.frame, sent.at)).collect()
}

/// The viewer's outgoing time minus the first viewer's, for the same frame; `None` before the replay's end.
fn shifts(world: &World, viewer: usize, since: Micros) -> Vec<u32> {
    let early: HashMap<u32, u32> =
        sent(world, 0).iter().map(|sent| (sent.stamp.frame, sent.timestamp)).collect();
    let late = sent(world, viewer).iter().filter(|sent| sent.at >= since);
    late.map(|sent| sent.timestamp.wrapping_sub(early[&sent.stamp.frame])).collect()
}

/// From three seconds after joining a viewer has what the first one has, at the same time and on the same timeline.
pub(crate) fn assert_caught_up(world: &World, viewer: usize, joined: Micros) {
    let packets = sent(world, viewer);
    assert!(packets[0].stamp.keyframe && packets[0].stamp.index == 0, "{:?}", packets[0]);
    world.taps[viewer].assert_continuous(world.ssrc(viewer, 0));
    let (early, late) = (left(world, 0), left(world, viewer));
    let since = joined + 3 * SECOND;
    let lags = late
        .iter()
        .filter(|(_, at)| **at >= since)
        .map(|(frame, at)| at.saturating_sub(early[frame]));
    let lag = lags.max().expect("frames after three seconds");
    assert!(lag <= 5 * MS, "{lag} µs behind the first viewer");
    // On one timeline, too: sound and picture stay together.
    let shifts = shifts(world, viewer, since);
    assert!(shifts.iter().all(|shift| *shift == shifts[0]), "{shifts:?}");
}

#[test]
fn a_late_viewer_of_a_deaf_publisher_begins_at_once_and_catches_up() {
    let mut world = deaf(Path::CLEAN, 8 * SECOND);
    for round in 0..20 {
        // At every age of the keyframe.
        world.run(3 * SECOND + round * 397 * MS);
        let joined = world.now;
        let viewer = join(&mut world);
        world.run(5 * SECOND);
        let first = sent(&world, viewer)[0];
        // Whether a publisher answers is learned with the first of them.
        let bound = if round == 0 { 200 * MS } else { 40 * MS };
        assert!(first.at - joined <= bound, "the first packet after {} µs", first.at - joined);
        assert_caught_up(&world, viewer, joined);
        // No slot sends more than its share.
        let mut slots: HashMap<Micros, usize> = HashMap::new();
        for packet in sent(&world, viewer) {
            *slots.entry(packet.at / (5 * MS)).or_default() += 1;
        }
        let most = slots.values().max().copied().unwrap_or(0);
        assert!(most <= 34, "{most} packets in 5 ms");
    }
    let asked = world.publishers[0].keyframe_requests.len();
    assert!(asked <= 20, "a publisher that does not answer was asked {asked} times");
}

/// While a keyframe is repeated by the clock, the receiver's clock goes on: what is shown in fast motion has the times of the live picture.
#[test]
fn what_is_replayed_is_dated_as_live() {
    let mut world = deaf(Path::CLEAN, 8 * SECOND);
    world.run(6 * SECOND);
    let joined = world.now;
    let viewer = join(&mut world);
    world.run(6 * SECOND);
    let shift = shifts(&world, viewer, joined + 4 * SECOND)[0];
    let early = sent(&world, 0).to_vec();
    let behind = |packet: &Sent| {
        let live = early.iter().rev().find(|live| live.at <= packet.at).expect("a live packet");
        let ahead = packet.timestamp.wrapping_sub(live.timestamp.wrapping_add(shift)) as i32;
        ahead / 90
    };
    let replayed: Vec<i32> = sent(&world, viewer).iter().map(behind).collect();
    assert!(replayed.len() > 900, "{} packets", replayed.len());
    let frame = (FRAME / MS) as i32;
    assert!(replayed.iter().all(|ms| (-frame..frame).contains(ms)), "{replayed:?}");
}

/// What is left of the old group of pictures is not worth sending any more.
#[test]
fn a_new_keyframe_ends_a_replay() {
    let mut world = deaf(Path::CLEAN, 8 * SECOND);
    let key =
        |world: &World| world.publishers[0].video.as_ref().unwrap().layers[0].frames_since_key;
    while key(&world) < 230 {
        world.run(FRAME);
    }
    let joined = world.now;
    let viewer = join(&mut world);
    world.run(5 * SECOND);
    assert_caught_up(&world, viewer, joined);
    let frames = left(&world, viewer);
    let (first, last) = (frames.keys().min().unwrap(), frames.keys().max().unwrap());
    assert!((frames.len() as u32) < last - first - 20, "all of {first} to {last} were sent");
}

#[test]
fn hundreds_of_viewers_make_two_requests_a_second_and_all_begin_at_once() {
    let mut world = World::new(9, Path::CLEAN, Path::CLEAN);
    world.add_publisher(PLAIN);
    join(&mut world);
    world.run_seconds(3);
    let before = world.publishers[0].keyframe_requests.len();
    let mut joined = Vec::new();
    for index in 0..200_u64 {
        joined.push((join(&mut world), world.now));
        world.run((7 + index * 31 % 40) * MS);
    }
    world.run_seconds(4);
    let asked = world.publishers[0].keyframe_requests.len() - before;
    assert!((2..=11).contains(&asked), "{asked} requests in 5.3 s");
    for (viewer, at) in joined {
        let first = sent(&world, viewer)[0].at - at;
        assert!(first <= 100 * MS, "the first packet after {first} µs");
        assert_caught_up(&world, viewer, at);
    }
}

/// A slot that goes on to another track: one sequence, time that goes forward.
#[test]
fn a_slot_goes_on_with_the_last_keyframe_of_another_track() {
    let mut world = deaf(Path::CLEAN, 8 * SECOND);
    world.add_publisher(PLAIN);
    let viewer = world.add_subscriber(&[SlotSpec::VIDEO]);
    world.bind(viewer, 0, Some(World::video_of(1)));
    world.run(3500 * MS);
    let bound = world.now;
    world.bind(viewer, 0, Some(World::video_of(0)));
    world.run(5 * SECOND);
    let ssrc = world.ssrc(viewer, 0);
    world.taps[viewer].assert_continuous(ssrc);
    let of_first = sent(&world, viewer).iter().find(|sent| sent.stamp.track == 1).unwrap();
    assert!(of_first.stamp.keyframe && of_first.at - bound <= 200 * MS, "{of_first:?}");
    let times: Vec<&Sent> = sent(&world, viewer).iter().collect();
    let jump = times.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp)).max();
    assert!(jump <= Some(200 * 90), "{jump:?} ticks between two frames");
}

/// Packets that get lost on the way in are there in time, or excused while they are asked for.
#[test]
fn loss_on_both_ways_does_not_keep_late_viewers_from_beginning() {
    let mut world = deaf(Path::lossy(0.02), 8 * SECOND);
    let mut slow = 0;
    for _ in 0..20 {
        world.run(1379 * MS);
        let joined = world.now;
        let viewer = join(&mut world);
        world.run(4 * SECOND);
        let first = world.subscribers[viewer].slots[0].frames.values().find_map(|f| f.complete);
        let first = first.expect("a whole frame") - joined;
        slow += u32::from(first > 600 * MS);
        let since = world.now - SECOND;
        let frames = world.subscribers[viewer].slots[0].frames.values();
        let whole = frames.filter(|frame| frame.complete.is_some_and(|at| at >= since)).count();
        assert!(whole >= 28, "{whole} whole frames in the last second");
    }
    assert!(slow <= 2, "{slow} of 20 waited longer than 600 ms for their first frame");
}

/// A viewer whose picture broke need not wait for the next keyframe either; asking more often brings no more.
#[test]
fn a_deaf_publishers_last_keyframe_is_sent_again_when_a_viewer_asks() {
    let mut world = deaf(Path::CLEAN, 8 * SECOND);
    let viewer = join(&mut world);
    world.run(3500 * MS);
    let (asked, before) = (world.now, sent(&world, viewer).len());
    for _ in 0..14 {
        world.subscribers[viewer].send_pli(0);
        world.run(100 * MS);
    }
    let again = sent(&world, viewer)[before..].iter().filter(|sent| sent.stamp.keyframe);
    let again: Vec<&Sent> = again.filter(|sent| sent.stamp.index == 0).collect();
    assert_eq!(again.len(), 1, "keyframes in 1.4 seconds");
    assert!(
        again[0].at - asked <= 20 * MS,
        "asked at {asked} µs: {again:?}, {:?}",
        world.publishers[0].keyframe_requests
    );
    world.run(4 * SECOND);
    assert_caught_up(&world, viewer, asked);
}

/// Who turns the camera off does not expect that anything from before is shown, or anything that a client sent all the same.
#[test]
fn nothing_from_before_the_end_of_a_mute_is_replayed() {
    let mut world = deaf(Path::CLEAN, 4 * SECOND);
    let producer = World::video_of(0);
    for _ in 0..3 {
        let viewer = join(&mut world);
        world.run(1300 * MS);
        world.command(Command::PauseProducer { producer, paused: true });
        let late = join(&mut world);
        // A keyframe comes meanwhile.
        world.run(4700 * MS);
        world.command(Command::PauseProducer { producer, paused: false });
        let unmuted = world.now;
        world.run(6 * SECOND);
        for viewer in [viewer, late] {
            let after = sent(&world, viewer).iter().filter(|sent| sent.at >= unmuted);
            let captured: Vec<Micros> = after.map(|sent| sent.stamp.capture).collect();
            assert!(!captured.is_empty(), "it goes on with the next keyframe");
            assert!(captured.iter().all(|at| *at >= unmuted - 20 * MS), "{captured:?}");
            world.taps[viewer].assert_continuous(world.ssrc(viewer, 0));
        }
    }
}

/// A replay that cannot show anything is not tried again and again.
#[test]
fn a_viewer_without_the_format_costs_little() {
    let mut world = deaf(Path::CLEAN, 8 * SECOND);
    let viewer = world.add_subscriber(&[SlotSpec::VIDEO]);
    let payload_types = vec![mapping(publisher::VP8 + 20, 100, None, true)];
    world.command(Command::BindConsumer {
        consumer: World::consumer(viewer, 0),
        binding: Some(Binding { producer: World::video_of(0), payload_types }),
    });
    world.run(4 * SECOND);
    let judged = world.engine.drops().get(DropReason::NotNegotiated);
    // 150 live packets a second, and the first one of each replay.
    assert!((500..650).contains(&judged), "{judged} packets were looked at");
}
