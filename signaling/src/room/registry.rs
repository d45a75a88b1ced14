//! Which rooms there are. A room appears on the first join and ends when nobody is in it.

use super::actor::{self, Actor, HttpAnswer, Mail, Outbox, RoomHandle, Seat};
use super::{HttpJoin, HttpRole, JoinCommand, MediaIds, Room, RoomSettings};
use crate::media::Media;
use crate::metrics::Census;
use crate::protocol::ParticipantId;
use crate::random;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// Most rooms of one server.
const MAX_ROOMS: usize = 10_000;

/// Why nobody could be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum JoinError {
    /// [`MAX_ROOMS`] is reached.
    #[error("The server has as many rooms as it can hold.")]
    TooManyRooms,
    /// The server stops.
    #[error("The server stops or restarts.")]
    ShuttingDown,
    /// A viewer does not open a room.
    #[error("Nobody publishes in this room now.")]
    NoRoom,
}

/// All rooms.
#[derive(Debug)]
pub(crate) struct Registry {
    settings: RoomSettings,
    media: Media,
    rooms: Mutex<Rooms>,
    /// Participants of all rooms.
    pub(super) population: Census,
}

#[derive(Debug, Default)]
struct Rooms {
    by_name: HashMap<String, Entry>,
    by_serial: HashMap<u32, RoomHandle>,
    last_serial: u32,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    serial: u32,
    handle: RoomHandle,
}

impl Registry {
    /// No rooms yet.
    pub(crate) fn new(settings: RoomSettings, media: Media) -> Arc<Self> {
        Arc::new(Self { settings, media, rooms: Mutex::default(), population: Census::default() })
    }

    /// Puts somebody into a room, making the room where there is none.
    ///
    /// # Errors
    /// [`JoinError`]; a refusal by the room itself goes to the outbox.
    pub(crate) async fn join(
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

    /// The same for WHIP, which makes a room where there is none, and WHEP, which does not.
    ///
    /// # Errors
    /// [`JoinError`]; a refusal by the room itself is inside the answer.
    pub(crate) async fn join_over_http(
        self: &Arc<Self>,
        room: &str,
        join: HttpJoin,
        seat: Seat,
    ) -> Result<(RoomHandle, HttpAnswer), JoinError> {
        loop {
            let handle = match join.role {
                HttpRole::Publisher => self.open(room)?,
                HttpRole::Viewer => self.find(room).ok_or(JoinError::NoRoom)?,
            };
            if let Some(answer) = handle.join_over_http(join.clone(), seat.clone()).await {
                return Ok((handle, answer));
            }
        }
    }

    /// The room with a serial, if it is still there.
    pub(crate) fn by_serial(&self, serial: u32) -> Option<RoomHandle> {
        self.lock().by_serial.get(&serial).cloned()
    }

    /// How many rooms there are.
    pub(crate) fn rooms(&self) -> usize {
        self.lock().by_name.len()
    }

    /// How many people are in all rooms, viewers included.
    pub(crate) fn participants(&self) -> usize {
        self.population.get()
    }

    /// The room with a name, if it is still there.
    pub(crate) fn find(&self, name: &str) -> Option<RoomHandle> {
        self.lock().by_name.get(name).map(|entry| entry.handle.clone())
    }

    fn open(self: &Arc<Self>, name: &str) -> Result<RoomHandle, JoinError> {
        let mut rooms = self.lock();
        if rooms.closed {
            return Err(JoinError::ShuttingDown);
        }
        if let Some(entry) = rooms.by_name.get(name) {
            return Ok(entry.handle.clone());
        }
        if rooms.by_name.len() >= MAX_ROOMS {
            return Err(JoinError::TooManyRooms);
        }
        rooms.last_serial =
            rooms.last_serial.checked_add(1).expect("four thousand million rooms in one process");
        let serial = rooms.last_serial;
        let place = self.media.place();
        let ids = MediaIds::new(serial);
        let settings = self.settings.clone();
        let room = Room::new(name.to_owned(), settings, ids, random::seed(), Instant::now());
        let (handle, mail) = actor::mailbox();
        tokio::spawn(Actor::new(room, place).run(name.to_owned(), mail, self.clone()));
        rooms.by_name.insert(name.to_owned(), Entry { serial, handle: handle.clone() });
        rooms.by_serial.insert(serial, handle.clone());
        Ok(handle)
    }

    /// Takes an empty room off the list, unless mail came meanwhile.
    pub(super) fn retire(&self, name: &str, mail: &mut mpsc::Receiver<Mail>) -> bool {
        let mut rooms = self.lock();
        if !mail.is_empty() {
            return false;
        }
        mail.close();
        if let Some(entry) = rooms.by_name.remove(name) {
            rooms.by_serial.remove(&entry.serial);
        }
        true
    }

    /// Refuses new joins from now on; returns the rooms that are still there.
    pub(crate) fn close(&self) -> Vec<RoomHandle> {
        let mut rooms = self.lock();
        rooms.closed = true;
        rooms.by_name.values().map(|entry| entry.handle.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        // Nothing inside a guard can panic half-way through a change.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
