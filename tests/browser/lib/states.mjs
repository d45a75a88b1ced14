/** Every page in every state that people see: for screenshots, and for whatever must hold for all of them. */
import { Participant } from './participant.mjs';
import { until } from './until.mjs';

const click = (selector) => async (page) => {
  await page.evaluate((what) => document.querySelector(what).click(), selector);
};
const visible = (page, selector) => until(`${selector} to be seen`, () => page.evaluate((what) => document.querySelector(what)?.checkVisibility() ?? false, selector));

/**
 * A state: who must be there, and the way to it. `others`: people in the room before.
 * @type {{name: string, path: string, others?: number, ready: string, then?: (page: import('puppeteer-core').Page) => Promise<void>, shown?: string}[]}
 */
export const STATES = [
  { name: 'home', path: '/', ready: '#join' },
  { name: 'room-alone', path: '/?room=alone&name=Ada&autojoin=1', ready: '#alone' },
  { name: 'room-three', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#people .tile:nth-child(3) video' },
  { name: 'room-chat', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#people .tile', then: click('#toggle-chat'), shown: '#chat' },
  { name: 'room-people', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#people .tile', then: click('#toggle-people'), shown: '#roster' },
  { name: 'room-devices', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#people .tile', then: click('#open-devices'), shown: '#devices' },
  { name: 'room-left', path: '/?room=left&name=Ada&autojoin=1', ready: '#alone', then: click('#leave'), shown: '#ended' },
  { name: 'live', path: '/live', ready: 'main' },
  { name: 'watch-empty', path: '/watch', ready: '#choose' },
  { name: 'watch-waiting', path: '/watch?room=nobody', ready: 'main' },
  { name: 'direct', path: '/direct', ready: 'main' },
];

/** Who is in a room already, by browser: those who belong to several states come once. */
const others = new WeakMap();

async function fill(browser, url, room, count) {
  if (!others.has(browser)) others.set(browser, new Map());
  const rooms = others.get(browser);
  if (!rooms.has(room)) rooms.set(room, []);
  const people = rooms.get(room);
  while (people.length < count) people.push(await Participant.join(browser, { url, room, index: people.length + 1 }));
}

/**
 * Opens a page in a state; others who belong to it come first, and stay until the browser is closed.
 * @param {import('puppeteer-core').Browser} browser
 * @param {string} url of the server
 * @param {typeof STATES[number]} state
 * @param {{width: number, height: number, scheme: 'light' | 'dark'}} look
 */
export async function openState(browser, url, state, { width, height, scheme }) {
  const room = new URL(state.path, url).searchParams.get('room');
  await fill(browser, url, room, state.others ?? 0);
  const own = await Participant.open(browser, 'about:blank', { index: 0 });
  const { page } = own;
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.goto(new URL(state.path, url).href);
  await visible(page, state.ready);
  await state.then?.(page);
  if (state.shown) await visible(page, state.shown);
  return { page, close: () => page.browserContext().close() };
}
