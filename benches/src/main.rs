//! Load generator: peers on real sockets with real ICE, DTLS and SRTP, against server processes.
//!
//! A peer is a lean client on the transport of `sfu-core` turned round: it checks every sequence number by the clear header,
//! decrypts a sample and compares its bytes, and sends the feedback that a browser sends. Never looks inside a server; what a server
//! costs is what the kernel says.

mod cli;
mod clock;
mod floor;
mod games;
mod ice;
mod load;
mod lobby;
mod peer;
mod plot;
mod process;
mod progress;
mod publication;
mod reception;
mod repair;
mod report;
mod runner;
mod scenario;
mod sdp;
mod shape;
mod socket;
mod stats;
mod target;
mod window;

use clap::{Parser, Subcommand};

/// Measures what forwarding costs a WebRTC server and how much delay it adds.
#[derive(Debug, Parser)]
#[command(name = "switchyard-bench")]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Puts load on one or several servers and reports cost, delay and loss
    Run {
        #[command(subcommand)]
        scenario: cli::Scenario,
        #[command(flatten)]
        options: Box<cli::Options>,
    },
    /// Measures the least that any server could spend on this machine: encryption and sending, nothing else
    Floor(floor::Options),
    /// Measures messages that all players of a game tell each other: data channels against the WebSocket relay
    Games(games::Options),
    /// Relays datagrams through a narrow link with delay and loss, for browsers and anything else
    Shape(shape::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Action::Run { scenario, options } => runner::run(&scenario, &options),
        Action::Floor(options) => floor::run(&options),
        Action::Games(options) => games::run(&options),
        Action::Shape(options) => shape::run(&options),
    }
}
