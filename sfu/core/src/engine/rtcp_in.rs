//! RTCP from the network. It acts only on the sender's own streams and slots.

use super::Engine;
use crate::consumer::Consumer;
use crate::drop_reason::DropReason;
use crate::egress::{Datagram, Egress};
use crate::forward::{self, Flush};
use crate::params::MediaKind;
use crate::producer::encoding::SenderReportTime;
use crate::transport::streams::Route;
use rtcp::goodbye::Goodbye;
use rtcp::packet::Packet;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use sfu_rtp::rtcp::{
    GOODBYE, PAYLOAD_FEEDBACK, RECEIVER_REPORT, SENDER_REPORT, TRANSPORT_FEEDBACK,
};
use sfu_rtp::{RtcpPacket, TransportFeedback};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Generic NACK (RFC 4585 section 6.2.1).
const NACK: u8 = 1;
/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
const TRANSPORT_WIDE: u8 = 15;
/// Picture loss indication (RFC 4585 section 6.3.1).
const PLI: u8 = 1;
/// Full intra request (RFC 5104 section 4.3.1).
const FIR: u8 = 4;
/// Application layer feedback (RFC 4585 section 6.4): REMB.
const APPLICATION: u8 = 15;
/// Few bytes name many packets: so many may all NACKs of one datagram name.
const NACKS_MAX: usize = 1024;
/// And so many all its transport feedback.
const STATUSES_MAX: usize = 8192;
/// A transport feedback that names fewer counts as this many.
const STATUSES_MIN: usize = 256;

type Boxed = Box<dyn Packet + Send + Sync>;

impl Engine {
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        datagram: Datagram<'_>,
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let Datagram { tuple, arrival, bytes: datagram } = datagram;
        let key = self.demux.transport_of(&tuple).ok_or(DropReason::UnknownTuple)?;
        let transport = &mut self.transports[key];
        let elsewhere = transport.hears_elsewhere(arrival, &tuple);
        let srtp = transport.srtp_in.as_mut().ok_or(DropReason::BeforeKeys)?;
        let len = srtp.unprotect_rtcp(datagram)?;
        if elsewhere {
            transport.follow(arrival, &tuple);
        }
        let (mut statuses, mut nacks) = (STATUSES_MAX, NACKS_MAX);
        for packet in sfu_rtp::compound(&datagram[..len]) {
            if (packet.packet_type, packet.count) == (TRANSPORT_FEEDBACK, TRANSPORT_WIDE) {
                let feedback =
                    TransportFeedback::parse(&packet).map_err(|_| DropReason::BadRtcp)?;
                statuses = statuses
                    .checked_sub(usize::from(feedback.status_count).max(STATUSES_MIN))
                    .ok_or(DropReason::BadRtcp)?;
                self.handle_transport_feedback(arrival, key, &feedback);
                continue;
            }
            // Not by the library, which panics where more SSRCs are promised than follow.
            if (packet.packet_type, packet.count) == (PAYLOAD_FEEDBACK, APPLICATION) {
                self.handle_remb(arrival, key, &packet);
                continue;
            }
            let wanted = matches!(
                (packet.packet_type, packet.count),
                (SENDER_REPORT | RECEIVER_REPORT | GOODBYE, _)
                    | (TRANSPORT_FEEDBACK, NACK)
                    | (PAYLOAD_FEEDBACK, PLI | FIR)
            );
            if wanted {
                self.handle_rtcp_packet((now, arrival), key, &parse(&packet)?, &mut nacks, egress);
            }
        }
        Ok(())
    }

    fn handle_rtcp_packet(
        &mut self,
        (now, arrival): (Instant, Instant),
        key: usize,
        packet: &Boxed,
        nacks: &mut usize,
        egress: &mut Egress<'_>,
    ) {
        let any = packet.as_any();
        if let Some(report) = any.downcast_ref::<SenderReport>() {
            self.handle_sender_report(arrival, key, report);
            self.handle_reports(arrival, key, &report.reports);
        } else if let Some(report) = any.downcast_ref::<ReceiverReport>() {
            self.handle_reports(arrival, key, &report.reports);
        } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            self.handle_nack(now, key, (nack, nacks), egress);
        } else if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
            self.handle_keyframe_request(now, key, pli.media_ssrc);
        } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
            for entry in &fir.fir {
                self.handle_keyframe_request(now, key, entry.ssrc);
            }
        } else if let Some(bye) = any.downcast_ref::<Goodbye>() {
            for ssrc in &bye.sources {
                self.handle_goodbye(key, *ssrc);
            }
        }
    }

    fn handle_sender_report(&mut self, arrival: Instant, key: usize, report: &SenderReport) {
        let transport = &mut self.transports[key];
        let route = transport.streams.iter().find(|stream| stream.ssrc == report.ssrc);
        let Some(&Route::Media { producer, encoding }) = route.map(|stream| &stream.route) else {
            return;
        };
        // A zero NTP time means that the sender has no clock (RFC 3550 section 6.4.1).
        if report.ntp_time == 0 {
            return;
        }
        transport.sender_clock(self.clock.ntp(arrival), report.ntp_time);
        let clock = transport.ntp_offset;
        self.producers[producer].encodings[usize::from(encoding)].sender_report =
            Some(SenderReportTime { ntp: report.ntp_time, rtp: report.rtp_time, arrival });
        self.note_sender_report(key, producer, encoding, clock);
    }

    fn handle_reports(&mut self, arrival: Instant, key: usize, reports: &[ReceptionReport]) {
        let mut worst = None;
        let downlink = self.transports[key].downlink.as_ref();
        let queued = downlink.is_some_and(|d| !d.is_calm(self.clock.micros(arrival)));
        for report in reports {
            let Some(consumer) = self.consumer_by_ssrc(key, report.ssrc) else { continue };
            let rtt = round_trip(self.clock.ntp(arrival), report);
            let now_us = self.clock.micros(arrival);
            let delivery = &mut self.consumers[consumer].delivery;
            delivery.redundancy.report(now_us, report.fraction_lost, queued);
            delivery.fraction_lost = report.fraction_lost;
            delivery.rtt = rtt.or(delivery.rtt);
            if let Some(rtt) = rtt {
                self.transports[key].measured_rtt(rtt);
            }
            let video = self.consumers[consumer].params.kind == MediaKind::Video;
            worst = worst.max(video.then_some(report.fraction_lost));
        }
        let now_us = self.clock.micros(arrival);
        let transport = &mut self.transports[key];
        let rtt_us = transport.rtt.map(|rtt| rtt.as_micros() as u64);
        if let (Some(lost), Some(downlink)) = (worst, &mut transport.downlink) {
            downlink.receiver_report(now_us, lost, rtt_us);
            self.after_estimate(arrival, key);
        }
    }

    /// draft-alvestrand-rmcat-remb-03: what the receiver believes that the link carries, these SSRCs together.
    fn handle_remb(&mut self, arrival: Instant, key: usize, packet: &RtcpPacket<'_>) {
        let Some(rate) = packet.remb() else { return };
        if !self.transports[key].downlink.as_ref().is_some_and(|it| it.takes_remb()) {
            return;
        }
        let now_us = self.clock.micros(arrival);
        let about = packet.remb_ssrcs().next().unwrap_or(0);
        let named = |ssrc: u32| packet.remb_ssrcs().any(|one| one == ssrc);
        let beside = self.bitrate_beside(now_us, key, named);
        if let Some(downlink) = &mut self.transports[key].downlink {
            downlink.remb(now_us, (about, rate), beside);
            self.after_estimate(arrival, key);
        }
    }

    fn handle_nack(
        &mut self,
        now: Instant,
        key: usize,
        (nack, left): (&TransportLayerNack, &mut usize),
        egress: &mut Egress<'_>,
    ) {
        let Some(at) = self.consumer_by_ssrc(key, nack.media_ssrc) else { return };
        let consumer = &mut self.consumers[at];
        let Some(producer) =
            consumer.bound.as_ref().and_then(|bound| self.producers.get(bound.producer))
        else {
            return;
        };
        let mut flush = Flush::new(now, &self.clock, egress, &mut self.drops, &mut self.counters);
        let transport = &mut self.transports[key];
        let numbers = nack.nacks.iter().flat_map(|pair| pair.packet_list());
        for seq in numbers {
            let Some(rest) = left.checked_sub(1) else { break };
            *left = rest;
            if let Err(reason) = forward::retransmit(&mut flush, producer, consumer, transport, seq)
            {
                flush.drops.count(reason);
            }
        }
        // A receiver would ask in vain for seconds before it asks for that.
        let (stale, broken) =
            (std::mem::take(&mut consumer.stale), std::mem::take(&mut consumer.broken));
        if stale {
            consumer.restart();
            self.wish_keyframe_for(now, at);
        } else if broken {
            self.handle_keyframe_request(now, key, nack.media_ssrc);
        }
    }

    fn handle_keyframe_request(&mut self, now: Instant, key: usize, ssrc: u32) {
        let Some(consumer) = self.consumer_by_ssrc(key, ssrc) else { return };
        let consumer = &mut self.consumers[consumer];
        let Some(producer) = consumer.bound.as_ref().map(|bound| bound.producer) else { return };
        if let Some(from) = self.producers.get(producer)
            && consumer.replay_again(from, self.clock.micros(now))
        {
            self.start_replay(now, key);
            return;
        }
        // What is shown, or else what should be.
        let shown = consumer.selector.current().map(|source| source.encoding);
        let target = || self.producers.get(producer).and_then(|p| consumer.selector.target(p));
        if let Some(encoding) = shown.or_else(target) {
            self.request_keyframes(now, producer, 1 << encoding);
        }
    }

    fn handle_goodbye(&mut self, key: usize, ssrc: u32) {
        let route = self.transports[key].streams.iter().find(|s| s.ssrc == ssrc).map(|s| s.route);
        if let Some(Route::Media { producer, encoding }) = route {
            let producer = &mut self.producers[producer];
            producer.flowing &= !(1 << encoding);
            producer.encodings[usize::from(encoding)].last_arrival = None;
        }
        if let Some(producer) = route.and_then(Route::producer) {
            self.tell_pipes(producer);
        }
    }

    fn consumer_by_ssrc(&self, key: usize, ssrc: u32) -> Option<usize> {
        let owns = |&&consumer: &&usize| {
            let params: &Consumer = &self.consumers[consumer];
            params.params.ssrc == ssrc || params.params.rtx_ssrc == Some(ssrc)
        };
        self.transports[key].consumers.iter().find(owns).copied()
    }
}

/// One packet through the `rtcp` crate. A panic there is one dropped packet.
fn parse(packet: &RtcpPacket<'_>) -> Result<Boxed, DropReason> {
    // A NACK of 8 bytes makes it panic.
    if !packet.is_whole() {
        return Err(DropReason::BadRtcp);
    }
    let mut bytes = packet.bytes;
    let parsed = catch_unwind(AssertUnwindSafe(|| rtcp::packet::unmarshal(&mut bytes)))
        .map_err(|_| DropReason::Panicked)?;
    parsed.ok().and_then(|mut packets| packets.pop()).ok_or(DropReason::BadRtcp)
}

/// RFC 3550 section 6.4.1, figure 2.
fn round_trip(now_ntp: u64, report: &ReceptionReport) -> Option<Duration> {
    if report.last_sender_report == 0 {
        return None;
    }
    let now = (now_ntp >> 16) as u32;
    let rtt = now.wrapping_sub(report.last_sender_report).wrapping_sub(report.delay);
    // Negative by rounding: the peer is next door.
    if rtt > 0x8000_0000 {
        return Some(Duration::ZERO);
    }
    let rtt = Duration::from_nanos((u64::from(rtt) * 1_000_000_000) >> 16);
    (rtt < Duration::from_secs(10)).then_some(rtt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_is_now_minus_last_report_minus_delay() {
        let second = 1_u64 << 32;
        let report = ReceptionReport {
            last_sender_report: ((100 * second) >> 16) as u32,
            delay: 1 << 15,
            ..ReceptionReport::default()
        };
        let now = 100 * second + second * 3 / 5;
        let rtt = round_trip(now, &report).expect("reported");
        assert!(rtt.as_millis().abs_diff(100) <= 1, "{rtt:?}");
        assert_eq!(round_trip(now, &ReceptionReport::default()), None);
        let early = round_trip(100 * second, &report).expect("reported");
        assert_eq!(early, Duration::ZERO);
    }
}
