//! Two sockets on one port: what must be answered at once, and reports that can wait for company.
//!
//! Hundreds of subscribers send a report every 50 to 100 ms each, and a thread that sleeps in between pays for a wake-up per report, far more
//! than the report itself costs. So the kernel sorts them out (a classic BPF program on a reuse-port group, no privilege needed): transport-wide
//! feedback and lone receiver reports go to a socket of their own that the worker may leave alone for some milliseconds. Both keep
//! the kernel's arrival time, so that no measurement suffers. Compound packets may hold a NACK and go the prompt way.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// RTCP packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
const RECEIVER_REPORT: u32 = 201;
const TRANSPORT_FEEDBACK: u32 = 205;
/// First byte of a transport-wide feedback packet: version 2, format 15; the padding bit does not matter.
const FEEDBACK_BYTE: u32 = 0x8f;
const FEEDBACK_MASK: u32 = 0xdf;
/// RTCP header plus the longest SRTCP trailer (index and GCM tag): a datagram that is longer than its first packet and these holds another one.
const OVERHEAD: u32 = 4 + 4 + 16;

/// Position of each socket in the group, which is the order in which they were bound.
const PROMPT: u32 = 0;
const PATIENT: u32 = 1;

/// Number of instructions.
const LEN: usize = 16;

/// The program. Offsets are into the UDP payload; a load beyond its end returns 0, which is [`PROMPT`].
fn program() -> [libc::sock_filter; LEN] {
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Jumps count from the next instruction.
    let jump = |kind: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | kind) as u16,
        jt,
        jf,
        k,
    };
    let byte = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let half = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    let equal = libc::BPF_JEQ | libc::BPF_K;
    [
        op(byte, 1),
        jump(equal, RECEIVER_REPORT, 1, 0),
        jump(equal, TRANSPORT_FEEDBACK, 3, 12),
        // 3: a report; version 2?
        op(byte, 0),
        op(libc::BPF_ALU | libc::BPF_AND, 0xc0),
        jump(equal, 0x80, 3, 9),
        // 6: feedback; the transport-wide one?
        op(byte, 0),
        op(libc::BPF_ALU | libc::BPF_AND, FEEDBACK_MASK),
        jump(equal, FEEDBACK_BYTE, 0, 6),
        // 9: nothing behind it? The length field counts words beyond the first.
        op(half, 2),
        op(libc::BPF_ALU | libc::BPF_LSH, 2),
        op(libc::BPF_ALU | libc::BPF_ADD, OVERHEAD),
        op(libc::BPF_LDX | libc::BPF_W | libc::BPF_LEN, 0),
        jump(libc::BPF_JGE | libc::BPF_X, 0, 0, 1),
        op(libc::BPF_RET, PATIENT),
        op(libc::BPF_RET, PROMPT),
    ]
}

/// Attaches the program to the group that `socket` is the first member of.
///
/// # Errors
/// As `setsockopt(2)`: not a group, or a sandbox that knows no `SO_ATTACH_REUSEPORT_CBPF` (Linux 4.5).
pub(super) fn attach(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut instructions = program();
    let filter = libc::sock_fprog { len: LEN as u16, filter: instructions.as_mut_ptr() };
    // SAFETY: `filter` and the instructions it points to live to the end of this function; the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
