//! Who may go on over another socket, and as what.

use super::*;
use crate::auth::Secret;
use crate::protocol::{Mute, Source};

const UNIX: u64 = 1_800_000_000;

fn secret(world: &World, id: ParticipantId) -> String {
    world.room.participants[&id].resumption.secret()
}

impl World {
    fn resume_at(
        &mut self,
        participant: ParticipantId,
        secret: &str,
        covered: bool,
        unix: u64,
    ) -> Result<Resumed, Unresumable> {
        let secret = Secret::new(secret.to_owned());
        let resume = RoomCommand::Resume { participant, secret, covered, unix };
        let mut answer = None;
        for effect in self.room.apply(self.now, resume) {
            match effect {
                Effect::Resumed(said) => answer = Some(said),
                Effect::Send { to, message } => self.deliver(to, &message),
                other => panic!("{other:?}"),
            }
        }
        answer.unwrap()
    }

    fn resume(&mut self, id: ParticipantId, secret: &str) -> Result<Resumed, Unresumable> {
        self.resume_at(id, secret, true, UNIX)
    }

    /// The socket ends; the client is still there.
    fn cut(&mut self, participant: ParticipantId) {
        self.apply(RoomCommand::SignalingClosed { participant, clean: false });
    }

    fn connect(&mut self, id: ParticipantId) {
        let transport = self.room.participants[&id].transport.unwrap().id;
        let profile = sfu::SrtpProfile::AeadAes128Gcm;
        self.apply(RoomCommand::Media(Event::TransportConnected { transport, profile }));
    }
}

fn code(answer: &Result<Resumed, Unresumable>) -> ErrorCode {
    match answer {
        Err(Unresumable::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn figure_10_a_lost_socket_costs_nothing_but_a_word() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.publish(ada, Source::Camera);
    let before = format!("{:?}", world.room.tracks);
    world.cut(ada);
    let state = |world: &mut World| world.client(bob).participants[&ada].state;
    assert_eq!(state(&mut world), crate::protocol::ParticipantState::Reconnecting);
    let key = secret(&world, ada);
    world.resume(ada, &key).unwrap();
    assert_eq!(state(&mut world), crate::protocol::ParticipantState::Active);
    assert_eq!(format!("{:?}", world.room.tracks), before);
    world.check();
}

#[test]
fn a_secret_is_good_for_its_owner_and_until_the_next_one_is_known() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let (first, other) = (secret(&world, ada), secret(&world, bob));
    assert_eq!(code(&world.resume(ada, &other)), ErrorCode::NotFound, "somebody else's");
    assert_eq!(code(&world.resume(ada, "")), ErrorCode::NotFound);
    assert_eq!(code(&world.resume(ParticipantId(99), &first)), ErrorCode::NotFound);
    let second = world.resume(ada, &first).unwrap().secret;
    assert_ne!(first, second);
    // The answer got lost with its socket.
    let third = world.resume(ada, &first).unwrap().secret;
    assert_eq!(code(&world.resume(ada, &second)), ErrorCode::NotFound, "nobody was told that one");
    world.room.apply(world.now, RoomCommand::Heard { participant: ada });
    assert_eq!(code(&world.resume(ada, &first)), ErrorCode::NotFound, "an old one");
    world.resume(ada, &third).unwrap();
}

#[test]
fn requests_are_executed_once() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.publish(ada, Source::Camera);
    let track = *world.room.tracks.keys().next().unwrap();
    let mute = |request, muted| ClientMessage::Mute(Mute { request: Some(request), track, muted });
    world.say(ada, mute(7, true));
    world.cut(ada);
    let key = secret(&world, ada);
    assert_eq!(world.resume(ada, &key).unwrap().taken, 7);
    world.say(ada, mute(8, false));
    // What was said before the loss is said again, and heard by nobody.
    world.say(ada, mute(7, true));
    assert!(!world.room.tracks[&track].muted);
    assert!(!world.client(bob).participants[&ada].tracks[0].muted);
}

#[test]
fn who_may_not_be_here_may_not_go_on() {
    let mut world = World::new();
    let (ada, _bob) = (world.join("ada"), world.join("bob"));
    let grant = &mut world.room.participants.get_mut(&ada).unwrap().grant;
    grant.validity = Some(crate::auth::Validity { made: UNIX - 60, ends: UNIX });
    let key = secret(&world, ada);
    world.cut(ada);
    assert_eq!(
        code(&world.resume_at(ada, &key, false, UNIX)),
        ErrorCode::Limit,
        "too much is gone"
    );
    assert_eq!(code(&world.resume_at(ada, &key, true, UNIX + 61)), ErrorCode::Unauthorized);
    let key = world.resume_at(ada, &key, true, UNIX + 60).unwrap().secret;
    world.cut(ada);
    let remove = AdminCommand::Remove { identity: "ada".to_owned(), reason: String::new() };
    world.apply(RoomCommand::Admin(remove));
    assert_eq!(code(&world.resume(ada, "guess")), ErrorCode::NotFound);
    let answer = world.resume(ada, &key);
    assert!(matches!(&answer, Err(Unresumable::Over { reason, .. }) if reason == "removed"));
}

#[test]
fn who_was_replaced_while_away_does_not_fight_for_the_place() {
    let mut world = World::new();
    let (ada, _bob) = (world.join("ada"), world.join("bob"));
    let key = secret(&world, ada);
    world.cut(ada);
    let again = world.join("ada");
    let answer = world.resume(ada, &key);
    assert!(matches!(&answer, Err(Unresumable::Over { reason, .. }) if reason == "replaced"));
    world.advance(61);
    assert_eq!(code(&world.resume(ada, &key)), ErrorCode::NotFound, "for a minute only");
    assert!(world.room.participants.contains_key(&again));
}

#[test]
fn figure_11_a_minute_is_the_end() {
    let mut world = World::new();
    let (ada, eve, bob) = (world.join("ada"), world.join("eve"), world.join("bob"));
    world.connect(ada);
    let key = secret(&world, ada);
    world.cut(ada);
    world.cut(eve);
    let transport = world.room.participants[&eve].transport.unwrap().id;
    world.apply(RoomCommand::Media(Event::TransportSilent { transport, silent: true }));
    world.advance(14);
    assert!(world.client(bob).participants.contains_key(&eve));
    world.advance(1);
    assert!(!world.client(bob).participants.contains_key(&eve), "without media there is less time");
    world.advance(44);
    let key = world.resume(ada, &key).unwrap().secret;
    world.cut(ada);
    world.advance(59);
    assert!(world.client(bob).participants.contains_key(&ada), "the minute begins anew");
    world.advance(1);
    assert!(!world.client(bob).participants.contains_key(&ada));
    assert_eq!(code(&world.resume(ada, &key)), ErrorCode::NotFound);
}
