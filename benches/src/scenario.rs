//! What is run: who joins which room and sends what.

mod capacity;
mod churn;
mod idle;
mod joins;
mod restart;
mod soak;
mod steady;
mod viewers;

use std::time::Duration;

use anyhow::ensure;

use crate::cli::{Options, Scenario, Video};
use crate::load::Load;
use crate::lobby::{Joiner, Role, join};
use crate::peer::Habits;
use crate::progress::Progress;
use crate::publication::Shape;
use crate::target::{Encoding, Kind, Section, Target};
use crate::window::{AUDIO_P99, CPU_PER_PACKET, Figures, PACKET_RATE, VIDEO_P99};

/// Odd steps, none of which divides a frame, so that every position in it has its turn.
const SAMPLE_STEPS: [u64; 7] = [1, 3, 7, 13, 29, 61, 101];
/// Enough for a p99.9, and little work.
const SAMPLES_PER_SECOND: f64 = 3000.0;
/// Of each subscriber; at least one a second, with room for an uneven second.
const SAMPLES_PER_PEER: f64 = 1.2;
/// Each has a thread.
const REQUESTS_AT_ONCE: usize = 16;

/// One point of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// What the axis of the plot shows.
    pub(crate) x: f64,
    /// For people.
    pub(crate) label: String,
}

/// What one run came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    /// Why it does not count; empty when it does.
    pub(crate) objections: Vec<String>,
    /// SRTP profile that was negotiated.
    pub(crate) profile: String,
    /// What limited it, and the like.
    pub(crate) notes: Vec<String>,
}

/// A run in progress.
pub(crate) struct Run<'a> {
    pub(crate) target: &'a dyn Target,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Progress,
    pub(crate) load: Load,
}

impl Run<'_> {
    fn join(&mut self, joiners: Vec<Joiner>) -> anyhow::Result<()> {
        self.join_with(joiners, REQUESTS_AT_ONCE)
    }

    /// With so many requests under way at once.
    fn join_with(&mut self, joiners: Vec<Joiner>, at_once: usize) -> anyhow::Result<()> {
        self.progress.phase(&format!("{} join", joiners.len()));
        let progress = self.progress;
        join(self.target, &mut self.load, joiners, at_once, |left| {
            progress.phase(&format!("{left} left to join"));
        })
    }

    fn wait(&mut self, seconds: u64, what: &str) -> anyhow::Result<()> {
        self.progress.phase(&format!("{what}, {seconds} s"));
        self.load.run_for(Duration::from_secs(seconds))
    }

    fn profile(&self) -> String {
        let profile = self.load.peers.last().and_then(|peer| peer.profile);
        profile.map_or(String::new(), |profile| profile.name().to_owned())
    }
}

impl Scenario {
    /// What is measured one after the other.
    ///
    /// # Errors
    /// The options make no sense.
    pub(crate) fn points(&self) -> anyhow::Result<Vec<Point>> {
        let counted = |counts: &[usize], what: &str| {
            let point =
                |count: &usize| Point { x: *count as f64, label: format!("{count} {what}") };
            counts.iter().map(point).collect::<Vec<_>>()
        };
        let points = match self {
            Self::Broadcast(own) => counted(&own.subscribers, "subscribers"),
            Self::Audio(own) => counted(&own.subscribers, "subscribers"),
            Self::Idle(own) => counted(&own.subscribers, "subscribers"),
            Self::Viewers(own) => counted(&own.viewers, "viewers"),
            Self::Restart(own) => {
                let fills = |bots: &usize| bots.is_multiple_of(own.together as usize);
                ensure!(own.bots.iter().all(fills), "--bots is not a multiple of --together");
                counted(&own.bots, "bots")
            }
            Self::Joins(own) => counted(&own.joins, "joins"),
            Self::Soak(own) => counted(&own.minutes, "minutes"),
            Self::Churn(own) => counted(&own.cycles, "cycles"),
            Self::Meeting(own) => {
                ensure!(
                    own.participants.iter().all(|count| *count >= 2),
                    "a meeting has at least 2"
                );
                counted(&own.participants, "participants")
            }
            Self::Capacity(own) => vec![Point {
                x: own.publishers as f64,
                label: format!("{} publishers", own.publishers),
            }],
            Self::Loss(own) => {
                ensure!(
                    own.percent.iter().all(|percent| (0.0..=50.0).contains(percent)),
                    "0 to 50 %"
                );
                let point =
                    |percent: &f64| Point { x: *percent, label: format!("{percent} % loss") };
                own.percent.iter().map(point).collect()
            }
        };
        ensure!(
            points.iter().all(|point| point.x > 0.0 || matches!(self, Self::Loss(_))),
            "0 of them"
        );
        Ok(points)
    }

    /// What is measured when the user names no target: where one peer connection takes several tracks, WHEP will not do.
    pub(crate) const fn default_target(&self) -> &'static str {
        match self {
            Self::Meeting(_) | Self::Churn(_) | Self::Restart(_) => "switchyard-ws",
            Self::Audio(own) if own.publishers > 1 => "switchyard-ws",
            _ => "switchyard",
        }
    }

    /// The two figures that tell most, for the plot and for the line that is shown after each run.
    pub(crate) const fn headline(&self) -> [&'static str; 2] {
        match self {
            Self::Broadcast(_) | Self::Meeting(_) => [CPU_PER_PACKET, VIDEO_P99],
            Self::Audio(_) => [CPU_PER_PACKET, AUDIO_P99],
            Self::Capacity(_) => [PACKET_RATE, VIDEO_P99],
            Self::Joins(_) => [joins::JOIN_P99, VIDEO_P99],
            Self::Loss(_) => [CPU_PER_PACKET, steady::COMPLETE],
            Self::Idle(_) => [idle::IDLE, idle::ACTIVE],
            Self::Soak(_) => [soak::P99_DRIFT, soak::MEMORY_DRIFT],
            Self::Churn(_) => [churn::MEMORY_DRIFT, churn::RATE],
            Self::Viewers(_) => [viewers::FIRST_FRAME_P95, viewers::REQUESTS],
            Self::Restart(_) => [restart::BACK_P95, restart::BACK_WORST],
        }
    }

    /// What the x axis of the plot shows.
    pub(crate) const fn axis(&self) -> &'static str {
        match self {
            Self::Broadcast(_) | Self::Audio(_) | Self::Idle(_) => "subscribers",
            Self::Meeting(_) => "participants",
            Self::Restart(_) => "bots",
            Self::Capacity(_) => "publishers",
            Self::Joins(_) => "joins at once",
            Self::Loss(_) => "% of packets lost",
            Self::Viewers(_) => "viewers who come",
            Self::Soak(_) => "minutes",
            Self::Churn(_) => "people who come and go",
        }
    }

    /// Measures one point on a server that was just started.
    ///
    /// # Errors
    /// Something broke, so that there are no figures.
    pub(crate) fn run(&self, point: &Point, run: &mut Run<'_>) -> anyhow::Result<Outcome> {
        let count = point.x as usize;
        match self {
            Self::Broadcast(own) => steady::broadcast(run, count, &own.video, None),
            Self::Loss(own) => {
                let share = point.x / 100.0;
                steady::broadcast(run, own.subscribers, &own.video, Some(share))
            }
            Self::Meeting(own) => steady::meeting(run, count, own.single, &own.video),
            Self::Audio(own) => steady::audio(run, own, count),
            Self::Capacity(own) => capacity::run(run, own),
            Self::Joins(own) => joins::run(run, own, count),
            Self::Idle(own) => idle::run(run, count, &own.video),
            Self::Viewers(own) => viewers::run(run, own, count),
            Self::Soak(own) => soak::run(run, own, count),
            Self::Churn(own) => churn::run(run, own, count),
            Self::Restart(own) => restart::run(run, own, count),
        }
    }
}

/// How much of a stream is decrypted: enough, and of each peer something every second.
fn sample_every(packets_per_peer: f64, peers: usize) -> u64 {
    let allowed = |step: &u64| *step == 1 || packets_per_peer / *step as f64 >= SAMPLES_PER_PEER;
    let allowed: Vec<u64> = SAMPLE_STEPS.into_iter().filter(allowed).collect();
    let total = packets_per_peer * peers as f64;
    let enough = allowed.iter().find(|step| total / **step as f64 <= SAMPLES_PER_SECOND);
    enough.or(allowed.last()).copied().unwrap_or(1)
}

impl Video {
    fn shape(&self) -> Shape {
        Shape::video(
            self.burst,
            self.payload,
            Duration::from_secs_f64(self.spread_ms.max(0.0) / 1e3),
        )
    }
}

fn encoding(rid: Option<&'static str>) -> Encoding {
    // libwebrtc's reserved values are not among them.
    let ssrc = || rand::random_range(0x1000..u32::MAX);
    Encoding { rid, ssrc: ssrc(), rtx_ssrc: ssrc() }
}

/// A section that sends one stream.
fn single(shape: Shape) -> (Section, Vec<Shape>) {
    (Section { kind: shape.kind, sends: vec![encoding(None)] }, vec![shape])
}

/// A section that sends three encodings, of which the best is `shape`.
fn simulcast(shape: Shape) -> (Section, Vec<Shape>) {
    let shapes: Vec<Shape> =
        [6, 3, 1].map(|part| Shape { packets: shape.packets.div_ceil(part), ..shape }).to_vec();
    let sends = ["q", "h", "f"].map(|rid| encoding(Some(rid))).to_vec();
    (Section { kind: Kind::Video, sends }, shapes)
}

/// One who publishes one stream in a room of its own name.
fn publisher(room: &str, shape: Shape, start: Option<Duration>, habits: &Habits) -> Joiner {
    let role = Role::Publish { tag: "publisher".to_owned(), sends: vec![single(shape)] };
    Joiner { room: room.to_owned(), role, start, habits: habits.clone() }
}

/// One who receives what [`publisher`] publishes.
fn subscriber(room: &str, kind: Kind, habits: &Habits) -> Joiner {
    let role = Role::Subscribe { from: vec!["publisher".to_owned()], kinds: vec![kind] };
    Joiner { room: room.to_owned(), role, start: None, habits: habits.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_sampled_and_no_more_than_needed() {
        assert_eq!(sample_every(150.0, 1), 1);
        assert_eq!(sample_every(150.0, 100), 7);
        assert_eq!(sample_every(150.0, 1000), 61);
        assert_eq!(sample_every(50.0, 1000), 29);
        assert_eq!(sample_every(1.0, 5000), 1);
        assert!(SAMPLE_STEPS.iter().skip(1).all(|step| step % 2 == 1 && step % 5 != 0));
    }

    #[test]
    fn simulcast_has_three_rates() {
        let (section, shapes) = simulcast(Shape::video(5, 1100, Duration::ZERO));
        let packets: Vec<u32> = shapes.iter().map(|shape| shape.packets).collect();
        assert_eq!(packets, [1, 2, 5]);
        assert_eq!(section.sends.iter().filter_map(|one| one.rid).collect::<String>(), "qhf");
    }
}
