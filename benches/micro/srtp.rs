//! Sealing and opening, the profiles that browsers negotiate.

use criterion::{BatchSize, Criterion, Throughput};
use sfu_core::params::DtlsRole;
use sfu_core::transport::srtp::{SrtpKeys, SrtpProfile, SrtpReceiver, SrtpSender};
use sfu_rtp::{HeaderFields, write_header};

use crate::cpu::ThreadCpu;

const HEADER: usize = 12;
/// Room for the longest tag.
const TAG_MAX: usize = 16;
/// Packets per batch of opening: each can be opened once.
const BATCH: u64 = 1024;

pub(crate) fn keys(profile: SrtpProfile, role: DtlsRole, seed: u8) -> SrtpKeys {
    let material: Vec<u8> =
        (0..profile.keying_material_len()).map(|at| at as u8 ^ seed.wrapping_mul(31)).collect();
    SrtpKeys::from_keying_material(profile, &material, role).unwrap()
}

fn packet(payload: usize, index: u64) -> Vec<u8> {
    let mut packet = vec![0x55; HEADER + payload + TAG_MAX];
    let fields = HeaderFields { sequence_number: index as u16, ssrc: 7, ..HeaderFields::default() };
    write_header(&mut packet, &fields);
    packet
}

/// Each at the size of audio and of video.
pub(crate) fn seal_and_open(criterion: &mut Criterion<ThreadCpu>) {
    let mut group = criterion.benchmark_group("srtp");
    for (name, profile) in
        [("GCM-128", SrtpProfile::AeadAes128Gcm), ("CM-SHA1-80", SrtpProfile::Aes128CmSha1_80)]
    {
        for payload in [160, 1100] {
            group.throughput(Throughput::Bytes(payload as u64));
            let mut sender = SrtpSender::new(&keys(profile, DtlsRole::Server, 1));
            let mut index = 0;
            let mut buf = packet(payload, 0);
            group.bench_function(format!("protect/{name}/{payload}"), |bencher| {
                bencher.iter(|| {
                    index += 1;
                    sender.protect_rtp(&mut buf, HEADER, HEADER + payload, index)
                });
            });
            // Anew: a receiver takes the first packet for one of the first 2^16.
            let mut sender = SrtpSender::new(&keys(profile, DtlsRole::Server, 1));
            let mut index = 0;
            let mut receiver = SrtpReceiver::new(&keys(profile, DtlsRole::Client, 1));
            let mut sealed = || {
                index += 1;
                let mut packet = packet(payload, index);
                let len = sender.protect_rtp(&mut packet, HEADER, HEADER + payload, index);
                packet.truncate(len);
                (packet, index as u16)
            };
            group.bench_function(format!("unprotect/{name}/{payload}"), |bencher| {
                bencher.iter_batched_ref(
                    &mut sealed,
                    |(packet, seq)| receiver.unprotect_rtp(packet, HEADER, 7, *seq).unwrap(),
                    BatchSize::NumIterations(BATCH),
                );
            });
        }
    }
    group.finish();
}
