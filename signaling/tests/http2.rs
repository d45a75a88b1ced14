//! Requests over HTTP/2 that are answered without their bodies.

use crate::harness::*;
use axum::http::Request;
use signaling::auth::TokenRequest;
use std::future::poll_fn;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// RFC 9113 section 8.1: a server may answer before it has everything, and reset the stream with NO_ERROR then. curl 7.88 tells of an error.
#[tokio::test]
async fn a_refused_request_over_http2_is_answered_after_its_body() {
    let server = keyed();
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let to = |method: &str, path: &str| {
        let uri = format!("http://{}{path}", server.address);
        Request::builder().method(method).uri(uri).body(()).unwrap()
    };
    for (method, size) in [("DELETE", 2), ("PATCH", 20_000), ("DELETE", 40_000)] {
        let (response, mut body) = client.send_request(to(method, "/api/rooms/r"), false).unwrap();
        sleep(Duration::from_millis(100)).await;
        body.send_data(vec![b' '; size].into(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 401, "{method}");
        let reset = poll_fn(|context| body.poll_reset(context));
        let reset = timeout(Duration::from_millis(100), reset).await;
        assert!(reset.is_err(), "{method}: {reset:?}");
    }
    // What is done without it, and what is read only so far.
    let make =
        token_with(|token| TokenRequest { room_create: true, room: None, identity: None, ..token });
    for (method, path, bearer, size, status) in
        [("DELETE", "/api/rooms/r", admin("r"), 2, 404), ("POST", "/api/rooms", make, 200_000, 413)]
    {
        let mut request = to(method, path);
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {bearer}").parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        let (response, mut body) = client.send_request(request, false).unwrap();
        sleep(Duration::from_millis(100)).await;
        body.send_data(vec![b' '; size].into(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), status, "{method}");
        let reset = poll_fn(|context| body.poll_reset(context));
        let reset = timeout(Duration::from_millis(100), reset).await;
        assert!(reset.is_err(), "{method}: {reset:?}");
    }
    // Who does not go on is answered, too.
    let (response, _body) = client.send_request(to("DELETE", "/api/rooms/r"), false).unwrap();
    let response = timeout(PATIENCE, response).await;
    assert_eq!(response.unwrap().unwrap().status(), 401);
}
