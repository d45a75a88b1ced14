//! What a participant may do, and what is known about one besides its name.

use super::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Longest `metadata`, and longest names and values of `attributes` taken together, in bytes: a `welcome` into a full room has
/// those of everybody.
const MAX_METADATA: usize = 2048;
/// Most `attributes` of one participant.
const MAX_ATTRIBUTES: usize = 32;

/// What a participant may do, as in `welcome` and `permissions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permissions {
    /// May publish tracks.
    pub can_publish: bool,
    /// May receive tracks.
    pub can_subscribe: bool,
    /// May send data.
    pub can_publish_data: bool,
    /// May change its own name, metadata and attributes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_update_metadata: bool,
    /// What may be published; empty: every source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can_publish_sources: Vec<Source>,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self {
        can_publish: true,
        can_subscribe: true,
        can_publish_data: true,
        can_update_metadata: true,
        can_publish_sources: Vec::new(),
    };

    /// Whether a track of this source may be published.
    pub fn allows(&self, source: Source) -> bool {
        let sources = &self.can_publish_sources;
        self.can_publish && (sources.is_empty() || sources.contains(&source))
    }
}

/// What somebody may do from now on; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionChange {
    /// May publish tracks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_publish: Option<bool>,
    /// May receive tracks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_subscribe: Option<bool>,
    /// May send data, and say something in the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_publish_data: Option<bool>,
    /// May change its own name, metadata and attributes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_update_metadata: Option<bool>,
    /// What may be published; empty: every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub can_publish_sources: Option<Vec<Source>>,
}

impl PermissionChange {
    pub(crate) fn apply(&self, now: &Permissions) -> Permissions {
        let sources = self.can_publish_sources.as_ref();
        Permissions {
            can_publish: self.can_publish.unwrap_or(now.can_publish),
            can_subscribe: self.can_subscribe.unwrap_or(now.can_subscribe),
            can_publish_data: self.can_publish_data.unwrap_or(now.can_publish_data),
            can_update_metadata: self.can_update_metadata.unwrap_or(now.can_update_metadata),
            can_publish_sources: sources.unwrap_or(&now.can_publish_sources).clone(),
        }
    }
}

/// Metadata: up to 2048 bytes of text, without control characters.
///
/// # Errors
/// A sentence that says so.
pub fn check_metadata(metadata: &str) -> Result<(), String> {
    if metadata.len() <= MAX_METADATA && !metadata.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("field `metadata`: expected up to {MAX_METADATA} bytes without control characters"))
}

/// Attributes: up to 32, of up to 2048 bytes taken together, without control characters.
///
/// # Errors
/// A sentence that says so.
pub fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), String> {
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    let plain = |text: &String| !text.chars().any(char::is_control);
    let named =
        attributes.iter().all(|(name, value)| !name.is_empty() && plain(name) && plain(value));
    if attributes.len() <= MAX_ATTRIBUTES && bytes <= MAX_METADATA && named {
        return Ok(());
    }
    Err(format!(
        "field `attributes`: expected up to {MAX_ATTRIBUTES} with names, of {MAX_METADATA} bytes in all, without control characters"
    ))
}
