//! DTLS with real handshakes while somebody else sprays forged ones.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sfu_core::egress::{Arena, Datagram, Egress, Message, Transmit, Tuple};
use sfu_core::params::{DtlsRole, Fingerprint, FingerprintHash, Security, TransportParams};
use sfu_core::transport::dtls::{Certificate, Dtls, DtlsEvent};
use sfu_core::{Command, DropReason, Engine, EngineConfig, Event, RouterId, TransportId};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};
use switchyard_tests::peer::{check, credentials};

const CLIENTS: u64 = 1000;
/// Handshakes that go on at a time.
const TOGETHER: u64 = 50;
/// Forged datagrams between two of the clients' steps: more than a thousand a second of virtual time.
const FORGED_PER_STEP: usize = 20;
const STEP: Duration = Duration::from_millis(10);
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

#[derive(Default)]
struct Sink(Vec<(SocketAddr, Vec<u8>)>);

impl Transmit for Sink {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        for message in messages {
            let run = &bytes[message.start..message.start + message.len];
            let datagrams = run.chunks(message.segment);
            self.0.extend(datagrams.map(|datagram| (message.tuple.remote, datagram.to_vec())));
        }
    }
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["test".to_owned()]).unwrap();
    let private_key_pkcs8 = made.signing_key.serialize_der();
    Certificate { der: made.cert.der().to_vec(), private_key_pkcs8 }
}

fn fingerprint(certificate: &Certificate) -> Vec<Fingerprint> {
    vec![Fingerprint { hash: FingerprintHash::Sha256, digest: certificate.sha256().to_vec() }]
}

fn address(number: u64) -> SocketAddr {
    ([10, 1, (number >> 8) as u8, number as u8], 40_000).into()
}

struct Bench {
    engine: Engine,
    arena: Arena,
    sink: Sink,
    now: Instant,
    server: Certificate,
    client: Certificate,
    /// Handshakes under way, by address.
    clients: HashMap<SocketAddr, Dtls>,
    connected: u64,
    rng: SmallRng,
    /// Bytes sent to whoever proved nothing.
    strayed: usize,
}

impl Bench {
    fn new() -> Self {
        let (now, server) = (Instant::now(), certificate());
        let config = EngineConfig {
            certificate: server.clone(),
            seed: 1,
            epoch: now,
            epoch_ntp: 0xe800_0000_0000_0000,
        };
        Self {
            engine: Engine::new(config),
            arena: Arena::default(),
            sink: Sink::default(),
            now,
            server,
            client: certificate(),
            clients: HashMap::new(),
            connected: 0,
            rng: SmallRng::seed_from_u64(1),
            strayed: 0,
        }
    }

    /// Control has answered an offer.
    fn signal(&mut self, number: u64) {
        let params = TransportParams {
            local_ice: credentials('s', number),
            remote_ice: credentials('p', number),
            security: Security::Dtls {
                role: DtlsRole::Server,
                fingerprints: fingerprint(&self.client),
            },
            sctp: None,
        };
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        let command = Command::CreateTransport {
            transport: TransportId(number),
            router: RouterId(1),
            params: Box::new(params),
        };
        self.engine.handle_command(self.now, command, &mut egress);
    }

    fn close(&mut self, numbers: Range<u64>) {
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        for number in numbers {
            let command = Command::CloseTransport { transport: TransportId(number) };
            self.engine.handle_command(self.now, command, &mut egress);
        }
        egress.flush();
        self.deliver();
    }

    fn begin(&mut self, number: u64) {
        let role = DtlsRole::Client;
        let mut client = Dtls::new(role, &self.client, fingerprint(&self.server)).unwrap();
        client.start(self.now);
        self.clients.insert(address(number), client);
        self.datagram(address(number), check(number, 1, &[(0x0025, &[])]));
    }

    fn datagram(&mut self, from: SocketAddr, mut bytes: Vec<u8>) {
        let tuple = Tuple::udp(SERVER, from);
        let datagram = Datagram { tuple, arrival: self.now, bytes: &mut bytes };
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_datagram(self.now, datagram, &mut egress);
        egress.flush();
        self.deliver();
    }

    fn deliver(&mut self) {
        for (to, bytes) in std::mem::take(&mut self.sink.0) {
            match self.clients.get_mut(&to) {
                Some(client) if bytes[0] >= 20 => client.handle_datagram(self.now, &bytes),
                Some(_) => {}
                // What is left for clients that are done: their answers to checks.
                None => self.strayed += if to.ip() == stranger(0).ip() { bytes.len() } else { 0 },
            }
        }
        while let Some(event) = self.engine.poll_event() {
            assert!(!matches!(event, Event::TransportClosed { .. }), "{event:?}");
            self.connected += u64::from(matches!(event, Event::TransportConnected { .. }));
        }
    }

    /// A ClientHello with nothing but the NULL suite, or one that is cut, from a port of somebody else.
    fn forge(&mut self) {
        let mut hello = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54];
        hello.extend([1, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 42, 0xfe, 0xfd]);
        hello.extend([7; 32]);
        hello.extend([0, 0, 0, 2, 0, 0, 1, 0]);
        hello.truncate(if self.rng.random_bool(0.5) { hello.len() } else { 30 });
        let port = self.rng.random_range(1..60_000);
        self.datagram(stranger(port), hello);
    }

    fn step(&mut self) {
        let mut out = Vec::new();
        for (address, client) in &mut self.clients {
            if client.poll_timeout().is_some_and(|at| at <= self.now) {
                client.handle_timeout(self.now);
            }
            out.extend(
                std::iter::from_fn(|| client.poll_transmit()).map(|bytes| (*address, bytes)),
            );
        }
        for (from, bytes) in out {
            for _ in 0..FORGED_PER_STEP / 10 {
                self.forge();
            }
            self.datagram(from, bytes);
        }
        for _ in 0..FORGED_PER_STEP {
            self.forge();
        }
        self.now += STEP;
        let mut egress = Egress::new(&mut self.arena, &mut self.sink);
        self.engine.handle_timeout(self.now, &mut egress);
        egress.flush();
        self.deliver();
    }

    /// How many clients have keys now.
    fn completed(&mut self) -> u64 {
        self.clients.values_mut().filter(|client| client.is_connected()).count() as u64
    }
}

fn stranger(port: u16) -> SocketAddr {
    ([198, 51, 100, 7], port).into()
}

#[test]
fn row_01_all_handshakes_complete_under_a_spray_of_forged_hellos() {
    let mut bench = Bench::new();
    let mut completed = 0;
    for first in (0..CLIENTS).step_by(TOGETHER as usize) {
        let numbers = first + 1..first + TOGETHER + 1;
        numbers.clone().for_each(|number| bench.signal(number));
        // The answer is out, and the clients take their time.
        for _ in 0..50 {
            bench.step();
        }
        numbers.for_each(|number| bench.begin(number));
        for _ in 0..100 {
            bench.step();
            if bench.completed() == TOGETHER {
                break;
            }
        }
        completed += bench.completed();
        for client in bench.clients.values_mut() {
            while let Some(event) = client.poll_event() {
                assert!(matches!(event, DtlsEvent::Connected(_)), "{event:?}");
            }
        }
        bench.clients.clear();
        bench.close(first + 1..first + TOGETHER + 1);
    }
    assert_eq!((completed, bench.connected), (CLIENTS, CLIENTS));
    assert_eq!(bench.strayed, 0, "a stranger gets no byte");
    let unknown = bench.engine.drops().get(DropReason::UnknownTuple);
    assert!(unknown > 20 * CLIENTS, "{unknown} forged ones");
}
