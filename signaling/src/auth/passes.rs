//! Tokens that go on counting after they were looked at: of sockets that belong to a room without being a participant of it. Whoever is
//! sent away or banned, or whose token ends, is told at once.

use super::{AuthError, Grant, Revocations, unix_seconds};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// How long the clock is believed while a token's end is waited for: it may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// By room.
#[derive(Debug, Default)]
pub(super) struct Passes {
    by_room: Mutex<HashMap<Arc<str>, Vec<Issued>>>,
    last: AtomicU64,
}

#[derive(Debug)]
struct Issued {
    number: u64,
    grant: Grant,
    recalled: CancellationToken,
}

/// With what a socket is in. It is on the list as long as this is kept.
#[derive(Debug)]
pub(crate) struct Pass {
    revocations: Arc<Revocations>,
    room: Arc<str>,
    grant: Grant,
    number: u64,
    recalled: CancellationToken,
}

impl Passes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Issued>>> {
        // Nothing inside a guard can panic half-way through a change.
        self.by_room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revocations {
    /// Lets a socket of a room in with what was verified.
    ///
    /// # Errors
    /// It counts no more already.
    pub(super) fn issue(self: &Arc<Self>, room: &str, grant: Grant) -> Result<Pass, AuthError> {
        let room: Arc<str> = room.into();
        let number = self.passes.last.fetch_add(1, Ordering::Relaxed);
        let recalled = CancellationToken::new();
        let issued = Issued { number, grant: grant.clone(), recalled: recalled.clone() };
        self.passes.lock().entry(room.clone()).or_default().push(issued);
        let pass = Pass { revocations: self.clone(), room, grant, number, recalled };
        // What was decided since it was verified found nothing on the list.
        pass.check().map(|()| pass)
    }

    /// Something was decided about a room: whoever may not be there any more is told.
    pub(super) fn recall(&self, room: &str) {
        let now = unix_seconds(SystemTime::now());
        for issued in self.passes.lock().get(room).into_iter().flatten() {
            if self.apply(now, room, &mut issued.grant.clone()).is_err() {
                issued.recalled.cancel();
            }
        }
    }
}

impl Pass {
    /// Of which room it is.
    pub(crate) fn room(&self) -> &Arc<str> {
        &self.room
    }

    /// Waits until it counts no more, and tells why.
    pub(crate) async fn ended(&self) -> AuthError {
        tokio::select! {
            // Lifted again in the same moment, it still was a refusal.
            () = self.recalled.cancelled() => self.check().err().unwrap_or(AuthError::Revoked),
            () = self.expired() => AuthError::Expired,
        }
    }

    fn check(&self) -> Result<(), AuthError> {
        let now = unix_seconds(SystemTime::now());
        self.revocations.apply(now, &self.room, &mut self.grant.clone())
    }

    async fn expired(&self) {
        let Some(validity) = self.grant.validity else { return std::future::pending().await };
        loop {
            let left = validity.left(unix_seconds(SystemTime::now()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut by_room = self.revocations.passes.lock();
        let Some(issued) = by_room.get_mut(&self.room) else { return };
        issued.retain(|issued| issued.number != self.number);
        if issued.is_empty() {
            by_room.remove(&self.room);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Validity, Verdict};
    use super::*;
    use futures_util::FutureExt as _;

    fn grant(identity: &str, ends: u64) -> Grant {
        let validity = Some(Validity { made: 0, ends });
        Grant { identity: Some(identity.to_owned()), validity, ..Grant::OPEN }
    }

    #[tokio::test]
    async fn row_31_a_pass_ends_with_what_it_was_given_for() {
        let (list, now) = (Arc::new(Revocations::default()), unix_seconds(SystemTime::now()));
        let issue = |room: &str, identity: &str| list.issue(room, grant(identity, now + 600));
        let (eve, ada, other) = (issue("r", "eve"), issue("r", "ada"), issue("q", "eve"));
        let (eve, ada, other) = (eve.unwrap(), ada.unwrap(), other.unwrap());
        assert_eq!(eve.ended().now_or_never(), None);
        list.add(now, "r", &grant("eve", now + 600), Verdict::Removed);
        assert_eq!(eve.ended().now_or_never(), Some(AuthError::Revoked));
        assert_eq!(ada.ended().now_or_never(), None, "somebody else");
        assert_eq!(other.ended().now_or_never(), None, "another room");
        assert_eq!(issue("r", "eve").unwrap_err(), AuthError::Revoked);
        let over = list.issue("r", grant("bob", now - 3600)).unwrap();
        assert_eq!(over.ended().now_or_never(), Some(AuthError::Expired));
        let open = list.issue("r", Grant::OPEN).unwrap();
        assert_eq!(open.ended().now_or_never(), None);
        drop((eve, ada, over, open));
        assert_eq!(list.passes.lock().len(), 1, "nothing is left behind");
        drop(other);
        assert!(list.passes.lock().is_empty());
    }
}
