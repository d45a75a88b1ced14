/**
 * @module
 * Files from browser to browser, through a room or over a data channel: offered with a checksum, sent once somebody accepts, in chunks for
 * which the receiver gives credit, so that nothing on the way has to hold more than a window of them. Whoever comes back after a loss goes on
 * where it was. Either side may cancel at any time.
 */
import { Emitter } from './events.js';
import { Parts, decodeChunk, encodeChunk, parse, sha256 } from './transfer-bytes.js';

/** @typedef {import('./transfer-bytes.js').Control} Control */
/** @typedef {'offered' | 'waiting' | 'moving' | 'checking' | 'done' | 'cancelled' | 'failed'} TransferState */

/**
 * One file on its way to one receiver, or offered.
 * @typedef {object} Transfer
 * @property {string} id
 * @property {string} peer identity of the other; empty: offered to everybody
 * @property {boolean} outgoing
 * @property {string} name
 * @property {number} size bytes
 * @property {string} sha256 hexadecimal
 * @property {TransferState} state
 * @property {number} moved bytes that the receiver has
 * @property {boolean} stalled nothing comes from the other at the moment
 * @property {string} message why it is not done, a sentence
 * @property {Blob | null} blob what was received
 */

/** @typedef {{transfer: {transfer: Transfer}, forgotten: {transfer: Transfer}}} TransferEvents something about it is another; it ended long ago */

/**
 * What a transfer needs besides what is told of it.
 * @typedef {object} Work
 * @property {File | null} file what is sent
 * @property {{at: number, bytes: Uint8Array<ArrayBuffer>} | null} piece of that file, read ahead
 * @property {number} at the next byte to send
 * @property {number} until credit: nothing beyond is sent
 * @property {boolean} busy chunks are being sent
 * @property {Parts | null} parts what was received
 * @property {boolean} asked something is missing, and the other was told
 * @property {number} heardAt when something of the other came last, milliseconds
 * @property {string} farewell the other has left, a sentence: it is not waited for as long
 */

/** Checked in memory on both sides. */
const FILE_MIB_MAX = 256;
export const FILE_BYTES_MAX = FILE_MIB_MAX * 1024 * 1024;
/** A message that the WebSocket takes as well, with its header. */
const CHUNK_BYTES = 32 * 1024;
const PIECE_BYTES = 16 * CHUNK_BYTES;
/** Credit of one file: below what a server lets wait for somebody before it holds the sender back, who has others to talk to. */
const WINDOW_BYTES = 6 * CHUNK_BYTES;
/** The same where nobody is between the two: what a link of 40 Mbit/s and 100 ms holds. */
const DIRECT_WINDOW_BYTES = 16 * CHUNK_BYTES;
/** A peer that offers more than this at once is not listened to. */
const OFFERS_MAX = 20;
const OFFERS_OF_ALL_MAX = 100;
/** Nor is one that offers more than this in a minute, whatever becomes of it. */
const OFFERS_PER_MINUTE = 60;
const MINUTE_MS = 60_000;
/** So many that have ended are remembered. */
const ENDED_MAX = 50;
const TICK_MS = 1000;
const DAMAGED = 'It arrived damaged.';
/** Nothing came for so long: the other is asked. */
const STALL_MS = 3000;
/** Then it does not come any more. */
const GONE_MS = 60_000;
/** Who has left may come back by itself: that is how a lost connection looks from afar. */
const LEFT_MS = 15_000;

/** @extends {Emitter<TransferEvents>} */
export class Transfers extends Emitter {
  #say;
  #window;
  /** @type {Map<Transfer, Work>} */
  #all = new Map();
  #timer = 0;
  /** When offers came, of those that came lately. @type {{peer: string, at: number}[]} */
  #offers = [];

  /**
   * @param {(payload: string | Uint8Array<ArrayBuffer>, peer: string) => Promise<void>} say to one, or with an empty `peer` to everybody;
   *   ordered and reliable, resolves when it was taken over
   * @param {number} [windowBytes] that may be on their way at once
   */
  constructor(say, windowBytes = WINDOW_BYTES) {
    super();
    this.#say = say;
    this.#window = windowBytes;
  }

  /**
   * Offers a file; rejects with a sentence.
   * @param {File} file
   * @param {string} [peer] identity; none: to everybody who is here
   */
  async offer(file, peer = '') {
    if (file.size > FILE_BYTES_MAX) throw new Error(`A file may have up to ${FILE_MIB_MAX} MiB.`);
    const id = crypto.getRandomValues(new Uint32Array(2)).join('-');
    const content = await file.arrayBuffer().catch(() => Promise.reject(new Error('The file cannot be read.')));
    const sum = await sha256(content);
    const transfer = this.#note({ id, peer, outgoing: true, name: file.name.slice(0, 200), size: file.size, sha256: sum }, file);
    try {
      await this.#say(JSON.stringify(offerOf(transfer)), peer);
    } catch (error) {
      this.#stop(transfer, 'failed', /** @type {Error} */ (error).message);
    }
  }

  /** @param {Transfer} transfer an incoming one that is offered */
  accept(transfer) {
    if (transfer.outgoing || transfer.state !== 'offered') return;
    this.#change(transfer, { state: 'waiting' });
    this.#next();
  }

  /** @param {Transfer} transfer */
  cancel(transfer) {
    if (!isUnderway(transfer)) return;
    this.#tell(transfer, { type: 'cancel', file: transfer.id });
    // What is taken back from everybody is taken back from those who are getting it, too.
    const same = [...this.#all.keys()].filter((one) => one === transfer || (!transfer.peer && one.outgoing && one.id === transfer.id));
    for (const one of same) if (isUnderway(one)) this.#stop(one, 'cancelled', 'You cancelled it.');
  }

  /**
   * Takes what a peer said.
   * @param {string | Uint8Array<ArrayBuffer>} payload
   * @param {string} peer
   */
  handle(payload, peer) {
    if (typeof payload !== 'string') return this.#chunk(payload, peer);
    const control = parse(payload);
    if (!control) return undefined;
    if (control.type === 'offer') return this.#takeOffer(control, peer);
    const outgoing = control.type !== 'cancel' ? true : undefined;
    const transfer = this.#find(control.file, peer, outgoing) ?? (control.type === 'accept' ? this.#taker(control.file, peer) : undefined);
    if (!transfer || !isUnderway(transfer)) {
      // Whoever asks for what has ended is told so, once more.
      if (control.type === 'accept') void this.#say(JSON.stringify({ type: 'cancel', file: control.file }), peer).catch(() => undefined);
      return undefined;
    }
    this.#hear(transfer);
    if (control.type === 'cancel') this.#stop(transfer, 'cancelled', transfer.outgoing ? 'The other does not want it.' : 'The other cancelled it.');
    else if (control.type === 'done') this.#stop(transfer, control.ok ? 'done' : 'failed', control.ok ? '' : DAMAGED);
    else this.#extend(transfer, control);
    return undefined;
  }

  /** Somebody is here, for the first time or again, or we are: what has stalled goes on. @param {string} [peer] none: whoever it is */
  resume(peer) {
    for (const transfer of this.#all.keys()) {
      // What everybody is offered is for those who come later, too.
      if (peer && !transfer.peer && transfer.outgoing && isUnderway(transfer)) void this.#say(JSON.stringify(offerOf(transfer)), peer).catch(() => undefined);
      if ((peer !== undefined && transfer.peer !== peer) || !isUnderway(transfer)) continue;
      this.#hear(transfer);
      this.#ask(transfer);
      // Whoever comes with a new page has never heard of it.
      if (transfer.outgoing && transfer.state === 'offered' && transfer.peer) this.#tell(transfer, offerOf(transfer));
    }
  }

  /**
   * Somebody has left, and may come back.
   * @param {string} peer
   * @param {string} message a sentence
   */
  miss(peer, message) {
    for (const [transfer, work] of this.#all) {
      if (transfer.peer !== peer || !isUnderway(transfer)) continue;
      Object.assign(work, { farewell: message, heardAt: performance.now() });
      this.#change(transfer, { stalled: true });
    }
    this.#keepTime();
  }

  /** All is over. @param {string} message a sentence */
  abandon(message) {
    for (const transfer of this.#all.keys()) if (isUnderway(transfer)) this.#stop(transfer, 'failed', message);
  }

  /** @param {Extract<Control, {type: 'offer'}>} offer @param {string} peer */
  #takeOffer({ file: id, name, size, sha256: sum }, peer) {
    const known = this.#find(id, peer, false);
    if (known) {
      // It is asked how far this has come.
      if (known.state === 'done') this.#tell(known, { type: 'done', file: id, ok: true });
      else if (!isUnderway(known)) this.#tell(known, { type: 'cancel', file: id });
      else if (known.stalled) this.#ask(known);
      return;
    }
    if (this.#isFlood(peer)) return;
    const open = [...this.#all.keys()].filter((one) => !one.outgoing && isUnderway(one));
    const sane = Number.isInteger(size) && size >= 0 && size <= FILE_BYTES_MAX && typeof name === 'string' && /^[0-9a-f]{64}$/.test(sum);
    if (!sane || open.length >= OFFERS_OF_ALL_MAX || open.filter((one) => one.peer === peer).length >= OFFERS_MAX) {
      void this.#say(JSON.stringify({ type: 'cancel', file: id }), peer).catch(() => undefined);
      return;
    }
    this.#note({ id, peer, outgoing: false, name: name.slice(0, 200), size, sha256: sum }, null);
  }

  /** Whether somebody offers, and takes back, more than anybody means. @param {string} peer */
  #isFlood(peer) {
    const now = performance.now();
    this.#offers = this.#offers.filter(({ at }) => now - at < MINUTE_MS);
    if (this.#offers.filter((one) => one.peer === peer).length >= OFFERS_PER_MINUTE) return true;
    this.#offers.push({ peer, at: now });
    return false;
  }

  /**
   * Somebody takes what was offered to everybody.
   * @param {string} id
   * @param {string} peer
   */
  #taker(id, peer) {
    const offered = this.#find(id, '', true);
    if (!offered || !isUnderway(offered)) return undefined;
    return this.#note({ ...offered, peer }, this.#work(offered).file);
  }

  /** The receiver has so much, and takes so much more. @param {Transfer} transfer @param {Extract<Control, {type: 'accept' | 'credit'}>} control */
  #extend(transfer, { type, at, until }) {
    const work = this.#work(transfer);
    const sane = [at, until].every(Number.isInteger) && at >= 0 && until >= at && at <= transfer.size;
    if (!sane || (type === 'credit' && transfer.state !== 'moving')) return;
    if (type === 'accept') work.at = at;
    work.until = Math.min(until, at + this.#window, transfer.size);
    this.#change(transfer, { state: 'moving', moved: at });
    if (!work.busy) void this.#send(transfer, work);
  }

  /** Sends as far as there is credit. @param {Transfer} transfer @param {Work} work */
  async #send(transfer, work) {
    work.busy = true;
    while (transfer.state === 'moving' && work.at < work.until) {
      const at = work.at;
      const end = Math.min(at + CHUNK_BYTES, work.until);
      const content = await read(work, at, end).catch(() => null);
      if (!content) {
        if (isUnderway(transfer)) this.#fail(transfer, 'The file cannot be read any more.');
        break;
      }
      // The receiver wants another place meanwhile.
      if (work.at !== at) continue;
      work.at = end;
      try {
        await this.#say(encodeChunk(transfer.id, at, content), transfer.peer);
      } catch {
        // There is no way at the moment, or it is too much: once more, unless another place was asked for.
        if (work.at === end) work.at = at;
        await new Promise((resolve) => setTimeout(resolve, TICK_MS));
      }
    }
    work.busy = false;
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes @param {string} peer */
  #chunk(bytes, peer) {
    const chunk = decodeChunk(bytes);
    const transfer = chunk && this.#find(chunk.file, peer, false);
    // What was on its way when a file was cancelled belongs to none.
    if (!chunk || transfer?.state !== 'moving') return;
    this.#hear(transfer);
    const work = this.#work(transfer);
    if (chunk.at !== transfer.moved) {
      // What was sent before a loss comes twice. Where something is missing, the sender is told once.
      if (chunk.at > transfer.moved && !work.asked) this.#grant(transfer, 'accept');
      work.asked ||= chunk.at > transfer.moved;
      return;
    }
    work.asked = false;
    const moved = chunk.at + chunk.content.length;
    if (moved > work.until) {
      this.#fail(transfer, 'More came than was asked for.');
      return;
    }
    work.parts?.push(chunk.content);
    this.#change(transfer, { moved });
    if (moved === transfer.size) void this.#finish(transfer, work);
    // More as soon as a third of it has come.
    else if (work.until - moved <= (this.#window * 2) / 3) this.#grant(transfer, 'credit');
  }

  /** @param {Transfer} transfer @param {'accept' | 'credit'} type */
  #grant(transfer, type) {
    const work = this.#work(transfer);
    work.until = Math.min(transfer.size, transfer.moved + this.#window);
    this.#tell(transfer, { type, file: transfer.id, at: transfer.moved, until: work.until });
  }

  /** The next accepted file, unless one is coming: together they would be more than a window. */
  #next() {
    const incoming = [...this.#all.keys()].filter(({ outgoing }) => !outgoing);
    if (incoming.some(({ state, stalled }) => state === 'moving' && !stalled)) return;
    const transfer = incoming.find(({ state }) => state === 'waiting');
    if (!transfer) return;
    const work = this.#work(transfer);
    work.parts = new Parts();
    this.#hear(transfer);
    this.#change(transfer, { state: 'moving' });
    this.#grant(transfer, 'accept');
    if (transfer.size === 0) void this.#finish(transfer, work);
  }

  /** @param {Transfer} transfer @param {Work} work */
  async #finish(transfer, work) {
    this.#change(transfer, { state: 'checking' });
    const blob = /** @type {Parts} */ (work.parts).blob();
    const sum = await blob.arrayBuffer().then(sha256).catch(() => '');
    if (transfer.state !== 'checking') return;
    if (!sum) return this.#fail(transfer, 'It is too large for this browser to check.');
    const ok = sum === transfer.sha256;
    this.#tell(transfer, { type: 'done', file: transfer.id, ok });
    if (ok) transfer.blob = blob;
    return this.#stop(transfer, ok ? 'done' : 'failed', ok ? '' : DAMAGED);
  }

  /** Asks the other where we are. @param {Transfer} transfer */
  #ask(transfer) {
    if (transfer.state !== 'moving') return;
    if (transfer.outgoing) this.#tell(transfer, offerOf(transfer));
    else this.#grant(transfer, 'accept');
  }

  #tick = () => {
    const now = performance.now();
    for (const [transfer, { heardAt, farewell }] of this.#all) {
      if (!isTimed(transfer, farewell)) continue;
      const silent = now - heardAt;
      if (silent > (farewell ? LEFT_MS : GONE_MS)) this.#stop(transfer, 'failed', farewell || 'Nothing was heard of the other for a minute.');
      else if (silent > STALL_MS) {
        if (!transfer.stalled) this.#change(transfer, { stalled: true });
        this.#ask(transfer);
        this.#next();
      }
    }
    this.#keepTime();
  };

  /** The clock runs as long as something is on its way, or somebody may come back. */
  #keepTime() {
    clearTimeout(this.#timer);
    if ([...this.#all].some(([transfer, { farewell }]) => isTimed(transfer, farewell))) this.#timer = setTimeout(this.#tick, TICK_MS);
  }

  /** @param {Transfer} transfer */
  #hear(transfer) {
    Object.assign(this.#work(transfer), { heardAt: performance.now(), farewell: '' });
    if (transfer.stalled) this.#change(transfer, { stalled: false });
  }

  /** @param {string} id @param {string} peer @param {boolean} [outgoing] */
  #find(id, peer, outgoing) {
    return [...this.#all.keys()].find((one) => one.id === id && one.peer === peer && (outgoing === undefined || one.outgoing === outgoing));
  }

  /** @param {Transfer} transfer @returns {Work} */
  #work(transfer) {
    return /** @type {Work} */ (this.#all.get(transfer));
  }

  /** Ends it for both. @param {Transfer} transfer @param {string} message */
  #fail(transfer, message) {
    this.#tell(transfer, { type: 'cancel', file: transfer.id });
    this.#stop(transfer, 'failed', message);
  }

  /** @param {Transfer} transfer @param {'done' | 'cancelled' | 'failed'} state @param {string} message */
  #stop(transfer, state, message) {
    Object.assign(this.#work(transfer), { file: null, piece: null, parts: null });
    this.#change(transfer, { state, message, stalled: false, moved: state === 'done' ? transfer.size : transfer.moved });
    this.#forget();
    this.#next();
  }

  /** What ended long ago; last of it files that came, which may not be saved yet. */
  #forget() {
    const ended = [...this.#all.keys()].filter((transfer) => !isUnderway(transfer));
    if (ended.length <= ENDED_MAX) return;
    const transfer = ended.find(({ blob }) => !blob) ?? ended[0];
    this.#all.delete(transfer);
    this.emit('forgotten', { transfer });
  }

  /**
   * @param {Pick<Transfer, 'id' | 'peer' | 'outgoing' | 'name' | 'size' | 'sha256'>} about
   * @param {File | null} file
   */
  #note(about, file) {
    /** @type {Transfer} */
    const transfer = { state: 'offered', moved: 0, stalled: false, message: '', blob: null, ...about };
    this.#all.set(transfer, { file, piece: null, at: 0, until: 0, busy: false, parts: null, asked: false, heardAt: performance.now(), farewell: '' });
    this.emit('transfer', { transfer });
    return transfer;
  }

  /** @param {Transfer} transfer @param {Partial<Transfer>} change */
  #change(transfer, change) {
    const began = change.state === 'moving' && transfer.state !== 'moving';
    this.emit('transfer', { transfer: Object.assign(transfer, change) });
    if (began) this.#keepTime();
  }

  /** What is lost is asked for again, as soon as nothing comes. @param {Transfer} transfer @param {Control} control */
  #tell(transfer, control) {
    void this.#say(JSON.stringify(control), transfer.peer).catch(() => undefined);
  }
}

/** @param {Transfer} transfer @returns {Control} */
function offerOf({ id, name, size, sha256: sum }) {
  return { type: 'offer', file: id, name, size, sha256: sum };
}

/** Whether something will still happen. @param {Transfer} transfer */
export function isUnderway({ state }) {
  return state !== 'done' && state !== 'cancelled' && state !== 'failed';
}

/**
 * A part of the file that is sent. Read ahead: a browser takes some milliseconds for a piece, however small it is.
 * @param {Work} work @param {number} at @param {number} end
 */
async function read(work, at, end) {
  if (!work.piece || at < work.piece.at || end > work.piece.at + work.piece.bytes.length) {
    const content = await /** @type {File} */ (work.file).slice(at, at + PIECE_BYTES).arrayBuffer();
    work.piece = { at, bytes: new Uint8Array(content) };
  }
  const { piece } = work;
  return piece.bytes.subarray(at - piece.at, end - piece.at);
}

/** @param {Transfer} transfer @param {string} farewell */
function isTimed(transfer, farewell) {
  return transfer.state === 'moving' || (farewell !== '' && isUnderway(transfer));
}

const TOPIC = 'files';

/**
 * Files through a room: whoever accepts is sent them by the server.
 * @param {import('./room.js').Room} room
 */
export function roomTransfers(room) {
  const transfers = new Transfers((payload, peer) => room.publishData(payload, { topic: TOPIC, to: peer ? [peer] : [] }));
  room.on('data', ({ topic, payload, identity }) => {
    // Who may say nothing cannot accept anything.
    if (topic === TOPIC && room.canPublishData) transfers.handle(/** @type {string | Uint8Array<ArrayBuffer>} */ (payload), identity);
  });
  room.on('reconnected', () => transfers.resume());
  room.on('participantjoined', ({ participant }) => transfers.resume(participant.identity));
  room.on('participantleft', ({ participant, reason }) => {
    if (reason === 'left' || reason === 'removed') transfers.miss(participant.identity, 'The other has left.');
  });
  room.on('closed', () => transfers.abandon('You have left the room.'));
  return transfers;
}

/** Of a channel there is but one other end. */
export const OTHER_END = 'other';

/**
 * Files over a data channel of one's own.
 * @param {RTCDataChannel} channel ordered and reliable
 */
export function channelTransfers(channel) {
  channel.binaryType = 'arraybuffer';
  const transfers = new Transfers(async (payload) => {
    if (channel.readyState !== 'open') throw new Error('Nobody is there to take the file.');
    channel.send(/** @type {string} */ (payload));
  }, DIRECT_WINDOW_BYTES);
  channel.onmessage = ({ data }) => transfers.handle(typeof data === 'string' ? data : new Uint8Array(data), OTHER_END);
  channel.onclose = () => transfers.abandon('The connection has ended.');
  return transfers;
}
