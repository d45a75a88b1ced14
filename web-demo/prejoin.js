/**
 * @module
 * The first screen: name, room, and a look at one's own camera and microphone. Hands over open tracks, or none.
 */
import { button, element, input, label, select, setIcon, video } from './dom.js';
import { deviceIdOf, onDevicesChanged, openDevice, openWanted } from './client/devices.js';
import { fillDevices } from './device-lists.js';
import { LevelMeter } from './level-meter.js';
import { ROOM_SENTENCE, personName, roomName } from './pages.js';
import { rememberChoices, rememberWanted, rememberedChoices } from './client/storage.js';
import { Speaker } from './client/speaker.js';
import { playTestSound } from './speaker-test.js';
import { ask } from './server-api.js';
import { number, t } from './language.js';

/** @typedef {import('./client/devices.js').Opened} Opened */

/**
 * @typedef {object} Choice
 * @property {string} name
 * @property {string} room
 * @property {string} passphrase empty: not encrypted end to end
 * @property {Choices} choices chosen devices, and what is done to the sound
 * @property {Promise<Opened>} tracks may still be opening; the receiver's to close
 */

/** @typedef {'camera' | 'microphone'} Device */
/** @typedef {import('./client/storage.js').Choices} Choices */

const DEVICES = /** @type {const} */ (['camera', 'microphone']);
const LISTS = /** @type {const} */ ({ camera: 'prejoin-cameras', microphone: 'prejoin-microphones', speaker: 'prejoin-speakers' });

/** What the buttons do: off, on. @type {Record<Device, [string, string]>} */
const TOGGLES = { camera: [t('Turn the camera off'), t('Turn the camera on')], microphone: [t('Turn the microphone off'), t('Turn the microphone on')] };

/** What others get, by what is on: camera, microphone. */
const OUTLOOK = {
  both: t('Everybody in the room sees and hears you as soon as you join.'),
  camera: t('Everybody in the room sees you as soon as you join; your microphone stays off.'),
  microphone: t('Everybody in the room hears you as soon as you join; your camera stays off.'),
  none: t('Nobody sees or hears you before you turn your camera or microphone on.'),
};

/** How many are there, if the server tells: without keys it does, and then it is on this machine. @param {string} room */
async function companyOf(room) {
  if (!['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)) return '';
  try {
    /** @type {{rooms: {name: string, participants: number}[], next: string | null}} */
    const { rooms, next } = await (await ask('api/rooms?limit=200', '')).json();
    const count = rooms.find(({ name }) => name === room)?.participants ?? 0;
    if (count === 0) return next ? '' : t('Nobody is there yet.');
    return count === 1 ? t('One person is there.') : t('{count} people are there.', { count: number(count) });
  } catch {
    return '';
  }
}

export class Prejoin {
  /** @type {Record<Device, MediaStreamTrack | null>} */
  #tracks = { camera: null, microphone: null };
  /** Whether the user wants it; it may still be missing. Kept by the page, as it is turned on and off in the room as well. @type {Record<Device, boolean>} */
  #wanted;
  /** @type {Choices} */
  #choices = rememberedChoices();
  #meter = new LevelMeter(/** @type {HTMLMeterElement} */ (element('preview-level')));
  #shown = false;
  #join;
  /** Who is in the room that is written there, in a sentence. */
  #company = '';
  /** Devices being opened for the preview. @type {Promise<Opened> | null} */
  #opening = null;
  /** A device being opened by itself; `given`: to whoever joins. @type {Record<Device, {track: Promise<MediaStreamTrack>, given: boolean} | null>} */
  #reopening = { camera: null, microphone: null };
  /** Devices about which something was chosen while the first were opened. @type {Set<Device>} */
  #chosen = new Set();

  /**
   * @param {{name: string, room: string, passphrase: string, wanted: Record<Device, boolean>, join: (choice: Choice) => void, invite: (room: string, passphrase: string) => void}} options
   */
  constructor({ name, room, passphrase, wanted, join, invite }) {
    this.#wanted = wanted;
    this.#join = join;
    input('name').value = name;
    input('room-name').value = room;
    input('passphrase').value = passphrase;
    element('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    button('preview-camera').addEventListener('click', () => void this.#toggle('camera'));
    button('preview-mic').addEventListener('click', () => void this.#toggle('microphone'));
    for (const device of DEVICES) {
      select(LISTS[device]).addEventListener('change', () => void this.#choose(device, select(LISTS[device]).value));
    }
    select(LISTS.speaker).addEventListener('change', () => {
      this.#choices.speaker = select(LISTS.speaker).value;
      rememberChoices({ speaker: this.#choices.speaker });
    });
    element('prejoin-speaker-field').hidden = !Speaker.supported;
    button('prejoin-test').addEventListener('click', () => playTestSound(this.#choices.speaker).catch((error) => this.notify(error.message)));
    button('invite-before').addEventListener('click', () => {
      const chosen = this.#room();
      if (chosen) invite(chosen, input('passphrase').value.trim());
    });
    input('room-name').addEventListener('change', () => void this.#lookIn());
    onDevicesChanged(() => void this.#fillLists());
  }

  /** @param {string} notice a sentence about why the user is here again; empty for none */
  async show(notice) {
    this.#shown = true;
    // In the room something else may have been chosen.
    this.#choices = rememberedChoices();
    this.notify(notice);
    this.#render();
    // On a phone the preview stays in sight.
    (input('name').value ? button('join') : input('name')).focus({ preventScroll: true });
    this.#chosen.clear();
    void this.#lookIn();
    const opening = openWanted(this.#wanted, this.#choices);
    this.#opening = opening;
    const opened = await opening;
    if (this.#opening !== opening) return;
    this.#opening = null;
    for (const device of DEVICES) {
      if (this.#chosen.has(device)) stop(opened[device]);
      else this.#tracks[device] = opened[device];
    }
    if (opened.problems.length > 0) this.notify([notice, ...opened.problems.map((problem) => t(problem)), t('You can join without.')].filter(Boolean).join(' '));
    await this.#fillLists();
    this.#render();
  }

  /** Ends the preview; tracks that were handed over stay open. */
  hide() {
    this.#shown = false;
    this.#meter.close();
    video('preview-video').srcObject = null;
    this.#tracks = { camera: null, microphone: null };
  }

  /** @param {string} sentence */
  notify(sentence) {
    const notice = element('prejoin-notice');
    notice.textContent = t(sentence);
    notice.hidden = sentence === '';
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    button('join').disabled = busy;
    button('join').textContent = busy ? t('Joining…') : t('Join');
    // What is on now goes along.
    for (const id of ['preview-camera', 'preview-mic']) button(id).disabled = busy;
    for (const list of Object.values(LISTS)) select(list).disabled = busy;
    if (!busy) void this.#fillLists();
  }

  #submit() {
    const name = personName(input('name').value);
    if (!name) return this.#complain('name', t('Please enter your name, so that the others know who you are.'));
    const room = this.#room();
    if (room) this.#join({ name, room, passphrase: input('passphrase').value.trim(), choices: { ...this.#choices }, tracks: this.#give() });
  }

  /** Null, and a complaint, where it cannot be one. */
  #room() {
    const room = roomName(input('room-name').value);
    if (room) input('room-name').value = room;
    else this.#complain('room-name', ROOM_SENTENCE);
    return room;
  }

  /** What is open, and what will be: no longer ours to close. @returns {Promise<Opened>} */
  async #give() {
    const [ready, opening, reopening, chosen] = [this.#tracks, this.#opening, this.#reopening, new Set(this.#chosen)];
    this.#opening = null;
    this.#reopening = { camera: null, microphone: null };
    for (const one of Object.values(reopening)) if (one) one.given = true;
    const opened = (await opening) ?? { camera: null, microphone: null, problems: [] };
    const all = { ...ready, problems: opened.problems };
    for (const device of DEVICES) {
      if (chosen.has(device)) stop(opened[device]);
      else all[device] ??= opened[device];
      all[device] = (await reopening[device]?.track.catch(() => null)) ?? all[device];
    }
    return all;
  }

  /**
   * @param {string} field
   * @param {string} sentence
   */
  #complain(field, sentence) {
    this.notify(sentence);
    input(field).focus();
  }

  /** @param {Device} device */
  async #toggle(device) {
    const on = this.#tracks[device] !== null || this.#reopening[device] !== null;
    this.#wanted[device] = !on;
    rememberWanted(device, !on);
    this.#letGo(device);
    this.#render();
    if (!on) await this.#reopen(device);
  }

  /** @param {Device} device */
  #letGo(device) {
    this.#chosen.add(device);
    stop(this.#tracks[device]);
    this.#tracks[device] = null;
    this.#reopening[device] = null;
  }

  /**
   * @param {Device} device
   * @param {string} id
   */
  async #choose(device, id) {
    this.#choices[device] = id;
    rememberChoices({ [device]: id });
    if (!this.#wanted[device]) return;
    this.#letGo(device);
    await this.#reopen(device);
  }

  /** @param {Device} device */
  async #reopen(device) {
    const opening = { track: openDevice(device, this.#choices[device], this.#choices), given: false };
    this.#reopening[device] = opening;
    const track = await opening.track.catch((error) => {
      if (this.#reopening[device] === opening) this.notify(`${t(error.message)} ${t('You can join without.')}`);
      return null;
    });
    if (opening.given) return;
    if (this.#reopening[device] !== opening) {
      // Another one was chosen meanwhile, or none.
      stop(track);
      return;
    }
    this.#reopening[device] = null;
    this.#tracks[device] = track;
    if (track) this.notify('');
    await this.#fillLists();
    this.#render();
  }

  async #fillLists() {
    for (const device of DEVICES) {
      await fillDevices(select(LISTS[device]), device, deviceIdOf(this.#tracks[device]) || this.#choices[device]);
    }
    await fillDevices(select(LISTS.speaker), 'speaker', this.#choices.speaker);
  }

  async #lookIn() {
    const name = roomName(input('room-name').value);
    const company = name ? await companyOf(name) : '';
    if (name !== roomName(input('room-name').value)) return;
    this.#company = company;
    this.#tell();
  }

  /** What joining will do. */
  #tell() {
    const on = /** @param {Device} device */ (device) => (this.#opening || this.#reopening[device] ? this.#wanted[device] : this.#tracks[device] !== null);
    const [camera, microphone] = [on('camera'), on('microphone')];
    element('prejoin-outlook').textContent = `${OUTLOOK[camera ? (microphone ? 'both' : 'camera') : microphone ? 'microphone' : 'none']} ${this.#company}`.trim();
  }

  #render() {
    if (!this.#shown) return;
    const { camera, microphone } = this.#tracks;
    const preview = video('preview-video');
    preview.srcObject = camera && new MediaStream([camera]);
    preview.hidden = camera === null;
    element('preview-note').hidden = camera !== null;
    this.#meter.show(microphone);
    this.#tell();
    showToggle('preview-camera', camera !== null, 'camera');
    showToggle('preview-mic', microphone !== null, 'microphone');
  }
}

/**
 * @param {string} id
 * @param {boolean} on
 * @param {Device} device
 */
function showToggle(id, on, device) {
  const target = button(id);
  const name = device === 'camera' ? 'camera' : 'mic';
  target.classList.toggle('on', on);
  target.removeAttribute('aria-pressed');
  setIcon(target, on ? name : `${name}-off`);
  label(target, TOGGLES[device][on ? 0 : 1]);
}

/** @param {MediaStreamTrack | null} track */
function stop(track) {
  track?.stop();
}
