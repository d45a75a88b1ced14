//! Row 31: what is taken from somebody ends as media within a second.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bot::Bot;
use crate::server::TestServer;
use crate::{has_enough, streams_of};

/// So long may media go on.
const AT_MOST: Duration = Duration::from_secs(1);

async fn api(server: &TestServer, method: &str, path: &str, body: &str) {
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 204"), "{response}");
}

fn packets(bot: &Bot, mark: u8) -> usize {
    streams_of(bot, mark).iter().map(|stream| stream.marks.len()).sum()
}

/// Nothing of `mark` arrives any more, from a second after `act` on. Before, it did.
async fn ends<F: Future<Output = ()>>(bot: &mut Bot, mark: u8, act: F) {
    bot.until("packets", |bot| has_enough(bot, mark)).await;
    let before = packets(bot, mark);
    bot.until("more packets", |bot| packets(bot, mark) > before).await;
    act.await;
    tokio::time::sleep(AT_MOST).await;
    let after = packets(bot, mark);
    tokio::time::sleep(AT_MOST).await;
    assert_eq!(packets(bot, mark), after, "media went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_whoever_may_not_publish_any_more_is_not_forwarded() {
    let server = TestServer::start_with(2).await;
    let ada = Bot::join(&server, "r", 1).await;
    let mut bob = Bot::join(&server, "r", 2).await;
    let path = format!("/api/rooms/r/participants/{}", ada.identity);
    let body = r#"{"permissions":{"can_publish":false}}"#;
    ends(&mut bob, 1, api(&server, "PATCH", &path, body)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_whoever_may_not_subscribe_any_more_receives_nothing() {
    let server = TestServer::start_with(2).await;
    let _ada = Bot::join(&server, "r", 1).await;
    let mut bob = Bot::join(&server, "r", 2).await;
    let path = format!("/api/rooms/r/participants/{}", bob.identity);
    let body = r#"{"permissions":{"can_subscribe":false}}"#;
    ends(&mut bob, 1, api(&server, "PATCH", &path, body)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_whoever_was_sent_away_is_neither_heard_nor_shown_anything() {
    let server = TestServer::start_with(2).await;
    let mut ada = Bot::join(&server, "r", 1).await;
    let mut bob = Bot::join(&server, "r", 2).await;
    ada.until("packets", |ada| has_enough(ada, 2)).await;
    let path = format!("/api/rooms/r/participants/{}", ada.identity);
    ends(&mut bob, 1, api(&server, "DELETE", &path, "")).await;
    let after = packets(&ada, 2);
    tokio::time::sleep(AT_MOST).await;
    assert_eq!(packets(&ada, 2), after, "she is shown nothing");
}
