/**
 * @module
 * What transfers of files say to each other, and what becomes of the bytes.
 */

/**
 * @typedef {{type: 'offer', file: string, name: string, size: number, sha256: string} | {type: 'accept' | 'credit', file: string, at: number, until: number}
 *   | {type: 'done', file: string, ok: boolean} | {type: 'cancel', file: string}} Control
 */

const ID_MAX = 64;
const OFFSET_BYTES = 8;
/** Small pieces are put together to this before the browser keeps them: it may then put them aside on disk. */
const PART_BYTES = 4 * 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What is no control message is passed over. @param {string} text @returns {Control | null} */
export function parse(text) {
  try {
    const control = JSON.parse(text);
    const { file } = control;
    return typeof file === 'string' && file.length > 0 && file.length <= ID_MAX ? control : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} file id, ASCII
 * @param {number} at offset of the content in the file
 * @param {Uint8Array} content
 */
export function encodeChunk(file, at, content) {
  const id = encoder.encode(file);
  const out = new Uint8Array(1 + id.length + OFFSET_BYTES + content.length);
  out[0] = id.length;
  out.set(id, 1);
  new DataView(out.buffer).setBigUint64(1 + id.length, BigInt(at));
  out.set(content, 1 + id.length + OFFSET_BYTES);
  return out;
}

/** @param {Uint8Array<ArrayBuffer>} bytes @returns {{file: string, at: number, content: Uint8Array<ArrayBuffer>} | null} */
export function decodeChunk(bytes) {
  const head = 1 + bytes[0] + OFFSET_BYTES;
  if (!(bytes.length > head)) return null;
  const at = new DataView(bytes.buffer, bytes.byteOffset + head - OFFSET_BYTES).getBigUint64(0);
  return { file: decoder.decode(bytes.subarray(1, head - OFFSET_BYTES)), at: Number(at), content: bytes.subarray(head) };
}

/** A file that comes piece by piece. */
export class Parts {
  /** @type {Blob[]} */
  #whole = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #pieces = [];
  #length = 0;

  /** @param {Uint8Array<ArrayBuffer>} piece */
  push(piece) {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length >= PART_BYTES) this.#put();
  }

  blob() {
    this.#put();
    return new Blob(this.#whole);
  }

  #put() {
    this.#whole.push(new Blob(this.#pieces.splice(0)));
    this.#length = 0;
  }
}

/** @param {ArrayBuffer} content */
export async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
