//! Feedback that lies, and feedback of other kinds.

use super::super::{BandwidthEstimator, Cause, PacketResult};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const MAX: u64 = 100_000_000;

fn check(bwe: &BandwidthEstimator) {
    let rate = bwe.estimate().bits_per_second;
    assert!((30_000..=MAX).contains(&rate), "{rate}");
    assert!(bwe.acked.is_none_or(|rate| rate < 1e12));
}

fn arrival(rng: &mut SmallRng, sent_us: u64) -> Option<i64> {
    let sent = sent_us as i64;
    match rng.random_range(0..8) {
        0 => None,
        1 => Some(i64::MAX - rng.random_range(0..3)),
        2 => Some(i64::MIN + rng.random_range(0..3)),
        3 => Some(rng.random()),
        4 => Some(0),
        5 => Some(-sent),
        _ => Some(sent.wrapping_add(rng.random_range(-50_000..50_000))),
    }
}

#[test]
fn no_feedback_breaks_the_bounds() {
    for seed in 0..30 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut bwe = BandwidthEstimator::new(0);
        let mut now = rng.random_range(0..1 << 50);
        bwe.set_wanted(now, u64::MAX, false);
        for _ in 0..3_000 {
            now = now.saturating_add(rng.random_range(0..200_000));
            let results: Vec<PacketResult> = (0..rng.random_range(0..40))
                .map(|_| {
                    let sent_us = now.saturating_sub(rng.random_range(0..2_000_000));
                    let arrival_us = arrival(&mut rng, sent_us);
                    let (number, size) = (rng.random(), rng.random());
                    PacketResult { number, sent_us, arrival_us, size }
                })
                .collect();
            bwe.sent(now, rng.random_range(0..1500));
            match rng.random_range(0..8) {
                0 => bwe.tick(now),
                1 => bwe.remb(now, (rng.random(), rng.random()), rng.random()),
                2 => bwe.receiver_report(now, rng.random_range(-2.0..2.0), Some(rng.random())),
                3 => bwe.receiver_report(now, f32::NAN, None),
                4 => bwe.set_wanted(now, rng.random(), rng.random()),
                5 => bwe.probe_sent(now, rng.random(), rng.random(), rng.random(), rng.random()),
                _ => bwe.feedback(now, &results, Some(rng.random())),
            }
            let _ = bwe.poll_probe(now);
            check(&bwe);
        }
    }
}

/// All that the receiver could win by a lie is what it was sent anyway: it claims that everything arrived at once.
#[test]
fn a_receiver_cannot_claim_more_than_it_was_sent() {
    let mut bwe = BandwidthEstimator::new(0);
    bwe.set_wanted(0, MAX, false);
    let mut number = 0_u16;
    for step in 1..=600_u64 {
        let now = step * 100_000;
        // 1 Mbit/s.
        let results: Vec<PacketResult> = (0..10)
            .map(|i| {
                number = number.wrapping_add(1);
                let sent_us = now - 100_000 + i * 10_000;
                bwe.sent(sent_us, 1250);
                PacketResult { number, sent_us, arrival_us: Some(step as i64 * 1_000), size: 1250 }
            })
            .collect();
        bwe.feedback(now, &results, Some(50_000));
        bwe.tick(now);
    }
    let rate = bwe.estimate().bits_per_second;
    assert!(rate <= 1_700_000, "{rate}");
}

#[test]
fn a_remb_caps_and_reports_decide_without_feedback() {
    let mut bwe = BandwidthEstimator::new(0);
    assert!(!bwe.is_measured());
    assert_eq!((bwe.estimate().bits_per_second, bwe.estimate().cause), (300_000, Cause::Start));
    for step in 1..=100_u64 {
        bwe.sent(step * 100_000, 12_500);
        bwe.tick(step * 100_000);
        bwe.receiver_report(step * 100_000, 0.0, Some(50_000));
    }
    assert!(bwe.is_measured());
    assert_eq!(bwe.estimate().cause, Cause::Reports);
    let grown = bwe.estimate().bits_per_second;
    assert!((600_000..1_000_000).contains(&grown), "8 % a second: {grown}");
    bwe.remb(10_000_000, (7, 2_000_000), 0);
    // 1 Mbit/s is sent: an estimate above that lifts ours, and is no limit.
    assert_eq!((bwe.estimate().bits_per_second, bwe.estimate().cause), (2_000_000, Cause::Reports));
    bwe.receiver_report(10_100_000, 0.3, Some(50_000));
    // Of what is sent, and not of what was thought possible.
    assert_eq!((bwe.estimate().bits_per_second, bwe.estimate().cause), (850_000, Cause::Reports));
    bwe.remb(10_200_000, (7, 800_000), 0);
    assert_eq!((bwe.estimate().bits_per_second, bwe.estimate().cause), (800_000, Cause::Remb));
}
