/**
 * @module
 * Small layers of a camera that nobody watches rest without an end. Chromium begins all encodings of a camera anew when one is switched on (`active`), in VP8
 * also when all but one are switched off, and everybody sees two coarse seconds. One that is given less than a kilobit a second sends nothing at all, and goes on with a keyframe.
 */

/** Most bits per second: libwebrtc counts in thousands. */
const SILENT = 1;
/** How often the browser is asked whether the others still come. */
const LOOK_MS = 300;
/** They do not when nothing was sent for so long of so many pictures: an encoder alone leaves out fewer. */
const [STOPPED_MS, STOPPED_FRAMES] = [600, 3];
/** The uplink is wide again when so much of what is wanted was sent for so many looks. Alone, an encoding that was made smaller grows again slowly. */
const [FULL, FULL_LOOKS] = [0.95, 10];

/** The own limits of the encodings. @type {WeakMap<RTCRtpSender, (number | undefined)[]>} */
const limits = new WeakMap();
/**
 * Senders whose uplink has no room for the least that one encoding among several takes; alone it makes do with less, so the others are ended.
 * @type {WeakSet<RTCRtpSender>}
 */
const narrow = new WeakSet();
/** @type {WeakSet<RTCRtpSender>} */
const watched = new WeakSet();

/** @type {(encoding: RTCRtpEncodingParameters) => boolean} */
const isSilent = ({ active, maxBitrate }) => active === true && maxBitrate === SILENT;

/**
 * Lets those below the largest that is sent rest so. Those above it are ended: what is left of the uplink would be theirs.
 * @param {RTCRtpSender} sender
 * @param {RTCRtpEncodingParameters[]} encodings
 * @param {() => Promise<void>} again applies all of it again
 */
export function restSilently(sender, encodings, again) {
  // Only Chromium has this, and only of it was this tried.
  if (encodings.length < 2 || !('userAgentData' in navigator)) return false;
  const own = limits.get(sender) ?? encodings.map(({ maxBitrate }) => maxBitrate);
  limits.set(sender, own);
  const highest = narrow.has(sender) ? 0 : encodings.map(({ active }) => active).lastIndexOf(true);
  let changed = false;
  for (const [index, encoding] of encodings.entries()) {
    const silent = !encoding.active && index < highest;
    const most = silent ? SILENT : own[index];
    encoding.active ||= silent;
    changed ||= most !== encoding.maxBitrate;
    encoding.maxBitrate = most;
    if (silent && !watched.has(sender)) watch(sender, again);
  }
  return changed;
}

/**
 * @param {RTCRtpSender} sender
 * @param {() => Promise<void>} again
 */
function watch(sender, again) {
  watched.add(sender);
  let [sent, seen, since, full] = [-1, 0, 0, 0];
  const timer = setInterval(async () => {
    if ((sender.transport?.state ?? 'closed') === 'closed') return clearInterval(timer);
    const { encodings } = sender.getParameters();
    const rests = encodings.some(isSilent);
    if (!rests && !narrow.has(sender)) return void (sent = -1);
    const stats = await sender.getStats().catch(() => []);
    const all = /** @type {any[]} */ ([...stats.values()]);
    /** @type {(type: string, name: string) => number} */
    const sum = (type, name) => all.reduce((before, one) => before + ((one.type === type && one[name]) || 0), 0);
    const [encoded, frames] = [sum('outbound-rtp', 'framesEncoded'), sum('media-source', 'frames')];
    const now = performance.now();
    // A camera that was switched on again counts from the start.
    if (encoded !== sent || frames < seen) [sent, seen, since] = [encoded, frames, now];
    const most = encodings.reduce((before, { active, maxBitrate = Infinity }) => before + (active ? maxBitrate : 0), 0);
    full = sum('outbound-rtp', 'targetBitrate') >= FULL * most ? full + 1 : 0;
    if (narrow.has(sender)) {
      // Another change may have come in between.
      if (rests) return again();
      if (full < FULL_LOOKS) return;
      narrow.delete(sender);
    } else {
      if (now - since < STOPPED_MS || frames - seen < STOPPED_FRAMES) return;
      narrow.add(sender);
      full = 0;
    }
    await again();
  }, LOOK_MS);
}
