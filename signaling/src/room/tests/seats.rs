//! More tracks than slots: who is in them.

use super::*;
use crate::protocol::{Kind, Priority, Source, TrackSetting, TrackSettings};
use sfu::Speaker;

impl World {
    /// Says `track_settings`.
    pub(super) fn settle(&mut self, id: ParticipantId, tracks: Vec<TrackSetting>) {
        for setting in &tracks {
            self.client(id).settings.insert(setting.track, *setting);
        }
        let settings = TrackSettings { request: None, tracks };
        self.say(id, ClientMessage::TrackSettings(settings));
    }

    pub(super) fn mute(&mut self, owner: ParticipantId, track: TrackId, muted: bool) {
        let mute = crate::protocol::Mute { request: None, track, muted };
        self.say(owner, ClientMessage::Mute(mute));
    }

    pub(super) fn hear(&mut self, speakers: Vec<Speaker>) {
        let router = self.room.ids.router();
        self.apply(RoomCommand::Media(Event::ActiveSpeakers { router, speakers }));
    }

    pub(super) fn track_of(&self, owner: ParticipantId, source: Source) -> TrackId {
        let own = |track: &&Track| track.owner == owner && track.source == source;
        self.room.tracks.values().find(own).unwrap().id
    }

    /// Owners of what is in the slots of a kind.
    fn seated(&self, id: ParticipantId, kind: Kind) -> Vec<ParticipantId> {
        let slots = self.room.participants[&id].slots.of_kind(kind);
        let mut owners: Vec<_> =
            slots.filter_map(|slot| Some(self.room.tracks[&slot.track?].owner)).collect();
        owners.sort_unstable();
        owners
    }

    /// What is on a subscriber's screen has a slot before anything that is not, and so has who speaks.
    pub(super) fn check_seats(&self) {
        for (id, client) in self.clients.iter().filter(|(_, c)| c.permissions.can_subscribe) {
            let (bound, waiting): (Vec<&Track>, Vec<&Track>) = self
                .room
                .tracks
                .values()
                .filter(|track| track.owner != *id && !client.unsubscribed.contains(&track.id))
                .filter(|track| !client.unavailable.contains(&track.id))
                .partition(|track| client.showing(track.id).is_some());
            let matters = |track: &&Track| match track.kind {
                _ if track.muted => false,
                Kind::Video => client.settings.get(&track.id).is_some_and(|setting| {
                    let pinned = setting.priority == Priority::High;
                    !setting.paused && (setting.width > 0 || pinned)
                }),
                Kind::Audio => self.speaking.contains(&track.id),
            };
            for track in waiting.iter().copied().filter(matters) {
                let mut same = bound.iter().filter(|other| other.kind == track.kind);
                assert!(same.all(matters), "{} waits at {id} for what matters less", track.id);
            }
            let voices = |tracks: &[&Track], muted| {
                tracks.iter().any(|track| track.kind == Kind::Audio && track.muted == muted)
            };
            let waits = voices(&waiting, false) && voices(&bound, true);
            assert!(!waits, "a voice waits at {id} for one that is muted");
        }
    }
}

fn shown(track: TrackId) -> TrackSetting {
    let (width, height, fps) = (320, 180, 0);
    TrackSetting { track, width, height, fps, paused: false, priority: Priority::Normal }
}

fn hidden(track: TrackId) -> TrackSetting {
    TrackSetting { width: 0, height: 0, paused: true, ..shown(track) }
}

/// People with camera and microphone, and one who is shown `video` and `audio` of them.
fn crowd(people: usize, video: u16, audio: u16) -> (World, ParticipantId, Vec<ParticipantId>) {
    let mut world = World::new();
    let viewer = world.join_limited("viewer", &["VP8"], Some(video), Some(audio));
    let people = (0..people).map(|number| world.join_silent(&format!("p{number}"))).collect();
    world.check();
    (world, viewer, people)
}

impl World {
    /// Sound whose packets do not say how loud it is.
    fn join_unmeasured(&mut self, identity: &str) -> ParticipantId {
        let id = self.join_limited(identity, &["VP8"], Some(0), Some(0));
        let publish = self.client(id).publish(Source::Microphone);
        self.client(id).peer.section(&publish.mid).levels = false;
        self.say(id, ClientMessage::Publish(publish));
        id
    }

    /// Somebody with camera and microphone who is shown nothing: that keeps large rooms quick.
    fn join_silent(&mut self, identity: &str) -> ParticipantId {
        let id = self.join_limited(identity, &["VP8"], Some(0), Some(0));
        for source in [Source::Camera, Source::Microphone] {
            let publish = self.client(id).publish(source);
            self.step(RoomCommand::Message { from: id, message: ClientMessage::Publish(publish) });
        }
        self.apply(RoomCommand::Tick);
        id
    }
}

#[test]
fn a_viewer_of_two_hundred_pages_through_them_all() {
    let (mut world, viewer, people) = crowd(MAX_PARTICIPANTS - 1, 9, 3);
    let sections = world.client(viewer).sections;
    assert_eq!((sections.video, sections.audio), (9, 3));
    let cameras: Vec<_> = people.iter().map(|id| world.track_of(*id, Source::Camera)).collect();
    let offers = world.client(viewer).offers();
    let mut last: &[TrackId] = &[];
    // From the last to the first: the other way round it would be who came first.
    for (index, page) in cameras.rchunks(9).enumerate() {
        let settings = page.iter().map(|track| shown(*track));
        world.settle(viewer, settings.chain(last.iter().map(|track| hidden(*track))).collect());
        let owners = world.seated(viewer, Kind::Video);
        for track in page {
            assert!(owners.contains(&world.room.tracks[track].owner), "page {index}: {track}");
        }
        assert_eq!(owners.len(), 9);
        assert!(world.seated(viewer, Kind::Audio).len() <= 3);
        let binds = world.media.binds;
        world.settle(viewer, page.iter().map(|track| shown(*track)).collect());
        assert_eq!(world.media.binds, binds, "the same page again");
        last = page;
    }
    for speaker in &people {
        world.now += Duration::from_millis(250);
        world.speak(&[*speaker]);
        assert!(world.seated(viewer, Kind::Audio).contains(speaker));
    }
    world.check();
    assert_eq!(world.client(viewer).offers(), offers, "without any renegotiation");
}

#[test]
fn what_is_visible_keeps_its_slot_and_what_appears_takes_one() {
    let (mut world, viewer, people) = crowd(6, 2, 0);
    let camera = |world: &World, index: usize| world.track_of(people[index], Source::Camera);
    let cameras: Vec<_> = (0..6).map(|index| camera(&world, index)).collect();
    assert_eq!(world.seated(viewer, Kind::Video), [people[0], people[1]], "who came first");
    world.settle(viewer, vec![shown(cameras[4])]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[0], people[4]]);
    world.settle(viewer, vec![shown(cameras[5])]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[4], people[5]]);
    // Neither a screen nor a speaker drives away what is looked at.
    world.publish(people[2], Source::ScreenShare);
    world.speak(&[people[3]]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[4], people[5]]);
    // Of three that are visible the two that appeared last; another size is no appearance.
    world.settle(viewer, vec![shown(cameras[1])]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[1], people[5]]);
    world.settle(viewer, vec![TrackSetting { width: 640, height: 360, ..shown(cameras[4]) }]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[1], people[5]]);
    let pinned = TrackSetting { priority: Priority::High, ..shown(cameras[4]) };
    world.settle(viewer, vec![pinned]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[1], people[4]], "pinned before all");
    world.settle(viewer, vec![hidden(cameras[1]), hidden(cameras[5]), hidden(cameras[4])]);
    let screen = people[2];
    assert_eq!(world.seated(viewer, Kind::Video), [screen, people[3]], "a screen, who spoke");
    world.check();
}

#[test]
fn of_those_that_appear_together_the_first_go_first() {
    let (mut world, viewer, people) = crowd(6, 2, 0);
    let settings =
        [3, 5, 4].map(|index: usize| shown(world.track_of(people[index], Source::Camera)));
    world.settle(viewer, settings.to_vec());
    assert_eq!(world.seated(viewer, Kind::Video), [people[3], people[5]]);
}

#[test]
fn without_settings_the_last_speakers_are_seen_and_muted_cameras_are_not() {
    let (mut world, viewer, people) = crowd(5, 2, 2);
    world.speak(&[people[3]]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[0], people[3]]);
    world.speak(&[people[4]]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[3], people[4]]);
    world.speak(&[]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[3], people[4]], "silence is no reason");
    let track = world.track_of(people[4], Source::Camera);
    world.mute(people[4], track, true);
    assert_eq!(world.seated(viewer, Kind::Video), [people[0], people[3]]);
    world.say(people[3], ClientMessage::Leave {});
    assert_eq!(world.seated(viewer, Kind::Video), [people[0], people[1]]);
    world.check();
}

#[test]
fn who_speaks_is_heard_at_once_in_place_of_the_longest_silent() {
    let (mut world, viewer, people) = crowd(6, 0, 2);
    let speak = |world: &mut World, who: &[usize]| {
        world.speak(&who.iter().map(|index| people[*index]).collect::<Vec<_>>());
    };
    let heard = |world: &World| -> Vec<usize> {
        let owners = world.seated(viewer, Kind::Audio);
        owners.iter().map(|id| people.iter().position(|other| other == id).unwrap()).collect()
    };
    speak(&mut world, &[4]);
    assert_eq!(heard(&world), [0, 4]);
    world.advance(1);
    speak(&mut world, &[5]);
    assert_eq!(heard(&world), [4, 5], "who has never spoken goes first");
    world.advance(10);
    speak(&mut world, &[]);
    assert_eq!(heard(&world), [4, 5], "silence takes no slot away");
    world.advance(10);
    speak(&mut world, &[2]);
    assert_eq!(heard(&world), [2, 5], "4 has been silent longer");
    world.check();
}

#[test]
fn what_sends_no_levels_counts_as_heard() {
    let (mut world, viewer, people) = crowd(3, 0, 2);
    let stream = world.join_unmeasured("stream");
    let heard = |world: &World| world.seated(viewer, Kind::Audio);
    assert_eq!(heard(&world), [people[0], stream], "before those who are silent");
    world.speak(&[people[1]]);
    assert_eq!(heard(&world), [people[1], stream]);
    world.advance(10);
    world.speak(&[people[2]]);
    assert_eq!(heard(&world), [people[2], stream], "it has sat long, and so has a silent one");
    world.advance(10);
    world.speak(&[people[1], people[2]]);
    assert_eq!(heard(&world), [people[1], people[2]], "two voices, two slots");
    world.speak(&[people[2]]);
    assert_eq!(heard(&world), [people[2], stream], "it comes back when one of them stops");
    let track = world.track_of(stream, Source::Microphone);
    world.mute(stream, track, true);
    assert_eq!(heard(&world), [people[1], people[2]], "there is nothing to hear");
    world.mute(stream, track, false);
    assert_eq!(heard(&world), [people[2], stream]);
    world.check();
}

#[test]
fn muted_voices_keep_no_slot_from_those_who_may_speak() {
    let (mut world, viewer, people) = crowd(3, 0, 2);
    let mute = |world: &mut World, index: usize, muted: bool| {
        let track = world.track_of(people[index], Source::Microphone);
        world.mute(people[index], track, muted);
        world.seated(viewer, Kind::Audio)
    };
    assert_eq!(world.seated(viewer, Kind::Audio), [people[0], people[1]]);
    assert_eq!(mute(&mut world, 0, true), [people[1], people[2]]);
    assert_eq!(mute(&mut world, 0, false), [people[1], people[2]], "no slot without a word");
    assert_eq!(mute(&mut world, 1, true), [people[0], people[2]]);
    assert_eq!(mute(&mut world, 2, true), [people[0], people[2]], "nobody else is there");
    world.speak(&[people[1]]);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[0], people[2]], "said before the mute");
    assert_eq!(mute(&mut world, 1, false), [people[0], people[1]]);
    world.check();
}

#[test]
fn a_muted_picture_takes_no_slot_from_one_that_is_seen() {
    let (mut world, viewer, people) = crowd(4, 2, 0);
    let camera = |index: usize| world.track_of(people[index], Source::Camera);
    let cameras = [camera(0), camera(1), camera(2), camera(3)];
    let mute = |world: &mut World, index: usize, muted: bool| {
        world.mute(people[index], cameras[index], muted);
        world.seated(viewer, Kind::Video)
    };
    world.settle(viewer, vec![shown(cameras[2]), shown(cameras[3])]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[2], people[3]]);
    assert_eq!(mute(&mut world, 3, true), [people[0], people[2]], "out of view, but not muted");
    let pinned = TrackSetting { priority: Priority::High, ..shown(cameras[3]) };
    world.settle(viewer, vec![pinned]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[0], people[2]]);
    assert_eq!(mute(&mut world, 2, true), [people[0], people[1]]);
    mute(&mut world, 0, true);
    world.settle(viewer, vec![hidden(cameras[1])]);
    assert_eq!(world.seated(viewer, Kind::Video), [people[2], people[3]], "ready to be unmuted");
    assert_eq!(mute(&mut world, 3, false), [people[2], people[3]]);
    assert_eq!(mute(&mut world, 0, false), [people[0], people[3]]);
    world.check();
}

#[test]
fn a_louder_voice_waits_until_a_slot_was_held_for_two_seconds() {
    let (mut world, viewer, people) = crowd(6, 0, 2);
    let speak = |world: &mut World, who: &[usize]| {
        world.speak(&who.iter().map(|index| people[*index]).collect::<Vec<_>>());
    };
    world.advance(10);
    speak(&mut world, &[2, 3]);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[2], people[3]]);
    world.now += Duration::from_millis(500);
    speak(&mut world, &[5, 2, 3]);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[2], people[3]]);
    assert_eq!(world.room.next_deadline(), Some(world.now + Duration::from_millis(1500)));
    world.advance(1);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[2], people[3]]);
    world.advance(1);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[2], people[5]], "the quieter one goes");
    speak(&mut world, &[3, 2, 5]);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[3], people[5]], "2 has sat long enough");
    speak(&mut world, &[2, 3, 5]);
    assert_eq!(world.seated(viewer, Kind::Audio), [people[3], people[5]], "and these have not");
    world.check();
}

#[test]
fn rooms_that_are_not_full_are_not_touched() {
    let (mut world, viewer, people) = crowd(4, 4, 4);
    let binds = world.media.binds;
    let cameras: Vec<_> = people.iter().map(|id| world.track_of(*id, Source::Camera)).collect();
    world.settle(viewer, vec![hidden(cameras[0]), shown(cameras[3]), hidden(cameras[1])]);
    world.speak(&[people[3], people[0]]);
    world.speak(&[people[0]]);
    world.advance(10);
    assert_eq!(world.media.binds, binds);
    world.check();
}
