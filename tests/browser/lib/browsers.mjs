/** Real browsers, started with the flags of the test machine only: nothing that changes how they connect. */
import puppeteer from 'puppeteer-core';

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/**
 * @param {string} [program] that starts it; it may be in another network, so it is spoken to through a pipe
 * @returns {Promise<import('puppeteer-core').Browser>}
 */
export function chromium(program) {
  return puppeteer.launch({
    executablePath: program ?? CHROMIUM,
    pipe: program !== undefined,
    headless: true,
    // As a person does who opens a server with `--tls self-signed`.
    acceptInsecureCerts: true,
    defaultViewport: { width: 1280, height: 800 },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // The popup of the address bar is a page of its own, which takes a second of the processor for every window.
      '--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup',
      '--mute-audio',
      '--autoplay-policy=no-user-gesture-required',
      // Several windows on one machine: none of them counts as hidden.
      '--disable-background-timer-throttling',
      '--disable-backgrounding-occluded-windows',
      '--disable-renderer-backgrounding',
      '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream',
    ],
  });
}

/** @returns {Promise<import('puppeteer-core').Browser>} */
export function firefox() {
  return puppeteer.launch({
    browser: 'firefox',
    executablePath: FIREFOX,
    headless: true,
    defaultViewport: { width: 1280, height: 800 },
    extraPrefsFirefox: {
      // No process in advance for a page that nobody opens.
      'dom.ipc.processPrelaunch.enabled': false,
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      // The machine has no sound card, and without any an AudioContext never starts.
      'media.cubeb.force_mock_context': true,
      'media.autoplay.default': 0,
      'media.autoplay.blocking_policy': 0,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
      'app.normandy.enabled': false,
      'media.gmp-manager.updateEnabled': false,
      'toolkit.telemetry.enabled': false,
    },
  });
}
