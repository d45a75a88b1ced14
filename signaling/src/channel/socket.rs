//! A plain WebSocket of the relay, at `/channel`.

use super::message::{Asked, Message};
use super::outbox::{OutboxReader, outbox};
use super::{Admission, COUNTED_BYTES, ChannelError, MESSAGE_BYTES_MAX, Membership, Parcel};
use crate::auth::Pass;
use crate::http::{AppState, admit, sized};
use crate::ws::{Frame, Frames, Gone, Limits};
use axum::extract::ws::{Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

const LIMITS: Limits = Limits { message_bytes: MESSAGE_BYTES_MAX, counted_bytes: COUNTED_BYTES };

/// How a socket ended.
enum End {
    Closed,
    /// We close it, with this code and for this reason.
    Refused(u16, &'static str),
    /// Its token is not good for this, or not any more.
    Unwelcome(String),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Closed
    }
}

/// The route.
pub(crate) async fn upgrade(
    State(state): State<Arc<AppState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(admission): Query<Admission>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let permit = match admit(&state.limit, peer, &headers) {
        Ok(permit) => permit,
        Err(refusal) => return refusal.into_response(),
    };
    sized(upgrade, MESSAGE_BYTES_MAX).on_upgrade(async move |socket| {
        run(socket, admission, state).await;
        drop(permit);
    })
}

async fn run(socket: WebSocket, admission: Admission, state: Arc<AppState>) {
    let mut frames = Frames::new(socket, LIMITS);
    let (sender, reader) = outbox();
    let entered = admission.check(&state.access).and_then(|pass| {
        let membership = state.channels.enter(pass.room().clone(), Arc::new(sender))?;
        Ok((membership, pass))
    });
    let end = match entered {
        Ok((membership, pass)) => converse(&mut frames, membership, pass, reader, &state).await,
        Err(error) => End::Unwelcome(error.to_string()),
    };
    match end {
        End::Closed => {}
        End::Refused(code, sentence) => {
            frames.write_last(refusal(sentence)).await;
            frames.close(code, sentence).await;
        }
        // A page cannot read why an upgrade was refused, but it can read a message.
        End::Unwelcome(sentence) => {
            frames.write_last(refusal(&sentence)).await;
            frames.close(close_code::POLICY, "refused").await;
        }
    }
}

/// Runs until the socket ends, which then has left its channels.
async fn converse(
    frames: &mut Frames,
    mut membership: Membership,
    pass: Pass,
    mut outbox: OutboxReader,
    state: &AppState,
) -> End {
    let mut pings = Frames::pings();
    let overflow = outbox.overflow.clone();
    let ended = pass.ended();
    tokio::pin!(ended);
    loop {
        let result = tokio::select! {
            biased;
            () = overflow.cancelled() => Err(End::Refused(close_code::POLICY, "Messages were not read fast enough.")),
            () = state.shutdown.cancelled() => Err(End::Refused(close_code::AWAY, "The server stops or restarts.")),
            why = &mut ended => Err(End::Unwelcome(why.to_string())),
            _ = pings.tick() => frames.ping().await.map_err(End::from),
            // Before what waits to be written: the rate keeps it from taking all the time.
            frame = frames.read() => match handle(frame, &mut membership) {
                Ok(Some(answer)) => frames.write(answer).await.map_err(End::from),
                Ok(None) => Ok(()),
                Err(end) => Err(end),
            },
            Some(text) = outbox.next() => frames.write(text).await.map_err(End::from),
        };
        if let Err(end) = result {
            return end;
        }
    }
}

/// What the socket is answered.
fn handle(frame: Frame, membership: &mut Membership) -> Result<Option<Utf8Bytes>, End> {
    match frame {
        Frame::Text(text) => Ok(answer(&text, membership)),
        Frame::Binary => Ok(Some(refusal("A message is a text frame, not a binary one."))),
        Frame::Heartbeat => Ok(None),
        Frame::TooLarge => Err(End::Refused(close_code::SIZE, "A message has at most 64 KiB.")),
        Frame::Closed { .. } => Err(End::Closed),
    }
}

fn answer(text: &str, membership: &mut Membership) -> Option<Utf8Bytes> {
    let done = Message::decode(text).and_then(|(channel, asked)| {
        let done = match asked {
            Asked::Open => membership.open(&channel).map(|()| None),
            Asked::Presence => membership.is_present(&channel).map(Some),
            Asked::Say(data) => membership.send(&channel, data, Parcel::message).map(|()| None),
        };
        done.map_err(|error: ChannelError| error.to_string())
    });
    match done {
        Ok(present) => Some(json!({ "isChannelPresent": present? }).to_string().into()),
        Err(error) => Some(refusal(&error)),
    }
}

fn refusal(sentence: &str) -> Utf8Bytes {
    json!({ "error": sentence }).to_string().into()
}
