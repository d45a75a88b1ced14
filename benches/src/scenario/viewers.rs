//! Viewers who come to a stream that is on: when each has its first frame, and how many keyframes the publisher is asked for.

use std::time::Duration;

use super::{Outcome, Run, publisher, sample_every, subscriber};
use crate::cli::Viewers;
use crate::stats::quantile;
use crate::target::Kind;
use crate::window::{CPU_PER_PACKET, Figures, LIMITS, Limits, Window, objections};

/// From the wish to watch until the first frame is whole.
pub(super) const FIRST_FRAME_P95: &str = "first frame p95 ms";
/// In the window.
pub(super) const REQUESTS: &str = "keyframe requests";

/// Somebody watches from the start; the others come one by one at random moments, or all at once.
pub(super) fn run(run: &mut Run<'_>, options: &Viewers, viewers: usize) -> anyhow::Result<Outcome> {
    let mut shape = options.video.shape();
    shape.keyframe_every = options.keyframe_seconds.map(|seconds| seconds * 30);
    let mut habits = run.options.habits();
    habits.deaf = options.deaf;
    habits.sample_every = sample_every(shape.rate(), viewers);
    run.join(vec![publisher("bench", shape, Some(Duration::ZERO), &habits)])?;
    run.join(vec![subscriber("bench", Kind::Video, &habits)])?;
    run.wait(run.options.warm_up, "warming up")?;
    let already = run.load.peers.len();
    let window = Window::open(&mut run.load, run.target, run.options.server_cpus())?;
    let one = || subscriber("bench", Kind::Video, &habits);
    if options.at_once {
        run.join(vec![one(); viewers])?;
    } else {
        for left in (0..viewers).rev() {
            run.progress.phase(&format!("{left} viewers left to come"));
            run.load.run_for(Duration::from_millis(rand::random_range(0..400)))?;
            run.join(vec![one()])?;
        }
    }
    run.wait(2, "the last ones begin")?;
    let counted = window.close(&run.load)?;
    let came = run.load.peers.iter().skip(already);
    let firsts = came.filter_map(|peer| peer.first_frame_after);
    let firsts: Vec<f64> = firsts.map(|time| time.as_secs_f64() * 1e3).collect();
    let mut figures: Figures = vec![
        ("viewers with a frame", firsts.len() as f64),
        ("first frame p50 ms", quantile(firsts.clone(), 0.5)),
        (FIRST_FRAME_P95, quantile(firsts.clone(), 0.95)),
        ("first frame worst ms", quantile(firsts, 1.0)),
    ];
    // The generator's half of the handshakes is work, too.
    let objections = objections(&counted, Limits { busy: f64::INFINITY, ..LIMITS });
    // What the server spent here, it spent on joining.
    figures.extend(counted.into_iter().filter(|(name, _)| *name != CPU_PER_PACKET));
    Ok(Outcome { figures, objections, profile: run.profile(), notes: Vec::new() })
}
