//! What every peer has: an address, ICE credentials, SRTP both ways.

use crate::net::{MS, Micros};
use bytes::Bytes;
use rtcp::packet::Packet as RtcpValue;
use sfu_core::transport::srtp::{SrtpProfile, SrtpReceiver, SrtpSender};
use std::net::SocketAddr;
use switchyard_tests::peer::{answer_check, credentials, peer_keys, write_check};
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
    pub(crate) const PLAYOUT_DELAY: u8 = 13;
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
    password: String,
    srtp_out: SrtpSender,
    srtp_in: SrtpReceiver,
    /// Sends checks by itself.
    pub(crate) checks: bool,
    /// Answers checks of the engine.
    pub(crate) answers: bool,
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

impl Endpoint {
    pub(crate) fn new(number: u64, profile: SrtpProfile, address: SocketAddr) -> Self {
        let keys = peer_keys(number, profile);
        let (server, peer) = (credentials('s', number), credentials('p', number));
        Self {
            address,
            username: format!("{}:{}", server.ufrag, peer.ufrag),
            server_password: server.password,
            password: peer.password,
            srtp_out: SrtpSender::new(&keys),
            srtp_in: SrtpReceiver::new(&keys),
            checks: true,
            answers: true,
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
        let sealed = self.seal(index, header_len, &packet.marshal().unwrap());
        self.out.push((self.address, sealed));
    }

    /// Encrypts what is behind the first `header_len` bytes, whatever it is.
    pub(crate) fn seal(&mut self, index: u64, header_len: usize, packet: &[u8]) -> Vec<u8> {
        let mut bytes = [packet, &[0; 16]].concat();
        let len = self.srtp_out.protect_rtp(&mut bytes, header_len, packet.len(), index);
        assert!(len > 0, "the peer's own packet is refused");
        bytes.truncate(len);
        bytes
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
        if bytes[..2] == [0, 1] {
            if let Some(answer) = answer_check(&self.password, &bytes).filter(|_| self.answers) {
                self.out.push((self.address, answer));
            }
            return Inbound::Stun;
        }
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
