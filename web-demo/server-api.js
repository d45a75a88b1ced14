/**
 * @module
 * Asks the server for what it tells operators.
 */
import { t } from './language.js';

const TIMEOUT_MS = 8000;

/** The server answered, but not with what was asked for. */
export class Refusal extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Rejects with a `Refusal`, or with another error where there is no answer.
 * @param {string} path
 * @param {string} token empty for none
 * @returns {Promise<Response>}
 */
export async function ask(path, token) {
  const headers = token ? { authorization: `Bearer ${token}` } : undefined;
  const answer = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (answer.ok) return answer;
  throw new Refusal(answer.status, sentenceOf(await answer.text()) || t('The server answered {status}.', { status: answer.status }));
}

/** Of an answer of the API, or of plain text. @param {string} text */
function sentenceOf(text) {
  try {
    return String(JSON.parse(text).message ?? '');
  } catch {
    return text.trim().slice(0, 400);
  }
}
