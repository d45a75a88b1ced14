//! The server under test, in this process, on free ports of loopback.

use std::net::TcpListener;
use std::time::Duration;

use signaling::config::{Config, Spread};
use tokio_util::sync::CancellationToken;

/// Runs until dropped.
pub(crate) struct TestServer {
    /// `127.0.0.1:PORT` of HTTP.
    pub(crate) address: String,
    shutdown: CancellationToken,
}

impl TestServer {
    /// One worker, and candidates on loopback, where the bots are.
    pub(crate) async fn start() -> Self {
        Self::start_with(1).await
    }

    /// With more than one worker, participants of a room take turns on them.
    pub(crate) async fn start_with(workers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let config = Config {
            listen,
            media_ips: vec![listen.ip()],
            media_port: 0,
            workers: Some(workers),
            spread: Spread::Always,
            ..Config::default()
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(signaling::run(config, listener, shutdown.clone()));
        let server = Self { address: listen.to_string(), shutdown };
        tokio::time::timeout(Duration::from_secs(10), server.answers())
            .await
            .expect("the server answers");
        server
    }

    async fn answers(&self) {
        while tokio::net::TcpStream::connect(&self.address).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
