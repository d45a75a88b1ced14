/**
 * @module
 * The page: first screen, meeting, and the end. Reads the address, joins, and holds the parts together.
 *
 * `?room=R&name=N` fill the first screen, `&autojoin=1` skips it; `&mic=0`, `&cam=0` join without; `&codec=h264` sends
 * another video codec, `&mode=L3T3_KEY` VP9 or AV1 in layers of one stream; `&adaptive=0` wants every picture in full; `&token=T` is passed on.
 */
import { connect } from './client/index.js';
import { openWanted } from './client/devices.js';
import { fetchIceServers } from './client/direct.js';
import { button, element } from './dom.js';
import { FloatingSpeaker } from './floating-speaker.js';
import { GoDirect } from './go-direct.js';
import { identity } from './identity.js';
import { ChatPanel } from './chat-panel.js';
import { invite } from './invite.js';
import { LocalMedia } from './client/local-media.js';
import { Speaker } from './client/speaker.js';
import { Meeting } from './meeting.js';
import { encryptionOf, passphraseOfLink, withPassphrase } from './passphrase.js';
import { NetworkIndicator } from './network-indicator.js';
import { announce, clearNotices, toast } from './notices.js';
import { iceServersUrl, linkPages, pageLink, relayUrl } from './pages.js';
import { PeoplePanel } from './people-panel.js';
import { Prejoin } from './prejoin.js';
import { ReconnectBanner } from './reconnect-banner.js';
import { Side } from './side.js';
import { setUpControls, showControls, useControls } from './controls.js';
import { StatsOverlay } from './stats-overlay.js';
import { recall, remember, rememberedChoices, rememberedWanted } from './client/storage.js';
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/e2ee/encryption.js').Encryption} Encryption */
/** @typedef {import('./prejoin.js').Choice} Choice */
/** @typedef {import('./client/codecs.js').VideoCodec} VideoCodec */
/** @typedef {'prejoin' | 'joining' | 'waiting' | 'connected' | 'reconnecting' | 'closed'} PageState */
/** @typedef {{room: Room | null, media: LocalMedia | null}} Exposed */

const query = new URLSearchParams(location.search);
const codec = /** @type {VideoCodec} */ (['vp8', 'h264', 'vp9', 'av1'].find((name) => name === query.get('codec')) ?? 'vp8');
const scalabilityMode = query.get('mode') ?? undefined;
/** As the address says, then as it was turned on or off last. */
const wanted = { camera: query.get('cam') !== '0' && rememberedWanted('camera'), microphone: query.get('mic') !== '0' && rememberedWanted('microphone') };

/** For tests and curious people in the console. @type {Exposed} */
const exposed = { room: null, media: null };
/** @type {Window & {switchyard?: Exposed}} */ (window).switchyard = exposed;

/** Of the meeting, empty if it is not encrypted end to end. */
let passphrase = passphraseOfLink();
/** @type {Encryption | undefined} */
let encryption;
/** @type {{close: () => void}[]} */
let shown = [];
/** Ends the waiting in the lobby. */
let waiting = new AbortController();

const banner = new ReconnectBanner(() => exposed.room?.reconnectNow());
const prejoin = new Prejoin({
  name: query.get('name') ?? recall('localStorage', 'name') ?? '',
  room: query.get('room') ?? 'lobby',
  passphrase: passphraseOfLink(),
  wanted,
  join: (choice) => void join(choice),
  invite: (room, secret) => invite(linkTo(room, secret)),
});

start();

function start() {
  setUpControls();
  linkPages();
  button('rejoin').addEventListener('click', () => autojoin());
  button('back').addEventListener('click', () => showPrejoin(''));
  button('stop-waiting').addEventListener('click', () => waiting.abort());
  window.addEventListener('pagehide', () => exposed.room?.close());
  window.addEventListener('pageshow', (event) => {
    // The browser kept the page, but we left the room when it went.
    if (event.persisted) location.reload();
  });
  if (!window.RTCPeerConnection) {
    showEnd(t('This browser has no WebRTC, so there is no meeting in it. Another browser will do.'), t('This browser cannot join'));
    button('rejoin').hidden = true;
  } else if (query.get('autojoin') === '1') {
    autojoin();
  } else {
    showPrejoin('');
  }
}

/** Joins without the first screen: as the address says, or as before. */
function autojoin() {
  const name = localName();
  const room = exposed.room?.roomName ?? query.get('room') ?? 'lobby';
  const choices = rememberedChoices();
  void join({ name, room, passphrase, choices, tracks: openWanted(wanted, choices) });
}

function localName() {
  return exposed.room?.name ?? query.get('name') ?? recall('localStorage', 'name') ?? t('Guest');
}

/** Joins; the room does not wait for devices that are still being opened. @param {Choice} choice */
async function join({ name, room: roomName, passphrase: chosen, choices, tracks }) {
  passphrase = chosen;
  showState('joining');
  clearNotices();
  prejoin.notify('');
  prejoin.setBusy(true);
  remember('localStorage', 'name', name);
  /** @type {Room} */
  let room;
  try {
    waiting = new AbortController();
    const [token, adaptiveStream] = [query.get('token') ?? undefined, query.get('adaptive') !== '0'];
    encryption = await encryptionOf(passphrase, roomName);
    room = await connect(socketUrl(), { room: roomName, name, identity: await identity(), token, adaptiveStream, encryption, waiting: showWaiting, signal: waiting.signal });
  } catch (error) {
    void tracks.then(stopTracks);
    encryption?.close();
    prejoin.setBusy(false);
    prejoin.hide();
    const { code, message } = /** @type {import('./client/index.js').SwitchyardError} */ (error);
    if (code === 'denied' || code === 'banned') showEnd(message, t('You were not let in'));
    else showPrejoin(code === 'aborted' ? '' : message);
    return;
  }
  prejoin.setBusy(false);
  prejoin.hide();
  const media = enter(room, choices);
  const opened = await tracks;
  if (room.state === 'closed' || !room.canPublish) {
    stopTracks(opened);
    if (!room.canPublish) toast(t('You are invited to this room to watch and listen.'));
    return;
  }
  if (opened.problems.length > 0) toast(opened.problems.map((problem) => t(problem)).join(' '));
  try {
    await media.publish(opened);
  } catch (error) {
    if (room.state === 'connected') toast(/** @type {Error} */ (error).message);
  }
}

/** @param {import('./client/devices.js').Opened} opened */
function stopTracks({ camera, microphone }) {
  camera?.stop();
  microphone?.stop();
}

/**
 * @param {Room} room
 * @param {import('./client/storage.js').Choices} choices
 */
function enter(room, choices) {
  const media = new LocalMedia(room, { codec, scalabilityMode, choices, changed: showControls, lost: (sentence) => toast(sentence) });
  const speaker = new Speaker(choices.speaker);
  const meeting = new Meeting(room, speaker, showControls);
  const floating = FloatingSpeaker.supported ? new FloatingSpeaker(room, showControls) : null;
  const stats = new StatsOverlay(room, () => meeting.tiles);
  const direct = new GoDirect(room, relayUrl(room.roomName, query.get('token')), {
    show: (coming) => meeting.showDirect(coming),
    changed: showControls,
    offered: (name, accept) => toast(t('{name} offers to go direct, without the server in between.', { name }), { label: t('Go direct'), act: accept }),
    tell: (sentence) => toast(sentence),
    iceServers: () => fetchIceServers(iceServersUrl(room.roomName), query.get('token')),
  });
  Object.assign(exposed, { room, media });
  const social = showPeople(room, meeting);
  shown = [...social.panels, ...(floating ? [floating] : []), new NetworkIndicator(room), direct, stats, meeting];
  element('room-title').textContent = room.roomName;
  document.title = `${room.roomName} – Switchyard`;
  const link = linkTo(room.roomName, passphrase);
  useControls({ room, media, wanted, meeting, floating, speaker, stats, direct, social, link, leave: () => room.close() });
  room.on('statechange', ({ state, message }) => {
    if (state === 'connected' || state === 'reconnecting') showState(state);
    if (state === 'reconnecting') banner.show(message);
    if (state === 'connected') announce(t('Connected again.'));
    // After a new join we may be allowed something else.
    showControls();
  });
  room.on('permissionschanged', showControls);
  room.on('reconnecting', (news) => banner.await(news));
  room.on('error', ({ message }) => toast(message));
  room.on('closing', ({ message }) => toast(message));
  room.on('closed', ({ reason, message }) => {
    media.close();
    encryption?.close();
    leaveMeeting();
    if (reason === 'left') showEnd(t('You can come back at any time.'), t('You left the room'));
    else showEnd(message, t('You are out of the room'));
  });
  showState('connected');
  element('room-title').focus();
  const others = [...room.participants.values()].map(({ name: other }) => other);
  const secret = encryption ? t('It is encrypted end to end.') : '';
  const company = others.length > 0 ? t('Here are {names}.', { names: others.join(', ') }) : t('Nobody else is here yet.');
  announce([t('You are in the room {room}.', { room: room.roomName }), secret, company].filter(Boolean).join(' '));
  return media;
}

/** Chat and people beside the tiles. @param {Room} room @param {Meeting} meeting */
function showPeople(room, meeting) {
  const side = new Side(showControls);
  const chat = new ChatPanel(room, () => side.open === 'chat', showControls);
  const people = new PeoplePanel(room, showControls);
  const reactions = room.people.on('reaction', ({ participant, reaction }) => {
    meeting.react(participant, reaction);
    announce(`${room.participants.get(participant)?.name ?? t('You')}: ${reaction}`);
  });
  const toggle = /** @param {'chat' | 'roster'} panel */ (panel) => {
    side.toggle(panel);
    if (side.open === 'chat') chat.read();
    showControls();
  };
  return { people: room.people, side, toggle, unread: () => chat.unread, panels: [side, chat, people, { close: reactions }] };
}

/** @param {string} room @param {string} secret empty: not encrypted end to end */
function linkTo(room, secret) {
  return withPassphrase(pageLink('/', room), secret);
}

function leaveMeeting() {
  useControls(null);
  for (const part of shown.splice(0)) part.close();
  clearNotices();
  document.title = 'Switchyard';
}

/** @param {number} place */
function showWaiting(place) {
  const first = document.body.dataset.state !== 'waiting';
  showState('waiting');
  const before = place === 2 ? t('Before you one person is waiting.') : t('Before you {count} people are waiting.', { count: place - 1 });
  element('waiting-message').textContent = `${t('A moderator of this room has to let you in.')} ${place === 1 ? t('You are next.') : before}`;
  if (first) element('waiting-title').focus();
}

/** @param {string} notice */
function showPrejoin(notice) {
  showState('prejoin');
  void prejoin.show(notice);
}

/**
 * @param {string} message
 * @param {string} title
 */
function showEnd(message, title) {
  showState('closed');
  element('ended-title').textContent = title;
  element('ended-message').textContent = t(message);
  element('ended-title').focus();
}

/** @param {PageState} state */
function showState(state) {
  document.body.dataset.state = state;
  const inRoom = state === 'connected' || state === 'reconnecting';
  element('prejoin').hidden = inRoom || state === 'closed' || state === 'waiting';
  element('waiting').hidden = state !== 'waiting';
  element('meeting').hidden = !inRoom;
  element('ended').hidden = state !== 'closed';
  if (state !== 'reconnecting') banner.hide();
}

function socketUrl() {
  const url = new URL('ws', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = '';
  return url;
}
