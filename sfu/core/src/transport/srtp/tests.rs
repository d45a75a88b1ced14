//! Both contexts together, and against rtc-srtp as the oracle.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::replay::MAX_STREAMS;
use super::*;

const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80];
const SSRC: u32 = 0x1234_5678;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Our keys and the peer's: the same material seen from both roles.
fn keys(profile: SrtpProfile) -> (SrtpKeys, SrtpKeys) {
    let material: Vec<u8> = (0..profile.keying_material_len()).map(|i| i as u8 ^ 0x5a).collect();
    let side = |role| SrtpKeys::from_keying_material(profile, &material, role).unwrap();
    (side(DtlsRole::Server), side(DtlsRole::Client))
}

fn pair(profile: SrtpProfile) -> (SrtpSender, SrtpReceiver) {
    let (ours, theirs) = keys(profile);
    (SrtpSender::new(&ours), SrtpReceiver::new(&theirs))
}

fn oracle(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Context {
    let theirs = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
    };
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    Context::new(key, salt, theirs, None, None, provider.crypto()).unwrap()
}

/// A packet with one CSRC and a one-byte header extension: 24 bytes of header.
const HEADER: usize = 24;
fn rtp(ssrc: u32, seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x91, 96];
    packet.extend(seq.to_be_bytes());
    packet.extend([0, 0, 1, 0]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
    packet.extend(payload);
    packet
}

fn rtcp(ssrc: u32, words: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, words as u8 + 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..words * 4).map(|i| i as u8));
    packet
}

fn seal(sender: &mut SrtpSender, plain: &[u8], index: u64) -> Vec<u8> {
    let mut buf = [plain, &[0; 16]].concat();
    let len = sender.protect_rtp(&mut buf, HEADER, plain.len(), index);
    assert!(len > plain.len());
    buf.truncate(len);
    buf
}

fn seal_rtcp(sender: &mut SrtpSender, plain: &[u8]) -> Vec<u8> {
    let mut buf = [plain, &[0; 20]].concat();
    let len = sender.protect_rtcp(&mut buf, plain.len());
    assert!(len > plain.len());
    buf.truncate(len);
    buf
}

fn open(receiver: &mut SrtpReceiver, sealed: &[u8]) -> Result<Unprotected, SrtpError> {
    let ssrc = u32::from_be_bytes(sealed[8..12].try_into().unwrap());
    let seq = u16::from_be_bytes(sealed[2..4].try_into().unwrap());
    receiver.unprotect_rtp(&mut sealed.to_vec(), HEADER, ssrc, seq)
}

#[test]
fn profiles_describe_themselves() {
    for profile in PROFILES {
        assert_eq!(SrtpProfile::from_id(profile.id()), Some(profile));
        let (mut sender, _) = pair(profile);
        let plain = rtp(SSRC, 1, &[5; 100]);
        assert_eq!(seal(&mut sender, &plain, 1).len(), plain.len() + profile.rtp_overhead());
        let plain = rtcp(SSRC, 5);
        assert_eq!(seal_rtcp(&mut sender, &plain).len(), plain.len() + profile.rtcp_overhead());
    }
    assert_eq!(PROFILES.map(SrtpProfile::id), [7, 8, 1]);
    assert_eq!(PROFILES.map(SrtpProfile::keying_material_len), [56, 88, 60]);
    assert_eq!(SrtpProfile::from_id(2), None);
}

#[test]
fn keying_material_is_split_by_role() {
    for profile in PROFILES {
        let part = |byte, len| vec![byte; len];
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let material = [part(1, key), part(2, key), part(3, salt), part(4, salt)].concat();
        let server = SrtpKeys::from_keying_material(profile, &material, DtlsRole::Server).unwrap();
        assert_eq!((server.local_key, server.local_salt), (part(2, key), part(4, salt)));
        assert_eq!((server.remote_key, server.remote_salt), (part(1, key), part(3, salt)));
        let client = SrtpKeys::from_keying_material(profile, &material, DtlsRole::Client).unwrap();
        assert_eq!((client.local_key, client.local_salt), (part(1, key), part(3, salt)));
        let short = &material[1..];
        assert!(SrtpKeys::from_keying_material(profile, short, DtlsRole::Client).is_none());
    }
}

#[test]
fn the_oracle_opens_what_we_seal() {
    for profile in PROFILES {
        let (ours, _) = keys(profile);
        let mut sender = SrtpSender::new(&ours);
        let mut peer = oracle(profile, &ours.local_key, &ours.local_salt);
        // Three rollovers, in steps that cross them, with payloads from empty to full size.
        for index in (65_000..4 << 16).step_by(997) {
            let plain = rtp(SSRC, index as u16, &vec![index as u8; index as usize % 1200]);
            let sealed = seal(&mut sender, &plain, index);
            assert_eq!(peer.decrypt_rtp(&sealed).unwrap(), plain, "{profile:?} {index}");
        }
        for words in 0..40 {
            let plain = rtcp(SSRC + words as u32 % 2, words);
            let sealed = seal_rtcp(&mut sender, &plain);
            assert_eq!(peer.decrypt_rtcp(&sealed).unwrap(), plain, "{profile:?} {words}");
        }
    }
}

#[test]
fn we_open_what_the_oracle_seals() {
    for profile in PROFILES {
        let (ours, _) = keys(profile);
        let mut receiver = SrtpReceiver::new(&ours);
        let mut peer = oracle(profile, &ours.remote_key, &ours.remote_salt);
        for index in (65_000..4_u64 << 16).step_by(997) {
            let plain = rtp(SSRC, index as u16, &vec![index as u8; index as usize % 1200]);
            let mut packet = peer.encrypt_rtp(&plain).unwrap().to_vec();
            let opened = receiver.unprotect_rtp(&mut packet, HEADER, SSRC, index as u16).unwrap();
            let expected = Unprotected { len: plain.len(), stream: 0, index, reused: false };
            assert_eq!(opened, expected);
            assert_eq!(packet[..opened.len], plain);
        }
        for words in 0..40 {
            let plain = rtcp(SSRC + words as u32 % 2, words);
            let mut packet = peer.encrypt_rtcp(&plain).unwrap().to_vec();
            let len = receiver.unprotect_rtcp(&mut packet).unwrap();
            assert_eq!(packet[..len], plain);
        }
        assert_eq!(receiver.streams(), (1, 2));
    }
}

#[test]
fn row_06_of_five_copies_one_is_delivered() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        for index in [10, 11, 9] {
            let sealed = seal(&mut sender, &rtp(SSRC, index as u16, b"media"), index);
            let results: Vec<_> = (0..5).map(|_| open(&mut receiver, &sealed)).collect();
            assert_eq!(results[0].unwrap().index, index);
            assert_eq!(results[1..], [Err(SrtpError::Replay); 4]);
        }
        for _ in 0..2 {
            let sealed = seal_rtcp(&mut sender, &rtcp(SSRC, 3));
            let results: Vec<_> =
                (0..5).map(|_| receiver.unprotect_rtcp(&mut sealed.clone())).collect();
            assert_eq!(results[0], Ok(20));
            assert_eq!(results[1..], [Err(SrtpError::Replay); 4]);
        }
    }
}

#[test]
fn row_06_a_replay_of_the_previous_rollover_is_refused() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let first = seal(&mut sender, &rtp(SSRC, 100, b"media"), 100);
        open(&mut receiver, &first).unwrap();
        for index in (10_000..=65_636).step_by(10_000).chain([65_635]) {
            open(&mut receiver, &seal(&mut sender, &rtp(SSRC, index as u16, b"."), index)).unwrap();
        }
        // Sequence number 100 is now expected with rollover counter 1.
        assert_eq!(open(&mut receiver, &first), Err(SrtpError::Auth));
        let next = seal(&mut sender, &rtp(SSRC, 100, b"media"), 65_636);
        assert_eq!(open(&mut receiver, &next).unwrap().index, 65_636);
    }
}

#[test]
fn row_06_forged_packets_change_nothing() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let good = seal(&mut sender, &rtp(SSRC, 40_000, b"some media"), 40_000);
        let good_rtcp = seal_rtcp(&mut sender, &rtcp(SSRC, 3));
        let forge = |receiver: &mut SrtpReceiver| {
            // Every byte of a real packet is authenticated, header included.
            for at in 0..good.len() {
                let mut forged = good.clone();
                forged[at] ^= 1;
                open(receiver, &forged).unwrap_err();
            }
            for at in 0..good_rtcp.len() {
                let mut forged = good_rtcp.clone();
                forged[at] ^= 1;
                receiver.unprotect_rtcp(&mut forged).unwrap_err();
            }
            // A far jump must move neither the window nor the rollover counter.
            for seq in [0, 1, 30_000, 60_000, 65_535] {
                open(receiver, &rtp(SSRC, seq, &[0; 40])).unwrap_err();
                open(receiver, &rtp(SSRC + 1, seq, &[0; 40])).unwrap_err();
            }
        };
        forge(&mut receiver);
        assert_eq!(receiver.streams(), (0, 0));
        assert_eq!(open(&mut receiver, &good).unwrap().index, 40_000);
        assert_eq!(receiver.unprotect_rtcp(&mut good_rtcp.clone()), Ok(20));
        forge(&mut receiver);
        assert_eq!(receiver.streams(), (1, 1));
        let behind = seal(&mut sender, &rtp(SSRC, 39_500, b"late"), 39_500);
        assert_eq!(open(&mut receiver, &behind).unwrap().index, 39_500);
    }
}

#[test]
fn row_06_a_stream_that_starts_before_the_wrap_survives_loss_across_it() {
    for profile in PROFILES {
        for first_received in [0_usize, 3, 6, 9] {
            let (mut sender, mut receiver) = pair(profile);
            let sealed: Vec<(u64, Vec<u8>)> = (65_530..65_560)
                .map(|index| (index, seal(&mut sender, &rtp(SSRC, index as u16, b"m"), index)))
                .collect();
            // From the first one that arrives on, every other one; then the rest, late.
            let (prompt, late): (Vec<_>, Vec<_>) =
                sealed.iter().enumerate().partition(|(at, _)| {
                    *at >= first_received && (at - first_received).is_multiple_of(2)
                });
            for (_, (index, packet)) in prompt.into_iter().chain(late) {
                assert_eq!(open(&mut receiver, packet).map(|opened| opened.index), Ok(*index));
            }
            for (_, packet) in &sealed {
                assert_eq!(open(&mut receiver, packet), Err(SrtpError::Replay));
            }
        }
    }
}

#[test]
fn row_20_the_least_recently_used_stream_makes_room() {
    let (mut sender, mut receiver) = pair(SrtpProfile::AeadAes128Gcm);
    let last = MAX_STREAMS as u32;
    for ssrc in 0..last {
        let opened = open(&mut receiver, &seal(&mut sender, &rtp(ssrc, 1, b"m"), 1)).unwrap();
        assert_eq!((opened.stream, opened.reused), (ssrc as usize, false));
        receiver.unprotect_rtcp(&mut seal_rtcp(&mut sender, &rtcp(ssrc, 1))).unwrap();
    }
    // SSRC 0 is used again, so 1 is the oldest.
    open(&mut receiver, &seal(&mut sender, &rtp(0, 2, b"m"), 2)).unwrap();
    let opened = open(&mut receiver, &seal(&mut sender, &rtp(last, 1, b"m"), 1)).unwrap();
    assert_eq!((opened.stream, opened.reused), (1, true));
    let opened = open(&mut receiver, &seal(&mut sender, &rtp(last, 2, b"m"), 2)).unwrap();
    assert_eq!((opened.stream, opened.reused), (1, false));
    let opened = open(&mut receiver, &seal(&mut sender, &rtp(1, 2, b"m"), 2)).unwrap();
    assert_eq!((opened.stream, opened.reused), (2, true));
    receiver.unprotect_rtcp(&mut seal_rtcp(&mut sender, &rtcp(last, 1))).unwrap();
    assert_eq!(receiver.streams(), (MAX_STREAMS, MAX_STREAMS));
}

#[test]
fn row_16_short_packets_are_errors() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let rtp = seal(&mut sender, &rtp(SSRC, 1, b""), 1);
        let rtcp = seal_rtcp(&mut sender, &rtcp(SSRC, 0));
        for len in 0..rtp.len() {
            let mut cut = rtp[..len].to_vec();
            let refused = receiver.unprotect_rtp(&mut cut, HEADER, SSRC, 1);
            assert_eq!(refused, Err(SrtpError::TooShort), "{profile:?} {len}");
        }
        for len in 0..rtcp.len() {
            let refused = receiver.unprotect_rtcp(&mut rtcp[..len].to_vec());
            assert_eq!(refused, Err(SrtpError::TooShort), "{profile:?} {len}");
        }
        // An empty payload and a bare RTCP header are legal.
        assert_eq!(open(&mut receiver, &rtp).unwrap().len, HEADER);
        assert_eq!(receiver.unprotect_rtcp(&mut rtcp.clone()), Ok(8));
    }
}

#[test]
fn row_05_clear_srtcp_is_refused() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let mut packet = seal_rtcp(&mut sender, &rtcp(SSRC, 3));
        let from_end = match profile {
            SrtpProfile::Aes128CmSha1_80 => 14,
            _ => 4,
        };
        let flag = packet.len() - from_end;
        packet[flag] ^= 0x80;
        assert_eq!(receiver.unprotect_rtcp(&mut packet), Err(SrtpError::Unencrypted));
    }
}

#[test]
fn impossible_requests_seal_nothing() {
    for profile in PROFILES {
        let (mut sender, mut receiver) = pair(profile);
        let fits = 40 + profile.rtp_overhead();
        let mut buf = [0x80; 80];
        assert_eq!(sender.protect_rtp(&mut buf[..fits - 1], 12, 40, 1), 0, "no room");
        assert_eq!(sender.protect_rtp(&mut buf, 11, 40, 1), 0, "half a header");
        assert_eq!(sender.protect_rtp(&mut buf, 41, 40, 1), 0, "header beyond the packet");
        assert_eq!(sender.protect_rtp(&mut buf, 12, 40, 1 << 48), 0, "index out of range");
        assert_eq!(sender.protect_rtp(&mut buf, 12, usize::MAX, 1), 0, "length out of range");
        assert_eq!(sender.protect_rtp(&mut buf[..fits], 12, 40, (1 << 48) - 1), fits);
        assert_eq!(sender.protect_rtcp(&mut buf, 7), 0, "half a header");
        assert_eq!(sender.protect_rtcp(&mut buf[..20], 16), 0, "no room");
        assert_eq!(sender.protect_rtcp(&mut buf, usize::MAX), 0, "length out of range");

        sender.set_next_rtcp_index(0x7fff_ffff);
        let last = seal_rtcp(&mut sender, &rtcp(SSRC, 1));
        assert_eq!(receiver.unprotect_rtcp(&mut last.clone()), Ok(12));
        assert_eq!(sender.protect_rtcp(&mut buf, 16), 0, "indices used up");
        assert_eq!(sender.protect_rtcp(&mut buf, 16), 0, "and still");
    }
}

#[test]
fn debug_output_shows_no_keys() {
    let (ours, _) = keys(SrtpProfile::AeadAes128Gcm);
    assert_eq!(format!("{ours:?}"), "SrtpKeys { profile: AeadAes128Gcm, .. }");
    assert_eq!(format!("{:?}", SrtpSender::new(&ours)), "SrtpSender { next_rtcp_index: 1, .. }");
    assert_eq!(format!("{:?}", SrtpReceiver::new(&ours)), "SrtpReceiver { .. }");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        which in 0..3_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        header_len in 0..120_usize,
        len in 0..120_usize,
        ssrc: u32,
        seq: u16,
        index: u64,
    ) {
        let (mut sender, mut receiver) = pair(PROFILES[which]);
        prop_assert!(receiver.unprotect_rtp(&mut bytes.clone(), header_len, ssrc, seq).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut bytes.clone()).is_err());
        prop_assert_eq!(receiver.streams(), (0, 0));
        let room = bytes.len();
        prop_assert!(sender.protect_rtp(&mut bytes.clone(), header_len, len, index) <= room);
        prop_assert!(sender.protect_rtcp(&mut bytes.clone(), len) <= room);
    }

    /// Loss, reordering and duplication up to the window: every packet is delivered once, with its index.
    #[test]
    fn any_order_within_the_window_delivers_each_packet_once(
        which in 0..3_usize,
        start in 0..1_u64 << 20,
        order in prop::collection::vec(0..500_u64, 1..40),
    ) {
        let (mut sender, mut receiver) = pair(PROFILES[which]);
        // The receiver has to be there from rollover counter 0 or 1 on; bring it near `start`.
        for index in (0..=start).step_by(20_000).chain([start]) {
            let _ = open(&mut receiver, &seal(&mut sender, &rtp(SSRC, index as u16, b"m"), index));
        }
        let mut seen = std::collections::HashSet::new();
        for index in order.into_iter().map(|offset| start + 1 + offset) {
            let sealed = seal(&mut sender, &rtp(SSRC, index as u16, b"media"), index);
            let opened = open(&mut receiver, &sealed);
            if seen.insert(index) {
                prop_assert_eq!(opened.map(|opened| opened.index), Ok(index));
            } else {
                prop_assert_eq!(opened, Err(SrtpError::Replay));
            }
        }
    }
}
