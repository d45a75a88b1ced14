//! STUN and TURN servers: what the configuration says of them, and what clients are told.
//!
//! TURN credentials for a time are those of coturn's REST API (draft-uberti-behave-turn-rest-00): the user name is the moment of
//! expiry, the password a keyed hash of it, and coturn checks both with the same secret.

use crate::auth::Secret;
use crate::http::AppState;
use crate::protocol::IceServer;
use crate::random;
use crate::whip::{Refused, authorize};
use aws_lc_rs::hmac;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long credentials are valid.
const VALID_FOR: Duration = Duration::from_secs(6 * 3600);

/// A server of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredIceServer {
    /// As clients are told, apart from credentials that are made for each.
    pub server: IceServer,
    /// Shared with the TURN server: `static-auth-secret` of coturn.
    pub secret: Option<Secret>,
}

impl From<IceServer> for ConfiguredIceServer {
    fn from(server: IceServer) -> Self {
        Self { server, secret: None }
    }
}

/// What a client is told from `now` on.
pub(crate) fn issue(servers: &[ConfiguredIceServer], now: SystemTime) -> Vec<IceServer> {
    let issue = |configured: &ConfiguredIceServer| match &configured.secret {
        None => configured.server.clone(),
        Some(secret) => {
            let (username, credential) = credentials(secret, now, &random::id());
            let urls = configured.server.urls.clone();
            IceServer { urls, username: Some(username), credential: Some(credential) }
        }
    };
    servers.iter().map(issue).collect()
}

fn credentials(secret: &Secret, now: SystemTime, user: &str) -> (String, String) {
    let expiry = now.duration_since(UNIX_EPOCH).unwrap_or_default() + VALID_FOR;
    let username = format!("{}:{user}", expiry.as_secs());
    // SHA-1 is what TURN servers expect; as a keyed hash it is not broken.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let credential = BASE64_STANDARD.encode(hmac::sign(&key, username.as_bytes()));
    (username, credential)
}

/// Whose call it is for.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    room: String,
}

/// `GET /ice-servers?room=ROOM`: the same as in `welcome`, for pages that connect by themselves.
pub(crate) async fn serve(
    State(state): State<Arc<AppState>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    authorize(&state, &headers, &asked.room)?;
    let servers = issue(&state.config.ice_servers, SystemTime::now());
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(servers)).into_response())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_coturn_computes() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let secret = Secret::new("north".to_owned());
        let (username, credential) = credentials(&secret, now, "ada");
        assert_eq!(username, "1700021600:ada");
        // printf 1700021600:ada | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credential, "y+wvDZnNpKJLVsMkdAIu8eEx8zA=");
    }

    #[test]
    fn everybody_gets_credentials_of_their_own_and_fixed_ones_stay() {
        let server = |username: Option<&str>| IceServer {
            urls: vec!["turn:a".to_owned()],
            username: username.map(str::to_owned),
            credential: username.map(str::to_owned),
        };
        let secret = Some(Secret::new("north".to_owned()));
        let servers =
            [server(Some("fixed")).into(), ConfiguredIceServer { server: server(None), secret }];
        let (one, other) = (issue(&servers, SystemTime::now()), issue(&servers, SystemTime::now()));
        assert_eq!(one[0], server(Some("fixed")));
        assert!(one[1].username.is_some() && one[1].username != other[1].username);
        assert!(!format!("{servers:?}").contains("north"));
    }
}
