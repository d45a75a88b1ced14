/** QR codes are read by somebody else's reader; no browser takes part. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { qrCode } from '../../web-demo/qr.js';

const jsQR = createRequire(import.meta.url)('jsqr');
const [SCALE, QUIET] = [3, 4];

/** What a reader makes of the code's picture. */
function read(rows) {
  const side = (rows.length + 2 * QUIET) * SCALE;
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
  for (const [y, row] of rows.entries()) {
    for (const [x, dark] of row.entries()) {
      if (!dark) continue;
      for (let dy = 0; dy < SCALE; dy++) for (let dx = 0; dx < SCALE; dx++) pixels.fill(0, (((y + QUIET) * SCALE + dy) * side + (x + QUIET) * SCALE + dx) * 4, (((y + QUIET) * SCALE + dy) * side + (x + QUIET) * SCALE + dx) * 4 + 3);
    }
  }
  return jsQR(pixels, side, side)?.data;
}

test('links of every length that fits are read', () => {
  const link = 'https://meet.example.org/?room=Überraschung#key=';
  const sizes = new Set();
  for (let length = 0; ; length += 97) {
    const text = link + 'correct horse battery staple '.repeat(50).slice(0, length);
    const code = qrCode(text);
    if (!code) {
      assert.ok(length > 900, `${length} is too long`);
      break;
    }
    sizes.add(code.length);
    assert.equal(read(code), text);
  }
  assert.ok(sizes.size > 8, `${[...sizes]}`);
  assert.equal(read(qrCode('http://[::1]:8080/')), 'http://[::1]:8080/');
});
