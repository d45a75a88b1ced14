/**
 * @module
 * The chat of a meeting. What people write becomes text and links, never markup.
 */
import { roomTransfers } from './client/transfer.js';
import { button, element, icon, label, select } from './dom.js';
import { FileList } from './file-list.js';
import { language, t } from './language.js';
import { announce, toast } from './notices.js';
import { confirmAction } from './person-dialog.js';
import { withReason } from './words.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/protocol.js').ChatMessage} ChatMessage */

const TYPING_SHOWN_MAX = 3;
/** More than the room keeps. */
const MESSAGES_MAX = 500;
/** Addresses in a text; what ends a sentence is not part of them. */
const ADDRESS = /\bhttps?:\/\/[^\s<>"]*[^\s<>"'.,;:!?)\]}]/giu;

export class ChatPanel {
  #room;
  #isOpen;
  #changed;
  #stop;
  #files;
  /** Messages that came while the panel was closed. */
  unread = 0;
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** Ids of those who write. @type {Set<string>} */
  #typing = new Set();

  /**
   * @param {Room} room
   * @param {() => boolean} isOpen
   * @param {() => void} changed the number of unread messages is another one
   */
  constructor(room, isOpen, changed) {
    this.#room = room;
    this.#isOpen = isOpen;
    this.#changed = changed;
    element('chat-form').onsubmit = (event) => {
      event.preventDefault();
      void this.#send();
    };
    const text = this.#text;
    text.onkeydown = (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      void this.#send();
    };
    text.oninput = () => room.chat.typing(text.value.trim() !== '' && select('chat-to').value === '');
    select('chat-to').onchange = () => element('chat-form').classList.toggle('private', select('chat-to').value !== '');
    this.#stop = [
      room.chat.on('message', ({ message, old }) => this.#add(message, old)),
      room.chat.on('deleted', (deleted) => {
        this.#remove(deleted.id);
        this.#tellDeleted(deleted);
      }),
      room.chat.on('cleared', () => this.#clear()),
      room.chat.on('typing', ({ participant, typing }) => {
        this.#typing[typing ? 'add' : 'delete'](participant);
        this.#showTyping();
      }),
      room.on('participantjoined', () => this.#showPeople()),
      room.on('participantupdated', () => this.#showPeople()),
      room.on('participantleft', ({ participant }) => {
        this.#typing.delete(participant.id);
        this.#showTyping();
        this.#showPeople();
      }),
      room.on('permissionschanged', () => this.#showGrant()),
      room.people.on('changed', () => this.#showPowers()),
    ];
    const nameOf = /** @param {string} peer */ (peer) => (peer ? this.#nameOf(peer) : t('everybody'));
    this.#files = new FileList(element('chat'), { to: () => select('chat-to').value, nameOf, offered: (transfer) => this.#showOffer(transfer) });
    this.#files.use(roomTransfers(room));
    element('chat-open').hidden = !room.encrypted;
    this.#showPeople();
    this.#showGrant();
    for (const message of room.chat.messages) this.#add(message, true);
    this.#showEmpty();
  }

  /** The panel was opened. */
  read() {
    this.unread = 0;
    this.#scroll();
  }

  close() {
    for (const stop of this.#stop) stop();
    this.#clear();
    this.#files.clear();
    this.#text.value = '';
  }

  get #text() {
    return /** @type {HTMLTextAreaElement} */ (element('chat-text'));
  }

  async #send() {
    const written = this.#text.value;
    const text = written.trim();
    if (!text || button('chat-send').disabled) return;
    const to = select('chat-to').value;
    button('chat-send').disabled = true;
    try {
      await this.#room.chat.say(text, to ? [to] : undefined);
      // The next one may have been begun.
      if (this.#text.value === written) this.#text.value = '';
    } catch (error) {
      toast(/** @type {Error} */ (error).message);
    }
    this.#showGrant();
    // The button had it, and lost it while it was disabled.
    if (document.activeElement === document.body) this.#text.focus();
  }

  /**
   * @param {ChatMessage} message
   * @param {boolean} old
   */
  #add(message, old) {
    const own = message.identity === this.#room.identity;
    const list = element('messages');
    const stays = list.scrollTop + list.clientHeight > list.scrollHeight - 40;
    const item = document.createElement('li');
    item.dataset.message = message.message;
    item.classList.toggle('own', own);
    item.classList.toggle('private', message.to !== undefined);
    const head = document.createElement('header');
    const name = document.createElement('strong');
    name.textContent = own ? t('You') : message.name;
    const time = document.createElement('time');
    const at = new Date(message.time);
    time.dateTime = at.toISOString();
    time.textContent = at.toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit' });
    head.append(name, time);
    if (message.to) head.append(privacy(own ? t('privately to {names}', { names: message.to.map((identity) => this.#nameOf(identity)).join(', ') }) : t('privately to you')));
    const body = document.createElement('p');
    body.append(...linked(message.text));
    item.append(head, body);
    this.#setDelete(item, message);
    list.append(item);
    this.#items.set(message.message, item);
    const [oldest] = this.#items.keys();
    if (this.#items.size > MESSAGES_MAX) this.#remove(oldest);
    this.#showEmpty();
    if (stays || own) this.#scroll();
    if (old || own) return;
    announce(`${message.to ? t('{name}, privately', { name: message.name }) : message.name}: ${message.text}`);
    this.#countUnread();
  }

  /** @param {import('./client/transfer.js').Transfer} transfer */
  #showOffer({ name, peer }) {
    if (!this.#isOpen()) toast(t('{peer} offers you the file {name}: see the chat.', { peer: this.#nameOf(peer), name }));
    this.#countUnread();
  }

  #countUnread() {
    if (this.#isOpen()) return;
    this.unread += 1;
    this.#changed();
  }

  #clear() {
    element('messages').replaceChildren();
    this.#items.clear();
    this.#typing.clear();
    this.#showTyping();
    this.#showEmpty();
  }

  /** @param {string} id */
  #remove(id) {
    this.#items.get(id)?.remove();
    this.#items.delete(id);
    this.#showEmpty();
  }

  /**
   * @param {HTMLElement} item
   * @param {ChatMessage} message
   */
  #setDelete(item, message) {
    item.querySelector('button')?.remove();
    if (message.identity !== this.#room.identity && !this.#room.people.moderator) return;
    const remove = document.createElement('button');
    remove.type = 'button';
    remove.className = 'round tiny-button';
    remove.append(icon('close'));
    label(remove, message.identity === this.#room.identity ? t('Delete this message of yours') : t('Delete this message of {name}', { name: message.name }));
    remove.addEventListener('click', () => {
      void this.#delete(message);
    });
    item.querySelector('header')?.append(remove);
  }

  /** One's own goes at once. @param {ChatMessage} message */
  async #delete({ message, identity, name }) {
    const own = identity === this.#room.identity;
    const answer = own ? null : await confirmAction({ title: t('Delete this message of {name}?', { name }), text: t('It is taken from everybody, and {name} is told.', { name }), yes: t('Delete') });
    if (own || answer) await this.#room.chat.remove(message, answer?.reason || undefined).catch((error) => toast(error.message));
  }

  /** @param {import('./client/chat.js').ChatEvents['deleted']} deleted */
  #tellDeleted({ message, by, reason }) {
    // Our own deed names nobody, that of a hidden moderator neither.
    if (!message || message.identity !== this.#room.identity || (by === undefined && !reason)) return;
    const who = by === undefined ? t('A moderator') : this.#nameOf(by);
    toast(withReason(t('{by} deleted a message of yours.', { by: who }), reason));
  }

  #showPowers() {
    for (const message of this.#room.chat.messages) {
      const item = this.#items.get(message.message);
      if (item) this.#setDelete(item, message);
    }
  }

  #showPeople() {
    const to = select('chat-to');
    const chosen = to.value;
    const people = [...this.#room.participants.values()].map(({ identity, name }) => new Option(t('{name} only', { name }), identity));
    to.replaceChildren(new Option(t('Everybody'), ''), ...people);
    to.value = chosen;
    // Whoever it was for has gone: it does not become something for everybody by itself.
    if (to.value !== chosen) {
      const gone = new Option(t('{name} (has left)', { name: this.#nameOf(chosen) }), chosen, true, true);
      gone.disabled = true;
      to.append(gone);
    }
  }

  #showGrant() {
    const may = this.#room.canPublishData;
    element('chat-form').hidden = !may;
    element('chat-silent').hidden = may;
    button('chat-send').disabled = button('choose-file').disabled = !may;
  }

  #showEmpty() {
    element('chat-empty').hidden = this.#items.size > 0;
  }

  #showTyping() {
    const names = [...this.#typing].map((id) => this.#room.participants.get(id)?.name ?? '').filter(Boolean);
    const few = names.slice(0, TYPING_SHOWN_MAX).join(', ');
    const text = names.length > TYPING_SHOWN_MAX ? t('Several people write…') : names.length > 1 ? t('{names} write…', { names: few }) : t('{name} writes…', { name: few });
    element('chat-typing').textContent = names.length > 0 ? text : '';
  }

  /** @param {string} identity */
  #nameOf(identity) {
    const known = [...this.#room.participants.values()].find((participant) => participant.identity === identity);
    return known?.name ?? this.#room.chat.messages.findLast((message) => message.identity === identity)?.name ?? t('somebody');
  }

  #scroll() {
    const list = element('messages');
    list.scrollTop = list.scrollHeight;
  }
}

/** @param {string} text */
function privacy(text) {
  const made = document.createElement('em');
  made.textContent = text;
  return made;
}

/**
 * A text with its addresses as links that tell the other side nothing.
 * @param {string} text
 * @returns {(string | HTMLAnchorElement)[]}
 */
export function linked(text) {
  /** @type {(string | HTMLAnchorElement)[]} */
  const parts = [];
  let end = 0;
  for (const { 0: address, index } of text.matchAll(ADDRESS)) {
    if (!URL.canParse(address)) continue;
    const link = document.createElement('a');
    link.href = address;
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
    link.textContent = address;
    parts.push(text.slice(end, index), link);
    end = index + address.length;
  }
  parts.push(text.slice(end));
  return parts;
}
