//! The TCP port, on which everything comes: HTTP, TLS, and media of peers that UDP does not reach (ICE-TCP: RFC 6544, framed as in RFC 4571).
//!
//! The first byte tells them apart: HTTP begins with a letter, TLS with 0x16, a frame with the upper half of its length, which is small. A
//! connection for media is handed to the worker that its first check names; it gets no byte before that worker has verified the check.

mod limit;
mod spare;

pub(crate) use limit::{Permit, SocketLimit};
pub(crate) use spare::Spare;

use crate::negotiation::worker_of;
use axum_server::accept::Accept;
use futures_util::future::BoxFuture;
use sfu::framing::{FRAME_MAX, HEADER};
use sfu::{Handle, ufrag_of};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// How long a connection may take to say what it is, and one for media to say all of its first frame.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// After a failed accept, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// No frame of media is longer.
const FRAME_FIRST_BYTE_MAX: u8 = (FRAME_MAX >> 8) as u8;

/// Takes connections: what is for media goes to the workers, the rest goes on.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    sfu: Handle,
    limit: Arc<SocketLimit>,
}

impl Port {
    pub(crate) fn new(sfu: Handle, limit: Arc<SocketLimit>) -> Self {
        Self { sfu, limit }
    }

    /// Accepts connections for media only, until it is dropped.
    pub(crate) async fn serve_media(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let port = self.clone();
            tokio::spawn(async move {
                if let Ok((stream, permit, true)) = port.sort(stream).await {
                    let _ = port.hand_over(stream, permit).await;
                }
            });
        }
    }

    /// Finds out whether a connection is for media.
    async fn sort(&self, stream: TcpStream) -> io::Result<(TcpStream, Permit, bool)> {
        // What is small must not wait until what was sent before is acknowledged, which takes up to 40 ms.
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?.ip();
        let permit = self.limit.enter(peer).ok_or(io::ErrorKind::QuotaExceeded)?;
        let mut first = [0];
        let count = timeout(FIRST_WORD, stream.peek(&mut first)).await??;
        let media = count > 0 && first[0] <= FRAME_FIRST_BYTE_MAX;
        Ok((stream, permit, media))
    }

    /// Gives a connection to the worker that its first frame names.
    async fn hand_over(&self, mut stream: TcpStream, permit: Permit) -> io::Result<()> {
        let first = timeout(FIRST_WORD, first_frame(&mut stream)).await??;
        let worker = ufrag_of(&first[HEADER..]).and_then(|(ours, _)| worker_of(ours));
        let worker = worker.ok_or(io::ErrorKind::InvalidData)?;
        let stream = stream.into_std()?;
        self.sfu.connect(worker, stream, first, Box::new(permit)).map_err(io::Error::other)
    }
}

/// The first frame, length included.
async fn first_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; HEADER];
    stream.read_exact(&mut length).await?;
    let len = usize::from(u16::from_be_bytes(length));
    if len > FRAME_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; HEADER + len];
    frame[..HEADER].copy_from_slice(&length);
    stream.read_exact(&mut frame[HEADER..]).await?;
    Ok(frame)
}

impl<S: Send + 'static> Accept<TcpStream, S> for Port {
    type Stream = Counted;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let port = self.clone();
        Box::pin(async move {
            match port.sort(stream).await? {
                (stream, permit, false) => Ok((Counted { stream, _permit: permit }, service)),
                (stream, permit, true) => {
                    port.hand_over(stream, permit).await?;
                    // To the HTTP server the connection is over.
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
            }
        })
    }
}

/// A connection that counts as long as it is open.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    _permit: Permit,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Where peers may connect for media: the addresses for candidates, and what has to listen besides the HTTP server.
#[derive(Debug, Default)]
pub(crate) struct MediaPorts {
    pub(crate) candidates: Vec<SocketAddr>,
    pub(crate) listeners: Vec<std::net::TcpListener>,
}

impl MediaPorts {
    /// `http` is where the HTTP server listens. It takes media too; a media address that it does not reach gets a listener of its own, of the same
    /// port.
    pub(crate) fn bind(http: SocketAddr, media_ips: &[IpAddr]) -> Self {
        let mut ports = Self::default();
        for &ip in media_ips {
            let candidate = SocketAddr::new(ip, http.port());
            if !reaches(http.ip(), ip) {
                match std::net::TcpListener::bind(candidate) {
                    Ok(listener) => ports.listeners.push(listener),
                    // The address of a NAT in front of us, which sends on what comes there.
                    Err(error)
                        if error.kind() == io::ErrorKind::AddrNotAvailable
                            && !http.ip().is_loopback() => {}
                    Err(error) => {
                        tracing::warn!("no media over TCP on {candidate}: {error}");
                        continue;
                    }
                }
            }
            ports.candidates.push(candidate);
        }
        ports
    }
}

/// Whether what listens on one address takes what is sent to another.
fn reaches(listening: IpAddr, address: IpAddr) -> bool {
    match listening {
        IpAddr::V4(v4) if v4.is_unspecified() => address.is_ipv4(),
        // Both families, as long as the system does not say otherwise.
        IpAddr::V6(v6) if v6.is_unspecified() => true,
        listening => listening == address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn media_listens_where_http_does_not() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = http.local_addr().unwrap();
        // The second is another address of this machine, the third is none of it.
        let ports = MediaPorts::bind(address, &["127.0.0.1", "127.0.0.2", "192.0.2.1"].map(ip));
        let found: Vec<String> = ports.candidates.iter().map(|it| it.ip().to_string()).collect();
        assert_eq!(found, ["127.0.0.1", "127.0.0.2"]);
        let listening = ports.listeners.iter().map(|it| it.local_addr().unwrap());
        assert_eq!(
            listening.collect::<Vec<_>>(),
            [SocketAddr::new(ip("127.0.0.2"), address.port())]
        );
        assert!(
            reaches(ip("0.0.0.0"), ip("192.0.2.1")) && !reaches(ip("0.0.0.0"), ip("2001:db8::1"))
        );
        assert!(reaches(ip("::"), ip("192.0.2.1")) && !reaches(ip("127.0.0.1"), ip("192.0.2.1")));
    }

    #[test]
    fn what_begins_http_or_tls_begins_no_frame() {
        for first in (b'A'..=b'Z').chain([0x16]) {
            assert!(first > FRAME_FIRST_BYTE_MAX);
        }
        assert_eq!(FRAME_FIRST_BYTE_MAX, 5);
    }
}
