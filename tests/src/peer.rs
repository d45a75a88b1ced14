//! A peer of the engine as control would have negotiated it: keys, ICE credentials, and checks that `rtc-stun` writes.

use rtc_stun::attributes::{ATTR_USERNAME, AttrType};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use sfu_core::params::{IceCredentials, Security, TransportParams};
use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile};

/// Keys of one connection as the peer sees them; `mirror` gives the engine's view.
pub fn peer_keys(number: u64, profile: SrtpProfile) -> SrtpKeys {
    let bytes = |tag: u8, len: usize| {
        (0..len).map(|i| tag ^ (i as u8).wrapping_mul(29) ^ number as u8).collect::<Vec<u8>>()
    };
    SrtpKeys {
        profile,
        local_key: bytes(0x11, profile.key_len()),
        local_salt: bytes(0x22, profile.salt_len()),
        remote_key: bytes(0x33, profile.key_len()),
        remote_salt: bytes(0x44, profile.salt_len()),
    }
}

/// The other end's view.
pub fn mirror(keys: &SrtpKeys) -> SrtpKeys {
    SrtpKeys {
        profile: keys.profile,
        local_key: keys.remote_key.clone(),
        local_salt: keys.remote_salt.clone(),
        remote_key: keys.local_key.clone(),
        remote_salt: keys.local_salt.clone(),
    }
}

/// `side`: `s` for the server, `p` for the peer.
pub fn credentials(side: char, number: u64) -> IceCredentials {
    IceCredentials {
        ufrag: format!("{side}{number:04}"),
        password: format!("password-of-twenty-two-{side}{number}"),
    }
}

/// The engine's half of the peer with the same number; its keys are handed in.
pub fn transport_params(number: u64, profile: SrtpProfile) -> TransportParams {
    TransportParams {
        local_ice: credentials('s', number),
        remote_ice: credentials('p', number),
        security: Security::Keys(Box::new(mirror(&peer_keys(number, profile)))),
        sctp: None,
    }
}

/// A binding request of a peer for the engine's transport `number`.
pub fn check(number: u64, transaction: u64, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let username = format!("{}:{}", credentials('s', number).ufrag, credentials('p', number).ufrag);
    write_check(&username, &credentials('s', number).password, transaction, attributes)
}

/// A binding request with MESSAGE-INTEGRITY and FINGERPRINT.
pub fn write_check(
    username: &str,
    password: &str,
    transaction: u64,
    attributes: &[(u16, &[u8])],
) -> Vec<u8> {
    let provider = rtc_stun::crypto::default_provider().unwrap();
    let mut id = [0x5c; 12];
    id[..8].copy_from_slice(&transaction.to_be_bytes());
    let mut message = Message::new();
    message.set_type(BINDING_REQUEST);
    message.write_header();
    TransactionId(id).add_to(&mut message).unwrap();
    message.add(ATTR_USERNAME, username.as_bytes());
    for (kind, value) in attributes {
        message.add(AttrType(*kind), value);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        provider.crypto(),
    )
    .add_to(&mut message)
    .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

/// The answer of a peer with `password` to a check of the engine; `None` if it is for somebody else, or made without the password.
pub fn answer_check(password: &str, check: &[u8]) -> Option<Vec<u8>> {
    let provider = rtc_stun::crypto::default_provider().ok()?;
    let crypto = provider.crypto();
    let integrity =
        MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto);
    let mut request = Message { raw: check.to_vec(), ..Message::new() };
    request.decode().ok().filter(|()| request.typ == BINDING_REQUEST)?;
    FINGERPRINT.check(&request).ok()?;
    MessageIntegrity::check(&mut request, password.as_bytes(), crypto).ok()?;
    let mut message = Message::new();
    message.set_type(BINDING_SUCCESS);
    message.write_header();
    request.transaction_id.add_to(&mut message).ok()?;
    integrity.add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}
