//! Refuses newcomers before those who are here suffer: when the least busy media worker has been too busy for a while.
//!
//! A machine that is short of processor time makes a worker look busy for a second; only what lasts counts.

use crate::media::Media;
use crate::room::Registry;
use std::sync::Arc;
use std::time::Duration;

/// Workers count once a second.
const EVERY: Duration = Duration::from_secs(1);
/// So many seconds in a row.
const PATIENCE: u32 = 3;
/// Below the limit by so much, in percent, newcomers are let in again.
const RELIEF: u32 = 10;

/// What was seen.
#[derive(Debug, Default)]
struct Gauge {
    /// Seconds in a row.
    busy: u32,
    overloaded: bool,
}

impl Gauge {
    /// One second more; returns whether nobody more is to be let in.
    fn note(&mut self, load: u32, limit: u32) -> bool {
        self.busy = if load >= limit { self.busy.saturating_add(1) } else { 0 };
        self.overloaded = match self.overloaded {
            true => load + RELIEF > limit,
            false => self.busy >= PATIENCE,
        };
        self.overloaded
    }
}

/// Watches the workers for ever. With a limit of 100 percent nobody is refused.
pub(crate) async fn watch(media: Media, registry: Arc<Registry>, limit: u32) {
    if limit >= 100 {
        return;
    }
    let (mut gauge, mut seconds) = (Gauge::default(), tokio::time::interval(EVERY));
    let mut before = false;
    loop {
        seconds.tick().await;
        let load = media.load_percent();
        let overloaded = gauge.note(load, limit);
        registry.set_overloaded(overloaded);
        if overloaded != before {
            tracing::warn!(load, limit, overloaded, "newcomers are refused while this is true");
            before = overloaded;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_load_that_lasts_keeps_newcomers_out_and_only_relief_lets_them_in() {
        let mut gauge = Gauge::default();
        let mut after = |loads: &[u32]| loads.iter().map(|load| gauge.note(*load, 90)).last();
        assert_eq!(after(&[100, 100, 89, 100, 100]), Some(false), "never three in a row");
        assert_eq!(after(&[90]), Some(true));
        assert_eq!(after(&[89, 85, 81]), Some(true), "just below");
        assert_eq!(after(&[80]), Some(false));
        assert_eq!(after(&[95, 95]), Some(false));
        assert_eq!(after(&[95]), Some(true));
    }
}
