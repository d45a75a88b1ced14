/**
 * @module
 * One RTCPeerConnection. This side is the only offerer, and one negotiation runs at a time: whatever changes meanwhile
 * sets a flag and goes into the next offer. Receive sections are slots; what a slot shows is the room's business.
 */
import { sendableCodec, encodingsFor, isLayered, trimReceiver, trimSender } from './codecs.js';
import { DataChannels } from './data.js';
import { activateLayers } from './sending.js';
import { askForLostAudio, dropOrphanFeedback } from './sdp.js';
import { SwitchyardError } from './signaling.js';

/** @typedef {import('./protocol.js').Kind} Kind */
/** @typedef {import('./protocol.js').LayerSize} LayerSize */
/** @typedef {import('./protocol.js').MediaSections} MediaSections */
/** @typedef {import('./protocol.js').Published} Published */
/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
/** @typedef {import('./signaling.js').Signaling} Signaling */
/** @typedef {import('./e2ee/encryption.js').Encryption} Encryption */

/**
 * @typedef {object} Sending
 * @property {LocalTrack} local
 * @property {LayerSize[]} layers
 * @property {(published: Published) => void} resolve
 * @property {(error: Error) => void} reject
 */

/**
 * @typedef {object} PeerHandlers
 * @property {() => void} onNegotiated an answer was applied: mids and receivers are settled
 * @property {(state: RTCPeerConnectionState) => void} onState
 * @property {(report: {mid: string | null, number: number, readable: boolean}) => void} onReadable whether what comes in a slot can be decrypted
 * @property {(error: Error) => void} onError a negotiation failed; the previous state holds
 * @property {(received: import('./data.js').Received) => void} onData a message of somebody else
 */

export class Peer {
  /** Exposed for statistics and tests. */
  connection;
  /** @type {Signaling | null} */
  #signaling = null;
  #handlers;
  #encryption;
  /** Ends what the encryption reports. @type {(() => void)[]} */
  #reports = [];
  /** @type {{audio: RTCRtpTransceiver[], video: RTCRtpTransceiver[]}} */
  #slots = { audio: [], video: [] };
  /** @type {MediaSections} */
  #wanted = { audio: 0, video: 0 };
  /** Sending transceivers that carry nothing, for the next track of the same shape. @type {{shape: string, transceiver: RTCRtpTransceiver}[]} */
  #idle = [];
  /** To be announced with the next offer. @type {Sending[]} */
  #announcing = [];
  #dirty = false;
  #running = false;
  #offerId = 0;
  #closed = false;
  #restartWanted = false;

  /**
   * @param {PeerHandlers} handlers
   * @param {Encryption} [encryption]
   */
  constructor(handlers, encryption) {
    this.#handlers = handlers;
    this.#encryption = encryption;
    this.connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.data = new DataChannels(this.connection, handlers.onData);
    this.connection.onconnectionstatechange = () => {
      if (!this.#closed) handlers.onState(this.connection.connectionState);
    };
    this.connection.onicecandidate = ({ candidate }) => this.#sendCandidate(candidate);
  }

  /**
   * Starts negotiating, in a task of its own: tracks published in the meantime are in the first offer.
   * @param {Signaling} signaling
   * @param {RTCIceServer[]} iceServers
   * @param {MediaSections} sections
   */
  start(signaling, iceServers, sections) {
    this.#signaling = signaling;
    if (iceServers.length > 0) this.connection.setConfiguration({ ...this.connection.getConfiguration(), iceServers });
    // Slots come first, so that the m-line that carries the bundle is one that stays.
    this.#wanted = sections;
    this.#addSlots();
    this.#negotiate();
  }

  /** @param {MediaSections} sections */
  requireSections({ audio, video }) {
    this.#wanted = { audio: Math.max(audio, this.#wanted.audio), video: Math.max(video, this.#wanted.video) };
    this.#negotiate();
  }

  /**
   * Resolves with the server's `published`.
   * @param {LocalTrack} local
   * @returns {Promise<Published>}
   */
  publish(local) {
    const { layers } = this.#attach(local);
    return new Promise((resolve, reject) => {
      this.#announcing.push({ local, layers, resolve, reject });
      this.#negotiate();
    });
  }

  /**
   * Stops sending the track and keeps its section for another one.
   * @param {LocalTrack} local
   */
  async unpublish(local) {
    const { transceiver } = local;
    local.transceiver = null;
    const waiting = this.#announcing.findIndex((sending) => sending.local === local);
    if (waiting >= 0) {
      this.#announcing.splice(waiting, 1)[0].reject(new SwitchyardError('aborted', 'The track was taken back before it was published.'));
    }
    if (!transceiver || this.#closed) return;
    await this.#retire(transceiver, local.shape);
    this.#negotiate();
  }

  /** New ICE credentials in the next offer. */
  restartIce() {
    this.#restartWanted = true;
    this.#negotiate();
  }

  /**
   * The receiving transceiver with this mid.
   * @param {string} mid
   * @returns {RTCRtpTransceiver | undefined}
   */
  slot(mid) {
    return [...this.#slots.audio, ...this.#slots.video].find((transceiver) => transceiver.mid === mid);
  }

  close() {
    this.#closed = true;
    this.connection.close();
    for (const end of this.#reports) end();
    for (const { reject } of this.#announcing.splice(0)) reject(new SwitchyardError('closed', 'The connection was closed.'));
  }

  /** @param {LocalTrack} local */
  #attach(local) {
    const { mediaStreamTrack: track, source } = local;
    const kind = /** @type {Kind} */ (track.kind);
    const codec = kind === 'video' ? sendableCodec(local.options.codec) : 'vp8';
    const scalabilityMode = codec === 'vp9' || codec === 'av1' ? local.options.scalabilityMode : undefined;
    this.#encryption?.checkCodec(kind === 'video' ? codec : 'opus');
    const { encodings, layers } = encodingsFor(track, { ...local.options, source, codec, scalabilityMode });
    local.shape = encodings.length > 1 ? '' : [source, codec, encodings[0].maxBitrate ?? '', encodings[0].scalabilityMode ?? ''].join(' ');
    local.codec = kind === 'video' ? codec : 'opus';
    local.encrypted = this.#encryption !== undefined;
    const reused = this.#takeIdle(local.shape);
    if (reused) {
      reused.direction = 'sendonly';
      void activateLayers(reused.sender, null);
      void reused.sender.replaceTrack(track);
      local.transceiver = reused;
    } else {
      local.transceiver = this.connection.addTransceiver(track, { direction: 'sendonly', sendEncodings: encodings, streams: [local.stream] });
      this.#encryption?.protectSender(local.transceiver.sender, local.codec);
      trimSender(local.transceiver, kind, codec, isLayered(encodings, codec));
    }
    return { layers };
  }

  /** @param {string} shape */
  #takeIdle(shape) {
    const index = this.#idle.findIndex((idle) => shape !== '' && idle.shape === shape);
    return index < 0 ? undefined : this.#idle.splice(index, 1)[0].transceiver;
  }

  /**
   * Keeps the section for a track of the same shape. A layered one is given up, and its m-line recycled: layers that an
   * answer has once left out never come back.
   * @param {RTCRtpTransceiver} transceiver
   * @param {string} shape
   */
  async #retire(transceiver, shape) {
    if (shape === '') {
      transceiver.stop();
      return;
    }
    transceiver.direction = 'inactive';
    await transceiver.sender.replaceTrack(null).catch(() => undefined);
    this.#idle.push({ shape, transceiver });
  }

  #negotiate() {
    this.#dirty = true;
    if (this.#running || !this.#signaling) return;
    this.#running = true;
    // A task, not a microtask, and not a timer: background pages delay timers by a second.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      void this.#run();
    };
    port2.postMessage(null);
  }

  async #run() {
    while (this.#dirty && !this.#closed) {
      this.#dirty = false;
      const announced = this.#announcing.splice(0);
      try {
        await this.#round(announced);
      } catch (error) {
        const reason = error instanceof Error ? error : new Error(String(error));
        for (const { reject } of announced) reject(reason);
        if (this.#closed) break;
        await this.#rollback();
        this.#handlers.onError(reason);
      }
    }
    this.#running = false;
  }

  /**
   * One offer and its answer.
   * @param {Sending[]} announced
   */
  async #round(announced) {
    const signaling = /** @type {Signaling} */ (this.#signaling);
    this.#addSlots();
    if (this.#restartWanted) this.connection.restartIce();
    this.#restartWanted = false;
    await this.#describe(await this.connection.createOffer());
    for (const sending of announced) this.#announce(signaling, sending);
    const offerId = ++this.#offerId;
    const offer = dropOrphanFeedback(this.connection.localDescription?.sdp ?? '');
    const { sdp } = await signaling.request('offer', { offer_id: offerId, sdp: offer });
    if (this.#closed) return;
    await this.connection.setRemoteDescription({ type: 'answer', sdp });
    signaling.send('ready', { offer_id: offerId });
    this.#handlers.onNegotiated();
  }

  /** @param {RTCSessionDescriptionInit} offer */
  async #describe(offer) {
    const sdp = askForLostAudio(offer.sdp ?? '');
    try {
      await this.connection.setLocalDescription({ type: 'offer', sdp });
    } catch {
      // A browser that takes no changed offer goes without.
      await this.connection.setLocalDescription(offer);
    }
  }

  /**
   * @param {Signaling} signaling
   * @param {Sending} sending
   */
  #announce(signaling, { local, layers, resolve, reject }) {
    const { transceiver } = local;
    if (!transceiver?.mid) {
      reject(new SwitchyardError('aborted', 'The track was taken back before it was published.'));
      return;
    }
    const { source, name, muted, encrypted } = local;
    const { dtx } = local.options;
    signaling.request('publish', { mid: transceiver.mid, source, name, muted, layers, ...(encrypted && { encrypted }), ...(dtx && { dtx }) }).then(resolve, (error) => {
      reject(error);
      if (this.#closed || local.transceiver !== transceiver) return;
      local.transceiver = null;
      void this.#retire(transceiver, local.shape).then(() => this.#negotiate());
    });
  }

  #addSlots() {
    for (const kind of /** @type {const} */ (['audio', 'video'])) {
      while (this.#slots[kind].length < this.#wanted[kind]) {
        const transceiver = this.connection.addTransceiver(kind, { direction: 'recvonly' });
        trimReceiver(transceiver, kind);
        const end = this.#encryption?.protectReceiver(transceiver.receiver, (report) => this.#handlers.onReadable({ mid: transceiver.mid, ...report }));
        if (end) this.#reports.push(end);
        this.#slots[kind].push(transceiver);
      }
    }
  }

  async #rollback() {
    if (this.connection.signalingState !== 'have-local-offer') return;
    await this.connection.setLocalDescription({ type: 'rollback' }).catch(() => undefined);
  }

  /** The server needs none of these; it notes them. @param {RTCIceCandidate | null} candidate */
  #sendCandidate(candidate) {
    if (this.#closed || this.#offerId === 0) return;
    this.#signaling?.send('candidate', { candidate: candidate?.candidate ?? '', mid: candidate?.sdpMid ?? '0' });
  }
}
