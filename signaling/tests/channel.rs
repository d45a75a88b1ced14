//! The channel relay on real sockets: a client written from PROTOCOL.md.

use crate::harness::{JSON, PATIENCE, SECRET, Server, Socket, admin, keyed, open, open_to, token};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use signaling::auth::{Secret, TokenRequest, sign};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const MINUTE: Duration = Duration::from_secs(60);

type WebSocket = WebSocketStream<TcpStream>;

struct Client {
    out: SplitSink<WebSocket, Message>,
    incoming: SplitStream<WebSocket>,
}

impl Client {
    async fn of(server: &Server) -> Self {
        Self::at(server, "/channel").await
    }

    async fn at(server: &Server, path: &str) -> Self {
        Self::with_buffer(server, path, None).await
    }

    /// With a small receive buffer the kernel keeps little for a client that does not read.
    async fn with_buffer(server: &Server, path: &str, bytes: Option<u32>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        bytes.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes)).unwrap();
        let stream = timeout(PATIENCE, socket.connect(server.address())).await.unwrap().unwrap();
        let url = format!("ws://{}{path}", server.address());
        let (socket, _) = timeout(PATIENCE, client_async(url, stream)).await.unwrap().unwrap();
        let (out, incoming) = socket.split();
        Self { out, incoming }
    }

    async fn send(&mut self, text: impl Into<String>) {
        self.out.send(Message::text(text.into())).await.unwrap();
    }

    async fn say(&mut self, channel: &str, data: Value) {
        self.send(json!({"channel": channel, "data": data}).to_string()).await;
    }

    /// Joins, and waits until the server says so of itself.
    async fn open(&mut self, channel: &str) {
        self.send(json!({"open": true, "channel": channel}).to_string()).await;
        assert!(self.sees(channel).await, "{channel}");
    }

    async fn sees(&mut self, channel: &str) -> bool {
        self.send(json!({"checkPresence": true, "channel": channel}).to_string()).await;
        self.next().await["isChannelPresent"].as_bool().unwrap()
    }

    async fn next(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    async fn text(&mut self) -> String {
        match self.frame().await {
            Some(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("a text expected, not {other:?}"),
        }
    }

    /// The same of Socket.IO, without the heartbeats of a slow machine.
    async fn packet(&mut self) -> String {
        loop {
            match self.text().await {
                heartbeat if heartbeat == "2" => {}
                packet => return packet,
            }
        }
    }

    async fn frame(&mut self) -> Option<Message> {
        loop {
            match timeout(PATIENCE, self.incoming.next()).await.expect("a frame in time") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(frame)) => return Some(frame),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The sentence and the close frame of an end that the server made.
    async fn refusal(&mut self) -> (String, u16) {
        let error = self.next().await["error"].as_str().unwrap().to_owned();
        let Some(Message::Close(Some(frame))) = self.frame().await else {
            panic!("no close frame after {error}")
        };
        assert!(!frame.reason.is_empty());
        (error, frame.code.into())
    }

    /// Nothing of anybody else's is on its way: what this client asks for is the next that comes.
    async fn hears_nothing(&mut self) {
        assert!(!self.sees("nobody is here").await);
    }
}

async fn channel_metric(server: &Server, name: &str) -> f64 {
    let page = server.send("GET /metrics", "").await.body;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("switchyard_{name}{{}} ")));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

async fn wait_for(server: &Server, name: &str, value: f64) {
    let end = Instant::now() + PATIENCE;
    while channel_metric(server, name).await != value {
        assert!(Instant::now() < end, "{name}: {}", channel_metric(server, name).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_document_is_a_conversation_with_this_server() {
    let document = include_str!("../PROTOCOL.md");
    let block = document.split("```json channel\n").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = block.lines().collect();
    let [open_den, ask, present, offer, heard, stray, refused] = lines[..] else {
        panic!("seven lines: {block}")
    };
    let server = open();
    let (mut one, mut other) = (Client::of(&server).await, Client::of(&server).await);
    one.open("den").await;
    other.send(open_den).await;
    other.send(ask).await;
    assert_eq!(other.text().await, present);
    other.send(offer).await;
    assert_eq!(one.text().await, heard);
    other.send(stray).await;
    assert_eq!(other.text().await, refused);
}

#[tokio::test]
async fn a_closed_socket_leaves_its_channels_and_an_empty_one_is_gone() {
    let server = open();
    let (mut ada, mut bob) = (Client::of(&server).await, Client::of(&server).await);
    for channel in ["x", "y"] {
        assert!(!bob.sees(channel).await);
        ada.open(channel).await;
        assert!(bob.sees(channel).await);
    }
    bob.open("y").await;
    bob.say("y", json!(null)).await;
    assert_eq!(ada.text().await, "null");
    wait_for(&server, "channels", 2.0).await;
    // Without a close frame, as a browser that dies.
    drop(ada);
    wait_for(&server, "channels", 1.0).await;
    assert!(!bob.sees("x").await && bob.sees("y").await);
    bob.out.close().await.unwrap();
    wait_for(&server, "channel_sockets", 0.0).await;
    assert_eq!(channel_metric(&server, "channels").await, 0.0);
    assert_eq!(channel_metric(&server, "channel_messages_total").await, 1.0);
}

#[tokio::test]
async fn bad_input_gets_a_sentence_and_harms_no_one() {
    let server = open();
    let (mut ada, mut bob) = (Client::of(&server).await, Client::of(&server).await);
    ada.open("x").await;
    bob.open("x").await;
    let long = json!({"open": true, "channel": "n".repeat(300)}).to_string();
    let bad = [
        "",
        "{",
        "[1]",
        "null",
        "{\"channel\":\"x\"}",
        "{\"open\":true}",
        "{\"open\":\"yes\",\"channel\":\"x\"}",
        "{\"channel\":\"x\",\"data\":{},\"data\":{}}",
        "{\"channel\":\"never opened\",\"data\":1}",
        "{\"channel\":{},\"data\":1}",
        long.as_str(),
    ];
    for text in bad {
        bob.send(text).await;
        let answer = bob.next().await;
        assert!(answer["error"].as_str().unwrap().len() > 20, "{text}: {answer}");
    }
    bob.out.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert!(bob.next().await["error"].as_str().unwrap().contains("text frame"));
    ada.hears_nothing().await;
    bob.say("x", json!("still here")).await;
    assert_eq!(ada.next().await, json!("still here"));
    bob.say("x", json!("n".repeat(70_000))).await;
    let (sentence, code) = bob.refusal().await;
    assert!(sentence.contains("64 KiB") && code == 1009, "{sentence} {code}");
    ada.hears_nothing().await;
}

#[tokio::test]
async fn too_many_channels_of_one_socket_are_refused() {
    let server = open();
    let mut ada = Client::of(&server).await;
    for n in 0..64 {
        ada.open(&n.to_string()).await;
    }
    ada.send("{\"open\":true,\"channel\":64}").await;
    assert!(ada.next().await["error"].as_str().unwrap().contains("64 channels"));
    assert!(!ada.sees("64").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_closed_with_a_reason_and_delays_nobody() {
    let server = open();
    let mut slow = Client::with_buffer(&server, "/channel", Some(8 * 1024)).await;
    let mut quick = Client::of(&server).await;
    slow.open("x").await;
    quick.open("x").await;
    // More than the buffers of the kernel and the relay hold; what one may send at once is less.
    const SPEAKERS: usize = 24;
    const MESSAGES: usize = 10;
    let mut speakers = Vec::new();
    for _ in 0..SPEAKERS {
        let mut speaker = Client::of(&server).await;
        speaker.open("x").await;
        speakers.push(speaker);
    }
    let speaking = tokio::spawn(async move {
        let text = "s".repeat(60_000);
        for _ in 0..MESSAGES {
            for speaker in &mut speakers {
                speaker.say("x", json!(text)).await;
                // They read too, or they would be slow themselves.
                while let Ok(Some(_)) = timeout(Duration::ZERO, speaker.incoming.next()).await {}
            }
        }
        speakers
    });
    for _ in 0..SPEAKERS * MESSAGES {
        assert_eq!(quick.text().await.len(), 60_002);
    }
    wait_for(&server, "channel_slow_readers_total", 1.0).await;
    let mut seen = 0;
    let error = loop {
        let text = slow.text().await;
        match text.starts_with('{') {
            true => break text,
            false => seen += 1,
        }
    };
    assert!(error.contains("not read fast enough") && seen < SPEAKERS * MESSAGES, "{error} {seen}");
    let Some(Message::Close(Some(frame))) = slow.frame().await else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1008);
    drop((slow, quick, speaking.await.unwrap()));
    wait_for(&server, "channel_sockets", 0.0).await;
}

/// Both ends of all sockets are in this process.
fn allow_open_files(count: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= count, "the test needs {count} open files, and only {hard} are allowed");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(count), hard).unwrap();
}

const CHANNELS: usize = 100;
const SOCKETS_EACH: usize = 10;
const SAID_BY_EACH: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_sockets_in_a_hundred_channels_no_message_is_lost_and_none_leaks() {
    allow_open_files(2500);
    let server = open();
    let mut clients = Vec::new();
    for number in 0..CHANNELS * SOCKETS_EACH {
        let mut client = Client::of(&server).await;
        client.open(&format!("channel {}", number % CHANNELS)).await;
        clients.push(client);
    }
    assert_eq!(channel_metric(&server, "channels").await, CHANNELS as f64);
    assert_eq!(channel_metric(&server, "channel_sockets").await, clients.len() as f64);
    let began = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, client)| tokio::spawn(talk(number, client)))
        .collect();
    let mut clients = Vec::new();
    for task in tasks {
        clients.push(task.await.unwrap());
    }
    let relayed = CHANNELS * SOCKETS_EACH * (SOCKETS_EACH - 1) * SAID_BY_EACH;
    println!("{relayed} messages were handed on in {} ms", began.elapsed().as_millis());
    for client in &mut clients {
        client.hears_nothing().await;
    }
    assert_eq!(channel_metric(&server, "channel_messages_total").await, relayed as f64);
    drop(clients);
    wait_for(&server, "channel_sockets", 0.0).await;
    assert_eq!(channel_metric(&server, "channels").await, 0.0);
    assert_eq!(channel_metric(&server, "channel_slow_readers_total").await, 0.0);
}

/// Says all it has to say, and hears all that the others of its channel say, in their order.
async fn talk(number: usize, client: Client) -> Client {
    let Client { mut out, incoming } = client;
    let channel = format!("channel {}", number % CHANNELS);
    let speaking = tokio::spawn(async move {
        for message in 0..SAID_BY_EACH {
            let said = json!({"channel": channel, "data": {"from": number, "message": message}});
            out.send(Message::text(said.to_string())).await.unwrap();
        }
        out
    });
    let mut client = Client { out: speaking.await.unwrap(), incoming };
    let mut next_of = vec![0; CHANNELS * SOCKETS_EACH];
    for _ in 0..(SOCKETS_EACH - 1) * SAID_BY_EACH {
        let heard = client.next().await;
        let from = heard["from"].as_u64().unwrap() as usize;
        assert!(from != number && from % CHANNELS == number % CHANNELS, "{number} heard {heard}");
        assert_eq!(heard["message"], next_of[from], "{number} of {from}");
        next_of[from] += 1;
    }
    client
}

#[tokio::test]
async fn with_keys_a_token_opens_the_channels_of_its_room_and_no_other() {
    let server = keyed();
    let at = |room: &str, token: &str| format!("/channel?room={room}&token={token}");
    let mut ada = Client::at(&server, &at("red", &token("red", "ada"))).await;
    let mut bob = Client::at(&server, &at("red", &token("red", "bob"))).await;
    let mut eve = Client::at(&server, &at("blue", &token("blue", "eve"))).await;
    ada.open("any name").await;
    assert!(bob.sees("any name").await && !eve.sees("any name").await);
    eve.open("any name").await;
    bob.open("any name").await;
    bob.say("any name", json!("for ada")).await;
    assert_eq!(ada.next().await, json!("for ada"));
    eve.hears_nothing().await;
    for (path, expected) in [
        ("/channel".to_owned(), "?room=ROOM&token=TOKEN"),
        (at("red", ""), "needs a token"),
        (at("red", &token("blue", "eve")), "not for this room"),
        (at("a%20b", &token("red", "eve")), "room"),
    ] {
        let (sentence, code) = Client::at(&server, &path).await.refusal().await;
        assert!(sentence.contains(expected) && code == 1008, "{path}: {sentence} {code}");
    }
    wait_for(&server, "channel_sockets", 3.0).await;
}

/// What a page of Socket.IO 4 does first.
async fn socket_io(server: &Server, query: &str) -> Client {
    let path = format!("/socket.io/?EIO=4&transport=websocket{query}");
    let mut page = Client::at(server, &path).await;
    assert!(page.text().await.starts_with('0'));
    page.send("40").await;
    assert!(page.packet().await.starts_with("40"));
    page
}

#[tokio::test]
async fn row_31_nobody_stays_in_a_channel_whose_token_counts_no_more() {
    let server = keyed();
    let mut ada = Socket::open(&server).await;
    assert_eq!(ada.join("r", &token("r", "ada")).await["type"], "welcome");
    let query = |identity: &str| format!("room=r&token={}", token("r", identity));
    let mut eve = Client::at(&server, &format!("/channel?{}", query("eve"))).await;
    let mut bob = Client::at(&server, &format!("/channel?{}", query("bob"))).await;
    eve.open("den").await;
    bob.open("den").await;
    let mut page = socket_io(&server, &format!("&{}", query("eve"))).await;
    let request = format!("POST /api/rooms/r/bans\n{JSON}\nAuthorization: Bearer {}", admin("r"));
    let start = Instant::now();
    let ban = json!({"identity": "eve", "seconds": 60, "reason": "Noise"}).to_string();
    assert_eq!(server.send(&request, &ban).await.status, 204);
    let (sentence, code) = eve.refusal().await;
    assert!(sentence.contains("banned") && code == 1008, "{code}: {sentence}");
    let sentence = page.packet().await;
    assert!(sentence.starts_with("42[\"error\",\"You are banned"), "{sentence}");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let mut again = Client::at(&server, &format!("/channel?{}", query("eve"))).await;
    assert!(again.refusal().await.0.contains("banned"));
    assert!(bob.sees("den").await, "who is not meant stays");
    // With the leeway of a minute it has some seconds left.
    let request = TokenRequest::join("k", Secret::new(SECRET.into()), "r", "dan", MINUTE);
    let short = sign(request, SystemTime::now() - 2 * MINUTE + Duration::from_secs(2)).unwrap();
    let mut dan = Client::at(&server, &format!("/channel?room=r&token={short}")).await;
    dan.open("den").await;
    let (sentence, code) = dan.refusal().await;
    assert!(sentence.contains("expired") && code == 1008, "{code}: {sentence}");
}

#[tokio::test]
async fn row_28_a_flood_of_what_is_not_understood_is_cut_off() {
    let server = open();
    let mut page = socket_io(&server, "").await;
    for _ in 0..300 {
        page.out.send(Message::binary(vec![0])).await.unwrap();
    }
    let mut answers = 0;
    while !page.packet().await.contains("Too many messages") {
        answers += 1;
    }
    assert!(answers <= 200, "{answers}");
}

#[tokio::test]
async fn without_keys_only_pages_that_were_let_in_get_a_socket() {
    async fn status(server: &Server, origin: &str) -> u16 {
        let mut request =
            format!("ws://{}/channel", server.address()).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match tokio_tungstenite::connect_async(request).await {
            Ok((_, response)) => response.status().as_u16(),
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{other}"),
        }
    }
    let server = open_to("https://pages.example");
    assert_eq!(status(&server, "https://pages.example").await, 101);
    assert_eq!(status(&server, &format!("http://{}", server.address())).await, 101);
    assert_eq!(status(&server, "https://other.example").await, 403);
    let proxied = server.status("GET /channel\nX-Forwarded-For: 192.0.2.1").await;
    assert_eq!(proxied, 403);
    let poll = |origin: &str| {
        format!("GET /socket.io/?EIO=4&transport=polling\nOrigin: https://{origin}.example")
    };
    assert_eq!(server.status(&poll("other")).await, 403);
    let polled = server.send(&poll("pages"), "").await;
    assert_eq!(polled.status, 200);
    assert_eq!(polled.header("access-control-allow-origin"), "https://pages.example");
    assert_eq!(polled.header("access-control-allow-credentials"), "true");
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let server = open();
    let mut ada = Client::of(&server).await;
    ada.open("x").await;
    server.shutdown.cancel();
    let (sentence, code) = ada.refusal().await;
    assert!(sentence.contains("stops") && code == 1001, "{sentence} {code}");
}
