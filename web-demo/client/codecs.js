/**
 * @module
 * Which codecs, header extensions and encodings this client offers. Trimmed, because an untrimmed Chromium video section
 * is 5 KB and a large room has dozens of them.
 */

/** @typedef {'vp8' | 'h264' | 'vp9' | 'av1'} VideoCodec */
/** @typedef {{rid: string, width: number, height: number}} LayerSize */
/** @typedef {RTCRtpEncodingParameters & {scalabilityMode?: string}} LayeredEncoding of w3c.github.io/webrtc-svc */

/** @type {Record<VideoCodec, (codec: RTCRtpCodec) => boolean>} */
const MATCHES = {
  vp8: (codec) => mime(codec) === 'video/vp8',
  h264: (codec) =>
    mime(codec) === 'video/h264' &&
    parameter(codec, 'packetization-mode') === '1' &&
    (parameter(codec, 'profile-level-id') ?? '').toLowerCase().startsWith('42e0'),
  vp9: (codec) => mime(codec) === 'video/vp9' && (parameter(codec, 'profile-id') ?? '0') === '0',
  av1: (codec) => mime(codec) === 'video/av1' && (parameter(codec, 'profile') ?? '0') === '0',
};

/**
 * Extensions that every section asks for. Chromium leaves out of new sections what an earlier answer did not take, and an
 * answer to receiving sections takes no rids: without asking, simulcast published later would be refused by Chromium itself.
 */
const WANTED_EXTENSIONS = [
  'sdes:mid',
  'sdes:rtp-stream-id',
  'sdes:repaired-rtp-stream-id',
  'transport-wide-cc-extensions-01',
  'abs-send-time',
  'ssrc-audio-level',
  'video-orientation',
  'playout-delay',
];
/** Says which layer a packet is of: every receiver may get such a picture, and only a picture in layers is sent with it, as it is large. */
const LAYER_EXTENSION = 'dependency-descriptor-rtp-header-extension';
/** Extensions that say nothing to an SFU or to the receivers behind it. */
const UNUSED_EXTENSIONS = ['toffset', 'video-content-type', 'video-timing', 'color-space'];

/** Bits per second by source and scale; the top one is what 720p at 30 fps needs. */
const CAMERA_LAYERS = [
  { rid: 'q', scale: 4, maxBitrate: 150_000 },
  { rid: 'h', scale: 2, maxBitrate: 500_000 },
  { rid: 'f', scale: 1, maxBitrate: 1_700_000 },
];
const SCREEN_MAX_BITRATE = 2_500_000;
const SIMULCAST_MIN_WIDTH = 960;
/** What is to be read loses frames before it loses sharpness: on a narrow link every second or fourth comes. */
const SCREEN_MODE = 'L1T3';

/**
 * @param {RTCRtpTransceiver} transceiver one that only receives
 * @param {'audio' | 'video'} kind
 */
export function trimReceiver(transceiver, kind) {
  prefer(transceiver, capabilities(RTCRtpReceiver, kind), ['vp8', 'h264', 'vp9', 'av1'], /rtx/);
  trimExtensions(transceiver, kind === 'video');
}

/**
 * Offers the one video codec wanted (or Opus), and FEC for it.
 * @param {RTCRtpTransceiver} transceiver one that only sends
 * @param {'audio' | 'video'} kind
 * @param {VideoCodec} codec
 * @param {boolean} layered one stream has several layers
 */
export function trimSender(transceiver, kind, codec, layered) {
  prefer(transceiver, capabilities(RTCRtpSender, kind), [codec], /rtx|video.red|ulpfec/);
  trimExtensions(transceiver, layered);
}

/**
 * The wanted codec if this browser can send it, else VP8, which every browser can.
 * @param {VideoCodec} wanted
 * @returns {VideoCodec}
 */
export function sendableCodec(wanted) {
  return capabilities(RTCRtpSender, 'video').some(MATCHES[wanted]) ? wanted : 'vp8';
}

/**
 * Encodings to publish a track with, lowest first. Simulcast only for cameras large enough for it, and not beside layers inside
 * the one stream: what several encodings of VP9 mean differs between browsers.
 * @param {MediaStreamTrack} track
 * @param {{source: string, simulcast: boolean, codec: VideoCodec, scalabilityMode?: string, maxBitrate?: number}} options
 * @returns {{encodings: LayeredEncoding[], layers: LayerSize[]}}
 */
export function encodingsFor(track, { source, simulcast, codec, scalabilityMode, maxBitrate }) {
  if (track.kind === 'audio') return { encodings: [maxBitrate ? { maxBitrate } : {}], layers: [] };
  const { width = 1280, height = 720 } = track.getSettings();
  const top = maxBitrate ?? (source === 'camera' ? CAMERA_LAYERS[2].maxBitrate : SCREEN_MAX_BITRATE);
  const mode = scalabilityMode ?? (source === 'screen_share' && !simulcast && codec !== 'h264' ? SCREEN_MODE : undefined);
  if (mode) return { encodings: [{ maxBitrate: top, scalabilityMode: mode }], layers: [] };
  if (!simulcast || codec === 'vp9' || Math.max(width, height) < SIMULCAST_MIN_WIDTH) {
    return { encodings: [{ maxBitrate: top }], layers: [] };
  }
  const encodings = CAMERA_LAYERS.map(({ rid, scale, maxBitrate: most }) => ({
    rid,
    scaleResolutionDownBy: scale,
    maxBitrate: scale === 1 ? top : Math.min(most, top),
    // Of AV1 without a mode Chromium sends the first encoding only.
    ...(codec === 'av1' && { scalabilityMode: 'L1T3' }),
  }));
  const layers = CAMERA_LAYERS.map(({ rid, scale }) => ({
    rid,
    width: Math.round(width / scale),
    height: Math.round(height / scale),
  }));
  return { encodings, layers };
}

/**
 * Whether a stream has layers inside that its packets have to name: VP8 names them in its payload.
 * @param {LayeredEncoding[]} encodings
 * @param {VideoCodec} codec
 */
export function isLayered(encodings, codec) {
  return codec !== 'vp8' && encodings.some(({ scalabilityMode }) => scalabilityMode !== undefined);
}

/**
 * @param {typeof RTCRtpSender | typeof RTCRtpReceiver} side
 * @param {'audio' | 'video'} kind
 */
function capabilities(side, kind) {
  return side.getCapabilities(kind)?.codecs ?? [];
}

/**
 * Opus with its RED, or video.
 * @param {RTCRtpTransceiver} transceiver
 * @param {RTCRtpCodec[]} all of one kind
 * @param {VideoCodec[]} wanted in order of preference
 * @param {RegExp} beside what repairs and protects them
 */
function prefer(transceiver, all, wanted, beside) {
  let codecs = ['audio/opus', 'audio/red'].flatMap((name) => all.filter((codec) => mime(codec) === name));
  if (codecs.length === 0) codecs = wanted.flatMap((name) => all.filter(MATCHES[name]));
  try {
    if (codecs.length > 0) transceiver.setCodecPreferences([...codecs, ...all.filter((codec) => beside.test(mime(codec)))]);
  } catch (error) {
    // An untrimmed offer is larger, not wrong.
    console.warn('switchyard: codec preferences were refused', error);
  }
}

/**
 * Only Chromium can choose its header extensions.
 * @param {RTCRtpTransceiver & {
 *   getHeaderExtensionsToNegotiate?: () => {uri: string, direction: RTCRtpTransceiverDirection}[],
 *   setHeaderExtensionsToNegotiate?: (extensions: {uri: string, direction: RTCRtpTransceiverDirection}[]) => void,
 * }} transceiver
 * @param {boolean} layered
 */
function trimExtensions(transceiver, layered) {
  if (!transceiver.getHeaderExtensionsToNegotiate || !transceiver.setHeaderExtensionsToNegotiate) return;
  const extensions = transceiver.getHeaderExtensionsToNegotiate();
  for (const extension of extensions) {
    if (WANTED_EXTENSIONS.some((name) => extension.uri.endsWith(name))) extension.direction = 'sendrecv';
    if (UNUSED_EXTENSIONS.some((name) => extension.uri.endsWith(name))) extension.direction = 'stopped';
    if (extension.uri.endsWith(LAYER_EXTENSION)) extension.direction = layered ? 'sendrecv' : 'stopped';
  }
  try {
    transceiver.setHeaderExtensionsToNegotiate(extensions);
  } catch (error) {
    console.warn('switchyard: header extensions could not be trimmed', error);
  }
}

/** @param {RTCRtpCodec} codec */
function mime(codec) {
  return codec.mimeType.toLowerCase();
}

/**
 * @param {RTCRtpCodec} codec
 * @param {string} name
 */
function parameter(codec, name) {
  for (const part of (codec.sdpFmtpLine ?? '').split(';')) {
    const [key, value] = part.split('=');
    if (key.trim() === name) return (value ?? '').trim();
  }
  return undefined;
}
