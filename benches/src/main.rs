//! Load generator: peers on real sockets with real ICE, DTLS and SRTP, against server processes.
//!
//! Never looks inside a server; what it costs is what the kernel says.

#[allow(dead_code)]
mod process;
#[allow(dead_code)]
mod sdp;
#[allow(dead_code)]
mod target;

fn main() {}
