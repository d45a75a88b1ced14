/**
 * @module
 * One frame sealed, and opened again. A sealed frame is
 *
 *     open bytes | AES-GCM ciphertext with its tag of 16 bytes | counter (4) | sender (8) | key id (1) | format (1)
 *
 * The IV is the counter after eight zero bytes; open bytes and trailer are authenticated. `sender` is random for everything that seals, and
 * the key is derived for it, so no two ever count under the same key.
 */
import { FORMATS, escape, firstAuthenticated, openBytes, unescape } from './formats.js';

/** @typedef {import('./formats.js').SealedCodec} SealedCodec */
/** @typedef {import('./keys.js').KeyBits} KeyBits */
/** @typedef {import('./keys.js').KeyRing} KeyRing */

const SENDER_BYTES = 8;
const TRAILER_BYTES = 4 + SENDER_BYTES + 2;
const COUNTER_MAX = 0xffffffff;
const LONG_KEY = 8;

/** Seals the frames of one track. */
export class Sealer {
  #keys;
  #codec;
  #bits;
  #sender = crypto.getRandomValues(new Uint8Array(SENDER_BYTES));
  #counter = 0;

  /**
   * @param {KeyRing} keys
   * @param {SealedCodec} codec
   * @param {KeyBits} bits
   */
  constructor(keys, codec, bits) {
    this.#keys = keys;
    this.#codec = codec;
    this.#bits = bits;
  }

  /**
   * Null where there is no key: nothing leaves open.
   * @param {Uint8Array} frame
   * @param {number} now milliseconds
   */
  async seal(frame, now) {
    const id = this.#keys.current;
    if (id === null) return null;
    if (this.#counter > COUNTER_MAX) {
      this.#sender = crypto.getRandomValues(new Uint8Array(SENDER_BYTES));
      this.#counter = 0;
    }
    const trailer = new Uint8Array(TRAILER_BYTES);
    new DataView(trailer.buffer).setUint32(0, this.#counter++);
    trailer.set(this.#sender, 4);
    trailer.set([id, FORMATS[this.#codec] + (this.#bits === 256 ? LONG_KEY : 0)], 4 + SENDER_BYTES);
    const key = await this.#keys.key(id, this.#sender, this.#bits, now);
    if (!key) return null;
    const open = frame.subarray(0, openBytes(this.#codec, frame));
    const sealed = await crypto.subtle.encrypt(parameters(this.#codec, open, trailer), key, concat(frame.subarray(open.length)));
    const rest = concat(new Uint8Array(sealed), trailer);
    return concat(open, this.#codec === 'h264' ? escape(rest, open) : rest);
  }
}

/**
 * Opens a frame, whoever sealed it; null: it is not sealed, or not with a key that is here.
 * @param {KeyRing} keys
 * @param {Uint8Array} frame
 * @param {number} now milliseconds
 */
export async function openFrame(keys, frame, now) {
  const format = frame[frame.length - 1];
  const bits = (format & LONG_KEY) === 0 ? 128 : 256;
  const codec = /** @type {SealedCodec[]} */ (Object.keys(FORMATS)).find((name) => FORMATS[name] === (format & ~LONG_KEY));
  if (!codec) return null;
  const open = frame.subarray(0, openBytes(codec, frame));
  const rest = codec === 'h264' ? unescape(frame.subarray(open.length), open) : frame.subarray(open.length);
  const end = rest.length - TRAILER_BYTES;
  if (end < 0) return null;
  const trailer = rest.slice(end);
  const key = await keys.key(trailer[4 + SENDER_BYTES], trailer.slice(4, 4 + SENDER_BYTES), bits, now);
  if (!key) return null;
  try {
    const plain = await crypto.subtle.decrypt(parameters(codec, open, trailer), key, concat(rest.subarray(0, end)));
    return concat(open, new Uint8Array(plain));
  } catch {
    return null;
  }
}

/**
 * @param {SealedCodec} codec
 * @param {Uint8Array} open
 * @param {Uint8Array} trailer
 */
function parameters(codec, open, trailer) {
  const iv = new Uint8Array(12);
  iv.set(trailer.subarray(0, 4), 8);
  return { name: 'AES-GCM', iv, additionalData: concat(open.subarray(firstAuthenticated(codec, open.length)), trailer) };
}

/** @param {Uint8Array[]} parts */
function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
