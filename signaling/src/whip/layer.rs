//! The layer selection extension of WHEP (draft-ietf-wish-whep, core extensions).

use super::{Refused, authorize, has_type, no_session, own_session, read_body, refused};
use crate::http::AppState;
use crate::room::{LayerWish, RoomCommand};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

/// The members that the extension defines; unknown ones are passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerRequest {
    media_id: Option<String>,
    rid: Option<String>,
    spatial_layer_id: Option<u32>,
    temporal_layer_id: Option<u8>,
    max_temporal_layer_id: Option<u8>,
    max_width: Option<u32>,
    max_height: Option<u32>,
}

/// `POST …/layer`.
pub(super) async fn select(
    State(state): State<Arc<AppState>>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Result<StatusCode, Refused> {
    let grant = authorize(&state, request.headers(), &room)?;
    let session = own_session(&state, &room, &id, &grant)?;
    if !has_type(request.headers(), "application/json") {
        let text = "Send the layer as application/json, such as {\"mediaId\":\"1\",\"rid\":\"h\"}.";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = read_body(request.into_body()).await?;
    let wish = parse(&body)?;
    let command = RoomCommand::SetViewerLayer { participant: session.participant, wish };
    let reply = session.room.ask(command).await.ok_or_else(no_session)?;
    reply.map_err(|refusal| refused(StatusCode::UNPROCESSABLE_ENTITY, refusal.message))?;
    Ok(StatusCode::OK)
}

fn parse(json: &str) -> Result<LayerWish, Refused> {
    let request: LayerRequest = serde_json::from_str(json).map_err(|error| {
        refused(
            StatusCode::BAD_REQUEST,
            format!("The layer is not a JSON object as defined: {error}"),
        )
    })?;
    let refuse = |text| Err(refused(StatusCode::UNPROCESSABLE_ENTITY, text));
    if request.max_width.or(request.max_height).is_some() {
        return refuse("The server does not know the size of layers; choose one by its rid.");
    }
    if request.spatial_layer_id.unwrap_or(0) != 0 {
        return refuse("Every encoding has one spatial layer, 0; choose an encoding by its rid.");
    }
    let section = request.media_id.map(|id| id.parse()).transpose().map_err(|_| {
        refused(
            StatusCode::BAD_REQUEST,
            "mediaId is the number of a section of the offer, from \"0\".",
        )
    })?;
    let temporal = [request.temporal_layer_id, request.max_temporal_layer_id];
    let temporal = temporal.into_iter().flatten().min();
    Ok(LayerWish { section, rid: request.rid, temporal })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_extension_defines() {
        let wish =
            parse(r#"{"mediaId":"1","rid":"h","temporalLayerId":2,"maxTemporalLayerId":1,"x":0}"#);
        let rid = Some("h".to_owned());
        assert_eq!(wish.unwrap(), LayerWish { section: Some(1), rid, temporal: Some(1) });
        assert_eq!(parse("{}").unwrap(), LayerWish::default());
        assert_eq!(parse(r#"{"spatialLayerId":0}"#).unwrap(), LayerWish::default());
        for (bad, status) in [
            ("", StatusCode::BAD_REQUEST),
            ("[]", StatusCode::BAD_REQUEST),
            (r#"{"mediaId":"x"}"#, StatusCode::BAD_REQUEST),
            (r#"{"temporalLayerId":-1}"#, StatusCode::BAD_REQUEST),
            (r#"{"spatialLayerId":1}"#, StatusCode::UNPROCESSABLE_ENTITY),
            (r#"{"maxWidth":640}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            assert_eq!(parse(bad).unwrap_err().status, status, "{bad}");
        }
    }
}
