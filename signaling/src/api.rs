//! The HTTP API below `/api`: rooms, participants and tracks for programs that manage them. Its OpenAPI document is made from the
//! same declarations as its routes.
//!
//! With keys the token decides; without, the API is for programs on this machine.

mod error;
mod model;
mod moderation;
mod participants;
mod rooms;
mod tracks;

use crate::auth::Admin;
use crate::explain;
use crate::http::AppState;
use crate::metrics::is_local;
use crate::protocol::{ModeratorAction, check_reason};
use crate::room::{AdminCommand, Reply, RoomHandle, RoomReport};
use crate::whip::{RateLimit, bearer, limit_rate};
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
pub(crate) use error::ApiError;
use std::net::SocketAddr;
use std::sync::Arc;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchyard",
        description = "Rooms, participants and tracks. Tokens are JSON Web Tokens with LiveKit's claims, see PROTOCOL.md.",
        license(name = "MIT OR Apache-2.0")
    ),
    modifiers(&Bearer),
    security(("token" = []))
)]
struct Document;

/// Tokens come as `Authorization: Bearer`.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The routes, the document among them.
pub(crate) fn routes() -> Router<Arc<AppState>> {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(rooms::list, rooms::create))
        .routes(routes!(rooms::show, rooms::update, rooms::delete))
        .routes(routes!(participants::list))
        .routes(routes!(participants::show, participants::update, participants::remove))
        .routes(routes!(moderation::bans, moderation::ban))
        .routes(routes!(moderation::unban))
        .routes(routes!(moderation::lobby))
        .routes(routes!(moderation::admit, moderation::deny))
        .routes(routes!(moderation::mute_all))
        .routes(routes!(tracks::list))
        .routes(routes!(tracks::mute, tracks::unpublish))
        .routes(routes!(explain::serve))
        .split_for_parts();
    let document = Arc::new(document);
    let serve = move || async move { Json(&*document).into_response() };
    router
        .route("/api/openapi.json", get(serve))
        .route("/api/{*rest}", axum::routing::any(error::no_such_address))
        .method_not_allowed_fallback(error::no_such_method)
        .layer(middleware::from_fn_with_state(Arc::new(RateLimit::default()), limit_rate))
}

impl FromRequestParts<Arc<AppState>> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<AppState>,
    ) -> Result<Self, ApiError> {
        if state.trust.tokens {
            return Ok(state.access.admin(bearer(&parts.headers))?);
        }
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        match peer.is_some_and(|peer| is_local(peer.0, &state.trust, &parts.headers)) {
            true => Ok(Self::local()),
            false => Err(ApiError::only_here()),
        }
    }
}

/// The room, for somebody who may manage it.
pub(crate) fn managed(state: &AppState, admin: &Admin, room: &str) -> Result<RoomHandle, ApiError> {
    admin.may_manage(room)?;
    state.registry.find(room).ok_or_else(|| ApiError::no_room(room))
}

async fn command(room: &RoomHandle, name: &str, command: AdminCommand) -> Result<Reply, ApiError> {
    Ok(room.administer(command).await.ok_or_else(|| ApiError::no_room(name))??)
}

/// What moderators may do, too.
async fn moderate(
    room: &RoomHandle,
    name: &str,
    action: ModeratorAction,
    reason: String,
) -> Result<(), ApiError> {
    command(room, name, AdminCommand::Moderate { action, reason }).await.map(drop)
}

/// What those it concerns are told.
fn reason(why: Result<Query<model::Why>, QueryRejection>) -> Result<String, ApiError> {
    let Query(model::Why { reason }) = why.map_err(|error| ApiError::bad(error.body_text()))?;
    check_reason(&reason).map_err(ApiError::bad)?;
    Ok(reason)
}

async fn report(room: &RoomHandle, name: &str) -> Result<RoomReport, ApiError> {
    match command(room, name, AdminCommand::Describe).await? {
        Reply::Report(report) => Ok(*report),
        _ => Err(ApiError::no_room(name)),
    }
}

/// What was done needs no words.
fn done() -> Response {
    axum::http::StatusCode::NO_CONTENT.into_response()
}
