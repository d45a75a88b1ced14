/** The operator's page: what it shows of a server at work, and what it says where there is nothing to show. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
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

/** Runs in the page before its scripts: notes what the page is told, and the moments that it takes for those of the answers. */
function noteAnswers() {
  const { fetch } = window;
  const now = performance.now.bind(performance);
  window.answers = [];
  window.fetch = async (...asked) => {
    const answer = await fetch(...asked);
    if (asked[0] === 'metrics') window.answers.push({ text: await answer.clone().text(), at: 0 });
    return answer;
  };
  performance.now = () => (window.answers.at(-1).at = now());
}

/** Runs in the page: what it shows when it shows something new, and what it was told until then. */
function nextFigures() {
  return new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      observer.disconnect();
      const cards = [...document.querySelectorAll('.plot')].map((plot) => [plot.querySelector('h2').textContent, { value: plot.querySelector('.plot-value').textContent, lines: plot.querySelectorAll('polyline').length }]);
      const drops = [...document.querySelectorAll('#drops tbody tr')].map((row) => [...row.cells].map((cell) => (cell.querySelector('code') ?? cell).textContent));
      resolve({ cards: Object.fromEntries(cards), drops, empty: document.querySelector('#drops-empty').checkVisibility(), answers: window.answers });
    }).observe(document.querySelector('#freshness'), { childList: true });
  });
}

/** Of a name, with a sign of some label if one is given. Reads with less care than the page does. */
const valuesOf = (answer, name, sign = '') => answer.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(sign)).map((line) => Number(line.split(' ').at(-1)));
const totalOf = (answer, name, sign) => valuesOf(answer, name, sign).reduce((sum, value) => sum + value, 0);
/** Seconds of the processor that a process has had, as its system says: in hundredths. */
const processorOf = (pid) => {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13).map(Number);
  return (user + system) / 100;
};

test('processor, workers and drops are as the system and the server count them', { timeout: 120_000 }, async (t) => {
  const page = await (await browser.createBrowserContext()).newPage();
  await page.evaluateOnNewDocument(noteAnswers);
  const dropped = 'switchyard_dropped_packets_total';
  const before = await (await fetch(`${server.url}/metrics`)).text();
  const socket = createSocket('udp4');
  const send = (first) => new Promise((resolve) => socket.send(Buffer.from([first, 111, ...Buffer.alloc(40)]), Number(new URL(server.url).port), '127.0.0.1', resolve));
  // Work for one worker, until the figures have been read.
  let working = true;
  const work = (async () => {
    while (working) {
      await Promise.all(Array.from({ length: 100 }, () => send(0xff)));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  const rest = () => {
    working = false;
    return work;
  };
  t.after(async () => {
    await rest();
    socket.close();
    await page.close();
  });
  await page.goto(`${server.url}/operator`);
  const figures = await until('figures of some seconds', async () => {
    const found = await page.evaluate(nextFigures);
    const { cards, answers } = found;
    const enough = cards['Processor, of one core'].value !== '–' && answers.at(-1).at - answers[0].at > 6000 && Math.max(...valuesOf(answers.at(-1).text, 'switchyard_worker_busy_ratio')) > 0.01;
    return enough ? found : { error: cards };
  });
  const [one, other] = [processorOf(server.pid), await (await fetch(`${server.url}/metrics`)).text().then((text) => totalOf(text, 'process_cpu_seconds_total'))];
  assert.ok(other >= one - 0.02 && other <= processorOf(server.pid) + 0.02, `the server counts ${other} s, its system ${one} s`);
  const { cards, answers, drops } = figures;
  const last = answers.at(-1);
  // As the page does: workers publish once a second, so it takes at least 3.5 s.
  const first = answers.findLast(({ at }) => at <= last.at - 3500);
  const perSecond = (name) => ((totalOf(last.text, name) - totalOf(first.text, name)) * 1000) / (last.at - first.at);
  const shown = (card) => Number(/^([\d,]+)( %)?$/.exec(cards[card].value)[1].replaceAll(',', ''));
  const processor = 100 * perSecond('process_cpu_seconds_total');
  assert.ok(processor > 0 && Math.abs(shown('Processor, of one core') - processor) <= 0.5, `${cards['Processor, of one core'].value} of ${processor}`);
  assert.ok(perSecond(dropped) > 100 && Math.abs(shown('Dropped packets per second') - perSecond(dropped)) <= 0.5, `${cards['Dropped packets per second'].value} of ${perSecond(dropped)}`);
  const busy = valuesOf(last.text, 'switchyard_worker_busy_ratio');
  assert.ok(busy.length > 1 && Math.min(...busy) < Math.max(...busy) / 2, `one works: ${busy}`);
  assert.deepEqual(cards['Busiest worker'], { value: `${Math.round(Math.max(...busy) * 100)} %`, lines: busy.length });
  const malformed = totalOf(last.text, dropped, 'malformed');
  assert.deepEqual(drops.find(([reason]) => reason === 'malformed').toSpliced(1, 1), ['malformed', malformed.toLocaleString('en')]);
  await rest();
  // So many of another kind, and no more.
  for (let packet = 0; packet < 123; packet++) await send(0x80);
  const end = await until('the counters to rest', async () => {
    const found = await page.evaluate(nextFigures);
    const row = found.drops.find(([reason]) => reason === 'unknown_tuple');
    return row && found.cards['Dropped packets per second'].value === '0.0' && found.cards['Busiest worker'].value === '0 %' ? { ...found, row } : { error: found.cards };
  });
  assert.deepEqual(end.row, ['unknown_tuple', '0.0', String(123 + totalOf(before, dropped, 'unknown_tuple'))]);
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
