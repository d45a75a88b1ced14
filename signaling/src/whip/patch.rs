//! `PATCH` of a session: trickled candidates and ICE restarts (RFC 9725 section 4.3, the same in WHEP).

use super::SDP;
use super::sessions::Session;
use super::{
    Refused, SDP_FRAGMENT, authorize, entity_tag, has_type, no_session, own_session, read_body,
    refused,
};
use crate::http::AppState;
use crate::protocol::ErrorCode;
use crate::room::{HttpRole, IfMatch, Refusal, Reply, RoomCommand};
use crate::sdp::parse_ice_fragment;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// `PATCH` of a session of either protocol.
pub(super) async fn patch(
    State(state): State<Arc<AppState>>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let grant = authorize(&state, request.headers(), &room)?;
    let session = own_session(&state, &room, &id, &grant)?;
    if session.role == HttpRole::Viewer && has_type(request.headers(), SDP) {
        return answer(&session, request.into_body()).await;
    }
    if !has_type(request.headers(), SDP_FRAGMENT) {
        return Err(wrong_type(format!("Send what is new about ICE as {SDP_FRAGMENT}.")));
    }
    let if_match = if_match(request.headers())?;
    let body = read_body(request.into_body()).await?;
    let fragment = parse_ice_fragment(&body)
        .map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    let participant = session.participant;
    let command = RoomCommand::PatchIce { participant, if_match, fragment };
    match session.room.ask(command).await.ok_or_else(no_session)? {
        Ok(Reply::Done | Reply::Report(_)) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Reply::Restarted { fragment, ice }) => {
            let headers =
                [(header::CONTENT_TYPE, SDP_FRAGMENT.to_owned()), (header::ETAG, entity_tag(&ice))];
            Ok((StatusCode::OK, headers, fragment).into_response())
        }
        Ok(Reply::Stale) => {
            let text = "ICE has been restarted since; send the newest ETag, or If-Match: * to restart it again.";
            Err(refused(StatusCode::PRECONDITION_FAILED, text))
        }
        Err(Refusal { code: ErrorCode::NotFound, .. }) => Err(no_session()),
        Err(refusal) => Err(refused(StatusCode::UNPROCESSABLE_ENTITY, refusal.message)),
    }
}

fn wrong_type(text: String) -> Refused {
    refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).with(ACCEPT_PATCH, SDP_FRAGMENT)
}

/// The answer to an offer of ours (draft-ietf-wish-whep section 4.3.2). Without one, or a second time, it cannot be processed (4.5.1).
async fn answer(session: &Session, body: Body) -> Result<Response, Refused> {
    let sdp = read_body(body).await?;
    let command = RoomCommand::AnswerOffer { participant: session.participant, sdp };
    match session.room.ask(command).await.ok_or_else(no_session)? {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(Refusal { code: ErrorCode::NotFound, .. }) => Err(no_session()),
        Err(Refusal { code: ErrorCode::BadState, message }) => {
            Err(refused(StatusCode::UNPROCESSABLE_ENTITY, message))
        }
        Err(refusal) => Err(refused(StatusCode::BAD_REQUEST, refusal.message)),
    }
}

/// RFC 9110 section 13.1.1; several headers are one list. Weak tags match nothing. The `*` may stand in quotes, as it does in the
/// example of RFC 9725 section 4.3.3: no tag of ours is called so.
fn if_match(headers: &HeaderMap) -> Result<IfMatch, Refused> {
    let mut tags = Vec::new();
    let mut found = false;
    for value in headers.get_all(header::IF_MATCH) {
        found = true;
        let value = value.to_str().unwrap_or_default().trim();
        if matches!(value, "*" | "\"*\"") {
            return Ok(IfMatch::Any);
        }
        let quoted = value
            .split(',')
            .filter_map(|tag| tag.trim().strip_prefix('"').and_then(|tag| tag.strip_suffix('"')));
        tags.extend(quoted.map(str::to_owned));
    }
    if found {
        return Ok(IfMatch::Tags(tags));
    }
    let text =
        "Send If-Match: with the session's ETag for candidates, or with * for an ICE restart.";
    Err(refused(StatusCode::PRECONDITION_REQUIRED, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> IfMatch {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, value.parse().unwrap());
        }
        if_match(&headers).unwrap()
    }

    #[test]
    fn only_strong_tags_in_quotes_count() {
        let tags = |tags: &[&str]| IfMatch::Tags(tags.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(read(&["*"]), IfMatch::Any);
        assert_eq!(read(&["\"*\""]), IfMatch::Any);
        assert_eq!(read(&["\"a\""]), tags(&["a"]));
        assert_eq!(read(&["\"a\", W/\"b\",\"c\"", "\"d\""]), tags(&["a", "c", "d"]));
        assert_eq!(read(&["a"]), tags(&[]));
        assert_eq!(
            if_match(&HeaderMap::new()).unwrap_err().status,
            StatusCode::PRECONDITION_REQUIRED
        );
    }
}
