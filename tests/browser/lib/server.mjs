/** The server under test: the development binary with its default command line, in the namespace of tests/ns.sh. */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

const TOP = fileURLToPath(new URL('../../../', import.meta.url));
export const BINARY = process.env.SWITCHYARD ?? `${TOP}target/debug/switchyard`;
const URL_DEFAULT = 'http://127.0.0.1:8080';
/** Screenshots and server logs, not kept in git. */
export const OUT = `${TOP}tests/.out/`;

/** Whether somebody accepts connections there. */
function listening({ hostname, port }) {
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/**
 * @param {string[]} [args] more than the default command line
 * @param {string} [url] where those arguments make it answer
 * @param {Record<string, string>} [env] more than the environment here
 * @returns {Promise<{url: string, pid: number, log: () => string, stop: () => Promise<void>}>}
 */
export async function startServer(args = [], url = URL_DEFAULT, env = {}) {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run tests/run browser, or cargo build`);
  if (!('v0' in networkInterfaces())) throw new Error('run this in the namespace: tests/ns.sh node --test tests/browser/');
  mkdirSync(OUT, { recursive: true });
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { SWITCHYARD_DRAIN: '0', ...process.env, NO_COLOR: '1', ...env } });
  let log = '';
  const file = createWriteStream(`${OUT}${basename(process.argv[1] ?? 'server', '.test.mjs')}-server.log`, { flags: 'a' });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      log += data;
      file.write(data);
    });
  }
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGTERM');
    const forced = setTimeout(() => child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(forced);
  };
  try {
    await until('the server to answer', async () => {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${log}`);
      return listening(new URL(url));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, pid: child.pid, log: () => log, stop };
}
