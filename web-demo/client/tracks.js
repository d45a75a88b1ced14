/**
 * @module
 * What the room knows about its participants and their tracks. Plain values that the room changes and everyone else reads.
 */

import { isCapped } from './sending.js';

/** @typedef {import('./protocol.js').TrackInfo} TrackInfo */
/** @typedef {import('./protocol.js').ParticipantInfo} ParticipantInfo */
/** @typedef {import('./protocol.js').Source} Source */
/** @typedef {import('./protocol.js').TrackStatus} TrackStatus */
/** @typedef {import('./codecs.js').VideoCodec} VideoCodec */

/**
 * `fewerLayers`: leaves out layers inside streams, see `spatial-layers.js` and `uplink-loss.js`.
 * @typedef {{simulcast: boolean, codec: VideoCodec, scalabilityMode?: string, maxBitrate?: number, dtx?: boolean, fewerLayers?: import('./sending.js').Shape}} PublishSettings
 */

/**
 * @typedef {object} PublishOptions
 * @property {Source} source
 * @property {string} [name]
 * @property {boolean} [simulcast] default: true for cameras
 * @property {VideoCodec} [codec] default: vp8
 * @property {string} [scalabilityMode] layers inside one stream instead of simulcast, of VP9 and AV1 in browsers that make them: `L3T3_KEY`
 * @property {number} [maxBitrate] bits per second
 * @property {boolean} [dtx] send next to nothing during silence; default: true for microphones
 * @property {boolean} [muted] publish it muted
 */

/** A track that somebody else publishes. */
export class RemoteTrack {
  /** The slot that shows it now. @type {RTCRtpTransceiver | null} */
  transceiver = null;
  /** Set while subscribed. @type {MediaStreamTrack | null} */
  mediaStreamTrack = null;
  /** Set while subscribed: a stream of this one track. @type {MediaStream | null} */
  stream = null;
  /**
   * Why there is nothing to see: `codec` (this browser cannot play it), `slots` (too many at once), `encrypted` (and no key is here), `key` (another one is
   * here), or `plain` (it is not encrypted, and the room is). @type {string | null}
   */
  unavailable = null;
  /** The simulcast layer that flows, if the server said. @type {string | null} */
  layer = null;
  /** The status as the server said it last. @type {TrackStatus | null} */
  said = null;

  /**
   * @param {TrackInfo} info
   * @param {RemoteParticipant} participant
   */
  constructor(info, participant) {
    this.id = info.track;
    this.number = info.number;
    this.kind = info.kind;
    this.source = info.source;
    this.name = info.name;
    this.codec = info.codec;
    this.muted = info.muted;
    this.simulcast = info.simulcast;
    this.layers = info.layers;
    /** Sealed end to end. */
    this.encrypted = info.encrypted ?? false;
    this.participant = participant;
  }

  get subscribed() {
    return this.mediaStreamTrack !== null;
  }

  /** What is shown of it and why not more, once the server said; null while it is muted, when nothing comes whatever the link carries. */
  get status() {
    return this.muted ? null : this.said;
  }
}

export class RemoteParticipant {
  /** @type {Map<string, RemoteTrack>} */
  tracks = new Map();

  /** @param {ParticipantInfo} info */
  constructor(info) {
    this.id = info.participant;
    this.identity = info.identity;
    this.name = info.name;
    /** @type {'active' | 'reconnecting'} */
    this.state = info.state;
    /** The application's. */
    this.metadata = info.metadata ?? '';
    this.attributes = info.attributes ?? {};
    /** Moderates the room. */
    this.moderator = info.moderator ?? false;
    /** Order of the raised hand: the lowest number came first; 0: it is down. */
    this.hand = info.hand ?? 0;
    this.status = info.status ?? '';
    for (const track of info.tracks) this.tracks.set(track.track, new RemoteTrack(track, this));
  }
}

/** A track of our own. It outlives reconnects; its `id` does not. */
export class LocalTrack {
  /** Given by the server; empty until published. */
  id = '';
  muted = false;
  /** Sealed end to end. */
  encrypted = false;
  /** What is sent: `vp8`, `h264`, `vp9`, `av1` or `opus`. */
  codec = '';
  /** Tracks of one shape can follow each other in a section; empty for layered ones, which cannot. */
  shape = '';
  /** Layers that somebody watches, `''` for a track without layers; null: the server has not said, and all are sent. @type {string[] | null} */
  watchedLayers = null;
  /** @type {RTCRtpTransceiver | null} */
  transceiver = null;
  /** A stream of its own, so that the msid is stable over camera switches. */
  stream = new MediaStream();

  /**
   * @param {MediaStreamTrack} mediaStreamTrack
   * @param {Source} source
   * @param {string} name
   * @param {PublishSettings} options
   */
  constructor(mediaStreamTrack, source, name, options) {
    this.mediaStreamTrack = mediaStreamTrack;
    this.kind = mediaStreamTrack.kind;
    this.source = source;
    this.name = name;
    this.options = options;
  }

  /** Sent smaller because no viewer has room for more. */
  get isCapped() {
    return this.transceiver !== null && isCapped(this.transceiver.sender);
  }
}
