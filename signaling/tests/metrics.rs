//! `/metrics` of a whole server: every line means something, what happens is counted, strangers get nothing.

use futures_util::{SinkExt as _, StreamExt as _};
use signaling::auth::{Key, Keys};
use signaling::config::Config;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    _stop: DropGuard,
}

fn start(listen: &str, keys: Keys) -> Server {
    let listener = TcpListener::bind(listen).unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config {
        listen: address,
        media_ips: vec!["127.0.0.1".parse().unwrap()],
        media_port: 0,
        workers: Some(2),
        keys,
        ..Config::default()
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(signaling::run(config, listener, shutdown.clone()));
    Server { address, _stop: shutdown.drop_guard() }
}

fn keys() -> Keys {
    let secret = Key::secret("0123456789abcdef0123456789abcdef".to_owned()).unwrap();
    Keys::new([("k".to_owned(), secret)])
}

impl Server {
    /// Sends a request line and headers, separated by `\n`. Returns the status, the head and the body.
    async fn http(&self, head: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = if head.contains("Host:") { "" } else { "\r\nHost: localhost" };
        let (head, length) = (head.replace('\n', "\r\n"), body.len());
        let end = format!("Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(format!("{head}{host}\r\n{end}").as_bytes()).await.unwrap();
        let mut response = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn scrape(&self) -> Samples {
        let (status, head, body) = self.http("GET /metrics HTTP/1.1", "").await;
        assert_eq!(status, 200, "{body}");
        let content_type =
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.contains(content_type), "{head}");
        parse(&body)
    }

    /// Scrapes until a series has this value.
    async fn wait_for(&self, series: &str, value: f64) -> Samples {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = self.scrape().await;
            if samples[series] == value {
                return samples;
            }
            assert!(Instant::now() < deadline, "{series} is {}, not {value}", samples[series]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Series, with its labels, and value.
type Samples = BTreeMap<String, f64>;

/// Reads every line, and checks that each belongs to the family before it and that histograms add up.
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut families = BTreeMap::new();
    let mut family = ("", "");
    let body = text.strip_suffix("# EOF\n").expect("an end");
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect(line);
            assert!(help.ends_with('.') && families.insert(name, ()).is_none(), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split_once(' ').expect(line);
            assert!(families.contains_key(family.0), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = series.split_once('{').expect(line);
            assert!(labels.ends_with('}') && labels.matches('"').count() % 2 == 0, "{line}");
            let suffix = name.strip_prefix(family.0).expect(line);
            let suffixes: &[&str] = match family.1 {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{other}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(name.starts_with("switchyard_") || name.starts_with("process_"), "{line}");
            let value: f64 = value.parse().expect(line);
            assert!(value >= 0.0 && samples.insert(series.to_owned(), value).is_none(), "{line}");
        }
    }
    for (series, count) in samples.iter().filter(|(series, _)| series.contains("_count{")) {
        let all = series.replace("_count{", "_bucket{le=\"+Inf\",");
        assert_eq!(samples[&all], *count, "{all}");
        let buckets = series.replace("_count{", "_bucket{");
        let (name, labels) = buckets.split_once('{').unwrap();
        let of = |series: &&String| series.starts_with(name) && series.ends_with(labels);
        assert!(samples.keys().filter(of).all(|bucket| samples[bucket] <= *count), "{series}");
    }
    samples
}

fn offer() -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=fingerprint:sha-256 {}\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\na=sendonly\r\n\
         a=rtpmap:111 opus/48000/2\r\n",
        ["AB"; 32].join(":")
    )
}

#[tokio::test]
async fn what_happens_is_counted() {
    let server = start("127.0.0.1:0", Keys::default());
    let samples = server.scrape().await;
    for (name, count) in [
        ("switchyard_build_info{", 1),
        ("process_cpu_seconds_total{", 1),
        ("process_resident_memory_bytes{", 1),
        ("switchyard_worker_busy_ratio{worker=\"1\"", 1),
        ("switchyard_dropped_packets_total{worker=\"1\"", sfu::DropReason::ALL.len()),
        ("switchyard_media_forwarded_packets_total{worker=\"1\"", 2),
        ("switchyard_connections_total{worker=\"1\"", 3),
        ("switchyard_udp_message_packets_bucket{le=\"+Inf\",", 2),
        ("switchyard_flush_duration_seconds_bucket{", 2 * 14),
    ] {
        let found = samples.keys().filter(|series| series.starts_with(name)).count();
        assert_eq!(found, count, "{name}");
    }
    assert_eq!(samples["switchyard_participants{}"], 0.0);

    let url = format!("ws://{}/ws", server.address);
    let (mut socket, _) = connect_async(url).await.unwrap();
    let join = r#"{"type": "join", "version": 1, "room": "r", "name": "Ada", "identity": "ada"}"#;
    socket.send(Message::text(join)).await.unwrap();
    timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    let post = "POST /whip/r HTTP/1.1\nContent-Type: application/sdp";
    let (status, head, answer) = server.http(post, &offer()).await;
    assert_eq!(status, 201, "{answer}");
    let samples = server.scrape().await;
    let present = ["rooms", "participants", "websockets", "whip_sessions", "whep_sessions"];
    let present = present.map(|name| samples[&format!("switchyard_{name}{{}}")]);
    assert_eq!(present, [1.0, 2.0, 1.0, 1.0, 0.0]);
    server.wait_for("switchyard_transports{worker=\"0\"}", 1.0).await;

    let candidate = answer.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
    let port: u16 = candidate.split(' ').nth(5).unwrap().parse().unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..3 {
        peer.send_to(&[0xff; 200], ("127.0.0.1", port)).unwrap();
    }
    let dropped = "switchyard_dropped_packets_total{worker=\"0\",reason=\"malformed\"}";
    let samples = server.wait_for(dropped, 3.0).await;
    assert_eq!(samples["switchyard_udp_received_packets_total{worker=\"0\"}"], 3.0);
    assert_eq!(samples["switchyard_udp_received_bytes_total{worker=\"0\"}"], 600.0);
    assert_eq!(samples["switchyard_udp_receive_call_packets_sum{worker=\"0\"}"], 3.0);
    assert_eq!(samples["switchyard_udp_received_packets_total{worker=\"1\"}"], 0.0);

    let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    assert!(location.starts_with("/whip/r/"));
    drop(socket);
    server.wait_for("switchyard_websockets{}", 0.0).await;
}

#[tokio::test]
async fn strangers_are_told_where_to_ask() {
    let server = start("127.0.0.1:0", keys());
    assert!(!server.scrape().await.is_empty());
    for header in ["X-Forwarded-For: 192.0.2.1", "Via: 1.1 x", "Host: example.org"] {
        let (status, _, body) = server.http(&format!("GET /metrics HTTP/1.1\n{header}"), "").await;
        assert_eq!(status, 403, "{header}");
        assert!(body.contains("127.0.0.1") && !body.contains("switchyard_"), "{body}");
        let (status, ..) = server.http(&format!("GET /healthz HTTP/1.1\n{header}"), "").await;
        assert_eq!(status, 200, "a load balancer may ask");
    }
    let open = start("127.0.0.1:0", Keys::default());
    let (status, _, body) = open.http("GET /metrics HTTP/1.1\nHost: example.org", "").await;
    assert!(status == 421 && !body.contains("switchyard_"));
}

#[tokio::test]
async fn the_machines_own_address_is_a_strangers() {
    // Says which address would be used; nothing is sent.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    if probe.connect("192.0.2.1:9").is_err() {
        return;
    }
    let own = probe.local_addr().unwrap().ip();
    let mut server = start("0.0.0.0:0", keys());
    server.address = SocketAddr::new(own, server.address.port());
    let (status, _, body) = server.http("GET /metrics HTTP/1.1\nHost: 127.0.0.1", "").await;
    assert_eq!(status, 403);
    assert!(body.contains("--admin-listen"), "{body}");
}
