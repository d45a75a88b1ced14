/**
 * @module
 * The connection in the toolbar: a sign, and for who asks a sentence with its figures.
 */
import { button, element, label, setIcon } from './dom.js';
import { number, t } from './language.js';
import { compare, judge, sampleOf } from './network.js';
import { announce } from './notices.js';
import { bits } from './stats-overlay.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./network.js').Connection} Connection */
/** @typedef {import('./network.js').Level} Level */

const INTERVAL_MS = 2000;
/** A level that changes at every look says nothing: a better one is shown after so many looks. */
const LOOKS = 3;
/** Worst first. @type {Level[]} */
const ORDER = ['lost', 'poor', 'fair', 'good', 'unknown'];

export class NetworkIndicator {
  #room;
  #timer;
  /** @type {import('./network.js').Sample | null} */
  #before = null;
  /** @type {Level} */
  #level = 'unknown';
  #better = 0;
  #stop;

  /** @param {Room} room */
  constructor(room) {
    this.#room = room;
    this.#stop = room.on('statechange', () => void this.#look());
    this.#timer = window.setInterval(() => void this.#look(), INTERVAL_MS);
    void this.#look();
  }

  close() {
    clearInterval(this.#timer);
    this.#stop();
    delete button('more').dataset.level;
    label(button('more'), t('More'));
  }

  async #look() {
    const { peerConnection, state } = this.#room;
    const report = await peerConnection?.getStats().catch(() => null);
    if (this.#room.state === 'closed') return;
    const capped = new Set([...this.#room.localTracks].flatMap(({ isCapped, transceiver }) => (isCapped && transceiver ? [transceiver.mid] : [])));
    const sample = report ? sampleOf(report, performance.now(), capped) : null;
    const tracks = [...this.#room.participants.values()].flatMap(({ tracks }) => [...tracks.values()]);
    const statuses = tracks.flatMap(({ status, transceiver }) => (status ? { ...status, mid: transceiver?.mid } : []));
    // Another connection counts from the start.
    const before = sample && this.#before && sample.bytesDown >= this.#before.bytesDown ? this.#before : null;
    const connection = sample && sample.rttMs !== null ? compare(before, sample, statuses) : null;
    this.#before = sample;
    this.#show(connection, state !== 'connected');
  }

  /** @param {Connection | null} connection @param {boolean} interrupted */
  #show(connection, interrupted) {
    const { key, level } = judge(connection, interrupted);
    const better = ORDER.indexOf(level) > ORDER.indexOf(this.#level) && this.#level !== 'unknown' && this.#level !== 'lost';
    this.#better = better ? this.#better + 1 : 0;
    if (better && this.#better < LOOKS) return;
    const sentence = sentenceOf(key, connection);
    if (level !== this.#level && (level === 'poor' || this.#level === 'poor')) announce(sentence);
    this.#level = level;
    const target = button('open-network');
    target.dataset.level = level;
    setIcon(target, `network-${level}`);
    const words = t('Your connection: {sentence}', { sentence });
    label(target, words, 'n');
    // On a phone that sign is behind this one.
    button('more').dataset.level = level;
    label(button('more'), ['lost', 'poor', 'fair'].includes(level) ? `${t('More')}. ${words}` : t('More'));
    element('network-sentence').textContent = sentence;
    element('network-figures').replaceChildren(...(connection ? figuresOf(connection) : []).map(row));
  }
}

/**
 * @param {import('./network.js').Judgement['key']} key
 * @param {Connection | null} connection
 */
function sentenceOf(key, connection) {
  const percent = /** @param {number | null | undefined} share */ (share) => number((share ?? 0) * 100, 0);
  switch (key) {
    case 'interrupted':
      return t('It is interrupted.');
    case 'lossDown':
      return t('{percent} % of what others send is lost on the way to you.', { percent: percent(connection?.lossDown) });
    case 'lossUp':
      return t('{percent} % of what you send is lost on the way.', { percent: percent(connection?.lossUp) });
    case 'delay':
      return t('Packets take {ms} ms to the server and back.', { ms: number(connection?.rttMs ?? 0) });
    case 'short':
      return t('It has {available} of the {needed} that the pictures need.', { available: bits(connection?.short?.available ?? 0), needed: bits(connection?.short?.needed ?? 0) });
    case 'upLimited':
      return t('It does not carry your picture in full.');
    case 'good':
      return t('It carries everything.');
    default:
      return t('Nothing is known of it yet.');
  }
}

/** @param {Connection} connection @returns {[string, string][]} */
function figuresOf({ rttMs, lossUp, lossDown, upBps, sentBps, receivedBps }) {
  const rate = /** @param {number | null} bps */ (bps) => (bps === null ? '–' : bits(bps));
  const share = /** @param {number | null} value */ (value) => (value === null ? '–' : `${number(value * 100, 1)} %`);
  return [
    [t('To the server and back'), rttMs === null ? '–' : `${number(rttMs, rttMs < 10 ? 1 : 0)} ms`],
    [t('Lost on the way to you'), share(lossDown)],
    [t('Lost on the way to the server'), share(lossUp)],
    [t('Comes in'), rate(receivedBps)],
    [t('Goes out'), rate(sentBps)],
    [t('Would carry outwards'), rate(upBps)],
  ];
}

/** @param {[string, string]} figure */
function row([name, value]) {
  const line = document.createElement('div');
  const [term, detail] = [document.createElement('dt'), document.createElement('dd')];
  term.textContent = name;
  detail.textContent = value;
  line.append(term, detail);
  return line;
}
