//! Going on over another socket: who may, which requests were taken, and what those are told who are not here any more.

use super::participant::{RECONNECT_MAX, Signaling};
use super::{Effect, Refusal, Room};
use crate::auth::Secret;
use crate::protocol::{ErrorCode, ParticipantId, ParticipantUpdate, ServerMessage};
use crate::random;
use rand::Rng;
use std::collections::VecDeque;
use std::time::Instant;

/// Characters of a secret, six random bits each.
const SECRET_CHARS: usize = 22;
/// Most of those who went without knowing why.
const DEPARTED: usize = 200;

/// What a participant needs to go on.
#[derive(Clone, Debug)]
pub(super) struct Resumption {
    secret: Secret,
    /// The one before, as long as nothing came that shows that the client knows the newer one.
    previous: Option<Secret>,
    /// Highest number of a request so far.
    taken: u64,
    /// Requests until this one are not executed: the client was told that they had been.
    executed: u64,
}

/// Answers [`super::RoomCommand::Resume`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resumed {
    /// For the next time.
    pub(crate) secret: String,
    /// Requests until this number have been or will be answered; later ones have never arrived.
    pub(crate) taken: u64,
    /// Of the token with which it came.
    pub(crate) token_identity: Option<String>,
}

/// Why nobody goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unresumable {
    /// Join again.
    Refused(Refusal),
    /// Do not: that was said to a socket that was lost.
    Over {
        /// Of `closed`.
        reason: String,
        /// Of `closed`.
        message: String,
    },
}

impl From<Refusal> for Unresumable {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Resumption {
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        Self { secret: new_secret(rng), previous: None, taken: 0, executed: 0 }
    }

    pub(super) fn secret(&self) -> String {
        self.secret.reveal().to_owned()
    }

    fn knows(&self, secret: &Secret) -> bool {
        self.secret.is(secret) || self.previous.as_ref().is_some_and(|it| it.is(secret))
    }

    /// A request has come. Whether it is to be executed.
    pub(super) fn takes(&mut self, request: Option<u64>) -> bool {
        let Some(request) = request else { return true };
        self.taken = self.taken.max(request);
        request > self.executed || self.executed == 0
    }

    fn rotate(&mut self, used: &Secret, rng: &mut impl Rng) -> (String, u64) {
        self.previous = Some(used.clone());
        self.secret = new_secret(rng);
        self.executed = self.taken;
        (self.secret(), self.taken)
    }
}

fn new_secret(rng: &mut impl Rng) -> Secret {
    Secret::new(random::ice_word(rng, SECRET_CHARS))
}

/// Somebody who was sent away while the socket was lost.
#[derive(Debug)]
struct Departure {
    participant: ParticipantId,
    resumption: Resumption,
    reason: String,
    message: String,
    until: Instant,
}

/// Those who may still ask why they are not here any more.
#[derive(Debug, Default)]
pub(super) struct Departed(VecDeque<Departure>);

impl Departed {
    fn find(&self, now: Instant, id: ParticipantId, secret: &Secret) -> Option<&Departure> {
        let mut fresh = self.0.iter().filter(|departure| now < departure.until);
        fresh.find(|departure| departure.participant == id && departure.resumption.knows(secret))
    }
}

impl Room {
    /// `covered`: everything that happened since the last event that came is still there. `unix`: seconds since 1970.
    pub(super) fn resume_signaling(
        &mut self,
        now: Instant,
        id: ParticipantId,
        secret: &Secret,
        covered: bool,
        unix: u64,
    ) {
        let checked = self.check_resume(now, id, secret, covered, unix);
        let Self { participants, rng, effects, .. } = self;
        let participant = match (checked, participants.get_mut(&id)) {
            (Ok(()), Some(participant)) => participant,
            (Err(error), _) => return effects.push(Effect::Resumed(Err(error))),
            (Ok(()), None) => {
                return effects.push(Effect::Resumed(Err(nothing_to_resume().into())));
            }
        };
        let before = std::mem::replace(&mut participant.signaling, Signaling::Connected);
        let (state, hidden) = (Some(participant.state()), participant.hidden);
        let (secret, taken) = participant.resumption.rotate(secret, rng);
        let token_identity = participant.grant.identity.clone();
        effects.push(Effect::Resumed(Ok(Resumed { secret, taken, token_identity })));
        if before != Signaling::Connected && !hidden {
            let update = ParticipantUpdate { state, ..ParticipantUpdate::of(id) };
            self.send_to_others(id, ServerMessage::ParticipantUpdated(Box::new(update)));
        }
    }

    /// Something came from a participant, with this number. Whether it is to be executed.
    pub(super) fn takes(&mut self, from: ParticipantId, request: Option<u64>) -> bool {
        self.heard(from);
        self.participants.get_mut(&from).is_some_and(|p| p.resumption.takes(request))
    }

    /// Something came over the newest socket of a participant: its client was told the newest secret.
    pub(super) fn heard(&mut self, from: ParticipantId) {
        if let Some(participant) = self.participants.get_mut(&from) {
            participant.resumption.previous = None;
        }
    }

    /// A request was refused before the room saw it; the answer is an event like others.
    pub(super) fn refuse_unread(
        &mut self,
        to: ParticipantId,
        request: Option<u64>,
        refusal: Refusal,
    ) {
        if self.takes(to, request) {
            self.refuse(to, request, refusal);
        }
    }

    fn check_resume(
        &self,
        now: Instant,
        id: ParticipantId,
        secret: &Secret,
        covered: bool,
        unix: u64,
    ) -> Result<(), Unresumable> {
        if let Some(Departure { reason, message, .. }) = self.departed.find(now, id, secret) {
            return Err(Unresumable::Over { reason: reason.clone(), message: message.clone() });
        }
        let participant = self.participants.get(&id).filter(|p| p.resumption.knows(secret));
        let participant = participant.ok_or_else(nothing_to_resume)?;
        // Whose token was revoked is not here any more; what its permissions have become, it is told by events.
        if participant.grant.validity.is_some_and(|validity| validity.is_over(unix)) {
            let text = "Your token has expired meanwhile; join with a new one.";
            return Err(Refusal::new(ErrorCode::Unauthorized, text).into());
        }
        if !covered {
            let text = "Too much has happened since the last event that you have; join again.";
            return Err(Refusal::new(ErrorCode::Limit, text).into());
        }
        Ok(())
    }

    /// Notes why somebody who cannot hear it is sent away.
    pub(super) fn note_departure(&mut self, id: ParticipantId, reason: &str, message: &str) {
        let Some(participant) = self.participants.get(&id) else { return };
        let Signaling::Lost(since) = participant.signaling else { return };
        let departed = &mut self.departed.0;
        departed.truncate(DEPARTED - 1);
        departed.push_front(Departure {
            participant: id,
            resumption: participant.resumption.clone(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            until: since + RECONNECT_MAX,
        });
    }
}

/// The same whatever is wrong, so that nobody learns who is here.
pub(crate) fn nothing_to_resume() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "There is nothing to resume with this secret; join again.")
}
