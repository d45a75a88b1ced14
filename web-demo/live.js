/**
 * @module
 * The page "Go live": what is sent, the start, and how the stream does.
 *
 * `?room=R&name=N` fill the form, `&autostart=1` goes live at once; `&mic=0`, `&cam=0` go live without; `&quality=360`, `720` or `1080`;
 * `&codec=h264` sends another video codec; `&token=T` is passed on.
 */
import { publishStream } from './client/whip.js';
import { onDevicesChanged } from './client/devices.js';
import { fillDevices } from './device-lists.js';
import { button, element, input, label, select, setIcon, video } from './dom.js';
import { identity } from './identity.js';
import { LevelMeter } from './level-meter.js';
import { LivePanel } from './live-panel.js';
import { announce, clearNotices, toast } from './notices.js';
import { ROOM_SENTENCE, linkPages, pageLink, personName, roomName } from './pages.js';
import { recall, remember } from './client/storage.js';
import { Studio } from './studio.js';
import { holdLanguage, t } from './language.js';

/** @typedef {import('./client/whip.js').Publication} Publication */
/** @typedef {import('./client/codecs.js').VideoCodec} VideoCodec */
/** @typedef {'setup' | 'starting' | 'live' | 'reconnecting'} PageState */
/** @typedef {{publication: Publication | null, studio: Studio}} Exposed */

/** Bits per second of the largest layer, by the height of the picture. @type {Record<string, number>} */
const BITRATES = { 360: 600_000, 720: 1_700_000, 1080: 4_000_000 };

const query = new URLSearchParams(location.search);
const codec = /** @type {VideoCodec} */ (['vp8', 'h264', 'vp9', 'av1'].find((name) => name === query.get('codec')) ?? 'vp8');
const studio = new Studio({ changed, problem: (sentence) => toast(sentence) });
const meter = new LevelMeter(/** @type {HTMLMeterElement} */ (element('preview-level')));
const panel = new LivePanel();
/** For tests and curious people in the console. @type {Exposed} */
const exposed = { publication: null, studio };
/** @type {Window & {switchyard?: Exposed}} */ (window).switchyard = exposed;
/** Buttons at work: a second click would race the first. @type {Set<string>} */
const busy = new Set();
/** What the microphone's meter and the preview show. @type {(MediaStreamTrack | null)[]} */
let shown = [];

void start();

async function start() {
  linkPages();
  input('name').value = query.get('name') ?? recall('localStorage', 'name') ?? '';
  input('room-name').value = query.get('room') ?? 'stage';
  const quality = query.get('quality') ?? recall('localStorage', 'quality') ?? '';
  if (quality in BITRATES) select('quality').value = quality;
  listen();
  showState('setup');
  if (!window.RTCPeerConnection) {
    notify(t('This browser has no WebRTC, so nothing can be streamed from it. Another browser will do.'));
    button('go-live').disabled = true;
    return;
  }
  changed();
  await studio.setHeight(Number(select('quality').value));
  await studio.open({ camera: query.get('cam') !== '0', microphone: query.get('mic') !== '0' });
  if (query.get('autostart') === '1') await goLive();
}

function listen() {
  element('live-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void act('go-live', goLive);
  });
  const actions = /** @type {const} */ ({
    'toggle-mic': () => studio.toggleMicrophone(),
    'toggle-camera': () => studio.show(studio.picture === 'camera' ? 'none' : 'camera'),
    'toggle-screen': () => studio.show(studio.picture === 'screen' ? 'none' : 'screen'),
    stop: () => exposed.publication?.close(),
  });
  for (const [id, action] of Object.entries(actions)) button(id).addEventListener('click', () => void act(id, action));
  for (const device of /** @type {const} */ (['camera', 'microphone'])) {
    select(`${device}s`).addEventListener('change', () => {
      remember('localStorage', device, select(`${device}s`).value);
      void act(device, () => studio.choose(device, select(`${device}s`).value));
    });
  }
  select('quality').addEventListener('change', () => {
    remember('localStorage', 'quality', select('quality').value);
    void studio.setHeight(Number(select('quality').value));
  });
  button('toggle-screen').hidden = !navigator.mediaDevices?.getDisplayMedia;
  onDevicesChanged(() => void fillLists());
  window.addEventListener('pagehide', () => exposed.publication?.close());
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
    toast(/** @type {Error} */ (error).message);
  } finally {
    busy.delete(id);
  }
}

async function goLive() {
  const name = personName(input('name').value) || t('Live stream');
  const room = roomName(input('room-name').value);
  if (!room) {
    notify(ROOM_SENTENCE);
    input('room-name').focus();
    return;
  }
  input('room-name').value = room;
  remember('localStorage', 'name', name);
  notify('');
  clearNotices();
  showState('starting');
  const url = new URL(`whip/${room}`, location.href);
  url.searchParams.set('identity', await identity());
  url.searchParams.set('name', name);
  const tracks = [studio.video, studio.audio].filter((track) => track !== null);
  const maxBitrate = BITRATES[select('quality').value];
  const publication = publishStream(url, new MediaStream(tracks), { token: query.get('token') ?? undefined, codec, maxBitrate });
  exposed.publication = publication;
  panel.begin(pageLink('/watch', room));
  follow(publication, room);
}

/**
 * @param {Publication} publication
 * @param {string} room
 */
function follow(publication, room) {
  publication.on('statechange', ({ state, message }) => {
    if (state === 'connected') {
      announce(panel.began ? t('You are live again.') : t('You are live in the room {room}.', { room }));
      panel.connected();
      notify('');
      showState('live');
      document.title = `● ${room} – Switchyard`;
    } else if (state !== 'closed') {
      const sentence = message.endsWith('…') ? t(message) : `${t(message)} ${t('Trying again…')}`;
      panel.lost(sentence);
      if (panel.began) announce(sentence);
      else notify(sentence);
      showState(panel.began ? 'reconnecting' : 'starting');
    }
  });
  publication.on('viewers', ({ count }) => panel.setViewers(count));
  publication.on('stats', ({ stats }) => panel.setStats(stats, publication));
  publication.on('closed', ({ reason, message }) => {
    exposed.publication = null;
    const summary = panel.end();
    document.title = t('Go live – Switchyard');
    notify([reason === 'left' ? t('Your stream has ended.') : t(message), summary].join(' '));
    showState('setup');
    button('go-live').focus();
  });
}

/** What is sent, or what can be said about it, is another. */
function changed() {
  const { picture, video: track, audio, heard, microphoneOn } = studio;
  const preview = video('preview-video');
  const visible = picture === 'none' ? null : track;
  if (shown[0] !== visible) preview.srcObject = visible && new MediaStream([visible]);
  if (shown[1] !== heard) meter.show(heard);
  shown = [visible, heard];
  preview.hidden = visible === null;
  preview.classList.toggle('mirrored', picture === 'camera');
  element('preview-note').hidden = visible !== null;
  toggle('toggle-mic', microphoneOn, ['mic', 'mic-off'], [t('Turn the microphone off'), t('Turn the microphone on')]);
  toggle('toggle-camera', picture === 'camera', ['camera', 'camera-off'], [t('Turn the camera off'), t('Show the camera')]);
  toggle('toggle-screen', picture === 'screen', ['screen', 'screen'], [t('Stop sharing the screen'), t('Share a screen')]);
  void fillLists();
  void exposed.publication?.replaceTrack('video', track);
  void exposed.publication?.replaceTrack('audio', audio);
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

async function fillLists() {
  for (const device of /** @type {const} */ (['camera', 'microphone'])) await fillDevices(select(`${device}s`), device, studio.ids[device]);
}

/** @param {string} sentence empty for none */
function notify(sentence) {
  element('notice').textContent = t(sentence);
  element('notice').hidden = sentence === '';
  if (sentence) announce(sentence);
}

/** @param {PageState} state */
function showState(state) {
  document.body.dataset.state = state;
  const live = state === 'live' || state === 'reconnecting';
  element('live-form').hidden = live;
  element('live-panel').hidden = !live;
  element('on-air').hidden = !live;
  button('stop').hidden = state === 'setup';
  holdLanguage(state === 'setup' ? '' : t('Another language ends the stream: choose it before or after.'));
  button('go-live').hidden = live;
  button('go-live').disabled = state === 'starting';
  button('go-live').textContent = state === 'starting' ? t('Going live…') : t('Go live');
}
