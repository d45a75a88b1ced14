//! RTCP that we write: receiver reports, NACKs and keyframe requests to publishers, sender reports to subscribers.
//! Values and bytes are the `rtcp` crate's; rates and timing are ours.

use crate::clock::MediaClock;
use crate::consumer::Consumer;
use crate::producer::Producer;
use crate::producer::encoding::Encoding;
use crate::transport::RTCP_SENDER_SSRC;
use rtcp::packet::Packet;
use rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtcp::receiver_report::ReceiverReport;
use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use std::time::Instant;

/// Report blocks in one packet (RFC 3550 section 6.4.1).
pub(crate) const REPORTS_MAX: usize = 31;
/// NACK pairs in one packet: far below the MTU.
const NACK_PAIRS_MAX: usize = 200;

type Boxed = Box<dyn Packet + Send + Sync>;

/// Bytes of a compound packet. A value that the library refuses to write is left out: it could only be our own.
fn marshal(packets: &[Boxed]) -> Option<Vec<u8>> {
    rtcp::packet::marshal(packets).ok().map(|bytes| bytes.to_vec())
}

/// One report block for an encoding, since the last one.
pub(crate) fn report_block(
    now: Instant,
    clock: &MediaClock,
    encoding: &mut Encoding,
) -> Option<ReceptionReport> {
    let ssrc = encoding.ssrc?;
    let values = encoding.report()?;
    let (last_sender_report, delay) = encoding.sender_report.map_or((0, 0), |report| {
        let elapsed = clock.ntp(now).wrapping_sub(clock.ntp(report.arrival));
        ((report.ntp >> 16) as u32, (elapsed >> 16) as u32)
    });
    Some(ReceptionReport {
        ssrc,
        fraction_lost: values.fraction_lost,
        total_lost: values.total_lost,
        last_sequence_number: values.highest,
        jitter: values.jitter,
        last_sender_report,
        delay,
    })
}

/// Receiver report for up to [`REPORTS_MAX`] encodings.
pub(crate) fn receiver_report(reports: Vec<ReceptionReport>) -> Option<Vec<u8>> {
    debug_assert!(reports.len() <= REPORTS_MAX);
    marshal(&[Box::new(ReceiverReport { ssrc: RTCP_SENDER_SSRC, reports, ..Default::default() })])
}

/// Sender report and SDES of a slot: RTP time of the shown encoding at the server's NTP time (RFC 3550 section 6.4.1).
/// All of one publisher's tracks share the server's clock, which is what lip sync needs.
pub(crate) fn sender_report(
    now: Instant,
    clock: &MediaClock,
    producer: &Producer,
    consumer: &mut Consumer,
    sender_clock: Option<i64>,
) -> Option<Vec<u8>> {
    let source = consumer.selector.current()?;
    let encoding = producer.encodings.get(usize::from(source.encoding))?;
    let ntp_time = clock.ntp(now);
    let rtp = encoding.rtp_at(clock, ntp_time, sender_clock)?;
    consumer.last_report = Some(now);
    marshal(&[
        Box::new(SenderReport {
            ssrc: consumer.params.ssrc,
            ntp_time,
            rtp_time: rtp.wrapping_add(consumer.rewriter.timestamp_offset()),
            packet_count: consumer.delivery.packets as u32,
            octet_count: consumer.delivery.bytes as u32,
            ..Default::default()
        }),
        Box::new(SourceDescription {
            chunks: vec![SourceDescriptionChunk {
                source: consumer.params.ssrc,
                items: vec![SourceDescriptionItem {
                    sdes_type: SdesType::SdesCname,
                    text: consumer.params.cname.clone().into(),
                }],
            }],
        }),
    ])
}

/// Generic NACK for a sender's packets.
pub(crate) fn nack(media_ssrc: u32, missing: &[u16]) -> Option<Vec<u8>> {
    let mut nacks = nack_pairs_from_sequence_numbers(missing);
    nacks.truncate(NACK_PAIRS_MAX);
    marshal(&[Box::new(TransportLayerNack { sender_ssrc: RTCP_SENDER_SSRC, media_ssrc, nacks })])
}

/// Asks for a keyframe: PLI, or FIR for a publisher that has only that.
pub(crate) fn keyframe_request(media_ssrc: u32, pli: bool, count: u64) -> Option<Vec<u8>> {
    if pli {
        return marshal(&[Box::new(PictureLossIndication {
            sender_ssrc: RTCP_SENDER_SSRC,
            media_ssrc,
        })]);
    }
    marshal(&[Box::new(FullIntraRequest {
        sender_ssrc: RTCP_SENDER_SSRC,
        media_ssrc,
        fir: vec![FirEntry { ssrc: media_ssrc, sequence_number: count as u8 }],
    })])
}
