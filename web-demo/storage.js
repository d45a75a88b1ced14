/**
 * @module
 * What the page remembers. Where the browser refuses to keep anything, it forgets, and all else works.
 */

/**
 * @param {'localStorage' | 'sessionStorage'} area
 * @param {string} key
 * @returns {string | null}
 */
export function recall(area, key) {
  try {
    return window[area].getItem(key);
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
    window[area].setItem(key, value);
  } catch {
    // Refused or full: nothing depends on it.
  }
}

/** The devices chosen last time; empty strings for none. */
export function rememberedDevices() {
  return { camera: recall('localStorage', 'camera') ?? '', microphone: recall('localStorage', 'microphone') ?? '' };
}
