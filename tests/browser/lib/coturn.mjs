/** Debian's TURN and STUN server on the namespace's own address, with a secret as its REST API has it. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { OUT } from './server.mjs';
import { until } from './until.mjs';

export const TURN_ADDRESS = '10.99.0.1:3478';

/**
 * @param {string} secret
 * @returns {Promise<{log: () => string, stop: () => Promise<void>}>}
 */
export async function startCoturn(secret) {
  mkdirSync(OUT, { recursive: true });
  const [ip, port] = TURN_ADDRESS.split(':');
  const args = ['-n', `--listening-ip=${ip}`, `--relay-ip=${ip}`, `--listening-port=${port}`, '--no-tls', '--no-dtls', '--no-cli', '--no-rfc5780'];
  args.push('--use-auth-secret', `--static-auth-secret=${secret}`, '--realm=switchyard.test', '--fingerprint', '--verbose', '--log-file=stdout', `--pidfile=${OUT}turnserver.pid`);
  const child = spawn('turnserver', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (log += data));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGTERM');
    const forced = setTimeout(() => child.kill('SIGKILL'), 3000);
    await ended;
    clearTimeout(forced);
  };
  try {
    await until('coturn to listen', () => {
      if (child.exitCode !== null) throw new Error(`turnserver ended with ${child.exitCode}:\n${log}`);
      return /UDP listener opened|listener opened on/i.test(log) || { error: log.slice(-300) };
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { log: () => log, stop };
}
