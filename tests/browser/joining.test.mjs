/** Waiting at the door of a room, without browsers: how it ends, and what ends it no more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Door } from '../../web-demo/client/joining.js';
import { isFinal } from '../../web-demo/client/reconnect.js';

/** Somebody at the door, as the second of those who wait. */
async function wait() {
  const [sent, places, abort] = [[], [], new AbortController()];
  const signaling = { request: async () => ({ type: 'waiting', place: 2 }), send: (type) => sent.push(type) };
  const door = new Door((place) => places.push(place));
  const entering = door.enter(signaling, { room: 'den', name: 'Ada', signal: abort.signal }, '');
  const outcome = entering.then(({ type }) => type, ({ code }) => code);
  while (places.length === 0) await new Promise(setImmediate);
  return { door, abort, sent, places, outcome };
}

test('whoever was let in is not thrown out by the signal that ends the waiting', async () => {
  const { door, abort, sent, places, outcome } = await wait();
  assert.equal(door.handle({ type: 'waiting', place: 1 }), true);
  assert.equal(door.handle({ type: 'welcome' }), true);
  assert.equal(await outcome, 'welcome');
  assert.deepEqual(places, [2, 1]);
  abort.abort();
  assert.deepEqual(sent, []);
  assert.equal(door.handle({ type: 'chat_message' }), false);
});

test('whoever does not wait any more leaves, and does not come back by itself', async () => {
  const { abort, sent, outcome } = await wait();
  abort.abort();
  const code = await outcome;
  assert.deepEqual([code, sent], ['aborted', ['leave']]);
  assert.equal(isFinal({ code }), true);
});

test('whoever is denied is told so', async () => {
  const { door, outcome } = await wait();
  door.handle({ type: 'closed', reason: 'denied', message: 'Not today.' });
  assert.equal(await outcome, 'denied');
});
