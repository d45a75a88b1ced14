/**
 * @module
 * Lists of devices to choose from.
 */
import { listDevices } from './client/devices.js';
import { t } from './language.js';

/** @typedef {import('./client/devices.js').Device | 'speaker'} Device */

/** @type {Record<Device, [string, string]>} what one without a name is called, and what stands there without any */
const WORDS = { camera: [t('Camera'), t('No camera found')], microphone: [t('Microphone'), t('No microphone found')], speaker: [t('Speaker'), t('As the system has it')] };

/**
 * Fills a select with the devices there are, and keeps its choice.
 * @param {HTMLSelectElement} list
 * @param {Device} device
 * @param {string} [chosen] device id
 */
export async function fillDevices(list, device, chosen = '') {
  const found = await listDevices(device);
  const options = found.map(({ deviceId, label }, index) => new Option(label || `${WORDS[device][0]} ${index + 1}`, deviceId));
  if (options.length === 0) options.push(new Option(WORDS[device][1], ''));
  list.replaceChildren(...options);
  list.disabled = found.length === 0;
  if (options.some(({ value }) => value === chosen)) list.value = chosen;
}
