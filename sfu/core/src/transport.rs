//! One participant's peer connection: ICE-lite, DTLS, SRTP, SCTP.

pub(crate) mod arrivals;
pub(crate) mod downlink;
pub mod dtls;
pub mod ice;
pub(crate) mod pace;
mod repair_budget;
pub mod sctp;
pub(crate) mod send_log;
pub mod srtp;
pub(crate) mod streams;
pub mod stun;

use crate::data::port::DataPort;
use crate::egress::{Egress, Tuple};
use crate::params::{ExtensionKind, ExtensionMapping, Security, TransportParams};
use crate::timers::{TimerKind, TimerTable};
use crate::{CloseReason, RouterId, TransportId};
use arrivals::ArrivalLog;
use downlink::Downlink;
use dtls::{Certificate, Dtls};
use ice::IceLite;
use pace::Pace;
use repair_budget::RepairBudget;
use sctp::Sctp;
use send_log::SendLog;
use srtp::{SrtpKeys, SrtpReceiver, SrtpSender};
use std::time::{Duration, Instant};
use streams::Stream;

/// Sender SSRC of our receiver reports and feedback. libwebrtc uses 1 where nothing is sent; slots never get it.
pub(crate) const RTCP_SENDER_SSRC: u32 = 1;
/// Transport-wide feedback: libwebrtc's default between 50 and 250 ms; faster lets encoders ramp sooner.
pub(crate) const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// A compound RTCP packet stays below any path MTU.
const RTCP_BYTES_MAX: usize = 1200;
/// Before anything was measured.
const RTT_ASSUMED: Duration = Duration::from_millis(100);

/// Header extension ids of one peer connection, up to the highest: few have more than 14.
#[derive(Debug)]
pub(crate) struct ExtensionTable(Box<[Option<ExtensionKind>]>);

impl ExtensionTable {
    fn new(mappings: &[ExtensionMapping]) -> Self {
        let highest = mappings.iter().map(|mapping| mapping.id).max().unwrap_or(0);
        let mut table = vec![None; usize::from(highest) + 1];
        for mapping in mappings {
            table[usize::from(mapping.id)] = Some(mapping.kind);
        }
        Self(table.into_boxed_slice())
    }

    #[inline]
    pub(crate) fn kind(&self, id: u8) -> Option<ExtensionKind> {
        *self.0.get(usize::from(id))?
    }
}

pub(crate) struct Transport {
    pub(crate) id: TransportId,
    pub(crate) router: RouterId,
    pub(crate) created: Instant,
    pub(crate) ice: IceLite,
    /// Where we send; `None` before the first nomination.
    pub(crate) selected: Option<Tuple>,
    /// `None`: keys were handed in.
    pub(crate) dtls: Option<Dtls>,
    /// Keys handed in, until the first nomination.
    pub(crate) keys: Option<Box<SrtpKeys>>,
    pub(crate) sctp: Option<Sctp>,
    pub(crate) data: DataPort,
    pub(crate) srtp_in: Option<SrtpReceiver>,
    pub(crate) srtp_out: Option<SrtpSender>,
    pub(crate) extensions: ExtensionTable,
    /// What each received SSRC is; parallel to the slots of [`SrtpReceiver`].
    pub(crate) streams: Vec<Stream>,
    pub(crate) producers: Vec<usize>,
    pub(crate) consumers: Vec<usize>,
    pub(crate) arrivals: ArrivalLog,
    /// Last transport-wide sequence number sent.
    pub(crate) transport_sequence: u16,
    pub(crate) pace: Pace,
    pub(crate) repairs: RepairBudget,
    /// What its players are to be told, in units of 10 ms (see [`crate::consumer::playout_delay`]).
    pub(crate) playout_delay: u8,
    /// Players are told to wait for the second attempt of repairs.
    pub(crate) waits_long: bool,
    /// Repairs come too late for players that do not wait for them.
    pub(crate) repairs_late: bool,
    pub(crate) send_log: SendLog,
    /// Once there is a video slot.
    pub(crate) downlink: Option<Box<Downlink>>,
    /// Stands in the list of transports whose slots are to be given anew.
    pub(crate) allocation_due: bool,
    pub(crate) timers: TimerTable,
    /// From repairs and from receiver reports.
    pub(crate) rtt: Option<Duration>,
    /// Sender's NTP clock to ours: the smallest one-way delay seen is taken for none.
    pub(crate) ntp_offset: Option<i64>,
    pub(crate) silent: bool,
    /// Housekeeping ticks; reports go with every second one.
    pub(crate) ticks: u32,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("id", &self.id)
            .field("selected", &self.selected)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl Transport {
    pub(crate) fn new(
        now: Instant,
        id: TransportId,
        router: RouterId,
        params: TransportParams,
        certificate: &Certificate,
        seed: u64,
    ) -> Result<Self, CloseReason> {
        let (dtls, keys) = match params.security {
            Security::Dtls { role, fingerprints } => {
                let dtls = Dtls::new(role, certificate, fingerprints)
                    .map_err(|error| CloseReason::DtlsFailed(error.to_string()))?;
                (Some(dtls), None)
            }
            Security::Keys(keys) => (None, Some(keys)),
        };
        Ok(Self {
            id,
            router,
            created: now,
            ice: IceLite::new(params.local_ice, params.remote_ice, now),
            selected: None,
            dtls,
            keys,
            sctp: params.sctp.map(|sctp| Sctp::new(&sctp)),
            data: DataPort::default(),
            srtp_in: None,
            srtp_out: None,
            extensions: ExtensionTable::new(&[]),
            streams: Vec::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            arrivals: ArrivalLog::default(),
            transport_sequence: seed as u16,
            pace: Pace::default(),
            repairs: RepairBudget::default(),
            playout_delay: 0,
            waits_long: false,
            repairs_late: false,
            send_log: SendLog::default(),
            downlink: None,
            allocation_due: false,
            timers: TimerTable::default(),
            rtt: None,
            ntp_offset: None,
            silent: false,
            ticks: 0,
        })
    }

    pub(crate) fn configure(&mut self, mappings: &[ExtensionMapping]) {
        self.extensions = ExtensionTable::new(mappings);
    }

    /// SRTP keys are there and a pair is nominated: media can flow both ways.
    pub(crate) fn is_connected(&self) -> bool {
        self.srtp_out.is_some() && self.selected.is_some()
    }

    pub(crate) fn install(&mut self, keys: &SrtpKeys) {
        self.srtp_in = Some(SrtpReceiver::new(keys));
        self.srtp_out = Some(SrtpSender::new(keys));
        self.streams.clear();
    }

    /// Did a datagram come from elsewhere than the selected tuple?
    pub(crate) fn hears_elsewhere(&mut self, now: Instant, tuple: &Tuple) -> bool {
        let elsewhere = self.selected.as_ref() != Some(tuple);
        if !elsewhere {
            self.ice.heard_selected(now);
        }
        elsewhere
    }

    /// What came from elsewhere is authentic, and fresh.
    pub(crate) fn follow(&mut self, now: Instant, tuple: &Tuple) {
        if self.ice.follow(now, tuple) {
            self.selected = Some(*tuple);
        }
    }

    /// Where DTLS records go: the selected pair, before nomination the first proved one.
    pub(crate) fn control_tuple(&self) -> Option<Tuple> {
        self.selected.or_else(|| self.ice.verified().first().copied())
    }

    pub(crate) fn rtt_or_assumed(&self) -> Duration {
        self.rtt.unwrap_or(RTT_ASSUMED)
    }

    pub(crate) fn measured_rtt(&mut self, rtt: Duration) {
        let rtt = rtt.min(Duration::from_secs(2));
        self.rtt = Some(self.rtt.map_or(rtt, |before| (before * 7 + rtt) / 8));
    }

    /// A sender report's NTP time came in at `arrival_ntp`.
    pub(crate) fn sender_clock(&mut self, arrival_ntp: u64, sender_ntp: u64) {
        let offset = arrival_ntp.wrapping_sub(sender_ntp) as i64;
        self.ntp_offset = Some(match self.ntp_offset {
            Some(before) if offset > before => {
                before.saturating_add(offset.saturating_sub(before) / 64)
            }
            _ => offset,
        });
    }

    /// Encrypts one compound RTCP packet into the arena. Not connected: it is dropped.
    pub(crate) fn send_rtcp(&mut self, egress: &mut Egress<'_>, compound: &[u8]) {
        let (Some(srtp), Some(tuple)) = (&mut self.srtp_out, &self.selected) else { return };
        if compound.is_empty() || compound.len() > RTCP_BYTES_MAX {
            return;
        }
        let slot = egress.reserve();
        slot[..compound.len()].copy_from_slice(compound);
        let len = srtp.protect_rtcp(slot, compound.len());
        if len > 0 {
            egress.commit(tuple, len);
        }
    }

    /// A datagram of `len` bytes left with the next transport-wide number; `told`: the number stands in it.
    pub(crate) fn numbered(&mut self, now_us: u64, len: usize, told: bool) {
        self.transport_sequence = self.transport_sequence.wrapping_add(1);
        self.pace.charge(now_us, len);
        if told {
            self.send_log.sent(now_us, self.transport_sequence, len);
        }
    }

    pub(crate) fn arm_feedback(&mut self, now: Instant) {
        self.timers.set_earlier(TimerKind::Feedback, now + FEEDBACK_INTERVAL);
    }
}
