//! Chat: what is said, and who writes.

use super::ParticipantId;
use super::client::check_identity;
use super::decode::read;
use super::id::MessageId;
use super::moderation::check_reason;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest text of a message, in characters.
const MAX_TEXT: usize = 4000;
/// Most identities that a message may be for.
const MAX_RECIPIENTS: usize = 50;

/// What a client says of chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant is named for the struct that documents it")]
pub enum ChatRequest {
    Chat(Chat),
    ChatDelete(ChatDelete),
    Typing(Typing),
}

/// Says something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// What.
    pub text: String,
    /// Identities for whom alone it is; empty: for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// Takes a message back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatDelete {
    /// Echoed in `ok` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// Which.
    pub message: MessageId,
    /// For people: why, where it is somebody else's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The sender writes something, or does not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typing {
    /// It does.
    pub typing: bool,
}

/// What a client is told of chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "fields are those of PROTOCOL.md")]
pub enum ChatNews {
    /// Somebody said something, the client itself included.
    ChatMessage(ChatMessage),
    /// What was said before the client came, oldest first.
    ChatHistory { messages: Vec<ChatMessage> },
    /// A message is to be forgotten.
    ChatDeleted(ChatDeleted),
    /// Somebody writes, or does not any more.
    ParticipantTyping { participant: ParticipantId, typing: bool },
}

/// `chat_deleted`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatDeleted {
    /// Which.
    pub message: MessageId,
    /// The moderator's identity; absent: its author did, or somebody hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Told to its author and to moderators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Which; later ones have greater numbers.
    pub message: MessageId,
    /// Who, at that time.
    pub identity: String,
    /// Name at that time.
    pub name: String,
    /// When the server got it, in milliseconds since 1970.
    pub time: u64,
    /// What.
    pub text: String,
    /// For whom; empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

impl ChatRequest {
    /// `None`: not one of these types.
    pub(super) fn from_fields(
        kind: &str,
        fields: &mut Map<String, Value>,
    ) -> Option<Result<Self, String>> {
        let mut fields = || std::mem::take(fields);
        Some(match kind {
            "chat" => read(kind, fields()).map(Self::Chat),
            "chat_delete" => read(kind, fields()).map(Self::ChatDelete),
            "typing" => read(kind, fields()).map(Self::Typing),
            _ => return None,
        })
    }

    pub(crate) fn request(&self) -> Option<u64> {
        match self {
            Self::Chat(it) => it.request,
            Self::ChatDelete(it) => it.request,
            Self::Typing(_) => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let chat = match self {
            Self::Chat(chat) => chat,
            Self::ChatDelete(delete) => return check_reason(&delete.reason),
            Self::Typing(_) => return Ok(()),
        };
        check_text(&chat.text)?;
        if chat.to.len() > MAX_RECIPIENTS {
            return Err(format!("field `to`: at most {MAX_RECIPIENTS} identities"));
        }
        chat.to.iter().try_for_each(|identity| check_identity(identity))
    }
}

/// Lines of text: something in them, and no control characters but ends of lines and tabs.
fn check_text(text: &str) -> Result<(), String> {
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().count() <= MAX_TEXT && !text.trim().is_empty() && text.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "field `text`: expected 1 to {MAX_TEXT} characters, not blank, no control characters but line feed and tab"
    ))
}
