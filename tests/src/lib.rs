//! What several test targets share: peers of the engine, and the functions that hostile bytes are fed to.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

pub mod fuzz;
pub mod peer;
