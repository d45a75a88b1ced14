//! Ogg with one Opus stream (RFC 7845).

use anyhow::{Context as _, bail};
use ogg::PacketReader;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use super::{Format, Frame, Reader};
use crate::native::opus;

pub(super) struct Ogg {
    reader: PacketReader<BufReader<File>>,
    /// Of the Opus stream, among others that the file may have.
    serial: u32,
    at: Duration,
}

impl Ogg {
    pub(super) fn open(file: File) -> anyhow::Result<Self> {
        let mut reader = PacketReader::new(BufReader::new(file));
        loop {
            let packet = reader.read_packet().context("it is no Ogg file")?;
            let packet = packet.context("it has no Opus stream")?;
            if packet.data.starts_with(opus::HEAD) {
                return Ok(Self { reader, serial: packet.stream_serial(), at: Duration::ZERO });
            }
            if !packet.first_in_stream() {
                bail!("it has no Opus stream, and only Opus can be published");
            }
        }
    }
}

impl Reader for Ogg {
    fn formats(&self) -> &[Format] {
        &[Format::Opus]
    }

    fn next_frame(&mut self) -> anyhow::Result<Option<Frame>> {
        while let Some(packet) = self.reader.read_packet()? {
            if packet.stream_serial() != self.serial || packet.data.starts_with(opus::TAGS) {
                continue;
            }
            let at = self.at;
            self.at += opus::duration(&packet.data).context("a packet is no Opus")?;
            return Ok(Some(Frame { track: 0, at, data: packet.data.into() }));
        }
        Ok(None)
    }
}
