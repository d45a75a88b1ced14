/**
 * @module
 * End-to-end encryption of sound and pictures: holds the secrets of a group and leads all frames through a worker. Whoever relays them sees what
 * client/e2ee/formats.js leaves open, and nothing else.
 *
 * ```js
 * import { Encryption } from 'switchyard-client/encryption';
 *
 * const encryption = await Encryption.fromPassphrase('correct horse battery staple', 'demo');
 * const room = await connect('wss://example.org/ws', { room: 'demo', name: 'Ada', encryption });
 * ```
 */
import { SwitchyardError } from '../signaling.js';
import { isSealable } from './formats.js';
import { KEYS_MAX, secretOf, secretOfPassphrase } from './keys.js';

/** @typedef {import('./keys.js').KeyBits} KeyBits */
/** @typedef {{id?: number, use?: boolean}} KeyOptions `id` 0 to 15; `use: false`: only to open with, for now */
/** @typedef {(report: import('./worker.js').Report) => void} Reporter */

export class Encryption {
  #worker;
  /** @type {Promise<void>} */
  #started;
  #bits;
  #slots = 0;
  /** @type {Map<number, Reporter>} */
  #reporters = new Map();
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /** Whether this browser can do it. */
  static get supported() {
    return 'RTCRtpScriptTransform' in globalThis && isSecureContext;
  }

  /**
   * @param {string} passphrase
   * @param {string} salt what the group has in common and other groups have not: the room's name
   * @param {{bits?: KeyBits}} [options]
   */
  static async fromPassphrase(passphrase, salt, options) {
    const encryption = new Encryption(options);
    await encryption.setPassphrase(passphrase, salt);
    return encryption;
  }

  /** @param {{bits?: KeyBits}} [options] length of the keys that frames are sealed with; every length is opened */
  constructor({ bits = 128 } = {}) {
    if (!Encryption.supported) {
      throw new SwitchyardError('unsupported', 'This browser cannot encrypt end to end. Firefox 117, Safari 15.4 and newer can, and recent Chromium, over https.');
    }
    this.#bits = bits;
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    this.#started = new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => {
        if (data.started) resolve();
        else this.#reporters.get(data.slot)?.(data);
      };
      this.#worker.onerror = () => reject(new SwitchyardError('unsupported', 'The part of the page that encrypts could not be loaded.'));
    });
    // Whoever sets a key hears of it.
    this.#started.catch(() => undefined);
  }

  /**
   * @param {string} passphrase
   * @param {string} salt
   * @param {KeyOptions} [options]
   */
  async setPassphrase(passphrase, salt, options) {
    await this.#set(await secretOfPassphrase(passphrase, salt), options);
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} bytes at least 16, random
   * @param {KeyOptions} [options]
   */
  async setKey(bytes, options) {
    if (bytes.length < 16) throw new SwitchyardError('key', 'A key has at least 16 random bytes; for words use setPassphrase.');
    await this.#set(await secretOf(bytes), options);
  }

  /** Seals with another secret, one that was set before. @param {number} id */
  use(id) {
    check(id);
    this.#worker.postMessage({ type: 'use', id });
  }

  /** Called after every secret that is set; returns what stops it. @param {() => void} listener */
  onKey(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Throws where frames of this codec cannot be sealed. @param {string} codec */
  checkCodec(codec) {
    const name = codec.toUpperCase();
    if (!isSealable(codec)) throw new SwitchyardError('codec', `${name} cannot be encrypted end to end. Choose VP8, VP9 or H.264.`);
  }

  /**
   * Before the sender sends anything.
   * @param {RTCRtpSender} sender
   * @param {string} codec
   */
  protectSender(sender, codec) {
    sender.transform = new RTCRtpScriptTransform(this.#worker, { side: 'send', codec, bits: this.#bits });
  }

  /**
   * @param {RTCRtpReceiver} receiver
   * @param {Reporter} report called when frames begin, or cease, to be readable
   * @returns {() => void} ends the reports
   */
  protectReceiver(receiver, report) {
    const slot = ++this.#slots;
    this.#reporters.set(slot, report);
    receiver.transform = new RTCRtpScriptTransform(this.#worker, { side: 'receive', slot });
    return () => this.#reporters.delete(slot);
  }

  /** Ends the worker: nothing is sealed or opened any more. */
  close() {
    this.#worker.terminate();
  }

  /**
   * @param {CryptoKey} secret
   * @param {KeyOptions} [options]
   */
  async #set(secret, { id = 0, use = true } = {}) {
    check(id);
    await this.#started;
    this.#worker.postMessage({ type: 'set', id, secret, use });
    for (const listener of this.#listeners) listener();
  }
}

/** @param {number} id */
function check(id) {
  if (!Number.isInteger(id) || id < 0 || id >= KEYS_MAX) throw new SwitchyardError('key', `A key's id is a number from 0 to ${KEYS_MAX - 1}.`);
}
