/** What people do most, in Firefox: the first screen with its own devices, and the layouts of a meeting with a shared screen. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const fox = scene();
/** @type {import('./lib/participant.mjs').Participant} */
let ada;
let bob;
let carl;

/** The tiles on screen, the largest first. */
const tilesOf = ({ page }) =>
  page.evaluate(() =>
    [...document.querySelectorAll('#tiles .tile:not([hidden])')]
      .map((tile) => ({ participant: tile.dataset.participant, source: tile.dataset.source, ...tile.getBoundingClientRect().toJSON() }))
      .map((tile) => ({ ...tile, area: tile.width * tile.height }))
      .sort((one, other) => other.area - one.area),
  );
const settled = (what, right) =>
  until(what, async () => {
    const tiles = await tilesOf(ada);
    return right(tiles) || { error: tiles };
  });
const isGrid = (tiles) => tiles.length === 3 && tiles.every(({ area }) => Math.abs(area - tiles[0].area) < 1);
const isLarge = (other, source = 'camera') =>
  settled(`${other.name} to be large`, ([first, ...rest]) => first.participant === other.id && first.source === source && rest.every(({ area }) => area * 3 < first.area));

fox.test('the first screen shows Firefox’s own devices by name, and remembers what was chosen', async () => {
  const browser = await fox.browser('firefox');
  const page = await (await browser.createBrowserContext()).newPage();
  await page.goto(`${fox.server.url}/?room=fox`);
  const frames = () => page.$eval('#preview-video', (video) => new Promise((resolve) => video.requestVideoFrameCallback((_, { presentedFrames }) => resolve(presentedFrames))));
  const seen = async () => {
    await until('the preview', () => page.$eval('#preview-video', ({ videoWidth }) => videoWidth > 0));
    const first = await frames();
    await until('the picture to go on', async () => (await frames()) > first + 5);
  };
  await seen();
  const chosen = (list) => page.$eval(list, ({ selectedOptions: [option], disabled }) => (disabled ? 'disabled' : option.text));
  assert.deepEqual(await Promise.all(['#prejoin-cameras', '#prejoin-microphones'].map(chosen)), ['Default Video Device', 'Default Audio Device']);
  await until('the level of the microphone', () => page.$eval('#preview-level', (meter) => meter.checkVisibility() && meter.value > 0.05));
  const speakers = await page.$$eval('#prejoin-speakers option', (options) => options.map(({ text }) => text));
  assert.equal(speakers.length, 2, `${speakers}`);
  await page.select('#prejoin-speakers', await page.$eval('#prejoin-speakers option:last-child', ({ value }) => value));
  await page.type('#name', 'Reynard');
  await page.click('#preview-mic');
  await page.waitForSelector('#preview-mic:not(.on)');
  assert.equal(await page.$eval('#preview-level', (meter) => meter.checkVisibility()), false);
  await page.click('#join');
  await until('the room', () => page.evaluate(() => document.body.dataset.state === 'connected'));
  await until('the camera alone', () => page.evaluate(() => [...window.switchyard.room.localTracks].filter(({ muted }) => !muted).map(({ source }) => source).join() === 'camera'));
  await page.reload();
  await seen();
  assert.deepEqual(await page.evaluate(() => [document.querySelector('#name').value, document.querySelector('#preview-mic').classList.contains('on')]), ['Reynard', false]);
  // Firefox tells of speakers only those who have the microphone.
  await page.click('#preview-mic');
  await until('the speaker of before', async () => (await chosen('#prejoin-speakers')) === speakers[1]);
  await page.close();
});

fox.test('three are in a grid of equal tiles, and all see and hear each other', async () => {
  const [browser] = fox.browsers;
  const chromium = await fox.browser();
  ada = await fox.join(browser, 'den', 0);
  // A tab in the background stands still.
  await ada.page.bringToFront();
  [bob, carl] = [await fox.join(chromium, 'den', 1), await fox.join(chromium, 'den', 2)];
  await settled('a grid', isGrid);
  for (const other of [bob, carl]) {
    await ada.sees(other);
    await ada.hears(other);
    await other.sees(ada);
    await other.hears(ada);
  }
});

fox.test('a tile is pinned and let go, and who speaks is large in the layout for that', async () => {
  await ada.page.focus(`${ada.tileOf(carl)} .pin`);
  await ada.page.keyboard.press('Enter');
  await isLarge(carl);
  await ada.sees(carl);
  assert.equal(await ada.page.evaluate((tile) => document.activeElement.closest(tile) !== null, ada.tileOf(carl)), true, 'the focus stays');
  await ada.page.keyboard.press('Enter');
  await settled('the grid again', isGrid);
  await ada.page.keyboard.press('g');
  await ada.page.keyboard.press('g');
  for (const [silent, loud] of [[carl, bob], [bob, carl]]) {
    await silent.click('toggle-mic');
    await isLarge(loud);
    await silent.click('toggle-mic');
  }
  await ada.page.keyboard.press('g');
  await settled('the grid again', isGrid);
});

fox.test('a screen from Firefox and one to Firefox are large, whole and gone again', async () => {
  for (const [from, to] of [[ada, bob], [bob, ada]]) {
    await from.click('toggle-screen');
    await to.sees(from, { source: 'screen_share', device: 'screen' });
    if (to === ada) await isLarge(bob, 'screen_share');
    await from.click('toggle-screen');
    await to.misses(from, 'screen_share');
  }
  await settled('the grid again', isGrid);
});
