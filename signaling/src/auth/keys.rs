//! The keys of a server, by their ids, and how a token is checked against one of them.

use super::claims::Claims;
use super::{AuthError, LEEWAY_SECONDS, Secret};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Shortest secret in bytes: RFC 7518 section 3.2 asks for the size of the hash.
const MIN_SECRET_BYTES: usize = 32;
/// RFC 8410 section 4: what comes before the 32 bytes of an Ed25519 key in its DER form.
const ED25519_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Checks signatures. Its kind decides by which algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// HS256.
    Secret(Secret),
    /// EdDSA: the 32 bytes of an Ed25519 public key.
    Ed25519(Vec<u8>),
}

/// Why something is no key. The text is for whoever runs the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum KeyError {
    #[error("a secret of {0} bytes; at least 32 are needed (openssl rand -base64 32)")]
    ShortSecret(usize),
    #[error(
        "no public key of Ed25519 in PEM (openssl genpkey -algorithm ed25519 -out private.pem; openssl pkey -in private.pem -pubout)"
    )]
    NotEd25519,
}

impl Key {
    /// A key for HS256.
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`]
    pub fn secret(secret: String) -> Result<Self, KeyError> {
        match secret.len() {
            short if short < MIN_SECRET_BYTES => Err(KeyError::ShortSecret(short)),
            _ => Ok(Self::Secret(Secret::new(secret))),
        }
    }

    /// A key for EdDSA from `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`]
    pub fn public(pem: &str) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|_| KeyError::NotEd25519)?;
        let raw = der.strip_prefix(&ED25519_PREFIX).filter(|raw| raw.len() == 32);
        raw.map(|raw| Self::Ed25519(raw.to_vec())).ok_or(KeyError::NotEd25519)
    }

    /// How the configuration page calls it.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Ed25519(_) => "EdDSA",
        }
    }
}

/// Key id → key. Several at once, so that a new one can be brought in before the old one goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

#[derive(Deserialize)]
struct Issuer {
    iss: Option<String>,
}

impl Keys {
    /// Collects keys.
    pub fn new(keys: impl IntoIterator<Item = (String, Key)>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whether tokens are off.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their ids and kinds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Key)> {
        self.0.iter().map(|(id, key)| (id.as_str(), key))
    }

    /// The key with an id.
    pub(crate) fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }

    /// Whether the signature and the times of a token are right; what it allows is another question.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, token: &str) -> Result<(), AuthError> {
        self.claims(Some(token)).map(drop)
    }

    /// The claims of a token whose signature and times are right.
    pub(super) fn claims(&self, token: Option<&str>) -> Result<Claims, AuthError> {
        let token = token.filter(|token| !token.is_empty()).ok_or(AuthError::Missing)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        // Only to find the key; nothing of it is believed before the signature has been checked.
        let header = jsonwebtoken::decode_header(token).map_err(refusal)?;
        let issuer: Issuer =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(refusal)?;
        // RFC 7515 section 4.1.11: we know no extension that could be critical.
        if header.crit.is_some() {
            return Err(AuthError::Malformed);
        }
        let id = header.kid.or(issuer.iss).ok_or(AuthError::Malformed)?;
        let (key, algorithm) = match self.0.get(&id).ok_or(AuthError::Signature)? {
            Key::Secret(secret) => (DecodingKey::from_secret(secret.as_bytes()), Algorithm::HS256),
            Key::Ed25519(raw) => (DecodingKey::from_ed_der(raw), Algorithm::EdDSA),
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        // Nothing here asks for an audience, and a token may name one for others.
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp"]);
        let token = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(refusal)?;
        Ok(token.claims)
    }
}

fn refusal(error: jsonwebtoken::errors::Error) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    #[allow(clippy::wildcard_enum_match_arm, reason = "the library may grow kinds")]
    match error.kind() {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidSignature
        | ErrorKind::InvalidAlgorithm
        | ErrorKind::InvalidAlgorithmName
        | ErrorKind::UnsupportedAlgorithm => AuthError::Signature,
        _ => AuthError::Malformed,
    }
}
