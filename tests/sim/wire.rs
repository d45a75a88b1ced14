//! What is on the wires of the simulation: addresses, and what the engine sends.

use crate::endpoint::publisher_ids as pub_ids;
use sfu_core::egress::{Message, Transmit, Tuple};
use std::net::{IpAddr, SocketAddr};

/// Collects what the engine sends.
#[derive(Default)]
pub(crate) struct Sink(pub(crate) Vec<(Tuple, Vec<u8>)>);

/// Why a datagram left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// What came asked for it.
    Answer,
    /// Media, timers, probes.
    Other,
}

impl Transmit for Sink {
    fn transmit(&mut self, messages: &[Message], bytes: &[u8]) {
        for message in messages {
            let run = &bytes[message.start..message.start + message.len];
            for datagram in run.chunks(message.segment) {
                self.0.push((message.tuple, datagram.to_vec()));
            }
        }
    }
}

/// Where a peer is to begin with.
pub(crate) fn address(number: u64) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 1, (number >> 8) as u8, number as u8]), 40_000)
}

/// SRTP leaves header extensions in the clear.
pub(crate) fn transport_number(datagram: &[u8]) -> Option<u16> {
    if sfu_rtp::classify(datagram) != Some(sfu_rtp::PacketKind::Rtp) {
        return None;
    }
    let header = sfu_rtp::RtpHeader::parse_prefix(datagram).ok()?;
    let found = header.extensions(datagram).find(|(id, _)| *id == pub_ids::TRANSPORT_WIDE);
    let (_, value) = found?;
    Some(u16::from_be_bytes([value[0], value[1]]))
}

/// The transport's number in the address that a peer began with.
pub(crate) fn number_of(address: SocketAddr) -> u64 {
    match address.ip() {
        IpAddr::V4(ip) => u64::from(u16::from_be_bytes([ip.octets()[2], ip.octets()[3]])),
        IpAddr::V6(_) => panic!("peers have IPv4 addresses"),
    }
}
