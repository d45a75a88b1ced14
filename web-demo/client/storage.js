/**
 * @module
 * What a page remembers of a person's choices. Where the browser refuses to keep anything, it forgets, and all else works.
 */

/** Other scripts of the same origin have names of their own. */
const PREFIX = 'switchyard.';

/**
 * @param {'localStorage' | 'sessionStorage'} area
 * @param {string} key
 * @returns {string | null}
 */
export function recall(area, key) {
  try {
    return window[area].getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/**
 * @param {'localStorage' | 'sessionStorage'} area
 * @param {string} key
 * @param {string} value
 */
export function remember(area, key, value) {
  try {
    window[area].setItem(PREFIX + key, value);
  } catch {
    // Refused or full: nothing depends on it.
  }
}

/** @typedef {{camera: string, microphone: string, speaker: string, echoCancellation: boolean, noiseSuppression: boolean}} Choices devices by their ids, empty for none */

/** What was chosen last time. @returns {Choices} */
export function rememberedChoices() {
  const id = /** @param {string} device */ (device) => recall('localStorage', device) ?? '';
  const wanted = /** @param {string} name */ (name) => recall('localStorage', name) !== 'off';
  return {
    camera: id('camera'),
    microphone: id('microphone'),
    speaker: id('speaker'),
    echoCancellation: wanted('echoCancellation'),
    noiseSuppression: wanted('noiseSuppression'),
  };
}

/** Whether a device was on when it was turned on or off last; the first time it is. @param {'camera' | 'microphone'} device */
export function rememberedWanted(device) {
  return recall('localStorage', `${device}On`) !== 'off';
}

/** @param {'camera' | 'microphone'} device @param {boolean} on */
export function rememberWanted(device, on) {
  remember('localStorage', `${device}On`, on ? 'on' : 'off');
}

/** @param {Partial<Choices>} choices */
export function rememberChoices(choices) {
  for (const [name, value] of Object.entries(choices)) remember('localStorage', name, value === true ? 'on' : value === false ? 'off' : String(value));
}
