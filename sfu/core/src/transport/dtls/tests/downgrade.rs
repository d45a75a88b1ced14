//! Clients that offer less than they should, written by hand: the library would not.

use super::*;

const GCM_SUITE: u16 = 0xc02b;
const USE_SRTP: [u8; 9] = [0, 14, 0, 5, 0, 2, 0, 7, 0];

/// A ClientHello with its handshake header in one record.
fn hello(
    sequence: u16,
    version: [u8; 2],
    cookie: &[u8],
    suites: &[u16],
    extensions: &[u8],
) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.push(cookie.len() as u8);
    body.extend(cookie);
    body.extend((2 * suites.len() as u16).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = Vec::new();
    let (message_type, length) = (record::CLIENT_HELLO, body.len());
    let whole = Fragment { message_type, length, sequence, offset: 0, data: &body };
    record::write_handshake(&mut record, sequence.into(), whole);
    record
}

/// Says both hellos of a client; returns what the server sent after the second.
fn greet(server: &mut Dtls, version: [u8; 2], suites: &[u16], extensions: &[u8]) -> Vec<Vec<u8>> {
    let now = base();
    server.start(now);
    server.handle_datagram(now, &hello(0, version, &[], suites, extensions));
    let first = transmits(server);
    // HelloVerifyRequest: record header, handshake header, version, length of the cookie.
    let Some(verify) = first.first().filter(|datagram| datagram[13] == 3) else { return first };
    let len = usize::from(verify[27]);
    let cookie = verify[28..28 + len].to_vec();
    server.handle_datagram(now, &hello(1, version, &cookie, suites, extensions));
    transmits(server)
}

fn has_server_hello(datagrams: &[Vec<u8>]) -> bool {
    datagrams.iter().any(|datagram| datagram[0] == record::HANDSHAKE && datagram[13] == 2)
}

/// Elliptic curve and signature algorithms, use_srtp, extended master secret.
fn extensions() -> Vec<u8> {
    let mut all = vec![0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    all.extend(USE_SRTP);
    all.extend([0, 23, 0, 0]);
    all
}

#[test]
fn row_05_a_modern_hello_is_answered() {
    let (mut server, _) = pair();
    assert!(has_server_hello(&greet(&mut server, [0xfe, 0xfd], &[GCM_SUITE], &extensions())));
}

#[test]
fn row_05_null_and_old_suites_get_no_server_hello() {
    // NULL, RC4, export, 3DES, static RSA with CBC, anonymous ECDH.
    for suite in [0x0000, 0x0002, 0x0005, 0x0003, 0x000a, 0x002f, 0x003b, 0xc006, 0xc010, 0xc018] {
        let (mut server, _) = pair();
        let answer = greet(&mut server, [0xfe, 0xfd], &[suite], &extensions());
        assert!(!has_server_hello(&answer), "suite {suite:04x}");
        assert!(!server.is_connected());
        assert!(matches!(failure(&mut server), DtlsFailure::Library(_)), "suite {suite:04x}");
    }
}

#[test]
fn row_05_dtls_1_0_gets_no_server_hello() {
    let (mut server, _) = pair();
    let answer = greet(&mut server, [0xfe, 0xff], &[GCM_SUITE, 0xc009], &extensions());
    assert!(!has_server_hello(&answer) && !server.is_connected());
}

#[test]
fn row_05_without_an_srtp_profile_there_is_no_association() {
    let (mut server, _) = pair();
    let answer = greet(&mut server, [0xfe, 0xfd], &[GCM_SUITE], &extensions()[..22]);
    assert!(!has_server_hello(&answer));
    assert!(matches!(failure(&mut server), DtlsFailure::Library(_)));
}
