//! `/api/rooms` and `/api/rooms/{room}`.

use super::error::{ApiError, read};
use super::model::{NewRoom, Page, Room, RoomPatch, Rooms, Why};
use super::{command, done, managed, moderate, reason, report};
use crate::auth::{Admin, AuthError};
use crate::http::AppState;
use crate::protocol::{
    ModeratorAction, Nothing, UpdateRoom, check_metadata, check_reason, check_room,
};
use crate::room::{AdminCommand, MAX_PARTICIPANTS, RoomChange};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use std::time::Duration;

/// Most rooms in one answer, and how many unless told.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;
/// How long a room that was created stays when nobody is in it, in seconds, and how long at most.
const EMPTY_TIMEOUT: u64 = 300;
const EMPTY_TIMEOUT_MAX: u64 = 86_400;

/// The rooms that there are (video.roomList)
#[utoipa::path(get, path = "/api/rooms", tag = "rooms", params(Page), responses(
    (status = 200, body = Rooms),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    admin: Admin,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Rooms>, ApiError> {
    admin.may_list()?;
    let Query(page) = page.map_err(|error| ApiError::bad(error.body_text()))?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let mut found = state.registry.list(page.after.as_deref().unwrap_or_default(), limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(name, _)| name.clone());
    let mut rooms = Vec::new();
    for (name, room) in found {
        // One that has ended meanwhile is not there.
        let shown =
            if page.presence { Room::with_presence } else { |report: &_| Room::from(report) };
        rooms.extend(report(&room, &name).await.ok().as_ref().map(shown));
    }
    Ok(Json(Rooms { rooms, next }))
}

/// Makes a room, or changes the one of that name (video.roomCreate)
#[utoipa::path(post, path = "/api/rooms", tag = "rooms", request_body = NewRoom, responses(
    (status = 201, description = "made", body = Room),
    (status = 200, description = "it was there", body = Room),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn create(
    State(state): State<Arc<AppState>>,
    admin: Admin,
    body: Body,
) -> Result<Response, ApiError> {
    admin.may_create()?;
    let NewRoom { name, metadata, empty_timeout, max_participants, lobby } = read(body).await?;
    check_room(&name).map_err(ApiError::bad)?;
    let empty_timeout = Some(empty_timeout.unwrap_or(EMPTY_TIMEOUT));
    let room = UpdateRoom { metadata, lobby, locked: None };
    let change = change(room, empty_timeout, max_participants)?;
    let made = state.registry.find(&name).is_none();
    if !made {
        // Who may make rooms may not change those of others.
        admin.may_manage(&name).map_err(|_| AuthError::NoGrant("roomAdmin"))?;
    }
    let room = state.registry.create(&name, change).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Room::from(&report(&room, &name).await?))).into_response())
}

/// One room (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}", tag = "rooms", params(("room" = String, Path)), responses(
    (status = 200, body = Room),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
) -> Result<Json<Room>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    Ok(Json(Room::from(&report(&handle, &room).await?)))
}

/// Changes a room; its participants are told of new metadata (video.roomAdmin)
#[utoipa::path(patch, path = "/api/rooms/{room}", tag = "rooms", params(("room" = String, Path)), request_body = RoomPatch, responses(
    (status = 200, body = Room),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn update(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
    body: Body,
) -> Result<Json<Room>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let RoomPatch { metadata, empty_timeout, max_participants, locked, lobby, reason } =
        read(body).await?;
    check_reason(&reason).map_err(ApiError::bad)?;
    let change = UpdateRoom { metadata, locked, lobby };
    let change = self::change(change, empty_timeout, max_participants)?;
    let change = RoomChange { reason, ..change };
    command(&handle, &room, AdminCommand::Configure(change)).await?;
    Ok(Json(Room::from(&report(&handle, &room).await?)))
}

/// Sends everybody away and ends the room (video.roomAdmin)
#[utoipa::path(delete, path = "/api/rooms/{room}", tag = "rooms", params(("room" = String, Path), Why), responses(
    (status = 204, description = "ended"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn delete(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let reason = reason(why)?;
    moderate(&handle, &room, ModeratorAction::EndRoom(Nothing {}), reason).await?;
    Ok(done())
}

fn change(
    room: UpdateRoom,
    empty_timeout: Option<u64>,
    max_participants: Option<usize>,
) -> Result<RoomChange, ApiError> {
    room.metadata.as_deref().map_or(Ok(()), check_metadata).map_err(ApiError::bad)?;
    if empty_timeout.is_some_and(|seconds| seconds > EMPTY_TIMEOUT_MAX) {
        let text = format!("field `empty_timeout`: at most {EMPTY_TIMEOUT_MAX} seconds");
        return Err(ApiError::bad(text));
    }
    if max_participants.is_some_and(|count| !(1..=MAX_PARTICIPANTS).contains(&count)) {
        let text = format!("field `max_participants`: 1 to {MAX_PARTICIPANTS}");
        return Err(ApiError::bad(text));
    }
    let linger = empty_timeout.map(Duration::from_secs);
    Ok(RoomChange { room, linger, max_participants, ..RoomChange::default() })
}
