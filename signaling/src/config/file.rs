//! The configuration file as it is written.

use super::{ConfigError, TlsKind};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The file's names are the flags' names with underscores.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileConfig {
    pub(super) listen: Option<SocketAddr>,
    pub(super) media_ip: Vec<IpAddr>,
    pub(super) media_port: Option<u16>,
    pub(super) workers: Option<usize>,
    pub(super) tls: Option<TlsKind>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) allow_origin: Vec<String>,
    pub(super) ice_servers: Vec<FileIceServer>,
    pub(super) keys: BTreeMap<String, KeyText>,
    pub(super) admin_listen: Option<SocketAddr>,
    pub(super) max_load: Option<u32>,
    pub(super) sockets_per_address: Option<usize>,
    pub(super) drain: Option<u64>,
    pub(super) webhook: Option<WebhookText>,
}

/// It has no `Debug`, which would show a secret.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileIceServer {
    pub(super) urls: Vec<String>,
    pub(super) username: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) secret: Option<String>,
}

/// A key as it is written. It has no `Debug`, which would show a secret.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a secret in quotes, or { public_key = \"-----BEGIN PUBLIC KEY-----…\" }"
)]
pub(super) enum KeyText {
    Secret(String),
    Public(PublicKeyText),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PublicKeyText {
    pub(super) public_key: String,
}

/// `[webhook]`
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookText {
    pub(super) urls: Vec<String>,
    pub(super) key: String,
    #[serde(default)]
    pub(super) allow_private: bool,
}

/// Reads and decodes a file. What is refused is named with its line, but not shown: the line may hold a secret.
pub(super) fn read(path: PathBuf) -> Result<FileConfig, ConfigError> {
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Unreadable { path, source }),
    };
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..start];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let name = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|it| it.0);
        let message = match name.map(str::trim) {
            Some(name) if !error.message().contains(&format!("`{name}`")) => {
                format!("{name}: {}", error.message())
            }
            _ => error.message().to_owned(),
        };
        ConfigError::File { path, line, message }
    })
}
