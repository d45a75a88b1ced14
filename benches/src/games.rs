//! A game: everybody tells everybody else something, many times a second, over lossy data channels and, to compare, through the WebSocket
//! relay of the same server.

mod channels;
mod relay;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;

use crate::clock::wall_ns;
use crate::floor::pin;
use crate::process::cpu_of;
use crate::stats::quantile_ms;
use channels::Channels;
use relay::Relay;

/// Flag and stamp at the head of a message, as text, which both ways carry alike.
const HEAD_LEN: usize = 21;
const COUNTS: char = '1';
const WARMS_UP: char = '0';
/// Between two looks at all sockets: what comes over the relay has no arrival time of the kernel's.
const LOOK: Duration = Duration::from_micros(200);
/// Before the window, and for what is on its way after it.
const WARM_UP: Duration = Duration::from_secs(2);
const DRAIN: Duration = Duration::from_millis(500);

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Lossy data channels (`ordered: false, maxRetransmits: 0`)
    Channels,
    /// The WebSocket relay `/channel`
    Relay,
}

/// Options of `games`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Players in one room
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=200))]
    players: u16,
    /// Messages of each player per second; of a list, each is measured
    #[arg(long, value_delimiter = ',', default_value = "30")]
    rate: Vec<u32>,
    /// Bytes of a message
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(32..=1000))]
    bytes: u16,
    /// Ways that are measured
    #[arg(long, value_enum, value_delimiter = ',', default_value = "channels,relay")]
    way: Vec<Way>,
    /// Length of the window that counts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Our server's binary [default: `switchyard` beside this one]
    #[arg(long)]
    server: Option<PathBuf>,
    /// Processor of the server
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// Processor of this generator
    #[arg(long, default_value_t = 1)]
    generator_cpu: usize,
}

/// What players heard.
struct Heard {
    delays: Histogram<u64>,
    count: u64,
}

impl Heard {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { delays: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?, count: 0 })
    }

    /// `at`: wall clock when it came.
    fn take(&mut self, message: &[u8], at: u64) {
        let Some((&flag, rest)) = message.split_first() else { return };
        let stamp = rest.get(..HEAD_LEN - 1).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(stamp) = stamp.and_then(|digits| digits.parse::<u64>().ok()) else { return };
        if flag == COUNTS as u8 {
            self.count += 1;
            self.delays.saturating_record(at.saturating_sub(stamp));
        }
    }
}

/// Players who are all there.
trait Players {
    /// Says something to all others.
    fn say(&mut self, player: usize, message: &str) -> anyhow::Result<()>;

    /// Reads what came, and does what is due.
    fn work(&mut self, heard: &mut Heard) -> anyhow::Result<()>;

    fn server_pid(&self) -> u32;
}

/// One line of the table.
struct Figures {
    sent: u64,
    heard: Heard,
    server: Duration,
    generator: Duration,
    window: Duration,
}

/// Runs the command.
///
/// # Errors
/// The server does not start or refuses; a processor is not there.
#[allow(clippy::print_stdout, reason = "the table is the command's output")]
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    pin(options.generator_cpu)?;
    let beside = std::env::current_exe()?.with_file_name("switchyard");
    let binary = options.server.clone().unwrap_or(beside);
    println!(
        "{} players, {} bytes; a delivery is one message at one of the {} others\n",
        options.players,
        options.bytes,
        options.players - 1
    );
    println!(
        "| way | sent /s | deliveries /s | lost % | p50 ms | p99 ms | p99.9 ms | server µs per delivery | server busy % | generator busy % |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for way in &options.way {
        for rate in &options.rate {
            let cpus = [options.server_cpu];
            let players = usize::from(options.players);
            let mut all: Box<dyn Players> = match way {
                Way::Channels => Box::new(Channels::start(&binary, &cpus, players)?),
                Way::Relay => Box::new(Relay::start(&binary, &cpus, players)?),
            };
            let figures = measure(all.as_mut(), options, *rate);
            let figures = figures.with_context(|| format!("{way:?}, {rate} a second"))?;
            figures.print(*way, players);
        }
    }
    Ok(())
}

fn measure(all: &mut dyn Players, options: &Options, rate: u32) -> anyhow::Result<Figures> {
    let mut heard = Heard::new()?;
    play(all, options, rate, (WARM_UP, WARMS_UP), &mut heard)?;
    let (server, generator) = (all.server_pid(), std::process::id());
    let before = (cpu_of(&[server])?, cpu_of(&[generator])?);
    let began = Instant::now();
    let length = Duration::from_secs(options.seconds);
    let sent = play(all, options, rate, (length, COUNTS), &mut heard)?;
    let figures = Figures {
        sent,
        server: cpu_of(&[server])?.saturating_sub(before.0),
        generator: cpu_of(&[generator])?.saturating_sub(before.1),
        window: began.elapsed(),
        heard,
    };
    let end = Instant::now() + DRAIN;
    let Figures { mut heard, .. } = figures;
    while Instant::now() < end {
        all.work(&mut heard)?;
        std::thread::sleep(LOOK);
    }
    Ok(Figures { heard, ..figures })
}

/// Everybody speaks in turn, at even distances. Returns how often.
fn play(
    all: &mut dyn Players,
    options: &Options,
    rate: u32,
    (length, flag): (Duration, char),
    heard: &mut Heard,
) -> anyhow::Result<u64> {
    let players = usize::from(options.players);
    let interval = Duration::from_secs(1) / rate.max(1) / u32::from(options.players);
    let fill = usize::from(options.bytes) - HEAD_LEN;
    let (mut sent, begin) = (0_u64, Instant::now());
    while begin.elapsed() < length {
        // The schedule is absolute: a generator that is late does not send less.
        while begin.elapsed() >= interval.mul_f64(sent as f64) {
            let message = format!("{flag}{:020}{:x<fill$}", wall_ns(), "");
            all.say(sent as usize % players, &message)?;
            sent += 1;
        }
        all.work(heard)?;
        let next = interval.mul_f64(sent as f64).saturating_sub(begin.elapsed());
        std::thread::sleep(next.min(LOOK));
    }
    Ok(sent)
}

impl Figures {
    #[allow(clippy::print_stdout, reason = "the table is the command's output")]
    fn print(&self, way: Way, players: usize) {
        let seconds = self.window.as_secs_f64();
        let expected = self.sent * (players as u64 - 1);
        let share = |time: Duration| 100.0 * time.as_secs_f64() / seconds;
        let ms = |q| quantile_ms(&self.heard.delays, q);
        println!(
            "| {way:?} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} |",
            self.sent as f64 / seconds,
            self.heard.count as f64 / seconds,
            100.0 * (expected.saturating_sub(self.heard.count)) as f64 / expected.max(1) as f64,
            ms(0.5),
            ms(0.99),
            ms(0.999),
            self.server.as_secs_f64() * 1e6 / self.heard.count.max(1) as f64,
            share(self.server),
            share(self.generator),
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_in_the_window_counts() {
        let mut heard = Heard::new().unwrap();
        for (flag, stamp) in [(WARMS_UP, 5), (COUNTS, 1_000_000)] {
            heard.take(format!("{flag}{stamp:020}xxxx").as_bytes(), 3_000_000);
        }
        for wrong in ["", "1", "1x", "1000000000000000000xx"] {
            heard.take(wrong.as_bytes(), 3_000_000);
        }
        assert_eq!(heard.count, 1);
        assert!((quantile_ms(&heard.delays, 0.5) - 2.0).abs() < 0.01);
    }
}
