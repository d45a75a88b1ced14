/** Every page in every state that people see: for screenshots, and for whatever must hold for all of them. */
import { captureSomething, reaches } from './direct.mjs';
import { KEY, Stage, visible } from './stage.mjs';
import { tokenOf } from './token.mjs';
import { until } from './until.mjs';

/**
 * `then`: the way to it from the state before, where it is another page's; dialogs are closed before. `shown`: seen once it is there. `main`: looked
 * at in both colours at both sizes. `alike`: axe would see nothing that it does not see in another state. `phone`: there is no such state on a
 * desk.
 * @typedef {{name: string, then?: (stage: Stage) => unknown, shown?: string, main?: boolean, alike?: boolean, phone?: boolean}} State
 */

/**
 * States that one page goes through. `others`: people in the room before, who stay for the next scene of that room; `small`: with little pictures;
 * `crowd`: such without camera and microphone; `room`: theirs, where the address names none. `first`: done before the page is opened; `before`: runs in
 * the page before its scripts. `server`: one with keys, the address of its figures, or the usual one by a way that can be cut.
 * @typedef {{path: string, others?: number, small?: boolean, crowd?: number, room?: string, server?: 'guarded' | 'figures' | 'cut', first?: (stage: Stage) => unknown,
 *   before?: () => void, ready: string, states: State[]}} Scene
 */

const { act } = Stage;
const click = (selector) => (stage) => stage.click(selector);
const inRoom = (room, rest = '') => `/?room=${room}&name=Ada&autojoin=1${rest}`;

/** Chooses a layout as a person does: by the button that goes through them. */
const layout = (mode) => async (stage) => {
  await until(`the layout ${mode}`, async () => {
    if (await stage.page.evaluate((wanted) => document.querySelector('#switch-layout use').getAttribute('href') === `#icon-layout-${wanted}`, mode)) return true;
    await stage.click('#switch-layout');
    return false;
  });
};

const fillIn = (values, button) => async ({ page }) => {
  await page.evaluate((all) => Object.entries(all).forEach(([id, value]) => (document.getElementById(id).value = value)), values);
  await page.evaluate((selector) => document.querySelector(selector).click(), button);
};

/** Run in the page before its scripts. */
const inGerman = () => localStorage.setItem('switchyard.language', 'de');
const withoutWebRtc = () => delete window.RTCPeerConnection;
const withoutServer = () => (window.fetch = () => Promise.reject(new TypeError('Failed to fetch')));
const refuseDevices = () => (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError')));
const withoutDevices = () => {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('none', 'NotFoundError'));
  navigator.mediaDevices.enumerateDevices = () => Promise.resolve([]);
};
/** As browsers do until somebody clicks; those of the tests are started without this rule. */
const withoutSound = () => {
  const { play } = HTMLMediaElement.prototype;
  HTMLMediaElement.prototype.play = function () {
    return this.muted ? play.call(this) : Promise.reject(new DOMException('no sound before a click', 'NotAllowedError'));
  };
};

/** Runs in the page: what is asked of the server from now on is answered when `release` is called, or never. */
function holdAnswers() {
  const { fetch } = window;
  const released = new Promise((resolve) => (window.release = resolve));
  window.fetch = (...asked) => released.then(() => fetch(...asked));
}

/** Runs in the page: the server cannot be reached any more. */
function loseStream() {
  window.fetch = () => Promise.reject(new TypeError('Failed to fetch'));
  const { publication, viewer } = window.switchyard;
  (publication ?? viewer).handlers().reconnect();
}

/** The others talk, also in private, and one of them sends a file. */
async function talk({ page, people: [one, other] }) {
  const ada = await page.evaluate(() => window.switchyard.room.identity);
  await act(one, (room) => room.chat.say('Good morning! The agenda is at https://example.org/agenda?week=48 as always.'));
  await act(other, (room) => room.chat.say('Thanks. I have one more point: theVeryLongNameOfAFunctionThatNobodyCouldEverBreakIntoTwoLines()'));
  await act(one, (room, to) => room.chat.say('Only for you: shall we begin?', [to]), ada);
  await other.page.evaluate(() => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(70_000)], 'minutes-of-the-last-meeting-with-all-remarks.pdf', { type: 'application/pdf' }));
    const input = document.querySelector('#file');
    input.files = files.files;
    input.dispatchEvent(new Event('change'));
  });
  await until('the file to be offered', async () => (await page.$('#transfers li')) !== null);
}

const identityOf = (person) => act(person, (room) => room.identity);
const openDialogOf = (index) => async (stage) => {
  await stage.page.evaluate((identity) => document.querySelector(`#roster-list li[data-identity="${identity}"] button`).click(), await identityOf(stage.guests[index]));
};

/** Two come after the moderator, one of them with a long name and a raised hand. */
async function comeLater(stage) {
  for (const [index, name] of ['Maximiliane Featherstonehaugh-Cholmondeley', 'Bob'].entries()) {
    await (await stage.guest(index + 1, `/?room=moderated&name=${name}&autojoin=1&mic=${index}`)).untilJoined();
  }
  await act(stage.guests[0], (room) => room.people.raiseHand(true));
  await visible(stage.page, '#tiles .tile:not([data-local]) .hand:not([hidden])');
  await stage.click('#toggle-people');
}

async function knock(stage) {
  await stage.click('#use-lobby');
  await until('the lobby', () => stage.page.evaluate(() => window.switchyard.room.people.lobby));
  await stage.guest(3, '/?room=moderated&name=Eve&autojoin=1');
}

async function ban(stage) {
  await openDialogOf(1)(stage);
  await stage.click('#deeds [data-deed="ban"]');
  await stage.page.$eval('#confirm-reason', (input) => (input.value = 'Spam'));
  await stage.click('#confirm-yes');
  await until('the end of the other', async () => (await stage.guests[1].page.evaluate(() => document.body.dataset.state)) === 'closed');
  await stage.click('#banned summary');
}

const useLobby = ({ people: [moderator] }) => act(moderator, (room) => room.people.updateRoom({ lobby: true }));
/** The first in the lobby. */
const decide = (what) => async ({ people: [moderator] }) => {
  const identity = await until('the knock', () => act(moderator, (room) => room.people.waiting[0]?.identity));
  await moderator.page.evaluate((deed, who) => window.switchyard.room.people[deed](who, 'This is for the crew only.'), what, identity);
};

async function watchOnly(stage) {
  await decide('admit')(stage);
  await visible(stage.page, '#tiles .tile');
  const ada = await stage.page.evaluate(() => window.switchyard.room.identity);
  await act(stage.people[0], (room, identity) => room.people.setPermissions(identity, { can_publish: false, can_publish_data: false }, 'The panel speaks first.'), ada);
  await until('the buttons to be gone', () => stage.page.$eval('#toggle-mic', ({ hidden }) => hidden));
}

async function remove(stage) {
  const ada = await stage.page.evaluate(() => window.switchyard.room.identity);
  await act(stage.people[0], (room, identity) => room.people.kick(identity, 'The meeting is over for guests.'), ada);
}

/** Somebody goes live in that room. */
const goLive = (room) => async (stage) => {
  const host = await stage.guest(2, `/live?room=${room}&name=Ben&autostart=1`);
  await until('the stream', () => host.page.evaluate(() => document.body.dataset.state === 'live'));
};

async function callBack(stage) {
  const other = await stage.guest(1, '/direct?room=den&name=Ben&autostart=1', captureSomething);
  await until('the call', () => stage.page.evaluate(() => document.body.dataset.state === 'connected'));
  await reaches(other, 'connected');
  const say = (page, text) => page.evaluate((words) => {
    document.querySelector('#chat-text').value = words;
    document.querySelector('#chat-form').requestSubmit();
  }, text);
  await until('the channel', () => stage.page.$eval('#chat-send', ({ disabled }) => !disabled));
  await until('the channel', () => other.page.$eval('#chat-send', ({ disabled }) => !disabled));
  await say(other.page, 'Do you see me?');
  await until('the message', () => stage.page.$('#messages li'));
  await say(stage.page, 'Yes, and I hear you well: nothing between us but two routers and a long cable under the sea.');
}

/** Runs in the page: the other cannot be reached for a while. */
function interruptCall() {
  const { connection } = window.switchyard.call;
  Object.defineProperty(connection, 'connectionState', { value: 'disconnected', configurable: true });
  connection.onconnectionstatechange();
}

/** @type {Scene[]} */
export const SCENES = [
  {
    path: '/?name=Ada',
    ready: '#join',
    states: [
      { name: 'home', main: true },
      { name: 'home-menu', phone: true, then: click('.open-menu'), shown: '#menu:popover-open' },
      { name: 'home-invite', then: click('#invite-before'), shown: '#invite' },
      { name: 'home-bad-room', then: fillIn({ 'room-name': 'no/room' }, '#join'), shown: '#prejoin-notice' },
      {
        name: 'home-joining',
        then: async (stage) => {
          // It opens and never says a word.
          await stage.page.evaluate(() => (window.WebSocket = class extends EventTarget {}));
          await fillIn({ 'room-name': 'lobby' }, '#join')(stage);
        },
        shown: '[data-state="joining"] #join:disabled',
      },
    ],
  },
  { path: '/?name=Ada', before: refuseDevices, ready: '#prejoin-notice', states: [{ name: 'home-refused' }] },
  { path: '/?name=Ada', before: withoutDevices, ready: '#prejoin-notice', states: [{ name: 'home-no-device' }] },
  { path: '/?name=Ada', before: withoutWebRtc, ready: '#ended', states: [{ name: 'home-no-webrtc' }] },
  { path: '/?name=Ada', before: inGerman, ready: '#join', states: [{ name: 'home-german' }] },
  {
    path: inRoom('german'),
    before: inGerman,
    ready: '#alone',
    states: [
      { name: 'room-german-people', then: click('#toggle-people'), shown: '#moderation' },
      { name: 'room-german-network', then: click('#open-network'), shown: '#network' },
      { name: 'room-german-keys', then: click('#show-keys'), shown: '#shortcuts' },
    ],
  },
  {
    path: inRoom('alone'),
    ready: '#alone',
    states: [
      { name: 'room-alone', main: true },
      { name: 'room-keys', then: click('#show-keys'), shown: '#shortcuts' },
      { name: 'room-left', then: click('#leave'), shown: '#ended' },
    ],
  },
  {
    path: inRoom('secret', '#key=correct+horse'),
    others: 1,
    ready: '#tiles .tile-note:not([hidden])',
    states: [{ name: 'room-secret' }, { name: 'room-invite', then: click('#invite-others'), shown: '#invite' }],
  },
  {
    path: inRoom('two'),
    others: 1,
    ready: '#tiles .floating',
    states: [
      { name: 'room-two', alike: true },
      { name: 'room-figures', then: click('#toggle-stats'), shown: '.stats dd' },
      { name: 'room-more', phone: true, then: click('#more'), shown: '#more-tools button' },
      { name: 'room-network', then: async (stage) => (await stage.click('#more'), stage.click('#open-network')), shown: '#network' },
      { name: 'room-sound-only', then: ({ page }) => page.keyboard.press('a'), shown: '.toast' },
    ],
  },
  {
    path: inRoom('three'),
    others: 2,
    ready: '#tiles .tile:nth-child(3) video',
    states: [
      { name: 'room-three', main: true },
      { name: 'room-pinned', then: click('#tiles .tile:nth-child(2) .pin'), shown: '.pinned' },
      { name: 'room-chat-empty', then: click('#toggle-chat'), shown: '#chat' },
      { name: 'room-people', main: true, then: click('#toggle-people'), shown: '#roster' },
      { name: 'room-devices', then: click('#open-devices'), shown: '#devices' },
      {
        name: 'room-screen',
        then: async (stage) => {
          await stage.click('#toggle-people');
          await stage.click('.pinned .pin');
          await stage.click('#toggle-screen');
        },
        shown: '[data-source="screen_share"] video',
      },
    ],
  },
  {
    path: inRoom('talk'),
    others: 2,
    ready: '#tiles .tile:nth-child(3) video',
    states: [
      { name: 'room-unread', then: talk, shown: '#unread' },
      { name: 'room-chat', main: true, then: click('#toggle-chat'), shown: '#transfers li' },
    ],
  },
  {
    path: inRoom('moderated'),
    ready: '#alone',
    states: [
      { name: 'room-moderator', then: comeLater, shown: '#moderation', main: true },
      { name: 'room-person', then: openDialogOf(0), shown: '#person' },
      { name: 'room-confirm', then: async (stage) => (await openDialogOf(1)(stage), stage.click('#deeds [data-deed="ban"]')), shown: '#confirm' },
      { name: 'room-bans', then: ban, shown: '#bans button' },
      { name: 'room-knocks', then: knock, shown: '#knocks button' },
    ],
  },
  {
    path: inRoom('guests'),
    others: 1,
    first: useLobby,
    ready: '#waiting',
    states: [{ name: 'room-waiting' }, { name: 'room-denied', then: decide('deny'), shown: '#ended' }],
  },
  {
    path: inRoom('guests'),
    others: 1,
    first: useLobby,
    ready: '#waiting',
    states: [
      { name: 'room-watching', then: watchOnly, shown: '#tiles .tile' },
      { name: 'room-removed', then: remove, shown: '#ended' },
    ],
  },
  {
    path: inRoom('cut'),
    server: 'cut',
    others: 1,
    ready: '.has-picture:not(.floating) ~ .has-picture.floating, .has-picture.floating ~ .has-picture:not(.floating)',
    states: [{ name: 'room-reconnecting', main: true, then: ({ cut }) => cut.cut(), shown: '#banner .countdown' }],
  },
  {
    path: inRoom('five'),
    others: 4,
    ready: '#tiles .tile:nth-child(5) video',
    states: [{ name: 'room-five', alike: true }, { name: 'room-speaker', alike: true, then: layout('speaker') }],
  },
  { path: inRoom('nine'), others: 8, small: true, ready: '#tiles .tile:nth-child(9) video', states: [{ name: 'room-nine', alike: true }] },
  {
    path: inRoom('pages'),
    crowd: 24,
    ready: '#tiles .tile:nth-child(3)',
    states: [{ name: 'room-many', alike: true }],
  },
  {
    path: inRoom('pages'),
    crowd: 40,
    ready: '#pager',
    states: [{ name: 'room-pages' }, { name: 'room-pages-second', then: click('#page-on'), shown: '#page-back:enabled' }],
  },
  {
    path: '/live?name=Ada',
    ready: '#preview-video',
    states: [
      { name: 'live', main: true },
      {
        name: 'live-starting',
        then: async ({ page }) => {
          await page.evaluate(holdAnswers);
          await page.click('#go-live');
        },
        shown: '#go-live:disabled',
      },
      {
        name: 'live-on-air',
        main: true,
        then: ({ page }) => page.evaluate(() => window.release()),
        shown: '#health:not([data-health="starting"])',
      },
      { name: 'live-reconnecting', then: ({ page }) => page.evaluate(loseStream), shown: '#health[data-health="lost"]' },
      { name: 'live-ended', then: click('#stop'), shown: '#notice' },
    ],
  },
  {
    path: '/watch',
    ready: '#choose',
    states: [
      { name: 'watch-empty' },
      { name: 'watch-bad-name', then: fillIn({ 'room-name': 'no/room' }, '#start'), shown: '#notice' },
      { name: 'watch-waiting', then: fillIn({ 'room-name': 'nobody' }, '#start'), shown: '[data-state="waiting"] #curtain' },
    ],
  },
  {
    path: '/watch?room=stage',
    first: goLive('stage'),
    before: withoutSound,
    ready: '[data-state="playing"] #sound-wanted',
    states: [
      { name: 'watch-sound-wanted' },
      { name: 'watch-playing', main: true, then: click('#sound-wanted'), shown: '#delay' },
      { name: 'watch-paused', then: ({ guests: [host] }) => host.page.click('#stop'), shown: '[data-state="paused"] #curtain' },
      { name: 'watch-reconnecting', then: ({ page }) => page.evaluate(loseStream), shown: '[data-state="reconnecting"] #curtain' },
    ],
  },
  { path: '/watch?room=guarded', server: 'guarded', ready: '#again', states: [{ name: 'watch-closed' }] },
  {
    path: '/direct?room=den&name=Ada',
    before: captureSomething,
    ready: '#local-camera',
    states: [
      { name: 'direct', main: true },
      { name: 'direct-waiting', then: click('#call'), shown: '#call-link' },
      { name: 'direct-connected', main: true, then: callBack, shown: '#messages li:nth-child(2)' },
      { name: 'direct-reconnecting', then: ({ page }) => page.evaluate(interruptCall), shown: '[data-state="reconnecting"]' },
    ],
  },
  {
    path: '/operator',
    others: 2,
    room: 'operators',
    ready: '#cards svg polyline[points*=" "]',
    states: [
      { name: 'operator', main: true, then: click('#rooms button'), shown: '#people tbody tr' },
      { name: 'operator-stale', then: ({ page }) => page.evaluate(withoutServer), shown: '[data-state="stale"] #freshness' },
    ],
  },
  { path: '/operator', before: withoutServer, ready: '[data-state="gone"] #freshness', states: [{ name: 'operator-gone' }] },
  { path: '/operator', server: 'guarded', ready: '#refused', states: [{ name: 'operator-refused' }] },
  {
    path: '/operator',
    server: 'figures',
    ready: '#token-form',
    states: [
      { name: 'operator-token' },
      { name: 'operator-wrong-token', then: fillIn({ token: 'nonsense' }, '#token-form button'), shown: '#token-notice' },
      { name: 'operator-empty', then: (stage) => fillIn({ token: tokenOf(KEY, { roomList: true }) }, '#token-form button')(stage), shown: '#rooms-empty' },
    ],
  },
];
