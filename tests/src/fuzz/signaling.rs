//! What clients say over HTTP and WebSocket.

use sfu_core::params::{Fingerprint, FingerprintHash, IceCredentials, MediaKind};
use signaling::auth::{Key, Keys};
use signaling::protocol::ClientMessage;
use signaling::sdp::{
    FragmentFrame, LocalDescription, NegotiatedSection, SectionPlan, Slot, parse_candidate,
    parse_ice_fragment, parse_offer, write_answer, write_ice_fragment,
};

/// Longest sentence that a client is told.
const ERROR_MAX: usize = 400;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

fn local() -> LocalDescription {
    LocalDescription {
        ice: IceCredentials { ufrag: "uuuu".into(), password: "p".repeat(22) },
        fingerprint: Fingerprint { hash: FingerprintHash::Sha256, digest: vec![7; 32] },
        candidates: vec![([192, 0, 2, 1], 8080).into()],
        tcp_candidates: vec![([192, 0, 2, 1], 443).into()],
        session_id: 1,
        session_version: 1,
        rtcp_mux_only: true,
    }
}

/// An offer, with the answer that accepts all of it and with the one that accepts nothing.
pub(super) fn sdp_offer(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let offer = match parse_offer(text) {
        Ok(offer) => offer,
        Err(error) => {
            assert!(error.message.len() < ERROR_MAX, "{}", error.message);
            return;
        }
    };
    let accepted = offer.sections.iter().map(|section| {
        if let Some(section) = NegotiatedSection::receive(section) {
            let params = section.producer_params(1, false);
            assert!(!params.encodings.is_empty() && !params.codecs.is_empty());
            return SectionPlan::Receive(section);
        }
        let Some(accepted) = NegotiatedSection::send(section) else {
            return SectionPlan::Application;
        };
        let slot = Slot {
            ssrc: 2 * accepted.index as u32 + 2,
            rtx_ssrc: accepted.has_rtx().then_some(2 * accepted.index as u32 + 3),
            cname: "c".into(),
            stream_id: "s".into(),
            track_id: "t".into(),
        };
        let params = accepted.consumer_params(&slot, true);
        assert!(matches!(params.kind, MediaKind::Audio | MediaKind::Video));
        SectionPlan::Send { section: accepted, slot }
    });
    let accepted: Vec<SectionPlan> = accepted.collect();
    for plan in [&accepted[..], &[]] {
        let answer = write_answer(&offer, &local(), plan);
        let lines = answer.strip_suffix("\r\n").expect("a last line").split("\r\n");
        let mut sections = 0;
        for line in lines {
            assert_eq!(line.as_bytes().get(1), Some(&b'='), "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
            sections += usize::from(line.starts_with("m="));
        }
        assert_eq!(sections, offer.sections.len());
    }
    let fragment = write_ice_fragment(&FragmentFrame::of(&offer), &local());
    parse_ice_fragment(&fragment).expect("what we wrote");
}

/// A fragment of WHIP's PATCH, and a candidate of the WebSocket.
pub(super) fn sdp_fragment(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match parse_ice_fragment(text) {
        Ok(fragment) => assert!(fragment.candidates <= 1024),
        Err(error) => assert!(error.message.len() < ERROR_MAX, "{}", error.message),
    }
    let _ = parse_candidate(text);
}

/// A message of a client: what is understood says the same when it is written again.
pub(super) fn client_message(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match ClientMessage::decode(text) {
        Ok(message) => {
            let again = serde_json::to_string(&message).expect("a message");
            assert_eq!(ClientMessage::decode(&again).as_ref(), Ok(&message), "{again}");
        }
        Err(error) => assert!(error.message.len() < ERROR_MAX, "{}", error.message),
    }
}

/// A bearer token: nobody can make one without the secret.
pub(super) fn token(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let key = Key::secret("0123456789abcdef0123456789abcdef".to_owned()).expect("a key");
    assert!(Keys::new([("k".to_owned(), key)]).check(text).is_err());
}
