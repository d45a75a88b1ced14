//! What the estimator costs; in release mode: `cargo test --release -p sfu-core bandwidth::tests::cost -- --ignored --nocapture`.

use super::super::{BandwidthEstimator, PacketResult};
use std::hint::black_box;
use std::time::Instant;

#[test]
fn it_is_small() {
    let size = size_of::<BandwidthEstimator>();
    println!("{size} bytes");
    assert!(size <= 4096, "{size}");
}

#[test]
#[ignore = "a measurement, for the release build"]
fn nanoseconds_per_packet() {
    for lost_every in [u64::MAX, 50] {
        let mut bwe = BandwidthEstimator::new(0);
        bwe.set_wanted(0, 10_000_000);
        let (rounds, packets) = (100_000_u64, 20_u64);
        let mut results = Vec::new();
        let begin = Instant::now();
        for round in 1..=rounds {
            // 20 packets every 80 ms: 2.4 Mbit/s.
            let now = round * 80_000;
            results.clear();
            for i in 0..packets {
                let number = round * packets + i;
                let sent_us = now + i * 4_000;
                let arrival_us = (number % lost_every != 0).then_some(sent_us as i64 + 20_000);
                results.push(PacketResult {
                    number: number as u16,
                    sent_us,
                    arrival_us,
                    size: 1200,
                });
            }
            bwe.feedback(now + 100_000, black_box(&results), Some(40_000));
            bwe.tick(now + 100_000);
        }
        let each = begin.elapsed().as_nanos() as u64 / (rounds * packets);
        println!("one of {lost_every} lost: {each} ns per packet, {:?}", bwe.estimate());
    }
    let mut bwe = BandwidthEstimator::new(0);
    let begin = Instant::now();
    for i in 0..100_000_000_u64 {
        bwe.sent(black_box(i), black_box(1200));
    }
    println!("sent: {:.2} ns", begin.elapsed().as_nanos() as f64 / 1e8);
    assert!(!bwe.is_measured());
}
