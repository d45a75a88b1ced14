//! What a track carries: how SDP names it, and how its frames become RTP payloads and frames again.

use bytes::Bytes;
use rtc::rtp::codec::av1::{Av1Depacketizer, Av1Payloader};
use rtc::rtp::codec::h264::{H264Packet, H264Payloader};
use rtc::rtp::codec::opus::{OpusPacket, OpusPayloader};
use rtc::rtp::codec::vp8::{Vp8Packet, Vp8Payloader};
use rtc::rtp::codec::vp9::{Vp9Packet, Vp9Payloader};
use rtc::rtp::packetizer::{Depacketizer, Payloader};
use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};

use super::picture;

/// Bytes of an RTP payload: what a packet of 1200 bytes has left beside header, extensions and SRTP tag.
const PAYLOAD_BYTES_MAX: usize = 1140;
/// RFC 6184 section 5.7.1: several NAL units in one payload.
const STAP_A: u8 = 24;

/// A codec and what SDP must say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Vp8,
    /// `profile-id`
    Vp9 {
        profile: u8,
    },
    Av1,
    /// `profile-level-id`: three bytes of the sequence parameter set
    H264 {
        profile_level_id: [u8; 3],
    },
    Opus,
}

/// What a player offers, with its payload types. H.264: Constrained Baseline, Main, High, Constrained High;
/// a level is only a wish of the receiver (RFC 6184 section 8.2.2, `level-asymmetry-allowed`).
pub(super) const RECEIVED: [(u8, Format); 9] = [
    (111, Format::Opus),
    (96, Format::Vp8),
    (98, Format::Vp9 { profile: 0 }),
    (100, Format::Vp9 { profile: 2 }),
    (99, Format::Av1),
    (102, Format::H264 { profile_level_id: [0x42, 0xe0, 0x1f] }),
    (104, Format::H264 { profile_level_id: [0x4d, 0x00, 0x1f] }),
    (106, Format::H264 { profile_level_id: [0x64, 0x00, 0x1f] }),
    (108, Format::H264 { profile_level_id: [0x64, 0x0c, 0x1f] }),
];

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::Vp9 { .. } => "VP9",
            Self::Av1 => "AV1",
            Self::H264 { .. } => "H264",
            Self::Opus => "Opus",
        }
    }

    pub(super) fn kind(self) -> RtpCodecKind {
        match self {
            Self::Opus => RtpCodecKind::Audio,
            _ => RtpCodecKind::Video,
        }
    }

    pub(super) fn is_video(self) -> bool {
        self.kind() == RtpCodecKind::Video
    }

    /// Of the RTP timestamps, in Hz.
    pub(super) fn clock_rate(self) -> u32 {
        if self.is_video() { 90_000 } else { 48_000 }
    }

    /// What a publisher calls it: the first of its codec in [`RECEIVED`].
    pub(super) fn payload_type(self) -> u8 {
        let same = |(_, format): &&(u8, Self)| format.name() == self.name();
        RECEIVED.iter().find(same).map_or(0, |(payload_type, _)| *payload_type)
    }

    pub(super) fn codec(self) -> RTCRtpCodec {
        let fmtp = match self {
            Self::Vp8 => String::new(),
            Self::Vp9 { profile } => format!("profile-id={profile}"),
            Self::Av1 => "profile=0".to_owned(),
            Self::H264 { profile_level_id: [a, b, c] } => format!(
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={a:02x}{b:02x}{c:02x}"
            ),
            Self::Opus => "minptime=10;useinbandfec=1;stereo=1".to_owned(),
        };
        let media = if self.is_video() { "video" } else { "audio" };
        RTCRtpCodec {
            mime_type: format!("{media}/{}", self.name()),
            clock_rate: self.clock_rate(),
            channels: if self.is_video() { 0 } else { 2 },
            sdp_fmtp_line: fmtp,
            ..Default::default()
        }
    }

    pub(super) fn parameters(self, payload_type: u8) -> RTCRtpCodecParameters {
        RTCRtpCodecParameters { rtp_codec: self.codec(), payload_type }
    }

    /// For all frames of one track.
    pub(super) fn payloading(self) -> Payloading {
        let payloader: Box<dyn Payloader> = match self {
            Self::Vp8 => {
                let mut payloader = Vp8Payloader::default();
                payloader.enable_picture_id = true;
                Box::new(payloader)
            }
            Self::Vp9 { .. } => Box::<Vp9Payloader>::default(),
            Self::Av1 => Box::<Av1Payloader>::default(),
            Self::H264 { .. } => Box::<H264Payloader>::default(),
            Self::Opus => Box::<OpusPayloader>::default(),
        };
        Payloading { format: self, payloader }
    }

    fn depacketizer(self) -> Box<dyn Depacketizer> {
        match self {
            Self::Vp8 => Box::<Vp8Packet>::default(),
            Self::Vp9 { .. } => Box::<Vp9Packet>::default(),
            Self::Av1 => Box::<Av1Depacketizer>::default(),
            Self::H264 { .. } => Box::<H264Packet>::default(),
            Self::Opus => Box::<OpusPacket>::default(),
        }
    }

    /// The frame that these payloads carry, all of them and in order; `None`: they carry none.
    pub(super) fn frame<'a>(self, payloads: impl Iterator<Item = &'a Bytes>) -> Option<Vec<u8>> {
        let mut frame = Vec::new();
        if self == Self::Av1 {
            // A temporal delimiter, which RTP leaves out and files want (AV1 specification, section 7.5).
            frame.extend([0x12, 0x00]);
        }
        let before = frame.len();
        let mut depacketizer = self.depacketizer();
        for payload in payloads {
            match self {
                Self::H264 { .. } if !is_whole(payload) => return None,
                // These gather the fields of every descriptor in the next one's; only the others join payloads.
                Self::Vp8 | Self::Vp9 { .. } => depacketizer = self.depacketizer(),
                _ => {}
            }
            frame.extend_from_slice(&depacketizer.depacketize(payload).ok()?);
        }
        (frame.len() > before).then_some(frame)
    }

    /// Whether a payload certainly begins a frame. H.264 and AV1 do not say so of a payload.
    pub(super) fn begins(self, payload: &Bytes) -> bool {
        match self {
            // RFC 7741 section 4.2: S, and partition 0.
            Self::Vp8 => payload.first().is_some_and(|first| first & 0x17 == 0x10),
            Self::Vp9 { .. } => payload.first().is_some_and(|first| first & 0x08 != 0),
            Self::Opus => true,
            Self::Av1 | Self::H264 { .. } => false,
        }
    }
}

/// The depacketizer reads the length of a unit without looking whether it is there.
fn is_whole(payload: &[u8]) -> bool {
    let Some((&first, mut rest)) = payload.split_first() else { return false };
    if first & 0x1f != STAP_A {
        return true;
    }
    while let Some((size, tail)) = rest.split_first_chunk::<2>() {
        let Some(tail) = tail.get(usize::from(u16::from_be_bytes(*size))..) else { return false };
        rest = tail;
    }
    rest.is_empty()
}

/// Turns the frames of one track into payloads.
#[derive(Debug)]
pub(super) struct Payloading {
    format: Format,
    payloader: Box<dyn Payloader>,
}

impl Payloading {
    /// # Errors
    /// The frame is not of the codec that the file says.
    pub(super) fn payloads(&mut self, frame: &Bytes) -> anyhow::Result<Vec<Bytes>> {
        let mut payloads = self.payloader.payload(PAYLOAD_BYTES_MAX, frame)?;
        if matches!(self.format, Format::Vp9 { .. })
            && picture::of_keyframe(self.format, frame).is_none()
        {
            payloads = payloads.iter().map(|payload| predicted(payload)).collect();
        }
        Ok(payloads)
    }
}

/// The payloader calls every VP9 frame one that needs no other (P is 0), so a server would start a viewer anywhere.
/// RFC 9628 section 4.2: P is 1, and one reference, to the frame before.
fn predicted(payload: &[u8]) -> Bytes {
    let (descriptor, bitstream) = payload.split_at(payload.len().min(3));
    let mut changed = Vec::with_capacity(payload.len() + 1);
    changed.extend_from_slice(descriptor);
    if let Some(first) = changed.first_mut() {
        *first |= 0x40;
    }
    changed.push(1 << 1);
    changed.extend_from_slice(bitstream);
    changed.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_vp9_frame_says_whether_it_needs_another() {
        let format = Format::Vp9 { profile: 0 };
        let mut payloading = format.payloading();
        // A keyframe of 64x64 (frame marker, profile 0, key, sync code), and a frame that is none.
        let keyframe = [0x82, 0x49, 0x83, 0x42, 0x00, 0x03, 0xf0, 0x03, 0xf0, 0x00];
        let key = payloading.payloads(&Bytes::copy_from_slice(&keyframe)).unwrap();
        let other = payloading.payloads(&Bytes::from(vec![0x86; 5000])).unwrap();
        assert!(key.iter().all(|payload| payload[0] & 0x40 == 0));
        assert_eq!(other.len(), 5);
        assert!(other.iter().all(|payload| payload[0] & 0x40 != 0 && payload[3] == 2));
        assert_eq!(format.frame(key.iter()).unwrap(), keyframe);
        assert_eq!(format.frame(other.iter()).unwrap(), vec![0x86; 5000]);
    }

    #[test]
    fn a_cut_aggregate_is_no_frame() {
        let format = Format::H264 { profile_level_id: [0x42, 0xe0, 0x1f] };
        let frame = |payload: &'static [u8]| format.frame([Bytes::from_static(payload)].iter());
        assert_eq!(frame(&[0x78, 0, 2, 0x65, 1]).unwrap(), [0, 0, 0, 1, 0x65, 1]);
        for cut in [&[0x78, 0, 2, 0x65][..], &[0x78, 0, 2, 0x65, 1, 0], &[0x78, 0], &[]] {
            assert_eq!(frame(cut), None, "{cut:?}");
        }
    }
}
