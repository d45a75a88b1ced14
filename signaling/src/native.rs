//! `switchyard publish`, `switchyard play` and `switchyard bot`: a WHIP publisher and a WHEP player for files, and a participant without media, on the
//! `webrtc` crate.
//!
//! They are clients of any server, and share nothing with ours but the binary. Frames go from file to file as they are:
//! nothing is decoded.

mod annex_b;
mod assembler;
mod bot;
mod endpoint;
mod format;
mod inbound;
mod opus;
mod peer;
mod picture;
mod play;
mod progress;
mod publish;
mod read;
mod recording;
mod write;

pub use bot::bot;
pub use play::play;
pub use publish::publish;
