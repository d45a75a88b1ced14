//! What a page says over a plain WebSocket.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// One message. Fields that are not known are passed over: pages put their own beside these.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    channel: ChannelName,
    #[serde(default, rename = "checkPresence")]
    check_presence: bool,
    #[serde(default)]
    open: bool,
    /// Not looked into, and passed on as it is.
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// What it asks for, of which channel.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    Open,
    Presence,
    Say(&'a RawValue),
}

impl<'a> Message<'a> {
    /// Reads a message; the sentence says what is wrong with it.
    pub(super) fn decode(text: &'a str) -> Result<(String, Asked<'a>), String> {
        let message: Self = serde_json::from_str(text).map_err(|error| {
            format!("Not understood ({error}). Send a JSON object with channel, and open, checkPresence or data.")
        })?;
        let asked = match message {
            Self { check_presence: true, .. } => Asked::Presence,
            Self { open: true, .. } => Asked::Open,
            Self { data: Some(data), .. } => Asked::Say(data),
            Self { data: None, .. } => {
                return Err("A message needs data, or open or checkPresence that is true.".into());
            }
        };
        Ok((message.channel.0, asked))
    }
}

/// `null` is data too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Text, or a number: pages of the time number their channels, and mean the same by `5` and `"5"`.
#[derive(Debug)]
pub(super) struct ChannelName(pub(super) String);

impl<'de> Deserialize<'de> for ChannelName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = ChannelName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a channel, a text or a whole number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ChannelName, E> {
                Ok(ChannelName(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<ChannelName, E> {
                Ok(ChannelName(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<ChannelName, E> {
                Ok(ChannelName(number.to_string()))
            }
        }
        deserializer.deserialize_any(Name)
    }
}
