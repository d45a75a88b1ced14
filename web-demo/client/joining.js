/**
 * @module
 * The way into a room: what is said at the door, and waiting to be let in.
 */
import { SwitchyardError } from './signaling.js';

/** @typedef {import('./signaling.js').Signaling} Signaling */
/** @typedef {import('./protocol.js').Welcome} Welcome */

/**
 * @typedef {object} ConnectOptions
 * @property {string} room
 * @property {string} name shown to the others
 * @property {string} [identity] one identity is in the room once: the newer replaces the older
 * @property {string} [token]
 * @property {number} [maxVideo] most videos received at once
 * @property {number} [maxAudio]
 * @property {boolean} [adaptiveStream] default: true; false: everything is wanted in full, whatever `attach` says
 * @property {(place: number) => void} [waiting] we wait to be let in by a moderator: 1 is who comes next
 * @property {AbortSignal} [signal] ends the waiting
 */

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
    else if (message.type === 'waiting') return this.#waiting?.(message.place) ?? true;
    else if (message.type === 'closed') this.fail(message.reason, message.message);
    else return true;
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
