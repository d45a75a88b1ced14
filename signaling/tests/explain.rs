//! `GET /api/rooms/{room}/explain` of a whole server.

use crate::harness::*;
use serde_json::Value;

#[tokio::test]
async fn a_room_is_explained_to_programs_on_this_machine() {
    let server = open();
    server.session("/whip/r?identity=cam&name=Camera", &publisher()).await;
    server.session("/whep/r", &viewer()).await;
    let response = server.send("GET /api/rooms/r/explain", "").await;
    assert_eq!((response.status, response.header("content-type")), (200, "application/json"));
    let report: Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(report["room"], "r");
    let [publisher, viewer] = report["participants"].as_array().unwrap().as_slice() else {
        panic!("two participants: {report}")
    };
    assert_eq!((&publisher["identity"], &publisher["name"]), (&"cam".into(), &"Camera".into()));
    assert_eq!(publisher["published"].as_array().unwrap().len(), 2);
    assert_eq!(publisher["tracks"], serde_json::json!([]), "it is shown nothing");
    assert!(viewer.get("identity").is_none(), "nobody is told who watches");
    let tracks = viewer["tracks"].as_array().unwrap();
    assert_eq!(tracks.len(), 2);
    for track in tracks {
        assert_eq!(track["measured"], 0, "the workers were asked twice: {track}");
        assert_eq!(track["participant"], publisher["participant"]);
        assert!(track["shown"].is_null() && track["limit"].is_null(), "nothing is known: {track}");
    }
    assert_eq!((&publisher["connected"], &viewer["connected"]), (&false.into(), &false.into()));
}

#[tokio::test]
async fn a_muted_track_is_explained_to_whom_it_is_not_shown() {
    let server = open();
    server.session("/whip/r?identity=cam", &publisher()).await;
    server.session("/whep/r", &viewer()).await;
    let tracks = server.send("GET /api/rooms/r/tracks", "").await.body;
    let tracks: Value = serde_json::from_str(&tracks).unwrap();
    for track in tracks["tracks"].as_array().unwrap() {
        let patch =
            format!("PATCH /api/rooms/r/tracks/{}\n{JSON}", track["track"].as_str().unwrap());
        assert_eq!(server.send(&patch, "{\"muted\":true}").await.status, 204);
    }
    let report = server.send("GET /api/rooms/r/explain", "").await.body;
    let report: Value = serde_json::from_str(&report).unwrap();
    let tracks = report["participants"][1]["tracks"].as_array().unwrap();
    assert_eq!(tracks.len(), 2);
    for track in tracks {
        assert_eq!(
            (&track["limit"], &track["muted"]),
            (&"publisher_not_sending".into(), &true.into())
        );
    }
}

#[tokio::test]
async fn an_unknown_room_is_404_with_a_sentence() {
    let server = open();
    for room in ["r", "a%20b"] {
        let response = server.send(&format!("GET /api/rooms/{room}/explain"), "").await;
        assert_eq!(response.status, 404);
        assert!(response.body.contains("no such room"), "{response:?}");
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let server = open();
    let proxied = "GET /api/rooms/r/explain\nVia: 1.1 proxy";
    assert_eq!(server.status(proxied).await, 403);
}

#[tokio::test]
async fn with_keys_a_token_to_manage_the_room_opens_it() {
    let server = keyed();
    let explain = "GET /api/rooms/r/explain";
    let bearer = |token: &str| format!("{explain}\nAuthorization: Bearer {token}");
    assert_eq!(server.status(explain).await, 401);
    assert_eq!(server.status(&bearer(&token("r", "x"))).await, 403, "joining is not managing");
    assert_eq!(server.status(&bearer(&admin("other"))).await, 403);
    assert_eq!(server.status(&bearer(&admin("r"))).await, 404, "nobody is there");
    let post = format!("POST /whip/r\n{SDP}\nAuthorization: Bearer {}", token("r", "cam"));
    assert_eq!(server.send(&post, &publisher()).await.status, 201);
    assert_eq!(server.status(&bearer(&admin("r"))).await, 200);
}
