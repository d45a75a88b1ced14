//! Who speaks, from the levels in audio packets.

use crate::net::{MS, Path, SECOND};
use crate::world::{Tracks, World};
use sfu_core::{Command, Event, ProducerId};

const QUIET: u8 = 90;

/// The list that was announced last.
fn speakers(world: &World) -> Option<Vec<ProducerId>> {
    world.events.iter().rev().find_map(|(_, event)| match event {
        Event::ActiveSpeakers { speakers, .. } => {
            Some(speakers.iter().map(|speaker| speaker.producer).collect())
        }
        _ => None,
    })
}

fn set(world: &mut World, levels: [u8; 3]) {
    for (publisher, level) in world.publishers.iter_mut().zip(levels) {
        publisher.audio().level = level;
    }
}

#[test]
fn speakers_are_announced_loudest_first_and_only_when_they_change() {
    let mut world = World::new(2, Path::CLEAN, Path::CLEAN);
    for _ in 0..3 {
        world.add_publisher(Tracks { rids: &[], video: false, audio: true });
    }
    let [a, b, c] = [World::audio_of(0), World::audio_of(1), World::audio_of(2)];
    set(&mut world, [QUIET; 3]);
    world.run_seconds(2);
    assert_eq!(speakers(&world), None, "silence is no news");
    let steps: [([u8; 3], &[ProducerId]); 4] = [
        ([20, QUIET, QUIET], &[a]),
        ([40, 10, QUIET], &[b, a]),
        ([QUIET, QUIET, 15], &[c]),
        ([QUIET; 3], &[]),
    ];
    for (levels, expected) in steps {
        set(&mut world, levels);
        let start = world.now;
        world.run_seconds(3);
        assert_eq!(speakers(&world).as_deref(), Some(expected), "{levels:?}");
        let news = world
            .events
            .iter()
            .filter(|(at, event)| *at >= start && matches!(event, Event::ActiveSpeakers { .. }));
        let times: Vec<u64> = news.map(|(at, _)| *at).collect();
        assert!(times[0] - start <= SECOND * 3 / 2, "{times:?}");
        assert!(times.len() <= 3, "only changes are announced: {times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SECOND / 4), "{times:?}");
    }
    set(&mut world, [20, QUIET, QUIET]);
    world.run_seconds(2);
    assert_eq!(speakers(&world), Some(vec![a]));
    world.command(Command::PauseProducer { producer: a, paused: true });
    world.run_seconds(2);
    assert_eq!(speakers(&world), Some(vec![]), "who is muted does not speak");
}

#[test]
fn a_short_noise_after_a_turn_is_no_speaker_and_a_voice_is() {
    let mut world = World::new(3, Path::CLEAN, Path::CLEAN);
    for _ in 0..3 {
        world.add_publisher(Tracks { rids: &[], video: false, audio: true });
    }
    let (a, b) = (World::audio_of(0), World::audio_of(1));
    for noise in [100, 200, 300] {
        set(&mut world, [25, QUIET, QUIET]);
        world.run_seconds(2);
        // The pause ends the turn; then a key, or a cough.
        set(&mut world, [QUIET; 3]);
        world.run(1200 * MS);
        assert_eq!(speakers(&world), Some(vec![]));
        set(&mut world, [QUIET, 15, QUIET]);
        world.run(noise * MS);
        set(&mut world, [QUIET; 3]);
        let from = world.now - noise * MS;
        world.run(700 * MS);
        let told = world.events.iter().filter(|(at, _)| *at >= from);
        let told = told.filter(|(_, event)| matches!(event, Event::ActiveSpeakers { .. }));
        assert_eq!(told.count(), 0, "{noise} ms");
        set(&mut world, [QUIET, 30, QUIET]);
        world.run(SECOND);
        assert_eq!(speakers(&world), Some(vec![b]), "who goes on");
    }
    set(&mut world, [25, QUIET, QUIET]);
    world.run_seconds(2);
    assert_eq!(speakers(&world), Some(vec![a]));
}
