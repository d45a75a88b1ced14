/**
 * @module
 * One room on the operator's page: who is in it, what each link carries, and what holds pictures back, from the server's `explain`.
 */
import { button, element, fillRows } from './dom.js';
import { number, t } from './language.js';
import { Refusal } from './server-api.js';
import { bits } from './stats-overlay.js';

/** @typedef {{kind: string, muted: boolean, limit: string | null, measured: number | null}} Received */
/** @typedef {{source: string, layers: string[], watched: string[], limited: string}} Published */

/**
 * @typedef {object} Person
 * @property {string} participant
 * @property {string} [name]
 * @property {number | null} rtt_ms
 * @property {{estimate: number, cause: string, wanted: number, allocated: number} | null} bandwidth
 * @property {Received[]} tracks
 * @property {Published[]} published
 */

const NONE = '–';
/** What holds a picture back, in a word or two. @type {Record<string, string>} */
const LIMITS = {
  bandwidth: t('bandwidth'),
  viewport: t('shown small'),
  policy: t('chosen by hand'),
  publisher_not_sending: t('not sent'),
  publisher_cpu: t('sender’s processor'),
  waiting_keyframe: t('waits for a keyframe'),
  codec: t('codec'),
};

/** What the estimate of a link rests on. @type {Record<string, string>} */
const CAUSES = {
  start: t('a first guess'),
  delay: t('its queue grew'),
  loss: t('it loses packets'),
  probe: t('a probe came through'),
  remb: t('the receiver says so'),
  reports: t('receiver reports'),
  growing: t('it carries that already'),
  max: t('the configured maximum'),
};

/** @type {Record<string, string>} */
const SOURCES = { camera: t('camera'), microphone: t('microphone'), screen_share: t('screen'), screen_share_audio: t('sound of the screen') };

export class RoomSheet {
  /** Of the room that is shown; empty for none. */
  name = '';
  #ask;

  /** @param {(path: string) => Promise<Response>} ask */
  constructor(ask) {
    this.#ask = ask;
    button('close-room').addEventListener('click', () => this.close());
  }

  /** @param {string} name */
  async toggle(name) {
    if (this.name === name) return this.close();
    this.name = name;
    element('room-name').textContent = t('Room {name}', { name });
    fillRows('people', []);
    element('people').hidden = true;
    this.#say(t('Asking the server…'));
    element('room').hidden = false;
    element('room-name').focus();
    return undefined;
  }

  close() {
    const opener = [...document.querySelectorAll('#rooms button')].find((one) => one instanceof HTMLElement && one.dataset.room === this.name);
    this.name = '';
    element('room').hidden = true;
    if (opener instanceof HTMLElement) opener.focus();
  }

  /** The room has ended. */
  gone() {
    element('people').hidden = true;
    this.#say(t('This room has ended.'));
  }

  async refresh() {
    const { name } = this;
    if (!name) return;
    try {
      const { participants } = await (await this.#ask(`api/rooms/${encodeURIComponent(name)}/explain`)).json();
      if (this.name === name) this.#show(participants);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (this.name !== name) return;
      element('people').hidden = true;
      if (error.status === 403) this.#say(t('What is in a room needs a token for it: switchyard token --room {name} --admin --list.', { name }));
      else if (error.status === 404) this.gone();
      else this.#say(error.message);
    }
  }

  /** @param {Person[]} people */
  #show(people) {
    element('people').hidden = people.length === 0;
    this.#say(people.length === 0 ? t('Nobody is in this room.') : '');
    fillRows('people', people.map(rowOf));
    for (const cell of element('people').querySelectorAll('td:last-child')) cell.classList.add('words');
  }

  /** @param {string} sentence */
  #say(sentence) {
    element('room-note').textContent = sentence;
    element('room-note').hidden = sentence === '';
  }
}

/** @param {Person} person */
function rowOf({ participant, name, rtt_ms: rtt, bandwidth, tracks, published }) {
  const measured = tracks.reduce((sum, track) => sum + (track.measured ?? 0), 0);
  return [
    name ?? t('Viewer {id}', { id: participant }),
    rtt === null ? NONE : `${number(rtt, rtt < 10 ? 1 : 0)} ms`,
    bandwidth ? `${bits(bandwidth.estimate)} (${CAUSES[bandwidth.cause]})` : NONE,
    bits(measured),
    bandwidth ? bits(bandwidth.wanted) : NONE,
    published.map(({ source, layers, watched }) => (layers.length > 1 ? `${SOURCES[source]} ${watched.length}/${layers.length}` : SOURCES[source])).join(', ') || NONE,
    limitsOf(tracks) || NONE,
  ];
}

/** What holds how many pictures back; a camera that is off is no such picture. @param {Received[]} tracks */
function limitsOf(tracks) {
  const found = tracks.flatMap(({ kind, muted, limit }) => (kind === 'video' && !muted && limit && limit in LIMITS ? LIMITS[limit] : []));
  return [...new Set(found)].map((word) => `${word} (${found.filter((one) => one === word).length})`).join(', ');
}
