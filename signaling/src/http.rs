//! The routes, and what every request passes first.

mod unread;

use crate::api;
use crate::assets::Assets;
use crate::auth::Access;
use crate::channel::{self, Channels};
use crate::config::Config;
use crate::ice;
use crate::media::Media;
use crate::metrics::{self, Census};
use crate::port::{Permit, SocketLimit};
use crate::protocol::MAX_MESSAGE_BYTES;
use crate::room::Registry;
use crate::trust::Trust;
use crate::webhook::Webhooks;
use crate::whip::{self, Sessions};
use crate::ws;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use std::net::{IpAddr, SocketAddr};
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
    pub(crate) access: Access,
    pub(crate) registry: Arc<Registry>,
    pub(crate) trust: Trust,
    pub(crate) assets: Assets,
    pub(crate) sessions: Sessions,
    pub(crate) media: Media,
    /// Open WebSockets of the signaling protocol.
    pub(crate) sockets: Census,
    /// Open sockets by address.
    pub(crate) limit: Arc<SocketLimit>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) webhooks: Webhooks,
}

/// All routes of `--listen`.
pub(crate) fn app(state: Arc<AppState>) -> Router {
    let router = Router::new()
        .route("/ws", any(upgrade))
        .route("/channel", any(channel::upgrade))
        .route("/ice-servers", get(ice::serve))
        .merge(whip::routes(state.clone()))
        .merge(channel::socket_io_routes(state.clone()));
    let router = match state.config.admin_listen {
        None => router.route("/metrics", get(metrics::serve_here)).merge(api::routes()),
        Some(_) => router,
    };
    guarded(router.fallback(get(asset)), state)
}

/// The routes of `--admin-listen`, with the page that shows them.
pub(crate) fn admin(state: Arc<AppState>) -> Router {
    let router = Router::new()
        .route("/metrics", get(metrics::serve))
        .merge(api::routes())
        .route("/", get(|| async { Redirect::temporary("/operator") }))
        .fallback(get(asset));
    guarded(router, state)
}

fn guarded(router: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    router
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .layer(middleware::from_fn_with_state(state.clone(), check_trust))
        .layer(middleware::from_fn(name_host))
        .layer(middleware::from_fn(unread::read_on))
        .with_state(state)
}

/// HTTP/2 says the host in the address (RFC 9113 section 8.3.1), and a `Host` beside it counts for nothing.
async fn name_host(mut request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    if let Some(host) = authority.and_then(|authority| HeaderValue::from_str(&authority).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    next.run(request).await
}

async fn check_trust(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    match state.trust.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn upgrade(
    State(state): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let permit = match admit(&state.limit, peer, &headers) {
        Ok(permit) => permit,
        Err(refusal) => return refusal.into_response(),
    };
    sized(upgrade, MAX_MESSAGE_BYTES).on_upgrade(async move |socket| {
        ws::run(socket, state).await;
        drop(permit);
    })
}

/// A WebSocket that came through a proxy on this machine counts for the address that the proxy names. Others count as connections already.
pub(crate) fn admit(
    limit: &Arc<SocketLimit>,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Option<Permit>, (StatusCode, &'static str)> {
    behind_proxy(peer, headers).map(|address| enter(limit, address)).transpose()
}

/// Whom a proxy on this machine names: the last of the list is what it saw itself.
pub(crate) fn behind_proxy(peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
    let list = headers.get_all("x-forwarded-for").iter().next_back()?;
    let address = list.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()?;
    peer.ip().to_canonical().is_loopback().then_some(address)
}

/// One more socket of this address.
pub(crate) fn enter(
    limit: &Arc<SocketLimit>,
    address: IpAddr,
) -> Result<Permit, (StatusCode, &'static str)> {
    let text = "Too many sockets are open from this address.\n";
    limit.enter(address).ok_or((StatusCode::TOO_MANY_REQUESTS, text))
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

async fn ready(State(state): State<Arc<AppState>>) -> (StatusCode, String) {
    match state.registry.admits() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")),
    }
}

async fn asset(State(state): State<Arc<AppState>>, uri: Uri, headers: HeaderMap) -> Response {
    state.assets.serve(&uri, &headers)
}
