//! One participant as the room knows it.

use crate::auth::Grant;
use crate::protocol::{MediaSections, ParticipantId, ParticipantInfo, ParticipantState, TrackInfo};
use std::time::{Duration, Instant};

/// How long a participant without a socket stays while its media connection is alive.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(60);
/// How long a participant without a socket stays while its media connection is silent, or not there.
pub(crate) const RECONNECT_SILENT: Duration = Duration::from_secs(15);

/// How we reach a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signaling {
    /// A socket is open.
    Connected,
    /// The socket was lost then.
    Lost(Instant),
}

/// One participant.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) grant: Grant,
    pub(crate) signaling: Signaling,
    pub(crate) max: MediaSections,
    /// What the client was last told to offer.
    pub(crate) sections: MediaSections,
}

impl Participant {
    pub(crate) fn info(&self, tracks: Vec<TrackInfo>) -> ParticipantInfo {
        ParticipantInfo {
            participant: self.id,
            identity: self.identity.clone(),
            name: self.name.clone(),
            state: self.state(),
            tracks,
        }
    }

    pub(crate) fn state(&self) -> ParticipantState {
        match self.signaling {
            Signaling::Connected => ParticipantState::Active,
            Signaling::Lost(_) => ParticipantState::Reconnecting,
        }
    }

    /// When to look again whether the participant is still there.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.signaling {
            Signaling::Connected => None,
            Signaling::Lost(since) => Some(since + RECONNECT_SILENT),
        }
    }
}
