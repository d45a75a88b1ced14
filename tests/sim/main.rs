//! The engine and its peers in virtual time, under a seeded network. Nothing here sleeps, and a failure repeats itself.
#![allow(clippy::unwrap_used)]

mod adapt;
mod broken;
mod call;
mod consent;
mod continuity;
mod counters;
mod data;
mod endpoint;
mod feedback;
mod hostile;
mod keyframes;
mod layers;
mod loss;
mod net;
mod nonce;
mod params;
mod pipes;
mod publisher;
mod redundancy;
mod replay;
mod speakers;
mod stamp;
mod subscriber;
mod svc;
mod sync;
mod tap;
mod trace;
mod tracks;
mod workers;
mod world;
