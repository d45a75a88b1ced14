/** WCAG 2.2 AA, as far as axe can tell, on every page: at the size of a phone and of a desk, light and dark; and nothing is wider than the window. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { chromium } from './lib/browsers.mjs';
import { startServer } from './lib/server.mjs';
import { Stage, show } from './lib/stage.mjs';
import { SCENES } from './lib/states.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] };
/** What another colour may change. */
const CONTRAST = { type: 'rule', values: ['color-contrast'] };
const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 800 };
/** The last two for the main states only: what differs is the colour. */
const LOOKS = [
  { ...PHONE, scheme: 'light', runOnly: TAGS },
  { ...DESK, scheme: 'dark', runOnly: TAGS },
  { ...DESK, scheme: 'light', runOnly: CONTRAST },
  { ...PHONE, scheme: 'dark', runOnly: CONTRAST },
];

let server;
let browser;
let stage;
before(async () => {
  [server, browser] = await Promise.all([startServer(), chromium()]);
  stage = new Stage(browser, server.url);
});
after(async () => {
  await browser?.close();
  await stage?.end();
  await server?.stop();
});

/** Looks at the page as it is now. */
async function examine({ main, phone }) {
  const { page } = stage;
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  for (const look of LOOKS.slice(0, main ? 4 : 2).filter(({ width }) => !phone || width === PHONE.width)) {
    await show(page, look);
    const violations = await page.evaluate(async (runOnly) => {
      const { violations: found } = await window.axe.run({ runOnly });
      return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(' ')} (${failureSummary})`).join('; ')}`);
    }, look.runOnly);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.deepEqual(violations, [], `${look.width} wide, ${look.scheme}`);
    assert.ok(wide <= 0, `${wide} pixels wider than a window of ${look.width}`);
  }
  await show(page, LOOKS[0]);
}

for (const scene of SCENES.filter(({ states }) => states.some(({ alike }) => !alike))) {
  test(`nothing is found from ${scene.states[0].name} on`, async (t) => {
    try {
      await stage.open(scene, LOOKS[0]);
      for (const state of scene.states) {
        await stage.enter(state);
        if (!state.alike) await t.test(state.name, () => examine(state));
      }
    } finally {
      await stage.leave();
    }
  });
}
