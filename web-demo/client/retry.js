/**
 * @module
 * When to try again.
 */

const DELAYS_MS = [0, 300, 1200, 2700, 4800, 5000];

/** @param {number} attempt from 0 */
export function retryDelayMs(attempt) {
  return DELAYS_MS[Math.min(attempt, DELAYS_MS.length - 1)];
}

/** Waits, but not longer than until the network is back. @param {number} ms */
export function sleepOrOnline(ms) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener('online', done);
      resolve(undefined);
    };
    const timer = window.setTimeout(done, ms);
    window.addEventListener('online', done);
  });
}
