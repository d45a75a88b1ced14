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
        can_publish_sources: Vec::new(),
    };

    /// Whether a track of this source may be published.
    pub fn allows(&self, source: Source) -> bool {
        let sources = &self.can_publish_sources;
        self.can_publish && (sources.is_empty() || sources.contains(&source))
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
