//! `switchyard bot`: a participant of a room without sound or picture, who says something, prints what is said, and sends a file.

mod file;
mod frame;
mod socket;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use super::peer::Peer;
use crate::cli::BotArgs;
use file::{Offered, TOPIC};
use frame::{Message, Payload};
use socket::{PING, Socket};

/// Between two looks at files.
const TICK: Duration = Duration::from_secs(1);
/// Messages of the data channel that wait here.
const HEARD_MAX: usize = 64;
/// Until a channel is there.
const OPEN: Duration = Duration::from_secs(15);
/// The channel that PROTOCOL.md names for what must arrive.
const RELIABLE: &str = "reliable";

/// Takes part until all was said and sent, the time is over, or `shutdown` is cancelled.
///
/// # Errors
/// The server refuses or cannot be reached, or nobody took the file; the message says what to do.
pub async fn bot(args: BotArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let offered = args.send.as_deref().map(|path| Offered::read(path, args.to.as_deref()));
    let offered = offered.transpose()?;
    let mut bot = tokio::select! {
        bot = Bot::join(&args, offered) => bot?,
        () = shutdown.cancelled() => bail!("stopped before it was in the room"),
    };
    let end = tokio::select! {
        end = bot.take_part(&args) => end,
        () = shutdown.cancelled() => Ok(()),
    };
    bot.leave().await;
    end?;
    match &bot.offered {
        Some(offered) if !offered.is_taken() => bail!("nobody took {}", offered.name()),
        _ => Ok(()),
    }
}

struct Bot {
    socket: Socket,
    peer: Peer,
    channel: Arc<dyn DataChannel>,
    heard: mpsc::Receiver<DataChannelEvent>,
    offered: Option<Offered>,
    /// Others who are here, by identity: the participant's id and name.
    names: BTreeMap<String, (String, String)>,
}

impl Bot {
    /// Is in the room, with a channel, when it returns.
    async fn join(args: &BotArgs, offered: Option<Offered>) -> anyhow::Result<Self> {
        let mut socket = Socket::open(&args.url, args.token.as_deref(), args.insecure).await?;
        let mut join = json!({
            "type": "join", "version": 1, "room": args.room, "name": args.name, "max_audio": 0, "max_video": 0,
        });
        for (field, value) in [("identity", &args.identity), ("token", &args.token)] {
            if let Some(value) = value {
                join[field] = json!(value);
            }
        }
        let welcome = socket.request(join).await?;
        if args.send.is_some() && welcome["can_publish_data"] != json!(true) {
            bail!(
                "this token does not allow sending data (video.canPublishData): the file cannot be sent"
            );
        }
        let (mut peer, _) = Peer::new(&[], socket.is_local()).await?;
        let channel = peer.channel(RELIABLE).await?;
        let offer = peer.offer().await?;
        let offer = json!({"type": "offer", "offer_id": 1, "sdp": offer});
        let answer = socket.request(offer).await?;
        let sdp = answer["sdp"].as_str().context("the server's answer has no SDP")?;
        peer.connect(sdp.to_owned()).await?;
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        tokio::spawn(listen(Arc::clone(&channel), tell));
        let mut bot = Self { socket, peer, channel, heard, offered, names: BTreeMap::new() };
        for participant in welcome["participants"].as_array().into_iter().flatten() {
            bot.know(participant);
        }
        let opened = timeout(OPEN, bot.opened()).await;
        opened.context("the server opens no data channel").flatten()?;
        Ok(bot)
    }

    async fn opened(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.heard.recv().await {
            if matches!(event, DataChannelEvent::OnOpen) {
                return Ok(());
            }
        }
        bail!("the data channel was closed")
    }

    async fn take_part(&mut self, args: &BotArgs) -> anyhow::Result<()> {
        if let Some(text) = &args.say {
            let mut chat = json!({"type": "chat", "text": text});
            if let Some(to) = &args.to {
                chat["to"] = json!([to]);
            }
            self.socket.request(chat).await?;
        }
        if let Some(to) =
            args.to.as_ref().filter(|_| args.send.is_some() && args.duration.is_none())
            && !self.names.contains_key(to)
        {
            bail!(
                "there is nobody {to:?} in this room to take the file; with --duration SECONDS it waits for them"
            );
        }
        self.offer_file().await?;
        let stays = args.duration.is_some() || (args.say.is_none() && args.send.is_none());
        let end = args.duration.map(|duration| Instant::now() + duration);
        let ended = self.peer.ended();
        tokio::pin!(ended);
        let (mut pings, mut ticks) = (interval(PING), interval(TICK));
        loop {
            if !stays && self.offered.as_ref().is_none_or(Offered::is_over) {
                return Ok(());
            }
            tokio::select! {
                message = self.socket.next() => self.handle(message?).await?,
                event = self.heard.recv() => self.hear(event).await?,
                _ = pings.tick() => self.socket.ping().await?,
                _ = ticks.tick() => self.look_after_file()?,
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Ok(()),
                () = &mut ended => bail!("the connection to the server has ended"),
            }
        }
    }

    /// What the server says by itself, or what somebody without a channel says.
    async fn handle(&mut self, message: Value) -> anyhow::Result<()> {
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str() {
            Some("chat_message") => print_line(&text("name"), &text("text")),
            Some("chat_history") => {
                for said in message["messages"].as_array().into_iter().flatten() {
                    let text = |field: &str| said[field].as_str().unwrap_or_default();
                    print_line(text("name"), text("text"));
                }
            }
            Some("participant_joined") => {
                self.know(&message["participant"]);
                let joined = message["participant"]["identity"].as_str();
                if joined
                    .is_some_and(|joined| self.offered.as_ref().is_some_and(|it| it.is_for(joined)))
                {
                    self.offer_file().await?;
                }
            }
            Some("participant_left") => {
                let left = text("participant");
                self.names.retain(|_, (id, _)| *id != left);
            }
            Some("closed" | "error") => bail!("the server says: {}", text("message")),
            Some("data") => {
                let bytes = message["bytes"].as_str().map(|bytes| STANDARD.decode(bytes));
                let payload = match bytes {
                    Some(bytes) => Payload::Bytes(bytes.context("data that is not Base64")?),
                    None => Payload::Text(text("text")),
                };
                self.take(Message { topic: text("topic"), identity: text("identity"), payload })
                    .await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn know(&mut self, participant: &Value) {
        let text = |field: &str| participant[field].as_str().unwrap_or_default().to_owned();
        self.names.insert(text("identity"), (text("participant"), text("name")));
    }

    async fn hear(&mut self, event: Option<DataChannelEvent>) -> anyhow::Result<()> {
        match event {
            Some(DataChannelEvent::OnMessage(message)) => match frame::read(&message.data) {
                Some(message) => self.take(message).await,
                None => Ok(()),
            },
            Some(DataChannelEvent::OnClose) | None => bail!("the server closed the data channel"),
            Some(_) => Ok(()),
        }
    }

    async fn take(&mut self, message: Message) -> anyhow::Result<()> {
        let Message { topic, identity, payload } = message;
        let known = self.names.get(&identity).map(|(_, name)| name.clone());
        let name = known.unwrap_or_else(|| identity.clone());
        if topic != TOPIC {
            let what = match payload {
                Payload::Text(text) => text,
                Payload::Bytes(bytes) => format!("{} bytes", bytes.len()),
            };
            print_line(&name, &format!("[{topic}] {what}"));
            return Ok(());
        }
        let (Some(offered), Payload::Text(text)) = (&mut self.offered, payload) else {
            return Ok(());
        };
        let news = offered.handle(&identity, &text, std::time::Instant::now())?;
        for payload in news.send {
            self.publish(&payload, Some(&identity)).await?;
        }
        if let Some(line) = news.say {
            print_line(&name, &line);
        }
        Ok(())
    }

    /// Says what file there is, unless the one it is for is not here yet.
    async fn offer_file(&self) -> anyhow::Result<()> {
        let Some((payload, to)) = self.offered.as_ref().map(Offered::offer) else { return Ok(()) };
        match to {
            Some(to) if !self.names.contains_key(&to) => Ok(()),
            to => self.publish(&payload, to.as_deref()).await,
        }
    }

    fn look_after_file(&mut self) -> anyhow::Result<()> {
        match &mut self.offered {
            Some(offered) => offered.tick(std::time::Instant::now()),
            None => Ok(()),
        }
    }

    async fn publish(&self, payload: &Payload, to: Option<&str>) -> anyhow::Result<()> {
        let frame = frame::write(TOPIC, to, payload);
        let sent = self.channel.send(BytesMut::from(&frame[..])).await;
        sent.context("the data channel takes nothing")
    }

    async fn leave(&mut self) {
        let _ = self.socket.send(&json!({"type": "leave"})).await;
        self.peer.close().await;
    }
}

async fn listen(channel: Arc<dyn DataChannel>, tell: mpsc::Sender<DataChannelEvent>) {
    while let Some(event) = channel.poll().await {
        if tell.send(event).await.is_err() {
            return;
        }
    }
}

/// One line of what is heard; what would move a terminal's cursor is left out.
fn print_line(name: &str, text: &str) {
    let plain = |text: &str| text.replace(|c: char| c.is_control() && c != '\n', " ");
    // Whoever has closed it does not want to know.
    let _ = writeln!(std::io::stdout(), "{}: {}", plain(name), plain(text));
}
