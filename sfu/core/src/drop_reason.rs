//! Why a packet went no further. A drop is a counter, never a log line and never an error.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// Why a packet went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason, in counter order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Stable name for metrics.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// First byte in none of the RFC 7983 ranges, or a header that does not parse.
    Malformed => "malformed",
    /// No verified STUN from this 5-tuple.
    UnknownTuple => "unknown_tuple",
    /// STUN for a user fragment that we did not hand out.
    UnknownUfrag => "unknown_ufrag",
    /// STUN that failed its integrity or form checks.
    BadStun => "bad_stun",
    /// Media before the handshake ended.
    BeforeKeys => "before_keys",
    /// SRTP or SRTCP authentication failed.
    Unauthenticated => "unauthenticated",
    /// SRTP or SRTCP replay.
    Replay => "replay",
    /// No track for this SSRC.
    UnknownSsrc => "unknown_ssrc",
    /// Payload type that was not negotiated for the track.
    UnknownPayloadType => "unknown_payload_type",
    /// Padding only: bandwidth probes of the publisher.
    Padding => "padding",
    /// Sequence number that was there already.
    Duplicate => "duplicate",
    /// Older than the packet cache.
    TooOld => "too_old",
    /// Track muted.
    Muted => "muted",
    /// The slot's peer connection is not connected, or its client has not applied the answer yet.
    NotReady => "not_ready",
    /// Waiting for a keyframe to start or to switch.
    WaitingKeyframe => "waiting_keyframe",
    /// Another encoding is shown.
    OtherEncoding => "other_encoding",
    /// Above the wanted temporal layer.
    TemporalLayer => "temporal_layer",
    /// Above the wanted spatial layer.
    SpatialLayer => "spatial_layer",
    /// The subscriber has no use or no bandwidth for this track now.
    NotAllocated => "not_allocated",
    /// The subscriber did not negotiate this payload type.
    NotNegotiated => "not_negotiated",
    /// From before the last switch.
    BeforeSwitch => "before_switch",
    /// NACK for a packet that is no longer cached.
    NackNotCached => "nack_not_cached",
    /// NACK for a packet that was resent three times, or just now; or the link has no room for it.
    NackLimit => "nack_limit",
    /// RTCP that does not parse.
    BadRtcp => "bad_rtcp",
    /// Command for something that is gone.
    UnknownId => "unknown_id",
    /// The ring to another worker had no room: the encoding starts again there with its next keyframe.
    PipeFull => "pipe_full",
    /// Of or for a pipe that is closed, or not open yet.
    UnknownPipe => "unknown_pipe",
    /// Too much waits already for its turn to leave to this subscriber.
    PaceFull => "pace_full",
    /// Waited too long for its turn to leave.
    PaceOverdue => "pace_overdue",
    /// Data of a peer that may send none.
    DataNotAllowed => "data_not_allowed",
    /// Data that may be lost, and came to its turn too late or made room for newer.
    DataLate => "data_late",
    /// Data for a channel that has closed, or on none.
    DataNoChannel => "data_no_channel",
    /// Data for a subscriber that was too slow.
    DataSlowReader => "data_slow_reader",
    /// A library panicked.
    Panicked => "panicked",
}

/// One counter per reason.
#[derive(Clone, Debug)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    pub(crate) fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How often.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// All counters that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason))).filter(|(_, n)| *n > 0)
    }
}
