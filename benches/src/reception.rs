//! What one peer receives: gaps by the clear header, delay by a decrypted sample, and the feedback that a browser would send.

use sfu_core::transport::srtp::SrtpReceiver;
use sfu_rtp::extension::read_transport_sequence;
use sfu_rtp::transport_feedback::PACKET_LEN_MAX;
use sfu_rtp::{RtpHeader, SequenceExtender, TransportFeedbackBuilder};

use crate::clock::ntp;
use crate::publication::sent_at;
use crate::sdp::{EXT_TRANSPORT_CC, Kind, OPUS, VP8_RTX};

/// libwebrtc's SSRC where nothing is sent.
pub(crate) const RTCP_SENDER_SSRC: u32 = 1;
/// Run lengths that are told apart; longer ones count as the last.
pub(crate) const RUNS: usize = 16;
/// An arrival log that nobody reads does not grow.
const ARRIVALS_MAX: usize = 8192;

/// Counters since the peer was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Media packets, without retransmissions.
    pub(crate) received: u64,
    /// By sequence numbers: from the first to the highest.
    pub(crate) expected: u64,
    /// Retransmissions.
    pub(crate) repairs: u64,
    /// Packets of the sample whose bytes were wrong, or that did not decrypt.
    pub(crate) corrupt: u64,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    kind: Kind,
    extender: SequenceExtender,
    first: u64,
    received: u64,
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
    streams: Vec<Stream>,
    feedback: TransportFeedbackBuilder,
    transport: SequenceExtender,
    /// Transport-wide number of the first entry of `arrivals`; that of the first packet to begin with.
    base: Option<u64>,
    /// In µs.
    arrivals: Vec<Option<u64>>,
    sample_every: u64,
    seen: u64,
    repairs: u64,
    corrupt: u64,
    /// Delays of the sample in ns, by kind: audio, video.
    pub(crate) delays: [Vec<u64>; 2],
    /// Packets in runs of 1, 2, … that left the server in one GSO message: the kernel stamps its segments alike.
    pub(crate) runs: [u64; RUNS],
    run: (u64, usize),
    scratch: Vec<u8>,
}

impl Reception {
    /// Decrypts each `sample_every`th packet, beginning at another one for each `phase`.
    pub(crate) fn new(sample_every: u64, phase: u64) -> Self {
        Self {
            streams: Vec::new(),
            feedback: TransportFeedbackBuilder::new(RTCP_SENDER_SSRC, 0),
            transport: SequenceExtender::default(),
            base: None,
            arrivals: Vec::new(),
            sample_every,
            seen: phase,
            repairs: 0,
            corrupt: 0,
            delays: [Vec::new(), Vec::new()],
            runs: [0; RUNS],
            run: (0, 0),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts =
            Counts { repairs: self.repairs, corrupt: self.corrupt, ..Counts::default() };
        for stream in &self.streams {
            counts.received += stream.received;
            counts.expected += stream.expected();
        }
        counts
    }

    /// Takes an RTP packet that arrived at `arrival` (wall clock, ns).
    pub(crate) fn handle_rtp(&mut self, packet: &[u8], arrival: u64, srtp: &mut SrtpReceiver) {
        let Ok(header) = RtpHeader::parse_prefix(packet) else {
            self.corrupt += 1;
            return;
        };
        self.count_run(arrival);
        let number = header.extensions(packet).find(|(id, _)| *id == EXT_TRANSPORT_CC);
        if let Some(number) = number.and_then(|(_, value)| read_transport_sequence(value)) {
            self.log_arrival(number, arrival / 1000);
        }
        if header.payload_type == VP8_RTX {
            self.repairs += 1;
            return;
        }
        let kind = if header.payload_type == OPUS { Kind::Audio } else { Kind::Video };
        self.stream(header.ssrc, kind).count(&header, arrival);
        self.feedback.media_ssrc = header.ssrc;
        self.seen += 1;
        if self.seen.is_multiple_of(self.sample_every) {
            self.scratch.clear();
            self.scratch.extend_from_slice(packet);
            match delay(&mut self.scratch, &header, kind, arrival, srtp) {
                Some(delay) => self.delays[kind as usize].push(delay),
                None => self.corrupt += 1,
            }
        }
    }

    fn count_run(&mut self, arrival: u64) {
        if self.run.0 == arrival {
            self.run.1 += 1;
            return;
        }
        if let Some(index) = self.run.1.checked_sub(1) {
            self.runs[index.min(RUNS - 1)] += self.run.1 as u64;
        }
        self.run = (arrival, 1);
    }

    fn stream(&mut self, ssrc: u32, kind: Kind) -> &mut Stream {
        let index = match self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(index) => index,
            None => {
                self.streams.push(Stream {
                    ssrc,
                    kind,
                    extender: SequenceExtender::default(),
                    first: 0,
                    received: 0,
                    reported: (0, 0),
                    jitter: 0,
                    transit: None,
                    sender_report: None,
                });
                self.streams.len() - 1
            }
        };
        &mut self.streams[index]
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
    fn expected(&self) -> u64 {
        self.extender.highest().map_or(0, |highest| highest + 1 - self.first)
    }

    fn count(&mut self, header: &RtpHeader, arrival: u64) {
        let number = self.extender.extend(header.sequence_number);
        if self.received == 0 {
            self.first = number;
        }
        self.received += 1;
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

/// Decrypts a packet and compares its stamp with its arrival.
fn delay(
    packet: &mut [u8],
    header: &RtpHeader,
    kind: Kind,
    arrival: u64,
    srtp: &mut SrtpReceiver,
) -> Option<u64> {
    let start = usize::from(header.payload_start);
    let opened = srtp.unprotect_rtp(packet, start, header.ssrc, header.sequence_number).ok()?;
    let sent = sent_at(kind, packet.get(start..opened.len)?)?;
    Some(arrival.saturating_sub(sent))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::params::DtlsRole;
    use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile};
    use sfu_rtp::{HeaderFields, TransportFeedback, compound, write_header};

    #[test]
    fn gaps_are_losses() {
        let keys =
            SrtpKeys::from_keying_material(SrtpProfile::AeadAes128Gcm, &[9; 56], DtlsRole::Client);
        let mut srtp = SrtpReceiver::new(&keys.unwrap());
        let mut reception = Reception::new(u64::MAX, 0);
        for number in [65_534u16, 65_535, 1, 0, 4] {
            let mut packet = [0; 40];
            let fields = HeaderFields {
                sequence_number: number,
                ssrc: 7,
                payload_type: 96,
                ..Default::default()
            };
            write_header(&mut packet, &fields);
            reception.handle_rtp(&packet, 1_000_000, &mut srtp);
        }
        let counts = reception.counts();
        assert_eq!((counts.received, counts.expected), (5, 7));
        let report = reception.receiver_report(2_000_000).unwrap();
        assert_eq!(report.len(), 32);
        assert_eq!(report[12..16], [(2 * 256 / 7) as u8, 0, 0, 2]);
        assert_eq!(report[16..20], [0, 1, 0, 4]);
    }

    #[test]
    fn feedback_tells_what_arrived_once() {
        let mut reception = Reception::new(1, 0);
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
