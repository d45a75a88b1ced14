/** The way of media to the server changes, or is gone for a while: nobody has to do anything. */
import assert from 'node:assert/strict';
import { Cut } from './lib/cut.mjs';
import { framesOf } from './lib/flow.mjs';
import { connectionOf, firstFrameAfter, gapAfter, pair, restartIce } from './lib/moving.mjs';
import { scene } from './lib/scene.mjs';
import { Shaper } from './lib/shaper.mjs';
import { until } from './lib/until.mjs';

/** A round trip of 100 ms. */
const FAR = 'rate=20M delay=50ms';
const SETTLE_MS = 4000;
const RESTART_MS_MAX = 1000;
/** The next check comes after up to 2.5 s, and media moves 200 ms later; the rest is the round trip, and a machine that has other things to do. */
const REBIND_MS_MAX = 4000;
const DARK_MS = 5000;
const FIRST_FRAME_MS_MAX = 1000;
const LONG_MS = 35_000;

// One worker has one media port.
const network = scene({ args: ['--workers', '1'], apart: true });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function unharmed(person) {
  const { state, same, media } = await connectionOf(person);
  assert.deepEqual([state, same, media], ['connected', true, 'connected']);
}

network.test('figure 9: ICE restarts, and a NAT rebinds: no new connection', async (t) => {
  const shaper = await Shaper.start({ down: FAR, up: FAR });
  const { home, mover } = await pair(network, shaper, 'moves');
  await connectionOf(mover);

  const restarted = await gapAfter(mover, SETTLE_MS, () => restartIce(mover));
  t.diagnostic(`ICE restart: pictures stand still for ${Math.round(restarted)} ms`);
  assert.ok(restarted <= RESTART_MS_MAX, `${restarted} ms`);
  await unharmed(mover);

  const rebound = await Promise.all([gapAfter(mover, 2 * SETTLE_MS, () => shaper.set('rebind')), gapAfter(home, 2 * SETTLE_MS, async () => undefined)]);
  t.diagnostic(`NAT rebinding: pictures stand still for ${rebound.map(Math.round).join(' and ')} ms`);
  assert.ok(Math.max(...rebound) <= REBIND_MS_MAX, `${rebound} ms`);
  await unharmed(mover);

  await Promise.all([home.close(), mover.close()]);
  shaper.stop();
});

network.test('figure 8: the network is gone for 5 s: no new connection', async (t) => {
  const shaper = await Shaper.start({ down: FAR, up: FAR });
  const { home, mover } = await pair(network, shaper, 'dark');
  await connectionOf(mover);
  await shaper.set('both loss=1');
  await pause(DARK_MS);
  const { now } = await framesOf(mover);
  await shaper.set('both loss=0');
  const first = await until('a frame after the darkness', async () => (await firstFrameAfter(mover, now)) || { error: 'none yet' });
  t.diagnostic(`5 s without a network: the first frame ${Math.round(first)} ms after it`);
  assert.ok(first <= FIRST_FRAME_MS_MAX, `${first} ms`);
  await mover.sees(home);
  await home.sees(mover);
  await unharmed(mover);
  await Promise.all([home.close(), mover.close()]);
  shaper.stop();
});

network.test('figure 8: nothing gets through for 35 s, and the library joins again by itself', async (t) => {
  const shaper = await Shaper.start({ down: FAR, up: FAR });
  const cut = await Cut.start(network.server.url);
  const { home, mover } = await pair(network, shaper, 'long', { url: cut.url });
  const before = await connectionOf(mover);
  await shaper.set('both loss=1');
  cut.cut();
  await pause(LONG_MS);
  const { now } = await framesOf(mover);
  await shaper.set('both loss=0');
  cut.restore();
  const back = await until('to be back in the room', async () => {
    const seen = await connectionOf(mover);
    return seen.state === 'connected' && seen.media === 'connected' ? seen : { error: 'not yet', seen };
  });
  t.diagnostic(`back ${Math.round((await framesOf(mover)).now - now)} ms after the network`);
  assert.equal(back.same, false, 'media was set up anew');
  mover.id = back.id;
  await mover.sees(home);
  await home.sees(mover);
  assert.equal(await home.page.evaluate(() => window.switchyard.room.participants.size), 1, 'nobody is there twice');
  t.diagnostic(before.id === back.id ? 'the same participant' : 'a new participant');
  await Promise.all([home.close(), mover.close()]);
  shaper.stop();
});
