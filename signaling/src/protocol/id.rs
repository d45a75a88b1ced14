//! Identifiers as they appear on the wire: `p1`, `t7`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! wire_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.strip_prefix($letter)
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| D::Error::custom(concat!("expected an id such as \"", $letter, "1\"")))
            }
        }
    };
}

wire_id!(
    /// A participant of one room; never reused within that room's life.
    ParticipantId,
    "p"
);
wire_id!(
    /// A track of one room; its number is what packets carry as their only CSRC. Never reused within that room's life.
    TrackId,
    "t"
);
wire_id!(
    /// What somebody said in the chat of one room. Never reused within that room's life.
    MessageId,
    "m"
);
