//! STUN, DTLS, SRTP and SCTP.

use super::Reader;
use crate::peer::{credentials, mirror, peer_keys};
use sfu_core::egress::Tuple;
use sfu_core::framing::{self, Deframer};
use sfu_core::params::{DtlsRole, Fingerprint, FingerprintHash, SctpParams};
use sfu_core::transport::dtls::{Certificate, Dtls, DtlsEvent};
use sfu_core::transport::ice::IceLite;
use sfu_core::transport::sctp::Sctp;
use sfu_core::transport::srtp::{SrtpProfile, SrtpReceiver, SrtpSender};
use sfu_core::transport::stun::{self, Request};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const TUPLE: Tuple = Tuple::udp(
    std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 40_000),
);

/// One datagram, as a request of somebody who knows the password or does not.
pub(super) fn stun(data: &[u8]) {
    let _ = stun::is_stun(data);
    let named = stun::ufrag_of(data);
    let Ok(request) = Request::parse(data) else {
        assert_eq!(named, None);
        return;
    };
    assert_eq!(named, request.ufrags());
    assert!(request.unknown().len() <= 8);
    let _ = request.verify(&credentials('s', 1).password);
    let mut response = Vec::new();
    for mapped in [TUPLE.remote, "[2001:db8::1]:9".parse().unwrap()] {
        request.write_success(&mut response, mapped, "password");
        request.write_unknown(&mut response, "password");
        request.write_role_conflict(&mut response, "password");
    }
}

/// Datagrams at one agent: each has its length in the first two bytes.
pub(super) fn ice(data: &[u8]) {
    let start = Instant::now();
    let mut ice = IceLite::new(credentials('s', 1), credentials('p', 1), start);
    let mut reader = Reader(data);
    let mut response = Vec::new();
    for second in 0..64 {
        if reader.is_empty() {
            break;
        }
        let len = usize::from(reader.u16());
        let remote = (TUPLE.remote.ip(), reader.u16()).into();
        let datagram = reader.take(len);
        let (now, tuple) = (start + Duration::from_secs(second), Tuple { remote, ..TUPLE });
        let checked = ice.handle_request(now, &tuple, datagram, &mut response);
        assert!(checked.is_err() || ice.is_verified(&tuple));
        assert!(ice.verified().len() <= 16);
        assert!(2 * response.len() <= 3 * datagram.len(), "{} bytes", response.len());
        // Nothing here knows the peer's password.
        ice.ask(now, &tuple, [7; 12], &mut response);
        assert_eq!(ice.handle_response(now, &tuple, datagram), None);
    }
}

static IDENTITY: LazyLock<Certificate> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["fuzz".to_owned()]).expect("a certificate");
    let private_key_pkcs8 = made.signing_key.serialize_der();
    Certificate { der: made.cert.der().to_vec(), private_key_pkcs8 }
});

fn association(role: DtlsRole) -> Dtls {
    let digest = IDENTITY.sha256().to_vec();
    let fingerprints = vec![Fingerprint { hash: FingerprintHash::Sha256, digest }];
    Dtls::new(role, &IDENTITY, fingerprints).expect("an identity")
}

fn drain(dtls: &mut Dtls) -> Vec<Vec<u8>> {
    while let Some(event) = dtls.poll_event() {
        assert!(!matches!(event, DtlsEvent::Connected(_)), "keys without a handshake");
    }
    std::iter::from_fn(|| dtls.poll_transmit()).collect()
}

/// Datagrams at a server and a client, each with its length in the first two bytes and a wait in the third.
pub(super) fn dtls(data: &[u8]) {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut now = Instant::now();
        let mut dtls = association(role);
        dtls.start(now);
        let mut reader = Reader(data);
        while !reader.is_empty() {
            let len = usize::from(reader.u16());
            now += Duration::from_millis(u64::from(reader.u8()) * 8);
            dtls.handle_datagram(now, reader.take(len));
            if dtls.poll_timeout().is_some_and(|at| at <= now) {
                dtls.handle_timeout(now);
            }
            assert!(drain(&mut dtls).len() <= 256);
        }
    }
}

/// The body of a ClientHello: at a server that waits for it, whole and in two pieces.
pub(super) fn client_hello(data: &[u8]) {
    let body = &data[..data.len().min(1300)];
    let half = body.len() / 2;
    for pieces in [vec![(0, body)], vec![(half, &body[half..]), (0, &body[..half])]] {
        let now = Instant::now();
        let mut dtls = association(DtlsRole::Server);
        dtls.start(now);
        for (offset, piece) in pieces {
            dtls.handle_datagram(now, &hello_record(body.len(), offset, piece));
        }
        // Before a cookie came back: HelloVerifyRequest or an alert, never a flight.
        let sent: usize = drain(&mut dtls).iter().map(Vec::len).sum();
        assert!(sent <= 120, "{sent} bytes for an unproved ClientHello");
    }
}

/// RFC 6347 sections 4.1 and 4.2.2.
fn hello_record(length: usize, offset: usize, piece: &[u8]) -> Vec<u8> {
    let u24 = |value: usize| [(value >> 16) as u8, (value >> 8) as u8, value as u8];
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(((12 + piece.len()) as u16).to_be_bytes());
    record.push(1);
    record.extend(u24(length));
    record.extend([0, 0]);
    record.extend(u24(offset));
    record.extend(u24(piece.len()));
    record.extend(piece);
    record
}

/// A packet that pretends to be protected, and one that is and was damaged. The first byte chooses the profile.
pub(super) fn srtp(data: &[u8]) {
    let mut reader = Reader(data);
    let profile = match reader.u8() % 3 {
        0 => SrtpProfile::AeadAes128Gcm,
        1 => SrtpProfile::AeadAes256Gcm,
        _ => SrtpProfile::Aes128CmSha1_80,
    };
    let keys = peer_keys(1, profile);
    let mut receiver = SrtpReceiver::new(&keys);
    let mut packet = reader.0.to_vec();
    if let Ok(header) = sfu_rtp::RtpHeader::parse_prefix(&packet) {
        let start = usize::from(header.payload_start);
        let seq = header.sequence_number;
        assert!(receiver.unprotect_rtp(&mut packet, start, header.ssrc, seq).is_err());
    }
    let mut packet = reader.0.to_vec();
    assert!(receiver.unprotect_rtcp(&mut packet).is_err());
    // What the holder of the key sealed opens to the same bytes, whatever they are.
    let mut sender = SrtpSender::new(&mirror(&keys));
    let mut sealed = [reader.0, &[0; 20]].concat();
    let len = sender.protect_rtcp(&mut sealed, reader.0.len());
    if len > 0 {
        assert_eq!(receiver.unprotect_rtcp(&mut sealed[..len]), Ok(reader.0.len()));
        assert_eq!(sealed[..reader.0.len()], *reader.0);
    }
}

/// Packets in front of an association, each with its length in the first two bytes; their checksums are made good.
pub(super) fn sctp(data: &[u8]) {
    let mut now = Instant::now();
    let mut sctp = Sctp::new(&SctpParams { remote_port: 5000, max_message_size: 262_144 });
    let mut reader = Reader(data);
    let mut tag = [0; 4];
    while !reader.is_empty() {
        let len = usize::from(reader.u16());
        let mut packet = reader.take(len).to_vec();
        if packet.len() >= 12 {
            // An echo of our tag, where the input asks for it: nothing else gets past the first look.
            if packet[4..8] == [0xee; 4] {
                packet[4..8].copy_from_slice(&tag);
            }
            packet[8..12].fill(0);
            let sum = crc32c(&packet);
            packet[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        sctp.handle_data(now, &packet);
        now += Duration::from_millis(20);
        sctp.handle_timeout(now);
        while sctp.read(now).is_some() {}
        sctp.flush(now);
        let mut sent = 0;
        while let Some(answer) = sctp.poll_transmit() {
            sent += 1;
            // INIT ACK carries our tag, behind the common header and the chunk's.
            if let (Some(2), Some(ours)) = (answer.get(12), answer.get(16..20)) {
                tag.copy_from_slice(ours);
            }
        }
        assert!(sent <= 256);
    }
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

/// The first byte says how large the pieces are in which the rest comes: what is cut out is the same as in one piece.
pub(super) fn framing(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let cut = |pieces: usize| {
        let (mut deframer, mut datagrams, mut end) = (Deframer::default(), Vec::new(), Ok(()));
        for piece in stream.chunks(pieces.max(1)) {
            end = deframer.push(&mut piece.to_vec(), |datagram| datagrams.push(datagram.to_vec()));
            if end.is_err() {
                break;
            }
        }
        (datagrams, end)
    };
    let (datagrams, end) = cut(stream.len());
    assert_eq!(cut(usize::from(size)), (datagrams.clone(), end));
    let mut again = Vec::new();
    for datagram in &datagrams {
        assert!(!datagram.is_empty() && datagram.len() <= framing::FRAME_MAX);
        framing::frame(&mut again, datagram);
    }
    assert!(again.len() <= stream.len());
}
