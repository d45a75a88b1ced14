/** What is said of a connection, and that what is said comes true: sound only receives no pictures. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { compare, judge, sampleOf } from '../../web-demo/network.js';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const jsQR = createRequire(import.meta.url)('jsqr');
const sample = (more) => ({ at: 0, rttMs: 20, lossUp: 0, received: 0, lost: 0, upBps: null, bytesUp: 0, bytesDown: 0, pictures: new Map(), upLimited: false, ...more });
const after = (more, statuses = []) => compare(sample({}), sample({ at: 2000, received: 1000, ...more }), statuses);

test('a judgement names the worst there is', () => {
  const cases = [
    [{}, [], 'good', 'good'],
    [{ lost: 15 }, [], 'good', 'good'],
    [{ lost: 30 }, [], 'lossDown', 'fair'],
    [{ lost: 100 }, [], 'lossDown', 'poor'],
    [{ lossUp: 0.06, lost: 30 }, [], 'lossUp', 'poor'],
    [{ rttMs: 300 }, [], 'delay', 'fair'],
    [{ upLimited: true }, [], 'upLimited', 'fair'],
    [{}, [{ limit: 'bandwidth', available: 600_000, needed: 1_000_000 }], 'short', 'fair'],
    [{}, [{ limit: 'bandwidth', available: 300_000, needed: 1_000_000 }], 'short', 'poor'],
    [{}, [{ limit: 'bandwidth', available: 0, needed: 1_000_000 }], 'short', 'poor'],
    [{}, [{ limit: 'viewport', available: 300_000, needed: 1_000_000 }], 'good', 'good'],
    // A handful of packets says nothing.
    [{ received: 20, lost: 20 }, [], 'good', 'good'],
  ];
  for (const [more, statuses, key, level] of cases) assert.deepEqual(judge(after(more, statuses), false), { key, level }, JSON.stringify(more));
  assert.equal(judge(after({}), true).level, 'lost');
  assert.equal(judge(null, false).level, 'unknown');
});

test('rates come from two looks', () => {
  const { sentBps, receivedBps, lossDown } = after({ bytesUp: 25_000, bytesDown: 250_000, lost: 250 });
  assert.deepEqual([sentBps, receivedBps, lossDown], [100_000, 1_000_000, 0.2]);
});

test('what the link has left over counts once, however many pictures could use it', () => {
  const status = (mid, available) => ({ mid, limit: 'bandwidth', available, needed: 500_000 });
  const look = (at, rates) => sample({ at, received: at, pictures: new Map(rates.map((rate, mid) => [String(mid), 7000 + (rate / 8) * (at / 1000)])) });
  const short = (rates, statuses) => compare(look(0, rates), look(2000, rates), statuses).short;
  // Three of 100 kbit/s each on a link of 400: each could have what is left.
  const three = ['0', '1', '2'].map((mid) => ({ ...status(mid, 200_000), needed: 400_000 }));
  assert.deepEqual(short([100_000, 100_000, 100_000], three), { available: 400_000, needed: 1_200_000 });
  assert.equal(judge(compare(look(0, [100_000, 100_000, 100_000]), look(2000, [100_000, 100_000, 100_000]), three), false).level, 'poor');
  // One of them is not shown at all, another is, and in full.
  assert.deepEqual(short([0, 150_000, 300_000], [status('0', 50_000), status('1', 200_000), { ...status('2', 500_000), limit: 'none' }]), { available: 200_000, needed: 1_000_000 });
  // For one of two there is nothing.
  assert.deepEqual(short([400_000, 0], [status('0', 400_000), status('1', 0)]), { available: 400_000, needed: 1_000_000 });
  // For a moment more comes than its layer takes.
  assert.deepEqual(short([180_000, 100_000], [status('0', 150_000), status('1', 150_000)]), { available: 250_000, needed: 1_000_000 });
  assert.deepEqual(short([100_000], [status('0', 300_000)]), { available: 300_000, needed: 500_000 });
  assert.deepEqual(short([100_000], [status('new', 300_000)]), { available: 300_000, needed: 500_000 });
  assert.equal(compare(null, look(0, [100_000, 100_000]), three).short, null, 'before the second look');
});

test('the pair in use counts, and a report of a loss only as long as there are new ones', () => {
  const at = 1_700_000_000_000;
  const pair = (id, ms, bytes) => ({ type: 'candidate-pair', id, timestamp: at, nominated: true, state: 'succeeded', currentRoundTripTime: ms / 1000, bytesSent: bytes, bytesReceived: bytes });
  const loss = (id, fractionLost, ageMs) => ({ type: 'remote-inbound-rtp', id, timestamp: at - ageMs, fractionLost });
  const look = (...entries) => sampleOf(new Map(entries.map((entry) => [entry.id, entry])), 0);
  const transport = { type: 'transport', id: 'T', timestamp: at, selectedCandidatePairId: 'new' };
  const { rttMs, bytesUp, bytesDown } = look(pair('old', 400, 9), transport, pair('new', 20, 7));
  assert.deepEqual([rttMs, bytesUp, bytesDown], [20, 7, 7]);
  // Firefox has no transport in its statistics.
  assert.equal(look(pair('only', 30, 1)).rttMs, 30);
  assert.equal(look(transport, loss('muted', 0.06, 20_000), loss('live', 0.01, 1000)).lossUp, 0.01);
  assert.equal(look(transport, loss('muted', 0.06, 20_000)).lossUp, null);
  const comes = (id, kind, bytesReceived) => ({ type: 'inbound-rtp', id, timestamp: at, kind, mid: id, bytesReceived });
  assert.deepEqual([...look(transport, comes('4', 'audio', 1), comes('5', 'video', 2), comes('6', 'video', 3)).pictures], [['5', 2], ['6', 3]]);
});

const network = scene();

network.test('the toolbar tells how the connection is, and sound only ends the pictures', async () => {
  const browser = await network.browser();
  const [ada, bob] = [await network.join(browser, 'network', 0), await network.join(browser, 'network', 1)];
  await ada.sees(bob);
  const { page } = ada;
  await until('a good connection', () => page.$eval('#open-network', ({ dataset, ariaLabel }) => dataset.level === 'good' || { error: ariaLabel }), 60_000);
  assert.equal(await page.$eval('#open-network', ({ ariaLabel }) => ariaLabel), 'Your connection: It carries everything.');
  await page.keyboard.press('n');
  await until('figures', () => page.$eval('#network-figures', ({ innerText }) => /ms[\s\S]*[Mk]bit\/s/.test(innerText) || { error: innerText }));
  const received = () => page.evaluate(async () => {
    let bytes = 0;
    for (const report of (await window.switchyard.room.peerConnection.getStats()).values()) if (report.type === 'inbound-rtp' && report.kind === 'video') bytes += report.bytesReceived;
    return bytes;
  });
  const bytesIn = async (ms) => {
    const before = await received();
    await new Promise((resolve) => setTimeout(resolve, ms));
    return (await received()) - before;
  };
  await page.select('#pictures', 'none');
  await until('no pictures', async () => (await bytesIn(1000)) === 0);
  await ada.hears(bob);
  assert.equal(await page.$eval(`${ada.tileOf(bob)} video`, (video) => video.hidden), true);
  await page.evaluate(() => {
    window.sizes = [];
    MediaStreamTrack.prototype.applyConstraints = async ({ height }) => void window.sizes.push(height.ideal);
  });
  const sizes = () => page.evaluate(() => window.sizes);
  await page.select('#pictures', 'small');
  await ada.sees(bob);
  assert.deepEqual(await sizes(), [360], 'who saves power sends less as well');
  await page.select('#pictures', 'full');
  await ada.sees(bob);
  assert.deepEqual(await sizes(), [360, 720]);
  // By key as well.
  await page.keyboard.press('Escape');
  await page.keyboard.press('a');
  await until('no pictures again', async () => (await bytesIn(1000)) === 0);
  await page.keyboard.press('w');
  await until('why there is no small window', () => page.$eval('#toasts', ({ textContent }) => /none for a small window/.test(textContent) || { error: textContent }));
  assert.equal(await bytesIn(1000), 0);
  await page.keyboard.press('a');
  await ada.sees(bob);
});

network.test('the code in the invitation is the link, passphrase and all', async () => {
  const [ada] = network.people;
  const { page } = ada;
  await page.keyboard.press('l');
  await until('the code', () => page.$('#invite-code svg'));
  const { data, width, height, link } = await page.evaluate(async () => {
    const svg = document.querySelector('#invite-code svg').cloneNode(true);
    svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    const image = new Image(300, 300);
    image.src = `data:image/svg+xml,${encodeURIComponent(svg.outerHTML)}`;
    await image.decode();
    const context = Object.assign(document.createElement('canvas'), { width: 300, height: 300 }).getContext('2d');
    context.fillStyle = '#fff';
    context.fillRect(0, 0, 300, 300);
    context.drawImage(image, 0, 0, 300, 300);
    return { data: [...context.getImageData(0, 0, 300, 300).data], width: 300, height: 300, link: document.querySelector('#invite-link').value };
  });
  assert.match(link, /\/\?room=network$/);
  assert.equal(jsQR(new Uint8ClampedArray(data), width, height)?.data, link);
});

network.test('while a dialog is open no key acts behind it, and what is said can be heard and used', async () => {
  const [ada] = network.people;
  const { page } = ada;
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.click('#shortcuts dt');
  await page.keyboard.press('m');
  await page.keyboard.press('Escape');
  await page.keyboard.press('m');
  await until('the microphone to be off', () => page.evaluate(() => !window.switchyard.media.microphoneOn || { error: 'on: no key acted, or two' }));
  await page.keyboard.press('?');
  await page.click('#use-keys');
  await page.keyboard.press('Escape');
  await page.keyboard.press('m');
  await page.keyboard.press('l');
  assert.equal(await page.evaluate(() => document.querySelector('dialog[open]') || window.switchyard.media.microphoneOn), false);
  assert.equal(await page.evaluate(() => localStorage.getItem('switchyard.keys')), 'off');
  await page.click('#show-keys');
  await page.click('#use-keys');
  await page.keyboard.press('Escape');
  await page.keyboard.press('l');
  await page.click('#copy-link');
  const toast = await until('a toast that can be clicked', () =>
    page.evaluate(() => {
      const shown = document.querySelector('#toasts .toast:last-child');
      const { x, y, width, height } = shown?.getBoundingClientRect() ?? {};
      const top = shown && document.elementFromPoint(x + width / 2, y + height / 2);
      // An older one may still be there.
      return shown?.contains(top) && shown.textContent.includes('clipboard') ? { text: shown.textContent } : { error: document.querySelector('#toasts').outerHTML };
    }),
  );
  const heard = () => page.evaluate(() => ({ line: document.querySelector('#live').lastElementChild.textContent, within: document.querySelector('#live').closest('dialog[open], body').id }));
  assert.deepEqual(await heard(), { line: toast.text, within: 'invite' });
  await page.keyboard.press('Escape');
  await until('both to be with the page again', () => page.evaluate(() => ['live', 'toasts'].every((id) => document.getElementById(id).parentElement === document.body)));
});
