/**
 * @module
 * A channel of the server's relay (`/channel`): what is said goes to everybody else in it. Comes back by itself when the connection is lost.
 */
import { Emitter } from './events.js';
import { retryDelayMs, sleepOrOnline } from './retry.js';

/**
 * Events and their `detail`.
 * @typedef {object} ChannelEvents
 * @property {{}} open in the channel, for the first time or again
 * @property {{data: unknown}} message what somebody else said
 * @property {{message: string}} lost the connection is gone, and is being made anew
 * @property {{message: string}} refused the server does not let us in; a sentence for people, and the end
 */

/** Close code of a socket that would be refused again. */
const REFUSED = 1008;

/** @extends {Emitter<ChannelEvents>} */
export class Channel extends Emitter {
  #url;
  #name;
  /** @type {WebSocket | null} */
  #socket = null;
  #attempt = 0;
  #closed = false;
  /** What the server said last of something that it refused. */
  #refusal = '';

  /**
   * @param {string | URL} url for example `wss://example.org/channel`
   * @param {string} name
   */
  constructor(url, name) {
    super();
    this.#url = url;
    this.#name = name;
    void this.#connect();
  }

  /** Says something to the others; without effect while not connected. @param {unknown} data */
  say(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ channel: this.#name, data }));
  }

  close() {
    this.#closed = true;
    this.#socket?.close(1000);
  }

  async #connect() {
    await sleepOrOnline(retryDelayMs(this.#attempt));
    if (this.#closed) return;
    this.#attempt += 1;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempt = 0;
      socket.send(JSON.stringify({ open: true, channel: this.#name }));
      this.emit('open', {});
    };
    socket.onmessage = ({ data }) => this.#handle(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (this.#closed) return;
      if (code === REFUSED) {
        this.emit('refused', { message: this.#refusal });
        return;
      }
      this.emit('lost', { message: 'The server cannot be reached.' });
      void this.#connect();
    };
  }

  /** @param {unknown} data */
  #handle(data) {
    // It may also be what somebody else says, who could make us leave: only the server can close the socket.
    const refusal = typeof data === 'object' && data !== null && 'error' in data ? data.error : undefined;
    if (typeof refusal === 'string') this.#refusal = refusal;
    else this.emit('message', { data });
  }
}
