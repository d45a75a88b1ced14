/**
 * @module
 * Which tracks of the others can be shown: sealed ones to whoever has a key, and in a room that is encrypted no others. What cannot be opened
 * is not asked for any longer, as a decoder without pictures asks the publisher for keyframes again and again.
 */

/** @typedef {import('./encryption.js').Encryption} Encryption */
/** @typedef {import('../tracks.js').RemoteTrack} RemoteTrack */

/** Keys change within this time, or not. */
const GIVE_UP_MS = 5000;
/** Then it is looked again after this time, and up to twice that: the sender may have found the right words. */
const RETRY_MS = 15_000;

export class Secrecy {
  #encryption;
  #roster;
  #subscribe;
  #stop;
  /** @type {Map<RemoteTrack, number>} */
  #timers = new Map();

  /**
   * @param {Encryption | undefined} encryption
   * @param {import('../roster.js').Roster} roster
   * @param {(track: string, wanted: boolean) => Promise<void>} subscribe
   */
  constructor(encryption, roster, subscribe) {
    this.#encryption = encryption;
    this.#roster = roster;
    this.#subscribe = subscribe;
    this.#stop = encryption?.onKey(() => this.#retry());
  }

  /** Why it cannot be shown whatever comes; null: it may be. @param {RemoteTrack} track */
  obstacle({ encrypted }) {
    if (encrypted && !this.#encryption) return 'encrypted';
    return !encrypted && this.#encryption ? 'plain' : null;
  }

  /** It became unavailable for a reason. @param {{track: RemoteTrack, reason: string}} news */
  noteUnavailable({ track, reason }) {
    if (reason === 'encrypted' || reason === 'plain') this.#request(track, false);
    if (reason === 'key' && !this.#timers.has(track)) this.#doubt(track);
  }

  /** Gives up after a while, and after another one tries again. @param {RemoteTrack} track */
  #doubt(track) {
    this.#later(track, GIVE_UP_MS, () => {
      this.#request(track, false);
      this.#later(track, RETRY_MS * (1 + Math.random()), () => {
        this.#request(track, true);
        this.#doubt(track);
      });
    });
  }

  /**
   * Does something unless it can be read by then, or has ended.
   * @param {RemoteTrack} track
   * @param {number} ms
   * @param {() => void} act
   */
  #later(track, ms, act) {
    const look = () => {
      this.#timers.delete(track);
      if (track.unavailable === 'key' && this.#roster.track(track.id) === track) act();
    };
    this.#timers.set(track, window.setTimeout(look, ms));
  }

  close() {
    this.#stop?.();
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  #retry() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    for (const track of this.#roster.tracks()) {
      if (track.unavailable !== 'key') continue;
      this.#request(track, true);
      this.#doubt(track);
    }
  }

  /**
   * @param {RemoteTrack} track
   * @param {boolean} wanted
   */
  #request(track, wanted) {
    // It may have ended by now.
    this.#subscribe(track.id, wanted).catch(() => undefined);
  }
}
