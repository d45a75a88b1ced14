//! The relay for Socket.IO clients, at `/socket.io/`: a namespace is a channel, and the root namespace tells which there are.
//!
//! Engine.IO (polling, upgrade, heartbeats) is a library's; Socket.IO on top of it is the handful of packets in `packet`. The
//! library for that layer keeps a namespace for every name that a client makes up, and two sockets that open a new one in the
//! same moment can end in two of them.

use super::message::ChannelName;
use super::packet::{self, Packet, Version};
use super::{
    Admission, COUNTED_BYTES, ChannelError, Deliver, Delivery, MESSAGE_BYTES_MAX, Membership,
    NAME_BYTES_MAX, Parcel,
};
use crate::auth::Pass;
use crate::http::{AppState, behind_proxy, enter};
use crate::ws::TokenBucket;
use axum::Router;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::EngineIoService;
use engineioxide::{DisconnectReason, ProtocolVersion, Socket, Str};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATH: &str = "/socket.io/";
/// Packets that may wait for a client that does not fetch them, [`MESSAGE_BYTES_MAX`] each.
const WAITING_MAX: usize = 256;
/// How long a refused client is left to read why.
const REFUSED_FOR: Duration = Duration::from_secs(5);
const TOO_MUCH: &str = "Too many messages, or one over 64 KiB.";

/// The route, open to pages of the origins that may use this server.
pub(crate) fn routes(state: Arc<AppState>) -> Router<Arc<AppState>> {
    let config = EngineIoConfig::builder()
        .req_path(PATH)
        .max_buffer_size(WAITING_MAX)
        .max_payload(2 * MESSAGE_BYTES_MAX as u64)
        .ws_max_message_size(2 * MESSAGE_BYTES_MAX)
        .ws_max_frame_size(2 * MESSAGE_BYTES_MAX)
        .ws_read_buffer_size(COUNTED_BYTES)
        .build();
    let service = EngineIoService::with_config(Arc::new(Relay(state.clone())), config);
    Router::new()
        .route_service(PATH, service)
        .layer(middleware::from_fn_with_state(state.clone(), count))
        .layer(middleware::from_fn_with_state(state, add_cors))
}

/// A new session counts as a socket of its address as long as it lasts: the library keeps the request with it. One that polls has no connection that
/// would count.
async fn count(State(state): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let has = |start: &str| query.split('&').any(|pair| pair.starts_with(start));
    if has("sid=") {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    let address = peer.and_then(|peer| {
        let polls = !has("transport=websocket");
        behind_proxy(peer, request.headers()).or_else(|| polls.then(|| peer.ip()))
    });
    match address.map(|address| enter(&state.limit, address)).transpose() {
        Ok(permit) => {
            request.extensions_mut().insert(Arc::new(permit));
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Old clients poll with credentials, which a page may read only where the answer names its origin. There are none that we look at.
async fn add_cors(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = state.trust.cors(request.headers()).is_some();
    let mut response = next.run(request).await;
    if let Some(origin) = origin.filter(|_| allowed) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// Takes what Engine.IO hands on.
#[derive(Debug)]
struct Relay(Arc<AppState>);

/// What is kept for one connection: nothing before it has been let in, and after its end.
#[derive(Debug, Default)]
struct Session(Mutex<Option<Client>>);

#[derive(Debug)]
struct Client {
    membership: Membership,
    bucket: TokenBucket,
    outbox: Arc<Outbox>,
    /// What the page calls whoever speaks from here, by channel.
    users: HashMap<String, Box<RawValue>>,
    /// Dropped, nobody waits for the end of its token any more.
    _gone: DropGuard,
}

/// Where packets for one connection go.
struct Outbox {
    socket: Weak<Socket<Session>>,
    /// Channels whose namespace the client has connected: it knows nothing of others yet.
    connected: Mutex<HashSet<String>>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outbox").field(&self.connected).finish()
    }
}

impl Outbox {
    fn connected(&self) -> MutexGuard<'_, HashSet<String>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliver for Outbox {
    fn deliver(&self, channel: &str, parcel: &Parcel) -> Delivery {
        let Some(socket) = self.socket.upgrade() else { return Delivery::Skipped };
        if socket.is_closed() || !self.connected().contains(channel) {
            return Delivery::Skipped;
        }
        if socket.emit(parcel.packet.clone()).is_err() {
            // The end takes a moment, in which nothing more is for it.
            self.connected().clear();
            socket.close(DisconnectReason::TransportClose);
            return Delivery::Slow;
        }
        Delivery::Taken
    }
}

#[derive(Deserialize)]
struct NewChannel {
    channel: ChannelName,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Speaker<'a> {
    #[serde(borrow)]
    sender: &'a RawValue,
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, Option<Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EngineIoHandler for Relay {
    type Data = Session;

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<Session>>) {
        let outbox =
            Arc::new(Outbox { socket: Arc::downgrade(&socket), connected: Mutex::default() });
        let entered = Query::<Admission>::try_from_uri(&socket.req_parts.uri)
            .map_err(|error| ChannelError::Refused(error.to_string()))
            .and_then(|Query(admission)| admission.check(&self.0.access))
            .and_then(|pass| {
                let membership = self.0.channels.enter(pass.room().clone(), outbox.clone())?;
                Ok((membership, pass))
            });
        match entered {
            Ok((membership, pass)) => {
                let bucket = TokenBucket::new(Instant::now());
                let (users, gone) = (HashMap::new(), CancellationToken::new());
                tokio::spawn(watch(pass, Arc::downgrade(&socket), gone.clone()));
                let _gone = gone.drop_guard();
                *socket.data.lock() = Some(Client { membership, bucket, outbox, users, _gone });
                // Old clients are in the root namespace without asking.
                if version(&socket) == Version::Old {
                    emit(&socket, packet::connected(Version::Old, "/", socket.id));
                }
            }
            Err(error) => {
                emit(&socket, packet::refused(version(&socket), "/", &error.to_string()));
                close_soon(socket);
            }
        }
    }

    fn on_disconnect(&self, socket: Arc<Socket<Session>>, _: DisconnectReason) {
        let client = socket.data.lock().take();
        if let Some(client) = client {
            client.leave_all();
        }
    }

    fn on_message(self: &Arc<Self>, text: Str, socket: Arc<Socket<Session>>) {
        let mut session = socket.data.lock();
        let Some(client) = session.as_mut() else { return };
        if !client.pays(text.len()) {
            drop(session);
            return send_away(socket, TOO_MUCH);
        }
        if let Some(answer) = client.answer(&text, &socket) {
            emit(&socket, answer);
        }
    }

    fn on_binary(self: &Arc<Self>, bytes: Bytes, socket: Arc<Socket<Session>>) {
        let mut session = socket.data.lock();
        let Some(client) = session.as_mut() else { return };
        let paid = client.pays(bytes.len());
        drop(session);
        if !paid {
            return send_away(socket, TOO_MUCH);
        }
        let sentence = serde_json::Value::from("The relay takes JSON, and nothing binary.");
        emit(&socket, packet::event("/", "error", sentence));
    }
}

impl Client {
    fn answer(&mut self, text: &str, socket: &Socket<Session>) -> Option<String> {
        match Packet::decode(text)? {
            Packet::Connect { namespace } => {
                let opened = channel_of(namespace).map(|channel| self.connect(channel));
                Some(match opened {
                    Some(Err(error)) => {
                        packet::refused(version(socket), namespace, &error.to_string())
                    }
                    Some(Ok(())) | None => packet::connected(version(socket), namespace, socket.id),
                })
            }
            Packet::Disconnect { namespace } => {
                self.leave(channel_of(namespace)?);
                None
            }
            Packet::Event { namespace, json } => match self.handle(namespace, json) {
                Ok(answer) => answer,
                Err(sentence) => {
                    let sentence = serde_json::Value::from(sentence);
                    Some(packet::event(namespace, "error", sentence))
                }
            },
        }
    }

    /// Whether so much may be said now; then it counts.
    fn pays(&mut self, bytes: usize) -> bool {
        let now = Instant::now();
        let allowed = self.bucket.ready_at() <= now && bytes <= MESSAGE_BYTES_MAX;
        if allowed {
            let count = bytes.div_ceil(COUNTED_BYTES).max(1);
            self.bucket.take(now, u32::try_from(count).unwrap_or(u32::MAX));
        }
        allowed
    }

    fn leave_all(mut self) {
        let channels: Vec<String> = self.users.keys().cloned().collect();
        channels.iter().for_each(|channel| self.leave(channel));
    }

    fn connect(&mut self, channel: &str) -> Result<(), ChannelError> {
        self.membership.open(channel)?;
        self.outbox.connected().insert(channel.to_owned());
        Ok(())
    }

    fn handle(&mut self, namespace: &str, json: &str) -> Result<Option<String>, String> {
        let refused = |error: ChannelError| error.to_string();
        let wrong = |error: serde_json::Error| format!("Not understood: {error}.");
        let (name, argument): (&str, &RawValue) = serde_json::from_str(json).map_err(wrong)?;
        match (channel_of(namespace), name) {
            (None, "new-channel") => {
                let new: NewChannel = serde_json::from_str(argument.get()).map_err(wrong)?;
                self.membership.open(&new.channel.0).map_err(refused)?;
                Ok(None)
            }
            (None, "presence") => {
                let channel: ChannelName = serde_json::from_str(argument.get()).map_err(wrong)?;
                let present = self.membership.is_present(&channel.0).map_err(refused)?;
                Ok(Some(packet::event("/", "presence", present)))
            }
            (Some(channel), "message") => {
                let said: Said<'_> = serde_json::from_str(argument.get()).map_err(wrong)?;
                self.membership.send(channel, said.data, Parcel::message).map_err(refused)?;
                self.note_user(channel, said.data);
                Ok(None)
            }
            _ => Err(format!(
                "There is no event {name:.32} here: new-channel and presence are for the root namespace, message for a channel's."
            )),
        }
    }

    /// The first message says whom the others are told of at the end.
    fn note_user(&mut self, channel: &str, data: &RawValue) {
        if self.users.contains_key(channel) {
            return;
        }
        if let Ok(Speaker { sender }) = serde_json::from_str(data.get())
            && sender.get().len() <= NAME_BYTES_MAX
        {
            self.users.insert(channel.to_owned(), sender.to_owned());
        }
    }

    fn leave(&mut self, channel: &str) {
        self.outbox.connected().remove(channel);
        if let Some(user) = self.users.remove(channel) {
            // Whoever has left it already has nobody to tell.
            let _ = self.membership.send(channel, &user, Parcel::user_left);
        }
        self.membership.leave(channel);
    }
}

/// `None`: the root namespace, which is no channel.
fn channel_of(namespace: &str) -> Option<&str> {
    namespace.strip_prefix('/').filter(|channel| !channel.is_empty())
}

fn version(socket: &Socket<Session>) -> Version {
    match socket.protocol {
        ProtocolVersion::V3 => Version::Old,
        ProtocolVersion::V4 => Version::New,
    }
}

/// Waits until the token of a connection counts no more, or the connection is `gone`.
async fn watch(pass: Pass, socket: Weak<Socket<Session>>, gone: CancellationToken) {
    tokio::select! {
        () = gone.cancelled() => {}
        why = pass.ended() => {
            if let Some(socket) = socket.upgrade() {
                send_away(socket, &why.to_string());
            }
        }
    }
}

/// Says why, and hears and tells nothing more.
fn send_away(socket: Arc<Socket<Session>>, sentence: &str) {
    emit(&socket, packet::event("/", "error", serde_json::Value::from(sentence)));
    let client = socket.data.lock().take();
    if let Some(client) = client {
        client.leave_all();
    }
    close_soon(socket);
}

/// Closes it when the client had time to read why: closing at once can overtake what was sent last. Nothing that comes until then does anything.
fn close_soon(socket: Arc<Socket<Session>>) {
    tokio::spawn(async move {
        tokio::time::sleep(REFUSED_FOR).await;
        socket.close(DisconnectReason::TransportClose);
    });
}

/// A client that does not fetch what is for it is at its end.
fn emit(socket: &Socket<Session>, packet: String) {
    if !socket.is_closed() && socket.emit(packet).is_err() {
        socket.close(DisconnectReason::TransportClose);
    }
}
