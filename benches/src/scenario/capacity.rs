//! How much one core forwards: more and more subscribers until something gives way.

use std::time::Duration;

use super::{Outcome, Run, publisher, sample_every, subscriber};
use crate::cli::Capacity;
use crate::target::Kind;
use crate::window::{
    CPU_PER_PACKET, Figures, GENERATOR_BUSY, GENERATOR_BUSY_MAX, LIMITS, LOSS, LOSS_MAX,
    PACKET_RATE, VIDEO_P99, Window, figure, objections,
};

/// Longer than this and the server counts as overloaded.
const DELAY_MS_MAX: f64 = 10.0;
/// Of each step.
const WARM_UP_SECONDS: u64 = 2;
/// Nobody has so many sockets.
const SUBSCRIBERS_MAX: usize = 8000;

/// Publishers in rooms of their own, frames evenly staggered; the figures are those of the last step that held.
pub(super) fn run(run: &mut Run<'_>, options: &Capacity) -> anyhow::Result<Outcome> {
    let shape = options.video.shape();
    let mut habits = run.options.habits();
    habits.sample_every = sample_every(shape.rate(), options.subscribers);
    let room = |number: usize| format!("bench{number}");
    let publishers = (0..options.publishers).map(|number| {
        let start = shape.interval.mul_f64(number as f64 / options.publishers as f64);
        publisher(&room(number), shape, Some(start), &habits)
    });
    let publishers: Vec<_> = publishers.collect();
    run.join(publishers)?;
    let (mut count, mut goal) = (0, options.subscribers.max(1));
    let mut notes = Vec::new();
    let mut best: Option<Figures> = None;
    loop {
        let joiners = (count..goal)
            .map(|number| subscriber(&room(number % options.publishers), Kind::Video, &habits));
        let joiners: Vec<_> = joiners.collect();
        run.join(joiners)?;
        count = goal;
        run.wait(WARM_UP_SECONDS, &format!("{count} subscribers"))?;
        let window = Window::open(&mut run.load, run.target, run.options.server_cpus())?;
        let seconds = Duration::from_secs(run.options.seconds);
        run.load.run_for(seconds)?;
        let mut figures = window.close(&run.load)?;
        figures.insert(0, ("subscribers", count as f64));
        let limit = limit(&figures);
        notes.push(format!(
            "{count} subscribers: {:.0} packets/s, {:.2} µs, p99 {:.2} ms, loss {:.3} %, generator {:.0} % busy{}",
            figure(&figures, PACKET_RATE),
            figure(&figures, CPU_PER_PACKET),
            figure(&figures, VIDEO_P99),
            figure(&figures, LOSS),
            figure(&figures, GENERATOR_BUSY),
            limit.as_ref().map_or(String::new(), |limit| format!(": limited by {limit}")),
        ));
        run.progress.line(&format!("  {}", notes.last().map_or("", String::as_str)));
        if limit.is_some() || count >= SUBSCRIBERS_MAX {
            let figures = best.unwrap_or(figures);
            let objections = objections(&figures, LIMITS);
            return Ok(Outcome { figures, objections, profile: run.profile(), notes });
        }
        best = Some(figures);
        goal = count + options.step.max(1);
    }
}

/// What this step failed on.
fn limit(figures: &Figures) -> Option<&'static str> {
    if figure(figures, GENERATOR_BUSY) > GENERATOR_BUSY_MAX {
        return Some("the generator");
    }
    if figure(figures, LOSS) > LOSS_MAX {
        return Some("loss");
    }
    (figure(figures, VIDEO_P99) > DELAY_MS_MAX).then_some("delay")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_fails_on_one_of_three() {
        let figures =
            |busy, loss, p99| vec![(GENERATOR_BUSY, busy), (LOSS, loss), (VIDEO_P99, p99)];
        assert_eq!(limit(&figures(70.0, 0.1, 10.0)), None);
        assert_eq!(limit(&figures(71.0, 1.0, 11.0)), Some("the generator"));
        assert_eq!(limit(&figures(70.0, 0.2, 11.0)), Some("loss"));
        assert_eq!(limit(&figures(70.0, 0.0, 10.1)), Some("delay"));
    }
}
