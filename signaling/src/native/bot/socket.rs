//! The WebSocket of a participant: over the same HTTP client as WHIP, so that certificates are looked at alike.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Client, StatusCode, Upgraded, Url};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::protocol::Role;

/// For a connection, and for answers; a lobby may take longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The server closes a socket from which nothing comes.
pub(super) const PING: Duration = Duration::from_secs(10);

pub(super) struct Socket {
    stream: WebSocketStream<Upgraded>,
    is_local: bool,
    request: u64,
    /// What came while an answer was waited for.
    passed: VecDeque<Value>,
}

impl Socket {
    /// # Errors
    /// The address is none, or the server cannot be reached or refuses.
    pub(super) async fn open(
        url: &str,
        token: Option<&str>,
        insecure: bool,
    ) -> anyhow::Result<Self> {
        let url = address(url)?;
        let client = Client::builder()
            .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")))
            .danger_accept_invalid_certs(insecure)
            .connect_timeout(PATIENCE)
            .build()?;
        let mut request = client
            .get(url.clone())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", STANDARD.encode(rand::random::<[u8; 16]>()));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let hint = || {
            format!(
                "cannot reach {url}: does the server run, and is the address right (--insecure takes any certificate)?"
            )
        };
        let response = timeout(PATIENCE, request.send()).await.with_context(hint)?;
        let response = response.map_err(reqwest::Error::without_url).with_context(hint)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status().as_u16();
            let said = response.text().await.unwrap_or_default();
            bail!(
                "{url} opens no WebSocket ({status}: {}): is it a Switchyard server's address?",
                said.trim()
            );
        }
        let upgraded = response.upgrade().await?;
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_local =
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        Ok(Self { stream, is_local, request: 0, passed: VecDeque::new() })
    }

    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
    }

    /// The answer to a message.
    ///
    /// # Errors
    /// The server refuses, in its words, or does not answer; or the socket is gone.
    pub(super) async fn request(&mut self, mut message: Value) -> anyhow::Result<Value> {
        self.request += 1;
        message["request"] = json!(self.request);
        self.send(&message).await?;
        let mut patience = Some(Instant::now() + PATIENCE);
        loop {
            let Ok(message) = timeout(PING, self.read()).await else {
                ensure!(
                    patience.is_none_or(|end| Instant::now() < end),
                    "the server does not answer"
                );
                self.ping().await?;
                continue;
            };
            let message = message?;
            match message["type"].as_str() {
                Some("waiting") => {
                    eprintln!("waiting in the lobby");
                    patience = None;
                }
                Some("pong") => {}
                Some("error") if message["request"] == self.request => {
                    bail!("the server refuses: {}", message["message"].as_str().unwrap_or_default())
                }
                Some("closed") => {
                    bail!("the server says: {}", message["message"].as_str().unwrap_or_default())
                }
                _ if message["request"] == self.request => return Ok(message),
                _ => self.passed.push_back(message),
            }
        }
    }

    /// The next message that answers nothing. Nothing is lost when this is dropped in between.
    pub(super) async fn next(&mut self) -> anyhow::Result<Value> {
        match self.passed.pop_front() {
            Some(message) => Ok(message),
            None => self.read().await,
        }
    }

    pub(super) async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        let sent = self.stream.send(Message::text(message.to_string())).await;
        sent.context("the WebSocket broke")
    }

    pub(super) async fn ping(&mut self) -> anyhow::Result<()> {
        self.send(&json!({"type": "ping", "time": 0})).await
    }

    async fn read(&mut self) -> anyhow::Result<Value> {
        loop {
            let message = self.stream.next().await.context("the server closed the WebSocket")?;
            if let Message::Text(text) = message.context("the WebSocket broke")? {
                return serde_json::from_str(&text).context("the server does not speak JSON");
            }
        }
    }
}

/// The WebSocket of a server: of its address, with or without a path.
fn address(url: &str) -> anyhow::Result<Url> {
    let parsed = Url::parse(url).ok();
    let scheme = parsed.as_ref().and_then(|url| match url.scheme() {
        "http" | "ws" => Some("http"),
        "https" | "wss" => Some("https"),
        _ => None,
    });
    let (Some(parsed), Some(scheme)) = (parsed, scheme) else {
        bail!("{url} is no address: it begins with http:// or https://, like http://127.0.0.1:8080")
    };
    let rest = parsed.as_str().split_once(':').map_or("", |(_, rest)| rest);
    let mut url = Url::parse(&format!("{scheme}:{rest}"))?;
    if url.path() == "/" {
        url.set_path("/ws");
    }
    Ok(url)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_server_become_that_of_its_web_socket() {
        for (given, url) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/ws"),
            ("wss://sfu.example/", "https://sfu.example/ws"),
            ("ws://[::1]:8080/proxy/ws", "http://[::1]:8080/proxy/ws"),
        ] {
            assert_eq!(address(given).unwrap().as_str(), url);
        }
        for wrong in ["127.0.0.1:8080", "ftp://a/", "demo", ""] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
