//! Sockets that are lost, and participants who go on over others.

use crate::harness::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use signaling::auth::TokenRequest;
use std::time::{Duration, Instant};

async fn joined(server: &Server, name: &str) -> (Socket, Value) {
    let mut socket = Socket::open(server).await;
    let welcome = socket.join("r", &token("r", name)).await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (socket, welcome)
}

/// Says something to everybody in the room.
async fn tell(server: &Server, text: &str) {
    let token = admin("r");
    let request = format!("PATCH /api/rooms/r\n{JSON}\nAuthorization: Bearer {token}");
    let answer = server.send(&request, &json!({"metadata": text}).to_string()).await;
    assert!(answer.status < 300, "{answer:?}");
}

/// The next change of the room; every event on the way to it has the next number.
async fn told(socket: &mut Socket, last: &mut u64) -> Value {
    loop {
        let message = socket.message().await.expect("a message");
        if let Some(event) = message["event"].as_u64() {
            assert_eq!(event, *last + 1, "{message}");
            *last = event;
        }
        if message["type"] == "room_updated" {
            return message["metadata"].clone();
        }
    }
}

#[tokio::test]
async fn figure_10_events_of_a_lost_socket_come_once_and_in_order() {
    let server = keyed();
    let (mut ada, welcome) = joined(&server, "ada").await;
    assert_eq!(welcome["event"], 1);
    let (mut bob, _) = joined(&server, "bob").await;
    assert_eq!(ada.next("participant_joined").await["event"], 2);
    drop(ada);
    let lost = bob.next("participant_updated").await;
    assert_eq!(
        (&lost["participant"], &lost["state"]),
        (&welcome["participant"], &json!("reconnecting"))
    );
    for text in ["one", "two", "three"] {
        tell(&server, text).await;
    }
    let mut ada = Socket::open(&server).await;
    let resumed = ada.resume(&welcome, 2).await;
    assert_eq!((&resumed["type"], &resumed["taken"]), (&json!("resumed"), &json!(1)));
    assert_eq!(resumed.get("event"), None);
    let mut last = 2;
    for text in ["one", "two", "three"] {
        assert_eq!(told(&mut ada, &mut last).await, text);
    }
    tell(&server, "four").await;
    assert_eq!(told(&mut ada, &mut last).await, "four");
    assert_eq!(bob.next("participant_updated").await["state"], "active");
}

#[tokio::test]
async fn figure_10_a_hundred_cuts_lose_nothing_and_repeat_nothing() {
    const TOLD: usize = 300;
    let server = keyed();
    let (mut ada, mut welcome) = joined(&server, "ada").await;
    let address = server.address();
    let teller = tokio::spawn(async move {
        for number in 0..TOLD {
            tell(&at(address), &number.to_string()).await;
        }
    });
    let (mut rng, mut seen, mut last) = (StdRng::seed_from_u64(10), Vec::new(), 1);
    let mut times = Vec::new();
    while seen.len() < TOLD {
        for _ in 0..rng.random_range(0..6) {
            if seen.len() == TOLD {
                break;
            }
            let text = told(&mut ada, &mut last).await;
            seen.push(text.as_str().unwrap().parse::<usize>().unwrap());
        }
        if rng.random_bool(0.3) {
            ada.say(json!({"type": "ping", "time": 1, "event": last})).await;
        }
        // Sometimes the answer to `resume` is lost too.
        if rng.random_bool(0.2) {
            ada = Socket::open(&server).await;
            let (room, participant) = (&welcome["room"], &welcome["participant"]);
            ada.say(json!({"type": "resume", "version": 1, "room": room, "participant": participant, "secret": welcome["secret"], "event": last})).await;
        }
        let begun = Instant::now();
        ada = Socket::open(&server).await;
        let resumed = ada.resume(&welcome, last).await;
        assert_eq!(resumed["type"], "resumed", "{resumed} after {last}");
        times.push(begun.elapsed());
        welcome["secret"] = resumed["secret"].clone();
    }
    teller.await.unwrap();
    assert_eq!(seen, (0..TOLD).collect::<Vec<_>>());
    times.sort();
    assert!(times.len() >= 50, "{}", times.len());
    let late = times[times.len() * 95 / 100];
    println!("{} resumptions, p95 {late:?}", times.len());
    assert!(late < Duration::from_millis(500), "{late:?}");
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_answered_and_not_executed_again() {
    let server = keyed();
    let (mut ada, mut welcome) = joined(&server, "ada").await;
    let (mut bob, _) = joined(&server, "bob").await;
    let renew = |request: u64, name: &str| {
        let name = Some(name.to_owned());
        let token = token_with(|it| TokenRequest { name, ..it });
        json!({"type": "renew", "request": request, "token": token})
    };
    ada.say(renew(5, "Five")).await;
    assert_eq!(bob.next("participant_updated").await["name"], "Five");
    drop(ada);
    bob.next("participant_updated").await;
    let mut ada = Socket::open(&server).await;
    let resumed = ada.resume(&welcome, 2).await;
    assert_eq!(resumed["taken"], 5);
    assert_eq!(ada.answer(5).await["type"], "ok");
    bob.next("participant_updated").await;
    // What was taken is passed over; what was not is done; what is refused is refused once, and the answer is kept.
    ada.say(renew(5, "Again")).await;
    ada.say(renew(6, "Six")).await;
    assert_eq!(bob.next("participant_updated").await["name"], "Six");
    let six = ada.answer(6).await["event"].as_u64().unwrap();
    ada.say(json!({"type": "renew", "request": 7, "token": "nonsense"})).await;
    ada.say(json!({"type": "mute", "request": 8, "track": 4})).await;
    assert_eq!(ada.answer(8).await["code"], "bad_message");
    drop(ada);
    welcome["secret"] = resumed["secret"].clone();
    let mut ada = Socket::open(&server).await;
    let resumed = ada.resume(&welcome, six).await;
    assert_eq!(resumed["taken"], 8, "{resumed}");
    assert_eq!(ada.answer(7).await["code"], "unauthorized");
    assert_eq!(ada.answer(8).await["code"], "bad_message");
}

#[tokio::test]
async fn a_second_socket_takes_over_and_the_first_is_told() {
    let server = keyed();
    let (mut first, welcome) = joined(&server, "ada").await;
    let (mut bob, _) = joined(&server, "bob").await;
    let mut second = Socket::open(&server).await;
    assert_eq!(second.resume(&welcome, 1).await["type"], "resumed");
    assert_eq!(second.next("participant_joined").await["event"], 2);
    let closed = first.next("closed").await;
    assert_eq!((&closed["reason"], closed.get("event")), (&json!("taken_over"), None));
    assert_eq!(first.message().await, None);
    second.say(json!({"type": "leave"})).await;
    let left = bob.next("participant_left").await;
    assert_eq!((&left["participant"], &left["reason"]), (&welcome["participant"], &json!("left")));
}

#[tokio::test]
async fn a_wrong_secret_leaves_the_way_to_join() {
    let server = keyed();
    let (ada, mut welcome) = joined(&server, "ada").await;
    let (_bob, bobs) = joined(&server, "bob").await;
    drop(ada);
    let first = welcome["secret"].clone();
    let mut again = Socket::open(&server).await;
    for secret in [&bobs["secret"], &json!(""), &json!("x".repeat(9000))] {
        welcome["secret"] = secret.clone();
        assert_eq!(again.resume(&welcome, 1).await["code"], "not_found");
    }
    welcome["secret"] = first;
    assert_eq!(again.resume(&welcome, 999).await["code"], "limit", "events that there never were");
    let rejoined = again.join("r", &token("r", "ada")).await;
    assert_eq!(rejoined["type"], "welcome");
    let mut late = Socket::open(&server).await;
    let over = late.resume(&welcome, 1).await;
    assert_eq!((&over["type"], &over["reason"]), (&json!("closed"), &json!("replaced")));
    assert_eq!(late.message().await, None);
}

#[tokio::test]
async fn row_31_whoever_was_removed_does_not_go_on() {
    let server = keyed();
    let (eve, welcome) = joined(&server, "eve").await;
    let (_bob, _) = joined(&server, "bob").await;
    drop(eve);
    let remove =
        format!("DELETE /api/rooms/r/participants/eve\nAuthorization: Bearer {}", admin("r"));
    assert_eq!(server.status(&remove).await, 204);
    let mut again = Socket::open(&server).await;
    assert_eq!(again.resume(&welcome, 1).await["reason"], "removed");
}
