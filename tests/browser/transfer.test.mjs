/** Transfers of files without browsers: two ends, and between them a way that loses, holds back, or lies. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { Transfers } from '../../web-demo/client/transfer.js';
import { decodeChunk, encodeChunk } from '../../web-demo/client/transfer-bytes.js';
import { until } from './lib/until.mjs';

const content = new Uint8Array(500_000).map((_, at) => at * 7);
const file = (bytes = content) => new File([bytes], 'a.bin');

/** Ada and Bob. `alter` decides what becomes of a message: nothing, or others in its place. */
function pair(alter = (payload) => [payload]) {
  const ends = {};
  const said = { ada: [], bob: [] };
  for (const [own, other] of [['ada', 'bob'], ['bob', 'ada']]) {
    ends[own] = new Transfers(async (payload) => {
      said[own].push(payload);
      for (const one of alter(payload, own)) queueMicrotask(() => ends[other].handle(one, own));
    });
    ends[own].seen = [];
    ends[own].on('transfer', ({ transfer }) => {
      if (!ends[own].seen.includes(transfer)) ends[own].seen.push(transfer);
      if (!transfer.outgoing && transfer.state === 'offered') queueMicrotask(() => ends[own].accept(transfer));
    });
  }
  return { ...ends, said };
}

const reaches = (end, state) => until(`a file to be ${state}`, () => end.seen.at(-1)?.state === state || { error: end.seen.at(-1)?.state ?? 'none' });
const chunks = (said) => said.filter((payload) => typeof payload !== 'string').map(decodeChunk);
const controls = (said, type) => said.filter((payload) => typeof payload === 'string').map((text) => JSON.parse(text)).filter((control) => control.type === type);

test('a file arrives whole, and never is more on its way than a window', async () => {
  const { ada, bob, said } = pair();
  await ada.offer(file(), 'bob');
  await reaches(bob, 'done');
  await reaches(ada, 'done');
  assert.deepEqual(new Uint8Array(await bob.seen[0].blob.arrayBuffer()), content);
  assert.equal(bob.seen[0].sha256, createHash('sha256').update(content).digest('hex'));
  for (const { at, until: end } of [...controls(said.bob, 'accept'), ...controls(said.bob, 'credit')]) assert.ok(end - at <= 192 * 1024);
  assert.equal(chunks(said.ada).reduce((sum, chunk) => sum + chunk.content.length, 0), content.length);
});

test('an empty file arrives', async () => {
  const { ada, bob } = pair();
  await ada.offer(file(new Uint8Array()), 'bob');
  await reaches(ada, 'done');
  assert.equal(bob.seen[0].blob.size, 0);
});

test('what is lost in the middle is asked for once, and the file goes on', async () => {
  let count = 0;
  const { ada, bob, said } = pair((payload) => (typeof payload !== 'string' && ++count === 3 ? [] : [payload]));
  await ada.offer(file(), 'bob');
  await reaches(bob, 'done');
  assert.deepEqual(controls(said.bob, 'accept').map(({ at }) => at), [0, 2 * 32 * 1024]);
  assert.deepEqual(new Uint8Array(await bob.seen[0].blob.arrayBuffer()), content);
});

test('after silence the receiver asks, and after a loss of credit too', async () => {
  let cut = false;
  let count = 0;
  const { ada, bob } = pair((payload) => {
    cut ||= typeof payload !== 'string' && ++count === 4;
    return cut ? [] : [payload];
  });
  await ada.offer(file(), 'bob');
  await until('both to be stalled', () => (ada.seen[0].stalled && bob.seen[0]?.stalled) || { error: 'moving' });
  cut = false;
  await reaches(bob, 'done');
  await reaches(ada, 'done');
});

test('what arrives changed is not kept, and both know', async () => {
  const { ada, bob } = pair((payload) => {
    if (typeof payload === 'string') return [payload];
    const { file: id, at, content: bytes } = decodeChunk(payload);
    return [encodeChunk(id, at, bytes.map((byte) => byte ^ 1))];
  });
  await ada.offer(file(), 'bob');
  await reaches(ada, 'failed');
  assert.deepEqual([ada.seen[0].message, bob.seen[0].message, bob.seen[0].blob], ['It arrived damaged.', 'It arrived damaged.', null]);
});

test('who sends more than was asked for, or makes offers without end, is stopped', async () => {
  const answers = [];
  const bob = new Transfers(async (payload) => void answers.push(JSON.parse(payload)));
  const seen = [];
  bob.on('transfer', ({ transfer }) => seen.push(transfer));
  const offer = (id, fields) => bob.handle(JSON.stringify({ type: 'offer', file: id, name: 'a', size: 1000_000, sha256: '0'.repeat(64), ...fields }), 'eve');
  for (const wrong of [{ size: -1 }, { size: 1.5 }, { size: 257 * 1024 * 1024 }, { sha256: 'x' }, { name: 7 }]) offer(`w${answers.length}`, wrong);
  for (const text of ['no JSON', 'null', '[]', '7', '{"type":"offer"}', `{"type":"offer","file":"${'x'.repeat(65)}"}`]) bob.handle(text, 'eve');
  assert.deepEqual(answers.map(({ type }) => type), Array(5).fill('cancel'));
  for (let id = 0; id < 25; id++) offer(`f${id}`, {});
  assert.deepEqual([seen.length, answers.length], [20, 10]);
  bob.accept(seen[0]);
  bob.handle(encodeChunk('f0', 0, new Uint8Array(200_000)), 'eve');
  assert.deepEqual([seen[0].state, seen[0].message], ['failed', 'More came than was asked for.']);
  bob.handle(new Uint8Array([200, 1]), 'eve');
  bob.handle(new Uint8Array(), 'eve');
  bob.abandon('over');
});

test('offers that are made and taken back without end are not shown for ever, nor kept', () => {
  const bob = new Transfers(async () => undefined);
  const [seen, forgotten] = [new Set(), []];
  bob.on('transfer', ({ transfer }) => seen.add(transfer));
  bob.on('forgotten', ({ transfer }) => forgotten.push(transfer));
  for (let id = 0; id < 200; id++) {
    bob.handle(JSON.stringify({ type: 'offer', file: `f${id}`, name: 'a', size: 10, sha256: '0'.repeat(64) }), 'eve');
    bob.handle(JSON.stringify({ type: 'cancel', file: `f${id}` }), 'eve');
  }
  assert.deepEqual([seen.size, forgotten.length], [60, 10]);
  assert.deepEqual(forgotten, [...seen].slice(0, 10), 'the oldest');
  bob.handle(JSON.stringify({ type: 'offer', file: 'good', name: 'a', size: 10, sha256: '0'.repeat(64) }), 'ada');
  assert.equal(seen.size, 61, 'others are listened to');
});

test('an offer to somebody who comes with a new page is made again, and one to everybody to whoever comes', async () => {
  const { ada, said } = pair((payload, own) => (own === 'ada' ? [] : [payload]));
  await ada.offer(file(), 'bob');
  await ada.offer(file());
  ada.miss('bob', 'Bob has left.');
  ada.resume('bob');
  assert.equal(controls(said.ada, 'offer').length, 4);
  ada.resume('eve');
  assert.equal(controls(said.ada, 'offer').length, 5);
  ada.abandon('over');
});

test('what this browser cannot check ends for both', async () => {
  const { digest } = crypto.subtle;
  let count = 0;
  crypto.subtle.digest = (...args) => (++count === 2 ? Promise.reject(new Error('no memory')) : digest.apply(crypto.subtle, args));
  const { ada, bob } = pair();
  await ada.offer(file(), 'bob');
  await reaches(bob, 'failed');
  await reaches(ada, 'cancelled');
  crypto.subtle.digest = digest;
  assert.match(bob.seen[0].message, /too large/);
});

test('nobody takes a file that is for another, and what is taken back is taken back from all', async () => {
  const answers = [];
  const ada = new Transfers(async (payload, peer) => void answers.push([peer, typeof payload === 'string' ? JSON.parse(payload).type : 'chunk']));
  const seen = [];
  ada.on('transfer', ({ transfer }) => !seen.includes(transfer) && seen.push(transfer));
  await ada.offer(file(), 'bob');
  ada.handle(JSON.stringify({ type: 'accept', file: seen[0].id, at: 0, until: 1000 }), 'eve');
  assert.deepEqual(answers.splice(0), [['bob', 'offer'], ['eve', 'cancel']]);
  await ada.offer(file());
  for (const peer of ['bob', 'eve']) ada.handle(JSON.stringify({ type: 'accept', file: seen[1].id, at: 0, until: 1000 }), peer);
  assert.deepEqual(seen.map(({ peer, state }) => [peer, state]), [['bob', 'offered'], ['', 'offered'], ['bob', 'moving'], ['eve', 'moving']]);
  ada.cancel(seen[1]);
  assert.deepEqual(seen.map(({ state }) => state), ['offered', 'cancelled', 'cancelled', 'cancelled']);
  ada.abandon('over');
});
