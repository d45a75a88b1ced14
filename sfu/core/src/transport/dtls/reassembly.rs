//! Puts handshake messages together from fragments, however they were cut (RFC 6347 section 4.2.3).
//!
//! Owns incomplete messages, in a window behind the next one due. Never parses a message.
//! The library's own buffer recurses per fragment and knows neither overlaps nor re-cut retransmissions, so it only ever
//! sees what leaves here: whole messages, in order, each once.

use super::record::Fragment;

/// Longest message accepted, in bytes. Long certificate chains stay below 8 KB.
pub(super) const MESSAGE_LEN_MAX: usize = 16 * 1024;
/// Messages held at a time. A flight has at most five that can be fragmented.
const WINDOW: usize = 8;
/// Sum of the lengths of all messages held, in bytes.
const HELD_LEN_MAX: usize = 32 * 1024;
/// Messages of one handshake; a long one has seven. Later sequence numbers are dropped.
const MESSAGES_MAX: u16 = 24;

/// A whole handshake message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) message_type: u8,
    pub(super) sequence: u16,
    pub(super) body: Vec<u8>,
}

struct Partial {
    message_type: u8,
    body: Vec<u8>,
    received: Vec<bool>,
    missing: usize,
}

impl Partial {
    /// The first copy of a byte wins.
    fn insert(&mut self, fragment: &Fragment<'_>) {
        let slots = self.body.iter_mut().zip(&mut self.received).skip(fragment.offset);
        for ((slot, received), byte) in slots.zip(fragment.data) {
            if !std::mem::replace(received, true) {
                *slot = *byte;
                self.missing -= 1;
            }
        }
    }
}

/// Incomplete messages of one handshake.
#[derive(Default)]
pub(super) struct Reassembly {
    next: u16,
    held: [Option<Partial>; WINDOW],
}

impl Reassembly {
    /// Sequence number of the next message due.
    pub(super) fn next_sequence(&self) -> u16 {
        self.next
    }

    /// Takes one fragment. What is old, too far ahead, too long or at odds with an earlier fragment is dropped.
    pub(super) fn insert(&mut self, fragment: &Fragment<'_>) {
        let useless = fragment.data.is_empty() && fragment.length > 0;
        if useless || fragment.length > MESSAGE_LEN_MAX || fragment.sequence >= MESSAGES_MAX {
            return;
        }
        let held_len: usize = self.held.iter().flatten().map(|held| held.body.len()).sum();
        let Some(ahead) = fragment.sequence.checked_sub(self.next) else { return };
        let Some(slot) = self.held.get_mut(usize::from(ahead)) else { return };
        if slot.is_none() && held_len + fragment.length > HELD_LEN_MAX {
            return;
        }
        let partial = slot.get_or_insert_with(|| Partial {
            message_type: fragment.message_type,
            body: vec![0; fragment.length],
            received: vec![false; fragment.length],
            missing: fragment.length,
        });
        if partial.message_type == fragment.message_type && partial.body.len() == fragment.length {
            partial.insert(fragment);
        }
    }

    /// The next message in order, once it is whole.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let partial = self.held.first_mut()?.take_if(|partial| partial.missing == 0)?;
        self.held.rotate_left(1);
        let sequence = self.next;
        self.next += 1;
        Some(Message { message_type: partial.message_type, sequence, body: partial.body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(sequence: u16, length: usize, offset: usize, data: &[u8]) -> Fragment<'_> {
        Fragment { message_type: 1, length, sequence, offset, data }
    }

    #[test]
    fn overlapping_and_reversed_fragments_make_one_message() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(&fragment(0, 6, 3, b"def"));
        reassembly.insert(&fragment(0, 6, 2, b"cd"));
        assert_eq!(reassembly.pop(), None);
        reassembly.insert(&fragment(0, 6, 0, b"abXX"));
        assert_eq!(reassembly.pop().map(|message| message.body), Some(b"abcdef".to_vec()));
        assert_eq!(reassembly.pop(), None);
        assert_eq!(reassembly.next_sequence(), 1);
    }

    #[test]
    fn messages_leave_in_order_and_once() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(&fragment(1, 1, 0, b"b"));
        assert_eq!(reassembly.pop(), None);
        reassembly.insert(&fragment(0, 1, 0, b"a"));
        assert_eq!(reassembly.pop().map(|message| message.body), Some(b"a".to_vec()));
        assert_eq!(reassembly.pop().map(|message| message.body), Some(b"b".to_vec()));
        reassembly.insert(&fragment(0, 1, 0, b"a"));
        reassembly.insert(&fragment(1, 1, 0, b"b"));
        assert_eq!(reassembly.pop(), None);
    }

    #[test]
    fn an_empty_message_is_whole_and_an_empty_piece_is_nothing() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(&fragment(0, 5, 0, b""));
        assert!(reassembly.held.iter().all(Option::is_none));
        reassembly.insert(&fragment(0, 0, 0, b""));
        assert_eq!(reassembly.pop().map(|message| message.body), Some(vec![]));
    }

    #[test]
    fn row_08_what_is_held_is_bounded() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(&fragment(0, (1 << 24) - 1, 0, b"x"));
        reassembly.insert(&fragment(0, MESSAGE_LEN_MAX + 1, 0, b"x"));
        assert!(reassembly.held.iter().all(Option::is_none));
        for sequence in 0..=u16::MAX {
            reassembly.insert(&fragment(sequence, MESSAGE_LEN_MAX, 0, b"x"));
        }
        let held: usize = reassembly.held.iter().flatten().map(|held| held.body.len()).sum();
        assert_eq!(held, HELD_LEN_MAX);
    }

    #[test]
    fn a_handshake_ends_after_its_last_possible_message() {
        let mut reassembly = Reassembly::default();
        let mut popped = 0;
        for sequence in 0..=u16::MAX {
            reassembly.insert(&fragment(sequence, 0, 0, b""));
            popped += usize::from(reassembly.pop().is_some());
        }
        assert_eq!(popped, usize::from(MESSAGES_MAX));
    }

    proptest! {
        #[test]
        fn any_cutting_in_any_order_gives_the_message(
            body in proptest::collection::vec(any::<u8>(), 1..400),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), 1_usize..40), 0..60),
            order in any::<u64>(),
        ) {
            let mut pieces: Vec<(usize, usize)> = cuts
                .iter()
                .map(|(start, len)| {
                    let start = start.index(body.len());
                    (start, (start + len).min(body.len()))
                })
                .collect();
            pieces.extend((0..body.len()).step_by(7).map(|at| (at, (at + 7).min(body.len()))));
            pieces.sort_by_key(|(start, end)| {
                (*start as u64 * 31 + *end as u64).wrapping_mul(order | 1)
            });
            let mut reassembly = Reassembly::default();
            for (start, end) in pieces {
                reassembly.insert(&fragment(0, body.len(), start, &body[start..end]));
            }
            prop_assert_eq!(reassembly.pop().map(|message| message.body), Some(body));
        }
    }
}
