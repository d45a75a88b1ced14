/** WCAG 2.2 AA, as far as axe can tell, on every page: at the size of a phone and of a desk, light and dark; and nothing is wider than the window. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { chromium } from './lib/browsers.mjs';
import { startServer } from './lib/server.mjs';
import { STATES, openState, show } from './lib/states.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const LOOKS = [
  { width: 360, height: 740, scheme: 'light' },
  { width: 1280, height: 800, scheme: 'dark' },
];

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), chromium()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

for (const state of STATES.filter(({ alike }) => !alike)) {
  test(`${state.name} has nothing that axe finds`, async () => {
    const { page, close } = await openState(browser, server.url, state, LOOKS[0]);
    await page.evaluate(AXE);
    for (const look of LOOKS) {
      await show(page, look);
      const violations = await page.evaluate(async (values) => {
        const { violations: found } = await window.axe.run({ runOnly: { type: 'tag', values } });
        return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(' ')} (${failureSummary})`).join('; ')}`);
      }, TAGS);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.deepEqual(violations, [], `${look.width} wide, ${look.scheme}`);
      assert.ok(wide <= 0, `${wide} pixels wider than a window of ${look.width}`);
    }
    await close();
  });
}
