//! Which WHIP and WHEP sessions there are, by the unguessable part of their address.

use super::events::EventStream;
use crate::protocol::ParticipantId;
use crate::random;
use crate::room::{HttpRole, Outlook, RoomHandle, Seat};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Most sessions of one server, those included whose offer is yet to be answered.
const SESSIONS_MAX: usize = 10_000;
/// Most event streams of one session.
const STREAMS_MAX: usize = 4;

/// One session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(super) role: HttpRole,
    pub(super) room: RoomHandle,
    pub(super) room_name: String,
    pub(super) participant: ParticipantId,
    /// `sub` of the token that made it: only the same may change or end it.
    pub(super) token_identity: Option<String>,
    /// What its event streams are told.
    pub(super) outlook: watch::Receiver<Outlook>,
    /// By the unguessable part of their address.
    pub(super) streams: HashMap<String, EventStream>,
}

/// All sessions. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    established: HashMap<String, Session>,
    pending: usize,
}

/// A session whose offer is yet to be answered.
#[derive(Debug)]
pub(super) struct Pending {
    sessions: Sessions,
    pub(super) id: String,
    /// For the room.
    pub(super) seat: Seat,
    outlook: watch::Receiver<Outlook>,
}

impl Sessions {
    /// `None`: there are as many as there may be.
    pub(super) fn open(&self) -> Option<Pending> {
        let mut table = self.lock();
        if table.established.len() + table.pending >= SESSIONS_MAX {
            return None;
        }
        table.pending += 1;
        drop(table);
        let (sender, outlook) = watch::channel(Outlook::default());
        let seat = Seat { ended: CancellationToken::new(), outlook: sender };
        Some(Pending { sessions: self.clone(), id: random::id(), seat, outlook })
    }

    pub(super) fn get(&self, id: &str) -> Option<Session> {
        self.lock().established.get(id).cloned()
    }

    /// Adds an event stream; returns its id. `None`: the session has ended, or has as many as it may.
    pub(super) fn add_stream(&self, session: &str, stream: EventStream) -> Option<String> {
        let mut table = self.lock();
        let session = table.established.get_mut(session)?;
        if session.streams.len() >= STREAMS_MAX {
            return None;
        }
        let id = random::id();
        session.streams.insert(id.clone(), stream);
        Some(id)
    }

    pub(super) fn remove_stream(&self, session: &str, stream: &str) -> Option<EventStream> {
        self.lock().established.get_mut(session)?.streams.remove(stream)
    }

    /// How many sessions of this kind there are.
    pub(crate) fn count(&self, role: HttpRole) -> usize {
        self.lock().established.values().filter(|session| session.role == role).count()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing inside a guard can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// What the session's event streams will be told.
    pub(super) fn outlook(&self) -> watch::Receiver<Outlook> {
        self.outlook.clone()
    }

    /// Lists the session until its participant is gone.
    pub(super) fn establish(self, session: Session) {
        self.sessions.lock().established.insert(self.id.clone(), session);
        let (sessions, id, ended) =
            (self.sessions.clone(), self.id.clone(), self.seat.ended.clone());
        tokio::spawn(async move {
            ended.cancelled().await;
            let session = sessions.lock().established.remove(&id);
            session.iter().flat_map(|session| session.streams.values()).for_each(EventStream::end);
        });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.sessions.lock().pending -= 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pending_sessions_count_until_they_are_dropped() {
        let sessions = Sessions::default();
        let mut pending: Vec<_> = (0..SESSIONS_MAX).map(|_| sessions.open().unwrap()).collect();
        assert!(sessions.open().is_none());
        pending.pop();
        assert!(sessions.open().is_some());
    }
}
