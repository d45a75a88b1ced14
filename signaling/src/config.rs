//! Configuration: flags, `SWITCHYARD_…` variables and a TOML file become one checked [`Config`].
//!
//! A flag wins over a variable, a variable over the file, the file over the default. Every refusal says what to do instead.

mod check;
mod file;
mod show;
#[cfg(test)]
mod tests;

pub use show::show;

use crate::auth::{KeyError, Keys, Secret};
use crate::ice::ConfiguredIceServer;
use check::{check_ice_server, check_keys, check_origin, check_tls, check_webhook, check_workers};
use file::FileConfig;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use sfu::Spread;

/// Where HTTP listens unless told otherwise. Media takes the same port number on UDP.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How long a server that was told to stop waits for people to leave.
const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
/// How busy media threads may be, in percent, before newcomers are refused.
const DEFAULT_MAX_LOAD: u32 = 90;
/// A company behind one address, with two sockets each.
const DEFAULT_SOCKETS_PER_ADDRESS: usize = 512;

/// Flags of `switchyard serve`; each is also a variable.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RawConfig {
    /// Address of HTTP, the WebSocket and the demo [default: 127.0.0.1:8080]
    #[arg(long, env = "SWITCHYARD_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address that media candidates advertise instead of the discovered ones; may be repeated (IPv4, IPv6)
    #[arg(long, env = "SWITCHYARD_MEDIA_IP", value_name = "IP", value_delimiter = ',')]
    pub media_ip: Vec<IpAddr>,
    /// First UDP port of media; worker n takes this port + n [default: the port of --listen]
    #[arg(long, env = "SWITCHYARD_MEDIA_PORT", value_name = "PORT")]
    pub media_port: Option<u16>,
    /// Media threads [default: usable cores, at most 8]
    #[arg(long, env = "SWITCHYARD_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// When a room uses more than one media thread: auto (when one has enough to do), always (tests and benchmarks)
    #[arg(long, env = "SWITCHYARD_SPREAD", value_name = "WHEN", hide = true, value_parser = parse_spread)]
    pub spread: Option<Spread>,
    /// TOML file: the same names with underscores, and [keys] id = "secret"
    #[arg(long, env = "SWITCHYARD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// HTTPS with a certificate made at start; browsers ask once whether to trust it
    #[arg(long, env = "SWITCHYARD_TLS", value_name = "KIND", conflicts_with_all = ["tls_cert", "tls_key"])]
    pub tls: Option<TlsKind>,
    /// HTTPS with this PEM certificate chain
    #[arg(long, env = "SWITCHYARD_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert, PEM
    #[arg(long, env = "SWITCHYARD_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Page origin that may use this server besides its own, such as https://example.org; may be repeated
    #[arg(long, env = "SWITCHYARD_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<String>,
    /// Serve /metrics and /api on this address instead of --listen; metrics to everybody who reaches it
    #[arg(long, env = "SWITCHYARD_ADMIN_LISTEN", value_name = "IP:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// Refuse newcomers while every media thread is this busy, in percent; 100: never [default: 90]
    #[arg(long, env = "SWITCHYARD_MAX_LOAD", value_name = "PERCENT")]
    pub max_load: Option<u32>,
    /// Open sockets of one address (a /64 of IPv6), HTTP and media together; this machine has no limit [default: 512]
    #[arg(long, env = "SWITCHYARD_SOCKETS_PER_ADDRESS", value_name = "N")]
    pub sockets_per_address: Option<usize>,
    /// How long to wait, when told to stop, for people to leave by themselves, in seconds [default: 10]
    #[arg(long, env = "SWITCHYARD_DRAIN", value_name = "SECONDS")]
    pub drain: Option<u64>,
}

/// How to get a certificate without files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsKind {
    /// Made at start, never stored.
    SelfSigned,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Made at start.
    SelfSigned,
    /// PEM files.
    Files {
        /// Chain.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// Checked configuration of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// HTTP address.
    pub listen: SocketAddr,
    /// What candidates advertise; empty: the machine's usable addresses.
    pub media_ips: Vec<IpAddr>,
    /// First UDP port; 0: any free ports.
    pub media_port: u16,
    /// Media threads; `None`: usable cores, at most 8.
    pub workers: Option<usize>,
    /// When a room uses more than one of them.
    pub spread: Spread,
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Join token keys; none: no token needed, loopback only.
    pub keys: Keys,
    /// Page origins besides our own, lower case, without a trailing slash.
    pub allowed_origins: Vec<String>,
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<ConfiguredIceServer>,
    /// Where metrics and the HTTP API are served instead of `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Newcomers are refused while every media thread is this busy, in percent.
    pub max_load: u32,
    /// Open sockets of one address that is not this machine.
    pub sockets_per_address: usize,
    /// How long to wait for people to leave when told to stop.
    pub drain: Duration,
    /// Whom to tell what happens in rooms.
    pub webhook: Option<Webhook>,
}

/// Whom to tell what happens in rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `https://` or `http://`.
    pub urls: Vec<String>,
    /// Id of the key that signs.
    pub key: String,
    /// Its secret.
    pub secret: Secret,
    /// Targets may be in private networks.
    pub allow_private: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            media_ips: Vec::new(),
            media_port: DEFAULT_LISTEN.port(),
            workers: None,
            spread: Spread::default(),
            tls: None,
            keys: Keys::default(),
            allowed_origins: Vec::new(),
            ice_servers: Vec::new(),
            admin_listen: None,
            max_load: DEFAULT_MAX_LOAD,
            sockets_per_address: DEFAULT_SOCKETS_PER_ADDRESS,
            drain: DEFAULT_DRAIN,
            webhook: None,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {message}")]
    File { path: PathBuf, line: usize, message: String },
    #[error(
        "--listen {0} is reachable from other machines, and without join tokens anybody could join any room.\n\
         Put a key into a file (openssl rand -base64 32 makes a secret):\n    [keys]\n    mykey = \"…\"\n\
         and start with --config FILE; `switchyard token` then makes tokens. Or listen on 127.0.0.1."
    )]
    OpenWithoutKeys(SocketAddr),
    #[error("key {0:?} is {1}")]
    Key(String, KeyError),
    #[error("--workers must be 1 to 64, not {0}")]
    Workers(usize),
    #[error("--media-port {0} leaves no room for {1} workers below 65536")]
    MediaPort(u16, usize),
    #[error(
        "--media-ip {0} is no address that a candidate can advertise; name the machine's own address"
    )]
    MediaIp(IpAddr),
    #[error("tls_cert and tls_key belong together, and exclude tls")]
    Tls,
    #[error(
        "--allow-origin {0:?} is no origin; write scheme://host[:port], such as https://example.org"
    )]
    Origin(String),
    #[error(
        "ice_servers: {0:?} is no address of a STUN or TURN server; write stun:host:port or turn:host:port?transport=udp"
    )]
    IceServer(String),
    #[error(
        "ice_servers: {0:?} is a TURN server and needs either username and credential, without quotes or control characters, \
         or the secret that it shares with this server"
    )]
    TurnCredentials(String),
    #[error("--admin-listen {0} is the address of --listen; choose another port, or leave it away")]
    AdminListen(SocketAddr),
    #[error("--max-load must be 1 to 100, not {0}")]
    MaxLoad(u32),
    #[error("--sockets-per-address must be at least 1")]
    SocketsPerAddress,
    #[error("--drain {0} is too long; at most 86400 seconds")]
    Drain(u64),
    #[error("webhook: {0:?} is no address; write https://host/path")]
    WebhookUrl(String),
    #[error(
        "webhook: {0:?} is in a private network; set allow_private = true in [webhook] if that is meant"
    )]
    WebhookPrivate(String),
    #[error(
        "webhook: key = {0:?} has to name a key of [keys] that is a secret; it signs what is sent"
    )]
    WebhookKey(String),
    #[error("webhook: at most 8 urls")]
    WebhookCount,
}

impl Config {
    /// Merges flags and variables with the file that they name, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`]; its text is meant for the person at the terminal.
    pub fn resolve(raw: RawConfig) -> Result<Self, ConfigError> {
        let file = raw.config.clone().map(file::read).transpose()?.unwrap_or_default();
        Self::merge(raw, file)
    }

    fn merge(raw: RawConfig, file: FileConfig) -> Result<Self, ConfigError> {
        let listen = raw.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN);
        let workers = raw.workers.or(file.workers);
        let media_port = raw.media_port.or(file.media_port).unwrap_or(listen.port());
        let keys = check_keys(file.keys)?;
        if keys.is_empty() && !listen.ip().to_canonical().is_loopback() {
            return Err(ConfigError::OpenWithoutKeys(listen));
        }
        check_workers(media_port, workers)?;
        let media_ips = first_filled(raw.media_ip, file.media_ip);
        if let Some(ip) = media_ips.iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
            return Err(ConfigError::MediaIp(*ip));
        }
        let tls = if raw.tls.is_some() || raw.tls_cert.is_some() {
            check_tls(raw.tls, raw.tls_cert, raw.tls_key)?
        } else {
            check_tls(file.tls, file.tls_cert, file.tls_key)?
        };
        let allowed_origins = first_filled(raw.allow_origin, file.allow_origin)
            .into_iter()
            .map(check_origin)
            .collect::<Result<_, _>>()?;
        let spread = raw.spread.unwrap_or_default();
        let ice_servers =
            file.ice_servers.into_iter().map(check_ice_server).collect::<Result<_, _>>()?;
        let admin_listen = raw.admin_listen.or(file.admin_listen);
        if let Some(address) = admin_listen.filter(|admin| *admin == listen && admin.port() != 0) {
            return Err(ConfigError::AdminListen(address));
        }
        let max_load = raw.max_load.or(file.max_load).unwrap_or(DEFAULT_MAX_LOAD);
        if !(1..=100).contains(&max_load) {
            return Err(ConfigError::MaxLoad(max_load));
        }
        let sockets_per_address = raw
            .sockets_per_address
            .or(file.sockets_per_address)
            .unwrap_or(DEFAULT_SOCKETS_PER_ADDRESS);
        if sockets_per_address == 0 {
            return Err(ConfigError::SocketsPerAddress);
        }
        let drain = match raw.drain.or(file.drain) {
            Some(seconds) if seconds > 86_400 => return Err(ConfigError::Drain(seconds)),
            Some(seconds) => Duration::from_secs(seconds),
            None => DEFAULT_DRAIN,
        };
        let webhook = file.webhook.map(|webhook| check_webhook(webhook, &keys)).transpose()?;
        Ok(Self {
            listen,
            media_ips,
            media_port,
            workers,
            spread,
            tls,
            keys,
            allowed_origins,
            ice_servers,
            admin_listen,
            max_load,
            sockets_per_address,
            drain,
            webhook,
        })
    }
}

fn parse_spread(text: &str) -> Result<Spread, String> {
    match text {
        "auto" => Ok(Spread::Auto),
        "always" => Ok(Spread::Always),
        _ => Err("expected auto or always".to_owned()),
    }
}

fn first_filled<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    if first.is_empty() { second } else { first }
}
