//! WHIP as RFC 9725 has it: one case for each MUST that concerns a server, named by its section.

use crate::harness::*;

const NEW: (&str, &str) = ("wxyz", "9876543210987654321098");

#[tokio::test]
async fn section_4_1_a_get_is_answered_2xx_without_content() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    for path in ["/whip/r", created.header("location")] {
        for method in ["GET", "HEAD"] {
            let response = server.send(&format!("{method} {path}"), "").await;
            assert_eq!((response.status, response.body.as_str()), (204, ""), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn section_4_2_an_offer_is_answered_201_with_sdp_and_location() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    assert_eq!(created.header("content-type"), "application/sdp");
    let id = created.header("location").strip_prefix("/whip/r/").unwrap();
    // Section 5: nobody may guess it. 22 characters of 6 bits.
    assert!(id.len() >= 22, "{id}");
    let other = server.session("/whip/r", &publisher()).await;
    assert_ne!(other.header("location"), created.header("location"));
    assert!(created.body.starts_with("v=0\r\n"));
    assert_eq!(attribute(&created.body, "setup"), "passive");
}

#[tokio::test]
async fn section_4_2_another_type_or_malformed_sdp_is_a_4xx() {
    let server = open();
    for (headers, body, expected) in [
        ("", publisher(), 415),
        ("Content-Type: text/plain", publisher(), 415),
        (FRAGMENT, publisher(), 415),
        (SDP, String::new(), 400),
        (SDP, "v=0".to_owned(), 400),
        (SDP, publisher().replace("a=ice-ufrag:abcd\r\n", ""), 400),
        (SDP, "x".repeat(300_000), 413),
    ] {
        let response = server.send(&format!("POST /whip/r\n{headers}"), &body).await;
        assert_eq!(response.status, expected, "{headers} {response:?}");
    }
    let parameters = "Content-Type: Application/SDP; charset=utf-8";
    assert_eq!(server.send(&format!("POST /whip/r\n{parameters}"), &publisher()).await.status, 201);
}

#[tokio::test]
async fn section_4_2_the_answer_is_recvonly_and_other_directions_are_refused() {
    let server = open();
    for direction in ["sendonly", "sendrecv"] {
        let offer = description("actpass", direction, &[AUDIO, VIDEO]);
        let created = server.session("/whip/r", &offer).await;
        for section in sections(&created.body) {
            assert!(section.contains("a=recvonly"), "{section}");
        }
    }
    for direction in ["recvonly", "inactive"] {
        let offer = description("actpass", direction, &[AUDIO, VIDEO]);
        assert_eq!(server.send(&format!("POST /whip/r\n{SDP}"), &offer).await.status, 400);
    }
}

#[tokio::test]
async fn section_4_2_delete_ends_the_session() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let location = created.header("location");
    assert_eq!(server.status("DELETE /whip/r/guess").await, 404);
    assert_eq!(server.status(&format!("DELETE {location}")).await, 200);
    for method in ["DELETE", "PATCH", "GET"] {
        assert_eq!(server.status(&format!("{method} {location}")).await, 404, "{method}");
    }
}

#[tokio::test]
async fn section_4_2_options_are_answered_200_with_accept_post_and_cors() {
    let server = keyed();
    for path in ["/whip/r", "/whip/r/anything"] {
        let request = format!(
            "OPTIONS {path}\nOrigin: https://a.example\nAccess-Control-Request-Method: PATCH"
        );
        let response = server.send(&request, "").await;
        assert_eq!(response.status, 200, "without a token");
        assert_eq!(response.header("accept-post"), "application/sdp");
        assert_eq!(response.header("access-control-allow-origin"), "*");
        for method in ["POST", "PATCH", "DELETE"] {
            assert!(response.header("access-control-allow-methods").contains(method));
        }
        for name in ["authorization", "content-type", "if-match"] {
            assert!(response.header("access-control-allow-headers").contains(name));
        }
        for name in ["location", "link", "etag"] {
            assert!(response.header("access-control-expose-headers").contains(name));
        }
        assert!(response.find("link").is_none(), "section 4.6: no credentials in a preflight");
    }
}

#[tokio::test]
async fn section_4_3_1_the_entity_tag_is_strong_and_ignored_by_delete() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let tag = created.header("etag");
    assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let other = server.session("/whip/r", &publisher()).await;
    assert_ne!(other.header("etag"), tag);
    let location = created.header("location");
    assert_eq!(server.status(&format!("DELETE {location}\nIf-Match: \"stale\"")).await, 200);
}

#[tokio::test]
async fn section_4_3_1_another_type_or_a_malformed_fragment_is_a_4xx() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let (location, tag) = (created.header("location"), created.header("etag"));
    for (headers, body, expected) in [
        ("Content-Type: text/plain", fragment(UFRAG, PASSWORD), 415),
        (SDP, publisher(), 415),
        (FRAGMENT, "hello".to_owned(), 400),
        (FRAGMENT, "a=candidate:nonsense".to_owned(), 400),
        (FRAGMENT, "a=ice-ufrag:wxyz".to_owned(), 400),
    ] {
        let request = format!("PATCH {location}\n{headers}\nIf-Match: {tag}");
        let response = server.send(&request, &body).await;
        assert_eq!(response.status, expected, "{headers} {body} {response:?}");
    }
}

#[tokio::test]
async fn section_4_3_1_a_missing_tag_is_428_and_a_stale_one_412() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let location = created.header("location");
    for (header, expected) in [
        ("", 428),
        ("If-Match: \"stale\"", 412),
        (&format!("If-Match: W/{}", created.header("etag")), 412),
    ] {
        let request = format!("PATCH {location}\n{FRAGMENT}\n{header}");
        let response = server.send(request.trim_end(), &fragment(UFRAG, PASSWORD)).await;
        assert_eq!(response.status, expected, "{header}");
    }
    // A restart under a stale tag comes too late as well.
    let request = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: \"stale\"");
    assert_eq!(server.send(&request, &fragment(NEW.0, NEW.1)).await.status, 412);
}

#[tokio::test]
async fn section_4_3_2_the_answer_lists_all_candidates() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    assert!(attribute(&created.body, "candidate").contains("127.0.0.1"));
    assert!(created.body.contains("a=end-of-candidates"));
}

#[tokio::test]
async fn section_4_3_2_trickled_candidates_are_answered_204_without_body_and_tag() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let (location, tag) = (created.header("location"), created.header("etag"));
    // One of the candidates has a transport that nobody speaks and a name that nobody resolves: silently discarded.
    for body in [fragment(UFRAG, PASSWORD), "a=end-of-candidates\r\n".to_owned()] {
        let request = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: {tag}");
        let response = server.send(&request, &body).await;
        assert_eq!((response.status, response.body.as_str()), (204, ""));
        assert_eq!(response.find("etag"), None);
    }
}

#[tokio::test]
async fn section_4_3_3_new_credentials_restart_ice() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let (location, tag) = (created.header("location"), created.header("etag"));
    let request = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: *");
    let response = server.send(&request, &fragment(NEW.0, NEW.1)).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), "application/trickle-ice-sdpfrag");
    assert_ne!(response.header("etag"), tag);
    for name in ["ice-ufrag", "ice-pwd"] {
        assert_ne!(attribute(&response.body, name), attribute(&created.body, name));
    }
    // The same ice-lite and ice-options as in the answer.
    assert!(created.body.contains("a=ice-lite") && response.body.contains("a=ice-lite"));
    let options = |sdp: &str| attribute(sdp, "ice-options").to_owned();
    assert_eq!(options(&response.body), options(&created.body));
    assert!(response.body.contains("a=mid:0") && response.body.contains("a=candidate:"));
    // The old tag is stale now, the new one is not.
    let patch = |tag: &str| format!("PATCH {location}\n{FRAGMENT}\nIf-Match: {tag}");
    let trickled = fragment(NEW.0, NEW.1);
    assert_eq!(server.send(&patch(tag), &trickled).await.status, 412);
    assert_eq!(server.send(&patch(response.header("etag")), &trickled).await.status, 204);
}

#[tokio::test]
async fn section_4_3_3_a_failed_restart_keeps_the_session() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let (location, tag) = (created.header("location"), created.header("etag"));
    let restart = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: *");
    let response = server.send(&restart, &fragment(UFRAG, NEW.1)).await;
    assert_eq!(response.status, 422, "a restart changes both");
    assert_eq!(server.send(&restart, "a=ice-ufrag:wxyz\r\na=ice-pwd:short").await.status, 400);
    let trickle = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: {tag}");
    assert_eq!(server.send(&trickle, &fragment(UFRAG, PASSWORD)).await.status, 204);
}

#[tokio::test]
async fn section_4_3_3_new_credentials_are_a_restart_whatever_the_condition_that_holds() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    let (location, tag) = (created.header("location"), created.header("etag"));
    // The example of the section has the asterisk in quotes.
    for (condition, ice) in [(tag, NEW), ("\"*\"", ("mnop", "1234567890123456789012"))] {
        let request = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: {condition}");
        let response = server.send(&request, &fragment(ice.0, ice.1)).await;
        assert_eq!(response.status, 200, "{condition}: {response:?}");
    }
}

#[tokio::test]
async fn section_4_4_1_everything_is_in_one_bundle_with_rtcp_mux_only() {
    let server = open();
    let created = server.session("/whip/r", &publisher()).await;
    assert_eq!(attribute(&created.body, "group"), "BUNDLE 0 1");
    for section in sections(&created.body) {
        assert!(section.contains("a=rtcp-mux\r\n") && section.contains("a=rtcp-mux-only"));
    }
    let unbundled = publisher().replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
    for offer in [unbundled, publisher().replace("a=rtcp-mux\r\n", "")] {
        assert_eq!(server.send(&format!("POST /whip/r\n{SDP}"), &offer).await.status, 400);
    }
}

#[tokio::test]
async fn section_4_4_2_two_tracks_of_a_kind_are_refused_with_a_sentence() {
    let server = open();
    for media in [&[AUDIO, AUDIO][..], &[AUDIO, VIDEO, VIDEO]] {
        let offer = description("actpass", "sendonly", media);
        let response = server.send(&format!("POST /whip/r\n{SDP}"), &offer).await;
        assert_eq!(response.status, 400);
        assert!(response.body.contains("at most one of each"), "{}", response.body);
    }
    for media in [AUDIO, VIDEO] {
        server.session("/whip/r", &description("actpass", "sendonly", &[media])).await;
    }
}

#[tokio::test]
async fn section_4_4_3_no_offer_is_answered_in_part() {
    let server = open();
    let foreign = "video 9 UDP/TLS/RTP/SAVPF 96|a=rtpmap:96 theora/90000\r\n";
    let text = "text 9 UDP/TLS/RTP/SAVPF 98|a=rtpmap:98 t140/1000\r\n";
    for other in [foreign, text] {
        let offer = description("actpass", "sendonly", &[AUDIO, other]);
        let response = server.send(&format!("POST /whip/r\n{SDP}"), &offer).await;
        assert_eq!(response.status, 400, "{response:?}");
    }
    assert_eq!(
        server.send(&format!("POST /whep/r\n{SDP}"), &viewer()).await.status,
        409,
        "nothing"
    );
}

#[tokio::test]
async fn section_4_4_4_every_dtls_role_is_answered() {
    let server = open();
    for (setup, expected) in [("actpass", "passive"), ("active", "passive"), ("passive", "active")]
    {
        let offer = description(setup, "sendonly", &[AUDIO, VIDEO]);
        let created = server.session("/whip/r", &offer).await;
        assert_eq!(attribute(&created.body, "setup"), expected);
    }
}

#[tokio::test]
async fn section_4_5_under_load_503_says_when_to_come_again() {
    let server = open();
    server.session("/whip/r", &publisher()).await;
    // 200 participants fill a room.
    for _ in 1..200 {
        server.session("/whip/r", &publisher()).await;
    }
    let response = server.send(&format!("POST /whip/r\n{SDP}"), &publisher()).await;
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn section_4_6_ice_servers_are_links() {
    let server = with_ice_servers();
    let created = server.session("/whip/r", &publisher()).await;
    let ice_servers = |response: &Response| -> Vec<String> {
        let links = response.all("link").into_iter().filter(|link| link.contains("ice-server"));
        links.map(str::to_owned).collect()
    };
    assert_eq!(
        ice_servers(&created),
        [
            "<stun:a.example>; rel=\"ice-server\"",
            "<turn:a.example?transport=udp>; rel=\"ice-server\"; username=\"user\"; credential=\"secret\"; credential-type=\"password\"",
        ]
    );
    assert_eq!(ice_servers(&open().session("/whip/r", &publisher()).await), [""; 0]);
    let told = server.send("GET /ice-servers?room=r", "").await;
    let turn =
        r#"{"urls":["turn:a.example?transport=udp"],"username":"user","credential":"secret"}"#;
    assert_eq!(told.body, format!(r#"[{{"urls":["stun:a.example"]}},{turn}]"#));
    let keyed = keyed();
    assert_eq!(keyed.status("GET /ice-servers?room=r").await, 401);
    for (room, status) in [("r", 200), ("s", 403)] {
        let bearer = format!("Authorization: Bearer {}", token("r", "ada"));
        assert_eq!(keyed.status(&format!("GET /ice-servers?room={room}\n{bearer}")).await, status);
    }
}

#[tokio::test]
async fn section_4_7_every_request_needs_the_token() {
    let server = keyed();
    let own = token("r", "cam");
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let post = |token: &str| format!("POST /whip/r\n{SDP}\n{}", bearer(token));
    for (token, expected) in [("", 401), ("nonsense", 401), (&token("other", "cam"), 403)] {
        let response = server.send(&post(token), &publisher()).await;
        assert_eq!(response.status, expected, "{response:?}");
        assert_eq!(response.find("www-authenticate").is_some(), expected == 401);
    }
    let created = server.send(&post(&own), &publisher()).await;
    assert_eq!(created.status, 201);
    let (location, tag) = (created.header("location"), created.header("etag"));
    let others = token("r", "somebody");
    for (token, patched, deleted) in [("", 401, 401), (&others, 404, 404), (&own, 204, 200)] {
        let auth = bearer(token);
        let patch = format!("PATCH {location}\n{FRAGMENT}\nIf-Match: {tag}\n{auth}");
        assert_eq!(server.send(&patch, &fragment(UFRAG, PASSWORD)).await.status, patched);
        assert_eq!(server.status(&format!("DELETE {location}\n{auth}")).await, deleted);
    }
}

#[tokio::test]
async fn section_4_8_simulcast_by_rid_is_accepted() {
    let server = open();
    let offer = description("actpass", "sendonly", &[AUDIO, SIMULCAST]);
    let created = server.session("/whip/r", &offer).await;
    assert!(created.body.contains("a=rid:q recv\r\n") && created.body.contains("a=rid:f recv\r\n"));
    assert_eq!(attribute(&created.body, "simulcast"), "recv q;f");
}

/// Ours: WHIP has no events.
#[tokio::test]
async fn events_tell_a_publisher_how_many_watch_and_that_another_took_its_place() {
    let server = open();
    let created = server.session("/whip/r?identity=cam", &publisher()).await;
    let location = created.header("location");
    let rel = "urn:ietf:params:whip:ext:core:server-sent-events";
    let announced = format!(
        "<{location}/sse>; rel=\"{rel}\"; events=\"published_layers,reconnect,replaced,viewercount\""
    );
    assert_eq!(created.all("link"), [announced]);
    let post = format!("POST {location}/sse\n{JSON}");
    assert_eq!(server.send(&post, "[\"layers\"]").await.status, 400, "that is for viewers");
    let made = server.send(&post, "").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.header("location").starts_with(&format!("{location}/sse/")));
    let mut stream = server.begin(&format!("GET {}", made.header("location")), "").await;
    let mut seen = String::new();
    read_until(&mut stream, &mut seen, "event: viewercount\ndata: {\"viewercount\":0}").await;
    server.session("/whip/r?identity=cam", &publisher()).await;
    read_until(&mut stream, &mut seen, "event: replaced\ndata: {}").await;
    assert!(!seen.contains("active") && !seen.contains("event: reconnect"), "{seen}");
}

#[tokio::test]
async fn without_keys_an_encoder_can_say_who_it_is_and_come_back() {
    let server = open();
    let first = server.session("/whip/r?identity=cam&name=Stage", &publisher()).await;
    server.session("/whip/r?identity=cam", &publisher()).await;
    let request = format!("GET {}", first.header("location"));
    // The older one is told of in its own task.
    let gone = async {
        while server.status(&request).await != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    for query in ["identity=", "identity=%0a", "name=%00"] {
        let request = format!("POST /whip/r?{query}\n{SDP}");
        assert_eq!(server.send(&request, &publisher()).await.status, 400, "{query}");
    }
}
