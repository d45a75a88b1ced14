//! Join tokens: HS256 JSON Web Tokens (RFC 7519) with the claims that LiveKit made customary.
//!
//! Owns the keys. Never logs a token or a secret. The algorithm is pinned: `alg` of the token decides nothing.

use crate::protocol;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the clocks of issuer and server may differ, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// A token secret. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret; its length was checked by the configuration.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// What keyed hashes take.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Key id (`iss`) → secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Secret>);

/// What a participant may do in the room that it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// From `sub`; `None` without keys.
    pub identity: Option<String>,
    /// From `name`.
    pub name: Option<String>,
    /// May publish tracks.
    pub can_publish: bool,
    /// May receive tracks.
    pub can_subscribe: bool,
}

impl Grant {
    /// Where no keys are configured, everybody who reaches the server may do everything.
    pub const OPEN: Self =
        Self { identity: None, name: None, can_publish: true, can_subscribe: true };
}

/// Why a token was refused. The text is for the peer and says nothing about the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum AuthError {
    #[error(
        "This server needs a join token; ask whoever runs it, or make one with `switchyard token`."
    )]
    Missing,
    #[error("The join token is not a JSON Web Token with the claims iss, sub, exp and video.")]
    Malformed,
    #[error("The join token is not signed with HS256 by a key of this server.")]
    Signature,
    #[error("The join token has expired; ask for a new one.")]
    Expired,
    #[error("The join token is not valid yet; is a clock wrong?")]
    NotYetValid,
    #[error("The join token is not for this room.")]
    WrongRoom,
    #[error("The join token does not allow joining (video.roomJoin).")]
    NoJoin,
    #[error("The join token has no usable identity: {0}")]
    Identity(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    video: VideoGrant,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VideoGrant {
    #[serde(default)]
    room: String,
    #[serde(default)]
    room_join: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    can_publish: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    can_subscribe: Option<bool>,
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

impl Keys {
    /// Collects keys.
    pub fn new(keys: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whether tokens are off.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the bearer of `token` may do in `room`.
    ///
    /// # Errors
    /// [`AuthError`]; without keys there is none, and the token is not looked at.
    pub fn verify(&self, token: Option<&str>, room: &str) -> Result<Grant, AuthError> {
        if self.is_empty() {
            return Ok(Grant::OPEN);
        }
        let token = token.filter(|token| !token.is_empty()).ok_or(AuthError::Missing)?;
        let claims = self.decode(token)?;
        if !claims.video.room_join {
            return Err(AuthError::NoJoin);
        }
        if claims.video.room != room {
            return Err(AuthError::WrongRoom);
        }
        protocol::check_identity(&claims.sub).map_err(AuthError::Identity)?;
        claims.name.as_deref().map_or(Ok(()), protocol::check_name).map_err(AuthError::Identity)?;
        Ok(Grant {
            identity: Some(claims.sub),
            name: claims.name,
            can_publish: claims.video.can_publish.unwrap_or(true),
            can_subscribe: claims.video.can_subscribe.unwrap_or(true),
        })
    }

    fn decode(&self, token: &str) -> Result<Claims, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        // Only to find the key; nothing of it is believed before the signature has been checked.
        let issuer: Issuer =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(refusal)?;
        let secret = self.0.get(&issuer.iss).ok_or(AuthError::Signature)?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        let key = DecodingKey::from_secret(secret.0.as_bytes());
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

/// What `switchyard token` puts into a token.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Key id.
    pub key: String,
    /// Its secret.
    pub secret: Secret,
    /// Room it opens.
    pub room: String,
    /// Who bears it.
    pub identity: String,
    /// Display name.
    pub name: Option<String>,
    /// How long it is valid.
    pub ttl: Duration,
}

/// Makes a join token that is valid from `now` on.
///
/// # Errors
/// A sentence about the room, the identity or the name that no server would accept.
pub fn sign(request: TokenRequest, now: SystemTime) -> Result<String, String> {
    protocol::check_room(&request.room)?;
    protocol::check_identity(&request.identity)?;
    request.name.as_deref().map_or(Ok(()), protocol::check_name)?;
    let seconds = now.duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?.as_secs();
    let claims = Claims {
        iss: request.key,
        sub: request.identity,
        exp: seconds.saturating_add(request.ttl.as_secs()),
        name: request.name,
        video: VideoGrant {
            room: request.room,
            room_join: true,
            can_publish: None,
            can_subscribe: None,
        },
    };
    let key = EncodingKey::from_secret(request.secret.0.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|e| e.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn keys() -> Keys {
        Keys::new([("k1".to_owned(), Secret::new(SECRET.to_owned()))])
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn claims() -> Value {
        json!({"iss": "k1", "sub": "ada", "name": "Ada", "exp": now() + 600, "metadata": "ignored",
               "video": {"room": "demo", "roomJoin": true, "canSubscribe": false, "hidden": true}})
    }

    fn with(path: &str, value: Value) -> Value {
        let mut claims = claims();
        *claims.pointer_mut(path).unwrap() = value;
        claims
    }

    fn without(field: &str) -> Value {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(field).unwrap();
        claims
    }

    fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn hs256(claims: &Value) -> String {
        signed(Algorithm::HS256, SECRET, claims)
    }

    #[test]
    fn a_good_token_grants_what_it_says() {
        let grant = keys().verify(Some(&hs256(&claims())), "demo").unwrap();
        let expected = Grant {
            identity: Some("ada".into()),
            name: Some("Ada".into()),
            can_publish: true,
            can_subscribe: false,
        };
        assert_eq!(grant, expected);
    }

    #[test]
    fn every_other_token_is_refused() {
        let good = hs256(&claims());
        let parts: Vec<&str> = good.split('.').collect();
        // {"alg":"none","typ":"JWT"}
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
        let none_signed = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.{}", parts[1], parts[2]);
        let stripped = format!("{}.{}.", parts[0], parts[1]);
        let cases = [
            ("alg none", none, AuthError::Malformed),
            ("alg none with a signature", none_signed, AuthError::Malformed),
            ("no signature", stripped, AuthError::Signature),
            ("HS384", signed(Algorithm::HS384, SECRET, &claims()), AuthError::Signature),
            ("HS512", signed(Algorithm::HS512, SECRET, &claims()), AuthError::Signature),
            ("wrong secret", signed(Algorithm::HS256, "x", &claims()), AuthError::Signature),
            ("empty secret", signed(Algorithm::HS256, "", &claims()), AuthError::Signature),
            ("unknown key", hs256(&with("/iss", json!("k2"))), AuthError::Signature),
            ("no key", hs256(&without("iss")), AuthError::Malformed),
            ("expired", hs256(&with("/exp", json!(now() - 120))), AuthError::Expired),
            ("no exp", hs256(&without("exp")), AuthError::Malformed),
            ("exp as text", hs256(&with("/exp", json!("2999"))), AuthError::Malformed),
            ("exp negative", hs256(&with("/exp", json!(-1))), AuthError::Malformed),
            ("no sub", hs256(&without("sub")), AuthError::Malformed),
            ("no video", hs256(&without("video")), AuthError::Malformed),
            ("other room", hs256(&with("/video/room", json!("demo2"))), AuthError::WrongRoom),
            ("room prefix", hs256(&with("/video/room", json!("dem"))), AuthError::WrongRoom),
            ("room wildcard", hs256(&with("/video/room", json!("*"))), AuthError::WrongRoom),
            ("room empty", hs256(&with("/video/room", json!(""))), AuthError::WrongRoom),
            ("room case", hs256(&with("/video/room", json!("Demo"))), AuthError::WrongRoom),
            ("no join", hs256(&with("/video/roomJoin", json!(false))), AuthError::NoJoin),
            ("join as text", hs256(&with("/video/roomJoin", json!("true"))), AuthError::Malformed),
            ("two dots", "..".to_owned(), AuthError::Malformed),
            ("text", "hello".to_owned(), AuthError::Malformed),
            ("100 KiB", "a".repeat(100 * 1024), AuthError::Malformed),
        ];
        for (name, token, expected) in cases {
            assert_eq!(keys().verify(Some(&token), "demo"), Err(expected), "{name}");
        }
        assert_eq!(keys().verify(None, "demo"), Err(AuthError::Missing));
        assert_eq!(keys().verify(Some(""), "demo"), Err(AuthError::Missing));
        let nameless = hs256(&with("/sub", json!("")));
        assert!(matches!(keys().verify(Some(&nameless), "demo"), Err(AuthError::Identity(_))));
        let mut early = claims();
        early["nbf"] = json!(now() + 600);
        assert_eq!(keys().verify(Some(&hs256(&early)), "demo"), Err(AuthError::NotYetValid));
    }

    #[test]
    fn the_leeway_is_a_minute() {
        let recent = hs256(&with("/exp", json!(now() - 30)));
        assert!(keys().verify(Some(&recent), "demo").is_ok());
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let good = hs256(&claims());
        for index in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let token = String::from_utf8(bytes).unwrap();
            assert!(keys().verify(Some(&token), "demo").is_err(), "byte {index}");
        }
    }

    #[test]
    fn without_keys_no_token_is_asked_for() {
        assert_eq!(Keys::default().verify(None, "demo"), Ok(Grant::OPEN));
    }

    #[test]
    fn what_the_command_makes_is_accepted() {
        let request = TokenRequest {
            key: "k1".into(),
            secret: Secret::new(SECRET.into()),
            room: "demo".into(),
            identity: "bob".into(),
            name: None,
            ttl: Duration::from_secs(60),
        };
        let token = sign(request, SystemTime::now()).unwrap();
        let grant = keys().verify(Some(&token), "demo").unwrap();
        assert_eq!(grant, Grant { identity: Some("bob".into()), ..Grant::OPEN });
    }
}
