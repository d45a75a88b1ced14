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
  /** `decided`: whoever is let in does not leave any more by not waiting. @type {{resolve: (welcome: Welcome) => void, reject: (error: Error) => void, decided: AbortController} | null} */
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
      compact: true,
      ...(identity && { identity }),
      ...(token && { token }),
      ...(maxVideo !== undefined && { max_video: maxVideo }),
      ...(maxAudio !== undefined && { max_audio: maxAudio }),
    });
    if (answer.type !== 'waiting') return answer;
    this.#waiting?.(answer.place);
    return new Promise((resolve, reject) => {
      const decided = new AbortController();
      this.#waits = { resolve, reject, decided };
      const leave = () => {
        signaling.send('leave');
        this.fail('aborted', 'You do not wait any more.');
      };
      if (signal?.aborted) leave();
      signal?.addEventListener('abort', leave, { signal: decided.signal });
    });
  }

  /**
   * @param {import('./protocol.js').ServerMessage} message
   * @returns {boolean} whether it was for who waits
   */
  handle(message) {
    if (!this.#waits) return false;
    if (message.type === 'welcome') this.#decide()?.resolve(message);
    else if (message.type === 'closed') this.fail(message.reason, message.message);
    else if (message.type === 'waiting') this.#waiting?.(message.place);
    return true;
  }

  /**
   * The door stays shut.
   * @param {string} code
   * @param {string} message
   */
  fail(code, message) {
    this.#decide()?.reject(new SwitchyardError(code, message));
  }

  #decide() {
    const waits = this.#waits;
    this.#waits = null;
    waits?.decided.abort();
    return waits;
  }
}
