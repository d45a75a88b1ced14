//! Webhooks: tells programs of the operator's what happens in rooms, with LiveKit's events, names and signature.
//!
//! Rooms never wait: a target that does not keep up loses events, which is counted. Each target gets its events in order.

mod deliver;
mod event;
mod public;

pub(crate) use event::{Happening, RoomFacts};
pub(crate) use public::is_public;

use crate::config::Webhook;
use deliver::Target;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;
use tokio::sync::mpsc;

/// Events that may wait for one target.
const QUEUE: usize = 1000;

/// All targets. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Webhooks {
    targets: Arc<[mpsc::Sender<String>]>,
    counts: Arc<Counts>,
}

/// What became of events, once for each target.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    /// Given up after all attempts.
    pub(crate) failed: AtomicU64,
    /// The queue was full.
    pub(crate) dropped: AtomicU64,
    /// Further attempts.
    pub(crate) retried: AtomicU64,
    /// Waiting, or being delivered.
    pub(crate) waiting: AtomicUsize,
}

impl Webhooks {
    /// One task for each target.
    pub(crate) fn start(config: Option<&Webhook>) -> anyhow::Result<Self> {
        let Some(config) = config else { return Ok(Self::default()) };
        let counts = Arc::new(Counts::default());
        let mut targets = Vec::new();
        for url in &config.urls {
            let (sender, queue) = mpsc::channel(QUEUE);
            let target = Target::new(url, config, counts.clone())?;
            tokio::spawn(target.run(queue));
            targets.push(sender);
        }
        Ok(Self { targets: targets.into(), counts })
    }

    /// Whether anybody listens.
    pub(crate) fn is_off(&self) -> bool {
        self.targets.is_empty()
    }

    /// Tells all targets; never waits.
    pub(crate) fn tell(&self, room: &RoomFacts, happening: &Happening) {
        if self.is_off() {
            return;
        }
        let text = event::encode(room, happening, SystemTime::now());
        for target in self.targets.iter() {
            self.counts.waiting.fetch_add(1, Ordering::Relaxed);
            if target.try_send(text.clone()).is_err() {
                self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}
