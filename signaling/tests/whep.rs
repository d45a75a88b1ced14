//! WHEP as draft-ietf-wish-whep-04 and the core extensions have it (signaling/PROTOCOL.md says which text was read): one case for each
//! MUST that concerns a server, named by its section (of the extensions: `sse` and `layer`). What WHEP shares with WHIP is repeated where a route of its own could get it wrong.

use crate::harness::*;

const NEW: (&str, &str) = ("wxyz", "9876543210987654321098");
const SSE: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYER: &str = "urn:ietf:params:whep:ext:core:layer";

/// A server on which somebody publishes in room `r`.
async fn live() -> Server {
    let server = open();
    server.session("/whip/r?identity=cam", &publisher()).await;
    server
}

#[tokio::test]
async fn section_4_1_a_get_is_answered_2xx_without_content() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    for path in ["/whep/r", created.header("location")] {
        let response = server.send(&format!("GET {path}"), "").await;
        assert!((200..300).contains(&response.status) && response.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn section_4_2_head_says_that_sdp_is_taken_here() {
    let server = open();
    for method in ["HEAD", "GET"] {
        let response = server.send(&format!("{method} /whep/r"), "").await;
        assert_eq!((response.status, response.body.as_str()), (200, ""), "{method}");
        assert_eq!(response.header("content-type"), "application/sdp", "{method}");
    }
}

#[tokio::test]
async fn section_4_3_1_an_offer_is_answered_201_with_sdp_and_location() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    assert_eq!(created.header("content-type"), "application/sdp");
    assert!(created.header("location").strip_prefix("/whep/r/").unwrap().len() >= 22);
    assert!(created.header("etag").starts_with('"'));
}

#[tokio::test]
async fn section_4_3_2_an_offer_that_fits_nothing_gets_one_of_ours() {
    let server = live().await;
    let post = format!("POST /whep/r\n{SDP}");
    let response = server.send(&post, &description("actpass", "recvonly", &[AUDIO, H264])).await;
    assert_eq!(response.status, 406, "{response:?}");
    assert_eq!(response.header("content-type"), "application/sdp");
    let location = response.header("location");
    let offer = &response.body;
    assert_eq!(attribute(offer, "setup"), "actpass");
    assert_eq!(attribute(offer, "group"), "BUNDLE 0 1");
    assert!(offer.contains("VP8/90000") && !offer.contains("H264"), "{offer}");
    for section in sections(offer) {
        assert!(section.contains("a=sendonly") && section.contains("a=ssrc:"), "{section}");
        assert!(section.contains("a=ice-ufrag:") && section.contains("a=msid:"));
    }
    // ICE cannot be patched yet, and the wrong type is still one.
    let patch = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: *");
    assert_eq!(server.send(&patch, &fragment(NEW.0, NEW.1)).await.status, 422);
    let patch = |kind: &str| format!("PATCH {location}\n{kind}");
    for malformed in ["hello".to_owned(), viewer()] {
        let refused = server.send(&patch(SDP), &malformed).await;
        assert_eq!(refused.status, 400, "malformed, or an answer that is none: {refused:?}");
    }
    let payload_type = |section: usize| {
        let line = sections(offer)[section].lines().next().unwrap().to_owned();
        line.split(' ').nth(3).unwrap().to_owned()
    };
    let audio = AUDIO.replace("111", &payload_type(0));
    let video = VIDEO.replace("96", &payload_type(1));
    let answer = description("active", "recvonly", &[&audio, &video]);
    let accepted = server.send(&patch(SDP), &answer).await;
    assert_eq!((accepted.status, accepted.body.as_str()), (204, ""), "{accepted:?}");
    assert_eq!(server.send(&patch(SDP), &answer).await.status, 422, "section 4.5.1: once");
    let trickle = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: {}", response.header("etag"));
    assert_eq!(server.send(&trickle, &fragment(UFRAG, PASSWORD)).await.status, 204);
    assert_eq!(server.status(&format!("DELETE {location}")).await, 200);
}

#[tokio::test]
async fn section_4_3_2_h265_is_shown_to_whom_it_fits_and_offered_to_others() {
    let server = open();
    let h265 =
        |number: u8| format!("video 9 UDP/TLS/RTP/SAVPF {number}|a=rtpmap:{number} H265/90000\r\n");
    let offer = description("actpass", "sendonly", &[AUDIO, &h265(96)]);
    let created = server.session("/whip/r", &offer).await;
    assert!(created.body.contains("a=rtpmap:96 H265/90000\r\n"), "{}", created.body);
    let created =
        server.session("/whep/r", &description("actpass", "recvonly", &[&h265(49)])).await;
    assert!(created.body.contains("a=rtpmap:49 H265/90000\r\n"), "{}", created.body);
    let countered = server.send(&format!("POST /whep/r\n{SDP}"), &viewer()).await;
    assert_eq!(countered.status, 406);
    assert!(countered.body.contains("H265/90000"), "{}", countered.body);
}

#[tokio::test]
async fn section_4_3_4_a_viewer_may_take_a_part_of_our_offer_but_not_nothing() {
    let server = live().await;
    let post = format!("POST /whep/r\n{SDP}");
    let offered = server.send(&post, &description("actpass", "recvonly", &[AUDIO, H264])).await;
    assert_eq!(offered.status, 406, "{offered:?}");
    let patch = format!("PATCH {}\n{SDP}", offered.header("location"));
    let payload_type = |section: usize| {
        let line = sections(&offered.body)[section].lines().next().unwrap().to_owned();
        line.split(' ').nth(3).unwrap().to_owned()
    };
    let audio = AUDIO.replace("111", &payload_type(0));
    let video = VIDEO.replace("96", &payload_type(1)).replace("video 9", "video 0");
    let sound = description("active", "recvonly", &[&audio, &video]);
    let nothing = sound.replace("m=audio 9", "m=audio 0");
    for (answer, expected) in [(nothing, 400), (sound.replace("BUNDLE 0 1", "BUNDLE 0"), 204)] {
        let response = server.send(&patch, &answer).await;
        assert_eq!(response.status, expected, "{response:?}");
    }
}

#[tokio::test]
async fn section_4_3_5_another_type_is_415_and_malformed_sdp_a_4xx() {
    let server = live().await;
    for (headers, body, expected) in [
        ("", viewer(), 415),
        (JSON, viewer(), 415),
        (SDP, "v=0".to_owned(), 400),
        (SDP, viewer().replace("a=setup:actpass\r\n", ""), 400),
        (SDP, "x".repeat(300_000), 413),
    ] {
        let response = server.send(&format!("POST /whep/r\n{headers}"), &body).await;
        assert_eq!(response.status, expected, "{headers} {response:?}");
    }
}

#[tokio::test]
async fn section_4_3_6_the_answer_is_sendonly_and_other_directions_are_refused() {
    let server = live().await;
    for direction in ["recvonly", "sendrecv"] {
        let offer = description("actpass", direction, &[AUDIO, VIDEO]);
        let created = server.session("/whep/r", &offer).await;
        for section in sections(&created.body) {
            assert!(section.contains("a=sendonly"), "{section}");
        }
    }
    for direction in ["sendonly", "inactive"] {
        let offer = description("actpass", direction, &[AUDIO, VIDEO]);
        assert_eq!(server.send(&format!("POST /whep/r\n{SDP}"), &offer).await.status, 400);
    }
}

#[tokio::test]
async fn section_4_3_9_where_nobody_publishes_409_says_when_to_come_again() {
    let server = open();
    let response = server.send(&format!("POST /whep/r\n{SDP}"), &viewer()).await;
    assert_eq!(response.status, 409);
    assert!(response.header("retry-after").parse::<u32>().unwrap() > 0);
    let publisher = server.session("/whip/r?identity=cam", &publisher()).await;
    server.session("/whep/r", &viewer()).await;
    for query in ["participant=nobody", "track=t99"] {
        let request = format!("POST /whep/r?{query}\n{SDP}");
        assert_eq!(server.send(&request, &viewer()).await.status, 409, "{query}");
    }
    for query in ["track=7", "participant=a&track=t1"] {
        let request = format!("POST /whep/r?{query}\n{SDP}");
        assert_eq!(server.send(&request, &viewer()).await.status, 400, "{query}");
    }
    server.session("/whep/r?participant=cam", &viewer()).await;
    server.session("/whep/r?track=t1", &viewer()).await;
    server.status(&format!("DELETE {}", publisher.header("location"))).await;
    let response = server.send(&format!("POST /whep/r\n{SDP}"), &viewer()).await;
    assert_eq!(response.status, 409, "viewers alone are nothing to view");
}

#[tokio::test]
async fn section_4_4_delete_ends_the_session_and_options_announce_the_type() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    let location = created.header("location");
    assert_eq!(server.status(&format!("DELETE {location}\nIf-Match: \"stale\"")).await, 200);
    assert_eq!(server.status(&format!("DELETE {location}")).await, 404);
    let options = server.send("OPTIONS /whep/r", "").await;
    assert_eq!((options.status, options.header("accept-post")), (200, "application/sdp"));
}

#[tokio::test]
async fn section_4_5_patches_trickle_and_restart_under_conditions() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    let (location, tag) = (created.header("location"), created.header("etag"));
    let patch = |kind: &str, header: &str| format!("PATCH {location}\n{kind}\n{header}");
    let own = format!("If-Match: {tag}");
    let same = fragment(UFRAG, PASSWORD);
    for (request, body, expected) in [
        (patch(JSON, &own), same.as_str(), 415),
        (patch(SDP, &own), &viewer(), 422),
        (patch(FRAGMENT, &own), "hello", 400),
        (patch(FRAGMENT, "X-No: condition"), &same, 428),
        (patch(FRAGMENT, "If-Match: \"stale\""), &same, 412),
        (patch(FRAGMENT, "If-Match: *"), &fragment(UFRAG, NEW.1), 422),
    ] {
        assert_eq!(server.send(&request, body).await.status, expected, "{request}");
    }
    let trickled = server.send(&patch(FRAGMENT, &own), &same).await;
    assert_eq!((trickled.status, trickled.body.as_str()), (204, ""));
    assert_eq!(trickled.find("etag"), None);
    let restarted = server.send(&patch(FRAGMENT, "If-Match: *"), &fragment(NEW.0, NEW.1)).await;
    assert_eq!(restarted.status, 200);
    assert_eq!(restarted.header("content-type"), "application/trickle-ice-sdpfrag");
    assert_ne!(restarted.header("etag"), tag);
    assert_ne!(attribute(&restarted.body, "ice-pwd"), attribute(&created.body, "ice-pwd"));
    assert!(restarted.body.contains("a=ice-lite\r\n"));
    assert_eq!(server.send(&patch(FRAGMENT, &own), &same).await.status, 412);
}

#[tokio::test]
async fn section_4_6_one_bundle_with_one_stream_of_one_track_for_each_kind() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    assert_eq!(attribute(&created.body, "group"), "BUNDLE 0 1");
    let msids: Vec<&str> = sections(&created.body)
        .into_iter()
        .map(|section| {
            assert!(section.contains("a=rtcp-mux\r\n") && section.contains("a=rtcp-mux-only"));
            attribute(section, "msid").split(' ').next().unwrap()
        })
        .collect();
    assert_eq!(msids.len(), 2);
    assert_eq!(msids[0], msids[1]);
    let two = description("actpass", "recvonly", &[AUDIO, VIDEO, VIDEO]);
    assert_eq!(server.send(&format!("POST /whep/r\n{SDP}"), &two).await.status, 400);
}

#[tokio::test]
async fn section_4_9_every_request_needs_the_token() {
    let server = keyed();
    let bearer = |identity: &str| format!("Authorization: Bearer {}", token("r", identity));
    let publish = format!("POST /whip/r\n{SDP}\n{}", bearer("cam"));
    assert_eq!(server.send(&publish, &publisher()).await.status, 201);
    let view = format!("POST /whep/r\n{SDP}");
    assert_eq!(server.send(&view, &viewer()).await.status, 401);
    let created = server.send(&format!("{view}\n{}", bearer("ada")), &viewer()).await;
    assert_eq!(created.status, 201);
    let location = created.header("location");
    for path in ["", "/sse", "/layer"] {
        let method = if path.is_empty() { "PATCH" } else { "POST" };
        let request = format!("{method} {location}{path}\n{JSON}");
        assert_eq!(server.status(&request).await, 401, "{path}");
        assert_eq!(server.status(&format!("{request}\n{}", bearer("eve"))).await, 404, "{path}");
    }
    // The address of a stream is secret enough: `EventSource` cannot send a token.
    let made = server.send(&format!("POST {location}/sse\n{}", bearer("ada")), "").await;
    assert_eq!(made.status, 201);
    let mut stream = server.begin(&format!("GET {}", made.header("location")), "").await;
    read_until(&mut stream, &mut String::new(), "event: active").await;
    assert_eq!(server.status(&format!("DELETE {location}\n{}", bearer("ada"))).await, 200);
}

#[tokio::test]
async fn section_4_10_the_201_announces_the_extensions() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    let (links, location) = (created.all("link"), created.header("location"));
    let events = "events=\"active,inactive,layers,reconnect,status,viewercount\"";
    let expected = [
        format!("<{location}/sse>; rel=\"{SSE}\"; {events}"),
        format!("<{location}/layer>; rel=\"{LAYER}\""),
    ];
    assert_eq!(links, expected);
}

#[tokio::test]
async fn sse_only_known_events_can_be_wanted() {
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    let post = format!("POST {}/sse", created.header("location"));
    for (headers, body, expected) in [
        (JSON, "[\"active\",\"scte35\"]", 400),
        (JSON, "{}", 400),
        (JSON, "nonsense", 400),
        ("X: y", "[\"active\"]", 415),
        (JSON, "[\"active\"]", 201),
        ("X: y", "", 201),
        (JSON, "", 201),
        (JSON, "[]", 201),
        (JSON, "", 503),
    ] {
        let response = server.send(&format!("{post}\n{headers}"), body).await;
        assert_eq!(response.status, expected, "{headers} {body} {response:?}");
    }
}

#[tokio::test]
async fn sse_a_stream_tells_what_was_wanted_until_it_is_deleted() {
    let server = open();
    let offer = description("actpass", "sendonly", &[AUDIO, SIMULCAST]);
    let publisher = server.session("/whip/r?identity=cam", &offer).await;
    let created = server.session("/whep/r", &viewer()).await;
    let location = created.header("location");
    let wanted = "[\"active\",\"inactive\",\"layers\"]";
    let made = server.send(&format!("POST {location}/sse\n{JSON}"), wanted).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = made.header("location").to_owned();
    let mut stream = server.begin(&format!("GET {path}"), "").await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "\"rid\":\"f\"").await;
    read_until(&mut stream, &mut seen, "\"rid\":\"q\"").await;
    assert!(seen.contains("event: layers\ndata: {\"1\":[{"), "{seen}");
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    assert!(seen.contains("event: active\ndata: {}"), "{seen}");
    server.status(&format!("DELETE {}", publisher.header("location"))).await;
    read_until(&mut stream, &mut seen, "event: inactive\ndata: {}").await;
    // The publisher comes back: nobody has to do anything.
    server.session("/whip/r?identity=cam", &offer).await;
    seen.clear();
    read_until(&mut stream, &mut seen, "event: active\ndata: {}").await;
    assert!(!seen.contains("viewercount"), "not wanted");
    assert_eq!(server.status(&format!("DELETE {path}")).await, 204);
    assert_eq!(server.status(&format!("GET {path}")).await, 404);
    assert_eq!(server.status(&format!("DELETE {path}")).await, 404);
}

#[tokio::test]
async fn sse_status_says_to_whoever_wants_it_why_nothing_is_shown() {
    use tokio::io::AsyncReadExt as _;
    let server = live().await;
    let created = server.session("/whep/r", &viewer()).await;
    let location = created.header("location");
    let post = format!("POST {location}/sse\n{JSON}");
    let mut streams = Vec::new();
    for wanted in ["[\"status\"]", "[\"active\",\"inactive\"]"] {
        let made = server.send(&post, wanted).await;
        streams.push(server.begin(&format!("GET {}", made.header("location")), "").await);
    }
    let mute = format!("PATCH /api/rooms/r/tracks/t2\n{JSON}");
    assert_eq!(server.send(&mute, "{\"muted\":true}").await.status, 204);
    let mut seen = String::new();
    read_until(&mut streams[0], &mut seen, "\"wanted\":null}").await;
    let (_, data) = seen.split_once("event: status\ndata: ").unwrap();
    let status: serde_json::Value = serde_json::from_str(data.lines().next().unwrap()).unwrap();
    let expected = serde_json::json!({"track": "t2", "wanted": null, "shown": null,
        "limit": "publisher_not_sending", "needed": 0, "available": 0});
    assert_eq!(status, expected);
    assert!(!seen.contains("event: active"), "not wanted");
    server.status(&format!("DELETE {location}")).await;
    let mut seen = String::new();
    streams[1].read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("event: active") && !seen.contains("event: status"), "{seen}");
}

#[tokio::test]
async fn sse_streams_end_with_their_session_and_say_reconnect_at_a_shutdown() {
    use tokio::io::AsyncReadExt as _;
    let server = live().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let created = server.session("/whep/r", &viewer()).await;
        let location = created.header("location").to_owned();
        let made = server.send(&format!("POST {location}/sse"), "").await;
        let path = made.header("location").to_owned();
        let mut stream = server.begin(&format!("GET {path}"), "").await;
        read_until(&mut stream, &mut String::new(), "event: viewercount\ndata: {\"viewercount\":")
            .await;
        streams.push((location, path, stream));
    }
    let (location, path, mut stream) = streams.pop().unwrap();
    assert_eq!(server.status(&format!("DELETE {location}")).await, 200);
    let mut rest = String::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut rest)).await;
    end.unwrap().unwrap();
    assert!(!rest.contains("reconnect"), "{rest}");
    assert_eq!(server.status(&format!("GET {path}")).await, 404);
    let (_, _, mut stream) = streams.pop().unwrap();
    server.shutdown.cancel();
    read_until(&mut stream, &mut String::new(), "event: reconnect").await;
}

#[tokio::test]
async fn layer_what_is_there_can_be_chosen() {
    let server = open();
    let offer = description("actpass", "sendonly", &[AUDIO, SIMULCAST]);
    server.session("/whip/r", &offer).await;
    let created = server.session("/whep/r", &viewer()).await;
    let post = format!("POST {}/layer", created.header("location"));
    for (headers, body, expected) in [
        (JSON, "{\"mediaId\":\"1\",\"rid\":\"q\"}", 200),
        (JSON, "{\"rid\":\"f\",\"maxTemporalLayerId\":0}", 200),
        (JSON, "{\"mediaId\":\"1\"}", 200),
        (JSON, "{\"rid\":\"h\"}", 422),
        (JSON, "{\"mediaId\":\"0\",\"rid\":\"q\"}", 422),
        (JSON, "{\"maxHeight\":180}", 422),
        (JSON, "nonsense", 400),
        ("X: y", "{}", 415),
    ] {
        let response = server.send(&format!("{post}\n{headers}"), body).await;
        assert_eq!(response.status, expected, "{headers} {body} {response:?}");
    }
    let audio = server.session("/whep/r", &description("actpass", "recvonly", &[AUDIO])).await;
    let post = format!("POST {}/layer\n{JSON}", audio.header("location"));
    assert_eq!(server.send(&post, "{}").await.status, 422, "no video");
}
