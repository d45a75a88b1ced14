//! What fan-out costs: allocations, memory and time per forwarded packet, one publisher to many subscribers.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod world;

use allocation_counter::measure;
use sfu_core::params::{DtlsRole, Fingerprint, FingerprintHash};
use sfu_core::transport::dtls::{Certificate, Dtls};
use sfu_core::transport::srtp::{SrtpProfile, SrtpSender};
use std::time::{Duration, Instant};
use world::{World, keys};

const FRAME: Duration = Duration::from_millis(33);
/// A frame of libwebrtc at 1.3 Mbit/s.
const SIZES: [usize; 5] = [1101, 1101, 1101, 1100, 1100];

fn fan_out(subscribers: usize) -> World {
    let mut world = World::new(SrtpProfile::AeadAes128Gcm);
    for _ in 0..subscribers {
        world.subscribe();
    }
    world
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    // Consent runs out after 30 s.
    const MEASURED: u64 = 590;
    let mut world = fan_out(100);
    // What followed the keyframe is kept for ten seconds; then the cache has its size.
    for _ in 0..312 {
        let mut frame = world.frame(&SIZES);
        world.advance(FRAME);
        world.turn(&mut frame);
    }
    let sent = world.sink.datagrams;
    let mut count = 0;
    for _ in 0..MEASURED {
        let mut frame = world.frame(&SIZES);
        // Reports are built on the heap, but not per packet: time stands still for what is measured.
        world.advance(FRAME);
        world.settle();
        count += measure(|| world.turn(&mut frame)).count_total;
    }
    let forwarded = world.sink.datagrams - sent;
    assert!(forwarded >= MEASURED * 5 * 100, "{forwarded} forwarded");
    assert_eq!(count, 0);
}

/// A worker that was kept waiting finds a large frame whole. It leaves ten packets at a time, in order, each once.
#[test]
fn a_burst_leaves_in_parts() {
    let mut world = fan_out(2);
    world.sink.keep = Some(Vec::new());
    let mut frame = world.frame(&[1100; 47]);
    world.advance(FRAME);
    world.turn(&mut frame);
    let mut parts = vec![media(&mut world)];
    for _ in 0..10 {
        world.advance(Duration::from_millis(5));
        world.settle();
        parts.push(media(&mut world));
    }
    for subscriber in [2, 3] {
        let of = |part: &Vec<(u64, u16)>| -> Vec<u16> {
            part.iter().filter(|(to, _)| *to == subscriber).map(|(_, number)| *number).collect()
        };
        let sizes: Vec<usize> = parts.iter().map(|part| of(part).len()).collect();
        assert_eq!(sizes[..6], [10, 10, 10, 10, 7, 0]);
        let numbers: Vec<u16> = parts.iter().flat_map(of).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    }
    // What comes later waits no more.
    let mut frame = world.frame(&SIZES);
    world.advance(FRAME);
    world.turn(&mut frame);
    assert_eq!(media(&mut world).len(), 2 * SIZES.len());
}

/// A keyframe whose first packet comes last is caught up under the same limit.
#[test]
fn a_late_keyframe_leaves_in_parts() {
    let mut world = fan_out(1);
    world.sink.keep = Some(Vec::new());
    let mut frame = world.frame(&[1100; 30]);
    frame.rotate_left(1);
    world.advance(FRAME);
    world.turn(&mut frame);
    let mut numbers = media(&mut world);
    assert_eq!(numbers.len(), 10);
    for _ in 0..4 {
        world.advance(Duration::from_millis(5));
        world.settle();
        numbers.extend(media(&mut world));
    }
    assert_eq!(numbers.len(), 30);
    let in_order = |pair: &[(u64, u16)]| pair[1].1 == pair[0].1.wrapping_add(1);
    assert!(numbers.windows(2).all(in_order), "{numbers:?}");
}

/// Video packets that left since the last call: to whom, and their sequence numbers.
fn media(world: &mut World) -> Vec<(u64, u16)> {
    let kept = world.sink.keep.as_mut().map(std::mem::take).unwrap_or_default();
    let video = kept.iter().filter(|(_, bytes)| {
        sfu_rtp::classify(bytes) == Some(sfu_rtp::PacketKind::Rtp) && bytes[0] >> 6 == 2
    });
    video.map(|(to, bytes)| (world::number(to), u16::from_be_bytes([bytes[2], bytes[3]]))).collect()
}

/// Heap bytes of a subscriber without its DTLS association: idle, and after ten seconds of 1.5 Mbit/s.
#[test]
fn a_subscriber_takes_little_memory() {
    const SUBSCRIBERS: i64 = 200;
    let ten_seconds = |world: &mut World| {
        let mut frames: Vec<_> = (0..300).map(|_| world.frame(&[1100; 6])).collect();
        let taken = measure(|| {
            for frame in &mut frames {
                world.advance(FRAME);
                world.turn(frame);
            }
        });
        taken.bytes_current
    };
    // The publisher's cache does not depend on the number of subscribers.
    let shared = ten_seconds(&mut fan_out(1));
    let mut world = fan_out(1);
    let idle = measure(|| (0..SUBSCRIBERS).for_each(|_| world.subscribe())).bytes_current;
    let active = ten_seconds(&mut world) - shared;
    let (idle, active) = (idle / SUBSCRIBERS, active / SUBSCRIBERS);
    println!("a subscriber takes {idle} bytes when idle, {active} more when active");
    assert!(idle < 8 * 1024, "{idle} bytes idle");
    assert!(active < 20 * 1024, "{active} bytes more when active");
}

/// Heap bytes of a DTLS association after its handshake.
#[test]
fn an_association_takes_little_memory() {
    let identity = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["switchyard".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Certificate { der, private_key_pkcs8: key.serialize_der() }
    };
    let trust = |certificate: &Certificate| {
        let digest = certificate.sha256().to_vec();
        vec![Fingerprint { hash: FingerprintHash::Sha256, digest }]
    };
    let (ours, theirs) = (identity(), identity());
    let now = Instant::now();
    let mut client = Dtls::new(DtlsRole::Client, &theirs, trust(&ours)).unwrap();
    client.start(now);
    let mut server = None;
    let mut taken = measure(|| {
        let mut dtls = Dtls::new(DtlsRole::Server, &ours, trust(&theirs)).unwrap();
        dtls.start(now);
        server = Some(dtls);
    })
    .bytes_current;
    println!("before the handshake {taken} bytes");
    let mut server = server.unwrap();
    while !server.is_connected() || !client.is_connected() {
        let mut moved = false;
        while let Some(datagram) = client.poll_transmit() {
            moved = true;
            taken += measure(|| server.handle_datagram(now, &datagram)).bytes_current;
        }
        let mut replies = Vec::new();
        taken += measure(|| {
            while let Some(datagram) = server.poll_transmit() {
                replies.push(datagram);
            }
            while server.poll_event().is_some() {}
        })
        .bytes_current;
        for datagram in replies {
            // Allocated there, freed here.
            taken -= datagram.capacity() as i64;
            moved = true;
            client.handle_datagram(now, &datagram);
        }
        while client.poll_event().is_some() {}
        assert!(moved, "the handshake stalled");
    }
    println!("after the handshake {taken} bytes");
    assert!(taken < 24 * 1024, "{taken} bytes");
}

/// `cargo test -p sfu-core --profile perf --test fan_out -- --ignored --nocapture time`
#[test]
#[ignore = "measures time"]
fn time_per_forwarded_packet() {
    for subscribers in [1, 100, 500] {
        for sizes in [&[1101, 1101, 1101, 1100, 1100][..], &[1100; 10], &[160]] {
            let (whole, seal) = time(subscribers, sizes);
            println!(
                "{subscribers:4} subscribers, bursts of {:2} x {}: {whole:5.0} ns, of which sealing {seal:4.0} ns, rest {:4.0} ns",
                sizes.len(),
                sizes[0],
                whole - seal
            );
        }
    }
}

fn time(subscribers: usize, sizes: &[usize]) -> (f64, f64) {
    let mut world = fan_out(subscribers);
    let mut best = f64::MAX;
    for part in 0..PARTS {
        world.keep_alive();
        let before = world.sink.datagrams;
        let mut spent = Duration::ZERO;
        for _ in 0..rounds(subscribers, sizes) {
            let mut frame = world.frame(sizes);
            world.advance(FRAME);
            let start = Instant::now();
            world.turn(&mut frame);
            spent += start.elapsed();
        }
        let sent = world.sink.datagrams - before;
        assert!(sent as usize >= rounds(subscribers, sizes) * sizes.len() * subscribers);
        if part > 4 {
            best = best.min(spent.as_nanos() as f64 / sent as f64);
        }
    }
    (best, sealing(subscribers, sizes))
}

/// Short, so that on a busy machine some of them are not disturbed.
const PARTS: usize = 60;

fn rounds(subscribers: usize, sizes: &[usize]) -> usize {
    (10_000 / (subscribers * sizes.len())).clamp(2, 200)
}

/// The least that the same packets cost: sealing them in place with a key per subscriber.
fn sealing(subscribers: usize, sizes: &[usize]) -> f64 {
    let profile = SrtpProfile::AeadAes128Gcm;
    let mut senders: Vec<SrtpSender> =
        (0..subscribers as u64).map(|n| SrtpSender::new(&keys(n, profile))).collect();
    let mut arena = vec![0_u8; 512 * 1024];
    let (mut at, mut index, mut best) = (0, 0, f64::MAX);
    let rounds = rounds(subscribers, sizes);
    for _ in 0..PARTS {
        let start = Instant::now();
        for _ in 0..rounds {
            for sender in &mut senders {
                for (i, size) in sizes.iter().enumerate() {
                    if at + 1500 > arena.len() {
                        at = 0;
                    }
                    let slot = &mut arena[at..at + 1500];
                    at += sender.protect_rtp(slot, 32, 32 + size, index + i as u64);
                }
            }
            index += sizes.len() as u64;
        }
        let sealed = rounds * subscribers * sizes.len();
        best = best.min(start.elapsed().as_nanos() as f64 / sealed as f64);
    }
    best
}
