//! No descriptor is left for another connection: whoever comes is told so, and does not wait for nothing.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the kernel says: of this process, of the whole machine (errno.h of Linux, on all that we run on).
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
/// Connections that are turned away before the server tries again to take one.
const AT_ONCE: usize = 8;
/// How long one may take to say what it wants. Closed before that was read, it would not see the answer.
const REQUEST: Duration = Duration::from_millis(5);
const LOG_EVERY: Duration = Duration::from_secs(60);
const ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 10\r\nConnection: close\r\n\r\n\
     The server has as many connections as it can hold; try again later.\n";

/// A descriptor that is kept for this, and where connections wait.
#[derive(Debug)]
pub(crate) struct Spare {
    listener: TcpListener,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    file: Option<File>,
    logged: Option<Instant>,
}

impl Spare {
    /// For a listener that does not block.
    pub(crate) fn of(listener: &TcpListener) -> io::Result<Self> {
        let kept = Kept { file: Some(spare()?), logged: None };
        Ok(Self { listener: listener.try_clone()?, kept: Mutex::new(kept) })
    }

    /// A connection could not be taken.
    pub(crate) fn failed(&self, error: &io::Error) {
        if !matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
            return;
        }
        // Nothing inside the guard can panic half-way through a change.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            kept.logged = Some(Instant::now());
            tracing::warn!("no file descriptor is left for newcomers; raise the limit (ulimit -n)");
        }
        kept.file = None;
        for _ in 0..AT_ONCE {
            let Ok((stream, _)) = self.listener.accept() else { break };
            // Whoever has gone does not want to know.
            let _ = turn_away(stream);
        }
        kept.file = spare().ok();
    }
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(REQUEST))?;
    let mut request = [0; 4096];
    // TLS could not read it.
    if stream.read(&mut request)? > 0 && request[0].is_ascii_uppercase() {
        stream.write_all(ANSWER.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
    }
    Ok(())
}
