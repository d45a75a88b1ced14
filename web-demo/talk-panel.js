/**
 * @module
 * Messages and files of a direct call, over two data channels.
 */
import { FILE_BYTES_MAX, Transfers, isUnderway } from './client/transfer.js';
import { button, element, input } from './dom.js';
import { announce, toast } from './notices.js';

/** @typedef {import('./client/transfer.js').Transfer} Transfer */
/** @typedef {{chat: RTCDataChannel, files: Transfers}} Open */

const TEXT_MAX = 4000;
const MESSAGES_SHOWN_MAX = 500;

/** @type {Record<import('./client/transfer.js').TransferState, string>} */
const WORDS = { offered: 'offered', waiting: 'waiting', moving: 'on its way', checking: 'being checked', done: 'done, checksum equal', cancelled: 'cancelled', failed: 'failed' };

export class TalkPanel {
  /** @type {Open | null} */
  #open = null;
  /** @type {Map<Transfer, HTMLElement>} */
  #rows = new Map();
  /** Addresses of received files, until the page takes them back. @type {string[]} */
  #links = [];

  constructor() {
    element('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    button('choose-file').addEventListener('click', () => input('file').click());
    input('file').addEventListener('change', () => {
      for (const file of input('file').files ?? []) this.#offer(file);
      input('file').value = '';
    });
    const panel = element('talk');
    panel.addEventListener('dragover', (event) => event.preventDefault());
    panel.addEventListener('drop', (event) => {
      event.preventDefault();
      for (const file of event.dataTransfer?.files ?? []) this.#offer(file);
    });
  }

  /**
   * Talks over the channels of a new connection.
   * @param {RTCDataChannel} chat
   * @param {RTCDataChannel} files
   */
  use(chat, files) {
    this.#open = { chat, files: new Transfers(files) };
    this.#open.files.on('transfer', ({ transfer }) => this.#showTransfer(transfer));
    const refresh = () => {
      if (this.#open?.chat !== chat) return;
      button('chat-send').disabled = button('choose-file').disabled = chat.readyState !== 'open' || files.readyState !== 'open';
    };
    for (const channel of [chat, files]) {
      channel.addEventListener('open', refresh);
      channel.addEventListener('close', refresh);
    }
    chat.onmessage = ({ data }) => {
      const text = String(data).slice(0, TEXT_MAX);
      this.#showMessage(text, false);
      announce(`Message: ${text}`);
    };
    refresh();
  }

  /** Forgets what was said and received. */
  clear() {
    this.#open = null;
    this.#rows.clear();
    for (const link of this.#links.splice(0)) URL.revokeObjectURL(link);
    element('messages').replaceChildren();
    element('transfers').replaceChildren();
  }

  #send() {
    const text = input('chat-text').value.trim();
    if (!text || this.#open?.chat.readyState !== 'open') return;
    this.#open.chat.send(text);
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

  /** @param {File} file */
  #offer(file) {
    try {
      this.#open?.files.offer(file);
    } catch (error) {
      toast(/** @type {Error} */ (error).message);
    }
  }

  /** @param {Transfer} transfer */
  #showTransfer(transfer) {
    const row = this.#rows.get(transfer) ?? this.#addRow(transfer);
    if (row.dataset.state !== transfer.state) {
      row.dataset.state = transfer.state;
      this.#setActions(row, transfer);
    }
    const progress = /** @type {HTMLProgressElement} */ (row.querySelector('progress'));
    progress.value = transfer.moved;
    progress.hidden = !isUnderway(transfer);
    const percent = transfer.size > 0 ? Math.floor((100 * transfer.moved) / transfer.size) : 100;
    const words = transfer.state === 'moving' ? `${percent} % of ${megabytes(transfer.size)}` : `${WORDS[transfer.state]}, ${megabytes(transfer.size)}`;
    const state = /** @type {HTMLElement} */ (row.querySelector('.file-state'));
    state.textContent = [words, transfer.message, transfer.state === 'done' && `SHA-256 ${transfer.sha256}`].filter(Boolean).join('. ');
    row.dataset.sha256 = transfer.sha256;
  }

  /** @param {Transfer} transfer */
  #addRow(transfer) {
    const row = document.createElement('li');
    row.dataset.way = transfer.outgoing ? 'out' : 'in';
    const name = document.createElement('span');
    name.className = 'file-name';
    name.textContent = name.title = transfer.name;
    const progress = document.createElement('progress');
    progress.max = Math.max(1, transfer.size);
    progress.setAttribute('aria-label', `Progress of ${transfer.name}`);
    const state = document.createElement('span');
    state.className = 'file-state';
    row.append(name, progress, state);
    element('transfers').append(row);
    this.#rows.set(transfer, row);
    if (!transfer.outgoing) announce(`You are offered the file ${transfer.name}, ${megabytes(transfer.size)}.`);
    return row;
  }

  /**
   * @param {HTMLElement} row
   * @param {Transfer} transfer
   */
  #setActions(row, transfer) {
    for (const old of row.querySelectorAll('button, a')) old.remove();
    const files = this.#open?.files;
    /** @type {HTMLElement[]} */
    const actions = [];
    if (transfer.state === 'offered' && !transfer.outgoing) actions.push(action('accept', 'Accept', () => files?.accept(transfer)));
    if (isUnderway(transfer)) actions.push(action('cancel', transfer.state === 'offered' && !transfer.outgoing ? 'Decline' : 'Cancel', () => files?.cancel(transfer)));
    if (transfer.blob) {
      const link = document.createElement('a');
      link.className = 'button';
      link.href = URL.createObjectURL(transfer.blob);
      link.download = transfer.name;
      link.textContent = 'Save';
      this.#links.push(link.href);
      actions.push(link);
    }
    row.querySelector('.file-name')?.after(...actions);
  }
}

/**
 * @param {string} name
 * @param {string} text
 * @param {() => void} act
 */
function action(name, text, act) {
  const made = document.createElement('button');
  made.type = 'button';
  made.dataset.action = name;
  made.textContent = text;
  made.addEventListener('click', act);
  return made;
}

/** @param {number} bytes at most `FILE_BYTES_MAX` */
function megabytes(bytes) {
  const whole = Math.min(bytes, FILE_BYTES_MAX);
  return whole < 1e6 ? `${Math.ceil(whole / 1000)} kB` : `${(whole / 1e6).toFixed(1)} MB`;
}
