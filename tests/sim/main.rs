//! The engine and its peers in virtual time, under a seeded network. Nothing here sleeps, and a failure repeats itself.
#![allow(clippy::unwrap_used)]

mod continuity;
mod endpoint;
mod loss;
mod net;
mod publisher;
mod stamp;
mod subscriber;
mod tap;
mod world;
