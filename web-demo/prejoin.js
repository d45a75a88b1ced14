/**
 * @module
 * The first screen: name, room, and a look at one's own camera and microphone. Hands over open tracks, or none.
 */
import { button, element, input, label, select, setIcon, video } from './dom.js';
import { deviceIdOf, onDevicesChanged, openDevice, openWanted } from './client/devices.js';
import { fillDevices } from './device-lists.js';
import { LevelMeter } from './level-meter.js';
import { ROOM_SENTENCE, personName, roomName } from './pages.js';
import { rememberChoices, rememberedChoices } from './client/storage.js';
import { t } from './language.js';

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

const LISTS = /** @type {const} */ ({ camera: 'prejoin-cameras', microphone: 'prejoin-microphones' });

/** What the buttons do: off, on. @type {Record<Device, [string, string]>} */
const TOGGLES = { camera: [t('Turn the camera off'), t('Turn the camera on')], microphone: [t('Turn the microphone off'), t('Turn the microphone on')] };

export class Prejoin {
  /** @type {Record<Device, MediaStreamTrack | null>} */
  #tracks = { camera: null, microphone: null };
  /** Whether the user wants it; it may still be missing. @type {Record<Device, boolean>} */
  #wanted;
  /** @type {Choices} */
  #choices = rememberedChoices();
  #meter = new LevelMeter(/** @type {HTMLMeterElement} */ (element('preview-level')));
  #shown = false;
  #join;
  /** Devices being opened for the preview. @type {Promise<Opened> | null} */
  #opening = null;

  /**
   * @param {{name: string, room: string, passphrase: string, wanted: Record<Device, boolean>, join: (choice: Choice) => void}} options
   */
  constructor({ name, room, passphrase, wanted, join }) {
    this.#wanted = { ...wanted };
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
    for (const device of /** @type {const} */ (['camera', 'microphone'])) {
      select(LISTS[device]).addEventListener('change', () => void this.#choose(device, select(LISTS[device]).value));
    }
    onDevicesChanged(() => void this.#fillLists());
  }

  /** @param {string} notice a sentence about why the user is here again; empty for none */
  async show(notice) {
    this.#shown = true;
    this.notify(notice);
    this.#render();
    (input('name').value ? button('join') : input('name')).focus();
    const opening = openWanted(this.#wanted, this.#choices);
    this.#opening = opening;
    const opened = await opening;
    if (this.#opening !== opening) return;
    this.#opening = null;
    this.#tracks = { camera: opened.camera, microphone: opened.microphone };
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
  }

  #submit() {
    const name = personName(input('name').value);
    const room = roomName(input('room-name').value);
    if (!name) return this.#complain('name', t('Please enter your name, so that the others know who you are.'));
    if (!room) return this.#complain('room-name', ROOM_SENTENCE);
    input('room-name').value = room;
    const tracks = this.#opening ?? Promise.resolve({ ...this.#tracks, problems: [] });
    this.#opening = null;
    this.#join({ name, room, passphrase: input('passphrase').value.trim(), choices: { ...this.#choices }, tracks });
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
    const track = this.#tracks[device];
    this.#wanted[device] = track === null;
    if (track) {
      stop(track);
      this.#tracks[device] = null;
      this.#render();
      return;
    }
    await this.#reopen(device);
  }

  /**
   * @param {Device} device
   * @param {string} id
   */
  async #choose(device, id) {
    this.#choices[device] = id;
    rememberChoices({ [device]: id });
    if (!this.#wanted[device]) return;
    stop(this.#tracks[device]);
    this.#tracks[device] = null;
    await this.#reopen(device);
  }

  /** @param {Device} device */
  async #reopen(device) {
    try {
      const track = await openDevice(device, this.#choices[device], this.#choices);
      if (!this.#shown || !this.#wanted[device]) {
        stop(track);
        return;
      }
      this.#tracks[device] = track;
      this.notify('');
      await this.#fillLists();
    } catch (error) {
      this.notify(`${t(/** @type {Error} */ (error).message)} ${t('You can join without.')}`);
    }
    this.#render();
  }

  async #fillLists() {
    for (const device of /** @type {const} */ (['camera', 'microphone'])) {
      await fillDevices(select(LISTS[device]), device, deviceIdOf(this.#tracks[device]) || this.#choices[device]);
    }
  }

  #render() {
    if (!this.#shown) return;
    const { camera, microphone } = this.#tracks;
    const preview = video('preview-video');
    preview.srcObject = camera && new MediaStream([camera]);
    preview.hidden = camera === null;
    element('preview-note').hidden = camera !== null;
    this.#meter.show(microphone);
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
