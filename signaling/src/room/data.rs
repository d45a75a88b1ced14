//! Data between participants, as far as it passes through the room: for those who have no data channel for it. The rest goes from
//! peer connection to peer connection in the media plane, which the room tells who is who and who may what.

use super::participant::{Participant, Signaling};
use super::{Effect, Refusal, Room};
use crate::protocol::{
    Data, ErrorCode, ParticipantId, Permissions, PublishData, ServerMessage, SubscribeTopics,
};
use sfu::{Command, DataFault, DataMessage, DataParams, DataSender, TransportId};
use std::time::{Duration, Instant};

/// What a participant may send through the room: bytes a second, and at once.
const BYTES_PER_SECOND: usize = 256 * 1024;
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// A message counts at least as so many.
const BYTES_MIN: usize = 256;

/// What a participant wants of data, and how fast it sends.
#[derive(Debug, Default)]
pub(super) struct DataState {
    /// `None`: every topic.
    topics: Option<Vec<String>>,
    /// What it has sent is forgotten then.
    quiet_at: Option<Instant>,
}

impl DataState {
    fn wants(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(|wanted| wanted == topic))
    }

    /// Whether so many bytes more are not too many.
    fn pay(&mut self, now: Instant, bytes: usize) -> bool {
        let cost = |bytes: usize| Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND as f64);
        let quiet_at = self.quiet_at.unwrap_or(now).max(now) + cost(bytes.max(BYTES_MIN));
        let allowed = quiet_at <= now + cost(BYTES_AT_ONCE);
        if allowed {
            self.quiet_at = Some(quiet_at);
        }
        allowed
    }
}

fn may_publish(permissions: &Permissions, hidden: bool) -> Result<(), &'static str> {
    match (permissions.can_publish_data, hidden) {
        (false, _) => Err("You may not send data (video.canPublishData of the token)."),
        (_, true) => Err("You are hidden (video.hidden of the token), so you cannot send data."),
        _ => Ok(()),
    }
}

impl Participant {
    fn data_sender(&self) -> DataSender {
        DataSender { number: self.id.0, identity: self.identity.as_str().into() }
    }

    /// It came by a WebSocket: the others watch, or are encoders.
    fn takes_part_in_data(&self) -> bool {
        !matches!(self.signaling, Signaling::Http(_))
    }
}

impl Room {
    /// Tells the media plane what somebody may do and wants, wherever that has changed.
    pub(super) fn configure_data(&mut self, id: ParticipantId) {
        let Some(participant) = self.participants.get(&id) else { return };
        let Some(transport) = participant.transport.filter(|_| participant.takes_part_in_data())
        else {
            return;
        };
        let permissions = &participant.grant.permissions;
        let params = Box::new(DataParams {
            sender: participant.data_sender(),
            may_publish: may_publish(permissions, participant.hidden).is_ok(),
            topics: participant.data.topics.clone(),
        });
        self.media(Command::ConfigureData { transport: transport.id, params });
    }

    /// The media plane passes everything on to the room as long as somebody is here without a peer connection.
    pub(super) fn tap_data(&mut self) {
        let without = |p: &Participant| p.takes_part_in_data() && p.transport.is_none();
        let tapped = self.participants.values().any(without);
        if std::mem::replace(&mut self.data_tapped, tapped) != tapped {
            let (router, workers) = (self.ids.router(), Vec::new());
            self.media(Command::LinkRouter { router, workers, tapped });
        }
    }

    pub(super) fn publish_data(
        &mut self,
        now: Instant,
        from: ParticipantId,
        publish: PublishData,
    ) -> Result<(), Refusal> {
        let Some((text, payload)) = publish.payload() else { return Ok(()) };
        // Of whom nobody is told, nobody finds out by this either.
        let seen = |identity: &String| self.seen_with_identity(identity).is_some();
        let missing = publish.to.iter().find(|identity| !seen(identity)).cloned();
        let Some(participant) = self.participants.get_mut(&from) else { return Ok(()) };
        may_publish(&participant.grant.permissions, participant.hidden)
            .map_err(|sentence| Refusal::new(ErrorCode::NotAllowed, sentence))?;
        if !participant.data.pay(now, payload.len()) {
            let sentence = "Send data more slowly, or on a data channel.";
            return Err(Refusal::new(ErrorCode::Limit, sentence));
        }
        let sender = participant.data_sender();
        if let Some(identity) = missing {
            let sentence = format!("There is no participant {identity:?} in this room.");
            return Err(Refusal::new(ErrorCode::NotFound, sentence));
        }
        let PublishData { topic, reliable, mut to, .. } = publish;
        to.sort_unstable();
        let message = Box::new(DataMessage { sender, topic, reliable, text, to, payload });
        self.pass_data(&message, &[], true);
        let router = self.ids.router();
        self.media(Command::SendData { router, message });
        Ok(())
    }

    /// Sends a message to those with one of these peer connections and, with `others`, to everybody without one whom it is for.
    pub(super) fn pass_data(
        &mut self,
        message: &DataMessage,
        recipients: &[TransportId],
        others: bool,
    ) {
        let is_for = |p: &&Participant| match p.transport {
            Some(transport) => recipients.contains(&transport.id),
            None => {
                let named = message.to.is_empty() || message.to.contains(&p.identity);
                let another = p.id.0 != message.sender.number;
                others && another && named && p.takes_part_in_data() && p.data.wants(&message.topic)
            }
        };
        let to: Vec<_> = self.participants.values().filter(is_for).map(|p| p.id).collect();
        if to.is_empty() {
            return;
        }
        let (text, bytes) = Data::payload(message.text, &message.payload);
        let data = ServerMessage::Data(Box::new(Data {
            participant: ParticipantId(message.sender.number),
            identity: message.sender.identity.as_ref().to_owned(),
            topic: message.topic.clone(),
            reliable: message.reliable,
            text,
            bytes,
        }));
        self.effects.push(Effect::Data { to, reliable: message.reliable, message: data });
    }

    pub(super) fn subscribe_topics(&mut self, id: ParticipantId, wish: SubscribeTopics) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.data.topics = wish.topics;
            self.configure_data(id);
        }
    }

    pub(super) fn data_refused(&mut self, id: ParticipantId, fault: DataFault) {
        let Some(participant) = self.participants.get(&id) else { return };
        let refusal = match fault {
            DataFault::NotAllowed => {
                let why = may_publish(&participant.grant.permissions, participant.hidden);
                let sentence = why.err().unwrap_or("You may not send data.");
                Refusal::new(ErrorCode::NotAllowed, sentence)
            }
            DataFault::Malformed => {
                let sentence = "A message on a data channel has a header that is none, or text that is not UTF-8.";
                Refusal::new(ErrorCode::BadMessage, sentence)
            }
            DataFault::TooLong => {
                let sentence = format!(
                    "A message may have at most {} bytes of payload.",
                    sfu::PAYLOAD_LEN_MAX
                );
                Refusal::new(ErrorCode::TooLarge, sentence)
            }
        };
        self.refuse(id, None, refusal);
    }

    pub(super) fn data_closed(&mut self, id: ParticipantId, label: String) {
        let message =
            "Messages were not read fast enough. Open a channel with this label to go on."
                .to_owned();
        let reason = "slow_reader".to_owned();
        self.send(id, ServerMessage::DataClosed { channel: label, reason, message });
    }
}
