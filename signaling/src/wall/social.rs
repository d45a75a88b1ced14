//! Chat and moderation as anybody may ask for it, and who may hear and do what.

use super::{Person, Token, Wall};
use crate::protocol::ClientMessage;
use crate::room::{RoomCommand, RoomReport};
use rand::Rng as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

type Name = (&'static str, &'static str);

impl Person {
    fn name(&self) -> Name {
        (self.room, self.identity)
    }

    /// Nothing of another room, and of what is said in private only what is for it, or its own.
    pub(super) fn check_heard(&self, text: &str) {
        let other = if self.room == "a" { "in-b" } else { "in-a" };
        assert!(!text.contains(other), "{} in {}: {text}", self.identity, self.room);
        for private in text.split("private:").skip(1) {
            let mut concerned = private.split(':').take(2);
            assert!(concerned.any(|who| who == self.identity), "{} heard {text}", self.identity);
        }
    }
}

impl Wall {
    /// Somebody is not in a room any more, in no way.
    pub(super) fn gone(&mut self, name: Name) {
        self.people.retain(|person| person.name() != name);
        self.sessions.retain(|session| (session.room, session.identity) != name);
        self.members.remove(&name);
        self.appointed.remove(&name);
    }

    /// Neither lock nor lobby keep somebody out.
    pub(super) fn is_free_to_enter(
        &self,
        room: &'static str,
        identity: &'static str,
        token: &Token,
    ) -> bool {
        let open = !self.locked.contains(room) && !self.lobbies.contains(room);
        open || token.admin || self.members.contains_key(&(room, identity))
    }

    /// Somebody is in, and the newer of two with one identity stays.
    pub(super) fn sit_down(&mut self, person: Person) {
        let name = person.name();
        self.people.retain(|other| other.name() != name);
        self.waiting.retain(|other| other.name() != name);
        self.sessions.retain(|s| !s.publishes || (s.room, s.identity) != name);
        self.members.insert(name, (person.permissions.clone(), person.token.hidden, false));
        self.people.push(person);
    }

    /// Those who wait are let in; what was decided of their tokens meanwhile holds.
    fn let_in(&mut self, whom: impl Fn(&Person) -> bool) {
        let (admitted, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(whom);
        self.waiting = waiting;
        let admitted: Vec<Person> = admitted;
        for mut person in admitted {
            let name = person.name();
            match self.entry(&person.token, person.room) {
                Some((_, permissions)) => {
                    person.permissions = permissions;
                    self.sit_down(person);
                }
                None => self.gone(name),
            }
        }
    }

    /// The door is as it was left; a room that is over is a new one when somebody comes.
    pub(super) fn check_door(&mut self, room: &'static str, report: Option<&RoomReport>) {
        let waiting = self.waiting.iter().filter(|person| person.room == room);
        let waiting: BTreeSet<&str> = waiting.map(|person| person.identity).collect();
        let found = report.map(|report| report.waiting.as_slice()).unwrap_or_default();
        let found: BTreeSet<&str> = found.iter().map(|waiting| waiting.identity.as_str()).collect();
        assert_eq!(found, waiting, "who waits for {room}");
        let over = report.is_none_or(|report| {
            report.participants.is_empty()
                && report.viewers == 0
                && report.waiting.is_empty()
                && report.linger.is_zero()
        });
        if over {
            self.locked.remove(room);
            self.lobbies.remove(room);
        } else if let Some(report) = report {
            let door = (self.locked.contains(room), self.lobbies.contains(room));
            assert_eq!((report.state.locked, report.state.lobby), door, "the door of {room}");
        }
    }

    /// Sends a request and returns its answer; everything else that comes meanwhile is looked at.
    async fn ask(&mut self, index: usize, mut message: Value) -> Value {
        self.requests += 1;
        let request = self.requests;
        message["request"] = request.into();
        let message = ClientMessage::decode(&message.to_string()).unwrap();
        let person = self.people.get_mut(index).unwrap();
        let from = person.membership.participant;
        person.membership.room.send(RoomCommand::Message { from, message }).await;
        loop {
            let text = timeout(Duration::from_secs(10), person.outbox.messages.recv()).await;
            let text = text.expect("an answer in time").expect("an answer").message;
            person.check_heard(&text);
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["request"] == request {
                return answer;
            }
        }
    }

    /// Says something, to all or in private.
    pub(super) async fn talk(&mut self) -> Option<&'static str> {
        let (to, kind) = (self.pick(&self.names.clone()), self.rng.random_range(0..4));
        let index = self.rng.random_range(0..self.people.len().max(1));
        let number = self.rng.random_range(1..100);
        let person = self.people.get(index)?;
        let (room, identity) = person.name();
        let heard = self.members.get(&(room, to)).is_some_and(|(_, hidden, _)| !hidden);
        let talks = person.permissions.can_publish_data && !person.token.hidden;
        let (message, allowed) = match kind {
            0 => (json!({"type": "chat", "text": format!("in-{room}")}), talks),
            1 => {
                let text = format!("in-{room} private:{identity}:{to}:");
                (json!({"type": "chat", "text": text, "to": [to]}), talks && heard)
            }
            2 => (json!({"type": "presence", "hand": true}), !person.token.hidden),
            _ => (json!({"type": "chat_delete", "message": format!("m{number}")}), true),
        };
        let answer = self.ask(index, message).await;
        let done = answer["type"] == "ok";
        let passed_over = kind == 3 || answer["code"] == "limit";
        assert!(done == allowed || passed_over, "{identity} in {room}, {kind}: {answer}");
        self.note(format!("talk {kind} {done}"));
        Some(room)
    }

    /// Somebody with that name moderates by a token; `member`: in the room, not as a viewer.
    fn by_token(&self, name: Name, member: bool) -> bool {
        let people = self.people.iter().filter(|person| person.name() == name);
        let sessions = self.sessions.iter().filter(|s| (s.room, s.identity) == name);
        let sessions = sessions.filter(|session| session.publishes || !member);
        people.map(|p| p.token.admin).chain(sessions.map(|s| s.token.admin)).any(|admin| admin)
    }

    /// Does what moderators do, as anybody.
    pub(super) async fn moderate(&mut self) -> Option<&'static str> {
        let (who, on) = (self.pick(&self.names.clone()), self.rng.random_bool(0.5));
        let (few, mut kind) = (self.rng.random_bool(0.3), self.rng.random_range(0..10));
        // Those who wait would be gone before anybody thought of them.
        if !self.waiting.is_empty() && self.rng.random_bool(0.7) {
            kind = self.rng.random_range(6..8);
        }
        let index = self.rng.random_range(0..self.people.len().max(1));
        let person = self.people.get(index)?;
        // Few of those who are there wait.
        let mut knocking = self.waiting.iter().filter(|waiting| waiting.room == person.room);
        let knocks = knocking.next().filter(|_| matches!(kind, 6 | 7));
        let who = knocks.map_or(who, |waiting| waiting.identity);
        let (own, name, room) = (person.name(), (person.room, who), person.room);
        let by_token = person.token.admin;
        let may = by_token || self.appointed.contains(&own);
        let viewing = self.sessions.iter().any(|s| (s.room, s.identity) == name);
        let member = self.members.get(&name).cloned();
        let here = member.is_some() || viewing;
        let outranked = |member| self.by_token(name, member) && !person.token.admin;
        let waits = self.waiting.iter().any(|waiting| waiting.name() == name);
        let permissions = json!({"can_publish": on, "can_subscribe": on, "can_publish_data": on,
            "can_update_metadata": on, "can_publish_sources": []});
        let (message, allowed) = match kind {
            0 => {
                (json!({"type": "kick", "identity": who}), here && own != name && !outranked(false))
            }
            1 if few => (
                json!({"type": "ban", "identity": who, "seconds": 100_000}),
                own != name
                    && !outranked(false)
                    && (by_token || self.banned.get(&name) != Some(&true)),
            ),
            1 | 2 => (
                json!({"type": "unban", "identity": who}),
                self.banned.get(&name).is_some_and(|made_by_token| by_token || !made_by_token),
            ),
            3 => (
                json!({"type": "set_permissions", "identity": who, "permissions": permissions}),
                here && !outranked(false),
            ),
            4 => (json!({"type": "update_room", "locked": on && few}), true),
            5 => (json!({"type": "update_room", "lobby": on && few}), true),
            6 => (json!({"type": "admit", "identity": who}), waits),
            7 => (json!({"type": "deny", "identity": who}), waits),
            8 => {
                let message = json!({"type": "set_moderator", "identity": who, "moderator": on});
                let (by_token, sees) = (self.by_token(name, true), member.clone());
                let sees = sees.is_some_and(|(_, hidden, over_http)| !hidden && !over_http);
                let allowed = if by_token { on } else { !on || sees };
                (message, member.is_some() && allowed)
            }
            _ => (
                json!({"type": "update_participant", "identity": who, "metadata": format!("in-{room}")}),
                member.is_some() && (own == name || !outranked(true)),
            ),
        };
        let allowed = match kind {
            9 if own == name => may || person.permissions.can_update_metadata,
            _ => may && allowed,
        };
        let what = message["type"].as_str().unwrap().to_owned();
        let answer = self.ask(index, message.clone()).await;
        let done = answer["type"] == "ok";
        let limited = kind == 9 && own == name && answer["code"] == "limit";
        assert!(done == allowed || limited, "{own:?}: {message} was answered {answer}");
        self.note(format!("moderate {what} {done}"));
        if done {
            self.note_moderated(&what, name, (on, by_token), &message);
        }
        Some(room)
    }

    fn note_moderated(
        &mut self,
        what: &str,
        name: Name,
        (on, by_token): (bool, bool),
        message: &Value,
    ) {
        match what {
            "kick" => self.gone(name),
            "ban" => {
                self.gone(name);
                self.waiting.retain(|waiting| waiting.name() != name);
                self.banned.insert(name, by_token);
            }
            "unban" => {
                self.banned.remove(&name);
            }
            "set_permissions" => self.permit(name, on, on),
            "admit" => self.let_in(|person| person.name() == name),
            "deny" => self.waiting.retain(|waiting| waiting.name() != name),
            "set_moderator" => match on && !self.by_token(name, true) {
                true => drop(self.appointed.insert(name)),
                false => drop(self.appointed.remove(&name)),
            },
            "update_room" => {
                let mut set = |rooms: &str, value: &Value| {
                    let rooms = match rooms {
                        "locked" => &mut self.locked,
                        _ => &mut self.lobbies,
                    };
                    match value.as_bool() {
                        Some(true) => drop(rooms.insert(name.0)),
                        Some(false) => drop(rooms.remove(name.0)),
                        None => {}
                    }
                };
                set("locked", &message["locked"]);
                set("lobby", &message["lobby"]);
                if !self.lobbies.contains(name.0) {
                    self.let_in(|person| person.room == name.0);
                }
            }
            _ => {}
        }
    }
}
