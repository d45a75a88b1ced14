/**
 * @module
 * What a room is joined with, and which ends are final.
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
 */

/** `closed` reasons after which coming back would be wrong. */
export const FINAL_REASONS = ['replaced', 'removed', 'room_deleted'];
/** Errors at joining that a retry does not cure. */
export const FINAL_CODES = ['unauthorized', 'not_allowed', 'version', 'limit', 'bad_message'];

/**
 * The fields of `join`.
 * @param {ConnectOptions} options
 * @param {string} identity
 */
export function joinFields({ room, name, token, maxVideo, maxAudio }, identity) {
  return {
    version: 1,
    room,
    name,
    ...(identity && { identity }),
    ...(token && { token }),
    ...(maxVideo !== undefined && { max_video: maxVideo }),
    ...(maxAudio !== undefined && { max_audio: maxAudio }),
  };
}
