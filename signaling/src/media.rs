//! The only module that talks to the media plane: commands down to a room's worker, events up to the room.

use crate::negotiation::LocalMedia;
use crate::room::{MediaIds, Registry, RoomCommand};
use sfu::params::{Fingerprint, FingerprintHash};
use sfu::{Command, Error, Event, Events, Handle, WorkerId};
use std::sync::Arc;
use std::time::Duration;

/// How long a room waits before it tries a full queue again: a worker's turn takes well below a millisecond.
const RETRY: Duration = Duration::from_millis(2);

/// The media plane, for rooms.
#[derive(Clone, Debug)]
pub(crate) struct Media(Handle);

/// A room's share of a worker; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handle: Handle,
    worker: WorkerId,
}

impl Media {
    pub(crate) fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Finds a worker for a new room.
    pub(crate) fn place(&self) -> Place {
        Place { handle: self.0.clone(), worker: self.0.place_room() }
    }
}

impl Place {
    /// Our side of every peer connection of the room.
    pub(crate) fn local(&self) -> LocalMedia {
        let digest = self.handle.fingerprint().to_vec();
        LocalMedia {
            fingerprint: Fingerprint { hash: FingerprintHash::Sha256, digest },
            candidates: self.handle.candidates(self.worker),
        }
    }

    /// Queues a command, waiting while the worker's queue is full: none may be lost, or control and media would disagree for good.
    pub(crate) async fn execute(&self, command: Command) {
        loop {
            match self.handle.send(self.worker, command.clone()) {
                Err(Error::Overloaded) => tokio::time::sleep(RETRY).await,
                // The workers stop only with the process.
                Ok(()) | Err(_) => return,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.release_room(self.worker);
    }
}

/// Hands every event to the room whose object it names, until the media plane stops.
pub(crate) async fn dispatch(mut events: Events, registry: Arc<Registry>) {
    while let Some((_, event)) = events.recv().await {
        let id = match &event {
            Event::TransportConnected { transport, .. }
            | Event::TransportClosed { transport, .. }
            | Event::TransportSilent { transport, .. } => transport.0,
            Event::ActiveSpeakers { router, .. } => router.0,
            Event::ConsumerLayer { consumer, .. } => consumer.0,
            Event::Stats { .. } => continue,
        };
        if let Some(room) = registry.by_serial(MediaIds::room_of(id)) {
            room.send(RoomCommand::Media(event)).await;
        }
    }
}
