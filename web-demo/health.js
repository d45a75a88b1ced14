/**
 * @module
 * Tells people in one word how their stream does, and in one sentence why.
 */
import { t } from './language.js';

/** @typedef {import('./client/stats.js').TrackStats} TrackStats */
/** @typedef {'starting' | 'good' | 'limited' | 'lost'} Level */

/** From here on viewers see it, resent packets or not. */
const LOSS_MAX = 0.05;

/**
 * @param {TrackStats} stats of the picture
 * @param {boolean} watched somebody is shown it
 * @returns {{level: Level, word: string, reason: string}}
 */
export function healthOf({ bitrate, limitation, loss }, watched) {
  if (!watched) return { level: 'good', word: t('Ready'), reason: t('Nobody is shown the picture now, so none is sent. It begins by itself with the first viewer.') };
  if (bitrate === 0) return { level: 'starting', word: t('Starting'), reason: t('The first pictures are on their way.') };
  if (loss !== null && loss > LOSS_MAX) {
    return { level: 'limited', word: t('Limited by bandwidth'), reason: t('{percent} % of the packets are lost on the way. A cable or a lower quality helps.', { percent: Math.round(loss * 100) }) };
  }
  if (limitation === 'cpu') {
    return { level: 'limited', word: t('Limited by CPU'), reason: t('This computer cannot encode as fast as the quality needs. Close other programs, or choose a lower quality.') };
  }
  if (limitation === 'bandwidth') {
    return { level: 'limited', word: t('Limited by bandwidth'), reason: t('The connection carries less than the quality needs. The picture is made smaller until it carries more.') };
  }
  return { level: 'good', word: t('Good'), reason: t('Everything is sent as you chose it.') };
}
