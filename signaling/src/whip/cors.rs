//! What every request to WHIP and WHEP passes: cross-origin rules (RFC 9725 section 4.2) and the rate limit.

use super::limit::RateLimit;
use super::{ACCEPT_POST, SDP, refused};
use crate::http::AppState;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// For `OPTIONS`. It needs no token: browsers send none with a preflight.
pub(super) async fn preflight() -> impl IntoResponse {
    let text = HeaderValue::from_static;
    [
        (ACCEPT_POST, text(SDP)),
        (header::ACCESS_CONTROL_ALLOW_METHODS, text("GET, HEAD, POST, PATCH, DELETE, OPTIONS")),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, text("authorization, content-type, if-match")),
        (header::ACCESS_CONTROL_MAX_AGE, text("600")),
    ]
}

/// Lets pages of other origins read the answers, where they may ask at all.
pub(super) async fn add_cors(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = state.trust.cors(request.headers());
    let mut response = next.run(request).await;
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("location, etag, link, retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Refuses what one address asks too often.
pub(crate) async fn limit_rate(
    State(limit): State<Arc<RateLimit>>,
    request: Request,
    next: Next,
) -> Response {
    let changes = matches!(*request.method(), Method::POST | Method::PATCH | Method::DELETE);
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    if changes && peer.is_some_and(|peer| !limit.allow(Instant::now(), peer)) {
        let text = "Too many requests from this address.";
        return refused(StatusCode::TOO_MANY_REQUESTS, text).into_response();
    }
    next.run(request).await
}
