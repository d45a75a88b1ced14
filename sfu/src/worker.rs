//! One media thread: socket in, engine, socket out. Owns the clock, waits for nothing but its socket, its timer and its waker, and never for
//! control: commands are taken as they come, events that control does not take in time are kept up to a bound.

use crate::WorkerId;
use crate::metrics::{Connections, Durations, Published, WorkerMetrics};
use crate::outbox::Outbox;
use crate::pipe::Pipes;
use crate::socket::{Readable, RecvBatch, UdpSocket, Waiter, pin_current_thread};
use crate::tcp::Paths;
use sfu_core::egress::{Arena, Datagram, Egress};
use sfu_core::{Command, Event};
use sfu_core::{Engine, EngineConfig};
use std::io;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Batches received before what they caused is sent: bounds the delay of the first under load.
const RECEIVE_ROUNDS: usize = 4;
/// A worker comes round once a second at least. One that did not for so long was stopped (SIGSTOP, a machine that was moved): what waited in its
/// socket is thrown away, for nobody has use for sound and pictures of that age, and all of it at once would be a burst into every subscriber's link.
const STOPPED_AFTER: Duration = Duration::from_millis(2500);
/// Commands executed per turn, so that control cannot starve media.
const COMMANDS_PER_TURN: usize = 256;
/// Time for data in a turn.
const DATA_PER_TURN: Duration = Duration::from_micros(200);
/// How soon a full event queue is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(10);
/// How soon a full ring to another worker is tried again.
const PIPE_RETRY: Duration = Duration::from_millis(1);
/// Between two looks at subscribers' reports.
const REPORTS_PAUSE: Duration = Duration::from_millis(20);
/// How often the load is measured and the counters are published; an idle worker wakes up for it.
const LOAD_WINDOW: Duration = Duration::from_secs(1);

/// What control may know of a worker without asking it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    busy_permille: AtomicU32,
    rooms: AtomicUsize,
}

impl Load {
    pub(crate) fn busy_permille(&self) -> u32 {
        self.busy_permille.load(Ordering::Relaxed)
    }

    pub(crate) fn set_busy_permille(&self, busy: u32) {
        self.busy_permille.store(busy, Ordering::Relaxed);
    }

    pub(crate) fn rooms(&self) -> usize {
        self.rooms.load(Ordering::Relaxed)
    }

    pub(crate) fn add_room(&self) {
        self.rooms.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_room(&self) {
        let less = |rooms: usize| Some(rooms.saturating_sub(1));
        let _ = self.rooms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// Everything a worker is made of.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    pub(crate) id: WorkerId,
    pub(crate) pinned: bool,
    pub(crate) engine: EngineConfig,
    pub(crate) paths: Paths,
    pub(crate) waiter: Waiter,
    pub(crate) commands: Receiver<Command>,
    pub(crate) pipes: Pipes,
    pub(crate) events: Sender<(WorkerId, Event)>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) load: Arc<Load>,
    pub(crate) published: Arc<Published>,
}

/// The worker, on its own thread.
pub(crate) struct Worker {
    id: WorkerId,
    pinned: bool,
    engine: Engine,
    paths: Paths,
    waiter: Waiter,
    batch: RecvBatch,
    /// What is read from TCP connections.
    stream_bytes: Box<[u8]>,
    arena: Arena,
    commands: Receiver<Command>,
    pipes: Pipes,
    /// Other workers know all that they should; else a ring was full.
    piped: bool,
    outbox: Outbox,
    /// Messages for control found no room.
    data_waits: bool,
    stop: Arc<AtomicBool>,
    load: Arc<Load>,
    published: Arc<Published>,
    flushes: Durations,
    connections: Connections,
    /// Time not waited, up to the load window.
    busy: Duration,
    /// No turn takes reports before this …
    reports_pause: Instant,
    /// … and they cause none before this.
    reports_due: Instant,
    /// Start of the load window, and the time waited in it.
    window: Instant,
    waited: Duration,
    /// When the last turn began.
    turned: Instant,
    /// The last turn left datagrams or commands behind.
    unfinished: bool,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        Self {
            id: parts.id,
            pinned: parts.pinned,
            engine: Engine::new(parts.engine),
            paths: parts.paths,
            waiter: parts.waiter,
            batch: RecvBatch::default(),
            stream_bytes: Paths::buffer(),
            arena: Arena::default(),
            commands: parts.commands,
            pipes: parts.pipes,
            piped: true,
            outbox: Outbox::new(parts.id, parts.events),
            data_waits: false,
            stop: parts.stop,
            load: parts.load,
            published: parts.published,
            flushes: Durations::default(),
            connections: Connections::default(),
            busy: Duration::ZERO,
            reports_pause: Instant::now(),
            reports_due: Instant::now(),
            window: Instant::now(),
            waited: Duration::ZERO,
            turned: Instant::now(),
            unfinished: false,
        }
    }

    /// Works until told to stop. A worker that fails ends the process: its rooms are lost, and whoever supervises the process can
    /// start it anew, while half a media plane would go unnoticed.
    pub(crate) fn run(mut self) {
        let index = self.id.0;
        if self.pinned
            && let Err(error) = pin_current_thread(index)
        {
            tracing::warn!("media worker {index} is not pinned to a processor: {error}");
        }
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => die(index, &format!("cannot wait for its socket: {error}")),
            Err(_) => die(index, "panicked"),
        }
    }

    fn work(&mut self) -> io::Result<()> {
        loop {
            let readable = self.wait()?;
            // Before the queue is drained: what was queued before the stop is executed.
            let stop = self.stop.load(Ordering::Acquire);
            let now = Instant::now();
            let stood = now.saturating_duration_since(self.turned);
            if stood >= STOPPED_AFTER {
                let (worker, seconds) = (self.id.0, stood.as_secs_f64());
                tracing::warn!("media worker {worker} stood still for {seconds:.1} s");
                self.paths.udp.discard(&mut self.batch);
            }
            self.turned = now;
            let more_commands = self.turn(now, readable);
            if stop && !more_commands {
                return Ok(());
            }
        }
    }

    fn wait(&mut self) -> io::Result<Readable> {
        let before = Instant::now();
        let mut timeout = (self.window + LOAD_WINDOW).saturating_duration_since(before);
        if let Some(at) = self.engine.poll_timeout() {
            timeout = timeout.min(at.saturating_duration_since(before));
        }
        if !self.outbox.is_empty() || self.data_waits {
            timeout = timeout.min(BACKLOG_RETRY);
        }
        if !self.piped {
            timeout = timeout.min(PIPE_RETRY);
        }
        if self.unfinished {
            timeout = Duration::ZERO;
        }
        let mut reports = self.paths.udp.reports_fd();
        if before < self.reports_due && reports.take().is_some() {
            timeout = timeout.min(self.reports_due - before);
        }
        let (udp, tcp) = (self.paths.udp.as_fd(), self.paths.tcp.fd());
        let readable = self.waiter.wait(udp, reports, tcp, Some(timeout))?;
        let after = Instant::now();
        self.waited += after - before;
        let window = after - self.window;
        if window >= LOAD_WINDOW {
            let busy = window.saturating_sub(self.waited);
            let ratio = busy.as_secs_f64() / window.as_secs_f64();
            self.load.set_busy_permille((ratio * 1000.0) as u32);
            self.busy += busy;
            self.window = after;
            self.waited = Duration::ZERO;
            self.publish(after, ratio);
        }
        Ok(readable)
    }

    /// Shows control what was counted.
    fn publish(&self, now: Instant, busy_ratio: f64) {
        let (transports, producers, consumers) = self.engine.population();
        self.published.publish(now, |shown| {
            *shown = WorkerMetrics {
                socket: self.paths.udp.stats(),
                tcp: self.paths.tcp.stats(),
                media: *self.engine.counters(),
                drops: self.engine.drops().clone(),
                flushes: self.flushes,
                connections: self.connections,
                transports,
                producers,
                consumers,
                busy: self.busy,
                busy_ratio,
                commands_waiting: 0,
                events_kept: self.outbox.kept(),
                events_queued: self.outbox.queued(),
            };
        });
    }

    /// Everything that there is to do now. Returns whether there may be more commands.
    fn turn(&mut self, now: Instant, readable: Readable) -> bool {
        let more_datagrams = readable.media && self.receive(now, UdpSocket::recv_batch);
        let more_commands = self.execute(now);
        let more_streams = self.receive_streams(now, readable.tcp);
        self.unfinished = more_datagrams || more_streams || more_commands;
        let mut egress = Egress::new(&mut self.arena, &mut self.paths);
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now, &mut egress);
        }
        self.pipes.drain(|from, message| self.engine.handle_pipe(now, from, message));
        self.flush_pipes(now);
        self.flush(now);
        // When media has left.
        if readable.reports || (readable.media && now >= self.reports_pause) {
            self.take_reports(now);
        }
        self.run_data(now);
        self.flush_pipes(now);
        self.report();
        more_commands
    }

    /// A thread that sleeps in between pays more for a wake-up than for twenty reports. So they are taken in a turn that media causes or, where there is
    /// none, where other deadlines meet. What they measure is stamped by the kernel.
    fn take_reports(&mut self, now: Instant) {
        let more = self.receive(now, UdpSocket::recv_reports);
        Egress::new(&mut self.arena, &mut self.paths).flush();
        self.reports_pause = now + REPORTS_PAUSE;
        // What is over comes with the next turn, at once.
        self.reports_due = if more { now } else { self.engine.grid_after(self.reports_pause) };
    }

    /// Works on data when media has left, and for so long only that media does not wait for it.
    fn run_data(&mut self, now: Instant) {
        if !self.engine.has_data() {
            return;
        }
        let start = Instant::now();
        let mut egress = Egress::new(&mut self.arena, &mut self.paths);
        while self.engine.run_data(now, &mut egress) && start.elapsed() < DATA_PER_TURN {}
        egress.flush();
        self.unfinished |= self.engine.has_data();
    }

    /// Lets other workers begin with what is theirs.
    fn flush_pipes(&mut self, now: Instant) {
        self.piped = self.engine.flush_pipes(now, &mut self.pipes);
        self.pipes.wake();
    }

    /// Sends what is to be forwarded, and what was queued before it.
    fn flush(&mut self, now: Instant) {
        let sent = self.paths.udp.stats().sent_messages;
        let start = Instant::now();
        let mut egress = Egress::new(&mut self.arena, &mut self.paths);
        self.engine.flush(now, &mut egress);
        egress.flush();
        if self.paths.udp.stats().sent_messages != sent {
            self.flushes.record(start.elapsed());
        }
    }

    /// Feeds the engine with what waits in a socket. Returns whether there may be more.
    fn receive(
        &mut self,
        now: Instant,
        recv: fn(&mut UdpSocket, &mut RecvBatch) -> io::Result<usize>,
    ) -> bool {
        for _ in 0..RECEIVE_ROUNDS {
            // An error belongs to one datagram that is gone with it; the socket itself stays good.
            let filled = recv(&mut self.paths.udp, &mut self.batch).unwrap_or(0);
            let mut egress = Egress::new(&mut self.arena, &mut self.paths);
            for datagram in self.batch.datagrams() {
                self.engine.handle_datagram(now, datagram, &mut egress);
            }
            if filled < RecvBatch::SLOTS {
                return false;
            }
        }
        true
    }

    /// Feeds the engine with what waits in TCP connections. Returns whether there may be more.
    fn receive_streams(&mut self, now: Instant, readable: bool) -> bool {
        // Behind the commands: they create the transport that a connection which has just arrived names.
        while let Some((key, mut first)) = self.paths.tcp.arrive(now) {
            self.deframe(now, key, &mut first);
        }
        let mut more = false;
        if readable {
            let (keys, unseen) = self.paths.tcp.poll(now);
            more = unseen;
            let mut bytes = std::mem::take(&mut self.stream_bytes);
            for key in keys {
                if let Some(count) = self.paths.tcp.read(key, &mut bytes) {
                    self.deframe(now, key, &mut bytes[..count]);
                }
            }
            self.stream_bytes = bytes;
        }
        self.paths.tcp.look(now);
        for tuple in self.paths.tcp.take_gone() {
            self.engine.forget_tuple(&tuple);
        }
        more
    }

    fn deframe(&mut self, now: Instant, key: usize, bytes: &mut [u8]) {
        let Some(mut deframing) = self.paths.tcp.deframe(key) else { return };
        let mut egress = Egress::new(&mut self.arena, &mut self.paths);
        let take = |datagram: Datagram<'_>| self.engine.handle_datagram(now, datagram, &mut egress);
        let result = deframing.push(bytes, take);
        self.paths.tcp.deframed(deframing, result);
    }

    /// Executes commands. Returns whether there may be more.
    fn execute(&mut self, now: Instant) -> bool {
        let mut egress = Egress::new(&mut self.arena, &mut self.paths);
        for count in 0..COMMANDS_PER_TURN {
            let Ok(command) = self.commands.try_recv() else {
                self.published.commands_taken(count);
                return false;
            };
            self.engine.handle_command(now, command, &mut egress);
        }
        self.published.commands_taken(COMMANDS_PER_TURN);
        true
    }

    /// Hands events to control, in order.
    fn report(&mut self) {
        self.outbox.retry();
        while let Some(event) = self.engine.poll_event() {
            if let Event::TransportConnected { profile, .. } = &event {
                self.connections.count(*profile);
            }
            if self.outbox.push(event).is_err() {
                die(self.id.0, "has nobody who takes its events");
            }
        }
        // Data takes what room is left, and else holds its senders back.
        while self.outbox.has_room()
            && let Some(event) = self.engine.poll_data_event()
        {
            // There is room.
            let _ = self.outbox.push(event);
        }
        self.data_waits = self.engine.has_data_events();
        self.unfinished |= self.engine.has_data();
    }
}

fn die(index: usize, why: &str) -> ! {
    tracing::error!("media worker {index} {why}; the process ends");
    std::process::abort();
}
