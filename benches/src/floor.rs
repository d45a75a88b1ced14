//! The least that forwarding can cost on this machine: seal every packet with its subscriber's key and hand it to the kernel, the cheapest
//! way. No receiving, no rewriting (the header stays), no copy, no history.
//!
//! Packets, schedule, batches and receivers are those of the scenarios `broadcast` and `audio`, so that a server's processor time per
//! packet may be divided by this one's. The processor time is the thread's, which is the first field of its schedstat.

mod receivers;
mod report;
mod sender;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};

use crate::process::processor_ticks;
use receivers::Receivers;
pub(crate) use receivers::pin;
use sender::{Method, Sender, Shape, Step};

/// Sent before anything is measured.
const WARM_UP_FRAMES: u32 = 3;
/// A sender without a schedule waits for its receivers when they are more than so many datagrams and frames behind.
const BEHIND_MAX: u64 = 1024;
const BEHIND_FRAMES_MAX: u64 = 2;
/// Back to back, nothing waits for the next frame: less time gives as many packets.
const SATURATED_PART: u32 = 4;

/// Options of `floor`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Numbers of receivers
    #[arg(long, value_delimiter = ',', default_value = "100,500,1000")]
    subscribers: Vec<usize>,
    /// Packets of 1100 bytes per subscriber and frame, 30 frames/s
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=28))]
    burst: u8,
    /// Receivers take runs whole (UDP GRO)
    #[arg(long)]
    gro: bool,
    /// One packet of 160 bytes per subscriber, 50 times/s, instead of video
    #[arg(long, conflicts_with = "burst")]
    audio: bool,
    /// Length of each measurement on schedule; those without one take a quarter
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Rounds; in each, every way is measured once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Processor of the sender
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// Processor of the receivers
    #[arg(long, default_value_t = 1)]
    receiver_cpu: usize,
    /// Where the figures go as JSON
    #[arg(long, default_value = "floor.json")]
    json: PathBuf,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Processor time per datagram in µs; for `Step`s that only wait, per datagram that would have been sent.
    us: f64,
    /// Share of the sender's processor, 0 to 1.
    busy: f64,
    /// Datagrams that never arrived.
    lost: u64,
}

/// All measurements of one way.
#[derive(Debug)]
struct Series {
    name: &'static str,
    step: Step,
    paced: bool,
    samples: Vec<Sample>,
}

/// What was measured for one number of receivers.
#[derive(Debug)]
struct Point {
    subscribers: usize,
    /// Share of the sender's processor that others took, 0 to 1.
    others: f64,
    series: Vec<Series>,
}

/// Runs the command.
///
/// # Errors
/// Processors that are not there, too few open files, a kernel that does not take what is sent.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let shape = match options.audio {
        true => Shape { payload: 160, burst: 1, rate: 50 },
        false => Shape { payload: 1100, burst: options.burst.into(), rate: 30 },
    };
    pin(options.cpu)?;
    let mut points = Vec::new();
    for &subscribers in &options.subscribers {
        let point = measure(options, shape, subscribers)?;
        report::print(&point, shape)?;
        points.push(point);
    }
    let json = serde_json::to_string_pretty(&report::json(&points, shape, options.gro))?;
    std::fs::write(&options.json, json).with_context(|| options.json.display().to_string())
}

fn measure(options: &Options, shape: Shape, subscribers: usize) -> anyhow::Result<Point> {
    let cpu = Some(options.receiver_cpu);
    let receivers = Receivers::start(subscribers, options.gro, shape.datagram(), cpu)?;
    let mut sender = Sender::new(shape, &receivers.addresses)?;
    let mut series = all_series(shape);
    let time = Duration::from_secs(options.seconds);
    let (ticks, cpu, start) = (processor_ticks(&[options.cpu])?, thread_cpu()?, Instant::now());
    for _ in 0..options.rounds {
        for one in &mut series {
            let sample = match one.paced {
                true => paced(&mut sender, &receivers, shape, one.step, time)?,
                false => saturated(&mut sender, &receivers, one.step, time / SATURATED_PART)?,
            };
            one.samples.push(sample);
        }
    }
    let own = (thread_cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    let [busy, _, all] = processor_ticks(&[options.cpu])?;
    let busy = (busy - ticks[0]) as f64 / (all - ticks[2]) as f64;
    Ok(Point { subscribers, others: (busy - own).max(0.0), series })
}

/// What is measured of this traffic. Single packets have nothing to segment.
fn all_series(shape: Shape) -> Vec<Series> {
    let video = shape.burst > 1;
    let steps = [
        ("nothing", false, None),
        ("GCM", true, None),
        ("sendmmsg", false, Some(Method::Single)),
        ("GSO", false, Some(Method::Segmented)),
        ("the server's socket", false, Some(Method::Server)),
        ("GCM + sendmmsg", true, Some(Method::Single)),
        ("GCM + GSO", true, Some(Method::Segmented)),
        ("GCM + the server's socket", true, Some(Method::Server)),
    ];
    let series = |paced| {
        steps
            .into_iter()
            .filter(move |(_, _, send)| video || *send != Some(Method::Segmented))
            // Without a schedule, doing nothing takes no time.
            .filter(move |(_, seal, send)| paced || *seal || send.is_some())
            .map(move |(name, seal, send)| Series {
                name,
                step: Step { seal, send },
                paced,
                samples: Vec::new(),
            })
    };
    series(true).chain(series(false)).collect()
}

/// Frames when they are due: the thread sleeps in between, and finds its caches as they are then.
fn paced(
    sender: &mut Sender,
    receivers: &Receivers,
    shape: Shape,
    step: Step,
    time: Duration,
) -> anyhow::Result<Sample> {
    warm_up(sender, receivers, step)?;
    let frames = (time.as_secs_f64() * f64::from(shape.rate)) as u32;
    let interval = Duration::from_secs(1) / shape.rate;
    let probe = Probe::start(receivers)?;
    for frame in 0..frames {
        let due = probe.start + interval * frame;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sender.frame(step)?;
    }
    probe.end(sender, receivers, step, frames, interval * frames)
}

/// Frames one after the other, as fast as the receivers take them.
fn saturated(
    sender: &mut Sender,
    receivers: &Receivers,
    step: Step,
    time: Duration,
) -> anyhow::Result<Sample> {
    warm_up(sender, receivers, step)?;
    let behind_max = BEHIND_MAX.max(BEHIND_FRAMES_MAX * sender.frame_datagrams());
    let probe = Probe::start(receivers)?;
    let mut frames = 0;
    while thread_cpu()? - probe.cpu < time {
        sender.frame(step)?;
        frames += 1;
        let target = (probe.received + sent(sender, step, frames)).saturating_sub(behind_max);
        if receivers.datagrams() < target {
            receivers.settle(target);
        }
    }
    let elapsed = probe.start.elapsed();
    probe.end(sender, receivers, step, frames, elapsed)
}

fn warm_up(sender: &mut Sender, receivers: &Receivers, step: Step) -> anyhow::Result<()> {
    let before = receivers.datagrams();
    for _ in 0..WARM_UP_FRAMES {
        sender.frame(step)?;
    }
    receivers.settle(before + sent(sender, step, WARM_UP_FRAMES));
    Ok(())
}

/// Datagrams that left in so many frames.
fn sent(sender: &Sender, step: Step, frames: u32) -> u64 {
    if step.send.is_some() { u64::from(frames) * sender.frame_datagrams() } else { 0 }
}

/// Readings at the start of one measurement.
struct Probe {
    received: u64,
    start: Instant,
    cpu: Duration,
}

impl Probe {
    fn start(receivers: &Receivers) -> anyhow::Result<Self> {
        let received = receivers.datagrams();
        Ok(Self { received, start: Instant::now(), cpu: thread_cpu()? })
    }

    /// `elapsed`: what the processor time is a share of.
    fn end(
        self,
        sender: &Sender,
        receivers: &Receivers,
        step: Step,
        frames: u32,
        elapsed: Duration,
    ) -> anyhow::Result<Sample> {
        let cpu = (thread_cpu()? - self.cpu).as_secs_f64();
        let expected = self.received + sent(sender, step, frames);
        let lost = expected.saturating_sub(receivers.settle(expected));
        let datagrams = u64::from(frames) * sender.frame_datagrams();
        Ok(Sample { us: 1e6 * cpu / datagrams as f64, busy: cpu / elapsed.as_secs_f64(), lost })
    }
}

/// Time of the calling thread on a processor, kernel included: up to the moment, which schedstat is only at a switch.
fn thread_cpu() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(Duration::from_nanos(u64::try_from(time.num_nanoseconds())?))
}

// Here and not beside the receivers, because the micro-benchmarks include that file.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
    use std::net::{Ipv4Addr, UdpSocket};

    #[test]
    fn what_gro_joined_is_counted_apart() {
        for gro in [false, true] {
            let receivers = Receivers::start(2, gro, 100, None).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            setsockopt(&socket, UdpGsoSegment, &100).unwrap();
            for address in &receivers.addresses {
                socket.send_to(&[0; 500], address).unwrap();
                socket.send_to(&[0; 100], address).unwrap();
            }
            assert_eq!(receivers.settle(12), 12, "GRO: {gro}");
        }
    }

    #[test]
    fn singletons_have_nothing_to_segment() {
        let ways = |burst| {
            let series = all_series(Shape { payload: 160, burst, rate: 50 });
            series.iter().filter(|one| one.step.send == Some(Method::Segmented)).count()
        };
        assert_eq!((ways(1), ways(5)), (0, 4));
    }
}
