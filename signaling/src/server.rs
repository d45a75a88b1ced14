//! Puts the parts together and runs them until told to stop.

use crate::assets::Assets;
use crate::auth::Access;
use crate::config::{Config, Tls};
use crate::http::{AppState, admin as admin_app, app};
use crate::media::{self, Media};
use crate::metrics::Census;
use crate::overload;
use crate::port::{MediaPorts, Port, SocketLimit, Spare};
use crate::room::{Registry, RoomCommand, RoomSettings};
use crate::tls::{self, Loaded};
use crate::trust::Trust;
use crate::webhook::Webhooks;
use crate::whip::Sessions;
use anyhow::Context as _;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How long open connections may take to end after a shutdown.
const CLOSE: Duration = Duration::from_secs(3);
/// How long a client may take to finish a TLS handshake, to ask for something, and to send a request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 100;
/// How often a server that drains looks whether everybody has left.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a server that was told to stop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everybody had left.
    Empty,
    /// So many were sent away at the deadline.
    SentAway(usize),
}

/// Serves on `listener` until `shutdown` is cancelled, and then until everybody has left, or the deadline has come.
///
/// # Errors
/// What the operating system or the certificate files refuse.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<Ending> {
    let address = listener.local_addr()?;
    let tls = config.tls.as_ref().map(|tls| tls::load(tls, &config, address)).transpose()?;
    let (sfu, events) = sfu::Sfu::start(sfu::Config {
        media_port: config.media_port,
        media_ips: config.media_ips.clone(),
        workers: config.workers.unwrap_or_default(),
        spread: config.spread,
    })?;
    let ports = MediaPorts::bind(address, sfu.media_ips());
    let media = Media::new(sfu.clone(), ports.candidates.clone());
    let limit = Arc::new(SocketLimit::new(config.sockets_per_address));
    let port = Port::new(sfu.clone(), limit.clone());
    let settings = RoomSettings { ice_servers: config.ice_servers.clone() };
    let access = Access::new(config.keys.clone());
    let webhooks = Webhooks::start(config.webhook.as_ref())?;
    let revocations = access.revocations.clone();
    let registry = Registry::new(settings, media.clone(), revocations, webhooks.clone());
    tokio::spawn(media::dispatch(events, registry.clone()));
    let _ends_with_us =
        shutdown_guard(overload::watch(media.clone(), registry.clone(), config.max_load));
    let trust = Trust::new(&config);
    let admin = config.admin_listen.map(bind_admin).transpose()?;
    announce(address, tls.as_ref(), admin.as_ref(), &sfu, &ports.candidates);
    let _end_with_us = serve_media(ports.listeners, &port)?;
    let (drain, files) = (config.drain, config.tls.clone());
    let sockets = Census::default();
    let state = Arc::new(AppState {
        config,
        access,
        registry: registry.clone(),
        trust,
        assets: Assets::new(),
        sessions: Sessions::default(),
        media,
        sockets: sockets.clone(),
        limit,
        channels: Arc::default(),
        shutdown: shutdown.clone(),
        webhooks: webhooks.clone(),
    });
    let handle = Handle::new();
    admin.map(|listener| serve_admin(listener, &handle, state.clone())).transpose()?;
    let ending = tokio::spawn(stop(shutdown, registry, handle.clone(), drain));
    let service = app(state).into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        Some(tls) => {
            let _ends_with_us = match files {
                Some(Tls::Files { certificate, key }) => {
                    shutdown_guard(tls::watch(certificate, key, tls.config.clone()))
                }
                _ => shutdown_guard(tls::nothing_to_reload()),
            };
            let acceptor = RustlsAcceptor::new(tls.config).handshake_timeout(HEADER_TIMEOUT);
            http_server(listener, acceptor.acceptor(port), handle)?.serve(service).await?;
        }
        None => {
            let _ends_with_us = shutdown_guard(tls::nothing_to_reload());
            http_server(listener, port, handle)?.serve(service).await?;
        }
    }
    let ending = ending.await?;
    // What happened at the end is told too, as far as that goes quickly: HTTP connections that became WebSockets are not waited for above.
    let waiting = || webhooks.counts().waiting.load(Ordering::Relaxed);
    let _ = timeout(CLOSE, until(|| sockets.get() == 0 && waiting() == 0)).await;
    Ok(ending)
}

async fn until(done: impl Fn() -> bool) {
    let mut look = interval(LOOK_EVERY);
    while !done() {
        look.tick().await;
    }
}

/// Runs something beside the server, until the guard is dropped.
fn shutdown_guard<F>(task: F) -> AbortOnDrop
where
    F: Future<Output: Send> + Send + 'static,
{
    AbortOnDrop(tokio::spawn(task).abort_handle())
}

/// Ends a task.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens where only media comes.
fn serve_media(listeners: Vec<TcpListener>, port: &Port) -> anyhow::Result<Vec<AbortOnDrop>> {
    let serve = |listener: TcpListener| {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(shutdown_guard(port.clone().serve_media(listener)))
    };
    listeners.into_iter().map(serve).collect()
}

fn bind_admin(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} (--admin-listen IP:PORT)"))
}

/// Nobody new is let in, everybody is told, and whoever has not left by the deadline is sent away.
async fn stop(
    shutdown: CancellationToken,
    registry: Arc<Registry>,
    handle: Handle<SocketAddr>,
    drain: Duration,
) -> Ending {
    shutdown.cancelled().await;
    let deadline = Instant::now() + drain;
    let rooms = registry.close();
    tracing::info!(
        people = registry.participants(),
        seconds = drain.as_secs(),
        "told to stop: nobody new is let in"
    );
    for room in &rooms {
        room.send(RoomCommand::Drain { seconds: drain.as_secs() }).await;
    }
    let mut look = interval(LOOK_EVERY);
    while registry.participants() > 0 && Instant::now() < deadline {
        look.tick().await;
    }
    let left = registry.participants();
    for room in rooms {
        room.send(RoomCommand::Shutdown).await;
    }
    handle.graceful_shutdown(Some(CLOSE));
    match left {
        0 => Ending::Empty,
        left => Ending::SentAway(left),
    }
}

/// What the person at the terminal needs to know.
#[allow(clippy::print_stdout, reason = "the start of a command-line program")]
fn announce(
    address: SocketAddr,
    tls: Option<&Loaded>,
    admin: Option<&TcpListener>,
    sfu: &sfu::Handle,
    tcp: &[SocketAddr],
) {
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("Switchyard {} listens on {scheme}://{address}", env!("CARGO_PKG_VERSION"));
    if let Some(fingerprint) = tls.and_then(|tls| tls.fingerprint.as_ref()) {
        println!("Certificate made for this run, SHA-256 {fingerprint}");
    }
    if let Some(address) = admin.and_then(|admin| admin.local_addr().ok()) {
        println!("Metrics and API on http://{address}");
    }
    let workers: Vec<Vec<SocketAddr>> = sfu.workers().map(|w| sfu.candidates(w)).collect();
    let ports: Vec<u16> = workers.iter().filter_map(|w| w.first()).map(SocketAddr::port).collect();
    let mut ips: Vec<String> = workers.iter().flatten().map(|a| a.ip().to_string()).collect();
    ips.sort();
    ips.dedup();
    let udp = port_ranges(&ports);
    println!("Media on UDP {} of {}", udp.join(", "), ips.join(", "));
    let port = address.port();
    let tcp: Vec<String> = tcp.iter().map(|address| address.ip().to_string()).collect();
    if !tcp.is_empty() {
        println!("Where UDP is blocked: media on TCP {port} of {}", tcp.join(", "));
    }
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

/// Whoever connects has to ask for something in time, and cannot ask for too much at once.
fn http_server<A>(
    listener: TcpListener,
    acceptor: A,
    handle: Handle<SocketAddr>,
) -> std::io::Result<Server<SocketAddr, A>> {
    let spare = Spare::of(&listener)?;
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .handle(handle)
        .accept_error_handler(move |_, error| spare.failed(error))
        // Before the first request it is not known which HTTP is spoken, so no other timeout holds.
        .first_request_timeout(HEADER_TIMEOUT);
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    server.http_builder().http2().max_concurrent_streams(STREAMS_MAX);
    Ok(server)
}

/// The HTTP API and the metrics, where only they are asked for.
fn serve_admin(
    listener: TcpListener,
    handle: &Handle<SocketAddr>,
    state: Arc<AppState>,
) -> std::io::Result<()> {
    let service = admin_app(state).into_make_service_with_connect_info::<SocketAddr>();
    let server = http_server(listener, DefaultAcceptor::new(), handle.clone())?;
    tokio::spawn(server.serve(service));
    Ok(())
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
