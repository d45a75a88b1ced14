//! Which rooms there are. A room appears on the first join and ends when nobody is in it.

use super::actor::{self, Actor, HttpAnswer, Mail, RoomHandle, Seat};
use super::outbox::Outbox;
use super::{
    AdminCommand, HttpJoin, HttpRole, JoinCommand, MediaIds, Room, RoomChange, RoomCommand,
    RoomSettings,
};
use crate::auth::{Grant, Revocations, unix_seconds};
use crate::media::Media;
use crate::metrics::Census;
use crate::protocol::{ErrorCode, ParticipantId};
use crate::random;
use crate::webhook::Webhooks;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
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
    /// All media workers are busy.
    #[error("The server has as much to do as it can; try again later, or on another one.")]
    Overloaded,
    /// A viewer does not open a room.
    #[error("Nobody publishes in this room now.")]
    NoRoom,
}

impl JoinError {
    /// As the WebSocket calls it.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::TooManyRooms => ErrorCode::Limit,
            Self::ShuttingDown | Self::Overloaded => ErrorCode::Unavailable,
            Self::NoRoom => ErrorCode::NotFound,
        }
    }
}

/// All rooms.
#[derive(Debug)]
pub(crate) struct Registry {
    settings: RoomSettings,
    media: Media,
    revocations: Arc<Revocations>,
    webhooks: Webhooks,
    rooms: Mutex<Rooms>,
    /// Nobody more is let in, for the good of those who are.
    overloaded: AtomicBool,
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
    pub(crate) fn new(
        settings: RoomSettings,
        media: Media,
        revocations: Arc<Revocations>,
        webhooks: Webhooks,
    ) -> Arc<Self> {
        let (rooms, overloaded) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self {
            settings,
            media,
            revocations,
            webhooks,
            rooms,
            overloaded,
            population: Census::default(),
        })
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
        self.admits()?;
        loop {
            let handle = self.open(room)?;
            // A room that ended in this moment never saw the request; the next one will.
            if let Some(participant) = handle.join(join.clone(), outbox.clone()).await {
                self.recheck(&handle, room, participant, join.grant).await;
                return Ok((handle, participant));
            }
            self.forget_dead(room, &handle);
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
        self.admits()?;
        loop {
            let handle = match join.role {
                HttpRole::Publisher => self.open(room)?,
                HttpRole::Viewer => self.find(room).ok_or(JoinError::NoRoom)?,
            };
            if let Some(answer) = handle.join_over_http(join.clone(), seat.clone()).await {
                self.recheck(&handle, room, answer.0, join.grant).await;
                return Ok((handle, answer));
            }
            self.forget_dead(room, &handle);
        }
    }

    /// A token that was good when it was looked at may have been revoked before its bearer was in. The room writes that down
    /// before it does anything else, so that no moment is left between.
    async fn recheck(
        &self,
        handle: &RoomHandle,
        room: &str,
        participant: ParticipantId,
        was: Grant,
    ) {
        if let Some(correction) = self.revocations.correction(room, participant, &was) {
            handle.send(correction).await;
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

    /// Makes a room that stays without anybody for a while, or changes the one that there is.
    ///
    /// # Errors
    /// [`JoinError`]
    pub(crate) async fn create(
        self: &Arc<Self>,
        name: &str,
        change: RoomChange,
    ) -> Result<RoomHandle, JoinError> {
        loop {
            let handle = self.open(name)?;
            if handle.administer(AdminCommand::Configure(change.clone())).await.is_some() {
                return Ok(handle);
            }
            self.forget_dead(name, &handle);
        }
    }

    /// Rooms whose names come after this one, by name.
    pub(crate) fn list(&self, after: &str, limit: usize) -> Vec<(String, RoomHandle)> {
        let rooms = self.lock();
        let mut names: Vec<&String> = rooms.by_name.keys().filter(|n| n.as_str() > after).collect();
        names.sort_unstable();
        names.truncate(limit);
        let found = names.into_iter().filter_map(|n| Some((n.clone(), rooms.by_name.get(n)?)));
        found.map(|(name, entry)| (name, entry.handle.clone())).collect()
    }

    /// Whether anybody is let in.
    ///
    /// # Errors
    /// [`JoinError::ShuttingDown`], [`JoinError::Overloaded`]
    pub(crate) fn admits(&self) -> Result<(), JoinError> {
        if self.lock().closed {
            return Err(JoinError::ShuttingDown);
        }
        match self.overloaded.load(Ordering::Relaxed) {
            true => Err(JoinError::Overloaded),
            false => Ok(()),
        }
    }

    /// From now on nobody more is let in, or everybody again.
    pub(crate) fn set_overloaded(&self, overloaded: bool) {
        self.overloaded.store(overloaded, Ordering::Relaxed);
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
        let mut room = Room::new(name.to_owned(), settings, ids, random::seed(), Instant::now());
        room.restore_bans(self.revocations.bans_of(name));
        let (handle, mail) = actor::mailbox();
        let (revocations, webhooks) = (self.revocations.clone(), self.webhooks.clone());
        let actor = Actor::new(name, room, place, revocations, webhooks);
        tokio::spawn(actor.run(mail, self.clone()));
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

    /// A room that has ended took itself off the list, unless its task panicked; then nobody would ever get into one of that name.
    fn forget_dead(&self, name: &str, handle: &RoomHandle) {
        let mut rooms = self.lock();
        let same = |entry: &Entry| entry.handle.mailbox.same_channel(&handle.mailbox);
        if !handle.mailbox.is_closed() || !rooms.by_name.get(name).is_some_and(same) {
            return;
        }
        if let Some(entry) = rooms.by_name.remove(name) {
            rooms.by_serial.remove(&entry.serial);
            tracing::error!(room = name, "the room's task ended by an error; it is opened anew");
        }
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

impl Revocations {
    /// What is to become of somebody who came in with this, where it is worth another thing now.
    pub(super) fn correction(
        &self,
        room: &str,
        participant: ParticipantId,
        was: &Grant,
    ) -> Option<RoomCommand> {
        let mut grant = was.clone();
        let grant = match self.apply(unix_seconds(SystemTime::now()), room, &mut grant) {
            Ok(()) if grant == *was => return None,
            Ok(()) => Some(Box::new(grant)),
            Err(_) => None,
        };
        Some(RoomCommand::Correct { participant, grant })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::outbox;
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_room_whose_task_panicked_keeps_nobody_out() {
        let sfu = sfu::Config { workers: 1, ..sfu::Config::default() };
        let media = Media::new(sfu::Sfu::start(sfu).unwrap().0, Vec::new());
        let (settings, webhooks) = (RoomSettings::default(), Webhooks::default());
        let registry = Registry::new(settings, media, Arc::default(), webhooks);
        let (dead, mail) = actor::mailbox();
        drop(mail);
        registry.lock().by_serial.insert(7, dead.clone());
        registry.lock().by_name.insert("r".to_owned(), Entry { serial: 7, handle: dead });
        let join = JoinCommand {
            request: None,
            identity: "ada".into(),
            name: "Ada".into(),
            grant: Grant::OPEN,
            max_audio: None,
            max_video: None,
            compact: false,
        };
        let joined = registry.join("r", join, outbox().0);
        let joined = tokio::time::timeout(Duration::from_secs(10), joined).await;
        assert!(joined.expect("not for ever").is_ok());
        assert!(registry.by_serial(7).is_none());
    }
}
