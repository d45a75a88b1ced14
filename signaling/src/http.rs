//! The routes, and what every request passes first.

use crate::assets::Assets;
use crate::channel::{self, Channels};
use crate::config::Config;
use crate::explain;
use crate::ice;
use crate::media::Media;
use crate::metrics::{self, Census};
use crate::protocol::MAX_MESSAGE_BYTES;
use crate::room::Registry;
use crate::trust::Trust;
use crate::whip::{self, Sessions};
use crate::ws;
use axum::Router;
use axum::extract::{Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// The library's default buffers, 128 KiB each and unlimited for writing, would cost more than the media of an idle participant.
const SOCKET_BUFFER: usize = 4 * 1024;
/// Beyond this the library drops the connection; between the protocol's limit and this one there is still an answer.
const SOCKET_READ_FACTOR: usize = 2;
/// Room for the largest message, a `welcome` into a full room.
const SOCKET_WRITE_MAX: usize = 512 * 1024;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct AppState {
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(crate) trust: Trust,
    pub(crate) assets: Assets,
    pub(crate) sessions: Sessions,
    pub(crate) media: Media,
    /// Open WebSockets of the signaling protocol.
    pub(crate) sockets: Census,
    pub(crate) channels: Arc<Channels>,
    pub(crate) shutdown: CancellationToken,
}

/// All routes.
pub(crate) fn app(state: Arc<AppState>) -> Router {
    Router::new()
        .route("/ws", any(upgrade))
        .route("/channel", any(channel::upgrade))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::serve))
        .route("/ice-servers", get(ice::serve))
        .route("/api/rooms/{room}/explain", get(explain::serve))
        .merge(whip::routes(state.clone()))
        .merge(channel::socket_io_routes(state.clone()))
        .fallback(get(asset))
        .layer(middleware::from_fn_with_state(state.clone(), check_trust))
        .with_state(state)
}

async fn check_trust(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    match state.trust.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn upgrade(State(state): State<Arc<AppState>>, upgrade: WebSocketUpgrade) -> Response {
    sized(upgrade, MAX_MESSAGE_BYTES).on_upgrade(move |socket| ws::run(socket, state))
}

/// A WebSocket with small buffers that takes messages up to a size.
pub(crate) fn sized(upgrade: WebSocketUpgrade, message_bytes_max: usize) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(SOCKET_BUFFER)
        .max_write_buffer_size(SOCKET_WRITE_MAX)
        .max_message_size(SOCKET_READ_FACTOR * message_bytes_max)
        .max_frame_size(SOCKET_READ_FACTOR * message_bytes_max)
}

/// Fails when a media worker hangs: whoever supervises the process may start it anew.
async fn health(State(state): State<Arc<AppState>>) -> (StatusCode, String) {
    match state.media.stalled(Instant::now()) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some((worker, silence)) => {
            let text = format!("media worker {worker} has hung for {} s\n", silence.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn ready(State(state): State<Arc<AppState>>) -> (StatusCode, &'static str) {
    match state.shutdown.is_cancelled() {
        false => (StatusCode::OK, "ready\n"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}

async fn asset(State(state): State<Arc<AppState>>, uri: Uri, headers: HeaderMap) -> Response {
    state.assets.serve(&uri, &headers)
}
