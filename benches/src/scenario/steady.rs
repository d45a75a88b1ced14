//! Scenarios where all join, and then the same goes on: broadcast (with or without loss), audio, meeting.

use std::time::Duration;

use anyhow::ensure;

use super::{Outcome, Run, publisher, sample_every, simulcast, single, subscriber};
use crate::cli::{Audio, Video};
use crate::lobby::{Joiner, Role};
use crate::process::rss_kib;
use crate::publication::Shape;
use crate::target::Kind;
use crate::window::{Figures, LIMITS, LOSS, Limits, Window, figure, objections};

/// Share of the packets that came, or came again in time.
pub(super) const COMPLETE: &str = "complete within 500 ms %";

/// One publisher of video; with `loss` the receivers drop that share.
pub(super) fn broadcast(
    run: &mut Run<'_>,
    subscribers: usize,
    video: &Video,
    loss: Option<f64>,
) -> anyhow::Result<Outcome> {
    let shape = video.shape();
    let mut habits = run.options.habits();
    habits.sample_every = sample_every(shape.rate(), subscribers);
    let first = vec![publisher("bench", shape, Some(Duration::ZERO), &habits)];
    habits.loss = loss;
    let others = vec![subscriber("bench", Kind::Video, &habits); subscribers];
    measure(run, first, others, 1)
}

/// Publishers of audio in one room. All subscribers hear all of them, or those who speak.
pub(super) fn audio(run: &mut Run<'_>, own: &Audio, subscribers: usize) -> anyhow::Result<Outcome> {
    let publishers = own.publishers;
    let heard = if own.loudest == 0 { publishers } else { own.loudest.min(publishers) };
    let shape = Shape::audio(own.payload);
    let mut habits = run.options.habits();
    habits.sample_every = sample_every(shape.rate() * heard as f64, subscribers);
    let tags: Vec<String> = (0..publishers).map(|number| format!("publisher{number}")).collect();
    let publisher = |(number, tag): (usize, &String)| Joiner {
        room: "bench".to_owned(),
        role: Role::Publish {
            tag: tag.clone(),
            sends: vec![single(Shape { speaks: number < heard, ..shape })],
        },
        start: Some(shape.interval.mul_f64(number as f64 / publishers as f64)),
        habits: habits.clone(),
    };
    let first = tags.iter().enumerate().map(publisher).collect();
    let role = Role::Subscribe { from: tags[..heard].to_vec(), kinds: vec![Kind::Audio] };
    let other = Joiner { room: "bench".to_owned(), role, start: None, habits: habits.clone() };
    measure(run, first, vec![other; subscribers], heard)
}

/// Everybody publishes video and audio and receives all others; on one peer connection, or on one for each direction where the server
/// knows no other way.
pub(super) fn meeting(
    run: &mut Run<'_>,
    participants: usize,
    only_one: bool,
    video: &Video,
) -> anyhow::Result<Outcome> {
    let audio = Shape::audio(120);
    let shape = video.shape();
    let others = participants - 1;
    let mut habits = run.options.habits();
    let rate = (audio.rate() + shape.rate()) * others as f64;
    habits.sample_every = sample_every(rate, participants);
    let tag = |number: usize| format!("participant{number}");
    let sends = || vec![single(audio), if only_one { single(shape) } else { simulcast(shape) }];
    let joiner = |number: usize, role: Role| Joiner {
        room: "bench".to_owned(),
        role,
        start: Some(shape.interval.mul_f64(number as f64 / participants as f64)),
        habits: habits.clone(),
    };
    let both = |number| joiner(number, Role::Meet { tag: tag(number), sends: sends(), others });
    if run.target.meets() {
        return measure(run, vec![both(0)], (1..participants).map(both).collect(), 2 * others);
    }
    let publishes = |number| joiner(number, Role::Publish { tag: tag(number), sends: sends() });
    let receives = |number| {
        let from = (0..participants).filter(|other| *other != number).map(tag).collect();
        joiner(number, Role::Subscribe { from, kinds: vec![Kind::Audio, Kind::Video] })
    };
    let publishers = (0..participants).map(publishes).collect();
    measure(run, publishers, (0..participants).map(receives).collect(), 2 * others)
}

/// Lets `first` join, then the `others`, each of whom receives so many streams; and measures.
fn measure(
    run: &mut Run<'_>,
    first: Vec<Joiner>,
    others: Vec<Joiner>,
    streams: usize,
) -> anyhow::Result<Outcome> {
    let (senders, receivers) = (first.len(), others.len());
    let pids = run.target.pids();
    run.join(first)?;
    run.wait(run.options.warm_up, "the publisher alone")?;
    let before = rss_kib(&pids)?;
    let joining = std::time::Instant::now();
    run.join(others)?;
    let joined = joining.elapsed();
    run.wait(run.options.warm_up, "warming up")?;
    let window = Window::open(&mut run.load, run.target, run.options.server_cpus())?;
    let repairs = run.load.repair_counts();
    let compared = compared(run);
    run.wait(run.options.seconds, "measuring")?;
    let mut figures = window.close(&run.load)?;
    let now = run.load.repair_counts();
    let loses = now.missed > 0;
    if loses {
        let (missed, repaired) = (now.missed - repairs.missed, now.repaired - repairs.repaired);
        add_repair_figures(&mut figures, missed, repaired, now.asked - repairs.asked);
    }
    if !pids.is_empty() {
        let after = rss_kib(&pids)?;
        figures.push(("server memory MiB", after as f64 / 1024.0));
        let each = after.saturating_sub(before) as f64 / receivers as f64;
        figures.push(("memory per joined KiB", each));
    }
    figures.push(("join of all, s", joined.as_secs_f64()));
    for (index, peer) in run.load.peers.iter().enumerate().skip(senders) {
        let came = peer.reception.streams();
        ensure!(came == streams, "peer {index} receives {came} streams of {streams}");
    }
    // With repairs, loss is the subject.
    let limits = if loses { Limits { loss: f64::INFINITY, ..LIMITS } } else { LIMITS };
    let mut objections = objections(&figures, limits);
    let now = self::compared(run);
    let mut each = now.iter().zip(&compared).skip(senders).map(|(now, before)| now - before);
    // The window may begin and end anywhere between two samples.
    if each.any(|count| count + 1 < run.options.seconds) {
        objections.push("a receiver compared less than one packet per second".to_owned());
    }
    Ok(Outcome { figures, objections, profile: run.profile(), notes: Vec::new() })
}

/// Packets of the sample that were right, by peer.
fn compared(run: &Run<'_>) -> Vec<u64> {
    run.load.peers.iter().map(|peer| peer.reception.counts().compared).collect()
}

fn add_repair_figures(figures: &mut Figures, missed: u64, repaired: u64, asked: u64) {
    // What was missed just before the window may be repaired in it.
    let repaired = repaired.min(missed);
    let loss = figure(figures, LOSS);
    // What is left of the loss when repairs in time count as arrived.
    let left = loss * (1.0 - repaired as f64 / missed as f64);
    figures.extend([
        ("missing packets", missed as f64),
        ("asked for", asked as f64),
        ("repaired within 500 ms %", 100.0 * repaired as f64 / missed as f64),
        (COMPLETE, 100.0 - left),
    ]);
}
