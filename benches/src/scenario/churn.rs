//! People come and go on a real server: does anything of them stay?

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{Outcome, Run, single};
use crate::cli::Churn;
use crate::load::Load;
use crate::lobby::{Joiner, Role, begin};
use crate::process::rss_kib;
use crate::publication::Shape;
use crate::window::Figures;

/// Of what there was after the first tenth of the cycles.
pub(super) const MEMORY_DRIFT: &str = "memory drift %";
/// Of cycles.
pub(super) const RATE: &str = "cycles per second";
const MEMORY_DRIFT_MAX: f64 = 2.0;
/// In a room at once: a third leaves with a word, a third is gone from one moment to the next, a third does not get to the end of its handshake.
const TOGETHER: usize = 12;
/// How long those who connect send and receive.
const STAY: Duration = Duration::from_millis(300);
/// How far a handshake gets that is not finished.
const BEGUN: Duration = Duration::from_millis(4);
/// Longer than the server waits for anybody.
const REST: Duration = Duration::from_secs(90);

/// So many join, send, receive and leave.
pub(super) fn run(run: &mut Run<'_>, own: &Churn, cycles: usize) -> anyhow::Result<Outcome> {
    let pids = run.target.pids();
    ensure!(!pids.is_empty(), "the memory of a server elsewhere cannot be read");
    let (start, tenth) = (Instant::now(), (cycles / 10).max(TOGETHER));
    let (mut done, mut resting, mut memory) = (0, Duration::ZERO, Vec::new());
    while done < cycles {
        while done < (memory.len() + 1) * tenth {
            together(run, done, &own.video.shape())?;
            done += TOGETHER;
        }
        let rest = Instant::now();
        wait_for_nobody(run)?;
        resting += rest.elapsed();
        memory.push(rss_kib(&pids)? as f64 / 1024.0);
        run.progress
            .line(&format!("{done} cycles: nothing left, {:.1} MiB", memory[memory.len() - 1]));
    }
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    let drift = 100.0 * (last / first - 1.0);
    let mut objections = Vec::new();
    if drift > MEMORY_DRIFT_MAX {
        objections.push(format!("memory went from {first:.1} to {last:.1} MiB"));
    }
    let figures: Figures = vec![
        (MEMORY_DRIFT, drift),
        (RATE, done as f64 / (start.elapsed() - resting).as_secs_f64()),
        ("cycles", done as f64),
        ("memory after the first tenth MiB", first),
        ("memory at the end MiB", last),
    ];
    Ok(Outcome { figures, objections, profile: String::new(), notes: Vec::new() })
}

fn together(run: &mut Run<'_>, done: usize, video: &Shape) -> anyhow::Result<()> {
    let joiner = |number: usize| Joiner {
        // One room would be full of those who have gone without a word and are waited for.
        room: format!("churn{}", done / TOGETHER),
        role: Role::Meet {
            tag: format!("participant{number}"),
            sends: vec![single(Shape::audio(120)), single(*video)],
            others: TOGETHER,
        },
        start: Some(Duration::ZERO),
        habits: run.options.habits(),
    };
    let connect = (0..TOGETHER * 2 / 3).map(|number| joiner(done + number)).collect();
    let rest: Vec<Joiner> = (TOGETHER * 2 / 3..TOGETHER).map(|n| joiner(done + n)).collect();
    run.join(connect)?;
    run.load.run_for(STAY)?;
    for joiner in rest {
        begin(run.target, &mut run.load, joiner)?;
        run.load.run_for(BEGUN)?;
    }
    run.target.leave(TOGETHER / 3)?;
    run.load = Load::new()?;
    Ok(())
}

/// Waits until the server counts nobody and nothing any more.
fn wait_for_nobody(run: &Run<'_>) -> anyhow::Result<()> {
    let end = Instant::now() + REST;
    loop {
        let live = run.target.live()?.context("this target does not tell what lives in it")?;
        let left: Vec<String> =
            live.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < end, "still there after {REST:?}: {}", left.join(", "));
        std::thread::sleep(Duration::from_millis(200));
    }
}
