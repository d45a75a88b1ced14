/**
 * @module
 * Tells people in one word how their stream does, and in one sentence why.
 */

/** @typedef {import('./client/stats.js').TrackStats} TrackStats */
/** @typedef {'starting' | 'good' | 'limited' | 'lost'} Level */

/** From here on viewers see it, resent packets or not. */
const LOSS_MAX = 0.05;

/**
 * @param {TrackStats} stats of the picture
 * @returns {{level: Level, word: string, reason: string}}
 */
export function healthOf({ bitrate, limitation, loss }) {
  if (bitrate === 0) return { level: 'starting', word: 'Starting', reason: 'The first pictures are on their way.' };
  if (loss !== null && loss > LOSS_MAX) {
    return { level: 'limited', word: 'Limited by bandwidth', reason: `${Math.round(loss * 100)} % of the packets are lost on the way. A cable or a lower quality helps.` };
  }
  if (limitation === 'cpu') {
    return { level: 'limited', word: 'Limited by CPU', reason: 'This computer cannot encode as fast as the quality needs. Close other programs, or choose a lower quality.' };
  }
  if (limitation === 'bandwidth') {
    return { level: 'limited', word: 'Limited by bandwidth', reason: 'The connection carries less than the quality needs. The picture is made smaller until it carries more.' };
  }
  return { level: 'good', word: 'Good', reason: 'Everything is sent as you chose it.' };
}
