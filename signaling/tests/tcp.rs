//! Media over the TCP port (ICE-TCP): frames, peers that say nothing, nonsense or too much, peers that do not read, and how many there may be.

use crate::harness::*;
use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message as Stun, Setter as _};
use signaling::config::Config;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;

/// How long the server waits for a proof.
const PROOF: Duration = Duration::from_secs(5);

/// A peer connection that exists at the server.
struct Peer {
    server: SocketAddr,
    username: String,
    password: String,
}

impl Peer {
    async fn new(server: &Server, room: &str) -> Self {
        let answer = server.session(&format!("/whip/{room}"), &publisher()).await.body;
        let tcp = answer.lines().find(|line| line.contains(" tcp ")).expect("a TCP candidate");
        let fields: Vec<&str> = tcp.split(' ').collect();
        assert_eq!(fields[6..], ["typ", "host", "tcptype", "passive"], "{tcp}");
        assert_eq!(format!("{}:{}", fields[4], fields[5]), server.address().to_string());
        let username = format!("{}:{UFRAG}", attribute(&answer, "ice-ufrag"));
        let password = attribute(&answer, "ice-pwd").to_owned();
        Self { server: server.address(), username, password }
    }

    /// A check that nominates, framed.
    fn check(&self) -> Vec<u8> {
        self.check_with(&self.password)
    }

    fn check_with(&self, password: &str) -> Vec<u8> {
        let provider = rtc_stun::crypto::default_provider().unwrap();
        let mut message = Stun::new();
        message.set_type(BINDING_REQUEST);
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        let password = password.to_owned();
        MessageIntegrity::new_short_term_integrity_with_provider(password, provider.crypto())
            .add_to(&mut message)
            .unwrap();
        framed(&message.raw)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server).await.unwrap()
    }

    /// One check and its answer.
    async fn ask(&self, stream: &mut TcpStream) -> Duration {
        let start = Instant::now();
        stream.write_all(&self.check()).await.unwrap();
        let answer = timeout(PATIENCE, frame(stream)).await.expect("an answer").unwrap();
        assert_eq!(answer[..2], [1, 1], "a success response");
        start.elapsed()
    }
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
    [&length[..], datagram].concat()
}

async fn frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut datagram = vec![0; usize::from(length)];
    stream.read_exact(&mut datagram).await?;
    Ok(datagram)
}

/// What a connection gets before it is closed, and when that is.
async fn until_closed(mut stream: TcpStream) -> (Vec<u8>, Duration) {
    let (start, mut got) = (Instant::now(), Vec::new());
    let _ = timeout(2 * PATIENCE, stream.read_to_end(&mut got)).await.expect("an end");
    (got, start.elapsed())
}

#[tokio::test]
async fn a_check_is_answered_over_tcp_in_whatever_pieces_it_comes() {
    let server = open();
    let peer = Peer::new(&server, "r").await;
    let mut stream = peer.connect().await;
    peer.ask(&mut stream).await;
    for byte in peer.check() {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_eq!(frame(&mut stream).await.unwrap()[..2], [1, 1]);
    // Two checks with an empty frame between them at once, and another connection beside it.
    let three = [peer.check(), framed(&[]), peer.check()].concat();
    stream.write_all(&three).await.unwrap();
    peer.ask(&mut peer.connect().await).await;
    for _ in 0..2 {
        assert_eq!(frame(&mut stream).await.unwrap()[..2], [1, 1]);
    }
}

#[tokio::test]
async fn whoever_proves_nothing_gets_no_byte_and_is_closed() {
    let server = open();
    let peer = Peer::new(&server, "r").await;
    let forged = peer.check_with("nobody knows the right one");
    let mut unknown = peer.check();
    let at = unknown.windows(4).position(|it| it == &peer.username.as_bytes()[..4]).unwrap();
    unknown[at] = b'/';
    let flood = [peer.check_with("wrong"), framed(&[7; 1000]).repeat(20)].concat();
    let cases: [(&str, &[u8], bool); 8] = [
        ("silence", b"", false),
        ("half a length", b"\0", false),
        ("half a frame", &forged[..30], false),
        ("a forged check", &forged, false),
        ("a worker that is none", &unknown, true),
        ("garbage in frames", &framed(&[7; 300]), true),
        ("a frame that is too long", b"\x05\xff123", true),
        ("much before any proof", &flood, true),
    ];
    let cases = cases.map(async |(what, bytes, at_once)| {
        let mut stream = peer.connect().await;
        stream.write_all(bytes).await.unwrap();
        let (got, after) = until_closed(stream).await;
        assert!(got.is_empty(), "{what}: {got:?}");
        let most = if at_once { PROOF - Duration::from_secs(1) } else { PROOF * 2 };
        assert!(after < most, "{what}: closed after {after:?}");
    });
    futures_util::future::join_all(cases).await;
}

/// The value of a counter.
async fn counted(server: &Server, name: &str) -> u64 {
    let page = server.send("GET /metrics", "").await.body;
    let line = page.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_24_who_does_not_read_delays_nobody_and_is_closed() {
    let server = open();
    let (deaf, other) = (Peer::new(&server, "r").await, Peer::new(&server, "r2").await);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut window = socket.connect(deaf.server).await.unwrap();
    deaf.ask(&mut window).await;
    let mut stream = other.connect().await;
    other.ask(&mut stream).await;
    // More answers than the kernel and the queue together keep.
    let many = deaf.check().repeat(100);
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        window.write_all(&many).await.unwrap();
        slowest = slowest.max(other.ask(&mut stream).await);
    }
    assert!(slowest < Duration::from_millis(200), "{slowest:?}");
    let deadline = Instant::now() + 2 * PATIENCE;
    let stalled = "switchyard_tcp_closed_connections_total{worker=\"0\",reason=\"stalled\"}";
    while counted(&server, stalled).await == 0 {
        assert!(Instant::now() < deadline, "it stays open");
        sleep(Duration::from_millis(200)).await;
        other.ask(&mut stream).await;
    }
    assert!(counted(&server, "switchyard_tcp_dropped_packets_total").await > 1000);
    // Back with another connection, it is served at once.
    deaf.ask(&mut deaf.connect().await).await;
}

/// An address of this machine that is not loopback: loopback has no limit.
fn outer_address() -> IpAddr {
    let interfaces = if_addrs::get_if_addrs().unwrap();
    let mut outer = interfaces.iter().map(|it| it.ip()).filter(|ip| ip.is_ipv4());
    outer.find(|ip| !ip.is_loopback()).expect("an interface besides loopback: use tests/ns.sh")
}

#[tokio::test]
async fn row_28_one_address_has_so_many_sockets() {
    let listener = std::net::TcpListener::bind((outer_address(), 0)).unwrap();
    // With keys a server answers under any name.
    let config = Config { sockets_per_address: 20, keys: keys(), ..Config::default() };
    let server = start_on(listener, config);
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(Socket::open(&server).await);
    }
    let refused = TcpStream::connect(server.address()).await.unwrap();
    let (got, after) = until_closed(refused).await;
    assert!(got.is_empty() && after < Duration::from_secs(1), "{after:?}");
    assert_eq!(held[0].join("r", &token("r", "ada")).await["type"], "welcome", "the others go on");
    held.truncate(10);
    let deadline = Instant::now() + PATIENCE;
    let url = format!("ws://{}/ws", server.address());
    while connect_async(&url).await.is_err() {
        assert!(Instant::now() < deadline, "closed sockets count for ever");
    }
}

#[tokio::test]
async fn row_28_behind_a_proxy_the_address_that_it_names_counts() {
    let server = start(Config { sockets_per_address: 3, keys: keys(), ..Config::default() });
    let ask = async |path: &str, address: &str| {
        let headers = "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.9, {address}\r\nConnection: Upgrade\r\n{}\r\n\r\n",
            headers.replace('\n', "\r\n")
        );
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut status)).await.unwrap().unwrap();
        (stream, String::from_utf8_lossy(&status[9..]).into_owned())
    };
    let mut held = Vec::new();
    for path in ["/ws", "/ws", "/channel?room=a&name=b"] {
        let (stream, status) = ask(path, "203.0.113.7").await;
        assert_eq!(status, "101", "{path}");
        held.push(stream);
    }
    assert_eq!(ask("/ws", "203.0.113.7").await.1, "429");
    assert_eq!(ask("/channel?room=a&name=c", "203.0.113.7").await.1, "429");
    assert_eq!(ask("/ws", "203.0.113.8").await.1, "101");
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while ask("/ws", "203.0.113.7").await.1 != "101" {
        assert!(Instant::now() < deadline, "closed sockets count for ever");
    }
    // A Socket.IO session counts also while it has no connection, as those that poll.
    let session = |transport: &str| {
        format!("/socket.io/?EIO=4&transport={transport}&room=r&token={}", token("r", "ada"))
    };
    let (polling, socket) = (session("polling"), session("websocket"));
    for _ in 0..2 {
        assert_eq!(ask(&polling, "203.0.113.9").await.1, "200");
    }
    let (held, status) = ask(&socket, "203.0.113.9").await;
    assert_eq!(status, "101");
    assert_eq!(ask(&polling, "203.0.113.9").await.1, "429");
    assert_eq!(ask(&socket, "203.0.113.9").await.1, "429");
    assert_eq!(ask("/ws", "203.0.113.9").await.1, "429");
    assert_eq!(ask(&polling, "203.0.113.10").await.1, "200");
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while ask(&polling, "203.0.113.9").await.1 != "200" {
        assert!(Instant::now() < deadline, "a closed session counts for ever");
    }
}
