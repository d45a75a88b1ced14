/**
 * A meeting of two goes direct, and comes back to the server when a third comes or the direct way fails. What they
 * say to find each other is for nobody else.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const ROOM = 'two';
/** Longer than the page takes to say what it shows, and the server to act on it. */
const STILL_MS = 2000;

const direct = scene();
let browsers;
let ada;
let bob;

/** Runs in the page before its scripts: shows its addresses as one with a real camera does, and keeps its connections. */
function prepare() {
  void MediaDevices.prototype.getUserMedia.call(navigator.mediaDevices, { audio: true }).then((stream) => (window.captured = stream));
  window.connections = [];
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      window.connections.push(this);
    }
  };
}

/** Video packets that the server has forwarded since its start. */
async function forwarded() {
  const text = await (await fetch(`${direct.server.url}/metrics`)).text();
  const counts = [...text.matchAll(/^switchyard_media_forwarded_packets_total\{[^}]*kind="video"[^}]*\} (\d+)$/gm)].map(([, count]) => Number(count));
  assert.ok(counts.length > 0, 'the metric is there');
  return counts.reduce((sum, count) => sum + count);
}

const goesDirect = (person) => until(`${person.name} to be direct`, () => person.page.$eval('#go-direct', ({ ariaLabel, hidden }) => (!hidden && /through the server again/.test(ariaLabel)) || { error: ariaLabel }));
const isBack = (person) => until(`${person.name} to be back`, () => person.page.$eval('#go-direct', ({ classList }) => !classList.contains('on')));

async function agree() {
  await ada.click('go-direct');
  await bob.page.waitForSelector('.toast button');
  await bob.page.click('.toast button');
  for (const one of [ada, bob]) await goesDirect(one);
}

async function untilServerIsStill() {
  let before = await forwarded();
  await until('the server to forward no video', async () => {
    await new Promise((resolve) => setTimeout(resolve, STILL_MS));
    const now = await forwarded();
    const still = now === before;
    const answer = still || { error: now - before };
    before = now;
    return answer;
  });
}

async function untilServerForwards() {
  const before = await forwarded();
  await until('the server to forward video', async () => (await forwarded()) > before + 20);
}

/** Runs in a page that is in no room: says in a channel of the relay what somebody says who wants to be called, and keeps what comes back. */
function lurk(channel) {
  window.overheard = [];
  const relay = new WebSocket(`${location.origin.replace('http', 'ws')}/channel?room=two`);
  const say = (message) => relay.send(JSON.stringify({ channel, ...message }));
  relay.onmessage = ({ data }) => window.overheard.push(data);
  relay.onopen = () => {
    say({ open: true });
    say({ checkPresence: true });
    setInterval(() => say({ data: { from: 'eve', name: 'Eve', hello: true } }), 200);
  };
}

direct.test('two agree to go direct, and the server forwards no video any more', async () => {
  browsers = [await direct.browser(), await direct.browser()];
  ada = await direct.join(browsers[0], ROOM, 0, { before: prepare });
  assert.equal(await ada.page.$eval('#go-direct', ({ hidden }) => hidden), true, 'alone there is nobody to go direct with');
  bob = await direct.join(browsers[1], ROOM, 1, { before: prepare });
  await meet([ada, bob]);
  await untilServerForwards();
  const eve = await browsers[1].newPage();
  await eve.goto(`${direct.server.url}/healthz`);
  await eve.evaluate(lurk, 'go direct');
  await until('the relay to answer', () => eve.evaluate(() => window.overheard.length === 1));
  await agree();
  await untilServerIsStill();
  await meet([ada, bob]);
  assert.equal(await eve.evaluate(() => window.overheard.length), 1, 'whoever is in the relay besides hears nothing');
  await eve.close();
  await ada.page.setViewport({ width: 360, height: 740 });
  const overflow = await ada.page.$eval('#toolbar', ({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);
  assert.ok(overflow <= 0, `the toolbar is ${overflow} pixels too wide for a phone`);
  await ada.screenshot('go-direct-phone');
  await ada.page.setViewport({ width: 1280, height: 800 });
  await ada.screenshot('go-direct');
});

direct.test('an offer that is taken back is asked no more, and two that cross are one call', async () => {
  await ada.click('go-direct');
  for (const one of [ada, bob]) await isBack(one);
  await ada.click('go-direct');
  await bob.page.waitForSelector('.toast button');
  await ada.click('go-direct');
  await until('the question to be gone', async () => (await bob.page.$('.toast button')) === null);
  // Who clicks on the button instead says yes as well.
  await ada.click('go-direct');
  await bob.page.waitForSelector('.toast button');
  await bob.click('go-direct');
  for (const one of [ada, bob]) await goesDirect(one);
  await ada.click('go-direct');
  for (const one of [ada, bob]) await isBack(one);
  await Promise.all([ada.click('go-direct'), bob.click('go-direct')]);
  for (const one of [ada, bob]) await goesDirect(one);
  await untilServerIsStill();
});

direct.test('a camera goes off and on while direct', async () => {
  await ada.click('toggle-camera');
  await bob.page.waitForSelector(`${bob.tileOf(ada)}:not(.has-picture)`);
  await ada.click('toggle-camera');
  await bob.sees(ada);
  await untilServerIsStill();
});

direct.test('a third comes, and everybody is seen through the server', async () => {
  const eve = await direct.join(browsers[1], ROOM, 2, { before: prepare });
  for (const one of [ada, bob]) await isBack(one);
  await meet([ada, bob, eve]);
  assert.equal(await ada.page.$eval('#go-direct', ({ hidden }) => hidden), true);
  await eve.close();
  await until('two to be left', () => ada.page.$eval('#go-direct', ({ hidden }) => !hidden));
});

direct.test('the direct way fails, and the meeting goes on through the server', async () => {
  await agree();
  await untilServerIsStill();
  await bob.page.evaluate(() => window.connections.at(-1).close());
  for (const one of [ada, bob]) await isBack(one);
  await meet([ada, bob]);
  await untilServerForwards();
});

direct.test('the direct way dies in silence, and where there is none nobody gets lost', async (t) => {
  await agree();
  await untilServerIsStill();
  // What is not to or from the server is a direct way.
  const drop = 'meta l4proto udp udp sport != { 8080, 8081 } udp dport != { 8080, 8081 } drop';
  execFileSync('nft', [`table inet no_direct { chain out { type filter hook output priority 0; ${drop}; }; }`]);
  const began = performance.now();
  for (const one of [ada, bob]) await isBack(one);
  await untilServerForwards();
  t.diagnostic(`through the server again ${Math.round(performance.now() - began)} ms after the direct way had died`);
  await meet([ada, bob]);
  await ada.click('go-direct');
  await bob.page.waitForSelector('.toast button');
  await bob.page.click('.toast button');
  await until('the end of the attempt', async () => /No direct way was found|The meeting goes on through the server/.test(await ada.page.$eval('#toasts', ({ textContent }) => textContent)));
  for (const one of [ada, bob]) await isBack(one);
  execFileSync('nft', ['delete table inet no_direct']);
  await meet([ada, bob]);
  await agree();
});
