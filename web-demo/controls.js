/**
 * @module
 * The toolbar, its keys, and the device dialog. Turns clicks into actions of LocalMedia, and its state into buttons.
 */
import { button, element, input, label, select, setIcon } from './dom.js';
import { onDevicesChanged } from './client/devices.js';
import { Speaker } from './client/speaker.js';
import { recall, remember, rememberChoices, rememberWanted } from './client/storage.js';
import { fillDevices } from './device-lists.js';
import { invite } from './invite.js';
import { announce, toast } from './notices.js';
import { playTestSound } from './speaker-test.js';
import { t } from './language.js';

/** @typedef {import('./client/local-media.js').LocalMedia} LocalMedia */
/** @typedef {import('./stats-overlay.js').StatsOverlay} StatsOverlay */
/** @typedef {import('./go-direct.js').GoDirect} GoDirect */

/** @typedef {import('./floating-speaker.js').FloatingSpeaker} FloatingSpeaker */

/**
 * @typedef {object} Parts
 * @property {LocalMedia} media
 * @property {Record<'camera' | 'microphone', boolean>} wanted whether they are to be on the next time
 * @property {import('./meeting.js').Meeting} meeting
 * @property {FloatingSpeaker | null} floating null where the browser has no such window
 * @property {import('./client/speaker.js').Speaker} speaker
 * @property {StatsOverlay} stats
 * @property {GoDirect} direct
 * @property {Social} social
 * @property {string} link to this room
 * @property {import('./client/index.js').Room} room
 * @property {() => void} leave
 */

/**
 * Chat, people, and our hand.
 * @typedef {object} Social
 * @property {import('./client/people.js').People} people
 * @property {import('./side.js').Side} side
 * @property {() => number} unread
 * @property {(panel: 'chat' | 'roster') => void} toggle
 */

/** @type {Parts | null} */
let parts = null;
/** Cameras that were asked for a small picture. @type {WeakSet<MediaStreamTrack>} */
const small = new WeakSet();
/** Buttons at work: a second click would race the first. @type {Set<string>} */
const busy = new Set();

/** @type {Record<import('./layout.js').Mode, string>} */
const LAYOUTS = { auto: t('Layout: by itself'), grid: t('Layout: all in a grid'), speaker: t('Layout: who speaks is large') };

/** What each button does. @type {Record<string, (parts: Parts) => unknown>} */
const ACTIONS = {
  'toggle-mic': async ({ media, wanted }) => {
    await media.toggleMicrophone();
    keepWanted(wanted, 'microphone', media.microphoneOn);
  },
  'toggle-camera': async ({ media, wanted }) => {
    await media.toggleCamera();
    keepWanted(wanted, 'camera', media.cameraOn);
  },
  'toggle-screen': ({ media }) => media.toggleScreen(),
  'toggle-stats': ({ stats }) => stats.toggle(),
  'switch-layout': ({ meeting: { grid } }) => {
    grid.switchMode();
    announce(LAYOUTS[grid.mode]);
  },
  'toggle-pip': ({ floating, meeting }) => {
    if (meeting.pictures === 'none' && !floating?.open) throw new Error(t('Sound only: no pictures come, and so there is none for a small window. The key a brings them back.'));
    return floating?.toggle();
  },
  'open-devices': () => openDialog(),
  'show-keys': () => /** @type {HTMLDialogElement} */ (element('shortcuts')).showModal(),
  'raise-hand': ({ social }) => social.people.raiseHand(social.people.hand === 0),
  'toggle-chat': ({ social }) => social.toggle('chat'),
  'toggle-people': ({ social }) => social.toggle('roster'),
  more: () => openMore(button('more').getAttribute('aria-expanded') !== 'true'),
  'go-direct': ({ direct }) => direct.toggle(),
  'invite-others': ({ link }) => invite(link),
  'invite-now': ({ link }) => invite(link),
  'open-network': ({ meeting }) => {
    select('pictures').value = meeting.pictures;
    /** @type {HTMLDialogElement} */ (element('network')).showModal();
  },
  leave: ({ leave }) => leave(),
};
/** @type {Record<string, string>} */
const KEYS = { m: 'toggle-mic', v: 'toggle-camera', p: 'toggle-screen', s: 'toggle-stats', d: 'open-devices', l: 'invite-others', c: 'toggle-chat', o: 'toggle-people', h: 'raise-hand', g: 'switch-layout', w: 'toggle-pip', n: 'open-network', '?': 'show-keys' };

/** Of no use to somebody who may not send this. @type {[string, import('./client/protocol.js').Source[]][]} */
const SENDING = [['toggle-mic', ['microphone']], ['toggle-camera', ['camera']], ['toggle-screen', ['screen_share']], ['open-devices', ['microphone', 'camera']]];

/** Boxes of the dialog. */
const PROCESSING = /** @type {const} */ ([['noise-suppression', 'noiseSuppression'], ['echo-cancellation', 'echoCancellation']]);

/** Wires the buttons once per page. */
export function setUpControls() {
  for (const id of Object.keys(ACTIONS)) button(id).addEventListener('click', () => void act(id));
  document.addEventListener('keydown', handleKey);
  document.addEventListener('pointerdown', ({ target }) => {
    if (!(target instanceof Element && target.closest('#more, #more-tools, dialog'))) openMore(false);
  });
  select('room-cameras').addEventListener('change', () => void choose('camera', select('room-cameras').value));
  select('room-microphones').addEventListener('change', () => void choose('microphone', select('room-microphones').value));
  select('room-speakers').addEventListener('change', () => void attempt(({ speaker }) => chooseSpeaker(speaker, select('room-speakers').value)));
  button('room-test').addEventListener('click', () => void attempt(({ speaker }) => playTestSound(speaker.id)));
  for (const [id, name] of PROCESSING) {
    input(id).addEventListener('change', () => void attempt(({ media }) => media.process({ [name]: input(id).checked })));
  }
  select('pictures').addEventListener('change', () => wantPictures(select('pictures').value));
  input('use-keys').checked = recall('localStorage', 'keys') !== 'off';
  input('use-keys').addEventListener('change', () => remember('localStorage', 'keys', input('use-keys').checked ? 'on' : 'off'));
  onDevicesChanged(() => void fillDialog());
  label(button('open-devices'), t('Camera and microphone'), 'd');
  label(button('invite-others'), t('Invite others'), 'l');
  label(button('show-keys'), t('Keys'), '?');
  label(button('leave'), t('Leave the room'));
  label(button('more'), t('More'));
}

/** @param {Parts | null} next null outside of a room */
export function useControls(next) {
  parts = next;
  if (!next) openMore(false);
  for (const id of ['devices', 'shortcuts', 'invite', 'network', 'person', 'confirm']) {
    const dialog = /** @type {HTMLDialogElement} */ (element(id));
    if (!next && dialog.open) dialog.close();
  }
  showControls();
}

/** Makes the buttons say what is. */
export function showControls() {
  if (!parts) return;
  const { room, media, stats, direct, social, meeting, floating } = parts;
  const may = /** @param {import('./client/protocol.js').Source} source */ (source) => room.canPublish && (room.canPublishSources.length === 0 || room.canPublishSources.includes(source));
  for (const [id, sources] of SENDING) button(id).hidden = !sources.some(may);
  if (!navigator.mediaDevices?.getDisplayMedia) button('toggle-screen').hidden = true;
  const { grid } = meeting;
  fitCamera(media, meeting.pictures === 'small');
  const [unread, knocking] = [social.unread(), social.people.waiting.length];
  show('raise-hand', social.people.hand > 0, ['hand', 'hand'], [t('Take your hand down'), t('Raise your hand')], 'h');
  show('toggle-chat', social.side.open === 'chat', ['chat', 'chat'], [t('Close the chat'), unread > 1 ? t('Open the chat, {unread} new messages', { unread }) : unread > 0 ? t('Open the chat, 1 new message') : t('Open the chat')], 'c');
  show('toggle-people', social.side.open === 'roster', ['people', 'people'], [t('Close the list of people'), knocking > 0 ? t('Show who is here, {knocking} waiting', { knocking }) : t('Show who is here')], 'o');
  badge('unread', unread);
  // Whoever sees the list sees them in it.
  badge('knocking', social.side.open === 'roster' ? 0 : knocking);
  show('toggle-mic', media.microphoneOn, ['mic', 'mic-off'], [t('Turn the microphone off'), t('Turn the microphone on')], 'm');
  show('toggle-camera', media.cameraOn, ['camera', 'camera-off'], [t('Turn the camera off'), t('Turn the camera on')], 'v');
  show('toggle-screen', media.screenOn, ['screen', 'screen'], [t('Stop sharing the screen'), t('Share the screen')], 'p');
  setIcon(button('switch-layout'), `layout-${grid.mode}`);
  label(button('switch-layout'), t('{layout}. Change it', { layout: LAYOUTS[grid.mode] }), 'g');
  button('toggle-pip').hidden = floating === null;
  show('toggle-pip', floating?.open ?? false, ['pip', 'pip'], [t('Close the small window'), t('Show who speaks in a small window')], 'w');
  show('toggle-stats', stats.shown, ['stats', 'stats'], [t('Hide the figures'), t('Show figures on every tile')], 's');
  button('go-direct').hidden = !direct.possible;
  button('go-direct').classList.toggle('on', direct.state !== 'off');
  label(button('go-direct'), { off: t('Go direct, without the server in between'), offered: t('Take the offer to go direct back'), on: t('Go through the server again') }[direct.state]);
}

/** Who saves power and data sends less as well. @param {LocalMedia} media @param {boolean} saving */
function fitCamera({ camera, cameraOn }, saving) {
  const track = camera?.mediaStreamTrack;
  if (!track || !cameraOn || small.has(track) === saving) return;
  if (saving) small.add(track);
  else small.delete(track);
  const size = saving ? { width: { ideal: 640 }, height: { ideal: 360 } } : { width: { ideal: 1280 }, height: { ideal: 720 } };
  // What the camera cannot do stays as it is.
  void track.applyConstraints({ ...track.getConstraints(), ...size }).catch(() => undefined);
}

/**
 * @param {string} id
 * @param {number} count
 */
function badge(id, count) {
  element(id).hidden = count === 0;
  element(id).textContent = count > 99 ? '99+' : String(count);
}

/**
 * @param {string} id
 * @param {boolean} on
 * @param {[string, string]} icons on, off
 * @param {[string, string]} texts on, off
 * @param {string} key
 */
function show(id, on, icons, texts, key) {
  const target = button(id);
  target.classList.toggle('on', on);
  setIcon(target, on ? icons[0] : icons[1]);
  label(target, on ? texts[0] : texts[1], key);
}

/**
 * @param {Parts['wanted']} wanted
 * @param {'camera' | 'microphone'} device
 * @param {boolean} on
 */
function keepWanted(wanted, device, on) {
  wanted[device] = on;
  rememberWanted(device, on);
}

/** @param {string} id of the button */
async function act(id) {
  if (!parts || busy.has(id)) return;
  busy.add(id);
  try {
    await ACTIONS[id](parts);
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error));
  } finally {
    busy.delete(id);
    showControls();
  }
}

/** What a small window has no room for. @param {boolean} open */
function openMore(open) {
  button('more').setAttribute('aria-expanded', String(open));
}

/** @param {KeyboardEvent} event */
function handleKey(event) {
  if (!parts || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const target = /** @type {HTMLElement} */ (event.target);
  // A click on the text of a dialog leaves the focus with the page; one that was closed has it for a moment yet.
  if (document.querySelector('dialog[open]') || target.closest('input, select, textarea')) return;
  if (event.key === 'Escape' && button('more').getAttribute('aria-expanded') === 'true') {
    // The focus would be lost with the tools.
    if (target.closest('#more-tools')) button('more').focus();
    openMore(false);
  }
  const pages = { PageUp: -1, PageDown: 1 }[event.key];
  if (pages && !target.closest('#side')) parts.meeting.grid.turn(pages);
  // Who speaks to the computer says letters (WCAG 2.1.4).
  if (!input('use-keys').checked) return;
  if (event.key.toLowerCase() === 'a') wantPictures(parts.meeting.pictures === 'none' ? 'full' : 'none');
  const id = KEYS[event.key.toLowerCase()];
  if (!id || button(id).hidden) return;
  event.preventDefault();
  void act(id);
}

/** @param {string} value of the list */
function wantPictures(value) {
  const pictures = /** @type {const} */ (['full', 'small', 'none']).find((one) => one === value) ?? 'full';
  parts?.meeting.wantPictures(pictures);
  showControls();
  if (pictures === 'none' && parts?.floating?.open) void parts.floating.toggle();
  toast({ full: t('Pictures come as good as your connection allows.'), small: t('Pictures come small, to save power and data.'), none: t('Sound only: no pictures come.') }[pictures]);
}

async function openDialog() {
  await fillDialog();
  /** @type {HTMLDialogElement} */ (element('devices')).showModal();
}

async function fillDialog() {
  if (!parts) return;
  const { media, speaker } = parts;
  const { camera, microphone } = media.inUse();
  for (const [id, name] of PROCESSING) input(id).checked = media.choices[name];
  element('room-speaker-field').hidden = !Speaker.supported;
  await Promise.all([
    fillDevices(select('room-cameras'), 'camera', camera),
    fillDevices(select('room-microphones'), 'microphone', microphone),
    fillDevices(select('room-speakers'), 'speaker', speaker.id),
  ]);
}

/**
 * @param {'camera' | 'microphone'} device
 * @param {string} id
 */
function choose(device, id) {
  return attempt(({ media }) => media.choose(device, id));
}

/**
 * @param {import('./client/speaker.js').Speaker} speaker
 * @param {string} id
 */
async function chooseSpeaker(speaker, id) {
  await speaker.choose(id);
  rememberChoices({ speaker: id });
}

/** @param {(parts: Parts) => Promise<void>} change */
async function attempt(change) {
  try {
    if (parts) await change(parts);
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error));
  }
  showControls();
}
