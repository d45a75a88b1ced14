//! A room on two workers: the publisher on one, subscribers on both.

use crate::net::{MS, Micros, Path, SECOND};
use crate::params::{audio_params, video_params};
use crate::pipes::PIPE_DELAY;
use crate::replay::{assert_caught_up, sent};
use crate::world::{SlotSpec, Tracks, World};
use sfu_core::params::{PreferredLayer, ProducerParams};
use sfu_core::{Command, DropReason, ProducerId, TransportId, WorkerId};

const NEAR: WorkerId = WorkerId(0);
pub(crate) const FAR: WorkerId = WorkerId(1);
const SLOTS: [SlotSpec; 2] = [SlotSpec::VIDEO, SlotSpec::AUDIO];
/// There and back, and the raster of arrivals.
const ROUND_TRIP: Micros = 2 * Path::CLEAN.delay + MS;

/// A publisher and a subscriber on the first worker, two subscribers on the second.
fn room(rids: &'static [&'static str], down: Path) -> World {
    let mut world = World::new(11, Path::CLEAN, down);
    world.add_worker();
    world.add_publisher(Tracks { rids, video: true, audio: true });
    subscribe(&mut world, NEAR);
    pipe(&mut world, World::video_of(0), video_params(rids, 1));
    pipe(&mut world, World::audio_of(0), audio_params(2));
    subscribe(&mut world, FAR);
    subscribe(&mut world, FAR);
    world
}

/// As control does it when the first slot over there shows a track.
pub(crate) fn pipe(world: &mut World, producer: ProducerId, params: ProducerParams) {
    world.worker = FAR;
    let params = Box::new(params);
    world.command(Command::CreatePipedProducer { producer, from: NEAR, params });
    world.worker = NEAR;
    world.command(Command::OpenPipe { producer, to: FAR });
}

fn subscribe(world: &mut World, worker: WorkerId) -> usize {
    world.worker = worker;
    let index = world.add_subscriber(&SLOTS);
    world.bind(index, 0, Some(World::video_of(0)));
    world.bind(index, 1, Some(World::audio_of(0)));
    world.worker = NEAR;
    index
}

/// Share of the frames captured within `measured` that were complete at a subscriber in time.
fn share(
    world: &mut World,
    subscriber: usize,
    layer: u8,
    measured: std::ops::Range<Micros>,
) -> f64 {
    let video = world.publishers[0].video();
    let track = video.track;
    let captured = video.frames.iter().filter(|frame| measured.contains(&frame.capture));
    let numbers: Vec<u32> = captured.map(|frame| frame.number).collect();
    assert!(numbers.len() > 5, "{} frames", numbers.len());
    let slot = &world.subscribers[subscriber].slots[0];
    let in_time = |number: &&u32| {
        slot.latency(track, layer, **number).is_some_and(|latency| latency <= 500 * MS)
    };
    numbers.iter().filter(in_time).count() as f64 / numbers.len() as f64
}

fn assert_continuous(world: &World) {
    for (index, tap) in world.taps.iter().enumerate() {
        for slot in 0..SLOTS.len() {
            tap.assert_continuous(world.ssrc(index, slot));
        }
    }
}

#[test]
fn every_packet_crosses_once_and_reaches_everybody() {
    let mut world = room(&[], Path::CLEAN);
    world.run_seconds(6);
    for subscriber in 0..3 {
        assert_eq!(share(&mut world, subscriber, 0, SECOND..5 * SECOND), 1.0, "{subscriber}");
    }
    assert_continuous(&world);
    let sent = world.publishers[0].transport_sent.len();
    let crossed = world.pipes.total();
    assert!(crossed <= sent && crossed > sent * 9 / 10, "{crossed} of {sent}");
    let news = world.pipes.news[&FAR];
    assert!(news < 10, "{news} messages upward in a quiet room");
    let (near, far) = (&world.taps[0].sent, &world.taps[1].sent);
    let first = |sent: &std::collections::HashMap<u32, Vec<crate::tap::Sent>>, ssrc| {
        let packet: &crate::tap::Sent = sent[&ssrc].last().unwrap();
        (packet.at, packet.stamp)
    };
    let (here, there) = (first(near, world.ssrc(0, 0)), first(far, world.ssrc(1, 0)));
    assert_eq!((here.0 + PIPE_DELAY, here.1), there);
}

#[test]
fn sound_and_picture_agree_on_both_workers() {
    let mut world = room(&[], Path::CLEAN);
    world.run_seconds(8);
    let skew = |subscriber: usize, slot: usize| {
        let skews = &world.subscribers[subscriber].slots[slot].skews;
        let late = skews.iter().filter(|(at, ..)| *at > 3 * SECOND);
        late.map(|(_, _, skew)| *skew).max().expect("a sender report and packets after it")
    };
    for slot in 0..SLOTS.len() {
        let apart = skew(0, slot) - skew(1, slot);
        assert!(apart.abs() <= 100, "{apart} µs between the workers");
    }
    assert!((skew(1, 0) - skew(1, 1)).abs() < 15_000);
}

#[test]
fn the_far_worker_resends_from_its_own_cache() {
    let mut world = room(&[], Path { loss: 0.02, ..Path::CLEAN });
    world.run_seconds(20);
    for subscriber in 0..3 {
        let share = share(&mut world, subscriber, 0, 2 * SECOND..19 * SECOND);
        assert!(share >= 0.999, "{share} at {subscriber}");
        assert!(world.taps[subscriber].rtx_packets > 20);
    }
    assert_eq!(world.publishers[0].resent, 0, "nothing was lost on the way up");
}

#[test]
fn a_keyframe_request_travels_back_at_once() {
    let mut world = room(&[], Path::CLEAN);
    world.run_seconds(3);
    let start = world.now;
    world.subscribers[2].send_pli(0);
    world.run_seconds(1);
    let asked: Vec<Micros> =
        world.publishers[0].keyframe_requests.iter().map(|(at, _)| *at).collect();
    let heard: Vec<Micros> = asked.into_iter().filter(|at| *at >= start).collect();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0] - start <= ROUND_TRIP + 2 * PIPE_DELAY, "after {} µs", heard[0] - start);
    let late = world.now;
    let index = subscribe(&mut world, FAR);
    world.run_seconds(1);
    let first = world.taps[index].sent[&world.ssrc(index, 0)][0];
    assert!(first.stamp.keyframe && first.stamp.index == 0, "{first:?}");
    let bound = 2 * ROUND_TRIP + SECOND / 30 + 3 * MS;
    assert!(first.at - late <= bound, "after {} µs", first.at - late);
}

#[test]
fn only_encodings_that_somebody_shows_cross() {
    let mut world = room(&["q", "h", "f"], Path::CLEAN);
    let prefer = |world: &mut World, rid: Option<&str>| {
        world.worker = FAR;
        for subscriber in [1, 2] {
            let layer = PreferredLayer { rid: rid.map(Into::into), ..PreferredLayer::default() };
            let consumer = World::consumer(subscriber, 0);
            world.command(Command::SetPreferredLayer { consumer, layer });
        }
        world.worker = NEAR;
        world.run_seconds(2);
        world.pipes.packets.clear();
        world.run_seconds(3);
        // Encoding 0 is also that of audio, with 50 packets a second.
        let video: Vec<u8> = world
            .pipes
            .packets
            .iter()
            .filter(|(encoding, count)| **encoding > 0 || **count > 50 * 3 + 10)
            .map(|(encoding, _)| *encoding)
            .collect();
        video
    };
    world.run_seconds(2);
    assert_eq!(prefer(&mut world, Some("q")), [0]);
    assert_eq!(prefer(&mut world, Some("h")), [1]);
    assert_eq!(prefer(&mut world, None), [2]);
    assert_continuous(&world);
    for subscriber in 0..3 {
        let measured = world.now - 2 * SECOND..world.now - SECOND;
        assert_eq!(share(&mut world, subscriber, 2, measured), 1.0, "{subscriber}");
    }
}

#[test]
fn mute_silences_both_workers_and_ends_with_a_keyframe() {
    let mut world = room(&[], Path::CLEAN);
    world.run_seconds(2);
    let mute = |world: &mut World, paused: bool| {
        for worker in [NEAR, FAR] {
            world.worker = worker;
            let producer = World::video_of(0);
            world.command(Command::PauseProducer { producer, paused });
        }
        world.worker = NEAR;
    };
    mute(&mut world, true);
    let muted = world.now;
    world.run_seconds(2);
    let unmuted = world.now;
    mute(&mut world, false);
    world.run_seconds(3);
    for (index, tap) in world.taps.iter().enumerate() {
        let sent = &tap.sent[&world.ssrc(index, 0)];
        let quiet = muted + 2 * PIPE_DELAY..unmuted;
        assert!(!sent.iter().any(|packet| quiet.contains(&packet.at)), "{index} was not muted");
        let again = sent.iter().find(|packet| packet.at >= unmuted).expect("goes on");
        assert!(again.stamp.keyframe && again.at - unmuted < 200 * MS, "{again:?}");
    }
    assert_continuous(&world);
}

#[test]
fn a_full_ring_costs_frames_until_the_next_keyframe_and_nothing_else() {
    let mut world = room(&[], Path::CLEAN);
    world.run_seconds(2);
    world.pipes.full = true;
    world.run(100 * MS);
    world.pipes.full = false;
    let again = world.now;
    world.run_seconds(3);
    let dropped = world.engine.drops().get(DropReason::PipeFull);
    assert!((5..200).contains(&dropped), "{dropped}");
    assert_eq!(share(&mut world, 0, 0, SECOND..again + 2 * SECOND), 1.0, "not over here");
    for subscriber in [1, 2] {
        let measured = again + 600 * MS..again + 2 * SECOND;
        assert_eq!(share(&mut world, subscriber, 0, measured), 1.0);
        let slot = &world.subscribers[subscriber].slots[1];
        let heard = slot.frames.values().filter(|frame| frame.stamp.capture > again).count();
        assert!(heard > 120, "audio goes on at once: {heard}");
    }
}

#[test]
fn a_track_that_stops_and_starts_again_is_shown_again() {
    let mut world = room(&["q", "f"], Path::CLEAN);
    world.run_seconds(3);
    world.publishers[0].video().layers[1].active = false;
    world.run_seconds(3);
    let measured = world.now - SECOND..world.now - 500 * MS;
    assert_eq!(share(&mut world, 1, 0, measured), 1.0, "the other layer");
    world.publishers[0].video().layers[1].active = true;
    world.run_seconds(3);
    let measured = world.now - SECOND..world.now - 500 * MS;
    assert_eq!(share(&mut world, 1, 1, measured), 1.0, "the better layer again");
    world.publishers[0].restart_video(world.now);
    world.run_seconds(3);
    let measured = world.now - SECOND..world.now - 500 * MS;
    assert_eq!(share(&mut world, 1, 1, measured), 1.0, "another sequence space");
}

#[test]
fn nothing_is_left_when_all_have_gone() {
    let mut world = room(&["q", "f"], Path::CLEAN);
    world.run_seconds(2);
    for producer in [World::video_of(0), World::audio_of(0)] {
        for worker in [NEAR, FAR] {
            world.worker = worker;
            world.command(Command::CloseProducer { producer });
        }
    }
    world.run_seconds(2);
    let crossed = world.pipes.total();
    world.run_seconds(1);
    assert_eq!(world.pipes.total(), crossed, "the pipes are closed");
    assert_eq!(world.far.as_ref().unwrap().population(), (2, 0, 4));
    for (worker, transports) in [(NEAR, vec![1, 2]), (FAR, vec![3, 4])] {
        world.worker = worker;
        for number in transports {
            world.command(Command::CloseTransport { transport: TransportId(number) });
        }
    }
    assert_eq!(world.engine.population(), (0, 0, 0));
    assert_eq!(world.far.as_ref().unwrap().population(), (0, 0, 0));
}

#[test]
fn it_does_not_matter_which_end_of_a_pipe_opens_first() {
    for far_first in [true, false] {
        let mut world = World::new(7, Path::CLEAN, Path::CLEAN);
        world.add_worker();
        world.add_publisher(Tracks { rids: &[], video: true, audio: false });
        world.run_seconds(2);
        let producer = World::video_of(0);
        let params = Box::new(video_params(&[], 1));
        let create = Command::CreatePipedProducer { producer, from: NEAR, params };
        let mut ends = [(FAR, create), (NEAR, Command::OpenPipe { producer, to: FAR })];
        if !far_first {
            ends.reverse();
        }
        for (worker, command) in ends {
            world.worker = worker;
            world.command(command);
            world.run(20 * MS);
        }
        world.worker = FAR;
        let start = world.now;
        let index = world.add_subscriber(&SLOTS[..1]);
        world.bind(index, 0, Some(producer));
        world.run_seconds(2);
        let first = world.taps[index].sent[&world.ssrc(index, 0)][0];
        assert!(first.at - start < 100 * MS, "{far_first}: after {} µs", first.at - start);
        world.worker = NEAR;
        world.command(Command::ClosePipe { producer, to: FAR });
        world.run_seconds(1);
        let crossed = world.pipes.total();
        world.run_seconds(1);
        assert_eq!(world.pipes.total(), crossed, "closed");
    }
}

/// The far end has a cache of its own, which the first viewer there fills.
#[test]
fn a_late_viewer_on_another_worker_begins_at_once() {
    let mut world = room(&[], Path::CLEAN);
    world.publishers[0].keyframe_period = Some(4 * SECOND);
    world.run_seconds(6);
    for _ in 0..5 {
        world.run(1379 * MS);
        let joined = world.now;
        let viewer = subscribe(&mut world, FAR);
        world.run(5 * SECOND);
        let first = sent(&world, viewer)[0];
        assert!(first.at - joined <= 250 * MS, "the first packet after {} µs", first.at - joined);
        assert_caught_up(&world, viewer, joined);
    }
}

/// A publisher that does not answer, its stream long on the way: the first viewer on another worker gets the keyframe that was.
#[test]
fn the_first_viewer_on_another_worker_does_not_wait_for_a_deaf_publisher() {
    let mut world = World::new(11, Path::CLEAN, Path::CLEAN);
    world.add_worker();
    world.add_publisher(Tracks { rids: &[], video: true, audio: true });
    world.publishers[0].keyframe_period = Some(8 * SECOND);
    subscribe(&mut world, NEAR);
    world.run_seconds(3);
    // Asks in vain: now the server knows.
    subscribe(&mut world, NEAR);
    world.run(3100 * MS);
    let joined = world.now;
    pipe(&mut world, World::video_of(0), video_params(&[], 1));
    pipe(&mut world, World::audio_of(0), audio_params(2));
    let viewer = subscribe(&mut world, FAR);
    world.run(SECOND);
    let first = sent(&world, viewer)[0];
    assert!(first.stamp.keyframe && first.stamp.frame == 0, "{first:?}");
    assert!(first.at - joined <= 80 * MS, "the first packet after {} µs", first.at - joined);
    world.run(5 * SECOND);
    assert_caught_up(&world, viewer, joined);
    let second = subscribe(&mut world, FAR);
    let joined = world.now;
    world.run(5 * SECOND);
    assert_caught_up(&world, second, joined);
    assert_continuous(&world);
}
