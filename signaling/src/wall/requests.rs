//! What anybody may ask, and what the oracle expects to come of it. Each returns the room that it concerns, if any.

use super::{Person, ROOMS, Session, Token, Wall, offer};
use crate::protocol::{ClientMessage, Permissions, Source};
use crate::room::RoomCommand;
use crate::testing::Way;
use crate::ws::{Entered, enter, renewed};
use rand::Rng as _;
use serde_json::{Value, json};

impl Wall {
    /// Joins by a WebSocket.
    pub(super) async fn join(&mut self) -> Option<&'static str> {
        let (token, room) = (self.token(), self.pick(&ROOMS));
        let expected = self.entry(&token, room);
        let join =
            json!({"type": "join", "version": 1, "room": room, "name": "N", "token": token.text});
        let ClientMessage::Join(join) = ClientMessage::decode(&join.to_string()).unwrap() else {
            panic!("a join")
        };
        let joined = enter(&self.state, join).await;
        assert_eq!(joined.is_ok(), expected.is_some(), "{token:?} into {room}");
        self.note(format!("join {}", joined.is_ok()));
        let (Ok(Entered { membership, outbox, .. }), Some((identity, permissions))) =
            (joined, expected)
        else {
            return None;
        };
        let free = self.is_free_to_enter(room, identity, &token);
        let person = Person { membership, outbox, room, identity, token, permissions };
        if free {
            self.sit_down(person);
        } else if self.locked.contains(room) {
            self.note("door locked");
        } else {
            self.waiting.retain(|waiting| (waiting.room, waiting.identity) != (room, identity));
            self.waiting.push(person);
            self.note("door waits");
        }
        Some(room)
    }

    /// The number of a track of either room.
    fn some_track(&mut self) -> u32 {
        let tracks = self.tracks.clone();
        self.pick(&tracks)
    }

    /// Says something that only concerns the own room, whatever it names.
    pub(super) async fn say(&mut self) -> Option<&'static str> {
        let index = self.rng.random_range(0..self.people.len().max(1));
        let track = format!("t{}", self.some_track());
        let (muted, kind) = (self.rng.random_bool(0.5), self.rng.random_range(0..9));
        if kind > 6 {
            return self.say_to_others(index).await;
        }
        let person = self.people.get(index)?;
        let (room, identity) = (person.room, person.identity);
        let message = match kind {
            0 => json!({"type": "mute", "track": track, "muted": muted}),
            1 => json!({"type": "unpublish", "track": track}),
            2 => json!({"type": "subscribe", "track": track}),
            3 => json!({"type": "unsubscribe", "track": track}),
            4 => json!({"type": "track_settings", "tracks": [{"track": track, "width": 9}]}),
            5 => json!({"type": "set_layer", "track": track, "rid": null}),
            _ => json!({"type": "leave"}),
        };
        let message = ClientMessage::decode(&message.to_string()).unwrap();
        let from = person.membership.participant;
        person.membership.room.send(RoomCommand::Message { from, message }).await;
        if kind == 6 {
            self.people.remove(index);
            self.members.remove(&(room, identity));
            self.appointed.remove(&(room, identity));
        }
        self.note(format!("say {kind}"));
        Some(room)
    }

    /// Says something to others, and notes who is to get it: nobody but whom it names, in the own room.
    async fn say_to_others(&mut self, index: usize) -> Option<&'static str> {
        let to: Vec<_> = self.names.into_iter().filter(|_| self.rng.random_bool(0.2)).collect();
        let person = self.people.get(index)?;
        let (room, identity) = (person.room, person.identity);
        let text = format!("in-{room} {identity} {}", self.said);
        let message = json!({"type": "publish_data", "text": text, "to": to});
        let message = ClientMessage::decode(&message.to_string()).unwrap();
        let from = person.membership.participant;
        person.membership.room.send(RoomCommand::Message { from, message }).await;
        let (permissions, hidden, _) = &self.members[&(room, identity)];
        let seen = |to: &&str| self.members.get(&(room, *to)).is_some_and(|(_, hidden, _)| !hidden);
        let passes = permissions.can_publish_data && !hidden && to.iter().all(seen);
        let others = self.people.iter().filter(|p| p.room == room && p.identity != identity);
        let meant = others.filter(|p| passes && (to.is_empty() || to.contains(&p.identity)));
        self.expected = meant.map(|p| (p.room, p.identity, text.clone())).collect();
        self.said += 1;
        self.note(format!("data {passes} {}", self.expected.len()));
        Some(room)
    }

    /// Brings another token.
    pub(super) async fn renew(&mut self) -> Option<&'static str> {
        let token = self.token();
        let index = self.rng.random_range(0..self.people.len().max(1));
        let person = self.people.get(index)?;
        let (room, identity) = (person.room, person.identity);
        let expected = self.entry(&token, room).filter(|(renewing, _)| *renewing == identity);
        let grant = renewed(&self.state, &person.membership, &token.text);
        assert_eq!(grant.is_ok(), expected.is_some(), "{token:?} for {identity} in {room}");
        if let (Ok(grant), Some((_, permissions))) = (grant, expected) {
            let (participant, grant) = (person.membership.participant, Box::new(grant));
            let command = RoomCommand::Renew { participant, request: None, grant };
            person.membership.room.send(command).await;
            let person = self.people.get_mut(index).unwrap();
            let hidden = person.token.hidden;
            person.token = Token { hidden, ..token };
            person.permissions = permissions.clone();
            self.members.get_mut(&(room, identity)).unwrap().0 = permissions;
            self.note("renewed");
        }
        Some(room)
    }

    /// Makes a WHIP or WHEP session.
    pub(super) async fn post(&mut self) -> Option<&'static str> {
        let (token, room) = (self.token(), self.pick(&ROOMS));
        let publishes = self.rng.random_bool(0.6);
        let (path, way) = if publishes { ("whip", Way::Send) } else { ("whep", Way::Receive) };
        let expected = self.entry(&token, room).filter(|(identity, p)| match publishes {
            _ if !self.is_free_to_enter(room, identity, &token) => false,
            true => p.allows(Source::Camera) && p.allows(Source::Microphone) && !token.hidden,
            false => p.can_subscribe,
        });
        let path = format!("/{path}/{room}");
        let (status, location, body) =
            self.http("POST", &path, &token, "application/sdp", offer(way)).await;
        let allowed = !matches!(status, 401 | 403);
        assert_eq!(allowed, expected.is_some(), "{path} {token:?}: {status} {body}");
        assert_ne!(status, 406, "a session that is not noted: {body}");
        self.note(format!("{} {status}", if publishes { "whip" } else { "whep" }));
        let (identity, permissions) = expected?;
        if status == 201 {
            if publishes {
                self.people.retain(|p| (p.room, p.identity) != (room, identity));
                self.appointed.remove(&(room, identity));
                self.sessions.retain(|s| !s.publishes || (s.room, s.identity) != (room, identity));
                self.members.insert((room, identity), (permissions, false, true));
            }
            self.sessions.push(Session { path: location, room, identity, token, publishes });
        }
        Some(room)
    }

    /// Asks something of a session, as anybody.
    pub(super) async fn touch(&mut self) -> Option<&'static str> {
        let token = self.token();
        let index = self.rng.random_range(0..self.sessions.len().max(1));
        let delete = self.rng.random_bool(0.5);
        let room = self.pick(&ROOMS);
        let session = self.sessions.get(index)?.clone();
        let path = session.path.replacen(&format!("/{}/", session.room), &format!("/{room}/"), 1);
        let own =
            self.entry(&token, room).is_some_and(|(identity, _)| identity == session.identity)
                && session.room == room;
        let method = if delete { "DELETE" } else { "PATCH" };
        let kind = "application/trickle-ice-sdpfrag";
        let (status, _, body) = self.http(method, &path, &token, kind, String::new()).await;
        let refused = matches!(status, 401 | 403 | 404);
        assert_eq!(refused, !own, "{method} {path} of {session:?} with {token:?}: {status} {body}");
        self.note(format!("{method} own {own}"));
        if own && delete {
            self.end(index);
        }
        own.then_some(room)
    }

    /// A session is over.
    pub(super) fn end(&mut self, index: usize) {
        let session = self.sessions.remove(index);
        if session.publishes {
            self.members.remove(&(session.room, session.identity));
        }
    }

    /// One request of the HTTP API.
    pub(super) async fn manage(&mut self) -> Option<&'static str> {
        // Those without an identity go on managing.
        let token = match self.token() {
            token if token.identity.is_none() => token,
            _ => self.token(),
        };
        let (room, who) = (self.pick(&ROOMS), self.pick(&self.names.clone()));
        let (track, few) = (self.some_track(), self.rng.random_bool(0.2));
        // A track of that number is there less often than the rest.
        let kind = match self.rng.random_range(0..18) {
            kind @ 0..12 => kind,
            kind => 10 + kind % 2,
        };
        let (publish, subscribe) = (self.rng.random_bool(0.5), self.rng.random_bool(0.5));
        let base = format!("/api/rooms/{room}");
        // A token without an identity is nobody's, so nobody takes anything from it.
        let stands = token.identity.is_none() || self.entry(&token, room).is_some();
        let mine = token.good && token.admin && token.room == room && stands;
        let permissions = json!({"can_publish": publish, "can_subscribe": subscribe,
            "can_publish_data": publish, "can_update_metadata": publish,
            "can_publish_sources": []});
        let tag = format!("in-{room}");
        let (method, path, body, allowed) = match kind {
            0 => ("GET", "/api/rooms".to_owned(), Value::Null, token.good && token.list),
            1 => {
                let body = json!({"name": room, "metadata": tag});
                ("POST", "/api/rooms".to_owned(), body, token.good && token.create)
            }
            2 => ("GET", base, Value::Null, mine),
            3 => ("PATCH", base, json!({"metadata": tag}), mine),
            4 if few => ("DELETE", base, Value::Null, mine),
            4 | 5 => ("GET", format!("{base}/participants"), Value::Null, mine),
            6 => ("GET", format!("{base}/participants/{who}"), Value::Null, mine),
            7 => (
                "PATCH",
                format!("{base}/participants/{who}"),
                json!({"metadata": tag, "permissions": permissions}),
                mine,
            ),
            8 => ("DELETE", format!("{base}/participants/{who}"), Value::Null, mine),
            9 => ("GET", format!("{base}/tracks"), Value::Null, mine),
            10 => ("PATCH", format!("{base}/tracks/t{track}"), json!({"muted": true}), mine),
            _ => ("DELETE", format!("{base}/tracks/t{track}"), Value::Null, mine),
        };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, _, answer) = self.http(method, &path, &token, "application/json", text).await;
        let refused = matches!(status, 401 | 403);
        // A room that is there is changed, which needs more; one without anybody may or may not be there.
        let empty = !self.members.keys().any(|(place, _)| *place == room);
        let allowed = allowed && (kind != 1 || mine || (empty && !refused));
        assert_eq!(refused, !allowed, "{method} {path} with {token:?}: {status} {answer}");
        assert_eq!(status == 401, !token.good, "{method} {path}: {answer}");
        let other = if room == "a" { "in-b" } else { "in-a" };
        assert!(kind == 0 || !answer.contains(other), "{method} {path}: {answer}");
        self.note(format!("{method} {kind} {status}"));
        let name = (room, who);
        match (kind, status) {
            (4, 204) => {
                self.people.retain(|person| person.room != room);
                self.waiting.retain(|person| person.room != room);
                self.appointed.retain(|(place, _)| *place != room);
                self.sessions.retain(|session| session.room != room);
                self.members.retain(|(place, _), _| *place != room);
            }
            (7, 204) => self.permit(name, publish, subscribe),
            (8, 204) => {
                self.removed.insert(name);
                self.gone(name);
            }
            _ => {}
        }
        allowed.then_some(room)
    }

    pub(super) fn permit(
        &mut self,
        name: (&'static str, &'static str),
        publish: bool,
        subscribe: bool,
    ) {
        let now = Permissions {
            can_publish: publish,
            can_subscribe: subscribe,
            can_publish_data: publish,
            can_update_metadata: publish,
            can_publish_sources: Vec::new(),
        };
        self.changed.insert(name, now.clone());
        let ends = |s: &Session| (s.publishes && !publish) || (!s.publishes && !subscribe);
        self.sessions.retain(|s| (s.room, s.identity) != name || !ends(s));
        for person in self.people.iter_mut().filter(|p| (p.room, p.identity) == name) {
            person.permissions = now.clone();
        }
        if let Some((permissions, _, over_http)) = self.members.get_mut(&name) {
            *permissions = now;
            if *over_http && !publish {
                self.members.remove(&name);
            }
        }
    }
}
