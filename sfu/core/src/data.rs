//! Data between the participants of a room: messages, and what waits for one of them.
//!
//! Owns the form of a message on its way; `engine/data.rs` decides who gets it. The sender in a message is what control said of the
//! peer connection that it came on, so nobody can speak as somebody else.

pub(crate) mod frame;
pub(crate) mod port;
pub(crate) mod queue;

use crate::transport::sctp::MESSAGE_LEN_MAX;
use bytes::Bytes;
use std::sync::Arc;

/// Longest topic in bytes.
pub const TOPIC_LEN_MAX: usize = 64;
/// Longest payload in bytes: a whole message on a channel whose messages have no header.
pub const PAYLOAD_LEN_MAX: usize = MESSAGE_LEN_MAX as usize;
/// Most recipients that a message may name.
pub const RECIPIENTS_MAX: usize = 200;
/// Longest identity in bytes: 64 characters.
pub(crate) const IDENTITY_LEN_MAX: usize = 256;

/// Who says something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataSender {
    /// The participant's number in its room.
    pub number: u32,
    /// The participant's identity.
    pub identity: Arc<str>,
}

/// What control says of a peer connection that may have data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataParams {
    /// Stands in all messages that come from it.
    pub sender: DataSender,
    /// What comes from it is passed on.
    pub may_publish: bool,
    /// What it is sent; `None`: every topic.
    pub topics: Option<Vec<String>>,
}

impl DataParams {
    pub(crate) fn wants(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(|wanted| wanted == topic))
    }
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataMessage {
    /// Whose.
    pub sender: DataSender,
    /// What it is about; may be empty.
    pub topic: String,
    /// It must arrive, behind what was sent before.
    pub reliable: bool,
    /// The payload is text; else bytes.
    pub text: bool,
    /// Identities, sorted; empty: everybody else.
    pub to: Vec<String>,
    /// The application's.
    pub payload: Bytes,
}

/// What is wrong with what a peer sent on a data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// It may not send data.
    NotAllowed,
    /// A header that does not parse, or text that is none.
    Malformed,
    /// The payload is too long.
    TooLong,
}
