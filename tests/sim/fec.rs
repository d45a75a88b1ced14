//! ULPFEC of a publisher (RFC 5109), in RED as libwebrtc sends it, and what it does for lost pictures.

use crate::net::Path;
use crate::net::{Link, MS, SECOND};
use crate::publisher;
use crate::world::{SlotSpec, Tracks, World};
use rtp::packet::Packet;
use webrtc_util::marshal::Marshal;

const FIXED: usize = 12;

/// RED with one block.
pub(crate) fn red(packet: &mut Packet, inside: u8) {
    packet.header.payload_type = publisher::RED;
    packet.payload = [&[inside], &packet.payload[..]].concat().into();
}

/// Payloads of FEC packets for a picture: each protects every `count`th packet of it.
pub(crate) fn protect(picture: &[Packet], percent: usize) -> Vec<Vec<u8>> {
    let count = (picture.len() * percent).div_ceil(100);
    let base = picture[0].header.sequence_number;
    let sum = |first: usize| {
        let protected = picture.iter().skip(first).step_by(count);
        let packets: Vec<_> = protected.map(|packet| packet.marshal().unwrap()).collect();
        let longest = packets.iter().map(|packet| packet.len() - FIXED).max().unwrap();
        let mut fec = vec![0_u8; 18 + longest];
        let mut mask = 0_u64;
        for packet in &packets {
            let len = ((packet.len() - FIXED) as u16).to_be_bytes();
            let head = [&packet[..2], &[0; 2], &packet[4..8], &len].concat();
            fec.iter_mut().zip(head).for_each(|(sum, byte)| *sum ^= byte);
            fec[18..].iter_mut().zip(&packet[FIXED..]).for_each(|(sum, byte)| *sum ^= byte);
            let number = u16::from_be_bytes([packet[2], packet[3]]);
            mask |= 1 << (47 - number.wrapping_sub(base));
        }
        fec[0] = fec[0] & 0x3f | 0x40;
        fec[2..4].copy_from_slice(&base.to_be_bytes());
        fec[10..12].copy_from_slice(&(longest as u16).to_be_bytes());
        fec[12..18].copy_from_slice(&mask.to_be_bytes()[2..]);
        fec
    };
    (0..count).map(sum).collect()
}

/// A camera with FEC behind a link that loses so much, and a viewer behind a good one.
fn call(loss: f64, fec: Option<usize>, seed: u64) -> World {
    let path = Path { delay: 50 * MS, ..Path::CLEAN };
    let mut world = World::new(seed, path, path);
    let publisher = world.add_publisher(Tracks { video: true, ..Tracks::default() });
    world.publishers[publisher].video().fec = fec;
    let subscriber = world.add_subscriber(&[SlotSpec::VIDEO]);
    let mut link = Link::new(100_000_000);
    link.loss = loss;
    world.net.links.push(link);
    let address = world.publishers[publisher].endpoint.address;
    world.net.link_up(address, 0);
    world.bind(subscriber, 0, Some(World::video_of(publisher)));
    world
}

/// Share of the pictures that were whole within so many milliseconds.
fn whole(world: &World, ms: u64, seconds: u64) -> f64 {
    let frames = &world.subscribers[0].slots[0].frames;
    let (from, to) = (5 * SECOND, (seconds - 1) * SECOND);
    let sent = &world.publishers[0].video.as_ref().unwrap().frames;
    let sent: Vec<_> = sent.iter().filter(|f| (from..to).contains(&f.capture)).collect();
    let in_time = frames.values().filter(|f| (from..to).contains(&f.stamp.capture));
    let in_time = in_time.filter(|f| f.complete.is_some_and(|at| at - f.stamp.capture <= ms * MS));
    in_time.count() as f64 / sent.len() as f64
}

/// 50 ms up and 50 ms down; by a request it takes 110 ms more.
#[test]
fn lost_pictures_are_whole_before_anybody_could_answer_a_request() {
    for seed in [1, 2, 3] {
        let mut with = call(0.1, Some(40), seed);
        with.run_seconds(30);
        let mut without = call(0.1, None, seed);
        without.run_seconds(30);
        let (with_fec, alone) = (whole(&with, 140, 30), whole(&without, 140, 30));
        assert!(with_fec > 0.9 && alone < 0.7, "seed {seed}: {with_fec:.3} and {alone:.3}");
        assert!(with.engine.counters().rebuilt > 100);
    }
}

/// FEC packets take numbers among those of the media; the viewer sees none of them, and none that is missing (without picture ids hardly any, of a hundred and more that are lost).
#[test]
fn a_viewer_sees_no_numbers_of_fec() {
    let cases = [
        (0.0, 4, true, 5),
        (0.05, 5, true, 5),
        (0.05, 6, false, 5),
        (0.1, 7, false, 5),
        (0.1, 8, true, 1),
        (0.1, 9, true, 1),
    ];
    for (loss, seed, ids, packets) in cases {
        let mut world = call(loss, Some(40), seed);
        let video = world.publishers[0].video();
        video.temporal = true;
        video.layers[0].has_ids = ids;
        video.layers[0].packets = packets;
        world.run_seconds(30);
        let slot = &world.subscribers[0].slots[0];
        let most = if ids { 0 } else { 2 };
        assert!(slot.holes().len() <= most, "{loss}, ids: {ids}: {:?}", slot.holes());
        // Somebody asks at once where the very first packet is lost.
        let requests = &world.publishers[0].keyframe_requests;
        assert!(requests.iter().all(|(at, _)| *at < SECOND), "{loss}, ids: {ids}: {requests:?}");
        assert!(whole(&world, 1000, 30) > 0.999, "{loss}");
    }
}
