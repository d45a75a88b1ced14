//! One published stream: the packets, on an open-loop schedule.

use std::time::{Duration, Instant};

use sfu_core::transport::srtp::SrtpSender;
use sfu_rtp::extension::{AbsSendTime, AudioLevel};
use sfu_rtp::{ExtensionWriter, HeaderFields, write_header};

use crate::clock::{ntp, wall_ns};
use crate::sdp::{EXT_ABS_SEND_TIME, EXT_AUDIO_LEVEL, EXT_MID, EXT_TRANSPORT_CC, Kind, OPUS, VP8};

/// Packets of a video frame.
pub(crate) const FRAME_PACKETS: u16 = 5;
/// Payload bytes of a video packet, descriptor included.
const VIDEO_PAYLOAD: usize = 1100;
/// Payload bytes of an audio packet.
const AUDIO_PAYLOAD: usize = 120;
/// VP8 descriptor with a 15-bit picture id, and room for the frame tag of a keyframe.
const VIDEO_STAMP_AT: usize = 14;
/// 8 bytes of time, 4 bytes of counter.
const STAMP: usize = 12;
/// Room for header, extensions, payload and tag.
const PACKET_MAX: usize = 1400;

/// One stream of a publisher.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) kind: Kind,
    pub(crate) ssrc: u32,
    mid: String,
    /// The start of the schedule; frame `n` is due `n` intervals later.
    start: Instant,
    frame: u64,
    /// 48-bit SRTP index.
    index: u64,
    timestamp: u32,
    keyframe: bool,
    pub(crate) packets: u32,
    octets: u32,
    buf: [u8; PACKET_MAX],
}

impl Publication {
    /// A stream that begins with a keyframe when [`Self::start_at`] says when.
    pub(crate) fn new(kind: Kind, ssrc: u32, mid: usize, start: Instant) -> Self {
        Self {
            kind,
            ssrc,
            mid: mid.to_string(),
            start,
            frame: 0,
            index: u64::from(ssrc & 0x7FFF),
            timestamp: ssrc.rotate_left(7),
            keyframe: true,
            packets: 0,
            octets: 0,
            buf: [0; PACKET_MAX],
        }
    }

    fn interval_ns(&self) -> u64 {
        match self.kind {
            Kind::Audio => 20_000_000,
            Kind::Video => 33_333_333,
        }
    }

    /// Sets the schedule: the first frame is due at `start`.
    pub(crate) fn start_at(&mut self, start: Instant) {
        self.start = start;
    }

    /// When the next frame is due.
    pub(crate) fn due(&self) -> Instant {
        self.start + Duration::from_nanos(self.frame * self.interval_ns())
    }

    /// A subscriber cannot decode without one.
    pub(crate) fn request_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// Makes the packets of the next frame and hands each to `send` as soon as it is sealed.
    pub(crate) fn send_frame(
        &mut self,
        srtp: &mut SrtpSender,
        transport_sequence: &mut u16,
        mut send: impl FnMut(&[u8]),
    ) {
        let count = if self.kind == Kind::Video { FRAME_PACKETS } else { 1 };
        for packet in 0..count {
            let now = wall_ns();
            let header_len = self.write_header(packet + 1 == count, *transport_sequence, now);
            let len = header_len + self.write_payload(header_len, packet == 0, now);
            let len = srtp.protect_rtp(&mut self.buf, header_len, len, self.index);
            send(&self.buf[..len]);
            *transport_sequence = transport_sequence.wrapping_add(1);
            self.index += 1;
            self.packets += 1;
        }
        self.keyframe = false;
        self.frame += 1;
        let ticks = if self.kind == Kind::Video { 3000 } else { 960 };
        self.timestamp = self.timestamp.wrapping_add(ticks);
    }

    fn write_header(&mut self, last: bool, transport_sequence: u16, now: u64) -> usize {
        let video = self.kind == Kind::Video;
        let fields = HeaderFields {
            marker: last && video,
            payload_type: if video { VP8 } else { OPUS },
            sequence_number: self.index as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            extension: true,
            ..HeaderFields::default()
        };
        let start = write_header(&mut self.buf, &fields);
        let mut writer = ExtensionWriter::new(&mut self.buf[start..], false);
        writer.push(EXT_TRANSPORT_CC, &transport_sequence.to_be_bytes());
        writer.push(EXT_ABS_SEND_TIME, &AbsSendTime::from_ntp(ntp(now)).to_bytes());
        writer.push(EXT_MID, self.mid.as_bytes());
        if !video {
            writer.push(EXT_AUDIO_LEVEL, &AudioLevel { voice: true, level: 30 }.to_bytes());
        }
        start + writer.finish()
    }

    fn write_payload(&mut self, start: usize, first: bool, now: u64) -> usize {
        let len = if self.kind == Kind::Video { VIDEO_PAYLOAD } else { AUDIO_PAYLOAD };
        let payload = &mut self.buf[start..start + len];
        let stamp_at = stamp_at(self.kind);
        payload[stamp_at + STAMP..].fill(filler(self.packets));
        payload[stamp_at..stamp_at + 8].copy_from_slice(&now.to_be_bytes());
        payload[stamp_at + 8..stamp_at + STAMP].copy_from_slice(&self.packets.to_be_bytes());
        if self.kind == Kind::Video {
            let [high, low] = (self.frame as u16 & 0x7FFF | 0x8000).to_be_bytes();
            payload[..4].copy_from_slice(&[0x80 | u8::from(first) << 4, 0x80, high, low]);
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

    /// A sender report (RFC 3550 section 6.4.1) without blocks.
    pub(crate) fn sender_report(&self) -> Vec<u8> {
        let mut report = vec![0x80, 200, 0, 6];
        report.extend(self.ssrc.to_be_bytes());
        report.extend(ntp(wall_ns()).to_be_bytes());
        for word in [self.timestamp, self.packets, self.octets] {
            report.extend(word.to_be_bytes());
        }
        report
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
    let (at, counter) = stamp.split_first_chunk::<8>()?;
    let counter = u32::from_be_bytes(counter.try_into().ok()?);
    let len = if kind == Kind::Video { VIDEO_PAYLOAD } else { AUDIO_PAYLOAD };
    let intact = payload.len() == len && rest.iter().all(|byte| *byte == filler(counter));
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

    #[test]
    fn frames_are_what_they_say() {
        let mut video = Publication::new(Kind::Video, 0xABCD_EF01, 0, Instant::now());
        let mut sender = SrtpSender::new(&keys(DtlsRole::Client));
        let mut receiver = SrtpReceiver::new(&keys(DtlsRole::Server));
        let mut sequence = u16::MAX;
        for frame in 0..3u16 {
            let mut packets = Vec::new();
            video.send_frame(&mut sender, &mut sequence, |packet| packets.push(packet.to_vec()));
            assert_eq!(packets.len(), 5);
            for (position, mut packet) in packets.into_iter().enumerate() {
                let header = RtpHeader::parse_prefix(&packet).unwrap();
                let start = usize::from(header.payload_start);
                let number = header.sequence_number;
                let opened =
                    receiver.unprotect_rtp(&mut packet, start, header.ssrc, number).unwrap();
                let payload = &mut packet[start..opened.len];
                let descriptor = Vp8Descriptor::parse(payload).unwrap();
                assert_eq!(descriptor.keyframe, frame == 0 && position == 0);
                assert_eq!(descriptor.picture_id, Some(frame));
                assert_eq!(header.marker, position == 4);
                assert!(wall_ns() - sent_at(Kind::Video, payload).unwrap() < 1_000_000_000);
                payload[VIDEO_PAYLOAD - 1] ^= 1;
                assert_eq!(sent_at(Kind::Video, payload), None);
            }
        }
        assert_eq!(sequence, 14);
    }
}
