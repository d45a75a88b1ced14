//! The media half of one room.

use crate::speaker::SpeakerList;

/// Who is in it, by key, and who spoke last.
#[derive(Debug, Default)]
pub(crate) struct Router {
    pub(crate) transports: usize,
    /// Audio producers.
    pub(crate) audio: Vec<usize>,
    pub(crate) speakers: SpeakerList,
}
