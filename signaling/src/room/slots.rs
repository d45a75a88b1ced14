//! Which track sits in which slot of one subscriber. Pure bookkeeping: no codecs, no messages, no ids of its own.
//!
//! Audio slot *k* and video slot *k* share one msid stream, and browsers keep lips and voice together only inside a stream. So a
//! participant's microphone and camera go to the same *k* where that is possible, and so do a shared screen and its sound.

use crate::protocol::{Kind, ParticipantId, TrackId};
use sfu::ConsumerId;

/// One sending section of a subscriber's peer connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// `a=mid`
    pub(crate) mid: String,
    /// Audio or video.
    pub(crate) kind: Kind,
    /// *k*: slots of both kinds with the same number share a stream.
    pub(crate) pair: u16,
    /// The media half.
    pub(crate) consumer: ConsumerId,
    /// What it shows.
    pub(crate) track: Option<TrackId>,
}

/// A track that the subscriber should see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) track: TrackId,
    pub(crate) kind: Kind,
    /// Tracks of one group are shown in sync: owner, and whether it is the shared screen.
    pub(crate) group: (ParticipantId, bool),
}

/// All slots of one subscriber, in the order in which they were negotiated.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotTable {
    slots: Vec<Slot>,
}

impl SlotTable {
    pub(crate) fn open(&mut self, slot: Slot) {
        debug_assert!(self.get(&slot.mid).is_none(), "one slot per mid");
        self.slots.push(slot);
    }

    /// Ends a slot; its track, if any, is without a slot then.
    pub(crate) fn close(&mut self, mid: &str) -> Option<Slot> {
        let index = self.slots.iter().position(|slot| slot.mid == mid)?;
        Some(self.slots.remove(index))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    pub(crate) fn get(&self, mid: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.mid == mid)
    }

    pub(crate) fn showing(&self, track: TrackId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.track == Some(track))
    }

    /// Empties the slot that shows a track.
    pub(crate) fn release(&mut self, track: TrackId) {
        let showing = self.slots.iter_mut().filter(|slot| slot.track == Some(track));
        showing.for_each(|slot| slot.track = None);
    }

    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(move |slot| slot.kind == kind)
    }

    /// Frees slots whose track is no longer wanted, then gives wanted tracks a free slot in the order of `wanted`.
    /// A track that has a slot keeps it. Returns the slots that changed.
    pub(crate) fn assign(
        &mut self,
        wanted: &[Wanted],
        fits: impl Fn(&Slot, TrackId) -> bool,
    ) -> Vec<Slot> {
        let before: Vec<Option<TrackId>> = self.slots.iter().map(|slot| slot.track).collect();
        for slot in &mut self.slots {
            slot.track = slot.track.filter(|track| wanted.iter().any(|w| w.track == *track));
        }
        for want in wanted {
            if self.showing(want.track).is_none()
                && let Some(index) = self.best_free(want, wanted, &fits)
            {
                self.slots[index].track = Some(want.track);
            }
        }
        let changed = self.slots.iter().zip(before).filter(|(slot, track)| slot.track != *track);
        changed.map(|(slot, _)| slot.clone()).collect()
    }

    /// The slot beside the track's partner, else one whose pair is free too, else any; the lowest of equals.
    fn best_free(
        &self,
        want: &Wanted,
        wanted: &[Wanted],
        fits: impl Fn(&Slot, TrackId) -> bool,
    ) -> Option<usize> {
        let beside = |slot: &Slot| {
            self.slots.iter().find(|other| other.kind != slot.kind && other.pair == slot.pair)
        };
        let rank = |slot: &Slot| match beside(slot).map(|other| other.track) {
            Some(Some(track)) => {
                let partner = wanted.iter().find(|other| other.track == track);
                if partner.is_some_and(|other| other.group == want.group) { 0 } else { 3 }
            }
            Some(None) => 1,
            None => 2,
        };
        let free = self.slots.iter().enumerate().filter(|(_, slot)| {
            slot.kind == want.kind && slot.track.is_none() && fits(slot, want.track)
        });
        free.min_by_key(|(_, slot)| (rank(slot), slot.pair)).map(|(index, _)| index)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(audio: u16, video: u16) -> SlotTable {
        let mut table = SlotTable::default();
        let pairs =
            (0..audio).map(|k| (Kind::Audio, k)).chain((0..video).map(|k| (Kind::Video, k)));
        for (index, (kind, pair)) in pairs.enumerate() {
            let consumer = ConsumerId(index as u64);
            table.open(Slot { mid: index.to_string(), kind, pair, consumer, track: None });
        }
        table
    }

    /// Track `owner*10 + n`: 0 microphone, 1 camera, 2 screen, 3 its sound.
    fn want(track: u32) -> Wanted {
        let kind = if matches!(track % 10, 1 | 2) { Kind::Video } else { Kind::Audio };
        Wanted { track: TrackId(track), kind, group: (ParticipantId(track / 10), track % 10 >= 2) }
    }

    fn assign(table: &mut SlotTable, tracks: &[u32]) {
        let wanted: Vec<_> = tracks.iter().map(|track| want(*track)).collect();
        table.assign(&wanted, |_, _| true);
    }

    fn pair_of(table: &SlotTable, track: u32) -> Option<u16> {
        table.showing(TrackId(track)).map(|slot| slot.pair)
    }

    #[test]
    fn microphone_and_camera_share_a_pair_whatever_the_order() {
        for order in [[10, 11, 20, 21, 30, 31], [31, 10, 21, 30, 11, 20], [11, 21, 31, 30, 20, 10]]
        {
            let mut table = table(4, 4);
            for count in 1..=order.len() {
                assign(&mut table, &order[..count]);
            }
            for owner in 1..=3 {
                let (mic, camera) = (pair_of(&table, owner * 10), pair_of(&table, owner * 10 + 1));
                assert!(mic.is_some());
                assert_eq!(mic, camera, "{order:?}");
            }
        }
    }

    #[test]
    fn a_screen_and_its_sound_share_another_pair() {
        let mut table = table(4, 4);
        assign(&mut table, &[10, 11, 12, 13]);
        assert_eq!(pair_of(&table, 12), pair_of(&table, 13));
        assert_ne!(pair_of(&table, 11), pair_of(&table, 12));
    }

    #[test]
    fn a_freed_slot_goes_to_the_next_in_line() {
        let mut table = table(0, 2);
        assign(&mut table, &[11, 21, 31, 41]);
        assert_eq!((pair_of(&table, 31), pair_of(&table, 41)), (None, None));
        assign(&mut table, &[21, 31, 41]);
        assert_eq!(pair_of(&table, 31), Some(0));
        assert_eq!(pair_of(&table, 41), None);
    }

    #[test]
    fn what_does_not_fit_is_passed_over() {
        let mut table = table(0, 1);
        let changed = table.assign(&[want(11), want(21)], |_, track| track != TrackId(11));
        assert_eq!(changed.len(), 1);
        assert_eq!(pair_of(&table, 11), None);
        assert_eq!(pair_of(&table, 21), Some(0));
    }

    #[test]
    fn only_changed_slots_are_reported() {
        let mut table = table(2, 2);
        let wanted = [want(10), want(11)];
        assert_eq!(table.assign(&wanted, |_, _| true).len(), 2);
        assert_eq!(table.assign(&wanted, |_, _| true).len(), 0);
        let freed = table.assign(&[want(10)], |_, _| true);
        assert_eq!(freed.len(), 1);
        assert_eq!(freed[0].track, None);
    }

    proptest! {
        /// After any sequence of wishes: kinds match, nobody sits twice, who sat and is still wanted has not moved, and no
        /// wanted track stands while a slot of its kind is free.
        #[test]
        fn seats_are_kept_and_filled(
            audio in 0u16..5, video in 0u16..5,
            rounds in prop::collection::vec(prop::collection::btree_set(10u32..50, 0..20), 1..20),
        ) {
            let mut table = table(audio, video);
            for round in rounds {
                let tracks: Vec<u32> = round.into_iter().filter(|track| track % 10 < 4).collect();
                let before = table.clone();
                assign(&mut table, &tracks);
                for track in &tracks {
                    let now = pair_of(&table, *track);
                    prop_assert!(pair_of(&before, *track).is_none_or(|pair| now == Some(pair)));
                    let free = table.of_kind(want(*track).kind).any(|slot| slot.track.is_none());
                    prop_assert!(now.is_some() || !free);
                }
                let mut seated: Vec<_> = table.iter().filter_map(|slot| slot.track).collect();
                for slot in table.iter() {
                    if let Some(track) = slot.track {
                        prop_assert!(tracks.contains(&track.0));
                        prop_assert_eq!(want(track.0).kind, slot.kind);
                    }
                }
                let count = seated.len();
                seated.sort_unstable();
                seated.dedup();
                prop_assert_eq!(seated.len(), count);
            }
        }
    }
}
