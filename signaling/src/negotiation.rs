//! One peer connection as offers made it: what each m-line is used for, and what a new offer changes.
//!
//! Pure: an offer in, an answer and a list of changes out. A refused offer changes nothing. The client is the only offerer, so
//! there is no glare, and WebSocket, WHIP and WHEP share this one answerer (RFC 9429, RFC 8843, RFC 9725).

#[cfg(test)]
mod tests;

use crate::protocol::{Kind, MediaSections};
use crate::random;
use crate::sdp::{
    self, CodecSpec, FragmentFrame, LocalDescription, NegotiatedSection, Offer, SdpError, Section,
    SectionPlan, Setup, Slot,
};
use rand::Rng;
use sfu::WorkerId;
use sfu::params::{
    ExtensionMapping, Fingerprint, IceCredentials, MediaKind, Security, TransportParams,
};
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

/// SSRCs of one description of a client: several of each section that it may have, as some browsers name one where they only receive.
const OFFERED_SSRCS_MAX: usize = 1024;
/// SSRCs that we send with on one peer connection: all slots that a client may have, thirty times anew.
const OWN_SSRCS_MAX: usize = 8192;

/// Our side of every peer connection of a room that lives on one worker.
#[derive(Clone, Debug)]
pub(crate) struct LocalMedia {
    /// Whose candidates these are.
    pub(crate) worker: WorkerId,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// Where media is received, the preferred address first.
    pub candidates: Vec<SocketAddr>,
    /// The same over TCP.
    pub tcp_candidates: Vec<SocketAddr>,
}

/// Which m-lines of an offer are wanted.
pub(crate) struct Wishes<'a> {
    /// Whether a section on which the client sends is to become a track.
    pub(crate) publishes: &'a dyn Fn(&str, Kind) -> bool,
    /// Whether what the client sends on a section is sealed end to end.
    pub(crate) encrypted: &'a dyn Fn(&str) -> bool,
    /// Whether a section that becomes a track is to send next to nothing during silence.
    pub(crate) dtx: &'a dyn Fn(&str) -> bool,
    /// How many slots there may be.
    pub(crate) slots: MediaSections,
    /// By the rules of WHIP and WHEP: a section that both sends and receives may be a slot even if nothing was announced for it, and
    /// answers say `a=rtcp-mux-only`.
    pub(crate) over_http: bool,
}

/// What an accepted offer changed, in the order in which it is to be carried out.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) transport: Option<TransportChange>,
    /// Present when the set of header extensions is another one than before.
    pub(crate) extensions: Option<Vec<ExtensionMapping>>,
    /// Mids on which the client no longer sends.
    pub(crate) unpublished: Vec<String>,
    /// Mids on which it now sends.
    pub(crate) published: Vec<(String, NegotiatedSection)>,
    /// Mids on which it sends in another way than before.
    pub(crate) republished: Vec<(String, NegotiatedSection)>,
    pub(crate) closed_slots: Vec<String>,
    pub(crate) opened_slots: Vec<OpenedSlot>,
}

#[derive(Debug)]
pub(crate) enum TransportChange {
    Create(Box<TransportParams>),
    RestartIce { local: IceCredentials, remote: IceCredentials },
}

/// A sending section of ours as negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenedSlot {
    pub(crate) mid: String,
    pub(crate) kind: Kind,
    /// Slots of both kinds with the same number share one msid stream.
    pub(crate) pair: u16,
    pub(crate) section: NegotiatedSection,
    pub(crate) slot: Slot,
}

/// What stays the same once the first offer was answered.
#[derive(Clone, Debug)]
struct Remote {
    ice: IceCredentials,
    fingerprints: Vec<Fingerprint>,
    setup: Setup,
}

/// The state of one peer connection.
#[derive(Clone, Debug)]
pub(crate) struct Negotiation {
    worker: WorkerId,
    local_ice: IceCredentials,
    cname: String,
    session_id: u64,
    session_version: u64,
    remote: Option<Remote>,
    /// Of the first offer.
    frame: Option<FragmentFrame>,
    published: BTreeMap<String, NegotiatedSection>,
    slots: BTreeMap<String, OpenedSlot>,
    extensions: Vec<ExtensionMapping>,
    /// Every SSRC that we ever sent with: with AES-GCM, one SSRC must never start a second sequence space under the same keys (RFC
    /// 7714 section 9). The client has keys of its own.
    own_ssrcs: HashSet<u32>,
    /// Those of the last offer.
    offered_ssrcs: HashSet<u32>,
}

impl Negotiation {
    /// Of a peer connection that lives on `worker`.
    pub(crate) fn new(worker: WorkerId, rng: &mut impl Rng) -> Self {
        Self {
            worker,
            local_ice: new_ice(worker, rng),
            cname: random::ice_word(rng, 16),
            session_id: rng.random::<u64>() >> 2,
            session_version: 0,
            remote: None,
            frame: None,
            published: BTreeMap::new(),
            slots: BTreeMap::new(),
            extensions: Vec::new(),
            own_ssrcs: HashSet::new(),
            offered_ssrcs: HashSet::new(),
        }
    }

    /// Whether an offer was answered.
    pub(crate) fn is_established(&self) -> bool {
        self.remote.is_some()
    }

    /// What was negotiated for a slot.
    pub(crate) fn slot(&self, mid: &str) -> Option<&OpenedSlot> {
        self.slots.get(mid)
    }

    /// The client no longer publishes there, whatever its next offer says.
    pub(crate) fn unpublish(&mut self, mid: &str) {
        self.published.remove(mid);
    }

    /// Answers an offer.
    pub(crate) fn handle_offer(
        &mut self,
        sdp: &str,
        local: &LocalMedia,
        wishes: &Wishes<'_>,
        rng: &mut impl Rng,
    ) -> Result<(String, Changes), SdpError> {
        let mut offer = sdp::parse_offer(sdp)?;
        let mut next = self.clone();
        let mut changes =
            Changes { transport: next.connect(&mut offer, rng)?, ..Changes::default() };
        next.note_ssrcs(&offer)?;
        let plan = next.plan(&offer, wishes, &mut changes, rng);
        if next.own_ssrcs.len() > OWN_SSRCS_MAX {
            let message = "sections for receiving were opened anew too often; join again with a new peer connection";
            return Err(SdpError { line: None, message: message.to_owned() });
        }
        next.extensions = union_of_extensions(&plan);
        changes.extensions = (next.extensions != self.extensions).then(|| next.extensions.clone());
        next.session_version += 1;
        next.frame.get_or_insert_with(|| FragmentFrame::of(&offer));
        let description = next.describe(local, wishes.over_http);
        let answer = sdp::write_answer(&offer, &description, &plan);
        *self = next;
        Ok((answer, changes))
    }

    /// An offer of ours instead of an answer, for a client that said nothing before: the answer to what it should have offered.
    pub(crate) fn counter_offer(
        &mut self,
        wanted: &Offer,
        local: &LocalMedia,
        wishes: &Wishes<'_>,
        rng: &mut impl Rng,
    ) -> String {
        let plan = self.plan(wanted, wishes, &mut Changes::default(), rng);
        self.session_version += 1;
        sdp::write_counter_offer(wanted, &self.describe(local, wishes.over_http), &plan)
    }

    /// The client's answer to [`Negotiation::counter_offer`]. A section that it does not take is gone.
    pub(crate) fn accept(&mut self, sdp: &str, rng: &mut impl Rng) -> Result<Changes, SdpError> {
        let error = |message: &str| SdpError { line: None, message: message.to_owned() };
        let mut answer = sdp::parse_offer(sdp)?;
        if answer.setup == Setup::ActPass {
            return Err(error("an answer decides about the DTLS roles; answer a=setup:active"));
        }
        let mut next = self.clone();
        let transport = next.connect(&mut answer, rng)?;
        let mut changes = Changes { transport, ..Changes::default() };
        next.note_ssrcs(&answer)?;
        let mut plan = Vec::new();
        for (mid, offered) in std::mem::take(&mut next.slots) {
            let section = answer.section(&mid).filter(|section| section.is_live());
            let Some(section) = section.and_then(NegotiatedSection::send) else { continue };
            let opened = OpenedSlot { section: section.clone(), ..offered };
            plan.push(SectionPlan::Send { section, slot: opened.slot.clone() });
            changes.opened_slots.push(opened.clone());
            next.slots.insert(mid, opened);
        }
        if changes.opened_slots.is_empty() {
            return Err(error("the answer takes nothing of the offer; answer with a=recvonly"));
        }
        next.frame = Some(FragmentFrame::of(&answer));
        next.extensions = union_of_extensions(&plan);
        changes.extensions = Some(next.extensions.clone());
        *self = next;
        Ok(changes)
    }

    fn describe(&self, local: &LocalMedia, rtcp_mux_only: bool) -> LocalDescription {
        LocalDescription {
            ice: self.local_ice.clone(),
            fingerprint: local.fingerprint.clone(),
            candidates: local.candidates.clone(),
            tcp_candidates: local.tcp_candidates.clone(),
            session_id: self.session_id,
            session_version: self.session_version,
            rtcp_mux_only,
        }
    }

    /// Names the ICE session: another one after each restart, never the same twice.
    pub(crate) fn ice_tag(&self) -> &str {
        &self.local_ice.ufrag
    }

    /// The client's credentials, once an offer was answered.
    pub(crate) fn remote_ice(&self) -> Option<&IceCredentials> {
        self.remote.as_ref().map(|remote| &remote.ice)
    }

    /// An ICE restart without an offer: the change to carry out and the fragment that answers it. `None`: there was no first offer.
    pub(crate) fn restart_ice(
        &mut self,
        ice: IceCredentials,
        local: &LocalMedia,
        rng: &mut impl Rng,
    ) -> Option<(TransportChange, String)> {
        let frame = self.frame.as_ref()?;
        self.remote.as_mut()?.ice = ice.clone();
        self.local_ice = new_ice(self.worker, rng);
        let fragment = sdp::write_ice_fragment(frame, &self.describe(local, false));
        Some((TransportChange::RestartIce { local: self.local_ice.clone(), remote: ice }, fragment))
    }

    /// The transport half: the first offer makes it, later ones may restart ICE and nothing else.
    fn connect(
        &mut self,
        offer: &mut Offer,
        rng: &mut impl Rng,
    ) -> Result<Option<TransportChange>, SdpError> {
        let Some(remote) = &mut self.remote else {
            self.remote = Some(Remote {
                ice: offer.ice.clone(),
                fingerprints: offer.fingerprints.clone(),
                setup: offer.setup,
            });
            return Ok(Some(TransportChange::Create(Box::new(TransportParams {
                local_ice: self.local_ice.clone(),
                remote_ice: offer.ice.clone(),
                security: Security::Dtls {
                    role: offer.dtls_role(),
                    fingerprints: offer.fingerprints.clone(),
                },
                sctp: offer.application().and_then(|section| section.sctp),
            }))));
        };
        if remote.fingerprints != offer.fingerprints {
            let message = "another certificate than in the first offer; join again with a new peer connection";
            return Err(SdpError { line: None, message: message.to_owned() });
        }
        // RFC 8842 section 5.5: the roles of an existing association stay, whatever a later offer leaves open.
        offer.setup = remote.setup;
        if remote.ice == offer.ice {
            return Ok(None);
        }
        remote.ice = offer.ice.clone();
        self.local_ice = new_ice(self.worker, rng);
        let (local, remote) = (self.local_ice.clone(), offer.ice.clone());
        Ok(Some(TransportChange::RestartIce { local, remote }))
    }

    fn note_ssrcs(&mut self, offer: &Offer) -> Result<(), SdpError> {
        let ours: HashSet<u32> = self
            .slots
            .values()
            .flat_map(|slot| [Some(slot.slot.ssrc), slot.slot.rtx_ssrc])
            .flatten()
            .collect();
        self.offered_ssrcs.clear();
        let encodings = offer.sections.iter().flat_map(|section| &section.encodings);
        for ssrc in encodings.flat_map(|encoding| [encoding.ssrc, encoding.rtx_ssrc]).flatten() {
            if ours.contains(&ssrc) {
                let message = format!("SSRC {ssrc} is used by a section on which the server sends");
                return Err(SdpError { line: None, message });
            }
            self.offered_ssrcs.insert(ssrc);
        }
        if self.offered_ssrcs.len() > OFFERED_SSRCS_MAX {
            let message = format!("at most {OFFERED_SSRCS_MAX} SSRCs in one description");
            return Err(SdpError { line: None, message });
        }
        Ok(())
    }

    /// Decides about every m-line, and notes what that changes.
    fn plan(
        &mut self,
        offer: &Offer,
        wishes: &Wishes<'_>,
        changes: &mut Changes,
        rng: &mut impl Rng,
    ) -> Vec<SectionPlan> {
        let published = std::mem::take(&mut self.published);
        // First what ends, so that it is in nobody's way.
        let before = std::mem::take(&mut self.slots);
        for (mid, slot) in before {
            let section = offer.section(&mid).or(offer.sections.first().filter(|_| mid.is_empty()));
            let stays = section.is_some_and(|section| {
                section.is_live()
                    && receive(section, &mid, &published, wishes).is_none()
                    && NegotiatedSection::send(section).as_ref() == Some(&slot.section)
            });
            if stays {
                self.slots.insert(mid, slot);
            } else {
                changes.closed_slots.push(mid);
            }
        }
        let mut plans = Vec::with_capacity(offer.sections.len());
        for section in &offer.sections {
            let mid = section.mid.clone().unwrap_or_default();
            let plan = if !section.is_live() {
                SectionPlan::Rejected
            } else if section.sctp.is_some() {
                SectionPlan::Application
            } else if let Some(negotiated) = receive(section, &mid, &published, wishes) {
                match published.get(&mid) {
                    None => changes.published.push((mid.clone(), negotiated.clone())),
                    Some(before) if *before != negotiated => {
                        changes.republished.push((mid.clone(), negotiated.clone()));
                    }
                    Some(_) => {}
                }
                self.published.insert(mid, negotiated.clone());
                SectionPlan::Receive(negotiated)
            } else if let Some(slot) = self.slot_for(section, &mid, wishes, changes, rng) {
                let OpenedSlot { section, slot, .. } = slot.clone();
                SectionPlan::Send { section, slot }
            } else {
                SectionPlan::Inactive
            };
            plans.push(plan);
        }
        let gone = published.into_keys().filter(|mid| !self.published.contains_key(mid));
        changes.unpublished.extend(gone);
        plans
    }

    /// The slot of a receiving section: the one that was there, or a new one while there is need for more.
    fn slot_for(
        &mut self,
        section: &Section,
        mid: &str,
        wishes: &Wishes<'_>,
        changes: &mut Changes,
        rng: &mut impl Rng,
    ) -> Option<&OpenedSlot> {
        if self.slots.contains_key(mid) {
            return self.slots.get(mid);
        }
        let was_one = changes.closed_slots.iter().any(|closed| closed == mid);
        if section.direction.sends() && !wishes.over_http && !was_one {
            return None;
        }
        let negotiated = NegotiatedSection::send(section)?;
        let kind = kind_of(negotiated.kind);
        let same_kind = self.slots.values().filter(|slot| slot.kind == kind);
        let taken: Vec<u16> = same_kind.map(|slot| slot.pair).collect();
        let limit = match kind {
            Kind::Audio => wishes.slots.audio,
            Kind::Video => wishes.slots.video,
        };
        // At most `limit` pairs are taken, so the cap holds by itself.
        let pair = (0..limit).find(|pair| !taken.contains(pair))?;
        let slot = Slot {
            ssrc: self.new_ssrc(rng),
            rtx_ssrc: negotiated.has_rtx().then(|| self.new_ssrc(rng)),
            cname: self.cname.clone(),
            stream_id: format!("s{pair}"),
            track_id: format!(
                "{}{pair}-{}",
                if kind == Kind::Audio { "a" } else { "v" },
                self.session_version
            ),
        };
        let opened = OpenedSlot { mid: mid.to_owned(), kind, pair, section: negotiated, slot };
        changes.opened_slots.push(opened.clone());
        Some(self.slots.entry(mid.to_owned()).or_insert(opened))
    }

    fn new_ssrc(&mut self, rng: &mut impl Rng) -> u32 {
        loop {
            let ssrc = rng.random();
            if ssrc != 0 && !self.offered_ssrcs.contains(&ssrc) && self.own_ssrcs.insert(ssrc) {
                return ssrc;
            }
        }
    }
}

/// What is accepted of a section on which the client sends. One format only: whoever cannot decode it must be told so, which
/// is impossible if the sender may change to another whenever it likes. RED counts as the Opus in it, but nobody could take it apart where it
/// is sealed.
fn receive(
    section: &Section,
    mid: &str,
    published: &BTreeMap<String, NegotiatedSection>,
    wishes: &Wishes<'_>,
) -> Option<NegotiatedSection> {
    let kind = kind_of(section.media_kind()?);
    if !published.contains_key(mid) && !(wishes.publishes)(mid, kind) {
        return None;
    }
    let mut negotiated = NegotiatedSection::receive(section)?;
    if published.get(mid).map_or_else(|| (wishes.dtx)(mid), NegotiatedSection::uses_dtx) {
        negotiated.use_dtx();
    }
    let is_opus = |spec| matches!(spec, CodecSpec::Opus | CodecSpec::Red);
    if negotiated.codecs.first().is_some_and(|codec| is_opus(codec.spec)) {
        let sealed = (wishes.encrypted)(mid);
        negotiated.codecs.retain(|codec| {
            codec.spec == CodecSpec::Opus || (!sealed && codec.spec == CodecSpec::Red)
        });
    } else {
        negotiated.codecs.truncate(1);
    }
    Some(negotiated)
}

/// All header extensions in use; inside a bundle an id means the same everywhere (RFC 8843 section 9.2).
fn union_of_extensions(plan: &[SectionPlan]) -> Vec<ExtensionMapping> {
    let mut union: BTreeMap<u8, ExtensionMapping> = BTreeMap::new();
    for plan in plan {
        if let SectionPlan::Receive(section) | SectionPlan::Send { section, .. } = plan {
            union.extend(section.header_extensions().into_iter().map(|e| (e.id, e)));
        }
    }
    union.into_values().collect()
}

pub(crate) fn kind_of(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Audio => Kind::Audio,
        MediaKind::Video => Kind::Video,
    }
}

/// RFC 8839 section 5.4 asks for 24 bits in the ufrag and 128 in the password; these have 66 and 144. The ufrag begins with the worker's number: all
/// workers share one TCP port.
fn new_ice(worker: WorkerId, rng: &mut impl Rng) -> IceCredentials {
    let ufrag = format!("{}{}", random::ice_digit(worker.0), random::ice_word(rng, 11));
    IceCredentials { ufrag, password: random::ice_word(rng, 24) }
}

/// The worker that one of our ufrags names; there need be none of that number.
pub(crate) fn worker_of(ufrag: &str) -> Option<WorkerId> {
    ufrag.bytes().next().and_then(random::ice_number).map(WorkerId)
}
