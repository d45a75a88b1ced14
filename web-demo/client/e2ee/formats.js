/**
 * @module
 * What of a frame stays open, by codec: what the packetizers of browsers and the server have to read. In H.264 what is sealed must not look
 * like a start code, so it gets emulation prevention bytes as ITU-T H.264 section 7.4.1 has them.
 */

/** @typedef {'opus' | 'vp8' | 'vp9' | 'h264'} SealedCodec */

/**
 * Last byte of a sealed frame, less 8 with 256-bit keys. None is below 4, which H.264 would put an escape before, and none ends a NAL unit that
 * must not end in zero.
 * @type {Record<SealedCodec, number>}
 */
export const FORMATS = { opus: 0xe0, vp8: 0xe1, vp9: 0xe2, h264: 0xe3 };

/** After the header of a slice: its first macroblock, its type, and the parameter set that receivers look up before they decode. */
const SLICE_BYTES = 2;
const [SLICE, IDR] = [1, 5];

/** Whether frames of this codec can be sealed. AV1's packetizer would have to read what is sealed. @param {string} codec @returns {codec is SealedCodec} */
export function isSealable(codec) {
  return codec in FORMATS;
}

/**
 * Bytes at the begin of the frame that stay open.
 * @param {SealedCodec} codec
 * @param {Uint8Array} frame
 */
export function openBytes(codec, frame) {
  return Math.min(frame.length, { opus: opusBytes, vp8: vp8Bytes, vp9: none, h264: h264Bytes }[codec](frame));
}

/** Of the open bytes, the first that is authenticated: browsers write start codes and parameter sets of H.264 anew. @param {SealedCodec} codec @param {number} open */
export function firstAuthenticated(codec, open) {
  return codec === 'h264' ? Math.max(0, open - SLICE_BYTES - 1) : 0;
}

const none = () => 0;
/** The table of contents (RFC 6716 section 3.1). */
const opusBytes = () => 1;

/** The uncompressed data chunk (RFC 6386 section 9.1): 10 bytes in a keyframe, which the first bit tells by being 0. @param {Uint8Array} frame */
function vp8Bytes(frame) {
  return (frame[0] & 1) === 0 ? 10 : 3;
}

/** Up to the first slice. @param {Uint8Array} frame */
function h264Bytes(frame) {
  for (let at = 0; at + 3 < frame.length; at++) {
    if (frame[at] !== 0 || frame[at + 1] !== 0 || frame[at + 2] !== 1) continue;
    const type = frame[at + 3] & 0x1f;
    if (type >= SLICE && type <= IDR) return at + 4 + SLICE_BYTES;
  }
  return frame.length;
}

/**
 * Puts an emulation prevention byte wherever three bytes would look like the begin of something.
 * @param {Uint8Array} bytes
 * @param {Uint8Array} before what stands before them
 */
export function escape(bytes, before) {
  const escaped = new Uint8Array(bytes.length + Math.ceil(bytes.length / 2) + 1);
  let [length, zeros] = [0, trailingZeros(before)];
  for (const byte of bytes) {
    if (zeros >= 2 && byte <= 3) {
      escaped[length++] = 3;
      zeros = 0;
    }
    escaped[length++] = byte;
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return escaped.subarray(0, length);
}

/**
 * Takes out what `escape` put in.
 * @param {Uint8Array} escaped
 * @param {Uint8Array} before
 */
export function unescape(escaped, before) {
  const bytes = new Uint8Array(escaped.length);
  let [length, zeros] = [0, trailingZeros(before)];
  for (const byte of escaped) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    bytes[length++] = byte;
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return bytes.subarray(0, length);
}

/** @param {Uint8Array} bytes */
function trailingZeros(bytes) {
  let zeros = 0;
  while (zeros < bytes.length && bytes[bytes.length - 1 - zeros] === 0) zeros += 1;
  return zeros;
}
