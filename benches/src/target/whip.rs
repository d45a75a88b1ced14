//! Any server with WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): our own, started beside this generator, or one by its URL.
//!
//! One `POST` with an offer makes a session, one `DELETE` ends it. Nothing is trickled: both descriptions have all candidates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{Local, Remote, Section, Target};
use crate::process::Server;
use crate::sdp;

/// Stands for the room in a path.
const ROOM: &str = "{room}";
/// Of one request, in seconds.
const TIMEOUT: u64 = 30;
/// A viewer may come before its publisher's media.
const LIVE_DEADLINE: Duration = Duration::from_secs(15);
const LIVE_INTERVAL: Duration = Duration::from_millis(100);
/// As much of a refusal as is shown.
const REFUSAL_MAX: usize = 300;

/// Where sessions are made; [`ROOM`] in a path stands for the room.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) whip: String,
    pub(crate) whep: String,
    /// Sent as `Authorization: Bearer`.
    pub(crate) token: Option<String>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self { whip: format!("/whip/{ROOM}"), whep: format!("/whep/{ROOM}"), token: None }
    }
}

enum Host {
    /// Ours, started here.
    Own { binary: PathBuf, workers: usize, server: Mutex<Option<Server>> },
    /// Somebody else's.
    Elsewhere { base: String, local_ip: IpAddr, pids: Vec<u32> },
}

/// See the module.
pub(crate) struct WhipTarget {
    host: Host,
    endpoints: Endpoints,
    /// What to delete in the end.
    sessions: Mutex<Vec<String>>,
}

impl WhipTarget {
    /// A target that starts `binary` of this project with so many media workers.
    pub(crate) fn own(binary: PathBuf, workers: usize) -> Self {
        let host = Host::Own { binary, workers, server: Mutex::default() };
        Self { host, endpoints: Endpoints::default(), sessions: Mutex::default() }
    }

    /// The server at `base` (`http://host:port`). Where it runs on this machine, `pids` are the processes to charge.
    ///
    /// # Errors
    /// `base` is no such URL, or its host is unknown or cannot be reached.
    pub(crate) fn elsewhere(
        base: &str,
        endpoints: Endpoints,
        pids: Vec<u32>,
    ) -> anyhow::Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        let local_ip = local_ip_towards(address_of(&base)?)?;
        let host = Host::Elsewhere { base, local_ip, pids };
        Ok(Self { host, endpoints, sessions: Mutex::default() })
    }

    /// Makes a session and returns the server's description.
    fn create(&self, path: &str, room: &str, offer: &str) -> anyhow::Result<String> {
        let url = match &self.host {
            Host::Own { server, .. } => {
                let address = lock(server).as_ref().context("the server is not started")?.address;
                format!("http://{address}")
            }
            Host::Elsewhere { base, .. } => base.clone(),
        } + &path.replace(ROOM, room);
        let end = Instant::now() + LIVE_DEADLINE;
        loop {
            let response = self
                .authorized(minreq::post(&url))
                .with_header("Content-Type", "application/sdp")
                .with_body(offer)
                .send()
                .with_context(|| format!("POST {url}"))?;
            match response.status_code {
                200..=299 => {
                    let location = response.header("location");
                    lock(&self.sessions).extend(location.map(|location| resolve(&url, location)));
                    return Ok(response.as_str().context("an answer that is no text")?.to_owned());
                }
                // Nobody publishes yet: our server and the draft say 409, others 404.
                404 | 409 if Instant::now() < end => std::thread::sleep(LIVE_INTERVAL),
                status => {
                    let text: String =
                        response.as_str().unwrap_or_default().chars().take(REFUSAL_MAX).collect();
                    bail!("{url} answers {status} {}: {}", response.reason_phrase, text.trim());
                }
            }
        }
    }

    fn authorized(&self, request: minreq::Request) -> minreq::Request {
        let request = request.with_timeout(TIMEOUT);
        match &self.endpoints.token {
            Some(token) => request.with_header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }
}

impl Target for WhipTarget {
    fn name(&self) -> String {
        match &self.host {
            Host::Own { .. } => "switchyard".to_owned(),
            Host::Elsewhere { base, .. } => base.clone(),
        }
    }

    fn start(&mut self, cpus: &[usize]) -> anyhow::Result<()> {
        self.stop();
        match &self.host {
            Host::Own { binary, workers, server } => {
                *lock(server) = Some(Server::switchyard(binary, *workers, cpus)?);
            }
            Host::Elsewhere { base, .. } => {
                TcpStream::connect(address_of(base)?).with_context(|| base.clone())?;
            }
        }
        Ok(())
    }

    fn pids(&self) -> Vec<u32> {
        match &self.host {
            Host::Own { server, .. } => lock(server).iter().map(Server::pid).collect(),
            Host::Elsewhere { pids, .. } => pids.clone(),
        }
    }

    fn local_ip(&self) -> IpAddr {
        match &self.host {
            Host::Own { .. } => Ipv4Addr::LOCALHOST.into(),
            Host::Elsewhere { local_ip, .. } => *local_ip,
        }
    }

    fn publish(
        &self,
        room: &str,
        _tag: &str,
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote> {
        let answer = self.create(&self.endpoints.whip, room, &sdp::offer(local, sections))?;
        sdp::remote(&answer, sections.len(), local.address.ip())
    }

    fn subscribe(
        &self,
        room: &str,
        _from: &[String],
        local: &Local,
        sections: &[Section],
    ) -> anyhow::Result<Remote> {
        let answer = self.create(&self.endpoints.whep, room, &sdp::offer(local, sections))?;
        sdp::remote(&answer, sections.len(), local.address.ip())
    }

    fn keep_alive(&self) -> anyhow::Result<()> {
        match &self.host {
            Host::Own { server, .. } => lock(server).as_mut().map_or(Ok(()), Server::check),
            Host::Elsewhere { .. } => Ok(()),
        }
    }

    fn stop(&mut self) {
        let sessions = std::mem::take(&mut *lock(&self.sessions));
        match &self.host {
            // Its sessions end with it.
            Host::Own { server, .. } => *lock(server) = None,
            Host::Elsewhere { .. } => {
                for session in sessions {
                    // A session that is gone already is what was wanted.
                    let _ = self.authorized(minreq::delete(session)).send();
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where `http://host:port/…` listens; port 80 where none is given.
fn address_of(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is no http:// URL"))?;
    let authority = rest.split('/').next().unwrap_or_default();
    let bare = authority.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
    let with_port = if bare { format!("{authority}:80") } else { authority.to_owned() };
    let mut addresses =
        with_port.to_socket_addrs().with_context(|| format!("the host of {url}"))?;
    addresses.next().with_context(|| format!("the host of {url} has no address"))
}

/// The address that packets to `peer` leave from. A UDP socket that connects sends nothing.
pub(super) fn local_ip_towards(peer: SocketAddr) -> anyhow::Result<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    socket.connect(peer).with_context(|| format!("no route to {peer}"))?;
    Ok(socket.local_addr()?.ip())
}

/// A `Location` as the answer to a request for `url` means it (RFC 3986 section 5.2, without dot segments).
fn resolve(url: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let path_at = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[path_at..].find('/').map_or(url.len(), |at| path_at + at);
    if location.starts_with('/') {
        return url[..path_at].to_owned() + location;
    }
    let end = url.rfind('/').map_or(url.len(), |at| at.max(path_at));
    format!("{}/{location}", &url[..end])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn locations_are_resolved() {
        let url = "http://h:1/whep/room";
        for (location, whole) in [
            ("http://x/y", "http://x/y"),
            ("/whep/room/7", "http://h:1/whep/room/7"),
            ("7", "http://h:1/whep/7"),
        ] {
            assert_eq!(resolve(url, location), whole);
        }
        assert_eq!(resolve("http://h:1", "7"), "http://h:1/7");
    }

    #[test]
    fn addresses_come_from_urls() {
        let address = |url| address_of(url).map(|address| address.to_string());
        assert_eq!(address("http://127.0.0.1:8080/x").unwrap(), "127.0.0.1:8080");
        assert_eq!(address("http://127.0.0.1").unwrap(), "127.0.0.1:80");
        assert_eq!(address("http://[::1]").unwrap(), "[::1]:80");
        assert!(address("https://127.0.0.1").is_err());
        let loopback = local_ip_towards("127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(loopback, Ipv4Addr::LOCALHOST);
    }

    /// Answers each connection with the next of `responses` and returns the requests.
    fn serve(listener: TcpListener, responses: Vec<&'static str>) -> Vec<String> {
        let answer = |response: &str| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut head, mut len) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                reader.read_line(&mut head).unwrap();
                let line = head[start..].to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    len = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; len];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(response.as_bytes()).unwrap();
            head + &String::from_utf8(body).unwrap()
        };
        responses.into_iter().map(answer).collect()
    }

    #[test]
    fn a_session_is_made_when_somebody_is_live_and_deleted_in_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let responses = vec![
            "HTTP/1.1 409 Conflict\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 201 Created\r\nLocation: /play/session\r\nContent-Length: 3\r\n\r\nv=0",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\n\r\nnot you\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ];
        let server = std::thread::spawn(move || serve(listener, responses));
        let endpoints = Endpoints {
            whep: "/play/{room}?x".to_owned(),
            token: Some("secret".to_owned()),
            ..Endpoints::default()
        };
        let mut target = WhipTarget::elsewhere(&base, endpoints, vec![7]).unwrap();
        let path = target.endpoints.whep.clone();
        assert_eq!(target.create(&path, "r", "offer").unwrap(), "v=0");
        let refusal = target.create(&path, "r", "offer").unwrap_err().to_string();
        assert!(refusal.ends_with("answers 403 Forbidden: not you"), "{refusal}");
        assert_eq!(target.pids(), [7]);
        target.stop();
        // Where no request came, this stands in its place.
        let _ = TcpStream::connect(address).map(|mut stream| stream.write_all(b"none\r\n\r\n"));
        let requests = server.join().unwrap();
        assert!(requests[1].starts_with("POST /play/r?x HTTP/1.1\r\n"), "{}", requests[1]);
        let lower = requests[1].to_ascii_lowercase();
        assert!(lower.contains("content-type: application/sdp\r\n"));
        assert!(lower.contains("authorization: bearer secret\r\n"));
        assert!(requests[1].ends_with("\r\n\r\noffer"));
        assert!(requests[3].starts_with("DELETE /play/session HTTP/1.1\r\n"));
    }
}
