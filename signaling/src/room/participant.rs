//! One participant as the room knows it.

use super::Refusal;
use super::data::DataState;
use super::demand::Settings;
use super::outlook::Outlook;
use super::resumption::Resumption;
use super::slots::SlotTable;
use super::standing::Social;
use super::status::Known;
use super::watching::Viewing;
use crate::auth::Grant;
use crate::negotiation::{LocalMedia, Negotiation};
use crate::protocol::{
    BindingEntry, ErrorCode, MediaSections, ParticipantId, ParticipantInfo, ParticipantState,
    Publish, Source, TrackId, TrackInfo, UnboundEntry,
};
use rand::Rng;
use sfu::params::{Demand, PreferredLayer};
use sfu::{ConsumerId, TransportId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a participant without a socket stays while its media connection is alive.
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(60);
/// How long a participant without a socket stays while its media connection is silent, or not there.
pub(crate) const RECONNECT_SILENT: Duration = Duration::from_secs(15);
/// How long an offer of ours is valid (draft-ietf-wish-whep section 4.3.2).
pub(crate) const OFFER_VALID: Duration = Duration::from_secs(30);
/// How long a WHIP or WHEP session may take to connect.
pub(crate) const HTTP_CONNECT: Duration = Duration::from_secs(15);

/// How we reach a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signaling {
    /// A socket is open.
    Connected,
    /// The socket was lost then.
    Lost(Instant),
    /// There never is one: WHIP or WHEP, begun then.
    Http(Instant),
}

/// The peer connection, once an offer was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transport {
    pub(crate) id: TransportId,
    /// DTLS was done once.
    pub(crate) connected: bool,
    /// No authenticated STUN for 15 s.
    pub(crate) silent: bool,
}

/// What a client was last told about its slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bindings {
    pub(crate) bindings: Vec<BindingEntry>,
    pub(crate) unbound: Vec<UnboundEntry>,
}

/// One participant.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: ParticipantId,
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) grant: Grant,
    pub(crate) signaling: Signaling,
    pub(super) resumption: Resumption,
    /// Nobody is told about it: a viewer by WHEP, or a token says so.
    pub(crate) hidden: bool,
    /// It was sent an offer of ours, and has so long to answer it.
    pub(super) answer_by: Option<Instant>,
    /// What such a viewer came for.
    pub(super) viewing: Option<Viewing>,
    /// What its event streams were last told; `None`: it has none.
    pub(super) followed: Option<Outlook>,
    /// Slots that it may have, and those that it would have if it may receive.
    pub(crate) max: MediaSections,
    pub(super) wished: MediaSections,
    /// What the client was last told to offer.
    pub(crate) sections: MediaSections,
    pub(crate) negotiation: Negotiation,
    /// Our side of its peer connection.
    pub(crate) local: Arc<LocalMedia>,
    pub(crate) transport: Option<Transport>,
    /// Announced for the next offer, by mid.
    pub(crate) announced: BTreeMap<String, Publish>,
    pub(crate) slots: SlotTable,
    pub(crate) unsubscribed: BTreeSet<TrackId>,
    /// What it was told it cannot decode.
    pub(crate) unavailable: BTreeSet<TrackId>,
    pub(crate) layers: BTreeMap<TrackId, PreferredLayer>,
    /// What it has use for, as it said.
    pub(super) settings: BTreeMap<TrackId, Settings>,
    /// Counts entries of `track_settings`.
    pub(super) next_turn: u64,
    /// What the media plane was last told about its slots, each since it was bound.
    pub(super) demands: BTreeMap<ConsumerId, Demand>,
    /// Of tracks in video slots.
    pub(super) statuses: BTreeMap<TrackId, Known>,
    /// Since when voices are in their slots.
    pub(super) heard_since: BTreeMap<TrackId, Instant>,
    /// There are more tracks than it can have slots.
    pub(super) crowded: bool,
    /// Somebody speaks and waits for a slot until then.
    pub(super) reseat_at: Option<Instant>,
    pub(super) data: DataState,
    pub(crate) last_offer: Option<u64>,
    /// New slots start then, unless the client says earlier that it is ready.
    pub(crate) resume_at: Option<Instant>,
    pub(crate) told: Bindings,
    /// Knows by itself that what has no slot waits for one: in a large room those are most tracks, and the table changes often.
    pub(super) compact: bool,
    /// How it is here besides media.
    pub(super) social: Social,
}

impl Participant {
    pub(crate) fn new(
        id: ParticipantId,
        identity: String,
        name: String,
        grant: Grant,
        signaling: Signaling,
        local: Arc<LocalMedia>,
        rng: &mut impl Rng,
    ) -> Self {
        let hidden = grant.hidden;
        Self {
            id,
            identity,
            name,
            grant,
            signaling,
            resumption: Resumption::new(rng),
            hidden,
            answer_by: None,
            viewing: None,
            followed: None,
            max: MediaSections::default(),
            wished: MediaSections::default(),
            sections: MediaSections::default(),
            negotiation: Negotiation::new(local.worker, rng),
            local,
            transport: None,
            announced: BTreeMap::new(),
            slots: SlotTable::default(),
            unsubscribed: BTreeSet::new(),
            unavailable: BTreeSet::new(),
            layers: BTreeMap::new(),
            settings: BTreeMap::new(),
            next_turn: 0,
            demands: BTreeMap::new(),
            statuses: BTreeMap::new(),
            heard_since: BTreeMap::new(),
            crowded: false,
            reseat_at: None,
            data: DataState::default(),
            last_offer: None,
            resume_at: None,
            told: Bindings::default(),
            compact: false,
            social: Social::default(),
        }
    }

    pub(crate) fn info(&self, tracks: Vec<TrackInfo>) -> ParticipantInfo {
        ParticipantInfo {
            participant: self.id,
            identity: self.identity.clone(),
            name: self.name.clone(),
            state: self.state(),
            metadata: self.grant.metadata.clone(),
            attributes: self.grant.attributes.clone(),
            standing: self.standing(),
            tracks,
        }
    }

    /// A viewer by WHEP.
    pub(super) fn is_viewer(&self) -> bool {
        self.viewing.is_some()
    }

    /// Refuses what nobody may publish, or not of this source.
    pub(super) fn check_publishes(&self, source: Source) -> Result<(), Refusal> {
        let permissions = &self.grant.permissions;
        let text = if !permissions.can_publish {
            "You may not publish (video.canPublish of the token)."
        } else if !permissions.allows(source) {
            "You may not publish from this source (video.canPublishSources of the token)."
        } else if self.grant.hidden {
            "You are hidden (video.hidden of the token), so nobody could be told what you publish."
        } else {
            return Ok(());
        };
        Err(Refusal::new(ErrorCode::NotAllowed, text))
    }

    pub(crate) fn state(&self) -> ParticipantState {
        match self.signaling {
            Signaling::Connected | Signaling::Http(_) => ParticipantState::Active,
            Signaling::Lost(_) => ParticipantState::Reconnecting,
        }
    }

    /// When something is due: see [`Participant::is_gone`], `resume_at`, `reseat_at` and `typing_until`.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let typing_until = self.social.typing_until;
        [self.gone_at(), self.resume_at, self.reseat_at, typing_until].into_iter().flatten().min()
    }

    /// Whether nothing was heard of the participant for too long.
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        self.gone_at().is_some_and(|deadline| deadline <= now)
    }

    fn gone_at(&self) -> Option<Instant> {
        if self.answer_by.is_some() {
            return self.answer_by;
        }
        let alive = self.transport.is_some_and(|transport| !transport.silent);
        let connected = self.transport.is_some_and(|transport| transport.connected);
        match self.signaling {
            Signaling::Connected => None,
            Signaling::Lost(since) if alive => Some(since + RECONNECT_MAX),
            Signaling::Lost(since) => Some(since + RECONNECT_SILENT),
            // A connected one ends by DELETE, or with its transport.
            Signaling::Http(_) if connected => None,
            Signaling::Http(since) => Some(since + HTTP_CONNECT),
        }
    }
}
