/**
 * @module
 * One WebSocket: JSON frames, answers matched to requests, a ping every 10 s. It knows nothing of rooms or media,
 * and it never reconnects: a Signaling that has closed stays closed.
 */

/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */

const OPEN_TIMEOUT_MS = 8000;
const REQUEST_TIMEOUT_MS = 12000;
const PING_INTERVAL_MS = 10000;

/** An error with the protocol's code, or one of `unreachable`, `timeout`, `closed`, `aborted`; `message` is a plain sentence. */
export class SwitchyardError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = 'SwitchyardError';
    this.code = code;
  }
}

/**
 * @typedef {object} Handlers
 * @property {(message: ServerMessage) => void} onMessage every message that answers no request
 * @property {() => void} onClose once, when the socket is gone and `close` was not called
 */

export class Signaling {
  #socket;
  #handlers;
  #nextRequest = 1;
  /** @type {Map<number, {resolve: (m: ServerMessage) => void, reject: (e: Error) => void, timer: number}>} */
  #requests = new Map();
  #pingTimer = 0;
  #pongDue = false;
  #closed = false;

  /**
   * Resolves with an open socket; rejects with `unreachable`.
   * @param {string | URL} url
   * @param {Handlers} handlers
   * @returns {Promise<Signaling>}
   */
  static open(url, handlers) {
    return new Promise((resolve, reject) => {
      const unreachable = () => {
        clearTimeout(timer);
        socket.onopen = socket.onclose = null;
        socket.close();
        reject(new SwitchyardError('unreachable', 'The server cannot be reached. It may be stopped, or the network is down.'));
      };
      const timer = window.setTimeout(unreachable, OPEN_TIMEOUT_MS);
      const socket = new WebSocket(url);
      socket.onclose = unreachable;
      socket.onopen = () => {
        clearTimeout(timer);
        resolve(new Signaling(socket, handlers));
      };
    });
  }

  /**
   * @param {WebSocket} socket an open one
   * @param {Handlers} handlers
   */
  constructor(socket, handlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.onmessage = (event) => this.#handleMessage(event.data);
    socket.onclose = () => this.#lost();
    this.#pingTimer = window.setInterval(() => this.#ping(), PING_INTERVAL_MS);
  }

  /**
   * Sends a message that has no answer. Without effect once closed.
   * @param {string} type
   * @param {object} [fields]
   */
  send(type, fields = {}) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  /**
   * Sends a request; resolves with its answer, rejects with the server's error or `timeout` or `closed`.
   * @param {string} type
   * @param {object} [fields]
   * @returns {Promise<any>}
   */
  request(type, fields = {}) {
    const request = this.#nextRequest++;
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new SwitchyardError('closed', 'The connection to the server is closed.'));
        return;
      }
      const timer = window.setTimeout(() => {
        this.#requests.delete(request);
        reject(new SwitchyardError('timeout', 'The server did not answer in time.'));
      }, REQUEST_TIMEOUT_MS);
      this.#requests.set(request, { resolve, reject, timer });
      this.send(type, { request, ...fields });
    });
  }

  /** Closes cleanly. `onClose` is not called; open requests are rejected. */
  close() {
    this.#finish();
    this.#socket.close(1000);
  }

  /** @param {unknown} data */
  #handleMessage(data) {
    this.#pongDue = false;
    /** @type {ServerMessage} */
    let message;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    const waiting = message.request === undefined ? undefined : this.#requests.get(message.request);
    if (message.request === undefined || !waiting) {
      if (message.type !== 'pong') this.#handlers.onMessage(message);
      return;
    }
    this.#requests.delete(message.request);
    clearTimeout(waiting.timer);
    if (message.type === 'error') waiting.reject(new SwitchyardError(message.code, message.message));
    else waiting.resolve(message);
  }

  /** A socket that answered nothing since the last ping is dead, whatever its readyState says. */
  #ping() {
    if (this.#pongDue) {
      this.#lost();
      return;
    }
    this.#pongDue = true;
    this.send('ping', { time: Date.now() });
  }

  #lost() {
    if (this.#closed) return;
    this.#finish();
    this.#socket.close();
    this.#handlers.onClose();
  }

  #finish() {
    this.#closed = true;
    this.#socket.onmessage = this.#socket.onclose = null;
    clearInterval(this.#pingTimer);
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(new SwitchyardError('closed', 'The connection to the server was lost.'));
    }
    this.#requests.clear();
  }
}
