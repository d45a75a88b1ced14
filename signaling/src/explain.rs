//! `GET /api/rooms/{room}/explain`: why everybody in a room sees what they see.
//!
//! Without keys for programs on this machine only, like the metrics; with keys for whoever may join the room.

use crate::http::AppState;
use crate::metrics::is_local;
use crate::whip::{Refused, authorize, refused};
use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::Arc;

/// What a stranger is told.
const ONLY_HERE: &str = "Without join token keys explanations are for this machine: ask http(s)://127.0.0.1:PORT on it, not through a proxy.";
const NO_ROOM: &str = "There is no such room; a room exists while somebody is in it.";

/// The route.
pub(crate) async fn serve(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if !state.trust.tokens && !is_local(peer, &state.trust, &headers) {
        return Err(refused(StatusCode::FORBIDDEN, ONLY_HERE));
    }
    authorize(&state, &headers, &room)?;
    let no_room = || refused(StatusCode::NOT_FOUND, NO_ROOM);
    let handle = state.registry.find(&room).ok_or_else(no_room)?;
    let explanation = handle.explain().await.ok_or_else(no_room)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(&*explanation)).into_response())
}
