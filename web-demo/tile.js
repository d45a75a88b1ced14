/**
 * @module
 * One tile: a picture or an avatar, a name, and what there is to say about it. It shows what it is told and decides nothing.
 */
import { icon, label } from './dom.js';
import { t } from './language.js';

const AVATAR_HUES = 12;
const REACTION_MS = 4000;
let firstFrameSeen = false;
let tilesMade = 0;

export class Tile {
  /** @type {HTMLElement} */
  element;
  /** Stands for the picture where less of it is wanted than is shown. */
  extent = make('span', 'extent');
  /** Track ids whose figures belong on this tile: picture first. @type {string[]} */
  statsOf = [];
  #video;
  #name;
  #note;
  #micOff;
  #hand;
  #lock;
  #stats;
  #quality;
  #pin;
  #local;
  /** What to say of the quality; asked when somebody looks. @type {(picture: {width: number, height: number}) => string} */
  #describe = () => '';

  /**
   * @param {{participant: string, source: string, name: string, seed: string, local: boolean}} about
   * @param {() => void} pin somebody wants it large, or not any more
   */
  constructor({ participant, source, name, seed, local }, pin) {
    this.#local = local;
    this.element = make('article', 'tile');
    Object.assign(this.element.dataset, { participant, source, track: '', hue: String(hueOf(seed)) });
    if (local) this.element.dataset.local = '';
    this.#video = document.createElement('video');
    Object.assign(this.#video, { muted: true, autoplay: true, playsInline: true, hidden: true });
    this.#video.disablePictureInPicture = false;
    const avatar = make('div', 'avatar');
    avatar.textContent = initials(name);
    avatar.setAttribute('aria-hidden', 'true');
    this.#note = make('p', 'tile-note');
    this.#note.hidden = true;
    const caption = make('div', 'caption');
    this.#micOff = make('span', 'mic-off');
    this.#micOff.append(icon('mic-off'));
    this.#micOff.setAttribute('role', 'img');
    this.#micOff.setAttribute('aria-label', t('Microphone off'));
    this.#micOff.hidden = true;
    this.#lock = make('span', 'lock');
    this.#lock.append(icon('lock'));
    this.#lock.setAttribute('role', 'img');
    this.#lock.setAttribute('aria-label', t('Encrypted end to end'));
    this.#lock.title = t('Encrypted end to end');
    this.#lock.hidden = true;
    this.#hand = make('span', 'hand');
    this.#hand.append(icon('hand'));
    this.#hand.setAttribute('role', 'img');
    this.#hand.setAttribute('aria-label', t('Hand raised'));
    this.#hand.hidden = true;
    this.#name = make('span', 'name');
    caption.append(this.#hand, this.#micOff, this.#lock, this.#name);
    this.#stats = make('dl', 'stats');
    this.#stats.hidden = true;
    this.#quality = make('p', 'quality');
    this.#quality.id = `quality-${++tilesMade}`;
    this.#pin = document.createElement('button');
    Object.assign(this.#pin, { type: 'button', className: 'pin' });
    this.#pin.append(icon('pin'));
    this.element.addEventListener('dblclick', pin);
    this.element.append(avatar, this.#video, this.#note, caption, this.#stats, this.#quality, this.#pin, this.extent);
    this.setName(name);
    this.setPinned(false);
    this.#answerLooks();
    this.#answerPin(pin);
  }

  get name() {
    return this.#name.textContent ?? '';
  }

  /** @param {string} name */
  setName(name) {
    if (name === this.name) return;
    this.#name.textContent = name;
    this.element.setAttribute('aria-label', name);
    this.#labelPin();
  }

  /** How much of the picture is wanted. @param {'full' | 'small' | 'none'} extent */
  setExtent(extent) {
    this.extent.hidden = extent === 'none';
  }

  /** @param {boolean} pinned */
  setPinned(pinned) {
    this.element.classList.toggle('pinned', pinned);
    this.#labelPin();
  }

  #labelPin() {
    label(this.#pin, this.element.classList.contains('pinned') ? t('Let {name} go', { name: this.name }) : t('Keep {name} large', { name: this.name }));
  }

  /**
   * @param {string} track id; empty while there is none
   * @param {MediaStreamTrack | null} mediaStreamTrack null shows the avatar
   */
  setPicture(track, mediaStreamTrack) {
    this.element.dataset.track = track;
    this.#video.id = track ? `video-${track}` : '';
    const shown = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getVideoTracks()[0] ?? null;
    this.#video.hidden = mediaStreamTrack === null;
    this.refreshQuality();
    this.element.classList.toggle('has-picture', mediaStreamTrack !== null);
    if (shown === mediaStreamTrack) return;
    this.#video.srcObject = mediaStreamTrack && new MediaStream([mediaStreamTrack]);
    if (!mediaStreamTrack) return;
    this.#video.play().catch(() => undefined);
    if (!this.#local) markFirstFrame(this.#video);
  }

  /** @param {(picture: {width: number, height: number}) => string} describe a line about the quality of the picture; empty for none */
  setQuality(describe) {
    this.#describe = describe;
    this.refreshQuality();
  }

  /** The line is one for who points at the tile, taps it or comes to it by keyboard. */
  refreshQuality() {
    const { videoWidth: width, videoHeight: height, hidden } = this.#video;
    this.#quality.textContent = hidden || this.#local ? '' : this.#describe({ width, height });
  }

  /** The button of the tile is its stop for the keyboard. */
  #answerLooks() {
    const { element } = this;
    this.#pin.setAttribute('aria-describedby', this.#quality.id);
    this.#pin.addEventListener('focus', () => this.refreshQuality());
    this.#video.addEventListener('resize', () => this.refreshQuality());
    /** @param {PointerEvent} event @param {boolean} asked */
    const ask = ({ pointerType }, asked) => {
      if (pointerType === 'mouse') element.classList.toggle('asked', asked);
    };
    element.addEventListener('pointerenter', (event) => ask(event, true));
    element.addEventListener('pointerleave', (event) => ask(event, false));
    // A finger does not hover: a tap shows the line until the next tap.
    element.addEventListener('pointerup', ({ pointerType }) => {
      if (pointerType !== 'mouse') element.classList.toggle('asked');
    });
  }

  /** @param {() => void} pin */
  #answerPin(pin) {
    let seen = true;
    this.#pin.addEventListener('pointerdown', () => (seen = getComputedStyle(this.#pin).opacity !== '0'));
    this.#pin.addEventListener('click', (event) => {
      // Nobody means a button that is not to be seen: the tap has shown it now. Other clicks come without a finger.
      if (/** @type {PointerEvent} */ (event).pointerType !== 'touch' || seen) pin();
    });
  }

  /** @param {boolean} off */
  setMicOff(off) {
    this.#micOff.hidden = !off;
  }

  /** @param {boolean} encrypted */
  setLock(encrypted) {
    this.#lock.hidden = !encrypted;
  }

  /** @param {boolean} raised */
  setHand(raised) {
    this.#hand.hidden = !raised;
  }

  /** Shows a reaction for a moment. @param {string} reaction */
  react(reaction) {
    const shown = make('span', 'reaction');
    shown.textContent = reaction;
    shown.setAttribute('aria-hidden', 'true');
    this.element.querySelector('.reaction')?.remove();
    this.element.append(shown);
    setTimeout(() => shown.remove(), REACTION_MS);
  }

  /** @param {boolean} speaking */
  setSpeaking(speaking) {
    this.element.classList.toggle('speaking', speaking);
  }

  /** @param {string} text a sentence over the tile; empty for none */
  setNote(text) {
    this.#note.textContent = text;
    this.#note.hidden = text === '';
  }

  /** @param {[string, string][] | null} rows label and value; null hides the figures */
  setStats(rows) {
    this.#stats.hidden = rows === null;
    if (!rows) return;
    this.#stats.replaceChildren(
      ...rows.map(([name, value]) => {
        const row = document.createElement('div');
        const term = document.createElement('dt');
        const detail = document.createElement('dd');
        term.textContent = t(name);
        detail.textContent = value;
        detail.dataset.stat = name;
        row.append(term, detail);
        return row;
      }),
    );
  }

  close() {
    this.#video.srcObject = null;
    this.element.remove();
  }
}

/** Marks the first frame from anybody else, once per page. @param {HTMLVideoElement} video */
function markFirstFrame(video) {
  const mark = () => {
    if (firstFrameSeen) return;
    firstFrameSeen = true;
    performance.mark('sy-first-frame');
  };
  if (firstFrameSeen) return;
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(mark);
  else video.addEventListener('loadeddata', mark, { once: true });
}

/**
 * @param {string} tag
 * @param {string} className
 */
function make(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

/** @param {string} name */
function initials(name) {
  const words = name.replace(/\(.*\)/, '').trim().split(/\s+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => [...word][0].toUpperCase()).join('') || '?';
}

/** One of the avatar colours in style.css. @param {string} seed */
function hueOf(seed) {
  let hash = 7;
  for (const letter of seed) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return hash % AVATAR_HUES;
}
