//! The only module that talks to the media plane: commands down to a room's worker, events up to the room.

use crate::negotiation::LocalMedia;
use crate::room::{MediaIds, Registry, RoomCommand};
use sfu::metrics::WorkerMetrics;
use sfu::params::{Fingerprint, FingerprintHash};
use sfu::{Command, Error, Event, Events, Handle, WorkerId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a room waits before it tries a full queue again: a worker's turn takes well below a millisecond.
const RETRY: Duration = Duration::from_millis(2);
/// A worker comes round at least once a second, and a turn takes well below a millisecond.
const STALLED: Duration = Duration::from_secs(5);

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

    /// What every worker has counted, in order of their numbers.
    pub(crate) fn metrics(&self) -> Vec<WorkerMetrics> {
        self.0.workers().filter_map(|worker| self.0.metrics(worker)).collect()
    }

    /// The number of a worker whose loop hangs, and for how long it has.
    pub(crate) fn stalled(&self, now: Instant) -> Option<(usize, Duration)> {
        let silent = self.0.workers().map(|worker| (worker.0, self.0.silence(worker, now)));
        silent.filter(|(_, silence)| *silence > STALLED).max_by_key(|(_, silence)| *silence)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_not_come_round_for_five_seconds_hangs() {
        let media_ips = vec!["127.0.0.1".parse().unwrap()];
        let config = sfu::Config { media_ips, workers: 2, ..sfu::Config::default() };
        let (handle, _events) = sfu::Sfu::start(config).unwrap();
        let media = Media::new(handle.clone());
        assert_eq!(media.metrics().len(), 2);
        assert_eq!(media.stalled(Instant::now()), None);
        handle.shutdown();
        let later = Instant::now() + Duration::from_secs(60);
        let (worker, silence) = media.stalled(later).unwrap();
        assert!(worker < 2 && silence >= Duration::from_secs(58), "{silence:?}");
    }
}
