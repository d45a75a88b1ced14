//! Which of the machine's addresses go into candidates when nobody said.
//!
//! Loopback comes last: Firefox ignores it and Chrome gathers none of its own, so a person's browser on this machine uses a LAN address; but a
//! headless Chromium without a network needs 127.0.0.1. An address in a candidate gives nothing away to a stranger: only proved peers get an answer.

use std::io;
use std::net::IpAddr;

/// Interfaces of containers and virtual machines: nobody outside of this machine reaches them.
const LEFT_OUT: [&str; 4] = ["docker", "br-", "veth", "virbr"];

/// One address of one interface.
#[derive(Clone, Debug)]
struct Candidate {
    interface: String,
    ip: IpAddr,
    up: bool,
}

/// The usable addresses in the order in which the system lists them, loopback last.
pub(crate) fn usable_addresses() -> io::Result<Vec<IpAddr>> {
    let candidates = if_addrs::get_if_addrs()?.into_iter().map(|interface| Candidate {
        ip: interface.ip(),
        up: !matches!(
            interface.oper_status,
            if_addrs::IfOperStatus::Down
                | if_addrs::IfOperStatus::NotPresent
                | if_addrs::IfOperStatus::LowerLayerDown
        ),
        interface: interface.name,
    });
    Ok(usable(candidates))
}

fn usable(candidates: impl Iterator<Item = Candidate>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    for candidate in candidates {
        let left_out = LEFT_OUT.iter().any(|prefix| candidate.interface.starts_with(prefix));
        if candidate.up && !left_out && is_usable(candidate.ip) && !ips.contains(&candidate.ip) {
            ips.push(candidate.ip);
        }
    }
    // Stable: the order within both halves stays.
    ips.sort_by_key(IpAddr::is_loopback);
    ips
}

fn is_usable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn usable_addresses_are_chosen_by_interface_and_scope() {
        let table = [
            ("lo", "127.0.0.1", true),
            ("lo", "::1", true),
            ("eth0", "192.168.1.5", true),
            ("eth0", "192.168.1.5", true),
            ("eth0", "fe80::1", true),
            ("eth0", "2001:db8::5", true),
            ("wlan0", "10.1.2.3", false),
            ("eth1", "169.254.3.4", true),
            ("docker0", "172.17.0.1", true),
            ("br-1a2b3c", "172.18.0.1", true),
            ("veth12ab", "10.9.9.9", true),
            ("virbr0", "192.168.122.1", true),
            ("v0", "10.77.0.1", true),
            ("v1", "10.77.0.2", true),
            ("bridge0", "10.5.0.1", true),
            ("tailscale0", "100.64.0.7", true),
        ];
        let candidates = table.iter().map(|(interface, ip, up)| Candidate {
            interface: (*interface).to_owned(),
            ip: ip.parse().unwrap(),
            up: *up,
        });
        let expected = [
            "192.168.1.5",
            "2001:db8::5",
            "10.77.0.1",
            "10.77.0.2",
            "10.5.0.1",
            "100.64.0.7",
            "127.0.0.1",
            "::1",
        ];
        assert_eq!(usable(candidates), expected.map(|ip| ip.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!usable_addresses().unwrap().is_empty());
    }
}
