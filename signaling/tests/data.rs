//! Data channels of the `webrtc` crate through the server: two participants, messages of one byte to many packets, both ways.

use crate::harness::{PATIENCE, Server, Socket, open};
use bytes::BytesMut;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCSessionDescription,
};

/// With the header of PROTOCOL.md a message to everybody: version 1, bytes, the topic.
const HEADER: &[u8] = b"\x01\x00\x04game\x00";

struct Events(watch::Sender<bool>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.0.send_replace(state == RTCIceGatheringState::Complete);
    }
}

struct Participant {
    identity: String,
    channel: Arc<dyn DataChannel>,
    // Both end with it.
    _socket: Socket,
    _connection: Arc<dyn PeerConnection>,
}

impl Participant {
    async fn join(server: &Server, identity: &str) -> Self {
        let mut socket = Socket::open(server).await;
        socket.say(json!({"type": "join", "request": 1, "version": 1, "room": "den", "name": identity, "identity": identity, "max_audio": 0, "max_video": 0})).await;
        socket.answer(1).await;
        let (tell, mut gathered) = watch::channel(false);
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(MediaEngine::default())
            .with_handler(Arc::new(Events(tell)))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .unwrap();
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let channel = connection.create_data_channel("reliable", None).await.unwrap();
        let offer = connection.create_offer(None).await.unwrap();
        connection.set_local_description(offer).await.unwrap();
        timeout(PATIENCE, gathered.wait_for(|done| *done)).await.unwrap().unwrap();
        let sdp = connection.local_description().await.unwrap().sdp;
        socket.say(json!({"type": "offer", "request": 2, "offer_id": 1, "sdp": sdp})).await;
        let answer = socket.answer(2).await;
        let answer = RTCSessionDescription::answer(answer["sdp"].as_str().unwrap().to_owned());
        connection.set_remote_description(answer.unwrap()).await.unwrap();
        let identity = identity.to_owned();
        let own = Self { identity, channel, _socket: socket, _connection: connection };
        while !matches!(own.event().await, DataChannelEvent::OnOpen) {}
        own
    }

    async fn event(&self) -> DataChannelEvent {
        let event = timeout(PATIENCE, self.channel.poll()).await.expect("an event in time");
        event.expect("the channel is open")
    }

    async fn say(&self, payload: &[u8]) {
        let message = [HEADER, payload].concat();
        self.channel.send(BytesMut::from(&message[..])).await.unwrap();
    }

    /// The next message, which is from `sender`.
    async fn hear(&self, sender: &Self) -> Vec<u8> {
        loop {
            if let DataChannelEvent::OnMessage(message) = self.event().await {
                assert!(!message.is_string);
                let (header, payload) =
                    message.data.split_at(3 + 4 + 4 + 2 + sender.identity.len());
                assert_eq!(header[..7], HEADER[..7]);
                assert_eq!(header[13..], *sender.identity.as_bytes());
                return payload.to_vec();
            }
        }
    }
}

#[tokio::test]
async fn the_webrtc_crate_says_and_hears_messages_of_every_length() {
    let server = open();
    let ada = Participant::join(&server, "ada").await;
    let bob = Participant::join(&server, "bob").await;
    for (one, other) in [(&ada, &bob), (&bob, &ada)] {
        for length in [1, 1000, 60_000] {
            let payload: Vec<u8> = (0..length).map(|byte| (byte * 11) as u8).collect();
            one.say(&payload).await;
            assert_eq!(other.hear(one).await, payload, "{} says {length}", one.identity);
        }
    }
}
