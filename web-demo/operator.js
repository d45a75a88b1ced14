/**
 * @module
 * The operator's page: what the server does, every two seconds anew, from `/metrics` and `/api`. Where the server has keys it asks for a token,
 * which stays in this window.
 */
import { describeReason } from './drop-reasons.js';
import { button, element, fillRows, input } from './dom.js';
import { language, number, t } from './language.js';
import { labelsOf, parseMetrics, rate, sum } from './metrics.js';
import { announce } from './notices.js';
import { Plot } from './plot.js';
import { bits } from './stats-overlay.js';
import { RoomSheet } from './room-sheet.js';
import { Refusal, ask } from './server-api.js';
import { recall, remember } from './client/storage.js';

/** @typedef {import('./metrics.js').Moment} Moment */
/** @typedef {{name: string, participants: number, viewers: number, tracks: number, waiting: number, locked: boolean, lobby: boolean}} RoomRow */

const POLL_MS = 2000;
/** What a plot shows: five minutes. */
const MOMENTS = 150;
const ROOMS_MAX = 200;
const PREFIX = 'switchyard_';

const percent = /** @param {number} share */ (share) => `${number(share * 100)} %`;
const whole = /** @param {number} value */ (value) => number(value);
const bytes = /** @param {number} value */ (value) => `${number(value / 1e6)} MB`;

/**
 * The cards: what each shows of the moments so far, one line or several.
 * @type {{plot: Plot, lines: (moments: Moment[]) => (number | null)[], total?: (values: number[]) => number}[]}
 */
const CARDS = [
  { plot: new Plot(t('Rooms'), whole), lines: (moments) => [now(moments, `${PREFIX}rooms`)] },
  { plot: new Plot(t('People, viewers included'), whole), lines: (moments) => [now(moments, `${PREFIX}participants`)] },
  { plot: new Plot(t('Received'), bits), lines: (moments) => [bitrate(moments, 'media_received')] },
  { plot: new Plot(t('Forwarded'), bits), lines: (moments) => [bitrate(moments, 'media_forwarded')] },
  { plot: new Plot(t('Packets forwarded per second'), whole), lines: (moments) => [rate(moments, `${PREFIX}media_forwarded_packets_total`)] },
  { plot: new Plot(t('Packets resent per second'), whole), lines: (moments) => [rate(moments, `${PREFIX}media_resent_packets_total`)] },
  { plot: new Plot(t('Dropped packets per second'), (value) => number(value, value < 10 ? 1 : 0)), lines: (moments) => [rate(moments, `${PREFIX}dropped_packets_total`)] },
  { plot: new Plot(t('Busiest worker'), percent, 1), lines: workers, total: (values) => Math.max(...values) },
  { plot: new Plot(t('Processor, of one core'), percent), lines: (moments) => [rate(moments, 'process_cpu_seconds_total')] },
  { plot: new Plot(t('Memory'), bytes), lines: (moments) => [now(moments, 'process_resident_memory_bytes')] },
];

/** @type {Moment[]} */
const moments = [];
/** By card, by moment. @type {(number | null)[][][]} */
const history = CARDS.map(() => []);
let token = recall('sessionStorage', 'operator-token') ?? '';
let timer = 0;
/** By room: it stays the same one as long as the room is there. @type {Map<string, HTMLButtonElement>} */
const openers = new Map();
const room = new RoomSheet((path) => ask(path, token));

start();

function start() {
  element('cards').append(...CARDS.map(({ plot }) => plot.element));
  element('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    use(input('token').value.trim());
  });
  button('forget').addEventListener('click', () => use(''));
  document.addEventListener('visibilitychange', () => document.hidden || schedule(0));
  void poll();
}

/** @param {string} next token; empty for none */
function use(next) {
  token = next;
  remember('sessionStorage', 'operator-token', token);
  moments.length = 0;
  for (const card of history) card.length = 0;
  room.close();
  schedule(0);
}

/** @param {number} milliseconds */
function schedule(milliseconds) {
  clearTimeout(timer);
  timer = window.setTimeout(() => void poll(), milliseconds);
}

async function poll() {
  clearTimeout(timer);
  // Who does not look needs no figures.
  if (document.hidden) return;
  const asked = token;
  try {
    const [metrics, rooms] = await Promise.all([ask('metrics', asked).then((answer) => answer.text()), ask(`api/rooms?limit=${ROOMS_MAX}`, asked).then((answer) => answer.json())]);
    if (asked !== token) return;
    moments.push({ at: performance.now(), metrics: parseMetrics(metrics) });
    moments.splice(0, moments.length - MOMENTS);
    showFigures();
    showDrops();
    showRooms(rooms.rooms, Boolean(rooms.next));
    showState('fresh', t('As of {time}', { time: new Date().toLocaleTimeString(language) }));
    await room.refresh();
  } catch (error) {
    if (asked === token) handle(error);
  }
  schedule(POLL_MS);
}

/** @param {unknown} error */
function handle(error) {
  if (!(error instanceof Refusal)) {
    showState(moments.length > 0 ? 'stale' : 'gone', t('The server does not answer. Asking again…'));
    return;
  }
  const { status, message } = error;
  if (status === 404) showState('refused', '', t('This address has no figures: with --admin-listen they are at that address, and so is this page.'));
  else if (status === 401 || (status === 403 && token)) showState('token', '', token ? message : '');
  else if (status === 403) showState('refused', '', message);
  else showState(moments.length > 0 ? 'stale' : 'gone', message);
}

/**
 * @param {'fresh' | 'stale' | 'gone' | 'token' | 'refused'} state
 * @param {string} freshness
 * @param {string} [sentence] why there is nothing to see
 */
function showState(state, freshness, sentence = '') {
  const before = document.body.dataset.state;
  document.body.dataset.state = state;
  // Every two seconds another time of day is nothing to listen to.
  if (state !== before && state !== 'token') announce(sentence || freshness);
  element('freshness').textContent = freshness;
  element('figures').hidden = state !== 'fresh' && state !== 'stale';
  element('token-form').hidden = state !== 'token';
  element('refused').hidden = state !== 'refused';
  element('refused-text').textContent = sentence;
  element('token-notice').textContent = sentence;
  element('token-notice').hidden = state !== 'token' || sentence === '';
  button('forget').hidden = token === '' || state === 'token';
  if (state === 'token' && before !== 'token') input('token').focus();
}

function showFigures() {
  for (const [index, { plot, lines, total }] of CARDS.entries()) {
    const values = lines(moments);
    const past = history[index];
    past.push(values);
    past.splice(0, past.length - MOMENTS);
    const known = values.filter((value) => value !== null);
    const value = known.length === 0 ? null : total ? total(known) : known[0];
    plot.show(value, values.map((_, line) => past.map((moment) => moment[line] ?? null)), MOMENTS, values.length > 1 ? t('{count} workers, one line each', { count: values.length }) : '');
  }
}

function showDrops() {
  const name = `${PREFIX}dropped_packets_total`;
  const [last] = moments.slice(-1);
  const reasons = labelsOf(last.metrics, name, 'reason').map((reason) => ({ reason, total: sum(last.metrics, name, { reason }) ?? 0, now: rate(moments, name, { reason }) }));
  const rows = reasons.filter(({ total }) => total > 0).toSorted((one, other) => other.total - one.total);
  element('drops').hidden = rows.length === 0;
  element('drops-empty').hidden = rows.length > 0;
  element('drops-names').hidden = rows.length === 0;
  fillRows('drops', rows.map((row) => [describeReason(row.reason), row.now === null ? '–' : number(row.now, 1), number(row.total)]));
}

/** @param {RoomRow[]} rooms @param {boolean} more */
function showRooms(rooms, more) {
  element('rooms').hidden = rooms.length === 0;
  element('rooms-empty').hidden = rooms.length > 0;
  element('rooms-more').hidden = !more;
  element('rooms-more').textContent = t('These are the first {count} by name; there are more.', { count: ROOMS_MAX });
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.room : undefined;
  fillRows(
    'rooms',
    rooms.map(({ name, participants, viewers, tracks, ...how }) => {
      const open = openers.get(name) ?? makeOpener(name);
      open.setAttribute('aria-expanded', String(room.name === name));
      return [open, number(participants), number(viewers), number(tracks), stateOf(how)];
    }),
  );
  for (const name of openers.keys()) if (!rooms.some((one) => one.name === name)) openers.delete(name);
  // Another row moves the button, and it loses the focus.
  if (focused !== undefined) openers.get(focused)?.focus();
  if (room.name && !rooms.some(({ name }) => name === room.name) && !more) room.gone();
}

/** @param {string} name of the room */
function makeOpener(name) {
  const open = Object.assign(document.createElement('button'), { type: 'button', textContent: name });
  open.dataset.room = name;
  open.setAttribute('aria-controls', 'room');
  open.addEventListener('click', () => void room.toggle(name).then(() => schedule(0)));
  openers.set(name, open);
  return open;
}

/** @param {{waiting: number, locked: boolean, lobby: boolean}} how */
function stateOf({ waiting, locked, lobby }) {
  const words = [locked ? t('locked') : '', lobby ? t('lobby') : '', waiting > 0 ? t('{count} waiting', { count: waiting }) : ''].filter(Boolean);
  return words.join(', ') || t('open');
}

/** @param {Moment[]} all @param {string} name */
function now(all, name) {
  const last = all.at(-1);
  return last ? sum(last.metrics, name) : null;
}

/** @param {Moment[]} all @param {string} name of bytes */
function bitrate(all, name) {
  const perSecond = rate(all, `${PREFIX}${name}_bytes_total`);
  return perSecond === null ? null : perSecond * 8;
}

/** @param {Moment[]} all */
function workers(all) {
  const last = all.at(-1);
  const name = `${PREFIX}worker_busy_ratio`;
  return last ? labelsOf(last.metrics, name, 'worker').map((worker) => sum(last.metrics, name, { worker })) : [];
}
