//! Joining: signaling on threads of its own, beside the media loop.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::load::Load;
use crate::peer::{Habits, PeerParams, make_local};
use crate::publication::Shape;
use crate::socket::PeerSocket;
use crate::target::{Kind, Section, Target};

const CONNECT_DEADLINE: Duration = Duration::from_secs(60);

/// How one peer joins.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// Sends these.
    Publish { tag: String, sends: Vec<(Section, Vec<Shape>)> },
    /// Receives of these publishers one section per kind.
    Subscribe { from: Vec<String>, kinds: Vec<Kind> },
    /// Both, with so many others.
    Meet { tag: String, sends: Vec<(Section, Vec<Shape>)>, others: usize },
}

/// One peer to be.
#[derive(Clone, Debug)]
pub(crate) struct Joiner {
    pub(crate) room: String,
    pub(crate) role: Role,
    /// See [`PeerParams::start`].
    pub(crate) start: Option<Duration>,
    pub(crate) habits: Habits,
}

/// Lets all join, so many of them at once, and waits until they are connected, while the load goes on.
///
/// # Errors
/// Somebody is refused or breaks; or not all are connected after a minute.
pub(crate) fn join(
    target: &dyn Target,
    load: &mut Load,
    joiners: Vec<Joiner>,
    at_once: usize,
    mut progress: impl FnMut(usize),
) -> anyhow::Result<()> {
    let (before, count) = (load.peers.len(), joiners.len());
    let asked = Instant::now();
    let queue = Mutex::new(joiners.into_iter().zip(before as u64..).collect::<VecDeque<_>>());
    let (results, joined) = channel();
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(count) {
            let (queue, results) = (&queue, results.clone());
            scope.spawn(move || work(target, queue, asked, &results));
        }
        let outcome =
            connect(load, before + count, asked, || joined.try_recv().ok(), &mut progress);
        // Threads that have not begun with theirs stop.
        queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
        outcome
    })
}

/// Lets one begin to join, and waits for nothing.
///
/// # Errors
/// It is refused.
pub(crate) fn begin(target: &dyn Target, load: &mut Load, joiner: Joiner) -> anyhow::Result<()> {
    let phase = load.peers.len() as u64;
    load.add(signal(target, joiner, phase, Instant::now())?)
}

fn connect(
    load: &mut Load,
    goal: usize,
    asked: Instant,
    mut joined: impl FnMut() -> Option<anyhow::Result<PeerParams>>,
    progress: &mut impl FnMut(usize),
) -> anyhow::Result<()> {
    let mut connected = load.connected();
    while connected < goal {
        while let Some(params) = joined() {
            load.add(params?)?;
        }
        load.turn()?;
        let now = load.connected();
        if now != connected {
            connected = now;
            progress(goal - connected);
        }
        if asked.elapsed() > CONNECT_DEADLINE {
            bail!("{connected} of {goal} peers connected within {CONNECT_DEADLINE:?}");
        }
    }
    Ok(())
}

fn work(
    target: &dyn Target,
    queue: &Mutex<VecDeque<(Joiner, u64)>>,
    asked: Instant,
    results: &Sender<anyhow::Result<PeerParams>>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((joiner, phase)) = next else { return };
        let result = signal(target, joiner, phase, asked)
            .with_context(|| format!("peer {phase} does not join {}", target.name()));
        if results.send(result).is_err() {
            return;
        }
    }
}

fn signal(
    target: &dyn Target,
    joiner: Joiner,
    phase: u64,
    asked: Instant,
) -> anyhow::Result<PeerParams> {
    let Joiner { room, role, start, habits } = joiner;
    let socket = PeerSocket::bind(target.local_ip(), habits.gro)?;
    let (local, certificate) = make_local(&socket)?;
    let sections = |sends: &[(Section, Vec<Shape>)]| -> Vec<Section> {
        sends.iter().map(|(section, _)| section.clone()).collect()
    };
    let (remote, sends) = match role {
        Role::Publish { tag, sends } => {
            (target.publish(&room, &tag, &local, &sections(&sends))?, sends)
        }
        Role::Subscribe { from, kinds } => {
            let one = || kinds.iter().copied().map(Section::receiving);
            let receiving: Vec<Section> = from.iter().flat_map(|_| one()).collect();
            (target.subscribe(&room, &from, &local, &receiving)?, Vec::new())
        }
        Role::Meet { tag, sends, others } => {
            (target.meet(&room, &tag, &local, &sections(&sends), others)?, sends)
        }
    };
    let local = local.ice;
    Ok(PeerParams { socket, local, certificate, remote, sends, start, habits, phase, asked })
}
