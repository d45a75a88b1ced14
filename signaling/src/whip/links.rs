//! `Link` headers: STUN and TURN servers (RFC 9725 section 4.6) and the extensions.

use crate::protocol::IceServer;
use crate::room::HttpRole;
use axum::http::HeaderValue;

/// The events that such a session can have.
pub(super) fn events(role: HttpRole) -> &'static [&'static str] {
    match role {
        HttpRole::Publisher => &["published_layers", "reconnect", "replaced", "viewercount"],
        HttpRole::Viewer => &["active", "inactive", "layers", "reconnect", "status", "viewercount"],
    }
}

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

/// The extensions of a session at this path. WHIP has no such events; ours are made like WHEP's.
pub(super) fn extensions(role: HttpRole, session: &str) -> Vec<HeaderValue> {
    let urn = format!("urn:ietf:params:{}:ext:core", role.path());
    let events = events(role).join(",");
    let mut links =
        vec![format!("<{session}/sse>; rel=\"{urn}:server-sent-events\"; events=\"{events}\"")];
    if role == HttpRole::Viewer {
        links.push(format!("<{session}/layer>; rel=\"{urn}:layer\""));
    }
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
