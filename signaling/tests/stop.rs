//! The program told to stop, and the certificate changed under it.

use crate::harness::*;
use serde_json::json;
use signaling::auth::TokenRequest;
use signaling::config::{Config, Tls};
use signaling::{Ending, run};
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A process of its own: signals and exit codes are a process's.
struct Program {
    child: Option<Child>,
    server: Server,
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Program {
    async fn start(drain: &str) -> Self {
        Self::start_with(&["--drain", drain], "info").await
    }

    async fn start_with(args: &[&str], log: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_switchyard"))
            .args(["--listen", &listen, "--media-port", "0", "--media-ip", "127.0.0.1"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("RUST_LOG", log)
            .env("NO_COLOR", "1")
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (started, begun) = tokio::sync::oneshot::channel();
        // It goes on talking, and would end on a closed pipe.
        std::thread::spawn(move || {
            let _ = started.send(lines.next().is_some());
            lines.for_each(drop);
        });
        let server = at(listen.parse().unwrap());
        let program = Self { child: Some(child), server };
        assert!(timeout(PATIENCE, begun).await.unwrap().unwrap(), "it says that it listens");
        program
    }

    /// What it says when it cannot start.
    async fn try_start(args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchyard"));
        command.args(["--listen", "127.0.0.1:0", "--media-port", "0", "--media-ip", "127.0.0.1"]);
        command.args(args);
        let ended = spawn_blocking(move || command.output().unwrap());
        let output = timeout(PATIENCE, ended).await.expect("an end in time").unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// As `kill` does it.
    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The exit code, and what was logged.
    async fn end(mut self) -> (i32, String) {
        let mut child = self.child.take().unwrap();
        let ended = spawn_blocking(move || {
            let mut log = String::new();
            child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            (child.wait().unwrap().code().unwrap(), log)
        });
        timeout(PATIENCE, ended).await.expect("an end in time").unwrap()
    }
}

#[tokio::test]
async fn told_to_stop_it_lets_nobody_in_and_ends_when_the_last_one_leaves() {
    let program = Program::start("60").await;
    let mut ada = Socket::open(&program.server).await;
    ada.join("r", "").await;
    let mut late = Socket::open(&program.server).await;
    program.signal("TERM");
    assert_eq!(ada.next("closing").await["seconds"], 60);
    assert_eq!(late.join("r", "").await["code"], "unavailable");
    let post = program.server.send(&format!("POST /whip/r\n{SDP}"), &publisher()).await;
    assert_eq!((post.status, post.header("retry-after")), (503, "2"));
    assert!(post.body.contains("stops"), "{post:?}");
    assert_eq!(program.server.status("GET /readyz").await, 503);
    assert_eq!(program.server.status("GET /healthz").await, 200);
    ada.say(json!({"type": "leave"})).await;
    let (code, log) = program.end().await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("told to stop") && log.contains("nobody was left"), "{log}");
}

#[tokio::test]
async fn whoever_is_in_goes_on_over_another_socket_while_it_stops() {
    let program = Program::start("30").await;
    let mut ada = Socket::open(&program.server).await;
    let welcome = ada.join("r", "").await;
    program.signal("TERM");
    ada.next("closing").await;
    drop(ada);
    let mut ada = Socket::open(&program.server).await;
    assert_eq!(ada.join("r", "").await["code"], "unavailable");
    let resumed = ada.resume(&welcome, 1).await;
    assert_eq!(resumed["type"], "resumed", "{resumed}");
    assert_eq!(ada.next("closing").await["event"], 2);
    ada.say(json!({"type": "leave"})).await;
    assert_eq!(program.end().await.0, 0);
}

#[tokio::test]
async fn at_the_deadline_people_are_sent_away_and_the_exit_code_says_so() {
    let program = Program::start("1").await;
    let mut ada = Socket::open(&program.server).await;
    ada.join("r", "").await;
    program.signal("INT");
    ada.next("closing").await;
    assert_eq!(ada.next("closed").await["reason"], "shutdown");
    let (code, log) = program.end().await;
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("people=1"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let program = Program::start("60").await;
    let mut ada = Socket::open(&program.server).await;
    ada.join("r", "").await;
    program.signal("TERM");
    ada.next("closing").await;
    program.signal("TERM");
    let (code, log) = program.end().await;
    assert_eq!(code, 128 + 15, "{log}");
    assert!(log.contains("at once"), "{log}");
}

#[tokio::test]
async fn a_hangup_without_certificate_files_changes_nothing_and_says_so() {
    let program = Program::start_with(&["--drain", "0"], "info").await;
    let mut stay = Socket::open(&program.server).await;
    assert_eq!(stay.join("r", "").await["type"], "welcome");
    for _ in 0..3 {
        program.signal("HUP");
        assert_eq!(program.server.status("GET /readyz").await, 200);
    }
    stay.say(json!({"type": "leave"})).await;
    program.signal("TERM");
    let (code, log) = program.end().await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("SIGHUP") && log.contains("--tls-cert"), "{log}");
}

#[tokio::test]
async fn row_34_the_inner_views_are_on_their_own_address_only() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let program = Program::start_with(&["--drain", "0", "--admin-listen", &address], "info").await;
    let admin = at(address.parse().unwrap());
    for path in ["/metrics", "/api/rooms", "/api/openapi.json"] {
        assert_eq!(admin.status(&format!("GET {path}")).await, 200, "{path}");
        assert_eq!(program.server.status(&format!("GET {path}")).await, 404, "{path}");
    }
    for path in ["/ws", "/channel", "/whip/r", "/ice-servers"] {
        assert_eq!(admin.status(&format!("GET {path}")).await, 404, "{path}");
    }
    assert_eq!(admin.send("GET /", "").await.find("location"), Some("/operator"));
    assert_eq!(admin.status("GET /operator").await, 200);
    for server in [&admin, &program.server] {
        assert_eq!(server.status("GET /healthz").await, 200);
    }
    // Where the address cannot be had, the server does not start half.
    let taken = Program::try_start(&["--admin-listen", &address]).await;
    assert!(taken.contains("--admin-listen"), "{taken}");
}

#[tokio::test]
async fn row_34_nothing_secret_or_personal_is_logged() {
    let folder = Folder::new();
    let file = folder.0.join("keys.toml");
    std::fs::write(&file, format!("[keys]\nk = \"{SECRET}\"\n")).unwrap();
    // Everything that our own crates have to say.
    let log = "info,signaling=trace,sfu=trace,sfu_core=trace,switchyard=trace";
    let args = ["--drain", "0", "--config", file.to_str().unwrap()];
    let program = Program::start_with(&args, log).await;
    let good = token_with(|request| TokenRequest {
        name: Some("Personal Name".into()),
        metadata: "personal metadata".into(),
        identity: Some("personal-identity".into()),
        ..request
    });
    let bad = format!("{good}x");
    for token in [&good, &bad] {
        Socket::open(&program.server).await.join("r", token).await;
        let post = format!("POST /whip/r\n{SDP}\nAuthorization: Bearer {token}");
        program.server.send(&post, &publisher()).await;
        let list = format!("GET /api/rooms?token={token}\nAuthorization: Bearer {token}");
        program.server.send(&list, "").await;
    }
    program.signal("TERM");
    let (_, log) = program.end().await;
    assert!(log.contains("told to stop"), "{log}");
    let signature = good.rsplit('.').next().unwrap();
    for secret in [
        SECRET,
        signature,
        "Personal Name",
        "personal metadata",
        "personal-identity",
        UFRAG,
        PASSWORD,
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// How many descriptors a process has open.
fn open_files(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// None is left for another connection: those who are here go on, whoever comes reads why not, and later gets in.
#[tokio::test]
async fn figure_22_without_descriptors_calls_go_on_and_newcomers_are_told() {
    let program = Program::start("0").await;
    let id = program.child.as_ref().unwrap().id();
    let join = async || {
        let mut somebody = Socket::open(&program.server).await;
        assert_eq!(somebody.join("r", "").await["type"], "welcome");
        somebody
    };
    let (mut ada, mut bob) = (join().await, join().await);
    let limit = open_files(id) + 3;
    let limit = Command::new("prlimit")
        .args(["--pid", &id.to_string(), &format!("--nofile={limit}:")])
        .status();
    assert!(limit.unwrap().success());
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(tokio::net::TcpStream::connect(program.server.address()).await.unwrap());
    }
    let refused = program.server.send("GET /readyz", "").await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("as many connections as it can hold"), "{}", refused.body);
    ada.say(json!({"type": "chat", "request": 7, "text": "still here"})).await;
    assert_eq!(bob.next("chat_message").await["text"], "still here");
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while program.server.status("GET /readyz").await != 200 {
        assert!(Instant::now() < deadline, "it recovers");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    join().await;
}

/// A folder for one test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("switchyard-stop-{}-{}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Writes a new certificate; returns it.
    pub(crate) fn renew(&self) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(self.0.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.0.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server with the certificate of a folder, and what it shows.
struct Secured {
    url: String,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<anyhow::Result<Ending>>,
}

impl Secured {
    fn start(folder: &Folder) -> Self {
        let (certificate, key) = (folder.0.join("cert.pem"), folder.0.join("key.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config {
            listen: address,
            media_ips: vec!["127.0.0.1".parse().unwrap()],
            media_port: 0,
            workers: Some(1),
            tls: Some(Tls::Files { certificate, key }),
            drain: Duration::ZERO,
            ..Config::default()
        };
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(run(config, listener, shutdown.clone()));
        Self { url: format!("https://{address}/healthz"), shutdown, server }
    }

    async fn end(self) {
        self.shutdown.cancel();
        assert_eq!(timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap(), Ending::Empty);
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().danger_accept_invalid_certs(true).tls_info(true).build().unwrap()
}

/// The certificate of the connection over which a client asks, a new one where it has none.
async fn shown(client: &reqwest::Client, url: &str) -> Vec<u8> {
    let response = client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .unwrap()
        .peer_certificate()
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn figure_24_a_hundred_certificates_under_load() {
    let folder = Folder::new();
    let first = folder.renew();
    let secured = Secured::start(&folder);
    let old = client();
    assert_eq!(shown(&old, &secured.url).await, first);
    let over = CancellationToken::new();
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (url, over) = (secured.url.clone(), over.clone());
            // Connections anew, all the time: each is answered.
            tokio::spawn(async move {
                let mut certificates = HashSet::new();
                while !over.is_cancelled() {
                    certificates.insert(shown(&client(), &url).await);
                }
                certificates
            })
        })
        .collect();
    let mut all = HashSet::from([first.clone()]);
    let hang_up = || {
        let pid = std::process::id().to_string();
        assert!(Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
    };
    for round in 0..100 {
        let last = if round % 10 == 9 {
            let before = shown(&client(), &secured.url).await;
            std::fs::write(folder.0.join("cert.pem"), "half of a file").unwrap();
            before
        } else {
            folder.renew()
        };
        hang_up();
        let deadline = Instant::now() + PATIENCE;
        while shown(&client(), &secured.url).await != last {
            assert!(Instant::now() < deadline, "certificate {round} is shown");
        }
        assert_eq!(shown(&old, &secured.url).await, first, "the old connection lives on");
        all.insert(last);
    }
    over.cancel();
    let mut seen = HashSet::new();
    for load in load {
        seen.extend(load.await.unwrap());
    }
    assert!(seen.len() > 50 && seen.is_subset(&all), "{} of {}", seen.len(), all.len());
    secured.end().await;
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_go_on() {
    let folder = Folder::new();
    let first = folder.renew();
    let secured = Secured::start(&folder);
    let old = client();
    assert_eq!(shown(&old, &secured.url).await, first);
    std::fs::write(folder.0.join("cert.pem"), "half of a file").unwrap();
    let second = folder.renew();
    let deadline = Instant::now() + Duration::from_secs(30);
    while shown(&client(), &secured.url).await != second {
        assert!(Instant::now() < deadline, "the new certificate is shown");
        // An idle connection would be closed after 5 s.
        assert_eq!(shown(&old, &secured.url).await, first, "the old connection lives on");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(shown(&old, &secured.url).await, first, "the old connection lives on");
    secured.end().await;
}
