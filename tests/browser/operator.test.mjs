/** The operator's page: what it shows of a server at work, and what it says where there is nothing to show. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';
import { chromium } from './lib/browsers.mjs';
import { Participant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { tokenOf } from './lib/token.mjs';
import { until } from './lib/until.mjs';

const SECRET = '0123456789abcdef0123456789abcdef';

let browser;
let server;
before(async () => {
  [server, browser] = await Promise.all([startServer(), chromium()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const open = async (url) => {
  const page = await (await browser.createBrowserContext()).newPage();
  await page.goto(`${url}/operator`);
  return page;
};
const state = (page, wanted) => until(`the state ${wanted}`, async () => {
  const now = await page.evaluate(() => document.body.dataset.state);
  return now === wanted || { error: now, text: await page.evaluate(() => document.body.innerText) };
});
const text = (page, selector) => page.$eval(selector, (element) => element.innerText);
const card = (page, name) => page.$$eval('.plot', (plots, title) => plots.find((plot) => plot.querySelector('h2').textContent === title).querySelector('.plot-value').textContent, name);

const token = (video) => tokenOf({ id: 'k', secret: SECRET }, video);

test('rooms, people, bitrates and what holds pictures back are shown, and move', { timeout: 120_000 }, async () => {
  const page = await open(server.url);
  await state(page, 'fresh');
  assert.equal(await page.$eval('#rooms-empty', (hint) => hint.checkVisibility()), true);
  const people = [await Participant.join(browser, { url: server.url, room: 'stage', index: 1 }), await Participant.join(browser, { url: server.url, room: 'stage', index: 2 })];
  await until('the people', async () => (await card(page, 'People, viewers included')) === '2');
  await until('what is received', async () => /^[1-9]/.test(await card(page, 'Received')) && /^[1-9]/.test(await card(page, 'Forwarded')));
  await until('a line', () => page.$eval('.plot polyline', (line) => line.getAttribute('points').trim().split(' ').length > 2));
  assert.match(await text(page, '#rooms tbody'), /^stage\s+2\s+0\s+4\s+open$/);
  // The mouse is down for longer than it takes until the figures come anew.
  const before = await text(page, '#freshness');
  await page.hover('#rooms button');
  await page.mouse.down();
  await until('other figures', async () => (await text(page, '#freshness')) !== before);
  await page.mouse.up();
  const rows = () => page.$$eval('#people tbody tr', (lines) => lines.map((line) => [...line.cells].map((cell) => cell.textContent)));
  await until('what each gets', async () => {
    const found = await rows();
    return found.length === 2 && found.every(([name, rtt, , gets]) => /^P[12]$/.test(name) && /ms$/.test(rtt) && /^[1-9]/.test(gets)) ? true : { error: found };
  });
  await Promise.all(people.map((person) => person.close()));
  await until('the room to end', async () => (await page.$eval('#rooms-empty', (hint) => hint.checkVisibility())) && (await text(page, '#room-note')).includes('ended'));

  // The server goes and comes again: the figures stay meanwhile, and say that they are old.
  await server.stop();
  await state(page, 'stale');
  assert.match(await text(page, '#freshness'), /does not answer/);
  server = await startServer();
  await state(page, 'fresh');
});

test('a server with keys asks for a token, and says what is wrong with it', { timeout: 120_000 }, async () => {
  await server.stop();
  const file = `${mkdtempSync(`${tmpdir()}/operator-`)}/keys.toml`;
  writeFileSync(file, `[keys]\nk = "${SECRET}"\n`);
  server = await startServer(['--config', file]);
  const page = await open(server.url);
  await state(page, 'token');
  assert.equal(await page.$eval('#token-notice', (notice) => notice.hidden), true);
  const enter = async (value) => {
    await page.$eval('#token', (field) => (field.value = ''));
    await page.type('#token', value);
    await page.keyboard.press('Enter');
  };
  await enter('nonsense');
  await until('a sentence', async () => (await text(page, '#token-notice')).length > 10);
  await enter(token({ room: 'stage', roomJoin: true }));
  await until('the grant that is missing', async () => (await text(page, '#token-notice')).includes('roomList'));
  await enter(token({ roomList: true }));
  await state(page, 'fresh');
  // It is kept for this window, and no longer.
  await page.reload();
  await state(page, 'fresh');
  await page.click('#forget');
  await state(page, 'token');
});
