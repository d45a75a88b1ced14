//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): one `POST` with an offer makes a session, one `DELETE` ends it.
//!
//! A WHIP publisher is a participant of the room like any other; a WHEP viewer is one whom nobody is told about. Both use the answerer
//! of the WebSocket. Answers list all candidates, so trickling towards the server is neither needed nor offered.

mod sessions;

pub(crate) use sessions::Sessions;

use crate::auth::{AuthError, Grant};
use crate::http::AppState;
use crate::protocol::{ErrorCode, MAX_MESSAGE_BYTES, check_room};
use crate::random;
use crate::room::{HttpJoin, HttpRole, JoinError, Refusal, RoomCommand};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use sessions::Session;
use std::sync::Arc;
use std::time::Duration;

const SDP: HeaderValue = HeaderValue::from_static("application/sdp");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// How long a client may take to send its offer.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When to ask again for a room in which nobody publishes, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// The routes of both protocols.
pub(crate) fn routes(state: Arc<AppState>) -> Router<Arc<AppState>> {
    let whip = post(publish).get(StatusCode::NO_CONTENT).options(preflight);
    let whep = post(view).get(|| async { [(header::CONTENT_TYPE, SDP)] }).options(preflight);
    Router::new()
        .route("/whip/{room}", whip)
        .route("/whep/{room}", whep)
        .route("/whip/{room}/{session}", delete(end).options(preflight))
        .route("/whep/{room}/{session}", delete(end).options(preflight))
        .layer(middleware::from_fn_with_state(state, add_cors))
}

/// A refusal: status and a sentence.
#[derive(Debug)]
struct Refused(StatusCode, String);

fn refused(status: StatusCode, text: impl Into<String>) -> Refused {
    Refused(status, text.into() + "\n")
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

async fn publish(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    create(state, HttpRole::Publisher, room, request).await
}

async fn view(
    State(state): State<Arc<AppState>>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    create(state, HttpRole::Viewer, room, request).await
}

async fn create(
    state: Arc<AppState>,
    role: HttpRole,
    room: String,
    request: Request,
) -> Result<Response, Refused> {
    check_room(&room).map_err(|text| refused(StatusCode::NOT_FOUND, text))?;
    let grant = authorize(&state, request.headers(), &room)?;
    let (allowed, claim) = match role {
        HttpRole::Publisher => (grant.can_publish, "canPublish"),
        HttpRole::Viewer => (grant.can_subscribe, "canSubscribe"),
    };
    if !allowed {
        let text = format!("The join token does not allow this (video.{claim}).");
        return Err(refused(StatusCode::FORBIDDEN, text));
    }
    if request.headers().get(header::CONTENT_TYPE) != Some(&SDP) {
        let text = "Send the offer as application/sdp.";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let sdp = read_body(request.into_body()).await?;
    let token_identity = grant.identity.clone();
    let join = HttpJoin {
        role,
        identity: token_identity.clone().unwrap_or_else(random::id),
        name: grant.name.clone().unwrap_or_else(|| "WHIP".to_owned()),
        grant,
        sdp,
    };
    let pending = state.sessions.open();
    let (handle, (participant, answer)) = state
        .registry
        .join_over_http(&room, join, pending.ended.clone())
        .await
        .map_err(join_refused)?;
    let answer = answer.map_err(answer_refused)?;
    let id = pending.id.clone();
    pending.establish(Session {
        role,
        room: handle,
        room_name: room.clone(),
        participant,
        token_identity,
    });
    let path = if role == HttpRole::Publisher { "whip" } else { "whep" };
    let text = |value: String| HeaderValue::from_str(&value).expect("checked alphabets only");
    let headers = [
        (header::CONTENT_TYPE, SDP),
        (header::LOCATION, text(format!("/{path}/{room}/{id}"))),
        (header::ETAG, text(format!("\"{}\"", random::id()))),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

async fn end(
    State(state): State<Arc<AppState>>,
    Path((room, session)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<&'static str, Refused> {
    let grant = authorize(&state, &headers, &room)?;
    let gone = || refused(StatusCode::NOT_FOUND, "There is no such session; it may have ended.");
    let session = state.sessions.get(&session).filter(|session| session.room_name == room);
    let session = session.ok_or_else(gone)?;
    if session.token_identity != grant.identity {
        return Err(gone());
    }
    session.room.send(RoomCommand::Leave { participant: session.participant }).await;
    Ok("The session has ended.\n")
}

fn authorize(state: &AppState, headers: &HeaderMap, room: &str) -> Result<Grant, Refused> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    state.config.keys.verify(token, room).map_err(|error| {
        let status = match error {
            AuthError::WrongRoom | AuthError::NoJoin => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        refused(status, error.to_string())
    })
}

async fn read_body(body: Body) -> Result<String, Refused> {
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_MESSAGE_BYTES)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let text = format!("An offer may have at most {MAX_MESSAGE_BYTES} bytes.");
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Err(_) => {
            let text = "The offer did not arrive within 10 seconds.";
            return Err(refused(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    String::from_utf8(bytes.into())
        .map_err(|_| refused(StatusCode::BAD_REQUEST, "The offer is not UTF-8."))
}

fn join_refused(error: JoinError) -> Refused {
    let status = match error {
        JoinError::NoRoom => StatusCode::CONFLICT,
        JoinError::TooManyRooms | JoinError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
    };
    refused(status, error.to_string())
}

fn answer_refused(Refusal { code, message }: Refusal) -> Refused {
    let status = match code {
        ErrorCode::NotFound => StatusCode::CONFLICT,
        ErrorCode::Limit => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    refused(status, message)
}

/// For `OPTIONS`: RFC 9725 section 4.1 wants `Accept-Post` here.
async fn preflight() -> impl IntoResponse {
    [
        (ACCEPT_POST, SDP),
        (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, DELETE, OPTIONS")),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, if-match"),
        ),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ]
}

/// Lets pages of other origins read the answers, where they may ask at all.
async fn add_cors(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let origin = state.trust.cors(request.headers());
    let mut response = next.run(request).await;
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("location, etag, link");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}
