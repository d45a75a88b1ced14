//! Players on data channels: ICE, DTLS and SCTP of their own each, on the transport of `sfu-core` turned round and the bare `sctp-proto`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use sctp_proto::{
    Association, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier, ReliabilityType,
};
use sfu_core::params::DtlsRole;
use sfu_core::transport::dtls::{Dtls, DtlsEvent};
use sfu_core::transport::srtp::SrtpProfile;

use super::{Heard, Players};
use crate::ice::IceAgent;
use crate::peer::make_local;
use crate::socket::{PeerSocket, Receiver};
use crate::target::{Target as _, WebSocketTarget};

const CONNECT_DEADLINE: Duration = Duration::from_secs(60);
/// The signaling wants to hear of its participants.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// The stream that PROTOCOL.md gives to lossy messages without an opening message.
const LOSSY: u16 = 1;
/// A message as clients send it: version 1, bytes, the topic, to everybody.
const HEADER: &[u8] = b"\x01\x00\x04game\x00";
const ROOM: &str = "game";

/// See the module.
pub(super) struct Channels {
    target: WebSocketTarget,
    receiver: Receiver,
    players: Vec<Player>,
    kept_alive: Instant,
}

impl Channels {
    /// A fresh server, and so many players whose channels are open.
    pub(super) fn start(binary: &Path, cpus: &[usize], players: usize) -> anyhow::Result<Self> {
        let mut target = WebSocketTarget::new(binary.to_owned(), 1);
        target.start(cpus)?;
        let players = (0..players).map(|_| Player::join(&target)).collect::<Result<_, _>>()?;
        let receiver = Receiver::new();
        let mut all = Self { target, receiver, players, kept_alive: Instant::now() };
        let (end, mut heard) = (Instant::now() + CONNECT_DEADLINE, Heard::new()?);
        while !all.players.iter().all(Player::is_open) {
            ensure!(Instant::now() < end, "not all players have a channel after a minute");
            all.work(&mut heard)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(all)
    }
}

impl Players for Channels {
    fn say(&mut self, player: usize, message: &str) -> anyhow::Result<()> {
        let bytes = Bytes::from([HEADER, message.as_bytes()].concat());
        self.players[player].say(&bytes)
    }

    fn work(&mut self, heard: &mut Heard) -> anyhow::Result<()> {
        for player in &mut self.players {
            player.work(&mut self.receiver, heard)?;
        }
        if self.kept_alive.elapsed() > KEEP_ALIVE {
            self.kept_alive = Instant::now();
            self.target.keep_alive()?;
        }
        Ok(())
    }

    fn server_pid(&self) -> u32 {
        self.target.pids().first().copied().unwrap_or_default()
    }
}

struct Player {
    socket: PeerSocket,
    server: SocketAddr,
    ice: IceAgent,
    dtls: Dtls,
    endpoint: Endpoint,
    /// Once DTLS is there.
    association: Option<Association>,
    ready: bool,
}

impl Player {
    fn join(target: &WebSocketTarget) -> anyhow::Result<Self> {
        let socket = PeerSocket::bind(target.local_ip(), false)?;
        let (local, certificate) = make_local(&socket)?;
        let remote = target.meet(ROOM, "player", &local, &[], 0)?;
        socket.connect(remote.address)?;
        let mut dtls = Dtls::new(DtlsRole::Client, &certificate, vec![remote.fingerprint])?;
        dtls.offer(SrtpProfile::AeadAes128Gcm);
        let now = Instant::now();
        Ok(Self {
            ice: IceAgent::new(now, local.ice, remote.ice, remote.address, remote.server_controls),
            server: remote.address,
            socket,
            dtls,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::new()), None),
            association: None,
            ready: false,
        })
    }

    fn is_open(&self) -> bool {
        self.ready
    }

    fn say(&mut self, message: &Bytes) -> anyhow::Result<()> {
        let association = self.association.as_mut().context("a player without a channel")?;
        association.stream(LOSSY)?.write_sctp(message, PayloadProtocolIdentifier::Binary)?;
        self.flush(Instant::now());
        Ok(())
    }

    fn work(&mut self, receiver: &mut Receiver, heard: &mut Heard) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut came = false;
        let Self { socket, ice, dtls, association, endpoint, server, .. } = self;
        receiver.receive(socket, |datagram, arrival| {
            came = true;
            match datagram.first() {
                Some(0..=3) => {
                    if let Some(answer) = ice.handle(now, datagram) {
                        socket.send(&answer);
                    }
                }
                Some(20..=63) => {
                    dtls.handle_datagram(now, datagram);
                    while let Some(event) = dtls.poll_event() {
                        match (event, association.as_mut()) {
                            (DtlsEvent::Connected(_), _) => {
                                let (_, new) = endpoint.connect(ClientConfig::new(), *server)?;
                                *association = Some(new);
                            }
                            (DtlsEvent::ApplicationData(packet), Some(association)) => {
                                take(now, endpoint, association, *server, &packet);
                                read(association, arrival, heard);
                            }
                            (DtlsEvent::ApplicationData(_), None) => {}
                            (DtlsEvent::Closed, _) => bail!("the server closed DTLS"),
                            (DtlsEvent::Failed(failure), _) => bail!("DTLS failed: {failure}"),
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        if ice.is_ready() {
            dtls.start(now);
        }
        if now >= ice.due {
            socket.send(&ice.check(now)?);
        }
        if dtls.poll_timeout().is_some_and(|due| due <= now) {
            dtls.handle_timeout(now);
        }
        let due = association.as_ref().and_then(Association::poll_timeout);
        let due = due.is_some_and(|due| due <= now);
        if let Some(association) = association.as_mut().filter(|_| due) {
            association.handle_timeout(now);
        }
        if came || due || !self.ready {
            self.flush(now);
            self.open()?;
        }
        Ok(())
    }

    /// The channel, as soon as the association is there.
    fn open(&mut self) -> anyhow::Result<()> {
        let Some(association) = self.association.as_mut() else { return Ok(()) };
        if self.ready || association.is_handshaking() {
            return Ok(());
        }
        let mut stream = association.open_stream(LOSSY, PayloadProtocolIdentifier::Binary)?;
        stream.set_reliability_params(true, ReliabilityType::Rexmit, 0)?;
        // What says that it is there (RFC 8831 section 6.6: one byte stands for an empty message).
        stream.write_sctp(&Bytes::from_static(&[0]), PayloadProtocolIdentifier::BinaryEmpty)?;
        self.ready = true;
        self.flush(Instant::now());
        Ok(())
    }

    fn flush(&mut self, now: Instant) {
        if let Some(association) = &mut self.association {
            while let Some(transmit) = association.poll_transmit(now) {
                let Payload::RawEncode(packets) = transmit.payload else { continue };
                packets.iter().for_each(|packet| self.dtls.send(now, packet));
            }
        }
        while let Some(record) = self.dtls.poll_transmit() {
            self.socket.send(&record);
        }
    }
}

fn take(
    now: Instant,
    endpoint: &mut Endpoint,
    association: &mut Association,
    server: SocketAddr,
    packet: &[u8],
) {
    let packet = Bytes::copy_from_slice(packet);
    if let Some((_, DatagramEvent::AssociationEvent(event))) =
        endpoint.handle(now, server, None, None, packet)
    {
        association.handle_event(event);
    }
}

/// Hears all messages that are whole.
fn read(association: &mut Association, arrival: u64, heard: &mut Heard) {
    while association.poll().is_some() {}
    let Ok(mut stream) = association.stream(LOSSY) else { return };
    let mut buf = [0; 2048];
    while let Ok(Some(message)) = stream.read_sctp() {
        let Ok(len) = message.read(&mut buf) else { continue };
        if let Some(payload) = payload(&buf[..len]) {
            heard.take(payload, arrival);
        }
    }
}

/// What is behind the header of a message as the server sends it: topic, number and identity of the sender.
fn payload(message: &[u8]) -> Option<&[u8]> {
    let at = 3 + usize::from(*message.get(2)?) + 4;
    let len = message.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)?;
    message.get(at + 2 + usize::from(len)..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_the_protocols_example_is_passed_over() {
        let message = b"\x01\x01\x04chat\x00\x00\x00\x07\x00\x03adahi";
        assert_eq!(payload(message), Some(&b"hi"[..]));
        assert_eq!(payload(&message[..12]), None);
        assert_eq!(payload(b""), None);
    }
}
