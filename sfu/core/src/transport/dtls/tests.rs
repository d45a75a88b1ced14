//! Whole associations: two of ours against each other, and ours against the bare library in the role of a client.
#![allow(clippy::unwrap_used)]

mod downgrade;
mod hazards;

use std::sync::Arc;

use bytes::BytesMut;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rtc_dtls::config::ConfigBuilder;
use rtc_dtls::crypto::Certificate as LibraryCertificate;
use rtc_dtls::crypto_provider::RTCCryptoProvider;
use rtc_dtls::crypto_provider::providers::AwsLcRsProvider;
use rtc_dtls::endpoint::Endpoint;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;

use super::record::{self, Fragment, Fragments, Records};
use super::*;
use crate::transport::srtp::SrtpProfile;

#[allow(clippy::disallowed_methods)] // the base of virtual time
fn base() -> Instant {
    Instant::now()
}

fn certificate() -> Certificate {
    certificate_for(vec!["switchyard".to_owned()])
}

fn certificate_for(names: Vec<String>) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(names).unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Certificate { der, private_key_pkcs8: key.serialize_der() }
}

fn fingerprint(hash: FingerprintHash, der: &[u8]) -> Fingerprint {
    let algorithm = match hash {
        FingerprintHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        FingerprintHash::Sha256 => &digest::SHA256,
        FingerprintHash::Sha384 => &digest::SHA384,
        FingerprintHash::Sha512 => &digest::SHA512,
    };
    Fingerprint { hash, digest: digest::digest(algorithm, der).as_ref().to_vec() }
}

fn sha256(der: &[u8]) -> Vec<Fingerprint> {
    vec![fingerprint(FingerprintHash::Sha256, der)]
}

fn pair() -> (Dtls, Dtls) {
    let (ours, theirs) = (certificate(), certificate());
    let server = Dtls::new(DtlsRole::Server, &ours, sha256(&theirs.der)).unwrap();
    let client = Dtls::new(DtlsRole::Client, &theirs, sha256(&ours.der)).unwrap();
    (server, client)
}

fn events(dtls: &mut Dtls) -> Vec<DtlsEvent> {
    std::iter::from_fn(|| dtls.poll_event()).collect()
}

fn transmits(dtls: &mut Dtls) -> Vec<Vec<u8>> {
    let datagrams: Vec<_> = std::iter::from_fn(|| dtls.poll_transmit()).collect();
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 1200));
    datagrams
}

fn keys(events: &[DtlsEvent]) -> &SrtpKeys {
    match events {
        [DtlsEvent::Connected(keys), ..] => keys,
        other => panic!("not connected: {other:?}"),
    }
}

fn failure(dtls: &mut Dtls) -> DtlsFailure {
    match events(dtls).as_slice() {
        [DtlsEvent::Failed(failure)] => failure.clone(),
        other => panic!("not one failure: {other:?}"),
    }
}

/// Runs both sides in virtual time until nothing is left to do or 20 s have passed. `link` is what the network does to
/// a datagram; the flag tells whether the client sent it.
fn run(
    now: &mut Instant,
    server: &mut Dtls,
    client: &mut Dtls,
    mut link: impl FnMut(bool, Vec<u8>) -> Vec<Vec<u8>>,
) {
    let end = *now + Duration::from_secs(20);
    server.start(*now);
    client.start(*now);
    for round in 0.. {
        assert!(round < 10_000, "time stands still");
        if *now >= end {
            return;
        }
        let up: Vec<_> = transmits(client).into_iter().flat_map(|d| link(true, d)).collect();
        let down: Vec<_> = transmits(server).into_iter().flat_map(|d| link(false, d)).collect();
        up.iter().for_each(|datagram| server.handle_datagram(*now, datagram));
        down.iter().for_each(|datagram| client.handle_datagram(*now, datagram));
        if up.is_empty() && down.is_empty() {
            let Some(next) =
                [server.poll_timeout(), client.poll_timeout()].into_iter().flatten().min()
            else {
                return;
            };
            *now = (*now).max(next);
            server.handle_timeout(*now);
            client.handle_timeout(*now);
        }
    }
}

fn connect() -> (Instant, Dtls, Dtls) {
    let (mut server, mut client) = pair();
    let mut now = base();
    run(&mut now, &mut server, &mut client, |_, datagram| vec![datagram]);
    keys(&events(&mut server));
    keys(&events(&mut client));
    (now, server, client)
}

/// The bare library as a client with a configuration of its own.
struct Peer {
    endpoint: Endpoint,
    der: Vec<u8>,
    keys: Option<SrtpProtectionProfile>,
}

const SERVER: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

impl Peer {
    fn new(
        now: Instant,
        profiles: &[u16],
        algorithm: Option<&'static rcgen::SignatureAlgorithm>,
    ) -> Self {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let certificates: Vec<_> = algorithm
            .into_iter()
            .map(|algorithm| {
                let crypto = provider.crypto();
                LibraryCertificate::generate_self_signed_with_alg(vec![], algorithm, crypto)
                    .unwrap()
            })
            .collect();
        let der = certificates.first().map_or(vec![], |c| c.certificate[0].to_vec());
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(certificates)
            .with_srtp_protection_profiles(profiles.iter().map(|id| (*id).into()).collect())
            .with_insecure_skip_verify(true)
            .with_mtu(256)
            .build(true, None)
            .unwrap();
        let mut endpoint = Endpoint::new(SERVER, TransportProtocol::UDP, None);
        endpoint.connect(now, SERVER, Arc::new(config), None).unwrap();
        Self { endpoint, der, keys: None }
    }

    /// Exchanges datagrams until both fall silent.
    fn run(&mut self, now: Instant, server: &mut Dtls) {
        server.start(now);
        loop {
            let up: Vec<Vec<u8>> = std::iter::from_fn(|| self.endpoint.poll_transmit())
                .map(|transmit| transmit.message.into())
                .collect();
            up.iter().for_each(|datagram| server.handle_datagram(now, datagram));
            let down = transmits(server);
            if up.is_empty() && down.is_empty() {
                return;
            }
            for datagram in &down {
                let _ = self.endpoint.read(now, SERVER, None, BytesMut::from(&datagram[..]));
            }
            if let Some(state) = self.endpoint.get_connection_state(SERVER) {
                self.keys = Some(state.srtp_protection_profile());
            }
        }
    }
}

const EC: Option<&rcgen::SignatureAlgorithm> = Some(&rcgen::PKCS_ECDSA_P256_SHA256);

#[test]
fn both_sides_get_the_same_keys() {
    let (mut server, mut client) = pair();
    let mut now = base();
    run(&mut now, &mut server, &mut client, |_, datagram| vec![datagram]);
    assert!(server.is_connected() && client.is_connected());
    let (server_events, client_events) = (events(&mut server), events(&mut client));
    let (server_keys, client_keys) = (keys(&server_events), keys(&client_events));
    assert_eq!(server_keys.profile, SrtpProfile::AeadAes128Gcm);
    assert_eq!(client_keys.profile, SrtpProfile::AeadAes128Gcm);
    assert_eq!(server_keys.local_key, client_keys.remote_key);
    assert_eq!(server_keys.remote_key, client_keys.local_key);
    assert_eq!(server_keys.local_salt, client_keys.remote_salt);
    assert_ne!(server_keys.local_key, server_keys.remote_key);
    assert_eq!((server.poll_timeout(), client.poll_timeout()), (None, None));
}

#[test]
fn application_data_goes_both_ways() {
    let (now, mut server, mut client) = connect();
    client.send(now, b"up");
    transmits(&mut client).iter().for_each(|datagram| server.handle_datagram(now, datagram));
    assert!(matches!(&events(&mut server)[..], [DtlsEvent::ApplicationData(d)] if d == b"up"));
    server.send(now, &[5; APPLICATION_DATA_LEN_MAX]);
    let datagrams = transmits(&mut server);
    assert_eq!(datagrams.len(), 1);
    datagrams.iter().for_each(|datagram| client.handle_datagram(now, datagram));
    assert!(matches!(&events(&mut client)[..], [DtlsEvent::ApplicationData(d)] if d.len() == 1135));
    server.send(now, &[5; APPLICATION_DATA_LEN_MAX + 1]);
    assert!(transmits(&mut server).is_empty());
}

#[test]
fn close_notify_is_told_and_ends_both() {
    let (now, mut server, mut client) = connect();
    client.close(now);
    assert!(!client.is_connected());
    transmits(&mut client).iter().for_each(|datagram| server.handle_datagram(now, datagram));
    assert!(matches!(&events(&mut server)[..], [DtlsEvent::Closed]));
    assert!(!server.is_connected());
    server.send(now, b"late");
    server.handle_datagram(now, &[22; 40]);
    assert!(transmits(&mut server).len() <= 1, "at most the close_notify in reply");
    assert!(events(&mut client).is_empty());
}

#[test]
fn our_profile_order_decides_against_the_clients() {
    let cases: [(&[u16], SrtpProfile); 5] = [
        (&[1, 8, 7], SrtpProfile::AeadAes128Gcm),
        (&[1, 8], SrtpProfile::AeadAes256Gcm),
        (&[2, 1], SrtpProfile::Aes128CmSha1_80),
        (&[1], SrtpProfile::Aes128CmSha1_80),
        (&[8, 7], SrtpProfile::AeadAes128Gcm),
    ];
    let ours = certificate();
    for (offered, chosen) in cases {
        let now = base();
        let mut peer = Peer::new(now, offered, EC);
        let mut server = Dtls::new(DtlsRole::Server, &ours, sha256(&peer.der)).unwrap();
        peer.run(now, &mut server);
        assert_eq!(keys(&events(&mut server)).profile, chosen, "offered {offered:?}");
        assert_eq!(peer.keys, Some(chosen.id().into()), "offered {offered:?}");
    }
}

#[test]
fn row_05_no_common_profile_fails() {
    for offered in [&[2_u16][..], &[]] {
        let now = base();
        let mut peer = Peer::new(now, offered, EC);
        let mut server = Dtls::new(DtlsRole::Server, &certificate(), sha256(&peer.der)).unwrap();
        peer.run(now, &mut server);
        assert!(matches!(failure(&mut server), DtlsFailure::Library(_)), "offered {offered:?}");
    }
}

#[test]
fn an_rsa_peer_that_cuts_at_256_bytes_connects() {
    let now = base();
    let mut peer = Peer::new(now, &[1], Some(&rcgen::PKCS_RSA_SHA256));
    assert!(peer.der.len() > 512, "an RSA certificate, in several fragments");
    let mut server = Dtls::new(DtlsRole::Server, &certificate(), sha256(&peer.der)).unwrap();
    peer.run(now, &mut server);
    assert!(server.is_connected());
}

#[test]
fn row_04_a_peer_without_certificate_gets_no_keys() {
    let now = base();
    let mut peer = Peer::new(now, &[7], None);
    let mut server = Dtls::new(DtlsRole::Server, &certificate(), sha256(&[])).unwrap();
    peer.run(now, &mut server);
    assert!(!server.is_connected());
    assert!(matches!(failure(&mut server), DtlsFailure::Library(_)));
}

#[test]
fn row_04_a_wrong_fingerprint_gets_no_keys_in_either_role() {
    for wrong_at_server in [true, false] {
        let (ours, theirs, other) = (certificate(), certificate(), certificate());
        let of_client = sha256(if wrong_at_server { &other.der } else { &theirs.der });
        let of_server = sha256(if wrong_at_server { &ours.der } else { &other.der });
        let mut server = Dtls::new(DtlsRole::Server, &ours, of_client).unwrap();
        let mut client = Dtls::new(DtlsRole::Client, &theirs, of_server).unwrap();
        run(&mut base(), &mut server, &mut client, |_, datagram| vec![datagram]);
        assert!(!server.is_connected() && !client.is_connected());
        let deceived = if wrong_at_server { &mut server } else { &mut client };
        assert_eq!(failure(deceived), DtlsFailure::FingerprintMismatch);
        let other = if wrong_at_server { &mut client } else { &mut server };
        assert!(matches!(failure(other), DtlsFailure::Library(_)), "told by an alert");
    }
}

#[test]
fn row_04_the_stronger_hashes_are_accepted_and_sha1_never() {
    let ours = certificate();
    for hash in [FingerprintHash::Sha384, FingerprintHash::Sha512] {
        let now = base();
        let mut peer = Peer::new(now, &[7], EC);
        let list = vec![fingerprint(FingerprintHash::Sha1, &[]), fingerprint(hash, &peer.der)];
        let mut server = Dtls::new(DtlsRole::Server, &ours, list).unwrap();
        peer.run(now, &mut server);
        assert!(server.is_connected(), "{hash:?}");
    }
    let sha1 = vec![fingerprint(FingerprintHash::Sha1, &ours.der)];
    assert!(Dtls::new(DtlsRole::Server, &ours, sha1.clone()).is_err());
    assert!(Dtls::new(DtlsRole::Server, &ours, vec![]).is_err());
    assert!(!matches_fingerprint(&sha1, &ours.der));
}

#[test]
fn an_unusable_private_key_is_an_error() {
    let mut ours = certificate();
    ours.private_key_pkcs8.truncate(20);
    assert!(matches!(
        Dtls::new(DtlsRole::Server, &ours, sha256(&[])),
        Err(DtlsFailure::Library(_))
    ));
}

#[test]
fn row_11_nothing_is_sent_before_the_start() {
    let (mut server, mut client) = pair();
    let now = base();
    client.start(now);
    let hello = transmits(&mut client);
    assert_eq!(hello.len(), 1);
    server.handle_datagram(now, &hello[0]);
    assert!(transmits(&mut server).is_empty());
    assert_eq!(server.poll_timeout(), None);
    server.start(now);
    server.handle_datagram(now, &hello[0]);
    assert_eq!(transmits(&mut server).len(), 1);
}

#[test]
fn row_08_a_handshake_without_answer_fails_after_15_seconds() {
    let (mut server, mut client) = pair();
    let start = base();
    let mut now = start;
    let mut flights = Vec::new();
    run(&mut now, &mut server, &mut client, |from_client, _| {
        assert!(from_client);
        vec![]
    });
    assert_eq!(now - start, HANDSHAKE_TIMEOUT);
    assert_eq!(failure(&mut server), DtlsFailure::Timeout);
    assert_eq!(failure(&mut client), DtlsFailure::Timeout);
    assert_eq!((server.poll_timeout(), client.poll_timeout()), (None, None));

    let (_, mut client) = pair();
    client.start(start);
    let mut now = start;
    while let Some(next) = client.poll_timeout() {
        flights.extend(transmits(&mut client).iter().map(|_| (now - start).as_millis()));
        now = next;
        client.handle_timeout(now);
    }
    assert_eq!(flights, [0, 150, 450, 1050, 2250, 4250, 6250, 8250]);
}

#[test]
fn any_lost_datagram_is_recovered() {
    for lost in 0..12 {
        let (mut server, mut client) = pair();
        let (mut now, mut at) = (base(), 0);
        let start = now;
        run(&mut now, &mut server, &mut client, |_, datagram| {
            at += 1;
            if at - 1 == lost { vec![] } else { vec![datagram] }
        });
        assert!(server.is_connected() && client.is_connected(), "lost datagram {lost}");
        assert!(now - start < Duration::from_secs(1), "lost datagram {lost}: {:?}", now - start);
    }
}

#[test]
fn a_fifth_of_loss_with_reordering_and_copies_is_survived() {
    let (ours, theirs) = (certificate(), certificate());
    for seed in 0..200 {
        let mut server = Dtls::new(DtlsRole::Server, &ours, sha256(&theirs.der)).unwrap();
        let mut client = Dtls::new(DtlsRole::Client, &theirs, sha256(&ours.der)).unwrap();
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut delayed: [Option<Vec<u8>>; 2] = [None, None];
        run(&mut base(), &mut server, &mut client, |from_client, datagram| {
            let late = &mut delayed[usize::from(from_client)];
            match rng.random_range(0..10) {
                0 | 1 => vec![],
                2 => late.replace(datagram).into_iter().collect(),
                3 => vec![datagram.clone(), datagram],
                _ => std::iter::once(datagram).chain(late.take()).collect(),
            }
        });
        assert!(server.is_connected() && client.is_connected(), "seed {seed}");
    }
}

/// Cuts every plaintext handshake message anew: `cut` turns a message's length into pieces.
fn recut(datagram: &[u8], cut: impl Fn(usize) -> Vec<(usize, usize)>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for rec in Records(datagram) {
        if rec.epoch > 0 || rec.content_type != record::HANDSHAKE {
            out.push(rec.bytes.to_vec());
            continue;
        }
        for whole in Fragments(rec.body) {
            let mut pieces = cut(whole.data.len());
            if pieces.is_empty() {
                pieces.push((0, 0)); // ServerHelloDone has no body
            }
            // Many pieces share a record, as the limit counts records.
            for pieces in pieces.chunks(60) {
                let mut records = Vec::new();
                for &(start, end) in pieces {
                    let offset = whole.offset + start;
                    let piece = Fragment { offset, data: &whole.data[start..end], ..whole };
                    record::write_handshake(&mut records, 0, piece);
                }
                let body: Vec<u8> = Records(&records).flat_map(|r| r.body.to_vec()).collect();
                let mut joined = Vec::new();
                let len = u16::try_from(body.len()).unwrap();
                record::write_record_header(&mut joined, record::HANDSHAKE, 0, len);
                joined.extend_from_slice(&body);
                out.push(joined);
            }
        }
    }
    out
}

fn connects_when_recut(cut: impl Fn(usize) -> Vec<(usize, usize)> + Copy) {
    let (mut server, mut client) = pair();
    run(&mut base(), &mut server, &mut client, |_, datagram| recut(&datagram, cut));
    assert!(server.is_connected() && client.is_connected());
}

#[test]
fn a_long_certificate_leaves_in_datagrams_of_1200_bytes() {
    let ours = certificate_for((0..200).map(|n| format!("name-{n}.example")).collect());
    let theirs = certificate_for((0..200).map(|n| format!("peer-{n}.example")).collect());
    assert!(ours.der.len() > 3000);
    let mut server = Dtls::new(DtlsRole::Server, &ours, sha256(&theirs.der)).unwrap();
    let mut client = Dtls::new(DtlsRole::Client, &theirs, sha256(&ours.der)).unwrap();
    run(&mut base(), &mut server, &mut client, |_, datagram| vec![datagram]);
    assert!(server.is_connected() && client.is_connected());
}

#[test]
fn two_halves_connect() {
    connects_when_recut(|len| vec![(0, len / 2), (len / 2, len)]);
}

#[test]
fn one_byte_fragments_connect() {
    connects_when_recut(|len| (0..len).map(|at| (at, at + 1)).collect());
}

#[test]
fn one_byte_fragments_backwards_connect() {
    connects_when_recut(|len| (0..len).rev().map(|at| (at, at + 1)).collect());
}

#[test]
fn overlapping_fragments_connect() {
    connects_when_recut(|len| {
        (0..len).step_by(20).map(|at| (at.saturating_sub(15), (at + 33).min(len))).collect()
    });
}

#[test]
fn a_hello_cut_differently_on_retransmission_connects() {
    let (mut server, mut client) = pair();
    let mut count = 0;
    run(&mut base(), &mut server, &mut client, |from_client, datagram| {
        count += usize::from(from_client);
        match (from_client, count) {
            (true, 1) => recut(&datagram, |len| vec![(0, len / 3)]),
            (true, 2) => recut(&datagram, |len| vec![(len / 4, len)]),
            _ => vec![datagram],
        }
    });
    assert!(server.is_connected() && client.is_connected());
}
