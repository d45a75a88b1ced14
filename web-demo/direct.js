/**
 * @module
 * The page "Direct call": two people whose browsers talk to each other without a server in between.
 *
 * `?room=R&name=N` fill the form, `&autostart=1` calls at once; `&mic=0`, `&cam=0` without; `&relay=1` uses TURN servers only;
 * `&token=T` is passed on.
 */
import { DirectCall, fetchIceServers } from './client/direct.js';
import { ConnectionPanel } from './connection-panel.js';
import { openDevice, openScreen, openWanted } from './client/devices.js';
import { button, element, input, label, setIcon, video } from './dom.js';
import { announce, clearNotices, copyLink, toast } from './notices.js';
import { ROOM_SENTENCE, iceServersUrl, linkPages, pageLink, personName, relayUrl, roomName } from './pages.js';
import { recall, remember, rememberedChoices } from './client/storage.js';
import { TalkPanel } from './talk-panel.js';
import { holdLanguage, t } from './language.js';

/** @typedef {import('./client/direct.js').Picture} Picture */
/** @typedef {{call: DirectCall | null}} Exposed */

/** Credentials of TURN servers hold for six hours. */
const REFRESH_MS = 3_600_000;
let refreshing = 0;
const query = new URLSearchParams(location.search);
const token = query.get('token');
const stages = new ConnectionPanel();
const talk = new TalkPanel();
/** For tests and curious people in the console. @type {Exposed} */
const exposed = { call: null };
/** @type {Window & {switchyard?: Exposed}} */ (window).switchyard = exposed;
/** Microphone and camera go together, so that lips and voice stay in step. */
const own = new MediaStream();
/** @type {MediaStream | null} */
let screen = null;
/** Buttons at work: a second click would race the first. @type {Set<string>} */
const busy = new Set();

void start();

async function start() {
  linkPages();
  input('name').value = query.get('name') ?? recall('localStorage', 'name') ?? '';
  input('room-name').value = query.get('room') ?? 'den';
  listen();
  changed();
  if (!window.RTCPeerConnection) {
    notify(t('This browser has no WebRTC, so nobody can be called from it. Another browser will do.'));
    button('call').disabled = true;
    return;
  }
  const wanted = { camera: query.get('cam') !== '0', microphone: query.get('mic') !== '0' };
  const { camera, microphone, problems } = await openWanted(wanted, rememberedChoices());
  for (const track of [microphone, camera]) if (track) take(track);
  if (problems.length > 0) notify(problems.map((problem) => t(problem)).join(' '));
  changed();
  if (query.get('autostart') === '1') await act('call', call);
}

function listen() {
  element('call-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void act('call', call);
  });
  const actions = /** @type {const} */ ({ 'toggle-mic': toggleMicrophone, 'toggle-camera': toggleCamera, 'toggle-screen': toggleScreen, 'hang-up': hangUp });
  for (const [id, action] of Object.entries(actions)) button(id).addEventListener('click', () => void act(id, action));
  button('copy-call-link').addEventListener('click', () => void copyLink(input('call-link').value, t('The link is on the clipboard.')));
  input('call-link').addEventListener('focus', () => input('call-link').select());
  button('toggle-screen').hidden = !navigator.mediaDevices?.getDisplayMedia;
  window.addEventListener('pagehide', hangUp);
}

/**
 * @param {string} id of what is at work
 * @param {() => unknown} action
 */
async function act(id, action) {
  if (busy.has(id)) return;
  busy.add(id);
  try {
    await action();
  } catch (error) {
    notify(t(/** @type {Error} */ (error).message));
  } finally {
    busy.delete(id);
    changed();
  }
}

async function call() {
  const name = personName(input('name').value) || t('Somebody');
  const room = roomName(input('room-name').value);
  if (!room) {
    notify(ROOM_SENTENCE);
    input('room-name').focus();
    return;
  }
  input('room-name').value = room;
  remember('localStorage', 'name', name);
  clearNotices();
  talk.clear();
  stages.reset();
  const servers = iceServersUrl(room);
  const iceServers = await fetchIceServers(servers, token);
  const made = new DirectCall(relayUrl(room, token), { channel: room, name, iceServers, relayOnly: query.get('relay') === '1' });
  exposed.call = made;
  const refresh = () => fetchIceServers(servers, token).then((fresh) => made.useIceServers(fresh), () => undefined);
  clearInterval(refreshing);
  refreshing = window.setInterval(refresh, REFRESH_MS);
  follow(made);
  for (const track of own.getTracks()) made.add(track, own, 'camera');
  for (const track of screen?.getTracks() ?? []) made.add(track, /** @type {MediaStream} */ (screen), 'screen');
  input('call-link').value = pageLink('/direct', room);
  showState('waiting', '');
}

/** @param {DirectCall} made */
function follow(made) {
  made.on('statechange', ({ state, message }) => {
    showState(state === 'closed' ? 'setup' : state, message);
    if (state === 'connected') announce(t('You are connected with {name}.', { name: made.peerName || t('the other') }));
    if (state === 'closed') {
      clearInterval(refreshing);
      stages.follow(null);
      exposed.call = null;
    }
  });
  made.on('connection', ({ connection, chat, files }) => {
    stages.follow(connection);
    talk.use(chat, files);
  });
  made.on('exchanged', ({ entry }) => stages.add(entry));
  made.on('picture', ({ picture, stream }) => showRemote(picture, stream));
}

function hangUp() {
  exposed.call?.close();
}

/** @param {MediaStreamTrack} track of a camera or microphone */
function take(track) {
  own.addTrack(track);
  exposed.call?.add(track, own, 'camera');
  track.addEventListener('ended', () => {
    if (!own.getTracks().includes(track)) return;
    release(track);
    toast(track.kind === 'video' ? t('Your camera was unplugged or taken away.') : t('Your microphone was unplugged or taken away.'));
    changed();
  });
}

/** @param {MediaStreamTrack} track */
function release(track) {
  own.removeTrack(track);
  exposed.call?.remove(track);
  track.stop();
}

async function toggleMicrophone() {
  const [track] = own.getAudioTracks();
  if (track) track.enabled = !track.enabled;
  else take(await openDevice('microphone', rememberedChoices().microphone, rememberedChoices()));
}

/** Off releases the camera, so that its light goes out. */
async function toggleCamera() {
  const [track] = own.getVideoTracks();
  if (track) release(track);
  else take(await openDevice('camera', rememberedChoices().camera));
}

async function toggleScreen() {
  if (screen) {
    stopScreen();
    return;
  }
  const opened = await openScreen();
  if (!opened) return;
  const tracks = opened.audio ? [opened.video, opened.audio] : [opened.video];
  screen = new MediaStream(tracks);
  opened.video.addEventListener('ended', stopScreen);
  for (const track of tracks) exposed.call?.add(track, screen, 'screen');
}

function stopScreen() {
  for (const track of screen?.getTracks() ?? []) {
    exposed.call?.remove(track);
    track.stop();
  }
  screen = null;
  changed();
}

/** What we send is another. */
function changed() {
  const [microphone] = own.getAudioTracks();
  const [camera] = own.getVideoTracks();
  toggle('toggle-mic', microphone?.enabled === true, ['mic', 'mic-off'], [t('Turn the microphone off'), t('Turn the microphone on')]);
  toggle('toggle-camera', camera !== undefined, ['camera', 'camera-off'], [t('Turn the camera off'), t('Turn the camera on')]);
  toggle('toggle-screen', screen !== null, ['screen', 'screen'], [t('Stop sharing the screen'), t('Share a screen')]);
  showStream(video('local-camera'), camera ? own : null);
  showStream(video('local-screen'), screen);
}

/**
 * @param {string} id
 * @param {boolean} on
 * @param {[string, string]} icons on, off
 * @param {[string, string]} texts on, off
 */
function toggle(id, on, icons, texts) {
  button(id).classList.toggle('on', on);
  setIcon(button(id), icons[on ? 0 : 1]);
  label(button(id), texts[on ? 0 : 1]);
}

/**
 * @param {Picture} picture
 * @param {MediaStream | null} stream
 */
function showRemote(picture, stream) {
  const target = video(`remote-${picture}`);
  if (target.srcObject !== stream) target.srcObject = stream;
  target.hidden = !stream?.getVideoTracks().some(({ muted, readyState }) => !muted && readyState === 'live');
  element('remote-note').hidden = !video('remote-camera').hidden || !video('remote-screen').hidden;
}

/**
 * @param {HTMLVideoElement} target
 * @param {MediaStream | null} stream
 */
function showStream(target, stream) {
  if (target.srcObject !== stream) target.srcObject = stream;
  target.hidden = stream === null;
}

/** @param {string} sentence empty for none */
function notify(sentence) {
  element('notice').textContent = sentence;
  element('notice').hidden = sentence === '';
  if (sentence) announce(sentence);
}

/**
 * @param {import('./client/direct.js').CallState | 'setup'} state
 * @param {string} message
 */
function showState(state, message) {
  document.body.dataset.state = state;
  const inCall = state !== 'setup';
  holdLanguage(inCall ? t('Another language ends the call: choose it before or after.') : '');
  const peer = exposed.call?.peerName || t('The other');
  const words = { setup: t('Nobody else is here.'), waiting: t('Waiting for the other. Send them the link.'), connecting: t('Connecting with {peer}…', { peer }), reconnecting: t('{peer} cannot be reached.', { peer }), connected: t('{peer} shows no picture.', { peer }), closed: '' };
  element('remote-note').textContent = words[state];
  notify(t(message));
  element('call-form').hidden = inCall;
  element('call-link-row').hidden = !inCall;
  element('talk').hidden = !inCall;
  button('hang-up').hidden = !inCall;
  element('side-title').textContent = inCall && state !== 'waiting' ? peer : t('Direct call');
  document.title = state === 'connected' ? `● ${peer} – Switchyard` : t('Direct call – Switchyard');
}
