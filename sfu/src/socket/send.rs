//! Batched send: one `sendmmsg` of messages that the kernel cuts into datagrams (UDP GSO), and what to do where it cannot.

use super::UdpSocket;
use super::address::RawAddress;
use super::control::Control;
use sfu_core::egress::Message;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// Messages per system call.
const BATCH: usize = 64;
/// Addresses remembered as not fit for GSO, of each kind; beyond it the memory starts afresh.
const REMEMBERED_MAX: usize = 1024;

/// Addresses and control messages of one `sendmmsg`.
#[derive(Debug)]
pub(super) struct SendBuffers {
    addresses: Box<[RawAddress; BATCH]>,
    controls: Box<[Control; BATCH]>,
    /// One message cut into single datagrams.
    singles: Vec<Message>,
}

impl Default for SendBuffers {
    fn default() -> Self {
        Self {
            addresses: Box::new([RawAddress::default(); BATCH]),
            controls: Box::new([Control::default(); BATCH]),
            singles: Vec::with_capacity(BATCH),
        }
    }
}

/// Where the kernel refused to segment.
#[derive(Debug, Default)]
pub(super) struct Offload {
    /// `EIO`: the interface behind this local address cannot checksum.
    locals: HashSet<IpAddr>,
    /// `EINVAL`, `EMSGSIZE`: a path whose MTU is below the segment, or a driver that cannot segment this family. Kept by peer, because a peer
    /// can bring about the first by itself and must not slow everybody else.
    remotes: HashSet<IpAddr>,
}

impl Offload {
    fn allows(&self, message: &Message) -> bool {
        (self.locals.is_empty() || !self.locals.contains(&message.tuple.local))
            && (self.remotes.is_empty() || !self.remotes.contains(&message.tuple.remote.ip()))
    }

    fn forbid(&mut self, message: &Message, errno: i32) {
        let (addresses, address) = match errno {
            libc::EIO => (&mut self.locals, message.tuple.local),
            _ => (&mut self.remotes, message.tuple.remote.ip()),
        };
        if addresses.len() >= REMEMBERED_MAX {
            addresses.clear();
        }
        addresses.insert(address);
    }
}

/// Can this error mean that the kernel would send the datagrams, but not segment the message?
fn refuses_segmentation(errno: i32) -> bool {
    matches!(errno, libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)
}

impl UdpSocket {
    /// Sends all messages, whose ranges lie in `bytes`. What the kernel does not take is dropped and counted.
    ///
    /// # Panics
    /// When a message lies outside of `bytes`.
    pub fn send_batch(&mut self, messages: &[Message], bytes: &[u8]) {
        let mut rest = messages;
        while let [first, behind @ ..] = rest {
            if !self.fits(first) {
                self.send_singly(first, bytes);
                rest = behind;
                continue;
            }
            let run = rest.iter().take(BATCH).take_while(|message| self.fits(message)).count();
            let (run, left) = rest.split_at(run);
            self.submit(run, bytes);
            rest = left;
        }
    }

    fn fits(&self, message: &Message) -> bool {
        message.datagrams() == 1 || self.offload.allows(message)
    }

    /// Sends the datagrams of one message one by one. Returns how many of them left.
    fn send_singly(&mut self, message: &Message, bytes: &[u8]) -> usize {
        self.stats.unsegmented += 1;
        let mut singles = std::mem::take(&mut self.buffers.singles);
        let end = message.start + message.len;
        let mut sent = 0;
        let mut start = message.start;
        while start < end {
            singles.clear();
            while start < end && singles.len() < BATCH {
                let len = message.segment.min(end - start);
                singles.push(Message { tuple: message.tuple, start, len, segment: len });
                start += len;
            }
            sent += self.submit(&singles, bytes);
        }
        self.buffers.singles = singles;
        sent
    }

    /// Hands at most [`BATCH`] messages to the kernel, beginning anew behind each one it refuses. Returns how many datagrams left.
    fn submit(&mut self, messages: &[Message], bytes: &[u8]) -> usize {
        let mut sent = 0;
        let mut rest = messages;
        while let [first, behind @ ..] = rest {
            self.stats.send_calls += 1;
            let errno = match self.sendmmsg(rest, bytes) {
                Ok(count) => {
                    let (gone, left) = rest.split_at(count.clamp(1, rest.len()));
                    self.stats.sent_per_call.record(gone.len());
                    for message in gone {
                        self.stats.run_lengths.record(message.datagrams());
                        self.stats.sent_messages += 1;
                        self.stats.sent += message.datagrams() as u64;
                        self.stats.sent_bytes += message.len as u64;
                        sent += message.datagrams();
                    }
                    rest = left;
                    continue;
                }
                Err(error) => error.raw_os_error().unwrap_or(0),
            };
            match errno {
                libc::EINTR => continue,
                libc::EAGAIN => {
                    // The socket's buffer is full, for all of them.
                    let lost: usize = rest.iter().map(Message::datagrams).sum();
                    self.stats.dropped_full += lost as u64;
                    return sent;
                }
                libc::ENOBUFS => self.stats.dropped_full += first.datagrams() as u64,
                errno if first.datagrams() > 1 && refuses_segmentation(errno) => {
                    let left = self.send_singly(first, bytes);
                    // When the datagrams are refused too, segmentation is not to blame.
                    if left > 0 {
                        self.offload.forbid(first, errno);
                    }
                    sent += left;
                }
                _ => self.stats.dropped_failed += first.datagrams() as u64,
            }
            rest = behind;
        }
        sent
    }

    /// One `sendmmsg`. The error is that of the first message.
    fn sendmmsg(&mut self, messages: &[Message], bytes: &[u8]) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: all-zero is a valid `mmsghdr`: null pointers with zero lengths.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let room = self.buffers.addresses.iter_mut().zip(self.buffers.controls.iter_mut());
        let count = messages.len().min(BATCH);
        for ((message, (address, control)), (header, vector)) in
            messages.iter().zip(room).zip(headers.iter_mut().zip(&mut vectors))
        {
            let payload = &bytes[message.start..message.start + message.len];
            vector.iov_base = payload.as_ptr().cast_mut().cast();
            vector.iov_len = payload.len();
            let segment = (message.datagrams() > 1).then_some(message.segment as u16);
            let header = &mut header.msg_hdr;
            header.msg_namelen = address.write(self.family, message.tuple.remote);
            header.msg_name = address.as_mut_ptr();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_controllen = control.write(self.family, message.tuple.local, segment) as _;
            header.msg_control = control.as_mut_ptr();
        }
        // SAFETY: the first `count` headers point into arrays that live to the end of this function, and into `bytes`, with their true
        // lengths; `sendmmsg` only reads the payload; the socket is open.
        let sent = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::sendmmsg(self.socket.as_raw_fd(), headers.as_mut_ptr(), count as _, flags as _)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use sfu_core::egress::Tuple;

    fn message(local: &str, remote: &str) -> Message {
        let tuple = Tuple::udp(local.parse().unwrap(), remote.parse().unwrap());
        Message { tuple, start: 0, len: 100, segment: 50 }
    }

    #[test]
    fn a_missing_checksum_is_the_interfaces_fault_and_a_small_mtu_the_paths() {
        let ours = message("10.0.0.1", "192.0.2.1:1");
        let same_path = message("10.0.0.1", "192.0.2.1:2");
        let same_interface = message("10.0.0.1", "192.0.2.2:1");
        let other = message("10.0.0.2", "192.0.2.2:1");
        let mut offload = Offload::default();
        offload.forbid(&ours, libc::EINVAL);
        assert!(!offload.allows(&ours) && !offload.allows(&same_path));
        assert!(offload.allows(&same_interface) && offload.allows(&other));
        offload.forbid(&ours, libc::EIO);
        assert!(!offload.allows(&same_interface) && offload.allows(&other));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut offload = Offload::default();
        for i in 0..3 * REMEMBERED_MAX {
            let remote = format!("10.1.{}.{}:1", i / 256, i % 256);
            offload.forbid(&message("10.0.0.1", &remote), libc::EINVAL);
        }
        assert!(offload.remotes.len() <= REMEMBERED_MAX);
    }
}
