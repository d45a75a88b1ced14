//! The estimator on simulated bottlenecks; with `--nocapture` each test prints what it measured.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod flow;
mod hostile;
mod link;

use super::{BandwidthEstimator, Cause, Estimate, FIRST_PROBE, PacketResult};
use flow::{Run, Source};
use link::{LinkConfig, Lossy};
use std::hint::black_box;
use std::time::Instant;

const SEEDS: [u64; 3] = [1, 2, 3];
const RTTS_MS: [u64; 3] = [20, 100, 300];
const RATES: [u64; 6] = [300_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000];
const TOP: u64 = 2_350_000;

/// 2.35 Mbit/s in all.
fn layers() -> Source {
    Source::Layers(vec![150_000, 500_000, 1_700_000])
}

fn config(bits_per_second: u64, rtt_ms: u64) -> LinkConfig {
    LinkConfig { rtt_us: rtt_ms * 1000, ..LinkConfig::new(bits_per_second) }
}

fn run(config: LinkConfig, seed: u64, source: Source, seconds: u64) -> Run {
    let mut run = Run::new(config, seed).with(source, 0);
    run.until(seconds * 1_000_000);
    run
}

#[test]
fn the_link_is_full_and_its_queue_is_not() {
    println!("kbit/s, RTT ms, seed: estimate %, received %, ms in the queue (50, 95, 99 %)");
    for rate in RATES {
        for (rtt, seed) in RTTS_MS.into_iter().flat_map(|rtt| SEEDS.map(|seed| (rtt, seed))) {
            let run = run(config(rate, rtt), seed, Source::Unlimited, 60);
            let percent = run.median(0, 30, 60) * 100 / rate;
            let wait = [50, 95, 99].map(|part| run.wait_ms(30, part));
            let received = run.received(0, 30, 60) * 100 / rate;
            println!("{:>6} {rtt:>4} {seed}: {percent:>4} {received:>4} {wait:>4?}", rate / 1000);
            assert!((85..=100).contains(&percent), "{rate} {rtt} {seed}: {percent} %");
            let wait_max = if rate < 1_000_000 { 120 } else { 50 };
            assert!(wait[1] <= wait_max, "{rate} {rtt} {seed}: {wait:?} ms");
        }
    }
}

#[test]
fn a_change_of_capacity_is_followed() {
    println!("kbit/s, RTT ms: ms until below half, ms until 90 % again");
    for rate in RATES.into_iter().map(|rate| rate * 2) {
        for (rtt, seed) in RTTS_MS.into_iter().flat_map(|rtt| SEEDS.map(|seed| (rtt, seed))) {
            let mut link = config(rate, rtt);
            link.rates = vec![(0, rate), (20_000_000, rate / 2), (40_000_000, rate)];
            let run = run(link, seed, Source::Unlimited, 60);
            let down = run.after_ms(20, |estimate| estimate < rate / 2).unwrap();
            let up = run.after_ms(40, |estimate| estimate >= rate * 9 / 10).unwrap();
            println!("{:>6} {rtt:>4} {seed}: {down:>5} {up:>5}", rate / 1000);
            assert!(down <= 1_000, "{rate} {rtt} {seed}: {down} ms");
            assert!(up <= 6_000, "{rate} {rtt} {seed}: {up} ms");
        }
    }
}

#[test]
fn the_top_layer_is_there_within_two_seconds() {
    println!("kbit/s, RTT ms: ms until the second, the third layer; kB of padding in 60 s");
    for (rate, rtt) in [3, 5, 10, 50].into_iter().flat_map(|rate| RTTS_MS.map(|rtt| (rate, rtt))) {
        let run = run(config(rate * 1_000_000, rtt), 1, layers(), 60);
        let second = run.after_ms(0, |estimate| estimate >= 650_000).unwrap();
        let third = run.after_ms(0, |estimate| estimate >= TOP).unwrap();
        let padding = run.flows[0].probe_bytes / 1000;
        println!("{:>6} {rtt:>4}: {second:>4} {third:>5} {padding:>4}", rate * 1000);
        assert!(third <= 2_000, "{rate} {rtt}: {third} ms");
        // It stays there. Then room is looked for after 5 s and 20 s, with 15 ms of up to 5.3 Mbit/s.
        assert_eq!(run.flows[0].switches, 3, "{rate} {rtt}");
        assert!(padding < 20 + 2 * 10, "{rate} {rtt}: {padding} kB");
    }
}

#[test]
fn a_layer_that_does_not_fit_is_not_forced() {
    println!("kbit/s, RTT ms: estimate, received, ms in the queue (95 %), switches, kB of padding");
    for (rate, fits) in
        [(300, 150), (500, 150), (800, 650), (1_000, 650), (2_000, 650), (2_800, 2_350)]
    {
        for rtt in RTTS_MS {
            let run = run(config(rate * 1000, rtt), 1, layers(), 60);
            let (estimate, wait) = (run.median(0, 30, 60) / 1000, run.wait_ms(10, 95));
            let received = run.received(0, 30, 60) / 1000;
            let (switches, padding) = (run.flows[0].switches, run.flows[0].probe_bytes / 1000);
            println!(
                "{rate:>6} {rtt:>4}: {estimate:>4} {received:>4} {wait:>4} {switches:>2} {padding:>4}"
            );
            assert!(received >= fits * 95 / 100, "{rate} {rtt}: {received}");
            assert!(wait <= 50, "{rate} {rtt}: {wait} ms");
            assert!(switches <= 3, "{rate} {rtt}: {switches}");
        }
    }
}

/// Frames of five videos and voices mixed, sent as they come.
#[test]
fn a_meeting_fills_its_link() {
    println!("kbit/s, RTT ms: estimate, received (of 2720), ms in the queue (95 %), switches");
    for (rate, received_min) in [(1_500, 1_050), (3_000, 2_400), (4_000, 2_650), (10_000, 2_650)] {
        for rtt in RTTS_MS {
            let run = run(config(rate * 1000, rtt), 1, Source::Meeting(vec![500_000; 5]), 60);
            let (estimate, wait) = (run.median(0, 30, 60) / 1000, run.wait_ms(10, 95));
            let received = run.received(0, 30, 60) / 1000;
            let switches = run.flows[0].switches;
            println!("{rate:>6} {rtt:>4}: {estimate:>5} {received:>5} {wait:>4} {switches:>2}");
            assert!(received >= received_min, "{rate} {rtt}: {received}");
            assert!(wait <= 60, "{rate} {rtt}: {wait} ms");
        }
    }
}

#[test]
fn layers_follow_the_capacity() {
    println!("kbit/s, RTT ms: ms until below the new rate, ms until the top layer again");
    for (high, low) in [(3_000_000, 1_000_000), (3_000_000, 300_000), (5_000_000, 2_000_000)] {
        for (rtt, seed) in RTTS_MS.into_iter().flat_map(|rtt| SEEDS.map(|seed| (rtt, seed))) {
            let mut link = config(high, rtt);
            link.rates = vec![(0, high), (20_000_000, low), (40_000_000, high)];
            let run = run(link, seed, layers(), 60);
            let down = run.after_ms(20, |estimate| estimate < low).unwrap();
            let up = run.after_ms(40, |estimate| estimate >= TOP).unwrap();
            println!("{high} -> {low} {rtt:>4} {seed}: {down:>5} {up:>5}");
            assert!(down <= 1_200, "{low} {rtt} {seed}: {down} ms");
            assert!(up <= 6_000, "{low} {rtt} {seed}: {up} ms");
        }
    }
}

/// What a radio link loses is no reason to starve.
#[test]
fn random_loss_does_not_starve() {
    println!("2 Mbit/s, RTT 100 ms: estimate in % for three seeds");
    let cases = [
        ("2 %", Lossy::Random(0.02), 75),
        ("5 %", Lossy::Random(0.05), 70),
        ("10 %", Lossy::Random(0.1), 40),
        ("1 % in bursts", Lossy::Bursts(0.002, 0.2), 75),
        ("5 % in bursts", Lossy::Bursts(0.01, 0.2), 70),
        ("30 %", Lossy::Random(0.3), 1),
    ];
    for (name, lossy, percent_min) in cases {
        let percents = SEEDS.map(|seed| {
            let link = LinkConfig { lossy, ..config(2_000_000, 100) };
            let run = run(link, seed, Source::Unlimited, 60);
            assert!(run.flows[0].trace.iter().all(|(_, estimate)| *estimate >= 30_000));
            run.median(0, 30, 60) / 20_000
        });
        println!("{name:>14}: {percents:?}");
        assert!(percents.iter().all(|percent| *percent >= percent_min), "{name}: {percents:?}");
    }
}

#[test]
fn after_heavy_loss_the_layers_come_back() {
    println!("3 Mbit/s, RTT 100 ms: estimate during 20 s of loss, ms until the top layer after it");
    for (percent, seed) in [10, 20, 30, 50].into_iter().flat_map(|p| SEEDS.map(|seed| (p, seed))) {
        let lossy = Lossy::Random(percent as f64 / 100.0);
        let link = LinkConfig { lossy, lossy_until_us: 20_000_000, ..config(3_000_000, 100) };
        let run = run(link, seed, layers(), 60);
        let up = run.after_ms(20, |estimate| estimate >= TOP).unwrap();
        let during = run.median(0, 10, 20);
        println!("{percent} % {seed}: {during:>7} {up:>5}");
        assert!(percent < 20 || during < 400_000, "{percent} % {seed}: {during}");
        assert!(up <= 10_000, "{percent} % {seed}: {up} ms");
    }
}

/// A policer, or a router with hardly any queue: there is no delay to see.
#[test]
fn a_shallow_queue_is_seen_by_its_loss() {
    println!("kbit/s, ms of queue, seed: estimate %, dropped %");
    for (rate, queue_ms) in [(1_000_000, 5), (1_000_000, 10), (3_000_000, 5), (3_000_000, 10)] {
        for seed in SEEDS {
            let link = LinkConfig { queue_us: queue_ms * 1000, ..config(rate, 50) };
            let run = run(link, seed, Source::Unlimited, 60);
            let percent = run.median(0, 30, 60) * 100 / rate;
            let sent = run.link.dropped + run.link.waits.len() as u64;
            let dropped = run.link.dropped * 100 / sent;
            println!("{:>6} {queue_ms:>2} {seed}: {percent:>3} {dropped:>2}", rate / 1000);
            assert!(percent >= 80, "{rate} {queue_ms} {seed}: {percent} %");
            assert!(dropped <= 15, "{rate} {queue_ms} {seed}: {dropped} % dropped");
        }
    }
}

/// What was there before is probed for as soon as the queue is empty, and not only after five seconds.
#[test]
fn a_short_drop_is_over_soon() {
    println!("RTT ms, seed: ms until the top layer after each of two drops of a second");
    let mut all = Vec::new();
    for (rtt, seed) in RTTS_MS.into_iter().flat_map(|rtt| SEEDS.map(|seed| (rtt, seed))) {
        let mut link = config(5_000_000, rtt);
        let (high, low) = (5_000_000, 500_000);
        link.rates = vec![(0, high), (20_000_000, low), (21_000_000, high)];
        link.rates.extend([(24_000_000, low), (25_000_000, high)]);
        let run = run(link, seed, layers(), 60);
        let ups = [21, 25].map(|second| run.after_ms(second, |rate| rate >= TOP).unwrap());
        println!("{rtt:>4} {seed}: {ups:?}");
        all.extend(ups);
    }
    all.sort_unstable();
    assert!(all[all.len() / 2] <= 2_000 && all[all.len() - 1] <= 7_000, "{all:?}");
}

#[test]
fn jitter_and_reordering_are_no_congestion() {
    println!("2 Mbit/s, RTT 100 ms: estimate in % for three seeds");
    for (jitter_ms, reordered) in [(10, 0.0), (20, 0.0), (30, 0.0), (0, 0.05)] {
        let percents = SEEDS.map(|seed| {
            let jitter_us = jitter_ms * 1000;
            let link = LinkConfig { jitter_us, reordered, ..config(2_000_000, 100) };
            let run = run(link, seed, Source::Unlimited, 60);
            run.median(0, 30, 60) / 20_000
        });
        println!("jitter {jitter_ms} ms, {reordered} reordered: {percents:?}");
        let mean = percents.iter().sum::<u64>() / 3;
        assert!(mean >= 80, "{jitter_ms} {reordered}: {percents:?}");
    }
}

#[test]
fn two_flows_share_the_link() {
    println!("kbit/s, seed: received by the first, by the one that came 10 s later, in %");
    for (rate, seed) in [1, 2, 4].into_iter().flat_map(|rate| SEEDS.map(|seed| (rate, seed))) {
        let rate = rate * 1_000_000;
        let run = Run::new(config(rate, 50), seed).with(Source::Unlimited, 0);
        let mut run = run.with(Source::Unlimited, 10_000_000);
        run.until(120_000_000);
        let shares = [0, 1].map(|flow| run.received(flow, 60, 120) * 100 / rate);
        println!(
            "{:>6} {seed}: {shares:?}, {} ms in the queue (95 %)",
            rate / 1000,
            run.wait_ms(60, 95)
        );
        assert!(shares.iter().all(|share| *share >= 25), "{rate} {seed}: {shares:?}");
    }
}

/// Feedback stops while media goes on.
#[test]
fn silence_lowers_the_estimate_and_is_forgotten() {
    for source in [Source::Unlimited, layers()] {
        let mut run = Run::new(config(3_000_000, 50), 1).with(source, 0);
        run.flows[0].silent = (20_000_000, 25_000_000);
        run.until(60_000_000);
        let (before, during) = (run.median(0, 15, 20), run.median(0, 24, 25));
        assert!(during < before * 7 / 10, "{before} {during}");
        let up = run.after_ms(25, |estimate| estimate >= TOP).unwrap();
        println!("{before} before, {during} after 4 s, {up} ms until {TOP}");
        assert!(up <= 3_000, "{up} ms");
    }
}

#[test]
fn feedback_may_overtake_and_the_receivers_clock_may_jump() {
    for jump_us in [0, 3_600_000_000, -3_600_000_000, 150_000, -150_000] {
        let mut run = Run::new(config(2_000_000, 100), 1).with(Source::Unlimited, 0);
        run.flows[0].feedback_jitter_us = 150_000;
        run.until(30_000_000);
        run.flows[0].clock_us += jump_us;
        run.until(60_000_000);
        let (before, after) = (run.median(0, 10, 30) / 20_000, run.median(0, 35, 60) / 20_000);
        println!("clock jumps by {jump_us}: {before} %, then {after} %");
        assert!(before.min(after) >= 80, "{jump_us}: {before} {after}");
    }
}

#[test]
fn what_is_wanted_later_is_found_soon() {
    for rtt in RTTS_MS {
        // Audio at first.
        let mut run = Run::new(config(5_000_000, rtt), 1).with(Source::Layers(vec![40_000]), 0);
        run.until(20_000_000);
        assert_eq!(run.flows[0].probe_bytes, 0);
        assert!(run.median(0, 10, 20) < 310_000);
        run.flows[0].set_source(20_000_000, layers());
        run.until(30_000_000);
        let up = run.after_ms(20, |estimate| estimate >= TOP).unwrap();
        println!("{rtt:>4}: {up} ms");
        assert!(up <= 2_000, "{rtt}: {up} ms");
    }
}

#[test]
fn it_is_small() {
    let size = size_of::<BandwidthEstimator>();
    println!("{size} bytes");
    assert!(size <= 4096, "{size}");
}

#[test]
fn feedback_allocates_nothing() {
    let mut bwe = BandwidthEstimator::new(0);
    bwe.set_wanted(0, 10_000_000, false);
    let allocations = allocation_counter::measure(|| {
        let mut results =
            [PacketResult { number: 0, sent_us: 0, arrival_us: None, size: 1200 }; 20];
        for round in 1..=1_000_u64 {
            let now = round * 80_000;
            for (i, result) in (0..).zip(&mut results) {
                result.number = (round * 20 + i) as u16;
                result.sent_us = now + i * 4_000;
                result.arrival_us = (i != 7).then_some(result.sent_us as i64);
            }
            bwe.feedback(now + 100_000, &results, Some(40_000));
            bwe.tick(now + 100_000);
            if let Some(cluster) = bwe.poll_probe(now + 100_000) {
                let first = results[0].number.wrapping_add(20);
                bwe.probe_sent(now + 110_000, cluster.id, first, first.wrapping_add(5), 7_200);
            }
        }
    });
    assert_eq!(allocations.count_total, 0);
    assert!(bwe.is_measured());
}

/// 1 Mbit/s, of which the packets of this span are missing: the lowest estimate since the first of them.
fn without(lost_us: std::ops::Range<u64>, but_each: u16) -> u64 {
    let mut bwe = BandwidthEstimator::new(0);
    bwe.set_wanted(0, 1_000_000, false);
    let (mut number, mut results, mut lowest) = (0_u16, Vec::new(), u64::MAX);
    for sent_us in (0..12_000_000).step_by(10_000) {
        number = number.wrapping_add(1);
        bwe.sent(sent_us, 1250);
        let lost = lost_us.contains(&sent_us) && !number.is_multiple_of(but_each);
        let arrival_us = (!lost).then_some(sent_us as i64);
        results.push(PacketResult { number, sent_us, arrival_us, size: 1250 });
        // Who gets nothing says nothing.
        if number.is_multiple_of(10) && !lost {
            bwe.feedback(sent_us + 20_000, &results, Some(40_000));
            results.clear();
        }
        bwe.tick(sent_us);
        if sent_us > 6_000_000 {
            lowest = lowest.min(bwe.estimate().bits_per_second);
        }
    }
    lowest
}

#[test]
fn a_network_that_was_gone_is_not_taken_for_a_narrow_one() {
    let steady = without(0..0, 10);
    for ms in [1200, 2000, 3000, 4000, 5000] {
        let gone = without(6_000_000..6_000_000 + ms * 1000, u16::MAX);
        assert!(gone * 2 >= steady, "{gone} of {steady} after {ms} ms");
    }
    let narrow = without(6_000_000..11_000_000, 10);
    assert!(narrow * 4 <= steady, "{narrow} of {steady}");
}

#[test]
fn the_first_media_tells_what_the_link_carries() {
    let mut bwe = BandwidthEstimator::new(0);
    bwe.set_wanted(0, 2_000_000, false);
    let results: [PacketResult; 20] = std::array::from_fn(|i| PacketResult {
        number: i as u16,
        sent_us: i as u64 / 10 * 5_000,
        arrival_us: Some(20_000 + 2_000 * i as i64),
        size: 1200,
    });
    results.iter().for_each(|packet| bwe.sent(packet.sent_us, packet.size.into()));
    bwe.probe_sent(6_000, FIRST_PROBE, 0, 19, 24_000);
    bwe.feedback(100_000, &results, Some(40_000));
    let Estimate { bits_per_second, cause } = bwe.estimate();
    assert_eq!(cause, Cause::Probe);
    assert!((3_500_000..5_000_000).contains(&bits_per_second), "{bits_per_second}");
}

/// Ten seconds of sound without feedback, after two with: how much of the estimate is left, and how many probes there were.
fn unanswered(sound_only: bool) -> (f64, usize) {
    let mut bwe = BandwidthEstimator::new(0);
    bwe.set_wanted(0, 1_000_000, false);
    bwe.set_sound_only(sound_only);
    let (mut before, mut probes) = (0, 0);
    for number in 0..600_u16 {
        let now_us = u64::from(number) * 20_000;
        bwe.sent(now_us, 120);
        if number < 100 {
            let arrival_us = Some(now_us as i64);
            let result = PacketResult { number, sent_us: now_us, arrival_us, size: 120 };
            bwe.feedback(now_us, &[result], Some(40_000));
            before = bwe.estimate().bits_per_second;
        }
        bwe.tick(now_us);
        let probe = bwe.poll_probe(now_us);
        probes += usize::from(probe.is_some() && number > 150);
    }
    (bwe.estimate().bits_per_second as f64 / before as f64, probes)
}

#[test]
fn sound_that_is_seldom_answered_takes_nothing_away_and_is_probed() {
    let (left, probes) = unanswered(true);
    assert!(left >= 1.0 && probes > 0, "{left}, {probes} probes");
    let (left, probes) = unanswered(false);
    assert!(left < 0.5 && probes == 0, "{left}, {probes} probes");
}

/// `cargo test --release -p sfu-core bandwidth::tests::nanoseconds -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for the release build"]
fn nanoseconds_per_packet() {
    for lost_every in [u64::MAX, 50] {
        let mut bwe = BandwidthEstimator::new(0);
        bwe.set_wanted(0, 10_000_000, false);
        // The best of many spans: the others were disturbed.
        let mut best = u64::MAX;
        let packets = 20;
        for span in 0..200_u64 {
            let begin = Instant::now();
            for round in span * 1_000..(span + 1) * 1_000 {
                // 20 packets every 80 ms: 2.4 Mbit/s.
                let now = round * 80_000;
                let results: [PacketResult; 20] = std::array::from_fn(|i| {
                    let number = round * packets + i as u64;
                    let sent_us = now + i as u64 * 4_000;
                    let arrived = !number.is_multiple_of(lost_every);
                    let arrival_us = arrived.then_some(sent_us as i64 + 20_000);
                    PacketResult { number: number as u16, sent_us, arrival_us, size: 1200 }
                });
                bwe.feedback(now + 100_000, black_box(&results), Some(40_000));
                bwe.tick(now + 100_000);
            }
            best = best.min(begin.elapsed().as_nanos() as u64 / (1_000 * packets));
        }
        println!("one of {lost_every} lost: {best} ns per packet, {:?}", bwe.estimate());
    }
    let mut bwe = BandwidthEstimator::new(0);
    let begin = Instant::now();
    for i in 0..100_000_000_u64 {
        bwe.sent(black_box(i), black_box(1200));
    }
    println!("sent: {:.2} ns", begin.elapsed().as_nanos() as f64 / 1e8);
    assert!(!bwe.is_measured());
}
