//! The engine in memory: packets in, datagrams for N subscribers out, and what their RTCP costs.

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use sfu_core::transport::srtp::SrtpProfile;
use sfu_rtp::TransportFeedbackBuilder;
use sfu_rtp::transport_feedback::PACKET_LEN_MAX;

use crate::cpu::{ThreadCpu, thread_cpu};
use crate::world::{BURST, World, subscriber_ssrc};

const GCM: SrtpProfile = SrtpProfile::AeadAes128Gcm;
/// Frames between two readings of the clock, which costs as much as a packet.
const FRAMES: usize = 16;
/// Frames that one transport-wide feedback speaks of: 100 ms.
const FEEDBACK_FRAMES: usize = 3;
/// Frames whose packets one NACK asks for: as many as its bit mask holds.
const NACK_FRAMES: usize = 2;

/// Runs frames through a world of its own. Making them, timers and checks do not count.
fn bench_frames(
    group: &mut BenchmarkGroup<'_, ThreadCpu>,
    name: String,
    (subscribers, profile): (u64, SrtpProfile),
) {
    let mut world = World::new(subscribers, profile);
    let leave = subscribers * BURST as u64;
    group.throughput(Throughput::Elements((FRAMES as u64) * leave.max(BURST as u64)));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let mut frames = world.prepare(FRAMES);
                let start = thread_cpu();
                for frame in &mut frames {
                    world.forward(frame);
                }
                spent += thread_cpu() - start;
                // The first packet brings a sender report with it.
                let sent = world.sent();
                assert!(sent >= FRAMES as u64 * leave, "{sent} of {leave} x {FRAMES}");
            }
            spent
        });
    });
}

/// Unprotect, parse, cache; then for each subscriber rewrite, copy, protect. Elements are the packets that leave.
pub(crate) fn fan_out(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("fan-out");
    for subscribers in [1, 10, 100, 500] {
        bench_frames(&mut group, format!("GCM-128/{subscribers}"), (subscribers, GCM));
    }
    bench_frames(&mut group, "CM-SHA1-80/100".into(), (100, SrtpProfile::Aes128CmSha1_80));
    group.finish();
}

/// What a received packet costs once, whoever wants it: unprotect, parse, insert into the cache. Elements are packets.
pub(crate) fn receive(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("receive");
    bench_frames(&mut group, "GCM-128".into(), (0, GCM));
    group.finish();
}

/// A NACK for 10 packets: look up in history and cache, rewrite, protect as RTX. Elements are resent packets.
pub(crate) fn repair(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("repair");
    let mut world = World::new(1, GCM);
    let count = (NACK_FRAMES * BURST) as u64;
    group.throughput(Throughput::Elements(count));
    group.bench_function("GCM-128", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                for frame in &mut world.prepare(NACK_FRAMES) {
                    world.forward(frame);
                }
                world.sent();
                let first = world.last_sent().0.wrapping_sub(count as u16 - 1);
                let (tuple, mut nack) = world.seal_rtcp(&nack(first, count as u16));
                let start = thread_cpu();
                world.take(tuple, &mut nack);
                spent += thread_cpu() - start;
                let sent = world.sent();
                assert!(sent >= count, "{sent} of {count}");
            }
            spent
        });
    });
    group.finish();
}

/// A generic NACK (RFC 4585 section 6.2.1) for `count` numbers of the only subscriber's slot, at most 17.
fn nack(first: u16, count: u16) -> Vec<u8> {
    let mut packet = vec![0x81, 205, 0, 3, 0, 0, 0, 1];
    packet.extend(subscriber_ssrc(1).to_be_bytes());
    packet.extend(first.to_be_bytes());
    packet.extend(((1_u16 << (count - 1)) - 1).to_be_bytes());
    packet
}

/// A subscriber's transport-wide feedback for 15 packets, from its datagram on. Elements are feedback packets.
pub(crate) fn feedback(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("estimator feed");
    let mut world = World::new(1, GCM);
    let mut builder = TransportFeedbackBuilder::new(1, subscriber_ssrc(1));
    let packets = (FEEDBACK_FRAMES * BURST) as u16;
    group.throughput(Throughput::Elements((FRAMES / FEEDBACK_FRAMES) as u64));
    group.bench_function("GCM-128", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let mut datagrams = Vec::new();
                for frames in world.prepare(FRAMES).chunks_exact_mut(FEEDBACK_FRAMES) {
                    frames.iter_mut().for_each(|frame| world.forward(frame));
                    let first = world.last_sent().1.wrapping_sub(packets - 1);
                    let arrivals = (0..u64::from(packets)).map(|at| Some(1_000_000 + at * 250));
                    let mut buf = [0; PACKET_LEN_MAX];
                    let len = builder.write(&mut buf, first, arrivals).unwrap().len;
                    datagrams.push(world.seal_rtcp(&buf[..len]));
                }
                let start = thread_cpu();
                for (tuple, datagram) in &mut datagrams {
                    world.take(*tuple, datagram);
                }
                spent += thread_cpu() - start;
            }
            spent
        });
    });
    group.finish();
}
