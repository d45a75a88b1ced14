/** Data between a Chromium, a Firefox and aiortc through the server: who says what to whom, files of a size, and who has no channel. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { dataSpeaker } from './lib/programs.mjs';
import { until } from './lib/until.mjs';

const data = scene({ apart: true });

/** Keeps what comes; the page's room is the library's. */
const listen = (person) =>
  person.page.evaluate(() => {
    window.got = [];
    window.switchyard.room.on('data', ({ payload, topic, identity, reliable }) => {
      const text = typeof payload === 'string';
      window.got.push({ payload: text ? payload : [...payload.slice(0, 4), payload.length], topic, identity, reliable });
    });
  });

const publish = (person, payload, options) =>
  person.page.evaluate((payload, options) => window.switchyard.room.publishData(typeof payload === 'number' ? new Uint8Array(payload).fill(7) : payload, options), payload, options);

const got = (person, topic) => person.page.evaluate((topic) => window.got.filter((message) => message.topic === topic), topic);

const identityOf = (person) => person.page.evaluate(() => window.switchyard.room.identity);

/** Both of its channels are open. */
const channelled = (person) =>
  until(`${person.name} to have its channels`, () =>
    person.page.evaluate(async () => {
      const stats = await window.switchyard.room.peerConnection.getStats();
      return [...stats.values()].filter(({ type, state }) => type === 'data-channel' && state === 'open').length === 2;
    }),
  );

/** The same messages, whichever browser says them. */
async function talk(one, other) {
  const [from, to] = [await identityOf(one), await identityOf(other)];
  await publish(one, 'hello', { topic: 'chat' });
  await publish(one, 200_000, { topic: 'large', to: [to] });
  await publish(one, 'quick', { topic: 'game', reliable: false });
  await publish(one, '', { topic: 'empty' });
  for (const [topic, payload, reliable] of [
    ['chat', 'hello', true],
    ['large', [7, 7, 7, 7, 200_000], true],
    ['game', 'quick', false],
    ['empty', '', true],
  ]) {
    await until(`${other.name} to get ${topic}`, async () => (await got(other, topic)).length > 0 || { error: await got(other, topic) });
    assert.deepEqual(await got(other, topic), [{ payload, topic, identity: from, reliable }]);
  }
}

/** Channels of their own beside the library's: the label is the topic, and nothing but the payload is on them. */
async function play(one, other) {
  for (const [label, options] of [['chess', { ordered: false }], ['ping-pong', { ordered: false, maxRetransmits: 0 }]]) {
    for (const person of [one, other]) {
      await person.page.evaluate(
        (label, options) => {
          const channel = window.switchyard.room.peerConnection.createDataChannel(label, options);
          channel.binaryType = 'arraybuffer';
          channel.onmessage = ({ data }) => (channel.heard ??= []).push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
          (window.own ??= {})[label] = channel;
        },
        label,
        options,
      );
      await until(`${person.name} to have ${label}`, () => person.page.evaluate((label) => window.own[label].readyState === 'open', label));
    }
    for (const [from, to] of [[one, other], [other, one]]) {
      const heard = () => to.page.evaluate((label) => window.own[label].heard ?? [], label);
      // The server may not know yet that the other's is open, and what may be lost may be lost.
      await until(`${to.name} to hear ${label}`, async () => {
        await from.page.evaluate((label) => [`from ${label}`, new Uint8Array([1, 2, 3])].forEach((data) => window.own[label].send(data)), label);
        return (await heard()).length >= 2 || { error: await heard() };
      });
      assert.deepEqual((await heard()).slice(0, 2).sort(), [[1, 2, 3], `from ${label}`].sort());
      assert.deepEqual(await got(to, label), [], 'not on the library’s channels as well');
    }
  }
}

data.test('two Chromiums say what is small to each other', async () => {
  const people = [await data.join(await data.browser(), 'small', 0), await data.join(await data.browser(), 'small', 1)];
  for (const person of people) {
    await listen(person);
    await channelled(person);
  }
  for (const [one, other] of [people, people.toReversed()]) {
    const identity = await identityOf(one);
    await publish(one, 'hello', { topic: 'chat', to: [await identityOf(other)] });
    await publish(one, 10_000, { topic: 'bytes' });
    for (const [topic, payload] of [['chat', 'hello'], ['bytes', [7, 7, 7, 7, 10_000]]]) {
      await until(`${other.name} to get ${topic}`, async () => (await got(other, topic)).length > 0 || { error: 'nothing' });
      assert.deepEqual(await got(other, topic), [{ payload, topic, identity, reliable: true }]);
    }
  }
  for (const person of people) await person.close();
});

for (const kind of ['chromium', 'firefox']) {
  data.test(`Chromium and ${kind === 'firefox' ? 'Firefox' : 'Chromium'} talk on data channels`, async () => {
    const one = await data.join(await data.browser(), kind, 0);
    const other = await data.join(await data.browser(kind), kind, 1);
    for (const person of [one, other]) {
      await listen(person);
      await channelled(person);
    }
    await talk(one, other);
    await talk(other, one);
    await play(one, other);
    await one.close();
    await other.close();
  });
}

/** Runs in the page before its scripts: a browser whose data channels never open. */
function withoutChannels() {
  const { createDataChannel } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.createDataChannel = function (...args) {
    const channel = createDataChannel.apply(this, args);
    Object.defineProperty(channel, 'readyState', { get: () => 'connecting' });
    channel.close();
    return channel;
  };
}

data.test('a page without data channels talks over the WebSocket, with one that has them', async () => {
  const one = await data.join(await data.browser(), 'fallback', 0, { query: '&cam=0&mic=0', before: withoutChannels });
  const other = await data.join(data.browsers.at(-1), 'fallback', 1, { query: '&cam=0&mic=0' });
  for (const person of [one, other]) await listen(person);
  await channelled(other);
  for (const [from, to] of [[one, other], [other, one]]) {
    const identity = await identityOf(from);
    await publish(from, 'hello', { topic: 'chat', to: [await identityOf(to)] });
    await publish(from, 60_000, { topic: 'bytes' });
    await publish(from, 'quick', { topic: 'game', reliable: false });
    for (const [topic, payload, reliable] of [['chat', 'hello', true], ['bytes', [7, 7, 7, 7, 60_000], true], ['game', 'quick', false]]) {
      await until(`${to.name} to get ${topic}`, async () => (await got(to, topic)).length > 0 || { error: 'nothing' });
      assert.deepEqual(await got(to, topic), [{ payload, topic, identity, reliable }]);
    }
  }
  const refusal = await one.page.evaluate(() => window.switchyard.room.publishData(new Uint8Array(65 * 1024)).catch(({ code }) => code));
  assert.equal(refusal, 'bad_message');
  for (const person of [one, other]) await person.close();
});

data.test('aiortc and Chromium talk: framed on one side, by the label on the other', async () => {
  const person = await data.join(await data.browser(), 'aiortc', 0);
  await listen(person);
  await channelled(person);
  const program = dataSpeaker(data.server.url, 'aiortc');
  await program.started('id');
  await until('the page to get what aiortc says', async () => (await got(person, 'chat')).length === 1 || { error: program.errors.slice(-1000) });
  const [{ payload }] = await got(person, 'chat');
  assert.equal(payload, 'hello from aiortc');
  await publish(person, 'hello from the page', { topic: 'chat' });
  await until('aiortc to get what the page says', () => program.said.includes('hello from the page') || { error: program.errors.slice(-1000) });
  await program.end();
  await person.close();
});
