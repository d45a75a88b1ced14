//! Looks at everything that the engine sends to one subscriber, before the network can lose it.

use crate::endpoint::subscriber_ids as ids;
use crate::net::Micros;
use crate::stamp::Stamp;
use crate::wire::Cause;
use bytes::Bytes;
use rtcp::sender_report::SenderReport;
use sfu_core::transport::srtp::{SrtpKeys, SrtpReceiver};
use sfu_rtp::RtpHeader;
use sfu_rtp::codec::vp8::Vp8Descriptor;
use sfu_rtp::codec::vp9::Vp9Descriptor;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

/// One media packet of a slot, first transmission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Micros,
    /// 48-bit SRTP index.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) csrc: u32,
    /// Fills a number, and says nothing.
    pub(crate) blank: bool,
    pub(crate) marker: bool,
    /// VP8 and VP9.
    pub(crate) picture_id: Option<u16>,
    /// VP8 only.
    pub(crate) tl0: Option<u8>,
    pub(crate) stamp: Stamp,
}

/// What of a packet must be the same when RTX brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) marker: bool,
    pub(crate) timestamp: u32,
    pub(crate) descriptor: Option<Vec<u8>>,
    /// Digest of the payload.
    payload: u64,
}

/// A sender report of a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) at: Micros,
    pub(crate) ssrc: u32,
}

pub(crate) struct Tap {
    srtp: SrtpReceiver,
    /// (SSRC, index) -> digest of the datagram that was sealed under it.
    sealed: HashMap<(u32, u64), u64>,
    highest: HashMap<u32, u64>,
    /// RTX SSRC -> media SSRC.
    rtx: HashMap<u32, u32>,
    /// By media SSRC.
    pub(crate) sent: HashMap<u32, Vec<Sent>>,
    pub(crate) reports: Vec<Report>,
    /// (media SSRC, low 16 bits of the index, cycle by time) -> resends.
    resends: HashMap<(u32, u64), u32>,
    /// By media SSRC and index.
    pub(crate) said: HashMap<(u32, u64), Said>,
    transport_number: Option<u16>,
    /// Publishers' payloads are in order.
    pub(crate) strict: bool,
    pub(crate) datagrams: u64,
    /// Bytes of the largest one.
    pub(crate) largest: usize,
    pub(crate) rtx_packets: u64,
    /// Fill probes.
    pub(crate) padding_packets: u64,
    pub(crate) identical_packets: u64,
}

impl Tap {
    pub(crate) fn new(peer_keys: &SrtpKeys) -> Self {
        Self {
            srtp: SrtpReceiver::new(peer_keys),
            sealed: HashMap::new(),
            highest: HashMap::new(),
            rtx: HashMap::new(),
            sent: HashMap::new(),
            reports: Vec::new(),
            resends: HashMap::new(),
            said: HashMap::new(),
            transport_number: None,
            strict: true,
            datagrams: 0,
            largest: 0,
            rtx_packets: 0,
            padding_packets: 0,
            identical_packets: 0,
        }
    }

    pub(crate) fn add_rtx(&mut self, rtx: u32, media: u32) {
        self.rtx.insert(rtx, media);
    }

    /// Digests of all datagrams of media, by SSRC and index.
    pub(crate) fn sealed(&self) -> BTreeMap<(u32, u64), u64> {
        self.sealed.iter().map(|(&at, &digest)| (at, digest)).collect()
    }

    /// The most often that one packet was sent again.
    pub(crate) fn resends_max(&self) -> u32 {
        self.resends.values().copied().max().unwrap_or(0)
    }

    pub(crate) fn look(&mut self, now: Micros, datagram: &[u8], cause: Cause) {
        self.datagrams += 1;
        self.largest = self.largest.max(datagram.len());
        match sfu_rtp::classify(datagram) {
            Some(sfu_rtp::PacketKind::Rtp) => self.look_rtp(now, datagram, cause),
            Some(sfu_rtp::PacketKind::Rtcp) => self.look_rtcp(now, datagram),
            None => {}
        }
    }

    fn look_rtp(&mut self, now: Micros, datagram: &[u8], cause: Cause) {
        let header = RtpHeader::parse_prefix(datagram).unwrap();
        let (ssrc, number) = (header.ssrc, header.sequence_number);
        let highest = self.highest.entry(ssrc).or_insert(u64::from(number));
        let index = sfu_rtp::sequence::extend(*highest, number);
        *highest = (*highest).max(index);
        let sealed = digest(datagram);
        match self.sealed.entry((ssrc, index)) {
            Entry::Vacant(entry) => {
                entry.insert(sealed);
            }
            Entry::Occupied(entry) => {
                assert_eq!(*entry.get(), sealed, "SSRC {ssrc} index {index} sealed twice");
                assert!(!self.rtx.contains_key(&ssrc), "an RTX packet sent twice");
                self.identical_packets += 1;
                *self.resends.entry((ssrc, index)).or_default() += 1;
                return;
            }
        }
        let mut bytes = datagram.to_vec();
        let start = usize::from(header.payload_start);
        let opened = self.srtp.unprotect_rtp(&mut bytes, start, ssrc, number);
        let opened = opened.unwrap_or_else(|error| panic!("SSRC {ssrc} index {index}: {error}"));
        assert_eq!(opened.index, index);
        bytes.truncate(opened.len);
        self.check_transport_number(&header, &bytes);
        let payload = header.payload(&bytes);
        if self.rtx.contains_key(&ssrc) && bytes[0] & 0x20 != 0 {
            self.padding_packets += 1;
            return;
        }
        let descriptor = header.extensions(&bytes).find(|(id, _)| *id == ids::DESCRIPTOR);
        let said = |payload: &[u8]| Said {
            marker: header.marker,
            timestamp: header.timestamp,
            descriptor: descriptor.map(|(_, value)| value.to_vec()),
            payload: digest(payload),
        };
        if let Some(&media) = self.rtx.get(&ssrc) {
            let original = u16::from_be_bytes([payload[0], payload[1]]);
            Stamp::read(payload);
            self.rtx_packets += 1;
            let original = sfu_rtp::sequence::extend(self.highest[&media], original);
            let first = self.said.get(&(media, original)).expect("a packet that was sent");
            assert_eq!(*first, said(&payload[2..]), "RTX of {media} {original}");
            // Probes send packets again that nobody asked for.
            if cause == Cause::Answer {
                *self.resends.entry((media, original)).or_default() += 1;
            }
            return;
        }
        self.said.insert((ssrc, index), said(payload));
        let blank = payload.is_empty();
        let video = self.strict && !blank && header.payload_type == crate::subscriber::VP8;
        let descriptor = video.then(|| Vp8Descriptor::parse(payload).unwrap());
        let vp9 = self.strict && !blank && header.payload_type == crate::subscriber::VP9;
        let vp9 = vp9.then(|| Vp9Descriptor::parse(payload).unwrap());
        assert_eq!(header.csrcs(&bytes).count(), 1);
        self.sent.entry(ssrc).or_default().push(Sent {
            at: now,
            index,
            timestamp: header.timestamp,
            csrc: header.csrcs(&bytes).next().unwrap(),
            marker: header.marker,
            picture_id: match descriptor {
                Some(descriptor) => descriptor.picture_id,
                None => vp9.and_then(|d| d.picture_id),
            },
            tl0: descriptor.and_then(|d| d.tl0_picture_index),
            stamp: if blank { Stamp::default() } else { Stamp::read(payload) },
            blank,
        });
    }

    /// Transport-wide numbers are given out in the order in which packets leave.
    fn check_transport_number(&mut self, header: &RtpHeader, bytes: &[u8]) {
        let id = crate::endpoint::subscriber_ids::TRANSPORT_WIDE;
        let Some((_, value)) = header.extensions(bytes).find(|(there, _)| *there == id) else {
            return;
        };
        let number = u16::from_be_bytes([value[0], value[1]]);
        if let Some(last) = self.transport_number.replace(number) {
            assert_eq!(number, last.wrapping_add(1), "transport-wide numbers in wire order");
        }
    }

    fn look_rtcp(&mut self, now: Micros, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        let len = self.srtp.unprotect_rtcp(&mut bytes).expect("our own RTCP, once");
        bytes.truncate(len);
        for packet in rtcp::packet::unmarshal(&mut Bytes::from(bytes)).unwrap() {
            if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                self.reports.push(Report { at: now, ssrc: report.ssrc });
            }
        }
    }

    /// Sequence numbers without a hole (late ones fill theirs), timestamps and VP8 picture ids that only go up, picture ids by one.
    pub(crate) fn assert_continuous(&self, ssrc: u32) {
        let sent = self.in_order(ssrc);
        for pair in sent.windows(2) {
            assert_eq!(pair[1].index, pair[0].index + 1, "hole: {pair:?}");
        }
        assert_frames_follow(&sent);
    }

    /// As [`Tap::assert_continuous`], but where another source follows, the end of the one before may lack packets that came too late.
    pub(crate) fn assert_continuous_but_late(&self, ssrc: u32) {
        let sent = self.in_order(ssrc);
        for (at, pair) in sent.windows(2).enumerate() {
            let source = |sent: &Sent| (sent.stamp.track, sent.stamp.layer);
            let hole = pair[1].index != pair[0].index + 1;
            let last = || sent[at..].iter().take(10).any(|next| source(next) != source(&pair[0]));
            assert!(!hole || last(), "hole: {pair:?}");
        }
        assert_frames_follow(&sent);
    }

    fn in_order(&self, ssrc: u32) -> Vec<Sent> {
        let mut sent = self.sent[&ssrc].clone();
        sent.sort_by_key(|packet| packet.index);
        sent
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn assert_frames_follow(sent: &[Sent]) {
    let sent: Vec<&Sent> = sent.iter().filter(|sent| !sent.blank).collect();
    for pair in sent.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let step = b.timestamp.wrapping_sub(a.timestamp) as i32;
        assert!(step >= 0, "time goes back: {pair:?}");
        let frame = |sent: &Sent| (sent.stamp.track, sent.stamp.layer, sent.stamp.frame);
        let same = frame(a) == frame(b);
        assert!(same || step > 0, "two frames of one time: {pair:?}");
        if let (Some(x), Some(y)) = (a.picture_id, b.picture_id) {
            let expected = if same { x } else { (x + 1) & 0x7fff };
            assert_eq!(y, expected, "picture ids: {pair:?}");
        }
        if let (Some(x), Some(y)) = (a.tl0, b.tl0) {
            let base = u8::from(!same && b.stamp.temporal == 0);
            assert_eq!(y, x.wrapping_add(base), "TL0PICIDX: {pair:?}");
        }
    }
}
