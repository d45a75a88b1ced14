//! Participants that come by one offer and go by one request: WHIP publishers (RFC 9725) and WHEP viewers (draft-ietf-wish-whep).

use super::participant::{OFFER_VALID, Participant, Signaling};
use super::presence::slots_granted;
use super::publishing::guessed_source;
use super::watching::{Scene, Viewing, Watch};
use super::{MAX_VIEWERS, Refusal, Room, RoomReport};
use crate::auth::Grant;
use crate::negotiation::{Changes, LocalMedia, Negotiation, Wishes};
use crate::protocol::{ErrorCode, ParticipantId};
use crate::sdp::{self, IceFragment, NegotiatedCodec, Offer, SectionKind};
use std::sync::Arc;
use std::time::Instant;

/// Which way the media goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpRole {
    /// WHIP: every sending section becomes a track.
    Publisher,
    /// WHEP: every receiving section becomes a slot; nobody is told about the viewer.
    Viewer,
}

impl HttpRole {
    /// First part of its addresses.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Publisher => "whip",
            Self::Viewer => "whep",
        }
    }
}

/// Who wants in.
#[derive(Clone, Debug)]
pub(crate) struct HttpJoin {
    pub(crate) role: HttpRole,
    /// Of a viewer.
    pub(crate) watch: Watch,
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) grant: Grant,
    pub(crate) sdp: String,
}

/// An ICE session of a participant: its name is the entity tag, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceSession {
    pub(crate) tag: String,
}

/// What somebody is let in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// The SDP answer, or an offer of ours.
    pub(crate) sdp: String,
    /// It is an offer.
    pub(crate) counter_offer: bool,
    pub(crate) ice: IceSession,
}

/// The precondition of a `PATCH` (RFC 9110 section 13.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// `*`
    Any,
    /// Strong entity tags without their quotes.
    Tags(Vec<String>),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// As asked.
    Done,
    /// The precondition does not hold, so nothing was done.
    Stale,
    /// ICE was restarted: our side as a fragment.
    Restarted { fragment: String, ice: IceSession },
    /// What there is.
    Report(Box<RoomReport>),
}

/// For somebody who is not here any more.
pub(super) fn gone() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "There is no such session; it may have ended.")
}

/// RFC 9725 sections 4.2 and 4.4: one bundle, at most one audio and one video track, each in the one possible direction. All or nothing.
fn check_offer(role: HttpRole, offer: &Offer) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(ErrorCode::BadSdp, text));
    let sections = offer.sections.iter().filter(|section| !section.rejected);
    let (mut audio, mut video) = (0, 0);
    for section in sections {
        match section.kind {
            SectionKind::Audio => audio += 1,
            SectionKind::Video => video += 1,
            SectionKind::Application => continue,
            SectionKind::Other => {
                return refuse("Offer audio and video only; nothing else is forwarded.".to_owned());
            }
        }
        let (right, words) = match role {
            HttpRole::Publisher => (section.direction.sends(), "sendonly or sendrecv to publish"),
            HttpRole::Viewer => (section.direction.receives(), "recvonly or sendrecv to watch"),
        };
        if !right {
            let number = section.index + 1;
            return refuse(format!("Section {number} of the offer has to be {words}."));
        }
    }
    if audio > 1 || video > 1 {
        let text = format!(
            "The offer has {audio} audio and {video} video sections; at most one of each is taken. \
             Open a session for each further track."
        );
        return refuse(text);
    }
    Ok(())
}

impl Room {
    /// Answers the offer and lets the participant in, or does neither.
    pub(super) fn join_over_http(
        &mut self,
        now: Instant,
        id: ParticipantId,
        join: HttpJoin,
        local: Arc<LocalMedia>,
    ) -> Result<Joined, Refusal> {
        let HttpJoin { role, watch, identity, name, grant, sdp } = join;
        let publisher = role == HttpRole::Publisher;
        let bad_sdp = |error: sdp::SdpError| Refusal::new(ErrorCode::BadSdp, error.to_string());
        let offer = sdp::parse_offer(&sdp).map_err(bad_sdp)?;
        check_offer(role, &offer)?;
        self.check_door_over_http(&identity, &grant)?;
        if !publisher {
            self.check_viewer(&watch)?;
        }
        let granted = slots_granted(&grant.permissions, Some(1), Some(1));
        let mut participant =
            Participant::new(id, identity, name, grant, Signaling::Http(now), local, &mut self.rng);
        if publisher {
            for section in offer.sections.iter().filter(|section| section.is_live()) {
                let kind = section.media_kind().map(crate::negotiation::kind_of);
                kind.map_or(Ok(()), |kind| participant.check_publishes(guessed_source(kind)))?;
            }
        } else {
            participant.hidden = true;
            participant.viewing = Some(Viewing::new(watch));
            participant.max = granted;
            participant.sections = granted;
        }
        let wishes = Wishes {
            publishes: &|_, _| publisher,
            encrypted: &|_| false,
            dtx: &|_| false,
            slots: participant.sections,
            over_http: true,
        };
        let (sdp, changes) = participant
            .negotiation
            .handle_offer(&sdp, &participant.local, &wishes, &mut self.rng)
            .map_err(bad_sdp)?;
        let wanted = offer.sections.iter().filter(|s| s.is_live() && s.media_kind().is_some());
        let taken = changes.published.len() + changes.opened_slots.len();
        let complete = taken > 0 && taken == wanted.count();
        let fits = publisher || (complete && self.is_showable(&participant, &changes));
        if !fits {
            return self.counter_offer(now, participant, &offer);
        }
        if !complete {
            let text = "The offer has a section on which you send in no format that this server forwards, or none at all.";
            return Err(Refusal::new(ErrorCode::BadSdp, text));
        }
        if publisher {
            self.make_place(&participant.identity)?;
        }
        let ice = IceSession { tag: participant.negotiation.ice_tag().to_owned() };
        self.admit(participant);
        self.carry_out(now, id, changes, Vec::new(), None);
        Ok(Joined { sdp, counter_offer: false, ice })
    }

    /// Of every kind that the viewer offers to receive and that is there, something can be shown.
    fn is_showable(&self, viewer: &Participant, changes: &Changes) -> bool {
        let Some(viewing) = &viewer.viewing else { return false };
        let scene = Scene::new(&self.participants, &self.tracks, &self.stage);
        changes.opened_slots.iter().all(|slot| {
            let mut live = scene.matching(&viewing.watch).filter(|(_, kind)| *kind == slot.kind);
            let mut live = live.by_ref().filter_map(|(id, _)| self.tracks.get(&id)).peekable();
            live.peek().is_none() || live.any(|track| !track.mappings(&slot.section).is_empty())
        })
    }

    /// Lets a viewer in on our terms: an offer of what is live, of the kinds for which it asked.
    fn counter_offer(
        &mut self,
        now: Instant,
        mut viewer: Participant,
        offer: &Offer,
    ) -> Result<Joined, Refusal> {
        let Some(viewing) = &viewer.viewing else { return Err(gone()) };
        let scene = Scene::new(&self.participants, &self.tracks, &self.stage);
        let mut sections = Vec::new();
        for section in offer.sections.iter().filter(|section| section.is_live()) {
            let Some(kind) = section.media_kind() else { continue };
            let live = scene.matching(&viewing.watch).filter_map(|(id, _)| self.tracks.get(&id));
            let same = live.filter(|track| track.section.kind == kind);
            let mut formats: Vec<&NegotiatedCodec> = Vec::new();
            for format in same.flat_map(|track| &track.section.codecs) {
                if !formats.iter().any(|known| known.spec == format.spec) {
                    formats.push(format);
                }
            }
            if !formats.is_empty() {
                sections.push((kind, formats));
            }
        }
        let refuse = |text: &str| Refusal::new(ErrorCode::BadSdp, text);
        if sections.is_empty() {
            return Err(refuse("The offer has no section on which you receive what is live here."));
        }
        let wanted = sdp::wanted_offer(&sections)
            .map_err(|_| refuse("What is live here cannot be offered to you."))?;
        // What came of the client's own offer is forgotten.
        viewer.negotiation = Negotiation::new(viewer.local.worker, &mut self.rng);
        let wishes = Wishes {
            publishes: &|_, _| false,
            encrypted: &|_| false,
            dtx: &|_| false,
            slots: viewer.sections,
            over_http: true,
        };
        let local = viewer.local.clone();
        let sdp = viewer.negotiation.counter_offer(&wanted, &local, &wishes, &mut self.rng);
        viewer.answer_by = Some(now + OFFER_VALID);
        let ice = IceSession { tag: viewer.negotiation.ice_tag().to_owned() };
        self.admit(viewer);
        Ok(Joined { sdp, counter_offer: true, ice })
    }

    /// The answer to our offer: from here on the viewer is like any other.
    pub(super) fn answer_offer(
        &mut self,
        now: Instant,
        id: ParticipantId,
        sdp: &str,
    ) -> Result<(), Refusal> {
        let participant = self.participants.get_mut(&id).ok_or_else(gone)?;
        if participant.answer_by.is_none() {
            let text = "There is no offer to answer; send application/trickle-ice-sdpfrag.";
            return Err(Refusal::new(ErrorCode::BadState, text));
        }
        let changes = participant
            .negotiation
            .accept(sdp, &mut self.rng)
            .map_err(|error| Refusal::new(ErrorCode::BadSdp, error.to_string()))?;
        participant.answer_by = None;
        participant.signaling = Signaling::Http(now);
        self.carry_out(now, id, changes, Vec::new(), None);
        Ok(())
    }

    fn check_viewer(&self, watch: &Watch) -> Result<(), Refusal> {
        let scene = Scene::new(&self.participants, &self.tracks, &self.stage);
        if scene.matching(watch).next().is_none() {
            let text = match watch {
                Watch::Room => "Nobody publishes in this room now.",
                Watch::Participant(_) => "This participant publishes nothing now.",
                Watch::Track(_) => "There is no such track in this room now.",
            };
            return Err(Refusal::new(ErrorCode::NotFound, text));
        }
        if self.participants.values().filter(|p| p.is_viewer()).count() >= MAX_VIEWERS {
            let text = format!("The room has {MAX_VIEWERS} viewers already.");
            return Err(Refusal::new(ErrorCode::Limit, text));
        }
        Ok(())
    }

    /// RFC 9725 section 4.3: other credentials than before are an ICE restart, all else is news of candidates, which an ICE-lite
    /// side needs not. Refused, it changes nothing.
    pub(super) fn patch_ice(
        &mut self,
        id: ParticipantId,
        if_match: &IfMatch,
        fragment: IceFragment,
    ) -> Result<Reply, Refusal> {
        let participant = self.participants.get_mut(&id).ok_or_else(gone)?;
        let negotiation = &mut participant.negotiation;
        if let IfMatch::Tags(tags) = if_match
            && !tags.iter().any(|tag| tag == negotiation.ice_tag())
        {
            return Ok(Reply::Stale);
        }
        let (Some(before), Some(transport)) = (negotiation.remote_ice(), participant.transport)
        else {
            let text = "Answer the offer first, with a PATCH of application/sdp.";
            return Err(Refusal::new(ErrorCode::BadState, text));
        };
        let Some(ice) = fragment.ice.filter(|ice| ice != before) else { return Ok(Reply::Done) };
        // RFC 8839 section 4.4.1.1.1: a restart changes both.
        if ice.ufrag == before.ufrag || ice.password == before.password {
            let text =
                "An ICE restart changes both ice-ufrag and ice-pwd; the session goes on as before.";
            return Err(Refusal::new(ErrorCode::BadSdp, text));
        }
        let restarted = negotiation.restart_ice(ice, &participant.local, &mut self.rng);
        let (change, fragment) = restarted.ok_or_else(gone)?;
        let ice = IceSession { tag: negotiation.ice_tag().to_owned() };
        self.restart_ice(transport.id, change);
        Ok(Reply::Restarted { fragment, ice })
    }
}
