//! Socket addresses as the kernel lays them out, without `unsafe`: `sockaddr_in` and `sockaddr_in6` are fixed Linux ABI.
//!
//! A dual socket sees IPv4 peers as v4-mapped IPv6. That form stops here: a `Tuple` never holds one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// `sizeof(struct sockaddr_in)`.
const V4_LEN: usize = 16;
/// `sizeof(struct sockaddr_in6)`.
const V6_LEN: usize = 28;

/// What a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv6, and IPv4 as v4-mapped IPv6.
    Dual,
    /// IPv4 alone.
    V4,
}

impl Family {
    pub(super) fn domain(self) -> libc::c_int {
        match self {
            Self::Dual => libc::AF_INET6,
            Self::V4 => libc::AF_INET,
        }
    }

    pub(super) fn wildcard(self, port: u16) -> (RawAddress, libc::socklen_t) {
        let ip = match self {
            Self::Dual => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let mut raw = RawAddress::default();
        let len = raw.write(self, SocketAddr::new(ip, port));
        (raw, len)
    }
}

/// Room for either kind of address.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub(super) struct RawAddress([u8; 32]);

impl RawAddress {
    /// Size of the room.
    pub(super) const LEN: libc::socklen_t = 32;

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr {
        self.0.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Writes an address in the socket's form; returns its length. An IPv6 address on an IPv4 socket comes out as one that no route leads
    /// to, so that sending fails and is counted.
    pub(super) fn write(&mut self, family: Family, address: SocketAddr) -> libc::socklen_t {
        self.0 = [0; 32];
        self.0[2..4].copy_from_slice(&address.port().to_be_bytes());
        let domain = family.domain() as u16;
        self.0[..2].copy_from_slice(&domain.to_ne_bytes());
        match family {
            Family::Dual => {
                self.0[8..24].copy_from_slice(&to_v6(address.ip()).octets());
                if let SocketAddr::V6(address) = address {
                    self.0[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                }
                V6_LEN as libc::socklen_t
            }
            Family::V4 => {
                self.0[4..8].copy_from_slice(&to_v4(address.ip()).octets());
                V4_LEN as libc::socklen_t
            }
        }
    }

    /// Reads what the kernel wrote. The flow label is left out: it does not belong to the path.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        let bytes = &self.0;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match libc::c_int::from(u16::from_ne_bytes([bytes[0], bytes[1]])) {
            libc::AF_INET => {
                let octets: [u8; 4] = bytes[4..8].try_into().ok()?;
                Some(SocketAddr::from((octets, port)))
            }
            libc::AF_INET6 => {
                let octets: [u8; 16] = bytes[8..24].try_into().ok()?;
                let ip = Ipv6Addr::from(octets);
                let scope = u32::from_ne_bytes(bytes[24..28].try_into().ok()?);
                Some(match ip.to_ipv4_mapped() {
                    Some(ip) => SocketAddr::from((ip, port)),
                    None => SocketAddrV6::new(ip, port, 0, scope).into(),
                })
            }
            _ => None,
        }
    }
}

/// IPv4 as v4-mapped IPv6.
pub(super) fn to_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// IPv6 as 255.255.255.255, which a socket without `SO_BROADCAST` may not send to.
pub(super) fn to_v4(ip: IpAddr) -> Ipv4Addr {
    match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => Ipv4Addr::BROADCAST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernel_form() {
        for (family, text) in [
            (Family::Dual, "192.0.2.7:5"),
            (Family::Dual, "[2001:db8::7]:65535"),
            (Family::Dual, "[fe80::1%3]:9"),
            (Family::V4, "192.0.2.7:5"),
        ] {
            let address: SocketAddr = text.parse().expect("an address");
            let mut raw = RawAddress([0xEE; 32]);
            raw.write(family, address);
            assert_eq!(raw.read(), Some(address));
        }
        assert_eq!(RawAddress::default().read(), None);
    }
}
