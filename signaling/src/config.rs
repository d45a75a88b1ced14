//! Configuration: flags, `SWITCHYARD_…` variables and a TOML file become one checked [`Config`].
//!
//! A flag wins over a variable, a variable over the file, the file over the default. Every refusal says what to do instead.

use crate::auth::{Keys, Secret};
use crate::ice::ConfiguredIceServer;
use crate::protocol::IceServer;
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use sfu::Spread;

/// Where HTTP listens unless told otherwise. Media takes the same port number on UDP.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Shortest join token secret in bytes: RFC 7518 section 3.2 asks for the size of the hash.
const MIN_SECRET_BYTES: usize = 32;

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
}

/// How to get a certificate without files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsKind {
    /// Made at start, never stored.
    SelfSigned,
}

/// The file's names are the flags' names with underscores.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileConfig {
    listen: Option<SocketAddr>,
    media_ip: Vec<IpAddr>,
    media_port: Option<u16>,
    workers: Option<usize>,
    tls: Option<TlsKind>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    allow_origin: Vec<String>,
    ice_servers: Vec<FileIceServer>,
    keys: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileIceServer {
    urls: Vec<String>,
    username: Option<String>,
    credential: Option<String>,
    secret: Option<String>,
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
    #[error("{path}: {source}")]
    File { path: PathBuf, source: Box<figment::Error> },
    #[error(
        "--listen {0} is reachable from other machines, and without join tokens anybody could join any room.\n\
         Put a key into a file (openssl rand -base64 32 makes a secret):\n    [keys]\n    mykey = \"…\"\n\
         and start with --config FILE; `switchyard token` then makes tokens. Or listen on 127.0.0.1."
    )]
    OpenWithoutKeys(SocketAddr),
    #[error(
        "the secret of key {0:?} has {1} bytes; at least 32 are needed (openssl rand -base64 32)"
    )]
    ShortSecret(String, usize),
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
}

impl Config {
    /// Merges flags and variables with the file that they name, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`]; its text is meant for the person at the terminal.
    pub fn resolve(raw: RawConfig) -> Result<Self, ConfigError> {
        let file = raw.config.clone().map(read_file).transpose()?.unwrap_or_default();
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

fn read_file(path: PathBuf) -> Result<FileConfig, ConfigError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_file(&text).map_err(|source| ConfigError::File { path, source }),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
    }
}

fn parse_file(text: &str) -> Result<FileConfig, Box<figment::Error>> {
    Figment::from(Toml::string(text)).extract().map_err(Box::new)
}

fn check_keys(keys: BTreeMap<String, String>) -> Result<Keys, ConfigError> {
    if let Some((id, secret)) = keys.iter().find(|(_, secret)| secret.len() < MIN_SECRET_BYTES) {
        return Err(ConfigError::ShortSecret(id.clone(), secret.len()));
    }
    Ok(Keys::new(keys.into_iter().map(|(id, secret)| (id, Secret::new(secret)))))
}

fn check_workers(media_port: u16, workers: Option<usize>) -> Result<(), ConfigError> {
    let Some(count) = workers else { return Ok(()) };
    if !(1..=64).contains(&count) {
        return Err(ConfigError::Workers(count));
    }
    if usize::from(media_port) + count > 1 + usize::from(u16::MAX) {
        return Err(ConfigError::MediaPort(media_port, count));
    }
    Ok(())
}

fn check_tls(
    kind: Option<TlsKind>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<Tls>, ConfigError> {
    match (kind, certificate, key) {
        (None, None, None) => Ok(None),
        (Some(TlsKind::SelfSigned), None, None) => Ok(Some(Tls::SelfSigned)),
        (None, Some(certificate), Some(key)) => Ok(Some(Tls::Files { certificate, key })),
        _ => Err(ConfigError::Tls),
    }
}

/// Both go into a `Link` header as well (RFC 9725 section 4.6), so neither may end its quotes.
fn check_ice_server(file: FileIceServer) -> Result<ConfiguredIceServer, ConfigError> {
    let FileIceServer { urls, username, credential, secret } = file;
    let server = IceServer { urls, username, credential };
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\<>".contains(&b))
    };
    for url in &server.urls {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme);
        if !plain(url) || !matches!(scheme, Some("stun" | "stuns" | "turn" | "turns")) {
            return Err(ConfigError::IceServer(url.clone()));
        }
        let word = |text: &Option<String>| text.as_deref().is_some_and(plain);
        let fixed = word(&server.username) && word(&server.credential);
        let made = server.username.is_none() && server.credential.is_none() && word(&secret);
        if matches!(scheme, Some("turn" | "turns")) && !(fixed && secret.is_none() || made) {
            return Err(ConfigError::TurnCredentials(url.clone()));
        }
    }
    match server.urls.is_empty() {
        true => Err(ConfigError::IceServer(String::new())),
        false => Ok(ConfiguredIceServer { server, secret: secret.map(Secret::new) }),
    }
}

fn check_origin(origin: String) -> Result<String, ConfigError> {
    let lower = origin.trim_end_matches('/').to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let valid = |host: &str| !host.is_empty() && !host.contains(['/', '*', '@', ' ', '?', '#']);
    if host.is_some_and(valid) { Ok(lower) } else { Err(ConfigError::Origin(origin)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn resolve(raw: RawConfig, file: &str) -> Result<Config, ConfigError> {
        let path = std::env::temp_dir().join(format!(
            "switchyard-config-{}-{}.toml",
            std::process::id(),
            rand::random::<u64>()
        ));
        std::fs::write(&path, file).unwrap();
        let result = Config::resolve(RawConfig { config: Some(path.clone()), ..raw });
        std::fs::remove_file(path).unwrap();
        result
    }

    const KEY: &str = "[keys]\na = \"0123456789abcdef0123456789abcdef\"\n";

    #[test]
    fn nothing_said_means_loopback() {
        let config = Config::resolve(RawConfig::default()).unwrap();
        assert_eq!(config.listen, DEFAULT_LISTEN);
        assert_eq!(config.media_port, 8080);
        assert!(config.keys.is_empty());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let raw = RawConfig { listen: "127.0.0.1:9000".parse().ok(), ..RawConfig::default() };
        let config = resolve(raw, "listen = \"127.0.0.1:7000\"\nmedia_port = 7001\n").unwrap();
        assert_eq!((config.listen.port(), config.media_port), (9000, 7001));
    }

    #[test]
    fn beyond_loopback_needs_keys() {
        for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            let raw = || RawConfig { listen: address.parse().ok(), ..RawConfig::default() };
            let error = Config::resolve(raw()).unwrap_err().to_string();
            assert!(error.contains("[keys]") && error.contains("127.0.0.1"), "{error}");
            assert!(resolve(raw(), KEY).is_ok(), "{address}");
        }
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let raw = RawConfig { listen: address.parse().ok(), ..RawConfig::default() };
            assert!(Config::resolve(raw).is_ok(), "{address}");
        }
    }

    #[test]
    fn wrong_files_are_named() {
        let cases = [
            ("lisen = 1", "lisen"),
            ("listen = \"nowhere\"", "listen"),
            ("[keys]\na = \"short\"", "32"),
            ("workers = 0", "1 to 64"),
            ("workers = 9\nmedia_port = 65530", "65530"),
            ("media_ip = [\"0.0.0.0\"]", "0.0.0.0"),
            ("tls_cert = \"a\"", "tls_key"),
            ("tls = \"self-signed\"\ntls_cert = \"a\"\ntls_key = \"b\"", "exclude"),
            ("allow_origin = [\"example.org\"]", "https://example.org"),
            ("allow_origin = [\"*\"]", "scheme"),
            ("[[ice_servers]]\nurls = [\"http://a\"]", "stun:host:port"),
            ("[[ice_servers]]\nurls = []", "stun:host:port"),
            ("[[ice_servers]]\nurls = [\"turn:a>\"]", "stun:host:port"),
            ("[[ice_servers]]\nurls = [\"turn:a\"]", "username"),
            ("[[ice_servers]]\nurls = [\"turn:a\"]\nsecret = \"\"", "secret"),
            (
                "[[ice_servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential = \"c\"\nsecret = \"s\"",
                "either",
            ),
            ("[[ice_servers]]\nurls = [\"stun:a\"]\nsecrets = \"s\"", "secrets"),
            (
                "[[ice_servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential = \"a b\"",
                "username",
            ),
        ];
        for (file, expected) in cases {
            let error = resolve(RawConfig::default(), file).unwrap_err().to_string();
            assert!(error.contains(expected), "{file}: {error}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let config = resolve(RawConfig::default(), KEY).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }
}
