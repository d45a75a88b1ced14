//! What control negotiated, as plain values. SDP never comes this far.

use crate::transport::srtp::SrtpKeys;

pub use sfu_rtp::Codec;

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// RTP header extensions that are carried or rewritten. Everything else is dropped on the way through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionKind {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    Rid,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    RepairedRid,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    TransportWideCc,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    AbsSendTime,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level`
    AudioLevel,
    /// `urn:3gpp:video-orientation`
    VideoOrientation,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`
    PlayoutDelay,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time`
    AbsCaptureTime,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`
    DependencyDescriptor,
}

/// One negotiated header extension: its id on this peer connection (1..=255, never 0 or 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionMapping {
    /// Local identifier from `a=extmap`.
    pub id: u8,
    /// What it means.
    pub kind: ExtensionKind,
}

/// ICE user fragment and password.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`; never logged.
    pub password: String,
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Which side of the DTLS handshake **we** play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsRole {
    /// The answer says `a=setup:passive`.
    Server,
    /// The answer says `a=setup:active`.
    Client,
}

/// Hash function of a certificate fingerprint (RFC 8122).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintHash {
    /// `sha-1`: parsed so that an offer that lists it beside a better one is understood; never accepted alone.
    Sha1,
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// The peer's certificate fingerprint from `a=fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Hash function.
    pub hash: FingerprintHash,
    /// Digest bytes.
    pub digest: Vec<u8>,
}

/// How a transport gets its SRTP keys.
#[derive(Clone, Debug)]
pub enum Security {
    /// DTLS-SRTP (RFC 5764).
    Dtls {
        /// Our role.
        role: DtlsRole,
        /// Any one of them must match the peer's certificate.
        fingerprints: Vec<Fingerprint>,
    },
    /// Keys handed in, no handshake: simulation and benchmarks only (the DTLS library reads its own clock and randomness).
    Keys(Box<SrtpKeys>),
}

/// `m=application` as negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SctpParams {
    /// The peer's `a=sctp-port`.
    pub remote_port: u16,
    /// The peer's `a=max-message-size` in bytes (0: no limit).
    pub max_message_size: u32,
}

/// Everything that a transport needs at birth.
#[derive(Clone, Debug)]
pub struct TransportParams {
    /// Ours, from the answer. The ufrag must be unique on the worker.
    pub local_ice: IceCredentials,
    /// The peer's, from the offer.
    pub remote_ice: IceCredentials,
    /// DTLS, or keys.
    pub security: Security,
    /// Present when the offer had an accepted `m=application`.
    pub sctp: Option<SctpParams>,
}

/// RTCP feedback negotiated for one payload type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// `nack`
    pub nack: bool,
    /// `nack pli`
    pub pli: bool,
    /// `ccm fir`
    pub fir: bool,
    /// `transport-cc`
    pub transport_cc: bool,
    /// `goog-remb`
    pub remb: bool,
}

/// One payload type that a publisher may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveCodec {
    /// Payload type on the publisher's peer connection.
    pub payload_type: u8,
    /// Its RTX payload type (RFC 4588), if negotiated.
    pub rtx_payload_type: Option<u8>,
    /// Format.
    pub codec: Codec,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Negotiated feedback.
    pub feedback: Feedback,
}

/// Forward error correction of video: ULPFEC (RFC 5109) inside RED (RFC 2198), which then is around every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFec {
    /// RED.
    pub red_payload_type: u8,
    /// RTX of RED, if negotiated.
    pub rtx_payload_type: Option<u8>,
    /// ULPFEC, which stands inside RED only.
    pub payload_type: u8,
}

/// One encoding (simulcast layer) that a publisher announced: by `rid`, by SSRC, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodingParams {
    /// `a=rid`, lowest quality first in [`ProducerParams::encodings`].
    pub rid: Option<String>,
    /// `a=ssrc`
    pub ssrc: Option<u32>,
    /// Second SSRC of `a=ssrc-group:FID`.
    pub rtx_ssrc: Option<u32>,
    /// Width and height in pixels as announced; the packets' own word counts where they say one.
    pub size: Option<(u16, u16)>,
}

/// An incoming track.
#[derive(Clone, Debug)]
pub struct ProducerParams {
    /// Audio or video.
    pub kind: MediaKind,
    /// `a=mid`; packets on unknown SSRCs are routed by the MID extension first. `None`: the offer had none.
    pub mid: Option<String>,
    /// Announced encodings, lowest first. Never empty: an unannounced single stream is one default value.
    pub encodings: Vec<EncodingParams>,
    /// Accepted payload types. RTX is inside its codec.
    pub codecs: Vec<ReceiveCodec>,
    /// What the publisher may protect its video with.
    pub fec: Option<VideoFec>,
    /// The track's number, sent to every subscriber as the only CSRC.
    pub number: u32,
    /// Starts muted (nothing is forwarded).
    pub paused: bool,
}

/// A slot: one sending m-line of a subscriber. Fixed for the life of the peer connection.
#[derive(Clone, Debug)]
pub struct ConsumerParams {
    /// Audio or video.
    pub kind: MediaKind,
    /// `a=mid` of the slot, at most 16 bytes (RFC 8843 section 15).
    pub mid: String,
    /// SSRC of the slot, unique over both directions of the peer connection.
    pub ssrc: u32,
    /// SSRC of its RTX stream.
    pub rtx_ssrc: Option<u32>,
    /// CNAME for sender reports and SDES.
    pub cname: String,
    /// Header extensions negotiated on this m-line, with the subscriber's ids.
    pub header_extensions: Vec<ExtensionMapping>,
    /// Waits for [`crate::Command::ResumeConsumers`] before it sends.
    pub paused: bool,
}

/// One payload type of a producer and what it is called at a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadMapping {
    /// The publisher's payload type.
    pub from: u8,
    /// The subscriber's payload type.
    pub to: u8,
    /// The subscriber's RTX payload type; `None`: no RTX, lost packets are rebuilt byte-identical.
    pub rtx: Option<u8>,
    /// The subscriber negotiated `nack`.
    pub nack: bool,
    /// The subscriber's RED payload type around this format (RFC 2198); `None`: it has none, or the format needs none.
    pub red: Option<u8>,
}

/// What a slot shows.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The incoming track.
    pub producer: crate::ProducerId,
    /// Payload types both sides can use. A packet with another payload type is dropped and counted.
    pub payload_types: Vec<PayloadMapping>,
}

/// What a subscriber asked for by hand. `None` means: best that flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreferredLayer {
    /// Encoding to show.
    pub rid: Option<String>,
    /// Highest spatial layer to forward, where a single encoding has several (SVC).
    pub spatial: Option<u8>,
    /// Highest temporal layer to forward.
    pub temporal: Option<u8>,
}

/// One step of quality of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Layer {
    /// Simulcast: index of the encoding, lowest first. A single encoding with spatial layers (SVC): the layer's id.
    pub spatial: u8,
    /// Highest temporal layer.
    pub temporal: u8,
}

/// What a subscriber has use for in a slot. The default wants everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Width in device pixels at which it is shown; 0: not known.
    pub width: u16,
    /// Height in device pixels; 0: not known.
    pub height: u16,
    /// Frames per second of use; 0: all.
    pub fps: u8,
    /// Not visible: nothing is sent.
    pub paused: bool,
    /// Who gets bandwidth first: higher before lower.
    pub priority: u8,
    /// Resolution before frame rate (screen share).
    pub sharp: bool,
}
