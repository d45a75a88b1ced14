/**
 * @module
 * What is sent of the own tracks: only layers that somebody watches, and word to the server when this computer or its uplink cannot
 * send all of it.
 */

/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
/** @typedef {import('./stats.js').TrackStats} TrackStats */

/** @typedef {import('./codecs.js').LayeredEncoding} LayeredEncoding */

/**
 * What of a track is to be sent: encodings by rid, `''` for the one encoding of a track without layers; of that one so many spatial layers, and the most
 * bits per second.
 * @typedef {{layers: string[], spatialLayers?: number, maxBitrate?: number}} Watched
 */
/** @typedef {Pick<LayeredEncoding, 'maxBitrate' | 'scalabilityMode' | 'scaleResolutionDownBy'>} Shape */
/** `own`: the shape of the one encoding before the server gave it another. @typedef {{wanted: Watched | null, own?: Shape, running: Promise<void> | null}} Switch */

/** How often the browser is asked what limits it. */
const LOOK_MS = 2000;
/** Spatial and temporal layers of one stream, each size half of the next one or two thirds (`h`) (w3c.github.io/webrtc-svc). */
const MODE = /^L([1-9])(T[1-9])(h?)(.*)$/;
/** Below this a picture has one spatial layer, below twice as much two, and so on, whatever its mode says: libwebrtc leaves the others out. */
const [LAYER_WIDTH, LAYER_HEIGHT] = [240, 135];
/** Most bits per second and per pixel of one spatial layer, as libwebrtc has them for a layer below others; an only one would take all that there is. */
const [LAYER_BITRATE, PIXEL_BITRATE] = [50_000, 1.6];
/** Another change of the parameters came in between. */
const TRIES_MAX = 3;

/** @type {WeakMap<RTCRtpSender, Switch>} */
const switches = new WeakMap();

/**
 * Sends what is wanted and rests the others; one change per sender at a time, and of several that come meanwhile the last.
 * @param {RTCRtpSender} sender
 * @param {Watched | null} wanted null: all
 */
export function activateLayers(sender, wanted) {
  const state = switches.get(sender) ?? { wanted: null, running: null };
  switches.set(sender, state);
  state.wanted = wanted;
  state.running ??= run(sender, state).finally(() => (state.running = null));
  return state.running;
}

/**
 * The sender has another track, of another size.
 * @param {RTCRtpSender} sender
 */
export function fitLayers(sender) {
  const wanted = switches.get(sender)?.wanted;
  if (wanted && sender.track) void activateLayers(sender, { ...wanted });
}

/**
 * @param {RTCRtpSender} sender
 * @param {Switch} state
 */
async function run(sender, state) {
  for (let tries = 0; tries < TRIES_MAX; ) {
    const { wanted } = state;
    const parameters = sender.getParameters();
    try {
      if (mark(parameters, state, sender.track)) await sender.setParameters(parameters);
      // Not before: a limit that could not be taken back would count as the own one.
      if (isWhole(wanted) && parameters.encodings[0]?.active) delete state.own;
      if (state.wanted === wanted) return;
      tries = 0;
    } catch (error) {
      tries += 1;
      // What is sent too much costs bandwidth; it breaks nothing.
      if (tries === TRIES_MAX) console.warn('switchyard: layers could not be switched', error);
    }
  }
}

/** @param {Watched | null} wanted */
function isWhole(wanted) {
  return wanted?.spatialLayers === undefined && wanted?.maxBitrate === undefined;
}

/**
 * Returns whether anything is to be changed.
 * @param {RTCRtpSendParameters} parameters
 * @param {Switch} state
 * @param {MediaStreamTrack | null} track
 */
function mark({ encodings = [] }, state, track) {
  const layers = state.wanted?.layers ?? null;
  let changed = false;
  for (const encoding of encodings) {
    const active = layers === null || layers.includes(encoding.rid ?? '') || (encodings.length === 1 && layers.length > 0);
    changed ||= active !== (encoding.active ?? true);
    encoding.active = active;
  }
  /** @type {LayeredEncoding} */
  const encoding = encodings[0];
  // What is not sent at all stays as it is.
  if (encodings.length !== 1 || !encoding.active || (isWhole(state.wanted) && !state.own)) return changed;
  const { maxBitrate, scalabilityMode, scaleResolutionDownBy } = encoding;
  state.own ??= { maxBitrate, scalabilityMode, scaleResolutionDownBy };
  const next = less(state.own, state.wanted, track);
  for (const name of /** @type {const} */ (['maxBitrate', 'scalabilityMode', 'scaleResolutionDownBy'])) {
    if (encoding[name] === next[name]) continue;
    changed = true;
    if (next[name] === undefined) delete encoding[name];
    else Object.assign(encoding, { [name]: next[name] });
  }
  return changed;
}

/**
 * The shape with fewer spatial layers, the highest of which then has the size of the whole, and with fewer bits.
 * @param {Shape} own
 * @param {Watched | null} wanted
 * @param {MediaStreamTrack | null} track
 * @returns {Shape}
 */
function less(own, wanted, track) {
  const [, count, temporal, ratio, kind] = MODE.exec(own.scalabilityMode ?? '') ?? [];
  const { width = 1280, height = 720 } = track?.getSettings() ?? {};
  const [long, short] = [Math.max(width, height), Math.min(width, height)].map((pixels) => pixels / (own.scaleResolutionDownBy ?? 1));
  const there = 1 + Math.floor(Math.log2(Math.min(long / LAYER_WIDTH, short / LAYER_HEIGHT)));
  const all = Math.max(1, Math.min(Number(count ?? 1), there));
  const sent = Math.max(1, Math.min(wanted?.spatialLayers ?? all, all));
  let most = Math.min(wanted?.maxBitrate ?? Infinity, own.maxBitrate ?? Infinity);
  const shape = { ...own };
  if (sent < all) {
    const step = ratio ? 1.5 : 2;
    shape.scalabilityMode = `L${sent}${temporal}${sent > 1 ? ratio + kind : ''}`;
    shape.scaleResolutionDownBy = (own.scaleResolutionDownBy ?? 1) * step ** (all - sent);
    let bitrate = 0;
    for (let scale = shape.scaleResolutionDownBy, layer = 0; layer < sent; layer++, scale *= step) bitrate += LAYER_BITRATE + (PIXEL_BITRATE * width * height) / scale ** 2;
    most = Math.min(most, Math.round(bitrate));
  }
  shape.maxBitrate = Number.isFinite(most) ? most : undefined;
  return shape;
}

/**
 * Whether this is sent smaller because no viewer has room for more: then it is not the own connection that limits it.
 * @param {RTCRtpSender} sender
 */
export function isCapped(sender) {
  const { own, wanted } = switches.get(sender) ?? {};
  return own !== undefined && wanted?.maxBitrate !== undefined;
}

/** Tells the server what keeps own tracks from their full quality. */
export class LimitReporter {
  #timer;
  /** @type {Map<string, string>} */
  #told = new Map();

  /**
   * @param {() => Iterable<LocalTrack>} tracks
   * @param {(id: string) => Promise<TrackStats | null>} stats
   * @param {(track: string, reason: 'none' | 'cpu' | 'bandwidth') => void} tell
   */
  constructor(tracks, stats, tell) {
    this.#timer = window.setInterval(() => {
      for (const { id, kind, muted } of tracks()) {
        if (id && kind === 'video' && !muted) void this.#look(id, stats, tell).catch(() => undefined);
      }
    }, LOOK_MS);
  }

  /** What was told may have been lost. */
  repeat() {
    this.#told.clear();
  }

  close() {
    clearInterval(this.#timer);
  }

  /**
   * @param {string} id
   * @param {(id: string) => Promise<TrackStats | null>} stats
   * @param {(track: string, reason: 'none' | 'cpu' | 'bandwidth') => void} tell
   */
  async #look(id, stats, tell) {
    const { limitation = '' } = (await stats(id)) ?? {};
    const reason = limitation === 'cpu' || limitation === 'bandwidth' ? limitation : 'none';
    if (reason === this.#told.get(id)) return;
    this.#told.set(id, reason);
    tell(id, reason);
  }
}

/**
 * Does what somebody who manages the room did to a track of ours, and returns that track.
 * @param {Set<LocalTrack>} tracks
 * @param {import('./protocol.js').TrackUnpublished | import('./protocol.js').TrackMuted} message
 */
export function obey(tracks, message) {
  const local = [...tracks].find(({ id }) => id === message.track);
  if (!local) return null;
  if (message.type === 'track_muted') {
    local.muted = message.muted;
    local.mediaStreamTrack.enabled = !message.muted;
  } else {
    tracks.delete(local);
    Object.assign(local, { id: '', watchedLayers: null });
  }
  return local;
}

/**
 * Sends of our own track what somebody watches.
 * @param {Iterable<LocalTrack>} tracks
 * @param {import('./protocol.js').PublishedLayers} message
 */
export function sendLayers(tracks, { track, layers, spatial_layers: spatialLayers, max_bitrate: maxBitrate }) {
  const local = [...tracks].find(({ id }) => id === track);
  if (!local?.transceiver) return;
  local.watchedLayers = layers;
  void activateLayers(local.transceiver.sender, { layers, spatialLayers, maxBitrate });
}
