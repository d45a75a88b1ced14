//! A subscriber: asks for lost packets as libwebrtc's receiver does, reports, and notes which frames became complete when.

use crate::endpoint::{Endpoint, Inbound, subscriber_ids as ids};
use crate::frame::Frame;
use crate::net::{MS, Micros, SECOND};
use crate::publisher::ntp_of;
use crate::stamp::{Stamp, base_of};
use rtcp::goodbye::Goodbye;
use rtcp::packet::Packet as RtcpValue;
use rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtp::packet::Packet;
use sfu_core::params::MediaKind;
use sfu_rtp::transport_feedback::{PACKET_LEN_MAX, TransportFeedbackBuilder};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const VP8: u8 = 100;
pub(crate) const VP8_RTX: u8 = 101;
pub(crate) const VP9: u8 = 102;
pub(crate) const AV1: u8 = 104;
pub(crate) const OPUS: u8 = 109;
pub(crate) const RED: u8 = 108;

/// libwebrtc: `NackRequester` looks every 20 ms, assumes a round trip of 100 ms, and asks ten times.
const NACK_TICK: Micros = 20 * MS;
const NACK_PAUSE: Micros = 100 * MS;
const NACKS_MAX: u8 = 10;
const REPORTS: Micros = SECOND;
/// A frame that is incomplete for so long needs a keyframe.
const FRAME_TIMEOUT: Micros = SECOND;
const KEYFRAME_TIMEOUT: Micros = 200 * MS;

/// libwebrtc: between 50 and 250 ms, by the rate that comes.
const FEEDBACK: Micros = 60 * MS;
/// The receiver's clock has nothing to do with ours.
const CLOCK: Micros = 77_777 * SECOND;
/// Numbers of one feedback.
const FEEDBACK_MAX: u64 = 500;

/// When packets came, by transport-wide number: what feedback says.
#[derive(Default)]
struct Arrivals {
    came: BTreeMap<u64, Micros>,
    /// First number that no feedback told yet.
    base: Option<u64>,
    highest: u64,
}

impl Arrivals {
    fn note(&mut self, number: u16, now: Micros) {
        let number = match self.base {
            None => 0x1_0000 + u64::from(number),
            Some(_) => sfu_rtp::sequence::extend(self.highest, number),
        };
        self.highest = self.highest.max(number);
        self.came.insert(number, now + CLOCK);
        // A late one is told again from there on.
        self.base = Some(self.base.map_or(number, |base| base.min(number)));
    }

    /// Everything since the last feedback came, a quarter of a millisecond after what was before it.
    fn invent(&mut self) {
        let Some(base) = self.base else { return };
        for number in base..=self.highest {
            self.came.insert(number, CLOCK + number * MS / 4);
        }
    }

    /// A third of what came since the last feedback did not.
    fn deny(&mut self) {
        self.came.retain(|number, _| !number.is_multiple_of(3));
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let base = self.base.filter(|base| *base <= self.highest)?;
        let end = self.highest.min(base + FEEDBACK_MAX);
        let arrivals = (base..=end).map(|number| self.came.get(&number).copied());
        let mut bytes = vec![0; PACKET_LEN_MAX];
        let mut builder = TransportFeedbackBuilder::new(1, 0);
        let written = builder.write(&mut bytes, base as u16, arrivals).expect("a feedback");
        bytes.truncate(written.len);
        self.base = Some(base + written.consumed as u64);
        self.came = self.came.split_off(&base.saturating_sub(FEEDBACK_MAX));
        Some(bytes)
    }
}

#[derive(Debug)]
struct Missing {
    due: Micros,
    asked: u8,
}

/// A sender report and when it came.
#[derive(Clone, Copy, Debug)]
struct Report {
    at: Micros,
    ntp: u64,
    rtp: u32,
}

pub(crate) struct Slot {
    pub(crate) kind: MediaKind,
    pub(crate) ssrc: u32,
    pub(crate) rtx_ssrc: Option<u32>,
    /// Asks for lost packets.
    pub(crate) nacks: bool,
    highest: Option<u64>,
    received: BTreeSet<u64>,
    missing: BTreeMap<u64, Missing>,
    /// By track, encoding and frame number.
    pub(crate) frames: BTreeMap<(u8, u8, u32), Frame>,
    /// That with the highest number so far.
    newest: (u8, u8, u32),
    report: Option<Report>,
    /// Capture moment as computed from the sender report, minus the true one: (time, track, µs).
    pub(crate) skews: Vec<(Micros, u8, i64)>,
    pub(crate) asked: u64,
    /// Blocks that came again by RED.
    pub(crate) redundant: u64,
    /// Highest number and count at the last report.
    reported: Option<(u64, u64)>,
    /// Its next request for a packet comes so long after the last one.
    pub(crate) nack_pause: Micros,
    last_pli: Option<Micros>,
    /// What came on both of its streams: (time, bytes of payload).
    pub(crate) came: Vec<(Micros, usize)>,
}

impl Slot {
    pub(crate) fn new(kind: MediaKind, ssrc: u32, rtx_ssrc: Option<u32>, nacks: bool) -> Self {
        Self {
            kind,
            ssrc,
            rtx_ssrc,
            nacks,
            highest: None,
            received: BTreeSet::new(),
            missing: BTreeMap::new(),
            frames: BTreeMap::new(),
            newest: (0, 0, 0),
            report: None,
            skews: Vec::new(),
            asked: 0,
            redundant: 0,
            reported: None,
            nack_pause: NACK_PAUSE,
            last_pli: None,
            came: Vec::new(),
        }
    }

    /// Time from capture to completion of a frame.
    pub(crate) fn latency(&self, track: u8, layer: u8, number: u32) -> Option<Micros> {
        let frame = self.frames.get(&(track, layer, number))?;
        Some(frame.complete? - frame.stamp.capture)
    }

    /// Numbers between the first and the last one that never came.
    pub(crate) fn holes(&self) -> Vec<u64> {
        let (Some(first), Some(last)) = (self.received.first(), self.received.last()) else {
            return Vec::new();
        };
        (*first..*last).filter(|seq| !self.received.contains(seq)).collect()
    }

    fn clock_rate(&self) -> i64 {
        match self.kind {
            MediaKind::Audio => 48_000,
            MediaKind::Video => 90_000,
        }
    }

    fn receive(&mut self, now: Micros, number: u16, timestamp: u32, payload: &[u8]) {
        let seq = match self.highest {
            None => 0x1_0000 + u64::from(number),
            Some(highest) => sfu_rtp::sequence::extend(highest, number),
        };
        if !self.received.insert(seq) {
            return;
        }
        self.missing.remove(&seq);
        if let Some(highest) = self.highest
            && self.nacks
        {
            for lost in highest + 1..seq {
                self.missing.insert(lost, Missing { due: now, asked: 0 });
            }
        }
        self.highest = self.highest.max(Some(seq));
        if payload.is_empty() {
            return;
        }
        let stamp = Stamp::read(payload);
        self.note_skew(now, timestamp, &stamp);
        self.note_frame(now, seq, stamp, base_of(payload));
    }

    /// RED (RFC 2198): earlier packets come once more with this one.
    fn receive_red(&mut self, now: Micros, number: u16, timestamp: u32, payload: &[u8]) {
        for block in sfu_rtp::codec::red::blocks(payload).expect("a RED payload") {
            assert_eq!(block.payload_type, OPUS);
            if block.primary {
                self.receive(now, number, timestamp, block.data);
            } else {
                let stamp = Stamp::read(block.data);
                let ticks = (now.saturating_sub(stamp.capture)) * 48 / 1000;
                assert!(u64::from(block.timestamp_offset) <= ticks, "from before it was captured");
                self.redundant += 1;
                self.note_frame(now, self.highest.unwrap_or(0), stamp, None);
            }
        }
    }

    fn note_frame(&mut self, now: Micros, seq: u64, stamp: Stamp, base: Option<u8>) {
        let new = Frame::new(now, seq, stamp, base);
        let key = (stamp.track, stamp.layer, stamp.frame);
        if self.highest <= Some(seq) {
            self.newest = key;
        }
        let frame = self.frames.entry(key).or_insert(new);
        if frame.take(now, seq, &stamp, base) && stamp.keyframe {
            // Nothing needs what was before it.
            self.missing = self.missing.split_off(&frame.lowest);
        }
    }

    fn note_skew(&mut self, now: Micros, timestamp: u32, stamp: &Stamp) {
        let Some(report) = self.report else { return };
        let ticks = i64::from(timestamp.wrapping_sub(report.rtp) as i32);
        // Server NTP starts at virtual time 0 with `SERVER_NTP`.
        let ntp = report.ntp.wrapping_sub(crate::world::SERVER_NTP);
        let micros = ((u128::from(ntp) * 1_000_000) >> 32) as i64;
        let computed = micros + ticks * 1_000_000 / self.clock_rate();
        self.skews.push((now, stamp.track, computed - stamp.capture as i64));
    }

    /// Since the last report (RFC 3550 appendix A.3).
    fn fraction_lost(&mut self) -> u8 {
        let now = (self.highest.unwrap_or(0), self.received.len() as u64);
        let before = self.reported.replace(now).unwrap_or(now);
        let (expected, received) = (now.0 - before.0, now.1 - before.1);
        let lost = expected.saturating_sub(received) * 256;
        lost.checked_div(expected).map_or(0, |fraction| fraction.min(255) as u8)
    }

    fn due_nacks(&mut self, now: Micros) -> Vec<u16> {
        self.missing.retain(|_, missing| missing.asked < NACKS_MAX);
        let due = self.missing.iter_mut().filter(|(_, missing)| missing.due <= now);
        due.map(|(seq, missing)| {
            missing.asked += 1;
            missing.due = now + self.nack_pause;
            self.asked += 1;
            *seq as u16
        })
        .collect()
    }

    /// A frame that began to come and stays incomplete.
    fn stuck(&mut self, now: Micros) -> bool {
        let window =
            now.saturating_sub(FRAME_TIMEOUT + 100 * MS)..now.saturating_sub(FRAME_TIMEOUT);
        let stuck = self
            .frames
            .values()
            .rev()
            .take(100)
            .any(|frame| frame.complete.is_none() && window.contains(&frame.first));
        // Of a lower layer than the highest so far only the keyframe with which it began counts. libwebrtc does not wait for long for that of the first one.
        let (track, layer, _) = self.newest;
        let mut shown = self.frames.range((track, layer, 0)..=self.newest).rev();
        let keyframe = shown.find(|(_, frame)| frame.stamp.keyframe).map(|(_, frame)| frame);
        let top = self.frames.range(..=(track, u8::MAX, u32::MAX)).next_back();
        let lower = top.is_some_and(|((_, top, _), _)| *top > layer);
        let blind = match (keyframe, self.frames.values().next()) {
            (Some(frame), _) => lower && frame.complete.is_none() && window.end > frame.first,
            (None, Some(frame)) => now > frame.first + KEYFRAME_TIMEOUT,
            (None, None) => false,
        };
        let blind = blind && self.kind == MediaKind::Video;
        let stuck = (stuck || blind) && self.last_pli.is_none_or(|last| now > last + SECOND);
        if stuck {
            self.last_pli = Some(now);
        }
        stuck
    }
}

pub(crate) struct Subscriber {
    pub(crate) endpoint: Endpoint,
    pub(crate) slots: Vec<Slot>,
    pub(crate) replays: u64,
    /// Least playout delay that a packet said last, in ms.
    pub(crate) playout_delay: Option<u32>,
    /// Sends transport-wide feedback.
    pub(crate) feedback: bool,
    /// Its feedback says that everything came, and without delay.
    pub(crate) lies: bool,
    /// Its feedback says that a third of what came did not.
    pub(crate) denies: bool,
    /// Does not ask for keyframes: libwebrtc waits up to three seconds, from the last time it did.
    pub(crate) patient: bool,
    /// Sends nothing but checks.
    pub(crate) mute: bool,
    arrivals: Arrivals,
    next_tick: Micros,
    next_report: Micros,
    next_feedback: Micros,
}

impl Subscriber {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            slots: Vec::new(),
            replays: 0,
            playout_delay: None,
            feedback: true,
            lies: false,
            denies: false,
            patient: false,
            mute: false,
            arrivals: Arrivals::default(),
            next_tick: 0,
            next_report: 0,
            next_feedback: 0,
        }
    }

    pub(crate) fn next_wake(&self) -> Micros {
        if self.endpoint.connected {
            self.endpoint.next_wake().min(self.next_tick)
        } else {
            self.endpoint.next_wake()
        }
    }

    pub(crate) fn wake(&mut self, now: Micros) {
        self.endpoint.wake(now);
        if !self.endpoint.connected || now < self.next_tick {
            return;
        }
        self.next_tick = now + NACK_TICK;
        if self.mute {
            return;
        }
        self.ask(now);
        for index in 0..self.slots.len() {
            if !self.patient && self.slots[index].stuck(now) {
                self.send_pli(index);
            }
        }
        if self.feedback && now >= self.next_feedback {
            self.next_feedback = now + FEEDBACK;
            if self.lies {
                self.arrivals.invent();
            }
            if self.denies {
                self.arrivals.deny();
            }
            while let Some(bytes) = self.arrivals.take() {
                // Nothing came of a part that long.
                if !bytes.is_empty() {
                    self.endpoint.send_rtcp_bytes(bytes);
                }
            }
        }
        if now >= self.next_report {
            self.next_report = now + REPORTS;
            self.report(now);
        }
    }

    fn ask(&mut self, now: Micros) {
        for slot in &mut self.slots {
            let due = slot.due_nacks(now);
            if !due.is_empty() {
                self.endpoint.send_rtcp(&[nack(slot.ssrc, &due)]);
            }
        }
    }

    /// Receiver reports with LSR and DLSR (RFC 3550 section 6.4.2).
    fn report(&mut self, now: Micros) {
        let reports: Vec<ReceptionReport> = self
            .slots
            .iter_mut()
            .filter_map(|slot| {
                let report = slot.report?;
                Some(ReceptionReport {
                    ssrc: slot.ssrc,
                    fraction_lost: slot.fraction_lost(),
                    last_sequence_number: slot.highest? as u32,
                    last_sender_report: (report.ntp >> 16) as u32,
                    delay: (ntp_of(now - report.at) >> 16) as u32,
                    ..ReceptionReport::default()
                })
            })
            .collect();
        self.endpoint.send_rtcp(&[Box::new(ReceiverReport {
            ssrc: 1,
            reports,
            ..ReceiverReport::default()
        })]);
    }

    pub(crate) fn send_pli(&mut self, slot: usize) {
        let media_ssrc = self.slots[slot].ssrc;
        self.endpoint.send_rtcp(&[Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc })]);
    }

    pub(crate) fn send_fir(&mut self, slot: usize, sequence_number: u8) {
        let ssrc = self.slots[slot].ssrc;
        self.endpoint.send_rtcp(&[Box::new(FullIntraRequest {
            sender_ssrc: 1,
            media_ssrc: 0,
            fir: vec![FirEntry { ssrc, sequence_number }],
        })]);
    }

    /// Asks for packets whether they are missing or not.
    pub(crate) fn send_nack(&mut self, slot: usize, numbers: &[u16]) {
        let ssrc = self.slots[slot].ssrc;
        self.endpoint.send_rtcp(&[nack(ssrc, numbers)]);
    }

    pub(crate) fn receive(&mut self, now: Micros, bytes: Vec<u8>) {
        match self.endpoint.receive(bytes) {
            Inbound::Stun => {}
            Inbound::Replayed => self.replays += 1,
            Inbound::Rtp(packet) => {
                self.receive_rtp(now, &packet);
                // The first request leaves at once, as libwebrtc's does.
                if !self.mute {
                    self.ask(now);
                }
            }
            Inbound::Rtcp(values, _) => {
                for value in &values {
                    self.handle_rtcp(now, value.as_ref());
                }
            }
        }
    }

    fn receive_rtp(&mut self, now: Micros, packet: &Packet) {
        if let Some(value) = packet.header.get_extension(ids::TRANSPORT_WIDE) {
            self.arrivals.note(u16::from_be_bytes([value[0], value[1]]), now);
        }
        if let Some(value) = packet.header.get_extension(ids::PLAYOUT_DELAY) {
            let min = u32::from(value[0]) << 4 | u32::from(value[1]) >> 4;
            self.playout_delay = Some(10 * min);
        }
        let ssrc = packet.header.ssrc;
        let found = self.slots.iter_mut().find(|s| s.ssrc == ssrc || s.rtx_ssrc == Some(ssrc));
        let slot = found.expect("media on an SSRC of the answer");
        slot.came.push((now, packet.payload.len()));
        if slot.ssrc == ssrc {
            let number = packet.header.sequence_number;
            if packet.header.payload_type == RED {
                slot.receive_red(now, number, packet.header.timestamp, &packet.payload);
                return;
            }
            slot.receive(now, number, packet.header.timestamp, &packet.payload);
        } else {
            assert!([VP8_RTX, VP9 + 1, AV1 + 1].contains(&packet.header.payload_type));
            if packet.payload.len() < 2 {
                return;
            }
            let number = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
            slot.receive(now, number, packet.header.timestamp, &packet.payload[2..]);
        }
    }

    fn handle_rtcp(&mut self, now: Micros, value: &(dyn RtcpValue + Send + Sync)) {
        let any = value.as_any();
        if let Some(report) = any.downcast_ref::<SenderReport>() {
            let slot = self.slots.iter_mut().find(|slot| slot.ssrc == report.ssrc);
            let slot = slot.expect("a report on a slot");
            slot.report = Some(Report { at: now, ntp: report.ntp_time, rtp: report.rtp_time });
        }
        assert!(!any.is::<Goodbye>(), "slots never end");
    }
}

fn nack(media_ssrc: u32, numbers: &[u16]) -> Box<dyn RtcpValue + Send + Sync> {
    let nacks = nack_pairs_from_sequence_numbers(numbers);
    Box::new(TransportLayerNack { sender_ssrc: 1, media_ssrc, nacks })
}
