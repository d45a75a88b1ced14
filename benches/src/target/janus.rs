//! Janus with its VideoRoom plugin, started and configured here. Every peer connection is a handle of one session.
//!
//! Publishers offer, and Janus answers; to subscribers Janus offers, and we answer. libnice gathers no candidates on loopback, so Janus
//! and the peers use this machine's other address; what they exchange does not leave the machine.

mod answer;
mod api;
mod config;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;

use self::api::{Api, Jsep, PluginError, Reply};
use self::config::{Folder, Settings};
use super::whip::local_ip_towards;
use super::{Local, Remote, Section, Target};
use crate::process::{Server, free_port};
use crate::sdp;

/// Publishers that a room lets in.
const PUBLISHERS_MAX: u32 = 10_000;
/// `JANUS_VIDEOROOM_ERROR_NO_SUCH_FEED`: also said while its publisher has not connected.
const NO_SUCH_FEED: u64 = 428;
/// A subscriber may come before its publisher's media.
const LIVE_DEADLINE: Duration = Duration::from_secs(15);
const LIVE_INTERVAL: Duration = Duration::from_millis(50);
/// From the end of its sockets to the end of the process.
const DEATH_SHOWS_AFTER: Duration = Duration::from_millis(200);

struct Running {
    server: Server,
    api: Api,
    rooms: HashSet<String>,
    // After the server: removed when Janus writes no more.
    folder: Folder,
}

/// See the module.
pub(crate) struct JanusTarget {
    event_loops: Option<u16>,
    media: IpAddr,
    pid: Option<u32>,
    running: Mutex<Option<Running>>,
}

impl JanusTarget {
    /// A Janus with so many threads for all media; `None`: its default, a thread for each peer connection.
    ///
    /// # Errors
    /// This machine has no address but loopback.
    pub(crate) fn new(event_loops: Option<u16>) -> anyhow::Result<Self> {
        // TEST-NET-1 (RFC 5737): routed like any address that is far away.
        let media = local_ip_towards("192.0.2.1:9".parse()?)
            .context("Janus does not use loopback and this machine has no other address: run the benchmark under tests/ns.sh")?;
        Ok(Self { event_loops, media, pid: None, running: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the running Janus; when that fails because it ended, says so.
    fn with<T>(&self, action: impl FnOnce(&mut Running) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut running = self.lock();
        let running = running.as_mut().context("Janus is not started")?;
        action(running).map_err(|error| running.explain(error))
    }

    /// Asks for the streams until their publishers are connected.
    fn request_offer(&self, room: &str, from: &[String]) -> anyhow::Result<(u64, String)> {
        let streams: Vec<_> = from.iter().map(|feed| json!({"feed": feed})).collect();
        let body =
            json!({"request": "join", "ptype": "subscriber", "room": room, "streams": streams});
        let handle = self.with(|running| {
            running.create_room(room)?;
            running.api.attach()
        })?;
        let end = Instant::now() + LIVE_DEADLINE;
        loop {
            let reply = self.with(|running| running.api.message(handle, body.clone(), Jsep::None));
            match reply {
                Ok(Reply { sdp: Some(offer), .. }) => return Ok((handle, offer)),
                Ok(Reply { data, .. }) => bail!("Janus offers nothing: {data}"),
                Err(error) if is_not_live(&error) && Instant::now() < end => {
                    std::thread::sleep(LIVE_INTERVAL);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_not_live(error: &anyhow::Error) -> bool {
    error.downcast_ref::<PluginError>().is_some_and(|error| error.code == NO_SUCH_FEED)
}

impl Running {
    fn create_room(&mut self, room: &str) -> anyhow::Result<()> {
        if self.rooms.contains(room) {
            return Ok(());
        }
        let handle = self.api.attach()?;
        let body = json!({
            "request": "create", "room": room, "permanent": false, "publishers": PUBLISHERS_MAX,
            "audiocodec": "opus", "videocodec": "vp8", "bitrate": 0, "fir_freq": 0, "record": false,
            "transport_wide_cc_ext": true, "audiolevel_ext": true, "audiolevel_event": false,
        });
        self.api.message(handle, body, Jsep::None)?;
        self.rooms.insert(room.to_owned());
        Ok(())
    }

    /// A Janus that died shows itself as a broken WebSocket first.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        if error.is::<PluginError>() {
            return error;
        }
        std::thread::sleep(DEATH_SHOWS_AFTER);
        match self.server.check() {
            Ok(()) => error,
            Err(ended) => ended.context(self.folder.with_complaints("Janus is gone")),
        }
    }
}

impl Target for JanusTarget {
    fn name(&self) -> String {
        match self.event_loops {
            Some(1) => "janus".to_owned(),
            Some(loops) => format!("janus-{loops}"),
            None => "janus-default".to_owned(),
        }
    }

    fn start(&mut self, cpus: &[usize]) -> anyhow::Result<()> {
        self.stop();
        let api = free_port()?;
        let folder =
            Folder::write(&Settings { event_loops: self.event_loops, api, media: self.media })?;
        let arguments = ["-F".as_ref(), folder.path().as_os_str()];
        let server =
            Server::start(Path::new("janus"), arguments, api, cpus).with_context(|| {
                folder.with_complaints("Janus does not start; is the package `janus` installed?")
            })?;
        self.pid = Some(server.pid());
        let api = Api::connect(api)
            .with_context(|| folder.with_complaints("Janus started, but does not talk"))?;
        *self.lock() = Some(Running { server, api, rooms: HashSet::new(), folder });
        Ok(())
    }

    fn pids(&self) -> Vec<u32> {
        self.pid.into_iter().collect()
    }

    fn local_ip(&self) -> IpAddr {
        self.media
    }

    fn publish(
        &self,
        room: &str,
        tag: &str,
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote> {
        // Janus takes the first encoding of a list for the best.
        let mut sections = sections.to_vec();
        sections.iter_mut().for_each(|section| section.sends.reverse());
        let offer = sdp::offer(local, &sections);
        let body =
            json!({"request": "joinandconfigure", "ptype": "publisher", "room": room, "id": tag});
        let reply = self.with(|running| {
            running.create_room(room)?;
            let handle = running.api.attach()?;
            running.api.message(handle, body, Jsep::Offer(&offer))
        })?;
        let answer = reply.sdp.context("Janus answers without SDP")?;
        sdp::remote(&answer, sections.len(), local.address.ip())
    }

    fn subscribe(
        &self,
        room: &str,
        from: &[String],
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote> {
        let (handle, offer) = self.request_offer(room, from)?;
        let remote = sdp::remote(&offer, sections.len(), local.address.ip())?;
        let answer = answer::write(&offer, local);
        let start = json!({"request": "start", "room": room});
        self.with(|running| running.api.message(handle, start, Jsep::Answer(&answer)))?;
        Ok(remote)
    }

    fn keep_alive(&self) -> anyhow::Result<()> {
        // Somebody who joins reads the news as well.
        let Ok(mut running) = self.running.try_lock() else { return Ok(()) };
        let Some(running) = running.as_mut() else { return Ok(()) };
        running.api.keep_alive().map_err(|error| running.explain(error))
    }

    fn stop(&mut self) {
        self.pid = None;
        *self.lock() = None;
    }
}
