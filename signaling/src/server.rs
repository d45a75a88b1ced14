//! Puts the parts together and runs them until told to stop.

use crate::assets::Assets;
use crate::config::Config;
use crate::http::{AppState, app};
use crate::media::{self, Media};
use crate::metrics::Census;
use crate::room::{Registry, RoomCommand, RoomSettings};
use crate::tls::{self, Loaded};
use crate::trust::Trust;
use crate::whip::Sessions;
use axum_server::Handle;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long open connections may take to end after a shutdown.
const DRAIN: Duration = Duration::from_secs(3);
/// How long a client may take to send its request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

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
    let (sfu, events) = sfu::Sfu::start(sfu::Config {
        media_port: config.media_port,
        media_ips: config.media_ips.clone(),
        workers: config.workers.unwrap_or_default(),
        spread: config.spread,
    })?;
    let media = Media::new(sfu.clone());
    let settings = RoomSettings { ice_servers: config.ice_servers.clone() };
    let registry = Registry::new(settings, media.clone());
    tokio::spawn(media::dispatch(events, registry.clone()));
    let trust = Trust {
        tokens: !config.keys.is_empty(),
        tls: config.tls.is_some(),
        allowed_origins: config.allowed_origins.clone(),
    };
    announce(address, tls.as_ref(), &sfu);
    let state = AppState {
        config,
        registry: registry.clone(),
        trust,
        assets: Assets::new(),
        sessions: Sessions::default(),
        media,
        sockets: Census::default(),
        shutdown: shutdown.clone(),
    };
    let handle = Handle::new();
    tokio::spawn(stop(shutdown, registry, handle.clone()));
    let service = app(Arc::new(state)).into_make_service_with_connect_info::<SocketAddr>();
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
fn announce(address: SocketAddr, tls: Option<&Loaded>, sfu: &sfu::Handle) {
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("Switchyard {} listens on {scheme}://{address}", env!("CARGO_PKG_VERSION"));
    if let Some(fingerprint) = tls.and_then(|tls| tls.fingerprint.as_ref()) {
        println!("Certificate made for this run, SHA-256 {fingerprint}");
    }
    let workers: Vec<Vec<SocketAddr>> = sfu.workers().map(|w| sfu.candidates(w)).collect();
    let ports: Vec<u16> = workers.iter().filter_map(|w| w.first()).map(SocketAddr::port).collect();
    let mut ips: Vec<String> = workers.iter().flatten().map(|a| a.ip().to_string()).collect();
    ips.sort();
    ips.dedup();
    let udp = port_ranges(&ports);
    println!("Media on UDP {} of {}", udp.join(", "), ips.join(", "));
    let port = address.port();
    let published: String = udp.iter().map(|range| format!(" -p {range}:{range}/udp")).collect();
    println!(
        "In a container: docker run -p {port}:{port}{published} … --listen 0.0.0.0:{port} --media-ip <address of the host>"
    );
}

/// `8080-8083` for neighbours, single numbers for the rest.
fn port_ranges(ports: &[u16]) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    let text = |(first, last)| match first == last {
        true => format!("{first}"),
        false => format!("{first}-{last}"),
    };
    ranges.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::port_ranges;

    #[test]
    fn neighbouring_ports_make_a_range() {
        assert_eq!(port_ranges(&[8080, 8081, 8082]), ["8080-8082"]);
        assert_eq!(port_ranges(&[8080]), ["8080"]);
        assert_eq!(
            port_ranges(&[40_000, 50_000, 50_001, 65_535]),
            ["40000", "50000-50001", "65535"]
        );
    }
}
