//! The estimator on simulated bottlenecks.
#![allow(clippy::print_stdout)]

mod flow;
mod link;

use flow::{Run, Source};
use link::{LinkConfig, Lossy};

const SEEDS: [u64; 3] = [1, 2, 3];
const RTTS_MS: [u64; 3] = [20, 100, 300];

fn layers() -> Source {
    Source::Layers(vec![150_000, 500_000, 1_700_000])
}

fn config(bits_per_second: u64, rtt_ms: u64) -> LinkConfig {
    LinkConfig { rtt_us: rtt_ms * 1000, ..LinkConfig::new(bits_per_second) }
}

#[test]
fn explore() {
    println!("steady");
    for rate in [300_000_u64, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000] {
        for rtt in RTTS_MS {
            for seed in SEEDS {
                let mut run = Run::new(config(rate, rtt), seed).with(Source::Unlimited, 0);
                run.until(60_000_000);
                println!(
                    "{rate:>9} rtt {rtt:>3} seed {seed}: {:>3} %  wait p50 {:>3} p95 {:>3} p99 {:>3}; from 0: p99 {}  90 % at {:?} recv {} % drop {}",
                    run.median(0, 30, 60) * 100 / rate,
                    run.wait_ms(30, 50),
                    run.wait_ms(30, 95),
                    run.wait_ms(30, 99),
                    run.wait_ms(0, 99),
                    run.after_ms(0, |r| r >= rate * 9 / 10),
                    run.received(0, 30, 60) * 100 / rate,
                    run.link.dropped
                );
            }
        }
    }
    println!("half and back at 20, 40");
    for rate in [600_000_u64, 1_000_000, 2_000_000, 5_000_000, 10_000_000] {
        for rtt in RTTS_MS {
            let mut link = config(rate, rtt);
            link.rates = vec![(0, rate), (20_000_000, rate / 2), (40_000_000, rate)];
            let mut run = Run::new(link, 1).with(Source::Unlimited, 0);
            run.until(60_000_000);
            println!(
                "{rate:>9} rtt {rtt:>3}: below in {:?} ms, 90 % in {:?} ms, wait p99 {} ms",
                run.after_ms(20, |r| r < rate / 2),
                run.after_ms(40, |r| r >= rate * 9 / 10),
                run.wait_ms(0, 99)
            );
        }
    }
    println!("layers start");
    for rate in [300_000_u64, 500_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000, 10_000_000] {
        for rtt in RTTS_MS {
            let mut run = Run::new(config(rate, rtt), 1).with(layers(), 0);
            run.until(60_000_000);
            let flow = &run.flows[0];
            println!(
                "{rate:>9} rtt {rtt:>3}: 650k at {:?} 2350k at {:?} median {} recv {} wait p95 {} p99 {} (all p99 {}) probes {} of {} kB",
                run.after_ms(0, |r| r >= 650_000),
                run.after_ms(0, |r| r >= 2_350_000),
                run.median(0, 30, 60),
                run.received(0, 30, 60),
                run.wait_ms(10, 95),
                run.wait_ms(10, 99),
                run.wait_ms(0, 99),
                flow.probe_bytes / 1000,
                flow.media_bytes / 1000
            );
        }
    }
    println!("loss, jitter, reordering");
    let cases: [(&str, Lossy, u64, f64); 10] = [
        ("loss 2 %", Lossy::Random(0.02), 0, 0.0),
        ("loss 5 %", Lossy::Random(0.05), 0, 0.0),
        ("loss 10 %", Lossy::Random(0.1), 0, 0.0),
        ("loss 30 %", Lossy::Random(0.3), 0, 0.0),
        ("bursts 1 %", Lossy::Bursts(0.002, 0.2), 0, 0.0),
        ("bursts 5 %", Lossy::Bursts(0.01, 0.2), 0, 0.0),
        ("jitter 10", Lossy::No, 10_000, 0.0),
        ("jitter 20", Lossy::No, 20_000, 0.0),
        ("jitter 30", Lossy::No, 30_000, 0.0),
        ("reordering", Lossy::No, 0, 0.05),
    ];
    for (name, lossy, jitter_us, reordered) in cases {
        for source in [Source::Unlimited, layers()] {
            let mut text = String::new();
            let rate = if matches!(source, Source::Unlimited) { 2_000_000 } else { 3_000_000 };
            for seed in SEEDS {
                let link = LinkConfig { lossy, jitter_us, reordered, ..config(rate, 100) };
                let mut run = Run::new(link, seed).with(source.clone(), 0);
                run.until(60_000_000);
                text += &format!(
                    " {:>3} % (min {:>3} %, p95 {})",
                    run.median(0, 30, 60) * 100 / rate,
                    run.flows[0]
                        .trace
                        .iter()
                        .filter(|t| t.0 > 30_000_000)
                        .map(|t| t.1)
                        .min()
                        .unwrap()
                        * 100
                        / rate,
                    run.wait_ms(30, 95)
                );
            }
            println!("{name:>12} at {rate}:{text}");
        }
    }
    println!("two flows");
    for rate in [1_000_000_u64, 2_000_000, 4_000_000] {
        for seed in SEEDS {
            for second in [Source::Unlimited, layers()] {
                let mut run = Run::new(config(rate, 50), seed)
                    .with(Source::Unlimited, 0)
                    .with(second, 10_000_000);
                run.until(120_000_000);
                println!(
                    "{rate} seed {seed}: {} {} wait p95 {}",
                    run.received(0, 60, 120) * 100 / rate,
                    run.received(1, 60, 120) * 100 / rate,
                    run.wait_ms(60, 95)
                );
            }
        }
    }
}
