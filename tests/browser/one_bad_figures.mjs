/**
 * Figures, not tests: many viewers in Chromium of one publisher in Chromium, and one of them whose link becomes bad; what the others and
 * the publisher notice of it. All decode what they get, so it needs a quiet machine.
 * SWITCHYARD=target/release/switchyard SWITCHYARD_BENCH=target/release/switchyard-bench tests/ns.sh node tests/browser/one_bad_figures.mjs [rounds]
 * VIEWERS=50: of whom one has the bad link. BAD='rate=250k delay=20ms loss=0.05': that link. FPS=10: of the publisher's camera.
 */
import { loadavg } from 'node:os';
import { chromium } from './lib/browsers.mjs';
import { outboundOf } from './lib/flow.mjs';
import { Participant } from './lib/participant.mjs';
import { emptyPage } from './lib/plain.mjs';
import { startServer } from './lib/server.mjs';
import { Shaper, leadThrough } from './lib/shaper.mjs';
import { until } from './lib/until.mjs';

const ROUNDS = Number(process.argv[2] ?? 3);
const VIEWERS = Number(process.env.VIEWERS ?? 50);
const GOOD = 'rate=20M delay=20ms loss=0';
const BAD = process.env.BAD ?? 'rate=250k delay=20ms loss=0.05';
const CAMERA = { width: 960, height: 540, fps: Number(process.env.FPS ?? 10), noise: 0.2 };
const WINDOW_MS = 15_000;
const SETTLE_MS = 60_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs in a page: so many WHEP viewers, each with a connection of its own; decoded without being shown. */
async function watchAll(count) {
  const watch = async () => {
    const connection = new RTCPeerConnection();
    connection.addTransceiver('video', { direction: 'recvonly' });
    connection.addTransceiver('audio', { direction: 'recvonly' });
    await connection.setLocalDescription();
    const answer = await fetch('/whep/show', { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: connection.localDescription.sdp });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    await connection.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    return connection;
  };
  window.viewers = [];
  for (let index = 0; index < count; index++) window.viewers.push(await watch());
}

/** Counters of every viewer of a page. */
const counters = (page) =>
  page.evaluate(() =>
    Promise.all(
      window.viewers.map(async (connection) => {
        const found = [...(await connection.getStats()).values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
        const { timestamp, framesDecoded = 0, frameWidth = 0, bytesReceived = 0, totalFreezesDuration = 0, jitterBufferDelay = 0, jitterBufferEmittedCount = 0 } = found ?? {};
        return { timestamp, framesDecoded, frameWidth, bytesReceived, totalFreezesDuration, jitterBufferDelay, jitterBufferEmittedCount };
      }),
    ),
  );

const server = await startServer(['--workers', '1']);
const browsers = [await chromium(), await chromium(), await chromium()];

/** One window: what each viewer of a page got in it, and in how much of it the largest picture. */
async function watched(page) {
  const before = await counters(page);
  const widths = before.map(() => []);
  for (const end = performance.now() + WINDOW_MS; performance.now() < end; await pause(1000)) (await counters(page)).forEach(({ frameWidth }, index) => widths[index].push(frameWidth));
  return (await counters(page)).map((after, index) => {
    const grown = (name) => after[name] - before[index][name];
    return {
      fps: (1000 * grown('framesDecoded')) / grown('timestamp'),
      kbps: (8 * grown('bytesReceived')) / grown('timestamp'),
      frozen: grown('totalFreezesDuration'),
      buffered: (1000 * grown('jitterBufferDelay')) / Math.max(1, grown('jitterBufferEmittedCount')),
      top: widths[index].filter((width) => width === CAMERA.width).length / widths[index].length,
      width: after.frameWidth,
    };
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const least = (values) => Math.min(...values);
const most = (values) => Math.max(...values);

function tell(what, others, [bad], sent) {
  const of = (name) => others.map((one) => one[name]);
  const layers = sent.map(({ rid, kbps, keyframes, fps, asked }) => `${rid} ${Math.round(kbps)} at ${fps.toFixed(1)} fps with ${keyframes} keyframes, ${asked} asked for`).join('; ');
  console.log(
    `${what}: the others ${median(of('fps')).toFixed(2)} fps (least ${least(of('fps')).toFixed(2)}), ${Math.round(median(of('kbps')))} kbit/s (least ${Math.round(least(of('kbps')))}), ` +
      `the largest picture ${(100 * least(of('top'))).toFixed(0)} % of the time or more, frozen ${most(of('frozen')).toFixed(2)} s at most (${of('frozen').filter((time) => time > 0).length} of ${others.length}), in the jitter buffer ${Math.round(median(of('buffered')))} ms (most ${Math.round(most(of('buffered')))}); ` +
      `the publisher sends ${Math.round(sent.reduce((sum, { kbps }) => sum + kbps, 0))} kbit/s (${layers}); ` +
      `the one ${bad.fps.toFixed(2)} fps, ${bad.width} wide, frozen ${bad.frozen.toFixed(2)} s; load ${loadavg()[0].toFixed(1)}`,
  );
}

try {
  const publisher = await Participant.join(browsers[0], { url: server.url, room: 'show', index: 0, ...CAMERA });
  const many = await emptyPage(browsers[1], server.url, 1);
  const shaper = await Shaper.start({ down: GOOD, up: GOOD });
  const one = await (await browsers[2].createBrowserContext()).newPage();
  await one.evaluateOnNewDocument(leadThrough, shaper.port);
  await one.goto(`${server.url}/healthz`);
  await one.evaluate(watchAll, 1);
  await many.evaluate(watchAll, VIEWERS - 1);
  for (const page of [many, one]) {
    await until('the largest picture everywhere', async () => {
      const widths = (await counters(page)).map(({ frameWidth }) => frameWidth);
      return widths.every((width) => width === CAMERA.width) || { error: widths.join(' ') };
    }, SETTLE_MS);
  }
  const sentBy = async () => (await outboundOf(publisher)).toSorted((a, b) => (a.rid < b.rid ? -1 : 1));
  const window = async (what) => {
    const before = await sentBy();
    const [others, bad] = await Promise.all([watched(many), watched(one)]);
    const sent = (await sentBy()).map((after, index) => {
      const grown = (name) => (after[name] ?? 0) - (before[index][name] ?? 0);
      return { rid: after.rid, kbps: (8 * grown('bytesSent')) / grown('timestamp'), fps: (1000 * grown('framesEncoded')) / grown('timestamp'), keyframes: grown('keyFramesEncoded'), asked: grown('pliCount') + grown('firCount') };
    });
    tell(what, others, bad, sent);
  };
  console.log(`Chromium, ${VIEWERS} viewers of ${CAMERA.width}x${CAMERA.height} at ${CAMERA.fps} fps in three layers, one of them then behind ${BAD}`);
  await pause(10_000);
  for (let round = 0; round < ROUNDS; round++) {
    await window('good links');
    await shaper.set(`both ${BAD}`);
    // The cut itself belongs to it.
    await window('one is bad, at first');
    await window('one is bad, later');
    await shaper.set(`both ${GOOD}`);
    await window('and good again');
  }
  shaper.stop();
} finally {
  await Promise.allSettled(browsers.map((browser) => browser.close()));
  await server.stop();
}
process.exit(0);
