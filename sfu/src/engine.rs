//! Stands in for `sfu_core::engine` until that module exists.
#![allow(dead_code, clippy::unused_self)]

use sfu_core::egress::{Egress, Tuple};
use sfu_core::{Command, Event};
use std::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) private_key_pkcs8: Vec<u8>,
}

impl Certificate {
    pub(crate) fn sha256(&self) -> [u8; 32] {
        [0; 32]
    }
}

#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub(crate) certificate: Certificate,
    pub(crate) seed: u64,
    pub(crate) epoch: Instant,
    pub(crate) epoch_ntp: u64,
}

#[derive(Debug)]
pub(crate) struct Engine;

impl Engine {
    pub(crate) fn new(_config: EngineConfig) -> Self {
        Self
    }
    pub(crate) fn handle_datagram(
        &mut self,
        _: Instant,
        _: &Tuple,
        _: &mut [u8],
        _: &mut Egress<'_>,
    ) {
    }
    pub(crate) fn handle_command(&mut self, _: Instant, _: Command, _: &mut Egress<'_>) {}
    pub(crate) fn handle_timeout(&mut self, _: Instant, _: &mut Egress<'_>) {}
    pub(crate) fn flush(&mut self, _: Instant, _: &mut Egress<'_>) {}
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        None
    }
}
