/**
 * @module
 * Coming back after a loss: trying again and again, and saying when; and what makes trying useless.
 */
import { retryDelayMs, sleepOrOnline } from './retry.js';

/** @typedef {import('./signaling.js').Signaling} Signaling */

const GIVE_UP_MS = 120_000;
/** `closed` reasons after which coming back would be wrong. */
export const FINAL_REASONS = ['replaced', 'removed', 'banned', 'denied', 'room_deleted', 'taken_over'];
/** Errors at joining that a retry does not cure, and not to want to wait any more. */
const FINAL_CODES = ['aborted', 'unauthorized', 'not_allowed', 'version', 'limit', 'bad_message'];

/** Whether another attempt would be useless. @param {any} error */
export function isFinal(error) {
  return [...FINAL_CODES, ...FINAL_REASONS].includes(error.code);
}

/**
 * Goes on over another socket. Returns false where only a new join helps, throws what a later attempt may cure.
 * @param {Signaling} signaling
 */
export async function goOn(signaling) {
  if (!signaling.resumable) return false;
  try {
    await signaling.resume();
    return true;
  } catch (error) {
    const { code } = /** @type {{code?: string}} */ (error);
    if (code === 'unreachable' || code === 'timeout' || FINAL_REASONS.includes(code ?? '')) throw error;
    signaling.close();
    return false;
  }
}

/**
 * @param {string | undefined} reason of the server's `closed`, if it said it
 * @param {boolean} [alive] media flows
 */
export function describeLoss(reason, alive = false) {
  if (reason === 'shutdown') return 'The server is restarting. Reconnecting…';
  if (alive) return 'The connection to the server was lost. Sound and picture go on meanwhile.';
  return 'The connection to the server was lost. Reconnecting…';
}

export class Reconnection {
  #attempt;
  #tell;
  #skip = new AbortController();
  #stopped = false;

  /**
   * @param {() => Promise<boolean>} attempt whether it is over, one way or the other
   * @param {(news: {attempt: number, delayMs: number}) => void} tell before each attempt: when it comes
   */
  constructor(attempt, tell) {
    this.#attempt = attempt;
    this.#tell = tell;
  }

  /** Resolves with whether it is over; false: it took too long, or was stopped. */
  async run() {
    const started = performance.now();
    for (let attempt = 0; performance.now() - started < GIVE_UP_MS; attempt++) {
      const delayMs = Math.round(retryDelayMs(attempt));
      this.#tell({ attempt, delayMs });
      await sleepOrOnline(delayMs, this.#skip.signal);
      this.#skip = new AbortController();
      if (this.#stopped || (await this.#attempt())) return true;
    }
    return false;
  }

  /** Does not wait for the next attempt. */
  now() {
    this.#skip.abort();
  }

  stop() {
    this.#stopped = true;
    this.now();
  }
}
