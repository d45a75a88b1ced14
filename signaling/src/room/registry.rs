//! Which rooms there are. A room appears on the first join and ends when nobody is in it.

use super::actor::{self, Mail, Outbox, RoomHandle};
use super::{JoinCommand, RoomSettings};
use crate::protocol::ParticipantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Most rooms of one server.
pub(super) const MAX_ROOMS: usize = 10_000;

/// Why nobody could be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// [`MAX_ROOMS`] is reached.
    #[error("The server has as many rooms as it can hold.")]
    TooManyRooms,
    /// The server stops.
    #[error("The server stops or restarts.")]
    ShuttingDown,
}

/// All rooms.
#[derive(Debug)]
pub struct Registry {
    settings: RoomSettings,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    by_name: HashMap<String, RoomHandle>,
    closed: bool,
}

impl Registry {
    /// No rooms yet.
    pub fn new(settings: RoomSettings) -> Arc<Self> {
        Arc::new(Self { settings, rooms: Mutex::default() })
    }

    /// Puts somebody into a room, making the room where there is none.
    ///
    /// # Errors
    /// [`JoinError`]; a refusal by the room itself goes to the outbox.
    pub async fn join(
        self: &Arc<Self>,
        room: &str,
        join: JoinCommand,
        outbox: Outbox,
    ) -> Result<(RoomHandle, ParticipantId), JoinError> {
        loop {
            let handle = self.open(room)?;
            // A room that ended in this moment never saw the request; the next one will.
            if let Some(participant) = handle.join(join.clone(), outbox.clone()).await {
                return Ok((handle, participant));
            }
        }
    }

    fn open(self: &Arc<Self>, name: &str) -> Result<RoomHandle, JoinError> {
        let mut rooms = self.lock();
        if rooms.closed {
            return Err(JoinError::ShuttingDown);
        }
        if let Some(handle) = rooms.by_name.get(name) {
            return Ok(handle.clone());
        }
        if rooms.by_name.len() >= MAX_ROOMS {
            return Err(JoinError::TooManyRooms);
        }
        let handle = actor::spawn(name.to_owned(), self.settings.clone(), self.clone());
        rooms.by_name.insert(name.to_owned(), handle.clone());
        Ok(handle)
    }

    /// Takes an empty room off the list, unless mail came meanwhile.
    pub(super) fn retire(&self, name: &str, mail: &mut mpsc::Receiver<Mail>) -> bool {
        let mut rooms = self.lock();
        if !mail.is_empty() {
            return false;
        }
        mail.close();
        rooms.by_name.remove(name);
        true
    }

    /// Refuses new joins from now on; returns the rooms that are still there.
    pub fn close(&self) -> Vec<RoomHandle> {
        let mut rooms = self.lock();
        rooms.closed = true;
        rooms.by_name.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Nothing inside a guard can panic half-way through a change.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
