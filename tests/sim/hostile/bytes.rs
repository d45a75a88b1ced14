//! Bytes that nobody sealed: forged media, checks without a password, noise of every length.

use super::{assert_unharmed, noise, room, stranger};
use crate::net::MS;
use crate::world::World;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sfu_core::DropReason;
use std::net::SocketAddr;
use switchyard_tests::peer::check;

fn dropped(world: &World, reason: DropReason) -> u64 {
    world.engine.drops().get(reason)
}

/// Feeds a million packets in four ways while the call goes on.
#[test]
fn row_02_forged_srtp_is_only_counted() {
    const ROUNDS: usize = 25;
    const PACKETS: usize = 10_000;
    let mut world = room(2);
    let publisher = world.publishers[0].endpoint.address;
    let ssrc = world.publishers[0].video().layers[0].ssrc;
    let mut rng = SmallRng::seed_from_u64(1);
    let (start, population) = (world.now, world.engine.population());
    for _ in 0..ROUNDS {
        for from in [publisher, stranger()] {
            for head in [[0x80, 96], [0x80, 200]] {
                for _ in 0..PACKETS {
                    let mut packet = noise(&mut rng, 60);
                    packet[..2].copy_from_slice(&head);
                    let at = if head[1] == 200 { 4 } else { 8 };
                    packet[at..at + 4].copy_from_slice(&ssrc.to_be_bytes());
                    // SRTCP in clear is refused for another reason.
                    packet[56] |= 0x80;
                    assert_eq!(world.feed(from, &mut packet), []);
                }
            }
        }
        world.run(80 * MS);
    }
    let forged = (ROUNDS * PACKETS * 2) as u64;
    assert_eq!(dropped(&world, DropReason::UnknownTuple), forged);
    // Some of the sequence numbers are already known, or too old, before the tag is looked at.
    let refused =
        dropped(&world, DropReason::Unauthenticated) + dropped(&world, DropReason::Replay);
    assert!(refused >= forged, "{refused} of {forged}");
    assert!(dropped(&world, DropReason::Unauthenticated) > forged / 2);
    assert_eq!(world.engine.population(), population);
    world.run_seconds(1);
    assert_unharmed(&world, start);
}

/// A check of the publisher with one bit changed proves nothing, wherever the bit is. Only behind MESSAGE-INTEGRITY, where nothing is looked at but
/// FINGERPRINT, may that become something else.
#[test]
fn row_10_no_altered_check_is_believed() {
    let mut world = room(10);
    let start = world.now;
    let good = check(1, 99, &[(0x0024, &[1, 2, 3, 4]), (0x0025, &[])]);
    let before = dropped(&world, DropReason::BadStun) + dropped(&world, DropReason::UnknownUfrag);
    let fingerprint = good.len() - 8;
    for bit in 0..good.len() * 8 {
        if (fingerprint..fingerprint + 2).contains(&(bit / 8)) {
            continue;
        }
        let mut altered = good.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(world.feed(stranger(), &mut altered), [], "bit {bit}");
    }
    for len in 0..good.len() {
        assert_eq!(world.feed(stranger(), &mut good[..len].to_vec()), [], "cut at {len}");
    }
    let after = dropped(&world, DropReason::BadStun) + dropped(&world, DropReason::UnknownUfrag);
    assert!(after - before > (good.len() * 8 - 16) as u64);
    // Nothing of it made the address known.
    assert_eq!(world.feed(stranger(), &mut [22, 0xfe, 0xfd, 0, 0]), []);
    assert!(dropped(&world, DropReason::UnknownTuple) > 0);
    world.run_seconds(2);
    assert_unharmed(&world, start);
}

/// A flood of checks for user fragments that nobody has: one look-up each.
#[test]
fn row_10_unknown_user_fragments_are_silence() {
    const CHECKS: u64 = 50_000;
    let mut world = room(11);
    let start = world.now;
    let unknown = check(7777, 99, &[(0x0025, &[])]);
    for number in 0..CHECKS {
        let from: SocketAddr = ([203, 0, 113, number as u8], (number >> 8) as u16 + 1).into();
        assert_eq!(world.feed(from, &mut unknown.clone()), []);
    }
    assert_eq!(dropped(&world, DropReason::UnknownUfrag), CHECKS);
    world.run_seconds(1);
    assert_unharmed(&world, start);
}

/// Whatever protocol a source speaks that has proved nothing, it gets no byte; who has gets answers of about the size of what it asks.
#[test]
fn row_11_nobody_is_amplified() {
    let mut world = room(12);
    let mut datagrams: Vec<Vec<u8>> = world.captured.clone();
    datagrams.push([&[22, 0xfe, 0xfd][..], &[0; 200]].concat());
    datagrams.push(hello());
    datagrams.push(check(77, 1, &[(0x0025, &[])]));
    for first in 0..=255_u8 {
        datagrams.push([&[first][..], &[first; 99]].concat());
    }
    for datagram in datagrams {
        assert_eq!(world.feed(stranger(), &mut datagram.clone()), [], "{datagram:02x?}");
    }
    let address = world.subscribers[0].endpoint.address;
    for attributes in [
        &[][..],
        &[(0x0025, &[][..])],
        // Comprehension-required and unknown: 420 lists them.
        &[(0x7001, &[][..]), (0x7002, &[]), (0x7003, &[]), (0x7004, &[]), (0x7005, &[])],
        // 487: both controlled.
        &[(0x8029, &[1; 8])],
    ] {
        let asked = check(2, 5, attributes);
        let answers = world.feed(address, &mut asked.clone());
        let sent: usize = answers.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(answers.len() == 1 && 2 * sent <= 3 * asked.len(), "{sent} for {}", asked.len());
    }
}

/// The first datagram of a DTLS client.
fn hello() -> Vec<u8> {
    let mut record = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54];
    record.extend([1, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 42, 0xfe, 0xfd]);
    record.extend([7; 32]);
    record.extend([0, 0, 0, 2, 0, 0, 1, 0]);
    record
}

/// Every length with every first byte, from a stranger and from a peer whose address is proved.
#[test]
fn row_16_every_length_and_first_byte_is_safe() {
    const LENGTH_MAX: usize = 1500;
    let mut world = room(16);
    let start = world.now;
    let mut rng = SmallRng::seed_from_u64(3);
    let filling = noise(&mut rng, LENGTH_MAX + 256);
    let publisher = world.publishers[0].endpoint.address;
    let mut datagram = vec![0; LENGTH_MAX];
    for len in 0..=LENGTH_MAX {
        for first in 0..=255_u8 {
            let from = [publisher, stranger()][usize::from(first ^ len as u8) & 1];
            let at = usize::from(rng.random::<u8>());
            let bytes = &mut datagram[..len];
            bytes.copy_from_slice(&filling[at..at + len]);
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            assert_eq!(world.feed(from, bytes), []);
        }
    }
    assert_eq!(dropped(&world, DropReason::Panicked), 0);
    world.run_seconds(2);
    assert_unharmed(&world, start);
}
