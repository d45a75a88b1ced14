//! Datagrams of the network: STUN, DTLS, RTP.

use super::Engine;
use crate::drop_reason::DropReason;
use crate::egress::{Datagram, Egress, Tuple};
use crate::params::ExtensionKind;
use crate::producer::Producer;
use crate::producer::encoding::{Encoding, Incoming, Received};
use crate::producer::nack::Gap;
use crate::producer::packet::{CARRIED, CachedPacket, Slice, carried_index};
use crate::speaker;
use crate::timers::TimerKind;
use crate::transport::dtls::{DtlsEvent, DtlsFailure};
use crate::transport::ice::Check;
use crate::transport::srtp::{SrtpError, SrtpKeys};
use crate::transport::streams::{Route, Stream};
use crate::transport::stun;
use crate::{CloseReason, Event};
use sfu_rtp::RtpHeader;
use sfu_rtp::extension::{AudioLevel, read_transport_sequence};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

impl From<SrtpError> for DropReason {
    fn from(error: SrtpError) -> Self {
        match error {
            SrtpError::TooShort => Self::Malformed,
            SrtpError::Auth | SrtpError::Unencrypted => Self::Unauthenticated,
            SrtpError::Replay => Self::Replay,
        }
    }
}

/// What the header extensions of one packet said.
#[derive(Default)]
struct Extensions<'a> {
    mid: Option<&'a [u8]>,
    rid: Option<&'a [u8]>,
    repaired_rid: Option<&'a [u8]>,
    transport_sequence: Option<u16>,
    audio_level: Option<u8>,
    carried: [Slice; CARRIED.len()],
}

/// The client may still be busy with the end of the handshake, and some lose what comes right behind it (webrtc-rs): a replay, which nobody would
/// ask for again, begins a little later.
const AFTER_HANDSHAKE: Duration = Duration::from_millis(20);

/// Content type of a DTLS record (RFC 6347).
const APPLICATION_DATA: u8 = 23;

impl Engine {
    pub(super) fn handle_stun(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let Some((local, _)) = stun::ufrag_of(datagram) else {
            return self.handle_stun_response(now, tuple, datagram);
        };
        let key = self.demux.transport_of_ufrag(local).ok_or(DropReason::UnknownUfrag)?;
        let in_use = self.is_in_use(now, tuple, key);
        let transport = &mut self.transports[key];
        let scratch = &mut self.scratch;
        scratch.clear();
        let checked = catch_unwind(AssertUnwindSafe(|| {
            if in_use {
                transport.ice.answer(tuple, datagram, scratch).map(|_| None)
            } else {
                transport.ice.handle_request(now, tuple, datagram, scratch).map(Some)
            }
        }))
        .map_err(|_| DropReason::Panicked)?;
        if !self.scratch.is_empty() {
            egress.send(tuple, &self.scratch);
        }
        let Some(check) = checked.map_err(|_| DropReason::BadStun)? else {
            // Anybody can send a check in another's name.
            self.ask(now, key, tuple, egress);
            return Ok(());
        };
        if let Some(ufrag) = transport.ice.take_ended_ufrag() {
            self.demux.remove_ufrag(&ufrag);
        }
        self.proved(key, tuple, check);
        let transport = &mut self.transports[key];
        if let Some(dtls) = &mut transport.dtls {
            // Nothing before the first proof of address; later calls change nothing.
            dtls.start(now);
        }
        if transport.selected.is_some()
            && let Some(keys) = transport.keys.take()
        {
            self.connected(now, key, &keys);
        }
        self.drain_dtls(now, key, egress);
        Ok(())
    }

    /// A tuple is a peer's, by a check of its own or by its answer to one of ours.
    pub(super) fn proved(&mut self, key: usize, tuple: &Tuple, check: Check) {
        if let Some(dropped) = check.dropped {
            self.demux.remove_tuple(&dropped, key);
        }
        // Whoever had the address before is there no more: what is sealed for it is nothing to who is there now.
        if self.demux.transport_of(tuple).is_some_and(|before| before != key) {
            self.forget_tuple(tuple);
        }
        self.demux.add_tuple(*tuple, key);
        let transport = &mut self.transports[key];
        transport.selected = transport.ice.selected().copied();
        if std::mem::take(&mut transport.silent) {
            let transport = transport.id;
            self.events.push_back(Event::TransportSilent { transport, silent: false });
        }
    }

    pub(super) fn handle_dtls(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let key = self.demux.transport_of(tuple).ok_or(DropReason::UnknownTuple)?;
        let transport = &mut self.transports[key];
        match &mut transport.dtls {
            Some(dtls) => dtls.handle_datagram(now, datagram),
            // Keys were handed in: data is not encrypted.
            None => {
                transport.data.receive(datagram.get(1..).unwrap_or_default().to_vec());
                self.mark_data(key);
            }
        }
        self.drain_dtls(now, key, egress);
        Ok(())
    }

    /// Moves what DTLS and SCTP have to say: records to the network, keys into SRTP, the end to control.
    pub(super) fn drain_dtls(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        loop {
            let transport = &mut self.transports[key];
            let tuple = transport.control_tuple();
            let packets = transport.sctp.as_mut().into_iter();
            let packets = packets.flat_map(|sctp| std::iter::from_fn(|| sctp.poll_transmit()));
            let Some(dtls) = &mut transport.dtls else {
                send_clear(tuple.as_ref(), packets, egress);
                break;
            };
            packets.for_each(|packet| dtls.send(now, &packet));
            while let Some(record) = dtls.poll_transmit() {
                if let Some(tuple) = &tuple {
                    egress.send(tuple, &record);
                }
            }
            let reason = match dtls.poll_event() {
                None => break,
                Some(DtlsEvent::Connected(keys)) => {
                    self.connected(now, key, &keys);
                    continue;
                }
                Some(DtlsEvent::ApplicationData(data)) => {
                    if transport.sctp.is_some() {
                        transport.data.receive(data);
                        self.mark_data(key);
                    }
                    continue;
                }
                Some(DtlsEvent::Closed) => CloseReason::DtlsClosed,
                Some(DtlsEvent::Failed(failure)) => close_reason(&failure),
            };
            self.fail_transport(now, key, reason, egress);
            return;
        }
        let transport = &mut self.transports[key];
        let dtls_due = transport.dtls.as_ref().and_then(|dtls| dtls.poll_timeout());
        let sctp_due = transport.sctp.as_ref().and_then(|sctp| sctp.poll_timeout());
        transport.timers.set(TimerKind::Dtls, dtls_due);
        transport.timers.set(TimerKind::Sctp, sctp_due);
        self.timers.arm(key, transport.id, &mut transport.timers);
    }

    fn connected(&mut self, now: Instant, key: usize, keys: &SrtpKeys) {
        let transport = &mut self.transports[key];
        transport.install(keys);
        self.events.push_back(Event::TransportConnected {
            transport: transport.id,
            profile: keys.profile,
        });
        for index in 0..transport.consumers.len() {
            let consumer = self.transports[key].consumers[index];
            self.wish_keyframe_for(now, consumer);
        }
        self.mark_allocation(key);
        let timers = &mut self.transports[key].timers;
        if timers.take(TimerKind::Pace, now) {
            timers.set(TimerKind::Pace, Some(now + AFTER_HANDSHAKE));
        }
    }

    /// Everything here is counted from the packet's arrival; nothing is sent.
    pub(super) fn handle_rtp(&mut self, datagram: Datagram<'_>) -> Result<(), DropReason> {
        let Datagram { tuple, arrival: now, bytes: datagram } = datagram;
        let key = self.demux.transport_of(&tuple).ok_or(DropReason::UnknownTuple)?;
        let transport = &mut self.transports[key];
        let elsewhere = transport.hears_elsewhere(now, &tuple);
        let srtp = transport.srtp_in.as_mut().ok_or(DropReason::BeforeKeys)?;
        let mut header = RtpHeader::parse_prefix(datagram).map_err(|_| DropReason::Malformed)?;
        let opened = srtp.unprotect_rtp(
            datagram,
            usize::from(header.payload_start),
            header.ssrc,
            header.sequence_number,
        )?;
        if elsewhere {
            transport.follow(now, &tuple);
        }
        let bytes = &datagram[..opened.len];
        header.read_padding(bytes).map_err(|_| DropReason::Malformed)?;
        while transport.streams.len() <= opened.stream {
            transport.streams.push(Stream::new(header.ssrc));
        }
        if opened.reused {
            transport.streams[opened.stream] = Stream::new(header.ssrc);
        }
        let extensions = read_extensions(transport, &header, bytes);
        if let Some(number) = extensions.transport_sequence {
            transport.arrivals.record(number, self.clock.micros(now));
            transport.arm_feedback(now);
            self.timers.arm(key, transport.id, &mut transport.timers);
        }
        let stream = &mut self.transports[key].streams[opened.stream];
        stream.labels.learn(extensions.mid, extensions.rid, extensions.repaired_rid);
        if stream.route == Route::Unknown {
            self.resolve(key, opened.stream, Some(header.payload_type));
        }
        let route = self.transports[key].streams[opened.stream].route;
        self.receive(now, key, route, &header, bytes, &extensions)
    }

    fn receive(
        &mut self,
        now: Instant,
        key: usize,
        route: Route,
        header: &RtpHeader,
        bytes: &[u8],
        extensions: &Extensions<'_>,
    ) -> Result<(), DropReason> {
        let (producer_key, index, repaired) = match route {
            Route::Unknown => return Err(DropReason::UnknownSsrc),
            Route::Media { producer, encoding } => (producer, encoding, false),
            Route::Repair { producer, encoding } => (producer, encoding, true),
        };
        let producer = &mut self.producers[producer_key];
        let mut header = *header;
        let codec = if repaired {
            let codec = *producer
                .codec_of_rtx(header.payload_type)
                .ok_or(DropReason::UnknownPayloadType)?;
            unwrap_rtx(&mut header, bytes, codec.payload_type)?;
            codec
        } else {
            *producer.codec(header.payload_type).ok_or(DropReason::UnknownPayloadType)?
        };
        let encoding = &mut producer.encodings[usize::from(index)];
        let mut packet = CachedPacket::new(&header, bytes, extensions.carried);
        if repaired {
            packet.payload_len = packet.payload_len.min(header.payload(bytes).len() as u16);
        }
        if packet.payload_len == 0 && repaired {
            return Err(DropReason::Padding);
        }
        self.counters.received.count(producer.params.kind, usize::from(packet.payload_len));
        let incoming = Incoming { header: &header, codec: &codec, packet, bytes, repaired };
        let received = encoding.receive(now, &self.clock, incoming)?;
        self.after_receive(now, key, producer_key, index, received, extensions.audio_level)
    }

    /// Timers, flow, loudness and the fan-out list after a packet went into the cache.
    fn after_receive(
        &mut self,
        now: Instant,
        key: usize,
        producer_key: usize,
        index: u8,
        received: Received,
        audio_level: Option<u8>,
    ) -> Result<(), DropReason> {
        let producer = &mut self.producers[producer_key];
        let encoding = &mut producer.encodings[usize::from(index)];
        let transport = &mut self.transports[key];
        let repair = match received.gap {
            Gap::None => None,
            Gap::Missing => encoding.nack.next_due(),
            Gap::TooWide => {
                encoding.keyframes.wish();
                encoding.keyframes.next_due(now)
            }
        };
        if let Some(at) = repair {
            transport.timers.set_earlier(TimerKind::Repair, at);
            self.timers.arm(key, transport.id, &mut transport.timers);
        }
        if let Some(rtt) = received.rtt {
            transport.measured_rtt(rtt);
        }
        let starts = producer.flowing & (1 << index) == 0;
        producer.flowing |= 1 << index;
        if starts {
            self.announce_start(producer_key, index);
            self.mark_allocations_of(producer_key);
        }
        let producer = &mut self.producers[producer_key];
        if let Some(level) = audio_level {
            producer.level.add(level);
            self.speakers_due.get_or_insert(now + speaker::INTERVAL);
        }
        // An encoding that starts with a keyframe needs no other one.
        if starts && !received.keyframe {
            self.wish_keyframes(now, producer_key);
        }
        let producer = &mut self.producers[producer_key];
        if producer.paused {
            return Err(DropReason::Muted);
        }
        if !producer.pipes.is_empty() {
            self.pipes.push(producer_key, index, received.seq);
        }
        if producer.ready.is_empty() {
            self.ready.push(producer_key);
        }
        producer.ready.push((index, received.seq));
        Ok(())
    }

    /// Finds out what an SSRC is: signalled SSRC, then MID and RID, then the payload type.
    pub(super) fn resolve(&mut self, key: usize, stream: usize, payload_type: Option<u8>) {
        let transport = &self.transports[key];
        let Stream { ssrc, labels, .. } = &transport.streams[stream];
        let own = transport.producers.iter().map(|&p| (p, &self.producers[p]));
        let route =
            own.clone().find_map(|(p, producer)| by_ssrc(p, producer, *ssrc)).or_else(|| {
                let mut candidates = own.filter(|(_, producer)| match &labels.mid {
                    Some(mid) => producer.params.mid.as_deref() == Some(mid),
                    // Without MID (FFmpeg, plain RTP stacks) only the payload type is left; a labelled stream never guesses.
                    None => payload_type.is_some_and(|pt| {
                        producer.codec(pt).is_some() || producer.codec_of_rtx(pt).is_some()
                    }),
                });
                let (p, producer) = candidates.next()?;
                if candidates.next().is_some() {
                    return None;
                }
                by_rid(
                    p,
                    producer,
                    labels.rid.as_deref(),
                    labels.repaired_rid.as_deref(),
                    payload_type,
                )
            });
        let ssrc = *ssrc;
        let Some(route) = route else { return };
        if let Route::Media { producer, encoding } = route {
            let encoding = &mut self.producers[producer].encodings[usize::from(encoding)];
            if encoding.ssrc != Some(ssrc) {
                encoding.rebase(ssrc);
            }
        }
        self.transports[key].streams[stream].route = route;
    }
}

/// Where keys were handed in: each packet behind the first byte of a DTLS record.
fn send_clear(
    tuple: Option<&Tuple>,
    packets: impl Iterator<Item = Vec<u8>>,
    egress: &mut Egress<'_>,
) {
    for packet in packets {
        if let Some(tuple) = tuple {
            egress.send(tuple, &[&[APPLICATION_DATA], &packet[..]].concat());
        }
    }
}

fn by_ssrc(key: usize, producer: &Producer, ssrc: u32) -> Option<Route> {
    producer.params.encodings.iter().enumerate().find_map(|(index, params)| {
        let encoding = index as u8;
        if params.ssrc == Some(ssrc) {
            Some(Route::Media { producer: key, encoding })
        } else if params.rtx_ssrc == Some(ssrc) {
            Some(Route::Repair { producer: key, encoding })
        } else {
            None
        }
    })
}

fn by_rid(
    key: usize,
    producer: &Producer,
    rid: Option<&str>,
    repaired: Option<&str>,
    payload_type: Option<u8>,
) -> Option<Route> {
    let find = |wanted: &str| {
        let at = |e: &Encoding| e.rid.as_deref() == Some(wanted);
        producer.encodings.iter().position(at).map(|index| index as u8)
    };
    let repairs = payload_type.is_some_and(|pt| producer.codec_of_rtx(pt).is_some());
    if let Some(encoding) = repaired.and_then(find) {
        return Some(Route::Repair { producer: key, encoding });
    }
    if let Some(encoding) = rid.and_then(find) {
        // Some senders put RID where repaired RID belongs: the payload type tells.
        return Some(match repairs {
            true => Route::Repair { producer: key, encoding },
            false => Route::Media { producer: key, encoding },
        });
    }
    // Without RID there is nothing to choose from but a single encoding, and its kind is told by the payload type.
    let pt = payload_type?;
    match (producer.encodings.len(), repairs, producer.codec(pt).is_some()) {
        (1, true, _) => Some(Route::Repair { producer: key, encoding: 0 }),
        (1, false, true) => Some(Route::Media { producer: key, encoding: 0 }),
        _ => None,
    }
}

/// RFC 4588: gives the packet its original sequence number and payload type back. The payload then begins two bytes later.
fn unwrap_rtx(header: &mut RtpHeader, bytes: &[u8], original: u8) -> Result<(), DropReason> {
    let payload = header.payload(bytes);
    let (number, rest) = payload.split_first_chunk::<2>().ok_or(DropReason::Padding)?;
    if rest.is_empty() {
        return Err(DropReason::Padding);
    }
    header.sequence_number = u16::from_be_bytes(*number);
    header.payload_type = original;
    header.payload_start += 2;
    Ok(())
}

fn read_extensions<'a>(
    transport: &crate::transport::Transport,
    header: &RtpHeader,
    bytes: &'a [u8],
) -> Extensions<'a> {
    let mut found = Extensions::default();
    for (id, value) in header.extensions(bytes) {
        let Some(kind) = transport.extensions.kind(id) else { continue };
        match kind {
            ExtensionKind::Mid => found.mid = Some(value),
            ExtensionKind::Rid => found.rid = Some(value),
            ExtensionKind::RepairedRid => found.repaired_rid = Some(value),
            ExtensionKind::TransportWideCc => {
                found.transport_sequence = read_transport_sequence(value);
            }
            ExtensionKind::AbsSendTime => {}
            kind => {
                if kind == ExtensionKind::AudioLevel {
                    found.audio_level = AudioLevel::read(value).map(|level| level.level);
                }
                if let Some(index) = carried_index(kind) {
                    let start = value.as_ptr() as usize - bytes.as_ptr() as usize;
                    found.carried[index] = Slice::new(start, value.len());
                }
            }
        }
    }
    found
}

fn close_reason(failure: &DtlsFailure) -> CloseReason {
    match failure {
        DtlsFailure::FingerprintMismatch => CloseReason::FingerprintMismatch,
        DtlsFailure::Timeout => CloseReason::ConnectTimeout,
        DtlsFailure::Panicked => CloseReason::Internal,
        other => CloseReason::DtlsFailed(other.to_string()),
    }
}
