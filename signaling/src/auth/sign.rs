//! Makes tokens: for `switchyard token`, and for programs that use this crate.

use super::claims::{Claims, VideoGrant};
use super::{Secret, unix_seconds};
use crate::protocol::{self, Source};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// With what a token is signed.
#[derive(Clone, Debug)]
pub enum SigningKey {
    /// HS256.
    Secret(Secret),
    /// EdDSA: an Ed25519 private key, `-----BEGIN PRIVATE KEY-----`.
    Ed25519(Secret),
}

/// What `switchyard token` puts into a token.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Key id.
    pub key: String,
    /// What belongs to it.
    pub signing: SigningKey,
    /// Room it opens, or is for.
    pub room: Option<String>,
    /// Who bears it; with one, it allows joining the room.
    pub identity: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Text of the application's.
    pub metadata: String,
    /// The same as names and values.
    pub attributes: BTreeMap<String, String>,
    /// `None`: not said, which allows it.
    pub can_publish: Option<bool>,
    /// `None`: not said, which allows it.
    pub can_subscribe: Option<bool>,
    /// `None`: as `can_publish`.
    pub can_publish_data: Option<bool>,
    /// The bearer may change its own name, metadata and attributes.
    pub can_update_own_metadata: bool,
    /// Empty: all.
    pub can_publish_sources: Vec<Source>,
    /// Nobody is told of the bearer.
    pub hidden: bool,
    /// The bearer may see and change everything of the room by the HTTP API.
    pub room_admin: bool,
    /// The bearer may create rooms.
    pub room_create: bool,
    /// The bearer may list rooms.
    pub room_list: bool,
    /// How long it is valid.
    pub ttl: Duration,
}

impl TokenRequest {
    /// A token with which somebody joins a room and may do everything there that participants do.
    pub fn join(key: &str, secret: Secret, room: &str, identity: &str, ttl: Duration) -> Self {
        Self {
            key: key.to_owned(),
            signing: SigningKey::Secret(secret),
            room: Some(room.to_owned()),
            identity: Some(identity.to_owned()),
            name: None,
            metadata: String::new(),
            attributes: BTreeMap::new(),
            can_publish: None,
            can_subscribe: None,
            can_publish_data: None,
            can_update_own_metadata: false,
            can_publish_sources: Vec::new(),
            hidden: false,
            room_admin: false,
            room_create: false,
            room_list: false,
            ttl,
        }
    }

    fn check(&self) -> Result<(), String> {
        self.room.as_deref().map_or(Ok(()), protocol::check_room)?;
        self.identity.as_deref().map_or(Ok(()), protocol::check_identity)?;
        self.name.as_deref().map_or(Ok(()), protocol::check_name)?;
        protocol::check_metadata(&self.metadata)?;
        protocol::check_attributes(&self.attributes)?;
        if self.room.is_none() && (self.identity.is_some() || self.room_admin) {
            return Err("name the room with --room".to_owned());
        }
        let allows =
            self.identity.is_some() || self.room_admin || self.room_create || self.room_list;
        match allows {
            true => Ok(()),
            false => Err("the token would allow nothing: give --room and --identity to join, or --admin, --create, --list".to_owned()),
        }
    }
}

/// Makes a token that is valid from `now` on.
///
/// # Errors
/// A sentence about what no server would accept, or about the key.
pub fn sign(request: TokenRequest, now: SystemTime) -> Result<String, String> {
    request.check()?;
    let seconds = unix_seconds(now);
    let (algorithm, key) = match &request.signing {
        SigningKey::Secret(secret) => {
            (Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()))
        }
        SigningKey::Ed25519(pem) => {
            let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(
                |_| "the private key is not in PEM (openssl genpkey -algorithm ed25519)",
            )?;
            (Algorithm::EdDSA, EncodingKey::from_ed_der(der.secret_pkcs8_der()))
        }
    };
    let claims = Claims {
        iss: Some(request.key),
        exp: seconds.saturating_add(request.ttl.as_secs()),
        nbf: None,
        iat: Some(seconds),
        jti: None,
        name: request.name,
        metadata: request.metadata,
        attributes: request.attributes,
        video: VideoGrant {
            room: request.room.unwrap_or_default(),
            room_join: request.identity.is_some(),
            room_admin: request.room_admin,
            room_create: request.room_create,
            room_list: request.room_list,
            can_publish: request.can_publish,
            can_subscribe: request.can_subscribe,
            can_publish_data: request.can_publish_data,
            can_update_own_metadata: request.can_update_own_metadata,
            can_publish_sources: request.can_publish_sources,
            hidden: request.hidden,
        },
        sub: request.identity,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).map_err(|e| e.to_string())
}
