//! Which tokens are good, and what for. The table of refusals is row 29 of the threats.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::protocol::Source;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
/// Of `openssl genpkey -algorithm ed25519`, and its public half. They protect nothing.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIO1nZFz+64rl8uS2hrdqbHSjqgp5y11g1FTxxLTIA9dC\n-----END PRIVATE KEY-----\n";

/// The public half of a private key, as `openssl pkey -pubout` writes it.
fn public_pem(private: &str) -> String {
    use ::aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use ::aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let der = PrivatePkcs8KeyDer::from_pem_slice(private.as_bytes()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let text = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn keys() -> Keys {
    Keys::new([
        ("k1".to_owned(), Key::secret(SECRET.to_owned()).unwrap()),
        ("next".to_owned(), Key::secret(OTHER_SECRET.to_owned()).unwrap()),
        ("ed".to_owned(), Key::public(&public_pem(PRIVATE)).unwrap()),
    ])
}

fn verify(token: &str, room: &str) -> Result<Grant, AuthError> {
    Access::new(keys()).verify(Some(token), room)
}

fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

fn claims() -> Value {
    json!({"iss": "k1", "sub": "ada", "name": "Ada", "exp": now() + 600, "metadata": "m",
           "video": {"room": "demo", "roomJoin": true, "canSubscribe": false}})
}

fn with(path: &str, value: Value) -> Value {
    let mut claims = claims();
    let (parent, name) = path.rsplit_once('/').unwrap();
    claims.pointer_mut(parent).unwrap()[name] = value;
    claims
}

fn without(field: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(field).unwrap();
    claims
}

fn signed(header: &Header, key: &EncodingKey, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}

fn secret(secret: &str) -> EncodingKey {
    EncodingKey::from_secret(secret.as_bytes())
}

fn hs256(claims: &Value) -> String {
    signed(&Header::new(Algorithm::HS256), &secret(SECRET), claims)
}

fn private_key() -> EncodingKey {
    let der = PrivatePkcs8KeyDer::from_pem_slice(PRIVATE.as_bytes()).unwrap();
    EncodingKey::from_ed_der(der.secret_pkcs8_der())
}

fn eddsa(claims: &Value) -> String {
    signed(&Header::new(Algorithm::EdDSA), &private_key(), claims)
}

fn with_kid(kid: &str, key: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) };
    signed(&header, &secret(key), claims)
}

/// Any header and payload, with a signature that is right for them.
fn by_hand(header: &str, payload: &str) -> String {
    let url = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", url(header), url(payload));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &secret(SECRET), Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn row_29_a_good_token_grants_what_it_says() {
    let grant = verify(&hs256(&claims()), "demo").unwrap();
    assert_eq!((grant.identity.as_deref(), grant.name.as_deref()), (Some("ada"), Some("Ada")));
    assert_eq!(grant.metadata, "m");
    let expected =
        Permissions { can_subscribe: false, can_update_metadata: false, ..Permissions::ALL };
    assert_eq!(grant.permissions, expected);
    let mut full = claims();
    full["attributes"] = json!({"team": "red"});
    full["nbf"] = json!(now() - 5);
    full["video"] = json!({"room": "demo", "roomJoin": true, "canPublish": true, "hidden": true, "recorder": true,
        "canPublishSources": ["camera", "screen_share_audio"], "canPublishData": false, "canUpdateOwnMetadata": true, "roomAdmin": true});
    full["jti"] = json!("t1");
    let grant = verify(&hs256(&full), "demo").unwrap();
    assert_eq!(grant.attributes["team"], "red");
    assert!(grant.moderator && grant.permissions.can_update_metadata);
    assert_eq!(grant.token_id.as_deref(), Some("t1"));
    assert!(grant.hidden && !grant.permissions.can_publish_data);
    assert!(
        grant.permissions.allows(Source::Camera) && !grant.permissions.allows(Source::Microphone)
    );
    assert_eq!(grant.validity.unwrap().made, now() - 5);
    let silent = with("/video/canPublish", json!(false));
    let permissions = verify(&hs256(&silent), "demo").unwrap().permissions;
    assert!(!permissions.can_publish_data, "data is where media is, unless it is said");
    assert!(!permissions.allows(Source::Camera));
}

#[test]
fn row_29_every_key_has_its_own_algorithm() {
    let ed = with("/iss", json!("ed"));
    assert!(verify(&eddsa(&ed), "demo").is_ok());
    assert_eq!(verify(&eddsa(&claims()), "demo"), Err(AuthError::Signature), "k1 is a secret");
    assert_eq!(verify(&hs256(&ed), "demo"), Err(AuthError::Signature), "ed is none");
    // CVE-2021-39215: the public key is no secret, and yet would verify itself.
    let pem = public_pem(PRIVATE);
    let Key::Ed25519(raw) = Key::public(&pem).unwrap() else { panic!("a public key") };
    for known in [pem.as_bytes(), &raw] {
        let confused =
            signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(known), &ed);
        assert_eq!(verify(&confused, "demo"), Err(AuthError::Signature));
    }
}

#[test]
fn row_29_several_keys_at_once_let_one_be_replaced() {
    let newer =
        signed(&Header::new(Algorithm::HS256), &secret(OTHER_SECRET), &with("/iss", json!("next")));
    assert!(verify(&newer, "demo").is_ok());
    assert!(verify(&with_kid("next", OTHER_SECRET, &without("iss")), "demo").is_ok());
    let issued_elsewhere = with("/iss", json!("https://issuer.example"));
    assert!(
        verify(&with_kid("k1", SECRET, &issued_elsewhere), "demo").is_ok(),
        "kid names the key"
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn row_29_every_other_token_is_refused() {
    use AuthError::*;
    let good = hs256(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let none_signed = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.{}", parts[1], parts[2]);
    let stripped = format!("{}.{}.", parts[0], parts[1]);
    let longer = |algorithm| signed(&Header::new(algorithm), &secret(SECRET), &claims());
    let foreign = |key: &str| signed(&Header::new(Algorithm::HS256), &secret(key), &claims());
    let crit = r#"{"alg":"HS256","crit":["exp"]}"#;
    let payload = claims().to_string();
    let twice = payload.replacen('{', "{\"sub\":\"eve\",", 1);
    let cases = [
        ("alg none", none, Malformed),
        ("alg none with a signature", none_signed, Malformed),
        ("alg NONE", by_hand(r#"{"alg":"NONE"}"#, &payload), Malformed),
        ("alg as a list", by_hand(r#"{"alg":["HS256"]}"#, &payload), Malformed),
        ("no alg", by_hand(r#"{"typ":"JWT"}"#, &payload), Malformed),
        ("a critical extension", by_hand(crit, &payload), Malformed),
        ("no signature", stripped, Signature),
        ("HS384", longer(Algorithm::HS384), Signature),
        ("HS512", longer(Algorithm::HS512), Signature),
        ("alg says RS256", by_hand(r#"{"alg":"RS256"}"#, &payload), Signature),
        ("alg says EdDSA", by_hand(r#"{"alg":"EdDSA"}"#, &payload), Signature),
        ("wrong secret", foreign("x"), Signature),
        ("empty secret", foreign(""), Signature),
        ("the secret of another key", foreign(OTHER_SECRET), Signature),
        ("unknown key", hs256(&with("/iss", json!("k2"))), Signature),
        ("key in another case", hs256(&with("/iss", json!("K1"))), Signature),
        ("empty key id", hs256(&with("/iss", json!(""))), Signature),
        ("no key id", hs256(&without("iss")), Malformed),
        ("iss as a list", hs256(&with("/iss", json!(["k1"]))), Malformed),
        ("kid unknown, iss right", with_kid("k9", SECRET, &claims()), Signature),
        ("kid of another key", with_kid("next", SECRET, &claims()), Signature),
        ("kid as a path", with_kid("../../dev/null", "", &claims()), Signature),
        ("kid as SQL", with_kid("x' UNION SELECT 'x", "x", &claims()), Signature),
        ("kid empty", with_kid("", SECRET, &claims()), Signature),
        ("kid as a number", by_hand(r#"{"alg":"HS256","kid":1}"#, &payload), Malformed),
        ("expired", hs256(&with("/exp", json!(now() - 120))), Expired),
        ("no exp", hs256(&without("exp")), Malformed),
        ("exp null", hs256(&with("/exp", Value::Null)), Malformed),
        ("exp as text", hs256(&with("/exp", json!("2999"))), Malformed),
        ("exp negative", hs256(&with("/exp", json!(-1))), Malformed),
        ("exp as a fraction", hs256(&with("/exp", json!(1e99))), Malformed),
        ("not yet valid", hs256(&with("/nbf", json!(now() + 600))), NotYetValid),
        ("no sub", hs256(&without("sub")), Malformed),
        ("sub as a number", hs256(&with("/sub", json!(5))), Malformed),
        ("sub twice", by_hand(r#"{"alg":"HS256"}"#, &twice), Malformed),
        ("no video", hs256(&without("video")), Malformed),
        ("other room", hs256(&with("/video/room", json!("demo2"))), WrongRoom),
        ("room prefix", hs256(&with("/video/room", json!("dem"))), WrongRoom),
        ("room wildcard", hs256(&with("/video/room", json!("*"))), WrongRoom),
        ("room empty", hs256(&with("/video/room", json!(""))), WrongRoom),
        ("room case", hs256(&with("/video/room", json!("Demo"))), WrongRoom),
        ("room as a list", hs256(&with("/video/room", json!(["demo"]))), Malformed),
        ("no join", hs256(&with("/video/roomJoin", json!(false))), NoJoin),
        ("admin only", hs256(&with("/video", json!({"room": "demo", "roomAdmin": true}))), NoJoin),
        ("join as text", hs256(&with("/video/roomJoin", json!("true"))), Malformed),
        ("an unknown source", hs256(&with("/video/canPublishSources", json!(["oven"]))), Malformed),
        ("two dots", "..".to_owned(), Malformed),
        ("text", "hello".to_owned(), Malformed),
        ("100 KiB", "a".repeat(100 * 1024), Malformed),
        (
            "100 KiB, well signed",
            hs256(&with("/metadata", json!("a".repeat(100 << 10)))),
            Malformed,
        ),
    ];
    assert!(cases.len() >= 40);
    for (name, token, expected) in cases {
        assert_eq!(verify(&token, "demo"), Err(expected), "{name}");
    }
    let access = Access::new(keys());
    assert_eq!(access.verify(None, "demo"), Err(Missing));
    assert_eq!(access.verify(Some(""), "demo"), Err(Missing));
    for (field, value) in [("/sub", ""), ("/sub", "a\u{7}"), ("/name", "a\nb"), ("/metadata", "\0")]
    {
        let odd = hs256(&with(field, json!(value)));
        assert!(matches!(verify(&odd, "demo"), Err(Identity(_))), "{field}");
    }
}

#[test]
fn row_29_the_leeway_is_a_minute() {
    assert!(verify(&hs256(&with("/exp", json!(now() - 55))), "demo").is_ok());
    assert_eq!(verify(&hs256(&with("/exp", json!(now() - 65))), "demo"), Err(AuthError::Expired));
    assert!(verify(&hs256(&with("/nbf", json!(now() + 55))), "demo").is_ok());
}

#[test]
fn row_29_any_changed_byte_is_refused() {
    for good in [hs256(&claims()), eddsa(&with("/iss", json!("ed")))] {
        assert!(verify(&good, "demo").is_ok());
        for index in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let token = String::from_utf8(bytes).unwrap();
            assert!(verify(&token, "demo").is_err(), "byte {index}");
        }
    }
}

#[test]
fn row_29_no_refusal_and_no_debug_output_shows_a_secret() {
    let all = format!("{:?} {:?}", keys(), Secret::new(SECRET.to_owned()));
    assert!(!all.contains(SECRET) && !all.contains(OTHER_SECRET), "{all}");
    let error = verify(&hs256(&with("/iss", json!("k2"))), "demo").unwrap_err().to_string();
    assert!(!error.contains("k1") && !error.contains("k2"), "{error}");
}

#[test]
fn without_keys_no_token_is_asked_for_and_none_manages() {
    let access = Access::new(Keys::default());
    assert_eq!(access.verify(None, "demo"), Ok(Grant::OPEN));
    assert!(access.admin(Some(&hs256(&claims()))).is_err());
}

#[test]
fn managing_needs_the_grant_for_it() {
    let admin = |video: Value| {
        let mut claims = without("sub");
        claims["video"] = video;
        Access::new(keys()).admin(Some(&hs256(&claims))).unwrap()
    };
    let nothing = admin(json!({"room": "demo", "roomJoin": true}));
    assert_eq!(nothing.may_list(), Err(AuthError::NoGrant("roomList")));
    assert_eq!(nothing.may_create(), Err(AuthError::NoGrant("roomCreate")));
    assert_eq!(nothing.may_manage("demo"), Err(AuthError::NoGrant("roomAdmin")));
    let one = admin(json!({"room": "demo", "roomAdmin": true}));
    assert_eq!(one.may_manage("demo"), Ok(()));
    assert_eq!(one.may_manage("demo2"), Err(AuthError::WrongRoom));
    let none = admin(json!({"roomAdmin": true}));
    assert_eq!(
        none.may_manage(""),
        Err(AuthError::NoGrant("roomAdmin")),
        "no room is not every room"
    );
    let maker = admin(json!({"roomCreate": true, "roomList": true}));
    assert_eq!((maker.may_create(), maker.may_list()), (Ok(()), Ok(())));
    assert!(maker.may_manage("demo").is_err(), "MSC4195: making is not ending");
}

#[test]
fn row_31_who_was_sent_away_manages_the_room_no_more() {
    let mut claims = with("/video/roomAdmin", json!(true));
    claims["iat"] = json!(now() - 10);
    let old = hs256(&claims);
    claims["iat"] = json!(now() + 10);
    let newer = hs256(&claims);
    let access = Access::new(keys());
    let admin = |token: &str| access.admin(Some(token)).unwrap();
    assert_eq!(admin(&old).may_manage("demo"), Ok(()));
    let grant = access.verify(Some(&old), "demo").unwrap();
    access.revocations.add(now(), "demo", &grant, Verdict::Removed);
    assert_eq!(admin(&old).may_manage("demo"), Err(AuthError::Revoked));
    assert_eq!(admin(&newer).may_manage("demo"), Ok(()), "invited again");
    let mut service = claims.clone();
    service.as_object_mut().unwrap().remove("sub").unwrap();
    assert_eq!(admin(&hs256(&service)).may_manage("demo"), Ok(()), "it is nobody's");
    let ban = Ban {
        identity: "ada".into(),
        name: String::new(),
        token_id: None,
        until: Instant::now() + Duration::from_secs(60),
        by: None,
        reason: String::new(),
        by_token: false,
    };
    access.revocations.set_bans("demo", std::slice::from_ref(&ban));
    assert_eq!(admin(&newer).may_manage("demo"), Ok(()), "by somebody who may not");
    access.revocations.set_bans("demo", &[Ban { by_token: true, ..ban }]);
    let refused = admin(&newer).may_manage("demo");
    assert!(
        matches!(&refused, Err(AuthError::Banned(text)) if text.contains("1 minutes")),
        "{refused:?}"
    );
}

#[test]
fn what_the_command_makes_is_accepted() {
    let base = || {
        TokenRequest::join("k1", Secret::new(SECRET.into()), "demo", "bob", Duration::from_secs(60))
    };
    let token = sign(base(), SystemTime::now()).unwrap();
    let grant = verify(&token, "demo").unwrap();
    let validity = grant.validity;
    assert_eq!(validity.unwrap().ends, validity.unwrap().made + 60);
    let permissions = Permissions { can_update_metadata: false, ..Permissions::ALL };
    assert_eq!(grant, Grant { identity: Some("bob".into()), permissions, validity, ..Grant::OPEN });
    let signing = SigningKey::Ed25519(Secret::new(PRIVATE.into()));
    let token = sign(TokenRequest { key: "ed".into(), signing, ..base() }, SystemTime::now());
    assert!(verify(&token.unwrap(), "demo").is_ok());
    let request = TokenRequest { identity: None, room_list: true, room: None, ..base() };
    let token = sign(request, SystemTime::now()).unwrap();
    assert_eq!(Access::new(keys()).admin(Some(&token)).unwrap().may_list(), Ok(()));
    let refusals = [
        TokenRequest { identity: None, ..base() },
        TokenRequest { room: None, ..base() },
        TokenRequest { room: None, identity: None, room_admin: true, ..base() },
        TokenRequest { metadata: "m".repeat(3000), ..base() },
        TokenRequest { signing: SigningKey::Ed25519(Secret::new(SECRET.into())), ..base() },
    ];
    for request in refusals {
        assert!(sign(request.clone(), SystemTime::now()).is_err(), "{request:?}");
    }
}
