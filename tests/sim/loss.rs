//! Loss, reordering and duplication on both legs, in both directions: frames arrive whole and in time.

use crate::net::{MS, Micros, Path, SECOND};
use crate::world::{SlotSpec, Tracks, World};

const SEEDS: [u64; 3] = [1, 20, 300];
const DEADLINE: Micros = 500 * MS;
/// Connecting and the first keyframe are not what is measured.
const WARM_UP: Micros = 2 * SECOND;
const RESENDS_MAX: u32 = 3;

/// One run: a publisher, and subscribers who see and hear it.
struct Run {
    seed: u64,
    loss: f64,
    rtx: bool,
    seconds: u64,
    subscribers: usize,
}

impl Run {
    /// Share of frames that are complete in time, at each subscriber.
    fn shares(&self) -> Vec<f64> {
        let path = Path::lossy(self.loss);
        let mut world = World::new(self.seed, path, path);
        let tracks = Tracks { video: true, audio: true, ..Tracks::default() };
        let publisher = world.add_publisher(tracks);
        let slots = [SlotSpec { rtx: self.rtx, ..SlotSpec::VIDEO }, SlotSpec::AUDIO];
        for _ in 0..self.subscribers {
            let subscriber = world.add_subscriber(&slots);
            world.bind(subscriber, 0, Some(World::video_of(publisher)));
            world.bind(subscriber, 1, Some(World::audio_of(publisher)));
        }
        world.run(WARM_UP + (self.seconds + 1) * SECOND);
        let measured = WARM_UP..world.now - SECOND;
        let video = world.publishers[publisher].video();
        let track = video.track;
        let frames: Vec<u32> = video
            .frames
            .iter()
            .filter(|frame| measured.contains(&frame.capture))
            .map(|frame| frame.number)
            .collect();
        assert!(frames.len() as u64 > self.seconds * 29, "{} frames", frames.len());
        let peers = world.subscribers.iter().zip(&world.taps);
        peers
            .map(|(subscriber, tap)| {
                assert!(tap.resends_max() <= RESENDS_MAX, "{} resends", tap.resends_max());
                assert_eq!(tap.rtx_packets > 0, self.rtx);
                assert_eq!(tap.identical_packets > 0, !self.rtx);
                let slot = &subscriber.slots[0];
                let late = |number: &&u32| {
                    slot.latency(track, 0, **number).is_none_or(|late| late > DEADLINE)
                };
                1.0 - frames.iter().filter(late).count() as f64 / frames.len() as f64
            })
            .collect()
    }

    fn assert_share(&self, least: f64) {
        let shares = self.shares();
        assert!(shares.iter().all(|share| *share >= least), "seed {}: {shares:?}", self.seed);
    }
}

#[test]
fn two_percent_loss_leaves_999_of_1000_frames() {
    for seed in SEEDS {
        Run { seed, loss: 0.02, rtx: true, seconds: 60, subscribers: 3 }.assert_share(0.999);
    }
}

#[test]
fn two_percent_loss_without_rtx_leaves_999_of_1000_frames() {
    Run { seed: 7, loss: 0.02, rtx: false, seconds: 60, subscribers: 3 }.assert_share(0.999);
}

/// Four minutes: with 3 in 1000 frames late on the average, the share of one minute says little.
#[test]
fn ten_percent_loss_leaves_995_of_1000_frames() {
    for seed in SEEDS {
        Run { seed, loss: 0.10, rtx: true, seconds: 240, subscribers: 2 }.assert_share(0.995);
    }
}
