//! The HTTP API of a whole server: what it does, who may, and that its document and its routes are the same.

use crate::harness::*;
use serde_json::{Value, json};
use signaling::auth::TokenRequest;
use std::time::Duration;

impl Server {
    /// Sends JSON as the bearer of a token and returns status and JSON.
    async fn api(&self, request: &str, token: &str, body: &Value) -> (u16, Value) {
        let bearer = match token {
            "" => String::new(),
            token => format!("\nAuthorization: Bearer {token}"),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.send(&format!("{request}\n{JSON}{bearer}"), &body).await;
        let value = match response.body.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {response:?}")),
        };
        (response.status, value)
    }

    async fn local(&self, request: &str, body: Value) -> (u16, Value) {
        self.api(request, "", &body).await
    }
}

#[tokio::test]
async fn rooms_are_made_listed_changed_and_ended() {
    let server = open();
    let (status, room) = server
        .local("POST /api/rooms", json!({"name": "b", "metadata": "m", "empty_timeout": 60}))
        .await;
    assert_eq!((status, &room["metadata"], &room["empty_timeout"]), (201, &json!("m"), &json!(60)));
    for (name, expected) in [("a", 201), ("c", 201), ("a", 200)] {
        assert_eq!(server.local("POST /api/rooms", json!({"name": name})).await.0, expected);
    }
    let names = |page: &Value| -> Vec<String> {
        let rooms = page["rooms"].as_array().unwrap().iter();
        rooms.map(|room| room["name"].as_str().unwrap().to_owned()).collect()
    };
    let (_, page) = server.local("GET /api/rooms?limit=2", Value::Null).await;
    assert_eq!((names(&page), &page["next"]), (vec!["a".to_owned(), "b".into()], &json!("b")));
    let (_, page) = server.local("GET /api/rooms?limit=2&after=b", Value::Null).await;
    assert_eq!((names(&page), page.get("next")), (vec!["c".to_owned()], None));
    let mut ada = Socket::open(&server).await;
    assert_eq!(ada.join("b", "").await["metadata"], "m");
    let change = json!({"metadata": "n", "max_participants": 1});
    assert_eq!(server.local("PATCH /api/rooms/b", change).await.1["max_participants"], 1);
    assert_eq!(ada.next("room_updated").await["metadata"], "n");
    assert_eq!(Socket::open(&server).await.join("b", "").await["code"], "limit");
    assert_eq!(server.local("GET /api/rooms/b", Value::Null).await.1["participants"], 1);
    assert_eq!(server.local("DELETE /api/rooms/b", Value::Null).await.0, 204);
    assert_eq!(ada.next("closed").await["reason"], "room_deleted");
    assert_eq!(server.local("GET /api/rooms/b", Value::Null).await.0, 404);
}

#[tokio::test]
async fn participants_and_tracks_are_shown_changed_and_ended() {
    let server = open();
    server.session("/whip/r?identity=cam%2F1&name=Camera", &publisher()).await;
    let mut ada = Socket::open(&server).await;
    ada.join("r", "").await;
    let (_, tracks) = server.local("GET /api/rooms/r/tracks", Value::Null).await;
    let tracks = tracks["tracks"].as_array().unwrap();
    assert_eq!((tracks.len(), &tracks[0]["identity"]), (2, &json!("cam/1")));
    let track = format!("/api/rooms/r/tracks/{}", tracks[0]["track"].as_str().unwrap());
    assert_eq!(server.local(&format!("PATCH {track}"), json!({"muted": true})).await.0, 204);
    assert_eq!(ada.next("track_muted").await["muted"], true);
    let (status, refusal) = server.local(&format!("PATCH {track}"), json!({"muted": false})).await;
    assert_eq!((status, &refusal["code"]), (409, &json!("bad_state")));
    assert_eq!(server.local(&format!("DELETE {track}"), Value::Null).await.0, 204);
    ada.next("track_unpublished").await;
    let camera = "/api/rooms/r/participants/cam%2F1";
    let (_, shown) = server.local(&format!("GET {camera}"), Value::Null).await;
    assert_eq!((&shown["name"], &shown["whip"]), (&json!("Camera"), &json!(true)));
    assert_eq!(shown["tracks"].as_array().unwrap().len(), 1);
    let change = json!({"name": "Stage", "metadata": "m", "attributes": {"a": "b"}});
    assert_eq!(server.local(&format!("PATCH {camera}"), change).await.0, 204);
    let update = ada.next("participant_updated").await;
    assert_eq!((&update["name"], &update["attributes"]["a"]), (&json!("Stage"), &json!("b")));
    let (_, all) = server.local("GET /api/rooms/r/participants", Value::Null).await;
    assert_eq!(all["participants"].as_array().unwrap().len(), 2);
    assert_eq!(server.local(&format!("DELETE {camera}"), Value::Null).await.0, 204);
    assert_eq!(ada.next("participant_left").await["reason"], "removed");
    assert_eq!(server.local(&format!("DELETE {camera}"), Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_is_wrong_is_named_in_json() {
    let server = open();
    server.local("POST /api/rooms", json!({"name": "r"})).await;
    let long = json!({"metadata": "m".repeat(2049)});
    let huge = json!({"metadata": "m".repeat(40_000)});
    let cases = [
        ("POST /api/rooms", json!({"name": "a b"}), 400, "characters"),
        ("POST /api/rooms", json!({"name": "a", "colour": 1}), 400, "colour"),
        ("POST /api/rooms", json!({"name": "a", "empty_timeout": 90_000}), 400, "86400"),
        ("POST /api/rooms", json!({"name": "a", "max_participants": 0}), 400, "1 to 200"),
        ("POST /api/rooms", json!([]), 400, "body"),
        ("GET /api/rooms?limit=x", Value::Null, 400, "limit"),
        ("GET /api/rooms?colour=1", Value::Null, 400, "colour"),
        ("PATCH /api/rooms/r", long, 400, "2048"),
        ("PATCH /api/rooms/r", huge, 413, "bytes"),
        ("GET /api/rooms/q", Value::Null, 404, "no such room"),
        ("GET /api/rooms/r/participants/x", Value::Null, 404, "identity"),
        ("PATCH /api/rooms/r/participants/x", json!({}), 404, "no participant"),
        (
            "PATCH /api/rooms/r/participants/x",
            json!({"permissions": {"fly": true}}),
            400,
            "permissions",
        ),
        ("PATCH /api/rooms/r/tracks/t9", json!({"muted": true}), 404, "t9"),
        ("PATCH /api/rooms/r/tracks/9", json!({"muted": true}), 404, "t1"),
        ("GET /api/nothing", Value::Null, 404, "openapi.json"),
        ("PUT /api/rooms", Value::Null, 405, "openapi.json"),
    ];
    for (request, body, status, text) in cases {
        let (found, refusal) = server.local(request, body).await;
        assert_eq!(found, status, "{request}: {refusal}");
        assert!(refusal["message"].as_str().unwrap().contains(text), "{request}: {refusal}");
    }
}

/// The router and the document are made of the same declarations; this looks at both from outside.
#[tokio::test]
async fn every_route_is_in_the_document_and_the_reverse() {
    let server = open();
    let (_, document) = server.local("GET /api/openapi.json", Value::Null).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 7, "{paths:?}");
    for (path, operations) in paths {
        let address = path.replace(['{', '}'], "");
        for method in ["get", "post", "put", "patch", "delete"] {
            let response = server.send(&format!("{} {address}", method.to_uppercase()), "").await;
            let documented = operations.get(method).is_some();
            assert_eq!(response.status != 405, documented, "{method} {path}: {response:?}");
            assert!(!response.body.contains("nothing at this address"), "{method} {path}");
        }
        for operation in operations.as_object().unwrap().values() {
            assert!(
                operation["summary"].as_str().is_some_and(|s| s.contains("(video.room")),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn row_30_only_the_grant_for_it_manages() {
    let server = keyed();
    let make = token_with(|request| TokenRequest {
        identity: None,
        room: None,
        room_create: true,
        ..request
    });
    let list = token_with(|request| TokenRequest {
        identity: None,
        room: None,
        room_list: true,
        ..request
    });
    let join = token("r", "ada");
    let tokens = ["", "nonsense", &join, &make, &list, &admin("r"), &admin("q")];
    for name in ["r", "q"] {
        assert_eq!(server.api("POST /api/rooms", &make, &json!({"name": name})).await.0, 201);
    }
    let mute = json!({"muted": true});
    let cases = [
        ("GET /api/rooms", Value::Null, [401, 401, 403, 403, 200, 403, 403]),
        ("POST /api/rooms", json!({"name": "r"}), [401, 401, 403, 403, 403, 403, 403]),
        ("GET /api/rooms/r", Value::Null, [401, 401, 403, 403, 403, 200, 403]),
        ("PATCH /api/rooms/r", json!({}), [401, 401, 403, 403, 403, 200, 403]),
        ("GET /api/rooms/r/participants", Value::Null, [401, 401, 403, 403, 403, 200, 403]),
        ("GET /api/rooms/r/participants/x", Value::Null, [401, 401, 403, 403, 403, 404, 403]),
        ("PATCH /api/rooms/r/participants/x", json!({}), [401, 401, 403, 403, 403, 404, 403]),
        ("DELETE /api/rooms/r/participants/x", Value::Null, [401, 401, 403, 403, 403, 404, 403]),
        ("GET /api/rooms/r/tracks", Value::Null, [401, 401, 403, 403, 403, 200, 403]),
        ("PATCH /api/rooms/r/tracks/t1", mute, [401, 401, 403, 403, 403, 404, 403]),
        ("DELETE /api/rooms/r/tracks/t1", Value::Null, [401, 401, 403, 403, 403, 404, 403]),
        ("GET /api/rooms/r/explain", Value::Null, [401, 401, 403, 403, 403, 200, 403]),
        ("GET /api/rooms/unknown", Value::Null, [401, 401, 403, 403, 403, 403, 403]),
        ("DELETE /api/rooms/r", Value::Null, [401, 401, 403, 403, 403, 204, 403]),
    ];
    for (request, body, expected) in cases {
        for (token, expected) in tokens.iter().zip(expected) {
            let (status, answer) = server.api(request, token, &body).await;
            assert_eq!(status, expected, "{request} with {token}: {answer}");
        }
    }
    assert_eq!(server.api("GET /api/rooms/q", &admin("q"), &Value::Null).await.0, 200);
}

#[tokio::test]
async fn row_31_a_removed_participant_does_not_come_back_with_an_old_token() {
    let server = keyed();
    let old = token("r", "eve");
    let mut eve = Socket::open(&server).await;
    assert_eq!(eve.join("r", &old).await["type"], "welcome");
    let remove = "DELETE /api/rooms/r/participants/eve";
    assert_eq!(server.api(remove, &admin("r"), &Value::Null).await.0, 204);
    assert_eq!(eve.next("closed").await["reason"], "removed");
    let refusal = Socket::open(&server).await.join("r", &old).await;
    assert_eq!(refusal["code"], "not_allowed", "{refusal}");
    for path in ["whip", "whep"] {
        let post = format!("POST /{path}/r\n{SDP}\nAuthorization: Bearer {old}");
        assert_eq!(server.send(&post, &publisher()).await.status, 403, "{path}");
    }
    let elsewhere = Socket::open(&server).await.join("q", &token("q", "eve")).await;
    assert_eq!(elsewhere["type"], "welcome", "of another room");
    let other = Socket::open(&server).await.join("r", &token("r", "ada")).await;
    assert_eq!(other["type"], "welcome", "of another identity");
    // Of a later second.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while Socket::open(&server).await.join("r", &token("r", "eve")).await["type"] != "welcome" {
        assert!(tokio::time::Instant::now() < deadline, "a newer token lets her in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(Socket::open(&server).await.join("r", &old).await["code"], "not_allowed");
}

#[tokio::test]
async fn row_31_permissions_that_were_taken_stay_taken_over_a_reconnect() {
    let server = keyed();
    let old = token("r", "eve");
    let mut eve = Socket::open(&server).await;
    assert_eq!(eve.join("r", &old).await["can_publish"], true);
    let change = json!({"permissions": {"can_publish": false}});
    let update = "PATCH /api/rooms/r/participants/eve";
    assert_eq!(server.api(update, &admin("r"), &change).await.0, 204);
    assert_eq!(eve.next("permissions").await["can_publish"], false);
    let again = Socket::open(&server).await.join("r", &old).await;
    assert_eq!((&again["type"], &again["can_publish"]), (&json!("welcome"), &json!(false)));
    let post = format!("POST /whip/r\n{SDP}\nAuthorization: Bearer {old}");
    assert_eq!(server.send(&post, &publisher()).await.status, 403);
}

#[tokio::test]
async fn a_token_is_renewed_while_connected() {
    let server = keyed();
    let mut ada = Socket::open(&server).await;
    ada.join("r", &token("r", "ada")).await;
    let quiet = token_with(|request| TokenRequest { can_publish: Some(false), ..request });
    ada.say(json!({"type": "renew", "request": 2, "token": quiet})).await;
    assert_eq!(ada.answer(2).await["type"], "ok");
    assert_eq!(ada.next("permissions").await["can_publish"], false);
    let expired = token_with(|request| TokenRequest { ttl: Duration::ZERO, ..request });
    assert_eq!(expired.split('.').count(), 3);
    let refusals = [
        (token("q", "ada"), "unauthorized"),
        (token("r", "bob"), "not_allowed"),
        (admin("r"), "unauthorized"),
        ("nonsense".to_owned(), "unauthorized"),
    ];
    for (token, code) in refusals {
        ada.say(json!({"type": "renew", "request": 3, "token": token})).await;
        assert_eq!(ada.answer(3).await["code"], code, "{token}");
    }
    ada.say(json!({"type": "ping", "time": 1})).await;
    ada.next("pong").await;
}

#[tokio::test]
async fn row_30_a_hidden_participant_and_one_with_few_sources() {
    let server = keyed();
    let mut ada = Socket::open(&server).await;
    ada.join("r", &token("r", "ada")).await;
    let ghost = token_with(|request| TokenRequest {
        identity: Some("ghost".into()),
        hidden: true,
        ..request
    });
    let mut hidden = Socket::open(&server).await;
    assert_eq!(hidden.join("r", &ghost).await["participants"].as_array().unwrap().len(), 1);
    let publish = json!({"type": "publish", "request": 2, "mid": "1", "source": "camera"});
    hidden.say(publish.clone()).await;
    assert_eq!(hidden.answer(2).await["code"], "not_allowed");
    let speaker = token_with(|request| TokenRequest {
        identity: Some("voice".into()),
        can_publish_sources: vec![signaling::protocol::Source::Microphone],
        ..request
    });
    let mut voice = Socket::open(&server).await;
    let welcome = voice.join("r", &speaker).await;
    assert_eq!(welcome["participants"].as_array().unwrap().len(), 1, "ada, and no ghost");
    assert_eq!(welcome["can_publish_sources"], json!(["microphone"]));
    voice.say(publish).await;
    assert_eq!(voice.answer(2).await["code"], "not_allowed");
    let post = format!("POST /whip/r\n{SDP}\nAuthorization: Bearer {speaker}");
    assert_eq!(server.send(&post, &publisher()).await.status, 403, "it has a camera");
    let post = format!("POST /whip/r\n{SDP}\nAuthorization: Bearer {ghost}");
    assert_eq!(server.send(&post, &publisher()).await.status, 403);
    let joined = ada.next("participant_joined").await;
    assert_eq!(joined["participant"]["identity"], "voice", "the ghost was not told");
    let (_, all) = server.api("GET /api/rooms/r/participants", &admin("r"), &Value::Null).await;
    assert_eq!(all["participants"].as_array().unwrap().len(), 3, "who manages sees all: {all}");
}

#[tokio::test]
async fn row_32_sessions_are_only_for_whoever_made_them() {
    let server = keyed();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let own = token("r", "cam");
    let post = format!("POST /whip/r\n{SDP}\n{}", bearer(&own));
    let made = server.send(&post, &publisher()).await;
    let location = made.header("location").to_owned();
    let secret = location.rsplit('/').next().unwrap();
    assert!(secret.len() >= 22, "132 bits: {location}");
    let foreign =
        [String::new(), bearer("x"), bearer(&token("r", "eve")), bearer(&token("q", "cam"))];
    for (header, expected) in foreign.iter().zip([401, 401, 404, 403]) {
        for (method, kind) in [("DELETE", JSON), ("PATCH", FRAGMENT)] {
            let request = format!("{method} {location}\n{kind}\nIf-Match: *\n{header}");
            assert_eq!(server.send(&request, "").await.status, expected, "{method} {header}");
        }
    }
    let elsewhere =
        format!("DELETE {}\n{}", location.replace("/r/", "/q/"), bearer(&token("q", "cam")));
    assert_eq!(server.status(&elsewhere).await, 404);
    assert_eq!(server.status(&format!("DELETE {location}\n{}", bearer(&own))).await, 200);
}

#[tokio::test]
async fn row_33_a_page_of_another_origin_opens_no_socket_where_there_are_no_tokens() {
    let server = open();
    let upgrade = "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let origins = [
        "null",
        "https://example.org",
        "http://localhost.example.org",
        "http://localhost:1",
        "https://localhost",
        "http://localhost@example.org",
        "http://localhost/",
        "file://",
        "",
    ];
    for origin in origins {
        let request = format!("GET /ws\nOrigin: {origin}\n{upgrade}");
        let response = server.send(&request, "").await;
        assert_eq!(response.status, 403, "{origin}: {response:?}");
        assert!(response.find("access-control-allow-credentials").is_none());
    }
}

#[tokio::test]
async fn row_34_nothing_of_the_inside_is_shown_to_strangers() {
    let server = keyed();
    for path in [
        "/metrics",
        "/metrics/",
        "/debug",
        "/debug/pprof",
        "/api",
        "/api/rooms",
        "/admin",
        "/.env",
        "/config",
    ] {
        for header in ["Via: 1.1 proxy", "Origin: https://example.org"] {
            let response = server.send(&format!("GET {path}\n{header}"), "").await;
            assert!(matches!(response.status, 401 | 403 | 404), "{path} {header}: {response:?}");
        }
    }
}

#[tokio::test]
async fn rooms_are_moderated_from_outside_and_all_are_told() {
    let server = open();
    let join = |identity: &str| json!({"type": "join", "request": 1, "version": 1, "room": "r", "name": identity, "identity": identity});
    let mut ada = Socket::open(&server).await;
    ada.say(join("ada")).await;
    assert_eq!(ada.answer(1).await["moderator"], true, "the first, without keys");
    let mut bob = Socket::open(&server).await;
    bob.say(join("bob")).await;
    bob.answer(1).await;
    bob.say(json!({"type": "presence", "request": 2, "hand": true, "status": "away"})).await;
    bob.answer(2).await;
    let (_, rooms) = server.local("GET /api/rooms?presence=true", Value::Null).await;
    let present = &rooms["rooms"][0]["present"];
    assert_eq!((&present[0]["identity"], &present[0]["moderator"]), (&json!("ada"), &json!(true)));
    assert_eq!((&present[1]["hand"], &present[1]["status"]), (&json!(1), &json!("away")));
    let (_, rooms) = server.local("GET /api/rooms", Value::Null).await;
    assert_eq!(rooms["rooms"][0].get("present"), None, "only where it was asked for");
    let bob_path = "/api/rooms/r/participants/bob";
    let change = json!({"hand": false, "moderator": true, "reason": "your turn"});
    assert_eq!(server.local(&format!("PATCH {bob_path}"), change).await.0, 204);
    let told = bob.next("moderated").await;
    assert_eq!((&told["action"], &told["on"]), (&json!("set_moderator"), &json!(true)));
    assert_eq!((&told["reason"], told.get("by")), (&json!("your turn"), None));
    let (status, _) = server.local(&format!("PATCH {bob_path}"), json!({"hand": true})).await;
    assert_eq!(status, 400, "nobody raises another's hand");
    // The lobby.
    let patch = json!({"lobby": true});
    assert_eq!(server.local("PATCH /api/rooms/r", patch).await.1["lobby"], true);
    let mut eve = Socket::open(&server).await;
    eve.say(join("eve")).await;
    assert_eq!(eve.answer(1).await["type"], "waiting");
    assert_eq!(ada.next("lobby").await["waiting"][0]["identity"], "eve");
    let (_, lobby) = server.local("GET /api/rooms/r/lobby", Value::Null).await;
    assert_eq!(lobby["waiting"][0]["name"], "eve");
    assert_eq!(server.local("PUT /api/rooms/r/lobby/nobody", Value::Null).await.0, 404);
    assert_eq!(server.local("PUT /api/rooms/r/lobby/eve", Value::Null).await.0, 204);
    assert_eq!(eve.next("welcome").await["request"], 1);
    // A ban that holds for a room that has ended, too.
    let ban = json!({"identity": "eve", "seconds": 60, "reason": "noise"});
    assert_eq!(server.local("POST /api/rooms/r/bans", ban.clone()).await.0, 204);
    let closed = eve.next("closed").await;
    assert_eq!(closed["reason"], "banned");
    assert!(closed["message"].as_str().unwrap().contains("noise"), "{closed}");
    assert_eq!(server.local("POST /api/rooms/r/mute?reason=quiet", Value::Null).await.0, 204);
    assert_eq!(server.local("DELETE /api/rooms/r?reason=late", Value::Null).await.0, 204);
    assert!(ada.next("closed").await["message"].as_str().unwrap().contains("late"));
    let mut eve = Socket::open(&server).await;
    eve.say(join("eve")).await;
    assert_eq!(eve.answer(1).await["code"], "not_allowed");
    let mut ada = Socket::open(&server).await;
    ada.say(join("ada")).await;
    ada.answer(1).await;
    let (_, bans) = server.local("GET /api/rooms/r/bans", Value::Null).await;
    let ban = &bans["bans"][0];
    assert_eq!(
        (&ban["identity"], &ban["name"], &ban["reason"]),
        (&json!("eve"), &json!("eve"), &json!("noise"))
    );
    assert_eq!(server.local("DELETE /api/rooms/r/bans/eve", Value::Null).await.0, 204);
    assert_eq!(server.local("DELETE /api/rooms/r/bans/eve", Value::Null).await.0, 404);
    let mut eve = Socket::open(&server).await;
    eve.say(join("eve")).await;
    assert_eq!(eve.answer(1).await["type"], "welcome");
    let long = json!({"identity": "x", "seconds": 60, "reason": "r".repeat(201)});
    for body in [long, json!({"identity": "x", "seconds": 0}), json!({"seconds": 1})] {
        assert_eq!(server.local("POST /api/rooms/r/bans", body).await.0, 400);
    }
}

#[tokio::test]
async fn with_keys_a_ban_holds_whatever_token_is_brought() {
    let server = keyed();
    let moderator = token_with(|request| TokenRequest {
        identity: Some("mod".into()),
        room_admin: true,
        ..request
    });
    let mut ada = Socket::open(&server).await;
    assert_eq!(ada.join("r", &moderator).await["moderator"], true);
    let mut eve = Socket::open(&server).await;
    assert_eq!(eve.join("r", &token("r", "eve")).await.get("moderator"), None);
    eve.say(json!({"type": "kick", "request": 2, "identity": "mod"})).await;
    assert_eq!(eve.answer(2).await["code"], "not_allowed");
    ada.say(json!({"type": "ban", "request": 2, "identity": "eve", "seconds": 60})).await;
    assert_eq!(ada.answer(2).await["type"], "ok");
    assert_eq!(eve.next("closed").await["reason"], "banned");
    // Also one that is made now, and also where there is no room.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let new = token("r", "eve");
    assert_eq!(Socket::open(&server).await.join("r", &new).await["code"], "not_allowed");
    let post = format!("POST /whip/r\n{SDP}\nAuthorization: Bearer {new}");
    assert_eq!(server.send(&post, &publisher()).await.status, 403);
    let servers = format!("GET /ice-servers?room=r\nAuthorization: Bearer {new}");
    assert_eq!(server.status(&servers).await, 403);
    ada.say(json!({"type": "unban", "request": 3, "identity": "eve"})).await;
    assert_eq!(ada.answer(3).await["type"], "ok");
    assert_eq!(Socket::open(&server).await.join("r", &new).await["type"], "welcome");
}
