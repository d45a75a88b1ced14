//! Our `sendmmsg` of GSO messages against `quinn-udp`, on loopback sockets that a thread of their own empties.
//!
//! Both send from a socket for both address families and name the source address in every message, as a server has to.

#[path = "../src/floor/receivers.rs"]
mod receivers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use quinn_udp::{Transmit, UdpSocketState};
use receivers::{Receivers, pin};
use sfu_core::egress::{Message, Tuple};

use crate::cpu::{ThreadCpu, thread_cpu};

const DESTINATIONS: usize = 64;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Batches between two readings of the clock; what the receivers may be behind.
const BATCHES: usize = 8;

/// Frames of video to 64 subscribers, and one packet of audio to each.
pub(crate) fn against_quinn_udp(criterion: &mut Criterion<ThreadCpu>) {
    pin(0).unwrap();
    for (name, segments, segment) in [("GSO 5 x 1148", 5, 1148), ("singletons of 208", 1, 208)] {
        let mut group = criterion.benchmark_group(format!("send to 64, {name}"));
        group.throughput(Throughput::Elements((BATCHES * DESTINATIONS * segments) as u64));
        compare(&mut group, segments, segment);
        group.finish();
    }
}

fn compare(group: &mut BenchmarkGroup<'_, ThreadCpu>, segments: usize, segment: usize) {
    let cpu = std::thread::available_parallelism().ok().filter(|count| count.get() > 1).map(|_| 1);
    let receivers = Receivers::start(DESTINATIONS, false, segment, cpu).unwrap();
    let bytes = vec![0x55; DESTINATIONS * segments * segment];
    let messages: Vec<Message> = receivers
        .addresses
        .iter()
        .enumerate()
        .map(|(place, address)| {
            let len = segments * segment;
            let tuple = Tuple::udp(LOCAL, SocketAddr::V4(*address));
            Message { tuple, start: place * len, len, segment }
        })
        .collect();
    let mut ours = sfu::socket::UdpSocket::bind(0).unwrap();
    measure(group, "ours", &receivers, bytes.len() / segment, || {
        ours.send_batch(&messages, &bytes);
    });
    assert_eq!(ours.stats().dropped_full + ours.stats().dropped_failed, 0);

    let socket = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let state = UdpSocketState::new((&socket).into()).unwrap();
    let transmits: Vec<Transmit<'_>> = messages
        .iter()
        .zip(&receivers.addresses)
        .map(|(message, address)| Transmit {
            destination: SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0)
                .into(),
            ecn: None,
            contents: &bytes[message.start..message.start + message.len],
            segment_size: Some(segment),
            src_ip: Some(LOCAL),
        })
        .collect();
    measure(group, "quinn-udp", &receivers, bytes.len() / segment, || {
        for transmit in &transmits {
            state.try_send((&socket).into(), transmit).unwrap();
        }
    });
}

/// Sends batches of so many datagrams; waiting for the receivers does not count.
fn measure(
    group: &mut BenchmarkGroup<'_, ThreadCpu>,
    name: &str,
    receivers: &Receivers,
    datagrams: usize,
    mut send: impl FnMut(),
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let expected = receivers.datagrams() + (BATCHES * datagrams) as u64;
                let start = thread_cpu();
                (0..BATCHES).for_each(|_| send());
                spent += thread_cpu() - start;
                assert_eq!(receivers.settle(expected), expected, "lost on the way");
            }
            spent
        });
    });
}
