//! Moderation: who may, what it does, who is told what.

use super::*;
use crate::protocol::{
    Ban, Moderate, Moderated, ModeratorAction, Nothing, OnePerson, OneTrack, PermissionChange,
    SetModerator, SetPermissions, Source, UpdateParticipant, UpdateRoom,
};
use crate::room::lobby;
use crate::testing::{FakePeer, Way};

pub(super) fn person(identity: &str) -> OnePerson {
    OnePerson { identity: identity.to_owned() }
}

pub(super) fn room(locked: Option<bool>, lobby: Option<bool>) -> ModeratorAction {
    ModeratorAction::UpdateRoom(UpdateRoom { metadata: None, locked, lobby })
}

pub(super) fn role(identity: &str, moderator: bool) -> ModeratorAction {
    ModeratorAction::SetModerator(SetModerator { identity: identity.to_owned(), moderator })
}

fn ban(identity: &str, seconds: u64) -> ModeratorAction {
    ModeratorAction::Ban(Ban { identity: identity.to_owned(), seconds })
}

/// By a token of the server's keys.
pub(super) fn token(identity: &str) -> Grant {
    Grant { identity: Some(identity.to_owned()), ..Grant::OPEN }
}

pub(super) fn admin(identity: &str) -> Grant {
    Grant { moderator: true, ..token(identity) }
}

impl World {
    pub(super) fn moderate(&mut self, by: ParticipantId, action: ModeratorAction) {
        let moderate = Moderate { request: None, reason: "because".into(), action };
        self.say(by, ClientMessage::Moderate(moderate));
    }

    pub(super) fn moderates(&self, id: ParticipantId) -> bool {
        self.room.participants[&id].is_moderator()
    }

    pub(super) fn is_in(&self, id: ParticipantId) -> bool {
        self.room.participants.contains_key(&id)
    }

    /// What somebody was told last of what was done.
    fn last_news(&mut self, id: ParticipantId) -> Moderated {
        self.client(id).moderated.pop().unwrap_or_default()
    }

    /// What somebody is told at the end or at the door.
    pub(super) fn farewell(&mut self, command: RoomCommand) -> String {
        let effects = self.room.apply(self.now, command);
        let told = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send {
                to: Recipients::One(_),
                message: ServerMessage::Closed { reason, message },
            } => Some(format!("{reason}: {message}")),
            Effect::Send {
                to: Recipients::One(_),
                message: ServerMessage::Error { code, message, .. },
            } => Some(format!("{code:?}: {message}")),
            _ => None,
        });
        told.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn knock(&mut self, identity: &str, grant: Grant) -> (ParticipantId, String) {
        self.last += 1;
        let participant = ParticipantId(self.last);
        let join = Box::new(JoinCommand { grant, ..cases::join_command(identity) });
        let local = local(participant);
        (participant, self.farewell(RoomCommand::Join { participant, join, local }))
    }

    pub(super) fn waiting(&self) -> Vec<String> {
        self.room.door.waiting().into_iter().map(|waiting| waiting.identity).collect()
    }
}

#[test]
fn without_keys_the_first_moderates_and_the_role_passes_on() {
    let mut world = World::new();
    let ghost = world.join_as("ghost", Grant { hidden: true, ..Grant::OPEN });
    let [ada, bob, eve] = ["ada", "bob", "eve"].map(|identity| world.join(identity));
    assert!(!world.moderates(ghost) && world.moderates(ada) && !world.moderates(bob));
    world.check();
    world.lose(bob);
    // A lost connection is no goodbye, and taking the own place again changes nothing.
    world.lose(ada);
    assert!(world.moderates(ada) && !world.moderates(eve));
    let ada = world.join("ada");
    assert!(world.moderates(ada) && !world.moderates(eve));
    world.check();
    world.say(ada, ClientMessage::Leave {});
    assert!(world.moderates(eve), "the longest of those who are connected");
    assert!(!world.moderates(bob));
    world.check();
    world.moderate(eve, role("eve", false));
    assert_eq!(world.refusals(eve), [ErrorCode::BadState], "somebody has to");
    let bob = world.join("bob");
    world.moderate(eve, role("bob", true));
    world.moderate(eve, role("eve", false));
    assert!(world.moderates(bob) && !world.moderates(eve));
    assert_eq!(world.last_news(eve).on, Some(false));
    world.check();
}

#[test]
fn with_keys_the_token_says_who_moderates() {
    let mut world = World::new();
    let plain = world.join_as("plain", token("plain"));
    assert!(!world.moderates(plain), "nobody does");
    let ada = world.join_as("ada", admin("ada"));
    assert!(world.moderates(ada));
    world.moderate(ada, role("plain", true));
    assert!(world.moderates(plain));
    for action in [
        ModeratorAction::Kick(person("ada")),
        ban("ada", 60),
        ModeratorAction::SetPermissions(SetPermissions {
            identity: "ada".into(),
            permissions: PermissionChange::default(),
        }),
    ] {
        world.moderate(plain, action);
        assert_eq!(
            world.refusals(plain),
            [ErrorCode::NotAllowed],
            "made one, against one by token"
        );
    }
    world.moderate(plain, role("ada", false));
    assert_eq!(world.refusals(plain), [ErrorCode::BadState]);
    // Nor do they keep out those who moderate by a token and are not here.
    world.moderate(plain, ban("dan", 60));
    assert!(world.knock("dan", token("dan")).1.contains("banned"));
    let dan = world.join_as("dan", admin("dan"));
    assert!(world.is_in(dan));
    world.say(dan, ClientMessage::Leave {});
    world.moderate(ada, ban("dan", 60));
    assert!(world.knock("dan", admin("dan")).1.contains("banned"), "of one by token it holds");
    let grant = Box::new(token("ada"));
    world.apply(RoomCommand::Renew { participant: ada, request: None, grant });
    assert!(!world.moderates(ada), "the newer token does not say so");
    world.check();
    world.say(plain, ClientMessage::Leave {});
    assert!(!world.moderates(ada), "with keys nothing passes on");
}

#[test]
fn members_may_do_nothing_of_it() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let track = world.track_of(ada, Source::Microphone);
    let identity = || "ada".to_owned();
    for action in [
        ModeratorAction::MuteTrack(OneTrack { track }),
        ModeratorAction::MuteAll(Nothing {}),
        ModeratorAction::StopTrack(OneTrack { track }),
        ModeratorAction::LowerHand(person("ada")),
        ModeratorAction::Kick(person("ada")),
        ban("ada", 60),
        ModeratorAction::Unban(person("ada")),
        ModeratorAction::ListBans(Nothing {}),
        ModeratorAction::Admit(person("ada")),
        ModeratorAction::Deny(person("ada")),
        room(Some(true), Some(true)),
        ModeratorAction::SetPermissions(SetPermissions {
            identity: identity(),
            permissions: PermissionChange::default(),
        }),
        role("bob", true),
        ModeratorAction::EndRoom(Nothing {}),
    ] {
        let name = action.name();
        world.moderate(bob, action);
        assert_eq!(world.refusals(bob), [ErrorCode::NotAllowed], "{name}");
    }
    assert!(world.is_in(ada) && !world.room.tracks[&track].muted);
    assert!(world.client(ada).moderated.is_empty());
    world.check();
}

#[test]
fn tracks_are_muted_and_ended_and_all_are_told_but_not_all_why() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let (bob, eve) = (world.join_with_media("bob"), world.join_with_media("eve"));
    let track = world.track_of(bob, Source::Microphone);
    world.moderate(ada, ModeratorAction::MuteTrack(OneTrack { track }));
    world.moderate(ada, ModeratorAction::MuteTrack(OneTrack { track }));
    assert_eq!(world.client(bob).muted, [track], "told once");
    assert_eq!(world.client(bob).moderated.len(), 1);
    let told = world.last_news(bob);
    assert_eq!((told.action.as_str(), told.by.as_deref()), ("mute_track", Some("ada")));
    assert_eq!((told.identity.as_deref(), told.track), (Some("bob"), Some(track)));
    assert_eq!(told.reason, "because");
    assert_eq!(world.last_news(ada).reason, "because");
    assert_eq!(world.last_news(eve), Moderated { reason: String::new(), ..told });
    world.moderate(ada, ModeratorAction::MuteAll(Nothing {}));
    let own = world.track_of(ada, Source::Microphone);
    let muted = |world: &World| -> Vec<TrackId> {
        world.room.tracks.values().filter(|track| track.muted).map(|track| track.id).collect()
    };
    assert_eq!(muted(&world), [track, world.track_of(eve, Source::Microphone)]);
    assert!(!world.room.tracks[&own].muted, "moderators speak on");
    assert_eq!(world.last_news(eve).reason, "because", "it concerns everybody");
    for source in [Source::ScreenShare, Source::ScreenShareAudio] {
        world.publish(bob, source);
    }
    let screen = world.track_of(bob, Source::ScreenShare);
    let sound = world.track_of(bob, Source::ScreenShareAudio);
    world.moderate(ada, ModeratorAction::MuteAll(Nothing {}));
    assert!(world.room.tracks[&sound].muted, "all that is heard");
    world.moderate(ada, ModeratorAction::StopTrack(OneTrack { track: screen }));
    assert!(!world.room.tracks.contains_key(&screen));
    assert!(!world.room.tracks.contains_key(&sound), "the screen's sound ends with it");
    assert!(world.room.tracks.contains_key(&track), "the microphone does not");
    world.moderate(ada, ModeratorAction::StopTrack(OneTrack { track: screen }));
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    world.check();
}

#[test]
fn nothing_is_told_of_what_changed_nothing() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join_with_media("bob"));
    let permissions = PermissionChange { can_publish_data: Some(false), ..Default::default() };
    let permit = SetPermissions { identity: "bob".into(), permissions };
    let update = UpdateParticipant {
        identity: Some("bob".into()),
        name: Some("Bob".into()),
        ..UpdateParticipant::default()
    };
    for action in [
        ModeratorAction::SetPermissions(permit),
        ModeratorAction::UpdateParticipant(update),
        ModeratorAction::MuteAll(Nothing {}),
    ] {
        let name = action.name();
        for told in [1, 0] {
            world.moderate(ada, action.clone());
            assert_eq!(world.client(bob).moderated.drain(..).count(), told, "{name}");
        }
    }
    assert!(world.refusals(ada).is_empty());
    world.check();
}

#[test]
fn whoever_is_kicked_may_come_again_and_whoever_is_banned_may_not() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.moderate(ada, ModeratorAction::Kick(person("ada")));
    assert_eq!(world.refusals(ada), [ErrorCode::BadState], "that is a leave");
    let moderate = |action| {
        let moderate = Moderate { request: None, reason: "Noise".into(), action };
        RoomCommand::Message { from: ada, message: ClientMessage::Moderate(moderate) }
    };
    let told = world.farewell(moderate(ModeratorAction::Kick(person("bob"))));
    assert_eq!(told, "removed: You were removed from this room by ADA. Reason: Noise");
    world.clients.remove(&bob);
    let bob = world.join("bob");
    let told = world.farewell(moderate(ban("bob", 90)));
    assert_eq!(told, "banned: You were banned from this room by ADA for 2 minutes. Reason: Noise");
    world.clients.remove(&bob);
    world.apply(moderate(ban("bob", 90)));
    assert_eq!(world.room.door.bans(world.now)[0].name, "BOB", "also once they are away");
    let (_, told) = world.knock("bob", Grant::OPEN);
    assert!(told.starts_with("NotAllowed: You are banned") && told.contains("Noise"), "{told}");
    world.advance(89);
    assert!(world.knock("bob", Grant::OPEN).1.contains("banned"));
    world.advance(1);
    let bob = world.join("bob");
    assert!(world.is_in(bob), "the time is over");
    world.moderate(ada, ban("eve", 60));
    let bans = world.room.door.bans(world.now);
    assert_eq!(
        (bans[0].seconds, bans[0].name.as_str()),
        (60, ""),
        "nobody knows what eve is called"
    );
    world.moderate(ada, ModeratorAction::Unban(person("eve")));
    world.moderate(ada, ModeratorAction::Unban(person("eve")));
    assert_eq!(world.refusals(ada), [ErrorCode::NotFound]);
    let eve = world.join("eve");
    assert!(world.is_in(eve), "lifted");
}

#[test]
fn a_ban_holds_for_the_token_and_over_http() {
    let mut world = World::new();
    let ada = world.join_as("ada", admin("ada"));
    let grant = Grant { token_id: Some("t".into()), ..token("bob") };
    world.join_as("bob", grant.clone());
    world.moderate(ada, ban("bob", 60));
    let grant = Grant { identity: Some("bill".into()), ..grant };
    assert!(world.knock("bill", grant).1.contains("banned"), "the same token");
    let mut peer = FakePeer::new();
    peer.add(crate::protocol::Kind::Video, Way::Send, &["VP8"]);
    world.last += 1;
    let participant = ParticipantId(world.last);
    let join = HttpJoin {
        role: HttpRole::Publisher,
        watch: Watch::Room,
        identity: "bob".into(),
        name: String::new(),
        grant: token("bob"),
        sdp: peer.offer(),
    };
    let post = |world: &mut World, join: HttpJoin| {
        let (join, local) = (Box::new(join), local(participant));
        let command = RoomCommand::JoinOverHttp { participant, join, local };
        format!("{:?}", world.room.apply(world.now, command))
    };
    assert!(post(&mut world, join.clone()).contains("banned"));
    world.moderate(ada, ModeratorAction::Unban(person("bob")));
    world.moderate(ada, room(Some(true), None));
    assert!(post(&mut world, join.clone()).contains("NotAllowed"), "locked");
    world.moderate(ada, room(Some(false), Some(true)));
    assert!(post(&mut world, join.clone()).contains("NotAllowed"), "it cannot wait");
    world.moderate(ada, room(None, Some(false)));
    assert!(
        post(&mut world, join).contains("HttpAnswer { participant: ParticipantId"),
        "as before"
    );
    assert!(world.is_in(participant));
}

#[test]
fn bans_of_those_by_a_token_are_not_changed_by_those_who_were_made_moderators() {
    let mut world = World::new();
    let (ada, bob) = (world.join_as("ada", admin("ada")), world.join_as("bob", token("bob")));
    world.moderate(ada, role("bob", true));
    let grant = |identity| Grant { token_id: Some("t".into()), ..token(identity) };
    world.join_as("eve", grant("eve"));
    let kept_out = |world: &mut World, identity| {
        world.knock(identity, grant(identity)).1.contains("You are banned")
    };
    world.moderate(ada, ban("eve", 1000));
    for action in [ban("eve", 1), ban("eve", 2000), ModeratorAction::Unban(person("eve"))] {
        world.moderate(bob, action);
        assert_eq!(world.refusals(bob), [ErrorCode::NotAllowed]);
    }
    world.advance(10);
    assert!(kept_out(&mut world, "eve") && kept_out(&mut world, "eva"));
    assert_eq!(world.room.door.bans(world.now)[0].seconds, 990);
    world.moderate(ada, ban("eve", 60));
    assert!(kept_out(&mut world, "eva"), "she is away, and her token is known still");
    world.administer(AdminCommand::Moderate { action: ban("eve", 30), reason: String::new() });
    world.moderate(bob, ModeratorAction::Unban(person("eve")));
    assert_eq!(world.refusals(bob), [ErrorCode::NotAllowed], "that of the API neither");
    world.moderate(ada, ModeratorAction::Unban(person("eve")));
    assert!(!kept_out(&mut world, "eve"));
    for action in [ban("dan", 60), ban("dan", 5), ModeratorAction::Unban(person("dan"))] {
        world.moderate(bob, action);
        assert!(world.refusals(bob).is_empty(), "that is a ban of their own");
    }
    world.moderate(ada, ban("fay", 20));
    world.advance(20);
    world.moderate(bob, ban("fay", 5));
    assert!(world.refusals(bob).is_empty(), "the other is over");
}

#[test]
fn bans_have_a_limit() {
    let mut world = World::new();
    let ada = world.join("ada");
    for number in 0..lobby::BANS_MAX {
        world.moderate(ada, ban(&format!("i{number}"), 60));
    }
    world.moderate(ada, ban("i0", 90));
    assert!(world.refusals(ada).is_empty(), "again: no more than before");
    world.moderate(ada, ban("one more", 60));
    assert_eq!(world.refusals(ada), [ErrorCode::Limit]);
    world.advance(60);
    world.moderate(ada, ban("one more", 60));
    assert!(world.refusals(ada).is_empty(), "those that are over do not count");
    assert_eq!(world.room.door.bans(world.now).len(), 2);
}

#[test]
fn what_somebody_may_do_is_changed_by_moderators() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join_with_media("bob"));
    let permissions = PermissionChange { can_publish: Some(false), ..PermissionChange::default() };
    let set = SetPermissions { identity: "bob".into(), permissions };
    world.moderate(ada, ModeratorAction::SetPermissions(set));
    assert!(world.room.tracks.is_empty() && !world.client(bob).permissions.can_publish);
    assert_eq!(world.last_news(bob).action, "set_permissions");
    world.check();
}

#[test]
fn a_raised_hand_is_taken_down_by_a_moderator() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.room.set_hand(bob, true);
    world.apply(RoomCommand::Tick);
    world.moderate(ada, ModeratorAction::LowerHand(person("bob")));
    world.moderate(ada, ModeratorAction::LowerHand(person("bob")));
    assert_eq!(world.client(bob).moderated.len(), 1);
    assert_eq!(world.room.participants[&bob].standing().hand, 0);
}

#[test]
fn the_end_is_the_end_for_all() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.moderate(ada, room(None, Some(true)));
    let eve = world.join("eve");
    assert!(world.is_in(bob) && !world.is_in(eve));
    let end = ModeratorAction::EndRoom(Nothing {});
    let moderate = Moderate { request: Some(7), reason: "late".into(), action: end };
    let command = RoomCommand::Message { from: ada, message: ClientMessage::Moderate(moderate) };
    let told = world.farewell(command);
    let end = "room_deleted: The room was closed by ADA. Reason: late";
    assert_eq!(told, [end, end, end].join("\n"));
    assert!(world.room.is_over());
}

#[test]
fn who_was_made_a_moderator_does_not_end_the_room_of_those_by_a_token() {
    let mut world = World::new();
    let (ada, bob) = (world.join_as("ada", admin("ada")), world.join_as("bob", token("bob")));
    world.moderate(ada, role("bob", true));
    world.moderate(bob, ModeratorAction::EndRoom(Nothing {}));
    assert_eq!(world.refusals(bob), [ErrorCode::NotAllowed]);
    assert!(world.is_in(ada) && world.is_in(bob));
    world.say(ada, ClientMessage::Leave {});
    world.moderate(bob, ModeratorAction::EndRoom(Nothing {}));
    assert!(world.room.is_over());
}

#[test]
fn the_owner_is_told_who_stopped_a_track_before_it_is_gone() {
    let mut world = World::new();
    let (ada, bob) = (world.join("ada"), world.join_with_media("bob"));
    let action =
        ModeratorAction::StopTrack(OneTrack { track: world.track_of(bob, Source::Camera) });
    let moderate = Moderate { request: None, reason: String::new(), action };
    let command = RoomCommand::Message { from: ada, message: ClientMessage::Moderate(moderate) };
    let effects = world.room.apply(world.now, command);
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to: Recipients::One(id), message } if *id == bob => Some(message),
        Effect::Send { to: Recipients::All, message } => Some(message),
        _ => None,
    });
    let told = told.filter_map(|message| match message {
        ServerMessage::Moderation(_) => Some("moderated"),
        ServerMessage::TrackUnpublished { .. } => Some("track_unpublished"),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["moderated", "track_unpublished"]);
}

#[test]
fn nobody_is_told_of_a_hidden_moderator() {
    let mut world = World::new();
    let ghost = world.join_as("ghost", Grant { hidden: true, ..admin("ghost") });
    let bob = world.join_as("bob", token("bob"));
    world.moderate(ghost, ModeratorAction::MuteAll(Nothing {}));
    assert_eq!(world.last_news(bob).by, None);
    let kick = ModeratorAction::Kick(person("bob"));
    let moderate = Moderate { request: None, reason: String::new(), action: kick };
    let command = RoomCommand::Message { from: ghost, message: ClientMessage::Moderate(moderate) };
    assert_eq!(world.farewell(command), "removed: You were removed from this room.");
}
