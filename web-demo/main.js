/**
 * @module
 * The page: first screen, meeting, and the end. Reads the address, joins, and holds the parts together.
 *
 * `?room=R&name=N` fill the first screen, `&autojoin=1` skips it; `&mic=0`, `&cam=0` join without; `&codec=h264` sends
 * another video codec, `&mode=L3T3_KEY` VP9 or AV1 in layers of one stream; `&adaptive=0` wants every picture in full; `&token=T` is passed on.
 */
import { connect } from './client/index.js';
import { openWanted } from './devices.js';
import { button, element } from './dom.js';
import { GoDirect } from './go-direct.js';
import { identity } from './identity.js';
import { LocalMedia } from './local-media.js';
import { Meeting } from './meeting.js';
import { announce, clearNotices, toast } from './notices.js';
import { linkPages, pageLink, relayUrl } from './pages.js';
import { Prejoin } from './prejoin.js';
import { ReconnectBanner } from './reconnect-banner.js';
import { setUpControls, showControls, useControls } from './controls.js';
import { StatsOverlay } from './stats-overlay.js';
import { recall, remember, rememberedDevices } from './storage.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./prejoin.js').Choice} Choice */
/** @typedef {import('./client/codecs.js').VideoCodec} VideoCodec */
/** @typedef {'prejoin' | 'joining' | 'connected' | 'reconnecting' | 'closed'} PageState */
/** @typedef {{room: Room | null, media: LocalMedia | null}} Exposed */

const query = new URLSearchParams(location.search);
const codec = /** @type {VideoCodec} */ (['vp8', 'h264', 'vp9', 'av1'].find((name) => name === query.get('codec')) ?? 'vp8');
const scalabilityMode = query.get('mode') ?? undefined;
const wanted = { camera: query.get('cam') !== '0', microphone: query.get('mic') !== '0' };

/** For tests and curious people in the console. @type {Exposed} */
const exposed = { room: null, media: null };
/** @type {Window & {switchyard?: Exposed}} */ (window).switchyard = exposed;

/** @type {{meeting: Meeting, stats: StatsOverlay, direct: GoDirect} | null} */
let shown = null;

const banner = new ReconnectBanner(() => exposed.room?.reconnectNow());
const prejoin = new Prejoin({
  name: query.get('name') ?? recall('localStorage', 'name') ?? '',
  room: query.get('room') ?? 'lobby',
  wanted,
  join: (choice) => void join(choice),
});

start();

function start() {
  setUpControls();
  linkPages();
  button('rejoin').addEventListener('click', () => autojoin());
  button('back').addEventListener('click', () => showPrejoin(''));
  window.addEventListener('pagehide', () => exposed.room?.close());
  window.addEventListener('pageshow', (event) => {
    // The browser kept the page, but we left the room when it went.
    if (event.persisted) location.reload();
  });
  if (!window.RTCPeerConnection) {
    showEnd('This browser has no WebRTC, so there is no meeting in it. Another browser will do.', 'This browser cannot join');
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
  const ids = rememberedDevices();
  void join({ name, room, ids, tracks: openWanted(wanted, ids) });
}

function localName() {
  return exposed.room?.name ?? query.get('name') ?? recall('localStorage', 'name') ?? 'Guest';
}

/** Joins; the room does not wait for devices that are still being opened. @param {Choice} choice */
async function join({ name, room: roomName, ids, tracks }) {
  showState('joining');
  clearNotices();
  prejoin.notify('');
  prejoin.setBusy(true);
  remember('localStorage', 'name', name);
  /** @type {Room} */
  let room;
  try {
    const [token, adaptiveStream] = [query.get('token') ?? undefined, query.get('adaptive') !== '0'];
    room = await connect(socketUrl(), { room: roomName, name, identity: await identity(), token, adaptiveStream });
  } catch (error) {
    void tracks.then(stopTracks);
    prejoin.setBusy(false);
    prejoin.hide();
    showPrejoin(/** @type {Error} */ (error).message);
    return;
  }
  prejoin.setBusy(false);
  prejoin.hide();
  const media = enter(room, ids);
  const opened = await tracks;
  if (room.state === 'closed' || !room.canPublish) {
    stopTracks(opened);
    if (!room.canPublish) toast('You are invited to this room to watch and listen.');
    return;
  }
  if (opened.problems.length > 0) toast(opened.problems.join(' '));
  try {
    await media.publish(opened);
  } catch (error) {
    if (room.state === 'connected') toast(/** @type {Error} */ (error).message);
  }
}

/** @param {import('./devices.js').Opened} opened */
function stopTracks({ camera, microphone }) {
  camera?.stop();
  microphone?.stop();
}

/**
 * @param {Room} room
 * @param {{camera: string, microphone: string}} ids
 */
function enter(room, ids) {
  const media = new LocalMedia(room, { codec, scalabilityMode, ids, changed: showControls, lost: (sentence) => toast(sentence) });
  const meeting = new Meeting(room);
  const stats = new StatsOverlay(room, () => meeting.tiles);
  const direct = new GoDirect(room, relayUrl(room.roomName, query.get('token')), {
    show: (coming) => meeting.showDirect(coming),
    changed: showControls,
    offered: (name, accept) => toast(`${name} offers to go direct, without the server in between.`, { label: 'Go direct', act: accept }),
    tell: (sentence) => toast(sentence),
  });
  Object.assign(exposed, { room, media });
  shown = { meeting, stats, direct };
  element('room-title').textContent = room.roomName;
  document.title = `${room.roomName} – Switchyard`;
  const link = pageLink('/', room.roomName);
  useControls({ media, stats, direct, link, canPublish: room.canPublish, leave: () => room.close() });
  room.on('statechange', ({ state, message }) => {
    if (state === 'connected' || state === 'reconnecting') showState(state);
    if (state === 'reconnecting') banner.show(message);
    if (state === 'connected') announce('Connected again.');
  });
  room.on('reconnecting', (news) => banner.await(news));
  room.on('error', ({ message }) => toast(message));
  room.on('closing', ({ message }) => toast(message));
  room.on('closed', ({ reason, message }) => {
    media.close();
    leaveMeeting();
    if (reason === 'left') showEnd('You can come back at any time.', 'You left the room');
    else showEnd(message, 'You are out of the room');
  });
  showState('connected');
  const others = [...room.participants.values()].map(({ name: other }) => other);
  announce(`You are in the room ${room.roomName}. ${others.length > 0 ? `Here are ${others.join(', ')}.` : 'Nobody else is here yet.'}`);
  return media;
}

function leaveMeeting() {
  useControls(null);
  shown?.direct.close();
  shown?.stats.close();
  shown?.meeting.close();
  shown = null;
  clearNotices();
  document.title = 'Switchyard';
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
  element('ended-message').textContent = message;
  element('ended-title').focus();
}

/** @param {PageState} state */
function showState(state) {
  document.body.dataset.state = state;
  const inRoom = state === 'connected' || state === 'reconnecting';
  element('prejoin').hidden = inRoom || state === 'closed';
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
