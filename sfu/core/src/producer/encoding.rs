//! One encoding of a track: one SSRC, its sequence numbers, losses, clock and cache.

mod fec;

use crate::clock::{MediaClock, ntp_diff_to_rtp};
use crate::drop_reason::DropReason;
use crate::params::{EncodingParams, Layer, MediaKind, ReceiveCodec};
use crate::producer::audio_rate::AudioRate;
use crate::producer::cache::PacketCache;
use crate::producer::gop::{self, Gop};
use crate::producer::keyframe::KeyframeRequests;
use crate::producer::layers::Layers;
use crate::producer::nack::{GIVE_UP_AFTER, Gap, NackGenerator};
use crate::producer::packet::CachedPacket;
use crate::producer::rates::LayerRate;
use fec::FecDecoder;
use sfu_rtp::{RtpHeader, sequence};
use std::time::{Duration, Instant};

/// An encoding without packets for so long does not flow: its consumers look for another one. A camera at 5 frames/s still flows.
pub(crate) const FLOW_TIMEOUT: Duration = Duration::from_millis(700);

/// Packets after a late template structure that are read again.
const DESCRIBED_AGAIN_MAX: u64 = 512;

/// The last sender report of the publisher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SenderReportTime {
    /// Sender's NTP time.
    pub(crate) ntp: u64,
    /// RTP time at that moment.
    pub(crate) rtp: u32,
    /// When it came.
    pub(crate) arrival: Instant,
}

/// Counters behind receiver reports (RFC 3550 appendix A.3, A.8).
#[derive(Debug, Default)]
pub(crate) struct Reception {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    base: u64,
    /// As they were sent: publishers are told what the network lost, whatever brought it back.
    received: u64,
    /// What RTX and FEC brought back.
    returned: u64,
    expected_prior: u64,
    received_prior: u64,
    /// In RTP clock units.
    jitter: f64,
    transit: Option<i64>,
}

/// Values of one report block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReportValues {
    pub(crate) fraction_lost: u8,
    pub(crate) total_lost: u32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
}

#[derive(Debug)]
pub(crate) struct Encoding {
    pub(crate) rid: Option<String>,
    pub(crate) ssrc: Option<u32>,
    /// Grows when the publisher starts a new sequence space here (another SSRC): consumers then switch over as to another encoding.
    pub(crate) epoch: u32,
    pub(crate) cache: PacketCache,
    pub(crate) nack: NackGenerator,
    pub(crate) keyframes: KeyframeRequests,
    pub(crate) reception: Reception,
    pub(crate) sender_report: Option<SenderReportTime>,
    highest: Option<u64>,
    pub(crate) last_arrival: Option<Instant>,
    pub(crate) clock_rate: u32,
    /// RTP time and arrival of the newest packet, for sender reports when the publisher sends none.
    pub(crate) newest: Option<(u32, Instant)>,
    video: bool,
    /// The worker that has the publisher sends what followed the last keyframe.
    pub(crate) filling: bool,
    /// Video only.
    gop: Option<Gop>,
    /// The publisher's encodings take much memory together: this one keeps nothing for those who come later.
    pub(crate) frugal: bool,
    /// Video only.
    pub(crate) layers: Option<Box<Layers>>,
    /// Audio only.
    audio_rate: AudioRate,
    /// Width and height as the publisher announced them.
    pub(crate) announced: Option<(u16, u16)>,
    /// Present once RED was seen around video.
    fec: Option<Box<FecDecoder>>,
}

impl Encoding {
    pub(crate) fn new(params: &EncodingParams, kind: MediaKind, clock_rate: u32) -> Self {
        Self {
            rid: params.rid.clone(),
            ssrc: None,
            epoch: 0,
            cache: match kind {
                MediaKind::Audio => PacketCache::audio(),
                MediaKind::Video => PacketCache::video(),
            },
            nack: NackGenerator::default(),
            keyframes: KeyframeRequests::default(),
            reception: Reception::default(),
            sender_report: None,
            highest: None,
            last_arrival: None,
            clock_rate,
            newest: None,
            video: kind == MediaKind::Video,
            filling: false,
            gop: None,
            frugal: false,
            layers: (kind == MediaKind::Video).then(Box::default),
            audio_rate: AudioRate::default(),
            announced: params.size,
            fec: None,
        }
    }

    /// Another SSRC takes this encoding's place.
    pub(crate) fn rebase(&mut self, ssrc: u32) {
        if self.ssrc.replace(ssrc).is_some() {
            self.epoch += 1;
        }
        self.cache.clear();
        self.nack.clear();
        self.reception = Reception::default();
        self.sender_report = None;
        self.highest = None;
        self.newest = None;
        self.gop = None;
        self.fec = None;
        self.layers.iter_mut().for_each(|layers| layers.clear());
    }

    /// The newest packet's extended sequence number.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// The extended sequence number near the newest packet that has this low half.
    pub(crate) fn extend(&self, low: u32) -> Option<u64> {
        let highest = self.highest?;
        highest.checked_add_signed(i64::from(low.wrapping_sub(highest as u32) as i32))
    }

    pub(crate) fn flows(&self, now: Instant) -> bool {
        self.last_arrival.is_some_and(|at| now.saturating_duration_since(at) < FLOW_TIMEOUT)
    }

    /// How long nothing came but what was sent before.
    fn silence(&self, now: Instant) -> Option<Duration> {
        self.newest.map(|(_, at)| now.saturating_duration_since(at))
    }

    /// Takes one packet of the media stream, or one that was brought back. Returns its extended sequence number.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        clock: &MediaClock,
        incoming: Incoming<'_>,
    ) -> Result<Received, DropReason> {
        let Incoming { header, codec, mut packet, bytes, came } = incoming;
        let repaired = came != Came::Sent;
        let highest = self.highest;
        let seq = match highest {
            // One rollover of room, so that packets from before the first one do not go below zero.
            None => 0x1_0000 + u64::from(header.sequence_number),
            Some(highest) => sequence::extend(highest, header.sequence_number),
        };
        if self.cache.contains(seq) {
            // It was brought back before it came (RFC 3550 section 6.4.1: what is late counts as received).
            self.reception.received += u64::from(came == Came::Sent);
            return Err(DropReason::Duplicate);
        }
        // Chromium probes with what it sent seconds ago: after a pause that comes before anything new, and is of no use any more.
        let ahead = repaired && highest.is_some_and(|highest| seq > highest);
        if ahead && self.silence(now).is_some_and(|silence| silence >= GIVE_UP_AFTER) {
            return Err(DropReason::TooOld);
        }
        let mut received = Received { seq, gap: Gap::None, rtt: None, keyframe: false };
        match highest {
            Some(highest) if seq > highest => {
                if codec.feedback.nack {
                    let asked = !self.keyframes.are_ignored();
                    let silence = self.silence(now).filter(|_| asked);
                    received.gap = self.nack.advance(now, silence, highest, seq);
                }
            }
            Some(_) => {
                let waited = self.nack.arrived(now, seq);
                received.rtt = waited.filter(|_| came == Came::Resent);
            }
            None => self.reception.base = seq,
        }
        packet.seq = seq;
        packet.arrival_us = clock.micros(now);
        packet.codec = codec.codec;
        let structure = self.describe(&mut packet, bytes);
        if !self.store(&packet, bytes) {
            return Err(DropReason::TooOld);
        }
        self.count(&packet);
        if structure {
            self.describe_again(seq);
        }
        if highest.is_none_or(|highest| seq > highest) {
            self.highest = Some(seq);
            if !repaired {
                self.newest = Some((header.timestamp, now));
            }
        }
        self.note_for_fec(now, &packet);
        received.keyframe = packet.info.keyframe;
        if !self.flows(now) {
            self.keyframes.began();
        }
        if packet.info.keyframe {
            self.keyframes.arrived(now);
        }
        self.clock_rate = codec.clock_rate;
        self.reception.count(now, clock, header, codec, packet.payload_len, came);
        self.last_arrival = Some(now);
        Ok(received)
    }

    /// Takes one packet that another worker received and parsed; `replayed`: long ago. Returns whether a receiver can start there.
    pub(crate) fn receive_piped(
        &mut self,
        (arrival, replayed): (Instant, bool),
        codec: &ReceiveCodec,
        mut packet: CachedPacket,
        bytes: &[u8],
    ) -> Result<bool, DropReason> {
        let seq = packet.seq;
        self.filling = replayed;
        if self.cache.contains(seq) {
            return Err(DropReason::Duplicate);
        }
        packet.codec = codec.codec;
        let structure = self.describe(&mut packet, bytes);
        if !self.store(&packet, bytes) {
            return Err(DropReason::TooOld);
        }
        if !replayed {
            self.count(&packet);
        }
        if structure {
            self.describe_again(seq);
        }
        if self.highest.is_none_or(|highest| seq > highest) {
            self.highest = Some(seq);
            self.newest = Some((packet.timestamp, arrival));
        }
        self.clock_rate = codec.clock_rate;
        self.last_arrival = Some(arrival);
        Ok(packet.info.keyframe)
    }

    /// For how much it takes.
    fn count(&mut self, packet: &CachedPacket) {
        match &mut self.layers {
            Some(layers) if packet.payload_len > 0 => layers.count(packet.arrival_us, packet),
            Some(_) => {}
            None => self.audio_rate.count(packet.arrival_us, packet.payload_len),
        }
    }

    /// What audio takes, bits per second; `None`: it has not come for long enough to say.
    pub(crate) fn audio_bitrate(&self, now_us: u64) -> Option<u64> {
        self.audio_rate.bits_per_second(now_us)
    }

    /// Reads what payload and dependency descriptor say. `true`: a template structure came that was not known.
    fn describe(&mut self, packet: &mut CachedPacket, bytes: &[u8]) -> bool {
        if let Some(layers) = &mut self.layers {
            return layers.describe(packet, bytes);
        }
        packet.info = sfu_rtp::codec::inspect(packet.codec, packet.payload(bytes));
        false
    }

    /// May a receiver start with this packet?
    pub(crate) fn starts(&self, packet: &CachedPacket) -> bool {
        let starts = |layers: &Layers| layers.starts(packet, &self.cache);
        self.layers.as_deref().map_or(packet.info.keyframe, starts)
    }

    /// A structure came after packets that need it: it was overtaken, or lost and brought back.
    #[cold]
    fn describe_again(&mut self, structure: u64) {
        let Some(highest) = self.highest else { return };
        let Some(layers) = &mut self.layers else { return };
        for seq in structure + 1..=highest.min(structure + DESCRIBED_AGAIN_MAX) {
            if let Some((packet, bytes)) = self.cache.get(seq) {
                let mut packet = *packet;
                layers.describe(&mut packet, bytes);
                self.cache.update(&packet);
            }
        }
    }

    /// The layers that this encoding has, lowest first, each for itself.
    pub(crate) fn layers(&self, now_us: u64) -> impl Iterator<Item = LayerRate> {
        self.layers.iter().flat_map(move |layers| layers.rates(self.announced, now_us))
    }

    /// Spatial layers that it has now.
    pub(crate) fn spatial_layers(&self) -> u8 {
        self.layers.as_ref().map_or(0, |layers| layers.spatial_layers())
    }

    /// See [`Layers::takes`].
    pub(crate) fn takes(&self, whole: Layer, part: Layer) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.takes(whole, part))
    }

    /// It has run for a second, and still does: its rates say what it takes.
    pub(crate) fn is_settled(&self, now_us: u64) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.are_settled(now_us))
    }

    /// It has just begun.
    pub(crate) fn is_fresh(&self, now_us: u64) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.are_fresh(now_us))
    }

    /// Puts a packet into the cache, and counts it where it follows a keyframe.
    fn store(&mut self, packet: &CachedPacket, bytes: &[u8]) -> bool {
        // Who sends a keyframe when asked needs no long memory.
        let keep = self.gop.filter(|gop| {
            gop.age_us(packet.arrival_us) <= gop::AGE_MAX_US
                && !self.keyframes.are_answered()
                && !self.frugal
        });
        if !self.cache.insert(*packet, bytes, keep.map(|gop| gop.first)) {
            return false;
        }
        if self.video {
            let highest = self.highest.map_or(packet.seq, |highest| highest.max(packet.seq));
            Gop::note(&mut self.gop, packet, bytes.len(), highest, &self.cache);
        }
        true
    }

    /// Nothing has come for so long that what came before is of no use to anybody: its memory is given back.
    pub(crate) fn rest(&mut self, now: Instant) {
        let old = |at| now.saturating_duration_since(at) > Duration::from_micros(gop::AGE_MAX_US);
        if self.cache.bytes() > 0 && self.last_arrival.is_none_or(old) {
            self.cache.release();
            self.gop = None;
        }
    }

    /// Nobody begins with what came so far.
    pub(crate) fn forget_gop(&mut self) {
        self.gop = None;
    }

    /// The last keyframe and what followed it, if a viewer can begin with it: nothing is missing, and it is at most ten seconds old.
    pub(crate) fn gop(&self, now_us: u64) -> Option<Gop> {
        let highest = self.highest?;
        self.gop.filter(|gop| {
            gop.age_us(now_us) <= gop::AGE_MAX_US
                && gop.is_whole(highest, self.nack.missing())
                && self.cache.contains(gop.first)
        })
    }

    /// Follows the worker that receives this encoding into another sequence space.
    pub(crate) fn follow(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.cache.clear();
            self.sender_report = None;
            self.highest = None;
            self.newest = None;
            self.gop = None;
            self.layers.iter_mut().for_each(|layers| layers.clear());
        }
    }

    /// RTP time of this encoding at the server's NTP time `ntp`: from sender reports (`offset` maps the sender's clock to ours), else from arrivals.
    pub(crate) fn rtp_at(&self, clock: &MediaClock, ntp: u64, offset: Option<i64>) -> Option<u32> {
        if let (Some(report), Some(offset)) = (self.sender_report, offset) {
            let sent = report.ntp.wrapping_add_signed(offset);
            let ticks = ntp_diff_to_rtp(ntp.wrapping_sub(sent) as i64, self.clock_rate);
            return Some(report.rtp.wrapping_add(ticks as u32));
        }
        let (rtp, arrival) = self.newest?;
        let ticks = ntp_diff_to_rtp(ntp.wrapping_sub(clock.ntp(arrival)) as i64, self.clock_rate);
        Some(rtp.wrapping_add(ticks as u32))
    }

    /// A report block's values since the last call; `None` before the first packet.
    pub(crate) fn report(&mut self) -> Option<ReportValues> {
        let highest = self.highest?;
        let r = &mut self.reception;
        let expected = highest + 1 - r.base.min(highest);
        let lost = expected.saturating_sub(r.received);
        let expected_interval = expected.saturating_sub(r.expected_prior);
        let received_interval = r.received.saturating_sub(r.received_prior);
        r.expected_prior = expected;
        r.received_prior = r.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        Some(ReportValues {
            fraction_lost: fraction.min(255) as u8,
            total_lost: lost.min(0x7f_ffff) as u32,
            highest: highest.wrapping_sub(0x1_0000) as u32,
            jitter: r.jitter as u32,
        })
    }

    /// Packets that never came.
    pub(crate) fn lost(&self) -> u64 {
        self.highest.map_or(0, |highest| {
            (highest + 1)
                .saturating_sub(self.reception.base)
                .saturating_sub(self.reception.received + self.reception.returned)
        })
    }

    /// RFC 3550 jitter in seconds.
    pub(crate) fn jitter_seconds(&self) -> f64 {
        self.reception.jitter / f64::from(self.clock_rate.max(1))
    }
}

impl Reception {
    fn count(
        &mut self,
        now: Instant,
        clock: &MediaClock,
        header: &RtpHeader,
        codec: &ReceiveCodec,
        payload: u16,
        came: Came,
    ) {
        self.packets += 1;
        self.bytes += u64::from(payload);
        if came != Came::Sent {
            self.returned += 1;
            return;
        }
        self.received += 1;
        let arrival = (clock.micros(now) as i128 * i128::from(codec.clock_rate) / 1_000_000) as i64;
        let transit = arrival.wrapping_sub(i64::from(header.timestamp));
        if let Some(last) = self.transit.replace(transit) {
            // The 32-bit timestamp may have wrapped between the two.
            let d = f64::from((transit.wrapping_sub(last) as i32).unsigned_abs());
            if d < f64::from(codec.clock_rate) * 10.0 {
                self.jitter += (d - self.jitter) / 16.0;
            }
        }
    }
}

/// One decrypted packet on its way into the cache.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    /// With the original sequence number and payload type when RTX or RED was around it.
    pub(crate) header: &'a RtpHeader,
    pub(crate) codec: &'a ReceiveCodec,
    pub(crate) packet: CachedPacket,
    pub(crate) bytes: &'a [u8],
    pub(crate) came: Came,
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// As it was sent.
    Sent,
    /// RTX brought it.
    Resent,
    /// FEC brought it.
    Rebuilt,
}

/// What one packet brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) seq: u64,
    pub(crate) gap: Gap,
    /// Time from the first request to the retransmission.
    pub(crate) rtt: Option<Duration>,
    /// A receiver can start here.
    pub(crate) keyframe: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::params::{Codec, Feedback, Layer};
    use crate::producer::packet::{CARRIED, DESCRIPTOR, Slice};
    use crate::producer::samples::{Frame, Mode};
    use sfu_rtp::HeaderFields;

    const MODE: Mode = Mode { spatial: 2, temporal: 2, key: false, offset: 3 };
    const CODEC: ReceiveCodec = ReceiveCodec {
        payload_type: 45,
        rtx_payload_type: None,
        codec: Codec::Av1,
        clock_rate: 90_000,
        feedback: Feedback { nack: true, pli: true, fir: false, transport_cc: false, remb: false },
    };

    /// Packet `seq` of a frame, 100 bytes of payload.
    fn receive(encoding: &mut Encoding, at: Duration, epoch: Instant, seq: u16, frame: Frame) {
        receive_as(Came::Sent, encoding, (at, epoch), seq, frame).unwrap();
    }

    fn receive_as(
        came: Came,
        encoding: &mut Encoding,
        (at, epoch): (Duration, Instant),
        seq: u16,
        frame: Frame,
    ) -> Result<Received, DropReason> {
        let clock = MediaClock::new(epoch, 0);
        let mut bytes = vec![0; 12];
        let timestamp = u32::from(frame.number) * 3000;
        let fields = HeaderFields { sequence_number: seq, timestamp, ..HeaderFields::default() };
        let at_header = sfu_rtp::write_header(&mut bytes, &fields);
        // The value may stand anywhere in the packet.
        bytes.extend(MODE.descriptor(frame));
        let mut carried = [Slice::default(); CARRIED.len()];
        carried[DESCRIPTOR] = Slice::new(at_header, bytes.len() - at_header);
        let start = bytes.len();
        bytes.extend_from_slice(if frame.key { &[0x18, 0x08] } else { &[0x10, 0x30] });
        bytes.resize(start + 100, 0);
        let mut header = RtpHeader::parse_prefix(&bytes).unwrap();
        header.payload_start = start as u16;
        let packet = CachedPacket::new(&header, &bytes, carried);
        let incoming = Incoming { header: &header, codec: &CODEC, packet, bytes: &bytes, came };
        encoding.receive(epoch + at, &clock, incoming)
    }

    fn frame(spatial: u8, temporal: u8, number: u16) -> Frame {
        Frame { layer: Layer { spatial, temporal }, number, ..Frame::default() }
    }

    #[test]
    fn what_a_probe_repeats_after_a_pause_is_not_the_first_of_what_follows() {
        let epoch = Instant::now();
        let mut encoding = Encoding::new(&EncodingParams::default(), MediaKind::Video, 90_000);
        receive(&mut encoding, Duration::ZERO, epoch, 9, frame(0, 1, 1));
        let after = |ms| (Duration::from_millis(ms), epoch);
        let probe = receive_as(Came::Resent, &mut encoding, after(500), 10, frame(0, 1, 2));
        assert_eq!(
            probe.map(|received| received.gap).ok(),
            Some(Gap::None),
            "a tail that was lost"
        );
        let probe = receive_as(Came::Resent, &mut encoding, after(5000), 40, frame(0, 1, 32));
        assert_eq!(probe.err(), Some(DropReason::TooOld));
        let next = receive_as(Came::Sent, &mut encoding, after(5010), 90, frame(0, 1, 82)).unwrap();
        assert_eq!((next.gap, encoding.nack.missing()), (Gap::TooWide, 0));
    }

    #[test]
    fn packets_that_overtook_their_structure_are_read_again() {
        let epoch = Instant::now();
        let mut encoding = Encoding::new(&EncodingParams::default(), MediaKind::Video, 90_000);
        receive(&mut encoding, Duration::ZERO, epoch, 9, frame(0, 1, 1));
        let info = |encoding: &Encoding, seq: u64| {
            let (packet, _) = encoding.cache.get(0x1_0000 + seq).unwrap();
            (packet.info.spatial, packet.info.temporal, packet.dependency.targets)
        };
        receive(&mut encoding, Duration::ZERO, epoch, 11, frame(1, 1, 3));
        assert_eq!(info(&encoding, 11), (0, 0, 0));
        let key = Frame { key: true, structure: true, ..frame(0, 0, 2) };
        receive(&mut encoding, Duration::ZERO, epoch, 10, key);
        assert_eq!(info(&encoding, 11), (1, 1, 4));
        assert_eq!(info(&encoding, 9), (0, 0, 0), "it came before");
    }

    #[test]
    fn layers_have_their_rates() {
        let epoch = Instant::now();
        let params = EncodingParams { size: Some((99, 99)), ..EncodingParams::default() };
        let mut encoding = Encoding::new(&params, MediaKind::Video, 90_000);
        let mut seq = 0;
        for number in 0..100_u16 {
            for spatial in 0..2 {
                let key = number == 0 && spatial == 0;
                let of = frame(spatial, (number % 2) as u8, number);
                let at = Duration::from_millis(u64::from(number) * 20);
                receive(&mut encoding, at, epoch, seq, Frame { key, structure: key, ..of });
                seq += 1;
            }
        }
        let rates: Vec<LayerRate> = encoding.layers(2_000_000).collect();
        assert_eq!(rates.len(), 4);
        for (rate, (spatial, temporal)) in rates.iter().zip([(0, 0), (0, 1), (1, 0), (1, 1)]) {
            let size = Some(if spatial == 0 { (640, 360) } else { (1280, 720) });
            let expected =
                LayerRate { spatial, temporal, bits_per_second: 20_000, size, fps: 25.0 };
            assert_eq!(*rate, expected);
        }
    }
}
