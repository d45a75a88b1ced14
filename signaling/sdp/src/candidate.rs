//! ICE candidates (RFC 8839 section 5.1): the peer's are checked only, because an ICE-lite side needs none; ours are written.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::error::{SdpError, quote};
use super::lines::is_token;

/// A well-formed candidate of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `udp` or `tcp`, in lower case; other transports are well-formed too.
    pub transport: String,
    /// IP address or host name (mDNS included), as written.
    pub address: String,
    /// Port; 9 for an active TCP candidate.
    pub port: u16,
    /// `host`, `srflx`, `prflx`, `relay`, or a type to come.
    pub kind: String,
}

/// Checks `candidate:…` (trickled) or `a=candidate:…`.
pub fn parse_candidate(text: &str) -> Result<Candidate, SdpError> {
    let text = text.trim_end_matches(['\r', '\n']);
    let text = text.strip_prefix("a=").unwrap_or(text);
    let Some(value) = text.strip_prefix("candidate:") else {
        let found = quote(text);
        return Err(SdpError::new(format!("expected candidate:…, found {found}")));
    };
    parse_value(value).ok_or_else(|| {
        SdpError::new(format!(
            "malformed candidate {}; expected \
             <foundation> <component> <transport> <priority> <address> <port> typ <type> …",
            quote(value)
        ))
    })
}

/// Longest accepted candidate in bytes.
const CANDIDATE_BYTES_MAX: usize = 512;

/// What follows `candidate:`.
pub(super) fn parse_value(value: &str) -> Option<Candidate> {
    if value.len() > CANDIDATE_BYTES_MAX || value.chars().any(char::is_control) {
        return None;
    }
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let foundation = words.next()?;
    if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
        return None;
    }
    let component: u16 = words.next()?.parse().ok()?;
    let transport = words.next().filter(|word| is_token(word))?;
    let _priority: u32 = words.next()?.parse().ok()?;
    let address = words.next().filter(|word| word.bytes().all(is_address_char))?;
    let port = words.next()?.parse().ok()?;
    let kind = words.next().filter(|word| *word == "typ").and_then(|_| words.next())?;
    // Extensions come in pairs of name and value.
    let well_formed =
        (1..=256).contains(&component) && is_token(kind) && words.count().is_multiple_of(2);
    well_formed.then(|| Candidate {
        transport: transport.to_ascii_lowercase(),
        address: address.to_owned(),
        port,
        kind: kind.to_owned(),
    })
}

/// RFC 8839 `ice-char`.
pub(super) fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

fn is_address_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte)
}

/// RFC 8445 section 5.1.2.2: host candidates.
const HOST_PREFERENCE: u32 = 126;

/// The same over TCP: below every candidate over UDP (RFC 6544 section 4.2).
const TCP_HOST_PREFERENCE: u32 = 90;
/// RFC 6544 section 4.2: the direction of a passive host candidate.
const PASSIVE: u32 = 4;

/// Writes our host candidates, the preferred one first, those over UDP before those over TCP, and the end of candidates.
pub(super) fn write(out: &mut String, udp: &[SocketAddr], tcp: &[SocketAddr]) {
    let mut bases: Vec<(&str, IpAddr)> = Vec::new();
    let udp = udp.iter().zip(0_u32..).map(|(address, index)| {
        ("udp", address, HOST_PREFERENCE, 65_535_u32.saturating_sub(index))
    });
    let tcp = tcp.iter().zip(0_u32..).map(|(address, index)| {
        ("tcp", address, TCP_HOST_PREFERENCE, (PASSIVE << 13) + 8191_u32.saturating_sub(index))
    });
    for (transport, address, type_preference, local_preference) in udp.chain(tcp) {
        // RFC 8445 section 5.1.1.3: of the same base and the same transport.
        let base = (transport, address.ip());
        let foundation = bases.iter().position(|known| *known == base).unwrap_or_else(|| {
            bases.push(base);
            bases.len() - 1
        });
        // RFC 8445 section 5.1.2.1, component 1.
        let priority = (type_preference << 24) + (local_preference << 8) + 255;
        let (foundation, ip, port) = (foundation + 1, address.ip(), address.port());
        let direction = if transport == "tcp" { " tcptype passive" } else { "" };
        let _ = write!(
            out,
            "a=candidate:{foundation} 1 {transport} {priority} {ip} {port} typ host{direction}\r\n"
        );
    }
    out.push_str("a=end-of-candidates\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_clients_send() {
        let chrome = "candidate:1566895459 1 udp 2122194687 127.0.0.1 35139 typ host generation 0 \
                      ufrag 2e5j network-id 3 network-cost 50";
        assert_eq!(
            parse_candidate(chrome).unwrap(),
            Candidate {
                transport: "udp".into(),
                address: "127.0.0.1".into(),
                port: 35139,
                kind: "host".into()
            }
        );
        for line in [
            "a=candidate:0 2 TCP 2105458942 192.0.2.2 9 typ host tcptype active\r\n",
            "candidate:f957a2332b1715da3b0ef8ba684454eb 1 udp 2130706431 fd00::2 49986 typ host",
            "candidate:1 1 udp 1 3e6d-aa.local 5000 typ srflx raddr 0.0.0.0 rport 0",
            "candidate:1 1 UDP 2013266431 fe80::1%eth0 5000 typ relay",
        ] {
            assert!(parse_candidate(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn refuses_malformed_candidates() {
        for line in [
            "",
            "candidate:",
            "1 1 udp 1 10.0.0.1 5000 typ host",
            "candidate:1 0 udp 1 10.0.0.1 5000 typ host",
            "candidate:1 257 udp 1 10.0.0.1 5000 typ host",
            "candidate:1 1 udp -1 10.0.0.1 5000 typ host",
            "candidate:1 1 udp 4294967296 10.0.0.1 5000 typ host",
            "candidate:1 1 udp 1 10.0.0.1 65536 typ host",
            "candidate:1 1 udp 1 10.0.0.1 5000 host",
            "candidate:1 1 udp 1 10.0.0.1 5000 typ",
            "candidate:1 1 udp 1 10.0.0.1 5000 typ host generation",
            "candidate:1 1 udp 1 10.0.0.1\n 5000 typ host",
            "candidate:a!b 1 udp 1 10.0.0.1 5000 typ host",
            "candidate:1 1 udp 1 <script> 5000 typ host",
        ] {
            assert!(parse_candidate(line).is_err(), "{line}");
        }
        assert!(parse_value(&format!("1 1 udp 1 {} 1 typ host", "a".repeat(512))).is_none());
    }

    #[test]
    fn writes_priorities_in_order_and_one_foundation_per_address() {
        let mut out = String::new();
        let addresses =
            ["192.0.2.1:8080", "[2001:db8::1]:8080", "192.0.2.1:8081"].map(|a| a.parse().unwrap());
        write(&mut out, &addresses, &addresses[..2]);
        assert_eq!(
            out,
            "a=candidate:1 1 udp 2130706431 192.0.2.1 8080 typ host\r\n\
             a=candidate:2 1 udp 2130706175 2001:db8::1 8080 typ host\r\n\
             a=candidate:1 1 udp 2130705919 192.0.2.1 8081 typ host\r\n\
             a=candidate:3 1 tcp 1520435199 192.0.2.1 8080 typ host tcptype passive\r\n\
             a=candidate:4 1 tcp 1520434943 2001:db8::1 8080 typ host tcptype passive\r\n\
             a=end-of-candidates\r\n"
        );
        for line in out.lines().filter(|line| line.contains("candidate:")) {
            assert!(parse_candidate(line).is_ok(), "{line}");
        }
    }
}
