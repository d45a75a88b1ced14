//! Requests over HTTP/2 that are answered without their bodies.

use crate::harness::*;
use axum::http::Request;
use h2::client::SendRequest;
use signaling::auth::TokenRequest;
use std::future::poll_fn;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Long enough for a server that does not wait for the body to answer, and to reset the stream.
const MOMENT: Duration = Duration::from_millis(100);

async fn connect(server: &Server) -> SendRequest<bytes::Bytes> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

fn request(server: &Server, method: &str, path: &str, bearer: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.address))
        .header("authorization", format!("Bearer {bearer}"))
        .header("content-type", "application/json")
        .body(())
        .unwrap()
}

/// RFC 9113 section 8.1: a server may answer before it has everything, and reset the stream with NO_ERROR then. curl 7.88 tells of an error.
#[tokio::test]
async fn a_refused_request_over_http2_is_answered_after_its_body() {
    let server = keyed();
    let mut client = connect(&server).await;
    let make =
        token_with(|token| TokenRequest { room_create: true, room: None, identity: None, ..token });
    for (method, path, bearer, size, status) in [
        ("DELETE", "/api/rooms/r", "nonsense", 2, 401),
        ("PATCH", "/api/rooms/r", "nonsense", 40_000, 401),
        // Done without it.
        ("DELETE", "/api/rooms/r", &admin("r"), 2, 404),
        // Read only so far.
        ("POST", "/api/rooms", &make, 200_000, 413),
    ] {
        let request = request(&server, method, path, bearer);
        let (response, mut body) = client.send_request(request, false).unwrap();
        sleep(MOMENT).await;
        let sent = body.send_data(vec![b' '; size].into(), true);
        assert!(sent.is_ok(), "{method} {status}: {sent:?}");
        let response = timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), status, "{method}");
        let reset = timeout(MOMENT, poll_fn(|context| body.poll_reset(context))).await;
        assert!(reset.is_err(), "{method} {status}: {reset:?}");
    }
}

#[tokio::test]
async fn who_does_not_send_its_body_over_http2_is_answered_too() {
    let server = keyed();
    let request = request(&server, "DELETE", "/api/rooms/r", "nonsense");
    let (response, _body) = connect(&server).await.send_request(request, false).unwrap();
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 401);
}
