//! One WebSocket: frames in and out, size and rate caps, heartbeats, the meaning of its end.
//!
//! Knows nothing about rooms but how to enter one and where to send what was decoded.

mod rate;

use crate::auth::{AuthError, Grant};
use crate::http::AppState;
use crate::protocol::{
    ClientMessage, DecodeError, ErrorCode, Join, MAX_MESSAGE_BYTES, ParticipantId, Renew,
    ServerMessage, VERSION,
};
use crate::room::{JoinCommand, OutboxReader, RoomCommand, RoomHandle, outbox};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use rate::TokenBucket;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long a socket may stay open without having joined.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A socket from which nothing came for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pings of ours: a background tab may delay its own to once a minute, but its browser still answers these.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long one message may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for the other side's close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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

/// Who has joined what.
pub(crate) struct Membership {
    pub(crate) room: RoomHandle,
    room_name: String,
    pub(crate) participant: ParticipantId,
    /// The token's.
    identity: Option<String>,
}

struct Connection {
    socket: WebSocket,
    bucket: TokenBucket,
    heard: Instant,
}

/// Runs one socket to its end.
pub(crate) async fn run(socket: WebSocket, state: Arc<AppState>) {
    let _share = state.sockets.share(1);
    let now = Instant::now();
    let mut connection = Connection { socket, bucket: TokenBucket::new(now), heard: now };
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
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                () = outbox.overflow.cancelled() => {
                    let message = "Messages were not read fast enough.".to_owned();
                    let closed = ServerMessage::Closed { reason: "slow_reader".into(), message };
                    let _ = timeout(CLOSE_TIMEOUT, self.write(&closed)).await;
                    Err(End::Refused(close_code::POLICY, "slow reader"))
                }
                message = outbox.messages.recv() => match message {
                    Some(text) => self.write_text(text).await,
                    None => Err(End::HungUp),
                },
                incoming = self.read() => self.handle(incoming, state, membership).await,
                _ = pings.tick() => self.write_frame(Message::Ping(Default::default())).await,
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

    /// Waits for the next frame, or for the end of the socket's patience. May be dropped at any time without loss.
    async fn read(&mut self) -> Incoming {
        tokio::time::sleep_until(self.bucket.ready_at()).await;
        let frame = tokio::time::timeout_at(self.heard + IDLE_TIMEOUT, self.socket.recv()).await;
        let Ok(frame) = frame else { return Incoming::Closed { clean: false } };
        self.heard = Instant::now();
        self.bucket.take(self.heard);
        match frame {
            Some(Ok(Message::Text(text))) if text.len() > MAX_MESSAGE_BYTES => Incoming::TooLarge,
            Some(Ok(Message::Text(text))) => match ClientMessage::decode(&text) {
                Ok(message) => Incoming::Message(message),
                Err(error) => Incoming::Refused(error),
            },
            Some(Ok(Message::Binary(_))) => Incoming::Refused(DecodeError {
                request: None,
                message: "a message is a text frame, not a binary one".to_owned(),
            }),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Nothing,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| frame.code);
                let clean = matches!(code, Some(close_code::NORMAL | close_code::AWAY));
                Incoming::Closed { clean }
            }
            Some(Err(error)) => match error.into_inner().downcast_ref() {
                Some(tungstenite::Error::Capacity(_)) => Incoming::TooLarge,
                _ => Incoming::Closed { clean: false },
            },
            None => Incoming::Closed { clean: false },
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
        self.write_frame(Message::Text(text)).await
    }

    async fn write_frame(&mut self, frame: Message) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Closed { clean: false }),
        }
    }

    /// Says goodbye where there is still somebody to say it to.
    async fn close(mut self, end: End) {
        let (code, reason) = match end {
            End::Closed { .. } => return,
            End::HungUp => (close_code::NORMAL, ""),
            End::Refused(code, reason) => (code, reason),
        };
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let goodbye = async {
            // Closing with unread data in the buffer would reset the connection and destroy the frame on its way.
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
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
