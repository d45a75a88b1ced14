//! Who is kept out of a room for a time, also when the room has ended meanwhile. In memory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most bans of all rooms; beyond it those that end first are forgotten.
const BANS_MAX: usize = 10_000;

/// Somebody is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) identity: String,
    /// Id of the token with which they came, where it has one.
    pub(crate) token_id: Option<String>,
    pub(crate) until: Instant,
    /// Identity of the moderator.
    pub(crate) by: Option<String>,
    pub(crate) reason: String,
}

impl Ban {
    /// Whether it keeps out somebody with this identity or token.
    pub(crate) fn holds(&self, now: Instant, identity: &str, token_id: Option<&str>) -> bool {
        let same_token = token_id.is_some() && self.token_id.as_deref() == token_id;
        now < self.until && (self.identity == identity || same_token)
    }
}

/// By room. The room is asked first; this is for those that have ended, and for what is not a room.
#[derive(Debug, Default)]
pub(crate) struct KeptBans(Mutex<HashMap<String, Vec<Ban>>>);

impl KeptBans {
    /// From now on these hold in a room, and no others.
    pub(crate) fn set(&self, now: Instant, room: &str, bans: &[Ban]) {
        let mut rooms = self.lock();
        rooms.remove(room);
        if !bans.is_empty() {
            rooms.insert(room.to_owned(), bans.to_vec());
        }
        let mut count: usize = rooms.values().map(Vec::len).sum();
        if count <= BANS_MAX {
            return;
        }
        let ends = rooms.values().flatten().map(|ban| ban.until);
        let mut ends: Vec<Instant> = ends.filter(|until| *until > now).collect();
        ends.sort_unstable();
        let first = ends.len().checked_sub(BANS_MAX).and_then(|beyond| ends.get(beyond)).copied();
        for bans in rooms.values_mut() {
            bans.retain(|ban| ban.until > now && first.is_none_or(|first| ban.until >= first));
        }
        rooms.retain(|_, bans| !bans.is_empty());
        count = rooms.values().map(Vec::len).sum();
        tracing::warn!(count, "bans were forgotten: there are too many");
    }

    /// Those of a room.
    pub(crate) fn of(&self, room: &str) -> Vec<Ban> {
        self.lock().get(room).cloned().unwrap_or_default()
    }

    /// Whether somebody with this identity or token is kept out of a room.
    pub(crate) fn hold(
        &self,
        now: Instant,
        room: &str,
        identity: &str,
        token_id: Option<&str>,
    ) -> bool {
        let rooms = self.lock();
        rooms.get(room).is_some_and(|bans| bans.iter().any(|b| b.holds(now, identity, token_id)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Ban>>> {
        // Nothing inside a guard can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ban(identity: &str, until: Instant) -> Ban {
        let token_id = Some(format!("token-of-{identity}"));
        Ban { identity: identity.to_owned(), token_id, until, by: None, reason: String::new() }
    }

    #[test]
    fn a_ban_holds_for_identity_and_token_until_it_ends() {
        let now = Instant::now();
        let (bans, end) = (KeptBans::default(), now + Duration::from_secs(60));
        bans.set(now, "r", &[ban("eve", end)]);
        assert!(bans.hold(now, "r", "eve", None));
        assert!(bans.hold(now, "r", "eva", Some("token-of-eve")), "another name, the same token");
        assert!(!bans.hold(now, "r", "eva", None));
        assert!(!bans.hold(now, "q", "eve", Some("token-of-eve")), "another room");
        assert!(!bans.hold(end, "r", "eve", None));
        bans.set(now, "r", &[]);
        assert!(!bans.hold(now, "r", "eve", None), "lifted");
    }

    #[test]
    fn there_are_never_too_many() {
        let now = Instant::now();
        let bans = KeptBans::default();
        for room in 0..60 {
            let of = |who: u64| {
                ban(&format!("i{who}"), now + Duration::from_secs(room * 1000 + who + 1))
            };
            bans.set(now, &format!("r{room}"), &(0..200).map(of).collect::<Vec<_>>());
        }
        let count: usize = bans.lock().values().map(Vec::len).sum();
        assert!((9000..=BANS_MAX).contains(&count), "{count}");
        assert!(
            bans.of("r0").is_empty() && bans.of("r59").len() == 200,
            "what ends first goes first"
        );
    }
}
