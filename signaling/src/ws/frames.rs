//! The frames of one WebSocket: size and rate caps, heartbeats, the meaning of its end. Knows no protocol.

use super::rate::TokenBucket;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

/// A socket from which nothing came for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pings of ours: a background tab may delay its own to once a minute, but its browser still answers these.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long one message may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for the other side's close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a read brought.
pub(crate) enum Frame {
    Text(Utf8Bytes),
    Binary,
    Heartbeat,
    TooLarge,
    Closed { clean: bool },
}

/// The socket cannot be written to any more.
pub(crate) struct Gone;

/// What a peer may send.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Largest message.
    pub(crate) message_bytes: usize,
    /// A message counts once in the rate for each such part of it that it began.
    pub(crate) counted_bytes: usize,
}

pub(crate) struct Frames {
    socket: WebSocket,
    limits: Limits,
    bucket: TokenBucket,
    heard: Instant,
}

impl Frames {
    pub(crate) fn new(socket: WebSocket, limits: Limits) -> Self {
        let now = Instant::now();
        Self { socket, limits, bucket: TokenBucket::new(now), heard: now }
    }

    /// When to send pings.
    pub(crate) fn pings() -> Interval {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    }

    /// Waits for the next frame, or for the end of the socket's patience. May be dropped at any time without loss.
    pub(crate) async fn read(&mut self) -> Frame {
        tokio::time::sleep_until(self.bucket.ready_at()).await;
        let message = tokio::time::timeout_at(self.heard + IDLE_TIMEOUT, self.socket.recv()).await;
        let Ok(message) = message else { return Frame::Closed { clean: false } };
        self.heard = Instant::now();
        let frame = self.understand(message);
        let bytes = if let Frame::Text(text) = &frame { text.len() } else { 0 };
        let count = bytes.div_ceil(self.limits.counted_bytes).max(1);
        self.bucket.take(self.heard, u32::try_from(count).unwrap_or(u32::MAX));
        frame
    }

    fn understand(&self, message: Option<Result<Message, axum::Error>>) -> Frame {
        match message {
            Some(Ok(Message::Text(text))) if text.len() > self.limits.message_bytes => {
                Frame::TooLarge
            }
            Some(Ok(Message::Text(text))) => Frame::Text(text),
            Some(Ok(Message::Binary(_))) => Frame::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Frame::Heartbeat,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| frame.code);
                let clean = matches!(code, Some(close_code::NORMAL | close_code::AWAY));
                Frame::Closed { clean }
            }
            Some(Err(error)) => match error.into_inner().downcast_ref() {
                Some(tungstenite::Error::Capacity(_)) => Frame::TooLarge,
                _ => Frame::Closed { clean: false },
            },
            None => Frame::Closed { clean: false },
        }
    }

    pub(crate) async fn write(&mut self, text: Utf8Bytes) -> Result<(), Gone> {
        self.write_frame(Message::Text(text), WRITE_TIMEOUT).await
    }

    /// The last message to a peer that may not be reading.
    pub(crate) async fn write_last(&mut self, text: Utf8Bytes) {
        let _ = self.write_frame(Message::Text(text), CLOSE_TIMEOUT).await;
    }

    pub(crate) async fn ping(&mut self) -> Result<(), Gone> {
        self.write_frame(Message::Ping(Default::default()), WRITE_TIMEOUT).await
    }

    async fn write_frame(&mut self, message: Message, patience: Duration) -> Result<(), Gone> {
        match timeout(patience, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self, code: u16, reason: &'static str) {
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
