/**
 * @module
 * Files on their way, as a list with their progress and what can be done about them; new ones are chosen or dropped.
 */
import { isUnderway } from './client/transfer.js';
import { button, element, input } from './dom.js';
import { number, t } from './language.js';
import { announce, toast } from './notices.js';

/** @typedef {import('./client/transfer.js').Transfer} Transfer */
/** @typedef {import('./client/transfer.js').Transfers} Transfers */

/**
 * @typedef {object} FileListOptions
 * @property {() => string} to for whom the next file is
 * @property {(peer: string) => string} nameOf what people call somebody; empty where there is but one
 * @property {(transfer: Transfer) => void} offered somebody offers us something
 */

/** @type {Record<import('./client/transfer.js').TransferState, string>} */
const WORDS = {
  offered: t('Offered, {size}'),
  waiting: t('Waiting, {size}'),
  moving: t('{percent} % of {size}'),
  checking: t('Being checked, {size}'),
  done: t('Done, checksum equal, {size}'),
  cancelled: t('Cancelled, {size}'),
  failed: t('Failed, {size}'),
};

/** Between two looks of what only progresses. */
const SHOW_MS = 50;

// Dropped beside the panel, a file would be shown in place of the page, and the call would be over.
for (const type of /** @type {const} */ (['dragover', 'drop'])) {
  window.addEventListener(type, (event) => {
    if (event.defaultPrevented || !event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'none';
  });
}

export class FileList {
  #options;
  /** @type {Transfers | null} */
  #transfers = null;
  /** @type {Map<Transfer, HTMLElement>} */
  #rows = new Map();
  #shownAt = 0;
  /** Addresses of received files, until the page takes them back. @type {Map<Transfer, string>} */
  #links = new Map();

  /**
   * @param {HTMLElement} panel files can be dropped on it
   * @param {FileListOptions} options
   */
  constructor(panel, options) {
    this.#options = options;
    button('choose-file').onclick = () => input('file').click();
    input('file').onchange = () => {
      this.#offer(input('file').files);
      input('file').value = '';
    };
    panel.ondragover = (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      panel.classList.add('dropping');
    };
    panel.ondragleave = () => panel.classList.remove('dropping');
    panel.ondrop = (event) => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      panel.classList.remove('dropping');
      this.#offer(event.dataTransfer.files);
    };
  }

  /** Sends and receives by another way. @param {Transfers} transfers */
  use(transfers) {
    this.#transfers = transfers;
    transfers.on('transfer', ({ transfer }) => this.#show(transfers, transfer));
    transfers.on('forgotten', ({ transfer }) => this.#drop(transfer));
  }

  /** Forgets what was sent and received. */
  clear() {
    this.#transfers = null;
    this.#rows.clear();
    for (const link of this.#links.values()) URL.revokeObjectURL(link);
    this.#links.clear();
    element('transfers').replaceChildren();
  }

  /** @param {Transfer} transfer */
  #drop(transfer) {
    this.#rows.get(transfer)?.remove();
    this.#rows.delete(transfer);
    URL.revokeObjectURL(this.#links.get(transfer) ?? '');
    this.#links.delete(transfer);
  }

  /** @param {globalThis.FileList | null} files */
  #offer(files) {
    if (button('choose-file').disabled) return;
    for (const file of files ?? []) this.#transfers?.offer(file, this.#options.to()).catch((error) => toast(error.message));
  }

  /** @param {Transfers} transfers @param {Transfer} transfer */
  #show(transfers, transfer) {
    const known = this.#rows.get(transfer);
    // What ends after the list was cleared is nobody's.
    if (!known && transfers !== this.#transfers) return;
    const row = known ?? this.#addRow(transfer);
    const words = describe(transfer);
    const now = performance.now();
    if (row.dataset.state === transfer.state && transfer.state === 'moving' && !transfer.stalled && now - this.#shownAt < SHOW_MS) return;
    this.#shownAt = now;
    if (row.dataset.state !== transfer.state) {
      const began = row.dataset.state !== undefined;
      row.dataset.state = transfer.state;
      this.#setActions(row, transfers, transfer);
      if (began && !isUnderway(transfer)) announce(`${transfer.name}: ${words}`);
    }
    const progress = /** @type {HTMLProgressElement} */ (row.querySelector('progress'));
    progress.value = transfer.moved;
    progress.hidden = transfer.state === 'offered' || !isUnderway(transfer);
    /** @type {HTMLElement} */ (row.querySelector('.file-state')).textContent = words;
    row.dataset.sha256 = transfer.sha256;
    if (!known) row.scrollIntoView({ block: 'nearest' });
  }

  /** @param {Transfer} transfer */
  #addRow(transfer) {
    const { nameOf, offered } = this.#options;
    const row = document.createElement('li');
    row.dataset.way = transfer.outgoing ? 'out' : 'in';
    const name = document.createElement('span');
    name.className = 'file-name';
    name.textContent = name.title = transfer.name;
    const whose = document.createElement('span');
    whose.className = 'file-peer';
    const peer = nameOf(transfer.peer);
    whose.textContent = peer && (transfer.outgoing ? t('to {peer}', { peer }) : t('from {peer}', { peer }));
    const progress = document.createElement('progress');
    progress.max = Math.max(1, transfer.size);
    progress.setAttribute('aria-label', [t('Progress of {name}', { name: transfer.name }), whose.textContent].join(' '));
    const state = document.createElement('span');
    state.className = 'file-state';
    row.append(name, whose, progress, state);
    element('transfers').append(row);
    this.#rows.set(transfer, row);
    if (!transfer.outgoing) {
      announce(t('{peer} offers you the file {name}, {size}.', { peer: peer || t('The other'), name: transfer.name, size: megabytes(transfer.size) }));
      offered(transfer);
    }
    return row;
  }

  /** @param {HTMLElement} row @param {Transfers} transfers @param {Transfer} transfer */
  #setActions(row, transfers, transfer) {
    const hadFocus = row.contains(document.activeElement);
    for (const old of row.querySelectorAll('button, a')) old.remove();
    const offered = transfer.state === 'offered' && !transfer.outgoing;
    /** @type {HTMLElement[]} */
    const actions = [];
    if (offered) actions.push(action('accept', t('Accept'), transfer, () => transfers.accept(transfer)));
    if (isUnderway(transfer)) {
      const word = offered ? t('Decline') : transfer.peer ? t('Cancel') : t('Take back');
      actions.push(action('cancel', word, transfer, () => transfers.cancel(transfer)));
    }
    if (transfer.blob) {
      const link = document.createElement('a');
      link.className = 'button';
      link.href = URL.createObjectURL(transfer.blob);
      link.download = transfer.name;
      link.textContent = t('Save');
      link.setAttribute('aria-label', `${t('Save')} ${transfer.name}`);
      this.#links.set(transfer, link.href);
      actions.push(link);
    }
    row.querySelector('.file-peer')?.after(...actions);
    if (hadFocus) (actions[0] ?? element('transfers')).focus();
  }
}

/** @param {Transfer} transfer */
function describe({ state, size, moved, stalled, message, sha256 }) {
  const percent = size > 0 ? Math.floor((100 * moved) / size) : 100;
  const words = WORDS[state].replace('{size}', megabytes(size)).replace('{percent}', String(percent));
  const more = stalled ? t('The other is not there at the moment; it goes on by itself.') : message && t(message);
  return [words, more, state === 'done' && `SHA-256 ${sha256}`].filter(Boolean).join('. ');
}

/**
 * @param {string} name
 * @param {string} text
 * @param {Transfer} transfer
 * @param {() => void} act
 */
function action(name, text, transfer, act) {
  const made = document.createElement('button');
  made.type = 'button';
  made.dataset.action = name;
  made.textContent = text;
  made.setAttribute('aria-label', `${text} ${transfer.name}`);
  made.addEventListener('click', act);
  return made;
}

/** @param {number} bytes */
function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${number(bytes / 1e6, 1)} MB`;
}
