/**
 * @module
 * The passphrase of a meeting, and what is made of it. It may come with a link, behind the `#`, which browsers keep to themselves.
 */
import { t } from './language.js';
/** @typedef {import('./client/index.js').RemoteTrack} RemoteTrack */

const NAME = 'key';

/** Of this page's address; empty for none. */
export function passphraseOfLink() {
  return new URLSearchParams(location.hash.slice(1)).get(NAME) ?? '';
}

/**
 * @param {string} link
 * @param {string} passphrase
 */
export function withPassphrase(link, passphrase) {
  return passphrase ? `${link}#${new URLSearchParams({ [NAME]: passphrase })}` : link;
}

/**
 * Undefined without a passphrase. Rejects where the browser cannot do it: nobody is to believe that it does.
 * @param {string} passphrase
 * @param {string} room
 */
export async function encryptionOf(passphrase, room) {
  if (!passphrase) return undefined;
  // Most meetings do without.
  const { Encryption } = await import('./client/e2ee/encryption.js');
  return Encryption.fromPassphrase(passphrase, room);
}

/** Why a track is not shown, if that has to do with encryption. @param {RemoteTrack} track @returns {string} a sentence, or empty */
export function secretNote({ source, unavailable }) {
  const thing = source === 'camera' ? t('This camera') : source === 'microphone' ? t('This microphone') : t('This screen');
  switch (unavailable) {
    case 'encrypted':
      return t('{thing} is encrypted end to end. Leave, and join with the passphrase.', { thing });
    case 'key':
      return t('{thing} is encrypted with another passphrase than yours.', { thing });
    case 'plain':
      return t('{thing} is not encrypted, so it stays out of your encrypted meeting.', { thing });
    default:
      return '';
  }
}
