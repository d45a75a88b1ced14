//! Real sockets that a thread of its own empties and nobody else looks at.
//!
//! They cost the sender what the load generator's receivers cost it: the same buffers, kernel time stamps and epoll, and nobody is woken
//! per message.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimestampns, UdpGroSegment};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt};
use nix::unistd::Pid;

/// Holds what comes between two looks.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Between two looks at the sockets.
const TICK: Duration = Duration::from_millis(1);
/// When nothing came for so long, the rest is lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Sockets per `epoll_wait`.
const EVENTS: usize = 256;
/// Messages per `recvmmsg`, and room for each: one datagram, or what GRO joined.
const SINGLES: (usize, usize) = (16, 2048);
const RUNS: (usize, usize) = (4, 1 << 16);

#[derive(Debug, Default)]
struct Shared {
    datagrams: AtomicU64,
    stop: AtomicBool,
}

/// See the module. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Receivers {
    /// Where each one listens.
    pub(crate) addresses: Vec<SocketAddrV4>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Receivers {
    /// Binds `count` sockets and empties them on processor `cpu` (`None`: anywhere). Every datagram has `datagram` bytes.
    pub(crate) fn start(
        count: usize,
        gro: bool,
        datagram: usize,
        cpu: Option<usize>,
    ) -> anyhow::Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut addresses = Vec::new();
        let mut sockets = Vec::new();
        for index in 0..count {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("open files")?;
            setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
            setsockopt(&socket, ReceiveTimestampns, &true)?;
            setsockopt(&socket, UdpGroSegment, &gro)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            addresses.push(SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr()?.port()));
            sockets.push(socket);
        }
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let thread = std::thread::spawn(move || {
            if let Some(cpu) = cpu {
                pin(cpu)?;
            }
            Drain::new(gro, datagram, seen).run(&epoll, &sockets)
        });
        Ok(Self { addresses, shared, thread: Some(thread) })
    }

    /// Datagrams taken from the kernel so far.
    pub(crate) fn datagrams(&self) -> u64 {
        self.shared.datagrams.load(Ordering::Acquire)
    }

    /// Waits until `datagrams` have been taken, or no more come. Returns how many have been.
    pub(crate) fn settle(&self, datagrams: u64) -> u64 {
        let (mut last, mut since) = (self.datagrams(), Instant::now());
        while last < datagrams && since.elapsed() < PATIENCE {
            std::thread::sleep(TICK);
            let now = self.datagrams();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("receivers: {error:#}");
        }
    }
}

/// The calling thread runs on processor `cpu` only.
pub(crate) fn pin(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("processor {cpu}"))
}

struct Drain {
    headers: MultiHeaders<SockaddrIn>,
    buf: Vec<u8>,
    room: usize,
    datagram: usize,
    shared: Arc<Shared>,
}

impl Drain {
    fn new(gro: bool, datagram: usize, shared: Arc<Shared>) -> Self {
        let (messages, room) = if gro { RUNS } else { SINGLES };
        let headers = MultiHeaders::preallocate(messages, None);
        Self { headers, buf: vec![0; messages * room], room, datagram, shared }
    }

    fn run(&mut self, epoll: &Epoll, sockets: &[UdpSocket]) -> anyhow::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.shared.stop.load(Ordering::Acquire) {
            let ready = match epoll.wait(&mut events, EpollTimeout::ZERO) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut taken = 0;
            for event in &events[..ready] {
                taken += self.empty(&sockets[event.data() as usize])?;
            }
            self.shared.datagrams.fetch_add(taken, Ordering::Release);
            if ready < EVENTS {
                std::thread::sleep(TICK);
            }
        }
        Ok(())
    }

    /// Takes all that waits at one socket; the number of its datagrams.
    fn empty(&mut self, socket: &UdpSocket) -> anyhow::Result<u64> {
        let (fd, datagram) = (socket.as_raw_fd(), self.datagram);
        let mut taken = 0;
        loop {
            let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                self.buf.chunks_exact_mut(self.room).map(|room| [IoSliceMut::new(room)]).collect();
            let flags = MsgFlags::MSG_DONTWAIT;
            let count = slices.len();
            match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
                Ok(messages) => {
                    let mut came = 0;
                    for message in messages {
                        came += 1;
                        taken += message.bytes.div_ceil(datagram) as u64;
                    }
                    if came < count {
                        return Ok(taken);
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(taken),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
