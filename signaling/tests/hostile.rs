//! Row 28 of the table in `tests/README.md`: clients that flood, that are slow on purpose, that say too much.

use crate::harness::{PATIENCE, SDP, open, start};
use crate::stop::Folder;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::{Value, json};
use signaling::config::{Config, Tls};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A join on a busy machine.
const JOIN: Duration = Duration::from_millis(500);
/// Who has not said a whole request, or has not joined, by then is sent away.
const PATIENCE_OF_THE_SERVER: Duration = Duration::from_secs(5);

async fn socket(server: &crate::harness::Server) -> Socket {
    let url = server.url("/ws").replace("http:", "ws:");
    timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap().0
}

/// Joins, and tells how long it took.
async fn join(server: &crate::harness::Server, identity: &str) -> (Socket, Duration) {
    let start = Instant::now();
    let mut socket = socket(server).await;
    let request =
        json!({"type": "join", "version": 1, "room": "r", "name": "x", "identity": identity});
    socket.send(Message::text(request.to_string())).await.unwrap();
    let welcome = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    let welcome: Value = serde_json::from_str(welcome.to_text().unwrap()).unwrap();
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (socket, start.elapsed())
}

/// How long the server keeps a connection on which these bytes came, and then one each half second.
async fn kept_open(server: &crate::harness::Server, bytes: &str) -> Duration {
    let address = server.url("").replace("http://", "");
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(bytes.as_bytes()).await.unwrap();
    let start = Instant::now();
    let dribble = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mut answer = Vec::new();
    let _ =
        timeout(3 * PATIENCE, read.read_to_end(&mut answer)).await.expect("the server hangs up");
    dribble.abort();
    start.elapsed()
}

#[tokio::test]
async fn row_28_slow_requests_are_cut_off() {
    let server = open();
    for begun in ["", "GET / HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let kept = kept_open(&server, begun).await;
        assert!(kept <= PATIENCE_OF_THE_SERVER + Duration::from_secs(2), "{begun:?}: {kept:?}");
    }
    let body = "POST /whip/r HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 99999\r\n\r\nv";
    let kept = kept_open(&server, body).await;
    assert!(kept <= Duration::from_secs(12), "{kept:?}");
}

/// How long the server keeps a connection whose client begins like this, and says nothing more.
async fn kept_silent(
    address: SocketAddr,
    begin: impl FnOnce(&mut std::net::TcpStream) + Send + 'static,
) -> Duration {
    let silent = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        begin(&mut stream);
        let start = Instant::now();
        stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        let end = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(!matches!(end, Err(std::io::ErrorKind::WouldBlock)), "the server hangs up");
        start.elapsed()
    });
    silent.await.unwrap()
}

/// As far as the end of the TLS handshake.
fn shake_hands(stream: &mut std::net::TcpStream, certificate: Vec<u8>) {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.into()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "127.0.0.1".try_into().unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(stream).unwrap();
    }
}

#[tokio::test]
async fn row_28_whoever_begins_and_asks_for_nothing_is_cut_off() {
    let folder = Folder::new();
    let certificate = folder.renew();
    let files =
        Tls::Files { certificate: folder.0.join("cert.pem"), key: folder.0.join("key.pem") };
    let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = start(Config { admin_listen: Some(admin), ..Config::default() });
    let secure = start(Config { tls: Some(files), ..Config::default() });
    let url = format!("http://{admin}/healthz");
    while reqwest::get(&url).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let say = |bytes: &'static [u8]| {
        move |stream: &mut std::net::TcpStream| stream.write_all(bytes).unwrap()
    };
    let kept = tokio::join!(
        kept_silent(plain.address(), say(b"P")),
        kept_silent(plain.address(), say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
        kept_silent(secure.address(), move |stream| shake_hands(stream, certificate)),
        kept_silent(admin, say(b"")),
    );
    for kept in [kept.0, kept.1, kept.2, kept.3] {
        assert!(kept <= PATIENCE_OF_THE_SERVER + Duration::from_secs(2), "{kept:?}");
    }
}

#[tokio::test]
async fn row_28_joins_go_on_beside_hundreds_of_half_open_connections() {
    let server = open();
    let address = server.url("").replace("http://", "");
    let mut silent = Vec::new();
    let mut unjoined = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(&address).await.unwrap());
        unjoined.push(socket(&server).await);
    }
    let mut slowest = Duration::ZERO;
    let mut people = Vec::new();
    for number in 0..20 {
        let (person, took) = join(&server, &format!("p{number}")).await;
        slowest = slowest.max(took);
        people.push(person);
    }
    assert!(slowest <= JOIN, "{slowest:?}");
    // The others are gone when their time is up, and nobody who joined is.
    for mut socket in unjoined {
        let closed = async { while let Some(Ok(_)) = socket.next().await {} };
        timeout(2 * PATIENCE, closed).await.expect("closed");
    }
    let ping = json!({"type": "ping", "time": 1}).to_string();
    people[0].send(Message::text(ping)).await.unwrap();
    let alive = async {
        loop {
            let message = people[0].next().await.unwrap().unwrap();
            if message.to_text().unwrap_or_default().contains("pong") {
                return;
            }
        }
    };
    timeout(PATIENCE, alive).await.expect("alive");
}

/// Fifty messages a second, two hundred at once: a flood waits in its sender, and costs nobody else anything.
#[tokio::test]
async fn row_28_a_flood_of_messages_slows_its_sender_only() {
    let server = open();
    let (flooder, _) = join(&server, "flooder").await;
    let ping = json!({"type": "ping", "time": 1}).to_string();
    let start = Instant::now();
    let (mut sink, mut stream) = flooder.split();
    let flood = tokio::spawn(async move {
        for number in 0..20_000 {
            let frame = if number % 2 == 0 {
                Message::text(ping.clone())
            } else {
                Message::Ping(vec![1; 100].into())
            };
            if sink.feed(frame).await.is_err() || sink.flush().await.is_err() {
                return;
            }
        }
    });
    let mut answers = 0;
    while start.elapsed() < Duration::from_secs(3) {
        if timeout(Duration::from_millis(100), stream.next())
            .await
            .is_ok_and(|frame| frame.is_some())
        {
            answers += 1;
        }
    }
    assert!((150..=200 + 4 * 50).contains(&answers), "{answers} answers in three seconds");
    let (_person, took) = join(&server, "person").await;
    assert!(took <= JOIN, "{took:?}");
    flood.abort();
}

/// What is not compressed cannot grow when it is read.
#[tokio::test]
async fn row_28_no_compression_is_negotiated() {
    let server = open();
    let address = server.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 1024];
    let len = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..len]).to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(!answer.contains("sec-websocket-extensions"), "{answer}");
    // A frame that says it is compressed ends the connection.
    stream.write_all(&[0xc1, 0x85, 0, 0, 0, 0, 1, 2, 3, 4, 5]).await.unwrap();
    let mut rest = Vec::new();
    timeout(2 * PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed").unwrap();
}

#[tokio::test]
async fn row_28_bodies_and_frames_have_a_limit() {
    let server = open();
    let post = format!("POST /whip/r\n{SDP}");
    assert_eq!(server.send(&post, &"x".repeat(256 * 1024 + 1)).await.status, 413);
    assert_eq!(server.send(&post, &"x".repeat(256 * 1024)).await.status, 400);
    // A frame that promises more than any message may have is not waited for.
    let mut raw = socket(&server).await;
    raw.send(Message::text("x".repeat(600 * 1024))).await.ok();
    let closed = async { while let Some(Ok(_)) = raw.next().await {} };
    timeout(PATIENCE, closed).await.expect("closed");
}
