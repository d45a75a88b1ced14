//! A server on real sockets, HTTP by hand, and offers, for the conformance tests of WHIP and WHEP.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use signaling::auth::{Key, Keys, Secret, TokenRequest, sign};
use signaling::config::Config;
use signaling::protocol::IceServer;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Everything here happens on one machine; nothing takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub(crate) const SDP: &str = "Content-Type: application/sdp";
pub(crate) const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag";
pub(crate) const JSON: &str = "Content-Type: application/json";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    _stop: DropGuard,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The values of all headers of a name in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

pub(crate) fn start(config: Config) -> Server {
    start_on(TcpListener::bind("127.0.0.1:0").unwrap(), config)
}

pub(crate) fn start_on(listener: TcpListener, config: Config) -> Server {
    let address = listener.local_addr().unwrap();
    let media_ips = vec!["127.0.0.1".parse().unwrap()];
    let (media_port, workers, drain) = (0, Some(1), Duration::ZERO);
    let config = Config { listen: address, media_ips, media_port, workers, drain, ..config };
    let shutdown = CancellationToken::new();
    tokio::spawn(signaling::run(config, listener, shutdown.clone()));
    Server { address, _stop: shutdown.clone().drop_guard(), shutdown }
}

/// Takes pages of this origin besides its own.
pub(crate) fn open_to(origin: &str) -> Server {
    start(Config { allowed_origins: vec![origin.to_owned()], ..Config::default() })
}

/// A server that somebody else runs.
pub(crate) fn at(address: SocketAddr) -> Server {
    let shutdown = CancellationToken::new();
    Server { address, _stop: shutdown.clone().drop_guard(), shutdown }
}

pub(crate) fn open() -> Server {
    start(Config::default())
}

pub(crate) fn keys() -> Keys {
    Keys::new([("k".to_owned(), Key::secret(SECRET.to_owned()).unwrap())])
}

pub(crate) fn keyed() -> Server {
    start(Config { keys: keys(), ..Config::default() })
}

pub(crate) fn with_ice_servers() -> Server {
    let stun = IceServer { urls: vec!["stun:a.example".into()], username: None, credential: None };
    let turn = IceServer {
        urls: vec!["turn:a.example?transport=udp".into()],
        username: Some("user".into()),
        credential: Some("secret".into()),
    };
    let ice_servers = vec![stun.into(), turn.into()];
    start(Config { ice_servers, ..Config::default() })
}

/// A token that says what the closure makes of one that allows everything in a room.
pub(crate) fn token_with(change: impl FnOnce(TokenRequest) -> TokenRequest) -> String {
    let secret = Secret::new(SECRET.into());
    let request = TokenRequest::join("k", secret, "r", "ada", Duration::from_secs(60));
    sign(change(request), SystemTime::now()).unwrap()
}

pub(crate) fn token(room: &str, identity: &str) -> String {
    let secret = Secret::new(SECRET.into());
    let request = TokenRequest::join("k", secret, room, identity, Duration::from_secs(60));
    sign(request, SystemTime::now()).unwrap()
}

/// A token with which a room is managed.
pub(crate) fn admin(room: &str) -> String {
    token_with(|request| TokenRequest {
        identity: None,
        room: Some(room.to_owned()),
        room_admin: true,
        ..request
    })
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Opens a connection and sends a request: a line `METHOD path`, then headers.
    pub(crate) async fn begin(&self, request: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (first, headers) = request.split_once('\n').unwrap_or((request, ""));
        let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        let length = body.len();
        let text = format!(
            "{first} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn send(&self, request: &str, body: &str) -> Response {
        let mut stream = self.begin(request, body).await;
        let mut response = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
        Response::parse(&response)
    }

    /// A session that was made with this offer.
    pub(crate) async fn session(&self, path: &str, offer: &str) -> Response {
        let response = self.send(&format!("POST {path}\n{SDP}"), offer).await;
        assert_eq!(response.status, 201, "{response:?}");
        response
    }

    pub(crate) async fn status(&self, request: &str) -> u16 {
        self.send(request, "").await.status
    }
}

/// One WebSocket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) async fn open(server: &Server) -> Self {
        let url = format!("ws://{}/ws", server.address);
        Self(timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap().0)
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Asks to join and returns the answer.
    pub(crate) async fn join(&mut self, room: &str, token: &str) -> Value {
        self.say(json!({"type": "join", "request": 1, "version": 1, "room": room, "name": "N", "token": token})).await;
        self.answer(1).await
    }

    /// Asks to go on as whoever was given this `welcome`, and returns the answer.
    pub(crate) async fn resume(&mut self, welcome: &Value, event: u64) -> Value {
        let (room, participant) = (&welcome["room"], &welcome["participant"]);
        let secret = &welcome["secret"];
        self.say(json!({"type": "resume", "request": 900, "version": 1, "room": room, "participant": participant, "secret": secret, "event": event})).await;
        loop {
            let message = self.message().await.expect("an answer");
            if message["request"] == 900 || message["type"] == "closed" {
                return message;
            }
        }
    }

    /// The next message of a type.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = self.message().await.unwrap_or_else(|| panic!("no {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// The answer to a request.
    pub(crate) async fn answer(&mut self, request: u64) -> Value {
        loop {
            let message = self.message().await.expect("an answer");
            if message["request"] == request {
                return message;
            }
        }
    }

    /// `None`: the socket was closed.
    pub(crate) async fn message(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.0.next()).await.expect("a message in time")? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Reads an event stream until a text is there.
pub(crate) async fn read_until(stream: &mut TcpStream, seen: &mut String, text: &str) {
    let mut buffer = [0; 4096];
    while !seen.contains(text) {
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = count.unwrap_or_else(|_| panic!("{text:?} never came: {seen}")).unwrap();
        assert_ne!(count, 0, "the stream ended before {text:?}: {seen}");
        seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

pub(crate) const AUDIO: &str = "audio 9 UDP/TLS/RTP/SAVPF 111|a=rtpmap:111 opus/48000/2\r\n";
pub(crate) const VIDEO: &str = "video 9 UDP/TLS/RTP/SAVPF 96|a=rtpmap:96 VP8/90000\r\n";
pub(crate) const H264: &str = "video 9 UDP/TLS/RTP/SAVPF 102|a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\n";
pub(crate) const SIMULCAST: &str = "video 9 UDP/TLS/RTP/SAVPF 96|a=rtpmap:96 VP8/90000\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
    a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n";
pub(crate) const UFRAG: &str = "abcd";
pub(crate) const PASSWORD: &str = "0123456789012345678901";

/// An offer, or with another setup an answer, of these sections.
pub(crate) fn description(setup: &str, direction: &str, sections: &[&str]) -> String {
    let mids: Vec<String> = (0..sections.len()).map(|mid| mid.to_string()).collect();
    let media: String = sections
        .iter()
        .zip(&mids)
        .map(|(media, mid)| {
            let (line, rest) = media.split_once('|').unwrap();
            format!(
                "m={line}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=rtcp-mux\r\na={direction}\r\n{rest}"
            )
        })
        .collect();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=ice-options:trickle ice2\r\n\
         a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PASSWORD}\r\na=setup:{setup}\r\na=fingerprint:sha-256 {}\r\n{media}",
        mids.join(" "),
        ["AB"; 32].join(":")
    )
}

pub(crate) fn publisher() -> String {
    description("actpass", "sendonly", &[AUDIO, VIDEO])
}

pub(crate) fn viewer() -> String {
    description("actpass", "recvonly", &[AUDIO, VIDEO])
}

/// What a client trickles, with these credentials.
pub(crate) fn fragment(ufrag: &str, password: &str) -> String {
    format!(
        "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
         a=candidate:2 1 sctp 1 nobody.invalid 9 typ host\r\na=end-of-candidates\r\n"
    )
}

/// The value of an attribute of a description.
pub(crate) fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let prefix = format!("a={name}:");
    let found = sdp.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
    found.unwrap_or_else(|| panic!("no {name} in {sdp}"))
}

/// The sections of a description.
pub(crate) fn sections(sdp: &str) -> Vec<&str> {
    sdp.split("\r\nm=").skip(1).collect()
}
