/**
 * @module
 * Which device plays the others' voices.
 */

export class Speaker {
  /** Empty: as the system has it. */
  id;
  /** @type {Set<HTMLMediaElement>} */
  #elements = new Set();

  /** Whether this browser lets pages choose. */
  static get supported() {
    return 'setSinkId' in HTMLMediaElement.prototype;
  }

  /** @param {string} [id] of an `audiooutput` device */
  constructor(id = '') {
    this.id = id;
  }

  /**
   * Lets an element play there, now and after every choice.
   * @param {HTMLMediaElement} element
   */
  lead(element) {
    this.#elements.add(element);
    // A device that is gone must not silence anybody.
    if (this.id) this.#send(element, this.id).catch(() => undefined);
  }

  /** @param {HTMLMediaElement} element */
  release(element) {
    this.#elements.delete(element);
  }

  /**
   * Rejects with an Error whose message is a plain sentence; then all is as it was.
   * @param {string} id
   */
  async choose(id) {
    if (!Speaker.supported) throw new Error('This browser plays where the system says; choose the speaker there.');
    const results = await Promise.allSettled([...this.#elements].map((element) => this.#send(element, id)));
    if (results.some(({ status }) => status === 'rejected')) {
      for (const element of this.#elements) this.#send(element, this.id).catch(() => undefined);
      throw new Error('This speaker cannot be used; it may have been unplugged.');
    }
    this.id = id;
  }

  /**
   * @param {HTMLMediaElement} element
   * @param {string} id
   */
  async #send(element, id) {
    if (Speaker.supported) await element.setSinkId(id);
  }
}
