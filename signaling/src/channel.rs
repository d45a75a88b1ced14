//! The channel relay: what one socket says in a channel goes to every other socket in it, and to no one else.
//!
//! Two generations of pages speak to it: over a plain WebSocket (`socket`) and over Socket.IO (`socket_io`). Both meet in the same
//! channels. Nothing here waits: a message is handed to each socket's bounded outbox, and a socket that does not keep up is closed.

mod message;
mod outbox;
mod packet;
mod socket;
mod socket_io;

pub(crate) use socket::upgrade;
pub(crate) use socket_io::routes as socket_io_routes;

use crate::auth::{Access, Pass};
use crate::metrics::{Census, Share};
use crate::protocol::check_room;
use axum::extract::ws::Utf8Bytes;
use engineioxide::Str;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest name of a channel in bytes: pages of the time name channels after their own address.
const NAME_BYTES_MAX: usize = 256;
/// Channels of one socket.
const CHANNELS_OF_SOCKET_MAX: usize = 64;
/// Sockets in one channel.
const MEMBERS_MAX: usize = 200;
/// Sockets of the relay.
const SOCKETS_MAX: usize = 10_000;
/// Largest message in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A message counts once in the rate for each such part of it: what may come at once fits into one outbox.
const COUNTED_BYTES: usize = 4 * 1024;

/// Why the relay does not do what a socket asks. The text is for the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub(crate) enum ChannelError {
    #[error("The name of a channel has 1 to {NAME_BYTES_MAX} bytes.")]
    Name,
    #[error("This socket has not opened that channel; open it first.")]
    NotOpen,
    #[error("A socket may open {CHANNELS_OF_SOCKET_MAX} channels.")]
    TooManyChannels,
    #[error("The channel is full: it has {MEMBERS_MAX} sockets.")]
    Full,
    #[error("The relay has as many sockets as it can hold; try again later.")]
    TooManySockets,
    #[error("This server has keys: say of which room the channels are, ?room=ROOM&token=TOKEN.")]
    NoRoom,
    #[error("{0}")]
    Refused(String),
}

/// What the address of a socket says: whose channels it means.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Admission {
    room: Option<String>,
    token: Option<String>,
}

impl Admission {
    /// The room whose channels these are. Channels of the same name in two rooms are two; with keys a token opens those of its
    /// room, however many a page makes up.
    fn check(self, access: &Access) -> Result<Pass, ChannelError> {
        let room = match self.room {
            Some(room) => {
                check_room(&room).map_err(ChannelError::Refused)?;
                room
            }
            None if access.is_open() => String::new(),
            None => return Err(ChannelError::NoRoom),
        };
        access
            .admit(self.token.as_deref(), &room)
            .map_err(|error| ChannelError::Refused(error.to_string()))
    }
}

/// What goes to the sockets of a channel. All of them share the one copy.
#[derive(Debug)]
struct Parcel {
    /// What somebody said. `None`: somebody who spoke over Socket.IO is gone.
    message: Option<Utf8Bytes>,
    /// The same for sockets of Socket.IO.
    packet: Str,
}

impl Parcel {
    fn message(channel: &str, json: &RawValue) -> Self {
        let packet = packet::event(&format!("/{channel}"), "message", json).into();
        Self { message: Some(json.get().into()), packet }
    }

    fn user_left(channel: &str, user: &RawValue) -> Self {
        let packet = packet::event(&format!("/{channel}"), "user-left", user).into();
        Self { message: None, packet }
    }
}

/// Takes what goes to one socket, at once or not at all.
trait Deliver: fmt::Debug + Send + Sync {
    fn deliver(&self, channel: &str, parcel: &Parcel) -> Delivery;
}

/// What became of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Taken,
    /// There was no room for it, and the socket is on its end.
    Slow,
    /// It is nothing for this socket, or the socket is on its end already.
    Skipped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    room: Arc<str>,
    channel: String,
}

#[derive(Debug)]
struct Member {
    socket: u64,
    outbox: Arc<dyn Deliver>,
}

/// The sockets of one channel.
#[derive(Debug, Default)]
struct Channel(Mutex<Vec<Member>>);

impl Channel {
    // Nothing inside the guards can panic half-way through a change.
    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All channels that somebody is in.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_name: Mutex<HashMap<Name, Arc<Channel>>>,
    sockets: Census,
    last_socket: AtomicU64,
    relayed: AtomicU64,
    slow_readers: AtomicU64,
}

impl Channels {
    /// How many channels there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// How many sockets the relay has, in channels or not.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.get()
    }

    /// Messages handed to sockets since the start.
    pub(crate) fn relayed(&self) -> u64 {
        self.relayed.load(Ordering::Relaxed)
    }

    /// Sockets that were closed because they did not read fast enough.
    pub(crate) fn slow_readers(&self) -> u64 {
        self.slow_readers.load(Ordering::Relaxed)
    }

    /// Takes part with a socket of a room.
    fn enter(
        self: &Arc<Self>,
        room: Arc<str>,
        outbox: Arc<dyn Deliver>,
    ) -> Result<Membership, ChannelError> {
        if self.sockets.get() >= SOCKETS_MAX {
            return Err(ChannelError::TooManySockets);
        }
        Ok(Membership {
            channels: self.clone(),
            socket: self.last_socket.fetch_add(1, Ordering::Relaxed),
            room,
            outbox,
            opened: HashMap::new(),
            _share: self.sockets.share(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Channel>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One socket's part in the relay. Dropped, it leaves all its channels.
#[derive(Debug)]
struct Membership {
    channels: Arc<Channels>,
    socket: u64,
    room: Arc<str>,
    outbox: Arc<dyn Deliver>,
    opened: HashMap<String, Arc<Channel>>,
    _share: Share,
}

impl Membership {
    /// Joins a channel; a second time changes nothing.
    fn open(&mut self, channel: &str) -> Result<(), ChannelError> {
        check_name(channel)?;
        if self.opened.contains_key(channel) {
            return Ok(());
        }
        if self.opened.len() >= CHANNELS_OF_SOCKET_MAX {
            return Err(ChannelError::TooManyChannels);
        }
        let mut by_name = self.channels.lock();
        let found = by_name.entry(self.name(channel)).or_default();
        let mut members = found.members();
        if members.len() >= MEMBERS_MAX {
            return Err(ChannelError::Full);
        }
        members.push(Member { socket: self.socket, outbox: self.outbox.clone() });
        drop(members);
        self.opened.insert(channel.to_owned(), found.clone());
        Ok(())
    }

    /// Whether anybody is in a channel.
    fn is_present(&self, channel: &str) -> Result<bool, ChannelError> {
        check_name(channel)?;
        Ok(self.channels.lock().contains_key(&self.name(channel)))
    }

    /// Hands something to every other socket of a channel.
    fn send(
        &self,
        channel: &str,
        json: &RawValue,
        wrap: fn(&str, &RawValue) -> Parcel,
    ) -> Result<(), ChannelError> {
        let opened = self.opened.get(channel).ok_or(ChannelError::NotOpen)?;
        let parcel = wrap(channel, json);
        let members = opened.members();
        let (mut taken, mut slow) = (0, 0);
        for member in members.iter().filter(|member| member.socket != self.socket) {
            match member.outbox.deliver(channel, &parcel) {
                Delivery::Taken => taken += 1,
                Delivery::Slow => slow += 1,
                Delivery::Skipped => {}
            }
        }
        self.channels.relayed.fetch_add(taken, Ordering::Relaxed);
        self.channels.slow_readers.fetch_add(slow, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves a channel, which ceases to exist when it was the last.
    fn leave(&mut self, channel: &str) {
        let Some(left) = self.opened.remove(channel) else { return };
        // The map first, as in `open`: nobody can enter a channel that is being forgotten.
        let mut by_name = self.channels.lock();
        let mut members = left.members();
        members.retain(|member| member.socket != self.socket);
        if members.is_empty() {
            by_name.remove(&self.name(channel));
        }
    }

    fn name(&self, channel: &str) -> Name {
        Name { room: self.room.clone(), channel: channel.to_owned() }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let opened: Vec<String> = self.opened.keys().cloned().collect();
        opened.iter().for_each(|channel| self.leave(channel));
    }
}

fn check_name(channel: &str) -> Result<(), ChannelError> {
    match channel.len() {
        1..=NAME_BYTES_MAX => Ok(()),
        _ => Err(ChannelError::Name),
    }
}

#[cfg(test)]
mod tests;
