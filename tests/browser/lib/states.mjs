/** Every page in every state that people see: for screenshots, and for whatever must hold for all of them. */
import { Participant } from './participant.mjs';
import { emptyPage } from './plain.mjs';
import { until } from './until.mjs';

const click = (selector) => async (page) => {
  await page.evaluate((what) => document.querySelector(what).click(), selector);
};
/** Chooses a layout as a person does: by the button that goes through them. */
const layout = (mode) => async (page) => {
  await until(`the layout ${mode}`, async () => {
    if (await page.evaluate((wanted) => document.querySelector('#switch-layout use').getAttribute('href') === `#icon-layout-${wanted}`, mode)) return true;
    await click('#switch-layout')(page);
    return false;
  });
};
const visible = (page, selector) => until(`${selector} to be seen`, () => page.evaluate((what) => document.querySelector(what)?.checkVisibility() ?? false, selector));

/**
 * A state: who must be there, and the way to it. `alike`: axe would see nothing that it does not see in another state. `others`: people in the room before; `crowd`: such without camera and microphone, in one page; `room`: theirs, where the address names none.
 * @type {{name: string, path: string, others?: number, crowd?: number, room?: string, alike?: boolean, ready: string, then?: (page: import('puppeteer-core').Page) => Promise<void>, shown?: string}[]}
 */
export const STATES = [
  { name: 'home', path: '/', ready: '#join' },
  { name: 'room-alone', path: '/?room=alone&name=Ada&autojoin=1', ready: '#alone' },
  { name: 'room-two', alike: true, path: '/?room=two&name=Ada&autojoin=1', others: 1, ready: '#tiles .floating' },
  { name: 'room-network', path: '/?room=two&name=Ada&autojoin=1', others: 1, ready: '#tiles .floating', then: click('#open-network'), shown: '#network' },
  { name: 'room-three', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#tiles .tile:nth-child(3) video' },
  { name: 'room-chat', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#tiles .tile', then: click('#toggle-chat'), shown: '#chat' },
  { name: 'room-people', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#tiles .tile', then: click('#toggle-people'), shown: '#roster' },
  { name: 'room-devices', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#tiles .tile', then: click('#open-devices'), shown: '#devices' },
  { name: 'room-pinned', path: '/?room=three&name=Ada&autojoin=1', others: 2, ready: '#tiles .tile:nth-child(3) video', then: click('#tiles .tile:nth-child(2) .pin'), shown: '.pinned' },
  { name: 'room-five', alike: true, path: '/?room=five&name=Ada&autojoin=1', others: 4, ready: '#tiles .tile:nth-child(5) video' },
  { name: 'room-speaker', alike: true, path: '/?room=five&name=Ada&autojoin=1', others: 4, ready: '#tiles .tile:nth-child(5) video', then: layout('speaker') },
  { name: 'room-screen', alike: true, path: '/?room=screen&name=Ada&autojoin=1', others: 2, ready: '#tiles .tile:nth-child(3) video', then: click('#toggle-screen'), shown: '[data-source="screen_share"] video' },
  { name: 'room-pages', path: '/?room=pages&name=Ada&autojoin=1', crowd: 40, ready: '#pager' },
  { name: 'room-keys', path: '/?room=keys&name=Ada&autojoin=1', ready: '#alone', then: click('#show-keys'), shown: '#shortcuts' },
  { name: 'room-invite', path: '/?room=invite&name=Ada&autojoin=1#key=correct+horse', ready: '#toggle-mic', then: click('#invite-others'), shown: '#invite' },
  { name: 'room-left', path: '/?room=left&name=Ada&autojoin=1', ready: '#alone', then: click('#leave'), shown: '#ended' },
  { name: 'live', path: '/live', ready: 'main' },
  { name: 'watch-empty', path: '/watch', ready: '#choose' },
  { name: 'watch-waiting', path: '/watch?room=nobody', ready: 'main' },
  { name: 'operator', path: '/operator', others: 2, room: 'operators', ready: '#cards svg polyline[points*=" "]', then: click('#rooms button'), shown: '#people tbody tr' },
  { name: 'direct', path: '/direct', ready: 'main' },
];

/** By browser: the last room, and who is in it. Those who belong to several states in a row come once. */
const last = new WeakMap();

async function fill(browser, url, room, count) {
  const { people = [], room: before } = last.get(browser) ?? {};
  if (before !== room) await Promise.all(people.splice(0).map((person) => person.page.browserContext().close()));
  last.set(browser, { room, people });
  while (people.length < count) people.push(await Participant.join(browser, { url, room, index: people.length + 1 }));
}

/**
 * At another size, in other colours.
 * @param {import('puppeteer-core').Page} page
 * @param {{width: number, height: number, scheme: 'light' | 'dark'}} look
 */
export async function show(page, { width, height, scheme }) {
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
}

/**
 * Opens a page in a state; others who belong to it come first, and stay until a state of another room is opened.
 * @param {import('puppeteer-core').Browser} browser
 * @param {string} url of the server
 * @param {typeof STATES[number]} state
 * @param {{width: number, height: number, scheme: 'light' | 'dark'}} look
 */
export async function openState(browser, url, state, look) {
  const room = state.room ?? new URL(state.path, url).searchParams.get('room');
  await fill(browser, url, room, state.others ?? 0);
  const crowd = state.crowd ? await joinCrowd(browser, url, room, state.crowd) : null;
  const own = await Participant.open(browser, 'about:blank', { index: 0 });
  const { page } = own;
  await show(page, look);
  await page.goto(new URL(state.path, url).href);
  await visible(page, state.ready);
  await state.then?.(page);
  if (state.shown) await visible(page, state.shown);
  return { page, close: () => Promise.all([page.browserContext().close(), crowd?.close()]) };
}

const NAMES = ['Ben', 'Clara', 'Dmitri', 'Elif', 'Farid', 'Grace', 'Hiro', 'Ines', 'Jonas', 'Katharina', 'Liam', 'Mei', 'Nora', 'Olu', 'Priya', 'Quentin', 'Rosa', 'Sven'];

/**
 * Many who are only there: a socket each, without media.
 * @param {import('puppeteer-core').Browser} browser
 * @param {string} url
 * @param {string} room
 * @param {number} count
 */
export async function joinCrowd(browser, url, room, count) {
  const page = await emptyPage(browser, url, 9);
  await page.evaluate(
    async (name, names) => {
      window.crowd = names.map(() => new WebSocket(`ws://${location.host}/ws`));
      const welcome = (socket, who) =>
        new Promise((resolve) => {
          socket.onopen = () => socket.send(JSON.stringify({ type: 'join', version: 1, room: name, name: who, max_video: 0, max_audio: 0 }));
          socket.onmessage = resolve;
        });
      await Promise.all(window.crowd.map((socket, index) => welcome(socket, names[index])));
    },
    room,
    Array.from({ length: count }, (_, index) => NAMES[index % NAMES.length] + (index < NAMES.length ? '' : ` ${Math.floor(index / NAMES.length) + 1}`)),
  );
  const close = async () => {
    await page.evaluate(() => window.crowd.forEach((socket) => socket.send(JSON.stringify({ type: 'leave' }))));
    await page.browserContext().close();
  };
  return { close };
}
