//! What one peer receives: gaps by the clear header, delay by a decrypted sample, and the feedback that a browser would send.

use std::time::Instant;

use sfu_core::transport::srtp::SrtpReceiver;
use sfu_rtp::extension::read_transport_sequence;
use sfu_rtp::transport_feedback::PACKET_LEN_MAX;
use sfu_rtp::{RtpHeader, SequenceExtender, TransportFeedbackBuilder};

use crate::clock::ntp;
use crate::publication::sent_at;
use crate::repair::Repair;
use crate::stats::Stats;
use crate::target::{Kind, RemoteSection};

/// libwebrtc's SSRC where nothing is sent.
pub(crate) const RTCP_SENDER_SSRC: u32 = 1;
/// An arrival log that nobody reads does not grow.
const ARRIVALS_MAX: usize = 8192;

/// Counters since the peer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Media packets, without retransmissions.
    pub(crate) received: u64,
    /// By sequence numbers: from the first to the highest.
    pub(crate) expected: u64,
    /// Retransmissions.
    pub(crate) resent: u64,
    /// Packets of the sample whose bytes were wrong, or that did not decrypt.
    pub(crate) corrupt: u64,
    /// Packets of the sample that were right.
    pub(crate) compared: u64,
}

/// What a payload type means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Media(Kind),
    Rtx,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    kind: Kind,
    extender: SequenceExtender,
    first: u64,
    received: u64,
    /// A frame came whole.
    framed: bool,
    /// Of the last receiver report: expected, received.
    reported: (u64, u64),
    /// RFC 3550 section 6.4.1, in clock ticks times 16.
    jitter: u64,
    transit: Option<i64>,
    /// Middle 32 bits of the last sender report's NTP time, and when it came.
    sender_report: Option<(u32, u64)>,
}

/// See the module.
pub(crate) struct Reception {
    formats: [Option<Format>; 128],
    transport_cc: Option<u8>,
    streams: Vec<Stream>,
    feedback: TransportFeedbackBuilder,
    transport: SequenceExtender,
    /// Transport-wide number of the first entry of `arrivals`; that of the first packet to begin with.
    base: Option<u64>,
    /// In µs.
    arrivals: Vec<Option<u64>>,
    sample_every: u64,
    seen: u64,
    counts: Counts,
    run: (u64, usize),
    scratch: Vec<u8>,
    /// Present when packets are to be lost.
    pub(crate) repair: Option<Repair>,
}

impl Reception {
    /// Decrypts each `sample_every`th packet, beginning at another one for each `phase`.
    pub(crate) fn new(sections: &[RemoteSection], sample_every: u64, phase: u64) -> Self {
        let mut formats = [None; 128];
        for section in sections {
            formats[usize::from(section.payload_type & 127)] = Some(Format::Media(section.kind));
            if let Some(rtx) = section.rtx_payload_type {
                formats[usize::from(rtx & 127)] = Some(Format::Rtx);
            }
        }
        Self {
            formats,
            transport_cc: sections.iter().find_map(|section| section.extensions.transport_cc),
            streams: Vec::new(),
            feedback: TransportFeedbackBuilder::new(RTCP_SENDER_SSRC, 0),
            transport: SequenceExtender::default(),
            base: None,
            arrivals: Vec::new(),
            sample_every,
            seen: phase,
            counts: Counts::default(),
            run: (0, 0),
            scratch: Vec::new(),
            repair: None,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.counts;
        for stream in &self.streams {
            counts.received += stream.received;
            counts.expected += stream.expected();
        }
        counts
    }

    /// Did a frame come whole?
    pub(crate) fn has_frame(&self) -> bool {
        self.streams.iter().any(|stream| stream.framed)
    }

    /// SSRCs of media that came.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Takes an RTP packet that arrived at `arrival` (wall clock, ns).
    pub(crate) fn handle_rtp(
        &mut self,
        now: Instant,
        packet: &[u8],
        arrival: u64,
        srtp: &mut SrtpReceiver,
        stats: &mut Stats,
    ) {
        self.count_run(arrival, stats);
        if self.repair.as_mut().is_some_and(Repair::drops) {
            return;
        }
        let Ok(header) = RtpHeader::parse_prefix(packet) else {
            self.counts.corrupt += 1;
            return;
        };
        let mut extensions = header.extensions(packet);
        let number = self.transport_cc.and_then(|own| extensions.find(|(id, _)| *id == own));
        if let Some(number) = number.and_then(|(_, value)| read_transport_sequence(value)) {
            self.log_arrival(number, arrival / 1000);
        }
        match self.formats[usize::from(header.payload_type & 127)] {
            Some(Format::Media(kind)) => {
                if self.count(now, &header, kind, arrival) {
                    self.sample(packet, &header, kind, arrival, srtp, stats);
                }
            }
            Some(Format::Rtx) => self.handle_rtx(now, packet, &header, srtp),
            None => self.counts.corrupt += 1,
        }
    }

    /// Is it new, rather than one that was asked for again?
    fn count(&mut self, now: Instant, header: &RtpHeader, kind: Kind, arrival: u64) -> bool {
        let ssrc = header.ssrc;
        let Self { streams, repair, feedback, counts, .. } = self;
        feedback.media_ssrc = ssrc;
        let index = match streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(index) => index,
            None => {
                streams.push(Stream::new(ssrc, kind));
                streams.len() - 1
            }
        };
        let stream = &mut streams[index];
        if let Some(repair) = repair {
            if repair.found(now, ssrc, header.sequence_number) {
                counts.resent += 1;
                return false;
            }
            let next = stream.extender.highest().map(|highest| (highest as u16).wrapping_add(1));
            let gap = next.map_or(0, |next| header.sequence_number.wrapping_sub(next));
            if let Some(next) = next.filter(|_| gap < 0x8000) {
                repair.miss(now, ssrc, next, header.sequence_number);
            }
        }
        stream.count(header, arrival);
        true
    }

    fn sample(
        &mut self,
        packet: &[u8],
        header: &RtpHeader,
        kind: Kind,
        arrival: u64,
        srtp: &mut SrtpReceiver,
        stats: &mut Stats,
    ) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.sample_every) {
            return;
        }
        let sent = self.open(packet, header, srtp).and_then(|payload| sent_at(kind, payload));
        match sent {
            Some(sent) => {
                self.counts.compared += 1;
                stats.record_delay(kind, arrival.saturating_sub(sent));
            }
            None => self.counts.corrupt += 1,
        }
    }

    fn open(
        &mut self,
        packet: &[u8],
        header: &RtpHeader,
        srtp: &mut SrtpReceiver,
    ) -> Option<&[u8]> {
        self.scratch.clear();
        self.scratch.extend_from_slice(packet);
        let start = usize::from(header.payload_start);
        let (ssrc, number) = (header.ssrc, header.sequence_number);
        let opened = srtp.unprotect_rtp(&mut self.scratch, start, ssrc, number).ok()?;
        self.scratch.get(start..opened.len)
    }

    /// RFC 4588 section 4: the payload begins with the number that was lost.
    fn handle_rtx(
        &mut self,
        now: Instant,
        packet: &[u8],
        header: &RtpHeader,
        srtp: &mut SrtpReceiver,
    ) {
        self.counts.resent += 1;
        if self.repair.is_none() {
            return;
        }
        let number = self
            .open(packet, header, srtp)
            .and_then(|payload| payload.first_chunk())
            .map(|number| u16::from_be_bytes(*number));
        let Some(number) = number else {
            self.counts.corrupt += 1;
            return;
        };
        // Which stream it repairs is not asked: with several of them one number in 65536 is confused.
        if let Some(repair) = &mut self.repair {
            let mut streams = self.streams.iter();
            streams.any(|stream| repair.found(now, stream.ssrc, number));
        }
    }

    fn count_run(&mut self, arrival: u64, stats: &mut Stats) {
        if self.run.0 == arrival {
            self.run.1 += 1;
            return;
        }
        stats.record_run(self.run.1);
        self.run = (arrival, 1);
    }

    fn log_arrival(&mut self, number: u16, arrival_us: u64) {
        let number = self.transport.extend(number);
        let base = *self.base.get_or_insert(number);
        let Some(index) = number.checked_sub(base) else { return };
        let index = index as usize;
        if index < ARRIVALS_MAX {
            if self.arrivals.len() <= index {
                self.arrivals.resize(index + 1, None);
            }
            self.arrivals[index] = Some(arrival_us);
        }
    }

    /// A sender report came.
    pub(crate) fn handle_sender_report(&mut self, ssrc: u32, ntp_middle: u32, arrival: u64) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
            stream.sender_report = Some((ntp_middle, arrival));
        }
    }

    /// Transport-wide feedback for what arrived since the last one, one packet per call to `send`.
    pub(crate) fn transport_feedback(&mut self, mut send: impl FnMut(&[u8])) {
        let mut buf = [0; PACKET_LEN_MAX];
        let Some(base) = &mut self.base else { return };
        while let Some(written) =
            self.feedback.write(&mut buf, *base as u16, self.arrivals.iter().copied())
        {
            if written.len > 0 {
                send(&buf[..written.len]);
            }
            *base += written.consumed as u64;
            self.arrivals.drain(..written.consumed);
        }
    }

    /// A receiver report (RFC 3550 section 6.4.2) on all streams; `None` while there are none.
    pub(crate) fn receiver_report(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.streams.is_empty() {
            return None;
        }
        let count = self.streams.len().min(31);
        let mut report = vec![0x80 | count as u8, 201, 0, (1 + 6 * count) as u8];
        report.extend(RTCP_SENDER_SSRC.to_be_bytes());
        for stream in self.streams.iter_mut().take(count) {
            stream.write_report(&mut report, now);
        }
        Some(report)
    }
}

impl Stream {
    fn new(ssrc: u32, kind: Kind) -> Self {
        Self {
            ssrc,
            kind,
            extender: SequenceExtender::default(),
            first: 0,
            received: 0,
            framed: false,
            reported: (0, 0),
            jitter: 0,
            transit: None,
            sender_report: None,
        }
    }

    fn expected(&self) -> u64 {
        self.extender.highest().map_or(0, |highest| highest + 1 - self.first)
    }

    fn count(&mut self, header: &RtpHeader, arrival: u64) {
        let number = self.extender.extend(header.sequence_number);
        if self.received == 0 {
            self.first = number;
        }
        self.received += 1;
        self.framed |= header.marker && self.received == self.expected();
        let rate = if self.kind == Kind::Audio { 48 } else { 90 };
        let ticks = (arrival / 1000 * rate / 1000) as u32;
        let transit = i64::from(ticks.wrapping_sub(header.timestamp).cast_signed());
        if let Some(before) = self.transit.replace(transit) {
            self.jitter = self.jitter + (transit - before).unsigned_abs() - (self.jitter + 8) / 16;
        }
    }

    fn write_report(&mut self, report: &mut Vec<u8>, now: u64) {
        let (expected, received) = (self.expected(), self.received);
        let asked = expected.saturating_sub(self.reported.0);
        let came = received.saturating_sub(self.reported.1);
        self.reported = (expected, received);
        let fraction = (asked.saturating_sub(came) * 256).checked_div(asked).unwrap_or(0).min(255);
        let lost = expected.saturating_sub(received).min(0x7F_FFFF);
        let (last, delay) = self.sender_report.map_or((0, 0), |(middle, arrival)| {
            (middle, (ntp(now).wrapping_sub(ntp(arrival)) >> 16) as u32)
        });
        report.extend(self.ssrc.to_be_bytes());
        report.extend(((fraction << 24 | lost) as u32).to_be_bytes());
        // The extender begins one cycle up.
        let highest = self.extender.highest().unwrap_or(0).saturating_sub(1 << 16);
        for word in [highest as u32, (self.jitter / 16) as u32, last, delay] {
            report.extend(word.to_be_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::target::Extensions;
    use sfu_core::params::DtlsRole;
    use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile, SrtpSender};
    use sfu_rtp::{HeaderFields, TransportFeedback, compound, write_header};

    fn keys(role: DtlsRole) -> SrtpKeys {
        SrtpKeys::from_keying_material(SrtpProfile::AeadAes128Gcm, &[9; 56], role).unwrap()
    }

    fn reception(sample_every: u64) -> Reception {
        let extensions = Extensions { transport_cc: Some(3), ..Extensions::default() };
        let section = RemoteSection {
            kind: Kind::Video,
            mid: "0".to_owned(),
            payload_type: 96,
            rtx_payload_type: Some(97),
            extensions,
        };
        Reception::new(&[section], sample_every, 0)
    }

    fn packet(payload_type: u8, number: u16, payload: &[u8]) -> Vec<u8> {
        let ssrc = u32::from(payload_type);
        let fields =
            HeaderFields { sequence_number: number, ssrc, payload_type, ..Default::default() };
        let mut packet = vec![0; 12];
        write_header(&mut packet, &fields);
        packet.extend(payload);
        packet
    }

    fn sealed(payload_type: u8, number: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = packet(payload_type, number, payload);
        let len = packet.len();
        packet.resize(len + 16, 0);
        SrtpSender::new(&keys(DtlsRole::Server)).protect_rtp(&mut packet, 12, len, number.into());
        packet
    }

    #[test]
    fn gaps_are_losses() {
        let mut srtp = SrtpReceiver::new(&keys(DtlsRole::Client));
        let (mut reception, mut stats) = (reception(u64::MAX), Stats::new().unwrap());
        for number in [65_534u16, 65_535, 1, 0, 4] {
            let packet = packet(96, number, &[0; 28]);
            reception.handle_rtp(Instant::now(), &packet, 1_000_000, &mut srtp, &mut stats);
        }
        let counts = reception.counts();
        assert_eq!((counts.received, counts.expected), (5, 7));
        let report = reception.receiver_report(2_000_000).unwrap();
        assert_eq!(report.len(), 32);
        assert_eq!(report[12..16], [(2 * 256 / 7) as u8, 0, 0, 2]);
        assert_eq!(report[16..20], [0, 1, 0, 4]);
    }

    #[test]
    fn a_sample_with_wrong_bytes_is_corrupt() {
        let mut srtp = SrtpReceiver::new(&keys(DtlsRole::Client));
        let (mut reception, mut stats) = (reception(1), Stats::new().unwrap());
        let mut payload = [0; 40];
        payload[14..22].copy_from_slice(&1_000_000u64.to_be_bytes());
        payload[26..28].copy_from_slice(&40u16.to_be_bytes());
        let mut take = |packet: &[u8]| {
            reception.handle_rtp(Instant::now(), packet, 4_000_000, &mut srtp, &mut stats);
            (reception.counts.compared, reception.counts.corrupt)
        };
        assert_eq!(take(&sealed(96, 1, &payload)), (1, 0));
        let mut forged = sealed(96, 2, &payload);
        forged[30] ^= 1;
        assert_eq!(take(&forged), (1, 1));
        payload[39] = 1;
        assert_eq!(take(&sealed(96, 3, &payload)), (1, 2));
        assert_eq!(take(&packet(50, 4, &payload)), (1, 3));
        assert!((stats.delay_ms(Kind::Video, 0.5) - 3.0).abs() < 0.01);
    }

    #[test]
    fn what_was_lost_is_made_up_for() {
        let mut srtp = SrtpReceiver::new(&keys(DtlsRole::Client));
        let (mut reception, mut stats) = (reception(u64::MAX), Stats::new().unwrap());
        reception.repair = Some(Repair::new(0.0, 1));
        let now = Instant::now();
        for packet in [
            packet(96, 10, &[0; 28]),
            packet(96, 13, &[0; 28]),
            sealed(97, 7, &[0, 11, 1, 2]),
            packet(96, 12, &[0; 28]),
        ] {
            reception.handle_rtp(now, &packet, 1_000_000, &mut srtp, &mut stats);
        }
        let counts = reception.repair.as_ref().unwrap().counts;
        assert_eq!((counts.missed, counts.repaired), (2, 2));
        let counts = reception.counts();
        assert_eq!((counts.received, counts.expected, counts.resent), (2, 4, 2));
    }

    #[test]
    fn feedback_tells_what_arrived_once() {
        let mut reception = reception(1);
        for number in [65_535u16, 1, 2] {
            reception.log_arrival(number, 1_000_000);
        }
        let mut packets = Vec::new();
        reception.transport_feedback(|packet| packets.push(packet.to_vec()));
        reception.transport_feedback(|packet| packets.push(packet.to_vec()));
        assert_eq!(packets.len(), 1);
        let packet = compound(&packets[0]).next().unwrap();
        let feedback = TransportFeedback::parse(&packet).unwrap();
        assert_eq!((feedback.base_sequence, feedback.status_count), (65_535, 4));
        reception.log_arrival(4, 2_000_000);
        reception.transport_feedback(|packet| packets.push(packet.to_vec()));
        let packet = compound(&packets[1]).next().unwrap();
        assert_eq!(TransportFeedback::parse(&packet).unwrap().base_sequence, 3);
    }
}
