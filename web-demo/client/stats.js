/**
 * @module
 * Turns getStats reports into what a person wants to read. Rates are taken between two calls for the same track.
 */

import { isCapped } from './sending.js';

/**
 * @typedef {object} TrackStats
 * @property {'sending' | 'receiving'} direction
 * @property {number | null} width pixels, of the largest layer
 * @property {number | null} height
 * @property {number | null} fps
 * @property {number} bitrate bits per second of media payload
 * @property {number | null} loss share of packets lost, 0 to 1
 * @property {string} codec for example `VP8`
 * @property {number | null} rttMs
 * @property {number | null} jitterMs receiving only
 * @property {number | null} [behindMs] watching only: from the camera to the screen
 * @property {string} limitation sending only: what keeps the quality down, `cpu`, `bandwidth` or `other`; empty if nothing, or not told
 * @property {{rid: string, width: number, height: number, fps: number, bitrate: number, active: boolean}[]} layers sending only
 */

/** @typedef {{at: number, bytes: Map<string, number>, lost: number, packets: number, result: TrackStats}} Sample */

/** Calls closer together than this get the same answer: rates over less are noise. */
const WINDOW_MS_MIN = 400;

export class StatsReader {
  /** @type {Map<string, Sample>} */
  #samples = new Map();

  /**
   * @param {string} key of the track; a new key starts new rates
   * @param {RTCRtpTransceiver} transceiver
   * @param {'sending' | 'receiving'} direction
   * @returns {Promise<TrackStats>}
   */
  async read(key, transceiver, direction) {
    const last = this.#samples.get(key);
    const at = performance.now();
    if (last && at - last.at < WINDOW_MS_MIN) return last.result;
    const source = direction === 'sending' ? transceiver.sender : transceiver.receiver;
    const report = await source.getStats();
    const all = /** @type {any[]} */ ([...report.values()]);
    const sample = direction === 'sending' ? summarizeSending(all, last, at) : summarizeReceiving(all, last, at);
    if (sample.result.limitation === 'bandwidth' && isCapped(transceiver.sender)) sample.result.limitation = '';
    this.#samples.set(key, sample);
    return sample.result;
  }
}

/**
 * @param {any[]} all
 * @param {Sample | undefined} last
 * @param {number} at
 * @returns {Sample}
 */
function summarizeReceiving(all, last, at) {
  const inbound = all.find(({ type }) => type === 'inbound-rtp') ?? {};
  const bytes = new Map([['', inbound.bytesReceived ?? 0]]);
  const lost = inbound.packetsLost ?? 0;
  const packets = inbound.packetsReceived ?? 0;
  const newlyLost = Math.max(0, lost - (last?.lost ?? 0));
  const expected = newlyLost + Math.max(0, packets - (last?.packets ?? 0));
  /** @type {TrackStats} */
  const result = {
    direction: 'receiving',
    width: inbound.frameWidth ?? null,
    height: inbound.frameHeight ?? null,
    fps: inbound.framesPerSecond ?? null,
    bitrate: rate('', bytes, last, at),
    loss: expected === 0 ? null : newlyLost / expected,
    codec: codecName(all, inbound.codecId),
    rttMs: roundTrip(all),
    jitterMs: inbound.jitter === undefined ? null : inbound.jitter * 1000,
    limitation: '',
    layers: [],
  };
  return { at, bytes, lost, packets, result };
}

/**
 * @param {any[]} all
 * @param {Sample | undefined} last
 * @param {number} at
 * @returns {Sample}
 */
function summarizeSending(all, last, at) {
  const outbound = all.filter(({ type }) => type === 'outbound-rtp');
  const bytes = new Map(outbound.map(({ rid = '', bytesSent = 0 }) => [rid, bytesSent]));
  const layers = outbound
    .map(({ rid = '', frameWidth = 0, frameHeight = 0, framesPerSecond = 0, active = true }) => ({
      rid,
      width: frameWidth,
      height: frameHeight,
      fps: framesPerSecond,
      bitrate: rate(rid, bytes, last, at),
      active,
    }))
    .sort((a, b) => a.width - b.width);
  const top = layers.findLast(({ fps }) => fps > 0) ?? layers.at(-1);
  const losses = all.filter(({ type }) => type === 'remote-inbound-rtp').map(({ fractionLost }) => fractionLost ?? 0);
  /** @type {TrackStats} */
  const result = {
    direction: 'sending',
    width: top?.width || null,
    height: top?.height || null,
    fps: top?.fps ?? null,
    bitrate: layers.reduce((sum, { bitrate }) => sum + bitrate, 0),
    loss: losses.length === 0 ? null : Math.max(...losses),
    codec: codecName(all, outbound.find(({ codecId }) => codecId)?.codecId),
    rttMs: roundTrip(all),
    jitterMs: null,
    limitation: limitationOf(outbound),
    layers: layers.length > 1 ? layers : [],
  };
  return { at, bytes, lost: 0, packets: 0, result };
}

/** The processor first: it is the one that people can do something about. @param {any[]} outbound */
function limitationOf(outbound) {
  const reasons = outbound.map(({ qualityLimitationReason }) => qualityLimitationReason ?? 'none');
  return ['cpu', 'bandwidth', 'other'].find((reason) => reasons.includes(reason)) ?? '';
}

/**
 * @param {string} key
 * @param {Map<string, number>} bytes
 * @param {Sample | undefined} last
 * @param {number} at
 */
function rate(key, bytes, last, at) {
  const before = last?.bytes.get(key);
  if (!last || before === undefined) return 0;
  return (Math.max(0, (bytes.get(key) ?? 0) - before) * 8 * 1000) / (at - last.at);
}

/**
 * @param {any[]} all
 * @param {string | undefined} id
 */
function codecName(all, id) {
  const codec = all.find((entry) => entry.type === 'codec' && entry.id === id);
  return codec ? String(codec.mimeType).split('/')[1] : '';
}

/** The ICE pair in use. After a change of address others are nominated yet. @param {any[]} all */
export function pairInUse(all) {
  const transport = all.find(({ type }) => type === 'transport');
  const pairs = all.filter(({ type }) => type === 'candidate-pair');
  return pairs.find(({ id }) => id === transport?.selectedCandidatePairId) ?? pairs.find(({ nominated, state }) => nominated && state === 'succeeded');
}

/** Of the ICE pair in use: the whole way to the server and back. @param {any[]} all */
export function roundTrip(all) {
  const seconds = pairInUse(all)?.currentRoundTripTime ?? all.find(({ type }) => type === 'remote-inbound-rtp')?.roundTripTime;
  return seconds === undefined ? null : seconds * 1000;
}
