//! Load generator: participants on real sockets with real ICE, DTLS and SRTP, against the server binary.
//!
//! A participant is a lean client on the transport of `sfu-core` turned round: it checks every sequence number by the clear header,
//! decrypts a sample and compares its bytes, and sends the feedback that a browser sends. Never looks inside the server; what the
//! server costs is what the kernel says.

mod clock;
mod load;
mod lobby;
mod peer;
mod process;
mod publication;
mod reception;
mod report;
mod scenario;
mod sdp;
mod signaling;
mod socket;
mod stun;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::scenario::Scenario;

/// Measures what a Switchyard server costs and how much delay it adds.
#[derive(Debug, Parser)]
#[command(name = "switchyard-bench")]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One publisher of video at 150 packets/s of 1100 bytes, and subscribers
    Broadcast {
        /// Participants that only receive
        #[arg(long, default_value_t = 50)]
        subscribers: usize,
        #[command(flatten)]
        options: Options,
    },
    /// Everybody publishes video and audio (50 packets/s of 120 bytes) and receives all others
    Meeting {
        /// 2 to 5
        #[arg(long, default_value_t = 3)]
        participants: usize,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// Length of the window that counts
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Runs, each against a fresh server
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The server binary [default: `switchyard` beside this one]
    #[arg(long)]
    server: Option<PathBuf>,
    /// Processor of the server
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// Processor of this generator
    #[arg(long, default_value_t = 1)]
    generator_cpu: usize,
    /// Leave both to the scheduler
    #[arg(long)]
    unpinned: bool,
    /// Between two transport-wide feedbacks of a receiver; 0: none
    #[arg(long, default_value_t = 100)]
    feedback_ms: u64,
    /// Where the figures go as JSON
    #[arg(long, default_value = "bench.json")]
    json: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let (scenario, options) = match Cli::parse().command {
        Action::Broadcast { subscribers, options } => {
            (Scenario::Broadcast { subscribers }, options)
        }
        Action::Meeting { participants, options } => (Scenario::Meeting { participants }, options),
    };
    let binary = match options.server {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("switchyard"),
    };
    if !options.unpinned {
        let mut set = CpuSet::new();
        set.set(options.generator_cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set).context("--generator-cpu")?;
    }
    let server_cpu = (!options.unpinned).then_some(options.server_cpu);
    let feedback = (options.feedback_ms > 0).then(|| Duration::from_millis(options.feedback_ms));
    let mut out = std::io::stdout();
    let mut runs = Vec::new();
    for run in 1..=options.runs {
        let measured = scenario::run(scenario, options.seconds, &binary, server_cpu, feedback)?;
        writeln!(out, "run {run}: {:.3} µs per packet", measured.cpu_us_per_packet)?;
        runs.push(measured);
    }
    write!(out, "\n{}", report::table(&runs))?;
    let command: Vec<String> = std::env::args().collect();
    let json = serde_json::to_string_pretty(&report::json(&command, &runs))?;
    std::fs::write(&options.json, json).with_context(|| options.json.display().to_string())?;
    Ok(())
}
