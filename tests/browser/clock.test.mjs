/** The server's wall clock jumps by an hour, forth and back, while people talk: only what tokens say about time sees it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { Cut } from './lib/cut.mjs';
import { framesOf, longestGap, watchFrames } from './lib/flow.mjs';
import { connectionOf } from './lib/moving.mjs';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { BINARY, OUT } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { WallClock } from './lib/wall-clock.mjs';

const HOUR = 3600;
const AFTER_MS = 6000;
const GAP_MS_MAX = 1000;

const SECRET = randomBytes(32).toString('base64');
const CONFIG = `${OUT}clock.toml`;
mkdirSync(OUT, { recursive: true });
writeFileSync(CONFIG, `[keys]\nmykey = "${SECRET}"\n`, { mode: 0o600 });

const clock = new WallClock();
const jumps = scene({ args: ['serve', '--config', CONFIG], env: clock.env });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A token of ten minutes, made by the server's clock. */
function token(identity, more = []) {
  const args = ['token', '--key', 'mykey', '--room', 'time', '--identity', identity, '--name', identity, '--ttl', '10m', ...more];
  return execFileSync(BINARY, args, { env: { ...process.env, ...clock.env, SWITCHYARD_SECRET: SECRET } }).toString().trim();
}

/** What a new socket with this token is told. */
function tryToJoin(person, token) {
  return person.page.evaluate(
    (token, url) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`);
        socket.onopen = () => socket.send(JSON.stringify({ type: 'join', request: 1, version: 1, room: 'time', name: 'Eve', token }));
        socket.onerror = () => reject(new Error('no socket'));
        socket.onmessage = ({ data }) => {
          const { type, message = '' } = JSON.parse(data);
          socket.close();
          resolve(`${type} ${message}`);
        };
      }),
    token,
    jumps.server.url,
  );
}

/** When the server says that the last report of the other's picture was sent. */
function reportTime(person) {
  return person.page.evaluate(async () => {
    const report = [...(await window.switchyard.room.peerConnection.getStats()).values()];
    const { remoteTimestamp } = report.find(({ type, kind }) => type === 'remote-outbound-rtp' && kind === 'video') ?? {};
    return { at: performance.now(), remoteTimestamp };
  });
}

/** Sets the clock; pictures and reports go on as if nothing had happened. */
async function jump(t, seconds, viewers) {
  const before = await until('a report', async () => {
    const time = await reportTime(viewers[0]);
    return time.remoteTimestamp ? time : { error: 'none yet' };
  });
  clock.set(seconds);
  await pause(AFTER_MS);
  const after = await reportTime(viewers[0]);
  const passed = after.remoteTimestamp - before.remoteTimestamp;
  const elapsed = after.at - before.at;
  assert.ok(passed > 0 && Math.abs(passed - elapsed) < 4000, `${passed} ms between two reports, ${elapsed} ms between two looks`);
  for (const viewer of viewers) {
    const { now, frames } = await framesOf(viewer);
    const gap = longestGap([...frames, { at: now }]);
    t.diagnostic(`${seconds} s: longest gap between ${viewer.name}'s pictures ${Math.round(gap)} ms`);
    assert.ok(gap <= GAP_MS_MAX, `${gap} ms between two pictures of ${viewer.name}'s`);
    const { state, same, media } = await connectionOf(viewer);
    assert.deepEqual([state, same, media], ['connected', true, 'connected']);
  }
}

jumps.test('figure 19: media goes on, and tokens are judged by the clock as it is', async (t) => {
  const cut = await Cut.start(jumps.server.url);
  const browser = await jumps.browser();
  const ada = await jumps.join(browser, 'time', 0, { url: cut.url, query: `&token=${token('ada')}` });
  const bob = await jumps.join(browser, 'time', 1, { query: `&token=${token('bob')}` });
  const people = [ada, bob];
  await meet(people);
  await watchFrames(ada, bob);
  await watchFrames(bob, ada);
  await Promise.all(people.map(connectionOf));
  const old = token('eve');

  await jump(t, HOUR, people);
  assert.match(await tryToJoin(bob, old), /^error .*expired/);
  assert.match(await tryToJoin(bob, token('eve')), /^welcome/);
  await ada.page.evaluate((token) => window.switchyard.room.renew(token), token('ada', ['--metadata', 'renewed']));
  await until('the news of the renewal', () => bob.page.evaluate(() => [...window.switchyard.room.participants.values()].some(({ metadata }) => metadata === 'renewed')));

  // How long a lost socket may be away is not a matter of this clock: it is lost before a jump and is back after it.
  const lost = ada.page.evaluate(() => new Promise((resolve) => window.switchyard.room.on('reconnected', ({ resumed }) => resolve(resumed))));
  cut.cut();
  await until('Ada to be missed', () => bob.page.evaluate(() => [...window.switchyard.room.participants.values()].some(({ state }) => state === 'reconnecting')));
  await jump(t, -HOUR, [bob]);
  cut.restore();
  await ada.page.evaluate(() => window.switchyard.room.reconnectNow());
  assert.equal(await lost, true, 'resumed');
  for (const one of [old, token('eve')]) assert.match(await tryToJoin(bob, one), /^welcome/);

  await jump(t, 0, people);
  assert.match(await tryToJoin(bob, old), /^welcome/);
  await ada.sees(bob);
  await bob.hears(ada);
});
