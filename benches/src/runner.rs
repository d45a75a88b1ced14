//! `run`: targets and points in turn, round after round, each with a fresh server; then the report.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::cli::{Options, Scenario};
use crate::load::Load;
use crate::plot;
use crate::progress::Progress;
use crate::report::{Cell, Row, json, table};
use crate::scenario::{Outcome, Point, Run};
use crate::target::{self, Endpoints, Target, TargetOptions};
use crate::window::figure;

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(200);

/// Measures and reports.
///
/// # Errors
/// What was asked for makes no sense; or, after the report, some runs failed.
pub(crate) fn run(scenario: &Scenario, options: &Options) -> anyhow::Result<()> {
    raise_file_limit();
    pin(options)?;
    let points = scenario.points()?;
    let mut names: Vec<&str> = options.targets.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.push(scenario.default_target());
    }
    let make = |name: &str| target::make(name, &target_options(options)?);
    let mut targets: Vec<Box<dyn Target>> =
        names.iter().copied().map(make).collect::<anyhow::Result<_>>()?;
    ensure!(options.rounds > 0 && !points.is_empty(), "nothing to measure");
    let mut rows: Vec<Row> = points.iter().map(|point| row(point, &names)).collect();
    let progress = Progress::new(options.rounds * points.len() * targets.len());
    for round in 1..=options.rounds {
        for (point, row) in points.iter().zip(&mut rows) {
            for (target, cell) in targets.iter_mut().zip(&mut row.cells) {
                let outcome = measure(scenario, point, target.as_mut(), options, &progress)
                    .unwrap_or_else(|error| failed(&error));
                progress.line(&summary(scenario, round, point, &cell.target, &outcome));
                progress.step();
                cell.outcomes.push(outcome);
            }
        }
    }
    drop(progress);
    report(scenario, options, &rows)?;
    let mut outcomes = rows.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.outcomes);
    ensure!(outcomes.all(|outcome| !outcome.figures.is_empty()), "some runs failed");
    Ok(())
}

/// A run without figures does not take the others' along.
fn failed(error: &anyhow::Error) -> Outcome {
    Outcome {
        figures: Vec::new(),
        objections: vec![format!("it failed: {error:#}")],
        profile: String::new(),
        notes: Vec::new(),
    }
}

fn target_options(options: &Options) -> anyhow::Result<TargetOptions> {
    let binary = match &options.server {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("switchyard"),
    };
    let endpoints = Endpoints {
        whip: options.whip.clone(),
        whep: options.whep.clone(),
        token: options.token.clone(),
    };
    Ok(TargetOptions { binary, workers: options.workers, endpoints, pids: options.pids.clone() })
}

fn row(point: &Point, targets: &[&str]) -> Row {
    let cell = |target: &&str| Cell { target: (*target).to_owned(), outcomes: Vec::new() };
    Row { x: point.x, label: point.label.clone(), cells: targets.iter().map(cell).collect() }
}

fn measure(
    scenario: &Scenario,
    point: &Point,
    target: &mut dyn Target,
    options: &Options,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    progress.phase("the server starts");
    target.start(options.server_cpus())?;
    let outcome = {
        let target: &dyn Target = target;
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let keeper = scope.spawn(|| keep_alive(target, &done));
            let outcome = Load::new()
                .and_then(|load| scenario.run(point, &mut Run { target, options, progress, load }));
            done.store(true, Ordering::Relaxed);
            let kept = keeper.join().unwrap_or(Ok(()));
            // What broke the sessions explains what broke the media.
            kept.and(outcome)
        })
    };
    target.stop();
    outcome
}

fn keep_alive(target: &dyn Target, done: &AtomicBool) -> anyhow::Result<()> {
    while !done.load(Ordering::Relaxed) {
        target.keep_alive()?;
        std::thread::sleep(KEEP_ALIVE_INTERVAL);
    }
    Ok(())
}

fn summary(
    scenario: &Scenario,
    round: usize,
    point: &Point,
    target: &str,
    outcome: &Outcome,
) -> String {
    if outcome.figures.is_empty() {
        return format!(
            "round {round}, {}, {target}: {}",
            point.label,
            outcome.objections.join(", ")
        );
    }
    let [first, second] =
        scenario.headline().map(|name| format!("{name} {:.3}", figure(&outcome.figures, name)));
    let mark = match outcome.objections.is_empty() {
        true => String::new(),
        false => format!(" (does not count: {})", outcome.objections.join(", ")),
    };
    format!("round {round}, {}, {target}: {first}, {second}{mark}", point.label)
}

fn report(scenario: &Scenario, options: &Options, rows: &[Row]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    write!(out, "{}", table(rows))?;
    let command: Vec<String> = std::env::args().collect();
    let text = serde_json::to_string_pretty(&json(&command, rows))?;
    std::fs::write(&options.json, text).with_context(|| options.json.display().to_string())?;
    write!(out, "\n{}", options.json.display())?;
    if let Some(svg) = plot::svg(scenario.axis(), scenario.headline(), rows)? {
        std::fs::write(&options.plot, svg).with_context(|| options.plot.display().to_string())?;
        write!(out, "  {}", options.plot.display())?;
    }
    writeln!(out)?;
    Ok(())
}

/// Every peer has a socket of its own.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it cannot be raised, the first socket too many says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn pin(options: &Options) -> anyhow::Result<()> {
    if options.unpinned {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in &options.generator_cpu {
        set.set(*cpu).with_context(|| format!("--generator-cpu {cpu}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).context("--generator-cpu")
}
