//! `GET /api/rooms/{room}/explain`: why everybody in a room sees what they see.

use crate::api::{ApiError, managed};
use crate::auth::Admin;
use crate::http::AppState;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// Why everybody in the room sees what they see; it takes half a second, a second at most (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}/explain", tag = "rooms", params(("room" = String, Path)), responses(
    (status = 200, description = "see PROTOCOL.md", body = serde_json::Value),
    (status = "default", description = "refused", body = ApiError)
))]
pub(crate) async fn serve(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let explanation = handle.explain().await.ok_or_else(|| ApiError::no_room(&room))?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(&*explanation)).into_response())
}
