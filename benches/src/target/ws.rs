//! Our server over its WebSocket, blocking, as `signaling/PROTOCOL.md` has it. One participant is one socket.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use super::{Kind, Local, Remote, Section, Target};
use crate::process::Server;
use crate::sdp;

/// An answer takes longer only when something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);
/// The server closes a socket from which nothing came for 30 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Pauses between attempts to reach a server, as `web-demo/client/retry.js` makes them.
const RETRY_FIRST: Duration = Duration::from_millis(300);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Metrics that are 0 when nobody is there.
const LIVE: [&str; 9] = [
    "rooms",
    "participants",
    "websockets",
    "transports",
    "producers",
    "consumers",
    "tcp_connections",
    "commands_waiting",
    "events_kept",
];

/// See the module.
pub(crate) struct WebSocketTarget {
    binary: PathBuf,
    workers: usize,
    server: Mutex<Option<Server>>,
    address: Option<SocketAddr>,
    participants: Mutex<Vec<Participant>>,
}

impl WebSocketTarget {
    /// A target that starts `binary` with so many media workers.
    pub(crate) fn new(binary: PathBuf, workers: usize) -> Self {
        Self {
            binary,
            workers,
            server: Mutex::default(),
            address: None,
            participants: Mutex::default(),
        }
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn participants(&self) -> MutexGuard<'_, Vec<Participant>> {
        self.participants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(
        &self,
        room: &str,
        name: &str,
        local: &Local,
        sections: &[Section],
        wanted: [usize; 2],
    ) -> anyhow::Result<Remote> {
        let server = self.address.context("the server is not started")?;
        let mut participant = Participant::join(server, room, name, wanted, local, sections)?;
        participant.negotiate()?;
        let remote = sdp::remote(
            &participant.answer,
            participant.sections.len().min(sections.len().max(1)),
            local.address.ip(),
        )?;
        self.participants().push(participant);
        Ok(remote)
    }
}

impl Target for WebSocketTarget {
    fn name(&self) -> String {
        "switchyard-ws".to_owned()
    }

    fn start(&mut self, cpus: &[usize]) -> anyhow::Result<()> {
        self.stop();
        let server = Server::switchyard(&self.binary, self.workers, cpus)?;
        self.address = Some(server.address);
        *self.server() = Some(server);
        Ok(())
    }

    fn crash(&self) -> anyhow::Result<()> {
        // Nobody closes a socket before.
        let mut participants = self.participants();
        *self.server() = None;
        participants.clear();
        Ok(())
    }

    fn revive(&self, cpus: &[usize]) -> anyhow::Result<()> {
        let address = self.address.context("the server was never started")?;
        *self.server() = Some(Server::switchyard_at(address, &self.binary, self.workers, cpus)?);
        Ok(())
    }

    fn pids(&self) -> Vec<u32> {
        self.server().iter().map(Server::pid).collect()
    }

    fn local_ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn publish(
        &self,
        room: &str,
        tag: &str,
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote> {
        self.join(room, tag, local, sections, [0, 0])
    }

    fn subscribe(
        &self,
        room: &str,
        _from: &[String],
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote> {
        let count = |kind| sections.iter().filter(|section| section.kind == kind).count();
        self.join(room, "viewer", local, &[], [count(Kind::Audio), count(Kind::Video)])
    }

    fn meets(&self) -> bool {
        true
    }

    fn meet(
        &self,
        room: &str,
        tag: &str,
        local: &Local,
        sections: &[Section],
        others: usize,
    ) -> anyhow::Result<Remote> {
        self.join(room, tag, local, sections, [others, others])
    }

    fn keep_alive(&self) -> anyhow::Result<()> {
        self.participants().iter_mut().try_for_each(Participant::keep_alive)
    }

    fn leave(&self, with_a_word: usize) -> anyhow::Result<()> {
        for (number, mut participant) in self.participants().drain(..).enumerate() {
            if number < with_a_word {
                participant.send(&json!({"type": "leave"}))?;
                let _ = participant.socket.close(None);
            }
        }
        Ok(())
    }

    fn live(&self) -> anyhow::Result<Option<Vec<(String, u64)>>> {
        let server = self.address.context("the server is not started")?;
        let page = minreq::get(format!("http://{server}/metrics")).send()?;
        let counts = page.as_str()?.lines().filter_map(|line| {
            let (name, count) = line.rsplit_once(' ')?;
            let name = name.strip_prefix("switchyard_")?;
            let kind = name.split('{').next()?;
            LIVE.contains(&kind).then(|| Some((name.to_owned(), count.parse().ok()?)))?
        });
        Ok(Some(counts.collect()))
    }

    fn stop(&mut self) {
        self.participants().clear();
        *self.server() = None;
    }
}

/// One joined participant.
struct Participant {
    socket: WebSocket<TcpStream>,
    local: Local,
    request: u64,
    offers: u64,
    pinged: Instant,
    sections: Vec<Section>,
    /// Receive sections that the server wants to be offered: audio, video.
    wanted: [usize; 2],
    answer: String,
}

impl Participant {
    /// Joins, and hears which sections to offer: `sends`, then as many receiving ones as the server asks for.
    fn join(
        server: SocketAddr,
        room: &str,
        name: &str,
        [max_audio, max_video]: [usize; 2],
        local: &Local,
        sends: &[Section],
    ) -> anyhow::Result<Self> {
        let stream = reach(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let (socket, _) = tungstenite::client(format!("ws://{server}/ws"), stream)
            .map_err(|error| anyhow::anyhow!("the WebSocket does not open: {error}"))?;
        let mut participant = Self {
            socket,
            local: local.clone(),
            request: 0,
            offers: 0,
            pinged: Instant::now(),
            sections: sends.to_vec(),
            wanted: [0, 0],
            answer: String::new(),
        };
        let welcome = participant.request(json!({
            "type": "join", "version": 1, "room": room, "name": name,
            "max_audio": max_audio, "max_video": max_video,
        }))?;
        participant.want(&welcome["media_sections"]);
        Ok(participant)
    }

    fn want(&mut self, counts: &Value) {
        for (wanted, field) in self.wanted.iter_mut().zip(["audio", "video"]) {
            *wanted = counts[field].as_u64().unwrap_or(0) as usize;
        }
    }

    /// Are there receive sections that the server wants and that were not offered yet?
    fn add_sections(&mut self) -> bool {
        let before = self.sections.len();
        for (kind, wanted) in [(Kind::Audio, self.wanted[0]), (Kind::Video, self.wanted[1])] {
            let is_receiving =
                |section: &&Section| section.kind == kind && section.sends.is_empty();
            let have = self.sections.iter().filter(is_receiving).count();
            self.sections.extend((have..wanted).map(|_| Section::receiving(kind)));
        }
        self.sections.len() > before
    }

    /// Announces what is sent, offers, and lets the slots of the answer start.
    fn negotiate(&mut self) -> anyhow::Result<()> {
        self.add_sections();
        if self.offers == 0 {
            self.announce()?;
        }
        self.offers += 1;
        let offer_id = self.offers;
        // Who neither sends nor receives is here for data.
        let sdp = match self.sections.is_empty() {
            true => sdp::data_offer(&self.local),
            false => sdp::offer(&self.local, &self.sections),
        };
        let answer = self.request(json!({"type": "offer", "offer_id": offer_id, "sdp": sdp}))?;
        self.answer = answer["sdp"].as_str().context("an answer without SDP")?.to_owned();
        self.send(&json!({"type": "ready", "offer_id": offer_id}))
    }

    fn announce(&mut self) -> anyhow::Result<()> {
        for (mid, section) in self.sections.clone().iter().enumerate() {
            if section.sends.is_empty() {
                continue;
            }
            let source = match section.kind {
                Kind::Audio => "microphone",
                Kind::Video => "camera",
            };
            let rids = section.sends.iter().filter_map(|encoding| encoding.rid);
            let layers: Vec<Value> =
                rids.map(|rid| json!({"rid": rid, "width": 640, "height": 360})).collect();
            self.send(&json!({
                "type": "publish", "request": 1000 + mid, "mid": mid.to_string(), "source": source,
                "layers": layers,
            }))?;
        }
        Ok(())
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
            self.handle(&message)?;
        }
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.socket.send(Message::text(message.to_string())).context("the WebSocket broke")
    }

    /// Nothing that the server says by itself may be bad news.
    fn handle(&mut self, message: &Value) -> anyhow::Result<()> {
        match message["type"].as_str() {
            Some("media_sections") => self.want(message),
            Some("error" | "closed" | "track_unavailable") => bail!("the server says {message}"),
            _ => {}
        }
        Ok(())
    }

    /// Reads what came without waiting, offers what is wanted, and pings when it is time.
    fn keep_alive(&mut self) -> anyhow::Result<()> {
        if self.pinged.elapsed() >= PING_INTERVAL {
            self.pinged = Instant::now();
            self.send(&json!({"type": "ping", "time": 0}))?;
        }
        self.socket.get_ref().set_nonblocking(true)?;
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => self.handle(&serde_json::from_str(&text)?)?,
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("the WebSocket broke"),
            }
        }
        self.socket.get_ref().set_nonblocking(false)?;
        if self.add_sections() { self.negotiate() } else { Ok(()) }
    }
}

/// A server that is being started again is tried again, with pauses that double.
fn reach(server: SocketAddr) -> anyhow::Result<TcpStream> {
    let (begun, mut pause) = (Instant::now(), RETRY_FIRST);
    loop {
        match TcpStream::connect(server) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                if begun.elapsed() > DEADLINE {
                    return Err(error).context("the server does not come back");
                }
            }
            outcome => return Ok(outcome?),
        }
        std::thread::sleep(pause.mul_f64(rand::random_range(0.75..1.0)));
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}
