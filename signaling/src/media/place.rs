//! A room's place on the workers: who of it lives where, and the way of its commands there.

use super::routes::{Routed, Routes};
use crate::negotiation::LocalMedia;
use crate::protocol::ParticipantId;
use sfu::params::{Fingerprint, FingerprintHash};
use sfu::{Command, Error, Event, Handle, TransportId, WorkerId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a room waits before it tries a full queue again: a worker's turn takes well below a millisecond.
const RETRY: Duration = Duration::from_millis(2);

/// A room's share of the workers; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handle: Handle,
    tcp_candidates: Arc<[SocketAddr]>,
    home: WorkerId,
    /// Made for the first participant there.
    locals: HashMap<WorkerId, Arc<LocalMedia>>,
    participants: HashMap<ParticipantId, WorkerId>,
    /// Participants by worker.
    share: Vec<usize>,
    routes: Routes,
}

impl Place {
    pub(super) fn new(handle: Handle, tcp_candidates: Arc<[SocketAddr]>) -> Self {
        let (home, workers) = (handle.place_room(), handle.workers().count());
        Self {
            handle,
            tcp_candidates,
            home,
            locals: HashMap::new(),
            participants: HashMap::new(),
            share: vec![0; workers],
            routes: Routes::default(),
        }
    }

    /// Finds a worker for one more participant; returns our side of its peer connection.
    pub(crate) fn enter(&mut self, participant: ParticipantId) -> Arc<LocalMedia> {
        let worker = self.handle.place_peer(self.home, &self.share);
        if let Some(share) = self.share.get_mut(worker.0) {
            *share += 1;
        }
        self.participants.insert(participant, worker);
        let (handle, tcp_candidates) = (&self.handle, &self.tcp_candidates);
        let local = self.locals.entry(worker).or_insert_with(|| {
            let digest = handle.fingerprint().to_vec();
            Arc::new(LocalMedia {
                worker,
                fingerprint: Fingerprint { hash: FingerprintHash::Sha256, digest },
                candidates: handle.candidates(worker),
                tcp_candidates: tcp_candidates.to_vec(),
            })
        });
        local.clone()
    }

    /// The participant is gone, or never got in.
    pub(crate) fn leave(&mut self, participant: ParticipantId) {
        let worker = self.participants.remove(&participant);
        if let Some(share) = worker.and_then(|worker| self.share.get_mut(worker.0)) {
            *share = share.saturating_sub(1);
        }
    }

    /// A peer connection is about to be created on this worker.
    pub(crate) fn settle(&mut self, transport: TransportId, worker: WorkerId) {
        self.routes.settle(transport, worker);
    }

    /// Carries a command of the room out.
    pub(crate) async fn execute(&mut self, command: Command) {
        let routed = self.routes.route(command);
        self.send(routed).await;
    }

    /// What a worker tells, as the room should hear it.
    pub(crate) async fn hear(&mut self, worker: WorkerId, event: Event) -> Event {
        match event {
            Event::TransportClosed { transport, reason } => {
                let routed = self.routes.transport_closed(transport);
                self.send(routed).await;
                Event::TransportClosed { transport, reason }
            }
            Event::ActiveSpeakers { router, speakers } => {
                let speakers = self.routes.merge_speakers(worker, speakers);
                Event::ActiveSpeakers { router, speakers }
            }
            event => event,
        }
    }

    /// Queues commands, waiting while a worker's queue is full: none may be lost, or control and media would disagree for good.
    async fn send(&self, routed: Vec<Routed>) {
        for (worker, command) in routed {
            while let Err(Error::Overloaded) = self.handle.send(worker, command.clone()) {
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handle.release_room(self.home);
    }
}
