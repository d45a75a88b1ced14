/**
 * @module
 * What publishing and watching over HTTP have in common: one session at a time, kept alive. Dead media gets one ICE restart, then a
 * new session takes the old one's place, for as long as nobody closes the stream.
 */
import { Emitter } from './events.js';
import { HttpError, HttpSession } from './http-session.js';
import { retryDelayMs, sleepOrOnline } from './retry.js';
import { SwitchyardError } from './signaling.js';
import { StatsReader } from './stats.js';

/** @typedef {import('./events.js').StreamState} StreamState */

const CONNECT_MS = 15_000;
const MEDIA_SILENCE_MS = 4000;
const ICE_RESTART_MS = 8000;
const MEASURE_MS = 1000;
/** Nobody publishes yet. */
const CONFLICT = 409;
/** Answers that another try may change: a slow body, nothing live, too many requests, no place. */
const PASSING = [408, CONFLICT, 429, 503];

/** @extends {Emitter<import('./events.js').StreamEvents>} */
export class Stream extends Emitter {
  /** @type {StreamState} */
  state = 'connecting';
  /** Exposed for tests. @type {RTCPeerConnection | null} */
  connection = null;
  /** @protected @type {HttpSession | null} */
  session = null;
  /** Of this connection. @protected */
  reader = new StatsReader();
  #url;
  #token;
  #timer = 0;
  #measuring = 0;
  /** Ends the present session with a reason. @type {(reason: Error) => void} */
  #lose = () => undefined;

  /**
   * @param {string | URL} url
   * @param {string} [token]
   */
  constructor(url, token) {
    super();
    this.#url = url;
    this.#token = token;
  }

  /** Connects, and again after every loss; called once. */
  async run() {
    // Whoever made this listens first.
    await Promise.resolve();
    let attempt = 0;
    while (this.state !== 'closed') {
      const error = await this.#connect(() => (attempt = 0));
      if (this.isClosed()) return;
      this.#drop();
      if (isFinal(error)) {
        this.finish(error instanceof SwitchyardError ? error.code : 'failed', error.message);
        return;
      }
      const waiting = error instanceof HttpError && error.status === CONFLICT;
      this.#setState(waiting ? 'waiting' : 'reconnecting', error.message);
      await sleepOrOnline((error instanceof HttpError && error.retryAfterMs) || retryDelayMs(attempt++));
    }
  }

  /** Ends the stream. */
  close() {
    this.finish('left', '');
  }

  /**
   * Adds the sections to be offered.
   * @param {RTCPeerConnection} _connection
   * @protected
   */
  prepare(_connection) {}

  /**
   * What to do at which event of the server's.
   * @returns {Record<string, (data: any) => void>}
   * @protected
   */
  handlers() {
    return {
      reconnect: () => this.#lose(new SwitchyardError('lost', 'The server ended the connection. Connecting again…')),
      viewercount: ({ viewercount }) => this.emit('viewers', { count: viewercount }),
    };
  }

  /** Events are missed. @protected */
  interrupted() {}

  /** Once a second while there is a session. @protected */
  async measure() {}

  /** @protected */
  isClosed() {
    return this.state === 'closed';
  }

  /**
   * @param {string} reason
   * @param {string} message
   * @protected
   */
  finish(reason, message) {
    if (this.isClosed()) return;
    this.#setState('closed', message);
    this.#drop();
    this.emit('closed', { reason, message });
  }

  /**
   * One session, from the offer to its end; resolves with the reason why it is over.
   * @param {() => void} onConnected
   * @returns {Promise<Error>}
   */
  async #connect(onConnected) {
    const connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.connection = connection;
    this.reader = new StatsReader();
    /** @type {Promise<Error>} */
    const lost = new Promise((resolve) => (this.#lose = resolve));
    try {
      this.prepare(connection);
      const session = await HttpSession.open(this.#url, connection, this.#token);
      this.session = session;
      if (this.isClosed()) {
        this.#drop();
        return lost;
      }
      this.#supervise(connection, session, onConnected);
      this.#measuring = window.setInterval(() => void this.measure().catch(() => undefined), MEASURE_MS);
      const gone = () => this.#lose(new SwitchyardError('lost', 'The server ended the connection. Connecting again…'));
      // Without events there is still a picture.
      session.listen(this.handlers(), gone, () => this.interrupted()).catch((error) => console.warn('switchyard: no events', error));
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
    return lost;
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {HttpSession} session
   * @param {() => void} onConnected
   */
  #supervise(connection, session, onConnected) {
    let restarted = false;
    /** @param {string} message */
    const lose = (message) => this.#lose(new SwitchyardError('lost', message));
    const revive = () => {
      clearTimeout(this.#timer);
      if (restarted) {
        lose('Sound and picture were interrupted. Connecting again…');
        return;
      }
      restarted = true;
      this.#setState('reconnecting', 'The connection was interrupted. Trying to mend it…');
      this.#timer = window.setTimeout(revive, ICE_RESTART_MS);
      session.restartIce(connection).catch((error) => lose(error.message));
    };
    const note = () => {
      if (this.connection !== connection) return;
      clearTimeout(this.#timer);
      if (connection.connectionState === 'connected') {
        restarted = false;
        onConnected();
        this.#setState('connected', '');
      } else if (connection.connectionState === 'failed') {
        revive();
      } else {
        this.#timer = window.setTimeout(revive, MEDIA_SILENCE_MS);
      }
    };
    this.#timer = window.setTimeout(() => lose('Sound and picture cannot reach the server. A firewall may block UDP.'), CONNECT_MS);
    connection.onconnectionstatechange = note;
    // It may have connected while ICE was restarted for the servers that the answer told of.
    if (connection.connectionState === 'connected') note();
  }

  #drop() {
    clearTimeout(this.#timer);
    clearInterval(this.#measuring);
    this.session?.end();
    this.session = null;
    this.connection?.close();
    this.connection = null;
  }

  /**
   * @param {StreamState} state
   * @param {string} message
   */
  #setState(state, message) {
    if (this.isClosed()) return;
    this.state = state;
    this.emit('statechange', { state, message });
  }
}

/** Whether trying again is of no use. @param {Error} error */
function isFinal(error) {
  if (!(error instanceof SwitchyardError)) return true;
  if (error.code === 'lost' || error.code === 'unreachable') return false;
  return !(error instanceof HttpError && (PASSING.includes(error.status) || error.status >= 500));
}
