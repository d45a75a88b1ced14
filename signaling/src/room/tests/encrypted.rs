//! Tracks that their publishers seal: told to everybody, left as they are, and shown to nobody who cannot have a key.

use super::*;
use crate::protocol::Source;
use crate::room::watching::Watch;

impl World {
    fn publish_encrypted(&mut self, from: ParticipantId, source: Source) {
        let publish = Publish { encrypted: true, ..self.client(from).publish(source) };
        self.say(from, ClientMessage::Publish(publish));
    }
}

#[test]
fn others_learn_of_it_and_no_redundancy_is_put_around_it() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.publish(ada, Source::Microphone);
    world.publish_encrypted(ada, Source::Microphone);
    world.check();
    let tracks: Vec<_> = world.room.tracks.values().map(|t| (t.id, t.encrypted)).collect();
    assert_eq!(tracks.iter().map(|(_, sealed)| *sealed).collect::<Vec<_>>(), [false, true]);
    for (track, encrypted) in tracks {
        let consumer = world.room.participants[&bob].slots.showing(track).unwrap().consumer;
        assert_eq!(world.media.redundant(consumer), !encrypted, "{track}");
    }
    // It stays so when the section is offered again.
    world.client(ada).dirty = true;
    world.apply(RoomCommand::Tick);
    let sealed = world.room.tracks.values().find(|track| track.encrypted).unwrap();
    assert_eq!(sealed.section.codecs.len(), 1);
}

#[test]
fn viewers_over_http_are_shown_what_is_open() {
    let mut world = World::new();
    let ada = world.join("ada");
    world.publish_encrypted(ada, Source::Camera);
    world.publish_encrypted(ada, Source::ScreenShare);
    let bob = world.join("bob");
    world.publish(bob, Source::Camera);
    let viewer = world.watch(Watch::Room);
    assert_eq!(world.shown(viewer), [(bob, Source::Camera)]);
}
