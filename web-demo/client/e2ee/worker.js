/**
 * @module
 * The worker through which every frame goes: seals what leaves, opens what comes, and says of each slot whether it could. Frames that cannot be
 * opened end here, for a decoder would make noise of them.
 */
import { Sealer, openFrame } from './frame.js';
import { KeyRing } from './keys.js';

/** @typedef {{data: ArrayBuffer, getMetadata: () => {contributingSources?: number[]}}} EncodedFrame */
/** @typedef {{readable: ReadableStream<EncodedFrame>, writable: WritableStream<EncodedFrame>, options: Options}} Transformer */
/** @typedef {{side: 'send', codec: import('./formats.js').SealedCodec, bits: import('./keys.js').KeyBits} | {side: 'receive', slot: number}} Options */
/** @typedef {{type: 'set', id: number, secret: CryptoKey, use: boolean} | {type: 'use', id: number}} Order */
/** @typedef {{slot: number, number: number, readable: boolean}} Report `number`: the track's, 0 where the browser does not say */

/** So many frames in a row are no accident. */
const FAILURES_MAX = 3;

const keys = new KeyRing();
const scope = /** @type {any} */ (globalThis);

scope.postMessage({ started: true });

scope.onmessage = (/** @type {MessageEvent<Order>} */ { data }) => {
  if (data.type === 'set') keys.set(data.id, data.secret);
  if (data.type === 'use' || data.use) keys.use(data.id, performance.now());
};

scope.onrtctransform = (/** @type {{transformer: Transformer}} */ { transformer }) => {
  const { readable, writable, options } = transformer;
  const transform = options.side === 'send' ? sealing(options) : opening(options);
  // It ends with its section.
  readable.pipeThrough(new TransformStream({ transform })).pipeTo(writable).catch(() => undefined);
};

/**
 * @param {{codec: import('./formats.js').SealedCodec, bits: import('./keys.js').KeyBits}} options
 * @returns {TransformerTransformCallback<EncodedFrame, EncodedFrame>}
 */
function sealing({ codec, bits }) {
  const sealer = new Sealer(keys, codec, bits);
  return async (frame, controller) => {
    if (frame.data.byteLength === 0) return;
    const sealed = await sealer.seal(new Uint8Array(frame.data), performance.now());
    if (!sealed) return;
    frame.data = sealed.buffer;
    controller.enqueue(frame);
  };
}

/**
 * @param {{slot: number}} options
 * @returns {TransformerTransformCallback<EncodedFrame, EncodedFrame>}
 */
function opening({ slot }) {
  /** What was said last. */
  let [number, told, failures] = [0, /** @type {boolean | null} */ (null), 0];
  return async (frame, controller) => {
    // Another track has come into the slot: the packets say so themselves.
    const of = frame.getMetadata().contributingSources?.[0] ?? 0;
    if (of !== number) [number, told, failures] = [of, null, 0];
    const opened = await openFrame(keys, new Uint8Array(frame.data), performance.now());
    failures = opened ? 0 : failures + 1;
    const readable = opened !== null;
    if (readable !== told && (readable || failures >= FAILURES_MAX)) {
      told = readable;
      scope.postMessage({ slot, number, readable });
    }
    if (!opened) return;
    frame.data = opened.buffer;
    controller.enqueue(frame);
  };
}
