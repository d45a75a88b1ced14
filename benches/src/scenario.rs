//! What is run: who joins, when it counts, what is measured.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::load::Load;
use crate::lobby::{Lobby, Role};
use crate::process::{Server, cpu_of, processor_ticks};
use crate::reception::RUNS;
use crate::sdp::{Kind, Section};
use crate::signaling::Wishes;

/// Before anything counts: caches fill, congestion control settles.
const WARM_UP: Duration = Duration::from_secs(5);
/// Of a broadcast every hundredth packet or so is decrypted: a prime, so that every position in a frame has its turn.
const SAMPLE_EVERY: u64 = 101;
/// The server asks for receive sections in steps of four, and this client offers once.
const PARTICIPANTS_MAX: usize = 5;

/// Who is in the room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    /// One publishes video, all others receive it.
    Broadcast { subscribers: usize },
    /// Everybody publishes video and audio and receives all others.
    Meeting { participants: usize },
}

/// What one run measured in its window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) repairs: u64,
    pub(crate) corrupt: u64,
    pub(crate) keyframe_requests: u64,
    /// µs of server per packet that arrived.
    pub(crate) cpu_us_per_packet: f64,
    /// Share of one processor, in percent.
    pub(crate) server_busy: f64,
    pub(crate) generator_busy: f64,
    /// What others took of the server's processor, in percent; not a number when it is not pinned.
    pub(crate) others_busy: f64,
    /// What the hypervisor took of it.
    pub(crate) stolen: f64,
    /// In ns, sorted: audio, video.
    pub(crate) delays: [Vec<u64>; 2],
    /// Share of the packets in GSO runs of 1, 2, …, in percent.
    pub(crate) runs: [f64; RUNS],
    pub(crate) rss_before_kib: u64,
    pub(crate) rss_after_kib: u64,
    /// Receivers that joined between the two.
    pub(crate) joined: usize,
    /// From the first join to the last connected peer.
    pub(crate) join_seconds: f64,
    pub(crate) profile: String,
}

/// One run against a fresh server.
pub(crate) fn run(
    scenario: Scenario,
    seconds: u64,
    binary: &Path,
    server_cpu: Option<usize>,
    feedback: Option<Duration>,
) -> anyhow::Result<Measured> {
    let server = Server::start(binary, server_cpu)?;
    let mut load = Load::new()?;
    let lobby = Lobby::open(server.address, feedback);
    let (first, others) = roles(scenario)?;
    lobby.join(&mut load, first)?;
    load.run_for(WARM_UP)?;
    let mut measured =
        Measured { rss_before_kib: server.rss_kib()?, joined: others.len(), ..Measured::default() };
    let joining = Instant::now();
    lobby.join(&mut load, others)?;
    measured.join_seconds = joining.elapsed().as_secs_f64();
    load.run_for(WARM_UP)?;
    let noise = Noise::begin(server_cpu)?;
    measure(&mut load, &server, Duration::from_secs(seconds), &mut measured)?;
    (measured.others_busy, measured.stolen) = noise.end(measured.server_busy)?;
    lobby.check()?;
    let profile = load.peers.last().and_then(|peer| peer.profile).context("no peer")?;
    measured.profile = profile.name().to_owned();
    ensure!(measured.received > 0, "no packet arrived");
    Ok(measured)
}

/// Watches the server's processor: on a busy machine caches are cold, and the figures say less.
struct Noise {
    cpu: Option<usize>,
    ticks: [u64; 3],
}

impl Noise {
    fn begin(cpu: Option<usize>) -> anyhow::Result<Self> {
        Ok(Self { cpu, ticks: cpu.map(processor_ticks).transpose()?.unwrap_or_default() })
    }

    /// Shares in percent of others than the server, and of the hypervisor.
    fn end(self, server_busy: f64) -> anyhow::Result<(f64, f64)> {
        let Some(cpu) = self.cpu else { return Ok((f64::NAN, f64::NAN)) };
        let now = processor_ticks(cpu)?;
        let share = |index: usize| {
            100.0 * (now[index] - self.ticks[index]) as f64 / (now[2] - self.ticks[2]) as f64
        };
        Ok(((share(0) - server_busy).max(0.0), share(1)))
    }
}

fn measure(
    load: &mut Load,
    server: &Server,
    time: Duration,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    for peer in &mut load.peers {
        peer.reception.delays = Default::default();
        peer.reception.runs = Default::default();
    }
    let begin = (Instant::now(), server.cpu()?, cpu_of("self")?, load.counts());
    load.run_for(time)?;
    let (seconds, server_cpu) = (begin.0.elapsed().as_secs_f64(), server.cpu()? - begin.1);
    let generator_cpu = cpu_of("self")? - begin.2;
    let counts = load.counts();
    let received = counts.received - begin.3.received;
    measured.seconds = seconds;
    measured.received = received;
    measured.lost = (counts.expected - begin.3.expected).saturating_sub(received);
    measured.repairs = counts.repairs - begin.3.repairs;
    measured.corrupt = counts.corrupt;
    measured.cpu_us_per_packet = server_cpu.as_secs_f64() * 1e6 / received as f64;
    measured.server_busy = 100.0 * server_cpu.as_secs_f64() / seconds;
    measured.generator_busy = 100.0 * generator_cpu.as_secs_f64() / seconds;
    measured.rss_after_kib = server.rss_kib()?;
    measured.keyframe_requests = load.peers.iter().map(|peer| peer.keyframe_requests).sum();
    let total: u64 = load.peers.iter().flat_map(|peer| peer.reception.runs).sum();
    for peer in &load.peers {
        for (share, count) in measured.runs.iter_mut().zip(peer.reception.runs) {
            *share += 100.0 * count as f64 / total.max(1) as f64;
        }
        for (all, own) in measured.delays.iter_mut().zip(&peer.reception.delays) {
            all.extend(own);
        }
    }
    measured.delays.iter_mut().for_each(|delays| delays.sort_unstable());
    Ok(())
}

/// Who joins before the memory is read for the first time, and who after it.
fn roles(scenario: Scenario) -> anyhow::Result<(Vec<Role>, Vec<Role>)> {
    let video = || Section { kind: Kind::Video, sends: Some((rand::random(), rand::random())) };
    let audio = || Section { kind: Kind::Audio, sends: Some((rand::random(), rand::random())) };
    match scenario {
        Scenario::Broadcast { subscribers } => {
            let nothing = Wishes { max_audio: 0, max_video: 0 };
            let camera = Wishes { max_audio: 0, max_video: 1 };
            let publisher =
                Role { wishes: nothing, sends: vec![video()], sample_every: SAMPLE_EVERY };
            let subscriber = Role { wishes: camera, sends: Vec::new(), sample_every: SAMPLE_EVERY };
            Ok((vec![publisher], vec![subscriber; subscribers]))
        }
        Scenario::Meeting { participants } => {
            ensure!(
                (2..=PARTICIPANTS_MAX).contains(&participants),
                "2 to {PARTICIPANTS_MAX} participants"
            );
            let others = participants as u16 - 1;
            let wishes = Wishes { max_audio: others, max_video: others };
            let role = || Role { wishes, sends: vec![audio(), video()], sample_every: 1 };
            Ok((vec![role()], (1..participants).map(|_| role()).collect()))
        }
    }
}
