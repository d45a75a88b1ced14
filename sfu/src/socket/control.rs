//! Control messages (`cmsg(3)`) as bytes, without `unsafe`: a `size_t` length, two `int`s, data, padded to `size_t`. Fixed Linux ABI.

use super::address::{Family, to_v4, to_v6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const WORD: usize = size_of::<usize>();
/// `sizeof(struct cmsghdr)` as the kernel sees it.
const HEADER: usize = WORD + 8;
/// Packet information, segment size, overflow count and time stamp need 120.
const CAPACITY: usize = 128;

/// Room for the control messages of one datagram.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CAPACITY]);

impl Default for Control {
    fn default() -> Self {
        Self([0; CAPACITY])
    }
}

/// What the kernel said about one receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// The address that the peer sent to.
    pub(super) local: Option<IpAddr>,
    /// Size of each datagram but the last, when GRO joined several.
    pub(super) segment: Option<usize>,
    /// Datagrams lost so far to a full buffer.
    pub(super) overflow: Option<u32>,
    /// When the kernel had it (the first of several), since the Unix epoch.
    pub(super) stamp: Option<Duration>,
}

impl Control {
    pub(super) const LEN: usize = CAPACITY;

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }

    /// Writes the source address and, for more than one datagram, the segment size. Returns the length.
    pub(super) fn write(&mut self, family: Family, local: IpAddr, segment: Option<u16>) -> usize {
        let mut len = match family {
            Family::Dual => {
                // struct in6_pktinfo: address, interface index (0: by route).
                let mut info = [0u8; 20];
                info[..16].copy_from_slice(&to_v6(local).octets());
                self.push(0, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
            Family::V4 => {
                // struct in_pktinfo: interface index, source address, unused.
                let mut info = [0u8; 12];
                info[4..8].copy_from_slice(&to_v4(local).octets());
                self.push(0, libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
        };
        if let Some(segment) = segment {
            len = self.push(len, libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        len
    }

    fn push(&mut self, at: usize, level: libc::c_int, kind: libc::c_int, data: &[u8]) -> usize {
        let len = HEADER + data.len();
        let room = &mut self.0[at..at + len.next_multiple_of(WORD)];
        room[..WORD].copy_from_slice(&len.to_ne_bytes());
        room[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        room[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..len].copy_from_slice(data);
        at + room.len()
    }

    /// Reads what the kernel wrote into the first `len` bytes.
    pub(super) fn read(&self, len: usize) -> Received {
        let mut received = Received::default();
        let mut rest = self.0.get(..len).unwrap_or_default();
        while let Some((level, kind, data, next)) = first(rest) {
            match (level, kind) {
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let ip = array::<16>(data, 0).map(Ipv6Addr::from);
                    received.local = ip.map(|ip| ip.to_canonical());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    received.local = array::<4>(data, 4).map(|ip| Ipv4Addr::from(ip).into());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = array(data, 0).map(i32::from_ne_bytes);
                    received.segment = size.and_then(|size| usize::try_from(size).ok());
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    // struct timespec.
                    let seconds = array(data, 0).map(i64::from_ne_bytes);
                    let nanos = array(data, 8).map(i64::from_ne_bytes);
                    received.stamp = seconds.zip(nanos).and_then(since_epoch);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    received.overflow = array(data, 0).map(u32::from_ne_bytes);
                }
                _ => {}
            }
            rest = next;
        }
        received
    }
}

/// The first control message, and what follows it.
fn first(bytes: &[u8]) -> Option<(libc::c_int, libc::c_int, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(array(bytes, 0)?);
    let level = i32::from_ne_bytes(array(bytes, WORD)?);
    let kind = i32::from_ne_bytes(array(bytes, WORD + 4)?);
    let data = bytes.get(HEADER..len)?;
    let next = bytes.get(len.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, data, next))
}

fn since_epoch((seconds, nanos): (i64, i64)) -> Option<Duration> {
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(seconds).ok()?, nanos))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_information_is_read_as_written() {
        for (family, local) in
            [(Family::Dual, "2001:db8::1"), (Family::Dual, "192.0.2.1"), (Family::V4, "192.0.2.1")]
        {
            let local: IpAddr = local.parse().expect("an address");
            let mut control = Control([0xEE; CAPACITY]);
            let len = control.write(family, local, Some(1200));
            assert_eq!(len % WORD, 0);
            assert_eq!(control.read(len).local, Some(local));
        }
    }

    #[test]
    fn garbage_is_read_without_a_panic() {
        for fill in [0, 1, 16, 0xFF] {
            let control = Control([fill; CAPACITY]);
            for len in 0..=CAPACITY + 1 {
                control.read(len);
            }
        }
    }
}
