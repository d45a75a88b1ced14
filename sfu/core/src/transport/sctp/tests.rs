//! The bare library as the browser that opens the association.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use sctp_proto::{ClientConfig, PayloadProtocolIdentifier};

use super::*;

const PARAMS: SctpParams = SctpParams { remote_port: 5000, max_message_size: 262_144 };

#[allow(clippy::disallowed_methods)] // the base of virtual time
fn base() -> Instant {
    Instant::now()
}

struct Browser {
    endpoint: Endpoint,
    association: Association,
    connected: bool,
    lost: bool,
}

impl Browser {
    fn new() -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let mut config = ClientConfig::new();
        config.transport = Arc::new(TransportConfig::default().with_max_send_message_size(8 << 20));
        let (_, association) = endpoint.connect(config, PEER).unwrap();
        Self { endpoint, association, connected: false, lost: false }
    }

    fn packets(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(transmit) = self.association.poll_transmit(now) {
            let Payload::RawEncode(packets) = transmit.payload else { continue };
            out.extend(packets.iter().map(|packet| packet.to_vec()));
        }
        out
    }

    fn handle_data(&mut self, now: Instant, packet: Vec<u8>) {
        if let Some((_, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(now, PEER, None, None, packet.into())
        {
            self.association.handle_event(event);
        }
        while let Some(event) = self.association.poll() {
            self.connected |= matches!(event, Event::Connected);
            self.lost |= matches!(event, Event::AssociationLost { .. });
        }
    }

    /// Opens a channel where there is none, and sends a message on it.
    fn write(&mut self, id: StreamId, len: usize) {
        if !self.association.stream_ids().contains(&id) {
            self.open(id, 0, "chat");
        }
        self.send(id, PayloadProtocolIdentifier::Binary, &vec![1; len]);
    }

    fn open(&mut self, id: StreamId, kind: u8, label: &str) {
        self.association.open_stream(id, PayloadProtocolIdentifier::Binary).unwrap();
        let mut message = vec![3, kind, 0, 0, 0, 0, 0, 0, 0, label.len() as u8, 0, 0];
        message.extend(label.as_bytes());
        self.send(id, PayloadProtocolIdentifier::Dcep, &message);
    }

    fn send(&mut self, id: StreamId, kind: PayloadProtocolIdentifier, message: &[u8]) {
        let message = Bytes::copy_from_slice(message);
        self.association.stream(id).unwrap().write_sctp(&message, kind).unwrap();
    }

    fn read(&mut self, id: StreamId) -> Option<(PayloadProtocolIdentifier, Vec<u8>)> {
        let mut message = self.association.stream(id).ok()?.read_sctp().ok()??;
        let bytes = message.next(message.len())?.bytes.to_vec();
        Some((message.ppi, bytes))
    }
}

/// Reads everything that there is: messages and bytes.
fn drain(now: Instant, sctp: &mut Sctp) -> (usize, usize) {
    let read = std::iter::from_fn(|| sctp.read(now));
    read.fold((0, 0), |(n, bytes), message| (n + 1, bytes + message.payload.len()))
}

fn transmits(sctp: &mut Sctp) -> Vec<Vec<u8>> {
    let packets: Vec<_> = std::iter::from_fn(|| sctp.poll_transmit()).collect();
    assert!(packets.iter().all(|packet| packet.len() <= APPLICATION_DATA_LEN_MAX));
    packets
}

/// Exchanges packets in virtual time for `span`, with a link that may lose some.
fn run(
    now: &mut Instant,
    span: Duration,
    sctp: &mut Sctp,
    browser: &mut Browser,
    lost: impl FnMut() -> bool,
) {
    let _ = run_reading(now, span, sctp, browser, lost);
}

/// The same, while everything that comes is read: messages and bytes.
fn run_reading(
    now: &mut Instant,
    span: Duration,
    sctp: &mut Sctp,
    browser: &mut Browser,
    mut lost: impl FnMut() -> bool,
) -> (usize, usize) {
    let end = *now + span;
    let mut sum = (0, 0);
    while *now < end {
        let up = browser.packets(*now);
        for packet in up.iter().filter(|_| !lost()) {
            sctp.handle_data(*now, packet);
        }
        let (messages, bytes) = drain(*now, sctp);
        sum = (sum.0 + messages, sum.1 + bytes);
        sctp.flush(*now);
        let down = transmits(sctp);
        for packet in down.iter().filter(|_| !lost()) {
            browser.handle_data(*now, packet.clone());
        }
        if up.is_empty() && down.is_empty() {
            let timeouts = [sctp.poll_timeout(), browser.association.poll_timeout()];
            let Some(next) = timeouts.into_iter().flatten().min() else { return sum };
            *now = (*now).max(next);
            sctp.handle_timeout(*now);
            browser.association.handle_timeout(*now);
        }
    }
    sum
}

fn open() -> (Instant, Sctp, Browser) {
    let (mut now, mut sctp, mut browser) = (base(), Sctp::new(&PARAMS), Browser::new());
    assert!(!sctp.is_open());
    run(&mut now, Duration::from_secs(1), &mut sctp, &mut browser, || false);
    assert!(sctp.is_open() && browser.connected);
    (now, sctp, browser)
}

#[test]
fn the_browser_opens_an_association() {
    open();
}

#[test]
fn messages_are_read() {
    let (mut now, mut sctp, mut browser) = open();
    for id in 0..20 {
        browser.write(id, 100_000);
        browser.write(id, 1);
    }
    let read = run_reading(&mut now, Duration::from_secs(30), &mut sctp, &mut browser, || false);
    assert_eq!(read, (40, 20 * 100_001));
    assert!(sctp.is_open() && !browser.lost);
}

#[test]
fn four_times_the_receive_buffer_passes_through_it() {
    let (mut now, mut sctp, mut browser) = open();
    for _ in 0..8 {
        browser.write(1, MESSAGE_LEN_MAX as usize);
    }
    let read = run_reading(&mut now, Duration::from_secs(60), &mut sctp, &mut browser, || false);
    assert_eq!(read, (8, 8 * MESSAGE_LEN_MAX as usize));
}

#[test]
fn row_25_a_message_beyond_the_limit_does_not_pass() {
    let (mut now, mut sctp, mut browser) = open();
    browser.write(1, 8 << 20);
    let read = run_reading(&mut now, Duration::from_secs(60), &mut sctp, &mut browser, || false);
    assert_eq!(read, (0, 0));
    assert!(!sctp.is_open() && !sctp.has_failed());
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn channels_are_acknowledged_and_speak_both_ways() {
    let (mut now, mut sctp, mut browser) = open();
    browser.open(4, 0, "chat");
    browser.open(6, 0x81, LOSSY);
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    let opened = |stream, label: &str, reliable| Channel { stream, label: label.into(), reliable };
    assert_eq!(sctp.channels(), [opened(4, "chat", true), opened(6, LOSSY, false)]);
    let ack = (PayloadProtocolIdentifier::Dcep, vec![2]);
    assert_eq!((browser.read(4), browser.read(6)), (Some(ack.clone()), Some(ack)));
    assert!(sctp.send(4, true, &Bytes::from_static(b"hi")));
    assert!(sctp.send(6, false, &Bytes::new()));
    assert!(!sctp.send(8, false, &Bytes::new()), "no such channel");
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert_eq!(browser.read(4), Some((PayloadProtocolIdentifier::String, b"hi".to_vec())));
    assert_eq!(browser.read(6), Some((PayloadProtocolIdentifier::BinaryEmpty, vec![0])));
    assert_eq!(sctp.buffered(), 0);
}

#[test]
fn empty_messages_and_kinds_survive() {
    let (mut now, mut sctp, mut browser) = open();
    browser.open(2, 0, "chat");
    for (kind, bytes) in [
        (PayloadProtocolIdentifier::String, &b"hi"[..]),
        (PayloadProtocolIdentifier::StringEmpty, &[0]),
        (PayloadProtocolIdentifier::Binary, &[7]),
        (PayloadProtocolIdentifier::BinaryEmpty, &[0]),
    ] {
        browser.send(2, kind, bytes);
    }
    for packet in browser.packets(now) {
        sctp.handle_data(now, &packet);
    }
    let read: Vec<_> = std::iter::from_fn(|| sctp.read(now)).collect();
    let of = |text, payload: &'static [u8]| {
        let payload = Bytes::from_static(payload);
        Received { stream: 2, text, payload }
    };
    assert_eq!(read, [of(true, b"hi"), of(true, b""), of(false, &[7]), of(false, b"")]);
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
}

#[test]
fn two_streams_need_no_opening_message() {
    let (mut now, mut sctp, mut browser) = open();
    for id in 0..3 {
        browser.association.open_stream(id, PayloadProtocolIdentifier::Binary).unwrap();
        browser.send(id, PayloadProtocolIdentifier::Binary, &[1]);
    }
    let read = run_reading(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert_eq!((read, sctp.take_stray()), ((2, 2), 1));
    let labels: Vec<_> = sctp.channels().iter().map(|c| (c.stream, c.label.as_str())).collect();
    assert_eq!(labels, [(0, RELIABLE), (1, LOSSY)]);
}

#[test]
fn either_side_closes_a_channel_and_its_stream_may_be_used_again() {
    let (mut now, mut sctp, mut browser) = open();
    browser.open(2, 0, "chat");
    browser.open(4, 0, "game");
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert!(browser.read(2).is_some() && browser.read(4).is_some());
    browser.association.stream(2).unwrap().close().unwrap();
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert_eq!(sctp.channels().len(), 1);
    sctp.close(4);
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert!(sctp.channels().is_empty());
    assert!(!browser.association.stream_ids().contains(&4), "the peer was told");
    browser.open(2, 0, "chat");
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert_eq!(sctp.channels().len(), 1);
}

#[test]
fn channels_are_capped_and_refused_by_closing_them() {
    let (mut now, mut sctp, mut browser) = open();
    let count = CHANNELS_MAX as u16 + 3;
    for id in 0..count {
        browser.open(2 * id, 0, "chat");
    }
    run(&mut now, SECOND, &mut sctp, &mut browser, || false);
    assert_eq!(sctp.channels().len(), CHANNELS_MAX);
    assert_eq!(browser.association.stream_ids().len(), CHANNELS_MAX);
}

#[test]
fn what_is_not_read_holds_the_peer_back_and_goes_on_at_once_when_it_is() {
    let (mut now, mut sctp, mut browser) = open();
    const LEN: usize = 64 * 1024;
    for _ in 0..32 {
        browser.write(1, LEN);
    }
    // Nobody reads.
    let end = now + 20 * SECOND;
    while now < end {
        for packet in browser.packets(now) {
            sctp.handle_data(now, &packet);
        }
        for packet in transmits(&mut sctp) {
            browser.handle_data(now, packet);
        }
        now += Duration::from_millis(50);
        sctp.handle_timeout(now);
        browser.association.handle_timeout(now);
    }
    let held = browser.association.stream(1).unwrap().buffered_amount().unwrap();
    assert!(held >= 32 * LEN - RECEIVE_BUFFER_LEN as usize - 2000, "{held} bytes are held back");
    let read = run_reading(&mut now, SECOND / 2, &mut sctp, &mut browser, || false);
    assert_eq!(read, (32, 32 * LEN));
}

#[test]
fn row_25_messages_that_are_not_read_are_bounded_by_number() {
    let (now, mut sctp, mut browser) = open();
    let (header, tsn) = as_peer(now, &mut browser);
    let messages = (0..100_000_u32).map(|n| data(&header, 7, tsn.wrapping_add(n), 1, 53, &[7]));
    let held = held(&mut sctp, now, messages);
    assert!(held <= 2 << 20, "{held} bytes");
    assert_eq!(drain(now, &mut sctp).0, UNREAD_MESSAGES_MAX + PARKED_MAX);
}

#[test]
fn row_25_crumbs_of_messages_are_refused() {
    let (now, mut sctp, mut browser) = open();
    let (header, tsn) = as_peer(now, &mut browser);
    let pieces = (0..20_000_u32).map(|piece| {
        let flags = if piece == 0 { 2 } else { 0 };
        data(&header, flags, tsn.wrapping_add(piece), 1, 53, &[7])
    });
    let held = held(&mut sctp, now, pieces);
    assert!(held <= 4096, "{held} bytes");
}

/// As Chromium cuts messages where its window ends.
#[test]
fn some_crumbs_between_whole_pieces_are_taken() {
    let (now, mut sctp, mut browser) = open();
    let (header, tsn) = as_peer(now, &mut browser);
    for piece in 0..60_u32 {
        let flags = [2, 0, 1][usize::from(piece > 0) + usize::from(piece == 59)];
        let payload = if piece % 3 == 1 { vec![7; 12] } else { vec![7; 1100] };
        sctp.handle_data(now, &data(&header, flags, tsn.wrapping_add(piece), 1, 53, &payload));
    }
    assert_eq!(drain(now, &mut sctp).0, 1);
}

#[test]
fn losses_are_recovered() {
    let (mut now, mut sctp, mut browser) = (base(), Sctp::new(&PARAMS), Browser::new());
    let mut count = 0_u32;
    let mut lost = || {
        count += 1;
        count % 4 == 1
    };
    run(&mut now, Duration::from_secs(30), &mut sctp, &mut browser, &mut lost);
    assert!(sctp.is_open() && browser.connected);
    browser.write(1, 50_000);
    let read = run_reading(&mut now, Duration::from_secs(120), &mut sctp, &mut browser, &mut lost);
    assert_eq!(read, (1, 50_000));
}

#[test]
fn a_late_copy_of_init_does_not_close_an_open_association() {
    let (mut now, mut sctp, mut browser) = (base(), Sctp::new(&PARAMS), Browser::new());
    let init = browser.packets(now);
    assert_eq!(init.len(), 1);
    sctp.handle_data(now, &init[0]);
    sctp.handle_data(now, &init[0]);
    run(&mut now, Duration::from_secs(1), &mut sctp, &mut browser, || false);
    assert!(sctp.is_open());
    sctp.handle_data(now, &init[0]);
    assert!(sctp.is_open());
    browser.write(1, 10);
    let read = run_reading(&mut now, Duration::from_secs(5), &mut sctp, &mut browser, || false);
    assert_eq!(read, (1, 10));
}

#[test]
fn a_closed_association_can_be_opened_again() {
    let (mut now, mut sctp, mut browser) = open();
    browser.association.shutdown().unwrap();
    run(&mut now, Duration::from_secs(5), &mut sctp, &mut browser, || false);
    assert!(!sctp.is_open());
    assert_eq!(sctp.poll_timeout(), None);
    let mut again = Browser::new();
    run(&mut now, Duration::from_secs(5), &mut sctp, &mut again, || false);
    assert!(sctp.is_open() && again.connected);
}

#[test]
fn closed_associations_leave_nothing_behind() {
    let (mut now, mut sctp) = (base(), Sctp::new(&PARAMS));
    let mut kept = Vec::new();
    for _ in 0..20 {
        let mut browser = Browser::new();
        run(&mut now, Duration::from_secs(5), &mut sctp, &mut browser, || false);
        assert!(sctp.is_open());
        browser.association.shutdown().unwrap();
        run(&mut now, Duration::from_secs(5), &mut sctp, &mut browser, || false);
        kept.push(format!("{:?}", sctp.endpoint).len());
    }
    assert_eq!(kept.first(), kept.last());
}

#[test]
fn row_25_many_inits_leave_one_association() {
    let (mut now, mut sctp) = (base(), Sctp::new(&PARAMS));
    for _ in 0..1000 {
        let mut browser = Browser::new();
        browser.packets(now).iter().for_each(|packet| sctp.handle_data(now, packet));
    }
    assert_eq!(transmits(&mut sctp).len(), TRANSMITS_MAX);
    let mut browser = Browser::new();
    run(&mut now, Duration::from_secs(5), &mut sctp, &mut browser, || false);
    assert!(sctp.is_open() && browser.connected);
}

fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[8..12].fill(0);
    let crc = packet.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1))
        })
    });
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
    packet
}

/// The common header and the next TSN of an open association's peer.
fn as_peer(now: Instant, browser: &mut Browser) -> ([u8; 12], u32) {
    browser.write(1, 900);
    let sample = browser.packets(now).remove(0);
    (*sample.first_chunk().unwrap(), u32::from_be_bytes(sample[16..20].try_into().unwrap()))
}

/// One DATA chunk (RFC 9260 section 3.3.1).
fn data(
    header: &[u8; 12],
    flags: u8,
    tsn: u32,
    stream: u16,
    protocol: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = header.to_vec();
    packet.extend([0, flags]);
    packet.extend((16 + payload.len() as u16).to_be_bytes());
    packet.extend(tsn.to_be_bytes());
    packet.extend(stream.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(protocol.to_be_bytes());
    packet.extend(payload);
    packet.resize(packet.len().next_multiple_of(4), 0);
    with_checksum(packet)
}

/// What feeding these packets left allocated, in bytes.
fn held(sctp: &mut Sctp, now: Instant, packets: impl Iterator<Item = Vec<u8>>) -> i64 {
    let measured = allocation_counter::measure(|| {
        for packet in packets {
            sctp.handle_data(now, &packet);
            while sctp.poll_transmit().is_some() {}
        }
    });
    measured.bytes_current
}

#[test]
fn row_25_a_message_without_end_is_bounded() {
    let (now, mut sctp, mut browser) = open();
    let (header, tsn) = as_peer(now, &mut browser);
    let pieces = (0..20_000_u32).map(|piece| {
        let flags = if piece == 0 { 2 } else { 0 };
        data(&header, flags, tsn.wrapping_add(piece), 1, 53, &[7; 1000])
    });
    let held = held(&mut sctp, now, pieces);
    assert!(held <= 2 * i64::from(RECEIVE_BUFFER_LEN), "{held} bytes");
}

#[test]
fn row_25_pieces_with_holes_between_are_bounded() {
    let (now, mut sctp, mut browser) = open();
    let (header, tsn) = as_peer(now, &mut browser);
    let pieces = (1..20_000_u32).map(|piece| {
        data(&header, 2, tsn.wrapping_add(2 * piece), piece as u16 % 64, 53, &[7; 1000])
    });
    let held = held(&mut sctp, now, pieces);
    assert!(held <= 4 * i64::from(RECEIVE_BUFFER_LEN), "{held} bytes");
}

#[test]
fn row_25_a_hundred_thousand_openings_are_bounded() {
    let (now, mut sctp, mut browser) = open();
    let (header, tsn) = as_peer(now, &mut browser);
    let open_channel = [3, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, b'c', b'h', b'a', b't'];
    let openings = (0..100_000_u32)
        .map(|number| data(&header, 3, tsn.wrapping_add(number), number as u16, 50, &open_channel));
    let held = held(&mut sctp, now, openings);
    assert!(held <= 4 << 20, "{held} bytes");
    assert!(!sctp.has_failed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn row_25_damaged_packets_with_a_good_checksum_only_ever_cost_the_association(
        storm in proptest::collection::vec(
            (
                proptest::collection::vec(any::<u8>(), 12..120),
                proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
            ),
            1..12,
        ),
    ) {
        let (now, mut sctp, mut browser) = open();
        browser.write(1, 900);
        let sample = browser.packets(now).remove(0);
        for (noise, changes) in storm {
            let mut tagged = noise.clone();
            tagged[..8].copy_from_slice(&sample[..8]);
            sctp.handle_data(now, &with_checksum(tagged));
            sctp.handle_data(now, &with_checksum(noise));
            let mut changed = sample.clone();
            changes.iter().for_each(|(at, value)| *at.get_mut(&mut changed[8..]) = *value);
            sctp.handle_data(now, &with_checksum(changed));
            sctp.handle_timeout(now + Duration::from_secs(1));
        }
        prop_assert!(transmits(&mut sctp).len() <= TRANSMITS_MAX);
    }
}
