/**
 * @module
 * What joining takes. Types only: the browser never loads this file.
 */

/**
 * @typedef {object} ConnectOptions
 * @property {string} room
 * @property {string} name shown to the others
 * @property {string} [identity] one identity is in the room once: the newer replaces the older
 * @property {string} [token]
 * @property {number} [maxVideo] most videos received at once
 * @property {number} [maxAudio]
 * @property {boolean} [adaptiveStream] default: true; false: everything is wanted in full, whatever `attach` says
 * @property {import('./e2ee/encryption.js').Encryption} [encryption] all that is published is sealed end to end, and nothing else is shown; stays yours
 * @property {(place: number) => void} [waiting] we wait to be let in by a moderator: 1 is who comes next
 * @property {AbortSignal} [signal] ends the waiting
 */

export {};
