/**
 * @module
 * QR codes (ISO/IEC 18004) of links, made in the page: the passphrase of an encrypted meeting is in its link, and leaves the browser in no other way.
 * Bytes, error correction level M.
 */

/** By version from 1: check bytes of a block, and how many blocks there are. */
const CHECK_BYTES = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28, 28];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21];
const VERSION_MAX = CHECK_BYTES.length;
/** What a mask turns over: where it is 0. @type {((x: number, y: number) => number)[]} */
const MASKS = [
  (x, y) => (x + y) % 2,
  (_, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

/** Powers of 2 in the field of 256 elements, and their logarithms. */
const [EXP, LOG] = [new Uint8Array(255), new Uint8Array(256)];
for (let power = 0, value = 1; power < 255; power++) {
  EXP[power] = value;
  LOG[value] = power;
  value = value & 0x80 ? (value << 1) ^ 0x11d : value << 1;
}
/** @param {number} a @param {number} b */
const times = (a, b) => (a === 0 || b === 0 ? 0 : EXP[(LOG[a] + LOG[b]) % 255]);

/**
 * Rows of modules, true for dark; null for what is too long.
 * @param {string} text
 * @returns {boolean[][] | null}
 */
export function qrCode(text) {
  const bytes = new TextEncoder().encode(text);
  let version = 1;
  while (version <= VERSION_MAX && dataBytes(version) * 8 < 4 + lengthBits(version) + bytes.length * 8) version++;
  if (version > VERSION_MAX) return null;
  const bits = withChecks(dataOf(bytes, version), version);
  const codes = MASKS.map((_, mask) => draw(version, bits, mask));
  return codes.reduce((best, one) => (penalty(one) < penalty(best) ? one : best));
}

/** @param {number} version */
const sizeOf = (version) => 17 + 4 * version;
/** @param {number} version */
const lengthBits = (version) => (version < 10 ? 8 : 16);

/** All bytes of a code, the checks among them. @param {number} version */
function allBytes(version) {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const lines = Math.floor(version / 7) + 2;
    modules -= (25 * lines - 10) * lines - 55;
  }
  return (modules - (version >= 7 ? 36 : 0)) >> 3;
}

/** @param {number} version */
function dataBytes(version) {
  return allBytes(version) - CHECK_BYTES[version - 1] * BLOCKS[version - 1];
}

/** @param {Uint8Array} bytes @param {number} version */
function dataOf(bytes, version) {
  /** @type {number[]} */
  const bits = [];
  const put = /** @param {number} value @param {number} count */ (value, count) => {
    for (let bit = count - 1; bit >= 0; bit--) bits.push((value >> bit) & 1);
  };
  put(0b0100, 4);
  put(bytes.length, lengthBits(version));
  for (const byte of bytes) put(byte, 8);
  const capacity = dataBytes(version) * 8;
  put(0, Math.min(4, capacity - bits.length));
  put(0, (8 - (bits.length % 8)) % 8);
  for (let filler = 0xec; bits.length < capacity; filler ^= 0xec ^ 0x11) put(filler, 8);
  return Array.from({ length: capacity / 8 }, (_, at) => bits.slice(at * 8, at * 8 + 8).reduce((byte, bit) => (byte << 1) | bit, 0));
}

/** The data in blocks with their checks, interleaved, as bits. @param {number[]} data @param {number} version */
function withChecks(data, version) {
  const [checks, count, all] = [CHECK_BYTES[version - 1], BLOCKS[version - 1], allBytes(version)];
  const short = Math.floor(all / count) - checks;
  const shortBlocks = count - (all % count);
  const blocks = [];
  for (let at = 0, block = 0; block < count; block++) {
    const length = short + (block < shortBlocks ? 0 : 1);
    blocks.push(data.slice(at, at + length));
    at += length;
  }
  const divisor = generator(checks);
  const remainders = blocks.map((block) => remainder(block, divisor));
  const bytes = [];
  for (let at = 0; at <= short; at++) for (const block of blocks) if (at < block.length) bytes.push(block[at]);
  for (let at = 0; at < checks; at++) for (const rest of remainders) bytes.push(rest[at]);
  return bytes.flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => ((byte >> bit) & 1) === 1));
}

/** Without its leading 1, highest power first. @param {number} degree */
function generator(degree) {
  let polynomial = [1];
  for (let root = 0; root < degree; root++) {
    const shifted = [...polynomial, 0];
    polynomial = shifted.map((value, at) => value ^ (at > 0 ? times(polynomial[at - 1], EXP[root]) : 0));
  }
  return polynomial.slice(1);
}

/** @param {number[]} data @param {number[]} divisor */
function remainder(data, divisor) {
  const rest = divisor.map(() => 0);
  for (const byte of data) {
    const factor = byte ^ /** @type {number} */ (rest.shift());
    rest.push(0);
    for (const [at, value] of divisor.entries()) rest[at] ^= times(value, factor);
  }
  return rest;
}

/** @param {number} version @param {boolean[]} bits @param {number} mask */
function draw(version, bits, mask) {
  const size = sizeOf(version);
  const rows = Array.from({ length: size }, () => /** @type {(boolean | null)[]} */ (Array(size).fill(null)));
  const set = /** @param {number} x @param {number} y @param {boolean} dark */ (x, y, dark) => {
    if (rows[y]?.[x] !== undefined) rows[y][x] = dark;
  };
  drawPatterns(size, version, set);
  drawFormat(size, mask, set);
  if (version >= 7) drawVersion(size, version, set);
  let next = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    // The column of the timing pattern is left out.
    if (right === 6) right = 5;
    const upward = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step++) {
      const y = upward ? size - 1 - step : step;
      for (const x of [right, right - 1]) if (rows[y][x] === null) rows[y][x] = (bits[next++] ?? false) !== (MASKS[mask](x, y) === 0);
    }
  }
  return rows.map((row) => row.map((dark) => dark === true));
}

/** @typedef {(x: number, y: number, dark: boolean) => void} Set */

/** What readers look for. @param {number} size @param {number} version @param {Set} set */
function drawPatterns(size, version, set) {
  for (let at = 0; at < size; at++) {
    set(6, at, at % 2 === 0);
    set(at, 6, at % 2 === 0);
  }
  const square = /** @param {number} x @param {number} y @param {number} reach @param {(far: number) => boolean} dark */ (x, y, reach, dark) => {
    for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) set(x + dx, y + dy, dark(Math.max(Math.abs(dx), Math.abs(dy))));
  };
  for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) square(x, y, 4, (far) => far !== 2 && far !== 4);
  const lines = version === 1 ? [] : alignments(size, version);
  const last = lines.length - 1;
  for (const [column, x] of lines.entries()) {
    for (const [row, y] of lines.entries()) {
      const corner = (column === 0 && (row === 0 || row === last)) || (column === last && row === 0);
      if (!corner) square(x, y, 2, (far) => far !== 1);
    }
  }
}

/** @param {number} size @param {number} version */
function alignments(size, version) {
  const count = Math.floor(version / 7) + 2;
  const step = Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  return [6, ...Array.from({ length: count - 1 }, (_, at) => size - 7 - at * step).reverse()];
}

/** Twice: level M, the mask, and their checks. @param {number} size @param {number} mask @param {Set} set */
function drawFormat(size, mask, set) {
  const bits = ((mask << 10) | checked(mask, 10, 0x537)) ^ 0x5412;
  const bit = /** @param {number} at */ (at) => ((bits >> at) & 1) === 1;
  for (let at = 0; at < 15; at++) {
    // Both ways around the timing patterns.
    if (at < 8) set(8, at < 6 ? at : at + 1, bit(at));
    else set(at === 8 ? 7 : 14 - at, 8, bit(at));
    if (at < 8) set(size - 1 - at, 8, bit(at));
    else set(8, size - 15 + at, bit(at));
  }
  set(8, size - 8, true);
}

/** @param {number} size @param {number} version @param {Set} set */
function drawVersion(size, version, set) {
  const bits = (version << 12) | checked(version, 12, 0x1f25);
  for (let at = 0; at < 18; at++) {
    const [along, across, dark] = [size - 11 + (at % 3), Math.floor(at / 3), ((bits >> at) & 1) === 1];
    set(along, across, dark);
    set(across, along, dark);
  }
}

/** The remainder of a polynomial over two elements. @param {number} value @param {number} degree @param {number} divisor */
function checked(value, degree, divisor) {
  let rest = value;
  for (let step = 0; step < degree; step++) rest = (rest << 1) ^ ((rest >> (degree - 1)) * divisor);
  return rest;
}

/** How hard the code is to read: long runs, squares, what looks like the corners, and too much of one colour. @param {boolean[][]} rows */
function penalty(rows) {
  const size = rows.length;
  const lines = [...rows, ...rows.map((_, x) => rows.map((row) => row[x]))].map((line) => line.map((dark) => (dark ? '1' : '0')).join(''));
  let sum = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) sum += run.length - 2;
    for (const alike of ['10111010000', '00001011101']) sum += 40 * (line.split(alike).length - 1);
  }
  for (let y = 1; y < size; y++) {
    for (let x = 1; x < size; x++) if (rows[y][x] === rows[y - 1][x] && rows[y][x] === rows[y][x - 1] && rows[y][x] === rows[y - 1][x - 1]) sum += 3;
  }
  const dark = rows.flat().filter(Boolean).length / (size * size);
  return sum + 10 * Math.floor(Math.abs(dark - 0.5) * 20);
}
