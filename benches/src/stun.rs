//! Connectivity and consent checks of a full ICE agent in the controlling role (RFC 8445 section 7, RFC 7675).

use anyhow::Context as _;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter as _, TransactionId};
use sfu_core::params::IceCredentials;

/// Type preference 126, local preference 65535, component 1.
const PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;

/// A binding request that nominates.
pub(crate) fn request(
    local: &IceCredentials,
    remote: &IceCredentials,
    transaction: [u8; 12],
) -> anyhow::Result<Vec<u8>> {
    let provider = rtc_stun::crypto::default_provider().context("no crypto provider")?;
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    TransactionId(transaction).add_to(&mut message)?;
    message.add(ATTR_USERNAME, format!("{}:{}", remote.ufrag, local.ufrag).as_bytes());
    message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
    message.add(ATTR_ICE_CONTROLLING, &[7; 8]);
    message.add(ATTR_USE_CANDIDATE, &[]);
    MessageIntegrity::new_short_term_integrity_with_provider(
        remote.password.clone(),
        provider.crypto(),
    )
    .add_to(&mut message)?;
    FINGERPRINT.add_to(&mut message)?;
    Ok(message.raw)
}

/// Is it the authentic success response to `transaction`?
pub(crate) fn is_success(datagram: &[u8], remote: &IceCredentials, transaction: [u8; 12]) -> bool {
    let Ok(provider) = rtc_stun::crypto::default_provider() else { return false };
    let mut message = Message::new();
    message.unmarshal_binary(datagram).is_ok()
        && message.typ == BINDING_SUCCESS
        && message.transaction_id.0 == transaction
        && MessageIntegrity::check(&mut message, remote.password.as_bytes(), provider.crypto())
            .is_ok()
}
