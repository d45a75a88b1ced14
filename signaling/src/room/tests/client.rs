//! A client as PROTOCOL.md describes one: keeps a view from messages alone, and offers when it must.

use super::*;
use crate::protocol::{
    BindingEntry, ChatDeleted, ChatMessage, ChatNews, Kind, MediaSections, Moderated,
    ModerationNews, Offer, ParticipantInfo, ParticipantState, ParticipantUpdate, Permissions,
    PresenceNews, Ready, RoomState, Source, TrackSetting, TrackStatus, UnboundEntry, UnboundReason,
    Waiting, WatchedLayers,
};
use crate::testing::{FakePeer, Way, direction};
use std::collections::BTreeSet;

pub(super) struct Client {
    codecs: &'static [&'static str],
    pub(super) peer: FakePeer,
    welcome: bool,
    pub(super) participants: BTreeMap<ParticipantId, ParticipantInfo>,
    pub(super) sections: MediaSections,
    pub(super) bindings: Vec<BindingEntry>,
    pub(super) unbound: Vec<UnboundEntry>,
    /// As it joined.
    pub(super) compact: bool,
    pub(super) unavailable: BTreeSet<TrackId>,
    pub(super) own: BTreeMap<String, TrackId>,
    pub(super) errors: Vec<(ErrorCode, String)>,
    pub(super) unsubscribed: BTreeSet<TrackId>,
    /// What it said of tracks.
    pub(super) settings: BTreeMap<TrackId, TrackSetting>,
    /// What it was told last of tracks.
    pub(super) statuses: BTreeMap<TrackId, TrackStatus>,
    pub(super) status_count: usize,
    /// Which layers of its own have viewers.
    pub(super) watched: BTreeMap<TrackId, WatchedLayers>,
    pub(super) permissions: Permissions,
    /// Own tracks that somebody else muted.
    pub(super) muted: Vec<TrackId>,
    /// What was said that it may see.
    pub(super) chat: Vec<ChatMessage>,
    pub(super) deleted: Vec<ChatDeleted>,
    /// Who writes.
    pub(super) typing: BTreeSet<ParticipantId>,
    pub(super) typing_news: usize,
    pub(super) reactions: usize,
    /// What moderators did.
    pub(super) moderated: Vec<Moderated>,
    /// Who waits to be let in.
    pub(super) lobby: Vec<Waiting>,
    /// Its own place there; 0: it does not wait.
    pub(super) place: usize,
    pub(super) room: RoomState,
    /// An offer is due.
    pub(super) dirty: bool,
    /// An answer was applied and is yet to be reported.
    ready: Option<u64>,
    offers: u64,
}

impl Client {
    pub(super) fn new(codecs: &'static [&'static str]) -> Self {
        Self {
            codecs,
            peer: FakePeer::new(),
            welcome: false,
            participants: BTreeMap::new(),
            sections: MediaSections::default(),
            bindings: Vec::new(),
            unbound: Vec::new(),
            compact: false,
            unavailable: BTreeSet::new(),
            own: BTreeMap::new(),
            errors: Vec::new(),
            unsubscribed: BTreeSet::new(),
            settings: BTreeMap::new(),
            statuses: BTreeMap::new(),
            status_count: 0,
            watched: BTreeMap::new(),
            permissions: Permissions::ALL,
            muted: Vec::new(),
            chat: Vec::new(),
            deleted: Vec::new(),
            typing: BTreeSet::new(),
            typing_news: 0,
            reactions: 0,
            moderated: Vec::new(),
            lobby: Vec::new(),
            place: 0,
            room: RoomState::default(),
            dirty: false,
            ready: None,
            offers: 0,
        }
    }

    pub(super) fn is_welcome(&self) -> bool {
        self.welcome
    }

    /// What the client says next by itself.
    pub(super) fn act(&mut self) -> Option<ClientMessage> {
        if let Some(offer_id) = self.ready.take() {
            return Some(ClientMessage::Ready(Ready { offer_id }));
        }
        for (kind, wanted) in
            [(Kind::Audio, self.sections.audio), (Kind::Video, self.sections.video)]
        {
            let receiving =
                |s: &&crate::testing::FakeSection| s.kind == kind && s.way == Way::Receive;
            let have = self.peer.sections.iter().filter(receiving).count();
            for _ in have..wanted.into() {
                self.peer.add(kind, Way::Receive, self.codecs);
                self.dirty = true;
            }
        }
        std::mem::take(&mut self.dirty).then(|| {
            self.offers += 1;
            ClientMessage::Offer(Offer {
                request: None,
                offer_id: self.offers,
                sdp: self.peer.offer(),
            })
        })
    }

    /// A new sending section and its announcement; the offer follows by itself.
    pub(super) fn publish(&mut self, source: Source) -> Publish {
        let mid = self.peer.add(source.kind(), Way::Send, self.codecs);
        self.dirty = true;
        Publish {
            request: None,
            mid,
            source,
            name: String::new(),
            muted: false,
            layers: Vec::new(),
            encrypted: false,
            dtx: false,
        }
    }

    pub(super) fn handle(&mut self, message: &ServerMessage) {
        match message.clone() {
            ServerMessage::Welcome(welcome) => {
                assert!(!self.welcome);
                self.welcome = true;
                self.dirty = true;
                self.sections = welcome.media_sections;
                self.permissions = welcome.permissions;
                self.room = welcome.state;
                self.participants =
                    welcome.participants.into_iter().map(|p| (p.participant, p)).collect();
                return;
            }
            ServerMessage::Moderation(ModerationNews::Waiting { place, .. }) => {
                assert!(!self.welcome && place != self.place);
                self.place = place;
                return;
            }
            ServerMessage::Error { .. } | ServerMessage::Closed { .. } => {}
            _ => assert!(self.welcome, "welcome comes first"),
        }
        match message.clone() {
            ServerMessage::MediaSections(sections) => {
                assert!(
                    sections.audio >= self.sections.audio && sections.video >= self.sections.video
                );
                assert_ne!(sections, self.sections);
                self.sections = sections;
            }
            ServerMessage::Answer { offer_id, sdp, .. } => {
                assert_eq!(offer_id, self.offers);
                self.ready = Some(offer_id);
                for section in &self.peer.sections {
                    if section.way == Way::Receive {
                        assert_eq!(direction(&sdp, &section.mid), "sendonly");
                    }
                }
            }
            ServerMessage::Published { mid, track, number, .. } => {
                assert_eq!(track.0, number);
                assert!(self.own.insert(mid, track).is_none());
            }
            ServerMessage::Bindings { bindings, unbound } => {
                (self.bindings, self.unbound) = (bindings, unbound);
            }
            ServerMessage::Error { code, message, .. } => self.errors.push((code, message)),
            ServerMessage::TrackUnavailable { track, .. } => {
                assert!(self.unavailable.insert(track), "told once");
            }
            ServerMessage::Chat(news) => self.handle_chat(news),
            ServerMessage::Presence(PresenceNews::Reaction { .. }) => self.reactions += 1,
            ServerMessage::Moderation(ModerationNews::Moderated(news)) => self.moderated.push(news),
            ServerMessage::Moderation(ModerationNews::Lobby { waiting }) => self.lobby = waiting,
            ServerMessage::RoomUpdated(state) => {
                assert_ne!(state, self.room);
                self.room = state;
            }
            other => self.handle_presence(other),
        }
    }

    fn handle_chat(&mut self, news: ChatNews) {
        match news {
            ChatNews::ChatMessage(message) => self.chat.push(message),
            ChatNews::ChatHistory { messages } => {
                assert!(self.chat.is_empty() && !messages.is_empty());
                self.chat = messages;
            }
            ChatNews::ChatDeleted(news) => {
                let count = self.chat.len();
                self.chat.retain(|known| known.message != news.message);
                self.deleted.push(news);
                assert_eq!(self.chat.len() + 1, count, "what it could see");
            }
            ChatNews::ParticipantTyping { participant, typing } => {
                self.typing_news += 1;
                let changed = match typing {
                    true => self.typing.insert(participant),
                    false => self.typing.remove(&participant),
                };
                assert!(changed, "told on change");
            }
        }
        let numbers: Vec<_> = self.chat.iter().map(|message| message.message).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }

    fn handle_presence(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::ParticipantJoined { participant } => {
                assert!(self.participants.insert(participant.participant, participant).is_none());
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                let left = self.participants.remove(&participant).expect("somebody who was there");
                left.tracks.iter().for_each(|track| self.forget(track.track));
            }
            ServerMessage::ParticipantUpdated(update) => self.handle_update(*update),
            ServerMessage::Permissions(permissions) => {
                assert_ne!(permissions, self.permissions);
                self.permissions = permissions;
            }
            ServerMessage::TrackPublished { participant, track } => {
                let tracks = &mut self.participants.get_mut(&participant).unwrap().tracks;
                assert!(tracks.iter().all(|known| known.track != track.track));
                tracks.push(track);
                tracks.sort_by_key(|known| known.number);
            }
            ServerMessage::TrackUnpublished { track, .. } if self.is_own(track) => {
                self.own.retain(|_, own| *own != track);
            }
            ServerMessage::TrackMuted { track, .. } if self.is_own(track) => self.muted.push(track),
            ServerMessage::TrackUnpublished { participant, track } => {
                let tracks = &mut self.participants.get_mut(&participant).unwrap().tracks;
                let count = tracks.len();
                tracks.retain(|known| known.track != track);
                assert_eq!(tracks.len() + 1, count);
                self.forget(track);
            }
            ServerMessage::TrackMuted { participant, track, muted } => {
                let tracks = &mut self.participants.get_mut(&participant).unwrap().tracks;
                tracks.iter_mut().find(|known| known.track == track).unwrap().muted = muted;
            }
            ServerMessage::TrackStatus(status) => {
                self.status_count += 1;
                self.statuses.insert(status.track, *status);
            }
            ServerMessage::PublishedLayers { track, watched } => {
                self.watched.insert(track, watched);
            }
            _ => {}
        }
    }

    fn is_own(&self, track: TrackId) -> bool {
        self.own.values().any(|own| *own == track)
    }

    /// About itself it is told too.
    fn handle_update(&mut self, update: ParticipantUpdate) {
        let Some(known) = self.participants.get_mut(&update.participant) else {
            assert!(update.state.is_none(), "of somebody else, who is not there");
            return;
        };
        known.state = update.state.unwrap_or(known.state);
        known.name = update.name.unwrap_or_else(|| known.name.clone());
        known.metadata = update.metadata.unwrap_or_else(|| known.metadata.clone());
        let standing = &mut known.standing;
        standing.moderator = update.moderator.unwrap_or(standing.moderator);
        standing.hand = update.hand.unwrap_or(standing.hand);
        standing.status = update.status.unwrap_or_else(|| standing.status.clone());
        known.attributes = update.attributes.unwrap_or_else(|| known.attributes.clone());
    }

    fn forget(&mut self, track: TrackId) {
        self.unavailable.remove(&track);
    }

    /// How often it has offered.
    pub(super) fn offers(&self) -> u64 {
        self.offers
    }

    /// The mid that shows a track.
    pub(super) fn showing(&self, track: TrackId) -> Option<&str> {
        let entry = self.bindings.iter().find(|entry| entry.track == Some(track));
        entry.map(|entry| entry.mid.as_str())
    }

    /// Compares the view with the truth.
    pub(super) fn check(&self, own: ParticipantId, room: &Room) {
        let mut truth = BTreeMap::new();
        for (id, participant) in room.participants.iter().filter(|(id, p)| **id != own && !p.hidden)
        {
            let tracks = room.tracks.values().filter(|track| track.owner == *id);
            truth.insert(*id, participant.info(tracks.map(Track::info).collect()));
        }
        assert_eq!(self.participants, truth, "what {own} knows");
        let own_tracks: BTreeSet<_> = self.own.values().copied().collect();
        let server: BTreeSet<_> =
            room.tracks.values().filter(|track| track.owner == own).map(|track| track.id).collect();
        assert_eq!(own_tracks, server, "what {own} publishes");
        let receiving = self.peer.sections.iter().filter(|section| section.way == Way::Receive);
        let mids: BTreeSet<_> = receiving.map(|section| section.mid.as_str()).collect();
        let table: BTreeSet<_> = self.bindings.iter().map(|entry| entry.mid.as_str()).collect();
        assert_eq!(mids, table, "the slots of {own}");
        for entry in &self.bindings {
            assert_eq!(entry.csrc, entry.track.map(|track| track.0));
        }
        self.check_tracks(own, room);
    }

    /// Every track of others is in exactly one place, for the right reason.
    fn check_tracks(&self, own: ParticipantId, room: &Room) {
        for track in room.tracks.values().filter(|track| track.owner != own) {
            let id = track.id;
            let bound = self.bindings.iter().filter(|entry| entry.track == Some(id)).count();
            let listed = self.unbound.iter().filter(|entry| entry.track == id);
            let mut unbound: Vec<_> = listed.cloned().collect();
            let unavailable = self.unavailable.contains(&id);
            let waits = UnboundEntry { track: id, reason: UnboundReason::Slots };
            if self.compact {
                assert!(!unbound.contains(&waits), "{own} is told what it knows");
                let placed = bound + unbound.len() + usize::from(unavailable);
                unbound.extend((placed == 0).then_some(waits));
            }
            let places = bound + unbound.len() + usize::from(unavailable);
            assert_eq!(places, 1, "{id} at {own}: {:?} {:?}", self.bindings, self.unbound);
            let decodable = track.kind == Kind::Audio || self.codecs.contains(&track.codec());
            assert_eq!(unavailable, !decodable, "{id} at {own}");
            if let Some(entry) = unbound.first() {
                let forbidden = !self.permissions.can_subscribe;
                assert_eq!(entry.reason == UnboundReason::NotAllowed, forbidden);
                let by_wish = forbidden || entry.reason == UnboundReason::Unsubscribed;
                assert_eq!(by_wish, forbidden || self.unsubscribed.contains(&id));
                let kind =
                    |mid: &str| self.peer.sections.iter().find(|s| s.mid == mid).unwrap().kind;
                let mut same = self.bindings.iter().filter(|entry| kind(&entry.mid) == track.kind);
                assert!(
                    by_wish || same.all(|entry| entry.track.is_some()),
                    "{id} waits while a slot is free"
                );
            }
            assert!(bound == 0 || self.permissions.can_subscribe, "{id} at {own}");
            if bound == 1 {
                let section =
                    self.peer.sections.iter().find(|s| Some(s.mid.as_str()) == self.showing(id));
                assert_eq!(section.unwrap().kind, track.kind);
            }
        }
        let known = |track: TrackId| room.tracks.contains_key(&track);
        assert!(self.bindings.iter().filter_map(|entry| entry.track).all(known));
        assert!(self.unbound.iter().all(|entry| known(entry.track)));
    }

    pub(super) fn state_of(&self, participant: ParticipantId) -> Option<ParticipantState> {
        self.participants.get(&participant).map(|p| p.state)
    }
}
