//! Chat and presence: who sees what, and how much of it.

use super::*;
use crate::protocol::{
    Chat, ChatDelete, ChatDeleted, ChatMessage, ChatRequest, MessageId, ParticipantUpdate,
    Presence, PresenceRequest, React, Typing, UpdateParticipant,
};
use crate::protocol::{Moderate, ModeratorAction};
use crate::room::chat;

impl World {
    pub(super) fn chat(&mut self, from: ParticipantId, text: &str, to: &[&str]) {
        let to = to.iter().map(|identity| (*identity).to_owned()).collect();
        let chat = Chat { request: None, text: text.to_owned(), to };
        self.say(from, ClientMessage::Chat(ChatRequest::Chat(chat)));
    }

    pub(super) fn delete(&mut self, from: ParticipantId, message: u32) {
        let message = MessageId(message);
        let delete = ChatDelete { request: None, message, reason: "Rude".into() };
        self.say(from, ClientMessage::Chat(ChatRequest::ChatDelete(delete)));
    }

    fn type_something(&mut self, from: ParticipantId, typing: bool) {
        self.say(from, ClientMessage::Chat(ChatRequest::Typing(Typing { typing })));
    }

    fn presence(&mut self, from: ParticipantId, hand: Option<bool>, status: Option<&str>) {
        let status = status.map(str::to_owned);
        let presence = Presence { request: None, hand, status };
        self.say(from, ClientMessage::Presence(PresenceRequest::Presence(presence)));
    }

    fn update_self(&mut self, from: ParticipantId, attributes: &[(&str, &str)]) {
        let attributes =
            attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let attributes = Some(attributes.collect());
        let update = UpdateParticipant { attributes, ..UpdateParticipant::default() };
        let action = ModeratorAction::UpdateParticipant(update);
        let moderate = Moderate { request: None, reason: String::new(), action };
        self.say(from, ClientMessage::Moderate(moderate));
    }

    pub(super) fn refusals(&mut self, id: ParticipantId) -> Vec<ErrorCode> {
        std::mem::take(&mut self.client(id).errors).into_iter().map(|(code, _)| code).collect()
    }
}

fn texts(messages: &[ChatMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

#[test]
fn what_is_said_is_seen_by_all_and_by_who_comes_later() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.chat(ada, "one", &[]);
    world.chat(bob, "two", &[]);
    for id in [ada, bob] {
        assert_eq!(texts(&world.client(id).chat), ["one", "two"]);
    }
    assert_eq!(world.client(bob).chat[0].name, "ADA");
    let eve = world.join("eve");
    assert_eq!(texts(&world.client(eve).chat), ["one", "two"]);
}

#[test]
fn a_private_message_is_seen_by_those_it_is_for_and_nobody_else() {
    let mut world = World::new();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|identity| world.join(identity));
    assert!(world.room.participants[&ada].is_moderator());
    world.chat(bob, "psst", &["eve", "eve"]);
    world.chat(bob, "all", &[]);
    assert_eq!(texts(&world.client(ada).chat), ["all"], "a moderator is one like any other");
    for id in [bob, eve] {
        assert_eq!(texts(&world.client(id).chat), ["psst", "all"]);
    }
    assert_eq!(world.client(eve).chat[0].to, ["eve"], "once each");
    // Nor by who comes later, unless it was for them.
    let dan = world.join("dan");
    assert_eq!(texts(&world.client(dan).chat), ["all"]);
    world.say(eve, ClientMessage::Leave {});
    let eve = world.join("eve");
    assert_eq!(texts(&world.client(eve).chat), ["psst", "all"]);
    // What cannot be seen cannot be deleted, and is not there.
    world.delete(ada, 1);
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    world.chat(ada, "x", &["bob", "nobody"]);
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    assert!(texts(&world.client(bob).chat).len() == 2, "told to none of them");
    world.delete(bob, 1);
    assert_eq!(texts(&world.client(eve).chat), ["all"]);
}

#[test]
fn a_message_is_deleted_by_its_author_and_by_moderators() {
    let mut world = World::new();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|identity| world.join(identity));
    world.chat(bob, "one", &[]);
    world.chat(bob, "two", &[]);
    world.delete(eve, 1);
    assert_eq!(world.refusals(eve), [ErrorCode::NotAllowed]);
    world.delete(bob, 1);
    world.delete(ada, 2);
    for (id, reason) in [(ada, "Rude"), (bob, "Rude"), (eve, "")] {
        assert!(world.client(id).chat.is_empty());
        let news =
            ChatDeleted { message: MessageId(2), by: Some("ada".into()), reason: reason.into() };
        assert_eq!(world.client(id).deleted.pop(), Some(news), "why is not everybody's business");
        assert_eq!(world.client(id).deleted[0].by, None, "it was his own");
    }
    world.delete(ada, 2);
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    let dan = world.join("dan");
    assert!(world.client(dan).chat.is_empty(), "history forgets it");
}

#[test]
fn what_is_kept_has_a_limit() {
    let mut world = World::new();
    let ada = world.join("ada");
    for number in 0..chat::MESSAGES_MAX + 5 {
        world.chat(ada, &format!("{number}"), &[]);
        world.now += Duration::from_secs(1);
    }
    let bob = world.join("bob");
    assert_eq!(world.client(bob).chat.len(), chat::MESSAGES_MAX);
    assert_eq!(world.client(bob).chat[0].text, "5", "the oldest go first");
    let long = "ü".repeat(4000);
    for _ in 0..chat::BYTES_MAX / long.len() + 3 {
        world.chat(ada, &long, &[]);
        world.now += Duration::from_secs(1);
    }
    let eve = world.join("eve");
    let bytes: usize = world.client(eve).chat.iter().map(|message| message.text.len()).sum();
    assert!(bytes <= chat::BYTES_MAX && bytes > chat::BYTES_MAX - 2 * long.len(), "{bytes}");
}

#[test]
fn whoever_says_too_much_is_refused() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    for _ in 0..10 {
        world.chat(ada, "x", &[]);
        world.presence(ada, Some(true), None);
    }
    assert!(world.refusals(ada).is_empty());
    world.chat(ada, "x", &[]);
    let react = React { request: None, reaction: "👍".into() };
    world.say(ada, ClientMessage::Presence(PresenceRequest::React(react)));
    world.update_self(ada, &[("a", "b")]);
    assert_eq!(world.refusals(ada), [ErrorCode::Limit; 3]);
    world.chat(bob, "y", &[]);
    assert!(world.refusals(bob).is_empty(), "others are not concerned");
    world.now += Duration::from_millis(500);
    world.chat(ada, "x", &[]);
    world.chat(ada, "x", &[]);
    assert_eq!(world.refusals(ada), [ErrorCode::Limit]);
    // A new connection in the same place is no way around it.
    let ada = world.join("ada");
    world.chat(ada, "x", &[]);
    assert_eq!(world.refusals(ada), [ErrorCode::Limit]);
}

#[test]
fn talking_is_a_grant_and_nothing_for_who_is_hidden() {
    let mut world = World::new();
    let ada = world.join("ada");
    let permissions = Permissions { can_publish_data: false, ..Permissions::ALL };
    let mute = world.join_as("mute", Grant { permissions, ..Grant::OPEN });
    let ghost = world.join_as("ghost", Grant { hidden: true, ..Grant::OPEN });
    for id in [mute, ghost] {
        world.chat(id, "x", &[]);
        world.type_something(id, true);
        let react = React { request: None, reaction: "👍".into() };
        world.say(id, ClientMessage::Presence(PresenceRequest::React(react)));
        assert_eq!(world.refusals(id), [ErrorCode::NotAllowed; 2]);
    }
    world.presence(ghost, Some(true), None);
    assert_eq!(world.refusals(ghost), [ErrorCode::NotAllowed]);
    let seen = world.client(ada);
    assert!(seen.chat.is_empty() && seen.typing.is_empty() && seen.reactions == 0);
    world.chat(ada, "x", &["ghost"]);
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound], "nobody is told that it is there");
}

#[test]
fn typing_is_told_and_ends_by_itself() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.type_something(ada, true);
    assert!(world.client(bob).typing.contains(&ada) && world.client(ada).typing.is_empty());
    world.advance(4);
    world.type_something(ada, true);
    world.advance(4);
    assert!(world.client(bob).typing.contains(&ada), "said again");
    world.advance(2);
    assert!(world.client(bob).typing.is_empty());
    world.type_something(ada, true);
    world.chat(ada, "done", &[]);
    assert!(world.client(bob).typing.is_empty(), "the message ends it");
    let before = world.client(bob).typing_news;
    for _ in 0..50 {
        world.type_something(ada, true);
        world.type_something(ada, false);
    }
    let told = world.client(bob).typing_news - before;
    assert!((2..=10).contains(&told), "{told} of 100");
}

#[test]
fn hands_are_raised_in_order() {
    let mut world = World::new();
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|identity| world.join(identity));
    world.presence(bob, Some(true), None);
    world.presence(ada, Some(true), Some("away"));
    world.presence(bob, Some(true), None);
    let hands = |world: &World, id| world.clients[&eve].participants[&id].standing.hand;
    assert!(0 < hands(&world, bob) && hands(&world, bob) < hands(&world, ada));
    world.presence(bob, Some(false), None);
    world.presence(bob, Some(true), None);
    assert!(hands(&world, ada) < hands(&world, bob), "behind the others");
    world.check();
    assert_eq!(world.client(eve).participants[&ada].standing.status, "away");
    // Taking the own place again changes nothing.
    let before = hands(&world, bob);
    world.lose(bob);
    let bob = world.join("bob");
    assert_eq!(hands(&world, bob), before);
    world.say(bob, ClientMessage::Leave {});
    let bob = world.join("bob");
    assert_eq!(hands(&world, bob), 0, "who left and comes again does not ask any more");
    world.check();
}

#[test]
fn own_attributes_are_a_grant() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let permissions = Permissions { can_update_metadata: false, ..Permissions::ALL };
    let plain = world.join_as("plain", Grant { permissions, ..Grant::OPEN });
    world.update_self(plain, &[("a", "b")]);
    assert_eq!(world.refusals(plain), [ErrorCode::NotAllowed]);
    world.update_self(bob, &[("a", "1"), ("b", "2")]);
    world.update_self(bob, &[("a", ""), ("c", "3")]);
    let known = &world.client(ada).participants[&bob].attributes;
    let known: Vec<_> = known.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(known, [("b", "2"), ("c", "3")]);
    // One by one they do not grow beyond the limit.
    let long = "x".repeat(1500);
    world.update_self(bob, &[("d", &long)]);
    world.update_self(bob, &[("e", &long)]);
    assert_eq!(world.refusals(bob), [ErrorCode::Limit]);
    world.check();
}

#[test]
fn somebody_who_moderates_changes_how_others_are_shown() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let update = |identity: &str| UpdateParticipant {
        identity: Some(identity.to_owned()),
        name: Some("Nice Name".into()),
        ..UpdateParticipant::default()
    };
    let by = |action| Moderate { request: None, reason: String::new(), action };
    let rename = |identity| {
        ClientMessage::Moderate(by(ModeratorAction::UpdateParticipant(update(identity))))
    };
    world.say(bob, rename("ada"));
    assert_eq!(world.refusals(bob), [ErrorCode::NotAllowed]);
    world.say(ada, rename("bob"));
    assert_eq!(world.client(ada).participants[&bob].name, "Nice Name");
    world.say(ada, rename("nobody"));
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    assert_ne!(ParticipantUpdate::of(ada), ParticipantUpdate::of(bob));
    world.check();
}
