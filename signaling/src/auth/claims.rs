//! The claims of a token as they are written. What is not known is ignored, as in every JSON Web Token.

use super::{Admin, AuthError, Grant, Validity};
use crate::protocol::{self, Permissions, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sub: Option<String>,
    pub(super) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) metadata: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) video: VideoGrant,
}

/// LiveKit's name for what a token allows, sound included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VideoGrant {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) room: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) room_join: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) room_admin: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) room_create: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) room_list: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) can_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) can_subscribe: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) can_publish_data: Option<bool>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) can_update_own_metadata: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) can_publish_sources: Vec<Source>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) hidden: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl VideoGrant {
    /// What is not said is allowed; data is where media is.
    fn permissions(&self) -> Permissions {
        let can_publish = self.can_publish.unwrap_or(true);
        Permissions {
            can_publish,
            can_subscribe: self.can_subscribe.unwrap_or(true),
            can_publish_data: self.can_publish_data.unwrap_or(can_publish),
            can_update_metadata: self.can_update_own_metadata,
            can_publish_sources: self.can_publish_sources.clone(),
        }
    }
}

impl Claims {
    /// Whose the token is, when it was made, and whether it moderates: what revocations and bans go by.
    pub(super) fn bearer(&self) -> Grant {
        let made = self.iat.or(self.nbf).unwrap_or(0);
        Grant {
            identity: self.sub.clone(),
            moderator: self.video.room_admin,
            token_id: self.jti.clone(),
            validity: Some(Validity { made, ends: self.exp }),
            ..Grant::OPEN
        }
    }

    /// What the bearer may do in a room.
    pub(super) fn grant(self, room: &str) -> Result<Grant, AuthError> {
        if !self.video.room_join {
            return Err(AuthError::NoJoin);
        }
        if self.video.room != room {
            return Err(AuthError::WrongRoom);
        }
        let bearer = self.bearer();
        let identity = bearer.identity.as_deref().ok_or(AuthError::Malformed)?;
        protocol::check_identity(identity).map_err(AuthError::Identity)?;
        self.name.as_deref().map_or(Ok(()), protocol::check_name).map_err(AuthError::Identity)?;
        protocol::check_metadata(&self.metadata).map_err(AuthError::Identity)?;
        protocol::check_attributes(&self.attributes).map_err(AuthError::Identity)?;
        Ok(Grant {
            name: self.name,
            metadata: self.metadata,
            attributes: self.attributes,
            permissions: self.video.permissions(),
            hidden: self.video.hidden,
            ..bearer
        })
    }

    /// What the bearer may do by the HTTP API.
    pub(super) fn admin(self) -> Admin {
        let VideoGrant { room, room_admin, room_create, room_list, .. } = self.video;
        let room = room_admin.then_some(room).filter(|room| protocol::check_room(room).is_ok());
        Admin { room, create: room_create, list: room_list, ..Admin::default() }
    }
}
