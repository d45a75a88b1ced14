/**
 * @module
 * What is sent of the own tracks: only layers that somebody watches, and word to the server when this computer or its uplink cannot
 * send all of it.
 */

/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
/** @typedef {import('./stats.js').TrackStats} TrackStats */

/** What of a track is to be sent. @typedef {import('./protocol.js').WatchedLayers} Watched */
/** Leaves out layers inside streams, and returns whether there is anything to be changed: see `spatial-layers.js`. @typedef {(sender: RTCRtpSender, encodings: RTCRtpEncodingParameters[], state: Switch) => boolean} Change */
/** `least`: what has to be done even where the browser refuses that. @typedef {Change & {least?: Change}} Shape */
/** `own`: the limit of the one encoding before the server gave it another. @typedef {{wanted: Watched | null, own?: {maxBitrate?: number}, running: Promise<void> | null}} Switch */

/** How often the browser is asked what limits it. */
const LOOK_MS = 2000;
/** Another change of the parameters came in between. */
const TRIES_MAX = 3;

/** @type {WeakMap<RTCRtpSender, Switch>} */
const switches = new WeakMap();

/**
 * Sends what is wanted and rests the others; one change per sender at a time, and of several that come meanwhile the last.
 * @param {RTCRtpSender} sender
 * @param {Watched | null} wanted null: all
 * @param {Shape} [shape]
 */
export function activateLayers(sender, wanted, shape) {
  const state = switches.get(sender) ?? { wanted: null, running: null };
  switches.set(sender, state);
  state.wanted = wanted;
  state.running ??= run(sender, state, shape).finally(() => (state.running = null));
  return state.running;
}

/**
 * Looks again at what is to be left out, for a reason that is not the server's.
 * @param {RTCRtpSender} sender
 * @param {Shape} [shape]
 */
export function reshape(sender, shape) {
  return activateLayers(sender, switches.get(sender)?.wanted ?? null, shape);
}

/**
 * @param {RTCRtpSender} sender
 * @param {Switch} state
 * @param {Shape} [shape]
 */
async function run(sender, state, shape) {
  for (let tries = 0; tries < TRIES_MAX; ) {
    const { wanted } = state;
    const parameters = sender.getParameters();
    try {
      const changed = mark(parameters, state);
      if (shape?.(sender, parameters.encodings, state) || changed) await sender.setParameters(parameters);
      // Not before: a limit that could not be taken back would count as the own one.
      if (wanted?.max_bitrate === undefined) delete state.own;
      if (state.wanted === wanted) return;
      tries = 0;
    } catch (error) {
      tries += 1;
      // A browser may refuse the shape only.
      if (tries === TRIES_MAX - 1) shape = shape?.least;
      // What is sent too much costs bandwidth; it breaks nothing.
      if (tries === TRIES_MAX) console.warn('switchyard: layers could not be switched', error);
    }
  }
}

/**
 * Returns whether anything is to be changed.
 * @param {RTCRtpSendParameters} parameters
 * @param {Switch} state
 */
function mark({ encodings = [] }, state) {
  const { layers = null, max_bitrate: maxBitrate } = state.wanted ?? {};
  let changed = false;
  for (const encoding of encodings) {
    const active = layers === null || layers.includes(encoding.rid ?? '') || (encodings.length === 1 && layers.length > 0);
    changed ||= active !== (encoding.active ?? true);
    encoding.active = active;
  }
  if (encodings.length !== 1 || (maxBitrate === undefined && !state.own)) return changed;
  const [encoding] = encodings;
  state.own ??= { maxBitrate: encoding.maxBitrate };
  const most = Math.min(maxBitrate ?? Infinity, state.own.maxBitrate ?? Infinity);
  changed ||= most !== (encoding.maxBitrate ?? Infinity);
  encoding.maxBitrate = most < Infinity ? most : undefined;
  return changed;
}

/**
 * Whether this is sent smaller because no viewer has room for more: then it is not the own connection that limits it.
 * @param {RTCRtpSender} sender
 */
export function isCapped(sender) {
  return switches.get(sender)?.own !== undefined;
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
 * @param {import('./protocol.js').PublishedLayers} watched
 */
export function sendLayers(tracks, watched) {
  const local = [...tracks].find(({ id }) => id === watched.track);
  if (!local?.transceiver) return;
  local.watchedLayers = watched.layers;
  void activateLayers(local.transceiver.sender, watched, local.options.fewerLayers);
}
