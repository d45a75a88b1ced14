//! Random histories.

use super::*;
use crate::protocol::{
    Kind, ModeratorAction, Mute, OneTrack, PermissionChange, Priority, Source, TrackRequest,
    TrackSetting,
};
use crate::testing::Way;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Join { identity: u8, codecs: bool, max_video: Option<u16>, max_audio: Option<u16> },
    Leave(usize),
    Lose(usize),
    Publish(usize, Source),
    Unpublish(usize, usize),
    Withdraw(usize, usize),
    Mute(usize, usize, bool),
    Subscribe(usize, usize, bool),
    Simulcast(usize, usize),
    DropSlot(usize, usize),
    RestartIce(usize),
    BadOffer(usize),
    Connected(usize),
    Fail(usize),
    Wait(u64),
    Settings(usize, Vec<(usize, u16, bool, Priority)>),
    Speak(Vec<usize>),
    Permit { identity: u8, publish: bool, subscribe: bool, sources: Vec<Source> },
    Remove(u8),
    MuteByOthers(usize),
    Withdrawn(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0usize..6;
    let which = || 0usize..8;
    prop_oneof![
        4 => (0u8..8, any::<bool>(), limit(), limit()).prop_map(
            |(identity, codecs, max_video, max_audio)| {
                Step::Join { identity, codecs, max_video, max_audio }
            }
        ),
        1 => who().prop_map(Step::Leave),
        1 => who().prop_map(Step::Lose),
        8 => (who(), source()).prop_map(|(who, source)| Step::Publish(who, source)),
        2 => (who(), which()).prop_map(|(who, which)| Step::Unpublish(who, which)),
        2 => (who(), which()).prop_map(|(who, which)| Step::Withdraw(who, which)),
        2 => (who(), which(), any::<bool>()).prop_map(|(who, which, on)| Step::Mute(who, which, on)),
        3 => (who(), which(), any::<bool>()).prop_map(|(who, which, on)| Step::Subscribe(who, which, on)),
        1 => (who(), which()).prop_map(|(who, which)| Step::Simulcast(who, which)),
        1 => (who(), which()).prop_map(|(who, which)| Step::DropSlot(who, which)),
        1 => who().prop_map(Step::RestartIce),
        1 => who().prop_map(Step::BadOffer),
        1 => who().prop_map(Step::Connected),
        1 => who().prop_map(Step::Fail),
        1 => (1u64..30).prop_map(Step::Wait),
        4 => (who(), prop::collection::vec((0usize..30, size(), any::<bool>(), priority()), 1..6))
            .prop_map(|(who, settings)| Step::Settings(who, settings)),
        4 => prop::collection::vec(0usize..30, 0..5).prop_map(Step::Speak),
        2 => (0u8..8, any::<bool>(), any::<bool>(), prop::collection::vec(source(), 0..2)).prop_map(
            |(identity, publish, subscribe, sources)| {
                Step::Permit { identity, publish, subscribe, sources }
            }
        ),
        1 => (0u8..8).prop_map(Step::Remove),
        1 => (0usize..30).prop_map(Step::MuteByOthers),
        1 => (0usize..30).prop_map(Step::Withdrawn),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::Camera),
        Just(Source::Microphone),
        Just(Source::ScreenShare),
        Just(Source::ScreenShareAudio)
    ]
}

fn limit() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![Just(None), (0u16..7).prop_map(Some)]
}

fn size() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), 1u16..1000]
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![1 => Just(Priority::Low), 3 => Just(Priority::Normal), 1 => Just(Priority::High)]
}

impl World {
    fn pick(&self, who: usize) -> Option<ParticipantId> {
        let ids: Vec<_> = self.clients.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[who % ids.len()])
    }

    fn own_track(&self, who: usize, which: usize) -> Option<(ParticipantId, String, TrackId)> {
        let id = self.pick(who)?;
        let own: Vec<_> = self.clients[&id].own.iter().collect();
        let (mid, track) = own.get(which.checked_rem(own.len())?)?;
        Some((id, (*mid).clone(), **track))
    }

    #[allow(clippy::too_many_lines, reason = "an arm for each step")]
    fn run(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Join { identity, codecs, max_video, max_audio } => {
                let codecs: &[&str] = if codecs { &["VP8", "H264"] } else { &["VP8"] };
                self.join_limited(&format!("i{identity}"), codecs, max_video, max_audio);
            }
            Step::Leave(who) => self.say(self.pick(who)?, ClientMessage::Leave {}),
            Step::Lose(who) => self.lose(self.pick(who)?),
            Step::Publish(who, source) => {
                let id = self.pick(who)?;
                let client = &self.clients[&id];
                if client.own.len() < MAX_TRACKS && client.permissions.allows(source) {
                    self.publish(id, source);
                }
            }
            Step::Unpublish(who, which) => {
                let (id, mid, track) = self.own_track(who, which)?;
                self.client(id).own.remove(&mid);
                let request = TrackRequest { request: None, track };
                self.say(id, ClientMessage::Unpublish(request));
                // The section still sends; without a new announcement the next offer makes nothing of it.
                self.client(id).dirty = true;
                self.say(id, ClientMessage::Ready(crate::protocol::Ready { offer_id: 0 }));
            }
            Step::Withdraw(who, which) => {
                let (id, mid, _) = self.own_track(who, which)?;
                let client = self.client(id);
                client.own.remove(&mid);
                client.peer.section(&mid).way =
                    if which % 2 == 0 { Way::Inactive } else { Way::Stopped };
                self.offer(id);
            }
            Step::Mute(who, which, muted) => {
                let (id, _, track) = self.own_track(who, which)?;
                self.say(id, ClientMessage::Mute(Mute { request: None, track, muted }));
            }
            Step::Subscribe(who, which, wanted) => self.toggle(who, which, wanted)?,
            Step::Simulcast(who, which) => {
                let (id, mid, _) = self.own_track(who, which)?;
                let section = self.client(id).peer.section(&mid);
                if section.kind == Kind::Video {
                    section.rids = vec!["q", "h", "f"];
                    self.offer(id);
                }
            }
            Step::DropSlot(who, which) => {
                let id = self.pick(who)?;
                let client = self.client(id);
                let mids: Vec<_> = client.bindings.iter().map(|entry| entry.mid.clone()).collect();
                let mid = mids.get(which.checked_rem(mids.len())?)?;
                client.peer.section(mid).way = Way::Stopped;
                self.offer(id);
            }
            Step::RestartIce(who) => {
                let id = self.pick(who)?;
                self.client(id).peer.ufrag += "x";
                self.offer(id);
            }
            Step::BadOffer(who) => self.offer_badly(self.pick(who)?),
            Step::Connected(who) => {
                let transport = self.room.participants[&self.pick(who)?].transport?.id;
                let profile = sfu::SrtpProfile::AeadAes128Gcm;
                self.apply(RoomCommand::Media(Event::TransportConnected { transport, profile }));
            }
            Step::Fail(who) => self.fail(self.room.participants[&self.pick(who)?].transport?.id),
            Step::Wait(seconds) => self.advance(seconds),
            Step::Settings(who, settings) => self.say_settings(who, &settings)?,
            Step::Speak(who) => self.speak_of(&who),
            Step::Permit { identity, publish, subscribe, sources } => {
                let change = PermissionChange {
                    can_publish: Some(publish),
                    can_subscribe: Some(subscribe),
                    can_publish_sources: Some(sources),
                    can_publish_data: None,
                    can_update_metadata: None,
                };
                self.permit(&self.present(identity)?, change);
            }
            Step::Remove(identity) => {
                let identity = self.present(identity)?;
                self.administer(AdminCommand::Remove { identity, reason: String::new() });
            }
            Step::MuteByOthers(which) => {
                let track = self.any_track(which)?;
                self.administer(admin::moderate(ModeratorAction::MuteTrack(OneTrack { track })));
            }
            Step::Withdrawn(which) => {
                let track = self.any_track(which)?;
                self.administer(admin::moderate(ModeratorAction::StopTrack(OneTrack { track })));
            }
        }
        Some(())
    }

    /// An identity, if somebody has it.
    fn present(&self, identity: u8) -> Option<String> {
        let identity = format!("i{identity}");
        self.room.participants.values().any(|p| p.identity == identity).then_some(identity)
    }

    fn any_track(&self, which: usize) -> Option<TrackId> {
        let tracks: Vec<_> = self.room.tracks.keys().collect();
        tracks.get(which.checked_rem(tracks.len())?).map(|track| **track)
    }

    fn say_settings(&mut self, who: usize, choices: &[(usize, u16, bool, Priority)]) -> Option<()> {
        let id = self.pick(who)?;
        if !self.clients[&id].permissions.can_subscribe {
            return None;
        }
        let others = self.room.tracks.values().filter(|track| track.owner != id);
        let others: Vec<TrackId> = others.map(|track| track.id).collect();
        let mut settings = BTreeMap::new();
        for &(which, width, paused, priority) in choices {
            let track = *others.get(which.checked_rem(others.len())?)?;
            let (height, fps) = (width, 0);
            settings.insert(track, TrackSetting { track, width, height, fps, paused, priority });
        }
        self.settle(id, settings.into_values().collect());
        Some(())
    }

    fn speak_of(&mut self, who: &[usize]) {
        let audio = self.room.tracks.values().filter(|track| track.kind == Kind::Audio);
        let audio: Vec<_> = audio.map(|track| track.producer).collect();
        let mut producers: Vec<_> = who.iter().filter_map(|index| audio.get(*index)).collect();
        producers.dedup();
        let speakers = producers.iter().enumerate();
        let speakers = speakers.map(|(index, producer)| sfu::Speaker {
            producer: **producer,
            level: 10 + index as u8,
        });
        self.hear(speakers.collect());
    }

    fn offer(&mut self, id: ParticipantId) {
        self.client(id).dirty = true;
        self.say(id, ClientMessage::Ready(crate::protocol::Ready { offer_id: 0 }));
    }

    fn offer_badly(&mut self, id: ParticipantId) {
        let before = self.client(id).errors.len();
        let offer = crate::protocol::Offer { request: None, offer_id: 99, sdp: "v=0".into() };
        self.say(id, ClientMessage::Offer(offer));
        assert_eq!(self.client(id).errors.len(), before + 1);
    }

    fn toggle(&mut self, who: usize, which: usize, wanted: bool) -> Option<()> {
        let id = self.pick(who)?;
        let others: Vec<_> = self
            .room
            .tracks
            .values()
            .filter(|track| track.owner != id)
            .map(|track| track.id)
            .collect();
        let track = *others.get(which.checked_rem(others.len())?)?;
        let request = TrackRequest { request: None, track };
        let client = self.client(id);
        if client.unavailable.contains(&track) || !client.permissions.can_subscribe {
            return None;
        }
        if wanted {
            self.client(id).unsubscribed.remove(&track);
            self.say(id, ClientMessage::Subscribe(request));
        } else {
            self.client(id).unsubscribed.insert(track);
            self.say(id, ClientMessage::Unsubscribe(request));
        }
        Some(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: every client's view is the server's.
    #[test]
    fn every_view_equals_the_servers(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        world.join("first");
        for step in steps {
            world.run(step);
            world.check();
            // Where nothing happens, nothing changes.
            let binds = world.media.binds;
            world.apply(RoomCommand::Tick);
            world.room.reconcile_all();
            assert!(world.room.effects.is_empty(), "{:?}", world.room.effects);
            assert_eq!(world.media.binds, binds);
        }
    }
}
