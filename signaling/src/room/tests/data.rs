//! Data through the room, and what the media plane is told about it.

use super::*;
use crate::protocol::{Permissions, PublishData, SubscribeTopics};
use sfu::{DataFault, DataMessage, DataParams, DataSender};

fn say(topic: &str, to: &[&str], text: &str) -> ClientMessage {
    ClientMessage::PublishData(PublishData {
        request: None,
        topic: topic.into(),
        reliable: true,
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        text: Some(text.into()),
        bytes: None,
    })
}

impl World {
    /// Somebody who never offers: a socket and nothing else.
    fn join_silently(&mut self, identity: &str) -> ParticipantId {
        let id = self.join(identity);
        assert!(self.room.participants[&id].transport.is_some(), "the model client offers");
        let transport = self.room.participants.get_mut(&id).unwrap().transport.take().unwrap().id;
        self.media.close(transport);
        self.routes.transport_closed(transport);
        // Any command that may be news.
        self.apply(RoomCommand::Tick);
        id
    }

    fn params(&self, id: ParticipantId) -> &DataParams {
        &self.media.data[&self.room.participants[&id].transport.unwrap().id]
    }

    fn errors(&mut self, id: ParticipantId) -> Vec<ErrorCode> {
        self.client(id).errors.drain(..).map(|(code, _)| code).collect()
    }
}

#[test]
fn the_media_plane_knows_who_is_who_and_who_may_what() {
    let mut world = World::new();
    let ada = world.join("ada");
    let expected = DataParams {
        sender: DataSender { number: ada.0, identity: "ada".into() },
        may_publish: true,
        topics: None,
    };
    assert_eq!(*world.params(ada), expected);
    let wish = SubscribeTopics { request: None, topics: Some(vec!["chat".into()]) };
    world.say(ada, ClientMessage::SubscribeTopics(wish));
    assert_eq!(world.params(ada).topics.as_deref(), Some(&["chat".to_owned()][..]));
    let silent = Permissions { can_publish_data: false, ..Permissions::ALL };
    let grant = Some(Box::new(Grant { permissions: silent, ..Grant::OPEN }));
    world.apply(RoomCommand::Correct { participant: ada, grant });
    assert!(!world.params(ada).may_publish);
    world.say(ada, say("chat", &[], "hi"));
    assert_eq!(world.errors(ada), [ErrorCode::NotAllowed]);
    assert_eq!(world.media.said, []);
}

#[test]
fn workers_of_a_room_know_each_other() {
    let mut world = World::new();
    for name in ["ada", "bob", "eve"] {
        world.join(name);
    }
    for worker in 0..3 {
        let others = (0..3).filter(|other| *other != worker).map(WorkerId).collect::<Vec<_>>();
        assert_eq!(world.media.links[&WorkerId(worker)], (others, false));
    }
}

#[test]
fn what_a_socket_says_goes_to_every_worker_and_to_those_without_connection() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let eve = world.join_silently("eve");
    assert!(world.media.links[&WorkerId(ada.0 as usize % 3)].1, "the room wants to be told");
    world.say(ada, say("chat", &[], "hi"));
    let workers: Vec<_> = world.media.said.iter().map(|(worker, _)| *worker).collect();
    assert!(workers.contains(&WorkerId(ada.0 as usize % 3)));
    assert!(workers.contains(&WorkerId(bob.0 as usize % 3)));
    assert_eq!(world.media.said[0].1.sender.identity.as_ref(), "ada");
    let got: Vec<_> = world.data.drain(..).map(|(to, data)| (to, data.identity)).collect();
    assert_eq!(got, [(eve, "ada".to_owned())]);
    world.say(ada, say("chat", &["bob"], "psst"));
    assert_eq!(world.data, [], "it was not for her");
    world.say(eve, say("chat", &["nobody"], "hello?"));
    assert_eq!(world.errors(eve), [ErrorCode::NotFound]);
    world.join_as("ghost", Grant { hidden: true, ..Grant::OPEN });
    world.say(eve, say("chat", &["ghost"], "hello?"));
    assert_eq!(world.errors(eve), [ErrorCode::NotFound], "nobody finds out that it is here");
    let wish = SubscribeTopics { request: None, topics: Some(Vec::new()) };
    world.say(eve, ClientMessage::SubscribeTopics(wish));
    world.errors(eve);
    world.say(ada, say("chat", &[], "hi"));
    assert_eq!(world.data, [], "she wants nothing");
}

#[test]
fn the_room_passes_on_what_a_channel_could_not_take() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    let transport = |world: &World, id| world.room.participants[&id].transport.unwrap().id;
    let message = DataMessage {
        sender: DataSender { number: ada.0, identity: "ada".into() },
        topic: "chat".into(),
        payload: bytes::Bytes::from_static(&[0, 1, 2]),
        ..DataMessage::default()
    };
    let event = Event::Data {
        router: world.room.ids.router(),
        recipients: vec![transport(&world, bob)],
        others: false,
        message: Box::new(message),
    };
    world.apply(RoomCommand::Media(event));
    let (to, data) = world.data.pop().unwrap();
    assert_eq!((to, data.participant, data.bytes.as_deref()), (bob, ada, Some("AAEC")));
    let refused =
        Event::DataRefused { transport: transport(&world, ada), fault: DataFault::TooLong };
    world.apply(RoomCommand::Media(refused));
    assert_eq!(world.errors(ada), [ErrorCode::TooLarge]);
}

#[test]
fn who_reads_too_slowly_is_told_which_channel_was_closed_and_why() {
    let mut world = World::new();
    let (_, bob) = (world.join("ada"), world.join("bob"));
    let transport = world.room.participants[&bob].transport.unwrap().id;
    let event = Event::DataSlowReader { transport, label: "reliable".into() };
    let told = world.room.apply(world.now, RoomCommand::Media(event));
    let told = told.into_iter().filter_map(|effect| match effect {
        Effect::Send {
            to: Recipients::One(id),
            message: ServerMessage::DataClosed { channel, reason, .. },
        } => Some((id, channel, reason)),
        _ => None,
    });
    let expected = (bob, "reliable".to_owned(), "slow_reader".to_owned());
    assert_eq!(told.collect::<Vec<_>>(), [expected]);
}

#[test]
fn data_through_the_room_has_a_rate() {
    let mut world = World::new();
    let ada = world.join("ada");
    let long = "x".repeat(64 * 1024);
    for _ in 0..16 {
        world.say(ada, say("chat", &[], &long));
    }
    assert_eq!(world.errors(ada), []);
    world.say(ada, say("chat", &[], &long));
    assert_eq!(world.errors(ada), [ErrorCode::Limit]);
    world.advance(1);
    for _ in 0..5 {
        world.say(ada, say("chat", &[], &long));
    }
    assert_eq!(world.errors(ada), [ErrorCode::Limit], "four in a second");
}
