//! A server that is killed and started again: how long everybody is without media. Each comes back by itself, with new keys.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Outcome, Run, sample_every, single};
use crate::cli::Restart;
use crate::load::Load;
use crate::lobby::{Joiner, Role};
use crate::publication::Shape;
use crate::stats::quantile;
use crate::window::Figures;

/// From the death of the server until a bot has a whole frame of another one again.
pub(super) const BACK_P95: &str = "media back p95 s";
/// The same of the last one.
pub(super) const BACK_WORST: &str = "media back worst s";
/// After everybody is connected, frames come within this.
const FRAMES: u64 = 2;

/// All are in rooms and have media; the server dies, is started again, and all come back.
pub(super) fn run(run: &mut Run<'_>, own: &Restart, bots: usize) -> anyhow::Result<Outcome> {
    let everybody = joiners(run, own, bots);
    run.join(everybody.clone())?;
    run.wait(run.options.warm_up, "warming up")?;
    let seen = run.load.peers.iter().filter(|peer| peer.reception.has_frame()).count();
    ensure!(seen == bots, "{seen} of {bots} had a frame before");

    let cpus = run.options.server_cpus().to_vec();
    let target = run.target;
    let killed = Instant::now();
    target.crash()?;
    run.load = Load::new()?;
    let ready = std::thread::scope(|scope| -> anyhow::Result<f64> {
        let reviving = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(own.down_ms));
            target.revive(&cpus)?;
            anyhow::Ok(killed.elapsed().as_secs_f64())
        });
        let joined = run.join_with(everybody, bots);
        let ready = reviving.join().map_err(|_| anyhow::anyhow!("the start panicked"))?;
        joined.and(ready)
    })?;
    run.wait(FRAMES, "the last frames come")?;
    let back = run.load.peers.iter().filter_map(|peer| peer.first_frame_after);
    let back: Vec<f64> = back.map(|time| time.as_secs_f64()).collect();
    let mut objections = Vec::new();
    if back.len() < bots {
        objections.push(format!("{} of {bots} have media again", back.len()));
    }
    let after = |share| quantile(back.clone(), share);
    let figures: Figures = vec![
        ("bots with media again", back.len() as f64),
        ("server ready after s", ready),
        ("media back p50 s", after(0.5)),
        (BACK_P95, after(0.95)),
        (BACK_WORST, after(1.0)),
        ("after the server is ready p50 s", after(0.5) - ready),
        ("after the server is ready p95 s", after(0.95) - ready),
        ("after the server is ready worst s", after(1.0) - ready),
    ];
    Ok(Outcome { figures, objections, profile: run.profile(), notes: Vec::new() })
}

fn joiners(run: &Run<'_>, own: &Restart, bots: usize) -> Vec<Joiner> {
    let (audio, shape) = (Shape::audio(120), own.video.shape());
    let together = own.together as usize;
    let mut habits = run.options.habits();
    let rate = (audio.rate() + shape.rate()) * (together - 1) as f64;
    habits.sample_every = sample_every(rate, bots);
    let one = |number: usize| Joiner {
        room: format!("room-{}", number / together),
        role: Role::Meet {
            tag: format!("bot{number}"),
            sends: vec![single(audio), single(shape)],
            others: together - 1,
        },
        start: Some(shape.interval.mul_f64(number as f64 / bots as f64)),
        habits: habits.clone(),
    };
    (0..bots).map(one).collect()
}
