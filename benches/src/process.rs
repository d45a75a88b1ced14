//! The server as a process of its own, and what the kernel says of it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const START_DEADLINE: Duration = Duration::from_secs(10);

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts `binary` with one media worker on processor `cpu` (`None`: anywhere), listening on loopback.
    pub(crate) fn start(binary: &Path, cpu: Option<usize>) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = match cpu {
            // It becomes the server: the process id stays.
            Some(cpu) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(cpu.to_string()).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.args(["--workers", "1", "--media-ip", "127.0.0.1", "--listen"]);
        command.arg(address.to_string()).env("RUST_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child =
            command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child, address };
        let end = Instant::now() + START_DEADLINE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            if Instant::now() > end {
                bail!("the server does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// Time on a processor of all its threads, kernel included.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(&self.child.id().to_string())
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Time on a processor of all threads of `pid` (`self`: ours): the first field of schedstat, in nanoseconds.
pub(crate) fn cpu_of(pid: &str) -> anyhow::Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two reads.
        let Ok(stat) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        total += stat.split(' ').next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

/// Ticks of processor `cpu` since the machine started: busy, stolen by the hypervisor, and all.
pub(crate) fn processor_ticks(cpu: usize) -> anyhow::Result<[u64; 3]> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name)).context("/proc/stat")?;
    let ticks: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal; guests are counted within.
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else {
        bail!("/proc/stat is short");
    };
    let busy = user + nice + system + irq + softirq;
    Ok([busy, steal, busy + steal + idle + iowait])
}
