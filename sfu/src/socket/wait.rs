//! Waiting for the sockets, the clock or another thread: `ppoll` on the sockets and an `eventfd`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug)]
struct Shared {
    event: File,
    /// A wake-up is under way: later ones need no system call.
    pending: AtomicBool,
}

/// Ends the wait of one [`Waiter`], from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<Shared>);

impl Waker {
    /// What was queued before this call is seen by the turn that follows.
    pub(crate) fn wake(&self) {
        if !self.0.pending.swap(true, Ordering::AcqRel) {
            // Cannot fail but for an overflow of the counter, and then a wake-up is pending anyway.
            let _ = (&self.0.event).write(&1u64.to_ne_bytes());
        }
    }
}

/// Which sockets have something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    pub(crate) media: bool,
    pub(crate) reports: bool,
    pub(crate) tcp: bool,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Waiter(Arc<Shared>);

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        let event = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self(Arc::new(Shared { event, pending: AtomicBool::new(false) })))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(self.0.clone())
    }

    /// Waits until a socket is readable, a waker fires or the time is over (`None`: never). `reports` and `tcp` may be left out.
    pub(crate) fn wait(
        &self,
        media: BorrowedFd<'_>,
        reports: Option<BorrowedFd<'_>>,
        tcp: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Readable> {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A negative descriptor is passed over.
        let [reports, tcp] = [reports, tcp].map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd()));
        let (media, event) = (media.as_raw_fd(), self.0.event.as_raw_fd());
        let mut fds = [media, event, reports, tcp].map(poll);
        // SAFETY: all-zero is a valid `timespec`.
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        let time = timeout.map_or(std::ptr::null(), |timeout| {
            time.tv_sec = timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX);
            time.tv_nsec = timeout.subsec_nanos() as _;
            &raw const time
        });
        // SAFETY: `fds` is an array of four, `time` null or a local that lives to the end of this function.
        let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), 4, time, std::ptr::null()) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            let interrupted = error.kind() == io::ErrorKind::Interrupted;
            return if interrupted { Ok(Readable::default()) } else { Err(error) };
        }
        if fds[1].revents != 0 {
            let _ = (&self.0.event).read(&mut [0; 8]);
            // After the read and before the queue is drained: whoever queues from here on wakes anew.
            self.0.pending.store(false, Ordering::Release);
        }
        let [media, _, reports, tcp] = fds.map(|fd| fd.revents != 0);
        Ok(Readable { media, reports, tcp })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::time::Instant;

    #[test]
    fn a_waker_ends_the_wait_every_time() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let waiter = Waiter::new().unwrap();
        let waker = waiter.waker();
        for _ in 0..100 {
            waker.wake();
            waker.wake();
            assert!(!waiter.wait(socket.as_fd(), None, None, None).unwrap().media);
        }
        let start = Instant::now();
        let timeout = Duration::from_millis(5);
        assert!(!waiter.wait(socket.as_fd(), None, None, Some(timeout)).unwrap().media);
        assert!(start.elapsed() >= timeout, "a wake-up was left over");
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert!(waiter.wait(socket.as_fd(), None, None, None).unwrap().media);
    }
}
