//! The datagrams under way, and the sockets at both ends: one towards the server for each client, so that the server sees each as its own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::link::{Link, Micros};

/// A link is a household's.
const CLIENTS_MAX: usize = 64;
/// Of one socket in a turn.
const DATAGRAMS_MAX: usize = 64;
const DATAGRAM_MAX: usize = 2048;
const RECEIVE_BUFFER: usize = 1 << 20;

/// As the browsers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// A link and what passed.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) link: Link,
    packets: u64,
    bytes: u64,
    /// Found the queue full.
    dropped: u64,
    lost: u64,
    /// Time in the queue of those that passed.
    waited: Micros,
    waited_max: Micros,
}

impl Way {
    fn new() -> Self {
        let link = Link::new(0);
        Self { link, packets: 0, bytes: 0, dropped: 0, lost: 0, waited: 0, waited_max: 0 }
    }

    fn pass(&mut self, now: Micros, bytes: usize, rng: &mut SmallRng) -> Option<Micros> {
        let at = self.link.pass(now, bytes, rng);
        self.dropped += self.link.dropped.drain(..).count() as u64;
        for (_, waited, bytes) in self.link.passed.drain(..) {
            self.packets += 1;
            self.bytes += bytes as u64;
            self.lost += u64::from(at.is_none());
            self.waited += waited;
            self.waited_max = self.waited_max.max(waited);
        }
        at
    }

    /// What passed since the last time.
    fn stats(&mut self) -> Value {
        let ms = |time: Micros| time as f64 / 1000.0;
        let downloaded = self.link.tcp.as_mut().map_or(0, |tcp| std::mem::take(&mut tcp.delivered));
        let stats = json!({
            "rate": self.link.rate,
            "packets": self.packets,
            "bytes": self.bytes,
            "dropped": self.dropped,
            "lost": self.lost,
            "queue_ms": ms(self.waited / self.packets.max(1)),
            "queue_ms_max": ms(self.waited_max),
            "tcp_bytes": downloaded,
        });
        *self = Self { link: self.link.clone(), ..Self::new() };
        stats
    }
}

#[derive(Debug)]
struct UnderWay {
    at: Micros,
    order: u64,
    direction: Direction,
    client: SocketAddr,
    bytes: Vec<u8>,
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for UnderWay {}
impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Both directions of a link, and who is at its ends.
#[derive(Debug)]
pub(crate) struct Relay {
    listen: UdpSocket,
    to: SocketAddr,
    /// Towards the server, by the client's address.
    upstream: HashMap<SocketAddr, UdpSocket>,
    down: Way,
    up: Way,
    rng: SmallRng,
    heap: BinaryHeap<Reverse<UnderWay>>,
    order: u64,
}

impl Relay {
    /// Both links stop everything at first.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub(crate) fn new(listen: SocketAddr, to: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        Ok(Self {
            listen: bind(listen).with_context(|| listen.to_string())?,
            to,
            upstream: HashMap::new(),
            down: Way::new(),
            up: Way::new(),
            rng: SmallRng::seed_from_u64(seed),
            heap: BinaryHeap::new(),
            order: 0,
        })
    }

    /// Where the browsers send to.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listen.local_addr()?)
    }

    pub(crate) fn link(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        }
    }

    /// All that something may arrive at.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        std::iter::once(&self.listen).chain(self.upstream.values())
    }

    /// Takes what waits in the sockets.
    pub(crate) fn receive(&mut self, now: &impl Fn() -> Micros) {
        let mut bytes = [0; DATAGRAM_MAX];
        let mut arrived = Vec::new();
        for _ in 0..DATAGRAMS_MAX {
            let Ok((length, client)) = self.listen.recv_from(&mut bytes) else { break };
            arrived.push((Direction::Up, client, bytes[..length].to_vec()));
        }
        for (client, socket) in &self.upstream {
            for _ in 0..DATAGRAMS_MAX {
                // A server that is not there yet shows itself as an error, once.
                let Ok(length) = socket.recv(&mut bytes) else { break };
                arrived.push((Direction::Down, *client, bytes[..length].to_vec()));
            }
        }
        for (direction, client, bytes) in arrived {
            self.enqueue(now(), direction, client, bytes);
        }
    }

    fn enqueue(&mut self, now: Micros, direction: Direction, client: SocketAddr, bytes: Vec<u8>) {
        let way = match direction {
            Direction::Down => &mut self.down,
            Direction::Up => &mut self.up,
        };
        let Some(at) = way.pass(now, bytes.len(), &mut self.rng) else { return };
        self.order += 1;
        self.heap.push(Reverse(UnderWay { at, order: self.order, direction, client, bytes }));
    }

    /// Sends what has passed by now; says when the next has.
    pub(crate) fn deliver(&mut self, now: Micros) -> Option<Micros> {
        while self.heap.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Some(Reverse(datagram)) = self.heap.pop() else { break };
            // What the kernel does not take is lost, as on a network.
            match datagram.direction {
                Direction::Down => drop(self.listen.send_to(&datagram.bytes, datagram.client)),
                Direction::Up => self.send_up(datagram.client, &datagram.bytes),
            }
        }
        self.heap.peek().map(|Reverse(next)| next.at)
    }

    fn send_up(&mut self, client: SocketAddr, bytes: &[u8]) {
        if !self.upstream.contains_key(&client) {
            if self.upstream.len() == CLIENTS_MAX {
                return;
            }
            let any = match self.to {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let Ok(socket) = bind(any).and_then(|socket| {
                socket.connect(self.to)?;
                Ok(socket)
            }) else {
                return;
            };
            self.upstream.insert(client, socket);
        }
        if let Some(socket) = self.upstream.get(&client) {
            let _ = socket.send(bytes);
        }
    }

    /// Everybody gets another address towards the server with the next datagram; what comes to the one before is lost.
    pub(crate) fn rebind(&mut self) {
        self.upstream.clear();
    }

    /// What passed since the last time, and who is there.
    pub(crate) fn stats(&mut self) -> Value {
        json!({
            "clients": self.upstream.len(),
            "down": self.down.stats(),
            "up": self.up.stats(),
        })
    }
}

fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER)?;
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::link::{MS, SECOND};
    use super::*;
    use std::time::{Duration, Instant};

    struct World {
        relay: Relay,
        server: UdpSocket,
        clients: [UdpSocket; 2],
    }

    fn localhost() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    impl World {
        fn new() -> Self {
            let server = localhost();
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut relay = Relay::new(listen, server.local_addr().unwrap(), 1).unwrap();
            for way in [&mut relay.down, &mut relay.up] {
                way.link.rate = 1_000_000;
            }
            let clients = [localhost(), localhost()];
            for client in &clients {
                client.connect(relay.address().unwrap()).unwrap();
            }
            Self { relay, server, clients }
        }

        /// Takes until so many datagrams are under way.
        fn take(&mut self, now: Micros, count: usize) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.relay.heap.len() < count {
                assert!(Instant::now() < deadline, "nothing arrives");
                self.relay.receive(&|| now);
            }
        }
    }

    #[test]
    fn each_client_is_its_own_to_the_server_and_gets_its_own_answer() {
        let mut world = World::new();
        let mut bytes = [0; 100];
        for (index, client) in world.clients.iter().enumerate() {
            client.send(&[index as u8; 10]).unwrap();
        }
        world.take(0, 2);
        world.relay.deliver(SECOND);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (_, from) = world.server.recv_from(&mut bytes).unwrap();
            world.server.send_to(&[10 + bytes[0]; 20], from).unwrap();
            seen.push(from);
        }
        assert_ne!(seen[0], seen[1]);
        world.take(SECOND, 2);
        world.relay.deliver(2 * SECOND);
        for (index, client) in world.clients.iter().enumerate() {
            let length = client.recv(&mut bytes).unwrap();
            assert_eq!((length, bytes[0]), (20, 10 + index as u8));
        }
        let stats = world.relay.stats();
        assert_eq!((&stats["clients"], &stats["down"]["bytes"]), (&json!(2), &json!(40)));
        assert_eq!(stats["up"]["bytes"], json!(20));
        assert_eq!(world.relay.stats()["up"]["bytes"], json!(0), "since the last time");
        world.relay.rebind();
        world.clients[0].send(&[0; 10]).unwrap();
        world.take(2 * SECOND, 1);
        world.relay.deliver(3 * SECOND);
        let (_, from) = world.server.recv_from(&mut bytes).unwrap();
        assert!(!seen.contains(&from), "another address");
    }

    #[test]
    fn what_finds_the_queue_full_is_dropped_and_the_rest_takes_its_time() {
        let mut world = World::new();
        world.relay.up.link.queue = 15 * MS;
        world.relay.up.link.delay = 40 * MS;
        // 10 ms each at 1 Mbit/s: the third waits 20 ms.
        for _ in 0..3 {
            world.clients[0].send(&[0; 1222]).unwrap();
        }
        world.take(0, 2);
        while world.relay.up.dropped == 0 {
            world.relay.receive(&|| 0);
        }
        assert_eq!(world.relay.deliver(49 * MS), Some(50 * MS));
        assert_eq!(world.relay.deliver(50 * MS), Some(60 * MS));
        let stats = world.relay.stats();
        assert_eq!(
            (&stats["up"]["packets"], &stats["up"]["dropped"], &stats["up"]["queue_ms_max"]),
            (&json!(2), &json!(1), &json!(10.0))
        );
    }

    #[test]
    fn loss_is_counted() {
        let mut world = World::new();
        world.relay.up.link.loss = 1.0;
        world.clients[0].send(&[0; 10]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while world.relay.up.lost == 0 {
            assert!(Instant::now() < deadline);
            world.relay.receive(&|| 0);
        }
        assert_eq!((world.relay.heap.len(), world.relay.up.dropped), (0, 0));
    }
}
