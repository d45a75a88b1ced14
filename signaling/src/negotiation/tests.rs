//! Offers in every order, as text, with the answers read back.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::{FakePeer, Way, direction, section};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sfu::params::FingerprintHash;

struct Server {
    negotiation: Negotiation,
    rng: StdRng,
    local: LocalMedia,
    announced: Vec<String>,
    /// The section whose payloads are sealed.
    encrypted: String,
    dtx: String,
    slots: MediaSections,
}

impl Server {
    fn new() -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let fingerprint = Fingerprint { hash: FingerprintHash::Sha256, digest: vec![7; 32] };
        let candidates = vec!["192.0.2.1:8080".parse().unwrap()];
        Self {
            negotiation: Negotiation::new(WorkerId(0), &mut rng),
            rng,
            local: LocalMedia {
                worker: WorkerId(0),
                fingerprint,
                candidates,
                tcp_candidates: Vec::new(),
            },
            announced: Vec::new(),
            encrypted: String::new(),
            dtx: String::new(),
            slots: MediaSections { audio: 4, video: 4 },
        }
    }

    fn try_offer(&mut self, peer: &FakePeer) -> Result<(String, Changes), SdpError> {
        let announced = std::mem::take(&mut self.announced);
        let wishes = Wishes {
            publishes: &|mid, _| announced.iter().any(|known| known == mid),
            encrypted: &|mid| self.encrypted == mid,
            dtx: &|mid| self.dtx == mid,
            slots: self.slots,
            over_http: false,
        };
        self.negotiation.handle_offer(&peer.offer(), &self.local, &wishes, &mut self.rng)
    }

    fn offer(&mut self, peer: &FakePeer) -> (String, Changes) {
        self.try_offer(peer).unwrap()
    }
}

const VP8: &[&str] = &["VP8"];

fn mids(opened: &[OpenedSlot]) -> Vec<(&str, u16)> {
    opened.iter().map(|slot| (slot.mid.as_str(), slot.pair)).collect()
}

#[test]
fn the_first_offer_makes_transport_tracks_and_slots() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let microphone = peer.add(Kind::Audio, Way::Send, &[]);
    let secret = peer.add(Kind::Video, Way::Send, VP8);
    let slots =
        [Kind::Audio, Kind::Video, Kind::Video].map(|kind| peer.add(kind, Way::Receive, VP8));
    server.announced.push(microphone.clone());
    let (answer, changes) = server.offer(&peer);
    let Some(TransportChange::Create(params)) = &changes.transport else { panic!("a transport") };
    assert_eq!(params.remote_ice.ufrag, "abcd");
    assert!(params.sctp.is_some());
    assert!(params.local_ice.ufrag.len() >= 8 && params.local_ice.password.len() >= 24);
    assert!(answer.contains(&format!("a=ice-ufrag:{}\r\n", params.local_ice.ufrag)));
    assert_eq!(direction(&answer, &microphone), "recvonly");
    assert_eq!(direction(&answer, &secret), "inactive", "it was not announced");
    assert!(slots.iter().all(|mid| direction(&answer, mid) == "sendonly"));
    assert_eq!(changes.published.len(), 1);
    assert_eq!(mids(&changes.opened_slots), [("3", 0), ("4", 0), ("5", 1)]);
    assert_eq!(changes.extensions.unwrap().len(), 2);
    // One stream for the pair, another for the second picture.
    assert!(section(&answer, "3").contains("a=msid:s0 "));
    assert!(section(&answer, "4").contains("a=msid:s0 "));
    assert!(section(&answer, "5").contains("a=msid:s1 "));
}

#[test]
fn the_same_offer_again_changes_nothing() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    server.announced.push(peer.add(Kind::Video, Way::Send, VP8));
    let slot = peer.add(Kind::Video, Way::Receive, VP8);
    let (first, _) = server.offer(&peer);
    let (second, changes) = server.offer(&peer);
    let text = format!("{changes:?}");
    assert_eq!(text, format!("{:?}", Changes::default()));
    assert_eq!(section(&first, &slot), section(&second, &slot), "a slot never changes");
    assert_ne!(first, second, "o= counts the version");
}

#[test]
fn sections_go_and_come_back_with_new_ssrcs() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let mid = peer.add(Kind::Video, Way::Receive, VP8);
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let (_, changes) = server.offer(&peer);
        let slot = &changes.opened_slots[0].slot;
        assert!(seen.insert(slot.ssrc) && seen.insert(slot.rtx_ssrc.unwrap()), "never used again");
        peer.section(&mid).way = Way::Inactive;
        let (answer, changes) = server.offer(&peer);
        assert_eq!(direction(&answer, &mid), "inactive");
        assert_eq!(changes.closed_slots, [mid.as_str()]);
        peer.section(&mid).way = Way::Receive;
    }
}

#[test]
fn what_is_known_of_ssrcs_has_a_limit() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let camera = peer.add(Kind::Video, Way::Send, VP8);
    let slot = peer.add(Kind::Video, Way::Receive, VP8);
    server.announced.push(camera.clone());
    for ssrc in 0..2 * OFFERED_SSRCS_MAX as u32 {
        peer.section(&camera).ssrc = 5000 + ssrc;
        server.offer(&peer);
    }
    assert_eq!(server.negotiation.offered_ssrcs.len(), 1, "older ones are the client's alone");
    assert_eq!(server.negotiation.own_ssrcs.len(), 2);
    let again = |server: &mut Server, peer: &mut FakePeer, way| {
        peer.section(&slot).way = way;
        server.try_offer(peer)
    };
    for _ in 1..OWN_SSRCS_MAX / 2 {
        again(&mut server, &mut peer, Way::Inactive).unwrap();
        again(&mut server, &mut peer, Way::Receive).unwrap();
    }
    again(&mut server, &mut peer, Way::Inactive).unwrap();
    let error = again(&mut server, &mut peer, Way::Receive).unwrap_err();
    assert!(error.message.contains("join again"), "{error}");
    again(&mut server, &mut peer, Way::Inactive).unwrap();
    // Eight SSRCs in each section.
    let offer = |server: &mut Server, sections: usize| {
        let mut peer = FakePeer::new();
        (0..sections).for_each(|_| drop(peer.add(Kind::Audio, Way::Send, &[])));
        let mut text = peer.offer();
        for section in &peer.sections {
            let eight: Vec<_> = (0..8).map(|n| (section.ssrc * 8 + n).to_string()).collect();
            let group = format!("a=ssrc-group:SIM {}\r\n", eight.join(" "));
            text = text.replace(&format!("a=ssrc:{} cname:c\r\n", section.ssrc), &group);
        }
        let wishes = Wishes {
            publishes: &|_, _| false,
            encrypted: &|_| false,
            dtx: &|_| false,
            slots: server.slots,
            over_http: false,
        };
        let Server { negotiation, local, rng, .. } = server;
        negotiation.handle_offer(&text, local, &wishes, rng)
    };
    let mut server = Server::new();
    offer(&mut server, OFFERED_SSRCS_MAX / 8).unwrap();
    let error = offer(&mut server, OFFERED_SSRCS_MAX / 8 + 1).unwrap_err();
    assert!(error.message.contains("SSRCs"), "{error}");
}

#[test]
fn a_stopped_section_ends_what_it_carried_and_its_line_may_be_used_again() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let camera = peer.add(Kind::Video, Way::Send, VP8);
    let slot = peer.add(Kind::Video, Way::Receive, VP8);
    server.announced.push(camera.clone());
    server.offer(&peer);
    peer.section(&camera).way = Way::Stopped;
    peer.section(&slot).way = Way::Stopped;
    let (answer, changes) = server.offer(&peer);
    assert_eq!(direction(&answer, &camera), "rejected");
    assert_eq!(changes.unpublished, [camera.as_str()]);
    assert_eq!(changes.closed_slots, [slot.as_str()]);
    // RFC 9429 section 5.2.2: another m-line may take the place of a stopped one, under a new mid.
    peer.section(&camera).mid = "9".into();
    peer.section("9").way = Way::Receive;
    let (answer, changes) = server.offer(&peer);
    assert_eq!(direction(&answer, "9"), "sendonly");
    assert_eq!(mids(&changes.opened_slots), [("9", 0)]);
}

#[test]
fn no_more_slots_than_wanted() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    server.slots = MediaSections { audio: 0, video: 1 };
    let [first, second] = [0, 1].map(|_| peer.add(Kind::Video, Way::Receive, VP8));
    let audio = peer.add(Kind::Audio, Way::Receive, &[]);
    let (answer, _) = server.offer(&peer);
    assert_eq!(direction(&answer, &first), "sendonly");
    assert_eq!(direction(&answer, &second), "inactive");
    assert_eq!(direction(&answer, &audio), "inactive");
    server.slots.video = 2;
    let (answer, changes) = server.offer(&peer);
    assert_eq!(direction(&answer, &second), "sendonly");
    assert_eq!(mids(&changes.opened_slots), [("2", 1)]);
}

#[test]
fn only_one_format_is_taken_from_a_publisher_and_all_are_kept_for_a_slot() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let camera = peer.add(Kind::Video, Way::Send, &["VP9", "VP8", "H264"]);
    peer.add(Kind::Video, Way::Receive, &["VP9", "VP8", "H264"]);
    server.announced.push(camera.clone());
    let (answer, changes) = server.offer(&peer);
    assert_eq!(changes.published[0].1.codecs.len(), 1);
    assert_eq!(changes.published[0].1.codecs[0].spec.name(), "VP9");
    assert!(!section(&answer, &camera).contains("VP8"));
    assert_eq!(changes.opened_slots[0].section.codecs.len(), 3);
}

#[test]
fn another_format_or_encoding_is_a_republication() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let camera = peer.add(Kind::Video, Way::Send, VP8);
    server.announced.push(camera.clone());
    server.offer(&peer);
    peer.section(&camera).rids = vec!["q", "h", "f"];
    let (_, changes) = server.offer(&peer);
    assert_eq!(changes.republished[0].1.encodings.len(), 3);
    assert!(changes.published.is_empty() && changes.unpublished.is_empty());
}

#[test]
fn a_slot_with_other_formats_is_another_slot() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let mid = peer.add(Kind::Video, Way::Receive, VP8);
    let before = server.offer(&peer).1.opened_slots.remove(0);
    peer.section(&mid).codecs = vec!["H264"];
    let (_, changes) = server.offer(&peer);
    assert_eq!(changes.closed_slots, [mid]);
    assert_ne!(changes.opened_slots[0].slot.ssrc, before.slot.ssrc);
    assert_eq!(changes.opened_slots[0].pair, before.pair);
}

#[test]
fn new_ice_credentials_restart_ice_and_nothing_else() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    peer.add(Kind::Video, Way::Receive, VP8);
    server.offer(&peer);
    let before = server.negotiation.local_ice.clone();
    peer.ufrag = "efgh".into();
    let (answer, changes) = server.offer(&peer);
    let Some(TransportChange::RestartIce { local, remote }) = changes.transport else {
        panic!("a restart")
    };
    assert_eq!(remote.ufrag, "efgh");
    assert_ne!(local.ufrag, before.ufrag);
    assert!(answer.contains(&local.ufrag) && !answer.contains(&before.ufrag));
    assert!(changes.opened_slots.is_empty() && changes.closed_slots.is_empty());
}

#[test]
fn the_dtls_role_of_the_first_offer_stays() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    peer.add(Kind::Video, Way::Receive, VP8);
    peer.setup = "passive";
    assert!(server.offer(&peer).0.contains("a=setup:active"));
    peer.setup = "actpass";
    assert!(server.offer(&peer).0.contains("a=setup:active"));
}

#[test]
fn a_refused_offer_leaves_no_trace() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let camera = peer.add(Kind::Video, Way::Send, VP8);
    let slot = peer.add(Kind::Video, Way::Receive, VP8);
    server.announced.push(camera.clone());
    server.offer(&peer);
    let before = format!("{:?}", server.negotiation.slots) + &server.negotiation.local_ice.password;
    let ours = server.negotiation.slots[&slot].slot.ssrc;
    let mut bad = peer.clone();
    bad.ufrag = "efgh".into();
    bad.section(&camera).ssrc = ours;
    let error = server.try_offer(&bad).unwrap_err();
    assert!(error.message.contains(&ours.to_string()), "{error}");
    let other_certificate = peer.offer().replace("AB:", "AC:");
    let wishes = Wishes {
        publishes: &|_, _| true,
        encrypted: &|_| false,
        dtx: &|_| false,
        slots: server.slots,
        over_http: false,
    };
    let error = server
        .negotiation
        .handle_offer(&other_certificate, &server.local, &wishes, &mut server.rng)
        .unwrap_err();
    assert!(error.message.contains("certificate"), "{error}");
    let after = format!("{:?}", server.negotiation.slots) + &server.negotiation.local_ice.password;
    assert_eq!(before, after);
    assert!(server.offer(&peer).1.transport.is_none());
}

#[test]
fn sendrecv_needs_an_announcement_or_whep() {
    let (mut server, mut peer) = (Server::new(), FakePeer::new());
    let mid = peer.add(Kind::Video, Way::Both, VP8);
    assert_eq!(direction(&server.offer(&peer).0, &mid), "inactive");
    server.announced.push(mid.clone());
    assert_eq!(direction(&server.offer(&peer).0, &mid), "recvonly");
    let mut viewer = Server::new();
    let wishes = Wishes {
        publishes: &|_, _| false,
        encrypted: &|_| false,
        dtx: &|_| false,
        slots: viewer.slots,
        over_http: true,
    };
    let negotiation = &mut viewer.negotiation;
    let (answer, _) =
        negotiation.handle_offer(&peer.offer(), &viewer.local, &wishes, &mut viewer.rng).unwrap();
    assert_eq!(direction(&answer, &mid), "sendonly");
}

#[test]
fn red_is_accepted_beside_opus_and_nothing_else_is() {
    let mut server = Server::new();
    server.announced = vec!["0".to_owned()];
    let offer = include_str!("../../../tests/golden/sdp/chromium_publish_simulcast.sdp");
    let wishes = Wishes {
        publishes: &|mid, _| mid == "0",
        encrypted: &|_| false,
        dtx: &|_| false,
        slots: server.slots,
        over_http: false,
    };
    let (answer, _) =
        server.negotiation.handle_offer(offer, &server.local, &wishes, &mut server.rng).unwrap();
    let audio = section(&answer, "0");
    assert!(audio.contains("opus/48000/2") && audio.contains("red/48000/2"), "{audio}");
    assert!(!audio.contains("PCMU"), "{audio}");
}

#[test]
fn red_is_not_accepted_where_it_would_be_sealed_now_or_later() {
    let mut server = Server::new();
    let mut peer = FakePeer::new();
    let (open, sealed) =
        (peer.add(Kind::Audio, Way::Send, &[]), peer.add(Kind::Audio, Way::Send, &[]));
    server.announced = vec![open.clone(), sealed.clone()];
    server.encrypted.clone_from(&sealed);
    // The second offer announces nothing.
    for _ in 0..2 {
        let (answer, changes) = server.offer(&peer);
        assert!(section(&answer, &open).contains("red/48000/2"), "{answer}");
        let sealed = section(&answer, &sealed);
        assert!(sealed.contains("opus/48000/2") && !sealed.contains("red/"), "{sealed}");
        assert!(changes.republished.is_empty());
    }
}

#[test]
fn silence_is_asked_to_cost_nothing_where_that_was_announced_and_by_later_answers() {
    let mut server = Server::new();
    let mut peer = FakePeer::new();
    let (voice, music) =
        (peer.add(Kind::Audio, Way::Send, &[]), peer.add(Kind::Audio, Way::Send, &[]));
    server.announced = vec![voice.clone(), music.clone()];
    server.dtx.clone_from(&voice);
    for _ in 0..2 {
        let (answer, changes) = server.offer(&peer);
        let fmtp = "a=fmtp:111 minptime=10;useinbandfec=1";
        assert!(section(&answer, &voice).contains(&format!("{fmtp};usedtx=1\r\n")), "{answer}");
        assert!(section(&answer, &music).contains(&format!("{fmtp}\r\n")), "{answer}");
        assert!(changes.republished.is_empty());
        // The second offer announces nothing.
        server.dtx.clear();
    }
}
