/**
 * @module
 * Says in words what of somebody's picture is shown, and why not more of it.
 */
import { number, t } from './language.js';

/** @typedef {import('./client/protocol.js').TrackStatus} TrackStatus */
/** @typedef {import('./client/protocol.js').LayerName} LayerName */

/**
 * Two short sentences: what is shown, and why it is not more. Empty where there is nothing to say.
 * @param {TrackStatus | null} status null while the server has said nothing
 * @param {{name: string, screen: boolean, width: number, height: number}} about whose, what, and the size that is on screen
 */
export function describeQuality(status, { name, screen, width, height }) {
  const size = sizeOf(status?.shown, width, height);
  if (!status) return size;
  const best = sizeOf(status.wanted, 0, 0);
  const what = size && best && best !== size && status.limit !== 'none' ? t('{size} of {best}', { size, best }) : size;
  return [what, reasonOf(status, name, screen)].filter(Boolean).join(' · ');
}

/**
 * @param {LayerName | null | undefined} layer
 * @param {number} width if the layer's is not known
 * @param {number} height
 */
function sizeOf(layer, width, height) {
  const [across, down] = layer?.width && layer.height ? [layer.width, layer.height] : [width, height];
  return across > 0 && down > 0 ? `${across}×${down}` : '';
}

/**
 * @param {TrackStatus} status
 * @param {string} name
 * @param {boolean} screen
 */
function reasonOf({ limit, needed, available, shown }, name, screen) {
  switch (limit) {
    case 'none':
      return t('The best there is');
    case 'bandwidth':
      // There may be room again already: it is not used before it has lasted.
      if (available === 0 || needed === 0 || available >= needed) return t('Your connection does not carry more');
      return t('Your connection has {available} of the {needed} Mbit/s that this needs', { available: megabits(available), needed: megabits(needed) });
    case 'viewport':
      return shown ? t('Shown small') : t('Not in view');
    case 'policy':
      return shown ? t('Chosen by hand') : t('Switched off here');
    case 'publisher_not_sending':
      return shown ? t('{name} does not send more', { name }) : t('{name} sends nothing now', { name });
    case 'publisher_cpu':
      return t('{name}’s computer cannot keep up', { name });
    case 'waiting_keyframe':
      return t('A better picture is on its way');
    case 'codec':
      return screen ? t('This browser cannot play this screen') : t('This browser cannot play this camera');
    default:
      return '';
  }
}

/** @param {number} bps */
function megabits(bps) {
  const mega = bps / 1e6;
  return number(mega, mega < 0.1 ? 2 : 1);
}
