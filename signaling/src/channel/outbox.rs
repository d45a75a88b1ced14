//! What waits for one WebSocket, bounded in bytes.

use super::{Deliver, Delivery, Parcel};
use axum::extract::ws::Utf8Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages that may wait.
const MESSAGES_MAX: usize = 4096;
/// Bytes that may wait.
const BYTES_MAX: usize = 1024 * 1024;

/// The relay's end.
#[derive(Debug)]
pub(super) struct Outbox {
    messages: mpsc::Sender<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    overflow: CancellationToken,
}

/// The socket's end.
#[derive(Debug)]
pub(super) struct OutboxReader {
    messages: mpsc::Receiver<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    /// Cancelled when a message had no room: from then on there would be a gap, so the socket must be closed.
    pub(super) overflow: CancellationToken,
}

/// Both ends.
pub(super) fn outbox() -> (Outbox, OutboxReader) {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let (waiting, overflow) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let reader =
        OutboxReader { messages: receiver, waiting: waiting.clone(), overflow: overflow.clone() };
    (Outbox { messages: sender, waiting, overflow }, reader)
}

impl Deliver for Outbox {
    fn deliver(&self, _: &str, parcel: &Parcel) -> Delivery {
        // Pages on a plain WebSocket see a closed connection of the others, and know no other message.
        let Some(text) = &parcel.message else { return Delivery::Skipped };
        if self.overflow.is_cancelled() {
            return Delivery::Skipped;
        }
        let waiting = self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        if waiting + text.len() > BYTES_MAX || self.messages.try_send(text.clone()).is_err() {
            self.overflow.cancel();
            return Delivery::Slow;
        }
        Delivery::Taken
    }
}

impl OutboxReader {
    /// The next message. May be dropped at any time without loss.
    pub(super) async fn next(&mut self) -> Option<Utf8Bytes> {
        let text = self.messages.recv().await?;
        self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }
}
