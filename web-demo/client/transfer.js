/**
 * @module
 * Files over one data channel, one at a time in each direction: offered, accepted, sent in chunks as fast as the channel takes
 * them, checked by SHA-256 at the end. Either side may cancel at any time.
 */
import { Emitter } from './events.js';

/** @typedef {'offered' | 'waiting' | 'moving' | 'checking' | 'done' | 'cancelled' | 'failed'} TransferState */

/**
 * One file on its way.
 * @typedef {object} Transfer
 * @property {string} id
 * @property {boolean} outgoing
 * @property {string} name
 * @property {number} size bytes
 * @property {TransferState} state
 * @property {number} moved bytes
 * @property {string} sha256 hexadecimal, once it is known
 * @property {string} message why it is not done, a sentence
 * @property {Blob | null} blob what was received
 */

/** @typedef {{transfer: {transfer: Transfer}}} TransferEvents something about it is another */

/**
 * @typedef {{type: 'offer', id: string, name: string, size: number} | {type: 'accept' | 'begin' | 'cancel', id: string}
 *   | {type: 'end', id: string, sha256: string} | {type: 'checked', id: string, ok: boolean}} Control
 */

/** Held in memory on both sides. */
export const FILE_BYTES_MAX = 256 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;
/** More than this waits in the browser: we wait too, until it is below the threshold. */
const BUFFERED_MAX = 4 * 1024 * 1024;
const BUFFERED_LOW = 1024 * 1024;
/** A peer that offers more than this at once is not listened to. */
const OFFERS_MAX = 20;

/** @extends {Emitter<TransferEvents>} */
export class Transfers extends Emitter {
  #channel;
  /** @type {Map<string, Transfer>} */
  #all = new Map();
  /** What we offered. @type {Map<string, File>} */
  #files = new Map();
  /** Accepted files wait for the one before. */
  #sending = Promise.resolve();
  /** What chunks belong to. @type {{transfer: Transfer, chunks: ArrayBuffer[]} | null} */
  #receiving = null;

  /** @param {RTCDataChannel} channel ordered and reliable */
  constructor(channel) {
    super();
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = BUFFERED_LOW;
    channel.onmessage = ({ data }) => (typeof data === 'string' ? void this.#control(parse(data)) : this.#chunk(data));
    channel.onclose = () => this.#abandon('The connection has ended.');
  }

  /** Offers a file; throws a sentence. @param {File} file */
  offer(file) {
    if (file.size > FILE_BYTES_MAX) throw new Error(`A file may have up to ${FILE_BYTES_MAX / 1024 / 1024} MiB.`);
    if (this.#channel.readyState !== 'open') throw new Error('Nobody is there to take the file.');
    const id = crypto.getRandomValues(new Uint32Array(2)).join('-');
    this.#files.set(id, file);
    this.#note({ id, outgoing: true, name: file.name, size: file.size, state: 'offered', moved: 0, sha256: '', message: '', blob: null });
    this.#say({ type: 'offer', id, name: file.name, size: file.size });
  }

  /** @param {Transfer} transfer an incoming one that is offered */
  accept(transfer) {
    if (transfer.outgoing || transfer.state !== 'offered') return;
    this.#change(transfer, { state: 'waiting' });
    this.#say({ type: 'accept', id: transfer.id });
  }

  /** @param {Transfer} transfer */
  cancel(transfer) {
    if (!isUnderway(transfer)) return;
    this.#say({ type: 'cancel', id: transfer.id });
    this.#stop(transfer, 'cancelled', 'You cancelled it.');
  }

  /** @param {Control | null} control */
  async #control(control) {
    if (!control) return;
    if (control.type === 'offer') {
      this.#takeOffer(control);
      return;
    }
    const transfer = this.#all.get(control.id);
    if (!transfer || !isUnderway(transfer)) return;
    switch (control.type) {
      case 'accept':
        if (transfer.outgoing && transfer.state === 'offered') this.#enqueue(transfer);
        break;
      case 'begin':
        if (transfer.outgoing || transfer.state !== 'waiting') return;
        this.#receiving = { transfer, chunks: [] };
        this.#change(transfer, { state: 'moving' });
        break;
      case 'end':
        if (this.#receiving?.transfer === transfer) await this.#finish(this.#receiving, control.sha256);
        break;
      case 'checked':
        if (!transfer.outgoing || transfer.state !== 'checking') return;
        if (control.ok) this.#stop(transfer, 'done', '');
        else this.#stop(transfer, 'failed', 'It arrived damaged.');
        break;
      case 'cancel':
        this.#stop(transfer, 'cancelled', transfer.outgoing ? 'The other does not want it.' : 'The other cancelled it.');
        break;
    }
  }

  /** @param {{id: string, name: string, size: number}} offer */
  #takeOffer({ id, name, size }) {
    const open = [...this.#all.values()].filter((one) => !one.outgoing && isUnderway(one)).length;
    const sane = typeof id === 'string' && !this.#all.has(id) && Number.isInteger(size) && size >= 0 && size <= FILE_BYTES_MAX;
    if (!sane || open >= OFFERS_MAX) {
      this.#say({ type: 'cancel', id });
      return;
    }
    this.#note({ id, outgoing: false, name: String(name).slice(0, 200), size, state: 'offered', moved: 0, sha256: '', message: '', blob: null });
  }

  /** @param {Transfer} transfer */
  #enqueue(transfer) {
    this.#change(transfer, { state: 'waiting' });
    this.#sending = this.#sending
      .then(() => this.#send(transfer))
      .catch(() => this.#stop(transfer, 'failed', 'The file cannot be read any more.'));
  }

  /** @param {Transfer} transfer */
  async #send(transfer) {
    const file = this.#files.get(transfer.id);
    if (!file || transfer.state !== 'waiting') return;
    this.#change(transfer, { state: 'moving' });
    this.#say({ type: 'begin', id: transfer.id });
    const content = await file.arrayBuffer();
    const digest = sha256(content);
    for (let at = 0; at < content.byteLength; at += CHUNK_BYTES) {
      await this.#room();
      // Cancelled meanwhile, by either side.
      if (/** @type {TransferState} */ (transfer.state) !== 'moving') return;
      const chunk = content.slice(at, at + CHUNK_BYTES);
      this.#channel.send(chunk);
      this.#change(transfer, { moved: at + chunk.byteLength });
    }
    const sum = await digest;
    if (/** @type {TransferState} */ (transfer.state) !== 'moving') return;
    this.#change(transfer, { state: 'checking', sha256: sum });
    this.#say({ type: 'end', id: transfer.id, sha256: sum });
  }

  /** Waits until the channel takes more, or is closed. */
  async #room() {
    const channel = this.#channel;
    if (channel.bufferedAmount <= BUFFERED_MAX || channel.readyState !== 'open') return;
    await new Promise((resolve) => {
      const done = () => {
        channel.removeEventListener('bufferedamountlow', done);
        channel.removeEventListener('close', done);
        resolve(undefined);
      };
      channel.addEventListener('bufferedamountlow', done);
      channel.addEventListener('close', done);
    });
  }

  /** @param {ArrayBuffer} chunk */
  #chunk(chunk) {
    // What was on its way when a file was cancelled belongs to none.
    if (!this.#receiving) return;
    const { transfer, chunks } = this.#receiving;
    const moved = transfer.moved + chunk.byteLength;
    if (moved > transfer.size) {
      this.#say({ type: 'cancel', id: transfer.id });
      this.#stop(transfer, 'failed', 'More came than was offered.');
      return;
    }
    chunks.push(chunk);
    this.#change(transfer, { moved });
  }

  /**
   * @param {{transfer: Transfer, chunks: ArrayBuffer[]}} received
   * @param {string} expected
   */
  async #finish({ transfer, chunks }, expected) {
    this.#receiving = null;
    this.#change(transfer, { state: 'checking' });
    const blob = new Blob(chunks);
    const sum = await sha256(await blob.arrayBuffer());
    const ok = sum === expected && blob.size === transfer.size;
    this.#say({ type: 'checked', id: transfer.id, ok });
    if (!ok) {
      this.#stop(transfer, 'failed', 'It arrived damaged.');
      return;
    }
    transfer.blob = blob;
    transfer.sha256 = sum;
    this.#stop(transfer, 'done', '');
  }

  /**
   * @param {Transfer} transfer
   * @param {'done' | 'cancelled' | 'failed'} state
   * @param {string} message
   */
  #stop(transfer, state, message) {
    if (this.#receiving?.transfer === transfer) this.#receiving = null;
    this.#files.delete(transfer.id);
    this.#change(transfer, { state, message });
  }

  /** @param {string} message */
  #abandon(message) {
    for (const transfer of this.#all.values()) if (isUnderway(transfer)) this.#stop(transfer, 'failed', message);
  }

  /** @param {Transfer} transfer */
  #note(transfer) {
    this.#all.set(transfer.id, transfer);
    this.emit('transfer', { transfer });
  }

  /**
   * @param {Transfer} transfer
   * @param {Partial<Transfer>} change
   */
  #change(transfer, change) {
    this.emit('transfer', { transfer: Object.assign(transfer, change) });
  }

  /** @param {Control} control */
  #say(control) {
    if (this.#channel.readyState === 'open') this.#channel.send(JSON.stringify(control));
  }
}

/** Whether something will still happen. @param {Transfer} transfer */
export function isUnderway({ state }) {
  return state !== 'done' && state !== 'cancelled' && state !== 'failed';
}

/** What is no control message is passed over. @param {string} text @returns {Control | null} */
function parse(text) {
  try {
    const control = JSON.parse(text);
    return typeof control === 'object' ? control : null;
  } catch {
    return null;
  }
}

/** @param {ArrayBuffer} content */
async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
