//! The next part of every replay of one subscriber.

use super::{Fan, Flush};
use crate::consumer::Consumer;
use crate::drop_reason::DropReason;
use crate::transport::pace::{Taken, Waiting};

impl Fan<'_> {
    /// Chooses what of the replays leaves now; returns whether there is more.
    pub(super) fn replay(
        &mut self,
        flush: &mut Flush<'_, '_>,
        slots: usize,
        taken: &mut Taken,
    ) -> bool {
        let mut more = false;
        for index in 0..self.transport.consumers.len() {
            let key = self.transport.consumers[index];
            more |= self.replay_one(flush, key, slots, taken);
        }
        more
    }

    fn replay_one(
        &mut self,
        flush: &mut Flush<'_, '_>,
        key: usize,
        slots: usize,
        taken: &mut Taken,
    ) -> bool {
        let replay = self.consumers.get(key).and_then(|consumer| consumer.replay.as_ref());
        let Some(share) = replay.filter(|replay| replay.runs()).map(|replay| replay.share) else {
            return false;
        };
        let end = taken.bytes + share * slots;
        while taken.bytes < end && self.transport.pace.allows(*taken, slots) {
            let Some(next) = self.next_of_replay(flush.now_us, key) else {
                return self.consumers.get(key).is_some_and(Consumer::replays);
            };
            match self.judge(flush, next) {
                Ok((chosen, _)) => self.take(chosen, taken),
                Err(reason) => {
                    flush.drops.count(reason);
                    if reason == DropReason::WaitingKeyframe {
                        // Another encoding is wanted by now.
                        self.consumers[key].replay = None;
                    }
                }
            }
        }
        true
    }

    /// The next packet of a consumer's replay; `None` at its end, and where the cache is still being filled.
    fn next_of_replay(&mut self, now_us: u64, key: usize) -> Option<Waiting> {
        let consumer = self.consumers.get_mut(key)?;
        let replay = consumer.replay.as_mut().filter(|replay| replay.runs())?;
        let bound = consumer.bound.as_ref().map(|bound| bound.producer);
        let producer = bound.and_then(|bound| self.producers.get(bound))?;
        let encoding = replay.encoding();
        let source = producer.encodings.get(usize::from(encoding))?;
        if let Some(gop) = source.gop(now_us).filter(|gop| gop.first > replay.next) {
            // A new keyframe came meanwhile: what was before it is of no use any more.
            replay.next = gop.first;
            consumer.selector.reset();
        }
        let highest = source.highest()?;
        while replay.next <= highest && !source.cache.contains(replay.next) {
            replay.next += 1;
        }
        if replay.next > highest {
            let more = source.filling && producer.flowing & (1 << encoding) != 0;
            if !more {
                replay.end(now_us);
            }
            return None;
        }
        let seq = replay.next;
        replay.next += 1;
        let binding = consumer.binding;
        Some(Waiting { consumer: key, binding, encoding, seq, since_us: now_us })
    }

    /// Where nothing can be sent nothing is replayed: what comes live is judged as ever.
    pub(super) fn end_replays(&mut self, now_us: u64) -> bool {
        for &key in &self.transport.consumers {
            if let Some(replay) = self.consumers.get_mut(key).and_then(|c| c.replay.as_mut()) {
                replay.end(now_us);
            }
        }
        false
    }
}
