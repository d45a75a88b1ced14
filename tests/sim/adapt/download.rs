//! Somebody at the viewer's downloads: a TCP flow that answers to loss only, in the same queue.
#![allow(clippy::print_stdout)]

use super::measure::{Playback, bitrate, queue_p95};
use super::scenario::{Meeting, Sample, Setup};
use super::start::SEEDS;
use crate::net::{Link, MS, Micros, SECOND, Tcp};
use rand::SeedableRng;
use rand::rngs::SmallRng;

const SHORT: Micros = 100 * MS;
const DEEP: [Micros; 2] = [300 * MS, 500 * MS];
/// Until the share is found.
const FOUND: Micros = 5 * SECOND;

/// While the download lasts, without its first 5 s unless said, and after it.
struct Outcome {
    /// Bits per second: of the viewer, the mean and the least estimate, the download's.
    sent: u64,
    estimate: (u64, u64),
    download: u64,
    /// Of half the link.
    fair: f64,
    /// Of the time: each layer.
    layers: [f64; 3],
    frozen: f64,
    longest: Micros,
    /// In the first 5 s.
    longest_first: Micros,
    queue: Micros,
    /// From its end to the top layer.
    top: Option<Micros>,
}

fn run(setup: Setup, rate: u64, queue: Micros, seconds: u64) -> Outcome {
    let mut meeting = Meeting::new(setup);
    let viewer = meeting.join(Link { queue, ..Link::new(rate) });
    let subscriber = meeting.viewers[viewer].subscriber;
    for slot in &mut meeting.world.subscribers[subscriber].slots {
        // libwebrtc, of whom only receives.
        slot.nack_pause = 100 * MS;
    }
    meeting.run_seconds(8);
    let came = meeting.world.now;
    meeting.link(viewer).tcp = Some(Tcp::new(setup.rtt));
    meeting.run_seconds(seconds);
    let left = meeting.world.now;
    meeting.link(viewer).tcp = None;
    meeting.run_seconds(10);
    let during = came + FOUND..left;
    let playback = Playback::of(&meeting, viewer);
    let sent = bitrate(&meeting, viewer, during.clone());
    let samples = meeting.viewers[viewer].samples.iter();
    let samples: Vec<Sample> = samples.filter(|s| during.contains(&s.at)).copied().collect();
    let mean = |of: fn(&Sample) -> u64| samples.iter().map(of).sum::<u64>() / samples.len() as u64;
    let estimate = |sample: &Sample| sample.estimate.unwrap_or(0);
    Outcome {
        sent,
        estimate: (mean(estimate), samples.iter().map(estimate).min().unwrap_or(0)),
        download: mean(|sample| sample.download),
        fair: 2.0 * sent as f64 / rate as f64,
        layers: [0, 1, 2].map(|layer| playback.share(layer, during.clone())),
        frozen: playback.frozen(during.clone()),
        longest: playback.longest_freeze(during.clone()),
        longest_first: playback.longest_freeze(came..came + FOUND),
        queue: queue_p95(&mut meeting, viewer, during),
        top: playback.first(2, left).map(|at| at - left),
    }
}

fn line(setup: Setup, rate: u64, queue: Micros, outcome: &Outcome) -> String {
    let [q, h, f] = outcome.layers.map(|share| share * 100.0);
    format!(
        "| {} | {} | {} | {} | {} | {:.2} | {}, {} | {} | {q:.0}/{h:.0}/{f:.0} | {:.1} | {}, {} | {} | {:?} |",
        rate / 1000,
        setup.rtt / MS,
        queue / MS,
        setup.seed,
        outcome.sent / 1000,
        outcome.fair,
        outcome.estimate.0 / 1000,
        outcome.estimate.1 / 1000,
        outcome.download / 1000,
        outcome.frozen * 100.0,
        outcome.longest_first / MS,
        outcome.longest / MS,
        outcome.queue / MS,
        outcome.top.map(|top| top / MS)
    )
}

/// Or the others here would show nothing.
#[test]
fn a_download_alone_takes_the_link_and_fills_its_queue() {
    for (rtt, queue) in [(20 * MS, SHORT), (100 * MS, SHORT), (100 * MS, DEEP[0])] {
        let mut link = Link { queue, tcp: Some(Tcp::new(rtt)), ..Link::new(5_000_000) };
        let mut rng = SmallRng::seed_from_u64(1);
        for at in (0..20 * SECOND).step_by(10 * MS as usize) {
            link.pass(at, 22, &mut rng);
        }
        let rate = link.tcp.expect("a download").delivered * 8 / 20;
        let longest = link.passed.iter().map(|(_, waits, _)| *waits).max().unwrap_or(0);
        assert!(rate > 4_300_000, "{rtt} µs, {queue} µs: {rate} bit/s");
        assert!(longest > queue * 9 / 10 && !link.dropped.is_empty(), "{longest} of {queue} µs");
    }
}

/// Who gives way to every queue is left with sound, or less: without a share 0.05 to 0.34 of half the link.
#[test]
fn a_viewer_is_not_starved_beside_a_download() {
    let mut misses = Vec::new();
    for (rate, rtt) in [(3_000_000, 20 * MS), (3_000_000, 100 * MS), (10_000_000, 20 * MS)] {
        for seed in SEEDS {
            let setup = Setup::new(seed, rtt);
            let outcome = run(setup, rate, SHORT, 25);
            let line = line(setup, rate, SHORT, &outcome);
            println!("{line}");
            let top = outcome.top.is_none_or(|top| top > 8 * SECOND);
            if outcome.fair < 0.33 || outcome.longest > SECOND || outcome.frozen > 0.15 || top {
                misses.push(line);
            }
        }
    }
    assert!(misses.is_empty(), "{misses:#?}");
}

/// Every link with every queue: `cargo test --workspace --test sim -- --ignored --nocapture beside_a_download`.
#[test]
#[ignore = "goals missed in 29 of 72, prints the table: 0.11 to 0.32 of half the link in 13, freezes of 416 to 2208 ms with a queue of 100 ms in 22"]
fn beside_a_download_everything_goes_on() {
    println!(
        "| kbit/s | RTT ms | queue ms | seed | sent | of fair | estimate, least | download | layers % of the time | frozen % | longest freeze in the first 5 s, later ms | p95 in the queue ms | top layer after ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut misses = Vec::new();
    for queue in [SHORT, DEEP[0], DEEP[1]] {
        for rate in [1_500_000, 3_000_000, 5_000_000, 10_000_000] {
            for (rtt, seed) in [20 * MS, 100 * MS].into_iter().flat_map(|r| SEEDS.map(|s| (r, s))) {
                let setup = Setup::new(seed, rtt);
                let outcome = run(setup, rate, queue, 40);
                let line = line(setup, rate, queue, &outcome);
                println!("{line}");
                let freeze = outcome.longest.max(outcome.longest_first);
                let late = rate > 2_500_000 && outcome.top.is_none_or(|top| top > 8 * SECOND);
                if outcome.fair < 0.33 || queue == SHORT && freeze > 400 * MS || late {
                    misses.push(line);
                }
            }
        }
    }
    assert!(misses.is_empty(), "{} of 72: {misses:#?}", misses.len());
}
