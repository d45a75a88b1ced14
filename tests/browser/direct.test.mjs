/** Direct calls: two browsers find each other through the relay, then talk without the server, also through coturn. */
import assert from 'node:assert/strict';
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { after, before } from 'node:test';
import { startCoturn, TURN_ADDRESS } from './lib/coturn.mjs';
import { captureSomething, hears, reaches, sees, stat, state, text } from './lib/direct.mjs';
import { scene } from './lib/scene.mjs';
import { OUT } from './lib/server.mjs';
import { readTone } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const SECRET = randomBytes(16).toString('hex');
const FILE_BYTES = 20_000_000;
mkdirSync(OUT, { recursive: true });
const servers = `[[ice_servers]]\nurls = ["stun:${TURN_ADDRESS}"]\n[[ice_servers]]\nurls = ["turn:${TURN_ADDRESS}?transport=udp"]\nsecret = "${SECRET}"\n`;
writeFileSync(`${OUT}direct.toml`, servers, { mode: 0o600 });
const content = randomBytes(FILE_BYTES);
const checksum = createHash('sha256').update(content).digest('hex');
writeFileSync(`${OUT}twenty-megabytes.bin`, content);

let coturn;
before(async () => {
  coturn = await startCoturn(SECRET);
});
const direct = scene({ args: ['serve', '--config', `${OUT}direct.toml`] });
after(() => coturn?.stop());

const hidden = (person, selector) => person.page.$eval(selector, (element) => element.hidden);

async function join(browser, room, index, query = '') {
  return direct.open(browser, `/direct?room=${room}&name=P${index}&autostart=1${query}`, { index, before: captureSomething });
}

async function call(browsers, room, query) {
  const ada = await join(browsers[0], room, 0, query);
  await reaches(ada, 'waiting');
  const bob = await join(browsers[1], room, 1, query);
  for (const one of [ada, bob]) await reaches(one, 'connected');
  return [ada, bob];
}

async function chat(from, to, words) {
  await from.page.type('#chat-text', words);
  await from.page.keyboard.press('Enter');
  await until(`${to.name} to read ${words}`, async () => (await text(to, '#messages')).includes(words));
}

async function offer(from, to) {
  const rows = (await to.page.$$('#transfers li')).length;
  const input = await from.page.$('#file');
  await input.uploadFile(`${OUT}twenty-megabytes.bin`);
  await until('the offer', async () => (await to.page.$$('#transfers li')).length > rows);
}

/** The last file in somebody's list. */
const lastFile = (person) =>
  person.page.$eval('#transfers li:last-child', (row) => ({ ...row.dataset, text: row.innerText, moved: row.querySelector('progress').value }));
const press = (person, action) => person.page.click(`#transfers li:last-child [data-action="${action}"]`);

/** Runs in the page: clicks as soon as some of the last file has moved; returns how much. From outside, all of it may have moved by then. */
function clickOnceItMoves(selector) {
  const row = document.querySelector('#transfers li:last-child');
  const progress = row.querySelector('progress');
  return new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      if (progress.value === 0) return;
      observer.disconnect();
      document.querySelector(selector).click();
      resolve(progress.value);
    }).observe(row, { subtree: true, childList: true, attributes: true, characterData: true });
  });
}

async function send(from, to) {
  await offer(from, to);
  const began = performance.now();
  await press(to, 'accept');
  for (const one of [from, to]) {
    await until(`the file at ${one.name}`, async () => {
      const file = await lastFile(one);
      return file.state === 'done' || { error: file };
    }, 120_000);
    assert.equal((await lastFile(one)).sha256, checksum);
  }
  assert.equal((await lastFile(to)).moved, FILE_BYTES);
  const saved = await to.page.$eval('#transfers li:last-child a', ({ href, download }) => ({ scheme: new URL(href).protocol, download }));
  assert.deepEqual(saved, { scheme: 'blob:', download: 'twenty-megabytes.bin' });
  return Math.round(performance.now() - began);
}

async function allStagesAreDone(person) {
  await until(`all stages to be done at ${person.name}`, async () => {
    const stages = await person.page.$$eval('#stages > li', (items) => items.map(({ dataset }) => `${dataset.stage} ${dataset.progress}`));
    return stages.every((stage) => stage.endsWith(' done')) || { error: stages };
  });
  assert.match(await stat(person, 'signaling', 'State'), /agree/);
  await until('the rate', () => stat(person, 'communicating', 'Rate'));
}

const browsers = {};
let ada;
let bob;

direct.test('two Chromiums call each other: picture, sound, and the four stages of it', async () => {
  browsers.chromium = [await direct.browser(), await direct.browser()];
  [ada, bob] = await call(browsers.chromium, 'den');
  for (const [one, other] of [[ada, bob], [bob, ada]]) {
    await sees(one, other);
    await hears(one, other);
    await allStagesAreDone(one);
    assert.match(await stat(one, 'connecting', 'Chosen pair'), /^(host|prflx|srflx) udp 10\.99\.0\.1:\d+ ↔ (host|prflx|srflx) udp/);
    assert.match(await stat(one, 'securing', 'Version'), /^DTLS 1\.[23]$/);
    assert.match(await stat(one, 'securing', 'SRTP profile'), /AES/);
    await until('the codecs', async () => {
      const media = await stat(one, 'communicating', 'Media in');
      return /opus/i.test(media) || { error: media };
    });
  }
  await ada.screenshot('direct-ada');
});

direct.test('the page fits a phone, light and dark, and every control has a name', async () => {
  for (const [name, scheme, viewport] of [['phone-dark', 'dark', { width: 390, height: 844 }], ['desktop-dark', 'dark', { width: 1280, height: 1000 }], ['phone', 'light', { width: 390, height: 844 }]]) {
    await ada.page.setViewport(viewport);
    await ada.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    const overflow = await ada.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `${name}: ${overflow} pixels too wide`);
    await ada.page.screenshot({ path: `${OUT}direct-${name}.png`, fullPage: true });
  }
  const nameless = await ada.page.$$eval('button, input, a', (all) =>
    all.filter((one) => one.checkVisibility() && !one.innerText.trim() && !one.ariaLabel && !one.labels?.length).map(({ outerHTML }) => outerHTML),
  );
  assert.deepEqual(nameless, []);
  await ada.page.setViewport({ width: 1280, height: 800 });
});

direct.test('they write to each other', async () => {
  await chat(ada, bob, 'Hello <b>Bob</b>');
  await chat(bob, ada, 'Hello Ada');
});

direct.test('20 MB arrive with an equal checksum', async (t) => {
  t.diagnostic(`20 MB between two Chromiums: ${await send(ada, bob)} ms`);
});

direct.test('either side cancels a file on its way, and the next one arrives whole', async () => {
  for (const [who, other, words] of [[bob, ada, /does not want it/], [ada, bob, /cancelled it/]]) {
    await offer(ada, bob);
    const cancelled = who.page.evaluate(clickOnceItMoves, '#transfers li:last-child [data-action="cancel"]');
    await press(bob, 'accept');
    const moved = await cancelled;
    assert.ok(moved > 0 && moved < FILE_BYTES, `${moved}`);
    await until('both to say so', async () => (await lastFile(ada)).state === 'cancelled' && (await lastFile(bob)).state === 'cancelled');
    assert.match((await lastFile(other)).text, words);
  }
  await offer(ada, bob);
  await press(bob, 'cancel');
  await until('the refusal to arrive', async () => (await lastFile(ada)).state === 'cancelled');
  await send(ada, bob);
});

direct.test('a screen is shared beside the camera, and taken back', async () => {
  await bob.click('toggle-screen');
  await sees(ada, bob, 'screen');
  await sees(ada, bob);
  await ada.screenshot('direct-screen');
  await bob.click('toggle-screen');
  await until('the screen to be gone', () => hidden(ada, '#remote-screen'));
  await sees(ada, bob);
});

direct.test('a camera goes off and on, a microphone too', async () => {
  await ada.click('toggle-camera');
  await until('no picture', () => hidden(bob, '#remote-camera'));
  await ada.click('toggle-mic');
  await until('silence', async () => (await bob.page.evaluate(readTone, '#remote-camera')).level < -70);
  await ada.click('toggle-mic');
  await ada.click('toggle-camera');
  await sees(bob, ada);
  await hears(bob, ada);
});

direct.test('both change something in the same moment, and still agree', async () => {
  await Promise.all([ada.click('toggle-screen'), bob.click('toggle-screen')]);
  await sees(ada, bob, 'screen');
  await sees(bob, ada, 'screen');
  await Promise.all([ada.click('toggle-screen'), bob.click('toggle-screen')]);
  for (const one of [ada, bob]) await until('the screen to be gone', () => hidden(one, '#remote-screen'));
});

/** Runs in the page: the relay is away, and every try to come back to it ends with this code, until `cameBack` is called. */
function loseRelay(code) {
  const Real = window.WebSocket;
  window.WebSocket = class {
    constructor() {
      setTimeout(() => this.onclose({ code }));
    }
    close() {}
  };
  window.cameBack = () => (window.WebSocket = Real);
  window.sockets.at(-1).close();
}

direct.test('what is changed while one of them is away from the relay reaches the other afterwards', async () => {
  for (const [away, sharing, watching] of [[ada, ada, bob], [ada, bob, ada]]) {
    await away.page.evaluate(loseRelay, 1006);
    await until('the relay to be away', () => away.page.evaluate(() => window.sockets.at(-1).readyState === 3));
    await sharing.click('toggle-screen');
    await until('an offer', () => sharing.page.evaluate(() => window.switchyard.call.connection.signalingState === 'have-local-offer'));
    await away.page.evaluate(() => window.cameBack());
    await sees(watching, sharing, 'screen');
    await sharing.click('toggle-screen');
    await until('the screen to be gone', () => hidden(watching, '#remote-screen'));
  }
});

direct.test('a relay that lets one in no more ends no call that stands', async () => {
  await ada.page.evaluate(loseRelay, 1008);
  await until('the relay to be away', () => ada.page.evaluate(() => window.sockets.at(-1).readyState === 3));
  // A try that is refused comes within 100 ms.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.equal(await state(ada), 'connected');
  for (const [one, other] of [[ada, bob], [bob, ada]]) await sees(one, other);
  for (const one of [ada, bob]) await one.close();
  [ada, bob] = await call(browsers.chromium, 'den');
});

direct.test('a call that is interrupted takes nobody else instead', async () => {
  const eve = await join(browsers.chromium[1], 'den', 2);
  await until('the sentence', async () => /Two people/.test(await text(eve, '#notice')));
  const pretend = (states) =>
    ada.page.evaluate((connectionState) => {
      const { connection } = window.switchyard.call;
      if (connectionState) Object.defineProperty(connection, 'connectionState', { value: connectionState, configurable: true });
      else delete connection.connectionState;
      connection.onconnectionstatechange();
    }, states);
  await pretend('disconnected');
  assert.equal(await state(ada), 'reconnecting');
  // Eve says every three seconds that she is there.
  await new Promise((resolve) => setTimeout(resolve, 4000));
  assert.equal(await state(eve), 'waiting');
  await pretend(null);
  assert.equal(await state(ada), 'connected');
  await sees(ada, bob);
  // Once it has failed she gets in, and Bob is told.
  await pretend('failed');
  for (const one of [ada, eve]) await reaches(one, 'connected');
  await reaches(bob, 'waiting');
  await sees(ada, eve);
  await eve.close();
  for (const one of [ada, bob]) await reaches(one, 'connected');
});

direct.test('a third waits, is told why, and gets in when one leaves', async () => {
  const eve = await join(browsers.chromium[1], 'den', 2);
  await until('the sentence', async () => /Two people/.test(await text(eve, '#notice')));
  await ada.click('hang-up');
  await reaches(ada, 'setup');
  for (const one of [bob, eve]) await reaches(one, 'connected');
  await sees(bob, eve);
  await bob.page.reload();
  for (const one of [bob, eve]) await reaches(one, 'connected');
  await sees(bob, eve);
  for (const one of [ada, bob, eve]) await one.close();
});

for (const kinds of [['chromium', 'chromium'], ['firefox', 'firefox']]) {
  direct.test(`${kinds[0]}: who hangs up in the middle of a file ends it on both sides`, async () => {
    browsers.firefox ??= [await direct.browser('firefox'), await direct.browser('firefox')];
    for (const leaver of [0, 1]) {
      const pair = await call(kinds.map((kind, index) => browsers[kind][index]), `cut-${kinds[0]}-${leaver}`);
      await offer(pair[0], pair[1]);
      const left = pair[leaver].page.evaluate(clickOnceItMoves, '#hang-up');
      await press(pair[1], 'accept');
      await left;
      for (const person of pair) {
        await until('the end of the file', async () => {
          const file = await lastFile(person);
          return (file.state === 'failed' && /The connection has ended/.test(file.text)) || { error: file };
        });
      }
      for (const person of pair) await person.close();
    }
  });
}

for (const pair of [['chromium', 'firefox'], ['firefox', 'firefox']]) {
  direct.test(`${pair.join(' and ')} call each other, chat and send a file`, async (t) => {
    browsers.firefox ??= [await direct.browser('firefox'), await direct.browser('firefox')];
    const [one, other] = await call(pair.map((kind, index) => browsers[kind][index]), pair.join('-'));
    for (const [from, to] of [[one, other], [other, one]]) {
      await sees(from, to);
      await hears(from, to);
      await allStagesAreDone(from);
      await chat(from, to, `from ${from.name}`);
    }
    t.diagnostic(`20 MB between ${pair.join(' and ')}: ${await send(one, other)} ms`);
    await other.screenshot(`direct-${pair.join('-')}`);
    for (const person of [one, other]) await person.close();
  });
}

for (const pair of [['chromium', 'chromium'], ['chromium', 'firefox']]) {
  direct.test(`${pair.join(' and ')} are relayed by coturn, with credentials for a time`, async (t) => {
    const [one, other] = await call(pair.map((kind, index) => browsers[kind][index]), `relayed-${pair.join('-')}`, '&relay=1');
    for (const [from, to] of [[one, other], [other, one]]) {
      await sees(from, to);
      await hears(from, to);
      const chosen = await until('the chosen pair', async () => (await stat(from, 'connecting', 'Chosen pair')) || { error: 'not told yet' });
      assert.match(chosen, /^relay .*udp 10\.99\.0\.1:\d+ ↔ relay udp 10\.99\.0\.1:\d+/);
    }
    await chat(one, other, 'by a detour');
    if (pair[1] === 'chromium') t.diagnostic(`20 MB through coturn: ${await send(one, other)} ms`);
    assert.match(coturn.log(), /user <\d{10}:[\w-]{22}>.*ALLOCATE processed, success/);
    for (const person of [one, other]) await person.close();
  });
}

direct.test('wrong credentials are refused by coturn, and those of yesterday', async () => {
  const person = await join(browsers.chromium[0], 'alone', 0);
  const yesterday = `${Math.round(Date.now() / 1000) - 86_400}:somebody`;
  const expired = [createHmac('sha1', SECRET).update(yesterday).digest('base64'), yesterday];
  const types = await person.page.evaluate(async (expired) => {
    const [, { urls, username, credential }] = await (await fetch('/ice-servers?room=alone')).json();
    const gather = async (password, name = username) => {
      const connection = new RTCPeerConnection({ iceServers: [{ urls, username: name, credential: password }], iceTransportPolicy: 'relay' });
      connection.createDataChannel('any');
      let found = 0;
      const done = new Promise((resolve) => {
        connection.onicecandidate = ({ candidate }) => (candidate ? (found += 1) : resolve(undefined));
      });
      await connection.setLocalDescription();
      await done;
      connection.close();
      return found;
    };
    return { right: await gather(credential), wrong: await gather(`${credential}x`), late: await gather(...expired) };
  }, expired);
  assert.ok(types.right > 0 && types.wrong === 0 && types.late === 0, JSON.stringify(types));
  await person.close();
});
