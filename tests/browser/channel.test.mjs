/** The channel relay with the clients that it is for: Socket.IO 1.x, 2.x and 4.x, and a page of that time in real browsers. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { chromium, firefox } from './lib/browsers.mjs';
import { BINARY, OUT, startServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const require = createRequire(import.meta.url);
const CLIENTS = { '1.x': 'socket.io-client-1', '2.x': 'socket.io-client-2', '3.x': 'socket.io-client-3', '4.x': 'socket.io-client' };
const PAGES = 'http://127.0.0.1:9091';

let server;
before(async () => {
  server = await startServer(['serve', '--allow-origin', PAGES]);
});
after(() => server?.stop());

/** A person with a Socket.IO client: the root namespace, that of the channel, and what comes. */
class Client {
  constructor(library, url, channel, options = {}) {
    const io = require(library);
    // A connection of its own for each person, shared by its namespaces.
    this.manager = new io.Manager(url, { reconnection: false, ...options });
    this.root = this.manager.socket('/', options);
    this.channel = this.manager.socket(`/${channel}`, options);
    this.heard = [];
    this.left = [];
    this.present = [];
    this.errors = [];
    this.channel.on('message', (data) => this.heard.push(data));
    this.channel.on('user-left', (user) => this.left.push(user));
    this.root.on('presence', (present) => this.present.push(present));
    for (const socket of [this.root, this.channel]) {
      for (const name of ['error', 'connect_error']) socket.on(name, (error) => this.errors.push(error.message ?? error));
      socket.connect();
    }
    this.root.emit('new-channel', { channel, sender: 1 });
  }

  async ready() {
    await until('both namespaces', () => (this.root.connected && this.channel.connected) || { error: this.errors });
    return this;
  }

  async sees(channel) {
    const count = this.present.length;
    this.root.emit('presence', channel);
    await until('the answer', () => this.present.length > count);
    return this.present.at(-1);
  }

  say(data) {
    this.channel.emit('message', { sender: 1, data });
  }

  close() {
    // `close` of old clients lets go of their own namespace only.
    for (const socket of [this.channel, this.root]) socket.close();
  }
}

for (const [version, library] of Object.entries(CLIENTS)) {
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`Socket.IO ${version} over ${transports.join(', then ')}: everyone else in the channel hears, and is told who left`, async () => {
      const channel = `den-${version}-${transports.length}${transports[0]}`;
      const join = async (name) => new Client(library, server.url, name, { transports }).ready();
      const [ada, eve] = [await join(channel), await join(`${channel}-other`)];
      assert.equal(await eve.sees(channel), true);
      const bob = await join(channel);
      ada.say({ sender: 'ada', text: 'é "quoted"' });
      ada.say({ sender: 'ada', text: 'second' });
      bob.say({ sender: 'bob', nested: [1, null, { a: true }] });
      await until('all to hear', () => (ada.heard.length === 1 && bob.heard.length === 2) || { error: [ada.heard, bob.heard, ada.errors] });
      assert.deepEqual(bob.heard, [{ sender: 'ada', text: 'é "quoted"' }, { sender: 'ada', text: 'second' }]);
      assert.deepEqual(ada.heard, [{ sender: 'bob', nested: [1, null, { a: true }] }]);
      ada.close();
      await until('bob to be told', () => bob.left.length > 0);
      assert.deepEqual([bob.left, eve.left, eve.heard], [['ada'], [], []]);
      bob.close();
      await until('the channel to be gone', async () => !(await eve.sees(channel)));
      eve.close();
    });
  }
}

test('wrong events get a sentence and harm no one', async () => {
  const client = await new Client(CLIENTS['4.x'], server.url, 'wrong').ready();
  const sentences = [];
  for (const socket of [client.root, client.channel]) socket.on('error', (sentence) => sentences.push(sentence));
  client.root.emit('new-channel', { sender: 1 });
  client.root.emit('message', {});
  client.channel.emit('message', 'no data');
  client.channel.emit('nonsense', 1);
  client.root.emit('presence', 'n'.repeat(300));
  await until('five sentences', () => sentences.length === 5 || { error: sentences });
  assert.ok(sentences.every((sentence) => /^[A-Z].{15,}\.$/.test(sentence)), JSON.stringify(sentences));
  assert.equal(await client.sees('wrong'), true);
  client.close();
});

test('a client that does not fetch what is for it is closed, and delays nobody', async () => {
  const address = `${server.url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(address)).text()).slice(1));
  await fetch(`${address}&sid=${sid}`, { method: 'POST', body: '40/slow,' });
  const [ada, bob, eve] = await Promise.all([0, 1, 2].map(() => new Client(CLIENTS['4.x'], server.url, 'slow').ready()));
  // Each within what may come at once, together more than may wait.
  for (let n = 0; n < 150; n++) for (const one of [ada, bob]) one.say(n);
  await until('all to come', () => eve.heard.length === 300 || { error: `${eve.heard.length} came` });
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(metrics, /^switchyard_channel_slow_readers_total\{?\}? 1$/m);
  assert.equal((await fetch(`${address}&sid=${sid}`)).status, 400);
  for (const one of [ada, bob, eve]) one.close();
});

test('who sends more than the rate allows is told, and closed', async () => {
  const client = await new Client(CLIENTS['4.x'], server.url, 'flood', { transports: ['websocket'] }).ready();
  for (let n = 0; n < 300; n++) client.say(n);
  await until('the end', () => !client.root.connected);
  assert.match(client.errors.join(), /Too many messages/);
});

test('a plain WebSocket and Socket.IO meet in one channel', async () => {
  const client = await new Client(CLIENTS['2.x'], server.url, 'mixed').ready();
  const { WebSocket } = require('ws');
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/channel`);
  const heard = [];
  socket.on('message', (data) => heard.push(JSON.parse(data)));
  await new Promise((resolve) => socket.once('open', resolve));
  socket.send(JSON.stringify({ open: true, channel: 'mixed' }));
  socket.send(JSON.stringify({ channel: 'mixed', data: 'over ws' }));
  await until('it to arrive', () => client.heard.length === 1);
  client.say({ sender: 'io', text: 'over io' });
  await until('the answer', () => heard.length === 1);
  assert.deepEqual([client.heard, heard], [['over ws'], [{ sender: 'io', text: 'over io' }]]);
  client.close();
  socket.close();
});

describe('with keys and https', () => {
  const address = 'https://127.0.0.1:8444';
  const secret = randomBytes(32).toString('base64');
  let locked;
  before(async () => {
    mkdirSync(OUT, { recursive: true });
    writeFileSync(`${OUT}channel.toml`, `[keys]\nmykey = "${secret}"\n`, { mode: 0o600 });
    locked = await startServer(['serve', '--config', `${OUT}channel.toml`, '--listen', '127.0.0.1:8444', '--tls', 'self-signed'], address);
  });
  after(() => locked?.stop());
  const token = (room) =>
    execFileSync(BINARY, ['token', '--key', 'mykey', '--room', room, '--identity', 'x'], { env: { ...process.env, SWITCHYARD_SECRET: secret } })
      .toString()
      .trim();

  for (const [version, library] of Object.entries(CLIENTS)) {
    test(`Socket.IO ${version} needs a token in its address, and is told so without`, async () => {
      const join = (query) => new Client(library, address, 'den', { transports: ['polling', 'websocket'], rejectUnauthorized: false, query });
      const [ada, bob] = [await join({ room: 'red', token: token('red') }).ready(), await join({ room: 'red', token: token('red') }).ready()];
      const other = await join({ room: 'blue', token: token('blue') }).ready();
      ada.say({ sender: 'ada' });
      await until('bob to hear', () => bob.heard.length === 1);
      assert.equal(other.heard.length, 0);
      const stranger = join({ room: 'red' });
      const sentence = await until('the sentence', () => stranger.errors.find((error) => /needs a token/.test(error)) ?? { error: stranger.errors });
      assert.ok(sentence);
      for (const client of [ada, bob, other, stranger]) client.close();
    });
  }

  test('wss: the relay is behind the same certificate', async () => {
    const { WebSocket } = require('ws');
    const join = async () => {
      const socket = new WebSocket(`wss://127.0.0.1:8444/channel?room=red&token=${token('red')}`, { rejectUnauthorized: false });
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
      socket.send(JSON.stringify({ open: true, channel: 'den' }));
      socket.send(JSON.stringify({ checkPresence: true, channel: 'den' }));
      await new Promise((resolve) => socket.once('message', resolve));
      return socket;
    };
    const [one, other] = [await join(), await join()];
    one.send(JSON.stringify({ channel: 'den', data: [1] }));
    assert.equal(String((await new Promise((resolve) => other.once('message', resolve)))), '[1]');
    one.close();
    other.close();
  });
});

describe('a page of that time, of another origin', () => {
  let pages;
  before(async () => {
    const page = readFileSync(new URL('pages/old.html', import.meta.url), 'utf8');
    const library = readFileSync(require.resolve('rtcmulticonnection/RTCMultiConnection.js'));
    const withLibrary = readFileSync(new URL('pages/rtcmulticonnection.html', import.meta.url));
    pages = createServer((request, response) => {
      if (request.url === '/library.js') return response.setHeader('content-type', 'text/javascript; charset=utf-8').end(library);
      if (request.url.startsWith('/rtcmulticonnection')) return response.setHeader('content-type', 'text/html; charset=utf-8').end(withLibrary);
      const over = new URL(request.url, PAGES).searchParams.get('over');
      const script = CLIENTS[over] ? `<script>${readFileSync(require.resolve(`${CLIENTS[over]}/dist/socket.io.js`), 'utf8').replaceAll('</script', '<\\/script')}</script>` : '';
      return response.setHeader('content-type', 'text/html; charset=utf-8').end(script + page);
    });
    await new Promise((resolve) => pages.listen(9091, '127.0.0.1', resolve));
  });
  after(() => pages?.close());

  for (const [name, launch] of [['Chromium', chromium], ['Firefox', firefox]]) {
    describe(name, () => {
      let browser;
      before(async () => {
        browser = await launch();
      });
      after(() => browser?.close());
      if (name === 'Chromium') {
        test('RTCMultiConnection 2.2.5 of 2015 opens a data session, unchanged', async () => {
          const open = async () => {
            const page = await browser.newPage();
            await page.goto(`${PAGES}/rtcmulticonnection?channel=den-of-2015&server=${encodeURIComponent(server.url)}`);
            return page;
          };
          const [one, other] = [await open(), await open()];
          await one.evaluate(() => void connection.open());
          await other.evaluate(() => void connection.connect());
          for (const page of [one, other]) await until('the session to be open', () => page.evaluate(() => opened));
          await one.evaluate(() => connection.send('hello from the one who opened it'));
          await until('the greeting', () => other.evaluate(() => received.includes('hello from the one who opened it')));
          await other.evaluate(() => connection.send('hello from the one who came'));
          await until('the answer', () => one.evaluate(() => received.includes('hello from the one who came')));
          for (const page of [one, other]) await page.close();
        });
      }
      for (const over of ['socket', ...Object.keys(CLIENTS)]) {
        test(`connects two browsers over ${over === 'socket' ? 'a WebSocket' : `Socket.IO ${over}`}, unchanged`, async () => {
          const open = async () => {
            const page = await browser.newPage();
            await page.goto(`${PAGES}/?over=${over}&channel=${name}-${over}&server=${encodeURIComponent(server.url)}`);
            await until('the channel to be open', () => page.evaluate(() => Boolean(window.conference?.socket)));
            return page;
          };
          const two = [await open(), await open()];
          for (const [index, page] of two.entries()) {
            const other = await two[1 - index].evaluate(() => window.conference.userid);
            await until('the greeting of the other', async () => {
              const states = await Promise.all([page, two[1 - index]].map((one) => one.evaluate(() => window.conference.state())));
              return states[0].received.includes(`hello from ${other}`) || { error: states };
            });
          }
          for (const page of two) await page.close();
        });
      }
    });
  }
});
