//! What is said in a room, and to whom. What somebody may not see is as if it were not there.

use super::{Effect, Recipients, Refusal, Room};
use crate::auth::unix_millis;
use crate::protocol::{
    ChatDeleted, ChatMessage, ChatNews, ErrorCode, MessageId, ParticipantId, ServerMessage,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

/// Most messages that are kept for those who come later.
pub(super) const MESSAGES_MAX: usize = 200;
/// Most bytes of them: text, names and identities.
pub(super) const BYTES_MAX: usize = 128 * 1024;
/// Who writes has to say so again before.
const TYPING_ENDS: Duration = Duration::from_secs(6);
/// Begins of writing: so many at once, then one in this time. Those beyond are not told.
const TYPING_AT_ONCE: u32 = 5;
const TYPING_EVERY: Duration = Duration::from_secs(2);

/// The last messages, oldest first.
#[derive(Debug, Default)]
pub(super) struct ChatLog {
    messages: VecDeque<ChatMessage>,
    bytes: usize,
    last: u32,
}

impl ChatLog {
    fn push(&mut self, message: ChatMessage) {
        self.bytes += weight(&message);
        self.messages.push_back(message);
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let oldest = self.messages.pop_front();
            self.bytes -= oldest.as_ref().map_or(0, weight);
        }
    }

    /// Without what was said, but no number comes again.
    pub(super) fn emptied(&self) -> Self {
        Self { last: self.last, ..Self::default() }
    }

    fn remove(&mut self, id: MessageId) -> Option<ChatMessage> {
        let index = self.messages.iter().position(|message| message.message == id)?;
        let message = self.messages.remove(index)?;
        self.bytes -= weight(&message);
        Some(message)
    }

    fn seen_by(&self, identity: &str) -> Vec<ChatMessage> {
        self.messages.iter().filter(|message| sees(message, identity)).cloned().collect()
    }
}

fn weight(message: &ChatMessage) -> usize {
    let ChatMessage { identity, name, text, to, .. } = message;
    identity.len() + name.len() + text.len() + to.iter().map(String::len).sum::<usize>()
}

fn sees(message: &ChatMessage, identity: &str) -> bool {
    message.to.is_empty()
        || message.identity == identity
        || message.to.iter().any(|to| to == identity)
}

impl Room {
    pub(super) fn say(
        &mut self,
        from: ParticipantId,
        text: String,
        mut to: Vec<String>,
    ) -> Result<(), Refusal> {
        self.check_talks(from)?;
        to.sort_unstable();
        to.dedup();
        if let Some(absent) = to.iter().find(|identity| self.seen_with_identity(identity).is_none())
        {
            let text = format!("There is nobody {absent:?} in this room to whom it could be said.");
            return Err(Refusal::new(ErrorCode::NotFound, text));
        }
        self.spend(from)?;
        self.set_typing(from, false);
        let Some(author) = self.participants.get(&from) else { return Ok(()) };
        self.chat.last = self.chat.last.checked_add(1).expect("four thousand million messages");
        let message = ChatMessage {
            message: MessageId(self.chat.last),
            identity: author.identity.clone(),
            name: author.name.clone(),
            time: unix_millis(SystemTime::now()),
            text,
            to,
        };
        self.chat.push(message.clone());
        self.tell_seers(&message, ServerMessage::Chat(ChatNews::ChatMessage(message.clone())));
        Ok(())
    }

    /// By its author, or by a moderator who can see it.
    pub(super) fn take_back(
        &mut self,
        from: ParticipantId,
        message: MessageId,
        reason: String,
    ) -> Result<(), Refusal> {
        let Some(asking) = self.participants.get(&from) else { return Ok(()) };
        let found = self.chat.messages.iter().find(|known| known.message == message);
        let found = found.filter(|known| sees(known, &asking.identity));
        let Some(found) = found else {
            let text = format!("There is no message {message}; it may have been deleted already.");
            return Err(Refusal::new(ErrorCode::NotFound, text));
        };
        if found.identity != asking.identity && !asking.is_moderator() {
            let text = "Only its author and moderators may delete a message.";
            return Err(Refusal::new(ErrorCode::NotAllowed, text));
        }
        let own = found.identity == asking.identity;
        let by = (!own && !asking.hidden).then(|| asking.identity.clone());
        if let Some(deleted) = self.chat.remove(message) {
            self.tell_deleted(&deleted, &ChatDeleted { message, by, reason });
        }
        Ok(())
    }

    /// All who saw it; the reason is for its author, and for moderators.
    fn tell_deleted(&mut self, deleted: &ChatMessage, news: &ChatDeleted) {
        let silent = ChatDeleted { reason: String::new(), ..news.clone() };
        let seers = self.participants.values().filter(|p| sees(deleted, &p.identity));
        let told = seers.map(|p| (p.id, p.is_moderator() || p.identity == deleted.identity));
        for (id, knows) in told.collect::<Vec<_>>() {
            let news = if knows { news.clone() } else { silent.clone() };
            self.send(id, ServerMessage::Chat(ChatNews::ChatDeleted(news)));
        }
    }

    /// What was said before somebody came.
    pub(super) fn tell_history(&mut self, to: ParticipantId) {
        let Some(participant) = self.participants.get(&to) else { return };
        let messages = self.chat.seen_by(&participant.identity);
        if !messages.is_empty() {
            self.send(to, ServerMessage::Chat(ChatNews::ChatHistory { messages }));
        }
    }

    fn tell_seers(&mut self, message: &ChatMessage, news: ServerMessage) {
        if message.to.is_empty() {
            self.effects.push(Effect::Send { to: Recipients::All, message: news });
            return;
        }
        let seers = self.participants.values().filter(|p| sees(message, &p.identity));
        for id in seers.map(|p| p.id).collect::<Vec<_>>() {
            self.send(id, news.clone());
        }
    }

    /// Somebody who may not talk, or does too much, is not shown as writing.
    pub(super) fn typing(&mut self, from: ParticipantId, typing: bool) {
        let now = self.now;
        let allowed = self.check_talks(from).is_ok();
        let Some(participant) = self.participants.get_mut(&from) else { return };
        let social = &mut participant.social;
        let begins = typing && social.typing_until.is_none();
        let spent = begins && !social.typing_budget.spend(now, TYPING_AT_ONCE, TYPING_EVERY);
        if typing && (!allowed || spent) {
            return;
        }
        self.set_typing(from, typing);
    }

    fn set_typing(&mut self, from: ParticipantId, typing: bool) {
        let until = self.now + TYPING_ENDS;
        let Some(participant) = self.participants.get_mut(&from) else { return };
        let before = participant.social.typing_until;
        participant.social.typing_until = typing.then_some(until);
        if before.is_some() != typing {
            let news = ChatNews::ParticipantTyping { participant: from, typing };
            self.send_to_others(from, ServerMessage::Chat(news));
        }
    }

    /// Who has not said for a while that they write does not.
    pub(super) fn tick_typing(&mut self, now: Instant) {
        let due = self.participants.values();
        let due = due.filter(|p| p.social.typing_until.is_some_and(|deadline| deadline <= now));
        for id in due.map(|p| p.id).collect::<Vec<_>>() {
            self.set_typing(id, false);
        }
    }
}
