//! What one bundled transport needs from the offer: ICE credentials, certificate fingerprints, DTLS role (RFC 8839, RFC 8842).

use sfu::params::{DtlsRole, Fingerprint, FingerprintHash, IceCredentials};

use super::candidate::is_ice_char;
use super::error::{SdpError, quote};
use super::lines::{Attribute, Block};

/// `a=setup` of the offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The client leaves the choice to us.
    ActPass,
    /// The client starts the handshake.
    Active,
    /// The client waits for ours (FFmpeg's WHIP).
    Passive,
}

impl Setup {
    /// Our side of the handshake.
    pub fn local_role(self) -> DtlsRole {
        match self {
            Self::ActPass | Self::Active => DtlsRole::Server,
            Self::Passive => DtlsRole::Client,
        }
    }
}

/// The transport part of an offer.
#[derive(Clone, Debug)]
pub(super) struct TransportOffer {
    pub(super) ice: IceCredentials,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Setup,
}

/// Reads it from the m-line that carries the bundle, with the session part as the fallback.
pub(super) fn parse(session: &Block<'_>, tagged: &Block<'_>) -> Result<TransportOffer, SdpError> {
    let setup = match either(session, tagged, "setup")? {
        None => return Err(SdpError::new("a=setup is missing; offer a=setup:actpass")),
        Some(attribute) => match attribute.value {
            "actpass" => Setup::ActPass,
            "active" => Setup::Active,
            "passive" => Setup::Passive,
            other => {
                let message = format!("a=setup:{} cannot be answered; use actpass", quote(other));
                return Err(attribute.error(message));
            }
        },
    };
    if session.has("ice-lite") {
        return Err(SdpError::new(
            "a=ice-lite on both sides: nobody would start connectivity checks; offer full ICE",
        ));
    }
    let ufrag = ice_word(session, tagged, "ice-ufrag", 4)?;
    let password = ice_word(session, tagged, "ice-pwd", 22)?;
    let fingerprints = fingerprints(session, tagged)?;
    Ok(TransportOffer { ice: IceCredentials { ufrag, password }, fingerprints, setup })
}

fn either<'a>(
    session: &Block<'a>,
    tagged: &Block<'a>,
    name: &'static str,
) -> Result<Option<Attribute<'a>>, SdpError> {
    Ok(match tagged.unique(name)? {
        Some(attribute) => Some(attribute),
        None => session.unique(name)?,
    })
}

/// RFC 8839 section 5.4: at most 256 `ice-char`.
fn ice_word(
    session: &Block<'_>,
    tagged: &Block<'_>,
    name: &'static str,
    len_min: usize,
) -> Result<String, SdpError> {
    let Some(attribute) = either(session, tagged, name)? else {
        return Err(SdpError::new(format!("a={name} is missing; offer ICE credentials")));
    };
    check_ice_word(name, len_min, attribute.value).map_err(|message| attribute.error(message))?;
    Ok(attribute.value.to_owned())
}

/// RFC 8839 section 5.4.
pub(super) fn check_ice_word(name: &str, len_min: usize, value: &str) -> Result<(), String> {
    let good = (len_min..=256).contains(&value.len()) && value.bytes().all(is_ice_char);
    match good {
        true => Ok(()),
        false => Err(format!("a={name} needs {len_min} to 256 letters, digits, '+' or '/'")),
    }
}

/// Most fingerprints that are kept.
const FINGERPRINTS_MAX: usize = 8;

fn fingerprints(session: &Block<'_>, tagged: &Block<'_>) -> Result<Vec<Fingerprint>, SdpError> {
    let block = if tagged.has("fingerprint") { tagged } else { session };
    let mut usable = Vec::new();
    let mut weak = None;
    for attribute in block.all("fingerprint") {
        let (hash, digest) = attribute.value.trim().split_once(' ').unwrap_or_default();
        let (hash, len) = match hash.to_ascii_lowercase().as_str() {
            "sha-256" => (FingerprintHash::Sha256, 32),
            "sha-384" => (FingerprintHash::Sha384, 48),
            "sha-512" => (FingerprintHash::Sha512, 64),
            // Any listed fingerprint may match (RFC 8122 section 5), so a weak one must not be listed.
            _ => {
                weak = Some(attribute);
                continue;
            }
        };
        let Some(digest) = parse_digest(digest.trim(), len) else {
            let message = format!("malformed fingerprint; expected {len} hex pairs with colons");
            return Err(attribute.error(message));
        };
        if usable.len() == FINGERPRINTS_MAX {
            return Err(attribute.error(format!("more than {FINGERPRINTS_MAX} fingerprints")));
        }
        usable.push(Fingerprint { hash, digest });
    }
    match (usable.is_empty(), weak) {
        (false, _) => Ok(usable),
        (true, Some(weak)) => Err(weak.error("only weak fingerprints; offer sha-256")),
        (true, None) => {
            Err(SdpError::new("a=fingerprint is missing; offer DTLS with a sha-256 fingerprint"))
        }
    }
}

fn parse_digest(text: &str, len: usize) -> Option<Vec<u8>> {
    if text.len() != len * 3 - 1 {
        return None;
    }
    text.split(':')
        .map(|pair| {
            let hex = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        })
        .collect::<Option<Vec<u8>>>()
        .filter(|digest| digest.len() == len)
}
