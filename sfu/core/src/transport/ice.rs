//! ICE-lite (RFC 8445 section 2.5): answers checks, remembers which tuples proved that they hold our password, and follows the peer's
//! nomination. Never believes a datagram that is not authenticated, and sends a check of its own only to ask who is behind an address, or whether he is there still
//! (`path`).
//!
//! Nomination: libwebrtc's NOMINATION counter decides where it is present, the higher one wins. A plain USE-CANDIDATE takes over only
//! with higher PRIORITY or when the selected pair has been silent for 5 s; so a replayed check moves no media while the real pair lives.
//!
//! A NAT that rebinds changes the address below a peer that knows nothing of it. Its media from there is asked for a proof by a check of ours; its own next
//! check proves the address as well, and nominates nothing anew. Media that comes from a proved address, while nothing comes from the selected one, moves the
//! selection (as RFC 9000 section 9.3 has it). It is fresh, because SRTP refuses replays; and a copy of it that overtakes its original is followed by the original.

mod path;

pub use crate::transport::stun::StunError;

use crate::egress::Tuple;
use crate::params::IceCredentials;
use crate::transport::stun::{self, Request, Success, TRANSACTION_LEN};
use path::PathCheck;
use std::time::{Duration, Instant};

/// Without an authenticated check for this long we may not send any more (RFC 7675 section 5.1).
pub const CONSENT_EXPIRES: Duration = Duration::from_secs(30);
/// Without an authenticated check for this long a transport is called silent. A peer that lives has missed two checks by then.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Whoever sends no check for so long is asked. Browsers check every 2.5 s, RFC 7675 has at most 6; libnice (GStreamer) sends none once it is connected.
pub const ASKED_AFTER: Duration = Duration::from_secs(7);
/// A selected pair without checks for this long yields to any USE-CANDIDATE.
const YIELDS_AFTER: Duration = Duration::from_secs(5);
/// Fresh media from another verified tuple for so long, and nothing at all from the selected one: the peer is there now.
const MOVED_AFTER: Duration = Duration::from_millis(200);
/// A selected tuple that was heard within this time is in use: nobody else gets it by a check alone. Browsers check every 2.5 s.
const IN_USE: Duration = Duration::from_secs(5);
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
    /// The local ufrag that is not valid any more since the last check.
    ended: Option<String>,
    created: Instant,
    last_check: Option<Instant>,
    /// Parallel to `proofs`.
    tuples: Vec<Tuple>,
    proofs: Vec<Proof>,
    selection: Option<Selection>,
    /// Where fresh media comes from, if not from the selected tuple (its position), and since when.
    moving: Option<(u8, Instant)>,
    /// When the selected tuple was heard last.
    heard: Option<Instant>,
    /// Our check under way.
    path: Option<PathCheck>,
}

impl IceLite {
    /// `local` is what our answer says, `remote` what the peer's offer says.
    #[must_use]
    pub fn new(local: IceCredentials, remote: IceCredentials, now: Instant) -> Self {
        Self {
            current: Generation { number: 0, local, remote },
            previous: None,
            ended: None,
            created: now,
            last_check: None,
            tuples: Vec::new(),
            proofs: Vec::new(),
            selection: None,
            moving: None,
            heard: None,
            path: None,
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

    /// The local ufrag that the last check ended, once: [`IceLite::local_ufrags`] does not name it any more.
    pub fn take_ended_ufrag(&mut self) -> Option<String> {
        self.ended.take()
    }

    /// Handles one STUN request. Send `response` back on `tuple` whenever it is not empty, after an error as well.
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
        let (request, generation) = self.answer(tuple, datagram, response)?;
        if generation == self.current.number {
            self.ended = self.previous.take().map(|generation| generation.local.ufrag);
        }
        Ok(self.accept(now, tuple, &request, generation))
    }

    /// Answers as [`IceLite::handle_request`] does and changes nothing: returns the request and the number of the credentials that it proved.
    ///
    /// # Errors
    /// Those of [`IceLite::handle_request`].
    pub fn answer<'a>(
        &self,
        tuple: &Tuple,
        datagram: &'a [u8],
        response: &mut Vec<u8>,
    ) -> Result<(Request<'a>, u32), StunError> {
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
        Ok((request, generation.number))
    }

    /// Books a verified check.
    fn accept(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        request: &Request<'_>,
        generation: u32,
    ) -> Check {
        if self.selected() == Some(tuple) {
            self.heard_selected(now);
        }
        // Before the proof is renewed: silence is measured up to this check.
        let wins = self.wins(now, tuple, request, generation);
        let mut check = self.prove(tuple, Proof { at: now, priority: request.priority() });
        if wins {
            check.nominated = self.selection.is_none_or(|selection| selection.tuple != *tuple);
            let highest = self
                .selection
                .filter(|selection| selection.generation == generation)
                .map_or(0, |selection| selection.nomination);
            let nomination = request.nomination().unwrap_or(0).max(highest);
            self.selection = Some(Selection { tuple: *tuple, generation, nomination });
            self.heard_selected(now);
        }
        check
    }

    /// Remembers that `tuple` is the peer's.
    fn prove(&mut self, tuple: &Tuple, proof: Proof) -> Check {
        self.last_check = Some(proof.at);
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
        check
    }

    /// What only the peer can have made came from `tuple`, which proves nothing: somebody may have copied it on its way. Leaves a check in `out`, to be sent
    /// there, when one is due; `transaction` is for a first one.
    pub fn ask(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        transaction: [u8; TRANSACTION_LEN],
        out: &mut Vec<u8>,
    ) {
        out.clear();
        let path = self.path.take_if(|path| !path.is_over(now, tuple));
        let path = self.path.insert(path.unwrap_or(PathCheck::new(now, *tuple, transaction)));
        if path.is_due(now, tuple) {
            // The peer may not know the new credentials before it uses them.
            let Generation { local, remote, .. } = self.previous.as_ref().unwrap_or(&self.current);
            stun::write_check(
                out,
                &path.transaction,
                (&remote.ufrag, &local.ufrag),
                &remote.password,
            );
        }
    }

    /// Handles one STUN response. `None`: it answers no check of ours, and changes nothing.
    ///
    /// The tuple is proved now, and selected if nothing came from the selected one for a while.
    pub fn handle_response(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        datagram: &[u8],
    ) -> Option<Check> {
        let path = self.path.filter(|path| path.is_for(tuple))?;
        let response = Success::parse(datagram)?;
        if response.transaction() != Some(path.transaction) {
            return None;
        }
        let generations = std::iter::once(&self.current).chain(&self.previous);
        if !generations.into_iter().any(|one| response.verify(&one.remote.password)) {
            return None;
        }
        self.path = None;
        let priority = self.selected_proof().map_or(0, |proof| proof.priority);
        let mut check = self.prove(tuple, Proof { at: now, priority });
        if let Some(selection) = &mut self.selection
            && selection.tuple != *tuple
            && self.heard.is_none_or(|heard| heard < path.began)
        {
            let silent =
                self.heard.map_or(Duration::MAX, |heard| now.saturating_duration_since(heard));
            if silent >= MOVED_AFTER {
                selection.tuple = *tuple;
                check.nominated = true;
                self.heard_selected(now);
            } else if let Some(index) = self.tuples.iter().position(|known| known == tuple) {
                // There are no more than TUPLES_MAX.
                self.moving = Some((index as u8, path.began));
            }
        }
        Some(check)
    }

    /// Does the peer use this tuple?
    #[must_use]
    pub fn uses(&self, now: Instant, tuple: &Tuple) -> bool {
        self.selected() == Some(tuple)
            && self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < IN_USE)
    }

    /// Has nothing come from the selected tuple for `time`?
    #[must_use]
    pub fn is_silent_for(&self, now: Instant, time: Duration) -> bool {
        self.heard.is_none_or(|heard| now.saturating_duration_since(heard) >= time)
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
        let proof = self.selected_proof();
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

    /// The last check of the selected tuple.
    fn selected_proof(&self) -> Option<&Proof> {
        let selected = self.selected()?;
        let index = self.tuples.iter().position(|known| known == selected)?;
        self.proofs.get(index)
    }

    /// Something came from the selected tuple, authentic or not.
    pub fn heard_selected(&mut self, now: Instant) {
        self.moving = None;
        self.heard = Some(now);
    }

    /// Media or RTCP that is authentic and no replay came from a tuple other than the selected one. Returns whether that one is selected now.
    pub fn follow(&mut self, now: Instant, tuple: &Tuple) -> bool {
        let Some(selection) = &mut self.selection else { return false };
        let known = self.tuples.iter().position(|known| known == tuple);
        let Some((index, proof)) = known.and_then(|index| Some((index, self.proofs.get(index)?)))
        else {
            return false;
        };
        if now.saturating_duration_since(proof.at) >= CONSENT_EXPIRES {
            return false;
        }
        // There are no more than TUPLES_MAX.
        let index = index as u8;
        match self.moving {
            Some((to, since)) if to == index => {
                if now.saturating_duration_since(since) < MOVED_AFTER {
                    return false;
                }
                selection.tuple = *tuple;
                self.heard_selected(now);
                true
            }
            _ => {
                self.moving = Some((index, now));
                false
            }
        }
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
        // Positions have changed: who moves begins anew.
        self.moving = None;
        Some(self.tuples.remove(index))
    }

    /// The path is no more: a connection was closed. Until the peer nominates another one there is none.
    pub fn forget(&mut self, tuple: &Tuple) {
        if let Some(index) = self.tuples.iter().position(|known| known == tuple) {
            self.tuples.remove(index);
            self.proofs.remove(index);
            self.moving = None;
        }
        self.selection.take_if(|selection| selection.tuple == *tuple);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::transport::stun::tests::{error_code, request, response};
    use proptest::prelude::*;

    const USE_CANDIDATE: (u16, &[u8]) = (0x0025, &[]);
    const LOW: (u16, &[u8]) = (0x0024, &[0, 0, 0, 1]);
    const HIGH: (u16, &[u8]) = (0x0024, &[0, 0, 0, 2]);
    const FIRST: (u16, &[u8]) = (0xC001, &[0, 0, 0, 1]);
    const SECOND: (u16, &[u8]) = (0xC001, &[0, 0, 0, 2]);

    fn credentials(name: &str) -> IceCredentials {
        IceCredentials { ufrag: name.to_owned(), password: format!("password of {name}") }
    }

    fn tuple(port: u16) -> Tuple {
        Tuple::udp([10, 0, 0, 1].into(), ([192, 0, 2, 7], port).into())
    }

    /// From the end of a message to the end of its MESSAGE-INTEGRITY, and one byte of that.
    const FINGERPRINT_AND_TAG: usize = 9;

    fn at_ms(bench: &Bench, millis: u64) -> Instant {
        bench.start + Duration::from_millis(millis)
    }

    /// An agent, its clock, and a peer that follows the restarts.
    struct Bench {
        ice: IceLite,
        start: Instant,
        generation: u32,
    }

    impl Bench {
        fn new() -> Self {
            let start = Instant::now();
            let ice = IceLite::new(credentials("L0"), credentials("R0"), start);
            Self { ice, start, generation: 0 }
        }

        fn raw(
            &mut self,
            secs: u64,
            port: u16,
            datagram: &[u8],
        ) -> (Result<Check, StunError>, Vec<u8>) {
            let mut response = vec![0xEE];
            let now = self.start + Duration::from_secs(secs);
            let result = self.ice.handle_request(now, &tuple(port), datagram, &mut response);
            (result, response)
        }

        /// A good check at a time from a port.
        fn check(&mut self, secs: u64, port: u16, attributes: &[(u16, &[u8])]) -> Check {
            let generation = self.generation;
            let password = format!("password of L{generation}");
            let datagram =
                request(&format!("L{generation}:R{generation}"), Some(&password), attributes);
            let (check, bytes) = self.raw(secs, port, &datagram);
            response(&bytes, &password);
            check.unwrap()
        }

        fn restart(&mut self) {
            self.generation += 1;
            let number = self.generation;
            self.ice
                .restart(credentials(&format!("L{number}")), credentials(&format!("R{number}")));
        }

        fn selected(&self) -> Option<u16> {
            self.ice.selected().map(|tuple| tuple.remote.port())
        }
    }

    #[test]
    fn a_verified_check_proves_a_tuple_but_only_nomination_selects_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.ice.last_check(), None);
        let check = bench.check(1, 1, &[LOW]);
        assert_eq!(check, Check { new_tuple: true, ..Check::default() });
        assert!(bench.ice.is_verified(&tuple(1)) && !bench.ice.is_verified(&tuple(2)));
        assert_eq!(bench.selected(), None);
        let check = bench.check(2, 1, &[LOW, USE_CANDIDATE]);
        assert_eq!(check, Check { nominated: true, ..Check::default() });
        assert_eq!(bench.selected(), Some(1));
        assert_eq!(bench.check(3, 1, &[LOW, USE_CANDIDATE]), Check::default());
        assert_eq!(bench.ice.last_check(), Some(bench.start + Duration::from_secs(3)));
        assert_eq!(bench.ice.silence(bench.start + Duration::from_secs(33)), CONSENT_EXPIRES);
        assert_eq!(bench.ice.verified(), [tuple(1)]);
    }

    #[test]
    fn what_is_not_authenticated_changes_nothing_and_is_not_answered() {
        let nominate = [USE_CANDIDATE];
        let good = "password of L0";
        let mut indication = request("L0:R0", Some(good), &nominate);
        indication[1] = 0x11;
        let mut damaged = request("L0:R0", Some(good), &nominate);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let table = [
            (request("L0:R0", Some("password of R0"), &nominate), StunError::Integrity),
            (request("L0:R0", None, &nominate), StunError::Integrity),
            (request("L1:R0", Some(good), &nominate), StunError::Username),
            (request("L0:R1", Some(good), &nominate), StunError::Username),
            (request("L0", Some(good), &nominate), StunError::Username),
            (request("L0:R0", Some("guess"), &[(0x7001, &[])]), StunError::Integrity),
            (damaged, StunError::Fingerprint),
            (indication, StunError::NotBindingRequest),
            (vec![0x16; 60], StunError::Malformed),
        ];
        for (datagram, error) in table {
            let mut bench = Bench::new();
            assert_eq!(bench.raw(1, 1, &datagram), (Err(error), vec![]));
            assert!(bench.ice.verified().is_empty());
            assert_eq!((bench.ice.selected(), bench.ice.last_check()), (None, None));
        }
    }

    #[test]
    fn authenticated_nonsense_is_answered_and_proves_nothing() {
        let controlled: (u16, &[u8]) = (0x8029, &[0; 8]);
        for (attribute, error, code) in [
            (controlled, StunError::RoleConflict, 487),
            ((0x7001, &[][..]), StunError::UnknownAttribute, 420),
        ] {
            let mut bench = Bench::new();
            let datagram = request("L0:R0", Some("password of L0"), &[attribute, USE_CANDIDATE]);
            let (result, bytes) = bench.raw(1, 1, &datagram);
            assert_eq!(result, Err(error));
            assert_eq!(error_code(&response(&bytes, "password of L0")), code);
            assert!(bench.ice.verified().is_empty() && bench.ice.selected().is_none());
        }
    }

    #[test]
    fn use_candidate_takes_over_with_priority_or_after_silence() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[LOW, USE_CANDIDATE]);
        assert!(!bench.check(1, 2, &[LOW, USE_CANDIDATE]).nominated);
        assert!(bench.check(2, 3, &[HIGH, USE_CANDIDATE]).nominated);
        assert!(!bench.check(6, 1, &[LOW, USE_CANDIDATE]).nominated);
        assert_eq!(bench.selected(), Some(3));
        assert!(bench.check(7, 1, &[LOW, USE_CANDIDATE]).nominated, "silent for 5 s");
        assert_eq!(bench.selected(), Some(1));
    }

    #[test]
    fn the_higher_nomination_wins_whatever_the_priority() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[HIGH, FIRST]);
        assert!(!bench.check(1, 2, &[LOW, FIRST]).nominated);
        assert!(bench.check(1, 2, &[LOW, SECOND]).nominated);
        assert!(!bench.check(8, 1, &[HIGH, FIRST]).nominated, "an older nomination");
        assert!(!bench.check(8, 3, &[LOW, (0xC001, &[0; 4])]).nominated, "0 nominates nothing");
        assert_eq!(bench.selected(), Some(2));
        assert!(bench.check(8, 3, &[LOW, USE_CANDIDATE]).nominated, "silent for 5 s");
        assert!(!bench.check(9, 1, &[HIGH, FIRST]).nominated, "the counter survives USE-CANDIDATE");
    }

    #[test]
    fn media_follows_a_peer_that_does_not_know_that_its_address_changed() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[LOW, FIRST]);
        assert!(!bench.check(10, 2, &[LOW]).nominated);
        assert!(!bench.check(14, 2, &[LOW]).nominated);
        assert!(bench.check(15, 2, &[LOW]).nominated);
        assert_eq!(bench.selected(), Some(2));
    }

    #[test]
    fn fresh_media_moves_the_selection_while_the_selected_pair_says_nothing() {
        let mut bench = Bench::new();
        let start = bench.start;
        let at = |millis| start + Duration::from_millis(millis);
        bench.check(0, 1, &[LOW, USE_CANDIDATE]);
        for millis in [100, 900] {
            assert!(!bench.ice.follow(at(millis), &tuple(2)), "it has proved nothing");
        }
        assert!(!bench.check(1, 2, &[LOW, USE_CANDIDATE]).nominated);
        assert!(!bench.ice.follow(at(1000), &tuple(2)));
        assert!(!bench.ice.follow(at(1199), &tuple(2)));
        bench.ice.heard_selected(at(1199));
        assert!(!bench.ice.follow(at(1250), &tuple(2)));
        bench.check(1, 1, &[LOW, USE_CANDIDATE]);
        assert!(!bench.ice.follow(at(1500), &tuple(2)));
        assert!(!bench.ice.follow(at(1699), &tuple(2)));
        assert!(bench.ice.follow(at(1700), &tuple(2)));
        assert_eq!(bench.selected(), Some(2));
        // The proof of the other one is too old by then.
        assert!(!bench.ice.follow(at(31_000), &tuple(1)));
        assert!(!bench.ice.follow(at(31_300), &tuple(1)));
    }

    /// A check of ours for a port, as the peer reads it, and the peer's answer.
    fn asked(bench: &mut Bench, millis: u64, port: u16) -> Option<Vec<u8>> {
        let now = bench.start + Duration::from_millis(millis);
        let mut out = Vec::new();
        bench.ice.ask(now, &tuple(port), [7; TRANSACTION_LEN], &mut out);
        if out.is_empty() {
            return None;
        }
        let check = Request::parse(&out).unwrap();
        assert_eq!(check.ufrags(), Some(("R0", "L0")));
        assert!(check.controlled() && check.verify("password of R0"));
        response(&out, "password of R0");
        let mut answer = Vec::new();
        check.write_success(&mut answer, tuple(port).remote, "password of R0");
        Some(answer)
    }

    #[test]
    fn an_answer_to_a_check_of_ours_proves_a_tuple_and_selects_it_after_silence() {
        let mut bench = Bench::new();
        let (before, later) = (at_ms(&bench, 1050), at_ms(&bench, 1250));
        bench.check(1, 1, &[LOW, USE_CANDIDATE]);
        let answer = asked(&mut bench, 1020, 2).unwrap();
        assert_eq!(bench.ice.handle_response(before, &tuple(3), &answer), None, "from elsewhere");
        let mut forged = answer.clone();
        let at_integrity = forged.len() - FINGERPRINT_AND_TAG;
        forged[at_integrity] ^= 1;
        assert_eq!(bench.ice.handle_response(before, &tuple(2), &forged), None);
        let proved = Check { new_tuple: true, ..Check::default() };
        assert_eq!(bench.ice.handle_response(before, &tuple(2), &answer), Some(proved));
        assert_eq!(bench.ice.handle_response(before, &tuple(2), &answer), None, "once");
        assert_eq!(bench.selected(), Some(1), "the other one was heard shortly before");
        // Since the question, nothing came from there.
        assert!(!bench.ice.follow(at_ms(&bench, 1219), &tuple(2)));
        assert!(bench.ice.follow(at_ms(&bench, 1220), &tuple(2)));
        bench.ice.heard_selected(later);
        let answer = asked(&mut bench, 1450, 3).unwrap();
        let moved = Check { nominated: true, ..proved };
        assert_eq!(bench.ice.handle_response(at_ms(&bench, 1460), &tuple(3), &answer), Some(moved));
    }

    #[test]
    fn checks_of_ours_are_few_and_one_at_a_time() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[LOW, USE_CANDIDATE]);
        let sent = (0..4900).filter(|&millis| asked(&mut bench, millis, 2).is_some()).count();
        assert_eq!(sent, 10);
        assert!(asked(&mut bench, 5000, 2).is_some());
        assert!(asked(&mut bench, 5900, 3).is_none());
        assert!(asked(&mut bench, 6000, 3).is_some());
    }

    #[test]
    fn a_tuple_is_in_use_while_it_is_heard() {
        let mut bench = Bench::new();
        bench.check(1, 1, &[LOW]);
        assert!(!bench.ice.uses(at_ms(&bench, 1000), &tuple(1)), "not selected");
        bench.check(1, 1, &[LOW, USE_CANDIDATE]);
        bench.ice.heard_selected(at_ms(&bench, 2000));
        assert!(bench.ice.uses(at_ms(&bench, 6999), &tuple(1)));
        assert!(!bench.ice.uses(at_ms(&bench, 7000), &tuple(1)));
    }

    #[test]
    fn restart_keeps_the_old_pair_until_the_new_one_is_nominated() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[HIGH, SECOND]);
        bench.restart();
        assert_eq!(bench.ice.local_ufrags().collect::<Vec<_>>(), ["L1", "L0"]);
        bench.generation = 0;
        assert_eq!(bench.check(1, 1, &[HIGH]), Check::default());
        bench.generation = 1;
        assert!(!bench.check(2, 2, &[LOW]).nominated);
        assert_eq!(bench.selected(), Some(1));
        assert_eq!(bench.ice.local_ufrags().collect::<Vec<_>>(), ["L1"]);
        assert_eq!(bench.ice.take_ended_ufrag().as_deref(), Some("L0"));
        assert_eq!(bench.ice.take_ended_ufrag(), None);
        let old = request("L0:R0", Some("password of L0"), &[USE_CANDIDATE]);
        assert_eq!(bench.raw(3, 1, &old), (Err(StunError::Username), vec![]));
        assert!(bench.check(3, 2, &[LOW, FIRST]).nominated);
        assert_eq!(bench.selected(), Some(2));
    }

    #[test]
    fn a_second_restart_before_any_check_keeps_what_media_uses() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[HIGH, USE_CANDIDATE]);
        bench.restart();
        bench.restart();
        assert_eq!(bench.ice.local_ufrags().collect::<Vec<_>>(), ["L2", "L0"]);
        bench.generation = 0;
        bench.check(1, 1, &[HIGH]);
        bench.generation = 2;
        assert!(bench.check(2, 2, &[LOW, USE_CANDIDATE]).nominated);
    }

    #[test]
    fn a_restart_between_check_and_nomination_still_lets_the_peer_nominate() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[HIGH, USE_CANDIDATE]);
        bench.restart();
        bench.check(1, 2, &[LOW]);
        bench.restart();
        bench.generation = 1;
        assert!(bench.check(2, 2, &[LOW, USE_CANDIDATE]).nominated);
    }

    #[test]
    fn tuples_are_capped_and_the_selected_one_stays() {
        let mut bench = Bench::new();
        bench.check(0, 1, &[HIGH, USE_CANDIDATE]);
        for port in 2..=TUPLES_MAX as u16 {
            assert_eq!(bench.check(1, port, &[LOW]).dropped, None);
        }
        bench.check(2, 2, &[LOW]);
        let check = bench.check(2, 100, &[LOW, USE_CANDIDATE]);
        assert_eq!(check.dropped, Some(tuple(3)), "2 was renewed");
        assert!(!bench.ice.is_verified(&tuple(3)) && bench.ice.is_verified(&tuple(1)));
        assert_eq!(bench.ice.verified().len(), TUPLES_MAX);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_never_prove(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut bench = Bench::new();
            let (result, response) = bench.raw(1, 1, &bytes);
            prop_assert!(result.is_err() && response.is_empty());
        }
    }
}
