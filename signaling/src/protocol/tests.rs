//! PROTOCOL.md is the golden file: every JSON example in it must decode, and encode to the same JSON again.
#![allow(clippy::unwrap_used)]

use super::{ClientMessage, ServerMessage};
use serde_json::Value;
use std::collections::BTreeSet;

const CLIENT_TYPES: [&str; 38] = [
    "join",
    "resume",
    "publish",
    "offer",
    "ready",
    "candidate",
    "unpublish",
    "mute",
    "subscribe",
    "unsubscribe",
    "set_layer",
    "track_settings",
    "track_limited",
    "renew",
    "publish_data",
    "subscribe_topics",
    "leave",
    "ping",
    "chat",
    "chat_delete",
    "typing",
    "presence",
    "react",
    "mute_track",
    "mute_all",
    "stop_track",
    "lower_hand",
    "kick",
    "ban",
    "unban",
    "list_bans",
    "admit",
    "deny",
    "update_room",
    "update_participant",
    "set_permissions",
    "set_moderator",
    "end_room",
];
const SERVER_TYPES: [&str; 35] = [
    "welcome",
    "resumed",
    "media_sections",
    "answer",
    "published",
    "bindings",
    "ok",
    "track_published",
    "track_unpublished",
    "track_muted",
    "track_unavailable",
    "layer_changed",
    "track_status",
    "published_layers",
    "active_speakers",
    "participant_joined",
    "participant_updated",
    "participant_left",
    "permissions",
    "data",
    "data_closed",
    "room_updated",
    "error",
    "closing",
    "closed",
    "pong",
    "chat_message",
    "chat_history",
    "chat_deleted",
    "participant_typing",
    "reaction",
    "moderated",
    "lobby",
    "waiting",
    "bans",
];

/// All JSON objects of the document: fenced blocks, and code spans that begin with `{"type":`.
fn examples() -> Vec<Value> {
    let text = include_str!("../../PROTOCOL.md");
    let mut found = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            // Other protocols: tests/channel.rs speaks the one, the bot the other.
            if ["json channel\n", "json files\n"].iter().any(|other| part.starts_with(other)) {
                continue;
            }
            let json = part.strip_prefix("json\n").expect("every block is JSON");
            let values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
            found.extend(values.map(|value| value.unwrap()));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            let spans = spans.filter(|span| span.starts_with("{\"type\":\""));
            found.extend(spans.map(|span| serde_json::from_str::<Value>(span).unwrap()));
        }
    }
    found
}

#[test]
fn every_example_of_the_document_decodes_and_encodes_to_itself() {
    let mut seen = BTreeSet::new();
    for value in examples() {
        let kind = value["type"].as_str().unwrap().to_owned();
        let text = value.to_string();
        let again = if CLIENT_TYPES.contains(&kind.as_str()) {
            let message = ClientMessage::decode(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            serde_json::to_value(message).unwrap()
        } else {
            assert!(SERVER_TYPES.contains(&kind.as_str()), "{kind} is in neither list");
            let message: ServerMessage = serde_json::from_str(&text).unwrap();
            serde_json::from_str(&message.encode()).unwrap()
        };
        assert_eq!(again, value);
        seen.insert(kind);
    }
    let missing: Vec<_> =
        CLIENT_TYPES.iter().chain(&SERVER_TYPES).filter(|kind| !seen.contains(**kind)).collect();
    assert!(missing.is_empty(), "PROTOCOL.md has no example of {missing:?}");
}

fn refused(text: &str) -> (Option<u64>, String) {
    let error = ClientMessage::decode(text).expect_err(text);
    (error.request, error.message)
}

#[test]
fn data_has_one_payload_and_bounds() {
    let topic = "x".repeat(65);
    let long = "x".repeat(64 * 1024 + 1);
    let many = vec!["x"; 201];
    let wrong = [
        (serde_json::json!({"topic": "a"}), "either"),
        (serde_json::json!({"text": "a", "bytes": "YQ=="}), "either"),
        (serde_json::json!({"bytes": "!"}), "Base64"),
        (serde_json::json!({"text": "a", "topic": topic}), "`topic`"),
        (serde_json::json!({"text": long}), "65536 bytes"),
        (serde_json::json!({"text": "a", "to": many}), "`to`"),
        (serde_json::json!({"text": "a", "to": [""]}), "`identity`"),
    ];
    for (mut message, part) in wrong {
        message["type"] = "publish_data".into();
        let (_, sentence) = refused(&message.to_string());
        assert!(sentence.contains(part), "{sentence}");
    }
    let (_, sentence) = refused(&format!(r#"{{"type":"subscribe_topics","topics":["{topic}"]}}"#));
    assert!(sentence.contains("`topic`"), "{sentence}");
}

#[test]
fn row_28_a_sentence_does_not_repeat_whatever_was_sent() {
    for sent in [
        format!(r#"{{"type":"ready","{}":1}}"#, "ü".repeat(50_000)),
        format!(r#"{{"type":"publish","mid":"1","source":"{}"}}"#, "x".repeat(50_000)),
    ] {
        let error = ClientMessage::decode(&sent).unwrap_err();
        assert!(error.message.len() <= 384 && error.message.ends_with('…'), "{error}");
    }
}

#[test]
fn row_26_what_is_wrong_is_named() {
    let cases = [
        ("[]", "an object"),
        ("{", "not a JSON object"),
        (r#"{"a":1}"#, "missing field `type`"),
        (r#"{"type":7}"#, "field `type`: expected a string"),
        (r#"{"type":"jump"}"#, "unknown type \"jump\""),
        (r#"{"type":"offer","offer_id":1}"#, "offer: missing field `sdp`"),
        (r#"{"type":"offer","offer_id":"1","sdp":""}"#, "offer: field `offer_id`"),
        (r#"{"type":"ready","offer_id":1,"x":2}"#, "unknown field `x`"),
        (r#"{"type":"ready","offer_id":1,"offer_id":2}"#, "repeated field `offer_id`"),
        (r#"{"type":"leave","now":true}"#, "leave has no fields"),
        (r#"{"type":"mute","track":"7","muted":true}"#, "mute: field `track`"),
        (r#"{"type":"mute","track":"t+7","muted":true}"#, "mute: field `track`"),
        (r#"{"type":"join","version":1,"room":"a b","name":"x"}"#, "field `room`"),
        (r#"{"type":"join","version":1,"room":"a","name":"\u0007"}"#, "field `name`"),
        (r#"{"type":"join","version":1,"room":"a","name":"x","identity":""}"#, "field `identity`"),
        (
            r#"{"type":"publish","mid":"1","source":"camera","layers":[{"rid":"q","width":"9","height":1}]}"#,
            "publish: field `layers[0].width`",
        ),
        (r#"{"type":"publish","mid":"1","source":"oven"}"#, "publish: field `source`"),
        (
            r#"{"type":"track_settings","tracks":[{"track":"t1"},{"track":"t2","width":70000}]}"#,
            "track_settings: field `tracks[1].width`",
        ),
        (
            r#"{"type":"track_settings","tracks":[{"track":"t1","priority":"most"}]}"#,
            "track_settings: field `tracks[0].priority`",
        ),
        (
            r#"{"type":"track_limited","track":"t1","reason":"heat"}"#,
            "track_limited: field `reason`",
        ),
        (r#"{"type":"chat","text":" \n"}"#, "field `text`"),
        (r#"{"type":"chat","text":"a\u0007"}"#, "field `text`"),
        (r#"{"type":"chat","text":"a","to":[""]}"#, "field `identity`"),
        (r#"{"type":"chat","text":"a","to":"x"}"#, "chat: field `to`"),
        (r#"{"type":"chat_delete","message":"p1"}"#, "chat_delete: field `message`"),
        (r#"{"type":"react","reaction":""}"#, "field `reaction`"),
        (r#"{"type":"kick"}"#, "kick: missing field `identity`"),
        (r#"{"type":"kick","identity":"x","reason":7}"#, "kick: field `reason`"),
        (r#"{"type":"mute_all","track":"t1"}"#, "unknown field `track`"),
        (r#"{"type":"ban","identity":"x","seconds":0}"#, "field `seconds`"),
        (r#"{"type":"ban","identity":"x","seconds":2592001}"#, "field `seconds`"),
        (
            r#"{"type":"set_permissions","identity":"x","permissions":{"fly":true}}"#,
            "set_permissions: field `permissions.fly`",
        ),
    ];
    for (text, expected) in cases {
        let (_, message) = refused(text);
        assert!(message.contains(expected), "{text} gave {message:?}");
    }
}

#[test]
fn a_refusal_keeps_the_request_number() {
    assert_eq!(refused(r#"{"type":"mute","request":9,"track":"t1"}"#).0, Some(9));
}

#[test]
fn row_28_one_message_names_at_most_a_rooms_tracks() {
    let settings = |count: usize| {
        let entries = vec![r#"{"track":"t1"}"#; count].join(",");
        format!(r#"{{"type":"track_settings","tracks":[{entries}]}}"#)
    };
    assert!(ClientMessage::decode(&settings(1000)).is_ok());
    assert!(refused(&settings(1001)).1.contains("field `tracks`"));
}

#[test]
fn what_people_write_has_a_limit() {
    let chat = |text: usize, to: usize| {
        let (text, to) = ("ü".repeat(text), vec!["\"x\""; to].join(","));
        ClientMessage::decode(&format!(r#"{{"type":"chat","text":"{text}","to":[{to}]}}"#))
    };
    assert!(chat(4000, 50).is_ok() && chat(4001, 0).is_err() && chat(1, 51).is_err());
    let kick = |reason: usize| {
        let reason = "r".repeat(reason);
        ClientMessage::decode(&format!(r#"{{"type":"kick","identity":"x","reason":"{reason}"}}"#))
    };
    assert!(kick(200).is_ok() && kick(201).is_err());
    assert_eq!(kick(201).unwrap_err().request, None);
}

#[test]
fn long_text_in_a_refusal_is_cut() {
    let (_, message) = refused(&format!(r#"{{"type":"{}"}}"#, "x".repeat(10_000)));
    assert!(message.len() < 100);
}

#[test]
fn row_28_deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let (_, message) = refused(&format!(r#"{{"type":"ready","x":{}"#, "[".repeat(100_000)));
    assert!(message.contains("recursion limit"), "{message}");
}
