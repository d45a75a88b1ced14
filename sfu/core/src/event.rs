//! What a worker's engine tells control.

use crate::transport::srtp::SrtpProfile;
use crate::{ConsumerId, DataFault, DataMessage, ProducerId, RouterId, TransportId};
use std::time::Duration;

/// Why a transport ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// No authenticated STUN for 30 s (RFC 7675).
    ConsentExpired,
    /// Never connected within 15 s of the first STUN, or never any STUN within 30 s of creation.
    ConnectTimeout,
    /// The certificate does not match the signalled fingerprint.
    FingerprintMismatch,
    /// The handshake failed, or the peer exceeded a limit of the guard.
    DtlsFailed(String),
    /// The peer closed DTLS (close_notify) — a browser that called `RTCPeerConnection.close()`.
    DtlsClosed,
    /// A library panicked on this peer's input; only this transport is closed.
    Internal,
}

/// One speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The audio track.
    pub producer: ProducerId,
    /// Smoothed level in -dBov: 0 loudest, 127 silence (RFC 6464).
    pub level: u8,
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// DTLS is done (or keys were handed in and a pair is nominated): media can flow.
    TransportConnected {
        /// Which.
        transport: TransportId,
        /// Negotiated SRTP profile.
        profile: SrtpProfile,
    },
    /// Ended by itself; its producers and consumers are gone with it. Not sent after [`crate::Command::CloseTransport`].
    TransportClosed {
        /// Which.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// No authenticated STUN for 15 s (`true`), or again some (`false`).
    TransportSilent {
        /// Which.
        transport: TransportId,
        /// Is it silent?
        silent: bool,
    },
    /// The set of people who speak changed, loudest first; at most 4 times a second per router.
    ActiveSpeakers {
        /// The room.
        router: RouterId,
        /// Loudest first, possibly empty.
        speakers: Vec<Speaker>,
    },
    /// Another encoding or temporal layer is shown in a slot.
    ConsumerLayer {
        /// The slot.
        consumer: ConsumerId,
        /// Encoding.
        rid: Option<String>,
        /// Highest temporal layer forwarded, if limited.
        temporal: Option<u8>,
    },
    /// What a slot shows, or what keeps it from showing what it should, changed.
    ConsumerStatus {
        /// The slot.
        consumer: ConsumerId,
        /// Now.
        status: Box<ConsumerStatus>,
    },
    /// Other layers of a track have viewers now, and the rest may rest; or it should send more or less than so far.
    PublishedLayers {
        /// The track.
        producer: ProducerId,
        /// Now.
        watched: Watched,
    },
    /// The encodings of a track seem to be listed from the largest to the lowest, by what they take: it is to be created anew with the lowest first.
    EncodingsReversed {
        /// The track.
        producer: ProducerId,
    },
    /// A message for participants who have no channel for it.
    Data {
        /// The room.
        router: RouterId,
        /// Those that have a peer connection.
        recipients: Vec<TransportId>,
        /// Also for whomever it is for among those without a peer connection.
        others: bool,
        /// What.
        message: Box<DataMessage>,
    },
    /// A channel was closed because its peer did not read it.
    DataSlowReader {
        /// Whose.
        transport: TransportId,
        /// The channel's.
        label: String,
    },
    /// A peer sends what it should not; told once a second at most.
    DataRefused {
        /// Which.
        transport: TransportId,
        /// Why.
        fault: DataFault,
    },
    /// Answer to [`crate::Command::RequestStats`].
    Stats {
        /// Echoed.
        request: u64,
        /// Absolute values.
        stats: Box<TransportStats>,
    },
}

/// A layer by its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerStatus {
    /// Encoding.
    pub rid: Option<String>,
    /// Spatial layer inside the encoding (SVC), 0 without.
    pub spatial: u8,
    /// Highest temporal layer.
    pub temporal: u8,
    /// Width and height in pixels, as far as known.
    pub size: Option<(u16, u16)>,
}

/// The one thing that keeps a subscriber from the best that there is of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Nothing does.
    #[default]
    None,
    /// The estimate of the subscriber's link.
    Bandwidth,
    /// It is shown too small, with few frames, or not at all.
    Viewport,
    /// Asked for by hand.
    Policy,
    /// The publisher does not send it.
    PublisherNotSending,
    /// It is chosen, and begins with the next keyframe.
    WaitingKeyframe,
}

/// What a slot shows and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// The best that the subscriber has use for.
    pub wanted: Option<LayerStatus>,
    /// What is forwarded now.
    pub shown: Option<LayerStatus>,
    /// Why those differ, or why `wanted` is not the track's best.
    pub limit: Limit,
    /// Bitrate of `wanted`, bits per second.
    pub needed: u64,
    /// What the link has for this slot, bits per second; 0: not measured.
    pub available: u64,
}

/// What of a track is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Bit per encoding, lowest quality first.
    pub encodings: u8,
    /// Of its one encoding so many spatial layers, counted from the lowest. `None`: all that it has.
    pub spatial_layers: Option<u8>,
    /// Bits per second of its one encoding that the best of its viewers' links carries, if none carries all of it.
    pub max_bitrate: Option<u64>,
}

/// The estimate of a subscriber's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Estimate in bits per second.
    pub estimate: u64,
    /// What it rests on: `start`, `delay`, `loss`, `probe`, `remb`, `reports`, `growing`, `max`.
    pub cause: &'static str,
    /// What all slots together have use for.
    pub wanted: u64,
    /// What they were given.
    pub allocated: u64,
}

/// Absolute counters of one transport.
#[derive(Clone, Debug, Default)]
pub struct TransportStats {
    /// Of this transport.
    pub rtt: Option<Duration>,
    /// What the subscriber's transport-wide feedback says; `None` before the first.
    pub acked: Option<Acked>,
    /// `None` before anything was measured.
    pub bandwidth: Option<Bandwidth>,
    /// Incoming tracks.
    pub producers: Vec<ProducerStats>,
    /// Slots.
    pub consumers: Vec<ConsumerStats>,
}

/// What a subscriber's transport-wide feedback says about what was sent to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// Packets that arrived.
    pub packets: u64,
    /// Packets that were missing when a feedback was written; some of them may have come later.
    pub missing: u64,
    /// What arrived, over the last half second; 0 before it has passed.
    pub bits_per_second: u64,
    /// From sending the newest packet of the last feedback to that feedback: the receiver's wait is in it.
    pub rtt: Option<Duration>,
    /// By how much the way of the last packet in the last feedback took longer than that of its first, in µs.
    pub delay_variation_us: i64,
}

/// One incoming encoding's counters.
#[derive(Clone, Debug)]
pub struct ProducerStats {
    /// Which.
    pub producer: ProducerId,
    /// Which encoding.
    pub rid: Option<String>,
    /// Packets received, retransmissions included.
    pub packets: u64,
    /// RTP payload bytes received.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Interarrival jitter in seconds (RFC 3550).
    pub jitter: f64,
    /// NACKed sequence numbers.
    pub nacks: u64,
    /// Keyframe requests sent upstream.
    pub keyframe_requests: u64,
}

/// One slot's counters.
#[derive(Clone, Debug)]
pub struct ConsumerStats {
    /// Which.
    pub consumer: ConsumerId,
    /// Packets sent, retransmissions not included.
    pub packets: u64,
    /// RTP payload bytes sent.
    pub bytes: u64,
    /// Resent packets.
    pub resent: u64,
    /// Fraction lost of the last receiver report (0..=255).
    pub fraction_lost: u8,
    /// From receiver reports.
    pub rtt: Option<Duration>,
}
