/** The ways between the pages: from each to all others, on a phone (in German) and on a desk; and one stylesheet for each. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chromium } from './lib/browsers.mjs';
import { startServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const PAGES = ['/', '/live', '/watch', '/direct', '/operator'];
const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 800 };
/** Of the header: two rows of buttons have more. */
const ROW_HEIGHT_MAX = 60;

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), chromium()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const open = async (path, size, language) => {
  const page = await (await browser.createBrowserContext()).newPage();
  await page.setViewport(size);
  await page.evaluateOnNewDocument((chosen) => localStorage.setItem('switchyard.language', chosen), language);
  await page.goto(server.url + path);
  await until('the page', async () => (await page.$$('#languages option')).length === 2);
  return page;
};

const linkTo = (path) => `#pages a:nth-child(${PAGES.indexOf(path) + 1})`;

/** As a person does: by the menu, where there is one. */
async function go(page, to) {
  const menu = await page.$('.open-menu');
  if (await menu.isVisible()) await menu.click();
  const link = await page.waitForSelector(linkTo(to), { visible: true });
  await Promise.all([page.waitForNavigation(), link.click()]);
}

for (const [size, language] of /** @type {const} */ ([[PHONE, 'de'], [DESK, 'en']])) {
  test(`every page leads to all others, ${size.width} pixels wide, ${language}`, { timeout: 240_000 }, async () => {
    for (const from of PAGES) {
      const page = await open(from, size, language);
      for (const to of PAGES.filter((path) => path !== from)) {
        await page.goto(server.url + from);
        await until(`the links of ${from}`, () => page.$$eval('#pages a', (links) => links.length === 5 && links.every(({ hidden }) => !hidden)));
        await go(page, to);
        assert.equal(new URL(page.url()).pathname, to, `from ${from}`);
        assert.equal(await page.$eval('#pages [aria-current]', (link) => new URL(link.href).pathname), to);
      }
      await page.browserContext().close();
    }
  });
}

test('on a phone the title and the page stand in one row, in German as well', { timeout: 60_000 }, async () => {
  for (const path of PAGES.slice(0, 4)) {
    const page = await open(path, PHONE, 'de');
    const height = await page.$eval('header', (header) => header.clientHeight);
    assert.ok(height > 0 && height <= ROW_HEIGHT_MAX, `${path}: ${height}`);
    const cut = await page.$eval('.open-menu', (menu) => menu.scrollWidth - menu.clientWidth);
    assert.ok(cut <= 0, `${path}: ${cut} pixels of the menu’s name are cut`);
    await page.browserContext().close();
  }
});

test('what is for operators is offered where the server would show it', { timeout: 60_000 }, async () => {
  const offered = (page) => page.$eval(linkTo('/operator'), ({ hidden }) => !hidden);
  const page = await (await browser.createBrowserContext()).newPage();
  // The page's name of the machine is what counts: another one than its own.
  await page.setRequestInterception(true);
  page.on('request', async (request) => {
    const url = new URL(request.url());
    if (url.hostname !== 'meet.example') return request.continue();
    const answer = await fetch(server.url + url.pathname + url.search);
    return request.respond({ status: answer.status, contentType: answer.headers.get('content-type') ?? '', body: Buffer.from(await answer.arrayBuffer()) });
  });
  await page.goto('http://meet.example/watch?room=stage');
  await until('the links', () => page.$eval(linkTo('/live'), ({ search }) => search === '?room=stage'));
  assert.equal(await offered(page), false);
  await page.evaluate(() => sessionStorage.setItem('switchyard.operator-token', 'a token'));
  await page.reload();
  await until('the link', () => offered(page));
  await page.browserContext().close();
});

test('a page asks for one stylesheet and one script', { timeout: 60_000 }, async () => {
  for (const path of PAGES) {
    const page = await (await browser.createBrowserContext()).newPage();
    const asked = [];
    page.on('request', (request) => asked.push([request.resourceType(), new URL(request.url()).pathname]));
    await page.goto(server.url + path);
    for (const kind of ['stylesheet', 'script']) assert.equal(asked.filter(([type]) => type === kind).length, 1, `${path}: ${JSON.stringify(asked)}`);
    assert.ok(await page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--space-4') !== ''));
    await page.browserContext().close();
  }
});
