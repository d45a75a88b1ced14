//! Who was sent away or had permissions taken: their tokens go on being well signed, but do not bring back what was taken.
//!
//! Bounded and timed: an entry is kept until the token that it concerns has expired.

use super::bans::KeptBans;
use super::passes::Passes;
use super::{AuthError, Ban, Grant, LEEWAY_SECONDS};
use crate::protocol::Permissions;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most entries; beyond it those that would end first are forgotten.
const ENTRIES_MAX: usize = 10_000;
/// Whoever is sent away may hold other tokens of the same identity, so an entry is kept so long at least, in seconds.
const KEPT_MIN: u64 = 24 * 3600;

/// What tokens made before now are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Removed,
    /// This much.
    Changed(Permissions),
}

/// Of one identity in one room, in seconds since 1970.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// Tokens made until then are worth nothing.
    removed: Option<u64>,
    /// Tokens made until then are worth this much.
    changed: Option<(u64, Permissions)>,
    until: u64,
}

/// By room and identity.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    entries: Mutex<HashMap<(String, String), Entry>>,
    /// Keep out whatever token somebody brings.
    pub(super) bans: KeptBans,
    /// Who has to be told.
    pub(super) passes: Passes,
}

impl Revocations {
    /// From now on tokens for this room with the grant's identity, made until now, are worth what the verdict says.
    pub(crate) fn add(&self, now: u64, room: &str, grant: &Grant, verdict: Verdict) {
        // Without a token the identity is what its bearer says it is, and nothing would be gained.
        let (Some(identity), Some(validity)) = (&grant.identity, grant.validity) else { return };
        let until = validity.ends.saturating_add(LEEWAY_SECONDS).max(now.saturating_add(KEPT_MIN));
        let mut entries = self.lock();
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, entry| entry.until > now);
        }
        while entries.len() >= ENTRIES_MAX {
            let first = entries.iter().min_by_key(|(_, entry)| entry.until);
            let Some(first) = first.map(|(name, _)| name.clone()) else { break };
            entries.remove(&first);
        }
        let entry = entries.entry((room.to_owned(), identity.clone())).or_default();
        entry.until = entry.until.max(until);
        // Who was sent away, came back with a newer token and was restrained then is still sent away with the older one.
        match verdict {
            Verdict::Removed => entry.removed = Some(now),
            Verdict::Changed(permissions) => entry.changed = Some((now, permissions)),
        }
        drop(entries);
        self.recall(room);
    }

    /// From now on these bans hold in a room, and no others.
    pub(crate) fn set_bans(&self, room: &str, bans: &[Ban]) {
        self.bans.set(Instant::now(), room, bans);
        self.recall(room);
    }

    /// The bans of a room.
    pub(crate) fn bans_of(&self, room: &str) -> Vec<Ban> {
        self.bans.of(room)
    }

    /// Applies what was decided about this identity since its token was made.
    pub(crate) fn apply(&self, now: u64, room: &str, grant: &mut Grant) -> Result<(), AuthError> {
        let (Some(identity), Some(validity)) = (&grant.identity, grant.validity) else {
            return Ok(());
        };
        let clock = Instant::now();
        if let Some(ban) = self.bans.find(clock, room, identity, grant) {
            return Err(AuthError::Banned(ban.sentence(clock)));
        }
        let entries = self.lock();
        let Some(entry) = entries.get(&(room.to_owned(), identity.clone())) else { return Ok(()) };
        let old = |since: u64| validity.made <= since && now < entry.until;
        if entry.removed.is_some_and(old) {
            return Err(AuthError::Revoked);
        }
        if let Some((_, permissions)) = entry.changed.as_ref().filter(|(since, _)| old(*since)) {
            grant.permissions = permissions.clone();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Entry>> {
        // Nothing inside a guard can panic half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Validity;
    use super::*;

    fn grant(identity: &str, made: u64) -> Grant {
        let validity = Some(Validity { made, ends: made + 600 });
        Grant { identity: Some(identity.to_owned()), validity, ..Grant::OPEN }
    }

    #[test]
    fn row_31_an_old_token_is_worth_nothing_and_a_new_one_everything() {
        let list = Revocations::default();
        list.add(1000, "r", &grant("eve", 900), Verdict::Removed);
        let apply = |now, room: &str, mut grant: Grant| list.apply(now, room, &mut grant);
        assert_eq!(apply(1000, "r", grant("eve", 900)), Err(AuthError::Revoked));
        assert_eq!(apply(1000, "r", grant("eve", 1000)), Err(AuthError::Revoked), "of this second");
        assert_eq!(apply(1000, "r", grant("eve", 0)), Err(AuthError::Revoked), "says not when");
        assert_eq!(apply(1002, "r", grant("eve", 1001)), Ok(()), "invited again");
        assert_eq!(apply(1000, "other", grant("eve", 900)), Ok(()));
        assert_eq!(apply(1000, "r", grant("eva", 900)), Ok(()));
        assert_eq!(apply(1000 + KEPT_MIN, "r", grant("eve", 900)), Ok(()), "all have expired");
    }

    #[test]
    fn row_31_permissions_that_were_taken_stay_taken() {
        let list = Revocations::default();
        let quiet = Permissions { can_publish: false, ..Permissions::ALL };
        list.add(1000, "r", &grant("eve", 900), Verdict::Changed(quiet.clone()));
        let mut back = grant("eve", 900);
        list.apply(1001, "r", &mut back).unwrap();
        assert_eq!(back.permissions, quiet);
        list.add(1010, "r", &grant("eve", 900), Verdict::Removed);
        list.add(1020, "r", &grant("eve", 1015), Verdict::Changed(quiet));
        let mut old = grant("eve", 900);
        assert_eq!(list.apply(1021, "r", &mut old), Err(AuthError::Revoked), "still sent away");
    }

    #[test]
    fn row_31_the_list_is_bounded() {
        let list = Revocations::default();
        for number in 0..ENTRIES_MAX as u64 + 10 {
            let name = format!("i{number}");
            list.add(number, "r", &grant(&name, number), Verdict::Removed);
        }
        assert_eq!(list.lock().len(), ENTRIES_MAX);
        assert!(!list.lock().contains_key(&("r".to_owned(), "i0".to_owned())), "it ended first");
    }
}
