//! Bytes to values: the header with its extensions, and transport-wide feedback both ways.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sfu_rtp::transport_feedback::PACKET_LEN_MAX;
use sfu_rtp::{
    ExtensionWriter, HeaderFields, RtpHeader, TransportFeedback, TransportFeedbackBuilder,
    compound, write_header,
};

use crate::cpu::ThreadCpu;

/// The header of a video packet as Chrome sends it: transport-wide number, send time, mid; the simulcast name too at first.
fn packet(rid: bool) -> Vec<u8> {
    let mut packet = vec![0x55; 1200];
    let fields = HeaderFields {
        payload_type: 96,
        sequence_number: 4711,
        timestamp: 90_000,
        ssrc: 0x1234_5678,
        extension: true,
        ..HeaderFields::default()
    };
    let start = write_header(&mut packet, &fields);
    let mut writer = ExtensionWriter::new(&mut packet[start..], false);
    writer.push(3, &[1, 2]).unwrap();
    writer.push(2, &[1, 2, 3]).unwrap();
    writer.push(4, b"0").unwrap();
    if rid {
        writer.push(10, b"hi").unwrap();
    }
    assert!(writer.finish() > 0);
    packet
}

/// Parses a header and walks its extensions.
pub(crate) fn header(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("header");
    for (name, rid) in [("3 extensions", false), ("4 extensions", true)] {
        let packet = packet(rid);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let packet = black_box(packet.as_slice());
                let header = RtpHeader::parse_prefix(packet).unwrap();
                let sum: usize = header
                    .extensions(packet)
                    .map(|(id, value)| usize::from(id) + value.len() + usize::from(value[0]))
                    .sum();
                (header, sum)
            });
        });
    }
    group.finish();
}

/// Arrivals 6.6 ms apart (150 packets/s) with every 40th missing.
fn arrivals(count: usize) -> Vec<Option<u64>> {
    let arrival = |at: usize| (!at.is_multiple_of(40)).then_some(1_000_000 + at as u64 * 6_666);
    (1..=count).map(arrival).collect()
}

/// What feeds a bandwidth estimator: feedback for 100 ms of one subscriber's video, and for a busier one.
pub(crate) fn feedback(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("transport-wide feedback");
    for count in [15, 100] {
        let arrivals = arrivals(count);
        group.throughput(Throughput::Elements(count as u64));
        let mut builder = TransportFeedbackBuilder::new(1, 2);
        let mut buf = [0; PACKET_LEN_MAX];
        group.bench_function(format!("write/{count} packets"), |bencher| {
            bencher.iter(|| {
                builder.write(&mut buf, 65_530, black_box(&arrivals).iter().copied()).unwrap()
            });
        });
        let len = builder.write(&mut buf, 65_530, arrivals.iter().copied()).unwrap().len;
        group.bench_function(format!("parse/{count} packets"), |bencher| {
            bencher.iter(|| {
                let packet = compound(black_box(&buf[..len])).next().unwrap();
                let feedback = TransportFeedback::parse(&packet).unwrap();
                feedback.statuses().filter(|status| status.1.is_some()).count()
            });
        });
    }
    group.finish();
}
