//! What those do who manage a room, and what participants may not do.

use super::*;
use crate::protocol::{
    ModeratorAction, Nothing, OneTrack, PermissionChange, Source, UnboundReason,
};
use crate::testing::{FakePeer, Way};

impl World {
    pub(super) fn administer(&mut self, command: AdminCommand) {
        self.apply(RoomCommand::Admin(command));
    }

    pub(super) fn permit(&mut self, identity: &str, permissions: PermissionChange) {
        let identity = identity.to_owned();
        let change = ParticipantChange { permissions: Some(permissions), ..Default::default() };
        self.administer(AdminCommand::Update {
            identity,
            change: Box::new(change),
            reason: String::new(),
        });
    }

    pub(super) fn join_as(&mut self, identity: &str, grant: Grant) -> ParticipantId {
        self.last += 1;
        let participant = ParticipantId(self.last);
        self.clients.insert(participant, Client::new(&["VP8"]));
        let join = JoinCommand {
            request: None,
            identity: identity.to_owned(),
            name: identity.to_uppercase(),
            grant,
            max_audio: None,
            max_video: None,
            compact: false,
        };
        let local = local(participant);
        self.apply(RoomCommand::Join { participant, join: Box::new(join), local });
        participant
    }
}

pub(super) fn moderate(action: ModeratorAction) -> AdminCommand {
    AdminCommand::Moderate { action, reason: String::new() }
}

fn publishing(allowed: bool) -> PermissionChange {
    PermissionChange { can_publish: Some(allowed), ..PermissionChange::default() }
}

fn subscribing(allowed: bool) -> PermissionChange {
    PermissionChange { can_subscribe: Some(allowed), ..PermissionChange::default() }
}

#[test]
fn row_31_taken_permissions_end_media_in_the_same_step() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join_with_media("bob"));
    let camera = world.track_of(ada, Source::Camera);
    assert!(world.client(bob).showing(camera).is_some());
    world.permit("ada", publishing(false));
    world.check();
    assert_eq!(world.media.producers(), 2, "only bob's are left");
    assert!(world.client(bob).showing(camera).is_none());
    assert!(world.client(ada).own.is_empty(), "it was told");
    assert!(!world.client(ada).permissions.can_publish);
    world.publish(ada, Source::Camera);
    assert_eq!(world.client(ada).errors[0].0, ErrorCode::NotAllowed);
    world.permit("bob", subscribing(false));
    world.permit("ada", publishing(true));
    world.publish(ada, Source::Camera);
    world.check();
    assert!(
        world.client(bob).unbound.iter().all(|entry| entry.reason == UnboundReason::NotAllowed)
    );
    world.permit("bob", subscribing(true));
    world.check();
    let camera = world.track_of(ada, Source::Camera);
    assert!(world.client(bob).showing(camera).is_some());
}

#[test]
fn row_31_whoever_could_not_subscribe_is_shown_everything_once_it_may() {
    let mut world = World::new();
    world.join_with_media("ada");
    let permissions = Permissions { can_subscribe: false, ..Permissions::ALL };
    let bob = world.join_as("bob", Grant { permissions, ..Grant::OPEN });
    world.check();
    assert_eq!(world.client(bob).sections, Default::default());
    world.permit("bob", subscribing(true));
    world.check();
    let bound = world.client(bob).bindings.iter().filter(|entry| entry.track.is_some()).count();
    assert_eq!(bound, 2);
}

#[test]
fn row_31_only_some_sources_may_be_published() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let sources = PermissionChange {
        can_publish_sources: Some(vec![Source::Microphone]),
        ..PermissionChange::default()
    };
    world.permit("ada", sources);
    assert_eq!(world.room.tracks.len(), 1);
    world.publish(ada, Source::ScreenShare);
    assert_eq!(world.client(ada).errors[0].0, ErrorCode::NotAllowed);
    world.publish(ada, Source::Microphone);
    assert_eq!(world.room.tracks.len(), 2);
    world.check();
}

#[test]
fn row_31_what_was_announced_before_is_not_published_after() {
    let mut world = World::new();
    let ada = world.join("ada");
    let publish = world.client(ada).publish(Source::Camera);
    world.step(RoomCommand::Message { from: ada, message: ClientMessage::Publish(publish) });
    let change = ParticipantChange { permissions: Some(publishing(false)), ..Default::default() };
    let update = AdminCommand::Update {
        identity: "ada".into(),
        change: Box::new(change),
        reason: String::new(),
    };
    world.step(RoomCommand::Admin(update));
    world.apply(RoomCommand::Tick);
    assert_eq!(world.client(ada).errors[0].0, ErrorCode::NotAllowed);
    assert!(world.room.tracks.is_empty());
    world.check();
}

#[test]
fn row_31_a_removed_participant_and_its_token_are_done_with() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let remove =
        RoomCommand::Admin(AdminCommand::Remove { identity: "ada".into(), reason: String::new() });
    let effects = world.room.apply(world.now, remove);
    let text = format!("{effects:?}");
    assert!(
        matches!(effects[0], Effect::Revoke { verdict: Verdict::Removed, .. }),
        "first: {text}"
    );
    assert!(text.contains("\"removed\"") && text.contains("Removed"), "{text}");
    assert!(!world.room.participants.contains_key(&ada));
    assert!(world.room.participants.contains_key(&bob));
    let again =
        RoomCommand::Admin(AdminCommand::Remove { identity: "ada".into(), reason: String::new() });
    let text = format!("{:?}", world.room.apply(world.now, again));
    assert!(text.contains("NotFound"), "{text}");
}

#[test]
fn row_31_http_sessions_end_with_their_permission() {
    let mut world = World::new();
    let post = |world: &mut World, role, identity: &str, way| {
        let mut peer = FakePeer::new();
        peer.add(crate::protocol::Kind::Video, way, &["VP8"]);
        world.last += 1;
        let participant = ParticipantId(world.last);
        let join = HttpJoin {
            role,
            watch: Watch::Room,
            identity: identity.into(),
            name: String::new(),
            grant: Grant::OPEN,
            sdp: peer.offer(),
        };
        let local = local(participant);
        world.apply(RoomCommand::JoinOverHttp { participant, join: Box::new(join), local });
        participant
    };
    let camera = post(&mut world, HttpRole::Publisher, "cam", Way::Send);
    let viewer = post(&mut world, HttpRole::Viewer, "fan", Way::Receive);
    world.permit("fan", publishing(false));
    assert!(world.room.participants.contains_key(&viewer), "it does not publish");
    world.permit("fan", subscribing(false));
    assert!(!world.room.participants.contains_key(&viewer));
    world.permit("cam", publishing(false));
    assert!(!world.room.participants.contains_key(&camera));
    assert_eq!((world.media.producers(), world.media.consumers()), (0, 0));
}

#[test]
fn row_30_a_hidden_participant_sees_and_is_not_seen() {
    let mut world = World::new();
    let ada = world.join_with_media("ada");
    let ghost = world.join_as("ghost", Grant { hidden: true, ..Grant::OPEN });
    world.check();
    assert!(world.client(ada).participants.is_empty());
    let camera = world.track_of(ada, Source::Camera);
    assert!(world.client(ghost).showing(camera).is_some());
    world.publish(ghost, Source::Camera);
    assert_eq!(world.client(ghost).errors[0].0, ErrorCode::NotAllowed);
    let change = ParticipantChange { name: Some("Boo".into()), ..Default::default() };
    let update = AdminCommand::Update {
        identity: "ghost".into(),
        change: Box::new(change),
        reason: String::new(),
    };
    world.administer(update);
    // Its model client panics on news of somebody whom it does not know.
    world.lose(ghost);
    world.advance(61);
    world.check();
    assert!(!world.room.participants.contains_key(&ghost));
    let ghost = world.join_as("ghost", Grant { hidden: true, ..Grant::OPEN });
    let again = world.join_as("ghost", Grant { hidden: true, ..Grant::OPEN });
    assert!(!world.room.participants.contains_key(&ghost), "replaced like any other");
    assert!(world.room.participants.contains_key(&again));
}

#[test]
fn a_track_that_was_muted_by_others_is_unmuted_by_its_owner() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let track = world.track_of(ada, Source::Microphone);
    world.administer(moderate(ModeratorAction::MuteTrack(OneTrack { track })));
    world.administer(moderate(ModeratorAction::MuteTrack(OneTrack { track })));
    world.check();
    assert_eq!(world.client(ada).muted, [track], "told once");
    assert!(world.media.paused(world.room.tracks[&track].producer));
    let unmute = crate::protocol::Mute { request: None, track, muted: false };
    world.say(ada, ClientMessage::Mute(unmute));
    world.check();
    assert!(!world.room.tracks[&track].muted);
    world.administer(moderate(ModeratorAction::StopTrack(OneTrack { track })));
    world.check();
    assert!(!world.room.tracks.contains_key(&track) && world.client(ada).own.len() == 1);
    assert!(world.client(bob).errors.is_empty());
}

#[test]
fn a_renewed_token_changes_what_it_says() {
    let mut world = World::new();
    let (ada, bob) = (world.join_with_media("ada"), world.join("bob"));
    let permissions = Permissions { can_publish: false, ..Permissions::ALL };
    let name = Some("Countess".to_owned());
    let grant = Grant { permissions, name, metadata: "m".into(), ..Grant::OPEN };
    let grant = Box::new(grant);
    world.apply(RoomCommand::Renew { participant: ada, request: Some(1), grant });
    world.check();
    let seen = &world.client(bob).participants[&ada];
    assert_eq!((seen.name.as_str(), seen.metadata.as_str()), ("Countess", "m"));
    assert!(world.room.tracks.is_empty());
}

#[test]
fn a_room_that_was_made_waits_for_somebody_and_then_ends() {
    let mut world = World::new();
    let linger = Some(Duration::from_secs(300));
    let change = RoomChange { linger, max_participants: Some(1), ..RoomChange::default() };
    world.administer(AdminCommand::Configure(change));
    assert!(!world.room.is_over());
    world.advance(299);
    assert!(!world.room.is_over());
    let ada = world.join("ada");
    world.advance(1000);
    let effects = world.room.apply(
        world.now,
        RoomCommand::Join {
            participant: ParticipantId(99),
            join: Box::new(cases::join_command("bob")),
            local: local(ParticipantId(99)),
        },
    );
    assert!(format!("{effects:?}").contains("Limit"), "{effects:?}");
    world.say(ada, ClientMessage::Leave {});
    assert!(!world.room.is_over());
    world.advance(300);
    assert!(world.room.is_over());
}

#[test]
fn a_closed_room_sends_everybody_away_and_is_over() {
    let mut world = World::new();
    let linger = Some(Duration::from_secs(300));
    world.administer(AdminCommand::Configure(RoomChange { linger, ..RoomChange::default() }));
    world.join_with_media("ada");
    world.join("bob");
    let effects = world
        .room
        .apply(world.now, RoomCommand::Admin(moderate(ModeratorAction::EndRoom(Nothing {}))));
    let text = format!("{effects:?}");
    assert_eq!(text.matches("\"room_deleted\"").count(), 2, "{text}");
    assert!(world.room.is_over());
}
