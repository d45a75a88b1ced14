//! Janus's own protocol over one WebSocket, blocking: one session, one handle per peer connection.
//!
//! Requests carry a transaction; plugins first acknowledge and then answer with an event of the same transaction. What Janus says
//! by itself is looked at only for bad news.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

const PLUGIN: &str = "janus.plugin.videoroom";
const SUBPROTOCOL: &str = "janus-protocol";
/// A read that waits longer than this looks at the deadline of its request.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// Janus gathers candidates before it answers; with a thousand of them waiting it is slow.
const DEADLINE: Duration = Duration::from_secs(30);
/// Janus ends a session from which nothing came for 60 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// A session description with its side of the negotiation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Jsep<'a> {
    None,
    Offer(&'a str),
    Answer(&'a str),
}

/// What the plugin answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// The plugin's part.
    pub(super) data: Value,
    /// The session description that came along.
    pub(super) sdp: Option<String>,
}

/// An error that the VideoRoom plugin reported.
#[derive(Debug)]
pub(super) struct PluginError {
    /// As `janus_videoroom.c` numbers them.
    pub(super) code: u64,
    reason: String,
}

impl std::fmt::Display for PluginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Janus refuses: {} (error {})", self.reason, self.code)
    }
}

impl std::error::Error for PluginError {}

/// See the module.
pub(super) struct Api {
    socket: WebSocket<TcpStream>,
    session: u64,
    transactions: u64,
    sent: Instant,
}

impl Api {
    /// Opens the WebSocket and creates the session.
    pub(super) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        let uri = format!("ws://{address}/").parse().context("the address of Janus")?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let (socket, _) = tungstenite::client(request, stream)
            .map_err(|error| anyhow::anyhow!("the WebSocket to Janus does not open: {error}"))?;
        let mut api = Self { socket, session: 0, transactions: 0, sent: Instant::now() };
        let created = api.request(json!({"janus": "create"}))?;
        api.session = created["data"]["id"].as_u64().context("a session without an id")?;
        Ok(api)
    }

    /// A new handle of the VideoRoom plugin.
    pub(super) fn attach(&mut self) -> anyhow::Result<u64> {
        let attached = self.request(json!({"janus": "attach", "plugin": PLUGIN}))?;
        attached["data"]["id"].as_u64().context("a handle without an id")
    }

    /// Sends `body` to the plugin and waits for what it makes of it.
    pub(super) fn message(
        &mut self,
        handle: u64,
        body: Value,
        jsep: Jsep<'_>,
    ) -> anyhow::Result<Reply> {
        let mut message = json!({"janus": "message", "handle_id": handle, "body": body});
        match jsep {
            Jsep::None => {}
            Jsep::Offer(sdp) => message["jsep"] = json!({"type": "offer", "sdp": sdp}),
            // All candidates are in the answer.
            Jsep::Answer(sdp) => {
                message["jsep"] = json!({"type": "answer", "sdp": sdp, "trickle": false});
            }
        }
        let mut event = self.request(message)?;
        let data = event["plugindata"]["data"].take();
        if let Some(code) = data["error_code"].as_u64() {
            let reason = data["error"].as_str().unwrap_or_default().to_owned();
            return Err(PluginError { code, reason }.into());
        }
        Ok(Reply { data, sdp: event["jsep"]["sdp"].as_str().map(str::to_owned) })
    }

    /// Keeps the session alive when it is time, and reads what came without waiting.
    pub(super) fn keep_alive(&mut self) -> anyhow::Result<()> {
        if self.sent.elapsed() >= KEEP_ALIVE_INTERVAL {
            self.send(json!({"janus": "keepalive"}))?;
        }
        self.socket.get_ref().set_nonblocking(true)?;
        while let Some(message) = self.read()? {
            check(&message)?;
        }
        self.socket.get_ref().set_nonblocking(false)?;
        Ok(())
    }

    /// Sends a message and returns its transaction.
    fn send(&mut self, mut message: Value) -> anyhow::Result<String> {
        self.transactions += 1;
        let transaction = self.transactions.to_string();
        message["transaction"] = json!(transaction);
        if self.session != 0 {
            message["session_id"] = json!(self.session);
        }
        self.sent = Instant::now();
        self.socket.send(Message::text(message.to_string())).context("the WebSocket to Janus")?;
        Ok(transaction)
    }

    /// Sends a request and returns what answers it for good.
    fn request(&mut self, request: Value) -> anyhow::Result<Value> {
        let what = request["janus"].clone();
        let transaction = self.send(request)?;
        let end = Instant::now() + DEADLINE;
        loop {
            let Some(message) = self.read()? else {
                if Instant::now() > end {
                    bail!("Janus did not answer {what} in time");
                }
                continue;
            };
            if message["transaction"] == transaction.as_str() {
                match message["janus"].as_str() {
                    Some("ack") => {}
                    Some("error") => bail!("Janus refuses: {}", message["error"]),
                    _ => return Ok(message),
                }
            } else {
                check(&message)?;
            }
        }
    }

    /// The next message; `None` when none came for a while.
    fn read(&mut self) -> anyhow::Result<Option<Value>> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(&text)?)),
            Ok(_) => Ok(None),
            Err(tungstenite::Error::Io(error)) if is_timeout(&error) => Ok(None),
            Err(error) => Err(error).context("the WebSocket to Janus broke"),
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Nothing that Janus says by itself may be bad news: a peer connection that ended, or an error in a room.
fn check(message: &Value) -> anyhow::Result<()> {
    let data = &message["plugindata"]["data"];
    let ended = matches!(message["janus"].as_str(), Some("hangup" | "timeout" | "error"));
    if ended || data.get("error_code").is_some() {
        bail!("Janus says {message}");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread::JoinHandle;
    use tungstenite::handshake::server::{ErrorResponse, Request, Response};

    /// Takes the subprotocol that is asked for.
    #[allow(clippy::result_large_err, reason = "the library's signature")]
    fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
        let wanted = request.headers()["sec-websocket-protocol"].clone();
        assert_eq!(wanted, SUBPROTOCOL);
        response.headers_mut().insert("sec-websocket-protocol", wanted);
        Ok(response)
    }

    /// A Janus that makes session 5 and handle 6 and then answers each message with the next of `replies`; an empty one ends the
    /// replies to a message. `T` stands for the transaction. Returns what it was sent.
    fn fake(replies: &'static [&'static str]) -> (SocketAddr, JoinHandle<Vec<Value>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let (stream, _) = listener.accept().unwrap();
            let mut socket = tungstenite::accept_hdr(stream, choose).unwrap();
            let mut received = Vec::new();
            let first = [
                r#"{"janus":"success","transaction":"T","data":{"id":5}}"#,
                "",
                r#"{"janus":"success","transaction":"T","data":{"id":6}}"#,
                "",
            ];
            let mut transaction = String::new();
            let mut waits = true;
            for reply in first.iter().chain(replies) {
                if waits {
                    let message: Value =
                        serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
                    transaction = message["transaction"].to_string();
                    received.push(message);
                }
                waits = reply.is_empty();
                if !waits {
                    socket.send(Message::text(reply.replace("\"T\"", &transaction))).unwrap();
                }
            }
            received
        };
        (address, std::thread::spawn(serve))
    }

    fn attached(address: SocketAddr) -> Api {
        let mut api = Api::connect(address).unwrap();
        assert_eq!(api.attach().unwrap(), 6);
        api
    }

    #[test]
    fn an_event_answers_what_was_acknowledged() {
        let (address, janus) = fake(&[
            r#"{"janus":"ack","transaction":"T"}"#,
            r#"{"janus":"webrtcup","sender":9}"#,
            r#"{"janus":"event","transaction":"0","plugindata":{"data":{"videoroom":"event"}}}"#,
            r#"{"janus":"event","transaction":"T","plugindata":{"data":{"started":"ok"}},"jsep":{"type":"answer","sdp":"v=0"}}"#,
        ]);
        let mut api = attached(address);
        let reply = api.message(6, json!({"request": "start"}), Jsep::Answer("ours")).unwrap();
        assert_eq!(reply.data["started"], "ok");
        assert_eq!(reply.sdp.as_deref(), Some("v=0"));
        let received = janus.join().unwrap();
        assert_eq!((&received[2]["session_id"], &received[2]["handle_id"]), (&json!(5), &json!(6)));
        assert_eq!(received[2]["jsep"], json!({"type": "answer", "sdp": "ours", "trickle": false}));
    }

    #[test]
    fn refusals_say_why() {
        let (address, _janus) = fake(&[
            r#"{"janus":"event","transaction":"T","plugindata":{"data":{"error_code":428,"error":"No such feed"}}}"#,
            "",
            r#"{"janus":"error","transaction":"T","error":{"code":458,"reason":"No such session"}}"#,
        ]);
        let mut api = attached(address);
        let plugin = api.message(6, json!({}), Jsep::None).unwrap_err();
        assert_eq!(plugin.downcast_ref::<PluginError>().unwrap().code, 428);
        assert_eq!(plugin.to_string(), "Janus refuses: No such feed (error 428)");
        let core = api.message(6, json!({}), Jsep::None).unwrap_err().to_string();
        assert!(core.contains("No such session"), "{core}");
    }

    #[test]
    fn a_hangup_is_bad_news() {
        let (address, janus) = fake(&[
            r#"{"janus":"success","transaction":"T","plugindata":{"data":{}}}"#,
            r#"{"janus":"hangup","sender":6,"reason":"ICE failed"}"#,
        ]);
        let mut api = attached(address);
        api.message(6, json!({}), Jsep::None).unwrap();
        // Everything was written before the thread ended; a busy machine delivers it later.
        janus.join().unwrap();
        let news = (0..100).find_map(|_| {
            let news = api.keep_alive().err();
            if news.is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            news
        });
        let news = news.unwrap().to_string();
        assert!(news.contains("ICE failed"), "{news}");
    }
}
