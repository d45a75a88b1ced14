//! One published stream: the packets, on an open-loop schedule.

use std::time::{Duration, Instant};

use sfu_core::transport::srtp::SrtpSender;
use sfu_rtp::extension::{AbsSendTime, AudioLevel};
use sfu_rtp::{ExtensionWriter, HeaderFields, write_header};

use crate::clock::{ntp, wall_ns};
use crate::target::{Encoding, Extensions, Kind, RemoteSection};

/// VP8 descriptor with a 15-bit picture id, and room for the frame tag of a keyframe.
const VIDEO_STAMP_AT: usize = 14;
/// 8 bytes of time, 4 bytes of counter, 2 bytes of payload length.
const STAMP: usize = 14;
/// Room for header, extensions, payload and tag.
const PACKET_MAX: usize = 1500;

/// What a stream looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Between two frames.
    pub(crate) interval: Duration,
    /// Of a frame.
    pub(crate) packets: u32,
    /// Bytes of each packet, codec descriptor included; 28 to 1300.
    pub(crate) payload: usize,
    /// Between two packets of a frame.
    pub(crate) spread: Duration,
    /// Frames from one keyframe to the next; `None`: only when asked.
    pub(crate) keyframe_every: Option<u64>,
    /// Audio that is speech by its level.
    pub(crate) speaks: bool,
}

impl Shape {
    /// 30 frames per second.
    pub(crate) const fn video(packets: u32, payload: usize, spread: Duration) -> Self {
        let interval = Duration::from_nanos(33_333_333);
        let keyframe_every = None;
        let kind = Kind::Video;
        Self { kind, interval, packets, payload, spread, keyframe_every, speaks: false }
    }

    /// 50 packets per second.
    pub(crate) const fn audio(payload: usize) -> Self {
        let interval = Duration::from_millis(20);
        Self {
            kind: Kind::Audio,
            interval,
            packets: 1,
            payload,
            spread: Duration::ZERO,
            keyframe_every: None,
            speaks: true,
        }
    }

    /// Packets per second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.packets) / self.interval.as_secs_f64()
    }
}

/// One stream of a publisher.
#[derive(Debug)]
pub(crate) struct Publication {
    shape: Shape,
    pub(crate) ssrc: u32,
    rid: Option<&'static str>,
    mid: String,
    payload_type: u8,
    extensions: Extensions,
    /// The start of the schedule; frame `n` is due `n` intervals later. `None`: nothing flows.
    start: Option<Instant>,
    frame: u64,
    /// Of the frame, the next to send.
    packet: u32,
    /// 48-bit SRTP index.
    index: u64,
    timestamp: u32,
    keyframe: bool,
    keyframe_wanted: bool,
    packets: u32,
    octets: u32,
    buf: [u8; PACKET_MAX],
}

impl Publication {
    /// A stream that begins with a keyframe when [`Self::start_at`] says when.
    pub(crate) fn new(shape: Shape, encoding: &Encoding, section: &RemoteSection) -> Self {
        Self {
            shape,
            ssrc: encoding.ssrc,
            rid: encoding.rid,
            mid: section.mid.clone(),
            payload_type: section.payload_type,
            extensions: section.extensions,
            start: None,
            frame: 0,
            packet: 0,
            index: u64::from(encoding.ssrc & 0x7FFF),
            timestamp: encoding.ssrc.rotate_left(7),
            keyframe: true,
            keyframe_wanted: false,
            packets: 0,
            octets: 0,
            buf: [0; PACKET_MAX],
        }
    }

    /// Sets the schedule, if there is none: the next frame is due at `start`.
    pub(crate) fn start_at(&mut self, start: Instant) {
        let origin = start.checked_sub(self.elapsed()).unwrap_or(start);
        self.start.get_or_insert(origin);
    }

    /// Nothing flows until [`Self::start_at`].
    pub(crate) fn pause(&mut self) {
        self.start = None;
    }

    /// From the start of the schedule to the frame that is next.
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.frame * self.shape.interval.as_nanos() as u64)
    }

    /// When the next packet is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        Some(self.start? + self.elapsed() + self.shape.spread * self.packet)
    }

    /// Does a schedule entry begin with the next packet? Packets of a frame without spread share one.
    pub(crate) fn is_timed(&self) -> bool {
        self.packet == 0 || !self.shape.spread.is_zero()
    }

    /// A subscriber cannot decode without one.
    pub(crate) fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// Makes the next packet; returns the sealed datagram.
    pub(crate) fn next_packet(
        &mut self,
        srtp: &mut SrtpSender,
        transport_sequence: &mut u16,
    ) -> &[u8] {
        let now = wall_ns();
        let header_len = self.write_header(*transport_sequence, now);
        let len = header_len + self.write_payload(header_len, now);
        let len = srtp.protect_rtp(&mut self.buf, header_len, len, self.index);
        *transport_sequence = transport_sequence.wrapping_add(1);
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.packet += 1;
        if self.packet == self.shape.packets {
            self.packet = 0;
            self.frame += 1;
            let due =
                self.shape.keyframe_every.is_some_and(|every| self.frame.is_multiple_of(every));
            self.keyframe = std::mem::take(&mut self.keyframe_wanted) || due;
            let ticks = if self.shape.kind == Kind::Video { 3000 } else { 960 };
            self.timestamp = self.timestamp.wrapping_add(ticks);
        }
        &self.buf[..len]
    }

    fn write_header(&mut self, transport_sequence: u16, now: u64) -> usize {
        let video = self.shape.kind == Kind::Video;
        let fields = HeaderFields {
            marker: video && self.packet + 1 == self.shape.packets,
            payload_type: self.payload_type,
            sequence_number: self.index as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            extension: true,
            ..HeaderFields::default()
        };
        let start = write_header(&mut self.buf, &fields);
        let (ids, speaks) = (self.extensions, self.shape.speaks);
        let mut writer = ExtensionWriter::new(&mut self.buf[start..], false);
        let mut push = |id: Option<u8>, value: &[u8]| id.and_then(|id| writer.push(id, value));
        push(ids.transport_cc, &transport_sequence.to_be_bytes());
        push(ids.abs_send_time, &AbsSendTime::from_ntp(ntp(now)).to_bytes());
        push(ids.mid, self.mid.as_bytes());
        if let Some(rid) = self.rid {
            push(ids.rid, rid.as_bytes());
        }
        if !video {
            push(
                ids.audio_level,
                &AudioLevel { voice: speaks, level: if speaks { 30 } else { 100 } }.to_bytes(),
            );
        }
        start + writer.finish()
    }

    fn write_payload(&mut self, start: usize, now: u64) -> usize {
        let len = self.shape.payload;
        let payload = &mut self.buf[start..start + len];
        let stamp_at = stamp_at(self.shape.kind);
        payload[stamp_at + STAMP..].fill(filler(self.packets));
        payload[stamp_at..stamp_at + 8].copy_from_slice(&now.to_be_bytes());
        payload[stamp_at + 8..stamp_at + 12].copy_from_slice(&self.packets.to_be_bytes());
        payload[stamp_at + 12..stamp_at + STAMP].copy_from_slice(&(len as u16).to_be_bytes());
        if self.shape.kind == Kind::Video {
            let [high, low] = (self.frame as u16 & 0x7FFF | 0x8000).to_be_bytes();
            let first = u8::from(self.packet == 0) << 4;
            payload[..4].copy_from_slice(&[0x80 | first, 0x80, high, low]);
            // RFC 6386 section 9.1; 640x360 in a keyframe.
            let tag: [u8; 10] = match self.keyframe {
                true => [0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01],
                false => [0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            };
            payload[4..VIDEO_STAMP_AT].copy_from_slice(&tag);
        }
        self.octets = self.octets.wrapping_add(len as u32);
        len
    }

    /// A sender report (RFC 3550 section 6.4.1) without blocks; `None` before the first packet.
    pub(crate) fn sender_report(&self) -> Option<Vec<u8>> {
        if self.packets == 0 {
            return None;
        }
        let mut report = vec![0x80, 200, 0, 6];
        report.extend(self.ssrc.to_be_bytes());
        report.extend(ntp(wall_ns()).to_be_bytes());
        for word in [self.timestamp, self.packets, self.octets] {
            report.extend(word.to_be_bytes());
        }
        Some(report)
    }
}

fn stamp_at(kind: Kind) -> usize {
    if kind == Kind::Video { VIDEO_STAMP_AT } else { 0 }
}

fn filler(counter: u32) -> u8 {
    counter as u8
}

/// When a decrypted payload was sent, in wall clock nanoseconds; `None`: these are not the bytes that were sent.
pub(crate) fn sent_at(kind: Kind, payload: &[u8]) -> Option<u64> {
    let (stamp, rest) = payload.get(stamp_at(kind)..)?.split_first_chunk::<STAMP>()?;
    let (at, stamp) = stamp.split_first_chunk::<8>()?;
    let (counter, len) = stamp.split_first_chunk::<4>()?;
    let filler = filler(u32::from_be_bytes(*counter));
    let len = u16::from_be_bytes(len.try_into().ok()?);
    let intact = payload.len() == usize::from(len) && rest.iter().all(|byte| *byte == filler);
    intact.then_some(u64::from_be_bytes(*at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::params::DtlsRole;
    use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile, SrtpReceiver};
    use sfu_rtp::RtpHeader;
    use sfu_rtp::codec::vp8::Vp8Descriptor;

    fn keys(role: DtlsRole) -> SrtpKeys {
        SrtpKeys::from_keying_material(SrtpProfile::AeadAes128Gcm, &[9; 56], role).unwrap()
    }

    fn publication(shape: Shape) -> Publication {
        let encoding = Encoding { rid: Some("h"), ssrc: 0xABCD_EF01, rtx_ssrc: 1 };
        let extensions =
            Extensions { mid: Some(4), rid: Some(5), transport_cc: Some(3), ..Default::default() };
        let section = RemoteSection {
            kind: shape.kind,
            mid: "0".to_owned(),
            payload_type: 100,
            rtx_payload_type: None,
            extensions,
        };
        Publication::new(shape, &encoding, &section)
    }

    #[test]
    fn frames_are_what_they_say() {
        let mut video = publication(Shape::video(5, 1100, Duration::ZERO));
        let mut sender = SrtpSender::new(&keys(DtlsRole::Client));
        let mut receiver = SrtpReceiver::new(&keys(DtlsRole::Server));
        let mut sequence = u16::MAX;
        for number in 0..15u16 {
            let (frame, position) = (number / 5, number % 5);
            let mut packet = video.next_packet(&mut sender, &mut sequence).to_vec();
            let header = RtpHeader::parse_prefix(&packet).unwrap();
            let values: Vec<_> =
                header.extensions(&packet).map(|(id, v)| (id, v.to_vec())).collect();
            let transport = number.wrapping_sub(1).to_be_bytes().to_vec();
            assert_eq!(values, [(3, transport), (4, b"0".to_vec()), (5, b"h".to_vec())]);
            assert_eq!(header.payload_type, 100);
            let start = usize::from(header.payload_start);
            let sequence_number = header.sequence_number;
            let opened =
                receiver.unprotect_rtp(&mut packet, start, header.ssrc, sequence_number).unwrap();
            let payload = &mut packet[start..opened.len];
            let descriptor = Vp8Descriptor::parse(payload).unwrap();
            assert_eq!(descriptor.keyframe, frame == 0 && position == 0);
            assert_eq!(descriptor.picture_id, Some(frame));
            assert_eq!(header.marker, position == 4);
            assert!(wall_ns() - sent_at(Kind::Video, payload).unwrap() < 1_000_000_000);
            assert_eq!(sent_at(Kind::Video, &payload[..1099]), None);
            payload[1099] ^= 1;
            assert_eq!(sent_at(Kind::Video, payload), None);
        }
        assert_eq!(sequence, 14);
    }

    #[test]
    fn the_schedule_is_absolute() {
        let mut sender = SrtpSender::new(&keys(DtlsRole::Client));
        let (mut sequence, ms) = (0, Duration::from_millis(1));
        let mut video = publication(Shape::video(3, 1100, ms));
        assert_eq!(video.due(), None);
        let start = Instant::now();
        video.start_at(start);
        video.start_at(start + ms);
        let mut dues = Vec::new();
        for _ in 0..4 {
            dues.push(video.due().unwrap() - start);
            assert!(video.is_timed());
            video.next_packet(&mut sender, &mut sequence);
        }
        assert_eq!(dues, [Duration::ZERO, ms, 2 * ms, Duration::from_nanos(33_333_333)]);
        video.pause();
        assert_eq!(video.due(), None);
        video.start_at(start + 9 * ms);
        assert_eq!(video.due().unwrap() - start, 10 * ms);
        assert!((video.shape.rate() - 90.0).abs() < 0.1);
    }
}
