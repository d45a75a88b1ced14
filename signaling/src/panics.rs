//! How often a panic is told.
//!
//! Protocol libraries are called behind guards that catch their panics. Whoever finds bytes that make one panic could fill the log with them, so each
//! place in the source is heard once a minute. A panic that ends the process is heard by what it ends with.

use std::collections::HashMap;
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a place that was told is not told again.
const PAUSE: Duration = Duration::from_secs(60);
/// Places that are remembered; beyond it all are told anew.
const PLACES_MAX: usize = 256;

/// Where panics were, and when they were told last.
#[derive(Debug, Default)]
struct Told(HashMap<(String, u32), Instant>);

impl Told {
    fn is_due(&mut self, now: Instant, file: &str, line: u32) -> bool {
        if self.0.len() >= PLACES_MAX {
            self.0.clear();
        }
        let place = (file.to_owned(), line);
        let recent = self.0.get(&place).is_some_and(|told| now.duration_since(*told) < PAUSE);
        if !recent {
            self.0.insert(place, now);
        }
        !recent
    }
}

/// From now on the process tells each place's panics once a minute.
pub fn limit_reports() {
    let told = Mutex::new(Told::default());
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let (file, line) = panic.location().map_or(("", 0), |place| (place.file(), place.line()));
        // Nobody waits for it while the report is written.
        let due =
            told.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now(), file, line);
        if due {
            report(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_16_a_place_is_told_once_a_minute() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert!(told.is_due(start, "a.rs", 1));
        assert!(!told.is_due(start, "a.rs", 1));
        assert!(told.is_due(start, "a.rs", 2) && told.is_due(start, "b.rs", 1));
        assert!(!told.is_due(start + PAUSE - Duration::from_millis(1), "a.rs", 1));
        assert!(told.is_due(start + PAUSE, "a.rs", 1));
        for line in 0..10 * PLACES_MAX as u32 {
            told.is_due(start, "c.rs", line);
        }
        assert!(told.0.len() <= PLACES_MAX);
    }
}
