//! The next part of every replay of one subscriber.

use super::{Fan, Flush};
use crate::transport::pace::{Taken, Waiting};

/// Packets that one slot of one replay looks at, whatever becomes of them.
const JUDGED_MAX: usize = 256;
/// Packets by which one may be overtaken.
const REORDERED: u64 = 32;
/// How long a replay waits for another worker to fill the cache.
const FILLING_MAX_US: u64 = 5_000_000;

/// Where a replay is.
enum Next {
    Packet(Waiting),
    /// The cache is still being filled.
    Later,
    Over,
}

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
        let mut judged = 0;
        while taken.bytes < end
            && judged < JUDGED_MAX
            && self.transport.pace.allows(flush.now_us, *taken, slots)
        {
            let next = match self.next_of_replay(flush.now_us, key) {
                Next::Packet(next) => next,
                Next::Later => return true,
                Next::Over => {
                    let replay = self.consumers.get_mut(key).and_then(|c| c.replay.as_mut());
                    replay.into_iter().for_each(|replay| replay.end(flush.now_us));
                    return false;
                }
            };
            judged += 1;
            match self.judge(flush, next) {
                Ok((chosen, _)) => self.take(chosen, taken),
                Err(reason) => {
                    flush.drops.count(reason);
                    let consumer = &mut self.consumers[key];
                    if consumer.selector.current().is_none() {
                        // It does not even begin: a format that the subscriber has not, or another encoding is wanted by now.
                        consumer.replay = None;
                        return false;
                    }
                }
            }
        }
        true
    }

    fn next_of_replay(&mut self, now_us: u64, key: usize) -> Next {
        let Some(consumer) = self.consumers.get_mut(key) else { return Next::Over };
        let bound = consumer.bound.as_ref().map(|bound| bound.producer);
        let producer = bound.and_then(|bound| self.producers.get(bound));
        let (Some(producer), Some(replay)) = (producer, &mut consumer.replay) else {
            return Next::Over;
        };
        let encoding = replay.encoding();
        let source = producer.encodings.get(usize::from(encoding));
        let source = source.filter(|source| replay.is_of(encoding, source.epoch));
        let Some((source, highest)) = source.and_then(|s| Some((s, s.highest()?))) else {
            return Next::Over;
        };
        if let Some(gop) = source.gop(now_us).filter(|gop| gop.first > replay.next) {
            // A new keyframe came meanwhile: what was before it is of no use any more.
            replay.next = gop.first;
            consumer.selector.reset();
        }
        // The number of a packet that may still come is left to it.
        let may_come = |seq: u64| {
            !source.cache.contains(seq) && (highest - seq < REORDERED || source.nack.asks(seq))
        };
        while replay.next <= highest && may_come(replay.next) {
            replay.next += 1;
        }
        let seq = replay.next;
        if seq > highest {
            let began = consumer.replayed_us.unwrap_or(0);
            let fills = source.filling && now_us.saturating_sub(began) < FILLING_MAX_US;
            return if fills { Next::Later } else { Next::Over };
        }
        if !source.cache.contains(seq) {
            // Lost, or evicted: only a keyframe helps.
            consumer.selector.reset();
            return Next::Over;
        }
        replay.next += 1;
        let binding = consumer.binding;
        Next::Packet(Waiting { consumer: key, binding, encoding, seq, since_us: now_us })
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
