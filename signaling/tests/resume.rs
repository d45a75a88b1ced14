//! Sockets that are lost, and participants who go on over others.

use crate::harness::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use signaling::auth::TokenRequest;
use std::collections::BTreeMap;
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

/// Who is in a room, as somebody has been told: what there is to know of each by its id.
struct View {
    socket: Socket,
    welcome: Value,
    last: u64,
    people: BTreeMap<String, Value>,
    ended: bool,
}

impl View {
    async fn join(server: &Server, identity: &str) -> Self {
        let (socket, welcome) = joined(server, identity).await;
        let people = welcome["participants"].as_array().unwrap().iter();
        let people = people.map(|one| (id(one), one.clone())).collect();
        Self { socket, welcome, last: 1, people, ended: false }
    }

    /// Takes one message; `None`: the socket is closed.
    async fn read(&mut self) -> Option<()> {
        let message = self.socket.message().await?;
        if let Some(event) = message["event"].as_u64() {
            assert!(event > self.last, "{message} after {}", self.last);
            self.last = event;
        }
        match message["type"].as_str().unwrap() {
            "participant_joined" => {
                let one = &message["participant"];
                assert!(self.people.insert(id(one), one.clone()).is_none(), "{message}");
            }
            "participant_left" => {
                assert!(self.people.remove(&id(&message)).is_some(), "{message}");
            }
            "participant_updated" if message["participant"] != self.welcome["participant"] => {
                let one = self.people.get_mut(&id(&message)).expect("somebody known");
                for (field, value) in message.as_object().unwrap() {
                    if !["type", "event"].contains(&field.as_str()) {
                        one[field] = value.clone();
                    }
                }
            }
            "room_updated" => self.ended = message["metadata"] == "the end",
            _ => {}
        }
        Some(())
    }

    /// The socket is lost, at any moment; the answer to the first `resume` may be lost too.
    async fn cut(&mut self, server: &Server, twice: bool) {
        for _ in 0..=usize::from(twice) {
            self.socket = Socket::open(server).await;
            let resumed = self.socket.resume(&self.welcome, self.last).await;
            assert_eq!(resumed["type"], "resumed", "{resumed}");
            self.welcome["secret"] = resumed["secret"].clone();
        }
    }

    /// What the others are, without what is empty.
    fn others(&self, but: &[String]) -> BTreeMap<String, Value> {
        let known = self.people.iter().filter(|(id, _)| !but.contains(id));
        known
            .map(|(id, one)| {
                let mut one = one.clone();
                one.as_object_mut().unwrap().retain(|_, value| *value != json!(""));
                (id.clone(), one)
            })
            .collect()
    }
}

fn id(one: &Value) -> String {
    one["participant"].as_str().unwrap().to_owned()
}

/// People come, go, drop out and are renamed, for as long as there are `steps`.
async fn restless(server: Server, steps: usize) {
    let mut rng = StdRng::seed_from_u64(25);
    let mut people: Vec<(String, Socket)> = Vec::new();
    for step in 0..steps {
        let identity = format!("guest{}", rng.random_range(0..8));
        let here = people.iter().position(|(one, _)| *one == identity);
        match here {
            None => people.push((identity.clone(), joined(&server, &identity).await.0)),
            Some(at) if rng.random_bool(0.3) => {
                let (_, mut socket) = people.swap_remove(at);
                // Half of them without a word.
                if rng.random_bool(0.5) {
                    socket.say(json!({"type": "leave"})).await;
                    while socket.message().await.is_some() {}
                }
            }
            Some(_) => {
                let token = admin("r");
                let path = format!("PATCH /api/rooms/r/participants/{identity}");
                let request = format!("{path}\n{JSON}\nAuthorization: Bearer {token}");
                let change =
                    json!({"name": format!("Name {step}"), "metadata": format!("{}", step % 3)});
                let answer = server.send(&request, &change.to_string()).await;
                assert!(answer.status < 300, "{answer:?}");
            }
        }
    }
    tell(&server, "the end").await;
    // They stay until everybody has looked.
    std::mem::forget(people);
}

#[tokio::test]
async fn figure_25_after_random_faults_every_client_sees_what_the_server_has() {
    let server = keyed();
    let mut views = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        views.push(View::join(&server, name).await);
    }
    let watchers: Vec<String> = views.iter().map(|view| id(&view.welcome)).collect();
    let changes = tokio::spawn(restless(at(server.address()), 400));
    let looks = views.into_iter().enumerate().map(|(seed, mut view)| {
        let server = at(server.address());
        tokio::spawn(async move {
            let (mut rng, mut cuts) = (StdRng::seed_from_u64(seed as u64), 0);
            while !view.ended {
                for _ in 0..rng.random_range(0..12) {
                    if view.ended {
                        break;
                    }
                    view.read().await.expect("an open socket");
                }
                view.cut(&server, rng.random_bool(0.2)).await;
                cuts += 1;
            }
            (view, cuts)
        })
    });
    let looks: Vec<_> = looks.collect();
    changes.await.unwrap();
    let fresh = View::join(&server, "dan").await;
    let truth = fresh.others(&watchers);
    assert!(truth.len() >= 2, "{truth:?}");
    for look in looks {
        let (mut view, cuts) = look.await.unwrap();
        assert!(cuts >= 30, "{cuts} cuts");
        // Until it knows who came last.
        while !view.people.contains_key(&id(&fresh.welcome)) {
            view.read().await.expect("an open socket");
        }
        assert_eq!(view.others(&[watchers.clone(), vec![id(&fresh.welcome)]].concat()), truth);
    }
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
