//! Viewers without transport-wide feedback, whose receiver sends an estimate of each video track by itself, while it comes: what aiortc does.

use super::measure::{Playback, bitrate, queue_p95};
use super::scenario::Meeting;
use super::start::{SEEDS, setups};
use crate::net::{Link, MS, SECOND};
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;

/// aiortc's interval.
const EACH: u64 = 500 * MS;
/// Its smallest estimate, bits per second.
const LEAST: f64 = 30_000.0;
/// The audio of a meeting on the link.
const AUDIO: u64 = 66_000;
/// More in the queue than this is overuse.
const QUEUED: u64 = 30 * MS;

/// The rate control of libwebrtc's old receiver: 0.85 times what came when there is a queue, else 8 % a second up to 1.5 times what comes and 10 kbit/s.
struct Receiver {
    viewer: usize,
    estimate: f64,
}

impl Receiver {
    fn join(meeting: &mut Meeting, rate: u64) -> Self {
        let viewer = meeting.join(Link::new(rate));
        let subscriber = meeting.viewers[viewer].subscriber;
        meeting.world.subscribers[subscriber].feedback = false;
        Self { viewer, estimate: 30_000_000.0 }
    }

    fn say(&self, meeting: &mut Meeting, bits_per_second: f64) {
        let subscriber = meeting.viewers[self.viewer].subscriber;
        let remb = ReceiverEstimatedMaximumBitrate {
            sender_ssrc: 9,
            bitrate: bits_per_second as f32,
            ssrcs: vec![meeting.world.ssrc(subscriber, 0)],
        };
        meeting.world.subscribers[subscriber].endpoint.send_rtcp(&[Box::new(remb)]);
    }

    /// Lets it estimate for a while.
    fn run(&mut self, meeting: &mut Meeting, seconds: u64) {
        for _ in 0..seconds * SECOND / EACH {
            meeting.run(EACH);
            let now = meeting.world.now;
            let came = bitrate(meeting, self.viewer, now - SECOND..now).saturating_sub(AUDIO);
            if came < 20_000 {
                continue;
            }
            let came = came as f64;
            self.estimate = if queue_p95(meeting, self.viewer, now - EACH..now) > QUEUED {
                0.85 * came
            } else {
                (self.estimate * 1.04).min(1.5 * came + 10_000.0)
            };
            self.estimate = self.estimate.max(LEAST);
            self.say(meeting, self.estimate);
        }
    }
}

#[test]
fn an_estimate_that_only_follows_what_is_sent_keeps_nobody_low() {
    let mut misses = Vec::new();
    for setup in setups(&SEEDS) {
        let mut meeting = Meeting::new(setup);
        let mut receiver = Receiver::join(&mut meeting, 5_000_000);
        receiver.run(&mut meeting, 10);
        // Something in its way, for a moment.
        let fell = meeting.world.now;
        receiver.estimate = LEAST;
        receiver.say(&mut meeting, LEAST);
        receiver.run(&mut meeting, 60);
        let playback = Playback::of(&meeting, receiver.viewer);
        let freeze = playback.longest_freeze(fell..meeting.world.now);
        let top = playback.share(2, fell + 50 * SECOND..fell + 60 * SECOND);
        if freeze > 2 * SECOND || top < 0.9 {
            misses.push(format!(
                "seed {}, {} ms: a freeze of {} ms, the top layer {top:.2} of the time",
                setup.seed,
                setup.rtt / MS,
                freeze / MS
            ));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

#[test]
fn a_narrow_link_is_found_by_estimates_alone() {
    let mut misses = Vec::new();
    for setup in setups(&SEEDS) {
        let mut meeting = Meeting::new(setup);
        let mut receiver = Receiver::join(&mut meeting, 1_000_000);
        receiver.run(&mut meeting, 60);
        let end = meeting.world.now;
        let sent = bitrate(&meeting, receiver.viewer, end - 30 * SECOND..end);
        let playback = Playback::of(&meeting, receiver.viewer);
        let frozen = playback.frozen(end - 30 * SECOND..end);
        if sent > 1_000_000 || frozen > 0.1 {
            misses.push(format!(
                "seed {}, {} ms: {} kbit/s, frozen {frozen:.2} of the time",
                setup.seed,
                setup.rtt / MS,
                sent / 1000
            ));
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}
