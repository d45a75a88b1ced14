//! One peer connection from the client's side: ICE checks, DTLS client, SRTP, publications and reception.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rand::Rng as _;
use sfu_core::params::{DtlsRole, IceCredentials};
use sfu_core::transport::dtls::{Certificate, Dtls, DtlsEvent};
use sfu_core::transport::srtp::{SrtpProfile, SrtpReceiver, SrtpSender};
use sfu_rtp::rtcp::{PAYLOAD_FEEDBACK, SENDER_REPORT};
use sfu_rtp::{PacketKind, RtcpPacket, classify, compound};

use crate::clock::wall_ns;
use crate::publication::Publication;
use crate::reception::Reception;
use crate::sdp::{Local, Remote, Section};
use crate::socket::StampedSocket;
use crate::stun;

/// Until the first answer.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Afterwards: what libwebrtc does on a connected pair.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2500);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 7675 section 5.1.
const CONSENT_EXPIRES: Duration = Duration::from_secs(30);
/// The largest datagram of a path.
const DATAGRAM_MAX: usize = 1500;

/// Everything that signaling found out.
pub(crate) struct PeerParams {
    pub(crate) local: Local,
    pub(crate) certificate: Certificate,
    pub(crate) remote: Remote,
    /// What is sent; the mid is the index.
    pub(crate) sends: Vec<Section>,
    pub(crate) sample_every: u64,
    pub(crate) phase: u64,
    /// Between two transport-wide feedbacks; `None`: sends none.
    pub(crate) feedback: Option<Duration>,
}

/// Fresh credentials and a fresh certificate, as every browser tab makes them.
pub(crate) fn make_local() -> anyhow::Result<(Local, Certificate)> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let params = rcgen::CertificateParams::new(vec!["bench".to_owned()])?;
    let signed = params.self_signed(&key)?;
    let certificate =
        Certificate { der: signed.der().to_vec(), private_key_pkcs8: key.serialize_der() };
    let mut rng = rand::rng();
    let mut word = |len| (0..len).map(|_| rng.sample(rand::distr::Alphanumeric) as char).collect();
    let ice = IceCredentials { ufrag: word(8), password: word(24) };
    Ok((Local { ice, fingerprint: certificate.sha256() }, certificate))
}

/// See the module.
pub(crate) struct Peer {
    pub(crate) socket: StampedSocket,
    local: IceCredentials,
    remote: IceCredentials,
    transaction: [u8; 12],
    check_due: Instant,
    consent: Option<Instant>,
    dtls: Dtls,
    srtp: Option<(SrtpSender, SrtpReceiver)>,
    pub(crate) profile: Option<SrtpProfile>,
    pub(crate) publications: Vec<Publication>,
    transport_sequence: u16,
    pub(crate) reception: Reception,
    feedback: Option<Duration>,
    feedback_due: Instant,
    report_due: Instant,
    /// Picture loss indications and full intra requests that came.
    pub(crate) keyframe_requests: u64,
}

impl Peer {
    /// A peer that begins to connect.
    pub(crate) fn new(now: Instant, params: PeerParams) -> anyhow::Result<Self> {
        let PeerParams { local, certificate, remote, sends, sample_every, phase, feedback } =
            params;
        let dtls = Dtls::new(DtlsRole::Client, &certificate, vec![remote.fingerprint])?;
        // Browsers do not report in step.
        let jitter = now + REPORT_INTERVAL.mul_f64(rand::random());
        let publish = |(mid, section): (usize, &Section)| {
            let (ssrc, _) = section.sends?;
            Some(Publication::new(section.kind, ssrc, mid, now))
        };
        Ok(Self {
            socket: StampedSocket::connect(remote.address)?,
            local: local.ice,
            remote: remote.ice,
            transaction: [0; 12],
            check_due: now,
            consent: None,
            dtls,
            srtp: None,
            profile: None,
            publications: sends.iter().enumerate().filter_map(publish).collect(),
            transport_sequence: rand::random(),
            reception: Reception::new(sample_every, phase),
            feedback,
            feedback_due: jitter,
            report_due: jitter,
            keyframe_requests: 0,
        })
    }

    /// Media can flow.
    pub(crate) fn is_connected(&self) -> bool {
        self.srtp.is_some()
    }

    /// Reads everything that waits in the socket.
    pub(crate) fn handle_readable(&mut self, now: Instant) -> anyhow::Result<()> {
        let mut buf = [0; DATAGRAM_MAX];
        while let Some((len, arrival)) = self.socket.receive(&mut buf)? {
            self.handle_datagram(now, &mut buf[..len], arrival)?;
        }
        Ok(())
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        arrival: u64,
    ) -> anyhow::Result<()> {
        // RFC 7983 section 7.
        match datagram.first() {
            Some(0..=3) if stun::is_success(datagram, &self.remote, self.transaction) => {
                self.consent = Some(now);
                self.check_due = now + CONSENT_INTERVAL;
                self.dtls.start(now);
                self.drain_dtls(now)
            }
            Some(20..=63) => {
                self.dtls.handle_datagram(now, datagram);
                self.drain_dtls(now)
            }
            Some(128..=191) => {
                let Some((_, srtp)) = &mut self.srtp else { return Ok(()) };
                match classify(datagram) {
                    Some(PacketKind::Rtp) => self.reception.handle_rtp(datagram, arrival, srtp),
                    Some(PacketKind::Rtcp) => {
                        let len =
                            srtp.unprotect_rtcp(datagram).context("RTCP that is not authentic")?;
                        self.handle_rtcp(&datagram[..len], arrival);
                    }
                    None => {}
                }
                Ok(())
            }
            _ => Ok(()),
        }
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
                    self.publications.iter_mut().for_each(|own| own.start_at(now));
                }
                DtlsEvent::ApplicationData(_) => {}
                DtlsEvent::Closed => bail!("the server closed DTLS"),
                DtlsEvent::Failed(failure) => bail!("DTLS failed: {failure}"),
            }
        }
        Ok(())
    }

    fn handle_rtcp(&mut self, bytes: &[u8], arrival: u64) {
        for packet in compound(bytes) {
            match (packet.packet_type, packet.count) {
                (SENDER_REPORT, _) => {
                    if let (Some(ssrc), Some(middle)) = (word(&packet, 0), middle_ntp(&packet)) {
                        self.reception.handle_sender_report(ssrc, middle, arrival);
                    }
                }
                // PLI names the stream in its header, FIR in its first entry.
                (PAYLOAD_FEEDBACK, format @ (1 | 4)) => {
                    let ssrc = word(&packet, if format == 1 { 4 } else { 8 });
                    let mut own = self.publications.iter_mut();
                    if let Some(publication) = own.find(|own| Some(own.ssrc) == ssrc) {
                        publication.request_keyframe();
                        self.keyframe_requests += 1;
                    }
                }
                _ => {}
            }
        }
    }

    /// Does what is due: checks, DTLS retransmissions, feedback, reports.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        if now >= self.check_due {
            self.send_check(now)?;
        }
        if self.dtls.poll_timeout().is_some_and(|due| due <= now) {
            self.dtls.handle_timeout(now);
            self.drain_dtls(now)?;
        }
        let Self { srtp: Some((srtp, _)), socket, reception, .. } = self else { return Ok(()) };
        if let Some(interval) = self.feedback.filter(|_| now >= self.feedback_due) {
            self.feedback_due += interval;
            reception.transport_feedback(|packet| send_rtcp(socket, srtp, packet));
        }
        if now >= self.report_due {
            self.report_due += REPORT_INTERVAL;
            if let Some(report) = reception.receiver_report(wall_ns()) {
                send_rtcp(socket, srtp, &report);
            }
            for publication in self.publications.iter().filter(|own| own.packets > 0) {
                send_rtcp(socket, srtp, &publication.sender_report());
            }
        }
        Ok(())
    }

    fn send_check(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.consent.is_some_and(|consent| now - consent > CONSENT_EXPIRES) {
            bail!("the server answers no checks any more");
        }
        let interval = if self.consent.is_some() { CONSENT_INTERVAL } else { CHECK_INTERVAL };
        self.check_due = now + interval;
        self.transaction = rand::random();
        let request = stun::request(&self.local, &self.remote, self.transaction)?;
        self.socket.send(&request);
        Ok(())
    }

    /// Sends the frames that are due; returns when the next one is.
    pub(crate) fn send_due(&mut self, now: Instant) -> Option<Instant> {
        let Self { srtp: Some((srtp, _)), socket, publications, transport_sequence, .. } = self
        else {
            return None;
        };
        for publication in publications.iter_mut() {
            while publication.due() <= now {
                publication.send_frame(srtp, transport_sequence, |packet| socket.send(packet));
            }
        }
        publications.iter().map(Publication::due).min()
    }
}

fn send_rtcp(socket: &StampedSocket, srtp: &mut SrtpSender, packet: &[u8]) {
    let mut buf = [0; DATAGRAM_MAX];
    buf[..packet.len()].copy_from_slice(packet);
    let len = srtp.protect_rtcp(&mut buf, packet.len());
    socket.send(&buf[..len]);
}

fn word(packet: &RtcpPacket<'_>, at: usize) -> Option<u32> {
    packet.body.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// The middle 32 bits of the NTP time of a sender report.
fn middle_ntp(packet: &RtcpPacket<'_>) -> Option<u32> {
    word(packet, 6)
}
