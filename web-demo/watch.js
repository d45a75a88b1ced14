/**
 * @module
 * The page "Watch": plays a room's stream, and says what there is to say about it.
 *
 * `?room=R` starts at once; `&token=T` is passed on.
 */
import { watch } from './client/whep.js';
import { button, element, input } from './dom.js';
import { announce, copyLink } from './notices.js';
import { ROOM_SENTENCE, linkPages, pageLink, roomName } from './pages.js';
import { Player } from './player.js';
import { describeQuality } from './quality.js';
import { t } from './language.js';

/** @typedef {import('./client/whep.js').Viewer} Viewer */
/** @typedef {'choosing' | 'connecting' | 'waiting' | 'playing' | 'paused' | 'reconnecting' | 'closed'} PageState */
/** @typedef {{viewer: Viewer | null}} Exposed */

/** Whoever comes back comes back sooner. */
const ENDED_MS = 60_000;

const query = new URLSearchParams(location.search);
/** For tests and curious people in the console. @type {Exposed} */
const exposed = { viewer: null };
/** @type {Window & {switchyard?: Exposed}} */ (window).switchyard = exposed;
const player = new Player({ choose: async (rid) => exposed.viewer?.setLayer(rid) });
let endedTimer = 0;

start();

function start() {
  linkPages();
  element('watch-form').addEventListener('submit', (event) => {
    event.preventDefault();
    choose(input('room-name').value);
  });
  button('again').addEventListener('click', () => open(element('title').textContent ?? ''));
  button('copy-link').addEventListener('click', () => void copyLink(pageLink('/watch', element('title').textContent ?? ''), t('The link to this stream is on the clipboard.')));
  window.addEventListener('pagehide', () => exposed.viewer?.close());
  window.addEventListener('pageshow', (event) => {
    // The browser kept the page, but its session ended when it went.
    if (event.persisted) location.reload();
  });
  input('room-name').value = query.get('room') ?? '';
  if (query.has('room')) choose(query.get('room') ?? '');
  else input('room-name').focus();
}

/** @param {string} typed */
function choose(typed) {
  const room = roomName(typed);
  element('notice').textContent = ROOM_SENTENCE;
  element('notice').hidden = room !== null;
  if (!room) {
    input('room-name').focus();
    return;
  }
  history.replaceState(null, '', withRoom(room));
  open(room);
}

/** @param {string} room */
function withRoom(room) {
  const url = new URL(location.href);
  url.searchParams.set('room', room);
  return url;
}

/** @param {string} room */
function open(room) {
  element('choose').hidden = true;
  element('theatre').hidden = false;
  element('title').textContent = room;
  document.title = `${room} – Switchyard`;
  if (!window.RTCPeerConnection) {
    showState('closed', t('This cannot be played'), t('This browser has no WebRTC. Another browser will do.'));
    return;
  }
  showState('connecting', t('Connecting…'), '');
  const viewer = watch(new URL(`whep/${room}`, location.href), { token: query.get('token') ?? undefined });
  exposed.viewer = viewer;
  follow(viewer);
}

/** @param {Viewer} viewer */
function follow(viewer) {
  viewer.on('stream', ({ stream }) => void player.play(stream));
  viewer.on('layers', ({ layers }) => player.setLayers(layers));
  viewer.on('status', ({ status }) => player.setReason(describeQuality(status, { name: t('The publisher'), screen: false, width: 0, height: 0 }), status.limit === 'bandwidth'));
  viewer.on('viewers', ({ count }) => {
    element('audience').hidden = false;
    element('viewers').textContent = String(count);
    element('viewers-label').textContent = ` ${count === 1 ? t('viewer') : t('viewers')}`;
  });
  viewer.on('stats', ({ stats }) => player.setDelay(stats.behindMs ?? null));
  viewer.on('statechange', ({ state, message }) => {
    if (state === 'waiting') showState('waiting', t('Waiting for the stream'), t('It has not begun yet. It starts here by itself.'));
    else if (state === 'reconnecting') showState('reconnecting', t('Connecting again…'), message);
    else if (state === 'connected' && viewer.flowing) showPlaying();
  });
  viewer.on('flow', ({ flowing }) => {
    if (flowing) showPlaying();
    else if (viewer.state === 'connected') pause();
  });
  viewer.on('closed', ({ message }) => showState('closed', t('This cannot be played'), message));
}

function showPlaying() {
  showState('playing', t('The stream plays'), '');
}

/** Nothing comes, though the server is there. */
function pause() {
  showState('paused', t('The stream paused'), t('It goes on here by itself.'));
  endedTimer = window.setTimeout(() => {
    showState('paused', t('The stream has ended, it seems'), t('Nothing has come for a minute. Should it come back, it goes on here by itself.'));
  }, ENDED_MS);
}

/**
 * @param {PageState} state
 * @param {string} title
 * @param {string} text
 */
function showState(state, title, text) {
  clearTimeout(endedTimer);
  document.body.dataset.state = state;
  player.setLive(state === 'playing');
  element('curtain').hidden = state === 'playing';
  element('spinner').hidden = state === 'closed' || state === 'paused';
  element('again').hidden = state !== 'closed';
  if (element('curtain-title').textContent !== title) announce(`${title}${text ? `. ${t(text)}` : ''}`);
  element('curtain-title').textContent = title;
  element('curtain-text').textContent = t(text);
}
