//! ICE-lite.
