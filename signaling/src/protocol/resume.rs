//! Going on over another socket.

use super::{ClientMessage, ParticipantId, check_room};
use serde::{Deserialize, Serialize};

/// First message of a socket that goes on where another one ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Echoed in `resumed` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Protocol version the client speaks.
    pub version: u32,
    /// Room name.
    pub room: String,
    /// The client's own id, of `welcome`.
    pub participant: ParticipantId,
    /// The newest one, of `welcome` or `resumed`.
    pub secret: String,
    /// Number of the last event that came.
    pub event: u64,
}

impl Resume {
    pub(super) fn check(&self) -> Result<(), String> {
        check_room(&self.room)
    }
}

impl ClientMessage {
    /// The number to which the answer belongs.
    pub fn request(&self) -> Option<u64> {
        match self {
            Self::Join(it) => it.request,
            Self::Resume(it) => it.request,
            Self::Publish(it) => it.request,
            Self::Offer(it) => it.request,
            Self::Unpublish(it) | Self::Subscribe(it) | Self::Unsubscribe(it) => it.request,
            Self::Mute(it) => it.request,
            Self::SetLayer(it) => it.request,
            Self::TrackSettings(it) => it.request,
            Self::Renew(it) => it.request,
            Self::PublishData(it) => it.request,
            Self::SubscribeTopics(it) => it.request,
            Self::Chat(it) => it.request(),
            Self::Presence(it) => it.request(),
            Self::Moderate(it) => it.request,
            Self::Ready(_)
            | Self::Candidate(_)
            | Self::TrackLimited(_)
            | Self::Leave {}
            | Self::Ping(_) => None,
        }
    }
}
