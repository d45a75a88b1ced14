/** The way to the server is lost, and the server itself: what people see of it, and how they come back. */
import assert from 'node:assert/strict';
import { Cut } from './lib/cut.mjs';
import { framesOf, inboundOf, longestGap, watchFrames } from './lib/flow.mjs';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { startServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const CUT_MS = 10_000;
const CUT_SHORTLY_MS = 3000;
/** Of the packets meanwhile, on a machine that has other things to do. */
const LOST_MAX = 0.01;
const GAP_MS_MAX = 1000;
const BACK_MS_MAX = 5000;

const resume = scene({ apart: true });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** From now on the page notes what the room says. */
function listen(person) {
  return person.page.evaluate(() => {
    const { room } = window.switchyard;
    const heard = (window.testHeard = { mutes: [], names: [], tries: 0, back: [], peer: room.peerConnection });
    room.on('trackmuted', ({ track }) => heard.mutes.push(track.muted));
    room.on('reconnecting', () => (heard.tries += 1));
    room.on('reconnected', ({ resumed }) => heard.back.push(resumed));
  });
}

const heardBy = (person) => person.page.evaluate(() => ({ ...window.testHeard, peer: undefined, same: window.testHeard.peer === window.switchyard.room.peerConnection }));

const banner = (person) => person.page.evaluate(() => (document.getElementById('banner').hidden ? '' : document.getElementById('banner').innerText));

/** Cuts the WebSocket of somebody while another mutes and unmutes. */
async function goThroughCut(t, kind, ms) {
  const [browser, other] = [await resume.browser(kind), await resume.browser()];
  const cut = await Cut.start(resume.server.url);
  const ada = await resume.join(browser, `cut-${kind}`, 0, { url: cut.url });
  const bob = await resume.join(other, `cut-${kind}`, 1);
  await meet([ada, bob]);
  await listen(ada);
  await watchFrames(ada, bob);
  const before = await inboundOf(ada, bob);
  cut.cut();
  const lost = Date.now();
  await bob.page.waitForFunction((id) => window.switchyard.room.participants.get(id)?.state === 'reconnecting', {}, ada.id);
  const words = await until('the banner', async () => {
    const text = await banner(ada);
    return /Next try in \d+ s/.test(text) ? text : { error: text };
  });
  assert.match(words, /Sound and picture go on meanwhile[^]*Try now/);
  assert.match(await ada.page.$eval('#live', ({ innerText }) => innerText), /Sound and picture go on meanwhile/);
  const mutes = [];
  for (const muted of [true, false, true, false]) {
    await bob.page.evaluate((value) => [...window.switchyard.room.localTracks].map((track) => track.source === 'microphone' && window.switchyard.room.mute(track, value)), muted);
    mutes.push(muted);
  }
  // What is asked without a connection is done when there is one.
  await ada.page.evaluate(() => [...window.switchyard.room.localTracks].forEach((track) => track.source === 'microphone' && window.switchyard.room.mute(track)));
  await pause(ms - (Date.now() - lost));
  const after = await inboundOf(ada, bob);
  cut.restore();
  const restored = Date.now();
  await ada.click('try-now').catch(() => undefined);
  await until(`${kind} to be back`, async () => ((await heardBy(ada)).back.length > 0 ? true : { error: await banner(ada) }));
  t.diagnostic(`${kind}: back after ${Date.now() - restored} ms`);
  await until('what was missed', async () => {
    const heard = await heardBy(ada);
    return heard.mutes.length >= mutes.length ? heard : { error: 'not yet', heard };
  });
  await bob.page.waitForSelector(`${bob.tileOf(ada)} .mic-off:not([hidden])`);
  await bob.sees(ada);
  const heard = await heardBy(ada);
  assert.deepEqual([heard.mutes, heard.back, heard.same], [mutes, [true], true], 'once, in order, on the same media connection');
  assert.equal(await banner(ada), '');
  const gap = longestGap((await framesOf(ada)).frames);
  t.diagnostic(`${kind}: longest gap between pictures ${Math.round(gap)} ms`);
  assert.ok(gap <= GAP_MS_MAX, `${gap} ms between two pictures`);
  const [came, missing] = ['packetsReceived', 'packetsLost'].map((name) => after[name] - before[name]);
  assert.ok(came > ms / 100 && missing <= came * LOST_MAX, `${missing} of ${came} packets were lost meanwhile`);
  assert.ok(after.framesDecoded > before.framesDecoded + ms / 200, 'pictures go on');
  await ada.close();
  await bob.close();
}

resume.test('figure 10: the WebSocket is gone for 10 s, and all that is missed is said afterwards', (t) => goThroughCut(t, 'chromium', CUT_MS));

resume.test('figure 10: Firefox loses its WebSocket', (t) => goThroughCut(t, 'firefox', CUT_SHORTLY_MS));

resume.test('figure 12: the server is killed and started again, and everybody is back by themselves', async (t) => {
  const browser = await resume.browser();
  const people = [await resume.join(browser, 'killed', 2), await resume.join(browser, 'killed', 3)];
  await meet(people);
  await Promise.all(people.map(listen));
  process.kill(resume.server.pid, 'SIGKILL');
  resume.server = await startServer();
  const started = Date.now();
  for (const one of people) {
    await until('to be back', async () => ((await heardBy(one)).back.length > 0 ? true : { error: await banner(one) }));
    one.id = await one.page.evaluate(() => window.switchyard.room.participantId);
  }
  await people[0].sees(people[1]);
  const ms = Date.now() - started;
  await people[1].sees(people[0]);
  t.diagnostic(`media is back ${ms} ms after the start of the server`);
  assert.ok(ms < BACK_MS_MAX, `${ms} ms`);
  assert.deepEqual((await heardBy(people[0])).back, [false], 'a new server knows nobody');
});
