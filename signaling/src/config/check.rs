//! What is checked of single settings.

use super::file::{FileIceServer, KeyText, PublicKeyText, WebhookText};
use super::{ConfigError, Tls, TlsKind, Webhook};
use crate::auth::{Key, Keys, Secret};
use crate::ice::ConfiguredIceServer;
use crate::protocol::IceServer;
use crate::webhook::is_public;
use axum::http::Uri;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// Most addresses that are told what happens.
const WEBHOOKS_MAX: usize = 8;

pub(super) fn check_keys(keys: BTreeMap<String, KeyText>) -> Result<Keys, ConfigError> {
    let keys = keys.into_iter().map(|(id, text)| {
        let key = match text {
            KeyText::Secret(secret) => Key::secret(secret),
            KeyText::Public(PublicKeyText { public_key }) => Key::public(&public_key),
        };
        key.map(|key| (id.clone(), key)).map_err(|error| ConfigError::Key(id, error))
    });
    Ok(Keys::new(keys.collect::<Result<Vec<_>, _>>()?))
}

/// The addresses are the operator's, and yet they are kept out of private networks unless that is said: a server that can be made
/// to call its neighbours is worth attacking for that alone. Names are looked at when they are resolved.
pub(super) fn check_webhook(text: WebhookText, keys: &Keys) -> Result<Webhook, ConfigError> {
    let WebhookText { urls, key, allow_private } = text;
    let Some(Key::Secret(secret)) = keys.get(&key).cloned() else {
        return Err(ConfigError::WebhookKey(key));
    };
    if urls.len() > WEBHOOKS_MAX {
        return Err(ConfigError::WebhookCount);
    }
    for text in &urls {
        let parsed = text.parse::<Uri>().ok();
        let known = |uri: &Uri| matches!(uri.scheme_str(), Some("https" | "http"));
        let Some(uri) = parsed.filter(|uri| known(uri) && uri.host().is_some()) else {
            return Err(ConfigError::WebhookUrl(text.clone()));
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let private = host.parse::<IpAddr>().is_ok_and(|ip| !is_public(ip));
        if !allow_private && (private || host.eq_ignore_ascii_case("localhost")) {
            return Err(ConfigError::WebhookPrivate(text.clone()));
        }
    }
    Ok(Webhook { urls, key, secret, allow_private })
}

pub(super) fn check_workers(media_port: u16, workers: Option<usize>) -> Result<(), ConfigError> {
    let Some(count) = workers else { return Ok(()) };
    if !(1..=64).contains(&count) {
        return Err(ConfigError::Workers(count));
    }
    if usize::from(media_port) + count > 1 + usize::from(u16::MAX) {
        return Err(ConfigError::MediaPort(media_port, count));
    }
    Ok(())
}

pub(super) fn check_tls(
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
pub(super) fn check_ice_server(file: FileIceServer) -> Result<ConfiguredIceServer, ConfigError> {
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

pub(super) fn check_origin(origin: String) -> Result<String, ConfigError> {
    let lower = origin.trim_end_matches('/').to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    let valid = |host: &str| !host.is_empty() && !host.contains(['/', '*', '@', ' ', '?', '#']);
    if host.is_some_and(valid) { Ok(lower) } else { Err(ConfigError::Origin(origin)) }
}
