//! What every peer has: an address, ICE credentials, SRTP both ways. Checks are written by `rtc-stun`.

use crate::net::{MS, Micros};
use bytes::Bytes;
use rtc_stun::attributes::{ATTR_USERNAME, AttrType};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtcp::packet::Packet as RtcpValue;
use sfu_core::params::{IceCredentials, Security, TransportParams};
use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use std::net::SocketAddr;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

/// Ids of header extensions on publishers' connections …
pub(crate) mod publisher_ids {
    pub(crate) const MID: u8 = 1;
    pub(crate) const RID: u8 = 2;
    pub(crate) const REPAIRED_RID: u8 = 3;
    pub(crate) const TRANSPORT_WIDE: u8 = 4;
    pub(crate) const AUDIO_LEVEL: u8 = 6;
    pub(crate) const DESCRIPTOR: u8 = 7;
}

/// … and on subscribers'.
pub(crate) mod subscriber_ids {
    pub(crate) const MID: u8 = 9;
    pub(crate) const TRANSPORT_WIDE: u8 = 3;
    pub(crate) const ABS_SEND_TIME: u8 = 2;
    pub(crate) const AUDIO_LEVEL: u8 = 1;
    pub(crate) const DESCRIPTOR: u8 = 12;
}

const CHECK_INTERVAL: Micros = 2_500 * MS;
const FIRST_CHECKS: Micros = 50 * MS;
pub(crate) const PRIORITY: u32 = 0x6e00_01ff;

/// What a received datagram was.
#[derive(Debug)]
pub(crate) enum Inbound {
    Stun,
    Rtp(rtp::packet::Packet),
    Rtcp(Vec<Box<dyn RtcpValue + Send + Sync>>, Vec<u8>),
    /// A duplicate that SRTP refused.
    Replayed,
}

pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    username: String,
    server_password: String,
    srtp_out: SrtpSender,
    srtp_in: SrtpReceiver,
    /// Sends checks by itself.
    pub(crate) checks: bool,
    /// With USE-CANDIDATE.
    pub(crate) nominates: bool,
    pub(crate) priority: u32,
    pub(crate) connected: bool,
    next_check: Micros,
    transaction: u64,
    /// What waits to be sent, and from where.
    pub(crate) out: Vec<(SocketAddr, Vec<u8>)>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Keys of one connection as the peer sees them; `mirror` gives the engine's view.
pub(crate) fn peer_keys(number: u64, profile: SrtpProfile) -> SrtpKeys {
    let bytes = |tag: u8, len: usize| {
        (0..len).map(|i| tag ^ (i as u8).wrapping_mul(29) ^ number as u8).collect::<Vec<u8>>()
    };
    SrtpKeys {
        profile,
        local_key: bytes(0x11, profile.key_len()),
        local_salt: bytes(0x22, profile.salt_len()),
        remote_key: bytes(0x33, profile.key_len()),
        remote_salt: bytes(0x44, profile.salt_len()),
    }
}

fn mirror(keys: &SrtpKeys) -> SrtpKeys {
    SrtpKeys {
        profile: keys.profile,
        local_key: keys.remote_key.clone(),
        local_salt: keys.remote_salt.clone(),
        remote_key: keys.local_key.clone(),
        remote_salt: keys.local_salt.clone(),
    }
}

fn credentials(side: char, number: u64) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{side}{number:04}"),
        password: format!("password-of-twenty-two-{side}{number}"),
    }
}

/// The engine's half of an [`Endpoint`] with the same number.
pub(crate) fn transport_params(number: u64, profile: SrtpProfile) -> TransportParams {
    TransportParams {
        local_ice: credentials('s', number),
        remote_ice: credentials('p', number),
        security: Security::Keys(Box::new(mirror(&peer_keys(number, profile)))),
        sctp: None,
    }
}

/// A binding request of a peer for the engine's transport `number`.
pub(crate) fn check(number: u64, transaction: u64, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let username = format!("{}:{}", credentials('s', number).ufrag, credentials('p', number).ufrag);
    write_check(&username, &credentials('s', number).password, transaction, attributes)
}

fn write_check(
    username: &str,
    password: &str,
    transaction: u64,
    attributes: &[(u16, &[u8])],
) -> Vec<u8> {
    let provider = rtc_stun::crypto::default_provider().unwrap();
    let mut id = [0x5c; 12];
    id[..8].copy_from_slice(&transaction.to_be_bytes());
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    TransactionId(id).add_to(&mut message).unwrap();
    message.add(ATTR_USERNAME, username.as_bytes());
    for (kind, value) in attributes {
        message.add(AttrType(*kind), value);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        provider.crypto(),
    )
    .add_to(&mut message)
    .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

impl Endpoint {
    pub(crate) fn new(number: u64, profile: SrtpProfile, address: SocketAddr) -> Self {
        let keys = peer_keys(number, profile);
        let (server, peer) = (credentials('s', number), credentials('p', number));
        Self {
            address,
            username: format!("{}:{}", server.ufrag, peer.ufrag),
            server_password: server.password,
            srtp_out: SrtpSender::new(&keys),
            srtp_in: SrtpReceiver::new(&keys),
            checks: true,
            nominates: true,
            priority: PRIORITY,
            connected: false,
            next_check: 0,
            transaction: number << 32,
            out: Vec::new(),
        }
    }

    pub(crate) fn next_wake(&self) -> Micros {
        if self.checks { self.next_check } else { Micros::MAX }
    }

    pub(crate) fn wake(&mut self, now: Micros) {
        if self.checks && now >= self.next_check {
            self.next_check = now + if self.connected { CHECK_INTERVAL } else { FIRST_CHECKS };
            self.send_check();
        }
    }

    pub(crate) fn send_check(&mut self) {
        self.transaction += 1;
        let priority = self.priority.to_be_bytes();
        let mut attributes: Vec<(u16, &[u8])> = vec![(0x0024, &priority), (0x802a, &[7; 8])];
        if self.nominates {
            attributes.push((0x0025, &[]));
        }
        let bytes =
            write_check(&self.username, &self.server_password, self.transaction, &attributes);
        self.out.push((self.address, bytes));
    }

    /// Checks at once from another address: a client that changed its network.
    pub(crate) fn move_to(&mut self, now: Micros, address: SocketAddr) {
        self.address = address;
        self.connected = false;
        self.next_check = now;
    }

    /// `index`: extended sequence number.
    pub(crate) fn send_rtp(&mut self, index: u64, packet: &rtp::packet::Packet) {
        let header_len = packet.header.marshal_size();
        let mut bytes = packet.marshal().unwrap().to_vec();
        let len = bytes.len();
        bytes.resize(len + 16, 0);
        let len = self.srtp_out.protect_rtp(&mut bytes, header_len, len, index);
        assert!(len > 0, "the peer's own packet is refused");
        bytes.truncate(len);
        self.out.push((self.address, bytes));
    }

    pub(crate) fn send_rtcp(&mut self, packets: &[Box<dyn RtcpValue + Send + Sync>]) {
        self.send_rtcp_bytes(rtcp::packet::marshal(packets).unwrap().to_vec());
    }

    pub(crate) fn send_rtcp_bytes(&mut self, mut bytes: Vec<u8>) {
        let len = bytes.len();
        bytes.resize(len + 20, 0);
        let len = self.srtp_out.protect_rtcp(&mut bytes, len);
        assert!(len > 0, "the peer's own RTCP is refused");
        bytes.truncate(len);
        self.out.push((self.address, bytes));
    }

    /// Takes a datagram apart. Anything that does not authenticate is a fault of the engine.
    pub(crate) fn receive(&mut self, mut bytes: Vec<u8>) -> Inbound {
        if bytes[0] < 4 {
            self.connected = true;
            return Inbound::Stun;
        }
        use sfu_core::transport::srtp::SrtpError;
        match sfu_rtp::classify(&bytes) {
            Some(sfu_rtp::PacketKind::Rtp) => {
                let header = sfu_rtp::RtpHeader::parse_prefix(&bytes).unwrap();
                let start = usize::from(header.payload_start);
                match self.srtp_in.unprotect_rtp(
                    &mut bytes,
                    start,
                    header.ssrc,
                    header.sequence_number,
                ) {
                    Ok(opened) => bytes.truncate(opened.len),
                    Err(SrtpError::Replay) => return Inbound::Replayed,
                    Err(error) => panic!("RTP at a peer: {error}"),
                }
                Inbound::Rtp(rtp::packet::Packet::unmarshal(&mut Bytes::from(bytes)).unwrap())
            }
            Some(sfu_rtp::PacketKind::Rtcp) => {
                match self.srtp_in.unprotect_rtcp(&mut bytes) {
                    Ok(len) => bytes.truncate(len),
                    Err(SrtpError::Replay) => return Inbound::Replayed,
                    Err(error) => panic!("RTCP at a peer: {error}"),
                }
                let values = rtcp::packet::unmarshal(&mut Bytes::from(bytes.clone())).unwrap();
                Inbound::Rtcp(values, bytes)
            }
            None => panic!("neither STUN nor RTP: {bytes:02x?}"),
        }
    }
}
