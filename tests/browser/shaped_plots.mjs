/**
 * Pictures, not tests: what a viewer in Chromium has over time behind a link that changes, as `tests/sim/adapt/plot.rs` draws of the simulation.
 * SWITCHYARD=target/release/switchyard tests/ns.sh node tests/browser/shaped_plots.mjs [words of a name]
 * Writes tests/.out/shaped/NAME.png, and what it drew beside it as NAME.json.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from './lib/browsers.mjs';
import { decodes, inboundOf } from './lib/flow.mjs';
import { Participant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { Shaper } from './lib/shaper.mjs';
import { until } from './lib/until.mjs';

const OUT = fileURLToPath(new URL('../.out/shaped/', import.meta.url));
const LOOK_MS = 200;
const RAMP_MS = 60_000;
/** 1970 by the clock of NTP. */
const NTP_EPOCH_MS = 2_208_988_800_000;
const TOP = 960;
const CAMERA = { width: TOP, height: (TOP * 9) / 16, fps: 15, noise: 0.2 };

/** Name, the link at first, what changes after so many seconds, and how long it is watched. */
const RUNS = [
  ['5 Mbit/s', 'rate=5M delay=20ms', [], 25],
  ['1 Mbit/s', 'rate=1M delay=20ms', [], 40],
  ['5 to 0.5 to 5 Mbit/s', 'rate=5M delay=20ms', [[15, 'rate=500k'], [35, 'rate=5M']], 55],
  ['3 Mbit/s halved', 'rate=3M delay=20ms', [[15, 'rate=1500k'], [35, 'rate=3M']], 50],
  ['somebody else takes half of 3 Mbit/s', 'rate=3M delay=20ms', [[15, 'others=1500k'], [35, 'others=0']], 50],
  ['a download beside it', 'rate=3M delay=20ms queue=100ms', [[15, 'tcp=30ms'], [45, 'tcp=off']], 60],
  ['5 percent lost', 'rate=5M delay=50ms', [[10, 'loss=0.05'], [40, 'loss=0']], 50],
  ['10 percent lost', 'rate=5M delay=50ms', [[10, 'loss=0.1'], [40, 'loss=0']], 50],
];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs in the viewer's page: notes when each frame is on screen, and its width. */
function noteFrames(selector) {
  const video = document.querySelector(`${selector} video`);
  window.testFrames = [];
  const note = (_, { width }) => {
    window.testFrames.push({ at: Date.now(), width });
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
}

/** Runs in a page with uPlot: one chart below the other. Each has series of label, stroke and points (seconds, value); `steps`: a value holds until the next. */
function drawCharts(title, seconds, charts) {
  document.body.replaceChildren(Object.assign(document.createElement('h3'), { textContent: title }));
  document.body.style = 'margin: 12px; width: 1000px; background: white; font-family: sans-serif';
  for (const { title, height, steps, series } of charts) {
    const { uPlot } = window;
    const tables = series.map(({ points }) => [points.map(([at]) => at), points.map(([, value]) => value)]);
    const lines = series.map(({ label, stroke }) => ({ label, stroke, paths: steps && uPlot.paths.stepped({ align: 1 }), spanGaps: true, points: { show: false } }));
    const scales = { x: { time: false, range: [0, seconds] }, y: { range: (_, __, max) => [0, max * 1.05 || 1] } };
    const axes = [{ values: (_, splits) => splits.map((at) => `${at} s`) }, {}];
    new uPlot({ title, width: 1000, height, scales, axes, legend: { live: false }, series: [{ label: 'time' }, ...lines] }, uPlot.join(tables), document.body);
  }
}

/** Watches one run. */
async function watch(server, browsers, [name, link, changes, seconds]) {
  const publisher = await Participant.join(browsers[0], { url: server.url, room: 'plots', index: 0, ...CAMERA });
  // A first viewer has the publisher send all layers before the link is looked at.
  const first = await Participant.join(browsers[1], { url: server.url, room: 'plots', index: 2, query: '&cam=0&mic=0&adaptive=0' });
  await decodes(first, publisher, TOP, RAMP_MS);
  await pause(5000);
  const shaper = await Shaper.start({ down: link, up: link, seed: 3 });
  const viewer = await Participant.join(browsers[1], { url: server.url, room: 'plots', index: 1, query: '&cam=0&mic=0&adaptive=0', shaper });
  const started = Date.now();
  const after = (at) => (at - started) / 1000;
  await until('a tile', () => viewer.page.$(`${viewer.tileOf(publisher)} video`));
  await viewer.page.evaluate(noteFrames, viewer.tileOf(publisher));
  const looks = { capacity: [], received: [], queue: [], late: [], estimate: [], allocated: [] };
  let over = false;
  const asked = (async () => {
    while (!over) {
      const { participants } = await (await fetch(`${server.url}/api/rooms/plots/explain`)).json();
      const { bandwidth } = participants.find(({ name: who }) => who === viewer.name) ?? {};
      if (bandwidth?.estimate) looks.estimate.push([after(Date.now()), bandwidth.estimate / 1e6]);
      if (bandwidth) looks.allocated.push([after(Date.now()), (bandwidth.allocated ?? 0) / 1e6]);
    }
  })();
  let before = null;
  await shaper.stats();
  const waiting = changes.slice();
  while (Date.now() - started < seconds * 1000) {
    await pause(LOOK_MS);
    if (waiting.length > 0 && after(Date.now()) >= waiting[0][0]) await shaper.set(`down ${waiting.shift()[1]}`);
    const { down } = await shaper.stats();
    const now = Date.now();
    looks.capacity.push([after(now), down.rate / 1e6]);
    looks.queue.push([after(now), down.queue_ms_max]);
    const { bytesReceived = 0, estimatedPlayoutTimestamp: played } = await inboundOf(viewer, publisher);
    if (before) looks.received.push([after(now), (8 * (bytesReceived - before.bytes)) / (now - before.at) / 1000]);
    if (played) looks.late.push([after(now), now - (played - NTP_EPOCH_MS)]);
    before = { at: now, bytes: bytesReceived };
  }
  over = true;
  await asked;
  const frames = await viewer.page.evaluate(() => window.testFrames);
  const { freezeCount, totalFreezesDuration } = await inboundOf(viewer, publisher);
  await Promise.all([publisher, first, viewer].map((one) => one.close()));
  shaper.stop();
  const width = frames.map(({ at, width: pixels }) => [after(at), pixels]);
  const title = `${name}: ${freezeCount} freezes of ${Math.round(1000 * totalFreezesDuration)} ms in all`;
  return { title, seconds, ...looks, width };
}

/** As PNG. */
async function draw(page, { title, seconds, capacity, estimate, allocated, received, width, late, queue }) {
  const line = (label, stroke, points) => ({ label, stroke, points });
  // A link that is never full would press all else to the ground.
  const highest = 1.25 * Math.max(...estimate.map(([, value]) => value), ...received.map(([, value]) => value));
  const capped = capacity.map(([at, value]) => [at, Math.min(value, highest)]);
  await page.evaluate(drawCharts, title, seconds, [
    {
      title: 'Mbit/s',
      height: 260,
      series: [line('capacity', '#444', capped), line('estimate', '#1f5fd0', estimate), line('allocated', '#999', allocated), line('received', '#2a9d3a', received)],
    },
    { title: 'pixels wide', height: 150, steps: true, series: [line('picture', '#7b2fbf', width)] },
    { title: 'ms', height: 180, series: [line('from capture to the screen', '#e08a00', late), line('longest in the queue of the link', '#b02020', queue)] },
  ]);
  return page.screenshot({ fullPage: true });
}

mkdirSync(OUT, { recursive: true });
const wanted = process.argv.slice(2).join(' ');
const server = await startServer(['--workers', '1']);
const browsers = [await chromium(), await chromium()];
const page = await browsers[0].newPage();
await page.setViewport({ width: 1024, height: 800 });
for (const file of ['uPlot.iife.min.js', 'uPlot.min.css']) {
  const path = fileURLToPath(new URL(`node_modules/uplot/dist/${file}`, import.meta.url));
  await (file.endsWith('.js') ? page.addScriptTag({ path }) : page.addStyleTag({ path }));
}
for (const run of RUNS.filter(([name]) => name.includes(wanted))) {
  const found = await watch(server, browsers, run);
  const file = `${OUT}${run[0].replace(/\W+/g, '_')}`;
  writeFileSync(`${file}.json`, JSON.stringify(found));
  writeFileSync(`${file}.png`, await draw(page, found));
  console.log(`${file}.png`, found.title);
}
await Promise.all(browsers.map((browser) => browser.close()));
await server.stop();
