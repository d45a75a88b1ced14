//! Events as LiveKit's server writes them: protobuf's JSON, so 64-bit numbers are texts and enumerations are words.

use crate::protocol::{Kind, Source, TrackInfo};
use crate::random;
use crate::room::ParticipantReport;
use serde_json::{Value, json};
use std::time::SystemTime;

/// What happened in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    Started,
    Finished,
    Joined(Box<ParticipantReport>),
    Left(Box<ParticipantReport>),
    Published(Box<ParticipantReport>, Box<TrackInfo>),
    Unpublished(Box<ParticipantReport>, Box<TrackInfo>),
}

/// The room, as every event tells it.
#[derive(Clone, Debug)]
pub(crate) struct RoomFacts {
    /// Of this room and no later one of its name.
    pub(crate) sid: String,
    pub(crate) name: String,
    pub(crate) metadata: String,
    /// In seconds since 1970.
    pub(crate) created: u64,
    pub(crate) participants: usize,
}

impl RoomFacts {
    pub(crate) fn new(name: &str, now: SystemTime) -> Self {
        Self {
            sid: format!("RM_{}", random::id()),
            name: name.to_owned(),
            metadata: String::new(),
            created: crate::auth::unix_seconds(now),
            participants: 0,
        }
    }
}

/// One event as it is sent.
pub(super) fn encode(room: &RoomFacts, happening: &Happening, now: SystemTime) -> String {
    let name = match happening {
        Happening::Started => "room_started",
        Happening::Finished => "room_finished",
        Happening::Joined(_) => "participant_joined",
        Happening::Left(_) => "participant_left",
        Happening::Published(..) => "track_published",
        Happening::Unpublished(..) => "track_unpublished",
    };
    let mut event = json!({
        "event": name,
        "id": format!("EV_{}", random::id()),
        "createdAt": crate::auth::unix_seconds(now).to_string(),
        "room": {
            "sid": room.sid,
            "name": room.name,
            "metadata": room.metadata,
            "creationTime": room.created.to_string(),
            "numParticipants": room.participants,
        },
    });
    match happening {
        Happening::Started | Happening::Finished => {}
        Happening::Joined(who) => event["participant"] = participant(who, "ACTIVE"),
        Happening::Left(who) => event["participant"] = participant(who, "DISCONNECTED"),
        Happening::Published(who, what) | Happening::Unpublished(who, what) => {
            event["participant"] = participant(who, "ACTIVE");
            event["track"] = track(what);
        }
    }
    event.to_string()
}

fn participant(who: &ParticipantReport, state: &str) -> Value {
    let permissions = &who.permissions;
    let sources: Vec<&str> = permissions.can_publish_sources.iter().map(|s| source(*s)).collect();
    json!({
        "sid": who.id.to_string(),
        "identity": who.identity,
        "name": who.name,
        "state": state,
        "metadata": who.metadata,
        "attributes": who.attributes,
        "permission": {
            "canSubscribe": permissions.can_subscribe,
            "canPublish": permissions.can_publish,
            "canPublishData": permissions.can_publish_data,
            "canPublishSources": sources,
            "hidden": who.hidden,
        },
    })
}

fn track(what: &TrackInfo) -> Value {
    let kind = match what.kind {
        Kind::Audio => "AUDIO",
        Kind::Video => "VIDEO",
    };
    json!({
        "sid": what.track.to_string(),
        "type": kind,
        "source": source(what.source),
        "name": what.name,
        "muted": what.muted,
        "simulcast": what.simulcast,
        "mimeType": format!("{}/{}", kind.to_lowercase(), what.codec),
    })
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Camera => "CAMERA",
        Source::Microphone => "MICROPHONE",
        Source::ScreenShare => "SCREEN_SHARE",
        Source::ScreenShareAudio => "SCREEN_SHARE_AUDIO",
    }
}
