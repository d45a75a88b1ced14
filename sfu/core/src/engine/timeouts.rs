//! Everything that happens because time passed.

use super::Engine;
use super::lifecycle::HOUSEKEEPING;
use crate::egress::Egress;
use crate::feedback::{self, REPORTS_MAX};
use crate::timers::{TimerKind, TimerQueue};
use crate::transport::ice::{ASKED_AFTER, CONSENT_EXPIRES, SILENT_AFTER};
use crate::{CloseReason, Event, Speaker, speaker};
use std::time::{Duration, Instant};

/// Housekeeping of a transport that publishes nothing.
const HOUSEKEEPING_IDLE: Duration = Duration::from_secs(1);
/// Sender reports: once a second, so that receivers sync within the first seconds of a call. They leave with housekeeping, whose points are not exact.
const SENDER_REPORT_INTERVAL: Duration = Duration::from_millis(900);
/// A transport whose peer never sent STUN.
const FIRST_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

impl Engine {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress<'_>) {
        while let Some((at, key, id)) = self.timers.pop(now) {
            let Some(transport) = self.transports.get_mut(key).filter(|t| t.id == id) else {
                continue;
            };
            if !TimerQueue::fires(&mut transport.timers, at) {
                continue;
            }
            for kind in TimerKind::ALL {
                // An earlier kind may have ended the transport.
                let Some(transport) = self.transports.get_mut(key).filter(|t| t.id == id) else {
                    break;
                };
                if transport.timers.take(kind, now) {
                    self.run_timer(now, key, kind, egress);
                }
            }
            if let Some(transport) = self.transports.get_mut(key).filter(|t| t.id == id) {
                self.timers.arm(key, id, &mut transport.timers);
            }
        }
        if self.speakers_due.is_some_and(|at| at <= now) {
            self.update_speakers(now);
        }
    }

    fn run_timer(&mut self, now: Instant, key: usize, kind: TimerKind, egress: &mut Egress<'_>) {
        match kind {
            TimerKind::Housekeeping => self.housekeeping(now, key, egress),
            TimerKind::Pace => self.send_waiting(now, key, egress),
            TimerKind::Feedback => self.send_feedback(key, egress),
            TimerKind::Repair => self.repair(now, key, egress),
            TimerKind::Dtls => {
                if let Some(dtls) = &mut self.transports[key].dtls {
                    dtls.handle_timeout(now);
                }
                self.drain_dtls(now, key, egress);
            }
            TimerKind::Sctp => {
                if let Some(sctp) = &mut self.transports[key].sctp {
                    sctp.handle_timeout(now);
                }
                self.drain_dtls(now, key, egress);
                self.mark_data(key);
            }
            TimerKind::Data => self.mark_data(key),
        }
    }

    fn housekeeping(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        let transport = &mut self.transports[key];
        let reason = match transport.ice.last_check() {
            Some(at) if now.saturating_duration_since(at) >= CONSENT_EXPIRES => {
                Some(CloseReason::ConsentExpired)
            }
            None if now.saturating_duration_since(transport.created) >= FIRST_CHECK_TIMEOUT => {
                Some(CloseReason::ConnectTimeout)
            }
            _ => None,
        };
        if let Some(reason) = reason {
            self.fail_transport(now, key, reason, egress);
            return;
        }
        if !transport.silent
            && transport.ice.last_check().is_some()
            && transport.ice.silence(now) >= SILENT_AFTER
        {
            transport.silent = true;
            self.events.push_back(Event::TransportSilent { transport: transport.id, silent: true });
        }
        if let Some(&selected) = transport.ice.selected()
            && transport.ice.silence(now) >= ASKED_AFTER
        {
            self.ask(now, key, &selected, egress);
        }
        self.close_stalled(now, key);
        let transport = &mut self.transports[key];
        // Only what is received has to be looked at twice a second.
        let pause = if transport.producers.is_empty() { HOUSEKEEPING_IDLE } else { HOUSEKEEPING };
        let next = self.clock.on_grid(now + pause);
        transport.timers.set(TimerKind::Housekeeping, Some(next));
        transport.ticks = transport.ticks.wrapping_add(1);
        // Feedback that stays out is no reason to stand still.
        self.after_estimate(now, key);
        let transport = &mut self.transports[key];
        let reports = transport.ticks.is_multiple_of(2);
        let own = transport.producers.iter();
        let held = own.map(|&producer| self.producers[producer].cached_bytes()).sum();
        for index in 0..self.transports[key].producers.len() {
            let producer = self.transports[key].producers[index];
            let before = self.producers[producer].flowing;
            self.producers[producer].update_flow(now);
            if self.producers[producer].flowing != before {
                // Consumers of an encoding that stopped look for another one.
                self.mark_allocations_of(producer);
                self.wish_keyframes(now, producer);
            }
            self.producers[producer].look_after_memory(now, held);
            self.update_published(now, producer);
        }
        if reports {
            self.send_receiver_reports(now, key, egress);
        }
        self.look_after_piped_memory(now, key);
        self.send_sender_reports(now, key, egress);
    }

    /// Tracks from another worker have no transport here whose housekeeping looks after them: their viewers' does.
    fn look_after_piped_memory(&mut self, now: Instant, key: usize) {
        for &consumer in &self.transports[key].consumers {
            let bound = self.consumers[consumer].bound.as_ref().map(|bound| bound.producer);
            let producer = bound.and_then(|bound| self.producers.get_mut(bound));
            if let Some(producer) = producer.filter(|producer| producer.transport().is_none()) {
                let held = producer.cached_bytes();
                producer.look_after_memory(now, held);
            }
        }
    }

    fn send_receiver_reports(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        let transport = &mut self.transports[key];
        let mut blocks = Vec::new();
        for &producer in &transport.producers {
            for encoding in &mut self.producers[producer].encodings {
                blocks.extend(feedback::report_block(now, &self.clock, encoding));
            }
        }
        for chunk in blocks.chunks(REPORTS_MAX) {
            if let Some(report) = feedback::receiver_report(chunk.to_vec()) {
                transport.send_rtcp(egress, &report);
            }
        }
    }

    fn send_sender_reports(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        for index in 0..self.transports[key].consumers.len() {
            let consumer = &mut self.consumers[self.transports[key].consumers[index]];
            let due = consumer
                .last_report
                .is_some_and(|last| now.saturating_duration_since(last) >= SENDER_REPORT_INTERVAL);
            let Some(producer) = consumer
                .bound
                .as_ref()
                .filter(|_| due && !consumer.report_due)
                .and_then(|bound| self.producers.get(bound.producer))
                .filter(|producer| !producer.paused)
            else {
                continue;
            };
            let sender_clock = producer.sender_clock;
            if let Some(report) =
                feedback::sender_report(now, &self.clock, producer, consumer, sender_clock)
            {
                self.transports[key].send_rtcp(egress, &report);
            }
        }
    }

    fn send_feedback(&mut self, key: usize, egress: &mut Egress<'_>) {
        let transport = &mut self.transports[key];
        let media_ssrc = transport.streams.first().map_or(0, |stream| stream.ssrc);
        while let Some(feedback) = transport.arrivals.write(media_ssrc) {
            transport.send_rtcp(egress, &feedback);
        }
    }

    /// NACKs and keyframe requests that are due at one publisher.
    fn repair(&mut self, now: Instant, key: usize, egress: &mut Egress<'_>) {
        let transport = &mut self.transports[key];
        let rtt = transport.rtt_or_assumed();
        let producers = std::mem::take(&mut transport.producers);
        let mut missing = Vec::new();
        let mut next: Option<Instant> = None;
        for &producer in &producers {
            let producer = &mut self.producers[producer];
            let pli = producer.params.codecs.iter().any(|codec| codec.feedback.pli);
            let (flowing, video) = (producer.flowing, producer.is_video());
            for (index, encoding) in producer.encodings.iter_mut().enumerate() {
                let Some(ssrc) = encoding.ssrc else { continue };
                missing.clear();
                let gave_up = encoding.nack.due(now, rtt, &mut missing) > 0;
                if gave_up && video && !encoding.may_be_fec() {
                    encoding.keyframes.wish();
                }
                if !missing.is_empty()
                    && let Some(nack) = feedback::nack(ssrc, &missing)
                {
                    transport.send_rtcp(egress, &nack);
                }
                if flowing != 0 && flowing & (1 << index) == 0 {
                    encoding.keyframes.forget();
                }
                if encoding.keyframes.take(now)
                    && let Some(request) =
                        feedback::keyframe_request(ssrc, pli, encoding.keyframes.sent())
                {
                    transport.send_rtcp(egress, &request);
                }
                let due = [encoding.nack.next_due(), encoding.keyframes.next_due(now)];
                next = due.into_iter().flatten().chain(next).min();
            }
        }
        transport.producers = producers;
        transport.timers.set(TimerKind::Repair, next);
    }

    fn update_speakers(&mut self, now: Instant) {
        self.speakers_due = None;
        let mut heard = false;
        for (&id, router) in &mut self.routers {
            let speakers: Vec<(Speaker, bool)> = router
                .audio
                .iter()
                .filter_map(|&key| {
                    let producer = &mut self.producers[key];
                    let level = producer.level.tick(now).filter(|_| !producer.paused)?;
                    Some((Speaker { producer: producer.id, level }, producer.level.speaks()))
                })
                .collect();
            heard |= !speakers.is_empty();
            let speakers = router.speakers.settle(now, speakers);
            if let Some(speakers) = router.speakers.update(speakers) {
                self.events.push_back(Event::ActiveSpeakers { router: id, speakers });
            }
        }
        if heard {
            self.speakers_due = Some(now + speaker::INTERVAL);
        }
    }
}
