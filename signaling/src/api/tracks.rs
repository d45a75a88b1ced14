//! `/api/rooms/{room}/tracks` and each of them.

use super::error::{ApiError, read};
use super::model::{Track, TrackPatch, Tracks, Why};
use super::{done, managed, moderate, reason, report};
use crate::auth::Admin;
use crate::http::AppState;
use crate::protocol::{ModeratorAction, OneTrack, TrackId, check_reason};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

/// All tracks of a room (video.roomAdmin)
#[utoipa::path(get, path = "/api/rooms/{room}/tracks", tag = "tracks", params(("room" = String, Path)), responses(
    (status = 200, body = Tracks),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn list(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    admin: Admin,
) -> Result<Json<Tracks>, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let participants = report(&handle, &room).await?.participants;
    let tracks = participants.into_iter().flat_map(|owner| {
        let (participant, identity) = (owner.id.to_string(), owner.identity);
        let named = move |track| {
            let (participant, identity) = (participant.clone(), identity.clone());
            Track { participant, identity, track }
        };
        owner.tracks.into_iter().map(named)
    });
    Ok(Json(Tracks { tracks: tracks.collect() }))
}

/// Mutes a track for everybody (video.roomAdmin)
#[utoipa::path(patch, path = "/api/rooms/{room}/tracks/{track}", tag = "tracks",
    params(("room" = String, Path), ("track" = String, Path)), request_body = TrackPatch, responses(
    (status = 204, description = "muted"),
    (status = 409, description = "only its owner can unmute it", body = ApiError),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn mute(
    State(state): State<Arc<AppState>>,
    Path((room, track)): Path<(String, String)>,
    admin: Admin,
    body: Body,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let track = parse(&track)?;
    let TrackPatch { muted, reason } = read(body).await?;
    check_reason(&reason).map_err(ApiError::bad)?;
    if !muted {
        let text = "Only its owner can unmute a track: nobody is put on the air by somebody else.";
        return Err(ApiError::new(StatusCode::CONFLICT, text));
    }
    let action = ModeratorAction::MuteTrack(OneTrack { track });
    moderate(&handle, &room, action, reason).await?;
    Ok(done())
}

/// Ends a track (video.roomAdmin)
#[utoipa::path(delete, path = "/api/rooms/{room}/tracks/{track}", tag = "tracks",
    params(("room" = String, Path), ("track" = String, Path), Why), responses(
    (status = 204, description = "ended"),
    (status = "default", description = "refused", body = ApiError)
))]
pub(super) async fn unpublish(
    State(state): State<Arc<AppState>>,
    Path((room, track)): Path<(String, String)>,
    admin: Admin,
    why: Result<Query<Why>, QueryRejection>,
) -> Result<Response, ApiError> {
    let handle = managed(&state, &admin, &room)?;
    let track = parse(&track)?;
    let reason = reason(why)?;
    let action = ModeratorAction::StopTrack(OneTrack { track });
    moderate(&handle, &room, action, reason).await?;
    Ok(done())
}

fn parse(text: &str) -> Result<TrackId, ApiError> {
    let text = serde_json::Value::from(text);
    serde_json::from_value(text).map_err(|_| {
        ApiError::not_found("There is no such track; tracks are called t1, t2 and so on.")
    })
}
