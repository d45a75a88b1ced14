//! Bodies that no handler reads to their end.

use crate::protocol::MAX_MESSAGE_BYTES;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{Version, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{Stream, StreamExt as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Who sends more than this, or for longer, has the answer before it has sent all.
const BYTES_MAX: usize = MAX_MESSAGE_BYTES;
const TIME_MAX: Duration = Duration::from_secs(1);

/// Over HTTP/2 an answer to a request that is still being sent is followed by `RST_STREAM` (RFC 9113 section 8.1), and curl 7.88,
/// Debian 12's, then tells of an error of the stream instead of the answer. So what is still coming is thrown away before the answer.
pub(super) async fn read_on(request: Request, next: Next) -> Response {
    // Who waits for a word before it sends the body is to have the answer instead.
    let waits = request.headers().contains_key(header::EXPECT);
    if request.version() != Version::HTTP_2 || request.body().is_end_stream() || waits {
        return next.run(request).await;
    }
    let (left, mut unread) = oneshot::channel();
    let watched = |body: Body| Watched { body: Some(body.into_data_stream()), left: Some(left) };
    let response = next.run(request.map(|body| Body::from_stream(watched(body)))).await;
    if let Ok(body) = unread.try_recv() {
        let _ = timeout(TIME_MAX, discard(body)).await;
    }
    response
}

/// A body that is handed over where it is dropped before its end.
struct Watched {
    body: Option<BodyDataStream>,
    left: Option<oneshot::Sender<BodyDataStream>>,
}

impl Stream for Watched {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(body), Some(left)) = (self.body.take(), self.left.take()) {
            let _ = left.send(body);
        }
    }
}

async fn discard(mut body: BodyDataStream) {
    let mut bytes = 0;
    while bytes <= BYTES_MAX
        && let Some(Ok(data)) = body.next().await
    {
        bytes += data.len();
    }
}
