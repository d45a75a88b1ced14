/**
 * What somebody notices whose way to the server changes: a NAT that rebinds, an ICE restart, a network that is gone for five seconds.
 * SWITCHYARD=target/release/switchyard SWITCHYARD_BENCH=target/release/switchyard-bench tests/ns.sh node tests/browser/network_figures.mjs [rounds]
 */
import { chromium } from './lib/browsers.mjs';
import { framesOf } from './lib/flow.mjs';
import { connectionOf, firstFrameAfter, gapAfter, pair, restartIce } from './lib/moving.mjs';
import { Participant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { Shaper } from './lib/shaper.mjs';

const ROUNDS = Number(process.argv[2] ?? 20);
/** A round trip of 100 ms. */
const FAR = 'rate=20M delay=50ms';
const SETTLE_MS = 9000;
const BLACKOUT_MS = 5000;

const server = await startServer(['--workers', '1']);
const browsers = [];
const scene = {
  browser: async () => browsers[browsers.push(await chromium()) - 1],
  join: (browser, room, index, options = {}) => Participant.join(browser, { url: server.url, room, index, ...options }),
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function tell(what, times) {
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.min(times.length - 1, Math.floor(share * times.length))]);
  console.log(`${what}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, worst ${at(1)} ms of ${times.length}`);
}

async function rounds(what, room, act, options = {}) {
  const shaper = await Shaper.start({ down: FAR, up: FAR });
  const { home, mover } = await pair(scene, shaper, room, options);
  await connectionOf(mover);
  const [own, others] = [[], []];
  const sends = !options.query;
  for (let round = 0; round < ROUNDS; round++) {
    await pause(1000 + Math.random() * 2500);
    const both = await Promise.all([gapAfter(mover, SETTLE_MS, () => act(shaper, mover)), ...(sends ? [gapAfter(home, SETTLE_MS, async () => undefined)] : [])]);
    own.push(both[0]);
    if (sends) others.push(both[1]);
  }
  tell(`${what}, what it sees`, own);
  if (sends) tell(`${what}, what is seen of it`, others);
  const { state, same } = await connectionOf(mover);
  if (state !== 'connected' || !same) console.log(`${what}: it had to connect anew`);
  await Promise.all([home.close(), mover.close()]);
  shaper.stop();
}

/** A network that is gone for a while: from its return to the first frame. */
async function blackouts() {
  const shaper = await Shaper.start({ down: FAR, up: FAR });
  const { home, mover } = await pair(scene, shaper, 'dark');
  await connectionOf(mover);
  const firsts = [];
  for (let round = 0; round < ROUNDS; round++) {
    await pause(3000);
    await shaper.set('both loss=1');
    await pause(BLACKOUT_MS);
    const { now } = await framesOf(mover);
    await shaper.set('both loss=0');
    await pause(5000);
    firsts.push(await firstFrameAfter(mover, now));
    const { state, same } = await connectionOf(mover);
    if (state !== 'connected' || !same) console.log('blackout: it had to connect anew');
  }
  tell('a blackout of 5 s, the first frame after it', firsts);
  await Promise.all([home.close(), mover.close()]);
  shaper.stop();
}

const rebind = (shaper) => shaper.set('rebind');
const changed = async (shaper, mover) => {
  await shaper.set('rebind');
  await restartIce(mover);
};
const steps = {
  nothing: () => rounds('nothing happens', 'still', async () => undefined),
  rebind: () => rounds('a NAT rebinds', 'nat', rebind),
  viewer: () => rounds('a NAT rebinds before one who only watches', 'viewer', rebind, { query: '&cam=0&mic=0' }),
  restart: () => rounds('ICE restarts', 'restart', (shaper, mover) => restartIce(mover)),
  network: () => rounds('another network, and the browser says so', 'network', changed),
  blackout: blackouts,
};
const wanted = process.argv.slice(3);
try {
  for (const [name, step] of Object.entries(steps)) if (wanted.length === 0 || wanted.includes(name)) await step();
} finally {
  // Browsers that nobody closes go on calling each other.
  await Promise.allSettled(browsers.map((browser) => browser.close()));
  await server.stop();
}
