/** What a page shows decides what its server sends and what the publisher sends: of a picture that is shown small a small layer, of a hidden one nothing. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { outboundOf, ridsOf } from './lib/flow.mjs';
import { recordFrames } from './lib/frames.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

/** Chromium needs time to find the bandwidth of the largest layer. */
const RAMP_MS = 60_000;
/** What nobody watches is not sent any more after that. */
const REST_MS = 2000;

const adaptive = scene({ apart: true });

function sends(publisher, rids) {
  return until(`${publisher.name} to send ${rids.join(', ') || 'nothing'}`, async () => {
    const sent = await ridsOf(publisher);
    return sent.sort().join() === [...rids].sort().join() ? { sent } : { error: sent };
  });
}

/** The status of somebody's camera as the viewer's page knows it. */
function status(viewer, publisher, what, condition) {
  return until(`a status ${what}`, async () => {
    const found = await viewer.page.evaluate((id) => {
      const tracks = [...window.switchyard.room.participants.get(id).tracks.values()];
      return tracks.find(({ source }) => source === 'camera').status;
    }, publisher.id);
    return found && condition(found) ? found : { error: 'not yet', found };
  });
}

for (const kind of ['chromium', 'firefox']) {
  adaptive.test(`what is small or hidden in ${kind} is not sent in full, and comes back`, async (t) => {
    const room = `media-${kind}`;
    const publisher = await adaptive.join(await adaptive.browser(), room, 0, { width: 1280, height: 720 });
    await sends(publisher, []);
    const viewer = await adaptive.join(await adaptive.browser(kind), room, 1);
    const { page } = viewer;
    const tile = viewer.tileOf(publisher);
    await page.setViewport({ width: 1600, height: 1000 });
    await page.evaluate((selector) => (document.querySelector(selector).style = 'width: 1280px; height: 720px'), tile);
    await viewer.sees(publisher, { width: 1280, deadlineMs: RAMP_MS });
    await status(viewer, publisher, 'without a limit', ({ limit, shown }) => limit === 'none' && shown?.width === 1280);

    await page.evaluate((selector) => (document.querySelector(selector).style = 'width: 320px; height: 180px'), tile);
    await viewer.sees(publisher, { width: 320 });
    const small = await status(viewer, publisher, 'of a small picture', ({ limit }) => limit === 'viewport');
    assert.equal(small.shown.width, 320);
    await sends(publisher, ['q']);

    await page.evaluate((selector) => (document.querySelector(selector).style = 'display: none'), tile);
    await sends(publisher, []);

    const shownAt = performance.now();
    await page.evaluate((selector) => (document.querySelector(selector).style = 'width: 1280px; height: 720px'), tile);
    await viewer.sees(publisher);
    t.diagnostic(`a picture again after ${Math.round(performance.now() - shownAt)} ms`);
    await viewer.sees(publisher, { width: 1280, deadlineMs: RAMP_MS });
  });
}

/** Chromium begins all encodings of a camera anew when one is switched on or off. */
adaptive.test('a small layer comes and goes without the large one beginning anew', async (t) => {
  const publisher = await adaptive.join(await adaptive.browser(), 'silent', 0, { width: 1280, height: 720 });
  const viewers = [];
  for (const index of [1, 2]) viewers.push(await adaptive.join(await adaptive.browser(), 'silent', index));
  const shows = (viewer, style) => viewer.page.evaluate((selector, text) => (document.querySelector(selector).style = text), viewer.tileOf(publisher), style);
  const [large, small] = viewers;
  await large.page.setViewport({ width: 1600, height: 1000 });
  await shows(large, 'width: 1280px; height: 720px');
  await shows(small, 'display: none');
  await large.sees(publisher, { width: 1280, deadlineMs: RAMP_MS });
  await sends(publisher, ['f']);
  /** Where the publisher takes its uplink for a limit: in its browser's counters, in what the client library makes of them, and in the toolbar. Its processor may be one. */
  const limits = () =>
    publisher.page.evaluate(async () => {
      const { room } = window.switchyard;
      const { id, transceiver } = [...room.localTracks].find(({ source }) => source === 'camera');
      const encodings = [...(await transceiver.sender.getStats()).values()].filter(({ type }) => type === 'outbound-rtp');
      const limited = encodings.flatMap(({ rid, qualityLimitationReason }) => (qualityLimitationReason === 'bandwidth' ? [rid] : []));
      return { limited, read: (await room.getStats(id)).limitation === 'bandwidth', shown: /picture in full/.test(document.querySelector('#open-network').ariaLabel) };
    });
  await publisher.page.evaluate(recordFrames);
  const counters = async () => Object.fromEntries((await outboundOf(publisher)).map((one) => [one.rid, one]));
  const keyframes = [];
  for (let turn = 0; turn < 2; turn++) {
    await shows(small, 'width: 320px; height: 180px');
    await sends(publisher, ['q', 'f']);
    await small.sees(publisher, { width: 320 });
    await pause(REST_MS);
    const before = await counters();
    await shows(small, 'display: none');
    await sends(publisher, ['f']);
    await pause(REST_MS);
    const rests = await counters();
    await pause(REST_MS);
    const after = await counters();
    keyframes.push(after.f.keyFramesEncoded - before.f.keyFramesEncoded);
    for (const rid of ['q', 'h']) assert.equal(after[rid].bytesSent, rests[rid].bytesSent, `${rid} sends nothing`);
    assert.ok(after.f.framesEncoded > rests.f.framesEncoded);
    assert.deepEqual(Object.values(after).map(({ active }) => active), [true, true, true], 'none of them was ended');
    assert.deepEqual(await limits(), { limited: [], read: false, shown: false }, 'one that rests is not limited');
  }
  t.diagnostic(`keyframes of the large one when the small one went: ${keyframes.join(', ')}`);
  assert.deepEqual(keyframes, [0, 0]);
  const told = await publisher.page.evaluate(() => window.testFrames.sent.filter(({ type, reason }) => type === 'track_limited' && reason === 'bandwidth'));
  assert.deepEqual(told, []);
});
