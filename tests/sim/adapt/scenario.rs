//! A publisher with three layers and audio who obeys the server, and viewers behind links; what happens is sampled every 100 ms.

use crate::net::{Link, MS, Micros, Path, SECOND};
use crate::params::{audio_params, video_params};
use crate::svc::{Format, Mode, Svc};
use crate::workers::{FAR, pipe};
use crate::world::{SlotSpec, Tracks, World};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sfu_core::params::Demand;
use sfu_core::{Command, Event, Watched};
use std::collections::VecDeque;

/// Payload bits per second of three layers, as libwebrtc sends 320x180, 640x360 and 1280x720.
pub(super) const LAYERS: [u64; 3] = [150_000, 500_000, 1_700_000];
pub(super) const SAMPLE: Micros = 100 * MS;
/// Commands of the scenario fall on this raster.
const STEP: Micros = 10 * MS;
/// From the server's word to the publisher's page, and from there to its encoder.
pub(super) const SIGNALING: Micros = 50 * MS;
const ENCODER: Micros = 50 * MS;
/// The publisher sends for so long before anybody watches.
pub(super) const ALONE: Micros = 2 * SECOND;

#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    /// Between engine and each peer.
    pub(super) rtt: Micros,
    /// Three temporal layers in each encoding.
    pub(super) temporal: bool,
    /// FEC packets of the publisher, in percent of each picture's.
    pub(super) fec: Option<usize>,
    /// Of the layers' rates, in percent.
    pub(super) swing: u64,
    /// One encoding with so many bits per second instead.
    pub(super) single: Option<u64>,
    /// … and, so long after an encoder that is quick, no more than the server says.
    pub(super) capped: Option<Micros>,
    /// One encoding with three spatial layers instead, of which a viewer is sent as much as of [`LAYERS`].
    pub(super) svc: Option<Mode>,
    /// Viewers are on another worker than the publisher.
    pub(super) far: bool,
    /// Somebody with a link of 100 Mbit/s watches from the beginning, so that every layer is sent.
    pub(super) company: bool,
    /// Viewers negotiate the playout-delay extension.
    pub(super) playout_delay: bool,
}

impl Setup {
    pub(super) fn new(seed: u64, rtt: Micros) -> Self {
        Self {
            seed,
            rtt,
            temporal: false,
            fec: None,
            swing: 0,
            single: None,
            capped: None,
            svc: None,
            far: false,
            company: false,
            playout_delay: false,
        }
    }
}

/// One viewer's link at one time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) at: Micros,
    /// Bits per second that the link has for us.
    pub(super) capacity: u64,
    pub(super) estimate: Option<u64>,
    pub(super) allocated: u64,
    /// Bits per second that came at the link since the last sample, with IP and UDP headers.
    pub(super) sent: u64,
    /// Longest time in the link's queue since the last sample.
    pub(super) queue: Micros,
    /// Bits per second that the link's download was acknowledged since the last sample.
    pub(super) download: u64,
}

pub(super) struct Viewer {
    /// Position in [`World::subscribers`].
    pub(super) subscriber: usize,
    /// Position in the network's links.
    pub(super) link: usize,
    pub(super) joined: Micros,
    pub(super) samples: Vec<Sample>,
    /// What of the link's past was sampled.
    looked: (usize, usize),
    /// … and of its download.
    downloaded: u64,
}

/// See the module.
pub(super) struct Meeting {
    pub(super) world: World,
    pub(super) viewers: Vec<Viewer>,
    pub(super) setup: Setup,
    /// What publishers will send: (when, who, what).
    switches: VecDeque<(Micros, usize, Watched)>,
    /// Most bits per second of the only layer of the first one: (when, how many).
    caps: VecDeque<(Micros, Option<u64>)>,
    /// Events that were looked at.
    seen: usize,
    /// Each change of what the first publisher sends.
    pub(super) sending: Vec<(Micros, u8)>,
    /// Each [`Event::PublishedLayers`] for it.
    pub(super) told: Vec<(Micros, u8)>,
    /// The same of spatial layers inside its one encoding.
    pub(super) spatial: Vec<(Micros, Option<u8>)>,
    /// The same of the most that it is to send.
    pub(super) ceilings: Vec<(Micros, Option<u64>)>,
}

impl Meeting {
    pub(super) fn new(setup: Setup) -> Self {
        let path = Path { delay: setup.rtt / 2, ..Path::CLEAN };
        let mut world = World::new(setup.seed, path, path);
        world.playout_delay = setup.playout_delay;
        let one = setup.single.is_some() || setup.svc.is_some();
        let rids: &[&str] = if one { &[] } else { &["q", "h", "f"] };
        let tracks = Tracks { rids, video: true, audio: true };
        world.add_publisher(tracks);
        let video = world.publishers[0].video();
        video.temporal = setup.temporal;
        video.fec = setup.fec;
        video.swing = setup.swing;
        match (setup.single, setup.svc) {
            (Some(rate), _) => video.set_bitrate(0, rate),
            (_, Some(mode)) => {
                let mut svc = Svc::new(mode, &mut SmallRng::seed_from_u64(setup.seed));
                let [low, middle, high] = LAYERS;
                // Without a dependency descriptor nobody knows that lower layers are of no use.
                svc.rates = Some(match mode.key && mode.format == Format::Av1 {
                    true => LAYERS,
                    false => [low, middle - low, high - middle],
                });
                video.svc = Some(svc);
            }
            _ => LAYERS
                .into_iter()
                .enumerate()
                .for_each(|(layer, rate)| video.set_bitrate(layer, rate)),
        }
        if setup.far {
            world.add_worker();
            pipe(&mut world, World::video_of(0), video_params(rids, 1));
            pipe(&mut world, World::audio_of(0), audio_params(2));
            world.worker = FAR;
        }
        let mut meeting = Self {
            world,
            viewers: Vec::new(),
            setup,
            switches: VecDeque::new(),
            caps: VecDeque::new(),
            seen: 0,
            sending: vec![(0, 0b111)],
            told: Vec::new(),
            spatial: Vec::new(),
            ceilings: Vec::new(),
        };
        if setup.company {
            meeting.join(Link::new(100_000_000));
        }
        meeting.run(ALONE);
        meeting
    }

    /// Somebody joins from behind a link, with a video and an audio slot; returns the viewer's number.
    pub(super) fn join(&mut self, link: Link) -> usize {
        self.world.net.links.push(link);
        self.join_behind(self.world.net.links.len() - 1)
    }

    /// Somebody who is shown every publisher, one in each slot.
    pub(super) fn join_all(&mut self, link: Link) -> usize {
        self.world.net.links.push(link);
        let slots = vec![SlotSpec::VIDEO; self.world.publishers.len()];
        let viewer = self.join_with(self.world.net.links.len() - 1, &slots);
        for slot in 0..slots.len() {
            let subscriber = self.viewers[viewer].subscriber;
            self.world.bind(subscriber, slot, Some(World::video_of(slot)));
        }
        viewer
    }

    /// Another publisher like the first one, with pictures only.
    pub(super) fn add_publisher(&mut self) {
        let tracks = Tracks { rids: &["q", "h", "f"], video: true, audio: false };
        let publisher = self.world.add_publisher(tracks);
        let video = self.world.publishers[publisher].video();
        video.temporal = self.setup.temporal;
        LAYERS.into_iter().enumerate().for_each(|(layer, rate)| video.set_bitrate(layer, rate));
    }

    /// The same behind a link that others share.
    pub(super) fn join_behind(&mut self, link: usize) -> usize {
        let viewer = self.join_empty(link);
        let subscriber = self.viewers[viewer].subscriber;
        self.world.bind(subscriber, 0, Some(World::video_of(0)));
        self.world.bind(subscriber, 1, Some(World::audio_of(0)));
        viewer
    }

    /// The same with another video slot, and nothing bound yet.
    pub(super) fn join_empty(&mut self, link: usize) -> usize {
        self.join_with(link, &[SlotSpec::VIDEO, SlotSpec::AUDIO, SlotSpec::VIDEO])
    }

    pub(super) fn join_with(&mut self, link: usize, slots: &[SlotSpec]) -> usize {
        let subscriber = self.world.add_subscriber(slots);
        let there = &mut self.world.subscribers[subscriber];
        let address = there.endpoint.address;
        for slot in &mut there.slots {
            // libwebrtc: a round trip.
            slot.nack_pause = self.setup.rtt.max(20 * MS);
        }
        self.world.net.link(address, link);
        let past = &self.world.net.links[link];
        self.viewers.push(Viewer {
            subscriber,
            link,
            joined: self.world.now,
            samples: Vec::new(),
            looked: (past.passed.len(), past.dropped.len()),
            downloaded: 0,
        });
        self.viewers.len() - 1
    }

    pub(super) fn link(&mut self, viewer: usize) -> &mut Link {
        &mut self.world.net.links[self.viewers[viewer].link]
    }

    /// Puts a link on the publisher's way up.
    pub(super) fn link_up(&mut self, link: Link) {
        self.world.net.links.push(link);
        let address = self.world.publishers[0].endpoint.address;
        self.world.net.link_up(address, self.world.net.links.len() - 1);
    }

    pub(super) fn demand(&mut self, viewer: usize, slot: usize, demand: Demand) {
        let consumer = World::consumer(self.viewers[viewer].subscriber, slot);
        self.world.command(Command::SetDemand { consumer, demand });
    }

    pub(super) fn run(&mut self, duration: Micros) {
        let end = self.world.now + duration;
        while self.world.now < end {
            self.world.run(STEP.min(end - self.world.now));
            if self.world.now.is_multiple_of(SAMPLE) {
                self.sample();
            }
            self.obey();
        }
    }

    pub(super) fn run_seconds(&mut self, seconds: u64) {
        self.run(seconds * SECOND);
    }

    fn sample(&mut self) {
        let now = self.world.now;
        for index in 0..self.viewers.len() {
            let viewer = &self.viewers[index];
            let transport = self.world.transport_of_subscriber(viewer.subscriber);
            let from = self.world.events.len();
            self.world.command(Command::RequestStats { transport, request: index as u64 });
            let stats = self.world.events[from..].iter().find_map(|(_, event)| match event {
                Event::Stats { stats, .. } => Some(stats),
                _ => None,
            });
            let bandwidth = stats.and_then(|stats| stats.bandwidth);
            let viewer = &mut self.viewers[index];
            let link = &self.world.net.links[viewer.link];
            let (passed, dropped) =
                (&link.passed[viewer.looked.0..], &link.dropped[viewer.looked.1..]);
            let headers = (passed.len() + dropped.len()) * Link::HEADERS;
            let bytes = passed.iter().map(|(.., bytes)| bytes).sum::<usize>()
                + dropped.iter().map(|(_, bytes)| bytes).sum::<usize>()
                + headers;
            let downloaded = link.tcp.as_ref().map_or(0, |tcp| tcp.delivered);
            viewer.samples.push(Sample {
                at: now,
                capacity: link.rate.saturating_sub(link.others),
                estimate: bandwidth.map(|bandwidth| bandwidth.estimate),
                allocated: bandwidth.map_or(0, |bandwidth| bandwidth.allocated),
                sent: bytes as u64 * 8 * SECOND / SAMPLE,
                queue: passed.iter().map(|(_, waits, _)| *waits).max().unwrap_or(0),
                download: downloaded.saturating_sub(viewer.downloaded) * 8 * SECOND / SAMPLE,
            });
            viewer.downloaded = downloaded;
            viewer.looked = (link.passed.len(), link.dropped.len());
        }
        self.world.events.retain(|(_, event)| !matches!(event, Event::Stats { .. }));
    }

    /// The publisher does what it is told, a little later.
    fn obey(&mut self) {
        let seen = self.seen.min(self.world.events.len());
        for (at, event) in &self.world.events[seen..] {
            if let Event::PublishedLayers { producer, watched } = event {
                let Watched { encodings, spatial_layers, max_bitrate } = *watched;
                let publisher = (0..self.world.publishers.len())
                    .find(|&publisher| World::video_of(publisher) == *producer)
                    .expect("a publisher's track");
                if publisher == 0 {
                    self.told.push((*at, encodings));
                    self.spatial.push((*at, spatial_layers));
                    self.ceilings.push((*at, max_bitrate));
                }
                let at = at + SIGNALING + ENCODER;
                self.switches.push_back((at, publisher, *watched));
                if let Some(lag) = self.setup.capped {
                    self.caps.push_back((at + lag, max_bitrate));
                }
            }
        }
        self.seen = self.world.events.len();
        while let Some((_, most)) = self.caps.pop_front_if(|(at, _)| *at <= self.world.now) {
            let whole = self.setup.single.unwrap_or(u64::MAX);
            self.world.publishers[0].video().set_bitrate(0, whole.min(most.unwrap_or(whole)));
        }
        while let Some((at, publisher, watched)) = self.switches.front().copied() {
            let wanted = watched.encodings;
            if at > self.world.now {
                return;
            }
            self.switches.pop_front();
            if publisher == 0 {
                self.sending.push((self.world.now, wanted));
            }
            let video = self.world.publishers[publisher].video();
            let layers = &mut video.layers;
            for (index, layer) in layers.iter_mut().enumerate() {
                let active = wanted & 1 << index != 0;
                if active && !layer.active {
                    // An encoder that begins again.
                    layer.keyframe = true;
                }
                layer.active = active;
            }
            let spatial = watched.spatial_layers.unwrap_or(u8::MAX);
            if let (Some(svc), Some(whole)) = (&mut video.svc, self.setup.svc) {
                let spatial = spatial.min(whole.spatial);
                if wanted != 0 && svc.mode.spatial != spatial {
                    svc.make(spatial);
                    video.layers[0].keyframe = true;
                }
            }
        }
    }
}
