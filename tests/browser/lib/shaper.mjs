/** A narrow link before one browser: `switchyard-bench shape` between it and the server's media port, and an answer that leads there. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

const BINARY = process.env.SWITCHYARD_BENCH ?? fileURLToPath(new URL('../../../target/debug/switchyard-bench', import.meta.url));
/** Of v0 in tests/ns.sh. */
const HOST = '10.99.0.1';
/** Of the one worker of a server started with `--workers 1`. */
export const MEDIA_PORT = 8080;

/** @type {Set<Shaper>} */
const shapers = new Set();
after(() => shapers.forEach((shaper) => shaper.stop()));

export class Shaper {
  #child;
  #lines;
  port = 0;

  constructor(child) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /**
   * @param {{to?: number, down?: string, up?: string, seed?: number}} [options] links as the command line takes them: `rate=300k delay=50ms loss=0.02`
   */
  static async start({ to = MEDIA_PORT, down = 'rate=100M', up = 'rate=100M', seed = 1 } = {}) {
    if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run tests/run browser, or cargo build -p switchyard-bench`);
    const args = ['shape', '--listen', `${HOST}:0`, '--to', `${HOST}:${to}`, '--down', down, '--up', up, '--seed', String(seed)];
    const child = spawn(BINARY, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      // A link does not wait until encoders leave it a processor; where that may not be asked for, it has to.
      setPriority(child.pid, -10);
    } catch {}
    const shaper = new Shaper(child);
    shapers.add(shaper);
    shaper.port = Number((await shaper.#answer()).split(':').at(-1));
    return shaper;
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the shaper ended');
    if (value.startsWith('error')) throw new Error(value);
    return value;
  }

  /**
   * Changes the link: `down rate=300k`, `both delay=50ms`.
   * @param {string} line
   */
  async set(line) {
    this.#child.stdin.write(`${line}\n`);
    await this.#answer();
  }

  /**
   * What passed since the last time.
   * @returns {Promise<{clients: number} & Record<'down' | 'up', {rate: number, packets: number, bytes: number, dropped: number, lost: number, queue_ms: number, queue_ms_max: number}>>}
   */
  async stats() {
    this.#child.stdin.write('stats\n');
    return JSON.parse(await this.#answer());
  }

  stop() {
    this.#child.stdin.end();
    shapers.delete(this);
  }
}

/** Runs in the page before its scripts: of the candidates in an answer only UDP is left, on another port. */
export function leadThrough(port) {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    const lines = description.sdp.split('\r\n').flatMap((line) => {
      if (!line.startsWith('a=candidate:')) return [line];
      const words = line.split(' ');
      if (words[2].toLowerCase() !== 'udp') return [];
      words[5] = String(port);
      return [words.join(' ')];
    });
    return setRemoteDescription.call(this, { type: description.type, sdp: lines.join('\r\n') });
  };
}
