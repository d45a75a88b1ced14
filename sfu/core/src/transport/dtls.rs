//! DTLS 1.2 for one peer, and the SRTP keys that come of it (RFC 6347, RFC 5764).
//!
//! Owns the handshake, its deadline and its retransmissions. Never sends or receives by itself, never knows an address,
//! never hands out a key before the peer's certificate matched a fingerprint from signaling.
//! The protocol itself is `rtc-dtls`, reached only through a guard that keeps its hazards from hostile bytes.

mod client_hello;
mod guard;
mod library;
mod reassembly;
mod record;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use rtc_dtls::endpoint::EndpointEvent;

use self::guard::{Admitted, Guard};
use self::library::{FLIGHT_INTERVAL, Identity, Library};
use crate::params::{DtlsRole, Fingerprint, FingerprintHash};
use crate::transport::srtp::{SrtpKeys, SrtpProfile};

/// From [`Dtls::start`] to completion.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// The library gives up at the eighth, so it is never asked for that.
const RETRANSMISSIONS_MAX: u32 = 7;
/// Doubling ends here, so that all retransmissions of a flight fall within ten seconds.
const FLIGHT_INTERVAL_MAX: Duration = Duration::from_secs(2);
/// Datagrams that wait for [`Dtls::poll_transmit`]; more are dropped, as a network would.
const TRANSMITS_MAX: usize = 256;
/// Events that wait for [`Dtls::poll_event`]; more application data is dropped.
const EVENTS_MAX: usize = 256;
/// Longest application data in bytes: with header, IV, MAC and padding of the costliest cipher a datagram of 1200.
pub const APPLICATION_DATA_LEN_MAX: usize = 1135;

/// Our certificate: self-signed, ECDSA with P-256.
#[derive(Clone)]
pub struct Certificate {
    /// X.509, DER.
    pub der: Vec<u8>,
    /// Private key, PKCS #8 DER; never logged.
    pub private_key_pkcs8: Vec<u8>,
}

impl Certificate {
    /// Digest for `a=fingerprint:sha-256`.
    pub fn sha256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.der).as_ref());
        bytes
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("der_len", &self.der.len()).finish_non_exhaustive()
    }
}

/// Why there is no association, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsFailure {
    /// The peer's certificate is not the one that signaling announced, or nothing that can be trusted was announced.
    #[error("the peer's certificate does not match its fingerprint")]
    FingerprintMismatch,
    /// No completion within 15 s of the start.
    #[error("handshake timeout")]
    Timeout,
    /// The peer sent more than a handshake needs.
    #[error("too many {0}")]
    LimitExceeded(&'static str),
    /// The peer or the library refused; the text is for people.
    #[error("{0}")]
    Library(String),
    /// The library panicked. The association is gone, nothing else is.
    #[error("the DTLS library panicked")]
    Panicked,
}

/// What happened.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The handshake is done and the peer is who signaling said. Comes at most once, before any data.
    Connected(Box<SrtpKeys>),
    /// One decrypted record.
    ApplicationData(Vec<u8>),
    /// The peer sent close_notify. Nothing follows.
    Closed,
    /// Nothing follows.
    Failed(DtlsFailure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Handshaking { deadline: Instant },
    Connected,
    Closed,
}

/// When the library's flight is due again. It retransmits at a constant interval; RFC 6347 section 4.2.4.1 wants doubling.
#[derive(Default)]
struct Backoff {
    armed: Option<Instant>,
    count: u32,
}

impl Backoff {
    fn due(&self) -> Option<Instant> {
        let armed = self.armed.filter(|_| self.count < RETRANSMISSIONS_MAX)?;
        let interval = (FLIGHT_INTERVAL * (1 << self.count)).min(FLIGHT_INTERVAL_MAX);
        Some(armed + interval.saturating_sub(FLIGHT_INTERVAL))
    }

    /// Whatever is sent in reply to a message begins the next flight.
    fn after_read(&mut self, armed: Option<Instant>, replied: bool) {
        self.armed = armed;
        if replied {
            self.count = 0;
        }
    }

    fn after_timeout(&mut self, armed: Option<Instant>) {
        *self = Self { armed, count: self.count + 1 };
    }
}

/// One DTLS association.
pub struct Dtls {
    role: DtlsRole,
    identity: Identity,
    fingerprints: Vec<Fingerprint>,
    /// As client, the one profile to offer; `None`: all of ours.
    offered: Option<SrtpProfile>,
    phase: Phase,
    guard: Guard,
    library: Option<Library>,
    backoff: Backoff,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>,
}

impl std::fmt::Debug for Dtls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Dtls");
        out.field("role", &self.role).field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Dtls {
    /// An association that waits for [`Self::start`].
    ///
    /// # Errors
    /// The private key is unusable, or no fingerprint is better than SHA-1.
    pub fn new(
        role: DtlsRole,
        certificate: &Certificate,
        mut fingerprints: Vec<Fingerprint>,
    ) -> Result<Self, DtlsFailure> {
        fingerprints.retain(|fingerprint| fingerprint.hash != FingerprintHash::Sha1);
        if fingerprints.is_empty() {
            return Err(DtlsFailure::FingerprintMismatch);
        }
        Ok(Self {
            role,
            identity: Identity::import(certificate)?,
            fingerprints,
            offered: None,
            phase: Phase::Idle,
            guard: Guard::new(role),
            library: None,
            backoff: Backoff::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// As client, offers `profile` and no other; call it before [`Self::start`]. A server is not held to anything by it.
    pub fn offer(&mut self, profile: SrtpProfile) {
        self.offered = Some(profile);
    }

    /// Begins the handshake: call it at the first authenticated STUN request, so that nothing is sent to an unproved
    /// address. The deadline runs from here. Later calls do nothing.
    pub fn start(&mut self, now: Instant) {
        if self.phase != Phase::Idle {
            return;
        }
        self.phase = Phase::Handshaking { deadline: now + HANDSHAKE_TIMEOUT };
        if self.role == DtlsRole::Client {
            let all = &client_hello::PROFILES[..];
            let profiles = self.offered.as_ref().map_or(all, std::slice::from_ref);
            match Library::connect(now, &self.identity, profiles, &self.fingerprints) {
                Ok(library) => self.library = Some(library),
                Err(failure) => return self.fail(failure),
            }
            self.after_call();
        }
    }

    /// Takes one datagram from the peer. Malformed records are dropped in silence (RFC 6347 section 4.1.2.7), and so is
    /// everything before [`Self::start`].
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        if !matches!(self.phase, Phase::Handshaking { .. } | Phase::Connected) {
            return;
        }
        match self.guard.admit(now, datagram) {
            Err(limit) => self.fail(DtlsFailure::LimitExceeded(limit)),
            Ok(admitted) => self.feed(now, &admitted),
        }
    }

    fn feed(&mut self, now: Instant, admitted: &Admitted) {
        if let Some(alert) = admitted.alert {
            return self.fail(DtlsFailure::Library(format!("the peer sent alert {alert}")));
        }
        if let (None, Some(hello)) = (&self.library, &admitted.client_hello) {
            match self.accept(hello) {
                Ok(library) => self.library = Some(library),
                Err(failure) => return self.fail(failure),
            }
        }
        let Some(library) = self.library.as_mut().filter(|_| !admitted.records.is_empty()) else {
            return;
        };
        let outcome = library.read(now, &admitted.records);
        self.after_call();
        for event in outcome.events {
            self.handle_event(now, event);
        }
        if let Some(failure) = outcome.failure {
            self.fail(self.explain(failure));
        }
    }

    fn accept(&self, client_hello: &[u8]) -> Result<Library, DtlsFailure> {
        let profile = client_hello::choose_profile(client_hello).ok_or_else(|| {
            DtlsFailure::Library("the ClientHello offers no SRTP profile of ours".to_owned())
        })?;
        Library::accept(&self.identity, profile, &self.fingerprints)
    }

    fn handle_event(&mut self, now: Instant, event: EndpointEvent) {
        match event {
            EndpointEvent::HandshakeComplete => self.complete(now),
            EndpointEvent::ApplicationData(data)
                if self.phase == Phase::Connected && self.events.len() < EVENTS_MAX =>
            {
                self.events.push_back(DtlsEvent::ApplicationData(data.into()));
            }
            EndpointEvent::PeerClosed => self.finish(DtlsEvent::Closed),
            _ => {}
        }
    }

    fn complete(&mut self, now: Instant) {
        let Some(library) = &mut self.library else { return };
        let trusted = library
            .peer_certificate()
            .is_some_and(|certificate| matches_fingerprint(&self.fingerprints, certificate));
        let keys = if trusted {
            library.export_srtp_keys(self.role)
        } else {
            Err(DtlsFailure::FingerprintMismatch)
        };
        match keys {
            Ok(keys) => {
                self.guard.complete();
                self.phase = Phase::Connected;
                self.events.push_back(DtlsEvent::Connected(Box::new(keys)));
            }
            Err(failure) => {
                library.close(now);
                self.after_call();
                self.fail(failure);
            }
        }
    }

    /// A handshake that broke over a certificate says so, whatever the library calls it.
    fn explain(&self, failure: DtlsFailure) -> DtlsFailure {
        let certificate = self.library.as_ref().and_then(Library::peer_certificate);
        match certificate {
            Some(certificate)
                if failure != DtlsFailure::Panicked
                    && !matches_fingerprint(&self.fingerprints, certificate) =>
            {
                DtlsFailure::FingerprintMismatch
            }
            _ => failure,
        }
    }

    /// Retransmits what is due, and ends a handshake that takes too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Phase::Handshaking { deadline } = self.phase else { return };
        if now >= deadline {
            return self.fail(DtlsFailure::Timeout);
        }
        let due = self.backoff.due().is_some_and(|due| now >= due);
        let Some(library) = self.library.as_mut().filter(|_| due) else { return };
        let result = library.handle_timeout(now);
        let armed = library.poll_timeout();
        self.drain();
        self.backoff.after_timeout(armed);
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    /// When [`Self::handle_timeout`] has something to do; `None` outside a handshake.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Phase::Handshaking { deadline } = self.phase else { return None };
        Some(self.backoff.due().map_or(deadline, |due| due.min(deadline)))
    }

    /// The next datagram for the peer, at most 1200 bytes.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Sends application data as one record. Dropped unless connected, or when longer than [`APPLICATION_DATA_LEN_MAX`].
    pub fn send(&mut self, now: Instant, data: &[u8]) {
        if self.phase != Phase::Connected || data.len() > APPLICATION_DATA_LEN_MAX {
            return;
        }
        let Some(library) = &mut self.library else { return };
        let result = library.write(now, data);
        self.drain();
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    /// Keys were handed out and the association lives.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Ends the association from our side: queues close_notify. No event follows.
    pub fn close(&mut self, now: Instant) {
        if let Some(library) = &mut self.library {
            library.close(now);
        }
        self.drain();
        self.phase = Phase::Closed;
        self.library = None;
    }

    fn fail(&mut self, failure: DtlsFailure) {
        self.finish(DtlsEvent::Failed(failure));
    }

    fn finish(&mut self, event: DtlsEvent) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.library = None;
            self.events.push_back(event);
        }
    }

    fn after_call(&mut self) {
        let replied = self.drain();
        self.backoff.after_read(self.library.as_ref().and_then(Library::poll_timeout), replied);
    }

    /// Moves the library's datagrams to ours; tells whether there were any.
    fn drain(&mut self) -> bool {
        let Some(library) = &mut self.library else { return false };
        let mut any = false;
        while let Some(datagram) = library.poll_transmit() {
            any = true;
            if self.transmits.len() < TRANSMITS_MAX {
                self.transmits.push_back(datagram);
            }
        }
        any
    }
}

fn matches_fingerprint(fingerprints: &[Fingerprint], certificate: &[u8]) -> bool {
    fingerprints.iter().any(|fingerprint| {
        let algorithm = match fingerprint.hash {
            FingerprintHash::Sha1 => return false,
            FingerprintHash::Sha256 => &digest::SHA256,
            FingerprintHash::Sha384 => &digest::SHA384,
            FingerprintHash::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, certificate).as_ref() == fingerprint.digest
    })
}
