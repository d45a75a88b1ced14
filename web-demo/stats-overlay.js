/**
 * @module
 * Once a second, the figures of every tile's tracks, while switched on.
 */
import { number, t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./tile.js').Tile} Tile */
/** @typedef {import('./client/stats.js').TrackStats} TrackStats */

const INTERVAL_MS = 1000;

export class StatsOverlay {
  #room;
  #tiles;
  #timer = 0;

  /**
   * @param {Room} room
   * @param {() => Tile[]} tiles
   */
  constructor(room, tiles) {
    this.#room = room;
    this.#tiles = tiles;
  }

  get shown() {
    return this.#timer !== 0;
  }

  toggle() {
    if (this.shown) {
      this.close();
      return;
    }
    this.#timer = window.setInterval(() => void this.#refresh(), INTERVAL_MS);
    void this.#refresh();
  }

  close() {
    clearInterval(this.#timer);
    this.#timer = 0;
    for (const tile of this.#tiles()) tile.setStats(null);
  }

  async #refresh() {
    await Promise.all(
      this.#tiles().map(async (tile) => {
        if (tile.statsOf.length === 0) {
          tile.setStats(null);
          return;
        }
        const [first, second] = await Promise.all(tile.statsOf.map((id) => this.#room.getStats(id).catch(() => null)));
        if (this.shown) tile.setStats(rows(first ?? second ?? null, first && second ? second : null));
      }),
    );
  }
}

/**
 * @param {TrackStats | null} stats of the picture, or of the voice alone
 * @param {TrackStats | null} voice
 * @returns {[string, string][]}
 */
function rows(stats, voice) {
  if (!stats) return [['flow', t('nothing flows')]];
  /** @type {[string, string][]} */
  const list = [];
  if (stats.width && stats.height) {
    list.push(['resolution', `${stats.width}×${stats.height}`], ['fps', `${Math.round(stats.fps ?? 0)}`]);
  }
  list.push(['bitrate', bits(stats.bitrate)], ['loss', stats.loss === null ? '–' : `${number(stats.loss * 100, 1)} %`]);
  list.push(['codec', stats.codec || '–'], ['round trip', stats.rttMs === null ? '–' : `${number(stats.rttMs, stats.rttMs < 10 ? 1 : 0)} ms`]);
  if (voice) list.push(['sound', `${voice.codec} ${bits(voice.bitrate)}`]);
  for (const { rid, width, height, bitrate } of stats.layers) {
    if (width > 0) list.push([`layer ${rid}`, `${width}×${height} ${bits(bitrate)}`]);
  }
  return list;
}

/** @param {number} bps */
export function bits(bps) {
  return bps >= 1e6 ? `${number(bps / 1e6, 1)} Mbit/s` : `${number(bps / 1000)} kbit/s`;
}
