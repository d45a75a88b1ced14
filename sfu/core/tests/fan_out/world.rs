//! One publisher and its subscribers around an engine, with keys handed in and without a network.

use rtc_stun::attributes::{ATTR_USERNAME, AttrType};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message as StunMessage, Setter};
use sfu_core::egress::{Arena, Datagram, Egress, Message, Transmit, Tuple};
use sfu_core::params::{
    Binding, Codec, ConsumerParams, EncodingParams, ExtensionKind, ExtensionMapping, Feedback,
    IceCredentials, MediaKind, PayloadMapping, ProducerParams, ReceiveCodec, Security,
    TransportParams,
};
use sfu_core::transport::dtls::Certificate;
use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile, SrtpSender};
use sfu_core::{Command, ConsumerId, Engine, EngineConfig, ProducerId, RouterId, TransportId};
use sfu_rtp::{ExtensionWriter, HeaderFields, write_header};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

const PUBLISHER: u64 = 1;
const PRODUCER: ProducerId = ProducerId(1);
const VP8: u8 = 96;
const SSRC: u32 = 0x1234;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Extension ids, the same on all connections.
const MID: u8 = 1;
pub(crate) const TRANSPORT_WIDE: u8 = 3;
const ABS_SEND_TIME: u8 = 2;

/// Counts what leaves.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) messages: u64,
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    /// Keeps the last bytes of the arena, where a test wants to look at them.
    pub(crate) keep: Option<Vec<(Tuple, Vec<u8>)>>,
}

impl Transmit for Sink {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        for message in messages {
            self.messages += 1;
            self.datagrams += message.datagrams() as u64;
            self.bytes += message.len as u64;
            if let Some(kept) = &mut self.keep {
                let run = &bytes[message.start..message.start + message.len];
                kept.extend(run.chunks(message.segment).map(|d| (message.tuple, d.to_vec())));
            }
        }
    }
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    arena: Arena,
    pub(crate) sink: Sink,
    pub(crate) now: Instant,
    publisher: SrtpSender,
    seq: u64,
    frame: u16,
    profile: SrtpProfile,
    number: u16,
    numbers: u64,
}

pub(crate) fn keys(number: u64, profile: SrtpProfile) -> SrtpKeys {
    let bytes = |tag: u8, len: usize| (0..len as u8).map(|i| tag ^ i ^ number as u8).collect();
    SrtpKeys {
        profile,
        local_key: bytes(0x11, profile.key_len()),
        local_salt: bytes(0x22, profile.salt_len()),
        remote_key: bytes(0x33, profile.key_len()),
        remote_salt: bytes(0x44, profile.salt_len()),
    }
}

/// The other end's view.
pub(crate) fn mirror(keys: &SrtpKeys) -> SrtpKeys {
    SrtpKeys {
        profile: keys.profile,
        local_key: keys.remote_key.clone(),
        local_salt: keys.remote_salt.clone(),
        remote_key: keys.local_key.clone(),
        remote_salt: keys.local_salt.clone(),
    }
}

pub(crate) fn tuple(number: u64) -> Tuple {
    let ip = Ipv4Addr::new(10, (number >> 16) as u8, (number >> 8) as u8, number as u8);
    Tuple::udp(LOCAL, SocketAddr::new(ip.into(), 40_000))
}

/// The number whose tuple this is.
pub(crate) fn number(tuple: &Tuple) -> u64 {
    match tuple.remote.ip() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) & 0x00ff_ffff),
        IpAddr::V6(_) => panic!("peers have IPv4 addresses"),
    }
}

pub(crate) fn credentials(side: char, number: u64) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{side}{number:05}"),
        password: format!("password-of-twenty-two-{side}{number}"),
    }
}

fn extensions() -> Vec<ExtensionMapping> {
    [
        (MID, ExtensionKind::Mid),
        (TRANSPORT_WIDE, ExtensionKind::TransportWideCc),
        (ABS_SEND_TIME, ExtensionKind::AbsSendTime),
    ]
    .into_iter()
    .map(|(id, kind)| ExtensionMapping { id, kind })
    .collect()
}

/// A binding request with USE-CANDIDATE.
pub(crate) fn check(number: u64) -> Vec<u8> {
    let provider = rtc_stun::crypto::default_provider().unwrap();
    let (server, peer) = (credentials('s', number), credentials('p', number));
    let mut message = StunMessage::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    message.add(ATTR_USERNAME, format!("{}:{}", server.ufrag, peer.ufrag).as_bytes());
    message.add(AttrType(0x0024), &0x6e00_01ff_u32.to_be_bytes());
    message.add(AttrType(0x802a), &[7; 8]);
    message.add(AttrType(0x0025), &[]);
    MessageIntegrity::new_short_term_integrity_with_provider(server.password, provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

impl World {
    pub(crate) fn new(profile: SrtpProfile) -> Self {
        let now = Instant::now();
        let config = EngineConfig {
            certificate: Certificate { der: Vec::new(), private_key_pkcs8: Vec::new() },
            seed: 3,
            epoch: now,
            epoch_ntp: 0xe800_0000_0000_0000,
        };
        let mut world = Self {
            engine: Engine::new(config),
            arena: Arena::default(),
            sink: Sink::default(),
            now,
            publisher: SrtpSender::new(&mirror(&keys(PUBLISHER, profile))),
            seq: 100,
            frame: 0,
            profile,
            number: 0,
            numbers: PUBLISHER,
        };
        world.connect(PUBLISHER);
        let codec = ReceiveCodec {
            payload_type: VP8,
            rtx_payload_type: None,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            feedback: Feedback { nack: true, pli: true, transport_cc: true, ..Feedback::default() },
        };
        let params = ProducerParams {
            kind: MediaKind::Video,
            mid: None,
            encodings: vec![EncodingParams { ssrc: Some(SSRC), ..EncodingParams::default() }],
            codecs: vec![codec],
            fec: None,
            number: 7,
            paused: false,
        };
        world.command(Command::CreateProducer {
            transport: TransportId(PUBLISHER),
            producer: PRODUCER,
            params: Box::new(params),
        });
        world
    }

    pub(crate) fn command(&mut self, command: Command) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_command(self.now, command, &mut egress);
    }

    fn connect(&mut self, number: u64) {
        let transport = TransportId(number);
        let params = TransportParams {
            local_ice: credentials('s', number),
            remote_ice: credentials('p', number),
            security: Security::Keys(Box::new(keys(number, self.profile))),
            sctp: None,
        };
        self.command(Command::CreateTransport {
            transport,
            router: RouterId(1),
            params: Box::new(params),
        });
        self.command(Command::ConfigureTransport { transport, header_extensions: extensions() });
        self.receive(number, &mut check(number));
        self.settle();
    }

    /// A subscriber with one video slot, which shows the publisher's track.
    pub(crate) fn subscribe(&mut self) {
        self.numbers += 1;
        let number = self.numbers;
        self.connect(number);
        let consumer = ConsumerId(number);
        let params = ConsumerParams {
            kind: MediaKind::Video,
            mid: "0".into(),
            ssrc: 1000 + number as u32 * 2,
            rtx_ssrc: Some(1001 + number as u32 * 2),
            cname: "cname".into(),
            header_extensions: extensions(),
            paused: false,
        };
        let transport = TransportId(number);
        self.command(Command::CreateConsumer { transport, consumer, params: Box::new(params) });
        let payload_types =
            vec![PayloadMapping { from: VP8, to: 100, rtx: Some(101), nack: true, red: None }];
        let binding = Some(Binding { producer: PRODUCER, payload_types });
        self.command(Command::BindConsumer { consumer, binding });
        self.settle();
    }

    pub(crate) fn receive(&mut self, number: u64, bytes: &mut [u8]) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let datagram = Datagram { tuple: tuple(number), arrival: self.now, bytes };
        self.engine.handle_datagram(self.now, datagram, &mut egress);
    }

    /// Ends a turn as a worker does.
    pub(crate) fn settle(&mut self) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now, &mut egress);
        }
        self.engine.flush(self.now, &mut egress);
        egress.flush();
        while self.engine.poll_event().is_some() {}
    }

    /// One turn that takes datagrams of the publisher.
    pub(crate) fn turn(&mut self, datagrams: &mut [Vec<u8>]) {
        for datagram in datagrams {
            self.receive(PUBLISHER, datagram);
        }
        self.settle();
    }

    /// One protected VP8 frame of packets with these payload sizes.
    pub(crate) fn frame(&mut self, sizes: &[usize]) -> Vec<Vec<u8>> {
        self.frame = self.frame.wrapping_add(1);
        let keyframe = self.frame == 1;
        let mut datagrams = Vec::new();
        for (index, &size) in sizes.iter().enumerate() {
            datagrams.push(self.packet(keyframe, index == 0, index + 1 == sizes.len(), size));
        }
        datagrams
    }

    fn packet(&mut self, keyframe: bool, first: bool, last: bool, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size + 64];
        let fields = HeaderFields {
            marker: last,
            payload_type: VP8,
            sequence_number: self.seq as u16,
            timestamp: u32::from(self.frame) * 3000,
            ssrc: SSRC,
            extension: true,
            ..HeaderFields::default()
        };
        let start = write_header(&mut bytes, &fields);
        let mut writer = ExtensionWriter::new(&mut bytes[start..], false);
        writer.push(TRANSPORT_WIDE, &self.number.to_be_bytes()).unwrap();
        let header_len = start + writer.finish();
        self.number = self.number.wrapping_add(1);
        let [high, low] = (self.frame | 0x8000).to_be_bytes();
        let descriptor = [if first { 0x90 } else { 0x80 }, 0xe0, high, low, self.frame as u8, 0x20];
        let payload = &mut bytes[header_len..header_len + size];
        payload.fill(0x5a);
        payload[..6].copy_from_slice(&descriptor);
        payload[6] = u8::from(!keyframe);
        let len = self.publisher.protect_rtp(&mut bytes, header_len, header_len + size, self.seq);
        assert!(len > 0);
        self.seq += 1;
        bytes.truncate(len);
        bytes
    }

    /// Everybody proves again that they are there.
    pub(crate) fn keep_alive(&mut self) {
        for number in PUBLISHER..=self.numbers {
            self.receive(number, &mut check(number));
        }
        self.settle();
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
    }
}
