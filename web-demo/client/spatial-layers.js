/**
 * @module
 * Spatial layers inside one stream (VP9, AV1) that nobody watches are not sent: `local.options.fewerLayers = fewerLayers` after `publish` with a `scalabilityMode`.
 */

/** @typedef {import('./codecs.js').LayeredEncoding} LayeredEncoding */
/** @typedef {Required<Pick<LayeredEncoding, 'maxBitrate' | 'scalabilityMode' | 'scaleResolutionDownBy'>>} Whole */

/** Spatial and temporal layers of one stream, each half as wide as the next (w3c.github.io/webrtc-svc). */
const MODE = /^L(\d)(T\d)(_.*)?$/;
/** libwebrtc makes one layer of less than twice this, two of less than four times as much, and so on, whatever the mode says. */
const [LAYER_WIDTH, LAYER_HEIGHT] = [240, 135];
/** Most bits per second of a layer, and per pixel of it, as libwebrtc has them for one below others; an only one would take all that there is. */
const [LAYER_BITRATE, PIXEL_BITRATE] = [50_000, 1.6];

/** How each sender's one encoding was before any layer rested. @type {WeakMap<RTCRtpSender, Whole>} */
const wholes = new WeakMap();

/**
 * Leaves out the highest layers: the size is then that of the highest one that is sent. What is not sent at all stays as it is.
 * @type {import('./sending.js').Change}
 */
export function fewerLayers(sender, [encoding], { wanted, own }) {
  if (!encoding?.active || (wanted?.spatial_layers === undefined && !wholes.has(sender))) return false;
  const { maxBitrate = Infinity, scalabilityMode = '', scaleResolutionDownBy = 1 } = /** @type {LayeredEncoding} */ (encoding);
  // What the viewers' links allow is in force already.
  const most = own ? (own.maxBitrate ?? Infinity) : maxBitrate;
  const whole = wholes.get(sender) ?? { maxBitrate: most, scalabilityMode, scaleResolutionDownBy };
  const [, count, temporal, kind = ''] = MODE.exec(whole.scalabilityMode) ?? [];
  if (!count) return false;
  wholes.set(sender, whole);
  const { width = 1280, height = 720 } = sender.track?.getSettings() ?? {};
  const [long, short] = [Math.max(width, height), Math.min(width, height)].map((pixels) => pixels / whole.scaleResolutionDownBy);
  const there = 1 + Math.floor(Math.log2(Math.min(long / LAYER_WIDTH, short / LAYER_HEIGHT)));
  const all = Math.max(1, Math.min(Number(count), there));
  const sent = Math.min(wanted?.spatial_layers ?? all, all);
  const next = { ...whole, maxBitrate: Math.min(whole.maxBitrate, wanted?.max_bitrate ?? Infinity) };
  if (sent < all) {
    next.scalabilityMode = `L${sent}${temporal}${sent > 1 ? kind : ''}`;
    next.scaleResolutionDownBy = whole.scaleResolutionDownBy * 2 ** (all - sent);
    let bitrate = 0;
    for (let scale = next.scaleResolutionDownBy, layer = 0; layer < sent; layer++, scale *= 2) bitrate += LAYER_BITRATE + (PIXEL_BITRATE * width * height) / scale ** 2;
    next.maxBitrate = Math.min(next.maxBitrate, Math.round(bitrate));
  }
  const same = scalabilityMode === next.scalabilityMode && scaleResolutionDownBy === next.scaleResolutionDownBy && maxBitrate === next.maxBitrate;
  Object.assign(encoding, next, { maxBitrate: next.maxBitrate < Infinity ? next.maxBitrate : undefined });
  return !same;
}
