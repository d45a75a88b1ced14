//! The door: locked rooms, full ones, and the lobby.

use super::moderation::{admin, person, role, room, token};
use super::*;
use crate::protocol::{Moderate, ModeratorAction, UpdateRoom};
use crate::room::lobby;

#[test]
fn a_locked_room_lets_nobody_new_in() {
    let mut world = World::new();
    let ada = world.join_as("ada", admin("ada"));
    let bob = world.join_as("bob", token("bob"));
    world.moderate(ada, room(Some(true), None));
    assert!(world.client(bob).room.locked);
    assert!(world.knock("eve", token("eve")).1.contains("locked"));
    world.lose(bob);
    let bob = world.join_as("bob", token("bob"));
    assert!(world.is_in(bob), "it was there");
    let dan = world.join_as("dan", admin("dan"));
    assert!(world.is_in(dan) && world.client(dan).room.locked);
    world.moderate(ada, room(Some(false), None));
    let eve = world.join_as("eve", token("eve"));
    assert!(world.is_in(eve));
    world.check();
}

#[test]
fn who_has_a_place_keeps_it_and_who_comes_in_another_way_waits_no_more() {
    let mut world = World::new();
    let ada = world.join_as("ada", admin("ada"));
    let bob = world.join_as("bob", token("bob"));
    let change = RoomChange { max_participants: Some(1), ..RoomChange::default() };
    world.administer(AdminCommand::Configure(change));
    assert!(world.knock("eve", token("eve")).1.contains("full"));
    world.lose(bob);
    let bob = world.join_as("bob", token("bob"));
    assert!(world.is_in(bob), "a full room is no reason to lose the own place");
    let change = RoomChange { max_participants: Some(9), ..RoomChange::default() };
    world.administer(AdminCommand::Configure(change));
    world.moderate(ada, room(None, Some(true)));
    world.join_as("dan", token("dan"));
    assert_eq!(world.client(ada).lobby.len(), 1);
    let dan = world.join_as("dan", admin("dan"));
    assert!(world.is_in(dan) && world.client(ada).lobby.is_empty(), "they are told");
    world.check();
}

#[test]
fn who_knocks_waits_and_is_let_in_or_not() {
    let mut world = World::new();
    let ada = world.join("ada");
    world.chat(ada, "before", &[]);
    world.moderate(ada, room(None, Some(true)));
    let [bob, eve, dan] = ["bob", "eve", "dan"].map(|identity| world.join(identity));
    assert!(!world.is_in(bob) && world.client(bob).place == 1 && world.client(dan).place == 3);
    let knocking: Vec<_> = world.client(ada).lobby.iter().map(|w| w.identity.clone()).collect();
    assert_eq!(knocking, ["bob", "eve", "dan"]);
    assert_eq!(world.client(ada).lobby[0].name, "BOB");
    world.chat(bob, "let me in", &[]);
    assert_eq!(world.refusals(bob), [ErrorCode::BadState]);
    world.chat(ada, "secret", &[]);
    assert!(world.client(bob).chat.is_empty(), "who waits sees nothing");
    world.moderate(ada, ModeratorAction::Admit(person("eve")));
    assert!(world.is_in(eve) && world.client(eve).is_welcome());
    assert_eq!(world.client(eve).chat.len(), 2);
    assert_eq!(world.client(dan).place, 2, "moved up");
    assert!(world.client(eve).lobby.is_empty(), "for moderators only");
    world.moderate(ada, role("eve", true));
    assert_eq!(world.client(eve).lobby.len(), 2);
    world.check();
    let deny = ModeratorAction::Deny(person("bob"));
    let moderate = Moderate { request: None, reason: "no".into(), action: deny };
    let command = RoomCommand::Message { from: ada, message: ClientMessage::Moderate(moderate) };
    assert_eq!(world.farewell(command), "denied: You were not let into this room. Reason: no");
    world.clients.remove(&bob);
    world.say(dan, ClientMessage::Leave {});
    assert!(world.waiting().is_empty());
    world.moderate(ada, ModeratorAction::Admit(person("dan")));
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    let dan = world.join("dan");
    world.lose(dan);
    assert!(world.waiting().is_empty(), "whose socket is gone does not wait");
    let [dan, fay] = ["dan", "fay"].map(|identity| world.join(identity));
    world.moderate(ada, room(None, Some(false)));
    assert!(world.is_in(dan) && world.is_in(fay), "there is no lobby any more");
    world.check();
}

#[test]
fn the_lobby_has_a_limit() {
    let mut world = World::new();
    let ada = world.join("ada");
    world.moderate(ada, room(None, Some(true)));
    for number in 0..lobby::WAITING_MAX {
        assert!(world.knock(&format!("i{number}"), Grant::OPEN).1.is_empty());
    }
    assert!(world.knock("one more", Grant::OPEN).1.starts_with("Limit"));
    let (_, told) = world.knock("i7", Grant::OPEN);
    assert!(told.starts_with("replaced"), "the newer of two with one identity: {told}");
    assert_eq!(world.waiting().len(), lobby::WAITING_MAX);
    let change = RoomChange { max_participants: Some(1), ..RoomChange::default() };
    world.administer(AdminCommand::Configure(change));
    world.moderate(ada, ModeratorAction::Admit(person("i1")));
    assert_eq!(world.refusals(ada), [ErrorCode::Limit], "the room is full");
    assert_eq!(world.waiting().len(), lobby::WAITING_MAX, "and they wait on");
}

#[test]
fn without_keys_nobody_waits_for_nobody() {
    let mut world = World::new();
    let linger = Some(Duration::from_secs(300));
    let lobby = UpdateRoom { lobby: Some(true), ..UpdateRoom::default() };
    let change = RoomChange { linger, room: lobby, ..RoomChange::default() };
    world.administer(AdminCommand::Configure(change));
    let ada = world.join("ada");
    assert!(world.is_in(ada) && world.moderates(ada), "nobody is there who could let them in");
    let [bob, eve] = ["bob", "eve"].map(|identity| world.join(identity));
    assert!(!world.is_in(bob));
    world.say(ada, ClientMessage::Leave {});
    assert!(world.is_in(bob) && world.moderates(bob) && !world.is_in(eve));
    assert_eq!(world.client(bob).lobby.len(), 1);
    world.check();
}

#[test]
fn with_keys_they_wait_for_a_moderator() {
    let mut world = World::new();
    let linger = Some(Duration::from_secs(300));
    let lobby = UpdateRoom { lobby: Some(true), ..UpdateRoom::default() };
    let change = RoomChange { linger, room: lobby, ..RoomChange::default() };
    world.administer(AdminCommand::Configure(change));
    let bob = world.join_as("bob", token("bob"));
    assert!(!world.is_in(bob));
    world.advance(1000);
    assert!(!world.room.is_over() && world.waiting() == ["bob"], "the room waits with them");
    let ada = world.join_as("ada", admin("ada"));
    assert_eq!(world.client(ada).lobby.len(), 1);
    // What was decided of a token of somebody who waits holds.
    world.apply(RoomCommand::Correct { participant: bob, grant: None });
    assert!(world.waiting().is_empty());
    world.say(ada, ClientMessage::Leave {});
    world.advance(1000);
    assert!(world.room.is_over());
}
