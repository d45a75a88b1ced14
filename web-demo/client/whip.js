/**
 * @module
 * Publishes a stream by WHIP (RFC 9725), in layers where the picture is large enough, and keeps it live. Knows nothing of any page.
 *
 * ```js
 * const publication = publishStream('https://example.org/whip/stage', stream, { maxBitrate: 2_000_000 });
 * publication.on('viewers', ({ count }) => console.log(count));
 * ```
 */
import { activateLayers, reshape } from './sending.js';
import { restSilently } from './silent-layers.js';
import { encodingsFor, isLayered, sendableCodec, trimSender } from './codecs.js';
import { SwitchyardError } from './signaling.js';
import { Stream } from './stream.js';

/** @typedef {import('./codecs.js').VideoCodec} VideoCodec */

/**
 * @typedef {object} PublishStreamOptions
 * @property {string} [token]
 * @property {VideoCodec} [codec] default: vp8
 * @property {number} [maxBitrate] bits per second, of the largest layer
 */

/** @type {import('./sending.js').Shape} */
const shape = (sender, encodings) => restSilently(sender, encodings, () => reshape(sender, shape));

/**
 * Publishes the first picture and the first sound of `stream`. The tracks stay yours: they are never stopped.
 * @param {string | URL} url of the WHIP endpoint; may say `identity` and `name`
 * @param {MediaStream} stream
 * @param {PublishStreamOptions} [options]
 */
export function publishStream(url, stream, options = {}) {
  const publication = new Publication(url, stream, options);
  void publication.run();
  return publication;
}

export class Publication extends Stream {
  /** Both have a section, whether there is a track now or not. @type {Record<'audio' | 'video', MediaStreamTrack | null>} */
  #tracks;
  /** @type {Partial<Record<'audio' | 'video', RTCRtpTransceiver>>} */
  #sending = {};
  #options;
  #stream = new MediaStream();
  /** Encodings of the picture that somebody watches; null: the server has not said, and all are sent. @type {string[] | null} */
  watchedLayers = null;

  /**
   * @param {string | URL} url
   * @param {MediaStream} stream
   * @param {PublishStreamOptions} options
   */
  constructor(url, stream, options) {
    super(url, options.token);
    this.#options = options;
    this.#tracks = { audio: stream.getAudioTracks()[0] ?? null, video: stream.getVideoTracks()[0] ?? null };
  }

  /**
   * Sends another track, or nothing, from now on.
   * @param {'audio' | 'video'} kind
   * @param {MediaStreamTrack | null} track
   */
  async replaceTrack(kind, track) {
    this.#tracks[kind] = track;
    await this.#sending[kind]?.sender.replaceTrack(track);
  }

  /**
   * @param {RTCPeerConnection} connection
   * @protected
   * @override
   */
  prepare(connection) {
    const { codec: wanted = 'vp8', maxBitrate } = this.#options;
    const codec = sendableCodec(wanted);
    this.watchedLayers = null;
    for (const kind of /** @type {const} */ (['audio', 'video'])) {
      const track = this.#tracks[kind];
      const top = kind === 'video' ? maxBitrate : undefined;
      const encodings = track ? encodingsFor(track, { source: 'camera', simulcast: true, codec, maxBitrate: top }).encodings : [];
      const transceiver = connection.addTransceiver(track ?? kind, { direction: 'sendonly', sendEncodings: encodings, streams: [this.#stream] });
      trimSender(transceiver, kind, codec, isLayered(encodings, codec));
      this.#sending[kind] = transceiver;
    }
  }

  /** @protected @override */
  handlers() {
    const replaced = () => this.finish('replaced', 'Your stream ended here, because another page or device took it over.');
    return { ...super.handlers(), replaced, published_layers: (/** @type {import('./sending.js').Watched} */ watched) => this.#send(watched) };
  }

  /** @protected @override */
  interrupted() {
    this.#send(null);
  }

  /**
   * Sends what somebody watches.
   * @param {import('./sending.js').Watched | null} wanted null: all
   */
  #send(wanted) {
    const { sender } = this.#sending.video ?? {};
    this.watchedLayers = wanted?.layers ?? null;
    if (sender) void activateLayers(sender, wanted, shape);
  }

  /** @protected @override */
  async measure() {
    const { connection, reader } = this;
    const sending = this.#sending[this.#tracks.video ? 'video' : 'audio'];
    if (!sending) throw new SwitchyardError('closed', 'Nothing is sent.');
    const stats = await reader.read('sent', sending, 'sending');
    if (connection === this.connection) this.emit('stats', { stats });
  }
}
