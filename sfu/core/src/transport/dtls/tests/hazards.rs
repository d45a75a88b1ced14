//! What aborts, fills or ends an unguarded `rtc-dtls`: each must do nothing to us.

use proptest::prelude::*;

use super::*;

const FLOOD: usize = 20_000;

fn plaintext(content_type: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    record::write_record_header(&mut out, content_type, 7, u16::try_from(body.len()).unwrap());
    out.extend_from_slice(body);
    out
}

fn epoch_one(content_type: u8, len: usize) -> Vec<u8> {
    let mut out = plaintext(content_type, &vec![3; len]);
    out[4] = 1;
    out
}

fn fragment(message_type: u8, sequence: u16, length: usize, offset: usize, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let piece = Fragment { message_type, length, sequence, offset, data };
    record::write_handshake(&mut out, 7, piece);
    out
}

/// A handshake in the middle: the server has sent its flight and waits for the client's.
fn half_way() -> (Instant, Dtls, Dtls) {
    let (mut server, mut client) = pair();
    let now = base();
    server.start(now);
    client.start(now);
    for _ in 0..2 {
        transmits(&mut client).iter().for_each(|d| server.handle_datagram(now, d));
        transmits(&mut server).iter().for_each(|d| client.handle_datagram(now, d));
    }
    assert!(!server.is_connected());
    (now, server, client)
}

fn data_still_flows(now: Instant, server: &mut Dtls, client: &mut Dtls) {
    assert!(server.is_connected() && client.is_connected());
    let (_, _) = (events(server), events(client));
    client.send(now, b"up");
    transmits(client).iter().for_each(|d| server.handle_datagram(now, d));
    assert!(matches!(&events(server)[..], [DtlsEvent::ApplicationData(d)] if d == b"up"));
    server.send(now, b"down");
    transmits(server).iter().for_each(|d| client.handle_datagram(now, d));
    assert!(matches!(&events(client)[..], [DtlsEvent::ApplicationData(d)] if d == b"down"));
}

#[test]
fn row_08_one_byte_fragments_before_completion_end_only_the_handshake() {
    for sequence in [0, 1, 2] {
        let (now, mut server, _client) = half_way();
        for at in 0..FLOOD {
            let flood = fragment(record::CERTIFICATE, sequence, FLOOD, at, &[1]);
            server.handle_datagram(now, &flood);
        }
        assert_eq!(failure(&mut server), DtlsFailure::LimitExceeded("handshake records"));
    }
}

#[test]
fn row_08_one_byte_fragments_in_few_records_do_not_hinder_the_handshake() {
    let (mut now, mut server, mut client) = half_way();
    let mut body = Vec::new();
    for at in 0..FLOOD {
        let one = fragment(record::CERTIFICATE, 9, 16_000, at % 16_000, &[1]);
        body.extend_from_slice(&one[record::RECORD_HEADER_LEN..]);
        if body.len() > 1100 || at + 1 == FLOOD {
            server.handle_datagram(now, &plaintext(record::HANDSHAKE, &body));
            body.clear();
        }
    }
    run(&mut now, &mut server, &mut client, |_, datagram| vec![datagram]);
    assert!(server.is_connected() && client.is_connected());
}

#[test]
fn row_08_plaintext_fragments_after_completion_never_reach_the_library() {
    let (now, mut server, mut client) = connect();
    for at in 0..FLOOD {
        let flood = fragment(record::CLIENT_HELLO, 5, FLOOD, at, &[1]);
        assert_eq!(server.guard.admit(now, &flood), Ok(Admitted::default()));
        server.handle_datagram(now, &flood);
        client.handle_datagram(now, &flood);
    }
    assert!(transmits(&mut server).is_empty() && transmits(&mut client).is_empty());
    data_still_flows(now, &mut server, &mut client);
}

#[test]
fn encrypted_handshake_records_after_completion_pass_eight_a_second() {
    let (now, mut server, mut client) = connect();
    let finished = epoch_one(record::HANDSHAKE, 48);
    let passed = |server: &mut Dtls, now| {
        (0..FLOOD).filter(|_| server.guard.admit(now, &finished) != Ok(Admitted::default())).count()
    };
    assert_eq!(passed(&mut server, now), 8);
    assert_eq!(passed(&mut server, now + Duration::from_secs(1)), 8);
    let long: usize = (2..100).map(|s| passed(&mut server, now + Duration::from_secs(s))).sum();
    assert_eq!(long, 16, "thirty-two in all");
    assert_eq!(passed(&mut client, now), 0, "a server has nothing to repeat");
    data_still_flows(now, &mut server, &mut client);
}

#[test]
fn a_lost_last_flight_is_repeated_for_a_repeated_finished() {
    let (now, mut server, mut client) = half_way();
    transmits(&mut client).iter().for_each(|d| server.handle_datagram(now, d));
    assert!(server.is_connected());
    assert!(!transmits(&mut server).is_empty(), "lost");
    let later = now + FLIGHT_INTERVAL;
    client.handle_timeout(later);
    transmits(&mut client).iter().for_each(|d| server.handle_datagram(later, d));
    transmits(&mut server).iter().for_each(|d| client.handle_datagram(later, d));
    assert!(client.is_connected());
}

#[test]
fn early_encrypted_records_are_bounded_and_do_not_hinder() {
    let (mut now, mut server, mut client) = pair_after_hello();
    let record = epoch_one(record::APPLICATION_DATA, 1000);
    let admitted: usize = (0..FLOOD)
        .map(|_| server.guard.admit(now, &record).map_or(0, |admitted| admitted.records.len()))
        .sum();
    assert!((60_000..=64 * 1024).contains(&admitted), "{admitted}");
    for _ in 0..FLOOD {
        server.handle_datagram(now, &record);
    }
    run(&mut now, &mut server, &mut client, |_, datagram| vec![datagram]);
    data_still_flows(now, &mut server, &mut client);
}

/// The server has seen one ClientHello.
fn pair_after_hello() -> (Instant, Dtls, Dtls) {
    let (mut server, mut client) = pair();
    let now = base();
    server.start(now);
    client.start(now);
    transmits(&mut client).iter().for_each(|d| server.handle_datagram(now, d));
    (now, server, client)
}

#[test]
fn before_the_client_hello_nothing_is_kept_or_answered() {
    let (mut server, mut client) = pair();
    let mut now = base();
    server.start(now);
    for _ in 0..FLOOD {
        for datagram in [
            epoch_one(record::APPLICATION_DATA, 1000),
            plaintext(record::CHANGE_CIPHER_SPEC, &[1]),
            plaintext(record::APPLICATION_DATA, b"x"),
        ] {
            assert_eq!(server.guard.admit(now, &datagram), Ok(Admitted::default()));
            server.handle_datagram(now, &datagram);
        }
    }
    assert!(transmits(&mut server).is_empty());
    run(&mut now, &mut server, &mut client, |_, datagram| vec![datagram]);
    data_still_flows(now, &mut server, &mut client);
}

#[test]
fn change_cipher_specs_are_bounded() {
    let (now, mut server, _client) = pair_after_hello();
    let spec = plaintext(record::CHANGE_CIPHER_SPEC, &[1]);
    let passed =
        (0..FLOOD).filter(|_| server.guard.admit(now, &spec) != Ok(Admitted::default())).count();
    assert_eq!(passed, 32);
}

#[test]
fn a_lost_hello_verify_request_is_repeated_sixteen_times_at_most() {
    let (mut server, mut client) = pair();
    let now = base();
    server.start(now);
    client.start(now);
    let hello = transmits(&mut client).remove(0);
    let answers: usize = (0..100)
        .map(|_| {
            server.handle_datagram(now, &hello);
            transmits(&mut server).len()
        })
        .sum();
    assert_eq!(answers, 17);
}

#[test]
fn row_08_empty_fragments_and_absurd_lengths_do_not_hinder_the_handshake() {
    let (mut now, mut server, mut client) = half_way();
    let absurd = (1 << 24) - 1;
    for sequence in 0..40 {
        let kinds = [
            fragment(record::CERTIFICATE, sequence, 500, 0, &[]),
            fragment(record::CERTIFICATE, sequence, absurd, absurd - 1, &[1]),
            fragment(record::CERTIFICATE, sequence, absurd, 0, &[1; 500]),
            fragment(20, sequence, 12, 0, &[1; 12]),
            plaintext(record::HANDSHAKE, &[]),
        ];
        kinds.iter().for_each(|datagram| server.handle_datagram(now, datagram));
    }
    run(&mut now, &mut server, &mut client, |_, datagram| vec![datagram]);
    data_still_flows(now, &mut server, &mut client);
}

#[test]
fn row_09_plaintext_alerts_and_data_after_completion_are_nothing() {
    let (now, mut server, mut client) = connect();
    for datagram in [
        plaintext(record::ALERT, &[2, 40]),
        plaintext(record::ALERT, &[1, 0]),
        plaintext(record::APPLICATION_DATA, b"x"),
        plaintext(record::CHANGE_CIPHER_SPEC, &[1]),
        epoch_one(record::ALERT, 2),
        epoch_one(record::APPLICATION_DATA, 0),
        epoch_one(record::CHANGE_CIPHER_SPEC, 1),
        epoch_one(99, 30),
    ] {
        server.handle_datagram(now, &datagram);
        client.handle_datagram(now, &datagram);
    }
    assert!(transmits(&mut server).is_empty() && transmits(&mut client).is_empty());
    data_still_flows(now, &mut server, &mut client);
}

#[test]
fn during_the_handshake_only_a_fatal_alert_ends_it() {
    let (now, mut server, _client) = half_way();
    server.handle_datagram(now, &plaintext(record::ALERT, &[1, 0]));
    server.handle_datagram(now, &plaintext(record::APPLICATION_DATA, b"x"));
    server.handle_datagram(now, &plaintext(99, b"x"));
    assert!(events(&mut server).is_empty());
    server.handle_datagram(now, &plaintext(record::ALERT, &[2, 40]));
    assert_eq!(failure(&mut server), DtlsFailure::Library("the peer sent alert 40".to_owned()));
}

/// Bad MAC, bad epoch, bad version, bad length: silence, and no alert that would tell which.
#[test]
fn row_09_bad_records_in_a_call_are_silence() {
    let (now, mut server, mut client) = connect();
    let mut rng = 1_u64;
    for number in 0..100_000_u32 {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = 1 + (rng >> 33) as usize % 80;
        let content_type = 20 + (number % 5) as u8;
        let mut bad = epoch_one(content_type, len);
        match number % 4 {
            0 => {}
            1 => bad[4] = (rng >> 20) as u8,
            2 => (bad[1], bad[2]) = (3, (rng >> 24) as u8 % 5),
            _ => bad[12] = (rng >> 28) as u8,
        }
        bad[5..11].copy_from_slice(&rng.to_be_bytes()[..6]);
        server.handle_datagram(now, &bad);
    }
    // Repeats of Finished are answered with our last flight, eight a second at most; none of these is one.
    assert_eq!(transmits(&mut server), Vec::<Vec<u8>>::new());
    data_still_flows(now, &mut server, &mut client);
}

#[test]
fn events_and_transmits_are_bounded() {
    let (now, mut server, mut client) = connect();
    for _ in 0..2 * EVENTS_MAX {
        client.send(now, b"x");
        if let Some(datagram) = client.poll_transmit() {
            server.handle_datagram(now, &datagram);
        }
        server.send(now, b"y");
    }
    assert_eq!(events(&mut server).len(), EVENTS_MAX);
    assert_eq!(transmits(&mut server).len(), TRANSMITS_MAX);
}

/// A datagram of a real handshake with some bytes changed, or pure noise behind a plausible header.
fn noise() -> impl Strategy<Value = (u8, u8, Vec<u8>, Vec<(prop::sample::Index, u8)>)> {
    (
        20_u8..24,
        0_u8..3,
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn noise_never_panics_the_library_or_ends_an_association(
        storm in proptest::collection::vec(noise(), 1..20),
    ) {
        let (now, mut server, mut client) = connect();
        client.send(now, b"sample");
        let sample = transmits(&mut client).remove(0);
        for (content_type, epoch, body, changes) in &storm {
            let mut datagram = plaintext(*content_type, body);
            datagram[4] = *epoch;
            server.handle_datagram(now, &datagram);
            client.handle_datagram(now, &datagram);
            server.handle_datagram(now, body);
            let mut changed = sample.clone();
            changes.iter().for_each(|(at, value)| *at.get_mut(&mut changed) = *value);
            if changed != sample {
                server.handle_datagram(now, &changed);
            }
        }
        data_still_flows(now, &mut server, &mut client);
    }

    #[test]
    fn a_damaged_handshake_never_panics_the_library(
        damage in proptest::collection::vec((0_usize..12, any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (mut server, mut client) = pair();
        let mut at = 0;
        run(&mut base(), &mut server, &mut client, |_, mut datagram| {
            for (_, index, value) in damage.iter().filter(|(target, ..)| *target == at) {
                *index.get_mut(&mut datagram) = *value;
            }
            at += 1;
            vec![datagram]
        });
        for dtls in [&mut server, &mut client] {
            for event in events(dtls) {
                prop_assert!(!matches!(event, DtlsEvent::Failed(DtlsFailure::Panicked)));
            }
        }
    }
}
