//! Who is kept out of a room for a time, also when the room has ended meanwhile. In memory.

use super::Grant;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Most bans of all rooms; beyond it those that end first are forgotten.
const BANS_MAX: usize = 10_000;

/// Somebody is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) identity: String,
    /// For people, where they were there: what they were called.
    pub(crate) name: String,
    /// Id of the token with which they came, where it has one.
    pub(crate) token_id: Option<String>,
    pub(crate) until: Instant,
    /// Identity of the moderator.
    pub(crate) by: Option<String>,
    pub(crate) reason: String,
    /// Made by the HTTP API, or by somebody who moderates by a token: it keeps out others who do, too.
    pub(crate) by_token: bool,
}

impl Ban {
    /// Whether it keeps out somebody with this identity who comes with this.
    pub(crate) fn holds(&self, now: Instant, identity: &str, grant: &Grant) -> bool {
        let same_token = self.token_id.is_some() && self.token_id == grant.token_id;
        let meant = self.identity == identity || same_token;
        now < self.until && meant && (self.by_token || !grant.moderator)
    }

    /// What somebody is told whom it keeps out.
    pub(crate) fn sentence(&self, now: Instant) -> String {
        let because = because(&self.reason);
        match Span::of(seconds_until(now, self.until)) {
            Span::Minutes(count) => {
                format!("You are banned from this room for another {count} minutes.{because}")
            }
            Span::Hours(count) => {
                format!("You are banned from this room for another {count} hours.{because}")
            }
            Span::Days(count) => {
                format!("You are banned from this room for another {count} days.{because}")
            }
        }
    }
}

/// A time as people say it, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Minutes(u64),
    Hours(u64),
    Days(u64),
}

impl Span {
    pub(crate) fn of(seconds: u64) -> Self {
        const HOUR: u64 = 3600;
        match seconds {
            0..=7200 => Self::Minutes(seconds.div_ceil(60)),
            7201..=172_800 => Self::Hours(seconds.div_ceil(HOUR)),
            172_801.. => Self::Days(seconds.div_ceil(24 * HOUR)),
        }
    }
}

pub(crate) fn seconds_until(now: Instant, until: Instant) -> u64 {
    until.saturating_duration_since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// The end of a sentence that says what was done.
pub(crate) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" Reason: {reason}") }
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

    /// What keeps somebody with this identity out of a room who comes with this.
    pub(crate) fn find(
        &self,
        now: Instant,
        room: &str,
        identity: &str,
        grant: &Grant,
    ) -> Option<Ban> {
        let rooms = self.lock();
        rooms.get(room)?.iter().find(|ban| ban.holds(now, identity, grant)).cloned()
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
        let (identity, name, reason) = (identity.to_owned(), String::new(), String::new());
        Ban { identity, name, token_id, until, by: None, reason, by_token: false }
    }

    fn with(token_id: Option<&str>) -> Grant {
        Grant { token_id: token_id.map(str::to_owned), ..Grant::OPEN }
    }

    #[test]
    fn a_ban_holds_for_identity_and_token_until_it_ends() {
        let now = Instant::now();
        let (bans, end) = (KeptBans::default(), now + Duration::from_secs(60));
        bans.set(now, "r", &[ban("eve", end)]);
        let hold =
            |now, room, identity, grant: &Grant| bans.find(now, room, identity, grant).is_some();
        let token = with(Some("token-of-eve"));
        assert!(hold(now, "r", "eve", &with(None)));
        assert!(hold(now, "r", "eva", &token), "another name, the same token");
        assert!(!hold(now, "r", "eva", &with(None)));
        assert!(!hold(now, "q", "eve", &token), "another room");
        assert!(!hold(end, "r", "eve", &with(None)));
        let moderator = Grant { moderator: true, ..token };
        assert!(!hold(now, "r", "eve", &moderator), "not made by one");
        bans.set(now, "r", &[Ban { by_token: true, ..ban("eve", end) }]);
        assert!(hold(now, "r", "eve", &moderator));
        bans.set(now, "r", &[]);
        assert!(!hold(now, "r", "eve", &with(None)), "lifted");
    }

    #[test]
    fn who_is_kept_out_reads_for_how_long_and_why() {
        let now = Instant::now();
        let read = |seconds| {
            let until = now + Duration::from_secs(seconds);
            Ban { reason: "Noise".into(), ..ban("eve", until) }.sentence(now)
        };
        let expected =
            |time: &str| format!("You are banned from this room for another {time}. Reason: Noise");
        assert_eq!(read(61), expected("2 minutes"));
        assert_eq!(read(7200), expected("120 minutes"));
        assert_eq!(read(7201), expected("3 hours"));
        assert_eq!(read(30 * 24 * 3600), expected("30 days"));
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
