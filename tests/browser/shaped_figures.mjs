/**
 * Figures, not tests: what a viewer in Chromium sees behind a narrow link, on a quiet machine; and the same link between two pages.
 * SWITCHYARD=target/release/switchyard tests/ns.sh node tests/browser/shaped_figures.mjs [rounds]
 * COMPARE=0: not between two pages. NARROW=300k: the rate of the cut. WIDTH=1280: of the picture.
 * SVC=vp9 (or av1): three spatial layers in one stream instead of simulcast.
 * GOALS=1: instead of all that, the even link, half of it and back, and 5, 10 and 30 % of loss. GOALS=loss: only the loss.
 */
import { loadavg } from 'node:os';
import { recordFrames } from './lib/frames.mjs';
import { chromium } from './lib/browsers.mjs';
import { decodes, framesOf, inboundOf, longestGap, outboundOf, statusOf, watchFrames } from './lib/flow.mjs';
import { Participant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { Shaper } from './lib/shaper.mjs';
import { PICTURE, installDevices, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const ROUNDS = Number(process.argv[2] ?? 5);
const RESUMES = 20;
const TOP = Number(process.env.WIDTH ?? 960);
const SVC = process.env.SVC ?? '';
const CAMERA = { width: TOP, height: (TOP * 9) / 16, fps: 15, noise: 0.2, ...(SVC && { query: `&codec=${SVC}&mode=L3T3_KEY` }) };
const ONLOOKER = '&cam=0&mic=0&adaptive=0';
const [WIDE, NARROW] = ['5M', process.env.NARROW ?? '500k'];
const RAMP_MS = 60_000;
/** Links on which the server and a direct connection are compared. */
const LINKS = ['rate=5M delay=20ms', 'rate=5M delay=50ms loss=0.05', 'rate=2M delay=20ms', 'rate=700k delay=20ms'];
const COMPARED_MS = 30_000;
const MAX_BITRATE = 1_700_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const at = (values, share) => {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
};
const show = (what, values) => console.log(`${what} (${values.length}): p50 ${at(values, 0.5)} ms, p95 ${at(values, 0.95)} ms, worst ${at(values, 1)} ms`);

const server = await startServer(['--workers', '1']);
const browsers = [await chromium(), await chromium()];
const join = (browser, index, options) => Participant.join(browser, { url: server.url, room: 'figures', index, ...options });

/** Waits for a frame that fulfils a condition; its time in the page. */
async function frame(viewer, what, condition) {
  const found = await until(what, async () => (await framesOf(viewer)).frames.find(condition) ?? { error: 'not yet' }, RAMP_MS);
  return found.at;
}

/** A viewer comes to a publisher who sends all already: from its first frame to the first in full. */
async function start(publisher) {
  const shaper = await Shaper.start({ down: `rate=${WIDE} delay=20ms`, up: `rate=${WIDE} delay=20ms` });
  const viewer = await join(browsers[1], 2, { query: ONLOOKER, shaper });
  await until('a tile', () => viewer.page.$(`${viewer.tileOf(publisher)} video`));
  await watchFrames(viewer, publisher);
  const first = await frame(viewer, 'the first frame', () => true);
  const full = await frame(viewer, 'the largest layer', ({ width }) => width === TOP);
  const marks = await viewer.firstFrameMs();
  await viewer.close();
  shaper.stop();
  return { full: full - first, first: marks };
}

const sentOf = async (publisher) => (await outboundOf(publisher)).reduce((sum, { bytesSent = 0 }) => sum + bytesSent, 0);

/** The link becomes narrow, and wide again. */
async function step(viewer, publisher, shaper) {
  await watchFrames(viewer, publisher);
  const { now: cut } = await framesOf(viewer);
  await shaper.set(`down rate=${NARROW}`);
  const down = (await frame(viewer, 'a smaller layer', ({ at, width }) => at > cut && width < TOP)) - cut;
  await pause(5000);
  const sentBefore = await sentOf(publisher);
  await pause(5000);
  const sent = (8 * ((await sentOf(publisher)) - sentBefore)) / 5000;
  const freeze = longestGap((await framesOf(viewer)).frames);
  const { now: back } = await framesOf(viewer);
  await shaper.set(`down rate=${WIDE}`);
  const up = (await frame(viewer, 'the largest layer', ({ at, width }) => at > back && width === TOP)) - back;
  await pause(10_000);
  return { down, freeze, up, sent, freezeUp: longestGap((await framesOf(viewer)).frames.filter(({ at }) => at > back)) };
}

/** Links, bits per second, and the best picture that 0.9 times each carries: the layers take 0.1, 0.55 and 1.75 Mbit/s. */
const EVEN = [[300_000, TOP / 4], [700_000, TOP / 2], [1_000_000, TOP / 2], [2_500_000, TOP], [5_000_000, TOP]];

/** Share of half a minute in which the best picture is shown that the link carries, or a better one. */
async function even(viewer, publisher, shaper, [rate, best]) {
  await shaper.set(`down rate=${rate}`);
  await pause(15_000);
  await watchFrames(viewer, publisher);
  await pause(COMPARED_MS);
  const { frames } = await framesOf(viewer);
  const shown = frames.slice(1).map(({ at: now, width }, index) => ({ ms: now - frames[index].at, width }));
  const sum = (list) => list.reduce((all, { ms }) => all + ms, 0);
  const share = sum(shown.filter(({ width }) => width >= best)) / sum(shown);
  return `${(100 * share).toFixed(1)} % of the time at least ${best} wide, ${((1000 * shown.length) / sum(shown)).toFixed(1)} fps, longest time without a frame ${Math.round(longestGap(frames))} ms`;
}

/** Half of the link, and all of it again: when the server knows, the longest time without a frame, and when 90 % of the bitrate and the largest layer are back. */
async function halves(viewer, publisher, shaper) {
  await shaper.set('down rate=3M');
  await pause(15_000);
  const received = async () => (await inboundOf(viewer, publisher)).bytesReceived;
  const rate = async () => {
    const [from, before] = [performance.now(), await received()];
    await pause(1000);
    return (8000 * ((await received()) - before)) / (performance.now() - from);
  };
  const all = await rate();
  await watchFrames(viewer, publisher);
  const cut = performance.now();
  await shaper.set('down rate=1500k');
  await until('the server to know', async () => {
    const { status } = (await statusOf(viewer, publisher)) ?? {};
    return (status?.limit === 'bandwidth' && status.available < 1_500_000) || { error: status };
  });
  const known = performance.now() - cut;
  await pause(10_000);
  const freeze = longestGap((await framesOf(viewer)).frames);
  const { now: back } = await framesOf(viewer);
  const started = performance.now();
  await shaper.set('down rate=3M');
  const full = (await frame(viewer, 'the largest layer', ({ at: now, width }) => now > back && width === TOP)) - back;
  await until('the bitrate', async () => (await rate()) >= 0.9 * all || { error: 'not yet' });
  return { known, freeze, full, rate: performance.now() - started };
}

/** A minute with loss on one of the ways. */
async function lossy(way, share) {
  const clean = 'rate=5M delay=50ms';
  const bad = `${clean} loss=${share}`;
  const shaper = await Shaper.start({ down: way === 'down' ? bad : clean, up: way === 'up' ? bad : clean, seed: 3 });
  const room = `loss-${way}-${share}`;
  const publisher = await join(browsers[0], 0, { ...CAMERA, room, ...(way === 'up' && { shaper }) });
  const viewer = await join(browsers[1], 1, { query: ONLOOKER, room, ...(way === 'down' && { shaper }) });
  await until('a picture', () => inbound(viewer.page), RAMP_MS);
  await pause(15_000);
  const before = await inbound(viewer.page);
  await pause(60_000);
  const after = await inbound(viewer.page);
  const state = await viewer.page.evaluate(() => window.switchyard.room.peerConnection.connectionState);
  await Promise.all([publisher.close(), viewer.close()]);
  shaper.stop();
  const grown = (name) => after[name] - before[name];
  return `frozen ${((100 * grown('totalFreezesDuration')) / 60).toFixed(1)} %, ${(grown('framesDecoded') / 60).toFixed(1)} fps, ${after.frameWidth} wide, ${state}`;
}

/** Each share of loss on each way, so many rounds. */
async function losses(rounds = ROUNDS) {
  for (const way of ['down', 'up']) for (const share of [0.05, 0.1, 0.3]) for (let round = 0; round < rounds; round++) console.log(`${100 * share} % lost on the way ${way}: ${await lossy(way, share)}`);
}

async function goals() {
  const publisher = await join(browsers[0], 0, CAMERA);
  const shaper = await Shaper.start({ down: `rate=${WIDE} delay=20ms`, up: `rate=${WIDE} delay=20ms` });
  const viewer = await join(browsers[1], 1, { query: ONLOOKER, shaper });
  await decodes(viewer, publisher, TOP, RAMP_MS);
  for (const link of EVEN) console.log(`even, ${link[0] / 1000} kbit/s: ${await even(viewer, publisher, shaper, link)}`);
  const turns = [];
  for (let round = 0; round < ROUNDS; round++) turns.push(await halves(viewer, publisher, shaper));
  show('half of 3 Mbit/s: until the server knows', turns.map(({ known }) => known));
  show('half of 3 Mbit/s: longest time without a new frame', turns.map(({ freeze }) => freeze));
  show('all of it again: until the largest layer', turns.map(({ full }) => full));
  show('all of it again: until 90 % of the bitrate', turns.map(({ rate }) => rate));
  await Promise.all([publisher.close(), viewer.close()]);
  shaper.stop();
  await losses(1);
}

/** Runs in the publisher's page: from the message that wants the largest layer again to the first packet of it. */
function resumed(rid) {
  const local = [...window.switchyard.room.localTracks].find(({ source }) => source === 'camera');
  const packets = async () => [...(await local.transceiver.sender.getStats()).values()].find((one) => one.type === 'outbound-rtp' && one.rid === rid)?.packetsSent ?? 0;
  return new Promise((resolve) => {
    window.testFrames.socket.addEventListener('message', async function told({ data }) {
      const { type, layers } = JSON.parse(data);
      if (type !== 'published_layers' || !layers.includes(rid)) return;
      const started = performance.now();
      window.testFrames.socket.removeEventListener('message', told);
      const before = await packets();
      while ((await packets()) === before) await new Promise((again) => setTimeout(again, 5));
      resolve(performance.now() - started);
    });
  });
}

async function resumes(viewer, publisher) {
  await publisher.page.evaluate(recordFrames);
  await until('the socket', () => publisher.page.evaluate(() => {
    window.switchyard.room.subscribe('t999').catch(() => undefined);
    return window.testFrames.socket !== null;
  }));
  const track = await viewer.page.evaluate((id) => [...window.switchyard.room.participants.get(id).tracks.values()].find(({ source }) => source === 'camera').id, publisher.id);
  const choose = (rid) => viewer.page.evaluate((id, layer) => window.switchyard.room.setLayer(id, layer), track, rid);
  const times = [];
  for (let turn = 0; turn < RESUMES; turn++) {
    await choose('q');
    await decodes(viewer, publisher, TOP / 4, RAMP_MS);
    await until('the largest layer to rest', () =>
      publisher.page.evaluate(() => {
        const { transceiver } = [...window.switchyard.room.localTracks].find(({ source }) => source === 'camera');
        return transceiver.sender.getParameters().encodings.some(({ rid, active }) => rid === 'f' && active === false);
      }),
    );
    await pause(1000);
    const time = publisher.page.evaluate(resumed, 'f');
    await choose(null);
    times.push(await time);
    await decodes(viewer, publisher, TOP, RAMP_MS);
  }
  return times;
}

/** Runs in a page: waits for all candidates, and returns the description with them. */
async function described(connection) {
  while (connection.iceGatheringState !== 'complete') await new Promise((resolve) => connection.addEventListener('icegatheringstatechange', resolve, { once: true }));
  return connection.localDescription.sdp;
}

/** Runs in a page: an offer of the camera, as the demo sends it without simulcast; with `L1T3` it has the temporal layers that each layer of the demo has. */
async function offerCamera(maxBitrate, scalabilityMode) {
  const connection = (window.direct = new RTCPeerConnection());
  const [track] = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks();
  const transceiver = connection.addTransceiver(track, { direction: 'sendonly', sendEncodings: [{ maxBitrate, scalabilityMode }] });
  transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => /vp8|rtx/i.test(mimeType)));
  await connection.setLocalDescription();
  return window.described(connection);
}

/** Runs in a page: answers, and shows what comes. */
async function answerCamera(sdp) {
  const connection = (window.direct = new RTCPeerConnection());
  const video = Object.assign(document.createElement('video'), { autoplay: true, muted: true });
  document.body.append(video);
  connection.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  await connection.setRemoteDescription({ type: 'offer', sdp });
  await connection.setLocalDescription();
  return window.described(connection);
}

const inbound = (page) =>
  page.evaluate(async () => {
    const connection = window.direct ?? window.switchyard.room.peerConnection;
    const found = [...(await connection.getStats()).values()].find(({ type, kind, framesDecoded }) => type === 'inbound-rtp' && kind === 'video' && framesDecoded > 0);
    return found ? { ...found } : { error: 'no picture yet' };
  });

/** What came in half a minute, once it had time to find the rate of the link. */
async function compared(page) {
  await until('a picture', () => inbound(page), RAMP_MS);
  await pause(15_000);
  const before = await inbound(page);
  await pause(COMPARED_MS);
  const after = await inbound(page);
  const grown = (name) => after[name] - before[name];
  const frozen = (100 * 1000 * grown('totalFreezesDuration')) / COMPARED_MS;
  const buffered = (1000 * grown('jitterBufferDelay')) / grown('jitterBufferEmittedCount');
  return `${Math.round((grown('bytesReceived') * 8) / COMPARED_MS)} kbit/s, ${after.frameWidth} wide, ${(grown('framesDecoded') * 1000) / COMPARED_MS} fps, frozen ${frozen.toFixed(1)} %, in the jitter buffer ${Math.round(buffered)} ms`;
}

/** Two pages and the shaper between them; the server only gives them their pages. */
async function direct(link, scalabilityMode) {
  const pages = [];
  for (const browser of browsers) {
    const page = await (await browser.createBrowserContext()).newPage();
    await page.evaluateOnNewDocument(installDevices, { index: 0, tone: toneOf(0), picture: PICTURE, ...CAMERA });
    await page.goto(`${server.url}/healthz`);
    await page.evaluate(`window.described = ${described}; window.answerCamera = ${answerCamera}; window.offerCamera = ${offerCamera}`);
    pages.push(page);
  }
  const [sender, receiver] = pages;
  const isCandidate = (line) => line.startsWith('a=candidate:');
  const offer = await sender.evaluate((max, mode) => window.offerCamera(max, mode), MAX_BITRATE, scalabilityMode);
  // The receiver learns where to answer from what comes through the shaper.
  const silent = offer.split('\r\n').filter((line) => !isCandidate(line)).join('\r\n');
  const answer = await receiver.evaluate((sdp) => window.answerCamera(sdp), silent);
  const candidate = answer.split('\r\n').find((line) => isCandidate(line) && / udp /i.test(line) && !line.includes(':'.repeat(2)));
  const shaper = await Shaper.start({ to: Number(candidate.split(' ')[5]), down: link, up: link });
  const led = answer.split('\r\n').filter((line) => !isCandidate(line)).join('\r\n');
  const through = `candidate:1 1 udp 2122260223 10.99.0.1 ${shaper.port} typ host`;
  await sender.evaluate(
    async (sdp, line) => {
      await window.direct.setRemoteDescription({ type: 'answer', sdp });
      await window.direct.addIceCandidate({ candidate: line, sdpMid: window.direct.getTransceivers()[0].mid });
    },
    led,
    through,
  );
  const figures = await compared(receiver);
  await Promise.all(pages.map((page) => page.close()));
  shaper.stop();
  return figures;
}

async function throughServer(link) {
  const shaper = await Shaper.start({ down: link, up: link });
  const viewer = await join(browsers[1], 3, { query: ONLOOKER, shaper });
  const figures = await compared(viewer.page);
  await viewer.close();
  shaper.stop();
  return figures;
}

async function all() {
  const publisher = await join(browsers[0], 0, CAMERA);
  for (const link of process.env.COMPARE === '0' ? [] : LINKS) {
    console.log(`${link}: through the server ${await throughServer(link)}`);
    for (const mode of ['L1T1', 'L1T3']) console.log(`${link}: peer to peer, ${mode} ${await direct(link, mode)}`);
  }
  const shaper = await Shaper.start({ down: `rate=${WIDE} delay=20ms`, up: `rate=${WIDE} delay=20ms` });
  const viewer = await join(browsers[1], 1, { query: ONLOOKER, shaper });
  await decodes(viewer, publisher, TOP, RAMP_MS);
  await pause(5000);
  const starts = [];
  for (let round = 0; round < ROUNDS; round++) starts.push(await start(publisher));
  show('start: from join to the first frame', starts.map(({ first }) => first));
  show('start: from the first frame to the largest layer', starts.map(({ full }) => full));
  const steps = [];
  for (let round = 0; round < ROUNDS; round++) steps.push(await step(viewer, publisher, shaper));
  show(`cut to ${NARROW}bit/s: until a smaller layer`, steps.map(({ down }) => down));
  show(`cut to ${NARROW}bit/s: longest time without a new frame`, steps.map(({ freeze }) => freeze));
  console.log(`  ${steps.map(({ freeze }) => Math.round(freeze)).join(', ')} ms`);
  console.log(`  the publisher sends ${steps.map(({ sent }) => Math.round(sent)).join(', ')} kbit/s then`);
  show('return: until the largest layer', steps.map(({ up }) => up));
  show('return: longest time without a new frame', steps.map(({ freezeUp }) => freezeUp));
  if (!SVC) show('resume: from published_layers to the first packet', await resumes(viewer, publisher));
  const { freezeCount, totalFreezesDuration } = await inboundOf(viewer, publisher);
  console.log(`all of it: ${freezeCount} freezes, ${totalFreezesDuration.toFixed(1)} s; load ${loadavg().map((load) => load.toFixed(1)).join(' ')}`);
  shaper.stop();
}

try {
  console.log(`Chromium, ${SVC ? `${SVC} L3T3_KEY` : 'VP8'} ${CAMERA.width}x${CAMERA.height} at ${CAMERA.fps} fps in three layers, ${WIDE}bit/s and 40 ms; load ${loadavg().map((load) => load.toFixed(1)).join(' ')}`);
  await ({ 1: goals, loss: () => losses() }[process.env.GOALS ?? ''] ?? all)();
} finally {
  await Promise.allSettled(browsers.map((browser) => browser.close()));
  await server.stop();
}
process.exit(0);
