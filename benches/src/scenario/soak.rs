//! The same for long: does the delay grow, or the memory?

use anyhow::ensure;

use super::{Outcome, Run, publisher, sample_every, subscriber};
use crate::cli::Soak;
use crate::process::rss_kib;
use crate::target::Kind;
use crate::window::{Figures, LIMITS, VIDEO_P99, Window, figure, objections};
use std::time::Duration;

/// Of the last tenth of the minutes, less that of the first tenth.
pub(super) const P99_DRIFT: &str = "video delay p99 drift ms";
/// As a share of what there was after the first tenth.
pub(super) const MEMORY_DRIFT: &str = "memory drift %";
/// Seconds of one window.
const WINDOW: u64 = 60;
const P99_DRIFT_MAX: f64 = 1.0;
const MEMORY_DRIFT_MAX: f64 = 2.0;

/// A broadcast, measured minute by minute.
pub(super) fn run(run: &mut Run<'_>, own: &Soak, minutes: usize) -> anyhow::Result<Outcome> {
    let pids = run.target.pids();
    ensure!(!pids.is_empty(), "the memory of a server elsewhere cannot be read");
    ensure!(minutes >= 2, "a soak has at least 2 minutes");
    let shape = own.video.shape();
    let mut habits = run.options.habits();
    habits.sample_every = sample_every(shape.rate(), own.subscribers);
    run.join(vec![publisher("bench", shape, Some(Duration::ZERO), &habits)])?;
    run.join(vec![subscriber("bench", Kind::Video, &habits); own.subscribers])?;
    run.wait(run.options.warm_up, "warming up")?;
    let (mut delays, mut memory) = (Vec::new(), Vec::new());
    let (mut all, mut last) = (Vec::new(), Figures::new());
    for minute in 1..=minutes {
        let window = Window::open(&mut run.load, run.target, run.options.server_cpus())?;
        run.wait(WINDOW, &format!("minute {minute} of {minutes}"))?;
        last = window.close(&run.load)?;
        let objected = objections(&last, LIMITS);
        all.extend(objected.into_iter().map(|objection| format!("minute {minute}: {objection}")));
        delays.push(figure(&last, VIDEO_P99));
        memory.push(rss_kib(&pids)? as f64 / 1024.0);
        run.progress.line(&format!(
            "minute {minute:3}: p99 {:.2} ms, {:.1} MiB, loss {:.3} %",
            figure(&last, VIDEO_P99),
            memory[minute - 1],
            figure(&last, crate::window::LOSS),
        ));
    }
    let tenth = minutes.div_ceil(10);
    let (first_delay, last_delay) = (mean(&delays[..tenth]), mean(&delays[minutes - tenth..]));
    let (first_memory, last_memory) = (memory[tenth - 1], memory[minutes - 1]);
    let memory_drift = 100.0 * (last_memory / first_memory - 1.0);
    if last_delay - first_delay > P99_DRIFT_MAX {
        all.push(format!("p99 went from {first_delay:.2} to {last_delay:.2} ms"));
    }
    if memory_drift > MEMORY_DRIFT_MAX {
        all.push(format!("memory went from {first_memory:.1} to {last_memory:.1} MiB"));
    }
    let mut figures: Figures = vec![
        (P99_DRIFT, last_delay - first_delay),
        (MEMORY_DRIFT, memory_drift),
        ("first p99 ms", first_delay),
        ("worst minute's p99 ms", delays.iter().copied().fold(0.0, f64::max)),
        ("server memory MiB", last_memory),
    ];
    figures.extend(last);
    Ok(Outcome { figures, objections: all, profile: run.profile(), notes: Vec::new() })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
