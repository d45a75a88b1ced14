//! The SCTP association under the data channels (RFC 8831, RFC 9260).
//!
//! Owns one association that the peer opens. Never opens a channel: what arrives on one is read, counted and dropped, so
//! that nothing grows. Packets travel inside DTLS; this module never sees an address.
//! The protocol is `sctp-proto`, which draws its tags and sequence numbers itself.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, Event,
    Payload, ServerConfig, StreamEvent, StreamId, TransportConfig,
};

use super::dtls::APPLICATION_DATA_LEN_MAX;
use crate::params::SctpParams;

/// Longest message that a peer may send, in bytes; the answer's `a=max-message-size`.
pub const MESSAGE_LEN_MAX: u32 = 256 * 1024;
/// Bytes that the association stores of incomplete and unread messages.
const RECEIVE_BUFFER_LEN: u32 = 512 * 1024;
/// Streams in each direction.
const STREAMS_MAX: u16 = 1024;
/// Packets that wait for [`Sctp::poll_transmit`]; more are dropped, as a network would.
const TRANSMITS_MAX: usize = 256;
/// Payload of a DATA chunk in bytes: the library fills packets up to 47 bytes above it.
const CHUNK_LEN_MAX: u32 = APPLICATION_DATA_LEN_MAX as u32 - 47;
/// Where the type of the first chunk stands.
const FIRST_CHUNK_TYPE_AT: usize = 12;
const INIT: u8 = 1;
/// Chunks with user data (RFC 9260 section 3.3.1, RFC 8260 section 2.1). Both name their stream at the same place.
const DATA: u8 = 0;
const I_DATA: u8 = 64;

/// The library routes by verification tag, but wants an address.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

/// One association, which waits for the peer's INIT.
pub struct Sctp {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    open: bool,
    failed: bool,
    transmits: VecDeque<Vec<u8>>,
    discarded_messages: u64,
    discarded_bytes: u64,
}

impl std::fmt::Debug for Sctp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Sctp");
        out.field("open", &self.open).field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Sctp {
    /// Waits for the peer, whichever DTLS role it has: browsers send INIT in both.
    pub fn new(params: &SctpParams) -> Self {
        let send_len_max = match params.max_message_size {
            0 => MESSAGE_LEN_MAX,
            size => size.min(MESSAGE_LEN_MAX),
        };
        let mut server = ServerConfig::new();
        server.transport = Arc::new(
            TransportConfig::default()
                .with_max_receive_buffer_size(RECEIVE_BUFFER_LEN)
                .with_max_receive_message_size(MESSAGE_LEN_MAX)
                .with_max_send_message_size(send_len_max)
                .with_max_num_inbound_streams(STREAMS_MAX)
                .with_max_num_outbound_streams(STREAMS_MAX)
                .with_remote_port(params.remote_port),
        );
        let mut config = EndpointConfig::new();
        config.max_payload_size(CHUNK_LEN_MAX);
        Self {
            endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(server))),
            association: None,
            open: false,
            failed: false,
            transmits: VecDeque::new(),
            discarded_messages: 0,
            discarded_bytes: 0,
        }
    }

    /// Takes one SCTP packet, decrypted.
    pub fn handle_data(&mut self, now: Instant, packet: &[u8]) {
        // The library closes an open association over a late copy of its INIT.
        let is_init = packet.get(FIRST_CHUNK_TYPE_AT) == Some(&INIT);
        // … and makes a stream of every number that it hears, whatever was negotiated.
        if self.failed || (self.open && is_init) || names_foreign_stream(packet) {
            return;
        }
        let packet = Bytes::copy_from_slice(packet);
        self.catching(|sctp| sctp.receive(now, packet));
    }

    /// Fires what is due: retransmissions and delayed acknowledgements.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.catching(|sctp| {
            let due = sctp.poll_timeout().is_some_and(|due| due <= now);
            if let Some((_, association)) = sctp.association.as_mut().filter(|_| due) {
                association.handle_timeout(now);
                sctp.drain(now);
            }
        });
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    /// The next packet for [`super::dtls::Dtls::send`].
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The association is established.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// The library panicked; the association is gone for good.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Messages and bytes that arrived on channels and were dropped.
    pub fn discarded(&self) -> (u64, u64) {
        (self.discarded_messages, self.discarded_bytes)
    }

    fn catching(&mut self, call: impl FnOnce(&mut Self)) {
        if !self.failed && catch_unwind(AssertUnwindSafe(|| call(&mut *self))).is_err() {
            self.failed = true;
            self.open = false;
            self.association = None;
            self.transmits.clear();
        }
    }

    fn receive(&mut self, now: Instant, packet: Bytes) {
        match self.endpoint.handle(now, PEER, None, None, packet) {
            None => return,
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                // A new INIT replaces an association that never opened, or has closed.
                if let Some((old, _)) = self.association.replace((handle, association)) {
                    self.forget(old);
                }
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                match self.association.as_mut() {
                    Some((current, association)) if *current == handle => {
                        association.handle_event(event);
                    }
                    _ => return,
                }
            }
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        let Some((handle, association)) = &mut self.association else { return };
        let handle = *handle;
        let mut over = false;
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => self.open = true,
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => over = true,
                Event::Stream(StreamEvent::Readable { id } | StreamEvent::Finished { id }) => {
                    let (messages, bytes) = discard(association, id);
                    self.discarded_messages += messages;
                    self.discarded_bytes += bytes;
                }
                _ => {}
            }
        }
        // The library keeps a list of new streams, and one of events for the endpoint, until somebody takes them.
        while association.accept_stream().is_some() {}
        while association.poll_endpoint_event().is_some() {}
        while let Some(transmit) = association.poll_transmit(now) {
            let Payload::RawEncode(packets) = transmit.payload else { continue };
            let room = TRANSMITS_MAX.saturating_sub(self.transmits.len());
            self.transmits.extend(packets.iter().take(room).map(|packet| packet.to_vec()));
        }
        if over {
            self.open = false;
            self.association = None;
            self.forget(handle);
        }
    }

    fn forget(&mut self, handle: AssociationHandle) {
        let _ = self.endpoint.handle_event(handle, EndpointEvent::drained());
    }
}

/// Is there data for a stream that is none of those that we said there may be?
fn names_foreign_stream(packet: &[u8]) -> bool {
    let mut rest = packet.get(FIRST_CHUNK_TYPE_AT..).unwrap_or_default();
    while let &[kind, _, high, low, ref body @ ..] = rest {
        if let (DATA | I_DATA, &[_, _, _, _, high, low, ..]) = (kind, body)
            && u16::from_be_bytes([high, low]) >= STREAMS_MAX
        {
            return true;
        }
        let len = usize::from(u16::from_be_bytes([high, low])).max(4).next_multiple_of(4);
        rest = rest.get(len..).unwrap_or_default();
    }
    false
}

/// Reads what a stream holds: messages and bytes.
fn discard(association: &mut Association, id: StreamId) -> (u64, u64) {
    let (mut messages, mut bytes) = (0, 0);
    while let Ok(mut stream) = association.stream(id) {
        let Ok(Some(message)) = stream.read() else { break };
        messages += 1;
        bytes += message.len() as u64;
    }
    (messages, bytes)
}

#[cfg(test)]
mod tests;
