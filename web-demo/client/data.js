/**
 * @module
 * Messages between the participants of a room: the two data channels of the protocol with their header, and what is sent and
 * received over the WebSocket where there is no open channel.
 */
import { SwitchyardError } from './signaling.js';

/** @typedef {import('./protocol.js').DataMessage} DataMessage */

/**
 * @typedef {object} Received
 * @property {string | Uint8Array} payload
 * @property {string} topic
 * @property {boolean} reliable
 * @property {string} participant id of the sender
 * @property {string} identity of the sender
 */

/**
 * @typedef {object} DataOptions
 * @property {string} [topic] at most 64 bytes
 * @property {boolean} [reliable] default: true; false: it may be lost or overtaken, and is never late
 * @property {string[]} [to] identities; none: everybody else
 */

const VERSION = 1;
const TEXT = 1;
const RELIABLE = 'reliable';
const LOSSY = 'lossy';
/** @type {Record<string, RTCDataChannelInit>} */
const CHANNELS = { [RELIABLE]: {}, [LOSSY]: { ordered: false, maxRetransmits: 0 } };
/** Above this a reliable message waits, and with it whoever sends it; a lossy one is left out. @type {Record<string, number>} */
const BUFFERED_MAX = { [RELIABLE]: 1024 * 1024, [LOSSY]: 64 * 1024 };
/** A channel that the server closed is opened again after so long. */
const REOPEN_MS = 1000;
const PAYLOAD_KIB_MAX = 255;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** @param {string | ArrayBuffer | ArrayBufferView} payload */
function toBytes(payload) {
  if (typeof payload === 'string') return encoder.encode(payload);
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload);
  return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
}

/**
 * A message with its header, as clients send it.
 * @param {string | ArrayBuffer | ArrayBufferView} payload
 * @param {string} topic
 * @param {string[]} to
 */
export function encodeMessage(payload, topic, to) {
  const bytes = toBytes(payload);
  const name = encoder.encode(topic);
  const recipients = to.map((identity) => encoder.encode(identity));
  const length = recipients.reduce((sum, { length }) => sum + 2 + length, 4 + name.length + bytes.length);
  const out = new Uint8Array(length);
  out.set([VERSION, typeof payload === 'string' ? TEXT : 0, name.length]);
  out.set(name, 3);
  let at = 3 + name.length;
  out[at++] = recipients.length;
  for (const recipient of recipients) {
    out.set([recipient.length >> 8, recipient.length & 255], at);
    out.set(recipient, at + 2);
    at += 2 + recipient.length;
  }
  out.set(bytes, at);
  return out;
}

/**
 * Reads a message as the server delivers it.
 * @param {ArrayBuffer} buffer
 * @param {boolean} reliable
 * @returns {Received}
 */
export function decodeMessage(buffer, reliable) {
  const view = new DataView(buffer);
  const text = (view.getUint8(1) & TEXT) !== 0;
  let at = 3 + view.getUint8(2);
  const topic = decoder.decode(new Uint8Array(buffer, 3, at - 3));
  const participant = `p${view.getUint32(at)}`;
  const length = view.getUint16(at + 4);
  at += 6;
  const identity = decoder.decode(new Uint8Array(buffer, at, length));
  const bytes = new Uint8Array(buffer, at + length);
  return { payload: text ? decoder.decode(bytes) : bytes, topic, reliable, participant, identity };
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/**
 * A message as it comes over the WebSocket.
 * @param {DataMessage} message
 * @returns {Received}
 */
export function fromSignaling({ participant, identity, topic, reliable, text, bytes }) {
  const payload = text ?? Uint8Array.from(atob(bytes ?? ''), (char) => char.charCodeAt(0));
  return { payload, topic, reliable, participant, identity };
}

/**
 * The fields of `publish_data`.
 * @param {string | ArrayBuffer | ArrayBufferView} payload
 * @param {Required<DataOptions>} options
 */
export function toSignaling(payload, { topic, reliable, to }) {
  const content = typeof payload === 'string' ? { text: payload } : { bytes: toBase64(toBytes(payload)) };
  return { topic, reliable, to, ...content };
}

/** One of the two channels of a peer connection; opened again when the server closes it. */
class Channel {
  #connection;
  #label;
  #onMessage;
  /** @type {RTCDataChannel} */
  #channel;
  /** @type {{bytes: Uint8Array<ArrayBuffer>, resolve: () => void, reject: (error: Error) => void}[]} */
  #waiting = [];

  /**
   * @param {RTCPeerConnection} connection
   * @param {string} label
   * @param {(received: Received) => void} onMessage
   */
  constructor(connection, label, onMessage) {
    this.#connection = connection;
    this.#label = label;
    this.#onMessage = onMessage;
    this.#channel = this.#open();
  }

  get isOpen() {
    return this.#channel.readyState === 'open';
  }

  /**
   * Resolves when the browser has taken it.
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @returns {Promise<void>}
   */
  send(bytes) {
    const full = this.#channel.bufferedAmount > BUFFERED_MAX[this.#label];
    if (full && this.#label === LOSSY) return Promise.resolve();
    if (full || this.#waiting.length > 0) {
      return new Promise((resolve, reject) => this.#waiting.push({ bytes, resolve, reject }));
    }
    this.#channel.send(bytes);
    return Promise.resolve();
  }

  #open() {
    const channel = this.#connection.createDataChannel(this.#label, CHANNELS[this.#label]);
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = BUFFERED_MAX[this.#label] / 2;
    channel.onbufferedamountlow = () => this.#drain();
    channel.onmessage = ({ data }) => this.#onMessage(decodeMessage(data, this.#label === RELIABLE));
    channel.onclose = () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new SwitchyardError('closed', 'The data channel was closed.'));
      setTimeout(() => {
        if (this.#connection.connectionState !== 'closed') this.#channel = this.#open();
      }, REOPEN_MS);
    };
    return channel;
  }

  #drain() {
    while (this.#waiting.length > 0 && this.isOpen && this.#channel.bufferedAmount <= BUFFERED_MAX[this.#label]) {
      const [{ bytes, resolve }] = this.#waiting.splice(0, 1);
      this.#channel.send(bytes);
      resolve();
    }
  }
}

/** What a room does with data. */
export class Data {
  #request;
  #channels;
  #emit;
  /** @type {string[] | null} */
  #topics = null;

  /**
   * @param {(type: string, fields: object) => Promise<unknown>} request
   * @param {() => DataChannels | undefined} channels of the peer connection in use
   * @param {import('./events.js').Emit} emit
   */
  constructor(request, channels, emit) {
    this.#request = request;
    this.#channels = channels;
    this.#emit = emit;
  }

  /**
   * Says something to others in the room. Resolves when it was taken over: a reliable message waits while much is on its way.
   * @param {string | ArrayBuffer | ArrayBufferView} payload
   * @param {DataOptions} [options]
   */
  publish = async (payload, { topic = '', reliable = true, to = [] } = {}) => {
    const options = { topic, reliable, to };
    await (this.#channels()?.send(payload, options) ?? this.#request('publish_data', toSignaling(payload, options)));
  };

  /**
   * Chooses what `data` tells of.
   * @param {string[] | null} topics null: all
   */
  subscribe = async (topics) => {
    this.#topics = topics;
    await this.#request('subscribe_topics', { topics });
  };

  /** Joined, possibly again. */
  enter() {
    if (this.#topics) void this.subscribe(this.#topics).catch(() => undefined);
  }

  /**
   * @param {import('./protocol.js').ServerMessage} message
   * @returns {boolean} whether it was about data
   */
  handle(message) {
    if (message.type === 'data') this.#emit('data', fromSignaling(message));
    else if (message.type === 'data_closed') this.#emit('dataclosed', message);
    else return false;
    return true;
  }
}

/** The data channels of one peer connection. */
export class DataChannels {
  #reliable;
  #lossy;

  /**
   * @param {RTCPeerConnection} connection before its first offer, so that data needs no further one
   * @param {(received: Received) => void} onMessage
   */
  constructor(connection, onMessage) {
    this.#reliable = new Channel(connection, RELIABLE, onMessage);
    this.#lossy = new Channel(connection, LOSSY, onMessage);
  }

  /**
   * Sends on a channel; undefined where none is open for it.
   * @param {string | ArrayBuffer | ArrayBufferView} payload
   * @param {Required<DataOptions>} options
   * @returns {Promise<void> | undefined}
   */
  send(payload, { topic, reliable, to }) {
    const channel = reliable || !this.#lossy.isOpen ? this.#reliable : this.#lossy;
    if (!channel.isOpen) return undefined;
    const bytes = encodeMessage(payload, topic, to);
    if (bytes.length > PAYLOAD_KIB_MAX * 1024) {
      return Promise.reject(new SwitchyardError('too_large', `A message may have at most ${PAYLOAD_KIB_MAX} KiB.`));
    }
    return channel.send(bytes);
  }
}
