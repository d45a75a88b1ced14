//! A publisher on one worker and subscribers on another, over real sockets and threads.
#![allow(clippy::unwrap_used)]

use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};
use sfu::params::{
    Binding, Codec, ConsumerParams, EncodingParams, Feedback, IceCredentials, MediaKind,
    PayloadMapping, ProducerParams, ReceiveCodec, Security, TransportParams,
};
use sfu::{
    Command, Config, ConsumerId, Handle, ProducerId, RouterId, Sfu, SrtpKeys, SrtpProfile,
    TransportId, WorkerId,
};
use sfu_core::transport::srtp::{SrtpReceiver, SrtpSender};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const NEAR: WorkerId = WorkerId(0);
const FAR: WorkerId = WorkerId(1);
const PRODUCER: ProducerId = ProducerId(50);
const PASSWORD: &str = "0123456789abcdef01234567";
const OPUS: u8 = 111;
const HEADER: usize = 12;
const TAG: usize = 16;
const PACKETS: u16 = 300;
const SUBSCRIBERS: u64 = 3;

fn keys(local: u8, remote: u8) -> SrtpKeys {
    SrtpKeys {
        profile: SrtpProfile::AeadAes128Gcm,
        local_key: vec![local; 16],
        local_salt: vec![local; 12],
        remote_key: vec![remote; 16],
        remote_salt: vec![remote; 12],
    }
}

struct Peer {
    socket: UdpSocket,
    server: SocketAddr,
    srtp_out: SrtpSender,
    srtp_in: SrtpReceiver,
}

impl Peer {
    /// Creates a transport on a worker, and connects to it.
    fn connect(handle: &Handle, worker: WorkerId, number: u64) -> Self {
        let credentials =
            |name: String| IceCredentials { ufrag: name, password: PASSWORD.to_owned() };
        let (ours, theirs) = (format!("ours{number}"), format!("theirs{number}"));
        let (a, b) = (number as u8, number as u8 + 100);
        let params = TransportParams {
            local_ice: credentials(ours.clone()),
            remote_ice: credentials(theirs.clone()),
            security: Security::Keys(Box::new(keys(a, b))),
            sctp: None,
        };
        let command = Command::CreateTransport {
            transport: TransportId(number),
            router: RouterId(1),
            params: Box::new(params),
        };
        handle.send(worker, command).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let server = handle.candidates(worker)[0];
        let peer_keys = keys(b, a);
        let (srtp_out, srtp_in) = (SrtpSender::new(&peer_keys), SrtpReceiver::new(&peer_keys));
        let peer = Self { socket, server, srtp_out, srtp_in };
        peer.check(&format!("{ours}:{theirs}"));
        peer
    }

    /// Asks until it is answered: a check that overtakes its command finds nobody.
    fn check(&self, username: &str) {
        let provider = rtc_stun::crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.write_header();
        message.add(ATTR_USERNAME, username.as_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        let key = PASSWORD.to_owned();
        MessageIntegrity::new_short_term_integrity_with_provider(key, provider.crypto())
            .add_to(&mut message)
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.socket.send_to(&message.raw, self.server).unwrap();
            if self.socket.recv_from(&mut [0; 200]).is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "no answer");
        }
    }

    fn send(&mut self, number: u16) {
        let mut packet = vec![0x80, OPUS];
        packet.extend(number.to_be_bytes());
        packet.extend((u32::from(number) * 960).to_be_bytes());
        packet.extend(7u32.to_be_bytes());
        packet.extend(number.to_be_bytes().repeat(40));
        let len = packet.len();
        packet.resize(len + TAG, 0);
        let len = self.srtp_out.protect_rtp(&mut packet, HEADER, len, u64::from(number));
        self.socket.send_to(&packet[..len], self.server).unwrap();
    }

    /// The number in the next media packet.
    fn receive(&mut self) -> Option<u16> {
        loop {
            let mut bytes = [0; 1500];
            let len = self.socket.recv(&mut bytes).ok()?;
            if bytes[1] & 0x7f != OPUS {
                continue;
            }
            let datagram = &mut bytes[..len];
            let number = u16::from_be_bytes([datagram[2], datagram[3]]);
            // One CSRC: the track's number.
            let start = HEADER + 4;
            assert_eq!(datagram[HEADER..start], 9u32.to_be_bytes());
            let ssrc = u32::from_be_bytes(*datagram[8..].first_chunk().unwrap());
            let len = self.srtp_in.unprotect_rtp(datagram, start, ssrc, number).unwrap().len;
            let payload = &datagram[start..len];
            assert_eq!(payload, payload[..2].repeat(40));
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
}

fn producer() -> Box<ProducerParams> {
    Box::new(ProducerParams {
        kind: MediaKind::Audio,
        mid: None,
        encodings: vec![EncodingParams::default()],
        codecs: vec![ReceiveCodec {
            payload_type: OPUS,
            rtx_payload_type: None,
            codec: Codec::Opus,
            clock_rate: 48_000,
            feedback: Feedback::default(),
        }],
        fec: None,
        number: 9,
        paused: false,
    })
}

fn subscribe(handle: &Handle, number: u64) -> Peer {
    let peer = Peer::connect(handle, FAR, number);
    let consumer = ConsumerId(number);
    let params = Box::new(ConsumerParams {
        kind: MediaKind::Audio,
        mid: "0".to_owned(),
        ssrc: 1000 + number as u32,
        rtx_ssrc: None,
        cname: "c".to_owned(),
        header_extensions: Vec::new(),
        paused: false,
    });
    let transport = TransportId(number);
    handle.send(FAR, Command::CreateConsumer { transport, consumer, params }).unwrap();
    let mapping = PayloadMapping { from: OPUS, to: OPUS, rtx: None, nack: false, red: None };
    let binding = Some(Binding { producer: PRODUCER, payload_types: vec![mapping] });
    handle.send(FAR, Command::BindConsumer { consumer, binding }).unwrap();
    peer
}

/// Waits until the workers, which publish once a second, have that many tracks.
fn wait_for_tracks(handle: &Handle, expected: [usize; 2]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let tracks = [NEAR, FAR].map(|worker| handle.metrics(worker).unwrap().producers);
        if tracks == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{tracks:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn packets_cross_from_one_thread_to_another_in_order_and_unchanged() {
    let media_ips = vec!["127.0.0.1".parse().unwrap()];
    let config = Config { media_ips, workers: 2, ..Config::default() };
    let (handle, _events) = Sfu::start(config).unwrap();
    let mut publisher = Peer::connect(&handle, NEAR, 1);
    let transport = TransportId(1);
    let create = Command::CreateProducer { transport, producer: PRODUCER, params: producer() };
    handle.send(NEAR, create).unwrap();
    let pipe = Command::CreatePipedProducer { producer: PRODUCER, from: NEAR, params: producer() };
    handle.send(FAR, pipe).unwrap();
    handle.send(NEAR, Command::OpenPipe { producer: PRODUCER, to: FAR }).unwrap();
    let mut subscribers: Vec<Peer> = (0..SUBSCRIBERS).map(|n| subscribe(&handle, 2 + n)).collect();
    wait_for_tracks(&handle, [1, 1]);
    let mut received = vec![Vec::new(); subscribers.len()];
    for number in 0..PACKETS {
        publisher.send(number);
        for (subscriber, received) in subscribers.iter_mut().zip(&mut received) {
            received.extend(subscriber.receive());
        }
    }
    for received in received {
        assert_eq!(received, (0..PACKETS).collect::<Vec<_>>());
    }
    handle.send(NEAR, Command::CloseProducer { producer: PRODUCER }).unwrap();
    handle.send(FAR, Command::CloseProducer { producer: PRODUCER }).unwrap();
    wait_for_tracks(&handle, [0, 0]);
}
