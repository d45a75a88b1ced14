//! Brings the workers up: addresses, certificate, sockets, threads. Nothing runs unless everything could be had.

use crate::handle::{Handle, Link};
use crate::metrics::Published;
use crate::placement::Spread;
use crate::socket::{UdpSocket, Waiter};
use crate::tcp::{self, Paths, TcpConnections};
use crate::worker::{Load, Worker, WorkerParts};
use crate::{Events, WorkerId, discovery, pipe};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sfu_core::EngineConfig;
use sfu_core::transport::dtls::Certificate;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Workers started when the configuration does not say, at most.
const WORKERS_MAX_DEFAULT: usize = 8;
/// Commands that may wait for one worker.
const COMMANDS_MAX: usize = 8192;
/// Events that may wait for control, of all workers.
const EVENTS_MAX: usize = 8192;
/// Seconds between the epochs of NTP (1900) and Unix (1970).
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// What the media plane needs to know.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// UDP port of the first worker; worker `i` has this plus `i`. 0: any free port each.
    pub media_port: u16,
    /// Addresses for candidates. Empty: those of this machine, containers' bridges left out.
    pub media_ips: Vec<IpAddr>,
    /// Threads. 0: one per available processor, at most 8.
    pub workers: usize,
    /// When a room gets more than one of them.
    pub spread: Spread,
}

/// Why the media plane does not start, or does not take a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine's addresses cannot be listed, or there is no usable one.
    #[error("no usable network address for media ({0}); name one with --media-ip")]
    NoAddress(String),
    /// A worker's port cannot be bound.
    #[error("cannot bind UDP port {port} for media: {source}")]
    Bind {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// Base port plus workers is beyond 65535.
    #[error("{workers} workers do not fit above media port {port}")]
    Ports {
        /// First port.
        port: u16,
        /// Number of workers.
        workers: usize,
    },
    /// The DTLS certificate could not be made.
    #[error("cannot generate the DTLS certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Threads, events or randomness: the system refused.
    #[error("cannot start a media worker: {0}")]
    System(#[from] io::Error),
    /// The worker's command queue is full.
    #[error("the media worker is overloaded")]
    Overloaded,
    /// The worker has stopped, or there never was one of that number.
    #[error("no such media worker")]
    NoWorker,
}

/// The media plane.
#[derive(Debug)]
pub struct Sfu;

impl Sfu {
    /// Starts the workers. They run until [`Handle::shutdown`] or until the last clone of the handle is dropped.
    ///
    /// # Errors
    /// Everything of [`Error`] but `Overloaded` and `NoWorker`.
    pub fn start(config: Config) -> Result<(Handle, Events), Error> {
        let media_ips = match config.media_ips {
            ips if !ips.is_empty() => ips,
            _ => discovery::usable_addresses()
                .map_err(|error| Error::NoAddress(error.to_string()))?,
        };
        if media_ips.is_empty() {
            return Err(Error::NoAddress("none is up".to_owned()));
        }
        let workers = if config.workers == 0 { default_workers() } else { config.workers };
        let sockets = bind(config.media_port, workers)?;
        let certificate = certificate()?;
        let fingerprint = certificate.sha256();
        let (events, receiver) = tokio::sync::mpsc::channel(EVENTS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let epoch = Instant::now();
        let epoch_ntp = ntp_now();
        let waiters: Vec<Waiter> =
            sockets.iter().map(|_| Waiter::new()).collect::<io::Result<_>>()?;
        let pipes = pipe::connect(&waiters.iter().map(Waiter::waker).collect::<Vec<_>>());
        let mut links = Vec::with_capacity(workers);
        let mut threads = Vec::with_capacity(workers);
        let ends = sockets.into_iter().zip(waiters).zip(pipes);
        for (index, ((socket, waiter), pipes)) in ends.enumerate() {
            let seed = OsRng.try_next_u64().map_err(io::Error::other)?;
            let engine = EngineConfig { certificate: certificate.clone(), seed, epoch, epoch_ntp };
            let (commands, queue) = std::sync::mpsc::sync_channel(COMMANDS_MAX);
            let (arrivals, arriving) = std::sync::mpsc::sync_channel(tcp::ARRIVING_MAX);
            let tcp = TcpConnections::new(arriving)?;
            let load = Arc::new(Load::default());
            let published = Arc::new(Published::default());
            links.push(Link {
                commands,
                arrivals,
                waker: waiter.waker(),
                port: socket.port(),
                has_ipv6: socket.has_ipv6(),
                load: load.clone(),
                published: published.clone(),
            });
            threads.push(WorkerParts {
                id: WorkerId(index),
                pinned: workers > 1,
                engine,
                paths: Paths { udp: socket, tcp },
                waiter,
                commands: queue,
                pipes,
                events: events.clone(),
                stop: stop.clone(),
                load,
                published,
            });
        }
        // The handle comes first: when a thread cannot be started, dropping it stops those that were.
        let handle = Handle::new(links, media_ips, fingerprint, config.spread, stop);
        for parts in threads {
            let name = format!("media-{}", parts.id.0);
            let thread =
                std::thread::Builder::new().name(name).spawn(move || Worker::new(parts).run())?;
            handle.adopt(thread);
        }
        Ok((handle, receiver))
    }
}

/// One worker per processor of the affinity mask, at most 8.
fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX_DEFAULT)
}

fn bind(base: u16, workers: usize) -> Result<Vec<UdpSocket>, Error> {
    let bind = |port| UdpSocket::bind(port).map_err(|source| Error::Bind { port, source });
    if base == 0 {
        return (0..workers).map(|_| bind(0)).collect();
    }
    let beyond = usize::from(base) + workers;
    if beyond > usize::from(u16::MAX) + 1 {
        return Err(Error::Ports { port: base, workers });
    }
    (usize::from(base)..beyond).map(|port| bind(port as u16)).collect()
}

/// A fresh self-signed certificate, as browsers make theirs: ECDSA P-256. Peers trust it by the fingerprint in the SDP alone.
fn certificate() -> Result<Certificate, Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "switchyard");
    let certificate = params.self_signed(&key)?;
    Ok(Certificate { der: certificate.der().to_vec(), private_key_pkcs8: key.serialize_der() })
}

/// The wall clock as NTP 32.32 (RFC 5905); it wraps in 2036, as RTCP does.
fn ntp_now() -> u64 {
    let since_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since_unix.as_secs().wrapping_add(NTP_UNIX_OFFSET) & 0xFFFF_FFFF;
    let fraction = (u64::from(since_unix.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::params::{IceCredentials, Security, TransportParams};
    use crate::{Command, Event, RouterId, SrtpKeys, SrtpProfile, TransportId};
    use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
    use rtc_stun::integrity::MessageIntegrity;
    use rtc_stun::message::{BINDING_REQUEST, Message, Setter};
    use std::time::Duration;

    fn config(workers: usize) -> Config {
        let media_ips = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).to_vec();
        Config { media_port: 0, media_ips, workers, ..Config::default() }
    }

    const COMMAND: Command = Command::CloseTransport { transport: TransportId(1) };

    #[test]
    fn workers_start_and_stop() {
        let (handle, mut events) = Sfu::start(config(2)).unwrap();
        let workers: Vec<WorkerId> = handle.workers().collect();
        assert_eq!(workers, [WorkerId(0), WorkerId(1)]);
        let [first, second] = [0, 1].map(|index| handle.candidates(WorkerId(index)));
        assert_eq!(first.len(), 2);
        assert_eq!(first[0].port(), first[1].port());
        assert_ne!(first[0].port(), second[0].port());
        handle.send(WorkerId(1), COMMAND).unwrap();
        assert!(matches!(handle.send(WorkerId(2), COMMAND), Err(Error::NoWorker)));
        handle.shutdown();
        assert!(events.blocking_recv().is_none(), "the threads are gone");
        assert!(matches!(handle.send(WorkerId(0), COMMAND), Err(Error::NoWorker)));
    }

    /// A check that nominates, as `rtc-stun` writes it.
    fn check(username: &str, password: &str) -> Vec<u8> {
        let provider = rtc_stun::crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.write_header();
        message.add(ATTR_USERNAME, username.as_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        let password = password.to_owned();
        MessageIntegrity::new_short_term_integrity_with_provider(password, provider.crypto())
            .add_to(&mut message)
            .unwrap();
        message.raw
    }

    #[test]
    fn a_check_goes_through_socket_engine_and_events() {
        let (handle, mut events) = Sfu::start(config(2)).unwrap();
        let worker = handle.place_room();
        let credentials = |name: &str| IceCredentials {
            ufrag: name.to_owned(),
            password: "0123456789abcdef01234567".to_owned(),
        };
        let keys = SrtpKeys {
            profile: SrtpProfile::AeadAes128Gcm,
            local_key: vec![1; 16],
            local_salt: vec![2; 12],
            remote_key: vec![3; 16],
            remote_salt: vec![4; 12],
        };
        let transport = TransportId(1);
        let params = TransportParams {
            local_ice: credentials("ours"),
            remote_ice: credentials("theirs"),
            security: Security::Keys(Box::new(keys)),
            sctp: None,
        };
        let router = RouterId(2);
        let params = Box::new(params);
        handle.send(worker, Command::CreateTransport { transport, router, params }).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let candidate = handle.candidates(worker)[0];
        let check = check("ours:theirs", "0123456789abcdef01234567");
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut buffer = [0; 200];
        // A check that overtakes the command finds nobody: ask again, as ICE does.
        let len = loop {
            peer.send_to(&check, candidate).unwrap();
            match peer.recv_from(&mut buffer) {
                Ok((len, from)) if from == candidate => break len,
                _ => assert!(Instant::now() < deadline, "no answer"),
            }
        };
        assert!(len > 20 && buffer[..2] == [1, 1], "a success response");
        let event = events.blocking_recv().unwrap();
        assert!(
            matches!(event, (from, Event::TransportConnected { transport: id, .. }) if from == worker && id == transport)
        );
    }

    #[test]
    fn dropping_the_last_handle_stops_the_workers() {
        let (handle, mut events) = Sfu::start(config(1)).unwrap();
        let clone = handle.clone();
        drop(handle);
        clone.send(WorkerId(0), COMMAND).unwrap();
        drop(clone);
        assert!(events.blocking_recv().is_none());
    }

    #[test]
    fn ports_are_counted_from_the_base() {
        let (handle, _events) = Sfu::start(config(1)).unwrap();
        let taken = handle.candidates(WorkerId(0))[0].port();
        let error = Sfu::start(Config { media_port: taken, ..config(1) }).unwrap_err();
        assert!(matches!(error, Error::Bind { port, .. } if port == taken));
        let error = Sfu::start(Config { media_port: 65_535, ..config(2) }).unwrap_err();
        assert!(matches!(error, Error::Ports { port: 65_535, workers: 2 }));
    }

    #[test]
    fn the_ntp_clock_runs_from_1900() {
        let seconds = (ntp_now() >> 32) as u32;
        // RFC 5905 figure 4: 1 January 2000 is 3 155 673 600.
        assert!(seconds.wrapping_sub(3_155_673_600) < 40 * 366 * 86_400);
    }

    #[test]
    fn every_start_has_its_own_certificate() {
        let (a, b) = (certificate().unwrap(), certificate().unwrap());
        assert_ne!(a.der, b.der);
        assert_ne!(a.private_key_pkcs8, b.private_key_pkcs8);
    }
}
