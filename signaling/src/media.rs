//! The only module that talks to the media plane: commands down to a room's workers, events up to the room.

mod place;
mod routes;

pub(crate) use place::Place;
#[cfg(test)]
pub(crate) use routes::Routes;

use crate::room::{MediaIds, Registry};
use sfu::metrics::WorkerMetrics;
use sfu::{Event, Events, Handle};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker comes round at least once a second, and a turn takes well below a millisecond.
const STALLED: Duration = Duration::from_secs(5);

/// The media plane, for rooms.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    handle: Handle,
    /// Where peers may connect.
    tcp_candidates: Arc<[SocketAddr]>,
}

impl Media {
    pub(crate) fn new(handle: Handle, tcp_candidates: Vec<SocketAddr>) -> Self {
        Self { handle, tcp_candidates: tcp_candidates.into() }
    }

    /// Finds a place for a new room.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.handle.clone(), self.tcp_candidates.clone())
    }

    /// What every worker has counted, in order of their numbers.
    pub(crate) fn metrics(&self) -> Vec<WorkerMetrics> {
        self.handle.workers().filter_map(|worker| self.handle.metrics(worker)).collect()
    }

    /// How busy the least busy worker was over the last second, in percent.
    pub(crate) fn load_percent(&self) -> u32 {
        let loads = self.handle.workers().map(|worker| self.handle.load(worker));
        (loads.fold(1.0, f64::min) * 100.0) as u32
    }

    /// The number of a worker whose loop hangs, and for how long it has.
    pub(crate) fn stalled(&self, now: Instant) -> Option<(usize, Duration)> {
        let silent =
            self.handle.workers().map(|worker| (worker.0, self.handle.silence(worker, now)));
        silent.filter(|(_, silence)| *silence > STALLED).max_by_key(|(_, silence)| *silence)
    }
}

/// Hands every event to the room whose object it names, until the media plane stops.
pub(crate) async fn dispatch(mut events: Events, registry: Arc<Registry>) {
    while let Some((worker, event)) = events.recv().await {
        let id = match &event {
            Event::TransportConnected { transport, .. }
            | Event::TransportClosed { transport, .. }
            | Event::TransportSilent { transport, .. }
            | Event::DataSlowReader { transport, .. }
            | Event::DataRefused { transport, .. } => transport.0,
            Event::ActiveSpeakers { router, .. } | Event::Data { router, .. } => router.0,
            Event::ConsumerLayer { consumer, .. } | Event::ConsumerStatus { consumer, .. } => {
                consumer.0
            }
            Event::PublishedLayers { producer, .. } | Event::EncodingsReversed { producer } => {
                producer.0
            }
            Event::Stats { request, .. } => *request,
        };
        if let Some(room) = registry.by_serial(MediaIds::room_of(id)) {
            room.hear(worker, event).await;
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
        let media = Media::new(handle.clone(), Vec::new());
        assert_eq!(media.metrics().len(), 2);
        assert_eq!(media.stalled(Instant::now()), None);
        handle.shutdown();
        let later = Instant::now() + Duration::from_secs(60);
        let (worker, silence) = media.stalled(later).unwrap();
        assert!(worker < 2 && silence >= Duration::from_secs(58), "{silence:?}");
    }
}
