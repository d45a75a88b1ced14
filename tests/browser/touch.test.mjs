/** A meeting on the narrowest phone, by taps alone: from the first screen to “Join again”, with somebody at a desk who sees what was done. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const PHONE = { width: 360, height: 740, isMobile: true, hasTouch: true };
/** With the keyboard on the screen. */
const WRITING = { ...PHONE, height: 400 };
const ROOM = 'touch';
/** WCAG 2.5.5 and 2.5.8, in CSS pixels. */
const FINGER = 44;
const LEAST = 24;
/** Smaller than a finger, with the reason. */
const SMALL = { 'Delete this message of yours': 'in the head of a message, which would be twice as high' };

const phone = scene();
/** @type {import('./lib/participant.mjs').Participant} */
let ada;
let bob;
let carl;

/** Runs in the page before its scripts: no phone shares its screen. */
function withoutScreens() {
  navigator.mediaDevices.getDisplayMedia = undefined;
}

/** Runs in the page: what can be tapped, and how large it is. What belongs to a label is tapped there. */
function targetsOf(root) {
  const found = [...root.querySelectorAll('a, button, input, select, textarea, summary')].filter((one) => one.checkVisibility({ visibilityProperty: true }));
  return found.map((one) => {
    const { width, height } = (one.matches('[type="checkbox"]') ? one.closest('label') : one).getBoundingClientRect();
    return { name: one.getAttribute('aria-label') ?? (one.id || one.textContent.trim()), width, height };
  });
}

/** What holds wherever a person may be. */
async function examine(what) {
  const { targets, wide } = await ada.page.evaluate(`({ targets: (${targetsOf})(document), wide: document.scrollingElement.scrollWidth })`);
  assert.ok(wide <= PHONE.width, `${what}: ${wide} pixels are scrolled sideways`);
  const tooSmall = targets.filter(({ name, width, height }) => Math.min(width, height) < (name in SMALL ? LEAST : FINGER) - 0.01);
  assert.deepEqual(tooSmall.map(({ name, width, height }) => `${name}: ${width}×${height}`), [], what);
}

/** Moves what is scrolled as a finger does, until the middle of it is on the screen. */
async function reach(selector) {
  await until(`${selector} to come into sight`, async () => {
    const { middle, height } = await ada.page.$eval(selector, (one) => {
      const { top, bottom } = one.getBoundingClientRect();
      return { middle: (top + bottom) / 2, height: innerHeight };
    });
    if (middle > 0 && middle < height) return true;
    const [from, to] = middle > 0 ? [0.8, 0.2] : [0.2, 0.8];
    const finger = await ada.page.touchscreen.touchStart(PHONE.width / 2, height * from);
    for (let step = 1; step <= 10; step++) await finger.move(PHONE.width / 2, height * (from + ((to - from) * step) / 10));
    await finger.end();
    return { error: { middle, height } };
  });
}

/** Taps the middle of something, which must be what lies there, and looks at what is to be seen then. */
async function tap(selector, { at = 0.5 } = {}) {
  await ada.page.waitForSelector(selector, { visible: true });
  await reach(selector);
  const place = await ada.page.$eval(
    selector,
    (one, share) => {
      const { x, y, width, height } = one.getBoundingClientRect();
      const [left, top] = [x + width * share, y + height * share];
      const hit = document.elementFromPoint(left, top);
      return { left, top, hit: one.contains(hit) ? '' : (hit?.outerHTML.slice(0, 100) ?? 'nothing') };
    },
    at,
  );
  assert.equal(place.hit, '', `${selector} is covered`);
  await ada.page.touchscreen.tap(place.left, place.top);
  await examine(`after a tap on ${selector}`);
}

const state = (wanted) => until(`the state ${wanted}`, () => ada.page.evaluate((name) => document.body.dataset.state === name || { error: document.body.dataset.state }, wanted));
const shown = (person, selector) => until(`${selector} at ${person.name}`, () => person.page.evaluate((what) => document.querySelector(what)?.checkVisibility() ?? false, selector));
const gone = (person, selector) => until(`no ${selector} at ${person.name}`, () => person.page.evaluate((what) => !document.querySelector(what)?.checkVisibility(), selector));
const textOf = (person, selector) => person.page.$eval(selector, ({ textContent }) => textContent);
/** Whether all of it is on the screen. */
const whole = (selector) =>
  ada.page.$eval(selector, (one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect();
    return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  });

phone.test('they join from the first screen', async () => {
  const browser = await phone.browser();
  bob = await phone.join(browser, ROOM, 1);
  carl = await phone.join(browser, ROOM, 2);
  ada = await phone.open(browser, `/?room=${ROOM}`, { index: 0, before: withoutScreens });
  await ada.page.setViewport(PHONE);
  assert.equal(await ada.page.evaluate(() => matchMedia('(pointer: coarse)').matches && matchMedia('(hover: none)').matches), true, 'a finger, and no mouse');
  await until('the preview', () => ada.page.$eval('#preview-video', ({ videoWidth }) => videoWidth > 0));
  await examine('the first screen');
  await tap('#name');
  await ada.page.keyboard.type('P0');
  await tap('#preview-mic');
  await ada.page.waitForSelector('#preview-mic:not(.on)');
  await tap('#preview-mic');
  await ada.page.waitForSelector('#preview-mic.on');
  await tap('#join');
  await state('connected');
  await ada.untilJoined();
  await examine('the meeting');
  await bob.sees(ada);
  await bob.hears(ada);
  await ada.sees(bob);
});

phone.test('they mute themselves and are heard again', async () => {
  await tap('#toggle-mic');
  await bob.hearsNothingOf(ada);
  await tap('#toggle-mic');
  await bob.hears(ada);
});

phone.test('they write and send above the keyboard, and both are told what is unread', async () => {
  await tap('#toggle-chat');
  // The keyboard comes.
  await ada.page.setViewport(WRITING);
  await until('the smaller window', () => ada.page.evaluate((height) => innerHeight === height && document.querySelector('#side').getBoundingClientRect().bottom < height, WRITING.height));
  for (const part of ['#chat-text', '#chat-send', '#close-chat']) assert.equal(await whole(part), true, `${part} is on the screen above the keyboard`);
  await tap('#chat-text');
  await ada.page.keyboard.type('From the train');
  await tap('#chat-send');
  await until('the message to be sent', () => ada.page.$eval('#chat-text', ({ value }) => value === ''));
  assert.equal(await ada.page.evaluate(() => document.activeElement.id), 'chat-text', 'the keyboard stays');
  await until('the count at P1', async () => (await textOf(bob, '#unread')) === '1');
  assert.equal(await whole('#messages li:last-child p'), true, 'they see what they wrote');
  await ada.page.setViewport(PHONE);
  await tap('#close-chat');
  await gone(ada, '#side');
  await bob.click('toggle-chat');
  await gone(bob, '#unread');
  await bob.page.type('#chat-text', 'Have a seat');
  await bob.page.keyboard.press('Enter');
  await until('the count', async () => (await textOf(ada, '#unread')) === '1');
  await shown(ada, '#unread');
  assert.equal(await whole('#unread'), true);
  await tap('#toggle-chat');
  await gone(ada, '#unread');
  assert.equal(await textOf(ada, '#messages li:last-child p'), 'Have a seat');
  await tap('#close-chat');
});

phone.test('they raise a hand, react, and see who is here', async () => {
  await tap('#raise-hand');
  await shown(bob, `${bob.tileOf(ada)} .hand`);
  await tap('#toggle-people');
  const people = await ada.page.$$eval('#roster-list .roster-name', (names) => names.map(({ textContent }) => textContent));
  assert.deepEqual(people, ['P0 (you)', 'P1', 'P2'], 'who has a hand up is first');
  await tap('#reactions button:nth-child(2)');
  await until('the reaction', () => bob.page.$eval(`${bob.tileOf(ada)} .reaction`, ({ textContent }) => textContent === '👏').catch(() => false));
  await tap('#raise');
  await gone(bob, `${bob.tileOf(ada)} .hand`);
  await tap('#close-roster');
  await gone(ada, '#side');
});

phone.test('a tap on a tile shows what can be done with it, the next one keeps it large', async () => {
  const tile = ada.tileOf(carl);
  const sizeOf = (selector) => ada.page.$eval(selector, (one) => one.clientWidth * one.clientHeight);
  const pinned = () => ada.page.$eval(tile, (one) => one.classList.contains('pinned'));
  const opacityOf = (part) => ada.page.$eval(`${tile} ${part}`, (one) => getComputedStyle(one).opacity);
  const opacity = () => opacityOf('.pin');
  const explained = (wanted) =>
    until(`${wanted ? 'the' : 'no'} line about the picture`, async () => {
      const found = [await opacityOf('.quality'), await textOf(ada, `${tile} .quality`)];
      return (wanted ? found[0] === '1' && /^640×360.* · /.test(found[1]) : found[0] === '0') || { error: found.join() };
    });
  const before = await sizeOf(tile);
  // Where the button is, though nobody sees it yet.
  await tap(`${tile} .pin`);
  await until('the button', async () => (await opacity()) === '1');
  await explained(true);
  assert.equal(await whole(`${tile} .quality`), true);
  assert.equal(await pinned(), false, 'what was not to be seen was not meant');
  await tap(tile, { at: 0.6 });
  await until('no button', async () => (await opacity()) === '0');
  await explained(false);
  // Elsewhere: two taps at one place are a double click.
  await tap(tile, { at: 0.4 });
  await until('the button', async () => (await opacity()) === '1');
  assert.equal(await pinned(), false);
  await tap(`${tile} .pin`);
  await until('P2 to be large', async () => (await pinned()) && (await sizeOf(tile)) > before * 1.5);
  await until('the others to be small', async () => (await sizeOf(ada.tileOf(bob))) * 2 < (await sizeOf(tile)));
  await tap(`${tile} .pin`);
  await until('all to be as before', async () => !(await pinned()) && Math.abs((await sizeOf(tile)) - before) < 2);
});

phone.test('what else there is lies behind “More”, which goes when something else is meant', async () => {
  await tap('#more');
  for (const tool of await ada.page.$$('#more-tools button:not([hidden])')) assert.equal(await whole(`#${await tool.evaluate(({ id }) => id)}`), true);
  await tap('#switch-layout');
  await until('another layout', () => ada.page.$eval('#switch-layout use', (use) => use.getAttribute('href') === '#icon-layout-grid'));
  await tap('#open-network');
  await shown(ada, '#network[open]');
  await tap('#network .round');
  await gone(ada, '#network');
  await shown(ada, '#more-tools');
  await tap(ada.tileOf(bob), { at: 0.3 });
  await gone(ada, '#more-tools');
});

phone.test('they leave, and join again', async () => {
  await tap('#leave');
  await state('closed');
  await examine('the end');
  await bob.misses(ada);
  await tap('#rejoin');
  await state('connected');
  await ada.untilJoined();
  await bob.sees(ada);
  await bob.hears(ada);
});

phone.test('with a passphrase and a file on its way the message is above the keyboard, too', async () => {
  const query = '#key=correct+horse';
  const guest = await phone.join(phone.browsers[0], 'sealed', 3, { query });
  ada = await phone.open(phone.browsers[0], `/?room=sealed&name=P4&autojoin=1${query}`, { index: 4, before: withoutScreens });
  await ada.page.setViewport(PHONE);
  await ada.untilJoined();
  await tap('#toggle-chat');
  await guest.page.evaluate(() => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(70_000)], 'minutes-of-the-last-meeting-with-all-remarks.pdf'));
    const input = document.querySelector('#file');
    input.files = files.files;
    input.dispatchEvent(new Event('change'));
  });
  await shown(ada, '#transfers li');
  await ada.page.setViewport(WRITING);
  await until('the smaller window', () => ada.page.evaluate((height) => innerHeight === height && document.querySelector('#side').getBoundingClientRect().bottom < height, WRITING.height));
  for (const part of ['#chat-text', '#chat-send', '#close-chat', '#chat-open']) assert.equal(await whole(part), true, `${part} is on the screen above the keyboard`);
  await tap('#chat-text');
  await ada.page.keyboard.type('Here it is');
  await tap('#chat-send');
  await until('the message to be sent', () => ada.page.$eval('#chat-text', ({ value }) => value === ''));
  await until('the message', async () => (await textOf(guest, '#messages li:last-child p')) === 'Here it is');
});
