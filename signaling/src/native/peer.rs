//! One peer connection of the `webrtc` crate: offers, and tells what happens.

use anyhow::{Context as _, bail};
use rtc::interceptor::{Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription,
};

use super::format::Format;
use super::inbound::{Inbound, Tap};

/// How long ICE and DTLS may take.
const CONNECT: Duration = Duration::from_secs(15);
/// Only the machine's own addresses are gathered, which takes no time.
const GATHER: Duration = Duration::from_secs(5);
/// Of an interceptor: farther from the network than the crate's own, which are numbered to 13 000.
const BEHIND_ALL: usize = 20_000;
const CLOSE: Duration = Duration::from_secs(1);
/// Without a sign of the server until the connection counts as broken, and then until it is given up.
const SILENCE: Duration = Duration::from_secs(5);
const HOPE: Duration = Duration::from_secs(10);

/// Passes events on.
struct Events {
    gathered: watch::Sender<bool>,
    state: watch::Sender<RTCPeerConnectionState>,
    tracks: mpsc::UnboundedSender<Arc<dyn TrackRemote>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        self.state.send_replace(state);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        // Nobody listens once the command is ending.
        let _ = self.tracks.send(track);
    }
}

/// A peer connection to a server.
pub(super) struct Peer {
    connection: Arc<dyn PeerConnection>,
    gathered: watch::Receiver<bool>,
    state: watch::Receiver<RTCPeerConnectionState>,
    /// Those that the server sends.
    pub(super) tracks: mpsc::UnboundedReceiver<Arc<dyn TrackRemote>>,
}

impl Peer {
    /// One that knows these formats, and what it will receive. `with_loopback`: the server may be on this machine.
    pub(super) async fn new(
        formats: &[(u8, Format)],
        with_loopback: bool,
    ) -> anyhow::Result<(Self, mpsc::Receiver<Inbound>)> {
        let mut media = MediaEngine::default();
        for (payload_type, format) in formats {
            media.register_codec(format.parameters(*payload_type), format.kind())?;
        }
        let (tap, inbound) = Tap::new();
        // Resending on NACK, asking for it, reports, feedback on arrival times.
        let interceptors = register_default_interceptors(Registry::new(), &mut media)?
            .with(Slot::Custom(BEHIND_ALL), tap);
        let (gathered_sender, gathered) = watch::channel(false);
        let (state_sender, state) = watch::channel(RTCPeerConnectionState::New);
        let (tracks_sender, tracks) = mpsc::unbounded_channel();
        let events =
            Events { gathered: gathered_sender, state: state_sender, tracks: tracks_sender };
        let settings =
            SettingEngineBuilder::new().with_ice_timeouts(Some(SILENCE), Some(HOPE), None).build();
        let connection = PeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(media)
            .with_interceptor_registry(interceptors)
            .with_handler(Arc::new(events))
            .with_udp_addrs(addresses(with_loopback)?)
            .build()
            .await?;
        Ok((Self { connection: Arc::new(connection), gathered, state, tracks }, inbound))
    }

    /// Adds a section that sends `format`; packets of this SSRC go into the returned track.
    pub(super) async fn send(
        &self,
        format: Format,
        ssrc: u32,
    ) -> anyhow::Result<Arc<TrackLocalStaticRTP>> {
        let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: coding,
            codec: format.codec(),
            ..Default::default()
        };
        // One stream for both: receivers play them in step.
        let (stream, id) = ("switchyard".to_owned(), format.kind().to_string());
        let track = MediaStreamTrack::new(stream, id.clone(), id, format.kind(), vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let sent = Arc::clone(&track) as Arc<dyn TrackLocal>;
        let init = direction(RTCRtpTransceiverDirection::Sendonly);
        self.connection.add_transceiver_from_track(sent, Some(init)).await?;
        Ok(track)
    }

    /// Adds a section that receives.
    pub(super) async fn receive(&self, kind: RtpCodecKind) -> anyhow::Result<()> {
        let init = direction(RTCRtpTransceiverDirection::Recvonly);
        self.connection.add_transceiver_from_kind(kind, Some(init)).await?;
        Ok(())
    }

    /// Adds a reliable data channel.
    pub(super) async fn channel(&self, label: &str) -> anyhow::Result<Arc<dyn DataChannel>> {
        Ok(self.connection.create_data_channel(label, None).await?)
    }

    /// The offer with all candidates: it needs no trickling.
    pub(super) async fn offer(&mut self) -> anyhow::Result<String> {
        let offer = self.connection.create_offer(None).await?;
        self.connection.set_local_description(offer).await?;
        timeout(GATHER, self.gathered.wait_for(|done| *done)).await??;
        let offer = self.connection.local_description().await;
        Ok(offer.context("no offer was made")?.sdp)
    }

    /// Takes the answer, and returns when media can flow.
    pub(super) async fn connect(&mut self, answer: String) -> anyhow::Result<()> {
        let answer = RTCSessionDescription::answer(answer)
            .context("the server's answer is no session description")?;
        let taken = self.connection.set_remote_description(answer).await;
        taken.context("the server's answer does not fit our offer")?;
        let settled = self
            .state
            .wait_for(|state| *state == RTCPeerConnectionState::Connected || has_ended(*state));
        let state = timeout(CONNECT, settled).await.map(|state| state.map(|state| *state));
        match state {
            Ok(Ok(RTCPeerConnectionState::Connected)) => Ok(()),
            _ => bail!(
                "the server answered, but no media connection came about: does its UDP port reach this machine (a firewall, or the address that it advertises)?"
            ),
        }
    }

    /// Is done when the server, or the network, has ended the connection.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut state = self.state.clone();
        async move {
            // An error: the connection is gone.
            let _ = state.wait_for(|state| has_ended(*state)).await;
        }
    }

    pub(super) async fn close(&self) {
        // The server has been told by DELETE already.
        let _ = timeout(CLOSE, self.connection.close()).await;
    }
}

fn has_ended(state: RTCPeerConnectionState) -> bool {
    matches!(state, RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed)
}

fn direction(direction: RTCRtpTransceiverDirection) -> RTCRtpTransceiverInit {
    RTCRtpTransceiverInit { direction, ..Default::default() }
}

/// A free port on each address of this machine: the crate makes a candidate of every socket's own address.
fn addresses(with_loopback: bool) -> anyhow::Result<Vec<String>> {
    let interfaces = if_addrs::get_if_addrs().context("cannot list this machine's addresses")?;
    let usable = interfaces.iter().filter(|interface| match interface.ip() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => false,
        ip => with_loopback || !ip.is_loopback(),
    });
    Ok(usable.map(|interface| std::net::SocketAddr::new(interface.ip(), 0).to_string()).collect())
}
