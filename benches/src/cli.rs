//! The command line of `run`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use sfu_core::transport::srtp::SrtpProfile;

use crate::peer::Habits;

/// What is run.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// One publisher of video, N subscribers
    Broadcast(Broadcast),
    /// Everybody publishes video and audio and receives all others
    Meeting(Meeting),
    /// P publishers of audio (160 bytes, 50 packets/s), N subscribers who hear all of them
    Audio(Audio),
    /// 20 publishers with staggered frames, more and more subscribers, until something gives way
    Capacity(Capacity),
    /// N subscribers join at once, beside a broadcast to 50
    Joins(Joins),
    /// A broadcast whose receivers lose packets and ask for them
    Loss(Loss),
    /// Memory per subscriber: connected with nothing flowing, and receiving video
    Idle(Idle),
    /// N viewers come to a stream that is on, at random moments or at once: when each has its first frame
    Viewers(Viewers),
    /// A broadcast that goes on, measured minute by minute: do the delay and the memory stay
    Soak(Soak),
    /// N people come and go, some without a word and some before they are connected: does anything of them stay
    Churn(Churn),
    /// The server is killed and started again: when each of N bots has media again
    Restart(Restart),
}

/// How video is sent.
#[derive(Clone, Debug, Args)]
pub(crate) struct Video {
    /// Packets of a frame; there are 30 frames per second
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) burst: u32,
    /// Payload bytes of a packet
    #[arg(long, default_value_t = 1100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Milliseconds between the packets of a frame (Chrome's pacer: about 1)
    #[arg(long, default_value_t = 0.0)]
    pub(crate) spread_ms: f64,
}

fn payload(text: &str) -> Result<usize, String> {
    let bytes = text.parse().map_err(|_| "not a number".to_owned())?;
    if (40..=1300).contains(&bytes) { Ok(bytes) } else { Err("40 to 1300 bytes".to_owned()) }
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Broadcast {
    /// A list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "100")]
    pub(crate) subscribers: Vec<usize>,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Meeting {
    /// A list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "10")]
    pub(crate) participants: Vec<usize>,
    /// One encoding instead of simulcast with three
    #[arg(long)]
    pub(crate) single: bool,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Audio {
    #[arg(long, default_value_t = 1)]
    pub(crate) publishers: usize,
    /// Only so many of the publishers speak, and subscribers have room for no more; 0: all of them
    #[arg(long, default_value_t = 0)]
    pub(crate) loudest: usize,
    /// A list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "500")]
    pub(crate) subscribers: Vec<usize>,
    /// Payload bytes of a packet
    #[arg(long, default_value_t = 160, value_parser = payload)]
    pub(crate) payload: usize,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Capacity {
    #[arg(long, default_value_t = 20)]
    pub(crate) publishers: usize,
    /// To begin with
    #[arg(long, default_value_t = 200)]
    pub(crate) subscribers: usize,
    /// More subscribers for each step
    #[arg(long, default_value_t = 100)]
    pub(crate) step: usize,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Joins {
    /// That join at once; a list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "500")]
    pub(crate) joins: Vec<usize>,
    /// Of the broadcast beside them
    #[arg(long, default_value_t = 50)]
    pub(crate) subscribers: usize,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Loss {
    /// Percent of the packets that each receiver drops; a list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "2")]
    pub(crate) percent: Vec<f64>,
    #[arg(long, default_value_t = 100)]
    pub(crate) subscribers: usize,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Idle {
    /// A list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "500")]
    pub(crate) subscribers: Vec<usize>,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Viewers {
    /// A list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "100")]
    pub(crate) viewers: Vec<usize>,
    /// All together, instead of one by one at random moments
    #[arg(long)]
    pub(crate) at_once: bool,
    /// The publisher does not answer keyframe requests (as FFmpeg and OBS)
    #[arg(long, requires = "keyframe_seconds")]
    pub(crate) deaf: bool,
    /// The publisher makes a keyframe so often by itself
    #[arg(long)]
    pub(crate) keyframe_seconds: Option<u64>,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Soak {
    #[arg(long, value_delimiter = ',', default_value = "60")]
    pub(crate) minutes: Vec<usize>,
    /// As many as load the server by half
    #[arg(long, default_value_t = 800)]
    pub(crate) subscribers: usize,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Churn {
    /// That come and go
    #[arg(long, value_delimiter = ',', default_value = "10000")]
    pub(crate) cycles: Vec<usize>,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// See [`Scenario`].
#[derive(Clone, Debug, Args)]
pub(crate) struct Restart {
    /// Each sends sound and a picture; a list makes the points of a plot
    #[arg(long, value_delimiter = ',', default_value = "50")]
    pub(crate) bots: Vec<usize>,
    /// Of them in a room, where each receives all others
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=50))]
    pub(crate) together: u32,
    /// From the kill until the server is started again
    #[arg(long, default_value_t = 1000)]
    pub(crate) down_ms: u64,
    #[command(flatten)]
    pub(crate) video: Video,
}

/// An SRTP profile.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// AEAD_AES_128_GCM
    Gcm,
    /// AES128_CM_HMAC_SHA1_80
    Cm,
    /// AEAD_AES_256_GCM
    Gcm256,
}

/// What all scenarios take.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What is measured: switchyard (over WHIP and WHEP), switchyard:WORKERS, switchyard-ws (over its WebSocket), binary:PATH
    /// (another build of ours), janus (one event loop), janus:LOOPS, janus:default (a thread for each peer), url:http://HOST:PORT
    /// (any WHIP and WHEP server); several take turns, and are compared with the first [default: switchyard, and
    /// switchyard-ws for meetings and for several publishers of audio]
    #[arg(long = "target", value_name = "TARGET", global = true)]
    pub(crate) targets: Vec<String>,
    /// Of each point and target, each with a fresh server
    #[arg(long, default_value_t = 3, global = true)]
    pub(crate) rounds: usize,
    /// Length of the window that counts
    #[arg(long, default_value_t = 15, global = true)]
    pub(crate) seconds: u64,
    /// Before the window, when all are there
    #[arg(long, default_value_t = 4, global = true)]
    pub(crate) warm_up: u64,
    /// Our server's binary [default: `switchyard` beside this one]
    #[arg(long, global = true)]
    pub(crate) server: Option<PathBuf>,
    /// Media workers of our server
    #[arg(long, default_value_t = 1, global = true)]
    pub(crate) workers: usize,
    /// Path at a url: target, with {room} for the room
    #[arg(long, default_value = "/whip/{room}", global = true)]
    pub(crate) whip: String,
    /// Path at a url: target, with {room} for the room
    #[arg(long, default_value = "/whep/{room}", global = true)]
    pub(crate) whep: String,
    /// Bearer token for a url: target
    #[arg(long, global = true)]
    pub(crate) token: Option<String>,
    /// Processes of a url: target on this machine, to read their CPU and memory
    #[arg(long = "pid", global = true)]
    pub(crate) pids: Vec<u32>,
    /// Processors of the server
    #[arg(long, value_delimiter = ',', default_value = "0", global = true)]
    pub(crate) server_cpu: Vec<usize>,
    /// Processors of this generator
    #[arg(long, value_delimiter = ',', default_value = "1", global = true)]
    pub(crate) generator_cpu: Vec<usize>,
    /// Leave both to the scheduler
    #[arg(long, global = true)]
    pub(crate) unpinned: bool,
    /// Between two transport-wide feedbacks of a receiver; 0: none
    #[arg(long, default_value_t = 100, global = true)]
    pub(crate) feedback_ms: u64,
    /// SRTP profile that the peers offer
    #[arg(long, value_enum, default_value = "gcm", global = true)]
    pub(crate) profile: Profile,
    /// Receivers with UDP_GRO
    #[arg(long, global = true)]
    pub(crate) gro: bool,
    /// Where the figures go as JSON
    #[arg(long, default_value = "bench.json", global = true)]
    pub(crate) json: PathBuf,
    /// Where the plot goes as SVG
    #[arg(long, default_value = "bench.svg", global = true)]
    pub(crate) plot: PathBuf,
}

impl Options {
    /// What every peer does; how much is sampled is the scenario's affair.
    pub(crate) fn habits(&self) -> Habits {
        Habits {
            sample_every: 1,
            feedback: (self.feedback_ms > 0).then(|| Duration::from_millis(self.feedback_ms)),
            profile: match self.profile {
                Profile::Gcm => SrtpProfile::AeadAes128Gcm,
                Profile::Cm => SrtpProfile::Aes128CmSha1_80,
                Profile::Gcm256 => SrtpProfile::AeadAes256Gcm,
            },
            gro: self.gro,
            loss: None,
            deaf: false,
        }
    }

    /// Where the server runs; empty: anywhere.
    pub(crate) fn server_cpus(&self) -> &[usize] {
        if self.unpinned { &[] } else { &self.server_cpu }
    }
}
