/**
 * @module
 * Whether media gets through: dead media, or another network, gets an ICE restart; what that does not cure is reported.
 */

/** @typedef {import('./peer.js').Peer} Peer */

/** The browser says `disconnected` after some seconds without an answer. */
const SILENCE_MS = 1000;
const ICE_RESTART_MS = 8000;

export class MediaWatch {
  #peer;
  #canRestart;
  #onDead;
  #timer = 0;
  #restarted = false;
  #networkChanged = () => this.#restart();

  /**
   * @param {Peer} peer
   * @param {() => boolean} canRestart an offer would reach the server now
   * @param {() => void} onDead media is dead for good
   */
  constructor(peer, canRestart, onDead) {
    this.#peer = peer;
    this.#canRestart = canRestart;
    this.#onDead = onDead;
    window.addEventListener('online', this.#networkChanged);
    connectionOf(navigator)?.addEventListener('change', this.#networkChanged);
  }

  /** Whether media gets through now. */
  get alive() {
    return this.#peer.connection.connectionState === 'connected';
  }

  /** The connection's state has changed, or the server can be reached again. */
  look() {
    clearTimeout(this.#timer);
    const state = this.#peer.connection.connectionState;
    if (state === 'connected') {
      this.#restarted = false;
    } else if (state === 'disconnected') {
      this.#timer = window.setTimeout(() => this.#revive(), SILENCE_MS);
    } else if (state === 'failed') {
      this.#revive();
    }
  }

  close() {
    clearTimeout(this.#timer);
    window.removeEventListener('online', this.#networkChanged);
    connectionOf(navigator)?.removeEventListener('change', this.#networkChanged);
  }

  #revive() {
    if (!this.#canRestart()) return;
    if (this.#restarted) {
      this.#onDead();
      return;
    }
    this.#restart();
    this.#timer = window.setTimeout(() => this.#revive(), ICE_RESTART_MS);
  }

  #restart() {
    if (!this.#canRestart() || this.#peer.connection.connectionState === 'new') return;
    this.#restarted = true;
    this.#peer.restartIce();
  }
}

/**
 * Chromium's NetworkInformation, which the types do not know.
 * @param {Navigator} browser
 * @returns {EventTarget | undefined}
 */
function connectionOf(browser) {
  return /** @type {Navigator & {connection?: EventTarget}} */ (browser).connection;
}
