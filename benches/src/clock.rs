//! The wall clock: stamps in payloads are compared with the kernel's arrival times, which are wall clock too.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds from the NTP era to the Unix epoch.
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// Nanoseconds since 1970.
pub(crate) fn wall_ns() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
}

/// As a 64-bit NTP timestamp.
pub(crate) fn ntp(wall_ns: u64) -> u64 {
    let seconds = (wall_ns / 1_000_000_000).wrapping_add(NTP_UNIX_OFFSET) & 0xFFFF_FFFF;
    (seconds << 32) | (((wall_ns % 1_000_000_000) << 32) / 1_000_000_000)
}
