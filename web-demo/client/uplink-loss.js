/**
 * @module
 * While the own uplink loses packets, the camera in VP8 goes without temporal layers: browsers protect only the lowest of them against loss (ULPFEC), and
 * viewers leave out what comes late of the others.
 */

import { reshape } from './sending.js';

/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
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

/** @type {import('./sending.js').Change} */
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
  /** Of a sender: packets sent and lost until the last look, and the share lately. @type {WeakMap<RTCRtpSender, {sent: number, lost: number, share: number}>} */
  #samples = new WeakMap();
  #timer;
  /** This browser knows no modes (Firefox). */
  #deaf = false;

  /** @param {() => LocalTrack | null} track */
  constructor(track) {
    this.#timer = setInterval(() => {
      const local = track();
      if (local?.id && !local.muted && local.transceiver) void this.#look(local, local.transceiver.sender).catch(() => undefined);
    }, LOOK_MS);
  }

  close() {
    clearInterval(this.#timer);
  }

  /**
   * @param {LocalTrack} local
   * @param {RTCRtpSender} sender
   */
  async #look(local, sender) {
    const all = /** @type {any[]} */ ([...(await sender.getStats()).values()]);
    if (this.#deaf || !all.some(({ type, mimeType }) => type === 'codec' && mimeType === 'video/VP8')) return;
    /** @type {(type: string, name: string) => number} */
    const sum = (type, name) => all.reduce((before, one) => before + ((one.type === type && one[name]) || 0), 0);
    // Of all layers together: one of few packets is no measure.
    const [sent, lost] = [sum('outbound-rtp', 'packetsSent'), sum('remote-inbound-rtp', 'packetsLost')];
    const last = this.#samples.get(sender) ?? { sent: 0, lost: 0, share: 0 };
    const newest = sent > last.sent ? Math.max(0, lost - last.lost) / (sent - last.sent) : 0;
    const share = (1 - NEWEST) * last.share + NEWEST * newest;
    this.#samples.set(sender, { sent, lost, share });
    const isProtected = sender.getParameters().codecs.some(({ mimeType }) => /ulpfec/i.test(mimeType));
    if (share >= BEGINS && isProtected) lossy.add(sender);
    else if (share < ENDS) lossy.delete(sender);
    if (!lossy.has(sender) && !usual.has(sender)) return;
    await reshape(sender, local.options.fewerLayers);
    if (!lossy.has(sender)) {
      usual.delete(sender);
    } else if (sender.getParameters().encodings.every((encoding) => /** @type {LayeredEncoding} */ (encoding).scalabilityMode === undefined)) {
      this.#deaf = true;
      lossy.delete(sender);
      usual.delete(sender);
    }
  }
}
