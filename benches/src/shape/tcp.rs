//! A download beside us: one TCP flow that always has something to send, through the queue of the same link.
//!
//! CUBIC (RFC 9438), which Linux, Windows and macOS have, with slow start from ten segments (RFC 6928), loss told by three later segments
//! (RFC 6675, 8985), one reduction for all that is lost of one flight, and a timeout (RFC 6298, with the 200 ms of Linux as the least).
//! Left out: an early end of slow start (HyStart++, RFC 9406), so that it overfills the queue once; pacing and delayed acknowledgements;
//! and any queue on the way of the acknowledgements. A download without an end needs no sequence numbers: what is lost is sent again as a
//! segment like any other.

use std::collections::VecDeque;

use rand::rngs::SmallRng;

use super::link::{Link, MS, Micros, SECOND};

/// Bytes on the wire: an Ethernet frame's worth, with IP and TCP headers.
const SEGMENT: usize = 1500;
/// Segments (RFC 6928).
const WINDOW_FIRST: f64 = 10.0;
const WINDOW_MIN: f64 = 2.0;
/// What a loss leaves of the window, and how steep the cubic is, in segments per s³ (RFC 9438, 4.6 and 5.1).
const BETA: f64 = 0.7;
const C: f64 = 0.4;
/// So many later ones that came tell a loss.
const LATER: u8 = 3;
const TIMEOUT_MIN: Micros = 200 * MS;
const BACKOFF_MAX: u32 = 6;

#[derive(Clone, Copy, Debug)]
struct Segment {
    sent: Micros,
    /// When its acknowledgement is back; `None`: it is lost.
    back: Option<Micros>,
    /// Acknowledged though sent later.
    later: u8,
}

/// The sender, who knows what will become of each segment when it leaves, and acts on it when it could.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    /// Round trip without the link's own delay and queue.
    rtt: Micros,
    flight: VecDeque<Segment>,
    /// In segments, as all windows here.
    window: f64,
    /// Slow start ends there.
    threshold: f64,
    /// Before the last reduction, lower if that was below the one before (fast convergence).
    window_max: f64,
    /// When it was reduced last.
    reduced: Option<Micros>,
    /// Since when it avoids congestion, and with which window it began.
    epoch: Option<(Micros, f64)>,
    /// What Reno would have by now.
    reno: f64,
    /// Smoothed, and its variation.
    measured: Option<(Micros, Micros)>,
    /// When the timer began: with each acknowledgement.
    armed: Option<Micros>,
    backoff: u32,
    /// Bytes on the wire that were acknowledged.
    pub(crate) delivered: u64,
}

impl Tcp {
    /// Begins with the first [`Tcp::run`].
    pub(crate) fn new(rtt: Micros) -> Self {
        Self {
            rtt,
            flight: VecDeque::new(),
            window: WINDOW_FIRST,
            threshold: f64::INFINITY,
            window_max: 0.0,
            reduced: None,
            epoch: None,
            reno: 0.0,
            measured: None,
            armed: None,
            backoff: 0,
            delivered: 0,
        }
    }

    /// All that it did until now: nobody else knew of the queue in the meantime.
    pub(crate) fn run(&mut self, link: &mut Link, now: Micros, rng: &mut SmallRng) {
        if self.armed.is_none() {
            self.armed = Some(now);
            self.send(link, now, rng);
        }
        loop {
            let came = self.flight.iter().position(|segment| segment.back.is_some());
            let back = came.and_then(|index| self.flight[index].back).unwrap_or(Micros::MAX);
            let timeout = self.armed.unwrap_or(now) + self.timeout();
            let at = back.min(timeout);
            if at > now {
                return;
            }
            match came.filter(|_| back <= timeout) {
                Some(index) => self.acknowledged(at, index),
                None => self.timed_out(at),
            }
            self.send(link, at, rng);
        }
    }

    fn send(&mut self, link: &mut Link, now: Micros, rng: &mut SmallRng) {
        while self.flight.len() < self.window as usize {
            let arrives = link.carry(now, SEGMENT, rng).and_then(|(_, arrives)| arrives);
            let back = arrives.map(|at| at + self.rtt);
            self.flight.push_back(Segment { sent: now, back, later: 0 });
        }
    }

    fn acknowledged(&mut self, now: Micros, index: usize) {
        let Some(segment) = self.flight.remove(index) else { return };
        self.delivered += SEGMENT as u64;
        (self.armed, self.backoff) = (Some(now), 0);
        self.measure(now - segment.sent);
        // Nothing is overtaken on the link: what is in front of it does not come any more.
        self.flight.range_mut(..index).for_each(|earlier| earlier.later += 1);
        let lost = self.flight.iter().filter(|segment| segment.later >= LATER);
        let lost = lost.map(|segment| segment.sent).max();
        self.flight.retain(|segment| segment.later < LATER);
        let is_new = |sent: Micros| self.reduced.is_none_or(|reduced| sent >= reduced);
        if lost.is_some_and(is_new) {
            self.reduce(now);
        } else if is_new(segment.sent) {
            self.grow(now);
        }
    }

    /// RFC 6298, 2.
    fn measure(&mut self, rtt: Micros) {
        self.measured = Some(match self.measured {
            None => (rtt, rtt / 2),
            Some((smoothed, variation)) => {
                ((7 * smoothed + rtt) / 8, (3 * variation + smoothed.abs_diff(rtt)) / 4)
            }
        });
    }

    fn timeout(&self) -> Micros {
        let rto = self.measured.map_or(SECOND, |(smoothed, variation)| smoothed + 4 * variation);
        rto.max(TIMEOUT_MIN) << self.backoff
    }

    fn timed_out(&mut self, now: Micros) {
        self.reduce(now);
        self.window = 1.0;
        self.flight.clear();
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
        self.armed = Some(now);
    }

    /// RFC 9438, 4.6 and 4.7.
    fn reduce(&mut self, now: Micros) {
        let less = if self.window < self.window_max { f64::midpoint(1.0, BETA) } else { 1.0 };
        self.window_max = self.window * less;
        self.window = (self.window * BETA).max(WINDOW_MIN);
        self.threshold = self.window;
        (self.reduced, self.epoch) = (Some(now), None);
    }

    /// RFC 9438, 4.2 to 4.5: along the cubic, and no slower than Reno.
    fn grow(&mut self, now: Micros) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        let (since, first) = *self.epoch.get_or_insert_with(|| {
            self.reno = self.window;
            (now, self.window)
        });
        let rtt = self.measured.map_or(0, |(smoothed, _)| smoothed);
        let k = ((self.window_max - first).max(0.0) / C).cbrt();
        let cubic = |elapsed: Micros| {
            C * (elapsed as f64 / SECOND as f64 - k).powi(3) + self.window_max.max(first)
        };
        let gain = if self.reno < first / BETA { 3.0 * (1.0 - BETA) / (1.0 + BETA) } else { 1.0 };
        let reno = self.reno + gain / self.window;
        let target = cubic(now - since + rtt).clamp(self.window, 1.5 * self.window);
        self.window = match cubic(now - since) < reno {
            true => self.window.max(reno),
            false => self.window + (target - self.window) / self.window,
        };
        self.reno = reno;
    }
}
