/**
 * @module
 * Messages and files of a direct call, over two data channels.
 */
import { OTHER_END, channelTransfers } from './client/transfer.js';
import { button, element, input } from './dom.js';
import { FileList } from './file-list.js';
import { t } from './language.js';
import { announce } from './notices.js';

const TEXT_MAX = 4000;
const MESSAGES_SHOWN_MAX = 500;

export class TalkPanel {
  /** @type {RTCDataChannel | null} */
  #chat = null;
  #files = new FileList(element('talk'), { to: () => OTHER_END, nameOf: () => '', offered: () => undefined });

  constructor() {
    element('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /**
   * Talks over the channels of a new connection.
   * @param {RTCDataChannel} chat
   * @param {RTCDataChannel} files
   */
  use(chat, files) {
    this.#chat = chat;
    this.#files.use(channelTransfers(files));
    const refresh = () => {
      if (this.#chat !== chat) return;
      button('chat-send').disabled = button('choose-file').disabled = chat.readyState !== 'open' || files.readyState !== 'open';
    };
    for (const channel of [chat, files]) {
      channel.addEventListener('open', refresh);
      channel.addEventListener('close', refresh);
    }
    chat.onmessage = ({ data }) => {
      const text = String(data).slice(0, TEXT_MAX);
      this.#showMessage(text, false);
      announce(t('Message: {text}', { text }));
    };
    refresh();
  }

  /** Forgets what was said and received. */
  clear() {
    this.#chat = null;
    this.#files.clear();
    element('messages').replaceChildren();
  }

  #send() {
    const text = input('chat-text').value.trim();
    if (!text || this.#chat?.readyState !== 'open') return;
    this.#chat.send(text);
    this.#showMessage(text, true);
    input('chat-text').value = '';
  }

  /**
   * @param {string} text
   * @param {boolean} own
   */
  #showMessage(text, own) {
    const list = element('messages');
    const item = document.createElement('li');
    item.classList.toggle('own', own);
    item.textContent = text;
    list.append(item);
    if (list.childElementCount > MESSAGES_SHOWN_MAX) list.firstElementChild?.remove();
    list.scrollTop = list.scrollHeight;
  }
}
