/**
 * @module
 * When to try again: at once, then with pauses that double, each a little different so that not everybody comes in the same moment.
 */

const FIRST_MS = 300;
const LONGEST_MS = 5000;

/** @param {number} attempt from 0 */
export function retryDelayMs(attempt) {
  if (attempt === 0) return Math.random() * 100;
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  return full * (0.75 + Math.random() / 4);
}

/**
 * Waits, but not longer than until the network is back.
 * @param {number} ms
 * @param {AbortSignal} [signal] ends the waiting early
 */
export function sleepOrOnline(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener('online', done);
      signal?.removeEventListener('abort', done);
      resolve(undefined);
    };
    const timer = window.setTimeout(done, ms);
    window.addEventListener('online', done);
    signal?.addEventListener('abort', done);
    if (signal?.aborted) done();
  });
}
