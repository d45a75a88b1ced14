/**
 * @module
 * What happens while the server cannot be reached: in words, with the seconds until the next attempt and a button that does not wait.
 */
import { element } from './dom.js';
import { announce } from './notices.js';
import { t } from './language.js';

const TICK_MS = 250;

export class ReconnectBanner {
  #sentence = document.createElement('span');
  #countdown = document.createElement('span');
  #button = document.createElement('button');
  #timer = 0;
  #nextAt = 0;
  #tryNow;

  /** @param {() => void} tryNow */
  constructor(tryNow) {
    this.#tryNow = tryNow;
    this.#countdown.className = 'countdown';
    this.#button.type = 'button';
    this.#button.id = 'try-now';
    this.#button.textContent = t('Try now');
    this.#button.addEventListener('click', () => {
      if (this.#button.getAttribute('aria-disabled') === 'true') return;
      this.#nextAt = 0;
      this.#tick();
      this.#tryNow();
    });
  }

  /** @param {string} sentence */
  show(sentence) {
    const banner = element('banner');
    banner.hidden = false;
    const text = t(sentence);
    if (this.#sentence.textContent !== text) announce(text);
    this.#sentence.textContent = text;
    if (!banner.contains(this.#sentence)) banner.replaceChildren(this.#sentence, this.#countdown, this.#button);
  }

  /** @param {{delayMs: number, message: string}} news */
  await({ delayMs, message }) {
    this.show(message);
    this.#nextAt = performance.now() + delayMs;
    clearInterval(this.#timer);
    this.#timer = window.setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  hide() {
    clearInterval(this.#timer);
    const banner = element('banner');
    if (banner.contains(document.activeElement)) element('room-title').focus();
    banner.hidden = true;
    banner.replaceChildren();
    this.#sentence.textContent = '';
  }

  #tick() {
    const seconds = Math.ceil((this.#nextAt - performance.now()) / 1000);
    const waits = seconds > 0;
    this.#countdown.textContent = waits ? t('Next try in {seconds} s.', { seconds }) : t('Trying now…');
    // Disabled it would lose the focus.
    this.#button.setAttribute('aria-disabled', String(!waits));
  }
}
