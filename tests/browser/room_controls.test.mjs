/** What is at hand in a meeting: reactions, the keys and their sheet, the way of the focus, and rest for who wants no motion. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

/** Of a reaction, as `tile.js` has it. */
const REACTION_MS = 4000;
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };

const room = scene();
/** @type {import('./lib/participant.mjs').Participant} */
let ada;
let bob;
let carl;

const press = (key) => ada.page.keyboard.press(key);
const focused = () => ada.page.evaluate(() => document.activeElement.id);
const isOpen = (dialog) => ada.page.$eval(`#${dialog}`, ({ open }) => open);
const close = () => ada.page.evaluate(() => document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close()));

/** Runs in the page: notes how long reactions are on a tile. */
function noteReactions(tile) {
  window.reactions = [];
  new MutationObserver((records) => {
    for (const { addedNodes, removedNodes } of records) {
      for (const [nodes, what] of [[addedNodes, 'came'], [removedNodes, 'went']]) {
        for (const node of nodes) if (node.className === 'reaction') window.reactions.push({ what, text: node.textContent, hidden: node.getAttribute('aria-hidden'), at: performance.now() });
      }
    }
  }).observe(document.querySelector(tile), { childList: true });
}

/** What screen readers are told of something, in all regions that they listen to. */
const told = (person, text) =>
  person.page.evaluate((wanted) => {
    const regions = [...document.querySelectorAll('[aria-live], [role="log"], [role="status"], [role="alert"]')];
    return regions.flatMap(({ textContent, children }) => (children.length > 0 ? [...children].map((one) => one.textContent) : [textContent])).filter((one) => one.includes(wanted));
  }, text);

room.test('a reaction is on the tile for its time, and told once', async () => {
  const browser = await room.browser();
  ada = await room.join(browser, 'controls', 0);
  bob = await room.join(browser, 'controls', 1);
  await bob.sees(ada);
  for (const person of [ada, bob]) await person.page.evaluate(noteReactions, person.tileOf(ada));
  await ada.click('toggle-people');
  await ada.page.click('#reactions button[aria-label="React with 👏"]');
  for (const person of [ada, bob]) {
    const [came, went] = await until(`the reaction to come and go at ${person.name}`, async () => {
      const seen = await person.page.evaluate(() => window.reactions);
      return seen.length === 2 ? seen : { error: seen };
    });
    assert.deepEqual([came.what, came.text, came.hidden, went.what], ['came', '👏', 'true', 'went']);
    assert.ok(went.at - came.at > REACTION_MS - 100, `it was there for ${went.at - came.at} ms`);
  }
  assert.deepEqual(await told(bob, '👏'), ['P0: 👏']);
  assert.deepEqual(await told(ada, '👏'), ['You: 👏']);
  await ada.click('toggle-people');
});

room.test('the sheet of keys takes the focus, keeps letters from acting, and gives the focus back', async () => {
  await ada.page.focus('#raise-hand');
  await press('?');
  await until('the sheet', () => isOpen('shortcuts'));
  assert.equal(await ada.page.evaluate(() => document.activeElement.closest('dialog')?.id), 'shortcuts');
  for (const key of 'mchg') await press(key);
  assert.equal(await ada.page.evaluate(() => window.switchyard.media.microphoneOn), true);
  assert.equal(await ada.page.$eval('#side', ({ hidden }) => hidden), true);
  for (let tab = 0; tab < 4; tab++) {
    await press('Tab');
    assert.equal(await ada.page.evaluate(() => (document.activeElement === document.body ? 'shortcuts' : document.activeElement.closest('dialog')?.id)), 'shortcuts', 'nothing behind it');
  }
  await press('Escape');
  assert.deepEqual([await isOpen('shortcuts'), await focused()], [false, 'raise-hand']);
  // By its button, too.
  await ada.click('show-keys');
  await until('the sheet', () => isOpen('shortcuts'));
  await ada.page.click('#shortcuts .round');
  assert.deepEqual([await isOpen('shortcuts'), await focused()], [false, 'show-keys']);
});

/** Runs in the page: everything that a key could change. */
function fingerprint() {
  const buttons = [...document.querySelectorAll('#toolbar button:not(#open-network)')].map((one) => one.getAttribute('aria-label'));
  const dialogs = [...document.querySelectorAll('dialog[open]')].map(({ id }) => id);
  const notices = [...document.querySelectorAll('#live p')].map(({ textContent }) => textContent).filter((text) => !text.startsWith('P1'));
  return JSON.stringify([buttons, dialogs, notices, document.body.dataset.state, document.querySelector('#side').hidden]);
}

room.test('every key on the sheet does something, and no other key does', async () => {
  await ada.page.focus('#room-title');
  const listed = await ada.page.$$eval('#shortcuts kbd', (keys) => keys.map(({ textContent }) => textContent));
  // That those turn pages is a matter of room_layout.test.mjs.
  assert.deepEqual(listed.filter((key) => key.length > 1), ['Page up', 'Page down']);
  const signs = listed.filter((key) => key.length === 1);
  assert.equal(new Set(signs).size, signs.length);
  for (const key of signs) {
    const before = await ada.page.evaluate(fingerprint);
    await press(key);
    await until(`the key ${key} to do something`, async () => (await ada.page.evaluate(fingerprint)) !== before);
    await close();
    // Toggles go back; and nobody writes letters into the chat.
    if (await ada.page.$eval('#side', ({ hidden }) => !hidden)) await ada.page.focus('#room-title');
    const again = await ada.page.evaluate(fingerprint);
    await press(key);
    await until(`the key ${key} to do something again`, async () => (await ada.page.evaluate(fingerprint)) !== again);
    await close();
  }
  const shortcuts = await ada.page.$$eval('[aria-keyshortcuts]', (buttons) => buttons.map((one) => one.getAttribute('aria-keyshortcuts')));
  assert.deepEqual(shortcuts.filter((key) => !signs.includes(key)), [], 'told of a button, and not on the sheet');
  const before = await ada.page.evaluate(fingerprint);
  for (const key of 'bcdefghijklmnopqrstuvwxyz0123456789'.split('').filter((one) => !signs.includes(one))) await press(key);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(await ada.page.evaluate(fingerprint), before);
  // Layouts are three.
  await press('g');
  await ada.sees(bob);
});

/** Every stop of the focus from the first tile on, where it is, and whether it can be seen there. */
async function stops() {
  const found = [];
  // What lies over the page for some seconds is no part of it.
  await ada.page.evaluate(() => document.querySelector('#toasts').replaceChildren());
  await ada.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  await until('the tiles to be in their places', () => ada.page.evaluate(() => document.getAnimations().length === 0));
  // After a click the focus of a button is not shown.
  await press('Tab');
  await ada.page.focus('#tiles .tile:not([hidden]) .pin').catch(() => ada.page.focus('#side button'));
  for (;;) {
    const stop = await ada.page.evaluate(() => {
      const at = document.activeElement;
      if (at === document.body) return null;
      window.stops ??= new WeakSet();
      const again = window.stops.has(at);
      window.stops.add(at);
      const { left, top, right, bottom } = at.getBoundingClientRect();
      const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
      // Pins and the like come into sight with the focus, by a transition.
      for (const animation of at.getAnimations()) animation.finish();
      const seen = at.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight && (at.contains(hit) || (hit?.contains(at) ?? false));
      const zone = ['#stage', '#side', '#toolbar'].findIndex((one) => at.closest(one));
      return { name: at.getAttribute('aria-label') ?? (at.id || at.textContent.trim()), again, seen, zone, left, top, right, bottom };
    });
    if (!stop || stop.again) break;
    found.push(stop);
    assert.ok(found.length < 100, 'the focus goes round');
    await press('Tab');
  }
  await ada.page.evaluate(() => (window.stops = undefined));
  return found;
}

/** From the left to the right, row by row, and part by part. */
function check(found, what) {
  for (const { name, seen, zone } of found) {
    assert.ok(seen, `${what}: ${name} has the focus and is not to be seen`);
    assert.ok(zone >= 0, `${what}: ${name} is no part of the meeting`);
  }
  for (const [index, next] of found.slice(1).entries()) {
    const one = found[index];
    const below = next.top >= one.bottom - 1;
    const beside = next.left >= one.right - 1 && next.bottom > one.top;
    assert.ok(next.zone > one.zone || (next.zone === one.zone && (below || beside)), `${what}: ${next.name} comes after ${one.name}`);
  }
}

room.test('the focus goes as one reads, and never where nothing is to be seen', async () => {
  carl = await room.join(room.browsers[0], 'controls', 2);
  await ada.sees(carl);
  const zones = (found) => [0, 1, 2].map((zone) => found.filter((one) => one.zone === zone).length);
  const desk = await stops();
  check(desk, 'on a desk');
  assert.deepEqual(zones(desk), [3, 0, 14], desk.map(({ name }) => name).join());
  await ada.page.focus(`${ada.tileOf(carl)} .pin`);
  await press('Enter');
  await until('P2 to be first', () => ada.page.$eval('#tiles .tile', (first, other) => first.matches(other), ada.tileOf(carl)));
  assert.equal(await ada.page.evaluate((tile) => document.activeElement.closest('.tile').matches(tile), ada.tileOf(carl)), true, 'the focus stays');
  check(await stops(), 'with one large');
  await ada.sees(carl);
  await ada.page.focus(`${ada.tileOf(carl)} .pin`);
  await press('Enter');
  await ada.click('toggle-chat');
  const chat = await stops();
  check(chat, 'beside the chat');
  assert.deepEqual(zones(chat), [3, 6, 14], chat.map(({ name }) => name).join());
  await ada.click('toggle-people');
  check(await stops(), 'beside the people');
  await ada.page.setViewport(PHONE);
  await until('the panel over the tiles', () => ada.page.$eval('#side', ({ clientWidth }) => clientWidth > 320));
  const phone = await stops();
  check(phone, 'on a phone, with the people');
  assert.equal(zones(phone)[0], 0, 'tiles behind the panel');
  await ada.click('close-roster');
  const bare = await stops();
  check(bare, 'on a phone');
  assert.deepEqual(zones(bare), [3, 0, 8], bare.map(({ name }) => name).join());
  await ada.click('more');
  await press('Tab');
  assert.equal(await focused(), 'switch-layout');
  await press('Escape');
  assert.deepEqual([await focused(), await ada.page.$eval('#more-tools', (tools) => tools.checkVisibility())], ['more', false]);
  await ada.page.setViewport(DESK);
});

/** Runs in the page: the names of all animations that take time, from now on. */
function noteAnimations() {
  window.animations = new Set();
  const look = () => {
    for (const animation of document.getAnimations()) {
      const { duration } = animation.effect.getComputedTiming();
      const { target, pseudoElement } = animation.effect;
      if (duration > 1) window.animations.add(`${animation.animationName ?? animation.transitionProperty} of ${target.className}${pseudoElement ?? ''}`);
    }
    requestAnimationFrame(look);
  };
  look();
}

/** Everything that moves: a tile that becomes large and small, one that begins to speak, and a reaction. */
async function moveAll() {
  await ada.page.focus(`${ada.tileOf(bob)} .pin`);
  for (const large of [true, false]) {
    await press('Enter');
    await until('the tile to have its place', () => ada.page.$eval(ada.tileOf(bob), (tile, pinned) => tile.classList.contains('pinned') === pinned, large));
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  // The focus has a frame of its own.
  await ada.page.focus('#room-title');
  for (const speaking of [false, true]) {
    await bob.click('toggle-mic');
    await until('the frame', () => ada.page.$eval(ada.tileOf(bob), (tile, now) => tile.classList.contains('speaking') === now, speaking));
  }
  await bob.page.evaluate(() => window.switchyard.room.people.react('🎉'));
  await until('the reaction', async () => (await ada.page.$(`${ada.tileOf(bob)} .reaction`)) !== null);
  await new Promise((resolve) => setTimeout(resolve, 300));
  return ada.page.evaluate(() => [...window.animations].sort());
}

room.test('who wants no motion has none', async () => {
  await ada.page.evaluate(noteAnimations);
  const moved = await moveAll();
  for (const one of ['rise of reaction', 'width of tile', 'border-top-color of tile']) assert.ok(moved.some((name) => name.startsWith(one)), `${one} is usual: ${moved.join(', ')}`);
  await ada.page.emulateMediaFeatures([{ name: 'prefers-reduced-motion', value: 'reduce' }]);
  await until('all to rest', () => ada.page.evaluate(() => document.getAnimations().length === 0));
  await ada.page.evaluate(() => window.animations.clear());
  assert.deepEqual(await moveAll(), []);
});
