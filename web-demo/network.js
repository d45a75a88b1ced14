/**
 * @module
 * What can be said of a connection, from its statistics: one of four levels, and a sentence with the reason. Knows no page.
 */

import { pairInUse } from './client/stats.js';

/** @typedef {'good' | 'fair' | 'poor' | 'lost' | 'unknown'} Level */

/**
 * @typedef {object} Sample
 * @property {number} at milliseconds
 * @property {number | null} rttMs
 * @property {number | null} lossUp share of what we send that the server misses
 * @property {number} received packets of others, all together
 * @property {number} lost of them
 * @property {number | null} upBps the browser's estimate of what the way to the server carries
 * @property {number} bytesUp
 * @property {number} bytesDown
 * @property {Map<string, number>} pictures bytes of each picture of others, by its mid
 * @property {boolean} upLimited the own picture is made smaller for the way
 */

/**
 * @typedef {object} Connection
 * @property {number | null} rttMs
 * @property {number | null} lossUp
 * @property {number | null} lossDown
 * @property {number | null} upBps
 * @property {number | null} sentBps
 * @property {number | null} receivedBps
 * @property {{available: number, needed: number} | null} short bits per second of the pictures that the way to us does not carry in full
 * @property {boolean} upLimited
 */

/** What the server says of a picture that comes, and where it comes. @typedef {{limit: string, available: number, needed: number, mid?: string | null}} Status */
/** @typedef {{key: 'interrupted' | 'unknown' | 'lossDown' | 'lossUp' | 'delay' | 'short' | 'upLimited' | 'good', level: Level}} Judgement */

/** Of the packets: from here on sound breaks; and from here on it is noticed at all. */
const LOSS = { poor: 0.05, fair: 0.02 };
/** Milliseconds: people talk into each other; and it is noticed. */
const DELAY = { poor: 500, fair: 250 };
/** Fewer packets say nothing of a share. */
const PACKETS_MIN = 50;
/** Milliseconds. A report that is older tells of what is sent no more: the last one of a muted track stands in the statistics for ever. */
const REPORT_MAX = 6000;

/**
 * What two looks at the counters tell.
 * @param {Sample | null} before
 * @param {Sample} now
 * @param {Status[]} statuses of the pictures that come
 * @returns {Connection}
 */
export function compare(before, now, statuses) {
  const seconds = before ? (now.at - before.at) / 1000 : 0;
  const [received, lost] = before ? [now.received - before.received, now.lost - before.lost] : [0, 0];
  const rate = /** @param {number} bytes */ (bytes) => (seconds > 0 && bytes >= 0 ? (bytes * 8) / seconds : null);
  const comes = /** @param {string} mid */ (mid) => rate((now.pictures.get(mid) ?? 0) - (before?.pictures.get(mid) ?? Infinity)) ?? 0;
  return {
    rttMs: now.rttMs,
    lossUp: now.lossUp,
    lossDown: received + lost >= PACKETS_MIN ? Math.max(0, lost) / (received + Math.max(0, lost)) : null,
    upBps: now.upBps,
    sentBps: before && rate(now.bytesUp - before.bytesUp),
    receivedBps: before && rate(now.bytesDown - before.bytesDown),
    // Without a look before nothing is known of what comes.
    short: before && shortOf(statuses, comes),
    upLimited: now.upLimited,
  };
}

/**
 * What the link has for the pictures that it does not carry in full. What the server calls available to one is what that one takes and all that is left over,
 * which is there once. It does not tell the two apart, but what one takes is what comes of it.
 * @param {Status[]} statuses
 * @param {(mid: string) => number} comes bits per second
 */
function shortOf(statuses, comes) {
  // What is limited by the link was measured: then 0 is nothing.
  const short = statuses.filter(({ limit, available, needed }) => limit === 'bandwidth' && available < needed);
  if (short.length === 0) return null;
  const sum = /** @param {number[]} values */ (values) => values.reduce((total, value) => total + value, 0);
  const taken = short.map(({ available, mid }) => Math.min(available, comes(mid ?? '')));
  const left = Math.min(...short.map(({ available }, index) => available - taken[index]));
  return { available: sum(taken) + left, needed: sum(short.map(({ needed }) => needed)) };
}

/**
 * The worst of it.
 * @param {Connection | null} connection null while nothing is known
 * @param {boolean} interrupted
 * @returns {Judgement}
 */
export function judge(connection, interrupted) {
  if (interrupted) return { key: 'interrupted', level: 'lost' };
  if (!connection) return { key: 'unknown', level: 'unknown' };
  const { rttMs, lossUp, lossDown, short, upLimited } = connection;
  /** @type {Judgement[]} */
  const found = [];
  const note = /** @param {Judgement['key']} key @param {number | null} value @param {{poor: number, fair: number}} bounds */ (key, value, bounds) => {
    if (value !== null && value >= bounds.fair) found.push({ key, level: value >= bounds.poor ? 'poor' : 'fair' });
  };
  note('lossDown', lossDown, LOSS);
  note('lossUp', lossUp, LOSS);
  note('delay', rttMs, DELAY);
  if (short) found.push({ key: 'short', level: short.available * 2 < short.needed ? 'poor' : 'fair' });
  if (upLimited) found.push({ key: 'upLimited', level: 'fair' });
  return found.find(({ level }) => level === 'poor') ?? found[0] ?? { key: 'good', level: 'good' };
}

/**
 * The counters of a connection.
 * @param {RTCStatsReport} report
 * @param {number} at
 * @param {Set<string | null>} [capped] mids of what is sent smaller because no viewer has room for more
 * @returns {Sample}
 */
export function sampleOf(report, at, capped = new Set()) {
  /** @type {Sample} */
  const sample = { at, rttMs: null, lossUp: null, received: 0, lost: 0, upBps: null, bytesUp: 0, bytesDown: 0, pictures: new Map(), upLimited: false };
  const entries = [...report.values()];
  const pair = pairInUse(entries);
  if (pair?.currentRoundTripTime !== undefined) sample.rttMs = pair.currentRoundTripTime * 1000;
  if (pair?.availableOutgoingBitrate) sample.upBps = pair.availableOutgoingBitrate;
  sample.bytesUp = pair?.bytesSent ?? 0;
  sample.bytesDown = pair?.bytesReceived ?? 0;
  const newest = Math.max(...entries.map(({ timestamp }) => timestamp));
  for (const entry of entries) {
    if (entry.type === 'inbound-rtp') {
      sample.received += entry.packetsReceived ?? 0;
      sample.lost += entry.packetsLost ?? 0;
      if (entry.kind === 'video') sample.pictures.set(entry.mid, entry.bytesReceived ?? 0);
    } else if (entry.type === 'remote-inbound-rtp' && entry.fractionLost !== undefined && newest - entry.timestamp <= REPORT_MAX) {
      sample.lossUp = Math.max(sample.lossUp ?? 0, entry.fractionLost);
    } else if (entry.type === 'outbound-rtp' && entry.qualityLimitationReason === 'bandwidth' && entry.active !== false && !capped.has(entry.mid)) {
      sample.upLimited = true;
    }
  }
  return sample;
}
