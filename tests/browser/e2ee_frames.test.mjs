/** Sealed frames without a browser: the format against Node's own cryptography, what stays open, and what is refused. */
import assert from 'node:assert/strict';
import { createDecipheriv, hkdfSync, pbkdf2Sync } from 'node:crypto';
import { test } from 'node:test';
import { escape, openBytes, unescape } from '../../web-demo/client/e2ee/formats.js';
import { Sealer, openFrame } from '../../web-demo/client/e2ee/frame.js';
import { KeyRing, secretOf, secretOfPassphrase } from '../../web-demo/client/e2ee/keys.js';

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => i);
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bytes = (text) => new Uint8Array(Buffer.from(text.replace(/ /g, ''), 'hex'));
const keyOf = (secret, sender, bits) => Buffer.from(hkdfSync('sha256', secret, sender, `switchyard frame key 1 ${bits}`, bits / 8));

const KEYFRAME_VP8 = bytes('10 02 00 9d 01 2a 80 02 68 01 aa bb cc dd');
const DELTA_VP8 = bytes('31 02 00 77 66 55');
/** Sequence and picture parameter set, then an IDR slice whose body has zeros. */
const KEYFRAME_H264 = bytes('00000001 6742e01f 00000001 68ce3c80 000001 65 8884 00000302 0000030001 ff00');
const FRAMES = { opus: bytes('fc 01 02 03'), vp8: KEYFRAME_VP8, vp9: bytes('82 49 83 42'), h264: KEYFRAME_H264 };

async function ring(secrets, use) {
  const keys = new KeyRing();
  for (const [id, secret] of Object.entries(secrets)) keys.set(Number(id), await secretOf(secret));
  if (use !== undefined) keys.use(use, 0);
  return keys;
}

/** Key id 5 of SECRET, sender 0102030405060708, counter 7; made with OpenSSL. Open bytes and plain text, sealed frame. */
const KNOWN = [
  ['fc 010203', 'fc62ccc99d363d389005641d06d68458ab69e11d00000007010203040506070805e0'],
  ['fc 010203', 'fca6ca2654838417bcfbc3ab74a7fd3d7463978400000007010203040506070805e8'],
  ['310200 776655', '31020014a89fcf021a9a44be37c5a1dbd0da35bdf59a00000007010203040506070805e1'],
  ['82498342', 'e18749e250319340999488096379505d226130f700000007010203040506070805e2'],
];

test('frames that other software has sealed are opened', async () => {
  const keys = await ring({ 5: SECRET });
  for (const [plain, sealed] of KNOWN) assert.equal(hex(await openFrame(keys, bytes(sealed), 0)), hex(bytes(plain)));
});

test('a passphrase gives the secret that PBKDF2 of others gives', async () => {
  const keys = new KeyRing();
  keys.set(0, await secretOfPassphrase('Caf\u0065\u0301', 'demo'));
  keys.use(0, 0);
  const secret = pbkdf2Sync('Caf\u00e9', 'switchyard demo', 600_000, 32, 'sha256');
  const others = await ring({ 0: secret });
  const sealed = await new Sealer(keys, 'opus', 128).seal(FRAMES.opus, 0);
  assert.equal(hex(await openFrame(others, sealed, 0)), hex(FRAMES.opus));
});

for (const [codec, frame] of Object.entries(FRAMES)) {
  for (const bits of [128, 256]) {
    test(`${codec} with ${bits} bits: sealed, different each time, and the same again when opened`, async () => {
      const keys = await ring({ 3: SECRET }, 3);
      const sealer = new Sealer(keys, codec, bits);
      const [one, other] = [await sealer.seal(frame, 0), await sealer.seal(frame, 0)];
      const open = openBytes(codec, frame);
      assert.equal(hex(one.subarray(0, open)), hex(frame.subarray(0, open)));
      assert.notEqual(hex(one.subarray(open, frame.length)), hex(other.subarray(open, frame.length)));
      for (const sealed of [one, other]) assert.equal(hex(await openFrame(keys, sealed, 0)), hex(frame));
    });
  }
}

test('what stays open: ten and three bytes of VP8, one of Opus, nothing of VP9, H.264 up to its first slice', () => {
  const open = Object.entries(FRAMES).map(([codec, frame]) => openBytes(codec, frame));
  // The slice's header begins at 18; two bytes follow.
  assert.deepEqual(open, [1, 10, 0, 22]);
  assert.equal(openBytes('vp8', DELTA_VP8), 3);
  assert.equal(openBytes('vp8', new Uint8Array(2)), 2);
});

test('the counter is the IV and goes up by one; the sender is random and the key is its own', async () => {
  const keys = await ring({ 0: SECRET }, 0);
  const sealers = [new Sealer(keys, 'vp9', 128), new Sealer(keys, 'vp9', 128)];
  const senders = new Set();
  for (const sealer of sealers) {
    for (const counter of [0, 1, 2]) {
      const sealed = await sealer.seal(FRAMES.vp9, 0);
      const trailer = sealed.subarray(-14);
      assert.equal(new DataView(trailer.slice().buffer).getUint32(0), counter);
      senders.add(hex(trailer.subarray(4, 12)));
      const decipher = createDecipheriv('aes-128-gcm', keyOf(SECRET, trailer.subarray(4, 12), 128), bytes(`0000000000000000 0000000${counter}`));
      decipher.setAAD(trailer).setAuthTag(sealed.subarray(-30, -14));
      assert.equal(hex(Buffer.concat([decipher.update(sealed.subarray(0, -30)), decipher.final()])), hex(FRAMES.vp9));
    }
  }
  assert.equal(senders.size, 2);
});

test('a changed bit anywhere is noticed', async () => {
  const keys = await ring({ 0: SECRET }, 0);
  for (const [codec, frame] of Object.entries(FRAMES)) {
    const sealed = await new Sealer(keys, codec, 128).seal(frame, 0);
    // Parameter sets of H.264 may be written anew on the way.
    const first = codec === 'h264' ? 19 : 0;
    for (let at = first; at < sealed.length; at++) {
      const changed = sealed.slice();
      changed[at] ^= 0x10;
      assert.equal(await openFrame(keys, changed, 0), null, `${codec} ${at}`);
    }
    for (const length of [0, 1, 13, 14, 30]) assert.equal(await openFrame(keys, sealed.slice(0, length), 0), null);
  }
});

test('without the key, or with another one, nothing is opened; without any nothing is sealed', async () => {
  const sealed = await new Sealer(await ring({ 0: SECRET }, 0), 'vp8', 128).seal(KEYFRAME_VP8, 0);
  assert.equal(await openFrame(await ring({}), sealed, 0), null);
  assert.equal(await openFrame(await ring({ 1: SECRET }), sealed, 0), null);
  assert.equal(await openFrame(await ring({ 0: SECRET.map((byte) => byte ^ 1) }), sealed, 0), null);
  assert.equal(await openFrame(await ring({ 0: SECRET }), KEYFRAME_VP8, 0), null);
  assert.equal(await new Sealer(await ring({ 0: SECRET }), 'vp8', 128).seal(KEYFRAME_VP8, 0), null);
});

test('after a change of keys the one before opens for a minute, and one that comes first is no hurry', async () => {
  const keys = await ring({ 0: SECRET, 1: SECRET.map((byte) => byte ^ 1) }, 0);
  const sealer = new Sealer(keys, 'opus', 128);
  const before = await sealer.seal(FRAMES.opus, 0);
  keys.use(1, 1000);
  const after = await sealer.seal(FRAMES.opus, 1000);
  assert.deepEqual([before, after].map((sealed) => sealed[sealed.length - 2]), [0, 1]);
  for (const sealed of [before, after]) assert.ok(await openFrame(keys, sealed, 61_000));
  assert.equal(await openFrame(keys, before, 61_001), null);
  assert.ok(await openFrame(keys, after, 1e9));
});

test('sealed H.264 has no start code but its own, whatever the cipher says', async () => {
  for (let size = 1; size <= 4; size++) {
    for (let value = 0; value < 5 ** size; value++) {
      const body = Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 5 ** i) % 5);
      for (const before of ['01', '0100', '010000']) {
        const escaped = escape(body, bytes(before));
        assert.doesNotMatch(hex(bytes(before)) + hex(escaped), /^(..)*0000(00|01|02)/);
        assert.equal(hex(unescape(escaped, bytes(before))), hex(body));
      }
    }
  }
  const keys = await ring({ 0: SECRET }, 0);
  const sealer = new Sealer(keys, 'h264', 128);
  const large = new Uint8Array(200_000);
  large.set(KEYFRAME_H264);
  const sealed = await sealer.seal(large, 0);
  assert.equal(hex(sealed).slice(2 * 19).match(/^(?:..)*?00000[012]/), null);
  assert.notEqual(sealed[sealed.length - 1], 0);
  assert.equal(hex(await openFrame(keys, sealed, 0)), hex(large));
});

test('senders that are made up are not kept', async () => {
  const keys = await ring({ 0: SECRET });
  const sender = (i) => new Uint8Array(new BigUint64Array([BigInt(i)]).buffer);
  const first = keys.key(0, sender(0), 128, 0);
  assert.equal(keys.key(0, sender(0), 128, 0), first);
  for (let i = 1; i <= 256; i++) keys.key(0, sender(i), 128, 0);
  assert.notEqual(keys.key(0, sender(0), 128, 0), first);
});
