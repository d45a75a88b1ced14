//! Workers and peers that have data channels and nothing else: the bare library on the peers' side, no loss, a turn each millisecond.

use crate::net::Micros;
use crate::pipes::Pipes;
use bytes::Bytes;
use sctp_proto::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier, TransportConfig,
};
use sfu_core::egress::{Arena, Datagram, Egress, Message, Transmit, Tuple};
use sfu_core::params::SctpParams;
use sfu_core::transport::dtls::Certificate;
use sfu_core::transport::srtp::SrtpProfile;
use sfu_core::{
    Command, DataParams, DataSender, Engine, EngineConfig, Event, RouterId, TransportId, WorkerId,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use switchyard_tests::peer::{check, transport_params};

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
/// Of a peer that does not read.
const RECEIVE_BUFFER_LEN: u32 = 320 * 1024;
const STEP: Duration = Duration::from_millis(1);
const CHECKS_EVERY: Micros = 5_000_000;
const APPLICATION_DATA: u8 = 23;
/// Content attribute USE-CANDIDATE.
const USE_CANDIDATE: u16 = 0x25;
const PRIORITY: u16 = 0x24;

/// Collects what an engine sends.
#[derive(Default)]
struct Sink(Vec<(SocketAddr, Vec<u8>)>);

impl Transmit for Sink {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        for message in messages {
            let run = &bytes[message.start..message.start + message.len];
            for datagram in run.chunks(message.segment) {
                self.0.push((message.tuple.remote, datagram.to_vec()));
            }
        }
    }
}

/// What a peer read: on which stream, text or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) stream: u16,
    pub(super) text: bool,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Peer {
    pub(super) identity: String,
    home: usize,
    endpoint: Endpoint,
    pub(super) association: Association,
    /// Takes messages out as they come.
    pub(super) reads: bool,
    pub(super) got: Vec<Got>,
}

impl Peer {
    fn new(identity: &str, home: usize) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let mut config = ClientConfig::new();
        config.transport = Arc::new(
            TransportConfig::default()
                .with_max_send_message_size(256 * 1024)
                .with_max_receive_message_size(256 * 1024)
                .with_max_receive_buffer_size(RECEIVE_BUFFER_LEN),
        );
        let to = SocketAddr::new(SERVER, 5000);
        let (_, association) = endpoint.connect(config, to).unwrap();
        let (identity, got) = (identity.to_owned(), Vec::new());
        Self { identity, home, endpoint, association, reads: true, got }
    }

    pub(super) fn open(&mut self, stream: u16, kind: u8, label: &str) {
        self.association.open_stream(stream, PayloadProtocolIdentifier::Binary).unwrap();
        let mut message = vec![3, kind, 0, 0, 0, 0, 0, 0, 0, label.len() as u8, 0, 0];
        message.extend(label.as_bytes());
        self.write(stream, PayloadProtocolIdentifier::Dcep, &message);
    }

    /// As the client library does.
    pub(super) fn open_both(&mut self) {
        self.open(0, 0, "reliable");
        self.open(2, 0x81, "lossy");
    }

    pub(super) fn write(&mut self, stream: u16, kind: PayloadProtocolIdentifier, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.association.stream(stream).unwrap().write_sctp(&bytes, kind).unwrap();
    }

    /// A message as the protocol frames it.
    pub(super) fn publish(&mut self, stream: u16, topic: &str, to: &[&str], payload: &[u8]) {
        let mut bytes = vec![1, 0, topic.len() as u8];
        bytes.extend(topic.as_bytes());
        bytes.push(to.len() as u8);
        for name in to {
            bytes.extend((name.len() as u16).to_be_bytes());
            bytes.extend(name.as_bytes());
        }
        bytes.extend(payload);
        self.write(stream, PayloadProtocolIdentifier::Binary, &bytes);
    }

    fn receive(&mut self, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        let from = SocketAddr::new(SERVER, 5000);
        if let Some((_, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(Instant::now(), from, None, None, packet)
        {
            self.association.handle_event(event);
        }
    }

    fn wake(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.association.handle_timeout(now);
        while self.association.poll().is_some() {}
        for stream in self.association.stream_ids() {
            while self.reads
                && let Ok(Some(mut message)) =
                    self.association.stream(stream).and_then(|mut stream| stream.read_sctp())
            {
                let bytes = message.next(message.len()).unwrap().bytes.to_vec();
                let text = message.ppi == PayloadProtocolIdentifier::String;
                if message.ppi != PayloadProtocolIdentifier::Dcep {
                    self.got.push(Got { stream, text, bytes });
                }
            }
        }
        let mut packets = Vec::new();
        while let Some(transmit) = self.association.poll_transmit(now) {
            let Payload::RawEncode(some) = transmit.payload else { continue };
            packets.extend(some.iter().map(|packet| packet.to_vec()));
        }
        packets
    }

    /// Reads one message, which makes room for another.
    pub(super) fn read_one(&mut self, stream: u16) {
        self.association.stream(stream).unwrap().read_sctp().unwrap().unwrap();
    }

    /// Topics, senders and payloads of framed messages that it read since the last look.
    pub(super) fn take(&mut self) -> Vec<(String, String, Vec<u8>)> {
        self.got.drain(..).map(|got| read_frame(&got.bytes)).collect()
    }

    pub(super) fn has(&self, stream: u16) -> bool {
        self.association.stream_ids().contains(&stream)
    }
}

/// Topic, sender's identity and payload.
fn read_frame(bytes: &[u8]) -> (String, String, Vec<u8>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let topic_end = 3 + usize::from(bytes[2]);
    let identity_at = topic_end + 6;
    let len = u16::from_be_bytes([bytes[identity_at - 2], bytes[identity_at - 1]]);
    let payload_at = identity_at + usize::from(len);
    let (topic, identity) = (&bytes[3..topic_end], &bytes[identity_at..payload_at]);
    (text(topic), text(identity), bytes[payload_at..].to_vec())
}

pub(super) struct World {
    pub(super) engines: Vec<Engine>,
    pub(super) pipes: Pipes,
    /// By the number of their transports.
    pub(super) peers: BTreeMap<u64, Peer>,
    pub(super) events: Vec<Event>,
    /// Control takes messages.
    pub(super) control: bool,
    epoch: Instant,
    now: Micros,
    arena: Arena,
}

fn address(number: u64) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 1, 0, number as u8]), 40_000)
}

impl World {
    pub(super) fn new(workers: usize) -> Self {
        let epoch = Instant::now();
        let engine = |seed| {
            Engine::new(EngineConfig {
                // Keys are handed in, and data is in the clear.
                certificate: Certificate { der: Vec::new(), private_key_pkcs8: Vec::new() },
                seed,
                epoch,
                epoch_ntp: 0,
            })
        };
        Self {
            engines: (0..workers as u64).map(engine).collect(),
            pipes: Pipes::default(),
            peers: BTreeMap::new(),
            events: Vec::new(),
            control: true,
            epoch,
            now: 0,
            arena: Arena::default(),
        }
    }

    fn time(&self) -> Instant {
        self.epoch + Duration::from_micros(self.now)
    }

    pub(super) fn command(&mut self, worker: usize, command: Command) {
        let now = self.time();
        let mut sink = Sink::default();
        let mut egress = Egress::new(&mut self.arena, &mut sink);
        self.engines[worker].handle_command(now, command, &mut egress);
    }

    /// Somebody with data channels joins a room on a worker; returns the number.
    pub(super) fn join(&mut self, room: u64, identity: &str, worker: usize) -> u64 {
        self.join_taking(256 * 1024, room, identity, worker)
    }

    /// The same, who takes messages of up to so many bytes.
    pub(super) fn join_taking(
        &mut self,
        max_message_size: u32,
        room: u64,
        identity: &str,
        worker: usize,
    ) -> u64 {
        let number = self.peers.keys().last().copied().unwrap_or(0) + 1;
        let mut params = transport_params(number, PROFILE);
        params.sctp = Some(SctpParams { remote_port: 5000, max_message_size });
        let (transport, router) = (TransportId(number), RouterId(room));
        let params = Box::new(params);
        self.command(worker, Command::CreateTransport { transport, router, params });
        self.peers.insert(number, Peer::new(identity, worker));
        self.allow(number, true, None);
        for home in 0..self.engines.len() {
            let workers = (0..self.engines.len()).filter(|other| *other != home).map(WorkerId);
            let workers = workers.collect();
            self.command(home, Command::LinkRouter { router, workers, tapped: false });
        }
        number
    }

    /// What somebody may do.
    pub(super) fn allow(&mut self, number: u64, may_publish: bool, topics: Option<&[&str]>) {
        let Peer { identity, home, .. } = &self.peers[&number];
        let sender = DataSender { number: number as u32, identity: identity.as_str().into() };
        let topics = topics.map(|topics| topics.iter().map(|topic| (*topic).to_owned()).collect());
        let params = Box::new(DataParams { sender, may_publish, topics });
        let transport = TransportId(number);
        self.command(*home, Command::ConfigureData { transport, params });
    }

    pub(super) fn peer(&mut self, number: u64) -> &mut Peer {
        self.peers.get_mut(&number).unwrap()
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span.as_micros() as Micros;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += STEP.as_micros() as Micros;
        let now = self.time();
        let mut sink = Sink::default();
        let mut egress = Egress::new(&mut self.arena, &mut sink);
        let first = self.now == STEP.as_micros() as Micros;
        for (number, peer) in &mut self.peers {
            let mut datagrams: Vec<Vec<u8>> = peer
                .wake(now)
                .into_iter()
                .map(|packet| [&[APPLICATION_DATA], &packet[..]].concat())
                .collect();
            if first || self.now.is_multiple_of(CHECKS_EVERY) || !peer.is_proved() {
                let attributes = [(USE_CANDIDATE, &[][..]), (PRIORITY, &[0x6e, 0, 1, 0xff][..])];
                datagrams.insert(0, check(*number, self.now, &attributes));
            }
            let tuple = Tuple::udp(SERVER, address(*number));
            for bytes in &mut datagrams {
                let datagram = Datagram { tuple, arrival: now, bytes };
                self.engines[peer.home].handle_datagram(now, datagram, &mut egress);
            }
        }
        while let Some((from, to, message)) = self.pipes.pop(self.now) {
            self.engines[to.0].handle_pipe(now, from, &message);
        }
        for (index, engine) in self.engines.iter_mut().enumerate() {
            engine.handle_timeout(now, &mut egress);
            engine.flush(now, &mut egress);
            while engine.run_data(now, &mut egress) {}
            let told = engine.flush_pipes(now, &mut self.pipes.end(WorkerId(index), self.now));
            self.pipes.retry(told, self.now);
            self.events.extend(std::iter::from_fn(|| engine.poll_event()));
            if self.control {
                self.events.extend(std::iter::from_fn(|| engine.poll_data_event()));
            }
        }
        egress.flush();
        for (to, datagram) in sink.0 {
            let number = u64::from(match to.ip() {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(_) => panic!("peers have IPv4 addresses"),
            });
            if let (Some(peer), Some((&APPLICATION_DATA, packet))) =
                (self.peers.get_mut(&number), datagram.split_first())
            {
                peer.receive(packet);
            }
        }
    }
}

impl Peer {
    /// It was heard: before its address is proved it is not.
    fn is_proved(&self) -> bool {
        !self.association.is_handshaking()
    }
}
