//! A storm of joins beside a broadcast: how long each takes, and what the others notice.

use std::time::Duration;

use super::{Outcome, Run, publisher, sample_every, subscriber};
use crate::cli::Joins;
use crate::stats::quantile;
use crate::target::Kind;
use crate::window::{
    CPU_PER_PACKET, Figures, LIMITS, Limits, VIDEO_P99, Window, figure, objections,
};

/// From the wish to join until media could flow.
pub(super) const JOIN_P99: &str = "join p99 s";

/// What joins receives nothing, so that forwarding to it is not counted with joining: its room has a publisher who holds its media.
pub(super) fn run(run: &mut Run<'_>, options: &Joins, joins: usize) -> anyhow::Result<Outcome> {
    let shape = options.video.shape();
    let mut habits = run.options.habits();
    habits.sample_every = sample_every(shape.rate(), options.subscribers);
    let publishers = vec![
        publisher("bench", shape, Some(Duration::ZERO), &habits),
        publisher("storm", shape, None, &habits),
    ];
    run.join(publishers)?;
    run.join(vec![subscriber("bench", Kind::Video, &habits); options.subscribers])?;
    run.wait(run.options.warm_up, "warming up")?;
    let cpus = run.options.server_cpus().to_vec();

    let window = Window::open(&mut run.load, run.target, &cpus)?;
    run.wait(run.options.seconds, "before the joins")?;
    let (quiet_cpu, quiet) = (window.server_cpu()?.as_secs_f64(), window.elapsed().as_secs_f64());
    let before = window.close(&run.load)?;

    let already = run.load.peers.len();
    let window = Window::open(&mut run.load, run.target, &cpus)?;
    run.join(vec![subscriber("storm", Kind::Video, &habits); joins])?;
    let (storm_cpu, storm) = (window.server_cpu()?.as_secs_f64(), window.elapsed().as_secs_f64());
    let during = window.close(&run.load)?;

    let joined = run.load.peers.iter().skip(already).filter_map(|peer| peer.joined_after);
    let joined: Vec<f64> = joined.map(|time| time.as_secs_f64()).collect();
    let spent = storm_cpu - quiet_cpu / quiet * storm;
    let mut figures: Figures = vec![
        ("joined", joined.len() as f64),
        ("join p50 s", quantile(joined.clone(), 0.5)),
        (JOIN_P99, quantile(joined.clone(), 0.99)),
        ("join worst s", quantile(joined.clone(), 1.0)),
        ("joins per second of server CPU", joined.len() as f64 / spent),
        ("video delay p99 ms before", figure(&before, VIDEO_P99)),
    ];
    // The generator's half of the handshakes is work, too.
    let objections = objections(&during, Limits { busy: f64::INFINITY, ..LIMITS });
    // What the server spent here, it spent on joining.
    figures.extend(during.into_iter().filter(|(name, _)| *name != CPU_PER_PACKET));
    Ok(Outcome { figures, objections, profile: run.profile(), notes: Vec::new() })
}
