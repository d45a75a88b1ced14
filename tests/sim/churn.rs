//! People come and go, and nothing of them stays: a third says goodbye, a third is gone from one moment to the next, a third goes in the middle of
//! the handshake.

use crate::lean::{Lean, Person, address, resident};
use crate::net::{MS, Micros, SECOND};
use sfu_core::params::{DtlsRole, Fingerprint, FingerprintHash, Security, TransportParams};
use sfu_core::transport::dtls::{Certificate, Dtls};
use sfu_core::{Command, RouterId, TransportId};
use switchyard_tests::peer::{check, credentials};

/// In the room at a time.
const TOGETHER: u64 = 6;
/// Longer than any deadline of the engine.
const REST: Micros = 90 * SECOND;

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["test".to_owned()]).unwrap();
    let private_key_pkcs8 = made.signing_key.serialize_der();
    Certificate { der: made.cert.der().to_vec(), private_key_pkcs8 }
}

struct Churn {
    room: Lean,
    people: Vec<Person>,
    number: u64,
    client: Certificate,
    client_prints: Vec<Fingerprint>,
    server_prints: Vec<Fingerprint>,
    /// Media packets that people got.
    seen: u64,
}

impl Churn {
    fn new() -> Self {
        let (server, client) = (certificate(), certificate());
        let print = |certificate: &Certificate| {
            let digest = certificate.sha256().to_vec();
            vec![Fingerprint { hash: FingerprintHash::Sha256, digest }]
        };
        let (client_prints, server_prints) = (print(&client), print(&server));
        Self {
            room: Lean::new(server),
            people: Vec::new(),
            number: 0,
            client,
            client_prints,
            server_prints,
            seen: 0,
        }
    }

    /// So many join and leave.
    fn cycles(&mut self, count: u64) {
        for _ in 0..count {
            self.number += 1;
            match self.number % 3 {
                0 => self.begin_handshake(),
                _ => {
                    let person = self.room.join(self.number, TOGETHER);
                    self.room.bind(&person, self.people.iter().map(|other| other.number));
                    self.people.push(person);
                }
            }
            self.talk();
            if self.people.len() as u64 > TOGETHER {
                let gone = self.people.remove(0);
                self.seen += self.room.sink.got[&gone.endpoint.address].media;
                match gone.number % 3 {
                    1 => self.room.leave(&gone),
                    _ => drop(self.room.forget(&gone)),
                }
            }
        }
    }

    /// Ten frames.
    fn talk(&mut self) {
        for frame in 0..10 {
            let now = self.room.now;
            for person in &mut self.people {
                person.endpoint.wake(now);
                if person.endpoint.connected {
                    person.show(now);
                    person.speak(now);
                }
                self.room.send(person);
            }
            self.room.flush();
            if frame % 3 == 0 {
                for person in &mut self.people {
                    self.room.feed_back(person);
                    self.room.send(person);
                }
            }
            self.room.advance(now + 33 * MS);
        }
    }

    /// A real one over DTLS, as far as a random step; half are closed, half are never heard of again.
    fn begin_handshake(&mut self) {
        let (number, now) = (self.number, self.room.instant());
        let transport = TransportId(number);
        let params = Box::new(TransportParams {
            local_ice: credentials('s', number),
            remote_ice: credentials('p', number),
            security: Security::Dtls {
                role: DtlsRole::Server,
                fingerprints: self.client_prints.clone(),
            },
            sctp: None,
        });
        self.room.command(Command::CreateTransport { transport, router: RouterId(1), params });
        let mut hello = check(number, 1, &[(0x0024, &[0x6e, 0, 1, 0xff]), (0x0025, &[])]);
        self.room.feed(address(number), &mut hello);
        let mut client =
            Dtls::new(DtlsRole::Client, &self.client, self.server_prints.clone()).unwrap();
        client.start(now);
        for _ in 0..number / 3 % 4 {
            while let Some(mut record) = client.poll_transmit() {
                self.room.feed(address(number), &mut record);
            }
            self.room.flush();
            for (_, datagram) in std::mem::take(&mut self.room.sink.other) {
                if datagram[0] > 3 {
                    client.handle_datagram(now, &datagram);
                }
            }
        }
        if number.is_multiple_of(2) {
            self.room.command(Command::CloseTransport { transport });
        }
    }

    /// Everybody goes, and what only time ends comes to its end.
    fn rest(&mut self) {
        for person in std::mem::take(&mut self.people) {
            self.room.leave(&person);
        }
        self.room.flush();
        let end = self.room.now + REST;
        self.room.advance(end);
        self.room.sink.other.clear();
        for (what, held) in self.room.engine.held() {
            assert_eq!(held, 0, "{what} after {} cycles", self.number);
        }
    }
}

#[test]
fn figure_04_nothing_stays_of_those_who_went() {
    let mut churn = Churn::new();
    churn.cycles(300);
    churn.rest();
    assert!(churn.seen > 1000, "they saw each other: {}", churn.seen);
    assert!(churn.room.closed >= 100, "those who went silent were found: {}", churn.room.closed);
}

/// The whole of it: `cargo test -p switchyard-tests --test sim figure_04_ten -- --ignored --nocapture`.
#[test]
#[ignore = "a minute, and alone: it looks at the memory of the process"]
fn figure_04_ten_thousand_come_and_go() {
    let mut churn = Churn::new();
    let mut after_first = 0;
    for thousand in 1..=10 {
        churn.cycles(1000);
        churn.rest();
        let now = resident();
        println!("{} cycles: {:.1} MiB", thousand * 1000, now as f64 / 1_048_576.0);
        if thousand == 1 {
            after_first = now;
        }
    }
    println!(
        "{} packets of media were seen, {} transports ended by themselves",
        churn.seen, churn.room.closed
    );
    let ratio = resident() as f64 / after_first as f64;
    assert!(ratio <= 1.02, "{ratio:.3} times as much memory as after the first thousand");
}
