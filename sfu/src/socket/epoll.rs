//! Which of many sockets have something: `epoll`, for the TCP connections of a worker, and what is asked of each of them.

use super::set_option;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Events per call.
const EVENTS: usize = 64;
/// What waits in the kernel for the peer to take it, unsent and unacknowledged: 10 Mbit/s at a round trip of 200 ms.
const SEND_BUFFER_BYTES: libc::c_int = 256 * 1024;
/// What waits unsent there: the rest waits with us, where it can still be dropped.
const UNSENT_BYTES: libc::c_int = 32 * 1024;

/// What a connection is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadAndWrite,
}

impl Interest {
    fn events(self) -> u32 {
        let events = match self {
            Self::Read => libc::EPOLLIN,
            Self::ReadAndWrite => libc::EPOLLIN | libc::EPOLLOUT,
        };
        events as u32
    }
}

/// One connection that has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) key: usize,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// A set of sockets, each under a number; readable itself when one of them has something.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Looks at a socket until it is closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, key, Interest::Read)
    }

    pub(crate) fn change(
        &self,
        fd: BorrowedFd<'_>,
        key: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, key, interest)
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: BorrowedFd<'_>,
        key: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.events(), u64: key as u64 };
        let (set, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `event` is live; both descriptors are open.
        let result = unsafe { libc::epoll_ctl(set, operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Appends what has something now, at most 64; never waits. Returns whether there may be more.
    pub(crate) fn ready(&self, into: &mut Vec<Ready>) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        // SAFETY: `events` is an array of that length.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), EVENTS as libc::c_int, 0)
        };
        // An error leaves nothing: it is interrupted, and asked again.
        let count = usize::try_from(count).unwrap_or(0);
        into.extend(events.iter().take(count).map(|event| {
            let (flags, key) = (event.events, event.u64 as usize);
            // An error or the end of the connection is found by reading.
            let write = flags & libc::EPOLLOUT as u32 != 0;
            Ready { key, read: flags & !(libc::EPOLLOUT as u32) != 0, write }
        }));
        count == EVENTS
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection for media: it never waits, and little of what is written waits in the kernel.
pub(crate) fn prepare(stream: &std::net::TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let fd = stream.as_fd();
    // The kernel doubles it (socket(7)).
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER_BYTES / 2)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, UNSENT_BYTES)
}
