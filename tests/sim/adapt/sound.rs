//! What sound takes of a link, and what is left for pictures.

use super::measure::{Playback, audio, queue_p95};
use super::scenario::{Meeting, Setup};
use super::start::SEEDS;
use crate::net::{Link, MS, SECOND};
use crate::world::{SlotSpec, Tracks, World};

/// One microphone in twenty is used at a time; the others send comfort noise, which is no reason to be left without a picture.
#[test]
fn open_microphones_that_nobody_speaks_into_take_nothing_from_the_picture() {
    for seed in SEEDS {
        let mut meeting = Meeting::new(Setup::new(seed, 40 * MS));
        let mut slots = vec![SlotSpec::VIDEO];
        for _ in 0..20 {
            let tracks = Tracks { rids: &[], video: false, audio: true };
            let publisher = meeting.world.add_publisher(tracks);
            meeting.world.publishers[publisher].audio().quiet = true;
            slots.push(SlotSpec::AUDIO);
        }
        meeting.world.net.links.push(Link::new(800_000));
        let viewer = meeting.join_with(meeting.world.net.links.len() - 1, &slots);
        let subscriber = meeting.viewers[viewer].subscriber;
        meeting.world.bind(subscriber, 0, Some(World::video_of(0)));
        for slot in 1..=20 {
            meeting.world.bind(subscriber, slot, Some(World::audio_of(slot)));
        }
        meeting.run_seconds(20);
        let during = meeting.viewers[viewer].joined + 5 * SECOND..meeting.world.now;
        let share = Playback::of(&meeting, viewer).share(1, during);
        assert!(share > 0.95, "seed {seed}: {share:.2}");
    }
}

/// Music takes as much as a small picture: a layer that fits beside a voice need not fit beside that.
#[test]
fn music_is_given_what_it_takes() {
    for seed in SEEDS {
        let mut meeting = Meeting::new(Setup::new(seed, 40 * MS));
        // 256 kbit/s.
        meeting.world.publishers[0].audio().bytes = 640;
        let viewer = meeting.join(Link::new(800_000));
        meeting.run_seconds(30);
        let during = meeting.viewers[viewer].joined + 8 * SECOND..meeting.world.now - SECOND;
        let playback = Playback::of(&meeting, viewer);
        let (share, frozen) = (playback.share(0, during.clone()), playback.frozen(during.clone()));
        let heard = audio(&meeting, viewer, during.clone(), 200 * MS);
        let queue = queue_p95(&mut meeting, viewer, during) / MS;
        let line = format!(
            "seed {seed}: low {share:.2}, frozen {frozen:.2}, heard {heard:.3}, queue {queue} ms"
        );
        println!("{line}");
        assert!(share > 0.95 && frozen == 0.0 && heard > 0.99 && queue <= 50, "{line}");
    }
}
