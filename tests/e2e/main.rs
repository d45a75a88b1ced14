//! End to end: the real server on real sockets, native participants on the `webrtc` crate.
#![allow(clippy::unwrap_used)]

mod bot;
mod media;
mod server;
mod trust;
mod workers;

use bot::Bot;
use media::Received;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use serde_json::json;
use server::TestServer;

const PACKETS: usize = 150;

/// What `bot` received of sender `mark`, camera first.
fn streams_of(bot: &Bot, mark: u8) -> Vec<Received> {
    let mut streams: Vec<Received> = bot
        .received()
        .into_values()
        .filter(|stream| stream.marks.iter().any(|(sender, _)| *sender == mark))
        .collect();
    streams.sort_by_key(|stream| stream.pictures.is_empty());
    streams
}

fn has_enough(bot: &Bot, mark: u8) -> bool {
    let streams = streams_of(bot, mark);
    streams.len() == 2 && streams.iter().all(|stream| stream.marks.len() >= PACKETS)
}

/// On loopback nothing is lost: counters, sequence numbers and picture ids go up by one.
fn check_stream(stream: &Received, mark: u8, number: u32) {
    assert!(stream.marks.iter().all(|(sender, _)| *sender == mark), "two senders on one SSRC");
    for pair in stream.marks.windows(2) {
        assert_eq!(pair[1].1, pair[0].1 + 1, "a packet is missing or twice");
    }
    for pair in stream.sequence.windows(2) {
        assert_eq!(pair[1], pair[0].wrapping_add(1), "the sequence number jumped");
    }
    for pair in stream.pictures.windows(2) {
        assert_eq!(pair[1], (pair[0] + 1) & 0x7fff, "the picture id jumped");
    }
    assert_ne!(stream.first_is_keyframe, Some(false), "a picture began without a keyframe");
    assert_eq!(
        stream.csrcs.keys().collect::<Vec<_>>(),
        [&vec![number]],
        "the CSRC is the track's number"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_native_bots_receive_each_other_unchanged() {
    let server = TestServer::start().await;
    let mut ada = Bot::join(&server, "pair", 1).await;
    let mut bob = Bot::join(&server, "pair", 2).await;
    ada.until("Bob's packets at Ada", |ada| has_enough(ada, 2)).await;
    bob.until("Ada's packets at Bob", |bob| has_enough(bob, 1)).await;
    for (receiver, sender, mark) in [(&ada, &bob, 2), (&bob, &ada, 1)] {
        let streams = streams_of(receiver, mark);
        check_stream(&streams[0], mark, sender.numbers["camera"]);
        check_stream(&streams[1], mark, sender.numbers["microphone"]);
    }
    assert!(streams_of(&ada, 1).is_empty(), "nobody gets back what they send");
    let camera = ada.numbers["camera"];
    let listed = |message: &serde_json::Value| message["type"] == "track_published";
    assert!(ada.messages.iter().any(listed), "Ada learned of Bob's tracks; hers is {camera}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_apart_and_leaving_is_told() {
    let server = TestServer::start().await;
    let mut ada = Bot::join(&server, "one", 1).await;
    let mut bob = Bot::join(&server, "one", 2).await;
    let eve = Bot::join(&server, "two", 3).await;
    bob.until("Ada's packets at Bob", |bob| has_enough(bob, 1)).await;
    assert!(eve.received().is_empty(), "Eve is in another room");
    let (left, id) = (bob.participant.clone(), json!("left"));
    bob.leave().await;
    ada.until("Bob to have left", |ada| {
        ada.messages.iter().any(|message| {
            message["type"] == "participant_left"
                && message["participant"] == left
                && message["reason"] == id
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_leaves_the_media_alone() {
    let server = TestServer::start().await;
    let mut ada = Bot::join(&server, "errors", 1).await;
    let mut bob = Bot::join(&server, "errors", 2).await;
    for (message, code) in [
        (json!({"type": "nonsense"}), "bad_message"),
        (json!({"type": "mute", "track": "t999", "muted": true}), "not_found"),
        (json!({"type": "offer", "offer_id": 2, "sdp": "v=0"}), "bad_sdp"),
    ] {
        let answer = ada.request(message.clone()).await;
        assert_eq!(answer["code"], code, "{message} was answered {answer}");
    }
    ada.until("Bob's packets at Ada", |ada| has_enough(ada, 2)).await;
    bob.until("Ada's packets at Bob", |bob| has_enough(bob, 1)).await;
}

#[test]
fn a_changed_payload_is_noticed() {
    let mut packet = rtc::rtp::Packet {
        payload: media::payload(RtpCodecKind::Video, 1, 7),
        ..Default::default()
    };
    let mut received = Received::default();
    received.take(RtpCodecKind::Video, &packet).unwrap();
    let mut changed = packet.payload.to_vec();
    changed[40] ^= 1;
    packet.payload = changed.into();
    assert!(received.take(RtpCodecKind::Video, &packet).is_err());
}
