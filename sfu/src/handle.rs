//! Control's end: commands in, and what signaling must know of the workers.

use crate::WorkerId;
use crate::metrics::Published;
use crate::placement::{self, Burden, Spread};
use crate::socket::Waker;
use crate::start::Error;
use crate::tcp::Arriving;
use crate::worker::Load;
use sfu_core::Command;
use std::any::Any;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Control's end of one worker.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) commands: SyncSender<Command>,
    pub(crate) arrivals: SyncSender<Arriving>,
    pub(crate) waker: Waker,
    pub(crate) port: u16,
    pub(crate) has_ipv6: bool,
    pub(crate) load: Arc<Load>,
    pub(crate) published: Arc<Published>,
}

#[derive(Debug)]
struct Inner {
    links: Vec<Link>,
    media_ips: Vec<IpAddr>,
    fingerprint: [u8; 32],
    spread: Spread,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The media plane as control sees it. Clones are the same; when the last one is dropped the workers stop.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

impl Handle {
    pub(crate) fn new(
        links: Vec<Link>,
        media_ips: Vec<IpAddr>,
        fingerprint: [u8; 32],
        spread: Spread,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let threads = Mutex::new(Vec::with_capacity(links.len()));
        Self(Arc::new(Inner { links, media_ips, fingerprint, spread, stop, threads }))
    }

    pub(crate) fn adopt(&self, thread: JoinHandle<()>) {
        self.0.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    pub(crate) fn link(&self, worker: WorkerId) -> Option<&Link> {
        self.0.links.get(worker.0)
    }

    /// Queues a command; never blocks. Commands to one worker are executed in the order in which they were queued.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when 8192 commands wait already, [`Error::NoWorker`].
    pub fn send(&self, worker: WorkerId, command: Command) -> Result<(), Error> {
        let link = self.link(worker).ok_or(Error::NoWorker)?;
        // Counted first: the worker may take it before this call returns.
        link.published.command_queued();
        link.commands.try_send(command).map_err(|error| {
            link.published.commands_taken(1);
            match error {
                TrySendError::Full(_) => Error::Overloaded,
                TrySendError::Disconnected(_) => Error::NoWorker,
            }
        })?;
        link.waker.wake();
        Ok(())
    }

    /// Hands a TCP connection over, with what was read of it: its first frame names a peer connection of this worker. `permit` is dropped when the
    /// connection is closed.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when 256 are on their way already, [`Error::NoWorker`]; the connection is closed.
    pub fn connect(
        &self,
        worker: WorkerId,
        stream: TcpStream,
        first: Vec<u8>,
        permit: Box<dyn Any + Send>,
    ) -> Result<(), Error> {
        let link = self.link(worker).ok_or(Error::NoWorker)?;
        link.arrivals.try_send(Arriving { stream, first, permit }).map_err(
            |error| match error {
                TrySendError::Full(_) => Error::Overloaded,
                TrySendError::Disconnected(_) => Error::NoWorker,
            },
        )?;
        link.waker.wake();
        Ok(())
    }

    /// What candidates advertise.
    #[must_use]
    pub fn media_ips(&self) -> &[IpAddr] {
        &self.0.media_ips
    }

    /// All workers.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.0.links.len()).map(WorkerId)
    }

    /// Where a worker receives media: its port on every media address that its socket can speak.
    #[must_use]
    pub fn candidates(&self, worker: WorkerId) -> Vec<SocketAddr> {
        let Some(link) = self.link(worker) else { return Vec::new() };
        let ips = self.0.media_ips.iter().filter(|ip| ip.is_ipv4() || link.has_ipv6);
        ips.map(|ip| SocketAddr::new(*ip, link.port)).collect()
    }

    /// SHA-256 of the DTLS certificate, which all workers share.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// The worker for a new room: the least busy one and, among those about equally busy, the one with the fewest rooms. Every call counts a room;
    /// [`Handle::release_room`] takes it back.
    #[must_use]
    pub fn place_room(&self) -> WorkerId {
        let worker = placement::place_room(&self.burdens());
        if let Some(link) = self.link(worker) {
            link.load.add_room();
        }
        worker
    }

    /// The worker for one more peer connection of a room that began on `home`. `share`: how many of the room's each worker has.
    #[must_use]
    pub fn place_peer(&self, home: WorkerId, share: &[usize]) -> WorkerId {
        placement::place_peer(&self.burdens(), share, home, self.0.spread)
    }

    fn burdens(&self) -> Vec<Burden> {
        let loads = self.0.links.iter().map(|link| &link.load);
        loads
            .map(|load| Burden { busy_permille: load.busy_permille(), rooms: load.rooms() })
            .collect()
    }

    /// A room of this worker has ended.
    pub fn release_room(&self, worker: WorkerId) {
        if let Some(link) = self.link(worker) {
            link.load.remove_room();
        }
    }

    /// How busy a worker's thread was over the last second: 0.0 to 1.0.
    #[must_use]
    pub fn load(&self, worker: WorkerId) -> f64 {
        self.link(worker).map_or(0.0, |link| f64::from(link.load.busy_permille()) / 1000.0)
    }

    /// Stops the workers once they have executed what is queued, and waits for them (one turn each). Later calls do nothing.
    pub fn shutdown(&self) {
        self.0.stop();
    }
}

impl Inner {
    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for link in &self.links {
            link.waker.wake();
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A worker that panicked has ended the process.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::socket::Waiter;
    use sfu_core::TransportId;
    use std::sync::mpsc::{Receiver, sync_channel};

    /// A handle to workers that nobody runs.
    fn handle(workers: usize, queue: usize) -> (Handle, Vec<Receiver<Command>>) {
        let (links, queues) = (0..workers)
            .map(|index| {
                let (commands, queue) = sync_channel(queue);
                let waker = Waiter::new().unwrap().waker();
                let load = Arc::new(Load::default());
                let published = Arc::default();
                let port = 1000 + index as u16;
                let (arrivals, _) = sync_channel(1);
                let has_ipv6 = index == 0;
                (Link { commands, arrivals, waker, port, has_ipv6, load, published }, queue)
            })
            .unzip();
        let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec();
        (Handle::new(links, ips, [7; 32], Spread::Auto, Arc::default()), queues)
    }

    #[test]
    fn a_full_queue_is_reported_and_never_waited_for() {
        let (handle, queues) = handle(1, 2);
        let close = |number| Command::CloseTransport { transport: TransportId(number) };
        handle.send(WorkerId(0), close(1)).unwrap();
        handle.send(WorkerId(0), close(2)).unwrap();
        assert!(matches!(handle.send(WorkerId(0), close(3)), Err(Error::Overloaded)));
        let order: Vec<_> = queues[0].try_iter().map(|command| format!("{command:?}")).collect();
        assert_eq!(order, [1, 2].map(|number| format!("{:?}", close(number))));
        handle.send(WorkerId(0), close(4)).unwrap();
    }

    #[test]
    fn rooms_go_to_the_least_burdened_worker() {
        let (handle, _queues) = handle(3, 1);
        let placed: Vec<usize> = (0..4).map(|_| handle.place_room().0).collect();
        assert_eq!(placed, [0, 1, 2, 0]);
        handle.release_room(WorkerId(2));
        assert_eq!(handle.place_room(), WorkerId(2));
        handle.release_room(WorkerId(1));
        handle.release_room(WorkerId(1));
        handle.0.links[1].load.set_busy_permille(450);
        assert_eq!(handle.place_room(), WorkerId(2), "1 has no rooms, but is busy");
        assert!((handle.load(WorkerId(1)) - 0.45).abs() < 1e-9);
    }

    #[test]
    fn candidates_are_what_the_socket_can_speak() {
        let (handle, _queues) = handle(2, 1);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let all = ["192.0.2.1:1000", "[2001:db8::1]:1000"].map(address);
        assert_eq!(handle.candidates(WorkerId(0)), all);
        assert_eq!(handle.candidates(WorkerId(1)), [address("192.0.2.1:1001")]);
        assert!(handle.candidates(WorkerId(2)).is_empty());
    }
}
