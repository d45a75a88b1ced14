/**
 * Screenshots of every page, at the size of a phone and of a large desk, light and dark, into tests/.out/screenshots.
 * tests/ns.sh node tests/browser/screenshots.mjs [state]...
 */
import { mkdirSync } from 'node:fs';
import { chromium } from './lib/browsers.mjs';
import { OUT, startServer } from './lib/server.mjs';
import { STATES, openState } from './lib/states.mjs';

const SIZES = [
  { width: 360, height: 740 },
  { width: 1920, height: 1080 },
];
/** Pictures and transitions come to rest. */
const REST_MS = 1500;

const wanted = process.argv.slice(2);
const directory = `${OUT}screenshots/`;
mkdirSync(directory, { recursive: true });
const server = await startServer();
const browser = await chromium();
for (const state of STATES.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  for (const size of SIZES) {
    for (const scheme of ['light', 'dark']) {
      const { page, close } = await openState(browser, server.url, state, { ...size, scheme });
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      const path = `${directory}${state.name}-${size.width}-${scheme}.png`;
      await page.screenshot({ path });
      await close();
      console.log(path);
    }
  }
}
await browser.close();
await server.stop();
