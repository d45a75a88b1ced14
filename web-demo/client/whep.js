/**
 * @module
 * Watches a stream by WHEP (draft-ietf-wish-whep), and goes on by itself whatever happens to it. Knows nothing of any page.
 *
 * ```js
 * const viewer = watch('https://example.org/whep/stage');
 * viewer.on('stream', ({ stream }) => { video.srcObject = stream; });
 * ```
 */
import { trimReceiver } from './codecs.js';
import { DelayReader } from './delay.js';
import { Stream } from './stream.js';

/** @typedef {import('./events.js').Layer} Layer */
/** @typedef {import('./protocol.js').TrackStatus} TrackStatus */

/** A picture of a camera that is off comes once a second: longer without any packet is a pause. */
const SILENCE_MS = 2500;

/**
 * @param {string | URL} url of the WHEP endpoint; may say `participant` or `track`
 * @param {{token?: string}} [options]
 */
export function watch(url, { token } = {}) {
  const viewer = new Viewer(url, token);
  void viewer.run();
  return viewer;
}

export class Viewer extends Stream {
  /** What is wanted; null: the best that flows. @type {string | null} */
  layer = null;
  /** Whether anything comes; null: too early to say. @type {boolean | null} */
  flowing = null;
  #active = true;
  #packets = 0;
  #packetsAt = 0;
  #delay = new DelayReader();
  /** Number of the picture's section, once the server told. */
  #section = '';

  /**
   * Asks for a layer, now and after every reconnect.
   * @param {string | null} rid null: the best that flows
   */
  async setLayer(rid) {
    await this.session?.selectLayer({ mediaId: this.#section, ...(rid && { rid }) });
    this.layer = rid;
  }

  /**
   * @param {RTCPeerConnection} connection
   * @protected
   * @override
   */
  prepare(connection) {
    this.flowing = null;
    this.#active = true;
    this.#packets = 0;
    this.#packetsAt = performance.now();
    this.#section = '';
    this.#delay = new DelayReader();
    const stream = new MediaStream();
    for (const kind of /** @type {const} */ (['audio', 'video'])) {
      const transceiver = connection.addTransceiver(kind, { direction: 'recvonly' });
      trimReceiver(transceiver, kind);
      stream.addTrack(transceiver.receiver.track);
    }
    this.emit('stream', { stream });
  }

  /** @protected @override */
  handlers() {
    return {
      ...super.handlers(),
      active: () => this.#setActive(true),
      inactive: () => this.#setActive(false),
      layers: (/** @type {Record<string, Layer[]>} */ data) => this.#setLayers(data),
      status: (/** @type {TrackStatus} */ status) => this.emit('status', { status }),
    };
  }

  /** @protected @override */
  async measure() {
    const { connection, reader } = this;
    const [audio, video] = connection?.getTransceivers() ?? [];
    if (!video) return;
    const report = /** @type {any[]} */ ([...(await /** @type {RTCPeerConnection} */ (connection).getStats()).values()]);
    const [sound, picture] = await Promise.all([audio, video].map((one) => reader.read(String(one.mid), one, 'receiving')));
    if (connection !== this.connection) return;
    this.#count(report);
    const stats = picture.width ? picture : sound;
    this.emit('stats', { stats: { ...stats, behindMs: this.flowing ? this.#delay.read(report) : null } });
  }

  /** Whether packets still come. @param {any[]} report */
  #count(report) {
    const inbound = report.filter(({ type }) => type === 'inbound-rtp');
    const packets = inbound.reduce((sum, { packetsReceived = 0 }) => sum + packetsReceived, 0);
    const now = performance.now();
    if (packets > this.#packets) this.#packetsAt = now;
    this.#packets = packets;
    const recently = now - this.#packetsAt < SILENCE_MS;
    if (packets > 0 || !recently) this.#setFlowing(this.#active && recently);
  }

  /** @param {boolean} active */
  #setActive(active) {
    this.#active = active;
    if (!active) this.#setFlowing(false);
  }

  /** @param {boolean} flowing */
  #setFlowing(flowing) {
    if (this.flowing === flowing) return;
    this.flowing = flowing;
    this.emit('flow', { flowing });
  }

  /** @param {Record<string, Layer[]>} data */
  #setLayers(data) {
    const [section, layers] = Object.entries(data)[0];
    const first = this.#section === '';
    this.#section = section;
    if (first && this.layer && layers.some(({ rid }) => rid === this.layer)) {
      this.setLayer(this.layer).catch(() => undefined);
    }
    this.emit('layers', { layers });
  }
}
