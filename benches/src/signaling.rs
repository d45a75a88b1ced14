//! A participant's WebSocket, blocking, as `signaling/PROTOCOL.md` has it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use crate::sdp::{self, Kind, Local, Remote, Section};

/// An answer takes longer only when something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);
/// The server closes a socket from which nothing came for 30 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What a participant wants of the room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    pub(crate) max_audio: u16,
    pub(crate) max_video: u16,
}

/// One joined participant.
pub(crate) struct Participant {
    socket: WebSocket<TcpStream>,
    request: u64,
    pinged: Instant,
    sections: Vec<Section>,
}

impl Participant {
    /// Joins and says which sections to offer: `sends`, then as many receiving ones as the server asks for.
    pub(crate) fn join(
        server: SocketAddr,
        room: &str,
        name: &str,
        wishes: Wishes,
        sends: &[Section],
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let (socket, _) = tungstenite::client(format!("ws://{server}/ws"), stream)
            .map_err(|error| anyhow::anyhow!("the WebSocket does not open: {error}"))?;
        let mut participant =
            Self { socket, request: 0, pinged: Instant::now(), sections: sends.to_vec() };
        let welcome = participant.request(json!({
            "type": "join", "version": 1, "room": room, "name": name,
            "max_audio": wishes.max_audio, "max_video": wishes.max_video,
        }))?;
        for (kind, field) in [(Kind::Audio, "audio"), (Kind::Video, "video")] {
            let count = welcome["media_sections"][field].as_u64().context("media_sections")?;
            participant.sections.extend((0..count).map(|_| Section { kind, sends: None }));
        }
        Ok(participant)
    }

    /// Announces what is sent, offers, and lets the slots of the answer start.
    pub(crate) fn negotiate(&mut self, local: &Local) -> anyhow::Result<Remote> {
        for (mid, section) in self.sections.clone().iter().enumerate() {
            if section.sends.is_some() {
                let source = match section.kind {
                    Kind::Audio => "microphone",
                    Kind::Video => "camera",
                };
                self.send(&json!({
                    "type": "publish", "request": 1000 + mid, "mid": mid.to_string(), "source": source,
                }))?;
            }
        }
        let sdp = sdp::offer(local, &self.sections);
        let answer = self.request(json!({"type": "offer", "offer_id": 1, "sdp": sdp}))?;
        let remote = sdp::answer(answer["sdp"].as_str().context("an answer without SDP")?)?;
        self.send(&json!({"type": "ready", "offer_id": 1}))?;
        Ok(remote)
    }

    fn request(&mut self, mut message: Value) -> anyhow::Result<Value> {
        self.request += 1;
        message["request"] = json!(self.request);
        self.send(&message)?;
        loop {
            let Message::Text(text) = self.socket.read()? else { continue };
            let message: Value = serde_json::from_str(&text)?;
            if message["request"] == self.request {
                if message["type"] == "error" {
                    bail!("the server refuses: {message}");
                }
                return Ok(message);
            }
            check(&message)?;
        }
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.socket.send(Message::text(message.to_string())).context("the WebSocket broke")
    }

    /// Reads what came without waiting, and pings when it is time.
    pub(crate) fn keep_alive(&mut self) -> anyhow::Result<()> {
        if self.pinged.elapsed() >= PING_INTERVAL {
            self.pinged = Instant::now();
            self.send(&json!({"type": "ping", "time": 0}))?;
        }
        self.socket.get_ref().set_nonblocking(true)?;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => check(&serde_json::from_str(&text)?)?,
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the WebSocket broke"),
            }
        }
        self.socket.get_ref().set_nonblocking(false)?;
        Ok(())
    }
}

/// Nothing that the server says by itself may be bad news.
fn check(message: &Value) -> anyhow::Result<()> {
    let lost = message["unbound"].as_array().is_some_and(|unbound| !unbound.is_empty());
    if lost || matches!(message["type"].as_str(), Some("error" | "closed" | "track_unavailable")) {
        bail!("the server says {message}");
    }
    Ok(())
}
