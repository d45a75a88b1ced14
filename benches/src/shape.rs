//! A narrow link for real browsers: relays datagrams between them and a server's media port, through the model of the simulation.
//! Where the kernel has no netem, and without root.

mod command;
pub(crate) mod link;
mod relay;
mod tcp;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use command::{Changes, Command};
use relay::{Direction, Relay};

/// Of a line on standard input.
const LINE_MAX: usize = 4096;
/// Long enough not to matter.
const IDLE: Duration = Duration::from_secs(1);

/// How the link is at first; lines on standard input change it: `down rate=300k delay=50ms loss=0.02`, `up …`, `both …`; keys are rate
/// (bits per second), queue, delay, jitter, loss, bursts (BEGIN/END/LOSS or off: Gilbert-Elliott), others (cross traffic at a constant rate)
/// and tcp (a download with that round trip beside the link's own, or off). `stats` answers what passed since the last time, as JSON; `rebind` gives everybody another address towards the server. Each line is answered
/// with one. Ends with standard input.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the browsers send to
    #[arg(long)]
    listen: SocketAddr,
    /// The server's media port
    #[arg(long)]
    to: SocketAddr,
    /// From the server, as on standard input
    #[arg(long, default_value = "rate=100M")]
    down: String,
    /// To the server
    #[arg(long, default_value = "rate=100M")]
    up: String,
    /// Of jitter and loss
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Relays until standard input ends.
///
/// # Errors
/// An address that cannot be used, and a link that was not understood.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut relay = Relay::new(options.listen, options.to, options.seed)?;
    Changes::parse(options.down.split_whitespace())?.apply(&mut relay.link(Direction::Down).link);
    Changes::parse(options.up.split_whitespace())?.apply(&mut relay.link(Direction::Up).link);
    say(&format!("listening on {}", relay.address()?))?;
    let start = Instant::now();
    let now = || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut input = Vec::new();
    loop {
        let wait =
            relay.deliver(now()).map_or(IDLE, |at| Duration::from_micros(at.saturating_sub(now())));
        let (told, arrived) = ready(&relay, wait)?;
        if arrived {
            relay.receive(&now);
        }
        if told && !read_lines(&mut input, |line| say(&answer(&mut relay, line)))? {
            return Ok(());
        }
    }
}

/// Waits; says whether there is something on standard input, and on a socket.
fn ready(relay: &Relay, wait: Duration) -> anyhow::Result<(bool, bool)> {
    let stdin = std::io::stdin();
    let mut polled = vec![PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    polled.extend(relay.sockets().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
    ppoll(&mut polled, Some(TimeSpec::from_duration(wait)), None)?;
    let mut any = polled.iter().map(|one| one.any().unwrap_or(false));
    let told = any.next().unwrap_or(false);
    Ok((told, any.any(|one| one)))
}

/// Hands whole lines of standard input on; says whether more may come.
fn read_lines(
    input: &mut Vec<u8>,
    mut take: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let mut bytes = [0; LINE_MAX];
    let count = std::io::stdin().lock().read(&mut bytes)?;
    input.extend_from_slice(&bytes[..count]);
    while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
        let line: Vec<u8> = input.drain(..=end).collect();
        take(String::from_utf8_lossy(&line).trim())?;
    }
    anyhow::ensure!(input.len() <= LINE_MAX, "a line is too long");
    Ok(count > 0)
}

fn answer(relay: &mut Relay, line: &str) -> String {
    match Command::parse(line) {
        Ok(Command::Stats) => relay.stats().to_string(),
        Ok(Command::Rebind) => {
            relay.rebind();
            "ok".to_owned()
        }
        Ok(Command::Change { down, up, changes }) => {
            for (direction, named) in [(Direction::Down, down), (Direction::Up, up)] {
                if named {
                    changes.apply(&mut relay.link(direction).link);
                }
            }
            "ok".to_owned()
        }
        Err(error) => format!("error: {error:#}"),
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
