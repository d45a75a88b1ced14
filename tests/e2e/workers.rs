//! A room on two workers: who is on which makes no difference to anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bot::Bot;
use crate::server::TestServer;
use crate::{check_stream, has_enough, streams_of};

const DEADLINE: Duration = Duration::from_secs(20);

/// Peer connections, tracks and slots of each worker, as `/metrics` shows them.
type Census = BTreeMap<(String, String), u64>;

async fn census(server: &TestServer) -> Census {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let mut census = Census::new();
    for line in page.lines() {
        let Some((name, rest)) = line.split_once("{worker=\"") else { continue };
        let Some((worker, value)) = rest.split_once("\"} ") else { continue };
        for noun in ["transports", "producers", "consumers"] {
            if name.ends_with(&format!("_{noun}")) {
                census.insert((noun.to_owned(), worker.to_owned()), value.parse().unwrap());
            }
        }
    }
    assert_eq!(census.len(), 6, "{page}");
    census
}

/// Reads `/metrics`, which is a second behind, until it says so.
async fn until(server: &TestServer, what: &str, done: impl Fn(&Census) -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let census = census(server).await;
        if done(&census) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "waited for {what}: {census:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_on_different_workers_receive_each_other() {
    let server = TestServer::start_with(2).await;
    let mut bots = Vec::new();
    for mark in 1..=3 {
        bots.push(Bot::join(&server, "spread", mark).await);
    }
    let on = |census: &Census, noun: &str, worker: &str| census[&(noun.into(), worker.into())];
    until(&server, "peers on both workers", |census| {
        on(census, "transports", "0") == 2 && on(census, "transports", "1") == 1
    })
    .await;
    for receiver in 0..3 {
        for mark in (1..=3).filter(|mark| usize::from(*mark) != receiver + 1) {
            let what = format!("packets of {mark} at {}", receiver + 1);
            bots[receiver].until(&what, |bot| has_enough(bot, mark)).await;
            let numbers = &bots[usize::from(mark) - 1].numbers;
            let streams = streams_of(&bots[receiver], mark);
            check_stream(&streams[0], mark, numbers["camera"]);
            check_stream(&streams[1], mark, numbers["microphone"]);
        }
    }
    until(&server, "every track on both workers", |census| {
        on(census, "producers", "0") == 6 && on(census, "producers", "1") == 6
    })
    .await;
    let published = |message: &&serde_json::Value| message["type"] == "published";
    let track = bots[0].messages.iter().find(published).expect("a track")["track"].clone();
    let answer = bots[0].request(json!({"type": "unpublish", "track": track})).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    until(&server, "one track less on both workers", |census| {
        on(census, "producers", "0") == 5 && on(census, "producers", "1") == 5
    })
    .await;
    for bot in bots {
        bot.leave().await;
    }
    until(&server, "nothing to be left", |census| census.values().all(|count| *count == 0)).await;
}
