//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-04): one `POST` with an offer makes a session, one `DELETE` ends it.
//!
//! A WHIP publisher is a participant of the room like any other; a WHEP viewer is one whom nobody is told about. Both use the answerer
//! of the WebSocket. Answers list all candidates, so trickling towards the client is neither needed nor defined.

mod cors;
mod events;
mod layer;
mod limit;
mod links;
mod patch;
mod sessions;

pub(crate) use cors::limit_rate;
pub(crate) use limit::{RateLimit, subscriber};
pub(crate) use sessions::Sessions;

use crate::auth::{AuthError, Grant};
use crate::http::AppState;
use crate::ice;
use crate::protocol::{
    ErrorCode, MAX_MESSAGE_BYTES, TrackId, check_identity, check_name, check_room,
};
use crate::random;
use crate::room::{HttpJoin, HttpRole, IceSession, JoinError, Refusal, RoomCommand, Watch};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde::Deserialize;
use sessions::{Pending, Session};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When to ask again for a room in which nobody publishes, or where there is no place, in seconds.
const RETRY_AFTER: &str = "2";

/// The routes of both protocols.
pub(crate) fn routes(state: Arc<AppState>) -> Router<Arc<AppState>> {
    let preflight = || axum::routing::options(cors::preflight);
    let whip = post(publish).get(StatusCode::NO_CONTENT).merge(preflight());
    // RFC 9110 section 9.3.2: what HEAD tells players (section 4.2 of the draft), GET tells too.
    let whep = post(view).get(|| async { [(header::CONTENT_TYPE, SDP)] }).merge(preflight());
    let session = || -> MethodRouter<Arc<AppState>> {
        get(show).patch(patch::patch).delete(end).merge(preflight())
    };
    let subscription = || post(events::subscribe).merge(preflight());
    let stream = || get(events::read).delete(events::unsubscribe).merge(preflight());
    let limit = Arc::new(RateLimit::default());
    Router::new()
        .route("/whip/{room}", whip)
        .route("/whep/{room}", whep)
        .route("/whip/{room}/{session}", session())
        .route("/whep/{room}/{session}", session())
        .route("/whip/{room}/{session}/sse", subscription())
        .route("/whep/{room}/{session}/sse", subscription())
        .route("/whip/{room}/{session}/sse/{stream}", stream())
        .route("/whep/{room}/{session}/sse/{stream}", stream())
        .route("/whep/{room}/{session}/layer", post(layer::select).merge(preflight()))
        .layer(middleware::from_fn_with_state(limit, limit_rate))
        .layer(middleware::from_fn_with_state(state, cors::add_cors))
}

/// A refusal: status and a sentence.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    text: String,
    header: Option<(HeaderName, &'static str)>,
}

pub(crate) fn refused(status: StatusCode, text: impl Into<String>) -> Refused {
    let header = match status {
        StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
        StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Some((header::RETRY_AFTER, RETRY_AFTER))
        }
        _ => None,
    };
    Refused { status, text: text.into() + "\n", header }
}

impl Refused {
    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn no_session() -> Refused {
    refused(StatusCode::NOT_FOUND, "There is no such session; it may have ended.")
}

/// What the address of a `POST` may say.
#[derive(Debug, Default, Deserialize)]
struct Wish {
    /// WHIP without keys: who publishes. A newer session of the same identity replaces the older.
    identity: Option<String>,
    /// WHIP without keys: a name for people.
    name: Option<String>,
    /// WHEP: the identity of the one participant to watch.
    participant: Option<String>,
    /// WHEP: the one track to watch.
    track: Option<TrackId>,
}

impl Wish {
    fn watch(&self) -> Result<Watch, Refused> {
        match (&self.participant, self.track) {
            (None, None) => Ok(Watch::Room),
            (Some(identity), None) => Ok(Watch::Participant(identity.clone())),
            (None, Some(track)) => Ok(Watch::Track(track)),
            (Some(_), Some(_)) => {
                let text = "Ask for ?participant= or for ?track=, not for both.";
                Err(refused(StatusCode::BAD_REQUEST, text))
            }
        }
    }
}

type Wishes = Result<Query<Wish>, axum::extract::rejection::QueryRejection>;

async fn publish(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    wish: Wishes,
    request: Request,
) -> Result<Response, Refused> {
    create(state, HttpRole::Publisher, room, wish, request).await
}

async fn view(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    wish: Wishes,
    request: Request,
) -> Result<Response, Refused> {
    create(state, HttpRole::Viewer, room, wish, request).await
}

async fn create(
    state: Arc<AppState>,
    role: HttpRole,
    room: String,
    wish: Wishes,
    request: Request,
) -> Result<Response, Refused> {
    check_room(&room).map_err(|text| refused(StatusCode::NOT_FOUND, text))?;
    let grant = authorize(&state, request.headers(), &room)?;
    let (allowed, claim) = match role {
        HttpRole::Publisher => (grant.permissions.can_publish, "canPublish"),
        HttpRole::Viewer => (grant.permissions.can_subscribe, "canSubscribe"),
    };
    if !allowed {
        let text = format!("The join token does not allow this (video.{claim}).");
        return Err(refused(StatusCode::FORBIDDEN, text));
    }
    if !has_type(request.headers(), SDP) {
        let refusal =
            refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send the offer as application/sdp.");
        return Err(refusal.with(ACCEPT_POST, SDP));
    }
    let Query(wish) = wish.map_err(|error| refused(StatusCode::BAD_REQUEST, error.body_text()))?;
    let watch = wish.watch()?;
    let sdp = read_body(request.into_body()).await?;
    let token_identity = grant.identity.clone();
    let (identity, name) = who(&grant, wish)?;
    let join = HttpJoin { role, watch, identity, name, grant, sdp };
    let pending = state.sessions.open().ok_or_else(|| {
        refused(StatusCode::SERVICE_UNAVAILABLE, "The server has as many sessions as it can hold.")
    })?;
    let (handle, (participant, joined)) = state
        .registry
        .join_over_http(&room, join, pending.seat.clone())
        .await
        .map_err(join_refused)?;
    let joined = joined.map_err(answer_refused)?;
    let response = created(&state, role, &room, &pending, &joined.ice);
    let outlook = pending.outlook();
    pending.establish(Session {
        role,
        room: handle,
        room_name: room,
        participant,
        token_identity,
        outlook,
        streams: HashMap::new(),
    });
    let status =
        if joined.counter_offer { StatusCode::NOT_ACCEPTABLE } else { StatusCode::CREATED };
    Ok((status, response, joined.sdp).into_response())
}

/// Identity and name: the token's, or where there is none, what the address says.
fn who(grant: &Grant, wish: Wish) -> Result<(String, String), Refused> {
    let wish = if grant.identity.is_some() { Wish::default() } else { wish };
    let bad = |text| refused(StatusCode::BAD_REQUEST, text);
    wish.identity.as_deref().map(check_identity).transpose().map_err(bad)?;
    wish.name.as_deref().map(check_name).transpose().map_err(bad)?;
    let identity = grant.identity.clone().or(wish.identity).unwrap_or_else(random::id);
    let name = grant.name.clone().or(wish.name).unwrap_or_else(|| "WHIP".to_owned());
    Ok((identity, name))
}

/// The headers of a `201`, and of a `406` with an offer of ours: that one is valid for the 30 s that need not be said.
fn created(
    state: &AppState,
    role: HttpRole,
    room: &str,
    pending: &Pending,
    ice: &IceSession,
) -> HeaderMap {
    let text = |value: String| HeaderValue::from_str(&value).expect("checked alphabets only");
    let location = format!("/{}/{room}/{}", role.path(), pending.id);
    let mut links = links::ice_servers(&ice::issue(&state.config.ice_servers, SystemTime::now()));
    links.extend(links::extensions(role, &location));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(header::LOCATION, text(location));
    headers.insert(header::ETAG, text(entity_tag(ice)));
    for link in links {
        headers.append(header::LINK, link);
    }
    headers
}

/// A strong one. ICE user fragments have no character that would have to be quoted.
fn entity_tag(ice: &IceSession) -> String {
    format!("\"{}\"", ice.tag)
}

/// RFC 9725 section 4.1: a resource without representation.
async fn show(
    State(state): State<Arc<AppState>>,
    Path((room, session)): Path<(String, String)>,
) -> Result<StatusCode, Refused> {
    let session = state.sessions.get(&session).filter(|session| session.room_name == room);
    session.map(|_| StatusCode::NO_CONTENT).ok_or_else(no_session)
}

async fn end(
    State(state): State<Arc<AppState>>,
    Path((room, session)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<&'static str, Refused> {
    let grant = authorize(&state, &headers, &room)?;
    let session = own_session(&state, &room, &session, &grant)?;
    session.room.send(RoomCommand::Leave { participant: session.participant }).await;
    Ok("The session has ended.\n")
}

/// The session, if it is there and was made with a token of the same identity.
fn own_session(state: &AppState, room: &str, id: &str, grant: &Grant) -> Result<Session, Refused> {
    let session = state.sessions.get(id).filter(|session| session.room_name == room);
    session.filter(|session| session.token_identity == grant.identity).ok_or_else(no_session)
}

/// What the bearer of the request's token may do in a room.
pub(crate) fn authorize(
    state: &AppState,
    headers: &HeaderMap,
    room: &str,
) -> Result<Grant, Refused> {
    state.access.verify(bearer(headers), room).map_err(token_refused)
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn token_refused(error: AuthError) -> Refused {
    let status = match error.is_forbidden() {
        true => StatusCode::FORBIDDEN,
        false => StatusCode::UNAUTHORIZED,
    };
    refused(status, error.to_string())
}

/// Whether the body is of this media type, whatever its parameters.
fn has_type(headers: &HeaderMap, essence: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let found = value.map(|value| value.split(';').next().unwrap_or(value).trim());
    found.is_some_and(|found| found.eq_ignore_ascii_case(essence))
}

async fn read_body(body: Body) -> Result<String, Refused> {
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_MESSAGE_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let text = format!("A body may have at most {MAX_MESSAGE_BYTES} bytes.");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Err(_) => {
            let text = "The body did not arrive within 10 seconds.";
            return Err(refused(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    String::from_utf8(bytes.into())
        .map_err(|_| refused(StatusCode::BAD_REQUEST, "The body is not UTF-8."))
}

fn join_refused(error: JoinError) -> Refused {
    let status = match error {
        JoinError::NoRoom => StatusCode::CONFLICT,
        JoinError::TooManyRooms | JoinError::ShuttingDown | JoinError::Overloaded => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    refused(status, error.to_string())
}

fn answer_refused(Refusal { code, message }: Refusal) -> Refused {
    let status = match code {
        ErrorCode::NotFound => StatusCode::CONFLICT,
        ErrorCode::Limit => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::NotAllowed => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    refused(status, message)
}
