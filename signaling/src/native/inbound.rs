//! What arrives, before the `webrtc` crate gets hold of it.
//!
//! That one keeps RTCP to itself, and drops packets of a track as soon as 256 of them wait for their reader, which the
//! keyframe of a large picture does on a busy machine.

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::{Error, Result};
use std::collections::VecDeque;
use std::time::Instant;
use tokio::sync::mpsc;

/// Packets that wait at most: a second of a fast stream.
const QUEUE: usize = 8192;

/// Media, or reports and wishes.
pub(super) enum Inbound {
    Rtp(rtp::Packet),
    Rtcp(Vec<Box<dyn rtcp::Packet>>),
}

/// An interceptor that changes nothing, and copies what arrives.
pub(super) struct Tap {
    copies: mpsc::Sender<Inbound>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Tap {
    pub(super) fn new() -> (Self, mpsc::Receiver<Inbound>) {
        let (copies, inbound) = mpsc::channel(QUEUE);
        (Self { copies, read: VecDeque::new(), write: VecDeque::new() }, inbound)
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<()> {
        let copy = match &packet.message.packet {
            Packet::Rtp(packet) => Some(Inbound::Rtp(packet.clone())),
            Packet::Rtcp(packets) => Some(Inbound::Rtcp(packets.clone())),
            _ => None,
        };
        if let Some(copy) = copy {
            // Full, it is a lost packet like others; closed, the command is ending.
            let _ = self.copies.try_send(copy);
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<()> {
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
