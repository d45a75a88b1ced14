//! Puts the parts together and runs them until told to stop.

use crate::assets::Assets;
use crate::config::{Config, Tls};
use crate::http::{AppState, app};
use crate::room::{Registry, RoomCommand, RoomSettings};
use crate::tls;
use crate::trust::Trust;
use axum_server::Handle;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long open connections may take to end after a shutdown.
const DRAIN: Duration = Duration::from_secs(3);
/// How long a client may take to send its request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves on `listener` until `shutdown` is cancelled.
///
/// # Errors
/// What the operating system or the certificate files refuse.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let tls = match &config.tls {
        Some(tls) => Some(tls::load(tls, &config, address)?),
        None => None,
    };
    let registry = Registry::new(RoomSettings::default());
    let trust = Trust {
        tokens: !config.keys.is_empty(),
        tls: config.tls.is_some(),
        allowed_origins: config.allowed_origins.clone(),
    };
    announce(address, &config.tls, tls.as_ref().and_then(|tls| tls.fingerprint.as_deref()));
    let state = AppState {
        config,
        registry: registry.clone(),
        trust,
        assets: Assets::new(),
        shutdown: shutdown.clone(),
    };
    let handle = Handle::new();
    tokio::spawn(stop(shutdown, registry, handle.clone()));
    let service = app(Arc::new(state)).into_make_service();
    match tls {
        Some(tls) => {
            let mut server = axum_server::from_tcp_rustls(listener, tls.config)?.handle(handle);
            server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
            server.serve(service).await?;
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle);
            server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
            server.serve(service).await?;
        }
    }
    Ok(())
}

async fn stop(shutdown: CancellationToken, registry: Arc<Registry>, handle: Handle<SocketAddr>) {
    shutdown.cancelled().await;
    for room in registry.close() {
        room.send(RoomCommand::Shutdown).await;
    }
    handle.graceful_shutdown(Some(DRAIN));
}

/// What the person at the terminal needs to know.
#[allow(clippy::print_stdout, reason = "the start of a command-line program")]
fn announce(address: SocketAddr, tls: &Option<Tls>, fingerprint: Option<&str>) {
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("Switchyard {} listens on {scheme}://{address}", env!("CARGO_PKG_VERSION"));
    if let Some(fingerprint) = fingerprint {
        println!("Certificate made for this run, SHA-256 {fingerprint}");
    }
}
