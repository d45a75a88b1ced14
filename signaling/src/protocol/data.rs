//! Messages about data between participants, for clients without a data channel for them.

use super::ParticipantId;
use super::client::{check_identity, check_length};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Longest payload of `publish_data` in bytes; data channels take more.
pub const MAX_PUBLISHED_BYTES: usize = 64 * 1024;
/// Most topics that a client names.
const MAX_TOPICS: usize = 64;

/// Says something to others in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishData {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// What it is about.
    #[serde(default)]
    pub topic: String,
    /// Must arrive, in order.
    #[serde(default = "yes")]
    pub reliable: bool,
    /// Identities; empty: everybody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Text, or …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// … bytes in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

fn yes() -> bool {
    true
}

/// Chooses what the client is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscribeTopics {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// All that it wants; `None`: every topic.
    pub topics: Option<Vec<String>>,
}

/// What somebody else said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Who.
    pub participant: ParticipantId,
    /// The same across joins.
    pub identity: String,
    /// What it is about.
    pub topic: String,
    /// As it was sent.
    pub reliable: bool,
    /// Text, or …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// … bytes in Base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

impl Data {
    /// Text goes as it is, everything else in Base64.
    pub(crate) fn payload(text: bool, payload: &[u8]) -> (Option<String>, Option<String>) {
        match std::str::from_utf8(payload) {
            Ok(payload) if text => (Some(payload.to_owned()), None),
            _ => (None, Some(BASE64_STANDARD.encode(payload))),
        }
    }
}

impl PublishData {
    /// Whether it is text, and what.
    pub(crate) fn payload(&self) -> Option<(bool, Bytes)> {
        match (&self.text, &self.bytes) {
            (Some(text), None) => Some((true, Bytes::copy_from_slice(text.as_bytes()))),
            (None, Some(bytes)) => Some((false, BASE64_STANDARD.decode(bytes).ok()?.into())),
            _ => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        check_topic(&self.topic)?;
        if self.to.len() > sfu::RECIPIENTS_MAX {
            return Err(format!("field `to`: at most {} identities", sfu::RECIPIENTS_MAX));
        }
        self.to.iter().try_for_each(|identity| check_identity(identity))?;
        match self.payload() {
            None => Err("expected either `text`, or `bytes` in Base64".to_owned()),
            Some((_, payload)) if payload.len() > MAX_PUBLISHED_BYTES => Err(format!(
                "a payload may have at most {MAX_PUBLISHED_BYTES} bytes here; data channels take more"
            )),
            Some(_) => Ok(()),
        }
    }
}

impl SubscribeTopics {
    pub(super) fn check(&self) -> Result<(), String> {
        let topics = self.topics.as_deref().unwrap_or_default();
        if topics.len() > MAX_TOPICS {
            return Err(format!("field `topics`: at most {MAX_TOPICS}"));
        }
        topics.iter().try_for_each(|topic| check_topic(topic))
    }
}

/// A topic: up to 64 bytes, without control characters.
fn check_topic(topic: &str) -> Result<(), String> {
    if topic.len() > sfu::TOPIC_LEN_MAX {
        return Err(format!("field `topic`: at most {} bytes", sfu::TOPIC_LEN_MAX));
    }
    check_length("topic", topic, 0, sfu::TOPIC_LEN_MAX)
}
