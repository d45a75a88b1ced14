//! The engine with its peers in virtual time.

use crate::endpoint::{Endpoint, publisher_ids as pub_ids, subscriber_ids as sub_ids};
use crate::net::{Delivery, Micros, Net, Path, SECOND, To};
use crate::params::{audio_params, mapping, mappings, video_params};
use crate::pipes::Pipes;
use crate::publisher::{self, Publisher};
use crate::subscriber::{self, Slot, Subscriber};
use crate::tap::Tap;
use crate::tracks::{Audio, Video};
use crate::wire::{Cause, Sink, address, number_of, transport_number};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sfu_core::egress::{Arena, Datagram, Egress, Tuple};
use sfu_core::params::{
    Binding, ConsumerParams, ExtensionKind, MediaKind, PayloadMapping, ProducerParams,
};
use sfu_core::transport::dtls::Certificate;
use sfu_core::transport::srtp::SrtpProfile;
use sfu_core::{
    Command, ConsumerId, Engine, EngineConfig, Event, ProducerId, RouterId, TransportId, WorkerId,
};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use switchyard_tests::peer::{peer_keys, transport_params};

/// The server's NTP time at virtual time 0.
pub(crate) const SERVER_NTP: u64 = 0xe800_0000_0000_0000;
/// Publishers' clocks are hours off.
const PUBLISHER_NTP: u64 = SERVER_NTP - (5 << 32) * 3600 + 123_456_789;
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
const CAPTURED_MAX: usize = 100;

/// Position of a publisher or a subscriber in its list.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Publisher(usize),
    Subscriber(usize),
}

/// What a publisher sends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tracks {
    /// Simulcast layers, lowest first; one without a name if empty.
    pub(crate) rids: &'static [&'static str],
    pub(crate) video: bool,
    pub(crate) audio: bool,
}

/// What a slot is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotSpec {
    pub(crate) kind: MediaKind,
    pub(crate) rtx: bool,
    pub(crate) paused: bool,
}

impl SlotSpec {
    pub(crate) const VIDEO: Self = Self { kind: MediaKind::Video, rtx: true, paused: false };
    pub(crate) const AUDIO: Self = Self { kind: MediaKind::Audio, rtx: false, paused: false };
}

pub(crate) struct World {
    /// Worker 0.
    pub(crate) engine: Engine,
    /// Worker 1, where a test has one.
    pub(crate) far: Option<Engine>,
    /// Subscribers that come next negotiate it.
    pub(crate) playout_delay: bool,
    /// Worker of the commands, and so of the peers, that come next.
    pub(crate) worker: WorkerId,
    homes: HashMap<SocketAddr, WorkerId>,
    pub(crate) pipes: Pipes,
    arena: Arena,
    sink: Sink,
    /// How many in `sink` are answers.
    answers: usize,
    epoch: Instant,
    pub(crate) now: Micros,
    pub(crate) net: Net,
    rng: SmallRng,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) subscribers: Vec<Subscriber>,
    /// Parallel to `subscribers`.
    pub(crate) taps: Vec<Tap>,
    peers: HashMap<SocketAddr, Peer>,
    numbers: u64,
    tracks: u32,
    ssrcs: u32,
    pub(crate) events: Vec<(Micros, Event)>,
    /// The engine's thread does not run before this.
    asleep: Micros,
    /// Datagrams to addresses that are no peer's.
    pub(crate) stray: Vec<(SocketAddr, Vec<u8>)>,
    /// What came at the engine: (from, transport-wide number, time).
    pub(crate) arrivals: Vec<(SocketAddr, u16, Micros)>,
    /// Datagrams of the first publisher's media, as they were on the wire.
    pub(crate) captured: Vec<Vec<u8>>,
    /// Room of the peers that are added next.
    pub(crate) router: RouterId,
    /// FNV-1a over all datagrams with their times, before the network.
    pub(crate) trace: u64,
}

fn engine(seed: u64, epoch: Instant) -> Engine {
    Engine::new(EngineConfig {
        // Keys are handed in: there is no handshake that would read it.
        certificate: Certificate { der: Vec::new(), private_key_pkcs8: Vec::new() },
        seed,
        epoch,
        epoch_ntp: SERVER_NTP,
    })
}

fn pick<'a>(near: &'a mut Engine, far: &'a mut Option<Engine>, worker: WorkerId) -> &'a mut Engine {
    match worker {
        WorkerId(0) => near,
        _ => far.as_mut().expect("a second worker"),
    }
}

impl World {
    pub(crate) fn new(seed: u64, up: Path, down: Path) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let epoch = Instant::now();
        Self {
            engine: engine(rng.random(), epoch),
            far: None,
            playout_delay: false,
            worker: WorkerId(0),
            homes: HashMap::new(),
            pipes: Pipes::default(),
            arena: Arena::default(),
            sink: Sink::default(),
            answers: 0,
            epoch,
            now: 0,
            net: Net::new(rng.random(), up, down),
            rng,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            taps: Vec::new(),
            peers: HashMap::new(),
            numbers: 0,
            tracks: 0,
            ssrcs: 100,
            events: Vec::new(),
            asleep: 0,
            stray: Vec::new(),
            arrivals: Vec::new(),
            captured: Vec::new(),
            router: RouterId(1),
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Adds a second worker. Commands go to the first one until [`World::worker`] is set.
    pub(crate) fn add_worker(&mut self) {
        self.far = Some(engine(self.rng.random(), self.epoch));
    }

    pub(crate) fn command(&mut self, command: Command) {
        let now = self.epoch + Duration::from_micros(self.now);
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let engine = pick(&mut self.engine, &mut self.far, self.worker);
        engine.handle_command(now, command, &mut egress);
        self.finish_turn();
    }

    fn create_transport(&mut self, extensions: &[(u8, ExtensionKind)]) -> u64 {
        self.numbers += 1;
        self.homes.insert(address(self.numbers), self.worker);
        let transport = TransportId(self.numbers);
        let params = Box::new(transport_params(self.numbers, PROFILE));
        let router = self.router;
        self.command(Command::CreateTransport { transport, router, params });
        let header_extensions = mappings(extensions);
        self.command(Command::ConfigureTransport { transport, header_extensions });
        self.numbers
    }

    /// A new publisher; returns its index. Its producers have the ids of [`World::video_of`] and [`World::audio_of`].
    pub(crate) fn add_publisher(&mut self, tracks: Tracks) -> usize {
        let number = self.create_transport(&[
            (pub_ids::MID, ExtensionKind::Mid),
            (pub_ids::RID, ExtensionKind::Rid),
            (pub_ids::REPAIRED_RID, ExtensionKind::RepairedRid),
            (pub_ids::TRANSPORT_WIDE, ExtensionKind::TransportWideCc),
            (pub_ids::AUDIO_LEVEL, ExtensionKind::AudioLevel),
            (pub_ids::DESCRIPTOR, ExtensionKind::DependencyDescriptor),
        ]);
        let index = self.publishers.len();
        let endpoint = Endpoint::new(number, PROFILE, address(number));
        self.peers.insert(endpoint.address, Peer::Publisher(index));
        let ntp = PUBLISHER_NTP.wrapping_add(number << 40);
        let mut publisher = Publisher::new(endpoint, self.rng.random(), ntp);
        if tracks.video {
            self.tracks += 1;
            let track = self.tracks as u8;
            publisher.video = Some(Video::new(&mut self.rng, track, Some("0"), tracks.rids));
            let params = video_params(tracks.rids, self.tracks);
            self.create_producer(number, Self::video_of(index), params);
        }
        if tracks.audio {
            self.tracks += 1;
            publisher.audio = Some(Audio::new(&mut self.rng, self.tracks as u8, Some("1")));
            let params = audio_params(self.tracks);
            self.create_producer(number, Self::audio_of(index), params);
        }
        self.publishers.push(publisher);
        index
    }

    fn create_producer(&mut self, number: u64, producer: ProducerId, params: ProducerParams) {
        let transport = TransportId(number);
        self.command(Command::CreateProducer { transport, producer, params: Box::new(params) });
    }

    pub(crate) fn video_of(publisher: usize) -> ProducerId {
        ProducerId(publisher as u64 * 2)
    }

    pub(crate) fn audio_of(publisher: usize) -> ProducerId {
        ProducerId(publisher as u64 * 2 + 1)
    }

    /// A new subscriber; returns its index.
    pub(crate) fn add_subscriber(&mut self, slots: &[SlotSpec]) -> usize {
        let mut extensions = vec![
            (sub_ids::MID, ExtensionKind::Mid),
            (sub_ids::TRANSPORT_WIDE, ExtensionKind::TransportWideCc),
            (sub_ids::ABS_SEND_TIME, ExtensionKind::AbsSendTime),
            (sub_ids::AUDIO_LEVEL, ExtensionKind::AudioLevel),
            (sub_ids::DESCRIPTOR, ExtensionKind::DependencyDescriptor),
        ];
        if self.playout_delay {
            extensions.push((sub_ids::PLAYOUT_DELAY, ExtensionKind::PlayoutDelay));
        }
        let number = self.create_transport(&extensions);
        let index = self.subscribers.len();
        let endpoint = Endpoint::new(number, PROFILE, address(number));
        self.peers.insert(endpoint.address, Peer::Subscriber(index));
        let mut subscriber = Subscriber::new(endpoint);
        let mut tap = Tap::new(&peer_keys(number, PROFILE));
        for (position, spec) in slots.iter().enumerate() {
            self.ssrcs += 2;
            let (ssrc, rtx_ssrc) = (self.ssrcs, spec.rtx.then_some(self.ssrcs + 1));
            let video = spec.kind == MediaKind::Video;
            subscriber.slots.push(Slot::new(spec.kind, ssrc, rtx_ssrc, video));
            if let Some(rtx) = rtx_ssrc {
                tap.add_rtx(rtx, ssrc);
            }
            let params = ConsumerParams {
                kind: spec.kind,
                mid: position.to_string(),
                ssrc,
                rtx_ssrc,
                cname: "cname".into(),
                header_extensions: mappings(&extensions),
                paused: spec.paused,
            };
            self.command(Command::CreateConsumer {
                transport: TransportId(number),
                consumer: Self::consumer(index, position),
                params: Box::new(params),
            });
        }
        self.subscribers.push(subscriber);
        self.taps.push(tap);
        index
    }

    pub(crate) fn consumer(subscriber: usize, slot: usize) -> ConsumerId {
        ConsumerId(subscriber as u64 * 100 + slot as u64)
    }

    pub(crate) fn transport_of_subscriber(&self, subscriber: usize) -> TransportId {
        let address = self.subscribers[subscriber].endpoint.address;
        TransportId(number_of(address))
    }

    pub(crate) fn bind(&mut self, subscriber: usize, slot: usize, producer: Option<ProducerId>) {
        let there = &self.subscribers[subscriber].slots[slot];
        let payload_types = match there.kind {
            MediaKind::Audio => vec![PayloadMapping {
                red: Some(subscriber::RED),
                ..mapping(publisher::OPUS, subscriber::OPUS, None, there.nacks)
            }],
            MediaKind::Video => {
                // RTX has the payload type behind that of what it repairs.
                let of = |from, to| mapping(from, to, there.rtx_ssrc.map(|_| to + 1), true);
                vec![
                    of(publisher::VP8, subscriber::VP8),
                    of(publisher::VP9, subscriber::VP9),
                    of(publisher::AV1, subscriber::AV1),
                ]
            }
        };
        self.command(Command::BindConsumer {
            consumer: Self::consumer(subscriber, slot),
            binding: producer.map(|producer| Binding { producer, payload_types }),
        });
    }

    /// SSRC of a slot.
    pub(crate) fn ssrc(&self, subscriber: usize, slot: usize) -> u32 {
        self.subscribers[subscriber].slots[slot].ssrc
    }

    /// A peer's new address.
    pub(crate) fn move_subscriber(&mut self, subscriber: usize, address: SocketAddr) {
        self.peers.insert(address, Peer::Subscriber(subscriber));
        self.subscribers[subscriber].endpoint.move_to(self.now, address);
    }

    /// A NAT gives a subscriber another address, of which it knows nothing.
    pub(crate) fn rebind_subscriber(&mut self, subscriber: usize, address: SocketAddr) {
        self.peers.insert(address, Peer::Subscriber(subscriber));
        let endpoint = &mut self.subscribers[subscriber].endpoint;
        self.net.lose(std::mem::replace(&mut endpoint.address, address));
    }

    /// Anybody's datagram for the engine.
    pub(crate) fn inject(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        self.note(from, &bytes);
        self.net.send(self.now, Delivery { to: To::Engine, peer: from, bytes });
    }

    /// A datagram straight into the engine, for floods: no network in between. Returns what was answered.
    pub(crate) fn feed(
        &mut self,
        from: SocketAddr,
        bytes: &mut [u8],
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let now = self.epoch + Duration::from_micros(self.now);
        let tuple = Tuple::udp(SERVER, from);
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_datagram(now, Datagram { tuple, arrival: now, bytes }, &mut egress);
        egress.flush();
        self.sink.0.drain(..).map(|(tuple, bytes)| (tuple.remote, bytes)).collect()
    }

    /// The process stands still for so long (SIGSTOP, a machine that is moved), while its peers go on.
    pub(crate) fn stop_for(&mut self, duration: Micros) {
        self.asleep = self.now + duration;
        self.run(duration);
    }

    pub(crate) fn run_seconds(&mut self, seconds: u64) {
        self.run(seconds * SECOND);
    }

    pub(crate) fn run(&mut self, duration: Micros) {
        let end = self.now + duration;
        let mut turns_now = 0;
        loop {
            let next = self.next_turn();
            if next > end {
                break;
            }
            turns_now = if next > self.now { 0 } else { turns_now + 1 };
            assert!(turns_now < 10_000, "time stands still at {} µs", self.now);
            self.now = self.now.max(next);
            self.turn();
        }
        self.now = end;
    }

    fn next_turn(&self) -> Micros {
        let engines = [Some(&self.engine), self.far.as_ref()].into_iter().flatten();
        let engines = engines
            .filter_map(Engine::poll_timeout)
            .map(|at| at.saturating_duration_since(self.epoch).as_nanos().div_ceil(1000) as Micros)
            .map(|at| at.max(self.asleep));
        let publishers = self.publishers.iter().map(Publisher::next_wake);
        let subscribers = self.subscribers.iter().map(Subscriber::next_wake);
        let others = engines.chain(self.net.next()).chain(self.pipes.next());
        publishers.chain(subscribers).chain(others).min().unwrap_or(Micros::MAX)
    }

    fn turn(&mut self) {
        let now = self.epoch + Duration::from_micros(self.now);
        while let Some(Delivery { to, peer, mut bytes }) = self.net.pop(self.now) {
            if to == To::Engine && self.now < self.asleep {
                // What waited so long is thrown away when the worker goes on.
                continue;
            }
            if to == To::Engine {
                self.take(peer, &mut bytes);
                continue;
            }
            match self.peers.get(&peer) {
                Some(Peer::Publisher(index)) => self.publishers[*index].receive(self.now, bytes),
                Some(Peer::Subscriber(index)) => self.subscribers[*index].receive(self.now, bytes),
                None => self.stray.push((peer, bytes)),
            }
        }
        self.answers = self.sink.0.len();
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        for engine in [Some(&mut self.engine), self.far.as_mut()].into_iter().flatten() {
            if self.now >= self.asleep && engine.poll_timeout().is_some_and(|at| at <= now) {
                engine.handle_timeout(now, &mut egress);
            }
        }
        while let Some((from, to, message)) = self.pipes.pop(self.now) {
            pick(&mut self.engine, &mut self.far, to).handle_pipe(now, from, &message);
        }
        self.finish_turn();
        for publisher in &mut self.publishers {
            publisher.wake(self.now);
        }
        for subscriber in &mut self.subscribers {
            subscriber.wake(self.now);
        }
        self.collect_peers();
    }

    /// A datagram comes in at the worker of its peer.
    fn take(&mut self, peer: SocketAddr, bytes: &mut [u8]) {
        let now = self.epoch + Duration::from_micros(self.now);
        if let Some(number) = transport_number(bytes) {
            self.arrivals.push((peer, number, self.now));
            if self.captured.len() < CAPTURED_MAX {
                self.captured.push(bytes.to_vec());
            }
        }
        let tuple = Tuple::udp(SERVER, peer);
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let home = self.homes.get(&peer).copied().unwrap_or(WorkerId(0));
        let engine = pick(&mut self.engine, &mut self.far, home);
        engine.handle_datagram(now, Datagram { tuple, arrival: now, bytes }, &mut egress);
        egress.flush();
    }

    /// Ends a turn as a worker does, and puts what the engine sent on the wire.
    fn finish_turn(&mut self) {
        let now = self.epoch + Duration::from_micros(self.now);
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let engines = [Some(&mut self.engine), self.far.as_mut()].into_iter().flatten();
        for (index, engine) in engines.enumerate().filter(|_| self.now >= self.asleep) {
            let worker = WorkerId(index);
            engine.flush_pipes(now, &mut self.pipes.end(worker, self.now));
            engine.flush(now, &mut egress);
            let told = engine.flush_pipes(now, &mut self.pipes.end(worker, self.now));
            self.pipes.retry(told, self.now);
            while let Some(event) = engine.poll_event() {
                self.events.push((self.now, event));
            }
        }
        egress.flush();
        let answers = std::mem::take(&mut self.answers);
        for (at, (tuple, bytes)) in std::mem::take(&mut self.sink.0).into_iter().enumerate() {
            assert_eq!(tuple.local, SERVER);
            self.note(tuple.remote, &bytes);
            if let Some(Peer::Subscriber(index)) = self.peers.get(&tuple.remote) {
                let cause = if at < answers { Cause::Answer } else { Cause::Other };
                self.taps[*index].look(self.now, &bytes, cause);
            }
            self.net.send(self.now, Delivery { to: To::Peer, peer: tuple.remote, bytes });
        }
    }

    fn collect_peers(&mut self) {
        let mut out = Vec::new();
        for publisher in &mut self.publishers {
            out.append(&mut publisher.endpoint.out);
        }
        for subscriber in &mut self.subscribers {
            out.append(&mut subscriber.endpoint.out);
        }
        for (from, bytes) in out {
            self.inject(from, bytes);
        }
    }

    fn note(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let mut mix = |word: u64| {
            self.trace = (self.trace ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        };
        mix(self.now);
        mix(u64::from(peer.port()) << 32 | bytes.len() as u64);
        // Word by word: byte by byte it takes a fifth of all that the simulation does.
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(u64::from_le_bytes(word));
        }
    }
}
