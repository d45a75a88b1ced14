//! Participants that come by one offer and go by one request: WHIP publishers and WHEP viewers.

use super::participant::{Participant, Signaling};
use super::presence::slots_granted;
use super::{MAX_VIEWERS, Refusal, Room};
use crate::auth::Grant;
use crate::negotiation::{LocalMedia, Wishes};
use crate::protocol::{ErrorCode, ParticipantId};
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

/// Who wants in.
#[derive(Clone, Debug)]
pub(crate) struct HttpJoin {
    pub(crate) role: HttpRole,
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) grant: Grant,
    pub(crate) sdp: String,
}

impl Room {
    /// Answers the offer and lets the participant in, or does neither.
    pub(super) fn join_over_http(
        &mut self,
        now: Instant,
        id: ParticipantId,
        join: HttpJoin,
        local: Arc<LocalMedia>,
    ) -> Result<String, Refusal> {
        let publisher = join.role == HttpRole::Publisher;
        if !publisher {
            self.check_viewer()?;
        }
        let HttpJoin { identity, name, grant, sdp, .. } = join;
        let max = slots_granted(&grant, None, None);
        let mut participant =
            Participant::new(id, identity, name, grant, Signaling::Http(now), local, &mut self.rng);
        participant.hidden = !publisher;
        if !publisher {
            participant.max = max;
            participant.sections = max;
        }
        let wishes = Wishes {
            publishes: &|_, _| publisher,
            slots: participant.sections,
            sendrecv_slots: true,
        };
        let (answer, changes) = participant
            .negotiation
            .handle_offer(&sdp, &participant.local, &wishes, &mut self.rng)
            .map_err(|error| Refusal::new(ErrorCode::BadSdp, error.to_string()))?;
        if changes.published.is_empty() && changes.opened_slots.is_empty() {
            let verb = if publisher { "send" } else { "receive" };
            let text = format!(
                "The offer has no section on which you {verb} in a format that this server forwards."
            );
            return Err(Refusal::new(ErrorCode::BadSdp, text));
        }
        if publisher {
            self.make_place(&participant.identity)?;
        }
        self.admit(participant);
        self.carry_out(now, id, changes, Vec::new(), None);
        Ok(answer)
    }

    fn check_viewer(&self) -> Result<(), Refusal> {
        if self.tracks.is_empty() {
            let text = "Nobody publishes in this room now.";
            return Err(Refusal::new(ErrorCode::NotFound, text));
        }
        if self.participants.values().filter(|p| p.hidden).count() >= MAX_VIEWERS {
            let text = format!("The room has {MAX_VIEWERS} viewers already.");
            return Err(Refusal::new(ErrorCode::Limit, text));
        }
        Ok(())
    }
}
