/** Publishing by WHIP and watching by WHEP, with plain `fetch` in a page that knows nothing of us. */
import assert from 'node:assert/strict';
import { emptyPage, hearsTone, otherOf, publish, seesMoving, watch } from './lib/plain.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const whip = scene();
let browser;

whip.test('a page that publishes by WHIP is seen and heard, until it deletes its session', async () => {
  browser ??= await whip.browser();
  const page = await emptyPage(browser, whip.server.url, 3);
  const { session, error } = await page.evaluate(publish, '/whip/stage');
  assert.equal(error, undefined);
  const person = await whip.join(browser, 'stage', 0);
  const publisher = await otherOf(person, 3, 'the WHIP page');
  await person.sees(publisher);
  await person.hears(publisher);
  const status = await page.evaluate(async (address) => (await fetch(address, { method: 'DELETE' })).status, session);
  assert.equal(status, 200);
  await person.misses(publisher, undefined, 3000);
  await person.close();
});

whip.test('a page that watches by WHEP sees and hears, and nobody sees it', async () => {
  const person = await whip.join(browser, 'hall', 4);
  const page = await emptyPage(browser, whip.server.url, 5);
  const answered = await until('a session', async () => {
    const answer = await page.evaluate(watch, '/whep/hall');
    // Nobody publishes yet: that is said, and asking again is right.
    return answer.status === 409 ? answer : { answer };
  });
  assert.equal(answered.answer.error, undefined);
  await seesMoving(page, 4);
  await hearsTone(page, 4);
  assert.equal((await person.page.$$('.tile:not([data-local])')).length, 0);
  // Section 4.4 of the draft: the server ends the DTLS session and sends nothing more.
  const status = await page.evaluate(async (address) => (await fetch(address, { method: 'DELETE' })).status, answered.answer.session);
  assert.equal(status, 200);
  await until('the DTLS session to end', () => page.evaluate(() => window.connection.getReceivers()[0].transport.state === 'closed'), 3000);
  await person.close();
});
