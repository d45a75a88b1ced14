//! `/api/rooms/{room}/bans`, `…/lobby` and `…/mute`.

use super::error::{ApiError, read};
use super::model::{Bans, Lobby, NewBan, Why};
use super::{done, managed, moderate, reason, report};
use crate::auth::Admin;
use crate::http::AppState;
use crate::protocol::{
    Ban, ModeratorAction, Nothing, OnePerson, check_ban_seconds, check_identity, check_reason,
};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use std::sync::Arc;

/// Who is kept out (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}/bans", tag = "moderation", params(("room" = String, Path)), responses(
    (status = 200, body = Bans),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn bans(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
) -> Result<Json<Bans>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    Ok(Json(Bans { bans: report(&handle, &room).await?.bans }))
}

/// Keeps somebody out for a time, and sends them away if they are there (video.roomAdmin)
#[utoipa::path(post, path = "/api/rooms/{room}/bans", tag = "moderation", params(("room" = String, Path)), request_body = NewBan, responses(
    (status = 204, description = "banned"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn ban(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
    body: Body,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let NewBan { identity, seconds, reason } = read(body).await?;
    check_identity(&identity)
        .and_then(|()| check_ban_seconds(seconds))
        .and_then(|()| check_reason(&reason))
        .map_err(ApiError::bad)?;
    let action = ModeratorAction::Ban(Ban { identity, seconds });
    moderate(&handle, &room, action, reason).await?;
    Ok(done())
}

/// Ends a ban (video.roomAdmin)
#[utoipa::path(delete, path = "/api/rooms/{room}/bans/{identity}", tag = "moderation",
    params(("room" = String, Path), ("identity" = String, Path), Why), responses(
    (status = 204, description = "lifted"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn unban(
    State(state): State<Arc<AppState>>,
    Path((room, identity)): Path<(String, String)>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let reason = reason(why)?;
    let action = ModeratorAction::Unban(OnePerson { identity });
    moderate(&handle, &room, action, reason).await?;
    Ok(done())
}

/// Who waits to be let in (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}/lobby", tag = "moderation", params(("room" = String, Path)), responses(
    (status = 200, body = Lobby),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn lobby(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
) -> Result<Json<Lobby>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    Ok(Json(Lobby { waiting: report(&handle, &room).await?.waiting }))
}

/// Lets somebody in who waits (video.roomAdmin)
#[utoipa::path(put, path = "/api/rooms/{room}/lobby/{identity}", tag = "moderation",
    params(("room" = String, Path), ("identity" = String, Path), Why), responses(
    (status = 204, description = "let in"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn admit(
    State(state): State<Arc<AppState>>,
    Path((room, identity)): Path<(String, String)>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let reason = reason(why)?;
    let action = ModeratorAction::Admit(OnePerson { identity });
    moderate(&handle, &room, action, reason).await?;
    Ok(done())
}

/// Sends somebody away who waits (video.roomAdmin)
#[utoipa::path(delete, path = "/api/rooms/{room}/lobby/{identity}", tag = "moderation",
    params(("room" = String, Path), ("identity" = String, Path), Why), responses(
    (status = 204, description = "sent away"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn deny(
    State(state): State<Arc<AppState>>,
    Path((room, identity)): Path<(String, String)>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let reason = reason(why)?;
    let action = ModeratorAction::Deny(OnePerson { identity });
    moderate(&handle, &room, action, reason).await?;
    Ok(done())
}

/// Mutes the microphones of all who do not moderate (video.roomAdmin)
#[utoipa::path(post, path = "/api/rooms/{room}/mute", tag = "moderation", params(("room" = String, Path), Why), responses(
    (status = 204, description = "muted"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn mute_all(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let reason = reason(why)?;
    moderate(&handle, &room, ModeratorAction::MuteAll(Nothing {}), reason).await?;
    Ok(done())
}
