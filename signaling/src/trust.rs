//! Who may talk to a server that asks for no tokens: pages of its own, on its own machine, and nobody behind a proxy.
//!
//! Without keys the loopback address is the only lock. A proxy, a rebound host name or a foreign page would open it, so each of
//! these is refused with a sentence that says what to configure.

use crate::config::Config;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use std::net::IpAddr;

/// What decides about a request before anything else does.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// Tokens are required: then any page and any proxy may ask, and the token decides.
    pub(crate) tokens: bool,
    /// We speak HTTPS ourselves.
    pub(crate) tls: bool,
    /// From `--allow-origin`.
    pub(crate) allowed_origins: Vec<String>,
}

/// Headers that a proxy adds.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

impl Trust {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            tokens: !config.keys.is_empty(),
            tls: config.tls.is_some(),
            allowed_origins: config.allowed_origins.clone(),
        }
    }

    /// Refuses what a server without keys must not answer.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        if self.tokens { Ok(()) } else { self.check_local(headers) }
    }

    /// Refuses what does not come straight from a program or an own page on this machine, going by what the request says.
    pub(crate) fn check_local(&self, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        if let Some(name) = PROXY_HEADERS.iter().find(|name| headers.contains_key(**name)) {
            let text = format!(
                "The request came through a proxy (header {name}), and this server has no join token keys: \
                 anybody could join. Configure [keys] (--config FILE) to use it behind a proxy.\n"
            );
            return Err((StatusCode::FORBIDDEN, text));
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host.map(str::to_ascii_lowercase).filter(|host| is_loopback(host)) else {
            let text = "This server has no join token keys and answers under localhost, 127.0.0.1 and [::1] only. \
                 Open it under one of these names, or configure [keys] (--config FILE) to use another.\n";
            return Err((StatusCode::MISDIRECTED_REQUEST, text.to_owned()));
        };
        match headers.get(header::ORIGIN) {
            Some(origin) if !self.is_own(origin, &host) && !self.is_allowed(origin) => {
                let text = "A page of another origin asked, and this server has no join token keys. \
                     Start with --allow-origin ORIGIN to let that page in.\n";
                Err((StatusCode::FORBIDDEN, text.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The value of `Access-Control-Allow-Origin`, if the page may read the answer. Never with credentials.
    pub(crate) fn cors(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.tokens {
            return Some(HeaderValue::from_static("*"));
        }
        headers.get(header::ORIGIN).filter(|origin| self.is_allowed(origin)).cloned()
    }

    fn is_own(&self, origin: &HeaderValue, host: &str) -> bool {
        let scheme = if self.tls { "https://" } else { "http://" };
        let origin = origin.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
        origin.strip_prefix(scheme) == Some(host)
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
        self.allowed_origins.contains(&origin)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(name, _)| name),
        None => host.split(':').next(),
    };
    let ip = |name: &str| name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    name.is_some_and(|name| name == "localhost" || ip(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(trust: &Trust, headers: &[(&str, &str)]) -> Result<(), (StatusCode, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.insert(name, HeaderValue::from_str(value).unwrap());
        }
        trust.check(&map)
    }

    #[test]
    fn without_keys_only_own_pages_on_this_machine_get_in() {
        let allowed_origins = vec!["https://example.org".to_owned()];
        let trust = Trust { tokens: false, tls: false, allowed_origins };
        let good: [&[(&str, &str)]; 7] = [
            &[("host", "localhost:8080")],
            &[("host", "LOCALHOST")],
            &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")],
            &[("host", "127.1.2.3")],
            &[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")],
            &[("host", "localhost"), ("origin", "https://example.org")],
            &[("host", "localhost"), ("origin", "HTTPS://Example.ORG")],
        ];
        for headers in good {
            assert_eq!(check(&trust, headers), Ok(()), "{headers:?}");
        }
        let bad: [(&[(&str, &str)], &str); 13] = [
            (&[], "localhost"),
            (&[("host", "example.org")], "[keys]"),
            (&[("host", "localhost.example.org")], "localhost"),
            (&[("host", "127.0.0.1.example.org")], "localhost"),
            (&[("host", "192.0.2.1:8080")], "localhost"),
            (&[("host", "[::2]")], "localhost"),
            (&[("host", "localhost"), ("origin", "null")], "--allow-origin"),
            (&[("host", "localhost:8080"), ("origin", "http://localhost:9090")], "--allow-origin"),
            (&[("host", "localhost:8080"), ("origin", "https://localhost:8080")], "--allow-origin"),
            (
                &[("host", "localhost"), ("origin", "https://example.org.evil.org")],
                "--allow-origin",
            ),
            (&[("host", "localhost"), ("x-forwarded-for", "127.0.0.1")], "x-forwarded-for"),
            (&[("host", "localhost"), ("forwarded", "for=127.0.0.1")], "[keys]"),
            (&[("host", "localhost"), ("via", "1.1 proxy")], "via"),
        ];
        for (headers, expected) in bad {
            let (status, text) = check(&trust, headers).unwrap_err();
            assert!(status.is_client_error());
            assert!(text.contains(expected), "{headers:?}: {text}");
        }
    }

    #[test]
    fn with_keys_the_token_decides() {
        let trust = Trust { tokens: true, tls: false, allowed_origins: vec![] };
        let headers = [("host", "example.org"), ("via", "x"), ("origin", "https://a.example")];
        assert_eq!(check(&trust, &headers), Ok(()));
    }
}
