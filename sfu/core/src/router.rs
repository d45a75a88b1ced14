//! The media half of one room.

use crate::WorkerId;
use crate::speaker::SpeakerList;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who is in it, by key, and who spoke last.
#[derive(Debug, Default)]
pub(crate) struct Router {
    pub(crate) transports: usize,
    /// Audio producers.
    pub(crate) audio: Vec<usize>,
    pub(crate) speakers: SpeakerList,
    /// Transports that take part in data.
    pub(crate) members: Vec<usize>,
    /// Other workers that have transports of the room.
    pub(crate) links: Vec<WorkerId>,
    /// Control wants every message.
    pub(crate) tapped: bool,
    /// Members whose next message waits for its recipients.
    pub(crate) holding: Vec<usize>,
    /// Identities on other workers for whom too much waits, and whether their workers know that somebody here waits for them.
    pub(crate) pressed: BTreeMap<(WorkerId, Arc<str>), bool>,
}
