//! Tokens: JSON Web Tokens (RFC 7519) with the claims that LiveKit made customary, and what they allow.
//!
//! Owns the keys. Never logs a token or a secret. The algorithm belongs to the key: `alg` of the token decides nothing.

mod access;
mod bans;
mod claims;
mod keys;
mod passes;
mod revocations;
mod sign;
#[cfg(test)]
mod tests;

pub(crate) use access::Access;
pub(crate) use bans::{Ban, Span, because, seconds_until};
pub use keys::{Key, KeyError, Keys};
pub(crate) use passes::Pass;
pub(crate) use revocations::{Revocations, Verdict};
pub use sign::{SigningKey, TokenRequest, sign};

use crate::protocol::Permissions;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the clocks of issuer and server may differ, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// A token secret. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret; its length was checked by the configuration.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// For whoever is to know it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is this one, in a time that does not tell how much of it is.
    pub(crate) fn is(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.as_bytes(), other.as_bytes()).is_ok()
    }

    /// What keyed hashes take.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// With what somebody enters the room that they asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// From `sub`; `None` without keys.
    pub identity: Option<String>,
    /// From `name`.
    pub name: Option<String>,
    /// From `metadata`: text of the application's, which everybody in the room may read.
    pub metadata: String,
    /// From `attributes`: the same as names and values.
    pub attributes: BTreeMap<String, String>,
    /// From the claims `video.can…`.
    pub permissions: Permissions,
    /// From `video.hidden`: nobody in the room is told.
    pub hidden: bool,
    /// From `video.roomAdmin`: moderates the room.
    pub moderator: bool,
    /// From `jti`.
    pub(crate) token_id: Option<String>,
    /// When the token was made and when it ends, in seconds since 1970.
    pub(crate) validity: Option<Validity>,
}

/// When a token was made and when it ends, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// From `iat`, else from `nbf`, which LiveKit's libraries set to the same; 0: it does not say.
    pub(crate) made: u64,
    /// From `exp`.
    pub(crate) ends: u64,
}

impl Validity {
    /// Whether the token has ended by now, the leeway included.
    pub(crate) fn is_over(self, now: u64) -> bool {
        self.left(now).is_zero()
    }

    /// How long it counts yet.
    fn left(self, now: u64) -> Duration {
        let over = self.ends.saturating_add(LEEWAY_SECONDS + 1);
        Duration::from_secs(over.saturating_sub(now))
    }
}

impl Grant {
    /// Where no keys are configured, everybody who reaches the server may do everything.
    pub const OPEN: Self = Self {
        identity: None,
        name: None,
        metadata: String::new(),
        attributes: BTreeMap::new(),
        permissions: Permissions::ALL,
        hidden: false,
        moderator: false,
        token_id: None,
        validity: None,
    };
}

/// What the bearer of a token may do by the HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admin {
    /// `video.roomAdmin`: the room of which everything may be seen and changed. Without keys it is every room.
    room: Option<String>,
    /// Why it does not count any more.
    revoked: Option<AuthError>,
    everywhere: bool,
    /// `video.roomCreate`
    create: bool,
    /// `video.roomList`
    list: bool,
}

impl Admin {
    /// A program on this machine, where there are no keys.
    pub(crate) fn local() -> Self {
        Self { everywhere: true, create: true, list: true, ..Self::default() }
    }

    pub(crate) fn may_create(&self) -> Result<(), AuthError> {
        if self.create { Ok(()) } else { Err(AuthError::NoGrant("roomCreate")) }
    }

    pub(crate) fn may_list(&self) -> Result<(), AuthError> {
        if self.list { Ok(()) } else { Err(AuthError::NoGrant("roomList")) }
    }

    pub(crate) fn may_manage(&self, room: &str) -> Result<(), AuthError> {
        match self.room.as_deref() {
            _ if self.everywhere => Ok(()),
            Some(own) if own == room => self.revoked.clone().map_or(Ok(()), Err),
            Some(_) => Err(AuthError::WrongRoom),
            None => Err(AuthError::NoGrant("roomAdmin")),
        }
    }
}

/// Why a token was refused. The text is for the peer and says nothing about the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum AuthError {
    #[error("This server needs a token; ask whoever runs it, or make one with `switchyard token`.")]
    Missing,
    #[error("The token is not a JSON Web Token with the claims iss, exp and video.")]
    Malformed,
    #[error("The token is not signed by a key of this server, in the way that belongs to the key.")]
    Signature,
    #[error("The token has expired; ask for a new one.")]
    Expired,
    #[error("The token is not valid yet; is a clock wrong?")]
    NotYetValid,
    #[error("The token is not for this room.")]
    WrongRoom,
    #[error("The token does not allow joining (video.roomJoin).")]
    NoJoin,
    #[error("The token does not allow this (video.{0}).")]
    NoGrant(&'static str),
    #[error("The token has no usable identity, name or metadata: {0}")]
    Identity(String),
    #[error(
        "You were removed from this room; a token that was made before does not open it any more."
    )]
    Revoked,
    #[error("{0}")]
    Banned(String),
}

impl AuthError {
    /// The token is good, but not for this.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::WrongRoom | Self::NoJoin | Self::NoGrant(_) | Self::Revoked | Self::Banned(_)
        )
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Milliseconds since 1970.
pub(crate) fn unix_millis(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(0))
}
