//! RTP from publishers: whose packet it is, what is around its payload (RTX, RED), and its way into the cache.

use super::Engine;
use crate::drop_reason::DropReason;
use crate::egress::Datagram;
use crate::params::{ExtensionKind, VideoFec};
use crate::producer::Producer;
use crate::producer::encoding::{Came, Encoding, Incoming, Received};
use crate::producer::nack::Gap;
use crate::producer::packet::{CARRIED, CachedPacket, Slice, carried_index};
use crate::speaker;
use crate::timers::TimerKind;
use crate::transport::srtp::SrtpError;
use crate::transport::streams::{Route, Stream};
use sfu_rtp::RtpHeader;
use sfu_rtp::extension::{AudioLevel, read_transport_sequence};
use std::time::Instant;

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

/// A decrypted packet.
struct Opened<'a> {
    header: RtpHeader,
    bytes: &'a [u8],
    extensions: Extensions<'a>,
    came: Came,
}

impl Engine {
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
        self.receive(now, key, route, Opened { header, bytes, extensions, came: Came::Sent })
    }

    /// Takes RTX off, and looks afterwards whether FEC brings back what was lost.
    fn receive(
        &mut self,
        now: Instant,
        key: usize,
        route: Route,
        mut opened: Opened<'_>,
    ) -> Result<(), DropReason> {
        let (producer, encoding) = match route {
            Route::Unknown => return Err(DropReason::UnknownSsrc),
            Route::Media { producer, encoding } => (producer, encoding),
            Route::Repair { producer, encoding } => {
                let Opened { header, bytes, came, .. } = &mut opened;
                *came = Came::Resent;
                let original = self.producers[producer].repaired_by(header.payload_type);
                unwrap_rtx(header, bytes, original.ok_or(DropReason::UnknownPayloadType)?)?;
                (producer, encoding)
            }
        };
        let received = self.take(now, key, (producer, encoding), opened);
        self.rebuild(now, key, (producer, encoding));
        received
    }

    /// Takes RED off, and puts the packet into the cache.
    fn take(
        &mut self,
        now: Instant,
        key: usize,
        (producer_key, index): (usize, u8),
        opened: Opened<'_>,
    ) -> Result<(), DropReason> {
        let Opened { mut header, mut bytes, extensions, came } = opened;
        let producer = &mut self.producers[producer_key];
        let mut protection = None;
        if let Some(fec) = producer.red(header.payload_type) {
            let last = producer.encodings[usize::from(index)].expect_fec();
            let first = producer.params.codecs.first().map(|codec| codec.payload_type);
            let media = last.or(first).ok_or(DropReason::UnknownPayloadType)?;
            protection = unwrap_red(&mut header, bytes, &fec, media)?;
        }
        let codec = *producer.codec(header.payload_type).ok_or(DropReason::UnknownPayloadType)?;
        let encoding = &mut producer.encodings[usize::from(index)];
        let payload = header.payload(bytes).len();
        let mut carried = extensions.carried;
        if protection.is_some() {
            // Of a FEC packet only its number is kept.
            bytes = &bytes[..usize::from(header.payload_start)];
            carried = Default::default();
        }
        let packet = CachedPacket::new(&header, bytes, carried);
        if payload == 0 && came == Came::Resent {
            return Err(DropReason::Padding);
        }
        if came != Came::Rebuilt {
            self.counters.received.count(producer.params.kind, payload);
        }
        let incoming = Incoming { header: &header, codec: &codec, packet, bytes, came };
        let received = encoding.receive(now, &self.clock, incoming);
        if let Some(payload) = protection {
            // Also where its number was nobody's already: the next picture has overtaken it.
            encoding.protect(header.sequence_number, payload);
        }
        let received = received?;
        self.after_receive(now, key, producer_key, index, received, extensions.audio_level)
    }

    /// Takes what FEC brings back, now that one more packet came.
    fn rebuild(&mut self, now: Instant, key: usize, (producer_key, index): (usize, u8)) {
        loop {
            let transport = &self.transports[key];
            let is_mutable = |id| {
                let kind = transport.extensions.kind(id);
                matches!(kind, Some(ExtensionKind::TransportWideCc | ExtensionKind::AbsSendTime))
            };
            let producer = &mut self.producers[producer_key];
            let rebuilt = producer.encodings[usize::from(index)].rebuild(is_mutable);
            let Some(bytes) = rebuilt else { return };
            let Ok(header) = RtpHeader::parse(&bytes) else { continue };
            let extensions = read_extensions(transport, &header, &bytes);
            let opened = Opened { header, bytes: &bytes, extensions, came: Came::Rebuilt };
            if self.take(now, key, (producer_key, index), opened).is_ok() {
                self.counters.rebuilt += 1;
            }
        }
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
        let closed = encoding.take_closed();
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
        if producer.ready.is_empty() {
            self.ready.push(producer_key);
        }
        for seq in closed.into_iter().chain([received.seq]) {
            if !producer.pipes.is_empty() {
                self.pipes.push(producer_key, index, seq);
            }
            producer.ready.push((index, seq));
        }
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
                        producer.is_media(pt) || producer.repaired_by(pt).is_some()
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
    let repairs = payload_type.is_some_and(|pt| producer.repaired_by(pt).is_some());
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
    match (producer.encodings.len(), repairs, producer.is_media(pt)) {
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

/// RFC 2198, as far as video uses it: one block. Of a FEC packet its payload is returned; its header gets the payload type `media`.
fn unwrap_red<'a>(
    header: &mut RtpHeader,
    bytes: &'a [u8],
    fec: &VideoFec,
    media: u8,
) -> Result<Option<&'a [u8]>, DropReason> {
    let Some((block, payload)) = header.payload(bytes).split_first() else {
        // A probe of padding has the payload type of the last packet.
        header.payload_type = media;
        return Ok(None);
    };
    if block & 0x80 != 0 {
        return Err(DropReason::Malformed);
    }
    if *block == fec.payload_type {
        header.payload_type = media;
        return Ok(Some(payload));
    }
    header.payload_type = *block;
    header.payload_start += 1;
    Ok(None)
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
