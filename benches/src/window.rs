//! The part of a run that counts: what the server cost in it, what arrived, and how disturbed it was.

use std::time::{Duration, Instant};

use crate::load::Load;
use crate::process::{cpu_of, processor_ticks};
use crate::reception::Counts;
use crate::stats::quantile_ms;
use crate::target::{Kind, Target};

/// More loss than this and a figure says little; in percent.
pub(crate) const LOSS_MAX: f64 = 0.1;
/// A busier generator measures itself; in percent of one processor.
pub(crate) const GENERATOR_BUSY_MAX: f64 = 70.0;

/// Figures by name, in the order in which they are shown. What does not apply is not a number.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// µs of server per packet that arrived.
pub(crate) const CPU_PER_PACKET: &str = "server CPU µs per packet";
/// Of video.
pub(crate) const VIDEO_P99: &str = "video delay p99 ms";
/// Of audio.
pub(crate) const AUDIO_P99: &str = "audio delay p99 ms";
/// Of the generator.
pub(crate) const GENERATOR_BUSY: &str = "generator busy %";
/// Of what was to arrive.
pub(crate) const LOSS: &str = "loss %";
/// That arrived.
pub(crate) const PACKET_RATE: &str = "packets per second";

/// The value of a figure; not a number when it is not there.
pub(crate) fn figure(figures: &Figures, name: &str) -> f64 {
    figures.iter().find(|(own, _)| *own == name).map_or(f64::NAN, |(_, value)| *value)
}

/// An open window.
pub(crate) struct Window {
    pids: Vec<u32>,
    cpus: Vec<usize>,
    begin: Instant,
    server_cpu: Duration,
    generator_cpu: Duration,
    counts: Counts,
    keyframe_requests: u64,
    ticks: [u64; 3],
}

fn keyframe_requests(load: &Load) -> u64 {
    load.peers.iter().map(|peer| peer.keyframe_requests).sum()
}

impl Window {
    /// Begins to count. `cpus` are the server's.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn open(
        load: &mut Load,
        target: &dyn Target,
        cpus: &[usize],
    ) -> anyhow::Result<Self> {
        let pids = target.pids();
        load.stats.clear();
        Ok(Self {
            begin: Instant::now(),
            server_cpu: cpu_of(&pids)?,
            generator_cpu: cpu_of(&[std::process::id()])?,
            counts: load.counts(),
            keyframe_requests: keyframe_requests(load),
            ticks: processor_ticks(cpus)?,
            pids,
            cpus: cpus.to_vec(),
        })
    }

    /// Time on a processor of the server since the window was opened.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn server_cpu(&self) -> anyhow::Result<Duration> {
        Ok(cpu_of(&self.pids)?.saturating_sub(self.server_cpu))
    }

    /// Since it was opened.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Ends the window.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub(crate) fn close(self, load: &Load) -> anyhow::Result<Figures> {
        let seconds = self.begin.elapsed().as_secs_f64();
        let server = self.server_cpu()?.as_secs_f64();
        let generator = cpu_of(&[std::process::id()])?.saturating_sub(self.generator_cpu);
        let ticks = processor_ticks(&self.cpus)?;
        let share = |index: usize| {
            let all = (ticks[2] - self.ticks[2]) as f64;
            100.0 * self.cpus.len() as f64 * (ticks[index] - self.ticks[index]) as f64 / all
        };
        let here = if self.pids.is_empty() { f64::NAN } else { 1.0 };
        let counts = load.counts();
        let received = counts.received - self.counts.received;
        let expected = counts.expected - self.counts.expected;
        let lost = expected.saturating_sub(received);
        let busy = here * 100.0 * server / seconds;
        let requests = keyframe_requests(load) - self.keyframe_requests;
        let mut figures = vec![
            (CPU_PER_PACKET, here * server * 1e6 / received as f64),
            ("server busy %", busy),
            ("others on its processors %", (share(0) - busy).max(0.0)),
            ("stolen from them %", share(1)),
            (GENERATOR_BUSY, 100.0 * generator.as_secs_f64() / seconds),
            ("generator slip p99 ms", quantile_ms(&load.stats.slip, 0.99)),
            (PACKET_RATE, received as f64 / seconds),
            (LOSS, 100.0 * lost as f64 / expected as f64),
            ("resent packets", (counts.resent - self.counts.resent) as f64),
            ("corrupt packets", (counts.corrupt - self.counts.corrupt) as f64),
            ("compared packets", (counts.compared - self.counts.compared) as f64),
            ("keyframe requests", requests as f64),
        ];
        figures.extend(delays(load));
        Ok(figures)
    }
}

fn delays(load: &Load) -> Figures {
    let stats = &load.stats;
    vec![
        ("video delay p50 ms", stats.delay_ms(Kind::Video, 0.5)),
        (VIDEO_P99, stats.delay_ms(Kind::Video, 0.99)),
        ("video delay p99.9 ms", stats.delay_ms(Kind::Video, 0.999)),
        ("audio delay p50 ms", stats.delay_ms(Kind::Audio, 0.5)),
        (AUDIO_P99, stats.delay_ms(Kind::Audio, 0.99)),
        ("audio delay p99.9 ms", stats.delay_ms(Kind::Audio, 0.999)),
        ("% of packets in runs of 1", stats.run_share(|length| length == 1)),
        ("% in runs of 2 to 4", stats.run_share(|length| (2..=4).contains(&length))),
        ("% in runs of 5", stats.run_share(|length| length == 5)),
        ("% in runs of 6 to 9", stats.run_share(|length| (6..=9).contains(&length))),
        ("% in runs of 10 and more", stats.run_share(|length| length >= 10)),
    ]
}

/// Beyond these, in percent, figures do not count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) loss: f64,
    pub(crate) busy: f64,
}

/// What holds where nothing else is said.
pub(crate) const LIMITS: Limits = Limits { loss: LOSS_MAX, busy: GENERATOR_BUSY_MAX };

/// Why these figures do not count, if so.
pub(crate) fn objections(figures: &Figures, limits: Limits) -> Vec<String> {
    let mut objections = Vec::new();
    let (loss, busy) = (figure(figures, LOSS), figure(figures, GENERATOR_BUSY));
    if loss >= limits.loss {
        objections.push(format!("{loss:.2} % loss"));
    }
    if busy > limits.busy {
        objections.push(format!("the generator was {busy:.0} % busy"));
    }
    if figure(figures, "corrupt packets") > 0.0 {
        objections.push("wrong bytes arrived".to_owned());
    }
    if figure(figures, PACKET_RATE) == 0.0 {
        objections.push("nothing arrived".to_owned());
    }
    objections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_count_says_why() {
        let figures = |loss, busy, corrupt| {
            vec![(LOSS, loss), (GENERATOR_BUSY, busy), ("corrupt packets", corrupt)]
        };
        assert!(objections(&figures(0.09, 70.0, 0.0), LIMITS).is_empty());
        assert_eq!(objections(&figures(0.1, 71.0, 1.0), LIMITS).len(), 3);
        let loss = f64::INFINITY;
        assert!(objections(&figures(0.1, 70.0, 0.0), Limits { loss, ..LIMITS }).is_empty());
        assert!(figure(&figures(0.0, 0.0, 0.0), "no such thing").is_nan());
    }
}
