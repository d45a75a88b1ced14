//! A publisher: one audio and one video track, in the way in which libwebrtc sends them.

use crate::endpoint::{Endpoint, Inbound, publisher_ids as ids};
use crate::fec;
use crate::net::{MS, Micros, SECOND};
use crate::stamp::Stamp;
use crate::svc::{self, Format};
use crate::tracks::{AUDIO_FRAME, Audio, FRAME, Frame, Layer, NOISE_FRAME, REPORTS, Video};
use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rtcp::packet::Packet as RtcpValue;
use rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtp::packet::Packet;

pub(crate) const VP8: u8 = 96;
pub(crate) const VP8_RTX: u8 = 97;
pub(crate) const VP9: u8 = 98;
pub(crate) const AV1: u8 = 45;
pub(crate) const RED: u8 = 116;
pub(crate) const ULPFEC: u8 = 118;
pub(crate) const OPUS: u8 = 111;
pub(crate) const OPUS_RED: u8 = 63;

/// MID and RID stand on packets of the first seconds only: senders stop once feedback came.
const LABELLED: Micros = 2 * SECOND;
/// Packets that can be resent.
const HISTORY: u64 = 1000;

/// Transport-wide numbers with their arrival in µs, `None` where lost.
type Statuses = Vec<(u16, Option<i64>)>;

pub(crate) struct Publisher {
    pub(crate) endpoint: Endpoint,
    pub(crate) video: Option<Video>,
    pub(crate) audio: Option<Audio>,
    /// NTP time of this machine at virtual time 0.
    pub(crate) ntp: u64,
    pub(crate) sender_reports: bool,
    /// Makes a keyframe so often, and none when asked.
    pub(crate) keyframe_period: Option<Micros>,
    pub(crate) keyframe_requests: Vec<(Micros, u32)>,
    /// Transport-wide numbers sent, with the time of sending.
    pub(crate) transport_sent: Vec<Micros>,
    /// Each feedback packet with the time when it came.
    pub(crate) feedback: Vec<(Micros, Statuses)>,
    pub(crate) resent: u64,
    rtt: Micros,
    pub(crate) transport_first: u16,
    rng: SmallRng,
    /// Probes: padding on RTX and packets on an SSRC that nobody announced, with every second frame.
    pub(crate) probes: bool,
    probe_seq: u64,
}

/// RFC 2198, section 3: what came 20 ms before, and what is new.
fn red(before: &[u8], payload: &[u8]) -> Vec<u8> {
    if before.is_empty() {
        return [&[OPUS], payload].concat();
    }
    let ticks = (AUDIO_FRAME * 48 / 1000) as u32;
    let block = u32::from(0x80 | OPUS) << 24 | ticks << 10 | before.len() as u32;
    [&block.to_be_bytes(), &[OPUS][..], before, payload].concat()
}

impl Publisher {
    pub(crate) fn new(endpoint: Endpoint, seed: u64, ntp: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        Self {
            endpoint,
            video: None,
            audio: None,
            ntp,
            sender_reports: true,
            keyframe_period: None,
            keyframe_requests: Vec::new(),
            transport_sent: Vec::new(),
            feedback: Vec::new(),
            resent: 0,
            rtt: 100 * MS,
            transport_first: rng.random(),
            rng,
            probes: false,
            probe_seq: 5,
        }
    }

    pub(crate) fn video(&mut self) -> &mut Video {
        self.video.as_mut().expect("a video track")
    }

    pub(crate) fn audio(&mut self) -> &mut Audio {
        self.audio.as_mut().expect("an audio track")
    }

    pub(crate) fn restart_video(&mut self, now: Micros) {
        let rng = &mut self.rng;
        for layer in &mut self.video.as_mut().expect("a video track").layers {
            layer.restart(rng, now);
        }
    }

    pub(crate) fn next_wake(&self) -> Micros {
        let mut next = self.endpoint.next_wake();
        if !self.endpoint.connected {
            return next;
        }
        if let Some(video) = &self.video {
            next = next.min(video.next_frame);
            next = video.paced.keys().next().map_or(next, |(at, _)| next.min(*at));
        }
        self.audio.as_ref().map_or(next, |audio| next.min(audio.next_frame))
    }

    pub(crate) fn wake(&mut self, now: Micros) {
        self.endpoint.wake(now);
        if !self.endpoint.connected {
            return;
        }
        while self.audio.as_ref().is_some_and(|audio| audio.next_frame <= now) {
            self.send_audio(now);
        }
        while self.video.as_ref().is_some_and(|video| video.next_frame <= now) {
            self.capture(now);
        }
        self.pace(now);
        self.report(now);
    }

    fn send_audio(&mut self, now: Micros) {
        let audio = self.audio.as_mut().expect("an audio track");
        let silent = audio.quiet || audio.dtx && now / SECOND % 2 == 1;
        let pause = if silent { NOISE_FRAME } else { AUDIO_FRAME };
        audio.next_frame = audio.next_frame.max(now) + pause;
        if !audio.enabled {
            return;
        }
        if audio.number == 0 {
            audio.since = now;
        }
        let stamp = Stamp {
            track: audio.track,
            frame: audio.number,
            count: 1,
            capture: now,
            ..Stamp::default()
        };
        let mut payload = vec![0xf8; audio.bytes + (audio.number % 7) as usize];
        stamp.write(&mut payload);
        audio.number += 1;
        let (format, payload) = match &mut audio.before {
            Some(before) => (OPUS_RED, red(&std::mem::replace(before, payload.clone()), &payload)),
            None => (OPUS, payload),
        };
        let mut packet = packet(format, audio.seq, audio.ssrc, payload);
        packet.header.timestamp = audio.timestamp_offset.wrapping_add((now * 48 / 1000) as u32);
        extend(&mut packet, ids::AUDIO_LEVEL, &[0x80 | audio.level]);
        if now < audio.since + LABELLED
            && let Some(mid) = audio.mid
        {
            extend(&mut packet, ids::MID, mid.as_bytes());
        }
        let seq = audio.seq;
        audio.seq += 1;
        self.send(now, seq, packet);
    }

    /// One picture in all active layers; its packets go to the pacer.
    fn capture(&mut self, now: Micros) {
        let video = self.video.as_mut().expect("a video track");
        video.next_frame = video.next_frame.max(now) + FRAME;
        if !video.enabled {
            return;
        }
        for index in 0..video.layers.len() {
            let layer = &mut video.layers[index];
            if !layer.active {
                continue;
            }
            if video.number == 0 {
                layer.since = now;
            }
            let age = u64::from(layer.frames_since_key) * FRAME;
            let keyframe = std::mem::take(&mut layer.keyframe)
                || self.keyframe_period.is_some_and(|period| age >= period);
            if keyframe {
                layer.frames_since_key = 0;
            }
            if let Some(svc) = &mut video.svc {
                layer.frames_since_key += 1;
                let stamp =
                    Stamp { track: video.track, keyframe, capture: now, ..Stamp::default() };
                let picture = svc.picture(&mut self.rng, keyframe, &stamp);
                let format = svc.mode.format;
                let mid = video.mid;
                let packets = picture.into_iter();
                let packets = packets.map(|made| layer.svc_packet(format, made, now, mid));
                let packets: Vec<_> = packets.collect();
                video.enqueue(now, MS, index, packets);
                continue;
            }
            let (temporal, sync) = if video.temporal { layer.temporal() } else { (0, false) };
            layer.frames_since_key += 1;
            layer.picture_id = (layer.picture_id + 1) & 0x7fff;
            layer.tl0 = layer.tl0.wrapping_add(u8::from(temporal == 0));
            let (len, count) = layer.cut(&mut self.rng, (video.swing, video.number), keyframe);
            let mut picture = Vec::new();
            for packet_index in 0..count {
                let stamp = Stamp {
                    track: video.track,
                    layer: index as u8,
                    keyframe,
                    temporal,
                    frame: video.number,
                    index: packet_index,
                    count,
                    capture: now,
                };
                let payload = layer.payload(&stamp, sync, len);
                let mut packet = packet(VP8, layer.seq, layer.ssrc, payload);
                packet.header.timestamp = layer.timestamp(now);
                packet.header.marker = packet_index + 1 == count;
                if now < layer.since + LABELLED {
                    label(&mut packet, video.mid, layer.rid, ids::RID);
                }
                layer.seq += 1;
                picture.push(packet);
            }
            if let Some(percent) = video.fec {
                layer.protect(&mut picture, percent);
            }
            let spacing = MS.min(FRAME / 2 / picture.len() as u64);
            video.enqueue(now, spacing, index, picture);
        }
        video.frames.push(Frame { number: video.number, capture: now });
        video.number += 1;
        if self.probes && video.number.is_multiple_of(2) {
            self.probe(now);
        }
    }

    fn pace(&mut self, now: Micros) {
        loop {
            let Some(video) = &mut self.video else { return };
            if video.paced.first_key_value().is_none_or(|((at, _), _)| *at > now) {
                return;
            }
            let Some((_, (index, packet))) = video.paced.pop_first() else { return };
            let layer = &mut video.layers[index];
            if packet.header.ssrc != layer.ssrc {
                // The sender was made anew since this frame was captured.
                continue;
            }
            let number = packet.header.sequence_number;
            let seq = sfu_rtp::sequence::extend(layer.seq, number);
            layer.octets = layer.octets.wrapping_add(packet.payload.len() as u32);
            // As libwebrtc: what was lost of FEC is not sent again.
            if !packet.payload.starts_with(&[ULPFEC]) {
                layer.sent.insert(number, (packet.clone(), None));
            }
            layer.sent.remove(&(seq.saturating_sub(HISTORY) as u16));
            self.send(now, seq, packet);
        }
    }

    /// Bandwidth probes: no media in them, but the engine must say when they came.
    fn probe(&mut self, now: Micros) {
        let video = self.video.as_mut().expect("a video track");
        let layer = &mut video.layers[0];
        let mut padding = packet(VP8_RTX, layer.rtx_seq, layer.rtx_ssrc, Vec::new());
        padding.header.padding = true;
        label(&mut padding, video.mid, layer.rid, ids::REPAIRED_RID);
        let seq = layer.rtx_seq;
        layer.rtx_seq += 1;
        self.send(now, seq, padding);
        self.probe_seq += 1;
        let stray = packet(VP8, self.probe_seq, 0x00ff_ff00, vec![0x10; 300]);
        self.send(now, self.probe_seq, stray);
    }

    /// Gives the packet its transport-wide number, and sends it.
    fn send(&mut self, now: Micros, seq: u64, mut packet: Packet) {
        let number = self.transport_first.wrapping_add(self.transport_sent.len() as u16);
        self.transport_sent.push(now);
        extend(&mut packet, ids::TRANSPORT_WIDE, &number.to_be_bytes());
        self.endpoint.send_rtp(seq, &packet);
    }

    /// Number of the `index`th packet.
    pub(crate) fn transport_number(&self, index: usize) -> u16 {
        self.transport_first.wrapping_add(index as u16)
    }

    fn report(&mut self, now: Micros) {
        if !self.sender_reports {
            return;
        }
        let ntp_time = self.ntp.wrapping_add(ntp_of(now));
        let mut reports: Vec<SenderReport> = Vec::new();
        let mut add = |ssrc, rtp_time| {
            reports.push(SenderReport { ssrc, ntp_time, rtp_time, ..SenderReport::default() });
        };
        if let Some(video) = self.video.as_mut().filter(|video| video.enabled) {
            for layer in video.layers.iter_mut().filter(|l| l.active && now >= l.next_report) {
                layer.next_report = now + REPORTS;
                add(layer.ssrc, layer.timestamp(now));
            }
        }
        if let Some(audio) = self.audio.as_mut().filter(|a| a.enabled && now >= a.next_report) {
            audio.next_report = now + REPORTS;
            add(audio.ssrc, audio.timestamp_offset.wrapping_add((now * 48 / 1000) as u32));
        }
        for report in reports {
            self.endpoint.send_rtcp(&[Box::new(report)]);
        }
    }

    pub(crate) fn receive(&mut self, now: Micros, bytes: Vec<u8>) {
        match self.endpoint.receive(bytes) {
            Inbound::Stun | Inbound::Replayed => {}
            Inbound::Rtp(packet) => panic!("media for a publisher: {packet:?}"),
            Inbound::Rtcp(values, bytes) => {
                for value in &values {
                    self.handle_rtcp(now, value.as_ref());
                }
                self.handle_feedback(now, &bytes);
            }
        }
    }

    fn handle_rtcp(&mut self, now: Micros, value: &(dyn RtcpValue + Send + Sync)) {
        let any = value.as_any();
        if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            for number in nack.nacks.iter().flat_map(|pair| pair.packet_list()) {
                self.resend(now, nack.media_ssrc, number);
            }
        } else if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
            self.handle_keyframe_request(now, pli.media_ssrc);
        } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
            self.handle_keyframe_request(now, fir.fir[0].ssrc);
        } else if let Some(report) = any.downcast_ref::<ReceiverReport>() {
            let ntp = (self.ntp.wrapping_add(ntp_of(now)) >> 16) as u32;
            for block in report.reports.iter().filter(|block| block.last_sender_report != 0) {
                let rtt = ntp.wrapping_sub(block.last_sender_report).wrapping_sub(block.delay);
                self.rtt = (u64::from(rtt) * SECOND) >> 16;
            }
        }
    }

    fn handle_keyframe_request(&mut self, now: Micros, ssrc: u32) {
        self.keyframe_requests.push((now, ssrc));
        if self.keyframe_period.is_some() {
            return;
        }
        let Some(video) = &mut self.video else { return };
        if let Some(layer) = video.layers.iter_mut().find(|layer| layer.ssrc == ssrc) {
            layer.keyframe = true;
        }
    }

    /// RFC 4588. As libwebrtc: not again within one round trip.
    fn resend(&mut self, now: Micros, ssrc: u32, number: u16) {
        let Some(video) = &mut self.video else { return };
        let mid = video.mid;
        let Some(layer) = video.layers.iter_mut().find(|layer| layer.ssrc == ssrc) else { return };
        let Some((original, last)) = layer.sent.get_mut(&number) else { return };
        if last.is_some_and(|last| now < last + self.rtt) {
            return;
        }
        *last = Some(now);
        let payload = [&number.to_be_bytes()[..], &original.payload].concat();
        let payload_type = original.header.payload_type + 1;
        let mut packet = packet(payload_type, layer.rtx_seq, layer.rtx_ssrc, payload);
        if let Some(value) = original.header.get_extension(ids::DESCRIPTOR) {
            extend(&mut packet, ids::DESCRIPTOR, &value);
        }
        packet.header.timestamp = original.header.timestamp;
        packet.header.marker = original.header.marker;
        label(&mut packet, mid, layer.rid, ids::REPAIRED_RID);
        let seq = layer.rtx_seq;
        layer.rtx_seq += 1;
        self.resent += 1;
        self.send(now, seq, packet);
    }

    fn handle_feedback(&mut self, now: Micros, bytes: &[u8]) {
        for packet in sfu_rtp::compound(bytes) {
            let Ok(feedback) = sfu_rtp::TransportFeedback::parse(&packet) else { continue };
            let reference = i64::from(feedback.reference_time) * 64_000;
            let statuses = feedback
                .statuses()
                .map(|(number, at)| (number, at.map(|at| reference + at)))
                .collect();
            self.feedback.push((now, statuses));
        }
    }
}

/// Virtual time as 32.32 fixed point seconds.
pub(crate) fn ntp_of(at: Micros) -> u64 {
    ((u128::from(at) << 32) / 1_000_000) as u64
}

impl Layer {
    /// Puts RED around a picture, and its FEC packets behind it.
    fn protect(&mut self, picture: &mut Vec<Packet>, percent: usize) {
        // Room for the transport-wide number, which is written when the packet leaves.
        picture.iter_mut().for_each(|packet| extend(packet, ids::TRANSPORT_WIDE, &[0; 2]));
        let protections = fec::protect(picture, percent);
        let last = picture[picture.len() - 1].header.timestamp;
        picture.iter_mut().for_each(|packet| fec::red(packet, VP8));
        for payload in protections {
            let mut packet = packet(VP8, self.seq, self.ssrc, payload);
            packet.header.timestamp = last;
            fec::red(&mut packet, ULPFEC);
            self.seq += 1;
            picture.push(packet);
        }
    }

    /// The next packet of a picture with several layers.
    fn svc_packet(
        &mut self,
        format: Format,
        made: svc::Packet,
        now: Micros,
        mid: Option<&str>,
    ) -> Packet {
        let payload_type = match format {
            Format::Vp9 => VP9,
            Format::Av1 => AV1,
        };
        let mut packet = packet(payload_type, self.seq, self.ssrc, made.payload);
        // First, because the longest value decides on the form of all.
        if let Some(value) = made.descriptor {
            extend(&mut packet, ids::DESCRIPTOR, &value);
        }
        packet.header.timestamp = self.timestamp(now);
        packet.header.marker = made.marker;
        if now < self.since + LABELLED {
            label(&mut packet, mid, self.rid, ids::RID);
        }
        self.seq += 1;
        packet
    }
}

fn packet(payload_type: u8, seq: u64, ssrc: u32, payload: Vec<u8>) -> Packet {
    let header = rtp::header::Header {
        version: 2,
        payload_type,
        sequence_number: seq as u16,
        ssrc,
        ..rtp::header::Header::default()
    };
    Packet { header, payload: payload.into() }
}

fn extend(packet: &mut Packet, id: u8, value: &[u8]) {
    packet.header.set_extension(id, Bytes::copy_from_slice(value)).unwrap();
}

fn label(packet: &mut Packet, mid: Option<&str>, rid: Option<&str>, rid_kind: u8) {
    if let Some(mid) = mid {
        extend(packet, ids::MID, mid.as_bytes());
    }
    if let Some(rid) = rid {
        extend(packet, rid_kind, rid.as_bytes());
    }
}
