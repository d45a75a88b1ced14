//! What goes wrong, as JSON with a sentence, and how bodies are read.

use crate::auth::AuthError;
use crate::protocol::ErrorCode;
use crate::room::{JoinError, Refusal};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::ToSchema;

/// Largest body in bytes: metadata and attributes, with room for their quotes.
const BODY_MAX: usize = 32 * 1024;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    /// For programs.
    #[schema(example = "not_found")]
    code: &'static str,
    /// For people.
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "not_allowed",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "no_such_method",
            StatusCode::CONFLICT => "bad_state",
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "bad_request",
        };
        Self { status, code, message: message.into() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn no_room(name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        let text = format!(
            "There is no such room as {name:?}; a room exists while somebody is in it, or after it was created here."
        );
        Self::not_found(text)
    }

    /// What a stranger is told where there are no keys.
    pub(super) fn only_here() -> Self {
        let text = "Without keys the API is for this machine: ask http(s)://127.0.0.1:PORT on it, not through a proxy. \
             Configure [keys] and send a token to use it from elsewhere.";
        Self::new(StatusCode::FORBIDDEN, text)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let status = match error.is_forbidden() {
            true => StatusCode::FORBIDDEN,
            false => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::NotAllowed => StatusCode::FORBIDDEN,
            ErrorCode::Limit | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        };
        Self::new(status, refusal.message)
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let headers: &[(HeaderName, HeaderValue)] = match self.status {
            StatusCode::UNAUTHORIZED => {
                &[(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))]
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                &[(header::RETRY_AFTER, HeaderValue::from_static("2"))]
            }
            _ => &[],
        };
        let mut response = (self.status, Json(self)).into_response();
        response.headers_mut().extend(headers.iter().cloned());
        response
    }
}

/// A JSON body; the refusal names the path to the wrong field.
pub(super) async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let text = format!("A body may have at most {BODY_MAX} bytes.");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Err(_) => {
            let text = "The body did not arrive within 10 seconds.";
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ApiError::bad(format!("The body cannot be used: {error}.")))
}

pub(super) async fn no_such_address() -> ApiError {
    ApiError::not_found("There is nothing at this address; see /api/openapi.json.")
}

pub(super) async fn no_such_method() -> ApiError {
    let text = "This cannot be done with this address; see /api/openapi.json.";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text)
}
