/**
 * @module
 * What is said in a room. Follows the server's messages, in the one order that they have for everybody.
 */
import { Emitter } from './events.js';

/** @typedef {import('./protocol.js').ChatMessage} ChatMessage */
/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */

/**
 * Events and their `detail`.
 * @typedef {object} ChatEvents
 * @property {{message: ChatMessage, old: boolean}} message somebody said something, we ourselves too; `old`: before we came
 * @property {{id: string, message?: ChatMessage, by?: string, reason?: string}} deleted `by`: identity of the moderator who did it
 * @property {{}} cleared we came into the room, for the first time or again: what was said there comes as history
 * @property {{participant: string, typing: boolean}} typing
 */

/** So many are kept here, as at the server. */
const MESSAGES_MAX = 500;
/** What was said is said again so often while somebody writes. */
const TYPING_EVERY_MS = 3000;

/** @extends {Emitter<ChatEvents>} */
export class Chat extends Emitter {
  /** What was said, oldest first. @type {ChatMessage[]} */
  messages = [];
  #request;
  #send;
  #typingSaid = 0;

  /**
   * @param {(type: string, fields: object) => Promise<any>} request
   * @param {(type: string, fields: object) => void} send says what has no answer
   */
  constructor(request, send) {
    super();
    this.#request = request;
    this.#send = send;
  }

  /**
   * Says something. Resolves when the server has told it to everybody concerned.
   * @param {string} text up to 4000 characters
   * @param {string[]} [to] identities; absent: everybody
   */
  async say(text, to) {
    this.#typingSaid = 0;
    await this.#request('chat', { text, ...(to && { to }) });
  }

  /** Takes a message back: one's own, or as a moderator. @param {string} id @param {string} [reason] its author is told */
  async remove(id, reason) {
    await this.#request('chat_delete', { message: id, reason });
  }

  /**
   * Tells the others that we write; may be called at every key.
   * @param {boolean} typing
   */
  typing(typing) {
    const now = performance.now();
    if (typing ? this.#typingSaid > 0 && now - this.#typingSaid < TYPING_EVERY_MS : this.#typingSaid === 0) return;
    this.#typingSaid = typing ? now : 0;
    this.#send('typing', { typing });
  }

  /**
   * @param {ServerMessage} message
   * @returns {boolean} whether it was about the chat
   */
  handle(message) {
    switch (message.type) {
      case 'chat_message':
        this.#add(message, false);
        return true;
      case 'chat_history':
        for (const old of message.messages) this.#add(old, true);
        return true;
      case 'chat_deleted':
        this.#remove(message);
        return true;
      case 'participant_typing':
        this.emit('typing', { participant: message.participant, typing: message.typing });
        return true;
      default:
        return false;
    }
  }

  /** @param {import('./protocol.js').ChatDeleted} deleted */
  #remove({ message: id, by, reason }) {
    const message = this.messages.find((one) => one.message === id);
    this.messages = this.messages.filter((one) => one !== message);
    this.emit('deleted', { id, message, by, reason });
  }

  /** The room may be another one than before, and count from one again. */
  enter() {
    this.messages = [];
    this.emit('cleared', {});
  }

  /**
   * @param {ChatMessage} message
   * @param {boolean} old
   */
  #add(message, old) {
    this.messages.push(message);
    if (this.messages.length > MESSAGES_MAX) this.messages.shift();
    this.emit('message', { message, old });
  }
}
