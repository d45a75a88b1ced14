//! What stands in for a probe where nothing can be sent twice, without RTX: the estimate is believed to be higher, and the layer that is forwarded then shows
//! whether it was right.

use crate::bandwidth::{Cause, Estimate};

/// So long after something was in the way comes the first one; after each that failed twice as long, up to a limit: it costs pictures.
const WAIT_US: u64 = 5_000_000;
const WAIT_US_MAX: u64 = 40_000_000;
/// What everything fitted into for so long was right.
const PROVED_US: u64 = 10_000_000;

#[derive(Debug)]
pub(super) struct Trial {
    /// Not before.
    due_us: u64,
    wait_us: u64,
    /// When it began and what was estimated before, bits per second; `None`: it failed, or was right.
    open: Option<(u64, u64)>,
}

impl Default for Trial {
    fn default() -> Self {
        Self { due_us: 0, wait_us: WAIT_US, open: None }
    }
}

impl Trial {
    /// Takes what is estimated now; there is something to try once something was in the way.
    pub(super) fn note(trial: &mut Option<Box<Self>>, now_us: u64, now: Estimate) {
        let overused = now.cause == Cause::Delay;
        let new = trial.is_none();
        if !overused && now.cause != Cause::Loss {
            return;
        }
        let trial = trial.get_or_insert_default();
        let fell = |&mut (_, before): &mut (u64, u64)| overused || now.bits_per_second < before;
        let failed = trial.open.take_if(fell).is_some();
        let wait_us = if failed { trial.wait_us } else { WAIT_US };
        if failed {
            trial.wait_us = (2 * trial.wait_us).min(WAIT_US_MAX);
        }
        // Loss may limit for as long as it goes on, and what is to grow, too.
        if failed || overused || new {
            trial.due_us = trial.due_us.max(now_us + wait_us);
        }
    }

    /// Is it time for one? `short`: slots have use for more than they were given.
    pub(super) fn is_due(&mut self, now_us: u64, short: bool) -> bool {
        let proved = |(at, _): &mut (u64, u64)| now_us.saturating_sub(*at) >= PROVED_US;
        if !short && self.open.take_if(proved).is_some() {
            self.wait_us = WAIT_US;
        }
        short && now_us >= self.due_us
    }

    /// `before`: what was estimated until now.
    pub(super) fn begin(&mut self, now_us: u64, before: Estimate) {
        self.open = Some((now_us, before.bits_per_second));
    }
}
