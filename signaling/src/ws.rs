//! One WebSocket of the signaling protocol.
//!
//! Knows nothing about rooms but how to enter one and where to send what was decoded.

mod frames;
mod rate;

pub(crate) use frames::{Frame, Frames, Gone, Limits};
pub(crate) use rate::TokenBucket;

use crate::auth::{AuthError, Grant};
use crate::http::AppState;
use crate::protocol::{
    ClientMessage, DecodeError, ErrorCode, Join, MAX_MESSAGE_BYTES, ParticipantId, Renew,
    ServerMessage, VERSION,
};
use crate::room::{JoinCommand, OutboxReader, RoomCommand, RoomHandle, outbox};
use axum::extract::ws::{Utf8Bytes, WebSocket, close_code};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a socket may stay open without having joined.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Every message counts once in the rate, whatever its size.
const LIMITS: Limits =
    Limits { message_bytes: MAX_MESSAGE_BYTES, counted_bytes: MAX_MESSAGE_BYTES };

/// What a read brought.
enum Incoming {
    Message(ClientMessage),
    Refused(DecodeError),
    /// A heartbeat.
    Nothing,
    TooLarge,
    Closed {
        clean: bool,
    },
}

/// How the socket's life in a room ended.
enum End {
    /// The other side closed it.
    Closed { clean: bool },
    /// The room let the participant go.
    HungUp,
    /// We close it, with this code and for this reason.
    Refused(u16, &'static str),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Closed { clean: false }
    }
}

/// Who has joined what.
pub(crate) struct Membership {
    pub(crate) room: RoomHandle,
    room_name: String,
    pub(crate) participant: ParticipantId,
    /// The token's.
    identity: Option<String>,
}

struct Connection {
    frames: Frames,
}

/// Runs one socket to its end.
pub(crate) async fn run(socket: WebSocket, state: Arc<AppState>) {
    let _share = state.sockets.share(1);
    let mut connection = Connection { frames: Frames::new(socket, LIMITS) };
    let joined = timeout(JOIN_TIMEOUT, connection.join(&state)).await;
    let end = match joined {
        Ok(Ok((membership, outbox))) => {
            let end = connection.converse(&state, &membership, outbox).await;
            if !matches!(end, End::HungUp) {
                let clean = matches!(end, End::Closed { clean: true });
                let participant = membership.participant;
                membership.room.send(RoomCommand::SignalingClosed { participant, clean }).await;
            }
            end
        }
        Ok(Err(end)) => end,
        Err(_) => End::Refused(close_code::POLICY, "no join within 5 seconds"),
    };
    connection.close(end).await;
}

impl Connection {
    /// Reads until somebody has joined, or the socket is at its end.
    async fn join(&mut self, state: &AppState) -> Result<(Membership, OutboxReader), End> {
        loop {
            match self.read().await {
                Incoming::Message(ClientMessage::Join(join)) => {
                    let request = join.request;
                    match enter(state, join).await {
                        Ok(joined) => return Ok(joined),
                        Err((code, message)) => self.refuse(request, code, message).await?,
                    }
                }
                Incoming::Message(ClientMessage::Ping(ping)) => {
                    self.write(&ServerMessage::Pong { time: ping.time }).await?;
                }
                Incoming::Message(_) => {
                    let text = "Send join first.".to_owned();
                    self.refuse(None, ErrorCode::NotJoined, text).await?;
                }
                other => self.handle_common(other).await?,
            }
        }
    }

    async fn converse(
        &mut self,
        state: &AppState,
        membership: &Membership,
        mut outbox: OutboxReader,
    ) -> End {
        let mut pings = Frames::pings();
        loop {
            let result = tokio::select! {
                () = outbox.overflow.cancelled() => {
                    let message = "Messages were not read fast enough.".to_owned();
                    let closed = ServerMessage::Closed { reason: "slow_reader".into(), message };
                    self.frames.write_last(closed.encode().into()).await;
                    Err(End::Refused(close_code::POLICY, "slow reader"))
                }
                message = outbox.messages.recv() => match message {
                    Some(text) => self.write_text(text).await,
                    None => Err(End::HungUp),
                },
                Some(data) = outbox.data.recv() => self.write_text(data.text).await,
                incoming = self.read() => self.handle(incoming, state, membership).await,
                _ = pings.tick() => self.frames.ping().await.map_err(End::from),
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    async fn handle(
        &mut self,
        incoming: Incoming,
        state: &AppState,
        membership: &Membership,
    ) -> Result<(), End> {
        let Membership { room, participant, .. } = membership;
        match incoming {
            Incoming::Message(ClientMessage::Ping(ping)) => {
                self.write(&ServerMessage::Pong { time: ping.time }).await
            }
            Incoming::Message(ClientMessage::Join(join)) => {
                let text = "This socket has joined already.".to_owned();
                self.refuse(join.request, ErrorCode::AlreadyJoined, text).await
            }
            Incoming::Message(ClientMessage::Renew(Renew { request, token })) => {
                match renewed(state, membership, &token) {
                    Ok(grant) => {
                        let (participant, grant) = (*participant, Box::new(grant));
                        room.send(RoomCommand::Renew { participant, request, grant }).await;
                        Ok(())
                    }
                    Err((code, text)) => self.refuse(request, code, text).await,
                }
            }
            Incoming::Message(message) => {
                room.send(RoomCommand::Message { from: *participant, message }).await;
                Ok(())
            }
            other => self.handle_common(other).await,
        }
    }

    /// What means the same before and after joining.
    async fn handle_common(&mut self, incoming: Incoming) -> Result<(), End> {
        match incoming {
            Incoming::Refused(error) => {
                self.refuse(error.request, ErrorCode::BadMessage, error.message).await
            }
            Incoming::TooLarge => {
                let text = format!("A message may have at most {MAX_MESSAGE_BYTES} bytes.");
                self.refuse(None, ErrorCode::TooLarge, text).await?;
                Err(End::Refused(close_code::SIZE, "message too large"))
            }
            Incoming::Closed { clean } => Err(End::Closed { clean }),
            Incoming::Nothing | Incoming::Message(_) => Ok(()),
        }
    }

    /// May be dropped at any time without loss.
    async fn read(&mut self) -> Incoming {
        match self.frames.read().await {
            Frame::Text(text) => match ClientMessage::decode(&text) {
                Ok(message) => Incoming::Message(message),
                Err(error) => Incoming::Refused(error),
            },
            Frame::Binary => Incoming::Refused(DecodeError {
                request: None,
                message: "a message is a text frame, not a binary one".to_owned(),
            }),
            Frame::Heartbeat => Incoming::Nothing,
            Frame::TooLarge => Incoming::TooLarge,
            Frame::Closed { clean } => Incoming::Closed { clean },
        }
    }

    async fn refuse(
        &mut self,
        request: Option<u64>,
        code: ErrorCode,
        message: String,
    ) -> Result<(), End> {
        self.write(&ServerMessage::Error { request, code, message }).await
    }

    async fn write(&mut self, message: &ServerMessage) -> Result<(), End> {
        self.write_text(message.encode().into()).await
    }

    async fn write_text(&mut self, text: Utf8Bytes) -> Result<(), End> {
        Ok(self.frames.write(text).await?)
    }

    /// Says goodbye where there is still somebody to say it to.
    async fn close(self, end: End) {
        match end {
            End::Closed { .. } => {}
            End::HungUp => self.frames.close(close_code::NORMAL, "").await,
            End::Refused(code, reason) => self.frames.close(code, reason).await,
        }
    }
}

/// Checks version and token, and enters the room.
pub(crate) async fn enter(
    state: &AppState,
    join: Join,
) -> Result<(Membership, OutboxReader), (ErrorCode, String)> {
    if join.version != VERSION {
        let text = format!("This server speaks version {VERSION} of the protocol.");
        return Err((ErrorCode::Version, text));
    }
    let grant = state.access.verify(join.token.as_deref(), &join.room).map_err(token_refused)?;
    let token_identity = grant.identity.clone();
    let identity = token_identity.clone().or(join.identity).unwrap_or_else(crate::random::id);
    let command = JoinCommand {
        request: join.request,
        identity,
        name: grant.name.clone().unwrap_or(join.name),
        grant,
        max_audio: join.max_audio,
        max_video: join.max_video,
    };
    let (sender, reader) = outbox();
    let (room, participant) = state
        .registry
        .join(&join.room, command, sender)
        .await
        .map_err(|error| (error.code(), error.to_string()))?;
    let membership =
        Membership { room, room_name: join.room, participant, identity: token_identity };
    Ok((membership, reader))
}

/// What a newer token allows: it has to be for the same room and identity.
pub(crate) fn renewed(
    state: &AppState,
    membership: &Membership,
    token: &str,
) -> Result<Grant, (ErrorCode, String)> {
    let grant = state.access.verify(Some(token), &membership.room_name).map_err(token_refused)?;
    if grant.identity != membership.identity {
        let text = "The token is for another identity; leave, and join with it.".to_owned();
        return Err((ErrorCode::NotAllowed, text));
    }
    Ok(grant)
}

fn token_refused(error: AuthError) -> (ErrorCode, String) {
    let code = match error {
        AuthError::Revoked => ErrorCode::NotAllowed,
        _ => ErrorCode::Unauthorized,
    };
    (code, error.to_string())
}
