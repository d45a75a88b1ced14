//! Webhooks of a whole server, to a receiver that checks what it gets.

use crate::harness::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use signaling::auth::Secret;
use signaling::config::{Config, RawConfig, Webhook};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// One request as it came.
struct Delivery {
    head: String,
    body: String,
}

impl Delivery {
    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The signature is of this body, by this key.
    fn check(&self) {
        let token =
            self.head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let message = format!("{}.{}", parts[0], parts[1]);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        aws_lc_rs::hmac::verify(&key, message.as_bytes(), &signature).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.body.as_bytes());
        assert_eq!(claims["sha256"], STANDARD.encode(digest));
        assert_eq!(claims["iss"], "k");
        assert!(self.head.contains("content-type: application/webhook+json"), "{}", self.head);
    }
}

/// Answers each request with the next of these status lines, then always with the last.
async fn receiver(answers: &'static [&'static str]) -> (String, mpsc::UnboundedReceiver<Delivery>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, deliveries) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answered = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let body = loop {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.unwrap().parse().unwrap() {
                    break body.to_owned();
                }
            };
            let head = text.split_once("\r\n\r\n").unwrap().0.to_owned();
            let answer = answers[answered.min(answers.len() - 1)];
            answered += 1;
            let response =
                format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(response.as_bytes()).await.unwrap();
            sender.send(Delivery { head, body }).unwrap();
        }
    });
    (url, deliveries)
}

fn told(url: String) -> Server {
    let (key, secret) = ("k".to_owned(), Secret::new(SECRET.to_owned()));
    let webhook = Webhook { urls: vec![url], key, secret, allow_private: true };
    start(Config { webhook: Some(webhook), ..Config::default() })
}

async fn next(deliveries: &mut mpsc::UnboundedReceiver<Delivery>) -> Value {
    let delivery = timeout(PATIENCE, deliveries.recv()).await.expect("an event in time").unwrap();
    delivery.check();
    delivery.event()
}

#[tokio::test]
async fn what_happens_in_a_room_is_told_signed_and_in_order() {
    let (url, mut deliveries) = receiver(&["200 OK"]).await;
    let server = told(url);
    let made = server.session("/whip/r?identity=cam&name=Camera", &publisher()).await;
    server.session("/whep/r", &viewer()).await;
    assert_eq!(server.status(&format!("DELETE {}", made.header("location"))).await, 200);
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Value| event["event"] != "participant_left") {
        events.push(next(&mut deliveries).await);
    }
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "track_published",
        "track_unpublished",
        "track_unpublished",
        "participant_left",
    ];
    assert_eq!(names, expected, "and nothing of the viewer");
    let published = &events[3];
    assert_eq!(published["participant"]["identity"], "cam");
    assert_eq!(
        (&published["track"]["type"], &published["track"]["source"]),
        (&json!("VIDEO"), &json!("CAMERA"))
    );
    assert_eq!(published["room"]["numParticipants"], 1);
    assert!(events.iter().all(|event| event["room"]["sid"] == events[0]["room"]["sid"]));
    let mut ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());
}

#[tokio::test]
async fn what_fails_is_tried_again_and_what_is_refused_is_not() {
    let (url, mut deliveries) = receiver(&["503 Later", "400 Never", "200 OK"]).await;
    let server = told(url);
    assert_eq!(
        server.send(&format!("POST /api/rooms\n{JSON}"), r#"{"name":"r"}"#).await.status,
        201
    );
    assert_eq!(server.status("DELETE /api/rooms/r").await, 204);
    let order =
        [next(&mut deliveries).await, next(&mut deliveries).await, next(&mut deliveries).await];
    let names: Vec<&str> = order.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["room_started", "room_started", "room_finished"]);
    assert_eq!(order[0]["id"], order[1]["id"], "the same event");
    let metrics = server.send("GET /metrics", "").await.body;
    assert!(metrics.contains("switchyard_webhook_retries_total{} 1"), "{metrics}");
    assert!(metrics.contains("switchyard_webhook_events_total{result=\"failed\"} 1"), "{metrics}");
}

#[tokio::test]
async fn row_15_targets_in_private_networks_are_refused_unless_that_is_said() {
    let file = |url: &str, allow: bool| {
        let path = std::env::temp_dir().join(format!("switchyard-hook-{}", rand::random::<u64>()));
        let text = format!(
            "[keys]\nk = \"{SECRET}\"\n[webhook]\nurls = [\"{url}\"]\nkey = \"k\"\nallow_private = {allow}\n"
        );
        std::fs::write(&path, text).unwrap();
        let result =
            Config::resolve(RawConfig { config: Some(path.clone()), ..RawConfig::default() });
        std::fs::remove_file(path).unwrap();
        result.map(|_| ()).map_err(|error| error.to_string())
    };
    for url in [
        "http://127.0.0.1/",
        "http://10.0.0.1:80/x",
        "https://[::1]/",
        "http://169.254.169.254/",
        "http://LOCALHOST/",
    ] {
        assert!(file(url, false).unwrap_err().contains("allow_private"), "{url}");
        assert_eq!(file(url, true), Ok(()), "{url}");
    }
    assert_eq!(file("https://example.org/hook", false), Ok(()));
    for url in ["ftp://example.org/", "example.org", "http://"] {
        assert!(file(url, true).unwrap_err().contains("https://host/path"), "{url}");
    }
    // A name that leads to a private address is found out when it is called.
    let (url, mut deliveries) = receiver(&["200 OK"]).await;
    let (key, secret) = ("k".to_owned(), Secret::new(SECRET.to_owned()));
    let urls = vec![url.replace("127.0.0.1", "localhost")];
    let webhook = Webhook { urls, key, secret, allow_private: false };
    let server = start(Config { webhook: Some(webhook), ..Config::default() });
    server.send(&format!("POST /api/rooms\n{JSON}"), r#"{"name":"r"}"#).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !server.send("GET /metrics", "").await.body.contains("webhook_retries_total{} 2") {
        assert!(tokio::time::Instant::now() < deadline, "it tries");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(deliveries.try_recv().is_err(), "nothing arrived");
}
