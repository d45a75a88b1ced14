/**
 * @module
 * The way into a room: what is said at the door, and waiting to be let in.
 */
import { SwitchyardError } from './signaling.js';

/** @typedef {import('./signaling.js').Signaling} Signaling */
/** @typedef {import('./protocol.js').Welcome} Welcome */
/** @typedef {import('./options.js').ConnectOptions} ConnectOptions */

/** Somebody who waits to be let in, until then. */
export class Door {
  /** @type {{resolve: (welcome: Welcome) => void, reject: (error: Error) => void} | null} */
  #waits = null;
  #waiting;

  /** @param {((place: number) => void) | undefined} waiting */
  constructor(waiting) {
    this.#waiting = waiting;
  }

  /**
   * @param {Signaling} signaling
   * @param {ConnectOptions} options
   * @param {string} identity
   * @returns {Promise<Welcome>}
   */
  async enter(signaling, { room, name, token, maxVideo, maxAudio, signal }, identity) {
    const answer = await signaling.request('join', {
      version: 1,
      room,
      name,
      ...(identity && { identity }),
      ...(token && { token }),
      ...(maxVideo !== undefined && { max_video: maxVideo }),
      ...(maxAudio !== undefined && { max_audio: maxAudio }),
    });
    if (answer.type !== 'waiting') return answer;
    this.#waiting?.(answer.place);
    return new Promise((resolve, reject) => {
      this.#waits = { resolve, reject };
      const leave = () => {
        signaling.send('leave');
        this.fail('aborted', 'You do not wait any more.');
      };
      if (signal?.aborted) leave();
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  /**
   * @param {import('./protocol.js').ServerMessage} message
   * @returns {boolean} whether it was for who waits
   */
  handle(message) {
    if (!this.#waits) return false;
    if (message.type === 'welcome') this.#waits.resolve(message);
    else if (message.type === 'closed') this.fail(message.reason, message.message);
    else {
      if (message.type === 'waiting') this.#waiting?.(message.place);
      return true;
    }
    this.#waits = null;
    return true;
  }

  /**
   * The door stays shut.
   * @param {string} code
   * @param {string} message
   */
  fail(code, message) {
    this.#waits?.reject(new SwitchyardError(code, message));
    this.#waits = null;
  }
}
