//! An engine with many peers that keep nothing of what they get: for long runs, in which the simulation itself must not grow.

use crate::endpoint::{Endpoint, publisher_ids, subscriber_ids};
use crate::net::{MS, Micros};
use crate::params::{audio_params, mapping, mappings, video_params};
use crate::publisher;
use sfu_core::egress::{Arena, Datagram, Egress, Message, Transmit, Tuple};
use sfu_core::params::{Binding, ConsumerParams, ExtensionKind, MediaKind};
use sfu_core::transport::dtls::Certificate;
use sfu_core::transport::srtp::SrtpProfile;
use sfu_core::{
    Command, ConsumerId, Engine, EngineConfig, Event, ProducerId, RouterId, TransportId,
};
use sfu_rtp::transport_feedback::{PACKET_LEN_MAX, TransportFeedbackBuilder};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use switchyard_tests::peer::transport_params;

pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
const KEYFRAMES: u64 = 60;
/// Numbers of one feedback.
const FEEDBACK_MAX: u64 = 400;
/// Ids of slots of one person.
const SLOTS_MAX: u64 = 64;
/// Media that left for one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Got {
    pub(crate) media: u64,
    /// Next transport-wide number that no feedback told, extended.
    told: Option<u64>,
    highest: u64,
}

/// Counts what leaves, and keeps what is neither RTP nor RTCP.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) got: HashMap<SocketAddr, Got>,
    /// For whom somebody asked.
    pub(crate) other: Vec<(SocketAddr, Vec<u8>)>,
}

impl Transmit for Sink {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        for message in messages {
            let run = &bytes[message.start..message.start + message.len];
            for datagram in run.chunks(message.segment) {
                self.take(message.tuple.remote, datagram);
            }
        }
    }
}

impl Sink {
    fn take(&mut self, peer: SocketAddr, datagram: &[u8]) {
        match sfu_rtp::classify(datagram) {
            Some(sfu_rtp::PacketKind::Rtp) => {
                let Some(got) = self.got.get_mut(&peer) else { return };
                got.media += 1;
                let header = sfu_rtp::RtpHeader::parse_prefix(datagram).unwrap();
                let id = subscriber_ids::TRANSPORT_WIDE;
                let found = header.extensions(datagram).find(|(there, _)| *there == id);
                if let Some((_, value)) = found {
                    let number = u16::from_be_bytes([value[0], value[1]]);
                    got.highest = match got.told {
                        None => 0x1_0000 + u64::from(number),
                        Some(_) => sfu_rtp::sequence::extend(got.highest, number),
                    };
                    got.told.get_or_insert(got.highest);
                }
            }
            Some(sfu_rtp::PacketKind::Rtcp) => {}
            None => self.other.push((peer, datagram.to_vec())),
        }
    }
}

/// Somebody with a microphone, a camera, and slots for others.
pub(crate) struct Person {
    pub(crate) number: u64,
    pub(crate) endpoint: Endpoint,
    slots: u64,
    transport_number: u16,
    /// Packets of sound, and frames.
    sound: u64,
    frames: u64,
    first: u64,
}

pub(crate) struct Lean {
    pub(crate) engine: Engine,
    arena: Arena,
    pub(crate) sink: Sink,
    epoch: Instant,
    pub(crate) now: Micros,
    /// Transports that the engine ended.
    pub(crate) closed: u64,
}

pub(crate) fn address(number: u64) -> SocketAddr {
    let [.., a, b, c] = number.to_be_bytes();
    (IpAddr::from([10, a, b, c]), 40_000).into()
}

impl Lean {
    pub(crate) fn new(certificate: Certificate) -> Self {
        let epoch = Instant::now();
        let config =
            EngineConfig { certificate, seed: 1, epoch, epoch_ntp: crate::world::SERVER_NTP };
        Self {
            engine: Engine::new(config),
            arena: Arena::default(),
            sink: Sink::default(),
            epoch,
            now: 0,
            closed: 0,
        }
    }

    pub(crate) fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    pub(crate) fn command(&mut self, command: Command) {
        let now = self.instant();
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_command(now, command, &mut egress);
        egress.flush();
    }

    pub(crate) fn feed(&mut self, from: SocketAddr, bytes: &mut [u8]) {
        let now = self.instant();
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let datagram = Datagram { tuple: Tuple::udp(SERVER, from), arrival: now, bytes };
        self.engine.handle_datagram(now, datagram, &mut egress);
    }

    /// Ends a turn: what came in leaves.
    pub(crate) fn flush(&mut self) {
        let now = self.instant();
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.flush(now, &mut egress);
        egress.flush();
        while let Some(event) = self.engine.poll_event() {
            self.closed += u64::from(matches!(event, Event::TransportClosed { .. }));
        }
    }

    /// Time passes.
    pub(crate) fn advance(&mut self, to: Micros) {
        let end = self.epoch + Duration::from_micros(to);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            let mut egress = Egress::new(&mut self.arena, &mut self.sink);
            self.engine.handle_timeout(at.max(self.epoch), &mut egress);
            egress.flush();
            self.now = self.now.max((at - self.epoch).as_nanos().div_ceil(1000) as Micros);
            self.flush();
        }
        self.now = to;
    }

    /// Joins, publishes, and has slots for so many others. Not connected before its checks.
    pub(crate) fn join(&mut self, number: u64, others: u64) -> Person {
        let transport = TransportId(number);
        let params = Box::new(transport_params(number, PROFILE));
        self.command(Command::CreateTransport { transport, router: RouterId(1), params });
        // One peer connection for both directions: ids are the same in both.
        let extensions = [
            (publisher_ids::MID, ExtensionKind::Mid),
            (subscriber_ids::TRANSPORT_WIDE, ExtensionKind::TransportWideCc),
        ];
        let header_extensions = mappings(&extensions);
        self.command(Command::ConfigureTransport { transport, header_extensions });
        let tracks = [(0, video_params(&[], 1)), (1, audio_params(2))];
        for (track, params) in tracks {
            let producer = Self::producer(number, track);
            let params = Box::new(params);
            self.command(Command::CreateProducer { transport, producer, params });
        }
        for slot in 0..others * 2 {
            let video = slot % 2 == 0;
            let ssrc = 1000 + 2 * slot as u32;
            let params = ConsumerParams {
                kind: if video { MediaKind::Video } else { MediaKind::Audio },
                mid: (slot + 2).to_string(),
                ssrc,
                rtx_ssrc: video.then_some(ssrc + 1),
                cname: "cname".into(),
                header_extensions: mappings(&extensions),
                paused: false,
            };
            let consumer = Self::consumer(number, slot);
            self.command(Command::CreateConsumer { transport, consumer, params: Box::new(params) });
        }
        let endpoint = Endpoint::new(number, PROFILE, address(number));
        self.sink.got.insert(endpoint.address, Got::default());
        Person {
            number,
            endpoint,
            slots: others * 2,
            transport_number: number as u16,
            sound: 0,
            frames: 0,
            first: number * 7919 % 0x1_0000,
        }
    }

    fn producer(number: u64, track: u64) -> ProducerId {
        ProducerId(number * 2 + track)
    }

    fn consumer(number: u64, slot: u64) -> ConsumerId {
        ConsumerId(number * SLOTS_MAX + slot)
    }

    /// The others' tracks, in the slots of somebody.
    pub(crate) fn bind(&mut self, person: &Person, others: impl Iterator<Item = u64>) {
        for (other, slot) in others.zip((0..person.slots).step_by(2)) {
            let video = mapping(publisher::VP8, publisher::VP8, Some(publisher::VP8_RTX), true);
            let audio = mapping(publisher::OPUS, publisher::OPUS, None, false);
            for (track, mapping) in [(0, video), (1, audio)] {
                let producer = Self::producer(other, track);
                let binding = Some(Binding { producer, payload_types: vec![mapping] });
                let consumer = Self::consumer(person.number, slot + track);
                self.command(Command::BindConsumer { consumer, binding });
            }
        }
    }

    pub(crate) fn leave(&mut self, person: &Person) {
        self.command(Command::CloseTransport { transport: TransportId(person.number) });
        self.forget(person);
    }

    /// Is gone, and nobody said so.
    pub(crate) fn forget(&mut self, person: &Person) -> Got {
        self.sink.got.remove(&person.endpoint.address).unwrap_or_default()
    }

    /// What a person has to send goes in.
    pub(crate) fn send(&mut self, person: &mut Person) {
        for (from, mut bytes) in std::mem::take(&mut person.endpoint.out) {
            self.feed(from, &mut bytes);
        }
        // Answers to checks, which nobody else has asked for since.
        Egress::new(&mut self.arena, &mut self.sink).flush();
        for (peer, _) in std::mem::take(&mut self.sink.other) {
            person.endpoint.connected |= peer == person.endpoint.address;
        }
    }

    /// Says that everything came, a little after it left.
    pub(crate) fn feed_back(&mut self, person: &mut Person) {
        let now = self.now;
        let Some(got) = self.sink.got.get_mut(&person.endpoint.address) else { return };
        let Some(base) = got.told.filter(|told| *told <= got.highest) else { return };
        let end = got.highest.min(base + FEEDBACK_MAX);
        let spacing = 100 * MS / (end - base + 1);
        let arrivals = (base..=end).map(|number| Some(now + (number - base) * spacing));
        let mut bytes = vec![0; PACKET_LEN_MAX];
        let mut builder = TransportFeedbackBuilder::new(1, 0);
        let written = builder.write(&mut bytes, base as u16, arrivals).expect("a feedback");
        bytes.truncate(written.len);
        got.told = Some(base + written.consumed as u64);
        person.endpoint.send_rtcp_bytes(bytes);
    }
}

impl Person {
    /// A packet of sound.
    pub(crate) fn speak(&mut self, now: Micros) {
        self.sound += 1;
        let timestamp = (now * 48 / 1000) as u32;
        self.packet(publisher::OPUS, self.sound, 1, timestamp, &[0xf8; 80]);
    }

    /// A frame of one packet, every sixtieth a keyframe.
    pub(crate) fn show(&mut self, now: Micros) {
        let keyframe = self.frames.is_multiple_of(KEYFRAMES);
        self.frames += 1;
        let mut payload = vec![0x90, 0xe0];
        payload.extend_from_slice(&(0x8000 | self.frames as u16 & 0x7fff).to_be_bytes());
        payload.extend_from_slice(&[self.frames as u8, 0, u8::from(!keyframe), 0, 0]);
        payload.extend_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
        payload.resize(900, 0x55);
        let timestamp = (now * 90 / 1000) as u32;
        self.packet(publisher::VP8, self.frames, 0, timestamp, &payload);
    }

    fn packet(&mut self, payload_type: u8, count: u64, track: u32, timestamp: u32, payload: &[u8]) {
        let index = self.first + count;
        let ssrc = 0x0200_0000 + self.number as u32 * 2 + track;
        let mut bytes = vec![0x90, 0x80 | payload_type];
        bytes.extend_from_slice(&(index as u16).to_be_bytes());
        bytes.extend_from_slice(&timestamp.to_be_bytes());
        bytes.extend_from_slice(&ssrc.to_be_bytes());
        self.transport_number = self.transport_number.wrapping_add(1);
        let [high, low] = self.transport_number.to_be_bytes();
        bytes.extend_from_slice(&[
            0xbe,
            0xde,
            0,
            1,
            subscriber_ids::TRANSPORT_WIDE << 4 | 1,
            high,
            low,
            0,
        ]);
        let header = bytes.len();
        bytes.extend_from_slice(payload);
        let sealed = self.endpoint.seal(index, header, &bytes);
        self.endpoint.out.push((self.endpoint.address, sealed));
    }
}

/// Resident bytes of this process.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
