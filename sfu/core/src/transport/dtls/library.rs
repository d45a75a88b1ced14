//! The only code that touches `rtc-dtls`: configuration, calls, errors and panics.
//!
//! Owns one library endpoint for one peer. Never reads the network: what comes in has passed the guard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate as LibraryCertificate;
use rtc_dtls::crypto_provider::providers::AwsLcRsProvider;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, SignatureScheme};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;

use super::{Certificate, DtlsFailure, matches_fingerprint};
use crate::params::{DtlsRole, Fingerprint};
use crate::transport::srtp::{SrtpKeys, SrtpProfile};

/// First retransmission of a flight. Short, because a lost or too early first flight is what users wait for.
pub(super) const FLIGHT_INTERVAL: Duration = Duration::from_millis(150);
/// Payload of a handshake fragment in bytes: with both headers and the cipher's overhead below 1200.
const FRAGMENT_LEN_MAX: usize = 1100;
/// RFC 5764 section 4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// The endpoint keys its associations by address; ours has one peer, wherever its packets come from.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2);

/// Our certificate with its key imported, ready for any number of handshakes.
#[derive(Clone)]
pub(super) struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: LibraryCertificate,
}

impl Identity {
    pub(super) fn import(certificate: &Certificate) -> Result<Self, DtlsFailure> {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let key = provider
            .crypto()
            .import_signing_key(SignatureScheme::EcdsaP256Sha256, &certificate.private_key_pkcs8)
            .map_err(|error| DtlsFailure::Library(error.to_string()))?;
        let der = vec![certificate.der.clone().into()];
        Ok(Self { provider, certificate: LibraryCertificate::from_signing_key(der, key) })
    }

    fn configure(
        &self,
        role: DtlsRole,
        profiles: &[SrtpProfile],
        fingerprints: &[Fingerprint],
    ) -> Result<Arc<HandshakeConfig>, DtlsFailure> {
        let fingerprints = fingerprints.to_vec();
        let profiles = profiles.iter().map(|profile| profile.id().into()).collect();
        catching(|| {
            ConfigBuilder::default()
                .with_crypto_provider(self.provider.clone())
                .with_certificates(vec![self.certificate.clone()])
                .with_srtp_protection_profiles(profiles)
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true) // no CA chain: the fingerprint decides
                .with_verify_peer_certificate(Some(Arc::new(move |chain, _| {
                    let trusted = chain
                        .first()
                        .is_some_and(|certificate| matches_fingerprint(&fingerprints, certificate));
                    if trusted { Ok(()) } else { Err(Error::ErrInvalidCertificate) }
                })))
                .with_flight_interval(FLIGHT_INTERVAL)
                .with_mtu(FRAGMENT_LEN_MAX)
                .build(role == DtlsRole::Client, None)
                .map(Arc::new)
        })
    }
}

/// What reading a datagram came to.
pub(super) struct Outcome {
    pub(super) events: Vec<EndpointEvent>,
    /// The association is beyond use.
    pub(super) failure: Option<DtlsFailure>,
}

/// The library's side of one association.
pub(super) struct Library {
    endpoint: Endpoint,
    established: bool,
}

impl Library {
    /// Waits for the ClientHello and answers with `profile`.
    pub(super) fn accept(
        identity: &Identity,
        profile: SrtpProfile,
        fingerprints: &[Fingerprint],
    ) -> Result<Self, DtlsFailure> {
        let config = identity.configure(DtlsRole::Server, &[profile], fingerprints)?;
        let endpoint = Endpoint::new(LOCAL, TransportProtocol::UDP, Some(config));
        Ok(Self { endpoint, established: false })
    }

    /// Sends the first flight, offering `profiles` in that order.
    pub(super) fn connect(
        now: Instant,
        identity: &Identity,
        profiles: &[SrtpProfile],
        fingerprints: &[Fingerprint],
    ) -> Result<Self, DtlsFailure> {
        let config = identity.configure(DtlsRole::Client, profiles, fingerprints)?;
        let mut endpoint = Endpoint::new(LOCAL, TransportProtocol::UDP, None);
        catching(|| endpoint.connect(now, PEER, config, None))?;
        Ok(Self { endpoint, established: false })
    }

    pub(super) fn read(&mut self, now: Instant, records: &[u8]) -> Outcome {
        let read = catch_unwind(AssertUnwindSafe(|| {
            self.endpoint.read(now, PEER, None, BytesMut::from(records))
        }));
        let (events, failure) = match read {
            Err(_) => (Vec::new(), Some(DtlsFailure::Panicked)),
            Ok(Ok(events)) => (events, None),
            // Once established, a warning alert and the like is reported, but harms nothing.
            Ok(Err(error)) if self.established && error != Error::ErrAlertFatalOrClose => {
                (Vec::new(), None)
            }
            Ok(Err(error)) => (Vec::new(), Some(DtlsFailure::Library(error.to_string()))),
        };
        self.established |=
            events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        Outcome { events, failure }
    }

    pub(super) fn write(&mut self, now: Instant, data: &[u8]) -> Result<(), DtlsFailure> {
        catching(|| self.endpoint.write(now, PEER, data))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsFailure> {
        catching(|| self.endpoint.handle_timeout(PEER, now))
    }

    /// Queues close_notify and forgets the association.
    pub(super) fn close(&mut self, now: Instant) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.endpoint.stop(now, PEER))));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&PEER)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message.into())
    }

    /// The certificate that the peer proved to own, or still has to prove before completion.
    pub(super) fn peer_certificate(&self) -> Option<&[u8]> {
        let state = self.endpoint.get_connection_state(PEER)?;
        state.peer_certificates.first().map(Vec::as_slice)
    }

    /// The keys of a finished handshake (RFC 5764 section 4.2).
    pub(super) fn export_srtp_keys(&self, role: DtlsRole) -> Result<SrtpKeys, DtlsFailure> {
        let missing = || DtlsFailure::Library("no SRTP profile was negotiated".to_owned());
        let state = self.endpoint.get_connection_state(PEER).ok_or_else(missing)?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => SrtpProfile::AeadAes256Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpProfile::Aes128CmSha1_80,
            _ => return Err(missing()),
        };
        let material = catching(|| {
            state.export_keying_material(EXPORTER_LABEL, &[], profile.keying_material_len())
        })?;
        SrtpKeys::from_keying_material(profile, material.as_ref(), role).ok_or_else(missing)
    }
}

/// A panic in the library costs one transport, not the process.
fn catching<T>(call: impl FnOnce() -> Result<T, Error>) -> Result<T, DtlsFailure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Err(_) => Err(DtlsFailure::Panicked),
        Ok(result) => result.map_err(|error| DtlsFailure::Library(error.to_string())),
    }
}
