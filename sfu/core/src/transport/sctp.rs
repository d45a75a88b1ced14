//! The SCTP association under the data channels (RFC 8831, RFC 9260).
//!
//! Owns one association and its channels, all of which the peer opens. Messages stay in the association until they are read, so
//! that a reader who takes its time closes the window of the peer. Packets travel inside DTLS; this module never sees an address.
//! The protocol is `sctp-proto`, which draws its tags and sequence numbers itself.

mod channel;

pub use channel::{CHANNELS_MAX, Channel, LABEL_LEN_MAX, LOSSY, RELIABLE};

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use channel::Delivery;
use sctp_proto::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, Event,
    Payload, PayloadProtocolIdentifier, ServerConfig, StreamEvent, StreamId, TransportConfig,
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
/// Flag of the last piece of a message.
const ENDING: u8 = 1;
/// What may wait to be read: messages, and bytes with their headers. Of the rest, packets are kept …
const UNREAD_MESSAGES_MAX: usize = 1024;
const UNREAD_BYTES_MAX: usize = RECEIVE_BUFFER_LEN as usize * 3 / 4;
/// … up to so many, which is what the window still allows.
const PARKED_MAX: usize = 128;
/// Other pieces than the last one are longer than this, header included, …
const CRUMB_LEN: usize = 64;
/// … but for as many as there were packets of at least so many bytes, and some at the start: browsers cut a message where what they may send just now ends, …
const FILLED_LEN: usize = 512;
/// … and of these no more are kept count of.
const CRUMBS_MAX: usize = 12;

/// The library routes by verification tag, but wants an address.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

/// Streams of channels that both sides know without an opening message: [`RELIABLE`] and [`LOSSY`].
const NEGOTIATED: [(&str, Delivery); 2] =
    [(RELIABLE, Delivery::RELIABLE), (LOSSY, Delivery::LOSSY)];

/// A message that came on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// On which.
    pub stream: StreamId,
    /// A string; else bytes.
    pub text: bool,
    /// Possibly empty.
    pub payload: Bytes,
}

/// One association, which waits for the peer's INIT.
pub struct Sctp {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    open: bool,
    failed: bool,
    /// Longest message that the peer takes, in bytes.
    send_len_max: u32,
    transmits: VecDeque<Vec<u8>>,
    channels: Vec<Channel>,
    /// Streams with messages that were not read.
    readable: VecDeque<StreamId>,
    /// What was received since everything was read.
    unread: Load,
    /// Small pieces that may come.
    crumbs: usize,
    /// Packets with data that came while too much was not read.
    parked: VecDeque<Bytes>,
    /// Messages that came on no channel.
    stray: u64,
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
            send_len_max,
            transmits: VecDeque::new(),
            channels: Vec::new(),
            readable: VecDeque::new(),
            unread: Load::default(),
            crumbs: CRUMBS_MAX,
            parked: VecDeque::new(),
            stray: 0,
        }
    }

    /// Takes one SCTP packet, decrypted.
    pub fn handle_data(&mut self, now: Instant, packet: &[u8]) {
        // The library closes an open association over a late copy of its INIT.
        let is_init = packet.get(FIRST_CHUNK_TYPE_AT) == Some(&INIT);
        // … and makes a stream of every number that it hears, whatever was negotiated.
        let Some(load) = load_of(packet) else { return };
        if self.failed || (self.open && is_init) {
            return;
        }
        // A message cut smaller than anybody does who means to send it: the library looks at all pieces of a message for each one that comes.
        let earned = usize::from(packet.len() >= FILLED_LEN);
        let Some(crumbs) = (self.crumbs + earned).checked_sub(load.crumbs) else { return };
        self.crumbs = crumbs.min(CRUMBS_MAX);
        let packet = Bytes::copy_from_slice(packet);
        // If the library dropped it for want of room, the peer would repeat it after its timeout only.
        if load.bytes > 0 && (self.unread.is_full() || !self.parked.is_empty()) {
            if self.parked.len() < PARKED_MAX {
                self.parked.push_back(packet);
            }
            return;
        }
        self.unread.messages += load.messages;
        self.unread.bytes += load.bytes;
        self.catching(|sctp| sctp.receive(now, packet));
    }

    /// The next message on a channel. What is not read waits, and in the end the peer with it.
    pub fn read(&mut self, now: Instant) -> Option<Received> {
        loop {
            let mut received = None;
            self.catching(|sctp| received = sctp.next_message());
            if let Some(received) = received {
                self.unread.messages = self.unread.messages.saturating_sub(1);
                self.unread.bytes = self.unread.bytes.saturating_sub(received.payload.len());
                return Some(received);
            }
            self.unread = Load::default();
            let packet = self.parked.pop_front()?;
            self.catching(|sctp| sctp.receive(now, packet));
        }
    }

    /// Queues a message for a channel; [`Self::flush`] lets it leave. `false`: there is no such channel, or the peer takes no message so long.
    pub fn send(&mut self, stream: StreamId, text: bool, payload: &Bytes) -> bool {
        let mut sent = false;
        self.catching(|sctp| sent = sctp.write(stream, text, payload));
        sent
    }

    /// Longest message that the peer takes, in bytes.
    pub fn send_len_max(&self) -> usize {
        self.send_len_max as usize
    }

    /// Bytes that were queued and not acknowledged yet.
    pub fn buffered(&mut self) -> usize {
        let Some((_, association)) = &mut self.association else { return 0 };
        let mut of = |channel: &Channel| association.stream(channel.stream)?.buffered_amount();
        self.channels.iter().filter_map(|channel| of(channel).ok()).sum()
    }

    /// Those that are open, in the order in which they were opened.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Closes a channel: what waits in it is lost.
    pub fn close(&mut self, stream: StreamId) {
        self.catching(|sctp| sctp.reset(stream));
    }

    /// Lets what was queued leave, as far as the peer takes it.
    pub fn flush(&mut self, now: Instant) {
        self.catching(|sctp| sctp.drain(now));
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

    /// Messages that came on no channel since the last call; they are gone.
    pub fn take_stray(&mut self) -> u64 {
        std::mem::take(&mut self.stray)
    }

    fn catching(&mut self, call: impl FnOnce(&mut Self)) {
        if !self.failed && catch_unwind(AssertUnwindSafe(|| call(&mut *self))).is_err() {
            self.failed = true;
            self.association = None;
            self.transmits.clear();
            self.end();
        }
    }

    fn receive(&mut self, now: Instant, packet: Bytes) {
        match self.endpoint.handle(now, PEER, None, None, packet) {
            None => return,
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                // A new INIT replaces an association that never opened, or has closed.
                if let Some((old, _)) = self.association.replace((handle, association)) {
                    self.forget(old);
                    self.end();
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
                Event::Stream(StreamEvent::Readable { id }) if !self.readable.contains(&id) => {
                    self.readable.push_back(id);
                }
                Event::Stream(StreamEvent::Finished { id }) => {
                    self.channels.retain(|channel| channel.stream != id);
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
            self.association = None;
            self.forget(handle);
            self.end();
        }
    }

    /// The association is gone, and all that was in it.
    fn end(&mut self) {
        self.open = false;
        self.channels.clear();
        self.readable.clear();
        self.parked.clear();
    }

    fn next_message(&mut self) -> Option<Received> {
        while let Some(id) = self.readable.pop_front() {
            let (_, association) = self.association.as_mut()?;
            let Ok(Some(mut message)) = association.stream(id).and_then(|mut s| s.read_sctp())
            else {
                continue;
            };
            // The others come first before it is read again.
            self.readable.push_back(id);
            let bytes = message.next(message.len()).map(|chunk| chunk.bytes).unwrap_or_default();
            let (text, payload) = match message.ppi {
                PayloadProtocolIdentifier::Dcep => {
                    self.establish(id, &bytes);
                    continue;
                }
                PayloadProtocolIdentifier::String => (true, bytes),
                PayloadProtocolIdentifier::Binary => (false, bytes),
                PayloadProtocolIdentifier::StringEmpty => (true, Bytes::new()),
                PayloadProtocolIdentifier::BinaryEmpty => (false, Bytes::new()),
                PayloadProtocolIdentifier::Unknown => {
                    self.stray += 1;
                    continue;
                }
            };
            if self.is_channel(id) {
                return Some(Received { stream: id, text, payload });
            }
            self.stray += 1;
        }
        None
    }

    /// Whether a message on this stream is one of a channel: the first one opens those that need no opening message.
    fn is_channel(&mut self, id: StreamId) -> bool {
        if self.channels.iter().any(|channel| channel.stream == id) {
            return true;
        }
        let Some((label, delivery)) = NEGOTIATED.get(usize::from(id)) else { return false };
        self.add(id, (*label).to_owned(), delivery)
    }

    /// An opening message is answered by an acknowledgement, or by closing the channel.
    fn establish(&mut self, id: StreamId, message: &[u8]) {
        if self.channels.iter().any(|channel| channel.stream == id) || message == channel::ACK {
            return;
        }
        let added = channel::read_open(message)
            .is_some_and(|(label, delivery)| self.add(id, label, &delivery));
        let Some((_, association)) = &mut self.association else { return };
        let Ok(mut stream) = association.stream(id) else { return };
        let ack = Bytes::from_static(channel::ACK);
        let answered = added && stream.write_sctp(&ack, PayloadProtocolIdentifier::Dcep).is_ok();
        if !answered {
            self.reset(id);
        }
    }

    fn add(&mut self, id: StreamId, label: String, delivery: &Delivery) -> bool {
        let Some((_, association)) = &mut self.association else { return false };
        let Delivery { unordered, reliability, value } = *delivery;
        let set = association
            .stream(id)
            .and_then(|mut stream| stream.set_reliability_params(unordered, reliability, value));
        let room = self.channels.len() < CHANNELS_MAX;
        if room && set.is_ok() {
            self.channels.push(Channel::new(id, label, delivery));
        }
        room && set.is_ok()
    }

    fn reset(&mut self, id: StreamId) {
        self.channels.retain(|channel| channel.stream != id);
        self.readable.retain(|&other| other != id);
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(id)
        {
            // Before the association is established there is nothing to close.
            let _ = stream.close();
        }
    }

    fn write(&mut self, id: StreamId, text: bool, payload: &Bytes) -> bool {
        if !self.channels.iter().any(|channel| channel.stream == id) {
            return false;
        }
        let Some((_, association)) = &mut self.association else { return false };
        let Ok(mut stream) = association.stream(id) else { return false };
        let kind = match (text, payload.is_empty()) {
            (true, false) => PayloadProtocolIdentifier::String,
            (false, false) => PayloadProtocolIdentifier::Binary,
            (true, true) => PayloadProtocolIdentifier::StringEmpty,
            (false, true) => PayloadProtocolIdentifier::BinaryEmpty,
        };
        // SCTP has no empty messages (RFC 8831 section 6.6).
        let empty = Bytes::from_static(&[0]);
        let bytes = if payload.is_empty() { &empty } else { payload };
        stream.write_sctp(bytes, kind).is_ok()
    }

    fn forget(&mut self, handle: AssociationHandle) {
        let _ = self.endpoint.handle_event(handle, EndpointEvent::drained());
    }
}

/// Messages and bytes of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    messages: usize,
    bytes: usize,
    /// Small pieces that are not the last one of their message.
    crumbs: usize,
}

impl Load {
    fn is_full(self) -> bool {
        self.messages >= UNREAD_MESSAGES_MAX || self.bytes >= UNREAD_BYTES_MAX
    }
}

/// What a packet has of data. `None`: some of it is for a stream that is none of those that we said there may be.
fn load_of(packet: &[u8]) -> Option<Load> {
    let mut rest = packet.get(FIRST_CHUNK_TYPE_AT..).unwrap_or_default();
    let mut load = Load::default();
    while let &[kind, flags, high, low, ref body @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([high, low])).max(4);
        if let (DATA | I_DATA, &[_, _, _, _, high, low, ..]) = (kind, body) {
            if u16::from_be_bytes([high, low]) >= STREAMS_MAX {
                return None;
            }
            load.messages += usize::from(flags & ENDING);
            load.bytes += len;
            load.crumbs += usize::from(flags & ENDING == 0 && len < CRUMB_LEN);
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(load)
}

#[cfg(test)]
mod tests;
