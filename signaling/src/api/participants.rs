//! `/api/rooms/{room}/participants` and each of them, by identity.

use super::error::{ApiError, read};
use super::model::{Participant, ParticipantPatch, Participants, Why};
use super::{command, done, managed, moderate, reason, report};
use crate::auth::Admin;
use crate::http::AppState;
use crate::protocol::{
    ModeratorAction, OnePerson, SetModerator, check_attributes, check_metadata, check_name,
    check_reason,
};
use crate::room::{AdminCommand, ParticipantChange};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use std::sync::Arc;

/// Everybody in a room (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}/participants", tag = "participants", params(("room" = String, Path)), responses(
    (status = 200, body = Participants),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
) -> Result<Json<Participants>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let participants = report(&handle, &room).await?.participants;
    Ok(Json(Participants {
        participants: participants.into_iter().map(Participant::from).collect(),
    }))
}

/// One participant (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}/participants/{identity}", tag = "participants",
    params(("room" = String, Path), ("identity" = String, Path)), responses(
    (status = 200, body = Participant),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn show(
    State(state): State<Arc<AppState>>,
    Path((room, identity)): Path<(String, String)>,
    admin: Admin,
) -> Result<Json<Participant>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let participants = report(&handle, &room).await?.participants;
    let found = participants.into_iter().find(|participant| participant.identity == identity);
    let text = "There is nobody of this identity in the room.";
    found.map(|found| Json(found.into())).ok_or_else(|| ApiError::not_found(text))
}

/// Changes a participant; permissions that are taken end what they allowed at once (video.roomAdmin)
#[utoipa::path(patch, path = "/api/rooms/{room}/participants/{identity}", tag = "participants",
    params(("room" = String, Path), ("identity" = String, Path)), request_body = ParticipantPatch, responses(
    (status = 204, description = "changed"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn update(
    State(state): State<Arc<AppState>>,
    Path((room, identity)): Path<(String, String)>,
    admin: Admin,
    body: Body,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let ParticipantPatch { name, metadata, attributes, permissions, moderator, hand, reason } =
        read(body).await?;
    check_reason(&reason).map_err(ApiError::bad)?;
    if hand == Some(true) {
        let text = "field `hand`: nobody's hand is raised by somebody else; false takes it down";
        return Err(ApiError::bad(text));
    }
    name.as_deref().map_or(Ok(()), check_name).map_err(ApiError::bad)?;
    metadata.as_deref().map_or(Ok(()), check_metadata).map_err(ApiError::bad)?;
    attributes.as_ref().map_or(Ok(()), check_attributes).map_err(ApiError::bad)?;
    let change = Box::new(ParticipantChange { name, metadata, attributes, permissions });
    let update =
        AdminCommand::Update { identity: identity.clone(), change, reason: reason.clone() };
    command(&handle, &room, update).await?;
    if let Some(moderator) = moderator {
        let it = SetModerator { identity: identity.clone(), moderator };
        moderate(&handle, &room, ModeratorAction::SetModerator(it), reason.clone()).await?;
    }
    if hand.is_some() {
        let action = ModeratorAction::LowerHand(OnePerson { identity });
        moderate(&handle, &room, action, reason).await?;
    }
    Ok(done())
}

/// Sends a participant away; tokens made until now do not bring it back (video.roomAdmin)
#[utoipa::path(delete, path = "/api/rooms/{room}/participants/{identity}", tag = "participants",
    params(("room" = String, Path), ("identity" = String, Path), Why), responses(
    (status = 204, description = "removed"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn remove(
    State(state): State<Arc<AppState>>,
    Path((room, identity)): Path<(String, String)>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let reason = reason(why)?;
    command(&handle, &room, AdminCommand::Remove { identity, reason }).await?;
    Ok(done())
}
