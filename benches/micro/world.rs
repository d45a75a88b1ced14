//! An engine with one publisher and its subscribers in memory: keys instead of handshakes, virtual time, and datagrams that go nowhere.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_stun::attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message as Stun, Setter as _, TransactionId};
use sfu_core::egress::{Arena, Datagram, Egress, Message, Transmit, Tuple};
use sfu_core::params::{
    Binding, Codec, ConsumerParams, DtlsRole, EncodingParams, ExtensionKind, ExtensionMapping,
    Feedback, IceCredentials, MediaKind, PayloadMapping, ProducerParams, ReceiveCodec, Security,
    TransportParams,
};
use sfu_core::transport::dtls::Certificate;
use sfu_core::transport::srtp::{SrtpProfile, SrtpSender};
use sfu_core::{
    Command, ConsumerId, Engine, EngineConfig, Event, ProducerId, RouterId, TransportId,
};
use sfu_rtp::extension::read_transport_sequence;
use sfu_rtp::{ExtensionWriter, HeaderFields, PacketKind, RtpHeader, classify, write_header};

use crate::srtp::keys;

/// Packets of a frame, as in the scenario `broadcast`.
pub(crate) const BURST: usize = 5;
const PAYLOAD: usize = 1100;
const FRAME_INTERVAL: Duration = Duration::from_nanos(33_333_333);
const VP8: u8 = 96;
const VP8_RTX: u8 = 97;
const PUBLISHER_SSRC: u32 = 0xABCD;
const TRANSPORT_WIDE: u8 = 3;
const PRODUCER: ProducerId = ProducerId(1);
const ROUTER: RouterId = RouterId(1);
/// Tag and index.
const RTCP_OVERHEAD_MAX: usize = 20;
/// A transport without a check for 30 s ends.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Counts what would leave, and looks at nothing but the last datagram's clear header.
#[derive(Debug, Default)]
struct Null {
    datagrams: u64,
    /// Sequence number and transport-wide number of the last packet.
    last: (u16, u16),
}

impl Transmit for Null {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        self.datagrams += messages.iter().map(|message| message.datagrams() as u64).sum::<u64>();
        let Some(message) = messages.last() else { return };
        let start = message.start + (message.datagrams() - 1) * message.segment;
        let datagram = &bytes[start..message.start + message.len];
        if classify(datagram) == Some(PacketKind::Rtp) {
            let header = RtpHeader::parse_prefix(datagram).unwrap();
            let number = header.extensions(datagram).find(|(id, _)| *id == TRANSPORT_WIDE);
            let number = number.and_then(|(_, value)| read_transport_sequence(value)).unwrap();
            self.last = (header.sequence_number, number);
        }
    }
}

/// A frame's datagrams.
pub(crate) type Frame = Vec<Vec<u8>>;

/// See the module.
pub(crate) struct World {
    pub(crate) engine: Engine,
    arena: Arena,
    sink: Null,
    pub(crate) now: Instant,
    checked: Instant,
    /// One per transport; the publisher's first.
    checks: Vec<(Tuple, Vec<u8>)>,
    publisher: SrtpSender,
    subscriber: SrtpSender,
    index: u64,
    frame: u64,
}

fn tuple(number: u64) -> Tuple {
    let ip = IpAddr::V4(Ipv4Addr::from(0x0A10_0000 + number as u32));
    Tuple::udp(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), SocketAddr::new(ip, 40_000))
}

fn credentials(side: char, number: u64) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{side}{number:06}"),
        password: format!("password-of-twenty-two-{side}{number}"),
    }
}

fn check(number: u64) -> Vec<u8> {
    let (ours, theirs) = (credentials('s', number), credentials('p', number));
    let provider = rtc_stun::crypto::default_provider().unwrap();
    let mut message = Stun::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    TransactionId([7; 12]).add_to(&mut message).unwrap();
    message.add(ATTR_USERNAME, format!("{}:{}", ours.ufrag, theirs.ufrag).as_bytes());
    message.add(ATTR_PRIORITY, &0x6E00_01FF_u32.to_be_bytes());
    message.add(ATTR_USE_CANDIDATE, &[]);
    MessageIntegrity::new_short_term_integrity_with_provider(ours.password, provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn extensions() -> Vec<ExtensionMapping> {
    let kinds = [
        (TRANSPORT_WIDE, ExtensionKind::TransportWideCc),
        (2, ExtensionKind::AbsSendTime),
        (4, ExtensionKind::Mid),
    ];
    kinds.map(|(id, kind)| ExtensionMapping { id, kind }).to_vec()
}

impl World {
    /// One publisher of video and `subscribers` that it is bound to, all connected.
    pub(crate) fn new(subscribers: u64, profile: SrtpProfile) -> Self {
        let now = Instant::now();
        let config = EngineConfig {
            // Never read: there is no handshake.
            certificate: Certificate { der: Vec::new(), private_key_pkcs8: Vec::new() },
            seed: 1,
            epoch: now,
            epoch_ntp: 0xE800_0000_0000_0000,
        };
        let mut world = Self {
            engine: Engine::new(config),
            arena: Arena::default(),
            sink: Null::default(),
            now,
            checked: now,
            checks: Vec::new(),
            publisher: SrtpSender::new(&keys(profile, DtlsRole::Client, 0)),
            subscriber: SrtpSender::new(&keys(profile, DtlsRole::Client, subscribers as u8)),
            index: 1,
            frame: 0,
        };
        world.connect(0, profile);
        let params = Box::new(producer());
        let transport = TransportId(0);
        world.command(Command::CreateProducer { transport, producer: PRODUCER, params });
        for number in 1..=subscribers {
            world.connect(number, profile);
            world.subscribe(number);
        }
        world
    }

    fn connect(&mut self, number: u64, profile: SrtpProfile) {
        let transport = TransportId(number);
        let params = Box::new(TransportParams {
            local_ice: credentials('s', number),
            remote_ice: credentials('p', number),
            security: Security::Keys(Box::new(keys(profile, DtlsRole::Server, number as u8))),
            sctp: None,
        });
        self.command(Command::CreateTransport { transport, router: ROUTER, params });
        let header_extensions = extensions();
        self.command(Command::ConfigureTransport { transport, header_extensions });
        self.checks.push((tuple(number), check(number)));
        self.check(self.checks.len() - 1);
        let connected = std::iter::from_fn(|| self.engine.poll_event())
            .any(|event| matches!(event, Event::TransportConnected { .. }));
        assert!(connected, "transport {number}");
    }

    fn subscribe(&mut self, number: u64) {
        let consumer = ConsumerId(number);
        let params = Box::new(ConsumerParams {
            kind: MediaKind::Video,
            mid: "0".into(),
            ssrc: subscriber_ssrc(number),
            rtx_ssrc: Some(1000),
            cname: "cname".into(),
            header_extensions: extensions(),
            paused: false,
        });
        let transport = TransportId(number);
        self.command(Command::CreateConsumer { transport, consumer, params });
        let mapping =
            PayloadMapping { from: VP8, to: VP8, rtx: Some(VP8_RTX), nack: true, red: None };
        let binding = Some(Binding { producer: PRODUCER, payload_types: vec![mapping] });
        self.command(Command::BindConsumer { consumer, binding });
    }

    fn command(&mut self, command: Command) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_command(self.now, command, &mut egress);
        egress.flush();
    }

    /// The consent check of transport `number`.
    pub(crate) fn check(&mut self, number: usize) {
        let (tuple, check) = &mut self.checks[number];
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        // Read, not decrypted: the next check is the same.
        let datagram = Datagram { tuple: *tuple, arrival: self.now, bytes: check };
        self.engine.handle_datagram(self.now, datagram, &mut egress);
        egress.flush();
    }

    /// One datagram from `tuple`, and what it is answered with at once.
    pub(crate) fn take(&mut self, tuple: Tuple, bytes: &mut [u8]) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let datagram = Datagram { tuple, arrival: self.now, bytes };
        self.engine.handle_datagram(self.now, datagram, &mut egress);
        egress.flush();
    }

    /// Does what time asks for until `end`, one deadline after the other.
    pub(crate) fn pass(&mut self, end: Instant) {
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let mut egress = Egress::new(&mut self.arena, &mut self.sink);
            self.engine.handle_timeout(self.now, &mut egress);
            egress.flush();
        }
        self.now = end;
    }

    /// Does what became due meanwhile, and makes the publisher's next frames.
    pub(crate) fn prepare(&mut self, count: usize) -> Vec<Frame> {
        self.pass(self.now);
        if self.now.duration_since(self.checked) >= CHECK_INTERVAL {
            self.check_all();
        }
        while self.engine.poll_event().is_some() {}
        let mut frame = || {
            self.frame += 1;
            (0..BURST).map(|position| self.packet(position)).collect()
        };
        let frames = (0..count).map(|_| frame()).collect();
        self.sink.datagrams = 0;
        frames
    }

    /// The consent checks of all transports.
    pub(crate) fn check_all(&mut self) {
        self.checked = self.now;
        for number in 0..self.checks.len() {
            self.check(number);
        }
    }

    /// The next frame is due: hands it to the engine as one batch and ends the turn.
    pub(crate) fn forward(&mut self, frame: &mut Frame) {
        self.now += FRAME_INTERVAL;
        for packet in frame {
            self.take(tuple(0), packet);
        }
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.flush(self.now, &mut egress);
        egress.flush();
    }

    /// Datagrams that left since the last call.
    pub(crate) fn sent(&mut self) -> u64 {
        std::mem::take(&mut self.sink.datagrams)
    }

    fn packet(&mut self, position: usize) -> Vec<u8> {
        let mut packet = vec![0x55; 1500];
        let fields = HeaderFields {
            marker: position + 1 == BURST,
            payload_type: VP8,
            sequence_number: self.index as u16,
            timestamp: (self.frame as u32).wrapping_mul(3000),
            ssrc: PUBLISHER_SSRC,
            extension: true,
            ..HeaderFields::default()
        };
        let start = write_header(&mut packet, &fields);
        let mut writer = ExtensionWriter::new(&mut packet[start..], false);
        writer.push(TRANSPORT_WIDE, &(self.index as u16).to_be_bytes()).unwrap();
        writer.push(2, &[0; 3]).unwrap();
        writer.push(4, b"0").unwrap();
        let start = start + writer.finish();
        let [high, low] = (self.frame as u16 & 0x7FFF | 0x8000).to_be_bytes();
        let descriptor = [0x80 | u8::from(position == 0) << 4, 0x80, high, low];
        packet[start..start + 4].copy_from_slice(&descriptor);
        // RFC 6386 section 9.1: the first frame is a keyframe.
        let tag = if self.frame == 1 {
            [0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01]
        } else {
            [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        };
        packet[start + 4..start + 14].copy_from_slice(&tag);
        let len = self.publisher.protect_rtp(&mut packet, start, start + PAYLOAD, self.index);
        packet.truncate(len);
        self.index += 1;
        packet
    }

    /// The last packet that left: its sequence number and its transport-wide number.
    pub(crate) fn last_sent(&self) -> (u16, u16) {
        self.sink.last
    }

    /// RTCP of the last subscriber, sealed.
    pub(crate) fn seal_rtcp(&mut self, packet: &[u8]) -> (Tuple, Vec<u8>) {
        let mut sealed = packet.to_vec();
        sealed.resize(packet.len() + RTCP_OVERHEAD_MAX, 0);
        let len = self.subscriber.protect_rtcp(&mut sealed, packet.len());
        sealed.truncate(len);
        (self.checks.last().unwrap().0, sealed)
    }
}

fn producer() -> ProducerParams {
    let feedback = Feedback { nack: true, pli: true, transport_cc: true, ..Default::default() };
    ProducerParams {
        kind: MediaKind::Video,
        mid: Some("0".into()),
        encodings: vec![EncodingParams { ssrc: Some(PUBLISHER_SSRC), ..Default::default() }],
        codecs: vec![ReceiveCodec {
            payload_type: VP8,
            rtx_payload_type: Some(VP8_RTX),
            codec: Codec::Vp8,
            clock_rate: 90_000,
            feedback,
        }],
        fec: None,
        number: 1,
        paused: false,
    }
}

/// SSRC of the slot of subscriber `number`.
pub(crate) fn subscriber_ssrc(number: u64) -> u32 {
    2000 + number as u32
}
