//! Servers as processes of their own, and what the kernel says of them.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const START_DEADLINE: Duration = Duration::from_secs(10);

/// A running process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `program` on the processors `cpus` (empty: anywhere) and waits until something listens on TCP `address`. What it
    /// writes to standard error is shown.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not listen within 10 s.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        address: SocketAddr,
        cpus: &[usize],
    ) -> anyhow::Result<Self> {
        let mut command = if cpus.is_empty() {
            Command::new(program)
        } else {
            // It becomes the server: the process id stays.
            let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
            let mut command = Command::new("taskset");
            command.arg("-c").arg(list.join(",")).arg(program);
            command
        };
        // A measurement goes to the limit, where our server would refuse newcomers.
        command.env("SWITCHYARD_MAX_LOAD", "100").env("RUST_LOG", "warn");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self { child, address };
        let end = Instant::now() + START_DEADLINE;
        while TcpStream::connect(address).is_err() {
            server.check()?;
            if Instant::now() > end {
                bail!("{} does not listen on {address}", program.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Starts the server `binary` of this project on a free port of loopback.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn switchyard(
        binary: &Path,
        workers: usize,
        cpus: &[usize],
    ) -> anyhow::Result<Self> {
        Self::switchyard_at(free_port()?, binary, workers, cpus)
    }

    /// The same on a port of loopback that is known.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn switchyard_at(
        address: SocketAddr,
        binary: &Path,
        workers: usize,
        cpus: &[usize],
    ) -> anyhow::Result<Self> {
        let workers = workers.to_string();
        let listen = address.to_string();
        let arguments = ["--workers", &workers, "--media-ip", "127.0.0.1", "--listen", &listen];
        Self::start(binary, arguments, address, cpus)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// # Errors
    /// The process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status}"),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of loopback on which nobody listened a moment ago.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Time on a processor of all threads of these processes, kernel included: the first field of schedstat.
pub(crate) fn cpu_of(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut total = 0;
    for pid in pids {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the two reads.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            total += stat.split(' ').next().context("schedstat")?.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(total))
}

/// Resident memory of these processes in KiB.
pub(crate) fn rss_kib(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().try_fold(0, |sum, pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(sum + line.trim().trim_end_matches("kB").trim().parse::<u64>()?)
    })
}

/// Ticks of these processors since the machine started: busy, stolen by the hypervisor, and all.
pub(crate) fn processor_ticks(cpus: &[usize]) -> anyhow::Result<[u64; 3]> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let mut sum = [0; 3];
    for cpu in cpus {
        let name = format!("cpu{cpu} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name)).context("/proc/stat")?;
        let ticks: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        // user nice system idle iowait irq softirq steal; guests are counted within.
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else {
            bail!("/proc/stat is short");
        };
        let busy = user + nice + system + irq + softirq;
        sum[0] += busy;
        sum[1] += steal;
        sum[2] += busy + steal + idle + iowait;
    }
    Ok(sum)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_this_process_takes() {
        let own = [std::process::id()];
        let before = cpu_of(&own).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(30) {
            std::hint::black_box(begun);
        }
        let took = cpu_of(&own).unwrap() - before;
        assert!(took > Duration::from_millis(3), "{took:?}");
        assert!(rss_kib(&own).unwrap() > 100);
        assert_eq!(rss_kib(&[]).unwrap(), 0);
        let [busy, stolen, all] = processor_ticks(&[0]).unwrap();
        assert!(busy + stolen <= all);
    }

    #[test]
    fn a_server_that_ends_is_an_error() {
        let address = free_port().unwrap();
        let error = Server::start(Path::new("/bin/false"), [""; 0], address, &[]).unwrap_err();
        assert!(error.to_string().contains("ended"), "{error}");
    }
}
