//! The signaling messages of `PROTOCOL.md` as Rust values, and their strict decoding.
//!
//! Owns the wire form: names, required fields, lengths. Never decides anything about rooms. What comes from a peer is refused with
//! a sentence that names the field; nothing here panics on any input.

mod chat;
mod client;
mod data;
mod decode;
mod id;
mod moderation;
mod permissions;
mod presence;
mod resume;
mod server;

pub use chat::{Chat, ChatDelete, ChatDeleted, ChatMessage, ChatNews, ChatRequest, Typing};
pub use client::{
    Candidate, ClientMessage, DecodeError, Join, LayerRequest, Mute, Offer, Ping, Priority,
    Publish, PublishLayer, PublisherLimit, Ready, Renew, TrackLimited, TrackRequest, TrackSetting,
    TrackSettings, check_identity, check_name, check_room,
};
pub use data::{Data, MAX_PUBLISHED_BYTES, PublishData, SubscribeTopics};
pub use id::{MessageId, ParticipantId, TrackId};
pub use moderation::{
    Ban, BanInfo, Moderate, Moderated, ModerationNews, ModeratorAction, Nothing, OnePerson,
    OneTrack, SetModerator, SetPermissions, UpdateParticipant, UpdateRoom, Waiting,
    check_ban_seconds, check_reason,
};
pub use permissions::{PermissionChange, Permissions, check_attributes, check_metadata};
pub use presence::{Presence, PresenceNews, PresenceRequest, React, RoomState, Standing};
pub use resume::Resume;
pub use server::{
    BindingEntry, ErrorCode, IceServer, LayerName, LeaveReason, MediaSections, ParticipantInfo,
    ParticipantState, ParticipantUpdate, ServerMessage, SpeakerInfo, TrackInfo, TrackLimit,
    TrackStatus, UnboundEntry, UnboundReason, WatchedLayers, Welcome,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The only protocol version there is.
pub const VERSION: u32 = 1;

/// Largest WebSocket message in bytes, either direction of travel from a peer.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// Audio or video, as on the wire.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// What a track shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// The picture of a shared screen, window or tab.
    ScreenShare,
    /// The sound of a shared screen, window or tab.
    ScreenShareAudio,
}

impl Source {
    /// Whether the source is sound or picture.
    pub fn kind(self) -> Kind {
        match self {
            Self::Camera | Self::ScreenShare => Kind::Video,
            Self::Microphone | Self::ScreenShareAudio => Kind::Audio,
        }
    }
}

#[cfg(test)]
mod tests;
