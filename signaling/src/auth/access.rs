//! The one door: what a token is worth here and now.

use super::{Admin, AuthError, Grant, Keys, Pass, Revocations, unix_seconds};
use std::sync::Arc;
use std::time::SystemTime;

/// Keys, and what was revoked.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    keys: Keys,
    pub(crate) revocations: Arc<Revocations>,
}

impl Access {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, revocations: Arc::default() }
    }

    /// There are no keys: nobody needs a token.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// What the bearer of a token may do in a room.
    ///
    /// # Errors
    /// [`AuthError`]; without keys there is none, and the token is not looked at.
    pub(crate) fn verify(&self, token: Option<&str>, room: &str) -> Result<Grant, AuthError> {
        if self.is_open() {
            return Ok(Grant::OPEN);
        }
        let mut grant = self.keys.claims(token)?.grant(room)?;
        self.revocations.apply(unix_seconds(SystemTime::now()), room, &mut grant)?;
        Ok(grant)
    }

    /// The same for a socket that is no participant, and has to go when the token counts no more.
    ///
    /// # Errors
    /// As [`Access::verify`].
    pub(crate) fn admit(&self, token: Option<&str>, room: &str) -> Result<Pass, AuthError> {
        self.revocations.issue(room, self.verify(token, room)?)
    }

    /// What the bearer of a token may do by the HTTP API. Whoever was sent away from a room does not manage it either.
    ///
    /// # Errors
    /// [`AuthError`]; without keys there is no token that allows anything.
    pub(crate) fn admin(&self, token: Option<&str>) -> Result<Admin, AuthError> {
        let claims = self.keys.claims(token)?;
        let (mut bearer, mut admin) = (claims.bearer(), claims.admin());
        if let Some(room) = &admin.room {
            let now = unix_seconds(SystemTime::now());
            admin.revoked = self.revocations.apply(now, room, &mut bearer).err();
        }
        Ok(admin)
    }
}
