/**
 * @module
 * How far behind the camera a picture is. Sender reports carry the server's time of what was captured when (RFC 3550 section 6.4.1),
 * the browser tells which time it plays now, and the reports' own arrival tells the difference between the two clocks. The publisher's
 * shortest way to the server counts as nothing: the server cannot know it.
 */

import { roundTrip } from './stats.js';

/** From 1900 to 1970: some browsers count from the one, some from the other. */
const NTP_EPOCH_MS = 2_208_988_800_000;
const REPORTS_KEPT = 12;
/** What is not in between was not measured. */
const DELAY_MS_MAX = 60_000;

export class DelayReader {
  /** Of the last reports: server's time minus ours, as if they had come in no time. @type {Map<number, number>} */
  #offsets = new Map();

  /**
   * @param {any[]} report of the connection
   * @returns {number | null} milliseconds from the camera to the screen; null: this browser does not tell
   */
  read(report) {
    const rttMs = roundTrip(report);
    for (const { type, timestamp, remoteTimestamp } of report) {
      if (type === 'remote-outbound-rtp' && remoteTimestamp) this.#offsets.set(remoteTimestamp, remoteTimestamp - timestamp);
    }
    for (const old of [...this.#offsets.keys()].slice(0, -REPORTS_KEPT)) this.#offsets.delete(old);
    const inbound = report.filter(({ type, estimatedPlayoutTimestamp }) => type === 'inbound-rtp' && estimatedPlayoutTimestamp);
    const playing = inbound.find(({ kind }) => kind === 'video') ?? inbound[0];
    if (!playing || this.#offsets.size === 0 || rttMs === null) return null;
    // The report that came fastest is the one to believe.
    const offset = Math.max(...this.#offsets.values()) + rttMs / 2;
    const { estimatedPlayoutTimestamp: played } = playing;
    const delay = playing.timestamp + offset - (played > NTP_EPOCH_MS ? played - NTP_EPOCH_MS : played);
    return delay >= 0 && delay < DELAY_MS_MAX ? delay : null;
  }
}
