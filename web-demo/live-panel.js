/**
 * @module
 * How a stream does: time on air, viewers, health, figures, and the link for viewers.
 */
import { element, button, input } from './dom.js';
import { healthOf } from './health.js';
import { copyLink } from './notices.js';
import { bits } from './stats-overlay.js';
import { number, t } from './language.js';

/** @typedef {import('./client/stats.js').TrackStats} TrackStats */
/** @typedef {import('./health.js').Level} Level */

export class LivePanel {
  /** Whether it has been live. */
  began = false;
  #startedAt = 0;
  #timer = 0;
  #viewersMax = 0;

  constructor() {
    button('copy-watch-link').addEventListener('click', () => void copyLink(input('watch-link').value, t('The link for viewers is on the clipboard.')));
    input('watch-link').addEventListener('focus', () => input('watch-link').select());
  }

  /** @param {string} link for viewers */
  begin(link) {
    input('watch-link').value = link;
    /** @type {HTMLAnchorElement} */ (element('open-watch-link')).href = link;
    this.#viewersMax = 0;
    this.setViewers(0);
    this.#setHealth('starting', t('Starting'), t('The first pictures are on their way.'));
    this.#setFigures([]);
  }

  connected() {
    if (this.began) return;
    this.began = true;
    this.#startedAt = performance.now();
    this.#timer = window.setInterval(() => this.#showTime(), 1000);
    this.#showTime();
  }

  /** @param {string} message */
  lost(message) {
    this.#setHealth('lost', t('Connection lost'), t(message));
    this.#setFigures([]);
  }

  /** The stream is over; returns what it was in a sentence. */
  end() {
    clearInterval(this.#timer);
    const { began } = this;
    this.began = false;
    if (!began) return '';
    return t('It was live for {time}, with {viewers} viewers at most.', { time: clock(this.#seconds()), viewers: this.#viewersMax });
  }

  /** @param {number} count */
  setViewers(count) {
    this.#viewersMax = Math.max(this.#viewersMax, count);
    element('viewers').textContent = String(count);
    element('viewers-label').textContent = ` ${count === 1 ? t('viewer') : t('viewers')}`;
  }

  /**
   * @param {TrackStats} stats
   * @param {{state: string, watchedLayers: string[] | null}} publication
   */
  setStats(stats, { state, watchedLayers }) {
    if (state !== 'connected') return;
    const { level, word, reason } = healthOf(stats, watchedLayers?.length !== 0);
    this.#setHealth(level, word, reason);
    this.#setFigures([
      ['Bitrate', bits(stats.bitrate)],
      ['Resolution', stats.width ? `${stats.width}×${stats.height}` : '–'],
      ['Frame rate', stats.fps === null ? '–' : `${Math.round(stats.fps)} fps`],
      ['Round trip', stats.rttMs === null ? '–' : `${Math.round(stats.rttMs)} ms`],
      ['Loss', stats.loss === null ? '–' : `${number(stats.loss * 100, 1)} %`],
      ['Codec', stats.codec || '–'],
    ]);
  }

  /**
   * @param {Level} level
   * @param {string} word
   * @param {string} reason
   */
  #setHealth(level, word, reason) {
    element('health').dataset.health = level;
    element('health-word').textContent = word;
    element('health-reason').textContent = reason;
  }

  /** @param {[string, string][]} figures none: they are not known now */
  #setFigures(figures) {
    for (const cell of element('figures').querySelectorAll('dd')) {
      cell.textContent = figures.find(([name]) => name === cell.dataset.stat)?.[1] ?? '–';
    }
  }

  #showTime() {
    element('on-air-time').textContent = clock(this.#seconds());
  }

  #seconds() {
    return Math.floor((performance.now() - this.#startedAt) / 1000);
  }
}

/** `1:05`, `1:00:00`. @param {number} seconds */
function clock(seconds) {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = /** @param {number} value */ (value) => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
