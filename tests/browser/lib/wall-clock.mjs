/** A wall clock that can be set, for one process and not for the machine. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { OUT } from './server.mjs';

const SOURCE = fileURLToPath(new URL('./wall_clock.c', import.meta.url));

export class WallClock {
  #file = `${OUT}wall-clock-${process.pid}`;
  /** Of the processes that are to have it. */
  env;

  constructor() {
    mkdirSync(OUT, { recursive: true });
    const library = `${this.#file}.so`;
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, SOURCE]);
    this.env = { LD_PRELOAD: library, WALL_CLOCK: this.#file };
    writeFileSync(this.#file, Buffer.alloc(8));
  }

  /** @param {number} seconds ahead of the machine's clock */
  set(seconds) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    // The same file, which is mapped.
    writeFileSync(this.#file, bytes, { flag: 'r+' });
  }
}
