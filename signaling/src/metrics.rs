//! `GET /metrics`: what the server counts, in the OpenMetrics text format, for whoever is on this machine.
//!
//! Reads what others keep and waits for nobody: workers publish their counters by themselves, rooms and sockets keep a [`Census`].

mod media;
mod page;
mod process;

use crate::http::AppState;
use crate::room::HttpRole;
use crate::trust::Trust;
use crate::webhook::Counts;
use crate::whip::{bearer, token_refused};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use page::Page;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What a stranger is told.
const ONLY_HERE: &str = "Metrics are for this machine: ask http(s)://127.0.0.1:PORT/metrics on it, not through a proxy. \
     From elsewhere, scrape through an agent on this machine, start with --admin-listen IP:PORT, or, where the server has keys, \
     bring a token that may list rooms (switchyard token --list).\n";

/// How many of something there are, kept by those things themselves. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census(Arc<AtomicUsize>);

/// One thing's part in a [`Census`]; taken back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    census: Census,
    count: usize,
}

impl Census {
    /// A part for something that is `count` of them.
    pub(crate) fn share(&self, count: usize) -> Share {
        self.0.fetch_add(count, Ordering::Relaxed);
        Share { census: self.clone(), count }
    }

    /// The sum of all parts.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Is `count` of them from now on.
    pub(crate) fn set(&mut self, count: usize) {
        self.census.0.fetch_add(count, Ordering::Relaxed);
        self.census.0.fetch_sub(self.count, Ordering::Relaxed);
        self.count = count;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The route where everybody may ask: for this machine, and for operators elsewhere by their token.
pub(crate) async fn serve_here(
    state: State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if is_local(peer, &state.trust, &headers) {
        return serve(state).await;
    }
    let token = bearer(&headers).filter(|_| state.trust.tokens);
    let Some(token) = token else { return (StatusCode::FORBIDDEN, ONLY_HERE).into_response() };
    match state.access.admin(Some(token)).and_then(|admin| admin.may_list()) {
        Ok(()) => serve(state).await,
        Err(error) => token_refused(error).into_response(),
    }
}

/// The route of `--admin-listen`: whoever reaches that address may look.
pub(crate) async fn serve(State(state): State<Arc<AppState>>) -> Response {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::Process));
    registry
        .sub_registry_with_prefix("switchyard")
        .register_collector(Box::new(Server(state.clone())));
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A proxy on this machine has a loopback address too, so the address alone does not tell.
pub(crate) fn is_local(peer: SocketAddr, trust: &Trust, headers: &HeaderMap) -> bool {
    peer.ip().to_canonical().is_loopback() && trust.check_local(headers).is_ok()
}

/// Everything with our prefix.
#[derive(Debug)]
struct Server(Arc<AppState>);

impl Collector for Server {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = &self.0;
        let mut page = Page::new(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        page.info("build", "What is running.", &version)?;
        let sessions = |role| state.sessions.count(role);
        let present = [
            (
                "refusing_newcomers",
                "1 while the server stops or has too much to do.",
                usize::from(state.registry.admits().is_err()),
            ),
            ("rooms", "Rooms.", state.registry.rooms()),
            ("participants", "People in rooms, viewers included.", state.registry.participants()),
            ("websockets", "Open WebSockets, joined or not.", state.sockets.get()),
            ("channels", "Channels of the relay.", state.channels.count()),
            ("channel_sockets", "Sockets of the relay.", state.channels.sockets()),
            ("whip_sessions", "WHIP sessions.", sessions(HttpRole::Publisher)),
            ("whep_sessions", "WHEP sessions.", sessions(HttpRole::Viewer)),
        ];
        for (name, help, count) in present {
            page.gauge(name, help, [([], count)])?;
        }
        let relayed = [([], state.channels.relayed())];
        page.counter("channel_messages", "Messages that the relay handed to sockets.", relayed)?;
        let slow = [([], state.channels.slow_readers())];
        page.counter(
            "channel_slow_readers",
            "Sockets of the relay closed for reading too slowly.",
            slow,
        )?;
        webhooks(&mut page, state.webhooks.counts())?;
        media::encode(&mut page, &state.media.metrics())
    }
}

fn webhooks(page: &mut Page<'_>, counts: &Counts) -> fmt::Result {
    let results = [
        ("delivered", &counts.delivered),
        ("dropped", &counts.dropped),
        ("failed", &counts.failed),
    ];
    let results = results
        .map(|(result, count)| ([("result", result.to_owned())], count.load(Ordering::Relaxed)));
    page.counter("webhook_events", "Events by what became of them at each target.", results)?;
    let retried = counts.retried.load(Ordering::Relaxed);
    page.counter("webhook_retries", "Further attempts at events.", [([], retried)])?;
    let waiting = counts.waiting.load(Ordering::Relaxed);
    page.gauge("webhook_waiting", "Events that wait for their delivery.", [([], waiting)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_this_machine_may_look_with_or_without_keys() {
        for tokens in [false, true] {
            let trust = Trust { tokens, tls: false, allowed_origins: Vec::new() };
            let local = |peer: &str, header: Option<(header::HeaderName, &'static str)>| {
                let mut headers = HeaderMap::new();
                headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
                if let Some((name, value)) = header {
                    headers.insert(name, HeaderValue::from_static(value));
                }
                is_local(peer.parse().unwrap(), &trust, &headers)
            };
            for peer in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
                assert!(local(peer, None), "{peer}");
                assert!(!local(peer, Some((header::VIA, "1.1 proxy"))));
                assert!(!local(peer, Some((header::FORWARDED, "for=127.0.0.1"))));
                assert!(!local(peer, Some((header::HOST, "example.org"))));
                assert!(!local(peer, Some((header::ORIGIN, "https://example.org"))));
            }
            for peer in ["192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1", "0.0.0.0:1"] {
                assert!(!local(peer, None), "{peer}");
            }
        }
    }

    #[test]
    fn a_share_counts_until_it_is_dropped() {
        let census = Census::default();
        let one = census.share(1);
        let mut many = census.share(0);
        many.set(5);
        many.set(3);
        assert_eq!(census.get(), 4);
        drop(one);
        assert_eq!(census.get(), 3);
        drop(many);
        assert_eq!(census.get(), 0);
    }
}
