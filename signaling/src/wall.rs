//! The wall between rooms (row 30): random grants, every way to ask, two rooms in which everybody has the same names. An oracle that
//! knows nothing of the code says who may what; nothing of one room may ever be seen in the other.
#![allow(clippy::unwrap_used)]

mod requests;
mod social;

use crate::assets::Assets;
use crate::auth::{Access, Key, Keys, Secret, TokenRequest, sign};
use crate::config::Config;
use crate::http::{AppState, app};
use crate::media::{self, Media};
use crate::metrics::Census;
use crate::port::SocketLimit;
use crate::protocol::{ModeratorAction, Nothing, Permissions, Source};
use crate::room::{AdminCommand, OutboxReader, Registry, Reply, RoomSettings};
use crate::testing::{FakePeer, Way};
use crate::trust::Trust;
use crate::webhook::Webhooks;
use crate::whip::Sessions;
use crate::ws::Membership;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const STEPS: usize = 100_000;
/// Sessions that do not connect are gone after 15 seconds.
const TIDY_EVERY: Duration = Duration::from_secs(3);
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const WRONG: &str = "fedcba9876543210fedcba9876543210";
const ROOMS: [&str; 2] = ["a", "b"];

/// A token, and what the oracle knows of it.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    /// Signed by the server's key.
    good: bool,
    /// Made before anything was revoked.
    old: bool,
    room: &'static str,
    identity: Option<&'static str>,
    admin: bool,
    create: bool,
    list: bool,
    hidden: bool,
    permissions: Permissions,
}

/// Somebody with a socket.
struct Person {
    membership: Membership,
    outbox: OutboxReader,
    room: &'static str,
    identity: &'static str,
    /// The last that it brought.
    token: Token,
    permissions: Permissions,
}

/// A WHIP or WHEP session.
#[derive(Clone, Debug)]
struct Session {
    path: String,
    room: &'static str,
    identity: &'static str,
    token: Token,
    publishes: bool,
}

/// What the oracle knows of a member: what it may do, and whether it came by WHIP.
type Members = BTreeMap<(&'static str, &'static str), (Permissions, bool, bool)>;

struct Wall {
    rng: StdRng,
    app: Router,
    state: Arc<AppState>,
    people: Vec<Person>,
    sessions: Vec<Session>,
    members: Members,
    /// Numbers of tracks that there are, in whichever room; never empty when something is asked.
    tracks: Vec<u32>,
    /// The same in both rooms.
    names: [&'static str; 3],
    /// Data that the last step sent, and to whom: the text names its room and its sender.
    expected: Vec<(&'static str, &'static str, String)>,
    said: usize,
    removed: BTreeSet<(&'static str, &'static str)>,
    changed: HashMap<(&'static str, &'static str), Permissions>,
    /// And whether moderators by a token are kept out too.
    banned: BTreeMap<(&'static str, &'static str), bool>,
    /// Moderators without a token that says so.
    appointed: BTreeSet<(&'static str, &'static str)>,
    /// Those who wait to be let in.
    waiting: Vec<Person>,
    /// Rooms that are locked, and those that have a lobby.
    locked: BTreeSet<&'static str>,
    lobbies: BTreeSet<&'static str>,
    requests: u64,
    /// How often each outcome was seen, so that a test that tests nothing is noticed.
    seen: BTreeMap<String, usize>,
}

fn offer(way: Way) -> String {
    let mut peer = FakePeer::new();
    peer.data = false;
    peer.add(crate::protocol::Kind::Audio, way, &[]);
    peer.add(crate::protocol::Kind::Video, way, &["VP8"]);
    peer.offer()
}

impl Wall {
    fn new(seed: u64) -> Self {
        let media_ips = vec!["127.0.0.1".parse().unwrap()];
        let sfu = sfu::Config { media_ips, workers: 1, ..sfu::Config::default() };
        let (handle, events) = sfu::Sfu::start(sfu).unwrap();
        let media = Media::new(handle, Vec::new());
        let keys = Keys::new([("k".to_owned(), Key::secret(SECRET.into()).unwrap())]);
        let access = Access::new(keys.clone());
        let (settings, revocations) = (RoomSettings::default(), access.revocations.clone());
        let registry = Registry::new(settings, media.clone(), revocations, Webhooks::default());
        tokio::spawn(media::dispatch(events, registry.clone()));
        let state = Arc::new(AppState {
            config: Config { keys, ..Config::default() },
            access,
            registry,
            trust: Trust { tokens: true, tls: false, allowed_origins: Vec::new() },
            assets: Assets::new(),
            sessions: Sessions::default(),
            limit: Arc::new(SocketLimit::new(1)),
            media,
            sockets: Census::default(),
            channels: Arc::default(),
            shutdown: CancellationToken::new(),
            webhooks: Webhooks::default(),
        });
        Self {
            rng: StdRng::seed_from_u64(seed),
            app: app(state.clone()),
            state,
            people: Vec::new(),
            sessions: Vec::new(),
            members: Members::new(),
            tracks: vec![1],
            names: ["x", "y", "z"],
            expected: Vec::new(),
            said: 0,
            removed: BTreeSet::new(),
            changed: HashMap::new(),
            banned: BTreeMap::new(),
            appointed: BTreeSet::new(),
            waiting: Vec::new(),
            locked: BTreeSet::new(),
            lobbies: BTreeSet::new(),
            requests: 0,
            seen: BTreeMap::new(),
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    /// Anything may be in it; most of it in a way that lets something happen.
    fn token(&mut self) -> Token {
        let rng = &mut self.rng;
        let good = rng.random_bool(0.9);
        let old = rng.random_bool(0.5);
        let room = ROOMS[rng.random_range(0..2)];
        let identity = rng.random_bool(0.7).then(|| self.names[rng.random_range(0..3)]);
        let sources = match rng.random_bool(0.8) {
            true => Vec::new(),
            false => vec![Source::Microphone],
        };
        let permissions = Permissions {
            can_publish: rng.random_bool(0.8),
            can_subscribe: rng.random_bool(0.8),
            can_publish_data: rng.random_bool(0.8),
            can_update_metadata: rng.random_bool(0.5),
            can_publish_sources: sources,
        };
        let (admin, hidden) = (rng.random_bool(0.4), rng.random_bool(0.1));
        let (create, list) = (rng.random_bool(0.2), identity.is_none() || rng.random_bool(0.2));
        let secret = if good { SECRET } else { WRONG };
        let base = TokenRequest::join(
            "k",
            Secret::new(secret.into()),
            room,
            "",
            Duration::from_secs(7200),
        );
        let request = TokenRequest {
            identity: identity.map(str::to_owned),
            metadata: format!("in-{room}"),
            can_publish: Some(permissions.can_publish),
            can_subscribe: Some(permissions.can_subscribe),
            can_publish_data: Some(permissions.can_publish_data),
            can_update_own_metadata: permissions.can_update_metadata,
            can_publish_sources: permissions.can_publish_sources.clone(),
            hidden,
            room_admin: admin,
            room_create: create,
            room_list: list,
            ..base
        };
        let made = match old {
            true => SystemTime::now() - Duration::from_secs(100),
            false => SystemTime::now() + Duration::from_secs(100_000),
        };
        let text = sign(request, made).unwrap();
        Token { text, good, old, room, identity, admin, create, list, hidden, permissions }
    }

    /// What a token allows in a room; `None`: not even to be there.
    fn entry(&self, token: &Token, room: &str) -> Option<(&'static str, Permissions)> {
        let identity = token.identity.filter(|_| token.good && token.room == room)?;
        let name = (token.room, identity);
        let banned = self.banned.get(&name).is_some_and(|by_token| *by_token || !token.admin);
        if banned || (token.old && self.removed.contains(&name)) {
            return None;
        }
        let changed = self.changed.get(&name).filter(|_| token.old).cloned();
        Some((identity, changed.unwrap_or_else(|| token.permissions.clone())))
    }

    fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    async fn http(
        &self,
        method: &str,
        path: &str,
        token: &Token,
        kind: &str,
        body: String,
    ) -> (u16, String, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.text))
            .header(header::CONTENT_TYPE, kind)
            .header(header::IF_MATCH, "*")
            .body(Body::from(body));
        let response = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let location = response.headers().get(header::LOCATION);
        let location = location.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, location, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Who is in each room, and nothing of another room in anything that was said; in a room that was not asked, nothing was said.
    async fn check(&mut self, asked: Option<&'static str>) {
        self.tracks.clear();
        self.tracks.push(1);
        for room in ROOMS {
            let report = match self.state.registry.find(room) {
                Some(handle) => handle.administer(AdminCommand::Describe).await,
                None => None,
            };
            let report = match report {
                Some(Ok(Reply::Report(report))) => Some(report),
                _ => None,
            };
            self.check_door(room, report.as_deref());
            let report = report.map(|report| report.participants).unwrap_or_default();
            let found: BTreeMap<_, _> = report
                .iter()
                .map(|p| (p.identity.as_str(), (p.permissions.clone(), p.hidden, p.over_http)))
                .collect();
            let expected = self.members.iter().filter(|((place, _), _)| *place == room);
            let expected: BTreeMap<_, _> =
                expected.map(|((_, identity), member)| (*identity, member.clone())).collect();
            assert_eq!(found, expected, "in {room}");
            let tracks = report.iter().flat_map(|participant| &participant.tracks);
            self.tracks.extend(tracks.map(|track| track.number));
            for participant in &report {
                assert_eq!(participant.metadata, format!("in-{room}"));
                let beyond = |track: &&crate::protocol::TrackInfo| {
                    !participant.permissions.allows(track.source)
                };
                assert_eq!(participant.tracks.iter().find(beyond), None, "{participant:?}");
            }
        }
        for person in &mut self.people {
            while let Ok(outgoing) = person.outbox.messages.try_recv() {
                let text = outgoing.message;
                person.check_heard(&text);
                assert_eq!(Some(person.room), asked, "{text}");
            }
            while let Ok(data) = person.outbox.data.try_recv() {
                let data: serde_json::Value = serde_json::from_str(&data.text).unwrap();
                let text = data["text"].as_str().unwrap().to_owned();
                let sender = data["identity"].as_str().unwrap();
                assert!(text.starts_with(&format!("in-{} {sender} ", person.room)), "{data}");
                let got = (person.room, person.identity, text);
                let index = self.expected.iter().position(|expected| *expected == got);
                self.expected.remove(index.unwrap_or_else(|| panic!("not for {got:?}")));
            }
        }
        assert_eq!(self.expected, [], "data that did not come");
        for person in &mut self.waiting {
            while let Ok(outgoing) = person.outbox.messages.try_recv() {
                let text = outgoing.message;
                assert!(
                    text.starts_with(r#"{"type":"waiting""#),
                    "who waits hears nothing: {text}"
                );
            }
        }
    }

    /// Sessions that never connect end by themselves after a while, which the oracle does not know: they are ended before.
    async fn tidy(&mut self) {
        while let Some(session) = self.sessions.last().cloned() {
            let (status, _, body) =
                self.http("DELETE", &session.path, &session.token, "", String::new()).await;
            // Its own token may have been revoked since.
            if status != 200 {
                assert_eq!(status, 403, "{session:?}: {body}");
                let handle = self.state.registry.find(session.room).unwrap();
                let identity = session.identity.to_owned();
                let remove = AdminCommand::Remove { identity, reason: String::new() };
                handle.administer(remove).await.unwrap().unwrap();
                let name = (session.room, session.identity);
                self.removed.insert(name);
                self.gone(name);
                continue;
            }
            self.end(self.sessions.len() - 1);
        }
        // What was asked is done when the room answers.
        for room in ROOMS {
            if let Some(handle) = self.state.registry.find(room) {
                let _ = handle.administer(AdminCommand::Describe).await;
            }
        }
        for person in &mut self.people {
            while person.outbox.messages.try_recv().is_ok() {}
            while person.outbox.data.try_recv().is_ok() {}
        }
    }
}

impl Wall {
    async fn change_everybody(&mut self, step: usize) {
        self.tidy().await;
        for room in ROOMS {
            if let Some(handle) = self.state.registry.find(room) {
                let action = ModeratorAction::EndRoom(Nothing {});
                let reason = String::new();
                let _ = handle.administer(AdminCommand::Moderate { action, reason }).await;
            }
        }
        self.people.clear();
        self.waiting.clear();
        self.appointed.clear();
        self.members.clear();
        self.locked.clear();
        self.lobbies.clear();
        self.names = ["x", "y", "z"].map(|name| &*format!("{name}{step}").leak());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_30_nothing_crosses_the_wall_between_two_rooms() {
    let steps = std::env::var("WALL_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(STEPS);
    let (mut wall, mut tidied) = (Wall::new(30), Instant::now());
    for step in 0..steps {
        let asked = match wall.rng.random_range(0..13) {
            0..=2 => wall.join().await,
            3 | 4 => wall.say().await,
            5 => wall.renew().await,
            6 => wall.post().await,
            7 => wall.touch().await,
            8 => wall.talk().await,
            9 | 10 => wall.moderate().await,
            _ => wall.manage().await,
        };
        wall.check(asked).await;
        if step % 200 == 199 || tidied.elapsed() > TIDY_EVERY {
            wall.tidy().await;
            tidied = Instant::now();
        }
        // Old tokens would all be worthless after a while: others come.
        if step % 2000 == 1999 {
            wall.change_everybody(step).await;
        }
    }
    let seen = |what: &str| {
        wall.seen.iter().filter(|(name, _)| name.starts_with(what)).map(|(_, n)| n).sum::<usize>()
    };
    for what in [
        "join true",
        "join false",
        "renewed",
        "data true 1",
        "data false 0",
        "whip 201",
        "whep 201",
        "DELETE own true",
        "DELETE 8 204",
        "PATCH 7 204",
        "PATCH 10 204",
        "DELETE 11 204",
        "talk 0 true",
        "talk 1 true",
        "moderate kick true",
        "moderate ban true",
        "moderate unban true",
        "moderate set_permissions true",
        "moderate admit true",
        "moderate deny true",
        "moderate set_moderator true",
        "moderate update_participant true",
        "moderate kick false",
        "door locked",
        "door waits",
    ] {
        assert!(seen(what) * 10_000 >= steps, "{what} was hardly seen: {:?}", wall.seen);
    }
}
