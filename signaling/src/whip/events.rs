//! The server-sent events extension of WHEP (draft-ietf-wish-whep, core extensions): a stream is made by `POST`, read by `GET`, ended by `DELETE`.
//! WHIP sessions have one like it, for what a publisher wants to know.
//!
//! Every event tells a state, and a reader that falls behind is told the newest one: nothing is queued. Whoever knows the unguessable
//! address of a stream may read it, because `EventSource` cannot send a token.

use super::links;
use super::{Refused, authorize, has_type, no_session, own_session, read_body, refused};
use crate::http::AppState;
use crate::room::{Farewell, HttpRole, Outlook, RoomCommand};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One event stream. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct EventStream {
    wanted: Arc<BTreeSet<String>>,
    ended: CancellationToken,
    /// The newest reader's; an older one is sent away.
    reader: Arc<Mutex<CancellationToken>>,
}

impl EventStream {
    fn new(wanted: BTreeSet<String>) -> Self {
        let ended = CancellationToken::new();
        let reader = Arc::new(Mutex::new(ended.child_token()));
        Self { wanted: Arc::new(wanted), ended, reader }
    }

    /// Sends the reader away.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    fn new_reader(&self) -> CancellationToken {
        let token = self.ended.child_token();
        // Nothing inside the guard can panic half-way through a change.
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *reader, token.clone()).cancel();
        token
    }
}

/// `POST …/sse`: the wanted events as a JSON array; without a body, all of them.
pub(super) async fn subscribe(
    State(state): State<Arc<AppState>>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let grant = authorize(&state, request.headers(), &room)?;
    let session = own_session(&state, &room, &id, &grant)?;
    let is_json = has_type(request.headers(), "application/json");
    let body = read_body(request.into_body()).await?;
    let wanted = match body.trim() {
        "" => links::events(session.role).iter().map(|event| (*event).to_owned()).collect(),
        _ if !is_json => {
            let text =
                "Send the wanted events as application/json, such as [\"active\",\"inactive\"].";
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        text => wanted_events(session.role, text)?,
    };
    // From now on the room tells the session, so that the first reader finds the present state.
    let followed = session.room.ask(RoomCommand::Follow { participant: session.participant }).await;
    followed.ok_or_else(no_session)?.map_err(|_| no_session())?;
    let stream = state.sessions.add_stream(&id, EventStream::new(wanted)).ok_or_else(|| {
        refused(StatusCode::SERVICE_UNAVAILABLE, "The session has as many event streams as it may.")
    })?;
    let location = format!("/{}/{room}/{id}/sse/{stream}", session.role.path());
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

fn wanted_events(role: HttpRole, json: &str) -> Result<BTreeSet<String>, Refused> {
    let events = links::events(role);
    let wanted: BTreeSet<String> = serde_json::from_str(json).map_err(|_| {
        refused(StatusCode::BAD_REQUEST, "The wanted events are a JSON array of their names.")
    })?;
    if let Some(foreign) = wanted.iter().find(|event| !events.contains(&event.as_str())) {
        let short: String = foreign.chars().take(40).collect();
        let text = format!("There is no event {short:?} here; there are {events:?}.");
        return Err(refused(StatusCode::BAD_REQUEST, text));
    }
    Ok(wanted)
}

/// `GET` of a stream.
pub(super) async fn read(
    State(state): State<Arc<AppState>>,
    Path((room, id, stream)): Path<(String, String, String)>,
) -> Result<impl IntoResponse, Refused> {
    let session = state.sessions.get(&id).filter(|session| session.room_name == room);
    let session = session.ok_or_else(no_session)?;
    let stream = session.streams.get(&stream).ok_or_else(no_session)?;
    let events = events(session.outlook.clone(), stream.wanted.clone(), stream.new_reader());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// `DELETE` of a stream.
pub(super) async fn unsubscribe(
    State(state): State<Arc<AppState>>,
    Path((room, id, stream)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let grant = authorize(&state, &headers, &room)?;
    own_session(&state, &room, &id, &grant)?;
    let stream = state.sessions.remove_stream(&id, &stream).ok_or_else(no_session)?;
    stream.end();
    Ok(StatusCode::NO_CONTENT)
}

/// What one reader is sent.
fn events(
    mut outlook: watch::Receiver<Outlook>,
    wanted: Arc<BTreeSet<String>>,
    ended: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    outlook.mark_changed();
    let start = (outlook, None, VecDeque::new());
    unfold(start, move |(mut outlook, mut told, mut queue)| {
        let (wanted, ended) = (wanted.clone(), ended.clone());
        async move {
            loop {
                if let Some((name, data)) = queue.pop_front() {
                    let event: Event = Event::default().event(name).data::<String>(data);
                    return Some((Ok(event), (outlook, told, queue)));
                }
                // What was said last is said before the end.
                tokio::select! {
                    biased;
                    changed = outlook.changed() => changed.ok()?,
                    () = ended.cancelled() => return None,
                }
                let now = outlook.borrow_and_update().clone();
                queue.extend(news(told.as_ref(), &now).filter(|(name, _)| wanted.contains(*name)));
                told = Some(now);
            }
        }
    })
}

/// The events that lead from one state to the next. Nothing shown at the start is no event.
fn news(
    before: Option<&Outlook>,
    now: &Outlook,
) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let was_active = before.is_some_and(|before| before.active);
    let mut news = Vec::new();
    if now.active != was_active {
        news.push((if now.active { "active" } else { "inactive" }, json!({})));
    }
    if let Some((section, layers)) = &now.layers
        && before.is_none_or(|before| before.layers != now.layers)
    {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| match layer.bitrate {
                None => json!({ "rid": layer.rid }),
                Some(bitrate) => json!({ "rid": layer.rid, "bitrate": bitrate }),
            })
            .collect();
        news.push(("layers", json!({ section.to_string(): layers })));
    }
    if let Some(status) = &now.status
        && before.is_none_or(|before| before.status != now.status)
    {
        news.push(("status", json!(status)));
    }
    if let Some(watched) = &now.watched
        && before.is_none_or(|before| before.watched != now.watched)
    {
        news.push(("published_layers", json!(watched)));
    }
    if before.is_none_or(|before| before.viewers != now.viewers) {
        news.push(("viewercount", json!({ "viewercount": now.viewers })));
    }
    match now.farewell {
        None => {}
        Some(Farewell::Reconnect) => news.push(("reconnect", json!({}))),
        Some(Farewell::Replaced) => news.push(("replaced", json!({}))),
    }
    news.into_iter().map(|(name, data)| (name, data.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::room::LayerInfo;

    fn names(before: Option<&Outlook>, now: &Outlook) -> Vec<String> {
        news(before, now).map(|(name, data)| format!("{name} {data}")).collect()
    }

    #[test]
    fn a_state_is_told_by_what_is_new_in_it() {
        use crate::protocol::WatchedLayers;
        let quiet = Outlook::default();
        assert_eq!(names(None, &quiet), ["viewercount {\"viewercount\":0}"]);
        assert_eq!(names(Some(&quiet), &quiet), [""; 0]);
        let layer = |rid: &str, bitrate| LayerInfo { rid: rid.to_owned(), bitrate };
        let layers = Some((1, vec![layer("f", None), layer("q", Some(5))]));
        let shown = Outlook { active: true, layers, ..quiet.clone() };
        let told = ["active {}", "layers {\"1\":[{\"rid\":\"f\"},{\"bitrate\":5,\"rid\":\"q\"}]}"];
        assert_eq!(names(Some(&quiet), &shown), told);
        let watched = |max_bitrate| Outlook {
            watched: Some(WatchedLayers {
                layers: vec!["q".to_owned()],
                spatial_layers: None,
                max_bitrate,
            }),
            ..quiet.clone()
        };
        let told = ["published_layers {\"layers\":[\"q\"]}"];
        assert_eq!(names(Some(&quiet), &watched(None)), told);
        let told = ["published_layers {\"layers\":[\"q\"],\"max_bitrate\":7}"];
        assert_eq!(names(Some(&watched(None)), &watched(Some(7))), told);
        let farewell = Some(Farewell::Reconnect);
        let gone = Outlook { viewers: 3, farewell, ..quiet };
        assert_eq!(
            names(Some(&shown), &gone),
            ["inactive {}", "viewercount {\"viewercount\":3}", "reconnect {}"]
        );
    }

    /// As PROTOCOL.md has it.
    #[test]
    fn what_is_shown_and_why_not_more_is_told_on_change() {
        let document = include_str!("../../PROTOCOL.md");
        let examples = document.split("`status` (`").skip(1).map(|rest| rest.split('`').next());
        let [Some(example)] = examples.collect::<Vec<_>>()[..] else { panic!("one example") };
        let status: crate::protocol::TrackStatus = serde_json::from_str(example).unwrap();
        assert_eq!(serde_json::to_value(&status).unwrap(), json_of(example));
        let quiet = Outlook::default();
        let shown = Outlook { status: Some(status), ..quiet.clone() };
        let told = names(Some(&quiet), &shown);
        let [event] = told.as_slice() else { panic!("one event: {told:?}") };
        assert_eq!(json_of(event.strip_prefix("status ").unwrap()), json_of(example));
        assert_eq!(names(Some(&shown), &shown), [""; 0]);
        assert_eq!(names(Some(&shown), &quiet), [""; 0], "that nothing is shown is told as such");
    }

    fn json_of(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_new_reader_sends_the_old_one_away() {
        let stream = EventStream::new(BTreeSet::new());
        let first = stream.new_reader();
        let second = stream.new_reader();
        assert!(first.is_cancelled() && !second.is_cancelled());
        stream.end();
        assert!(second.is_cancelled());
    }
}
