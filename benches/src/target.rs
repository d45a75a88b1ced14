//! Which server is measured: how it starts, and how a peer gets from an offer to an address with keys.
//!
//! Owns the trait and the words that both sides of it use. Never touches media: what a [`Remote`] says is all that the generator
//! knows of a server, so the figures of two servers differ by the servers alone.

mod janus;
mod whip;
mod ws;

pub(crate) use janus::JanusTarget;
pub(crate) use whip::{Endpoints, WhipTarget};
pub(crate) use ws::WebSocketTarget;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use sfu_core::params::{Fingerprint, IceCredentials};

/// A server. Methods with `&self` are called from several threads at once and may block.
pub(crate) trait Target: Send + Sync {
    /// What the tables call it.
    fn name(&self) -> String;

    /// Starts a fresh server on these processors (empty: anywhere) and waits until it takes requests. A server that runs elsewhere
    /// has nothing to do here.
    ///
    /// # Errors
    /// What is missing, in a sentence for the user; with the server's own words where it ended.
    fn start(&mut self, cpus: &[usize]) -> anyhow::Result<()>;

    /// The processes whose threads are charged; empty when the server is not on this machine.
    fn pids(&self) -> Vec<u32>;

    /// The address that peers bind their sockets to before they join, so that [`Local::address`] can be signalled.
    fn local_ip(&self) -> IpAddr;

    /// Lets a peer publish `sections` (all of which send) in `room` under the name `tag`. The peer is no receiver.
    ///
    /// # Errors
    /// The server refuses, or its answer cannot be used.
    fn publish(
        &self,
        room: &str,
        tag: &str,
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote>;

    /// Lets a peer receive in `room` what the publishers `from` publish. `sections` (none of which sends) are in the order of the
    /// publishers, and for each in the order of its sections.
    ///
    /// # Errors
    /// As [`Target::publish`]; or the server cannot serve that many publishers on one peer connection.
    fn subscribe(
        &self,
        room: &str,
        from: &[String],
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote>;

    /// Does it know [`Target::meet`]?
    fn meets(&self) -> bool {
        false
    }

    /// Lets a peer publish `sections` and receive everything of up to `others` more peers, on one peer connection.
    ///
    /// # Errors
    /// As [`Target::publish`]; or the server knows no such thing.
    fn meet(
        &self,
        _room: &str,
        _tag: &str,
        _local: &Local,
        _sections: &[Section],
        _others: usize,
    ) -> anyhow::Result<Remote> {
        bail!("{} has no meetings on one peer connection", self.name())
    }

    /// Kills the server as `kill -9` does; all sessions end.
    ///
    /// # Errors
    /// It is not a server that can be revived.
    fn crash(&self) -> anyhow::Result<()> {
        bail!("{} cannot be killed and revived; take switchyard-ws", self.name())
    }

    /// Starts the server again that [`Target::crash`] killed, with the same address, and waits until it takes requests.
    ///
    /// # Errors
    /// As [`Target::start`].
    fn revive(&self, _cpus: &[usize]) -> anyhow::Result<()> {
        bail!("{} was not killed", self.name())
    }

    /// Called about every 200 ms while peers are there: keeps sessions alive, reads what came.
    ///
    /// # Errors
    /// A session broke, or the server is gone.
    fn keep_alive(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// All sessions end, so many with a word and the others without.
    ///
    /// # Errors
    /// A session broke before.
    fn leave(&self, _with_a_word: usize) -> anyhow::Result<()> {
        bail!("{} has no such end", self.name())
    }

    /// What lives in the server, by name; `None`: it does not tell.
    ///
    /// # Errors
    /// It does not answer.
    fn live(&self) -> anyhow::Result<Option<Vec<(String, u64)>>> {
        Ok(None)
    }

    /// Ends all sessions, and the server if it was started here. A target can be started again.
    fn stop(&mut self);
}

/// What a target may want to know of the command line.
#[derive(Clone, Debug)]
pub(crate) struct TargetOptions {
    /// Our server.
    pub(crate) binary: PathBuf,
    /// Media threads of our server.
    pub(crate) workers: usize,
    /// Of a server elsewhere.
    pub(crate) endpoints: Endpoints,
    /// Processes of a server that was started by hand on this machine.
    pub(crate) pids: Vec<u32>,
}

/// The target that the user named.
///
/// # Errors
/// There is none of that name, or it cannot be used here.
pub(crate) fn make(name: &str, options: &TargetOptions) -> anyhow::Result<Box<dyn Target>> {
    let TargetOptions { binary, workers, endpoints, pids } = options.clone();
    let (kind, detail) = name.split_once(':').map_or((name, None), |(a, b)| (a, Some(b)));
    let number = |text: &str| text.parse::<u16>().with_context(|| format!("{name}: a number"));
    Ok(match (kind, detail) {
        ("switchyard", None) => Box::new(WhipTarget::own(binary, workers)),
        ("switchyard", Some(workers)) => Box::new(WhipTarget::own(binary, number(workers)?.into())),
        ("switchyard-ws", None) => Box::new(WebSocketTarget::new(binary, workers)),
        ("binary", Some(path)) => Box::new(WhipTarget::own(path.into(), workers)),
        ("janus", None) => Box::new(JanusTarget::new(Some(1))?),
        ("janus", Some("default")) => Box::new(JanusTarget::new(None)?),
        ("janus", Some(loops)) => Box::new(JanusTarget::new(Some(number(loops)?))?),
        ("url", Some(base)) => Box::new(WhipTarget::elsewhere(base, endpoints, pids)?),
        _ => bail!(
            "there is no target {name}: switchyard, switchyard:WORKERS, switchyard-ws, binary:PATH, janus, janus:LOOPS, janus:default, url:http://HOST:PORT"
        ),
    })
}

/// Audio (Opus) or video (VP8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Audio,
    Video,
}

/// One stream that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// Simulcast: `q`, `h` or `f`, lowest first in [`Section::sends`]. Its SSRC is then not in the offer.
    pub(crate) rid: Option<&'static str>,
    pub(crate) ssrc: u32,
    /// For video.
    pub(crate) rtx_ssrc: u32,
}

/// One m-line; its mid is its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// Empty: receives.
    pub(crate) sends: Vec<Encoding>,
}

impl Section {
    /// A section that receives.
    pub(crate) fn receiving(kind: Kind) -> Self {
        Self { kind, sends: Vec::new() }
    }
}

/// Our end of the transport: DTLS client, full ICE.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) ice: IceCredentials,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
    /// Where the peer's socket is bound: its one host candidate.
    pub(crate) address: SocketAddr,
}

/// The server's end, as its answer (or its offer) says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remote {
    /// The candidate that is used.
    pub(crate) address: SocketAddr,
    pub(crate) ice: IceCredentials,
    /// The server offered and is no ICE-lite: it nominates, and we answer (RFC 8445 section 6.1.1).
    pub(crate) server_controls: bool,
    pub(crate) fingerprint: Fingerprint,
    /// As many as were asked for, in their order.
    pub(crate) sections: Vec<RemoteSection>,
}

/// One m-line as negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteSection {
    pub(crate) kind: Kind,
    /// As the description says; ours in an answer, the server's in its offer.
    pub(crate) mid: String,
    /// Of Opus or VP8.
    pub(crate) payload_type: u8,
    /// Of the retransmissions of `payload_type`.
    pub(crate) rtx_payload_type: Option<u8>,
    pub(crate) extensions: Extensions,
}

/// Ids of header extensions; `None`: not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) audio_level: Option<u8>,
    pub(crate) abs_send_time: Option<u8>,
    pub(crate) transport_cc: Option<u8>,
    pub(crate) mid: Option<u8>,
    pub(crate) rid: Option<u8>,
}
