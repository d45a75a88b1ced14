/**
 * @module
 * The signaling of one participation: JSON frames, answers matched to requests, a ping every 10 s. It knows nothing of rooms or media.
 * Its socket may be lost: it then goes on over another one when told to `resume`, with every event once and every request executed once.
 * A Signaling that was closed stays closed.
 */

/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */
/** @typedef {{type: string, fields: object, resolve: (m: any) => void, reject: (e: Error) => void, timer: number}} Pending */

const OPEN_TIMEOUT_MS = 8000;
/** A lost connection is tried often, rather than long. */
const REOPEN_TIMEOUT_MS = 6000;
const REQUEST_TIMEOUT_MS = 12000;
const PING_INTERVAL_MS = 10000;
const PONG_TIMEOUT_MS = 5000;
/** There is reason to believe that the socket is dead. */
const PROBE_TIMEOUT_MS = 3000;

/**
 * An error with the protocol's code, or one of `unreachable`, `timeout`, `closed`, `aborted`, or the reason of a `closed`; `message` is
 * a plain sentence.
 */
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

/** Whether the server could not be asked, which is no refusal. @param {any} error */
export function isLoss(error) {
  return error.code === 'closed';
}

/** What a new join says again. @param {unknown} error */
export function unlessLost(error) {
  if (!isLoss(error)) throw error;
}

/**
 * @typedef {object} Handlers
 * @property {(message: ServerMessage) => void} onMessage every message that answers no request
 * @property {() => void} onClose when a socket is gone and `close` was not called
 */

export class Signaling {
  #url;
  /** @type {WebSocket | null} */
  #socket;
  #handlers;
  #nextRequest = 1;
  /** @type {Map<number, Pending>} */
  #requests = new Map();
  #pingTimer = 0;
  #pongTimer = 0;
  #closed = false;
  /** Number of the last event. */
  #event = 0;
  /** What `resume` needs, once joined. @type {{room: string, participant: string, secret: string} | null} */
  #membership = null;

  /**
   * Resolves with an open socket; rejects with `unreachable`.
   * @param {string | URL} url
   * @param {Handlers} handlers
   * @param {boolean} [again] the server could be reached a moment ago
   * @returns {Promise<Signaling>}
   */
  static async open(url, handlers, again = false) {
    return new Signaling(url, await openSocket(url, again ? REOPEN_TIMEOUT_MS : OPEN_TIMEOUT_MS), handlers);
  }

  /**
   * @param {string | URL} url
   * @param {WebSocket} socket an open one
   * @param {Handlers} handlers
   */
  constructor(url, socket, handlers) {
    this.#url = url;
    this.#socket = socket;
    this.#handlers = handlers;
    this.#listen(socket);
  }

  /** Whether it can go on over another socket. */
  get resumable() {
    return !this.#closed && this.#membership !== null;
  }

  /**
   * Sends a message that has no answer. Without effect while there is no socket.
   * @param {string} type
   * @param {object} [fields]
   */
  send(type, fields = {}) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  /**
   * Sends a request, now or when there is a socket again; resolves with its answer, rejects with the server's error or `timeout` or `closed`.
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
      const pending = { type, fields, resolve, reject, timer: 0 };
      this.#requests.set(request, pending);
      if (this.#socket) this.#ask(request, pending);
    });
  }

  /**
   * Goes on over another socket, once the last one was lost. Rejects with `unreachable` or `timeout`, after which it may be tried again, or with
   * the server's refusal.
   */
  async resume() {
    const membership = this.#membership;
    if (!membership || this.#closed) throw new SwitchyardError('closed', 'There is nothing to go on with.');
    const socket = await openSocket(this.#url, REOPEN_TIMEOUT_MS);
    try {
      const resume = { type: 'resume', request: this.#nextRequest++, version: 1, ...membership, event: this.#event };
      const { secret, taken } = await askFirst(socket, resume);
      if (this.#closed) throw new SwitchyardError('closed', 'You left.');
      this.#membership = { ...membership, secret };
      this.#socket = socket;
      this.#listen(socket);
      // Shows that the newest secret has arrived.
      this.#ping();
      for (const [request, pending] of this.#requests) {
        if (request > taken) this.#ask(request, pending);
        else this.#await(request, pending);
      }
    } catch (error) {
      socket.onmessage = socket.onclose = null;
      socket.close();
      throw error;
    }
  }

  /** Finds out soon whether the socket is dead. */
  probe() {
    if (!this.#socket) return;
    this.#ping(PROBE_TIMEOUT_MS);
  }

  /** Closes cleanly. `onClose` is not called; open requests are rejected. */
  close() {
    this.#closed = true;
    this.#drop(1000);
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(new SwitchyardError('closed', 'The connection to the server was lost.'));
    }
    this.#requests.clear();
  }

  /** @param {WebSocket} socket */
  #listen(socket) {
    socket.onmessage = (event) => this.#handleMessage(event.data);
    socket.onclose = () => this.#lost();
    this.#pingTimer = window.setInterval(() => this.#ping(), PING_INTERVAL_MS);
  }

  /**
   * @param {number} request
   * @param {Pending} pending
   */
  #ask(request, pending) {
    this.#await(request, pending);
    this.send(pending.type, { request, ...pending.fields });
  }

  /**
   * @param {number} request
   * @param {Pending} pending
   */
  #await(request, pending) {
    clearTimeout(pending.timer);
    pending.timer = window.setTimeout(() => {
      this.#requests.delete(request);
      pending.reject(new SwitchyardError('timeout', 'The server did not answer in time.'));
    }, REQUEST_TIMEOUT_MS);
  }

  /** @param {unknown} data */
  #handleMessage(data) {
    const message = parse(data);
    if (!message) return;
    clearTimeout(this.#pongTimer);
    this.#pongTimer = 0;
    if (message.event !== undefined) {
      if (message.event <= this.#event) return;
      this.#event = message.event;
    }
    if (message.type === 'welcome') {
      const { room, participant, secret } = message;
      this.#membership = { room, participant, secret };
    } else if (message.type === 'closed' && message.reason !== 'slow_reader') {
      this.#membership = null;
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

  /**
   * A socket that answers nothing is dead, whatever its readyState says.
   * @param {number} [patience]
   */
  #ping(patience = PONG_TIMEOUT_MS) {
    clearTimeout(this.#pongTimer);
    this.#pongTimer = window.setTimeout(() => this.#lost(), patience);
    this.send('ping', { time: Date.now(), event: this.#event });
  }

  #lost() {
    if (this.#closed || !this.#socket) return;
    if (this.#membership) {
      this.#drop();
      // Their time goes on when there is somebody to answer.
      for (const { timer } of this.#requests.values()) clearTimeout(timer);
    } else {
      this.close();
    }
    this.#handlers.onClose();
  }

  /** @param {number} [code] */
  #drop(code) {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close(code);
  }
}

/**
 * @param {string | URL} url
 * @param {number} patience
 * @returns {Promise<WebSocket>}
 */
function openSocket(url, patience) {
  return new Promise((resolve, reject) => {
    const unreachable = () => {
      clearTimeout(timer);
      socket.onopen = socket.onclose = null;
      socket.close();
      reject(new SwitchyardError('unreachable', 'The server cannot be reached. It may be stopped, or the network is down.'));
    };
    const timer = window.setTimeout(unreachable, patience);
    const socket = new WebSocket(url);
    socket.onclose = unreachable;
    socket.onopen = () => {
      clearTimeout(timer);
      socket.onclose = null;
      resolve(socket);
    };
  });
}

/**
 * The first request over a socket: resolves with `resumed`.
 * @param {WebSocket} socket
 * @param {{type: string, request: number}} message
 * @returns {Promise<import('./protocol.js').Resumed>}
 */
function askFirst(socket, message) {
  return new Promise((resolve, reject) => {
    const timer = window.setTimeout(() => reject(new SwitchyardError('timeout', 'The server did not answer in time.')), REOPEN_TIMEOUT_MS);
    const done = () => {
      clearTimeout(timer);
      socket.onmessage = socket.onclose = null;
    };
    socket.onclose = () => {
      done();
      reject(new SwitchyardError('unreachable', 'The connection to the server was lost.'));
    };
    socket.onmessage = ({ data }) => {
      const answer = parse(data);
      if (answer?.type !== 'resumed' && answer?.type !== 'closed' && answer?.type !== 'error') return;
      done();
      if (answer.type === 'resumed') resolve(answer);
      else reject(new SwitchyardError(answer.type === 'closed' ? answer.reason : answer.code, answer.message));
    };
    socket.send(JSON.stringify(message));
  });
}

/**
 * @param {unknown} data
 * @returns {ServerMessage | null}
 */
function parse(data) {
  try {
    return JSON.parse(String(data));
  } catch {
    return null;
  }
}
