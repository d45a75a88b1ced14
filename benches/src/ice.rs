//! A full ICE agent with one candidate pair (RFC 8445, RFC 7675). Against ICE-lite and against an answerer it nominates; where the
//! server offered, the server does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_REQUEST, BINDING_SUCCESS, Message, MessageType, Setter as _, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;
use sfu_core::params::IceCredentials;

/// Type preference 126, local preference 65535, component 1.
const PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;
/// Until the first answer.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Afterwards: what libwebrtc does on a connected pair.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2500);
/// RFC 7675 section 5.1.
const CONSENT_EXPIRES: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct IceAgent {
    local: IceCredentials,
    remote: IceCredentials,
    address: SocketAddr,
    server_controls: bool,
    tie_breaker: u64,
    transaction: [u8; 12],
    /// When [`Self::check`] is due.
    pub(crate) due: Instant,
    consent: Option<Instant>,
    nominated: bool,
}

impl IceAgent {
    /// An agent that begins to check the server at `address`.
    pub(crate) fn new(
        now: Instant,
        local: IceCredentials,
        remote: IceCredentials,
        address: SocketAddr,
        server_controls: bool,
    ) -> Self {
        Self {
            local,
            remote,
            address,
            server_controls,
            tie_breaker: rand::random(),
            transaction: [0; 12],
            due: now,
            consent: None,
            nominated: !server_controls,
        }
    }

    /// The pair works and is nominated.
    pub(crate) fn is_ready(&self) -> bool {
        self.consent.is_some() && self.nominated
    }

    /// The next check, to be sent now.
    ///
    /// # Errors
    /// The server has not answered for 30 s.
    pub(crate) fn check(&mut self, now: Instant) -> anyhow::Result<Vec<u8>> {
        if self.consent.is_some_and(|consent| now - consent > CONSENT_EXPIRES) {
            bail!("the server answers no checks any more");
        }
        let interval = if self.consent.is_some() { CONSENT_INTERVAL } else { CHECK_INTERVAL };
        self.due = now + interval;
        self.transaction = rand::random();
        let mut message = begin(BINDING_REQUEST, TransactionId(self.transaction))?;
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        message.add(ATTR_USERNAME, username.as_bytes());
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        let tie_breaker = self.tie_breaker.to_be_bytes();
        if self.server_controls {
            message.add(ATTR_ICE_CONTROLLED, &tie_breaker);
        } else {
            message.add(ATTR_ICE_CONTROLLING, &tie_breaker);
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        finish(message, &self.remote.password)
    }

    /// Takes a STUN message; returns the answer to a check of the server's.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        let provider = rtc_stun::crypto::default_provider().ok()?;
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        let password = match message.typ {
            BINDING_SUCCESS if message.transaction_id.0 == self.transaction => {
                &self.remote.password
            }
            BINDING_REQUEST => &self.local.password,
            _ => return None,
        };
        MessageIntegrity::check(&mut message, password.as_bytes(), provider.crypto()).ok()?;
        if message.typ == BINDING_SUCCESS {
            self.consent = Some(now);
            self.due = now + CONSENT_INTERVAL;
            return None;
        }
        self.nominated |= message.contains(ATTR_USE_CANDIDATE);
        let mut answer = begin(BINDING_SUCCESS, message.transaction_id).ok()?;
        let address = XorMappedAddress { ip: self.address.ip(), port: self.address.port() };
        address.add_to(&mut answer).ok()?;
        finish(answer, &self.local.password).ok()
    }
}

fn begin(kind: MessageType, transaction: TransactionId) -> anyhow::Result<Message> {
    let mut message = Message::new();
    message.set_type(kind);
    message.write_header();
    transaction.add_to(&mut message)?;
    Ok(message)
}

fn finish(mut message: Message, password: &str) -> anyhow::Result<Vec<u8>> {
    let provider = rtc_stun::crypto::default_provider().context("no crypto provider")?;
    let password = password.to_owned();
    MessageIntegrity::new_short_term_integrity_with_provider(password, provider.crypto())
        .add_to(&mut message)?;
    FINGERPRINT.add_to(&mut message)?;
    Ok(message.raw)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> IceCredentials {
        IceCredentials { ufrag: name.to_owned(), password: format!("{name} password of length 22") }
    }

    #[test]
    fn two_agents_agree() {
        let now = Instant::now();
        let (a, b) = (credentials("a"), credentials("b"));
        let address = "127.0.0.1:9".parse().unwrap();
        let mut controlling = IceAgent::new(now, a.clone(), b.clone(), address, false);
        let mut controlled = IceAgent::new(now, b, a, address, true);
        let answer = controlling.handle(now, &controlled.check(now).unwrap()).unwrap();
        assert_eq!(controlled.handle(now, &answer), None);
        assert!(!controlled.is_ready() && !controlling.is_ready());
        let answer = controlled.handle(now, &controlling.check(now).unwrap()).unwrap();
        assert!(controlled.is_ready() && !controlling.is_ready());
        let mut forged = answer.clone();
        forged[21] ^= 1;
        controlling.handle(now, &forged);
        assert!(!controlling.is_ready());
        controlling.handle(now, &answer);
        assert!(controlling.is_ready());
        assert!(controlling.check(now + Duration::from_secs(31)).is_err());
    }
}
