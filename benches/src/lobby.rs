//! The signaling of all participants on one thread, beside the media loop.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::load::Load;
use crate::peer::{PeerParams, make_local};
use crate::sdp::Section;
use crate::signaling::{Participant, Wishes};

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const CONNECT_DEADLINE: Duration = Duration::from_secs(60);

/// One participant to be.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) wishes: Wishes,
    pub(crate) sends: Vec<Section>,
    pub(crate) sample_every: u64,
}

/// See the module.
pub(crate) struct Lobby {
    roles: Sender<Role>,
    joined: Receiver<anyhow::Result<PeerParams>>,
}

impl Lobby {
    /// Starts the thread. It ends with the lobby, and the participants leave with it.
    pub(crate) fn open(server: SocketAddr, feedback: Option<Duration>) -> Self {
        let (roles, wanted) = channel();
        let (results, joined) = channel();
        std::thread::spawn(move || serve(server, feedback, &wanted, &results));
        Self { roles, joined }
    }

    /// Lets one participant per role join and connect, while the load goes on.
    pub(crate) fn join(&self, load: &mut Load, roles: Vec<Role>) -> anyhow::Result<()> {
        let goal = load.peers.len() + roles.len();
        for role in roles {
            self.roles.send(role).context("the lobby is closed")?;
        }
        let end = Instant::now() + CONNECT_DEADLINE;
        while load.connected() < goal {
            if let Ok(params) = self.joined.try_recv() {
                load.add(params?)?;
            }
            load.turn()?;
            if Instant::now() > end {
                bail!("{} of {goal} peers connected in time", load.connected());
            }
        }
        Ok(())
    }

    /// Did any WebSocket break or bring bad news?
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.joined.try_recv().map_or(Ok(()), |result| result.map(drop))
    }
}

fn serve(
    server: SocketAddr,
    feedback: Option<Duration>,
    wanted: &Receiver<Role>,
    results: &Sender<anyhow::Result<PeerParams>>,
) {
    let mut participants: Vec<Participant> = Vec::new();
    loop {
        let result = match wanted.recv_timeout(KEEP_ALIVE_INTERVAL) {
            Ok(role) => join(server, feedback, role, &mut participants).map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let alive = participants.iter_mut().try_for_each(Participant::keep_alive);
        let report = match (result, alive) {
            (Err(error), _) | (_, Err(error)) => results.send(Err(error)),
            (Ok(Some(params)), _) => results.send(Ok(params)),
            _ => Ok(()),
        };
        if report.is_err() {
            return;
        }
    }
}

fn join(
    server: SocketAddr,
    feedback: Option<Duration>,
    role: Role,
    participants: &mut Vec<Participant>,
) -> anyhow::Result<PeerParams> {
    let phase = participants.len() as u64;
    let name = format!("bench {phase}");
    let mut participant = Participant::join(server, "bench", &name, role.wishes, &role.sends)?;
    let (local, certificate) = make_local()?;
    let remote = participant.negotiate(&local)?;
    participants.push(participant);
    let Role { sends, sample_every, .. } = role;
    Ok(PeerParams { local, certificate, remote, sends, sample_every, phase, feedback })
}
