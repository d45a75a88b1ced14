//! ICE-lite (RFC 8445 section 2.5): answers checks, remembers which tuples proved that they hold our password, and follows the peer's
//! nomination. Never sends a check of its own and never believes a datagram that is not authenticated.
//!
//! Nomination: libwebrtc's NOMINATION counter decides where it is present, the higher one wins. A plain USE-CANDIDATE takes over only
//! with higher PRIORITY or when the selected pair has been silent for 5 s; so a replayed check moves no media while the real pair lives.

pub use crate::transport::stun::StunError;

use crate::egress::Tuple;
use crate::params::IceCredentials;
use crate::transport::stun::Request;
use std::time::{Duration, Instant};

/// Without an authenticated check for this long we may not send any more (RFC 7675 section 5.1).
pub const CONSENT_EXPIRES: Duration = Duration::from_secs(30);
/// Without an authenticated check for this long a transport is called silent. A peer that lives has missed two checks by then.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);
/// A selected pair without checks for this long yields to any USE-CANDIDATE.
const YIELDS_AFTER: Duration = Duration::from_secs(5);
/// Verified tuples remembered per transport.
pub const TUPLES_MAX: usize = 16;

/// What one verified check changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// The first verified check from this tuple.
    pub new_tuple: bool,
    /// The selected tuple changed to this one.
    pub nominated: bool,
    /// A tuple that was forgotten in favour of this one.
    pub dropped: Option<Tuple>,
}

/// Credentials of both sides and their number.
#[derive(Clone, Debug)]
struct Generation {
    number: u32,
    local: IceCredentials,
    remote: IceCredentials,
}

impl Generation {
    /// Does the request name and prove these credentials?
    fn authenticates(&self, request: &Request<'_>) -> Result<(), StunError> {
        if request.ufrags() != Some((self.local.ufrag.as_str(), self.remote.ufrag.as_str())) {
            return Err(StunError::Username);
        }
        if !request.verify(&self.local.password) {
            return Err(StunError::Integrity);
        }
        Ok(())
    }
}

/// The last verified check of one tuple.
#[derive(Clone, Copy, Debug)]
struct Proof {
    at: Instant,
    priority: u32,
}

/// The pair that media uses.
#[derive(Clone, Copy, Debug)]
struct Selection {
    tuple: Tuple,
    /// Which credentials nominated it.
    generation: u32,
    /// Highest NOMINATION counter of this generation so far; 0: there was none.
    nomination: u32,
}

/// The ICE-lite agent of one transport.
#[derive(Debug)]
pub struct IceLite {
    current: Generation,
    /// Valid until the first check with the current ones.
    previous: Option<Generation>,
    created: Instant,
    last_check: Option<Instant>,
    /// Parallel to `proofs`.
    tuples: Vec<Tuple>,
    proofs: Vec<Proof>,
    selection: Option<Selection>,
}

impl IceLite {
    /// `local` is what our answer says, `remote` what the peer's offer says.
    #[must_use]
    pub fn new(local: IceCredentials, remote: IceCredentials, now: Instant) -> Self {
        Self {
            current: Generation { number: 0, local, remote },
            previous: None,
            created: now,
            last_check: None,
            tuples: Vec::new(),
            proofs: Vec::new(),
            selection: None,
        }
    }

    /// New credentials on both sides (RFC 8445 section 2.4). The old ones stay valid until the first verified check with the new ones, and the
    /// selected tuple until the first nomination with the new ones. A second restart before that drops the middle credentials.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        let number = self.current.number.wrapping_add(1);
        let old = std::mem::replace(&mut self.current, Generation { number, local, remote });
        self.previous.get_or_insert(old);
    }

    /// The local ufrags that checks may name now: the current one, then the previous one while it is valid.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(|generation| generation.local.ufrag.as_str())
    }

    /// Handles one STUN datagram. Send `response` back on `tuple` whenever it is not empty, after an error as well.
    ///
    /// # Errors
    /// [`StunError::RoleConflict`] and [`StunError::UnknownAttribute`] are authenticated and leave an error response; all others leave
    /// nothing. No error changes anything.
    pub fn handle_request(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
        response: &mut Vec<u8>,
    ) -> Result<Check, StunError> {
        response.clear();
        let request = Request::parse(datagram)?;
        let generation = match self.current.authenticates(&request) {
            Ok(()) => &self.current,
            Err(error) => {
                let previous = self.previous.as_ref().ok_or(error)?;
                // Whichever error says more: integrity is only looked at when the username fits.
                previous
                    .authenticates(&request)
                    .map_err(|other| if error == StunError::Integrity { error } else { other })?;
                previous
            }
        };
        let password = &generation.local.password;
        if !request.unknown().is_empty() {
            request.write_unknown(response, password);
            return Err(StunError::UnknownAttribute);
        }
        if request.controlled() {
            request.write_role_conflict(response, password);
            return Err(StunError::RoleConflict);
        }
        request.write_success(response, tuple.remote, password);
        let number = generation.number;
        if number == self.current.number {
            self.previous = None;
        }
        Ok(self.accept(now, tuple, &request, number))
    }

    /// Books a verified check.
    fn accept(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        request: &Request<'_>,
        generation: u32,
    ) -> Check {
        self.last_check = Some(now);
        // Before the proof is renewed: silence is measured up to this check.
        let wins = self.wins(now, tuple, request, generation);
        let proof = Proof { at: now, priority: request.priority() };
        let mut check = Check::default();
        match self.tuples.iter().position(|known| known == tuple) {
            Some(index) => self.proofs[index] = proof,
            None => {
                check.new_tuple = true;
                check.dropped = self.make_room();
                self.tuples.push(*tuple);
                self.proofs.push(proof);
            }
        }
        if wins {
            check.nominated = self.selection.is_none_or(|selection| selection.tuple != *tuple);
            let highest = self
                .selection
                .filter(|selection| selection.generation == generation)
                .map_or(0, |selection| selection.nomination);
            let nomination = request.nomination().unwrap_or(0).max(highest);
            self.selection = Some(Selection { tuple: *tuple, generation, nomination });
        }
        check
    }

    /// Shall this check select (or select anew) its tuple?
    fn wins(&self, now: Instant, tuple: &Tuple, request: &Request<'_>, generation: u32) -> bool {
        // libwebrtc counts from 1.
        let nomination = request.nomination().unwrap_or(0);
        let nominates = request.use_candidate() || nomination > 0;
        let Some(selection) = self.selection else { return nominates };
        if selection.tuple == *tuple {
            // Plain checks of a selected pair must not reset what nominated it.
            let newer = selection.generation != generation || nomination > selection.nomination;
            return nominates && newer;
        }
        let proof = self
            .tuples
            .iter()
            .position(|known| *known == selection.tuple)
            .and_then(|index| self.proofs.get(index));
        let silent = proof.map_or(Duration::MAX, |proof| now.saturating_duration_since(proof.at));
        if !nominates {
            // A peer whose address changed below it (NAT rebinding) may believe that it has nominated already. Its checks come from
            // here and no more from there, so media must follow.
            return silent >= SILENT_AFTER;
        }
        if selection.generation != generation {
            // Never an older one: it became invalid before the newer one could nominate.
            return true;
        }
        if nomination != selection.nomination && request.nomination().is_some() {
            return nomination > selection.nomination || silent >= SILENT_AFTER;
        }
        silent >= YIELDS_AFTER || proof.is_some_and(|proof| request.priority() > proof.priority)
    }

    /// Forgets the tuple that was silent longest, except the selected one, when there are too many.
    fn make_room(&mut self) -> Option<Tuple> {
        if self.tuples.len() < TUPLES_MAX {
            return None;
        }
        let selected = self.selection.map(|selection| selection.tuple);
        let (index, _) = self
            .proofs
            .iter()
            .enumerate()
            .filter(|(index, _)| self.tuples.get(*index) != selected.as_ref())
            .min_by_key(|(_, proof)| proof.at)?;
        self.proofs.remove(index);
        Some(self.tuples.remove(index))
    }

    /// The nominated tuple: the only one that may be sent anything but STUN responses.
    #[must_use]
    pub fn selected(&self) -> Option<&Tuple> {
        self.selection.as_ref().map(|selection| &selection.tuple)
    }

    /// Did this tuple prove that it holds our password?
    #[must_use]
    pub fn is_verified(&self, tuple: &Tuple) -> bool {
        self.tuples.contains(tuple)
    }

    /// All verified tuples, at most [`TUPLES_MAX`].
    #[must_use]
    pub fn verified(&self) -> &[Tuple] {
        &self.tuples
    }

    /// When the last check was verified, on any tuple.
    #[must_use]
    pub fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// How long there has been no verified check, since creation when there never was one. Compare with [`SILENT_AFTER`] and
    /// [`CONSENT_EXPIRES`].
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_check.unwrap_or(self.created))
    }
}
