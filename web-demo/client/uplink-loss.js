/**
 * @module
 * While the own uplink loses packets, the camera in VP8 goes without temporal layers: browsers protect only the lowest of them against loss (ULPFEC), and
 * viewers leave out what comes late of the others.
 */

import { reshape } from './sending.js';

/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
/** @typedef {import('./stats.js').TrackStats} TrackStats */
/** @typedef {import('./codecs.js').LayeredEncoding} LayeredEncoding */

const LOOK_MS = 2000;
/** Weight of what was lost since the last look: some seconds count. */
const NEWEST = 0.3;
/** Shares of the packets from which on there is loss, and below which it is over. */
const [BEGINS, ENDS] = [0.03, 0.01];
/** What Chromium makes of VP8 in several encodings if nothing is said. */
const USUAL = 'L1T3';
const PLAIN = 'L1T1';

/** Senders on whose way packets are lost. @type {WeakSet<RTCRtpSender>} */
const lossy = new WeakSet();
/** How the encodings of a sender were before that. @type {WeakMap<RTCRtpSender, string[]>} */
const usual = new WeakMap();

/** @type {import('./sending.js').Shape} */
export function plainWhereLossy(sender, encodings) {
  const layered = /** @type {LayeredEncoding[]} */ (encodings);
  if (!lossy.has(sender) && !usual.has(sender)) return false;
  const now = layered.map(({ scalabilityMode }) => scalabilityMode ?? (layered.length > 1 ? USUAL : PLAIN));
  const before = usual.get(sender) ?? now;
  usual.set(sender, before);
  const wanted = lossy.has(sender) ? before.map(() => PLAIN) : before;
  for (const [index, encoding] of layered.entries()) encoding.scalabilityMode = wanted[index];
  return wanted.some((mode, index) => mode !== now[index]);
}

/** Looks every two seconds at what is lost of a track. */
export class LossWatch {
  /** @type {WeakMap<LocalTrack, number>} */
  #shares = new WeakMap();
  #timer;

  /**
   * @param {() => LocalTrack | null} track
   * @param {(id: string) => Promise<TrackStats | null>} stats
   */
  constructor(track, stats) {
    this.#timer = setInterval(() => {
      const local = track();
      if (local?.id && !local.muted) void this.#look(local, stats).catch(() => undefined);
    }, LOOK_MS);
  }

  close() {
    clearInterval(this.#timer);
  }

  /**
   * @param {LocalTrack} local
   * @param {(id: string) => Promise<TrackStats | null>} stats
   */
  async #look(local, stats) {
    const { loss = null, codec = '' } = (await stats(local.id)) ?? {};
    const sender = local.transceiver?.sender;
    if (loss === null || !sender || codec !== 'VP8') return;
    const share = (1 - NEWEST) * (this.#shares.get(local) ?? 0) + NEWEST * loss;
    this.#shares.set(local, share);
    const isProtected = sender.getParameters().codecs.some(({ mimeType }) => /ulpfec/i.test(mimeType));
    if (share >= BEGINS && isProtected) lossy.add(sender);
    else if (share < ENDS) lossy.delete(sender);
    await reshape(sender, local.options.fewerLayers);
  }
}
