//! One peer connection from the client's side: ICE, DTLS client, SRTP, publications and reception.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rand::Rng as _;
use sfu_core::params::{DtlsRole, IceCredentials};
use sfu_core::transport::dtls::{Certificate, Dtls, DtlsEvent};
use sfu_core::transport::srtp::{SrtpProfile, SrtpReceiver, SrtpSender};
use sfu_rtp::rtcp::{PAYLOAD_FEEDBACK, SENDER_REPORT};
use sfu_rtp::{PacketKind, RtcpPacket, classify, compound};

use crate::clock::wall_ns;
use crate::ice::IceAgent;
use crate::publication::{Publication, Shape};
use crate::reception::{RTCP_SENDER_SSRC, Reception};
use crate::repair::Repair;
use crate::socket::{PeerSocket, Receiver};
use crate::stats::Stats;
use crate::target::{Local, Remote, Section};

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The largest datagram of a path.
const DATAGRAM_MAX: usize = 1500;

/// What a peer does, whatever the server.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) sample_every: u64,
    /// Between two transport-wide feedbacks; `None`: sends none.
    pub(crate) feedback: Option<Duration>,
    /// Offered by the DTLS client.
    pub(crate) profile: SrtpProfile,
    /// The kernel may hand over several datagrams at once.
    pub(crate) gro: bool,
    /// Share of the packets that is dropped and asked for again; `None`: loss is counted, and nothing asked for.
    pub(crate) loss: Option<f64>,
    /// Keyframe requests are counted, and not answered.
    pub(crate) deaf: bool,
}

/// Everything that signaling found out.
pub(crate) struct PeerParams {
    pub(crate) socket: PeerSocket,
    pub(crate) local: IceCredentials,
    pub(crate) certificate: Certificate,
    pub(crate) remote: Remote,
    /// What is sent, and how: one shape per encoding, in the order of the sections.
    pub(crate) sends: Vec<(Section, Vec<Shape>)>,
    /// When the schedule begins after the connection is there; `None`: when told.
    pub(crate) start: Option<Duration>,
    pub(crate) habits: Habits,
    pub(crate) phase: u64,
    /// When somebody wanted to join.
    pub(crate) asked: Instant,
}

/// Fresh credentials and a fresh certificate, as every browser tab makes them.
pub(crate) fn make_local(socket: &PeerSocket) -> anyhow::Result<(Local, Certificate)> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let params = rcgen::CertificateParams::new(vec!["bench".to_owned()])?;
    let signed = params.self_signed(&key)?;
    let certificate =
        Certificate { der: signed.der().to_vec(), private_key_pkcs8: key.serialize_der() };
    let mut rng = rand::rng();
    let mut word = |len| (0..len).map(|_| rng.sample(rand::distr::Alphanumeric) as char).collect();
    let ice = IceCredentials { ufrag: word(8), password: word(24) };
    let local = Local { ice, fingerprint: certificate.sha256(), address: socket.address()? };
    Ok((local, certificate))
}

/// See the module.
pub(crate) struct Peer {
    pub(crate) socket: PeerSocket,
    ice: IceAgent,
    dtls: Dtls,
    srtp: Option<(SrtpSender, SrtpReceiver)>,
    pub(crate) profile: Option<SrtpProfile>,
    publications: Vec<Publication>,
    start: Option<Duration>,
    transport_sequence: u16,
    pub(crate) reception: Reception,
    feedback: Option<Duration>,
    feedback_due: Instant,
    report_due: Instant,
    asked: Instant,
    /// From the wish to join until media could flow.
    pub(crate) joined_after: Option<Duration>,
    /// From the wish to join until the first frame of video was whole.
    pub(crate) first_frame_after: Option<Duration>,
    deaf: bool,
    /// Picture loss indications and full intra requests that came.
    pub(crate) keyframe_requests: u64,
}

impl Peer {
    /// A peer that begins to connect.
    pub(crate) fn new(now: Instant, params: PeerParams) -> anyhow::Result<Self> {
        let PeerParams { socket, local, certificate, remote, sends, habits, phase, .. } = params;
        socket.connect(remote.address)?;
        let mut dtls = Dtls::new(DtlsRole::Client, &certificate, vec![remote.fingerprint])?;
        dtls.offer(habits.profile);
        let mut reception = Reception::new(&remote.sections, habits.sample_every, phase);
        reception.repair = habits.loss.map(|share| Repair::new(share, phase));
        let publications = sends
            .iter()
            .zip(&remote.sections)
            .flat_map(|((section, shapes), negotiated)| {
                let encodings = section.sends.iter().zip(shapes);
                encodings.map(|(encoding, shape)| Publication::new(*shape, encoding, negotiated))
            })
            .collect();
        // Browsers do not report in step.
        let jitter = now + REPORT_INTERVAL.mul_f64(rand::random());
        Ok(Self {
            socket,
            ice: IceAgent::new(now, local, remote.ice, remote.address, remote.server_controls),
            dtls,
            srtp: None,
            profile: None,
            publications,
            start: params.start,
            transport_sequence: rand::random(),
            reception,
            feedback: habits.feedback,
            feedback_due: jitter,
            report_due: jitter,
            asked: params.asked,
            joined_after: None,
            first_frame_after: None,
            deaf: habits.deaf,
            keyframe_requests: 0,
        })
    }

    /// Media can flow.
    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// It sends media.
    pub(crate) fn is_publisher(&self) -> bool {
        !self.publications.is_empty()
    }

    /// Media flows from now on.
    pub(crate) fn start_at(&mut self, start: Instant) {
        self.publications.iter_mut().for_each(|own| own.start_at(start));
    }

    /// Nothing flows until [`Self::start_at`].
    pub(crate) fn pause(&mut self) {
        self.publications.iter_mut().for_each(Publication::pause);
    }

    /// Reads what waits in the socket, or the first part of it. Returns whether anything but media came, so that
    /// [`Self::next_timeout`] may have changed.
    pub(crate) fn handle_readable(
        &mut self,
        now: Instant,
        receiver: &mut Receiver,
        stats: &mut Stats,
    ) -> anyhow::Result<bool> {
        let Self { socket, ice, dtls, srtp, reception, publications, .. } = self;
        let deaf = self.deaf;
        let (mut other, mut keyframes) = (false, 0);
        // RFC 7983 section 7.
        receiver.receive(socket, |datagram, arrival| {
            match (datagram.first(), srtp.as_mut()) {
                (Some(0..=3), _) => {
                    other = true;
                    if let Some(answer) = ice.handle(now, datagram) {
                        socket.send(&answer);
                    }
                }
                (Some(20..=63), _) => {
                    other = true;
                    dtls.handle_datagram(now, datagram);
                }
                (Some(128..=191), Some((_, srtp))) => match classify(datagram) {
                    Some(PacketKind::Rtp) => {
                        reception.handle_rtp(now, datagram, arrival, srtp, stats);
                    }
                    Some(PacketKind::Rtcp) => {
                        let len =
                            srtp.unprotect_rtcp(datagram).context("RTCP that is not authentic")?;
                        let own = (&mut **publications, deaf);
                        keyframes += handle_rtcp(&datagram[..len], arrival, reception, own);
                    }
                    None => {}
                },
                _ => {}
            }
            Ok(())
        })?;
        self.keyframe_requests += keyframes;
        if self.first_frame_after.is_none() && self.reception.has_frame() {
            self.first_frame_after = Some(now - self.asked);
        }
        if other && self.ice.is_ready() {
            self.dtls.start(now);
        }
        if other {
            self.drain_dtls(now)?;
        }
        Ok(other || self.reception.repair.is_some())
    }

    fn drain_dtls(&mut self, now: Instant) -> anyhow::Result<()> {
        while let Some(record) = self.dtls.poll_transmit() {
            self.socket.send(&record);
        }
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Connected(keys) => {
                    self.profile = Some(keys.profile);
                    self.srtp = Some((SrtpSender::new(&keys), SrtpReceiver::new(&keys)));
                    self.joined_after = Some(now - self.asked);
                    if let Some(start) = self.start {
                        self.start_at(now + start);
                    }
                }
                DtlsEvent::ApplicationData(_) => {}
                DtlsEvent::Closed => bail!("the server closed DTLS"),
                DtlsEvent::Failed(failure) => bail!("DTLS failed: {failure}"),
            }
        }
        Ok(())
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(crate) fn next_timeout(&self) -> Instant {
        let mut due = self.ice.due.min(self.dtls.poll_timeout().unwrap_or(self.ice.due));
        if self.is_connected() {
            due = due.min(self.report_due);
            if self.feedback.is_some() {
                due = due.min(self.feedback_due);
            }
            let nack = self.reception.repair.as_ref().and_then(Repair::due);
            due = due.min(nack.unwrap_or(due));
        }
        due
    }

    /// Does what is due: checks, DTLS retransmissions, feedback, reports.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        if now >= self.ice.due {
            let check = self.ice.check(now)?;
            self.socket.send(&check);
        }
        if self.dtls.poll_timeout().is_some_and(|due| due <= now) {
            self.dtls.handle_timeout(now);
            self.drain_dtls(now)?;
        }
        let Self { srtp: Some((srtp, _)), socket, reception, .. } = self else { return Ok(()) };
        if let Some(repair) = &mut reception.repair {
            while let Some(nack) = repair.nack(now, RTCP_SENDER_SSRC) {
                send_rtcp(socket, srtp, &nack);
            }
        }
        if let Some(interval) = self.feedback.filter(|_| now >= self.feedback_due) {
            self.feedback_due += interval;
            reception.transport_feedback(|packet| send_rtcp(socket, srtp, packet));
        }
        if now >= self.report_due {
            self.report_due += REPORT_INTERVAL;
            if let Some(report) = reception.receiver_report(wall_ns()) {
                send_rtcp(socket, srtp, &report);
            }
            for report in self.publications.iter().filter_map(Publication::sender_report) {
                send_rtcp(socket, srtp, &report);
            }
        }
        Ok(())
    }

    /// Sends the packets that are due; returns when the next one is.
    pub(crate) fn send_due(&mut self, now: Instant, stats: &mut Stats) -> Option<Instant> {
        let Self { srtp: Some((srtp, _)), socket, publications, transport_sequence, .. } = self
        else {
            return None;
        };
        let mut next: Option<Instant> = None;
        for publication in publications.iter_mut() {
            while let Some(due) = publication.due() {
                if due > now {
                    next = Some(next.map_or(due, |next| next.min(due)));
                    break;
                }
                if publication.is_timed() {
                    stats.slip.saturating_record(due.elapsed().as_nanos() as u64);
                }
                socket.send(publication.next_packet(srtp, transport_sequence));
            }
        }
        next
    }
}

fn send_rtcp(socket: &PeerSocket, srtp: &mut SrtpSender, packet: &[u8]) {
    let mut buf = [0; DATAGRAM_MAX];
    buf[..packet.len()].copy_from_slice(packet);
    let len = srtp.protect_rtcp(&mut buf, packet.len());
    socket.send(&buf[..len]);
}

/// Returns how many keyframes were asked for.
fn handle_rtcp(
    bytes: &[u8],
    arrival: u64,
    reception: &mut Reception,
    (publications, deaf): (&mut [Publication], bool),
) -> u64 {
    let mut keyframes = 0;
    for packet in compound(bytes) {
        match (packet.packet_type, packet.count) {
            (SENDER_REPORT, _) => {
                // The middle 32 bits of the NTP time.
                if let (Some(ssrc), Some(middle)) = (word(&packet, 0), word(&packet, 6)) {
                    reception.handle_sender_report(ssrc, middle, arrival);
                }
            }
            // PLI names the stream in its header, FIR in its first entry.
            (PAYLOAD_FEEDBACK, format @ (1 | 4)) => {
                let ssrc = word(&packet, if format == 1 { 4 } else { 8 });
                let mut own = publications.iter_mut();
                if let Some(publication) = own.find(|own| Some(own.ssrc) == ssrc) {
                    if !deaf {
                        publication.request_keyframe();
                    }
                    keyframes += 1;
                }
            }
            _ => {}
        }
    }
    keyframes
}

fn word(packet: &RtcpPacket<'_>, at: usize) -> Option<u32> {
    packet.body.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}
