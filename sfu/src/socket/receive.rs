//! Batched receive: `recvmmsg` into fixed buffers, GRO bursts split back into datagrams.

use super::address::RawAddress;
use super::control::Control;
use sfu_core::egress::{Datagram, Tuple};
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Receives per system call.
const SLOTS: usize = 32;
/// A GRO burst may be as long as one IP packet.
const SLOT_BYTES: usize = 64 * 1024;

/// One receive: a datagram, or several of one peer.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tuple: Tuple,
    arrival: Instant,
    len: usize,
    /// At least 1.
    segment: usize,
    index: usize,
}

/// A datagram that waited longer than this did not wait: the wall clock was set.
const WAITED_MAX: Duration = Duration::from_secs(1);

/// The monotonic clock and the wall clock at one moment: the kernel stamps with the latter, and everything else uses the former.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    now: Instant,
    wall: Duration,
}

impl Clocks {
    fn read() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { now: Instant::now(), wall }
    }

    /// When a datagram with this stamp came; now, where the stamp is missing or makes no sense.
    fn arrival(self, stamp: Option<Duration>) -> Instant {
        stamp
            .and_then(|stamp| self.wall.checked_sub(stamp))
            .filter(|waited| *waited < WAITED_MAX)
            .and_then(|waited| self.now.checked_sub(waited))
            .unwrap_or(self.now)
    }
}

/// Buffers for one `recvmmsg`, 2 MiB, and what the last one brought.
#[derive(Debug)]
pub struct RecvBatch {
    bytes: Box<[u8]>,
    addresses: Box<[RawAddress; SLOTS]>,
    controls: Box<[Control; SLOTS]>,
    slots: Vec<Slot>,
    overflow: Option<u32>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self {
            bytes: vec![0; SLOTS * SLOT_BYTES].into_boxed_slice(),
            addresses: Box::new([RawAddress::default(); SLOTS]),
            controls: Box::new([Control::default(); SLOTS]),
            slots: Vec::with_capacity(SLOTS),
            overflow: None,
        }
    }
}

impl RecvBatch {
    /// Slots of a full batch.
    pub const SLOTS: usize = SLOTS;

    /// The datagrams in order of arrival, writable because they are decrypted in place.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let mut chunks = self.bytes.chunks_exact_mut(SLOT_BYTES).enumerate();
        self.slots.iter().flat_map(move |slot| {
            // Slots are in ascending order, so each chunk is taken at most once.
            let chunk = chunks.find(|(index, _)| *index == slot.index);
            let bytes = chunk.and_then(|(_, bytes)| bytes.get_mut(..slot.len)).unwrap_or_default();
            bytes.chunks_mut(slot.segment).map(move |bytes| Datagram {
                tuple: slot.tuple,
                arrival: slot.arrival,
                bytes,
            })
        })
    }

    /// Forgets what is in it.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.overflow = None;
    }

    /// Datagrams and bytes in the batch.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.slots.iter().fold((0, 0), |(datagrams, bytes), slot| {
            (datagrams + slot.len.div_ceil(slot.segment) as u64, bytes + slot.len as u64)
        })
    }

    /// The kernel's overflow count as of the last batch.
    pub(super) fn overflow(&self) -> Option<u32> {
        self.overflow
    }

    /// One `recvmmsg`. Returns how many slots the kernel filled.
    pub(super) fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        self.clear();
        let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SLOTS];
        // SAFETY: all-zero is a valid `mmsghdr`: null pointers with zero lengths.
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { std::mem::zeroed() };
        let buffers = self.bytes.chunks_exact_mut(SLOT_BYTES);
        let names = self.addresses.iter_mut().zip(self.controls.iter_mut());
        for ((header, vector), (bytes, (address, control))) in
            headers.iter_mut().zip(&mut vectors).zip(buffers.zip(names))
        {
            vector.iov_base = bytes.as_mut_ptr().cast();
            vector.iov_len = bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_name = address.as_mut_ptr();
            header.msg_namelen = RawAddress::LEN;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.as_mut_ptr();
            header.msg_controllen = Control::LEN as _;
        }
        // SAFETY: every header points into arrays that live to the end of this function, with their true lengths; the socket is open.
        let filled = unsafe {
            let headers = headers.as_mut_ptr();
            libc::recvmmsg(fd, headers, SLOTS as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        let filled = usize::try_from(filled).map_err(|_| io::Error::last_os_error())?;
        let clocks = Clocks::read();
        for (index, header) in headers.iter().enumerate().take(filled) {
            self.book(clocks, index, header.msg_len as usize, header.msg_hdr.msg_controllen as _);
        }
        Ok(filled)
    }

    /// Notes one filled slot. Without both addresses there is nobody to answer: such a slot is left out.
    fn book(&mut self, clocks: Clocks, index: usize, len: usize, control_len: usize) {
        let received = self.controls[index].read(control_len);
        self.overflow = received.overflow.or(self.overflow);
        let (Some(remote), Some(local)) = (self.addresses[index].read(), received.local) else {
            return;
        };
        let segment = received.segment.unwrap_or(len).max(1);
        let arrival = clocks.arrival(received.stamp);
        self.slots.push(Slot { tuple: Tuple::udp(local, remote), arrival, len, segment, index });
    }
}
