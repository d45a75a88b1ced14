/**
 * @module
 * Secrets that a group shares, and the keys that are made of them: each sender has one of its own, so that counting frames is enough for an IV
 * never to come twice under one key.
 */

/** @typedef {128 | 256} KeyBits */

/** Secrets at once, with the ids 0 to 15. */
export const KEYS_MAX = 16;
/** How long frames of the secret before are still opened. */
const KEEP_MS = 60_000;
/** Derived keys of one secret that are kept: tracks that a receiver sees at once, and more. */
const SENDERS_MAX = 256;
/** NIST SP 800-132 wants many, OWASP this many (2023). */
const PASSPHRASE_ROUNDS = 600_000;
const SECRET_BITS = 256;
const INFO = 'switchyard frame key 1 ';

const text = new TextEncoder();

/**
 * The secret of a passphrase. Takes a part of a second, so that guessing takes long.
 * @param {string} passphrase
 * @param {string} salt the same for everybody; another one for every room, so that nobody can prepare guesses
 */
export async function secretOfPassphrase(passphrase, salt) {
  const typed = await crypto.subtle.importKey('raw', text.encode(passphrase.normalize('NFC')), 'PBKDF2', false, ['deriveBits']);
  const parameters = { name: 'PBKDF2', hash: 'SHA-256', salt: text.encode(`switchyard ${salt}`), iterations: PASSPHRASE_ROUNDS };
  return secretOf(new Uint8Array(await crypto.subtle.deriveBits(parameters, typed, SECRET_BITS)));
}

/**
 * A secret of random bytes, which cannot be read again.
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
export function secretOf(bytes) {
  return crypto.subtle.importKey('raw', bytes, 'HKDF', false, ['deriveKey']);
}

/** @typedef {{secret: CryptoKey, keys: Map<string, Promise<CryptoKey>>, until: number}} Entry */

export class KeyRing {
  /** @type {(Entry | undefined)[]} */
  #entries = [];
  /** What is sealed with; null: nothing yet. @type {number | null} */
  current = null;

  /**
   * @param {number} id
   * @param {CryptoKey} secret
   */
  set(id, secret) {
    this.#entries[id] = { secret, keys: new Map(), until: Infinity };
  }

  /**
   * Seals with this secret from now on. The one before is forgotten after a while: frames that were sealed with it may be under way, and not
   * everybody changes at the same moment.
   * @param {number} id
   * @param {number} now milliseconds
   */
  use(id, now) {
    const before = this.current === null || this.current === id ? undefined : this.#entries[this.current];
    if (before) before.until = now + KEEP_MS;
    const entry = this.#entries[id];
    if (entry) entry.until = Infinity;
    this.current = id;
  }

  /**
   * The key of one sender; null: that secret is not known, or not any more.
   * @param {number} id
   * @param {Uint8Array<ArrayBuffer>} sender
   * @param {KeyBits} bits
   * @param {number} now milliseconds
   */
  key(id, sender, bits, now) {
    const entry = this.#entries[id];
    if (!entry) return null;
    if (now > entry.until) {
      this.#entries[id] = undefined;
      return null;
    }
    const name = `${bits} ${sender.join()}`;
    let key = entry.keys.get(name);
    if (!key) {
      key = derive(entry.secret, sender, bits);
      // Whoever makes senders up gains nothing but work for both sides.
      if (entry.keys.size >= SENDERS_MAX) entry.keys.delete(entry.keys.keys().next().value ?? '');
      entry.keys.set(name, key);
    }
    return key;
  }
}

/**
 * @param {CryptoKey} secret
 * @param {Uint8Array<ArrayBuffer>} sender
 * @param {KeyBits} bits
 */
function derive(secret, sender, bits) {
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: sender, info: text.encode(`${INFO}${bits}`) };
  return crypto.subtle.deriveKey(parameters, secret, { name: 'AES-GCM', length: bits }, false, ['encrypt', 'decrypt']);
}
