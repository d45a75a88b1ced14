//! Memory per subscriber.

use std::time::Duration;

use anyhow::ensure;

use super::{Outcome, Run, publisher, sample_every, subscriber};
use crate::cli::Video;
use crate::process::rss_kib;
use crate::target::Kind;
use crate::window::{LIMITS, Window, objections};

/// Connected, and nothing flows.
pub(super) const IDLE: &str = "memory per idle subscriber KiB";
/// Receiving video.
pub(super) const ACTIVE: &str = "memory per active subscriber KiB";
/// For what is freed and grown after the last join.
const SETTLE_SECONDS: u64 = 3;

/// The publisher's own memory is there before: it sends, then holds its media while the others join, and sends again.
pub(super) fn run(run: &mut Run<'_>, subscribers: usize, video: &Video) -> anyhow::Result<Outcome> {
    let pids = run.target.pids();
    ensure!(!pids.is_empty(), "the memory of a server elsewhere cannot be read");
    let shape = video.shape();
    let mut habits = run.options.habits();
    habits.sample_every = sample_every(shape.rate(), subscribers);
    run.join(vec![publisher("bench", shape, Some(Duration::ZERO), &habits)])?;
    run.wait(run.options.warm_up, "the publisher alone")?;
    run.load.pause_media();
    run.wait(SETTLE_SECONDS, "nothing flows")?;
    let empty = rss_kib(&pids)?;
    run.join(vec![subscriber("bench", Kind::Video, &habits); subscribers])?;
    run.wait(SETTLE_SECONDS, "nothing flows")?;
    let idle = rss_kib(&pids)?;
    run.load.start_media();
    run.wait(run.options.warm_up, "warming up")?;
    let window = Window::open(&mut run.load, run.target, run.options.server_cpus())?;
    run.wait(run.options.seconds, "measuring")?;
    let active = rss_kib(&pids)?;
    let each = |kib: u64| kib.saturating_sub(empty) as f64 / subscribers as f64;
    let mut figures = vec![
        (IDLE, each(idle)),
        (ACTIVE, each(active)),
        ("active: kbit/s of payload", shape.rate() * shape.payload as f64 * 8.0 / 1000.0),
        ("server memory before MiB", empty as f64 / 1024.0),
    ];
    figures.extend(window.close(&run.load)?);
    let objections = objections(&figures, LIMITS);
    Ok(Outcome { figures, objections, profile: run.profile(), notes: Vec::new() })
}
