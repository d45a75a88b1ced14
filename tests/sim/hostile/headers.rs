//! Media that its sender sealed and that is broken inside: headers, extensions, payload descriptors.

use super::{TRACKS, noise, whole_frames};
use crate::endpoint::{Endpoint, publisher_ids as ids};
use crate::net::{MS, Path};
use crate::publisher::{AV1, OPUS, VP8, VP9};
use crate::stamp::Stamp;
use crate::world::{SlotSpec, Tracks, World};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sfu_core::params::PreferredLayer;
use sfu_core::{Command, DropReason};

/// Seals bytes as they are; `header_len` is what the header says of itself, or as much of it as there is.
fn send_bytes(endpoint: &mut Endpoint, index: u64, header_len: usize, packet: &[u8]) {
    let sealed = endpoint.seal(index, header_len, packet);
    endpoint.out.push((endpoint.address, sealed));
}

fn head(first: u8, payload_type: u8, index: u64, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![first, payload_type];
    packet.extend((index as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0]);
    packet.extend(ssrc.to_be_bytes());
    packet
}

/// Somebody who watches both layers of a publisher and hears it.
fn room(rids: &'static [&'static str]) -> World {
    let mut world = World::new(17, Path::CLEAN, Path::CLEAN);
    world.add_publisher(Tracks { rids, ..TRACKS });
    world.add_publisher(TRACKS);
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO, SlotSpec::VIDEO]);
    world.bind(0, 0, Some(World::video_of(0)));
    world.bind(0, 1, Some(World::audio_of(0)));
    world.bind(0, 2, Some(World::video_of(1)));
    world.run_seconds(4);
    world
}

/// A payload that is a descriptor of its format, cut and with flipped bits.
fn broken_payload(rng: &mut SmallRng, payload_type: u8) -> Vec<u8> {
    let whole: &[u8] = match payload_type {
        VP8 => {
            &[0x90, 0xf0, 0x81, 0x23, 0x45, 0x67, 0x50, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02]
        }
        // A scalability structure that promises more than follows.
        VP9 => {
            &[0xaf, 0x81, 0x23, 0x21, 0x04, 0xf8, 0x01, 0x40, 0x00, 0xb4, 0xff, 0xff, 0xff, 0xff]
        }
        _ => &[0x58, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x32, 0x01],
    };
    let mut payload = whole[..rng.random_range(0..=whole.len())].to_vec();
    let extra = rng.random_range(0..40);
    payload.extend(noise(rng, extra));
    for byte in &mut payload {
        if rng.random_bool(0.1) {
            *byte ^= 1 << rng.random_range(0..8);
        }
    }
    // What left is told by this, whatever is in front of it: no descriptor reaches so far.
    payload.resize(payload.len() + 16, 0);
    Stamp { track: 9, layer: 1, count: 1, ..Stamp::default() }.write(&mut payload);
    payload
}

/// The upper layer of a track says nonsense: the lower one, the sound and everybody else go on.
#[test]
fn row_17_broken_payloads_cost_only_their_own_layer() {
    let mut world = room(&["q", "f"]);
    let mut rng = SmallRng::seed_from_u64(17);
    let (ssrc, mut seq) = {
        let layer = &mut world.publishers[0].video().layers[1];
        layer.active = false;
        (layer.ssrc, layer.seq)
    };
    world.add_subscriber(&[SlotSpec::VIDEO]);
    world.bind(1, 0, Some(World::video_of(0)));
    world.taps.iter_mut().for_each(|tap| tap.strict = false);
    let layer = PreferredLayer { rid: Some("q".to_owned()), ..PreferredLayer::default() };
    world.command(Command::SetPreferredLayer { consumer: World::consumer(0, 0), layer });
    world.run_seconds(1);
    let start = world.now;
    for _ in 0..200 {
        for _ in 0..50 {
            let payload_type = [VP8, VP9, AV1][rng.random_range(0..3)];
            let mut header = head(0x90, payload_type, seq, ssrc);
            // A descriptor with a template structure attached, of noise.
            let len = rng.random_range(1..=16_usize);
            let mut descriptor = noise(&mut rng, len);
            if let Some(flags) = descriptor.get_mut(3) {
                *flags |= 0x80;
            }
            let mut extension = vec![ids::DESCRIPTOR << 4 | (len - 1) as u8];
            extension.append(&mut descriptor);
            extension.resize(extension.len().next_multiple_of(4), 0);
            header.extend([0xbe, 0xde, 0, (extension.len() / 4) as u8]);
            header.append(&mut extension);
            let header_len = header.len();
            header.extend(broken_payload(&mut rng, payload_type));
            send_bytes(&mut world.publishers[0].endpoint, seq, header_len, &header);
            seq += 1;
        }
        world.run(20 * MS);
    }
    assert_eq!(world.engine.drops().get(DropReason::Panicked), 0);
    let lower = world.subscribers[0].slots[0].frames.values();
    let lower = lower.filter(|f| f.stamp.layer == 0 && f.complete.is_some_and(|at| at >= start));
    let lower = lower.count();
    assert!(lower >= 110, "{lower} whole frames of the lower layer in four seconds");
    assert!(whole_frames(&world, 0, 1, start) >= 195, "sound");
    assert!(whole_frames(&world, 0, 2, start) >= 117, "another publisher");
}

/// Headers that promise what is not there, ids and lengths that nobody gave out: refused, or sent on in a packet that is in order.
#[test]
fn row_18_header_abuse_is_refused_and_no_packet_grows() {
    let mut world = room(&[]);
    let mut rng = SmallRng::seed_from_u64(18);
    let ssrc = world.publishers[0].audio().ssrc;
    let mut index = world.publishers[0].audio().seq + 1000;
    let before = world.engine.drops().get(DropReason::Malformed);
    let start = world.now;
    world.publishers[0].audio().enabled = false;
    for round in 0..400_u32 {
        for kind in 0..8 {
            let mut packet = head(0x80, OPUS, index, ssrc);
            match kind {
                // An extension behind the end of the packet.
                0 => {
                    packet[0] |= 0x10;
                    packet.extend([0xbe, 0xde, 0xff, 0xff, 0, 0]);
                }
                // Fifteen contributing sources of which none is there.
                1 => packet[0] |= 0x0f,
                // Padding longer than the payload, and of no length.
                2 => {
                    packet[0] |= 0x20;
                    packet.extend([1, 2, 3, if round % 2 == 0 { 200 } else { 0 }]);
                }
                // Two hundred and fifty-five elements of one byte each.
                3 => {
                    packet[0] |= 0x10;
                    packet.extend([0xbe, 0xde, 0, 128]);
                    packet.extend([0x10, 0xff].repeat(256));
                    Stamp::default().write(&mut packet);
                }
                // The two-byte form, with ids up to 255, and lengths past the end.
                4 => {
                    packet[0] |= 0x10;
                    packet.extend([0x10, 0x00, 0, 16]);
                    packet.extend(noise(&mut rng, 64));
                    Stamp::default().write(&mut packet);
                }
                // Ids that end the list or were kept back.
                5 => {
                    packet[0] |= 0x10;
                    packet.extend([0xbe, 0xde, 0, 2, 0xf0, 1, 0x12, 1, 2, 3, 0x0f, 0]);
                    Stamp::default().write(&mut packet);
                }
                // As large as a datagram can be: what the server adds does not always fit any more.
                6 => {
                    packet.resize(1400 + (round % 70) as usize, 9);
                    Stamp::default().write(&mut packet);
                }
                // A payload type that RFC 5761 section 4 gives to RTCP.
                _ => packet[1] = 64 + (round % 32) as u8,
            }
            let header_len = sfu_rtp::RtpHeader::parse_prefix(&packet)
                .map_or(12, |header| usize::from(header.payload_start));
            send_bytes(&mut world.publishers[0].endpoint, index, header_len, &packet);
            index += 1;
        }
        world.run(5 * MS);
    }
    let refused = world.engine.drops().get(DropReason::Malformed) - before;
    assert!(refused >= 400 * 3, "{refused} refused");
    assert!(whole_frames(&world, 0, 2, start) >= 58, "another publisher");
    // The tap read and opened all that left; here is how large it was.
    let largest = world.taps[0].largest;
    assert!((1450..=1500).contains(&largest), "{largest} bytes");
}
