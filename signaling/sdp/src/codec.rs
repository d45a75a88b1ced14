//! Codec identity: which offered formats carry the same bitstream, by rtpmap **and** by the fmtp keys that change it.

use sfu::params::{Codec, MediaKind};

/// H.264 profile with the constraint flags folded in (RFC 6184 section 8.1 and table 5; level left out).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum H264Profile {
    /// `42e0..`, `4d80..`, …
    ConstrainedBaseline,
    /// `4200..`
    Baseline,
    /// `4d00..`
    Main,
    /// `640c..`
    ConstrainedHigh,
    /// `6400..`
    High,
    /// `f400..`
    PredictiveHigh444,
}

/// `profile_idc`, mask and value of `profile-iop`, profile.
const H264_PROFILES: [(u8, u8, u8, H264Profile); 9] = [
    (0x42, 0b0100_1111, 0b0100_0000, H264Profile::ConstrainedBaseline),
    (0x4d, 0b1000_1111, 0b1000_0000, H264Profile::ConstrainedBaseline),
    (0x58, 0b1100_1111, 0b1100_0000, H264Profile::ConstrainedBaseline),
    (0x42, 0b0100_1111, 0b0000_0000, H264Profile::Baseline),
    (0x58, 0b1100_1111, 0b1000_0000, H264Profile::Baseline),
    (0x4d, 0b1010_1111, 0b0000_0000, H264Profile::Main),
    (0x64, 0b1111_1111, 0b0000_0000, H264Profile::High),
    (0x64, 0b1111_1111, 0b0000_1100, H264Profile::ConstrainedHigh),
    (0xf4, 0b1111_1111, 0b0000_0000, H264Profile::PredictiveHigh444),
];

impl H264Profile {
    /// Reads `profile-level-id` (six hex digits); `None` for a profile that WebRTC does not use.
    fn parse(profile_level_id: &str) -> Option<Self> {
        if profile_level_id.len() != 6 || !profile_level_id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let idc = u8::from_str_radix(profile_level_id.get(0..2)?, 16).ok()?;
        let iop = u8::from_str_radix(profile_level_id.get(2..4)?, 16).ok()?;
        H264_PROFILES
            .iter()
            .find(|(profile_idc, mask, value, _)| *profile_idc == idc && iop & mask == *value)
            .map(|(.., profile)| *profile)
    }

    /// No WebRTC encoder uses what Baseline has beyond Constrained Baseline (FMO, ASO, redundant slices),
    /// and decoders differ only in which of the two they name.
    fn interchangeable(self) -> Self {
        match self {
            Self::Baseline => Self::ConstrainedBaseline,
            other => other,
        }
    }
}

/// A codec that Switchyard forwards, with everything that changes its bitstream. Equal values are the same format;
/// [`CodecSpec::same_bitstream`] is the test whether a packet of one may go to a receiver of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecSpec {
    /// `opus/48000/2`
    Opus,
    /// `red/48000/2` around Opus
    Red,
    /// `PCMU/8000`
    Pcmu,
    /// `PCMA/8000`
    Pcma,
    /// `G722/8000`
    G722,
    /// `VP8/90000`
    Vp8,
    /// `VP9/90000`
    Vp9 {
        /// `profile-id`, 0 when absent.
        profile: u8,
    },
    /// `AV1/90000`
    Av1 {
        /// `profile`, 0 when absent.
        profile: u8,
    },
    /// `H264/90000`
    H264 {
        /// From `profile-level-id`.
        profile: H264Profile,
        /// `packetization-mode`, 0 when absent.
        packetization_mode: u8,
    },
    /// `H265/90000`, single stream (`tx-mode` SRST)
    H265 {
        /// `profile-id`, 1 when absent.
        profile: u8,
        /// `tier-flag`, 0 when absent.
        tier: u8,
    },
}

impl CodecSpec {
    /// Recognises an offered format; `None`: not forwarded (telephone-event, CN, FEC, unknown profiles, …).
    pub(super) fn recognise(rtpmap: &Rtpmap, fmtp: &[(String, String)]) -> Option<Self> {
        let number = |key: &str, default: u8, max: u8| match value_of(fmtp, key) {
            None => Some(default),
            Some(value) => value.parse().ok().filter(|number| *number <= max),
        };
        let name = rtpmap.name.to_ascii_uppercase();
        Some(match (name.as_str(), rtpmap.clock_rate, rtpmap.channels) {
            ("OPUS", 48000, 2) => Self::Opus,
            ("RED", 48000, 2) => Self::Red,
            ("PCMU", 8000, 1) => Self::Pcmu,
            ("PCMA", 8000, 1) => Self::Pcma,
            ("G722", 8000, 1) => Self::G722,
            ("VP8", 90000, 1) => Self::Vp8,
            ("VP9", 90000, 1) => Self::Vp9 { profile: number("profile-id", 0, 3)? },
            ("AV1", 90000, 1) => Self::Av1 { profile: number("profile", 0, 2)? },
            ("H264", 90000, 1) => Self::H264 {
                // RFC 6184 section 8.1: without the parameter, Baseline at level 1.
                profile: H264Profile::parse(
                    value_of(fmtp, "profile-level-id").unwrap_or("42000a"),
                )?,
                packetization_mode: number("packetization-mode", 0, 1)?,
            },
            ("H265", 90000, 1) => {
                if !value_of(fmtp, "tx-mode").is_none_or(|mode| mode.eq_ignore_ascii_case("SRST")) {
                    return None;
                }
                let (profile, tier) = (number("profile-id", 1, 31)?, number("tier-flag", 0, 1)?);
                Self::H265 { profile, tier }
            }
            _ => return None,
        })
    }

    /// Whether a receiver that negotiated `other` decodes what a sender of `self` produces (levels aside).
    pub fn same_bitstream(self, other: Self) -> bool {
        self.interchangeable() == other.interchangeable()
    }

    fn interchangeable(self) -> Self {
        match self {
            Self::H264 { profile, packetization_mode } => {
                Self::H264 { profile: profile.interchangeable(), packetization_mode }
            }
            other => other,
        }
    }

    /// The name that users know, as in `rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Red => "red",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Vp8 => "VP8",
            Self::Vp9 { .. } => "VP9",
            Self::Av1 { .. } => "AV1",
            Self::H264 { .. } => "H264",
            Self::H265 { .. } => "H265",
        }
    }

    /// Audio or video.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Opus | Self::Red | Self::Pcmu | Self::Pcma | Self::G722 => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }

    /// RTP clock in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus | Self::Red => 48000,
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            _ => 90000,
        }
    }

    /// How the media path treats it.
    pub fn codec(self) -> Codec {
        match self {
            Self::Opus => Codec::Opus,
            Self::Red => Codec::Red,
            Self::Pcmu | Self::Pcma | Self::G722 => Codec::Opaque,
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 { .. } => Codec::Vp9,
            Self::Av1 { .. } => Codec::Av1,
            Self::H264 { .. } => Codec::H264,
            Self::H265 { .. } => Codec::H265,
        }
    }

    /// The fmtp of our answer: the offered keys that describe the bitstream, and for Opus what we wish to be sent.
    pub(super) fn answer_fmtp(self, fmtp: &[(String, String)]) -> String {
        let (always, echoed): (&str, &[&str]) = match self {
            Self::Opus => ("minptime=10;useinbandfec=1", &["stereo", "sprop-stereo", "usedtx"]),
            Self::Vp9 { .. } => ("", &["profile-id"]),
            Self::Av1 { .. } => ("", &["level-idx", "profile", "tier"]),
            Self::H264 { .. } => {
                ("", &["level-asymmetry-allowed", "packetization-mode", "profile-level-id"])
            }
            Self::H265 { .. } => ("", &["level-id", "profile-id", "tier-flag", "tx-mode"]),
            Self::Red | Self::Pcmu | Self::Pcma | Self::G722 | Self::Vp8 => ("", &[]),
        };
        let mut out = always.to_owned();
        for key in echoed {
            let short_word = |value: &&str| {
                (1..=16).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric())
            };
            if let Some(value) = value_of(fmtp, key).filter(short_word) {
                let separator = if out.is_empty() { "" } else { ";" };
                out.push_str(&format!("{separator}{key}={value}"));
            }
        }
        out
    }
}

/// `a=rtpmap` without the payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rtpmap {
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
}

impl Rtpmap {
    /// Reads `<name>/<clock>[/<channels>]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let name = parts.next().filter(|name| super::lines::is_token(name) && name.len() <= 64)?;
        let clock_rate = parts.next()?.parse().ok()?;
        let channels = match parts.next() {
            None => 1,
            Some(channels) => channels.parse().ok()?,
        };
        let complete = parts.next().is_none();
        complete.then(|| Self { name: name.to_owned(), clock_rate, channels })
    }

    /// RFC 3551 table 4: the static types that browsers offer, which need no rtpmap.
    pub(super) fn of_static(payload_type: u8) -> Option<Self> {
        let name = match payload_type {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => return None,
        };
        Some(Self { name: name.to_owned(), clock_rate: 8000, channels: 1 })
    }
}

/// Splits `key=value;key=value`; a part without `=` has an empty value.
pub(super) fn parse_fmtp(text: &str) -> Vec<(String, String)> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key.trim().to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect()
}

pub(super) fn value_of<'a>(fmtp: &'a [(String, String)], key: &str) -> Option<&'a str> {
    fmtp.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spec(rtpmap: &str, fmtp: &str) -> Option<CodecSpec> {
        CodecSpec::recognise(&Rtpmap::parse(rtpmap)?, &parse_fmtp(fmtp))
    }

    fn h264(profile_level_id: &str, mode: u8) -> Option<CodecSpec> {
        let fmtp = format!("packetization-mode={mode};profile-level-id={profile_level_id}");
        spec("H264/90000", &fmtp)
    }

    #[test]
    fn recognises_by_name_clock_and_channels() {
        for (rtpmap, expected) in [
            ("opus/48000/2", Some(CodecSpec::Opus)),
            ("OPUS/48000/2", Some(CodecSpec::Opus)),
            ("opus/48000", None),
            ("opus/16000/2", None),
            ("red/48000/2", Some(CodecSpec::Red)),
            ("red/90000", None),
            ("PCMU/8000", Some(CodecSpec::Pcmu)),
            ("PCMA/16000", None),
            ("G722/8000/1", Some(CodecSpec::G722)),
            ("vp8/90000", Some(CodecSpec::Vp8)),
            ("ulpfec/90000", None),
            ("flexfec-03/90000", None),
            ("telephone-event/8000", None),
            ("CN/8000", None),
            ("multiopus/48000/6", None),
        ] {
            assert_eq!(spec(rtpmap, ""), expected, "{rtpmap}");
        }
        for malformed in ["opus", "opus/", "/48000", "opus/x/2", "opus/48000/2/1", "opus/48000/300"]
        {
            assert_eq!(Rtpmap::parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn profiles_default_and_differ() {
        assert_eq!(spec("VP9/90000", ""), spec("VP9/90000", "profile-id=0"));
        assert_ne!(spec("VP9/90000", ""), spec("VP9/90000", "profile-id=2"));
        assert_eq!(spec("VP9/90000", "profile-id=9"), None);
        assert_eq!(
            spec("AV1/90000", "level-idx=5;profile=0;tier=0"),
            spec("AV1/90000", "level-idx=9; tier=1")
        );
        assert_ne!(spec("AV1/90000", ""), spec("AV1/90000", "profile=1"));
        assert_eq!(
            spec("H265/90000", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
            spec("H265/90000", "level-id=180")
        );
        assert_ne!(spec("H265/90000", ""), spec("H265/90000", "profile-id=2"));
        assert_ne!(spec("H265/90000", ""), spec("H265/90000", "tier-flag=1"));
        assert_eq!(spec("H265/90000", "tx-mode=MRST"), None);
    }

    #[test]
    fn h264_profiles_follow_the_constraint_flags() {
        use H264Profile::*;
        for (id, expected) in [
            ("42e01f", Some(ConstrainedBaseline)),
            ("42E034", Some(ConstrainedBaseline)),
            ("42c02a", Some(ConstrainedBaseline)),
            ("42f01e", Some(ConstrainedBaseline)),
            ("4de01f", Some(ConstrainedBaseline)),
            ("42e11f", None),
            ("58e01f", Some(ConstrainedBaseline)),
            ("42001f", Some(Baseline)),
            ("42a01f", Some(Baseline)),
            ("58a01f", Some(Baseline)),
            ("4d001f", Some(Main)),
            ("4d401f", Some(Main)),
            ("64001f", Some(High)),
            ("640c1f", Some(ConstrainedHigh)),
            ("f4001f", Some(PredictiveHigh444)),
            ("6e001f", None),
            ("42e0", None),
            ("42e01g", None),
            ("+2e01f", None),
            ("42e01f00", None),
        ] {
            let got = h264(id, 1).map(|spec| match spec {
                CodecSpec::H264 { profile, .. } => profile,
                other => panic!("{other:?}"),
            });
            assert_eq!(got, expected, "{id}");
        }
    }

    #[test]
    fn same_bitstream_ignores_levels_and_nothing_else() {
        let same =
            |a: Option<CodecSpec>, b: Option<CodecSpec>| a.unwrap().same_bitstream(b.unwrap());
        assert!(same(h264("42e01f", 1), h264("42e034", 1)));
        assert!(same(h264("42e01f", 1), h264("42001e", 1)));
        assert!(same(h264("640c1f", 1), h264("640c34", 1)));
        assert!(!same(h264("42e01f", 1), h264("42e01f", 0)));
        assert!(!same(h264("42e01f", 1), h264("4d001f", 1)));
        assert!(!same(h264("64001f", 1), h264("640c1f", 1)));
        assert!(!same(h264("42e01f", 1), spec("VP8/90000", "")));
        assert!(same(h264("42000a", 0), spec("H264/90000", "")));
        assert_eq!(h264("42e01f", 2), None);
    }

    #[test]
    fn answers_only_known_keys_with_harmless_values() {
        let fmtp = parse_fmtp("stereo=1;maxplaybackrate=48000;useinbandfec=0; sprop-stereo=1");
        assert_eq!(
            CodecSpec::Opus.answer_fmtp(&fmtp),
            "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"
        );
        let fmtp = parse_fmtp(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets=Z0LA,aM4=",
        );
        assert_eq!(
            h264("42e01f", 1).unwrap().answer_fmtp(&fmtp),
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
        );
        let av1 = CodecSpec::Av1 { profile: 0 };
        assert_eq!(av1.answer_fmtp(&parse_fmtp("level-idx=5 a=x;tier=0")), "tier=0");
        assert_eq!(CodecSpec::Vp8.answer_fmtp(&parse_fmtp("max-fs=12288;max-fr=60")), "");
    }
}
