//! Which processor a thread runs on.

use std::io;

/// Pins the calling thread to the `index`-th processor of its affinity mask (counted around). Nothing happens where there is only one.
pub(crate) fn pin_current_thread(index: usize) -> io::Result<()> {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: all-zero is the empty `cpu_set_t`.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `allowed` is live and `size` its size; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let processors: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: below `CPU_SETSIZE`.
        .filter(|&processor| unsafe { libc::CPU_ISSET(processor, &allowed) })
        .collect();
    if processors.len() < 2 {
        return Ok(());
    }
    // SAFETY: all-zero is the empty `cpu_set_t`.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: below `CPU_SETSIZE`.
    unsafe { libc::CPU_SET(processors[index % processors.len()], &mut one) };
    // SAFETY: `one` is live and `size` its size; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size, &raw const one) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
