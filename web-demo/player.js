/**
 * @module
 * The player: a picture with its buttons and keys. It plays what it is given, shows what it is told, and knows nothing of the server.
 */
import { button, element, input, label, select, setIcon, video } from './dom.js';
import { toast } from './notices.js';
import { recall, remember } from './client/storage.js';
import { bits } from './stats-overlay.js';
import { number, t } from './language.js';

/** @typedef {import('./client/events.js').Layer} Layer */

const VOLUME_STEP = 5;
/** The bar goes when nobody has moved for so long. */
const IDLE_MS = 3000;
/** Names of layers, best first, by how many there are. @type {Record<number, string[]>} */
const NAMES = { 2: [t('High'), t('Low')], 3: [t('High'), t('Medium'), t('Low')] };
/** @type {Record<string, string>} */
const KEYS = { ' ': 'toggle-play', k: 'toggle-play', m: 'toggle-sound', f: 'fullscreen', p: 'picture-in-picture' };

export class Player {
  #video = video('picture');
  #choose;
  #idleTimer = 0;
  /** @type {Layer[]} */
  #layers = [];
  #height = 0;
  /** By the user: a stream that ends pauses the element as well. */
  #paused = false;

  /** @param {{choose: (rid: string | null) => Promise<void>}} handlers `choose` asks for a layer; null: automatic */
  constructor({ choose }) {
    this.#choose = choose;
    const actions = /** @type {Record<string, () => unknown>} */ ({
      'toggle-play': () => this.#togglePlay(),
      'toggle-sound': () => this.#toggleSound(),
      'sound-wanted': () => this.#toggleSound(),
      'picture-in-picture': () => this.#togglePictureInPicture(),
      fullscreen: () => this.#toggleFullscreen(),
    });
    for (const [id, action] of Object.entries(actions)) button(id).addEventListener('click', () => void attempt(action));
    document.addEventListener('keydown', (event) => this.#handleKey(event));
    input('volume').addEventListener('input', () => this.#setVolume(Number(input('volume').value)));
    select('quality').addEventListener('change', () => void this.#selectLayer());
    for (const name of ['play', 'pause', 'volumechange', 'resize', 'enterpictureinpicture', 'leavepictureinpicture']) {
      this.#video.addEventListener(name, () => this.#show());
    }
    this.#video.addEventListener('click', (event) => {
      // A finger on the picture asks for the bar, which it got by now.
      if (/** @type {PointerEvent} */ (event).pointerType !== 'touch') void attempt(actions['toggle-play']);
    });
    document.addEventListener('fullscreenchange', () => this.#show());
    for (const name of ['pointermove', 'pointerdown', 'focusin', 'keydown']) element('player').addEventListener(name, () => this.#stir());
    button('picture-in-picture').hidden = !document.pictureInPictureEnabled;
    button('fullscreen').hidden = !document.fullscreenEnabled;
    this.#video.volume = Number(recall('localStorage', 'volume') ?? 100) / 100;
    this.#show();
  }

  /** Plays, without sound where the browser allows none before a click. @param {MediaStream} stream */
  async play(stream) {
    this.#video.srcObject = stream;
    if (this.#paused) return;
    try {
      await this.#video.play();
    } catch (error) {
      if (/** @type {Error} */ (error).name !== 'NotAllowedError') return;
      this.#video.muted = true;
      button('sound-wanted').hidden = false;
      await this.#video.play().catch(() => undefined);
    }
  }

  /** @param {Layer[]} layers best first */
  setLayers(layers) {
    this.#layers = layers;
    this.#showLayers();
  }

  /** @param {string} text what of the picture is shown, and why not more @param {boolean} own it is this connection: that stands above the buttons, too */
  setReason(text, own) {
    select('quality').title = text;
    element('reason').textContent = text;
    element('reason').hidden = !own;
  }

  /** @param {number | null} milliseconds null: not known, and nothing is shown */
  setDelay(milliseconds) {
    element('delay').hidden = milliseconds === null || this.#video.paused;
    element('delay-value').textContent = milliseconds === null ? '' : `${number(milliseconds / 1000, 1)} s`;
  }

  /** @param {boolean} live whether the picture is of now */
  setLive(live) {
    element('live-badge').classList.toggle('off', !live);
    if (!live) this.setDelay(null);
  }

  #show() {
    const { paused, muted, volume } = this.#video;
    element('player').dataset.playing = String(!paused);
    face('toggle-play', paused ? 'play' : 'pause', paused ? t('Play') : t('Pause'), 'k');
    const silent = muted || volume === 0;
    face('toggle-sound', silent ? 'sound-off' : 'sound', silent ? t('Turn the sound on') : t('Turn the sound off'), 'm');
    const full = document.fullscreenElement !== null;
    face('fullscreen', full ? 'fullscreen-off' : 'fullscreen', full ? t('Leave full screen') : t('Full screen'), 'f');
    const small = document.pictureInPictureElement !== null;
    face('picture-in-picture', 'pip', small ? t('Back into the page') : t('Picture in picture'), 'p');
    input('volume').value = String(this.#percent());
    if (!silent) button('sound-wanted').hidden = true;
    if (this.#video.videoHeight !== this.#height) {
      this.#height = this.#video.videoHeight;
      this.#showLayers();
    }
  }

  #showLayers() {
    const list = select('quality');
    const { value } = list;
    const names = NAMES[this.#layers.length];
    list.hidden = this.#layers.length < 2;
    const wanted = ['', ...this.#layers.map(({ rid }) => rid)];
    // A list that stands open would close if its options were others, so they change in place.
    if (wanted.join() !== [...list.options].map((option) => option.value).join()) {
      list.replaceChildren(...wanted.map((rid) => new Option(rid, rid)));
      list.value = wanted.includes(value) ? value : '';
    }
    list.options[0].text = this.#height > 0 && list.value === '' ? t('Auto ({height}p)', { height: this.#height }) : t('Auto');
    for (const [index, { rid, bitrate }] of this.#layers.entries()) {
      const option = list.options[index + 1];
      option.text = `${names?.[index] ?? rid}${bitrate ? `, ${bits(bitrate)}` : ''}`;
      option.disabled = bitrate === 0;
    }
  }

  async #selectLayer() {
    const { value } = select('quality');
    await attempt(() => this.#choose(value || null));
    this.#showLayers();
  }

  async #togglePlay() {
    this.#paused = !this.#video.paused;
    if (this.#paused) this.#video.pause();
    else await this.#video.play();
  }

  #toggleSound() {
    const silent = this.#video.muted || this.#video.volume === 0;
    this.#video.muted = !silent;
    if (silent && this.#video.volume === 0) this.#video.volume = 1;
    button('sound-wanted').hidden = true;
  }

  /** What is heard of the sound; the slider follows later. */
  #percent() {
    const { muted, volume } = this.#video;
    return muted ? 0 : Math.round(volume * 100);
  }

  /** @param {number} percent */
  #setVolume(percent) {
    const kept = Math.min(100, Math.max(0, percent));
    this.#video.volume = kept / 100;
    this.#video.muted = kept === 0;
    remember('localStorage', 'volume', String(kept));
  }

  async #toggleFullscreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await element('player').requestFullscreen();
  }

  async #togglePictureInPicture() {
    if (document.pictureInPictureElement) await document.exitPictureInPicture();
    else await this.#video.requestPictureInPicture();
  }

  /** @param {KeyboardEvent} event */
  #handleKey(event) {
    // The switch is on the sheet of keys in the meeting.
    if (event.ctrlKey || event.metaKey || event.altKey || element('theatre').hidden || recall('localStorage', 'keys') === 'off') return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest('select, input, textarea')) return;
    const step = { ArrowUp: VOLUME_STEP, ArrowDown: -VOLUME_STEP }[event.key];
    const id = KEYS[event.key.toLowerCase()];
    // A button that has the focus takes the space bar for itself.
    const taken = event.key === ' ' && target.closest('button, a');
    if (taken || (step === undefined && (!id || event.repeat || button(id).hidden))) return;
    event.preventDefault();
    if (step !== undefined) this.#setVolume(this.#percent() + step);
    else button(id).click();
    this.#stir();
  }

  /** Somebody is there: the bar shows for a while. */
  #stir() {
    clearTimeout(this.#idleTimer);
    element('player').classList.remove('idle');
    this.#idleTimer = window.setTimeout(() => element('player').classList.add('idle'), IDLE_MS);
  }
}

/**
 * @param {string} id
 * @param {string} icon
 * @param {string} text
 * @param {string} key
 */
function face(id, icon, text, key) {
  setIcon(button(id), icon);
  label(button(id), text, key);
}

/** Says what went wrong. @param {() => unknown} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    toast(/** @type {Error} */ (error).message);
  }
}
