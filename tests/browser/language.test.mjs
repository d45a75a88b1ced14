/** Two languages: both tables have the same keys, every sentence of the pages is in them, and no page shows the other language. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GERMAN, GERMAN_SERVER } from '../../web-demo/german.js';
import { chromium } from './lib/browsers.mjs';
import { startServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const DEMO = fileURLToPath(new URL('../../web-demo/', import.meta.url));
const read = (name) => readFileSync(DEMO + name, 'utf8');
const filesOf = (folder, ending) => readdirSync(DEMO + folder).filter((name) => name.endsWith(ending)).map((name) => folder + name);
const SCRIPTS = [...filesOf('', '.js'), ...filesOf('client/', '.js'), ...filesOf('client/e2ee/', '.js')].filter((name) => !name.startsWith('german')).map(read);
const PAGES = filesOf('', '.html');
const PLACE = /\{\w+\}/g;

/** What the code has translated. */
const called = SCRIPTS.flatMap((script) => [...script.matchAll(/(?<![\w.])t\((?:'([^'\n]+)'|`([^`]+)`)/g)].map(([, quoted, template]) => quoted ?? template));
/** What stands between quotes anywhere; with `${…}` whatever may stand there. */
const literals = new Set(SCRIPTS.flatMap((script) => [...script.matchAll(/'([^'\n]+)'/g)].map(([, text]) => text)));
const templates = SCRIPTS.flatMap((script) => [...script.matchAll(/`([^`\n]*\$\{[^`\n]*)`/g)].map(([, text]) => text));
const patterns = templates.filter((text) => /\$\{\w+\}/.test(text) && text.length > 20).map((text) => new RegExp(`^${text.replace(/[.*+?^()|[\]\\]/g, '\\$&').replace(/\$\{\w+\}/g, '.+')}$`));

/** Texts and attributes of a page. */
function textsOf(page) {
  const html = page.replace(/<(script|svg)\b.*?<\/\1>/gs, '').replace(/<(\w+)[^>]*translate="no"[^>]*>.*?<\/\1>/gs, '');
  const texts = [...html.matchAll(/>([^<>]+)</g)].map(([, text]) => text.replace(/\s+/g, ' ').trim()).filter((text) => /[A-Za-z]{2}/.test(text));
  const attributes = [...html.matchAll(/(?:aria-label|placeholder|title|name="description" content)="([^"]+)"/g)].map(([, text]) => text);
  return [...texts, ...attributes];
}

test('every sentence of the code and the pages is in the table, and nothing else is', () => {
  const pages = PAGES.flatMap((name) => textsOf(read(name)));
  const needed = new Set([...called, ...pages]);
  assert.ok(needed.size > 400, 'something to translate was found');
  assert.deepEqual([...needed].filter((text) => !Object.hasOwn(GERMAN, text)), [], 'without a German sentence');
  const known = (text) => needed.has(text) || literals.has(text) || patterns.some((pattern) => pattern.test(text));
  assert.deepEqual(Object.keys(GERMAN).filter((text) => !known(text)), [], 'nowhere to be seen');
});

test('the server says every sentence that its table has', () => {
  const server = fileURLToPath(new URL('../../signaling/src/', import.meta.url));
  const source = readdirSync(server, { recursive: true }).filter((name) => name.endsWith('.rs')).map((name) => readFileSync(server + name, 'utf8')).join('\n');
  const placeless = (text) => text.replace(/\{[^}]*\}/g, '{}').replaceAll(' by {}', '{}');
  const said = new Set([...source.matchAll(/"((?:[^"\\\n]|\\.)+)"/g)].map(([, text]) => placeless(text).replace(/(?<=\.)\{\}$/, '')));
  const sentences = Object.keys(GERMAN_SERVER).filter((text) => !text.startsWith('{sentence}'));
  // Two of them may be one that tells by whom, or does not.
  const known = (text) => said.has(placeless(text)) || said.has(placeless(text).replace(/(?= for |\.$)/, '{}'));
  assert.deepEqual(sentences.filter((text) => !known(text)), []);
});

test('every reason for which packets are dropped has words', () => {
  const rust = readFileSync(fileURLToPath(new URL('../../sfu/core/src/drop_reason.rs', import.meta.url)), 'utf8');
  const labels = [...rust.matchAll(/^ +\w+ => "(\w+)",$/gm)].map(([, label]) => label);
  assert.ok(labels.length > 30, 'the reasons were found');
  const words = new Map([...read('drop-reasons.js').matchAll(/^ +(\w+): t\('([^'\n]+)'\),$/gm)].map(([, label, english]) => [label, english]));
  assert.deepEqual([...words.keys()].toSorted(), labels.toSorted());
  assert.equal(new Set(words.values()).size, labels.length, 'each has its own');
  for (const english of words.values()) assert.ok(Object.hasOwn(GERMAN, english) && GERMAN[english] !== english, english);
});

test('both sentences have places for the same values', () => {
  for (const [english, german] of [...Object.entries(GERMAN), ...Object.entries(GERMAN_SERVER)]) {
    assert.deepEqual((german.match(PLACE) ?? []).toSorted(), (english.match(PLACE) ?? []).toSorted(), english);
    assert.ok(german.trim().length > 0, english);
  }
});

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), chromium()]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** English sentences that differ in German; where both are the same nothing could be seen. */
const ENGLISH = Object.entries(GERMAN).filter(([english, german]) => english !== german && !english.includes('{') && !Object.values(GERMAN).includes(english)).map(([english]) => english);

/** Runs in the page: what people can read or hear of it that is English, or has a place for a value. */
function leftovers(english) {
  const sentences = new Set(english);
  const texts = [document.title, document.body.innerText.split('\n').map((line) => line.trim())].flat();
  for (const name of ['aria-label', 'placeholder', 'title']) for (const element of document.querySelectorAll(`[${name}]`)) texts.push(element.getAttribute(name).replace(/ \([^)]*\)$/, ''));
  return texts.filter((text) => sentences.has(text) || /\{\w+\}/.test(text));
}

for (const path of ['/', '/?room=sprache&name=Ada&autojoin=1', '/live', '/watch', '/watch?room=niemand', '/direct', '/operator']) {
  test(`${path} is German for whom German is chosen, and English again`, { timeout: 60_000 }, async () => {
    const page = await (await browser.createBrowserContext()).newPage();
    await page.goto(server.url + path.replace('&autojoin=1', ''));
    const language = () => page.evaluate(() => document.documentElement.lang);
    await until('the page', async () => (await page.$$('#languages option')).length === 2);
    assert.equal(await language(), 'en');
    await Promise.all([page.waitForNavigation(), page.select('#languages', 'de')]);
    await until('German', async () => (await language()) === 'de');
    // It is remembered.
    await page.goto(server.url + path);
    await until('German again', async () => (await language()) === 'de');
    if (path.includes('autojoin')) await until('the room', () => page.evaluate(() => document.body.dataset.state === 'connected'));
    await until('nothing English', async () => {
      const left = await page.evaluate(leftovers, ENGLISH);
      return left.length === 0 || { error: left };
    }, 5000);
    for (const width of [1280, 360]) {
      await page.setViewport({ width, height: 800 });
      const wide = await page.evaluate(() => {
        const beyond = [...document.querySelectorAll('nav a')].filter((link) => link.checkVisibility()).map((link) => link.getBoundingClientRect().right - link.closest('header').getBoundingClientRect().right - 8);
        return Math.max(document.documentElement.scrollWidth - innerWidth, ...beyond);
      });
      assert.ok(wide <= 0, `German fits as well: ${wide} pixels too wide at ${width}`);
    }
    await page.browserContext().close();
  });
}

test('what the server says is German there as well, with its values', { timeout: 60_000 }, async () => {
  const open = async (name) => {
    const page = await (await browser.createBrowserContext()).newPage();
    await page.evaluateOnNewDocument(() => localStorage.setItem('switchyard.language', 'de'));
    await page.goto(`${server.url}/?room=tuer&name=${name}&autojoin=1`);
    return page;
  };
  const state = (page) => page.evaluate(() => document.body.dataset.state);
  const moderator = await open('Ada');
  await until('the first', async () => (await state(moderator)) === 'connected');
  const written = await moderator.evaluate(async () => (await import('/stats-overlay.js')).bits(1_700_000));
  assert.equal(written, '1,7 Mbit/s');
  const member = await open('Bob');
  await until('the second', async () => (await state(member)) === 'connected');
  await moderator.evaluate(() => {
    const { room } = window.switchyard;
    const [{ identity }] = room.participants.values();
    return room.people.ban(identity, 600, 'Lärm');
  });
  await until('the end in German', () => member.$eval('#ended-message', ({ innerText }) => innerText === 'Ada hat dich für 10 Minuten aus diesem Raum verbannt. Grund: Lärm' || { error: innerText }));
  await moderator.evaluate(() => window.switchyard.room.people.updateRoom({ locked: true }));
  const late = await open('Eve');
  await until('the door in German', () => late.$eval('#prejoin-notice', ({ innerText }) => innerText === 'Der Raum ist abgeschlossen; seine Moderatoren lassen niemanden mehr herein.' || { error: innerText }));
  for (const page of [moderator, member, late]) await page.browserContext().close();
});
