//! One WebSocket of the signaling protocol.
//!
//! Knows nothing about rooms but how to enter one and where to send what was decoded.

mod enter;
mod frames;
mod rate;

pub(crate) use enter::{Entered, Membership, enter, renewed};
pub(crate) use frames::{Frame, Frames, Gone, Limits};
pub(crate) use rate::TokenBucket;

use crate::http::AppState;
use crate::protocol::{
    ClientMessage, DecodeError, ErrorCode, MAX_MESSAGE_BYTES, Renew, ServerMessage,
};
use crate::room::{OutboxReader, Outgoing, Refusal, RoomCommand, Unresumable};
use axum::extract::ws::{Utf8Bytes, WebSocket, close_code};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

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

struct Connection {
    frames: Frames,
}

/// Runs one socket to its end.
pub(crate) async fn run(socket: WebSocket, state: Arc<AppState>) {
    let _share = state.sockets.share(1);
    let mut connection = Connection { frames: Frames::new(socket, LIMITS) };
    let end = match connection.join(&state).await {
        Ok(entered) => {
            let Entered { membership, outbox, .. } = entered;
            let end = match connection.write_all(entered.first).await {
                Ok(()) => connection.converse(&state, &membership, outbox).await,
                Err(end) => end,
            };
            if !matches!(end, End::HungUp) {
                let clean = matches!(end, End::Closed { clean: true });
                let participant = membership.participant;
                membership.send(RoomCommand::SignalingClosed { participant, clean }).await;
            }
            end
        }
        Err(end) => end,
    };
    connection.close(end).await;
}

impl Connection {
    /// Reads until somebody has joined, or the socket is at its end.
    async fn join(&mut self, state: &AppState) -> Result<Entered, End> {
        let deadline = Instant::now() + JOIN_TIMEOUT;
        loop {
            let incoming = timeout_at(deadline, self.read()).await;
            // Whoever is being let in is waited for: the room counts on this socket from then on.
            match incoming
                .map_err(|_| End::Refused(close_code::POLICY, "no join within 5 seconds"))?
            {
                Incoming::Message(ClientMessage::Join(join)) => {
                    let request = join.request;
                    match enter(state, join).await {
                        Ok(entered) => return Ok(entered),
                        Err(refusal) => self.refuse(request, refusal).await?,
                    }
                }
                Incoming::Message(ClientMessage::Resume(resume)) => {
                    let request = resume.request;
                    match enter::resume(state, resume).await {
                        Ok(entered) => return Ok(entered),
                        Err(Unresumable::Refused(refusal)) => self.refuse(request, refusal).await?,
                        Err(Unresumable::Over { reason, message }) => {
                            self.write(&ServerMessage::Closed { reason, message }).await?;
                            return Err(End::HungUp);
                        }
                    }
                }
                Incoming::Message(ClientMessage::Ping(ping)) => {
                    self.write(&ServerMessage::Pong { time: ping.time }).await?;
                }
                Incoming::Message(_) => {
                    let refusal = Refusal::new(ErrorCode::NotJoined, "Send join first.");
                    self.refuse(None, refusal).await?;
                }
                Incoming::Refused(DecodeError { request, message }) => {
                    self.refuse(request, Refusal::new(ErrorCode::BadMessage, message)).await?;
                }
                other => self.handle_common(other).await?,
            }
        }
    }

    async fn write_all(&mut self, messages: Vec<Outgoing>) -> Result<(), End> {
        for message in messages {
            self.write_text(message.text()).await?;
        }
        Ok(())
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
                    Some(outgoing) => self.write_text(outgoing.text()).await,
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
        let participant = membership.participant;
        let refuse = |request, refusal| RoomCommand::Refuse { participant, request, refusal };
        let command = match incoming {
            Incoming::Message(ClientMessage::Ping(ping)) => {
                if let Some(event) = ping.event {
                    membership.confirm(event).await;
                }
                return self.write(&ServerMessage::Pong { time: ping.time }).await;
            }
            Incoming::Message(message @ (ClientMessage::Join(_) | ClientMessage::Resume(_))) => {
                let request = message.request();
                let text = "This socket has joined already.";
                let refusal = Refusal::new(ErrorCode::AlreadyJoined, text);
                return self.refuse(request, refusal).await;
            }
            Incoming::Message(ClientMessage::Renew(Renew { request, token })) => {
                match renewed(state, membership, &token) {
                    Ok(grant) => {
                        RoomCommand::Renew { participant, request, grant: Box::new(grant) }
                    }
                    Err(refusal) => refuse(request, refusal),
                }
            }
            Incoming::Message(message) => RoomCommand::Message { from: participant, message },
            Incoming::Refused(DecodeError { request, message }) => {
                refuse(request, Refusal::new(ErrorCode::BadMessage, message))
            }
            other => return self.handle_common(other).await,
        };
        membership.send(command).await;
        Ok(())
    }

    /// What means the same before and after joining.
    async fn handle_common(&mut self, incoming: Incoming) -> Result<(), End> {
        match incoming {
            Incoming::TooLarge => {
                let text = format!("A message may have at most {MAX_MESSAGE_BYTES} bytes.");
                self.refuse(None, Refusal::new(ErrorCode::TooLarge, text)).await?;
                Err(End::Refused(close_code::SIZE, "message too large"))
            }
            Incoming::Closed { clean } => Err(End::Closed { clean }),
            Incoming::Nothing | Incoming::Message(_) | Incoming::Refused(_) => Ok(()),
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

    async fn refuse(&mut self, request: Option<u64>, refusal: Refusal) -> Result<(), End> {
        let Refusal { code, message } = refusal;
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
