//! A native participant on the `webrtc` crate: joins by WebSocket, sends VP8 and Opus packets, keeps what it receives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState,
};
use webrtc::rtp_transceiver::RtpTransceiver;

use crate::media::{Received, payload};
use crate::server::TestServer;

const DEADLINE: Duration = Duration::from_secs(20);
const VIDEO_INTERVAL: Duration = Duration::from_millis(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the peer connection tells: shared with its tasks.
struct Heard {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    received: Arc<Mutex<BTreeMap<u32, Received>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Heard {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let (received, faults) = (Arc::clone(&self.received), Arc::clone(&self.faults));
        tokio::spawn(async move {
            let kind = track.kind().await;
            while let Some(event) = track.poll().await {
                let TrackRemoteEvent::OnRtpPacket(packet) = event else { continue };
                let result = received
                    .lock()
                    .unwrap()
                    .entry(packet.header.ssrc)
                    .or_default()
                    .take(kind, &packet);
                if let Err(fault) = result {
                    faults.lock().unwrap().push(fault);
                }
            }
        });
    }
}

/// One participant. Dropping it ends its sending; the server sees the socket close.
pub(crate) struct Bot {
    /// Given by the server.
    pub(crate) participant: String,
    pub(crate) identity: String,
    /// Numbers of the published tracks: what their packets carry as CSRC.
    pub(crate) numbers: BTreeMap<&'static str, u32>,
    /// Everything that the server said, in order.
    pub(crate) messages: Vec<Value>,
    mark: u8,
    socket: Socket,
    connection: Arc<dyn PeerConnection>,
    state: watch::Receiver<RTCPeerConnectionState>,
    gathered: watch::Receiver<bool>,
    received: Arc<Mutex<BTreeMap<u32, Received>>>,
    faults: Arc<Mutex<Vec<String>>>,
    tracks: Vec<(RtpCodecKind, u32, Arc<TrackLocalStaticRTP>)>,
    sending: Vec<tokio::task::JoinHandle<()>>,
    next_request: u64,
}

impl Bot {
    /// Joins `room`, publishes a camera and a microphone, and has a connected transport when it returns.
    pub(crate) async fn join(server: &TestServer, room: &str, mark: u8) -> Self {
        let url = format!("ws://{}/ws", server.address);
        let (socket, _) = connect_async(url).await.expect("the WebSocket opens");
        let received = Arc::default();
        let faults = Arc::default();
        let (gathered_sender, gathered) = watch::channel(false);
        let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
        let heard = Heard {
            gathered: gathered_sender,
            state: state_sender,
            received: Arc::clone(&received),
            faults: Arc::clone(&faults),
        };
        let connection = build_connection(Arc::new(heard)).await;
        let mut bot = Self {
            participant: String::new(),
            identity: String::new(),
            numbers: BTreeMap::new(),
            messages: Vec::new(),
            mark,
            socket,
            connection,
            state,
            gathered,
            received,
            faults,
            tracks: Vec::new(),
            sending: Vec::new(),
            next_request: 1,
        };
        let name = format!("bot {mark}");
        let welcome =
            bot.request(json!({"type": "join", "version": 1, "room": room, "name": name})).await;
        bot.participant = welcome["participant"].as_str().expect("a participant id").to_owned();
        bot.identity = welcome["identity"].as_str().expect("an identity").to_owned();
        bot.negotiate(&welcome["media_sections"]).await;
        bot.send_media();
        bot
    }

    /// Everything that arrived so far, by SSRC.
    pub(crate) fn received(&self) -> BTreeMap<u32, Received> {
        assert!(self.faults.lock().unwrap().is_empty(), "{:?}", self.faults.lock().unwrap());
        self.received.lock().unwrap().clone()
    }

    /// Reads the socket until `done` says so.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !done(self) {
            let last = || self.messages.iter().rev().take(5).collect::<Vec<_>>();
            assert!(tokio::time::Instant::now() < end, "waited for {what}; came: {:#?}", last());
            // A message, or a moment for packets to arrive: then the question is asked again.
            let _ = tokio::time::timeout(Duration::from_millis(20), self.read()).await;
        }
    }

    /// Sends a request and returns its answer; an `error` is returned like any answer.
    pub(crate) async fn request(&mut self, mut message: Value) -> Value {
        let request = self.next_request;
        self.next_request += 1;
        message["request"] = json!(request);
        self.send(&message).await;
        self.answer_to(request).await
    }

    async fn answer_to(&mut self, request: u64) -> Value {
        let answer = async {
            loop {
                if let Some(message) =
                    self.messages.iter().find(|message| message["request"] == request)
                {
                    return message.clone();
                }
                self.read().await;
            }
        };
        tokio::time::timeout(DEADLINE, answer).await.expect("an answer in time")
    }

    /// Leaves as a person does who clicks on 'leave'.
    pub(crate) async fn leave(mut self) {
        self.send(&json!({"type": "leave"})).await;
        self.socket.close(None).await.ok();
        self.connection.close().await.ok();
    }

    async fn send(&mut self, message: &Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .expect("the socket takes messages");
    }

    async fn read(&mut self) {
        let frame =
            self.socket.next().await.expect("the socket is open").expect("the socket works");
        if let Message::Text(text) = frame {
            self.messages.push(serde_json::from_str(&text).expect("JSON"));
        }
    }

    async fn negotiate(&mut self, sections: &Value) {
        self.connection.create_data_channel("first", None).await.expect("a data channel");
        let mut sections_sent = Vec::new();
        for (kind, ssrc) in [(RtpCodecKind::Audio, 0x1000), (RtpCodecKind::Video, 0x2000)] {
            let ssrc = ssrc + u32::from(self.mark);
            let track = local_track(kind, ssrc);
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Sendonly,
                ..Default::default()
            };
            let sent = Arc::clone(&track) as Arc<dyn TrackLocal>;
            let transceiver = self
                .connection
                .add_transceiver_from_track(sent, Some(init))
                .await
                .expect("a track");
            self.tracks.push((kind, ssrc, track));
            sections_sent.push(transceiver);
        }
        for (kind, count) in
            [(RtpCodecKind::Audio, &sections["audio"]), (RtpCodecKind::Video, &sections["video"])]
        {
            for _ in 0..count.as_u64().expect("a count") {
                let init = RTCRtpTransceiverInit {
                    direction: RTCRtpTransceiverDirection::Recvonly,
                    ..Default::default()
                };
                self.connection
                    .add_transceiver_from_kind(kind, Some(init))
                    .await
                    .expect("a transceiver");
            }
        }
        let offer = self.connection.create_offer(None).await.expect("an offer");
        self.connection.set_local_description(offer).await.expect("our offer is ours");
        tokio::time::timeout(DEADLINE, self.gathered.wait_for(|done| *done))
            .await
            .expect("gathered")
            .unwrap();
        let published = self.announce_tracks(&sections_sent).await;
        let offer = self.connection.local_description().await.expect("an offer");
        let answer = self.request(json!({"type": "offer", "offer_id": 1, "sdp": offer.sdp})).await;
        let sdp =
            answer["sdp"].as_str().unwrap_or_else(|| panic!("an answer, not {answer}")).to_owned();
        let answer = RTCSessionDescription::answer(sdp).expect("an answer that parses");
        self.connection.set_remote_description(answer).await.expect("an answer that fits");
        self.send(&json!({"type": "ready", "offer_id": 1})).await;
        for (source, request) in published {
            let answer = self.answer_to(request).await;
            let number = answer["number"].as_u64().unwrap_or_else(|| panic!("published: {answer}"));
            self.numbers.insert(source, number as u32);
        }
        let connected = self.state.wait_for(|state| *state == RTCPeerConnectionState::Connected);
        tokio::time::timeout(DEADLINE, connected).await.expect("connected in time").unwrap();
    }

    /// `publish` for both sending sections; returns source and request.
    async fn announce_tracks(
        &mut self,
        transceivers: &[Arc<dyn RtpTransceiver>],
    ) -> Vec<(&'static str, u64)> {
        let mut requests = Vec::new();
        for (transceiver, source) in transceivers.iter().zip(["microphone", "camera"]) {
            let mid = transceiver.mid().await.unwrap().expect("a mid after setLocalDescription");
            let request = self.next_request;
            self.next_request += 1;
            self.send(
                &json!({"type": "publish", "request": request, "mid": mid, "source": source}),
            )
            .await;
            requests.push((source, request));
        }
        requests
    }

    fn send_media(&mut self) {
        for (kind, ssrc, track) in self.tracks.clone() {
            let mark = self.mark;
            self.sending.push(tokio::spawn(async move {
                let (payload_type, step) =
                    if kind == RtpCodecKind::Video { (96, 1800) } else { (111, 960) };
                let mut ticks = tokio::time::interval(VIDEO_INTERVAL);
                for counter in 0u32.. {
                    ticks.tick().await;
                    let header = rtp::header::Header {
                        version: 2,
                        marker: kind == RtpCodecKind::Video,
                        payload_type,
                        sequence_number: (65_500 + counter) as u16,
                        timestamp: counter.wrapping_mul(step),
                        ssrc,
                        ..Default::default()
                    };
                    let packet = rtp::Packet { header, payload: payload(kind, mark, counter) };
                    if track.write_rtp(packet).await.is_err() {
                        return;
                    }
                }
            }));
        }
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        for task in &self.sending {
            task.abort();
        }
    }
}

async fn build_connection(heard: Arc<Heard>) -> Arc<dyn PeerConnection> {
    let mut media = MediaEngine::default();
    for (kind, payload_type) in [(RtpCodecKind::Audio, 111), (RtpCodecKind::Video, 96)] {
        let codec = RTCRtpCodecParameters { rtp_codec: codec(kind), payload_type };
        media.register_codec(codec, kind).expect("a codec");
    }
    let interceptors =
        register_default_interceptors(Registry::new(), &mut media).expect("interceptors");
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_interceptor_registry(interceptors)
        .with_handler(heard)
        .with_udp_addrs(vec!["127.0.0.1:0"])
        .build()
        .await
        .expect("a peer connection");
    Arc::new(connection)
}

fn codec(kind: RtpCodecKind) -> RTCRtpCodec {
    let (mime_type, clock_rate, channels) = if kind == RtpCodecKind::Video {
        ("video/VP8", 90_000, 0)
    } else {
        ("audio/opus", 48_000, 2)
    };
    RTCRtpCodec { mime_type: mime_type.to_owned(), clock_rate, channels, ..Default::default() }
}

fn local_track(kind: RtpCodecKind, ssrc: u32) -> Arc<TrackLocalStaticRTP> {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
        codec: codec(kind),
        ..Default::default()
    };
    let track = MediaStreamTrack::new(
        "bot".to_owned(),
        format!("{kind}"),
        "bot".to_owned(),
        kind,
        vec![encoding],
    );
    Arc::new(TrackLocalStaticRTP::new(track))
}
