//! The whole server on real sockets: the page, who may ask, joining and leaving, WHIP and WHEP over HTTP.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use signaling::auth::{Key, Keys, Secret, TokenRequest, sign};
use signaling::config::Config;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Everything here happens on one machine; nothing takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    _stop: DropGuard,
}

fn start(keys: Keys) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config {
        listen: address,
        media_ips: vec!["127.0.0.1".parse().unwrap()],
        media_port: 0,
        workers: Some(1),
        keys,
        drain: Duration::ZERO,
        ..Config::default()
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(signaling::run(config, listener, shutdown.clone()));
    Server { address, _stop: shutdown.clone().drop_guard(), shutdown }
}

fn open() -> Server {
    start(Keys::default())
}

fn keyed() -> Server {
    start(Keys::new([("k".to_owned(), Key::secret(SECRET.to_owned()).unwrap())]))
}

fn token(room: &str, identity: &str) -> String {
    let secret = Secret::new(SECRET.into());
    let request = TokenRequest::join("k", secret, room, identity, Duration::from_secs(60));
    let request = TokenRequest { name: Some(format!("Name of {identity}")), ..request };
    sign(request, SystemTime::now()).unwrap()
}

impl Server {
    async fn http(&self, request: &str) -> (u16, String) {
        self.http_with_body(request, "").await
    }

    /// Sends the lines of a request and returns the status and all of the response.
    async fn http_with_body(&self, request: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host =
            if request.to_lowercase().contains("\nhost:") { "" } else { "\r\nHost: localhost" };
        let head = request.trim().lines().map(str::trim).collect::<Vec<_>>().join("\r\n");
        let length = body.len();
        let text =
            format!("{head}{host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut response = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
        let status = response.split(' ').nth(1).unwrap().parse().unwrap();
        (status, response)
    }

    async fn socket(&self) -> Socket {
        let url = format!("ws://{}/ws", self.address);
        Socket(timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap().0)
    }

    async fn joined(&self, room: &str, identity: &str) -> (Socket, Value) {
        let mut socket = self.socket().await;
        socket.say(join(room, identity)).await;
        let welcome = socket.next("welcome").await;
        (socket, welcome)
    }
}

fn join(room: &str, identity: &str) -> Value {
    json!({"type": "join", "version": 1, "room": room, "name": identity.to_uppercase(), "identity": identity})
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    async fn frame(&mut self) -> Option<Message> {
        loop {
            let frame = timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            match frame {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(frame)) => return Some(frame),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next message, which must be of this type.
    async fn next(&mut self, kind: &str) -> Value {
        let frame = self.frame().await.unwrap_or_else(|| panic!("{kind} expected, socket closed"));
        let value: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        assert_eq!(value["type"], kind, "{value}");
        value
    }

    async fn close_code(&mut self) -> Option<u16> {
        match self.frame().await {
            Some(Message::Close(frame)) => frame.map(|frame| frame.code.into()),
            other => panic!("a close frame expected, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn people_see_each_other_come_and_go() {
    let server = open();
    let (mut ada, welcome) = server.joined("r", "ada").await;
    assert_eq!(welcome["participants"], json!([]));
    assert_eq!(welcome["media_sections"], json!({"audio": 4, "video": 4}));
    assert_eq!((&welcome["max_video"], &welcome["identity"]), (&json!(25), &json!("ada")));
    let (mut bob, welcome) = server.joined("r", "bob").await;
    assert_eq!(welcome["participants"][0]["name"], "ADA");
    let joined = ada.next("participant_joined").await;
    let bob_id = joined["participant"]["participant"].clone();
    assert_eq!(bob_id, welcome["participant"]);
    let (_eve, welcome) = server.joined("other", "eve").await;
    assert_eq!(welcome["participants"], json!([]), "rooms are apart");
    bob.say(json!({"type": "leave"})).await;
    let left = ada.next("participant_left").await;
    assert_eq!((&left["participant"], &left["reason"]), (&bob_id, &json!("left")));
    assert_eq!(bob.close_code().await, Some(1000));
}

#[tokio::test]
async fn a_clean_close_leaves_and_a_lost_socket_reconnects() {
    let server = open();
    let (mut ada, _) = server.joined("r", "ada").await;
    let (mut bob, _) = server.joined("r", "bob").await;
    let (eve, _) = server.joined("r", "eve").await;
    ada.next("participant_joined").await;
    ada.next("participant_joined").await;
    bob.0.close(None).await.unwrap();
    assert_eq!(ada.next("participant_updated").await["state"], "reconnecting");
    drop(eve);
    assert_eq!(ada.next("participant_updated").await["state"], "reconnecting");
    let (mut bob, welcome) = server.joined("r", "bob").await;
    let states: Vec<_> =
        welcome["participants"].as_array().unwrap().iter().map(|p| &p["state"]).collect();
    assert_eq!(states, ["active", "reconnecting"]);
    assert_eq!(ada.next("participant_left").await["reason"], "replaced");
    ada.next("participant_joined").await;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
    bob.0.close(Some(frame)).await.unwrap();
    assert_eq!(ada.next("participant_left").await["reason"], "left");
}

#[tokio::test]
async fn the_newer_of_two_with_one_identity_stays() {
    let server = open();
    let (mut old, _) = server.joined("r", "ada").await;
    let (_new, welcome) = server.joined("r", "ada").await;
    assert_eq!(welcome["participants"], json!([]));
    assert_eq!(old.next("closed").await["reason"], "replaced");
    assert_eq!(old.close_code().await, Some(1000));
}

#[tokio::test]
async fn what_is_wrong_is_answered_and_the_socket_lives_on() {
    let server = open();
    let mut ada = server.socket().await;
    ada.say(json!({"type": "leave"})).await;
    assert_eq!(ada.next("error").await["code"], "not_joined");
    ada.say(json!({"type": "join", "version": 2, "room": "r", "name": "x", "request": 7})).await;
    let error = ada.next("error").await;
    assert_eq!((&error["code"], &error["request"]), (&json!("version"), &json!(7)));
    ada.send(Message::text("nonsense")).await;
    assert_eq!(ada.next("error").await["code"], "bad_message");
    ada.send(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(ada.next("error").await["code"], "bad_message");
    ada.say(join("r", "ada")).await;
    ada.next("welcome").await;
    ada.say(join("r", "ada")).await;
    assert_eq!(ada.next("error").await["code"], "already_joined");
    ada.say(json!({"type": "offer", "request": 1, "offer_id": 1, "sdp": "hello"})).await;
    assert_eq!(ada.next("error").await["code"], "bad_sdp");
    ada.say(json!({"type": "mute", "request": 2, "track": "t9", "muted": true})).await;
    assert_eq!(ada.next("error").await["code"], "not_found");
    ada.say(json!({"type": "candidate", "candidate": "nonsense"})).await;
    assert_eq!(ada.next("error").await["code"], "bad_message");
    ada.say(json!({"type": "ping", "time": 5})).await;
    assert_eq!(ada.next("pong").await["time"], 5);
}

#[tokio::test]
async fn row_28_too_much_closes_with_1009() {
    let server = open();
    let (mut ada, _) = server.joined("r", "ada").await;
    ada.send(Message::text("x".repeat(256 * 1024 + 1))).await;
    assert_eq!(ada.next("error").await["code"], "too_large");
    assert_eq!(ada.close_code().await, Some(1009));
}

#[tokio::test]
async fn row_28_whoever_does_not_join_is_sent_away() {
    let server = open();
    let mut silent = server.socket().await;
    assert_eq!(silent.close_code().await, Some(1008));
}

#[tokio::test]
async fn tokens_decide_about_rooms() {
    let server = keyed();
    let mut ada = server.socket().await;
    ada.say(join("r", "ada")).await;
    assert_eq!(ada.next("error").await["code"], "unauthorized");
    let mut foreign = join("r", "ada");
    foreign["token"] = json!(token("other", "ada"));
    ada.say(foreign).await;
    assert_eq!(ada.next("error").await["code"], "unauthorized");
    let mut good = join("r", "someone else");
    good["token"] = json!(token("r", "ada"));
    ada.say(good).await;
    assert_eq!(ada.next("welcome").await["identity"], "ada", "the token's, not the message's");
}

#[tokio::test]
async fn shutdown_is_announced() {
    let server = open();
    let (mut ada, _) = server.joined("r", "ada").await;
    server.shutdown.cancel();
    assert_eq!(ada.next("closing").await["seconds"], 0);
    assert_eq!(ada.next("closed").await["reason"], "shutdown");
    assert_eq!(ada.close_code().await, Some(1000));
}

#[tokio::test]
async fn the_page_is_served_once_and_then_known() {
    let server = open();
    let (status, page) = server.http("GET / HTTP/1.1").await;
    assert_eq!(status, 200);
    let lower = page.to_lowercase();
    assert!(lower.contains("content-type: text/html") && lower.contains("<!doctype html>"));
    assert!(lower.contains("frame-ancestors 'none'") && lower.contains("cache-control: no-cache"));
    let etag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (status, _) = server.http(&format!("GET / HTTP/1.1\nIf-None-Match: {etag}")).await;
    assert_eq!(status, 304);
    let (status, script) = server.http("GET /main.js HTTP/1.1").await;
    assert_eq!(status, 200);
    assert!(script.to_lowercase().contains("content-type: text/javascript"));
    for page in ["/live", "/watch?room=r"] {
        let (status, text) = server.http(&format!("GET {page} HTTP/1.1")).await;
        assert!(status == 200 && text.contains("content-type: text/html"), "{page}: {text}");
    }
    for path in ["/nothing", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/README.md", "/client"] {
        assert_eq!(server.http(&format!("GET {path} HTTP/1.1")).await.0, 404, "{path}");
    }
    assert_eq!(server.http("GET /healthz HTTP/1.1").await.0, 200);
    assert_eq!(server.http("GET /readyz HTTP/1.1").await.0, 200);
}

#[tokio::test]
async fn without_keys_strangers_are_told_what_to_configure() {
    let server = open();
    let cases = [
        ("Host: example.org", 421, "[keys]"),
        ("Host: localhost\nOrigin: https://example.org", 403, "--allow-origin"),
        ("Host: localhost\nX-Forwarded-For: 192.0.2.1", 403, "[keys]"),
    ];
    for (headers, expected, text) in cases {
        for path in ["/", "/ws", "/healthz", "/whip/r"] {
            let (status, body) = server.http(&format!("GET {path} HTTP/1.1\n{headers}")).await;
            assert_eq!(status, expected, "{path} {headers}");
            assert!(body.contains(text), "{body}");
        }
    }
    let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://example.org".parse().unwrap());
    assert!(connect_async(request).await.is_err());
    let (status, _) = keyed().http("GET /healthz HTTP/1.1\nHost: example.org\nVia: x").await;
    assert_eq!(status, 200, "with keys the token decides");
}

fn offer(direction: &str) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let media = [
        "audio 9 UDP/TLS/RTP/SAVPF 111|a=rtpmap:111 opus/48000/2",
        "video 9 UDP/TLS/RTP/SAVPF 96|a=rtpmap:96 VP8/90000",
    ];
    let sections: String = media
        .iter()
        .enumerate()
        .map(|(mid, media)| {
            let (line, rtpmap) = media.split_once('|').unwrap();
            format!("m={line}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=rtcp-mux\r\na={direction}\r\n{rtpmap}\r\n")
        })
        .collect();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=fingerprint:sha-256 {fingerprint}\r\n{sections}"
    )
}

fn location(response: &str) -> String {
    let line = response.lines().find_map(|line| line.strip_prefix("location: "));
    line.unwrap_or_else(|| panic!("no location in {response}")).to_owned()
}

const SDP: &str = "Content-Type: application/sdp";

#[tokio::test]
async fn a_whip_publisher_is_a_participant_until_it_is_deleted() {
    let server = open();
    let (mut ada, _) = server.joined("r", "ada").await;
    let post = format!("POST /whip/r HTTP/1.1\n{SDP}");
    let (status, response) = server.http_with_body(&post, &offer("sendonly")).await;
    assert_eq!(status, 201, "{response}");
    assert!(response.contains("\r\netag: \"") && response.contains("a=recvonly"));
    assert!(response.contains("a=candidate:") && response.contains("a=ice-lite"));
    ada.next("participant_joined").await;
    assert_eq!(ada.next("track_published").await["track"]["codec"], "opus");
    assert_eq!(ada.next("track_published").await["track"]["source"], "camera");
    let location = location(&response);
    assert!(location.strip_prefix("/whip/r/").unwrap().len() >= 22);
    assert_eq!(server.http("DELETE /whip/r/guess HTTP/1.1").await.0, 404);
    let foreign = location.replace("/r/", "/other/");
    assert_eq!(server.http(&format!("DELETE {foreign} HTTP/1.1")).await.0, 404);
    assert_eq!(server.http(&format!("DELETE {location} HTTP/1.1")).await.0, 200);
    assert_eq!(ada.next("participant_left").await["reason"], "left");
    assert_eq!(server.http(&format!("DELETE {location} HTTP/1.1")).await.0, 404);
}

#[tokio::test]
async fn a_whep_viewer_needs_somebody_to_view_and_is_seen_by_nobody() {
    let server = open();
    let post = |path: &str| format!("POST /{path}/r HTTP/1.1\n{SDP}");
    let (status, response) = server.http_with_body(&post("whep"), &offer("recvonly")).await;
    assert_eq!(status, 409);
    assert!(response.contains("retry-after: "));
    server.http_with_body(&post("whip"), &offer("sendonly")).await;
    let (_, welcome) = server.joined("r", "ada").await;
    assert_eq!(welcome["participants"].as_array().unwrap().len(), 1);
    let (status, response) = server.http_with_body(&post("whep"), &offer("recvonly")).await;
    assert_eq!(status, 201, "{response}");
    assert!(response.contains("a=sendonly") && response.contains("a=ssrc:"));
    let (_, welcome) = server.joined("r", "bob").await;
    let names = welcome["participants"].as_array().unwrap().len();
    assert_eq!(names, 2, "the publisher and ada");
    let location = location(&response);
    assert_eq!(server.http(&format!("DELETE {location} HTTP/1.1")).await.0, 200);
}

#[tokio::test]
async fn whip_refusals() {
    let server = open();
    let good = offer("sendonly");
    let cases = [
        ("POST /whip/r HTTP/1.1", good.as_str(), 415),
        ("POST /whip/a%20b HTTP/1.1\nContent-Type: application/sdp", &good, 404),
        ("POST /whip/r HTTP/1.1\nContent-Type: application/sdp", "hello", 400),
        ("POST /whip/r HTTP/1.1\nContent-Type: application/sdp", &offer("recvonly"), 400),
        ("POST /whip/r HTTP/1.1\nContent-Type: application/sdp", &"a".repeat(300_000), 413),
        ("PATCH /whip/r/x HTTP/1.1", "", 404),
        ("GET /whip/r HTTP/1.1", "", 204),
    ];
    for (request, body, expected) in cases {
        let (status, response) = server.http_with_body(request, body).await;
        assert_eq!(status, expected, "{request}: {response}");
    }
    let (status, response) = server.http("OPTIONS /whip/r HTTP/1.1").await;
    assert_eq!(status, 200);
    assert!(response.contains("accept-post: application/sdp"));
}

#[tokio::test]
async fn whip_takes_bearer_tokens() {
    let server = keyed();
    let post = |path: &str, token: &str| {
        format!(
            "POST /{path}/r HTTP/1.1\n{SDP}\nAuthorization: Bearer {token}\nOrigin: https://a.example"
        )
    };
    let own = token("r", "cam");
    for (token, expected) in [("", 401), ("nonsense", 401), (&token("other", "cam"), 403)] {
        let (status, response) =
            server.http_with_body(&post("whip", token), &offer("sendonly")).await;
        assert_eq!(status, expected, "{response}");
        assert_eq!(status == 401, response.contains("www-authenticate: Bearer"));
    }
    let (status, response) = server.http_with_body(&post("whip", &own), &offer("sendonly")).await;
    assert_eq!(status, 201);
    assert!(response.contains("access-control-allow-origin: *"));
    let location = location(&response);
    let delete = |token: &str| format!("DELETE {location} HTTP/1.1\nAuthorization: Bearer {token}");
    assert_eq!(server.http(&delete("")).await.0, 401);
    assert_eq!(server.http(&delete(&token("r", "somebody"))).await.0, 404);
    assert_eq!(server.http(&delete(&own)).await.0, 200);
}
