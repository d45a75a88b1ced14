//! `Link` headers: STUN and TURN servers (RFC 9725 section 4.6) and the extensions of WHEP.

use crate::protocol::IceServer;
use axum::http::HeaderValue;

/// Events that viewers can have.
pub(super) const EVENTS: [&str; 5] = ["active", "inactive", "layers", "reconnect", "viewercount"];

/// One header for each address. The configuration lets no character in that would end a quote.
pub(super) fn ice_servers(servers: &[IceServer]) -> Vec<HeaderValue> {
    let of_server = |server: &IceServer| {
        let credentials = match (&server.username, &server.credential) {
            (Some(username), Some(credential)) => format!(
                "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
            ),
            _ => String::new(),
        };
        let link = move |url: &String| {
            let turn = url.starts_with("turn");
            let credentials = if turn { credentials.as_str() } else { "" };
            HeaderValue::from_str(&format!("<{url}>; rel=\"ice-server\"{credentials}")).ok()
        };
        server.urls.iter().filter_map(link).collect::<Vec<_>>()
    };
    servers.iter().flat_map(of_server).collect()
}

/// The extensions of a WHEP session at this path.
pub(super) fn extensions(session: &str) -> Vec<HeaderValue> {
    let urn = "urn:ietf:params:whep:ext:core";
    let events = EVENTS.join(",");
    let links = [
        format!("<{session}/sse>; rel=\"{urn}:server-sent-events\"; events=\"{events}\""),
        format!("<{session}/layer>; rel=\"{urn}:layer\""),
    ];
    links.iter().filter_map(|link| HeaderValue::from_str(link).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_turn_needs_credentials() {
        let server = IceServer {
            urls: vec!["stun:a:3478".to_owned(), "turn:a?transport=udp".to_owned()],
            username: Some("user".to_owned()),
            credential: Some("secret".to_owned()),
        };
        assert_eq!(
            ice_servers(&[server]),
            [
                "<stun:a:3478>; rel=\"ice-server\"",
                "<turn:a?transport=udp>; rel=\"ice-server\"; username=\"user\"; credential=\"secret\"; credential-type=\"password\"",
            ]
        );
    }
}
