/** The layouts of a meeting as people meet them: large and small, pinned, in pages, and in a small window. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { joinCrowd } from './lib/crowd.mjs';
import { PICTURE, readPicture } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const CROWD = 40;

const room = scene();
/** @type {import('puppeteer-core').Browser} */
let browser;
/** @type {import('./lib/participant.mjs').Participant[]} */
let people = [];

/** The tiles on screen: whose, and where. */
const tilesOf = ({ page }) =>
  page.evaluate(() =>
    [...document.querySelectorAll('#tiles .tile:not([hidden])')].map((tile) => {
      const { x, y, width, height } = tile.getBoundingClientRect();
      return { name: tile.getAttribute('aria-label'), participant: tile.dataset.participant, floating: tile.classList.contains('floating'), x, y, width, height, area: width * height };
    }),
  );
const largest = (tiles) => tiles.reduce((best, one) => (one.area > best.area ? one : best));
const settled = (person, what, right) =>
  until(what, async () => {
    const tiles = await tilesOf(person);
    return right(tiles) || { error: tiles };
  });
const isLarge = (person, other, times = 3) =>
  settled(person, `${other.name} to be large`, (tiles) => {
    const first = largest(tiles);
    return first.participant === other.id && tiles.every((one) => one === first || one.area * times < first.area);
  });

room.test('with one other, the own picture is small over the corner', async () => {
  browser = await room.browser();
  people = [await room.join(browser, 'layout', 0), await room.join(browser, 'layout', 1)];
  await settled(people[0], 'a small own picture', (tiles) => tiles.find(({ floating }) => floating)?.name === 'P0 (you)');
  await isLarge(people[0], people[1]);
});

room.test('a tile is pinned by keyboard, gets bandwidth first, and stays until it is let go', async () => {
  const [ada] = people;
  people.push(await room.join(browser, 'layout', 2));
  const [, bob, carl] = people;
  await settled(ada, 'a grid', (tiles) => tiles.length === 3 && tiles.every(({ area }) => Math.abs(area - tiles[0].area) < 1));
  await ada.page.evaluate(() => {
    window.settings = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      const { type, tracks } = JSON.parse(text);
      if (type === 'track_settings') window.settings.push(...tracks);
      send.call(this, text);
    };
  });
  await ada.page.focus(`${ada.tileOf(carl)} .pin`);
  await ada.page.keyboard.press('Enter');
  await isLarge(ada, carl);
  const camera = await ada.page.evaluate((id) => [...window.switchyard.room.participants.get(id).tracks.values()].find(({ source }) => source === 'camera').id, carl.id);
  await until('the server to be told', () => ada.page.evaluate((id) => window.settings.some(({ track, priority }) => track === id && priority === 'high'), camera));
  assert.equal(await ada.page.$eval(`${ada.tileOf(carl)} .pin`, (pin) => pin.getAttribute('aria-label')), 'Let P2 go');
  // A shared screen does not take the place of what was chosen.
  await bob.click('toggle-screen');
  await until('the screen', () => ada.page.$(ada.tileOf(bob, 'screen_share')));
  await isLarge(ada, carl);
  await ada.page.keyboard.press('Enter');
  await settled(ada, 'the screen to be large', (tiles) => largest(tiles).name.includes('screen'));
  await bob.click('toggle-screen');
  await settled(ada, 'the grid again', (tiles) => tiles.length === 3 && tiles.every(({ area }) => Math.abs(area - tiles[0].area) < 1));
});

room.test('the layout is switched by a key, and remembered', async () => {
  const [ada] = people;
  const mode = () => ada.page.$eval('#switch-layout use', (use) => use.getAttribute('href').slice('#icon-layout-'.length));
  assert.equal(await mode(), 'auto');
  await ada.page.keyboard.press('g');
  await ada.page.keyboard.press('g');
  await until('the speaker layout', async () => (await mode()) === 'speaker');
  await settled(ada, 'somebody large', (tiles) => largest(tiles).area > 3 * tiles.map(({ area }) => area).toSorted((a, b) => a - b)[0]);
  assert.equal(await ada.page.evaluate(() => localStorage.getItem('switchyard.layout')), 'speaker');
  await ada.page.keyboard.press('g');
});

room.test('whoever speaks is in a small window of its own', async () => {
  const [ada] = people;
  await ada.click('toggle-pip');
  const floating = () => ada.page.evaluate(() => document.pictureInPictureElement?.videoWidth ?? 0);
  await until('a picture in the window', async () => (await floating()) > 0);
  assert.equal(await ada.page.$eval('#toggle-pip', (button) => button.classList.contains('on')), true);
  await ada.click('toggle-pip');
  await until('the window to be closed', () => ada.page.evaluate(() => document.pictureInPictureElement === null));
});

room.test('the small window opens with who speaks, and goes over to others when they alone do or have a picture', async () => {
  const [ada, bob, carl] = people;
  const inWindow = () => ada.page.evaluate(readPicture, '.floating-speaker', PICTURE);
  const shows = (other) =>
    until(`${other.name} in the small window`, async () => {
      const seen = await inWindow();
      return seen.index === other.index ? seen : { error: seen.error ?? seen.index };
    });
  const speak = async (other, speaks) => {
    await other.click('toggle-mic');
    await until(`${other.name} ${speaks ? 'to speak' : 'to be silent'}`, () => ada.page.$eval(ada.tileOf(other), (tile, now) => tile.classList.contains('speaking') === now, speaks));
  };
  await speak(bob, false);
  await ada.click('toggle-pip');
  const first = await shows(carl);
  await until('the picture to go on', async () => (await inWindow()).counter !== first.counter);
  await speak(carl, false);
  // Nobody speaks: it stays.
  assert.equal((await inWindow()).index, carl.index);
  await speak(bob, true);
  await shows(bob);
  await speak(carl, true);
  assert.equal((await inWindow()).index, bob.index, 'it does not flicker');
  await bob.click('toggle-camera');
  await shows(carl);
  await bob.click('toggle-camera');
  await ada.sees(bob);
  await ada.click('toggle-pip');
  await until('the window to be closed', () => ada.page.evaluate(() => document.pictureInPictureElement === null));
});

room.test('many are on pages with names, and only who is shown is sent', async () => {
  const [ada, bob] = people;
  const crowd = await joinCrowd(browser, room.server.url, 'layout', CROWD);
  await until('pages', () => ada.page.evaluate(() => !document.querySelector('#pager').hidden));
  const words = () => ada.page.$eval('#page-words', (element) => element.textContent);
  await until('everybody', async () => (await words()).endsWith(`of ${CROWD + 2}`));
  await ada.sees(bob);
  const label = await ada.page.$eval('#page-on', (button) => button.getAttribute('aria-label'));
  assert.match(label, /^On to \w.*, .* and \d+ more$/);
  const seen = new Set();
  let shown;
  for (let page = 0; page < 20; page++) {
    shown = await tilesOf(ada);
    for (const { name } of shown) seen.add(name);
    for (const { x, y, width, height } of shown) assert.ok(x >= 0 && y >= 0 && width >= 140 && height >= 84);
    if (await ada.page.$eval('#page-on', (button) => button.disabled)) break;
    const before = await words();
    await ada.page.keyboard.press('PageDown');
    await until('the next page', async () => (await words()) !== before);
  }
  // Who turns pages with the buttons keeps a button at the ends.
  const focus = () => ada.page.evaluate(() => document.activeElement.id);
  await ada.page.focus('#page-back');
  while (!(await ada.page.$eval('#page-back', (button) => button.disabled))) await ada.page.keyboard.press('Enter');
  assert.equal(await focus(), 'page-on');
  while (!(await ada.page.$eval('#page-on', (button) => button.disabled))) await ada.page.keyboard.press('Enter');
  assert.equal(await focus(), 'page-back');
  assert.equal(seen.size, CROWD + 3);
  assert.ok(!shown.some(({ participant }) => participant === bob.id), 'who sends a picture is on the first page');
  const inbound = () => ada.page.evaluate(async () => {
    let bytes = 0;
    for (const report of (await window.switchyard.room.peerConnection.getStats()).values()) if (report.type === 'inbound-rtp' && report.kind === 'video') bytes += report.bytesReceived;
    return bytes;
  });
  await until('the pictures of the first page to rest', async () => {
    const before = await inbound();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return (await inbound()) === before || { error: 'they are sent' };
  });
  for (const size of [{ width: 360, height: 740 }, { width: 740, height: 360 }]) {
    await ada.page.setViewport(size);
    await settled(ada, `tiles inside ${size.width}×${size.height}`, (tiles) => tiles.length > 0 && tiles.every(({ x, y, width, height }) => x >= 0 && y >= 0 && x + width <= size.width && y + height <= size.height));
  }
  await crowd.close();
});
