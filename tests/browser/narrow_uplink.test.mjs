/** A publisher in Chromium whose uplink has no room for the least that one encoding among several takes: the small ones that rest are ended, so that the large one goes on. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { decodes, framesOf, ridsOf, watchFrames } from './lib/flow.mjs';
import { scene } from './lib/scene.mjs';
import { Shaper } from './lib/shaper.mjs';
import { until } from './lib/until.mjs';

/** The encoder and its estimate of the way to the server need time for the largest layer. */
const RAMP_MS = 60_000;
/** libwebrtc gives an encoding of 960x540 among several at least 350 kbit/s. */
const NARROW = 'up rate=250k delay=20ms';
const WIDE = 'up rate=5M delay=20ms';
/** What is shown may stand still for so long, of which the cut itself takes a second. */
const STILL_MS_MAX = 4000;

// One worker has one media port.
const narrow = scene({ args: ['--workers', '1'] });

/** What of the camera's encodings is not ended, lowest first. */
const activeOf = (publisher) =>
  publisher.page.evaluate(() => {
    const { sender } = [...window.switchyard.room.localTracks].find(({ source }) => source === 'camera').transceiver;
    return sender.getParameters().encodings.map(({ rid, active }) => (active ? rid : '-')).join('');
  });

narrow.test('a picture goes on when the uplink of its camera becomes too narrow for layers', async (t) => {
  const shaper = await Shaper.start({ down: 'rate=5M delay=20ms', up: 'rate=5M delay=20ms' });
  const publisher = await narrow.join(await narrow.browser(), 'uplink', 0, { width: 960, height: 540, fps: 15, noise: 0.2, shaper });
  const viewer = await narrow.join(await narrow.browser(), 'uplink', 1, { query: '&cam=0&mic=0&adaptive=0' });
  await decodes(viewer, publisher, 960, RAMP_MS);
  const becomes = (active, deadlineMs) =>
    until(`${active} to be active, and only the largest to be sent`, async () => {
      const found = [await activeOf(publisher), (await ridsOf(publisher)).join('')];
      return found.join() === `${active},f` ? found : { error: found.join() };
    }, deadlineMs);
  await becomes('qhf');
  await watchFrames(viewer, publisher);

  await shaper.set(NARROW);
  const cut = await viewer.page.evaluate(() => performance.now());
  await becomes('--f');
  await pause(STILL_MS_MAX);
  const { now, frames } = await framesOf(viewer);
  const times = [...frames.map(({ at }) => at).filter((at) => at > cut), now];
  const longest = times.reduce(({ gap, last }, at) => ({ gap: Math.max(gap, at - last), last: at }), { gap: 0, last: cut }).gap;
  t.diagnostic(`the picture stood still for ${Math.round(longest)} ms at most`);
  assert.ok(longest < STILL_MS_MAX, `${longest} ms`);

  await shaper.set(WIDE);
  await becomes('qhf', RAMP_MS);
  await decodes(viewer, publisher, 960, RAMP_MS);
});
