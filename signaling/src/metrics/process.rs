//! The process as the kernel sees it, under the names that every Prometheus library uses.

use super::page::Page;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::fs::read_to_string;

/// `USER_HZ`, the unit of times in `/proc`: 100 on every architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    /// What cannot be read is left out.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        let stat = read_to_string("/proc/self/stat").ok();
        if let Some(seconds) = stat.as_deref().and_then(cpu_seconds) {
            let help = "Processor time of all threads, user and system.";
            page.counter("process_cpu_seconds", help, [([], seconds)])?;
        }
        let status = read_to_string("/proc/self/status").ok();
        if let Some(bytes) = status.as_deref().and_then(resident_bytes) {
            let help = "Resident memory.";
            page.gauge("process_resident_memory_bytes", help, [([], bytes)])?;
        }
        Ok(())
    }
}

/// `utime` and `stime` of `/proc/self/stat` (proc_pid_stat(5)).
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(user.checked_add(system)? as f64 / TICKS_PER_SECOND)
}

/// `VmRSS` of `/proc/self/status` (proc_pid_status(5)).
fn resident_bytes(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20 0 5 0 99";
        assert_eq!(cpu_seconds(stat), Some(2.81));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nVmX: 1 kB\n"), Some(2 << 20));
        assert_eq!((cpu_seconds("12 (a) S 1"), resident_bytes("VmRSS: many kB")), (None, None));
        let own = read_to_string("/proc/self/status").expect("Linux");
        assert!(resident_bytes(&own).expect("a size") > 1 << 20);
        let own = read_to_string("/proc/self/stat").expect("Linux");
        assert!(cpu_seconds(&own).is_some());
    }
}
