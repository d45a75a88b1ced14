//! What a command tells while it runs, on standard error: one line that changes on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks of a terminal's line.
const TERMINAL: Duration = Duration::from_millis(500);
/// Between two lines of a log.
const LOG: Duration = Duration::from_secs(5);

pub(super) struct Progress {
    is_terminal: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal(), shown: None }
    }

    /// Shows a line, where it is time for one.
    pub(super) fn show(&mut self, line: impl FnOnce() -> String) {
        let interval = if self.is_terminal { TERMINAL } else { LOG };
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        if self.is_terminal {
            // To the beginning of the line, and what was there goes.
            let _ = write!(stderr(), "\r\x1b[K{}", line());
        } else {
            let _ = writeln!(stderr(), "{}", line());
        }
    }

    /// Says something once, on a line that stays.
    pub(super) fn say(&mut self, line: &str) {
        let clear = if self.is_terminal && self.shown.is_some() { "\r\x1b[K" } else { "" };
        let _ = writeln!(stderr(), "{clear}{line}");
    }
}

/// Frames and bytes of one track.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amount {
    pub(super) frames: u64,
    pub(super) bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, frame: &[u8]) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }

    /// `VP8 250 frames 310 kbit/s`
    pub(super) fn told(self, format: super::format::Format, during: Duration) -> String {
        let noun = if format.is_video() { "frames" } else { "packets" };
        let milliseconds = during.as_millis().max(1);
        let rate = u128::from(self.bytes) * 8 / milliseconds;
        format!("{} {} {noun} {rate} kbit/s", format.name(), self.frames)
    }
}

/// `1:02:03`, without hours where there are none.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let shown = |seconds| clock(Duration::from_secs(seconds));
        assert_eq!([shown(5), shown(75), shown(3723)], ["0:05", "1:15", "1:02:03"]);
    }
}
