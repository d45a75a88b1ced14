//! Which addresses are of the public internet.

use std::net::{IpAddr, SocketAddr};

/// Whether an address is one of the public internet.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let reserved = a == 0 || a >= 240 || (a == 192 && b == 0 && c == 0);
            let benchmark = a == 198 && (b == 18 || b == 19);
            let special = shared || reserved || benchmark || ip.is_documentation();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || special)
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            // 64:ff9b::/96 and 2002::/16 carry an IPv4 address, which may be a private one.
            let carrier = a == 0x2002 || (a == 0x64 && b == 0xff9b);
            let special = carrier || ip.is_unspecified() || (a == 0x2001 && b == 0xdb8);
            let local = ip.is_unique_local() || ip.is_unicast_link_local();
            !(ip.is_loopback() || ip.is_multicast() || local || special)
        }
    }
}

/// Looks names up and leaves out what is not public: the check when the connection is made is the one that counts.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl reqwest::dns::Resolve for PublicOnly {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                let text = format!(
                    "{name} is in a private network; [webhook] allow_private = true lets it be called"
                );
                return Err(text.into());
            }
            Ok(Box::new(public.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn row_15_private_and_special_addresses_are_not_public() {
        for ip in ["1.1.1.1", "192.0.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        let private = [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "192.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ];
        for ip in private {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
