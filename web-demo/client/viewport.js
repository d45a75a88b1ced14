/**
 * @module
 * What of the others' tracks is on screen, and how large: watches elements and tells the server, so that it sends no more than is seen.
 * What appears is told at once, what shrinks or goes after a moment.
 */

/** @typedef {import('./protocol.js').Priority} Priority */
/** @typedef {import('./protocol.js').TrackSetting} TrackSetting */

/**
 * @typedef {object} Watched
 * @property {string} track
 * @property {Priority} priority
 * @property {number} [fps] frames per second of use; all if not given
 * @property {boolean | undefined} intersecting undefined before the browser said
 * @property {number} width CSS pixels
 * @property {number} height
 */

/** A list that is scrolled through, or a window that is dragged larger, is one message in this time. */
const SETTLE_MS = 100;
const PIXELS_MAX = 65535;
/** Width by height is rounded to such parts: layers of one picture may differ by a pixel, and another layer is no reason to want another. */
const SHAPES = 36;

export class Viewport {
  /** @type {Map<Element, Watched>} */
  #watched = new Map();
  /** What the server was told last of each track. @type {Map<string, TrackSetting>} */
  #told = new Map();
  #timer = 0;
  #send;
  #knows;
  #sizes = new ResizeObserver((entries) => this.#measure(entries));
  #sights = new IntersectionObserver((entries) => this.#measure(entries));
  #listening = new AbortController();

  /**
   * @param {(tracks: TrackSetting[]) => void} send
   * @param {(track: string) => boolean} knows whether there is such a track now
   */
  constructor(send, knows) {
    this.#send = send;
    this.#knows = knows;
    // The last one is a video's that has another size now, and does not bubble.
    for (const type of ['visibilitychange', 'enterpictureinpicture', 'leavepictureinpicture', 'resize']) {
      document.addEventListener(type, () => this.#note(), { capture: true, signal: this.#listening.signal });
    }
  }

  /**
   * This element shows the track, alone or beside others; or nothing: call what is returned.
   * @param {string} track
   * @param {Element} element
   * @param {Priority} priority
   * @param {number} [fps]
   */
  watch(track, element, priority, fps) {
    const watched = { track, priority, fps, intersecting: undefined, width: 0, height: 0 };
    this.#watched.set(element, watched);
    this.#sizes.observe(element);
    this.#sights.observe(element);
    return () => {
      if (this.#watched.get(element) !== watched) return;
      this.#watched.delete(element);
      this.#sizes.unobserve(element);
      this.#sights.unobserve(element);
      this.#note();
    };
  }

  /** After a join the server knows nothing. */
  reset() {
    this.#told.clear();
    this.#flush();
  }

  /** A track has come, perhaps one that is watched already. */
  refresh() {
    this.#note();
  }

  close() {
    clearTimeout(this.#timer);
    this.#sizes.disconnect();
    this.#sights.disconnect();
    this.#watched.clear();
    this.#listening.abort();
  }

  /** @param {{target: Element, contentRect?: DOMRectReadOnly, boundingClientRect?: DOMRectReadOnly, isIntersecting?: boolean}[]} entries of either observer */
  #measure(entries) {
    for (const { target, contentRect, boundingClientRect, isIntersecting } of entries) {
      const watched = this.#watched.get(target);
      const { width, height } = /** @type {DOMRectReadOnly} */ (contentRect ?? boundingClientRect);
      if (watched) Object.assign(watched, { width, height, intersecting: isIntersecting ?? watched.intersecting });
    }
    this.#note();
  }

  #note() {
    const news = this.#news();
    const appears = news.some(({ track, paused }) => !paused && this.#told.get(track)?.paused !== false);
    if (appears) this.#flush();
    else if (news.length > 0 && this.#timer === 0) this.#timer = setTimeout(() => this.#flush(), SETTLE_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const news = this.#news();
    if (news.length === 0) return;
    for (const setting of news) this.#told.set(setting.track, setting);
    this.#send(news);
  }

  /** Settings that differ from what was told. */
  #news() {
    for (const track of this.#told.keys()) if (!this.#knows(track)) this.#told.delete(track);
    const tracks = new Set([...[...this.#watched.values()].map(({ track }) => track), ...this.#told.keys()]);
    const settings = [...tracks].filter(this.#knows).flatMap((track) => this.#settingOf(track) ?? []);
    return settings.filter((setting) => JSON.stringify(setting) !== JSON.stringify(this.#told.get(setting.track)));
  }

  /**
   * Of the largest of its elements that can be seen; null while that is not known.
   * @param {string} track
   * @returns {TrackSetting | null}
   */
  #settingOf(track) {
    const elements = [...this.#watched].filter(([, watched]) => watched.track === track);
    if (elements.length > 0 && elements.every(([, { intersecting }]) => intersecting === undefined)) return null;
    const seen = elements.filter(([element, watched]) => isSeen(element, watched)).map(([element, watched]) => ({ ...watched, ...wholeOf(element, watched) }));
    if (seen.length === 0) return { track, paused: true };
    const largest = seen.reduce((best, one) => (one.width * one.height > best.width * best.height ? one : best));
    const high = seen.some(({ priority }) => priority === 'high');
    const priority = high ? 'high' : largest.priority;
    const fps = Math.max(...seen.map(({ fps = Infinity }) => fps));
    return { track, width: devicePixels(largest.width), height: devicePixels(largest.height), paused: false, priority, ...(fps < Infinity && { fps }) };
  }
}

/**
 * @param {Element} element
 * @param {Watched} watched
 */
function isSeen(element, { intersecting, width, height }) {
  const floating = document.pictureInPictureElement;
  if (floating && element.contains(floating)) return true;
  return intersecting === true && !document.hidden && width > 0 && height > 0;
}

/**
 * The size of the whole picture, of which an element that it covers shows a part.
 * @param {Element} element
 * @param {Watched} watched
 */
function wholeOf(element, { width, height }) {
  const video = /** @type {HTMLVideoElement} */ (element.querySelector('video') ?? element);
  // NaN before there is a picture, and of what is no video.
  const shape = getComputedStyle(video).objectFit === 'cover' ? Math.round((SHAPES * video.videoWidth) / video.videoHeight) / SHAPES : 0;
  return shape > 0 && { width: Math.max(width, height * shape), height: Math.max(height, width / shape) };
}

/** @param {number} pixels */
function devicePixels(pixels) {
  return Math.min(PIXELS_MAX, Math.ceil(pixels * devicePixelRatio));
}
