//! One participant in the name of another.

use super::TRACKS;
use crate::net::{MS, Path};
use crate::publisher::{OPUS, VP8};
use crate::world::{SlotSpec, World};
use bytes::Bytes;
use rtcp::goodbye::Goodbye;
use rtcp::packet::Packet as RtcpValue;
use rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtp::packet::Packet;
use std::collections::BTreeMap;

/// What a run left: everything that was sealed for the one who watches A, and what A was asked for.
struct Run {
    sealed: BTreeMap<(u32, u64), u64>,
    asked: Vec<(u64, u32)>,
    hostile_sent: usize,
}

/// A publishes and somebody watches; B is silent, or does all it can in A's name.
fn run(hostile: bool) -> Run {
    let mut world = World::new(19, Path::CLEAN, Path::CLEAN);
    let a = world.add_publisher(TRACKS);
    let b = world.add_publisher(TRACKS);
    world.publishers[b].video().enabled = false;
    world.publishers[b].audio().enabled = false;
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    world.bind(0, 0, Some(World::video_of(a)));
    world.bind(0, 1, Some(World::audio_of(a)));
    world.run_seconds(2);
    let slots = [world.ssrc(0, 0), world.ssrc(0, 1)];
    let mut hostile_sent = 0;
    for round in 0..300_u64 {
        if hostile {
            let ssrcs =
                [world.publishers[a].video().layers[0].ssrc, world.publishers[a].audio().ssrc];
            let seqs = [world.publishers[a].video().layers[0].seq, world.publishers[a].audio().seq];
            hostile_sent += impersonate(&mut world, b, ssrcs, seqs, slots, round);
        }
        world.run(10 * MS);
    }
    let asked = world.publishers[a].keyframe_requests.clone();
    Run { sealed: world.taps[0].sealed(), asked, hostile_sent }
}

fn impersonate(
    world: &mut World,
    b: usize,
    ssrcs: [u32; 2],
    seqs: [u64; 2],
    slots: [u32; 2],
    round: u64,
) -> usize {
    let endpoint = &mut world.publishers[b].endpoint;
    for (which, payload_type) in [(0, VP8), (1, OPUS)] {
        let header = rtp::header::Header {
            version: 2,
            payload_type,
            sequence_number: (seqs[which] + round) as u16,
            ssrc: ssrcs[which],
            ..rtp::header::Header::default()
        };
        let mut packet = Packet { header, payload: Bytes::from(vec![0x10; 300]) };
        let mid = if which == 0 { b"0" } else { b"1" };
        packet.header.set_extension(1, Bytes::from_static(mid)).unwrap();
        endpoint.send_rtp(seqs[which] + round, &packet);
    }
    for media_ssrc in [ssrcs[0], ssrcs[1], slots[0], slots[1]] {
        let mut values: Vec<Box<dyn RtcpValue + Send + Sync>> = vec![
            Box::new(SenderReport {
                ssrc: media_ssrc,
                ntp_time: 1 << 40,
                rtp_time: 7,
                ..Default::default()
            }),
            Box::new(Goodbye { sources: vec![media_ssrc], reason: Bytes::new() }),
            Box::new(PictureLossIndication { sender_ssrc: media_ssrc, media_ssrc }),
            Box::new(FullIntraRequest {
                sender_ssrc: 1,
                media_ssrc,
                fir: vec![FirEntry { ssrc: media_ssrc, sequence_number: round as u8 }],
            }),
            Box::new(TransportLayerNack {
                sender_ssrc: 1,
                media_ssrc,
                nacks: vec![NackPair { packet_id: (seqs[0] + round) as u16, lost_packets: 0xffff }],
            }),
            Box::new(ReceiverEstimatedMaximumBitrate {
                sender_ssrc: 1,
                bitrate: 1000.0,
                ssrcs: vec![media_ssrc],
            }),
            Box::new(ReceiverReport {
                ssrc: media_ssrc,
                reports: vec![ReceptionReport {
                    ssrc: media_ssrc,
                    fraction_lost: 255,
                    ..ReceptionReport::default()
                }],
                ..ReceiverReport::default()
            }),
        ];
        for value in values.drain(..) {
            endpoint.send_rtcp(&[value]);
        }
    }
    2 + 4 * 7
}

/// Whoever publishes says what time it is for its own streams.
#[test]
fn row_16_a_publishers_clock_may_be_anything() {
    let mut world = World::new(16, Path::CLEAN, Path::CLEAN);
    let a = world.add_publisher(TRACKS);
    world.add_subscriber(&[SlotSpec::VIDEO, SlotSpec::AUDIO]);
    world.bind(0, 0, Some(World::video_of(a)));
    world.run_seconds(1);
    let ssrc = world.publishers[a].video().layers[0].ssrc;
    for pair in 0..256_u64 {
        for ntp_time in [pair >> 4 << 60 | 1, (pair & 15) << 60 | 1] {
            let report = SenderReport { ssrc, ntp_time, rtp_time: 7, ..Default::default() };
            world.publishers[a].endpoint.send_rtcp(&[Box::new(report)]);
            world.run(MS);
        }
    }
    let before = world.taps[0].sealed().len();
    world.run_seconds(1);
    assert!(world.taps[0].sealed().len() > before + 20, "pictures go on");
}

#[test]
fn row_19_nobody_speaks_in_anothers_name() {
    let (quiet, attacked) = (run(false), run(true));
    assert!(attacked.hostile_sent == 300 * 30 && quiet.hostile_sent == 0);
    assert!(quiet.sealed.len() > 1000, "{} packets", quiet.sealed.len());
    assert_eq!(quiet.asked, attacked.asked, "A was asked for nothing");
    assert_eq!(quiet.sealed, attacked.sealed, "byte for byte");
}
