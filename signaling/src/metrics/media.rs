//! What the media workers count: every sample has the worker's number as a label.

use super::page::{Labels, Page};
use sfu::metrics::{Distribution, WorkerMetrics};
use sfu::{ByKind, DropReason, Traffic};
use std::fmt;

/// Longest run of datagrams in one message.
const RUN_MAX: u64 = 64;
/// Most messages in one system call.
const MESSAGES_MAX: u64 = 64;
/// Most datagrams that one receive call can bring.
const RECEIVED_MAX: u64 = 2048;

type Numbered<'a> = &'a [WorkerMetrics];
/// Name, meaning, and where the value is.
type Row<S, T> = (&'static str, &'static str, fn(&S) -> T);

const COUNTERS: [Row<WorkerMetrics, u64>; 16] = [
    ("tcp_opened_connections", "TCP connections for media, taken.", |m| m.tcp.opened),
    ("tcp_received_packets", "Datagrams received in them.", |m| m.tcp.received),
    ("tcp_sent_packets", "Datagrams queued for them.", |m| m.tcp.sent),
    (
        "tcp_dropped_packets",
        "Datagrams for peers that did not take what waited for them, or had gone.",
        |m| m.tcp.dropped,
    ),
    ("udp_receive_calls", "System calls that received (recvmmsg).", |m| m.socket.receive_calls),
    ("udp_received_packets", "Datagrams received.", |m| m.socket.received),
    ("udp_received_bytes", "Their payload.", |m| m.socket.received_bytes),
    (
        "udp_receive_overflow_packets",
        "Datagrams that the kernel dropped because the receive buffer was full.",
        |m| m.socket.receive_overflow,
    ),
    ("udp_send_calls", "System calls that sent (sendmmsg).", |m| m.socket.send_calls),
    ("udp_sent_messages", "Messages sent; one may be many datagrams (GSO).", |m| {
        m.socket.sent_messages
    }),
    ("udp_sent_packets", "Datagrams sent.", |m| m.socket.sent),
    ("udp_sent_bytes", "Their payload.", |m| m.socket.sent_bytes),
    (
        "udp_unsegmented_messages",
        "Messages that the kernel refused to segment and that were sent datagram by datagram.",
        |m| m.socket.unsegmented,
    ),
    ("fec_rebuilt_packets", "Lost packets of publishers that their FEC brought back.", |m| {
        m.media.rebuilt
    }),
    ("data_received_messages", "Messages on data channels.", |m| m.media.data.received),
    ("data_delivered_messages", "Messages on data channels, once for each who gets them.", |m| {
        m.media.data.delivered
    }),
];

const GAUGES: [Row<WorkerMetrics, usize>; 7] = [
    ("tcp_connections", "TCP connections for media.", |m| m.tcp.open),
    ("transports", "Peer connections.", |m| m.transports),
    ("producers", "Incoming tracks.", |m| m.producers),
    ("consumers", "Outgoing slots.", |m| m.consumers),
    ("commands_waiting", "Commands of control that wait for the worker.", |m| m.commands_waiting),
    ("events_kept", "Events that the worker keeps because the queue to control is full.", |m| {
        m.events_kept
    }),
    ("events_queued", "Events in the queue to control, which all workers share.", |m| {
        m.events_queued
    }),
];

const HISTOGRAMS: [Row<WorkerMetrics, Distribution>; 4] = [
    ("udp_receive_call_packets", "Datagrams per system call that received any.", |m| {
        m.socket.received_per_call.distribution(RECEIVED_MAX)
    }),
    ("udp_message_packets", "Datagrams per message sent (GSO run length).", |m| {
        m.socket.run_lengths.distribution(RUN_MAX)
    }),
    ("udp_send_call_messages", "Messages per system call that sent any.", |m| {
        m.socket.sent_per_call.distribution(MESSAGES_MAX)
    }),
    (
        "flush_duration_seconds",
        "Time that forwarding what came in took, per turn that sent.",
        |m| m.flushes.distribution(),
    ),
];

/// Part of a name.
const MEDIA: [Row<WorkerMetrics, ByKind>; 4] = [
    ("received", "from publishers, repairs included", |m| m.media.received),
    ("forwarded", "to subscribers, repairs left out", |m| m.media.forwarded),
    ("resent", "to subscribers as repairs", |m| m.media.resent),
    ("probing", "to subscribers to find out what their links carry", |m| m.media.probing),
];

pub(super) fn encode(page: &mut Page<'_>, workers: Numbered<'_>) -> fmt::Result {
    for (name, help, value) in COUNTERS {
        page.counter(name, help, per_worker(workers, value))?;
    }
    for (name, help, value) in GAUGES {
        page.gauge(name, help, per_worker(workers, value))?;
    }
    for (name, help, value) in HISTOGRAMS {
        page.histogram(name, help, per_worker(workers, value))?;
    }
    let help = "Time that the worker did not spend waiting.";
    page.counter("worker_busy_seconds", help, per_worker(workers, |m| m.busy.as_secs_f64()))?;
    let help = "The same as a share of the last second.";
    page.gauge("worker_busy_ratio", help, per_worker(workers, |m| m.busy_ratio))?;
    traffic(page, workers)?;
    let help = "Connections made, by SRTP profile.";
    page.counter("connections", help, per(workers, "profile", |m| m.connections.by_profile()))?;
    let help = "TCP connections for media that were closed, by reason.";
    page.counter("tcp_closed_connections", help, per(workers, "reason", |m| m.tcp.closed()))?;
    let help = "Packets and commands that went no further, by reason.";
    page.counter("dropped_packets", help, per(workers, "reason", drops))?;
    let help =
        "Datagrams that could not be sent: the socket's buffer was full, or the system refused.";
    page.counter("udp_send_dropped_packets", help, per(workers, "reason", unsent))
}

/// Packets and bytes are families of their own: a family has one unit.
fn traffic(page: &mut Page<'_>, workers: Numbered<'_>) -> fmt::Result {
    let units: [Row<Traffic, u64>; 2] =
        [("packets", "RTP packets", |t| t.packets), ("bytes", "RTP payload", |t| t.bytes)];
    for (way, meaning, counted) in MEDIA {
        for (unit, what, value) in units {
            let by_kind = |m: &WorkerMetrics| {
                let ByKind { audio, video } = counted(m);
                [("audio", value(&audio)), ("video", value(&video))]
            };
            let name = format!("media_{way}_{unit}");
            page.counter(&name, &format!("{what} {meaning}."), per(workers, "kind", by_kind))?;
        }
    }
    Ok(())
}

fn drops(m: &WorkerMetrics) -> impl IntoIterator<Item = (&'static str, u64)> + use<> {
    let counted = |&reason: &DropReason| (reason.label(), m.drops.get(reason));
    DropReason::ALL.iter().map(counted).collect::<Vec<_>>()
}

fn unsent(m: &WorkerMetrics) -> [(&'static str, u64); 2] {
    [("full", m.socket.dropped_full), ("failed", m.socket.dropped_failed)]
}

fn per_worker<T>(
    workers: Numbered<'_>,
    value: impl Fn(&WorkerMetrics) -> T,
) -> impl Iterator<Item = (Labels<1>, T)> {
    let sample = move |(i, m): (usize, &WorkerMetrics)| ([("worker", i.to_string())], value(m));
    workers.iter().enumerate().map(sample)
}

/// Samples with one more label than the worker.
fn per<T: IntoIterator<Item = (&'static str, u64)>>(
    workers: Numbered<'_>,
    label: &'static str,
    values: impl Fn(&WorkerMetrics) -> T,
) -> impl Iterator<Item = (Labels<2>, u64)> {
    workers.iter().enumerate().flat_map(move |(i, m)| {
        let labels = move |value: &str| [("worker", i.to_string()), (label, value.to_owned())];
        values(m).into_iter().map(move |(name, count)| (labels(name), count)).collect::<Vec<_>>()
    })
}
