//! Spatial and temporal layers in one encoding: whatever layers a subscriber is given, it can decode what it gets, and is told the truth about it.

use crate::net::{MS, Micros, Path, SECOND};
use crate::params::video_params;
use crate::svc::{Coded, Format, Layer, Mode, Svc};
use crate::tap::Sent;
use crate::world::{SlotSpec, Tracks, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sfu_core::params::PreferredLayer;
use sfu_core::{Command, WorkerId};
use sfu_rtp::dependency_descriptor::{DependencyDescriptor, TemplateStructure};
use std::collections::{BTreeMap, HashMap, HashSet};

const PLAIN: Tracks = Tracks { rids: &[], video: true, audio: false };
/// One is repaired by RTX, the other by the same packets again.
const SLOTS: [SlotSpec; 2] = [SlotSpec::VIDEO, SlotSpec { rtx: false, ..SlotSpec::VIDEO }];

const fn mode(spatial: u8, temporal: u8, key: bool, format: Format) -> Mode {
    Mode { spatial, temporal, key, format }
}

const MODES: [Mode; 6] = [
    mode(3, 3, false, Format::Av1),
    mode(3, 3, true, Format::Av1),
    mode(1, 3, false, Format::Av1),
    mode(3, 3, false, Format::Vp9),
    mode(3, 3, true, Format::Vp9),
    mode(1, 3, false, Format::Vp9),
];

/// What encoders make where three of each are too many.
const FEWER: [Mode; 4] = [
    mode(2, 3, false, Format::Av1),
    mode(2, 3, true, Format::Vp9),
    mode(3, 2, true, Format::Av1),
    mode(3, 2, false, Format::Vp9),
];

fn publish(world: &mut World, mode: Mode, seed: u64) {
    let publisher = world.add_publisher(PLAIN);
    let mut rng = SmallRng::seed_from_u64(seed);
    world.publishers[publisher].video().svc = Some(Svc::new(mode, &mut rng));
}

/// A publisher, and a subscriber with two slots that show it.
fn room(mode: Mode, seed: u64, up: Path, down: Path) -> World {
    let mut world = World::new(seed, up, down);
    publish(&mut world, mode, seed);
    world.add_subscriber(&SLOTS);
    for slot in 0..SLOTS.len() {
        world.bind(0, slot, Some(World::video_of(0)));
    }
    world.run_seconds(2);
    world
}

fn prefer(world: &mut World, slot: usize, (spatial, temporal): Layer) {
    let layer = PreferredLayer { rid: None, spatial: Some(spatial), temporal: Some(temporal) };
    world.command(Command::SetPreferredLayer { consumer: World::consumer(0, slot), layer });
}

fn sent(world: &World, slot: usize) -> Vec<Sent> {
    let mut sent = world.taps[0].sent[&world.ssrc(0, slot)].clone();
    sent.sort_by_key(|sent| sent.index);
    sent
}

fn coded(world: &World) -> (Mode, &HashMap<u32, Coded>) {
    let svc = world.publishers[0].video.as_ref().unwrap().svc.as_ref().unwrap();
    (svc.mode, &svc.frames)
}

/// Everything that must hold for what left a slot. `whole`: nothing was lost on the way up.
fn check(world: &World, slot: usize, whole: bool) {
    let all = sent(world, slot);
    assert!(all.len() > 100, "{} packets", all.len());
    // What was lost on the way up last may not be here yet.
    let end = if whole { world.now } else { world.now - SECOND };
    for pair in all.windows(2).filter(|pair| pair[1].at < end) {
        assert_eq!(pair[1].index, pair[0].index + 1, "a hole: {pair:?}");
    }
    assert!(!whole || all.iter().all(|sent| !sent.blank), "nothing to fill");
    let all: Vec<&Sent> = all.iter().filter(|sent| !sent.blank).collect();
    check_part(world, slot, &all, true);
}

/// The same of a part, in which all has one offset. Not `strict`: what came late may have been left out.
fn check_part(world: &World, slot: usize, all: &[&Sent], strict: bool) {
    check_references(world, all);
    check_markers(world, all);
    match coded(world).0.format {
        Format::Vp9 => check_picture_ids(world, all),
        Format::Av1 => check_descriptors(world, slot, all, strict),
    }
}

/// Every frame is whole, and comes after those that it refers to.
fn check_references(world: &World, all: &[&Sent]) {
    let (_, frames) = coded(world);
    let mut have: BTreeMap<u32, HashSet<u8>> = BTreeMap::new();
    for sent in all {
        have.entry(sent.stamp.frame).or_default().insert(sent.stamp.index);
    }
    // The last pictures may not have left yet.
    let end = world.now - SECOND;
    let broken: HashSet<u32> = all
        .iter()
        .filter(|sent| sent.stamp.capture < end)
        .filter(|sent| have[&sent.stamp.frame].len() < usize::from(sent.stamp.count))
        .map(|sent| sent.stamp.frame)
        .collect();
    assert!(broken.is_empty(), "torn: {broken:?}");
    let settled = all.iter().filter(|sent| sent.stamp.capture < end);
    for number in settled.map(|sent| sent.stamp.frame).collect::<HashSet<u32>>() {
        for reference in &frames[&number].references {
            assert!(
                have.contains_key(reference),
                "{number} ({:?}) needs {reference} ({:?})",
                frames[&number],
                frames[reference]
            );
        }
    }
}

/// One marker in each picture, on its last packet.
fn check_markers(world: &World, all: &[&Sent]) {
    for pair in all.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        // What was lost last was not repaired before the end.
        if b.stamp.capture >= world.now - SECOND {
            return;
        }
        let step = b.timestamp.wrapping_sub(a.timestamp) as i32;
        assert!(step >= 0, "time goes back: {pair:?}");
        assert_eq!(a.marker, step > 0, "{pair:?}");
    }
}

/// The same offset for all: references are counted in them.
fn check_picture_ids(world: &World, all: &[&Sent]) {
    let (_, frames) = coded(world);
    let offset = |sent: &Sent| {
        let id = sent.picture_id.expect("a picture id");
        id.wrapping_sub(frames[&sent.stamp.frame].picture_id) & 0x7fff
    };
    assert!(all.iter().all(|sent| offset(sent) == offset(all[0])));
}

/// Frame numbers have one offset, and active decode targets are those of which everything is forwarded.
fn check_descriptors(world: &World, slot: usize, all: &[&Sent], strict: bool) {
    let (mode, frames) = coded(world);
    let (mut structure, mut active) = (None::<TemplateStructure>, 0);
    let mut offset = None;
    // Active decode targets when a frame began.
    let mut told: BTreeMap<u32, u32> = BTreeMap::new();
    for one in all {
        let said = &world.taps[0].said[&(world.ssrc(0, slot), one.index)];
        let value = said.descriptor.as_ref().expect("a descriptor");
        let parsed = DependencyDescriptor::parse(value, structure.as_ref()).unwrap();
        if let Some(new) = TemplateStructure::parse(value).unwrap() {
            structure = Some(new);
        }
        active = parsed.active_decode_targets.unwrap_or(active);
        let frame = parsed.frame.expect("a template that is known");
        assert_eq!((frame.spatial, frame.temporal), frames[&one.stamp.frame].layer);
        let number = parsed.frame_number.wrapping_sub(one.stamp.frame as u16);
        assert_eq!(*offset.get_or_insert(number), number, "frame numbers");
        told.entry(one.stamp.frame).or_insert(active);
    }
    // What was lost on the way up last may not be here yet.
    let settled = all.iter().rfind(|one| one.stamp.capture < world.now - SECOND);
    let settled = settled.map_or(0, |one| one.stamp.frame);
    let (first, newest) = (*told.keys().next().unwrap(), *told.keys().next_back().unwrap());
    let last = if strict { newest } else { settled };
    let targets = mode.targets();
    let part = |number: u32, active: u32| {
        let Coded { layer, key, .. } = frames[&number];
        let mut of = targets.iter().enumerate().filter(|(index, _)| active >> index & 1 != 0);
        of.any(|(_, target)| mode.indication(layer, key, *target) != 0)
    };
    for number in first..last {
        if let Some(&active) = told.get(&number) {
            assert!(part(number, active), "{number} is more than {active:#b}");
            continue;
        }
        // A change is told with the next frame that is not left out.
        let before = told.range(..number).next_back().map(|(_, active)| *active).unwrap();
        let after = told.range(number..).next().map(|(_, active)| *active).unwrap();
        // It came late, when it was of no use any more: nothing stands in its place.
        let before_it = all.iter().rfind(|one| one.stamp.frame < number).map(|one| one.index);
        let after_it = all.iter().find(|one| one.stamp.frame > number).map(|one| one.index);
        let there = |one: &&Sent| Some(one.index) > before_it && Some(one.index) < after_it;
        let blanks = sent(world, slot).iter().filter(there).filter(|one| one.blank).count();
        let from = told.range(..number).next_back().map_or(number, |(frame, _)| frame + 1);
        let to = told.range(number..).next().map_or(number, |(frame, _)| *frame);
        let missing = (from..to).filter(|frame| part(*frame, before)).count();
        let blank = !strict && blanks >= missing;
        assert!(
            blank || !part(number, before) || !part(number, after),
            "{number} is left out of {before:#b}"
        );
    }
}

/// The highest layers that left within the last second.
fn shown(world: &World, slot: usize) -> Layer {
    let since = world.now - SECOND;
    let lately = sent(world, slot).into_iter().filter(|s| s.at >= since && !s.blank);
    let lately: Vec<Sent> = lately.collect();
    let highest = |of: fn(&Sent) -> u8| lately.iter().map(of).max().expect("something is shown");
    (highest(|s| s.stamp.layer), highest(|s| s.stamp.temporal))
}

#[test]
fn every_layer_can_be_had() {
    for mode in MODES {
        let mut world = room(mode, 3, Path::CLEAN, Path::CLEAN);
        assert_eq!(shown(&world, 0), (mode.spatial - 1, mode.temporal - 1), "{mode:?}");
        let mut targets = mode.targets();
        // Down, up, and down again.
        targets.extend(mode.targets().into_iter().rev());
        targets.extend(mode.targets());
        for target in targets {
            prefer(&mut world, 0, target);
            world.run(2 * SECOND + 300 * MS);
            assert_eq!(shown(&world, 0), target, "{mode:?}");
        }
        for slot in 0..SLOTS.len() {
            check(&world, slot, true);
        }
    }
}

#[test]
fn fewer_layers_are_chosen_alike() {
    for (seed, mode) in (60..).zip(FEWER) {
        let mut world = room(mode, seed, Path::CLEAN, Path::lossy(0.03));
        for target in mode.targets().into_iter().rev().chain([(mode.spatial - 1, 0)]) {
            prefer(&mut world, 0, target);
            world.run(2 * SECOND + 300 * MS);
            assert_eq!(shown(&world, 0), target, "{mode:?}");
        }
        switch_at_random(&mut world, mode, seed, 50 * MS);
        for slot in 0..SLOTS.len() {
            check(&world, slot, false);
        }
    }
}

/// Whoever gets the highest spatial layer of a _KEY mode gets nothing of the lower ones but what it is predicted from.
#[test]
fn lower_layers_of_a_key_mode_are_left_out() {
    let world = room(mode(3, 3, true, Format::Av1), 4, Path::CLEAN, Path::CLEAN);
    let (_, frames) = coded(&world);
    let sent = sent(&world, 0);
    let lower = sent.iter().filter(|sent| sent.stamp.layer < 2);
    assert!(lower.clone().all(|sent| frames[&sent.stamp.frame].key));
    assert!(lower.count() >= 2 && sent.len() > 100);
}

/// Without a keyframe of its own accord: whoever showed the layer that is left must not wait for it, and gets it back when it returns.
#[test]
fn the_publisher_leaves_a_spatial_layer_and_takes_it_up_again() {
    for key in [false, true] {
        let mode = mode(3, 3, key, Format::Av1);
        let mut world = room(mode, 5, Path::CLEAN, Path::CLEAN);
        for active in [2, 3, 1, 3] {
            let svc = world.publishers[0].video().svc.as_mut().unwrap();
            svc.active = active;
            world.run(2300 * MS);
            assert_eq!(shown(&world, 0), (active - 1, 2), "{mode:?}");
        }
        check(&world, 0, true);
    }
}

/// `pause`: between two switches at least.
fn switch_at_random(world: &mut World, mode: Mode, seed: u64, pause: Micros) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for _ in 0..60 {
        let target = (rng.random_range(0..mode.spatial), rng.random_range(0..mode.temporal));
        prefer(world, rng.random_range(0..SLOTS.len()), target);
        world.run(rng.random_range(pause..1200 * MS));
    }
    world.run_seconds(2);
}

#[test]
fn random_switching_leaves_nothing_undecodable() {
    for (seed, mode) in (20..).zip(MODES) {
        let mut world = room(mode, seed, Path::CLEAN, Path::CLEAN);
        switch_at_random(&mut world, mode, seed, 50 * MS);
        for slot in 0..SLOTS.len() {
            check(&world, slot, true);
        }
    }
}

/// Losses on both legs: what comes late gets its number, and what is resent is what was sent.
#[test]
fn losses_change_nothing() {
    for (seed, mode) in (40..).zip(MODES) {
        let up = Path { delay: 10 * MS, ..Path::lossy(0.02) };
        let mut world = room(mode, seed, up, Path::lossy(0.03));
        switch_at_random(&mut world, mode, seed, 50 * MS);
        for slot in 0..SLOTS.len() {
            check(&world, slot, false);
        }
        let tap = &world.taps[0];
        assert!(tap.rtx_packets > 20 && tap.identical_packets > 20, "{mode:?}");
    }
}

/// A slot that the link has no room for begins anew at a keyframe, perhaps twice before the first is whole. Until the next one all is as ever.
#[test]
fn losses_change_nothing_between_two_keyframes() {
    for (seed, mode) in (140..).step_by(100).zip(MODES.into_iter().cycle()).take(24) {
        let up = Path { delay: 10 * MS, ..Path::lossy(0.02) };
        let mut world = room(mode, seed, up, Path::lossy(0.03));
        // Down and up again within a picture of the lowest temporal layer could not be told.
        switch_at_random(&mut world, mode, seed, 200 * MS);
        for slot in 0..SLOTS.len() {
            let all = sent(&world, slot);
            let all: Vec<&Sent> = all.iter().filter(|sent| !sent.blank).collect();
            assert!(all.len() > 100, "{} packets", all.len());
            let (_, frames) = coded(&world);
            let begins = |sent: &Sent| {
                let first = sent.stamp.index == 0 && sent.stamp.layer == 0;
                first && frames[&sent.stamp.frame].key
            };
            let mut from = 0;
            for to in 1..=all.len() {
                if to == all.len() || begins(all[to]) {
                    check_part(&world, slot, &all[from..to], false);
                    from = to;
                }
            }
        }
    }
}

/// The far worker knows the structure, too: its subscriber chooses for itself.
#[test]
fn layers_are_chosen_on_another_worker() {
    for mode in MODES {
        let mut world = World::new(7, Path::CLEAN, Path::CLEAN);
        world.add_worker();
        publish(&mut world, mode, 7);
        let (producer, from) = (World::video_of(0), WorkerId(0));
        let params = Box::new(video_params(&[], 1));
        world.worker = WorkerId(1);
        world.command(Command::CreatePipedProducer { producer, from, params });
        world.worker = from;
        world.command(Command::OpenPipe { producer, to: WorkerId(1) });
        world.worker = WorkerId(1);
        world.add_subscriber(&SLOTS);
        for slot in 0..SLOTS.len() {
            world.bind(0, slot, Some(producer));
        }
        world.run_seconds(2);
        for target in [(0, 1), (mode.spatial - 1, 2), (mode.spatial - 1, 0)] {
            prefer(&mut world, 0, target);
            world.run(2 * SECOND + 300 * MS);
            assert_eq!(shown(&world, 0), target, "{mode:?}");
        }
        check(&world, 0, true);
    }
}

/// From one track to another and back: numbers go on, and the new structure is there.
#[test]
fn frame_numbers_go_on_over_a_switch() {
    let mode = mode(3, 3, false, Format::Av1);
    let mut world = room(mode, 9, Path::CLEAN, Path::CLEAN);
    publish(&mut world, mode, 10);
    for step in 1..5 {
        world.bind(0, 0, Some(World::video_of(step % 2)));
        world.run(1500 * MS);
    }
    let all = sent(&world, 0);
    let number = |sent: &Sent| {
        let said = &world.taps[0].said[&(world.ssrc(0, 0), sent.index)];
        DependencyDescriptor::parse(said.descriptor.as_ref().unwrap(), None).unwrap().frame_number
    };
    let mut switches = 0;
    for pair in all.windows(2) {
        let same = (pair[0].stamp.track, pair[0].stamp.frame)
            == (pair[1].stamp.track, pair[1].stamp.frame);
        let step = number(&pair[1]).wrapping_sub(number(&pair[0]));
        assert_eq!(step, u16::from(!same), "{pair:?}");
        switches += u32::from(pair[0].stamp.track != pair[1].stamp.track);
    }
    assert_eq!(switches, 4);
}
