/**
 * Figures, not tests: what a viewer in Chromium sees behind a narrow link, on a quiet machine; and the same link between two pages.
 * SWITCHYARD=target/release/switchyard tests/ns.sh node tests/browser/shaped_figures.mjs [rounds]
 * COMPARE=0: not between two pages. NARROW=300k: the rate of the cut.
 */
import { loadavg } from 'node:os';
import { recordFrames } from './lib/frames.mjs';
import { chromium } from './lib/browsers.mjs';
import { decodes, framesOf, inboundOf, longestGap, watchFrames } from './lib/flow.mjs';
import { Participant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { Shaper } from './lib/shaper.mjs';
import { PICTURE, installDevices, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const ROUNDS = Number(process.argv[2] ?? 5);
const RESUMES = 20;
const TOP = Number(process.env.WIDTH ?? 960);
const CAMERA = { width: TOP, height: (TOP * 9) / 16, fps: 15, noise: 0.2 };
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

/** The link becomes narrow, and wide again. */
async function step(viewer, publisher, shaper) {
  await watchFrames(viewer, publisher);
  const { now: cut } = await framesOf(viewer);
  await shaper.set(`down rate=${NARROW}`);
  const down = (await frame(viewer, 'a smaller layer', ({ at, width }) => at > cut && width < TOP)) - cut;
  await pause(10_000);
  const freeze = longestGap((await framesOf(viewer)).frames);
  const { now: back } = await framesOf(viewer);
  await shaper.set(`down rate=${WIDE}`);
  const up = (await frame(viewer, 'the largest layer', ({ at, width }) => at > back && width === TOP)) - back;
  await pause(10_000);
  return { down, freeze, up, freezeUp: longestGap((await framesOf(viewer)).frames.filter(({ at }) => at > back)) };
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

try {
  console.log(`Chromium, VP8 ${CAMERA.width}x${CAMERA.height} at ${CAMERA.fps} fps in three layers, ${WIDE}bit/s and 40 ms; load ${loadavg().map((load) => load.toFixed(1)).join(' ')}`);
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
  show('return: until the largest layer', steps.map(({ up }) => up));
  show('return: longest time without a new frame', steps.map(({ freezeUp }) => freezeUp));
  show('resume: from published_layers to the first packet', await resumes(viewer, publisher));
  const { freezeCount, totalFreezesDuration } = await inboundOf(viewer, publisher);
  console.log(`all of it: ${freezeCount} freezes, ${totalFreezesDuration.toFixed(1)} s; load ${loadavg().map((load) => load.toFixed(1)).join(' ')}`);
  shaper.stop();
} finally {
  await Promise.allSettled(browsers.map((browser) => browser.close()));
  await server.stop();
}
process.exit(0);
