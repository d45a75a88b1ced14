/**
 * @module
 * Who this page is for the server.
 */
import { recall, remember } from './client/storage.js';

const CLAIM_MS = 300;
/** The identity whose lock this page holds. */
let claimed = '';

/**
 * One person is one identity, over reloads of this tab and not over two tabs: a duplicated tab brings a copy of the storage
 * along, and would throw the first one out. The lock that a living tab holds tells.
 */
export async function identity() {
  const known = recall('sessionStorage', 'identity');
  if (known && (await claim(known))) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const made = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  remember('sessionStorage', 'identity', made);
  void claim(made);
  return made;
}

/**
 * False if another tab has this identity. True where the browser cannot tell.
 * @param {string} name
 * @returns {Promise<boolean>}
 */
function claim(name) {
  const locks = /** @type {LockManager | undefined} */ (navigator.locks);
  if (!locks || claimed === name) return Promise.resolve(true);
  return new Promise((resolve) => {
    // A page that is being reloaded holds its lock a moment longer.
    const held = locks.request(`identity ${name}`, { signal: AbortSignal.timeout(CLAIM_MS) }, () => {
      claimed = name;
      resolve(true);
      return new Promise(() => undefined);
    });
    held.catch(() => resolve(false));
  });
}
