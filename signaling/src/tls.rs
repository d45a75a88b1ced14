//! The HTTPS certificate: from files, which may change, or made at start.

use crate::config::{Config, Tls};
use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A usable certificate.
pub(crate) struct Loaded {
    pub(crate) config: RustlsConfig,
    /// SHA-256 of a certificate made at start, for comparison with what the browser shows.
    pub(crate) fingerprint: Option<String>,
}

/// Loads or makes the certificate.
pub(crate) fn load(tls: &Tls, config: &Config, address: SocketAddr) -> anyhow::Result<Loaded> {
    match tls {
        Tls::Files { certificate, key } => {
            let config = RustlsConfig::from_config(read(certificate, key)?);
            Ok(Loaded { config, fingerprint: None })
        }
        Tls::SelfSigned => {
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            let own = config.media_ips.iter().copied().chain([address.ip()]);
            names.extend(own.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
            names.sort();
            names.dedup();
            let made = rcgen::generate_simple_self_signed(names)?;
            let certificate = made.cert.der().clone();
            let fingerprint = fingerprint(&certificate);
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
                .map_err(anyhow::Error::msg)?;
            let config = RustlsConfig::from_config(server_config(vec![certificate], key)?);
            Ok(Loaded { config, fingerprint: Some(fingerprint) })
        }
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading {}", certificate.display()))?;
    let key =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("reading {}", key.display()))?;
    server_config(chain, key)
}

/// Takes the files anew when they have changed, or on SIGHUP. New connections get the new certificate, the others go on; files that
/// do not fit together (one is written before the other) change nothing.
pub(crate) async fn watch(
    certificate: PathBuf,
    key: PathBuf,
    config: RustlsConfig,
) -> anyhow::Result<()> {
    let content = || [&certificate, &key].map(|path| std::fs::read(path).ok());
    let (mut hangup, mut again) = (signal(SignalKind::hangup())?, interval(LOOK_EVERY));
    let mut known = content();
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = again.tick() => false,
        };
        let now = content();
        if !asked && now == known {
            continue;
        }
        known = now;
        match read(&certificate, &key) {
            Ok(new) => {
                config.reload_from_config(new);
                tracing::info!(file = %certificate.display(), "the certificate was read anew");
            }
            Err(error) => {
                tracing::warn!("the new certificate cannot be used, the old one stays: {error:#}");
            }
        }
    }
}

/// SIGHUP means the certificate files. Where there are none it changes nothing, and does not end the server either.
pub(crate) async fn nothing_to_reload() -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        hangup.recv().await;
        tracing::info!(
            "SIGHUP: there are no certificate files to read anew (--tls-cert); all else is read at the start only"
        );
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    // A WebSocket opens a connection of its own with HTTP/1.1: extended CONNECT (RFC 8441) is not offered.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
    let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
