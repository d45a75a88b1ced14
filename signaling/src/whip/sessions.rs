//! Which WHIP and WHEP sessions there are, by the unguessable part of their address.

use crate::protocol::ParticipantId;
use crate::random;
use crate::room::{HttpRole, RoomHandle};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// One session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(super) role: HttpRole,
    pub(super) room: RoomHandle,
    pub(super) room_name: String,
    pub(super) participant: ParticipantId,
    /// `sub` of the token that made it: only the same may end it.
    pub(super) token_identity: Option<String>,
}

/// All sessions. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, Session>>>);

/// A session whose offer is yet to be answered.
#[derive(Debug)]
pub(super) struct Pending {
    sessions: Sessions,
    pub(super) id: String,
    /// Cancelled by the room when the participant is gone.
    pub(super) ended: CancellationToken,
}

impl Sessions {
    pub(super) fn open(&self) -> Pending {
        let ended = CancellationToken::new();
        Pending { sessions: self.clone(), id: random::id(), ended }
    }

    pub(super) fn get(&self, id: &str) -> Option<Session> {
        self.lock().get(id).cloned()
    }

    /// How many sessions of this kind there are.
    pub(crate) fn count(&self, role: HttpRole) -> usize {
        self.lock().values().filter(|session| session.role == role).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        // Nothing inside a guard can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Lists the session until its participant is gone.
    pub(super) fn establish(self, session: Session) {
        self.sessions.lock().insert(self.id.clone(), session);
        tokio::spawn(async move {
            self.ended.cancelled().await;
            self.sessions.lock().remove(&self.id);
        });
    }
}
