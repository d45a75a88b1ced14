//! Ogg with one Opus stream (RFC 7845).

use ::ogg::writing::{PacketWriteEndInfo, PacketWriter};
use std::fs::File;
use std::io::{BufWriter, Result, Write as _};
use std::time::Duration;

use super::{Frame, Writer};
use crate::native::opus;

/// Any number: the file has one stream.
const SERIAL: u32 = 1;
/// A page is at most this long, so that little is missing where the machine stops.
const PAGE: Duration = Duration::from_secs(1);

pub(super) struct Ogg {
    writer: PacketWriter<'static, BufWriter<File>>,
    /// The last packet is marked as such, so each waits for the next.
    held: Option<Packet>,
    page_began: Duration,
}

struct Packet {
    data: Vec<u8>,
    /// Samples at its end, since the beginning (section 4).
    granule: u64,
}

impl Ogg {
    pub(super) fn start(file: BufWriter<File>) -> Result<Self> {
        let mut writer = PacketWriter::new(file);
        writer.write_packet(opus::head(), SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        let vendor = b"Switchyard";
        let mut tags = opus::TAGS.to_vec();
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend(vendor);
        tags.extend(0u32.to_le_bytes()); // comments
        writer.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { writer, held: None, page_began: Duration::ZERO })
    }

    fn write_held(&mut self, end: PacketWriteEndInfo) -> Result<()> {
        match self.held.take() {
            Some(held) => self.writer.write_packet(held.data, SERIAL, end, held.granule),
            None => Ok(()),
        }
    }
}

impl Writer for Ogg {
    fn write(&mut self, frame: &Frame) -> Result<()> {
        let is_page_full = frame.at.saturating_sub(self.page_began) >= PAGE;
        let end = match is_page_full {
            true => PacketWriteEndInfo::EndPage,
            false => PacketWriteEndInfo::NormalPacket,
        };
        self.write_held(end)?;
        if is_page_full {
            self.page_began = frame.at;
        }
        let over = frame.at + opus::duration(&frame.data).unwrap_or_default();
        let granule = u64::try_from(over.as_micros() * 48 / 1000).unwrap_or(u64::MAX);
        self.held = Some(Packet { data: frame.data.clone(), granule });
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.write_held(PacketWriteEndInfo::EndStream)?;
        self.writer.inner_mut().flush()
    }
}
