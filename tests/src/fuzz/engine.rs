//! The engine with a publisher and a subscriber who hold their keys, and do and say what the input wants.

use super::Reader;
use crate::peer::{check, credentials, peer_keys, transport_params};
use sfu_core::egress::{Arena, Datagram, Egress, Message, Transmit, Tuple};
use sfu_core::params::{
    Binding, Codec, ConsumerParams, Demand, EncodingParams, ExtensionKind, ExtensionMapping,
    Feedback, MediaKind, PayloadMapping, PreferredLayer, ProducerParams, ReceiveCodec,
};
use sfu_core::transport::dtls::Certificate;
use sfu_core::transport::srtp::{SrtpProfile, SrtpSender};
use sfu_core::{Command, ConsumerId, Engine, EngineConfig, ProducerId, RouterId, TransportId};
use sfu_rtp::{ExtensionWriter, HeaderFields, RtpHeader, write_header};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
const PUBLISHER: u64 = 1;
const SUBSCRIBER: u64 = 2;
const STRANGER: u64 = 3;
const OPERATIONS_MAX: usize = 400;
/// Formats of the one video track, payload types from here on; RTX is four higher.
const VIDEO_TYPES: u8 = 96;
const FORMATS: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264];
const OPUS: u8 = 111;
const RED: u8 = 112;
const VIDEO_SLOT: u32 = 101;
const AUDIO_SLOT: u32 = 103;
const EXTENSIONS: [ExtensionKind; 10] = [
    ExtensionKind::Mid,
    ExtensionKind::Rid,
    ExtensionKind::RepairedRid,
    ExtensionKind::TransportWideCc,
    ExtensionKind::AbsSendTime,
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::DependencyDescriptor,
];

#[derive(Default)]
struct Sink(Vec<(Tuple, usize)>);

impl Transmit for Sink {
    fn transmit(&mut self, messages: &[Message], _: &[u8]) {
        for message in messages {
            assert!(message.segment <= 1500);
            self.0.push((message.tuple, message.datagrams()));
        }
    }
}

fn tuple(number: u64) -> Tuple {
    Tuple::udp(IpAddr::V4(Ipv4Addr::LOCALHOST), ([10, 0, 0, number as u8], 40_000).into())
}

fn mappings() -> Vec<ExtensionMapping> {
    (1..).zip(EXTENSIONS).map(|(id, kind)| ExtensionMapping { id, kind }).collect()
}

struct Bench {
    engine: Engine,
    arena: Arena,
    sink: Sink,
    now: Instant,
    publisher: SrtpSender,
    subscriber: SrtpSender,
    /// Next index of each of the publisher's SSRCs.
    indices: [u64; 8],
}

/// Operations, each a byte with what belongs to it.
pub(super) fn engine(data: &[u8]) {
    let mut bench = Bench::new();
    let mut reader = Reader(data);
    for _ in 0..OPERATIONS_MAX {
        if reader.is_empty() {
            break;
        }
        bench.operate(&mut reader);
        bench.settle();
    }
    for number in [PUBLISHER, SUBSCRIBER] {
        bench.command(Command::CloseTransport { transport: TransportId(number) });
    }
    bench.settle();
    assert_eq!(bench.engine.population(), (0, 0, 0), "nothing is left");
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let config = EngineConfig {
            certificate: Certificate { der: Vec::new(), private_key_pkcs8: Vec::new() },
            seed: 3,
            epoch: now,
            epoch_ntp: 0xe800_0000_0000_0000,
        };
        let mut bench = Self {
            engine: Engine::new(config),
            arena: Arena::default(),
            sink: Sink::default(),
            now,
            publisher: SrtpSender::new(&peer_keys(PUBLISHER, PROFILE)),
            subscriber: SrtpSender::new(&peer_keys(SUBSCRIBER, PROFILE)),
            indices: [65_530; 8],
        };
        for number in [PUBLISHER, SUBSCRIBER] {
            let transport = TransportId(number);
            let params = Box::new(transport_params(number, PROFILE));
            bench.command(Command::CreateTransport { transport, router: RouterId(1), params });
            let header_extensions = mappings();
            bench.command(Command::ConfigureTransport { transport, header_extensions });
            bench.datagram(number, check(number, 1, &[(0x0025, &[])]));
        }
        for video in [true, false] {
            bench.create_producer(video);
            bench.create_consumer(video);
            bench.bind(video, Some(video));
        }
        bench.settle();
        bench
    }

    fn operate(&mut self, reader: &mut Reader<'_>) {
        match reader.u8() % 16 {
            0..=3 => self.publish(reader),
            4 => {
                let len = usize::from(reader.u16());
                self.publish_raw(reader.take(len));
            }
            5 => {
                let len = usize::from(reader.u8());
                self.report(reader.flag(), reader.take(len));
            }
            6 => self.complain(reader),
            7 => {
                let len = usize::from(reader.u16());
                let number = [PUBLISHER, SUBSCRIBER, STRANGER][usize::from(reader.u8()) % 3];
                self.datagram(number, reader.take(len).to_vec());
            }
            8 | 9 => {
                self.now += Duration::from_micros(u64::from(reader.u16()) * 100);
                self.timeouts();
            }
            10 => {
                let (slot, track) = (reader.u8(), reader.u8());
                self.bind(slot % 2 == 0, (track < 200).then_some(track % 2 == 0));
            }
            11 => {
                let video = reader.u8();
                let producer = producer_of(video & 1 == 0);
                self.command(Command::PauseProducer { producer, paused: video & 2 == 0 });
            }
            12 => self.demand(reader),
            13 => self.renew(reader.u8()),
            14 => self.move_or_restart(reader.u8()),
            _ => {
                let transport = TransportId(u64::from(reader.u8() % 4));
                self.command(match reader.u8() % 3 {
                    0 => Command::RequestStats { transport, request: 1 },
                    1 => Command::ResumeConsumers { transport },
                    _ => {
                        let mut header_extensions = mappings();
                        header_extensions.rotate_left(usize::from(reader.u8()) % 10);
                        header_extensions.iter_mut().for_each(|mapping| mapping.id += 1);
                        Command::ConfigureTransport { transport, header_extensions }
                    }
                });
            }
        }
    }

    /// A packet whose header is in order, on one of the SSRCs, with extensions and a payload of the input's.
    fn publish(&mut self, reader: &mut Reader<'_>) {
        let (stream, flags) = (usize::from(reader.u8()) % 8, reader.u8());
        let step = i64::from(reader.u8() as i8);
        let payload_type = match flags & 15 {
            8..=11 => VIDEO_TYPES + 4 + (flags & 3),
            12 | 13 => OPUS,
            14 => RED,
            other => VIDEO_TYPES + (other & 3),
        };
        let index = self.indices[stream].saturating_add_signed(step);
        self.indices[stream] = index + 1;
        let fields = HeaderFields {
            marker: flags & 16 != 0,
            payload_type,
            sequence_number: index as u16,
            timestamp: reader.u16().into(),
            ssrc: 1000 + stream as u32,
            csrcs: &[],
            extension: true,
            padding: flags & 32 != 0,
        };
        let mut bytes = vec![0; 1500];
        let fixed = write_header(&mut bytes, &fields);
        let mut writer = ExtensionWriter::new(&mut bytes[fixed..], true);
        for _ in 0..flags >> 6 {
            let (id, len) = (reader.u8() % 12, usize::from(reader.u8()) % 40);
            let _ = writer.push(id, reader.take(len));
        }
        let header_len = fixed + writer.finish();
        let payload = reader.u8();
        let payload = reader.take(usize::from(payload));
        let len = header_len + payload.len();
        bytes[header_len..len].copy_from_slice(payload);
        let len = self.publisher.protect_rtp(&mut bytes, header_len, len, index);
        bytes.truncate(len);
        self.datagram(PUBLISHER, bytes);
    }

    /// The input as a packet, sealed.
    fn publish_raw(&mut self, packet: &[u8]) {
        let Ok(header) = RtpHeader::parse_prefix(packet) else { return };
        let mut bytes = [packet, &[0; 16]].concat();
        let header_len = usize::from(header.payload_start);
        let index = u64::from(header.sequence_number);
        let len = self.publisher.protect_rtp(&mut bytes, header_len, packet.len(), index);
        bytes.truncate(len);
        self.datagram(PUBLISHER, bytes);
    }

    /// The input as RTCP, sealed.
    fn report(&mut self, of_publisher: bool, compound: &[u8]) {
        let (sender, number) = match of_publisher {
            true => (&mut self.publisher, PUBLISHER),
            false => (&mut self.subscriber, SUBSCRIBER),
        };
        let mut bytes = [compound, &[0; 20]].concat();
        let len = sender.protect_rtcp(&mut bytes, compound.len());
        bytes.truncate(len);
        self.datagram(number, bytes);
    }

    /// NACK, PLI, FIR and REMB of the subscriber, well-formed.
    fn complain(&mut self, reader: &mut Reader<'_>) {
        let ssrc = if reader.flag() { VIDEO_SLOT } else { AUDIO_SLOT };
        let (head, body): (_, &[u8]) = match reader.u8() % 4 {
            0 => ([0x81, 205, 0, 3], &[0; 4]),
            1 => ([0x81, 206, 0, 2], &[]),
            2 => ([0x84, 206, 0, 4], &[0; 8]),
            _ => ([0x8f, 206, 0, 5], &[b'R', b'E', b'M', b'B', 1, 2, 3, 4, 0, 0, 0, 101]),
        };
        let mut packet = [&head[..], &[0, 0, 0, 1], &ssrc.to_be_bytes(), body].concat();
        for byte in &mut packet[12..] {
            *byte ^= reader.u8();
        }
        self.report(false, &packet);
    }

    fn demand(&mut self, reader: &mut Reader<'_>) {
        let consumer = consumer_of(reader.flag());
        let (a, b) = (reader.u8(), reader.u8());
        self.command(match a % 2 {
            0 => {
                let rid = [None, Some("q"), Some("f"), Some("x")][usize::from(b) % 4];
                let (spatial, temporal) = ((b & 16 != 0).then_some(b >> 5), Some(b >> 6));
                let layer = PreferredLayer { rid: rid.map(str::to_owned), spatial, temporal };
                Command::SetPreferredLayer { consumer, layer }
            }
            _ => {
                let demand = Demand {
                    width: reader.u16(),
                    height: reader.u16(),
                    fps: b,
                    paused: a & 2 != 0,
                    priority: a >> 2,
                    sharp: a & 4 != 0,
                };
                Command::SetDemand { consumer, demand }
            }
        });
    }

    /// Ends a track or a slot; the next time makes it anew.
    fn renew(&mut self, which: u8) {
        let video = which & 1 == 0;
        if which & 2 == 0 {
            self.command(Command::CloseProducer { producer: producer_of(video) });
            self.create_producer(video);
        } else {
            self.command(Command::CloseConsumer { consumer: consumer_of(video) });
            self.create_consumer(video);
        }
        self.bind(video, Some(video));
    }

    fn move_or_restart(&mut self, which: u8) {
        let number = if which & 1 == 0 { PUBLISHER } else { SUBSCRIBER };
        if which & 2 == 0 {
            self.datagram(number, check(number, which.into(), &[(0x0025, &[])]));
        } else {
            self.command(Command::RestartIce {
                transport: TransportId(number),
                local_ice: credentials('s', number + u64::from(which & 4)),
                remote_ice: credentials('p', number + u64::from(which & 4)),
            });
        }
    }

    fn create_producer(&mut self, video: bool) {
        let feedback = Feedback { nack: true, pli: true, transport_cc: true, ..Default::default() };
        let codec = |payload_type, rtx_payload_type, codec, clock_rate| ReceiveCodec {
            payload_type,
            rtx_payload_type,
            codec,
            clock_rate,
            feedback,
        };
        let named = |rid: &str, ssrc| EncodingParams {
            rid: Some(rid.to_owned()),
            ssrc,
            ..EncodingParams::default()
        };
        let (encodings, codecs) = if video {
            let codecs = (VIDEO_TYPES..).zip(FORMATS);
            let codecs = codecs.map(|(pt, format)| codec(pt, Some(pt + 4), format, 90_000));
            (vec![named("q", None), named("f", Some(1001))], codecs.collect())
        } else {
            let codecs =
                vec![codec(OPUS, None, Codec::Opus, 48_000), codec(RED, None, Codec::Red, 48_000)];
            (vec![EncodingParams { ssrc: Some(1002), ..EncodingParams::default() }], codecs)
        };
        self.command(Command::CreateProducer {
            transport: TransportId(PUBLISHER),
            producer: producer_of(video),
            params: Box::new(ProducerParams {
                kind: kind_of(video),
                mid: Some(if video { "0" } else { "1" }.to_owned()),
                encodings,
                codecs,
                fec: None,
                number: 7,
                paused: false,
            }),
        });
    }

    fn create_consumer(&mut self, video: bool) {
        let ssrc = if video { VIDEO_SLOT } else { AUDIO_SLOT };
        self.command(Command::CreateConsumer {
            transport: TransportId(SUBSCRIBER),
            consumer: consumer_of(video),
            params: Box::new(ConsumerParams {
                kind: kind_of(video),
                mid: "0".to_owned(),
                ssrc,
                rtx_ssrc: video.then_some(ssrc + 1),
                cname: "c".to_owned(),
                header_extensions: mappings(),
                paused: false,
            }),
        });
    }

    fn bind(&mut self, slot: bool, track: Option<bool>) {
        let mapping = |from, rtx, red| PayloadMapping { from, to: from, rtx, nack: true, red };
        let mut payload_types: Vec<PayloadMapping> =
            (VIDEO_TYPES..VIDEO_TYPES + 4).map(|pt| mapping(pt, Some(pt + 4), None)).collect();
        payload_types.push(mapping(OPUS, None, Some(RED)));
        payload_types.push(mapping(RED, None, None));
        // As control does: a slot shows tracks of its own kind.
        let binding = track.filter(|track| *track == slot);
        let binding = binding.map(|track| Binding { producer: producer_of(track), payload_types });
        self.command(Command::BindConsumer { consumer: consumer_of(slot), binding });
    }

    fn command(&mut self, command: Command) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_command(self.now, command, &mut egress);
    }

    fn datagram(&mut self, number: u64, mut bytes: Vec<u8>) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let datagram = Datagram { tuple: tuple(number), arrival: self.now, bytes: &mut bytes };
        self.engine.handle_datagram(self.now, datagram, &mut egress);
    }

    fn timeouts(&mut self) {
        for _ in 0..10_000 {
            if self.engine.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            let mut egress = Egress::new(&mut self.arena, &mut self.sink);
            self.engine.handle_timeout(self.now, &mut egress);
        }
        panic!("time stands still");
    }

    /// Ends a turn as a worker does.
    fn settle(&mut self) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.flush(self.now, &mut egress);
        while self.engine.run_data(self.now, &mut egress) {}
        egress.flush();
        while self.engine.poll_event().is_some() {}
        let mut datagrams = 0;
        for (to, count) in self.sink.0.drain(..) {
            assert_ne!(to, tuple(STRANGER), "an unproved address gets no byte");
            datagrams += count;
        }
        assert!(datagrams <= 4096, "{datagrams} datagrams in one turn");
    }
}

fn kind_of(video: bool) -> MediaKind {
    if video { MediaKind::Video } else { MediaKind::Audio }
}

fn producer_of(video: bool) -> ProducerId {
    ProducerId(u64::from(video))
}

fn consumer_of(video: bool) -> ConsumerId {
    ConsumerId(u64::from(video))
}
