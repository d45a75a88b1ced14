/** Files through the server: 20 MB from Chromium to Firefox, refused, cancelled, and going on after either side was away. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { Cut } from './lib/cut.mjs';
import { scene } from './lib/scene.mjs';
import { OUT } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const FILE_BYTES = 20_000_000;
const NAME = 'meeting.bin';
/** Nobody has a camera or microphone on: this is about files. */
const QUIET = '&cam=0&mic=0';
/** What was on its way at a loss, and a margin: far from the whole file. */
const AGAIN_BYTES_MAX = 1_000_000;
mkdirSync(OUT, { recursive: true });
const content = randomBytes(FILE_BYTES);
const checksum = createHash('sha256').update(content).digest('hex');
writeFileSync(`${OUT}${NAME}`, content);

const files = scene();
/** Ada sends from Chromium, Bob takes in Firefox, Carl looks on. */
let ada;
let bob;
let carl;
/** Their ways to the server. */
const cuts = new Map();

/** Runs in the page before its scripts: keeps all that is ever shown of a file's progress, and what can be saved (the page's policy lets nobody fetch it). */
function watchProgress() {
  const { createObjectURL } = URL;
  URL.createObjectURL = (blob) => {
    window.received = blob;
    return createObjectURL(blob);
  };
  window.shownProgress = [];
  new MutationObserver(() => {
    const bar = document.querySelector('#transfers li:last-child progress');
    if (bar && window.shownProgress.at(-1) !== bar.value) window.shownProgress.push(bar.value);
  }).observe(document, { subtree: true, childList: true, attributes: true });
}

const open = async (person) => {
  await person.click('toggle-chat');
  await until('the chat', () => person.page.$eval('#chat', (panel) => panel.checkVisibility()));
};

/** Runs in the page: counts the bytes of files that come. */
function countBytes() {
  window.chunkBytes = 0;
  window.switchyard.room.on('data', ({ topic, payload }) => {
    if (topic === 'files' && typeof payload !== 'string') window.chunkBytes += payload.length;
  });
}

/** Runs in the page: cancels the last file as soon as some of it has moved. */
function cancelOnceItMoves() {
  const row = document.querySelector('#transfers li:last-child');
  const progress = row.querySelector('progress');
  new MutationObserver((_, observer) => {
    if (progress.value === 0) return;
    observer.disconnect();
    row.querySelector('[data-action="cancel"]').click();
  }).observe(row, { subtree: true, childList: true, attributes: true, characterData: true });
}

async function joinThroughCut(browser, index) {
  const cut = await Cut.start(files.server.url);
  const person = await files.join(browser, 'files', index, { url: cut.url, before: watchProgress, query: QUIET });
  cuts.set(person, cut);
  return person;
}

/** The last file in somebody's list, or none. */
const lastFile = (person) =>
  person.page.evaluate(() => {
    const row = document.querySelector('#transfers li:last-child');
    return row ? { ...row.dataset, text: row.innerText, moved: row.querySelector('progress').value } : { error: 'no file' };
  });

const reaches = (person, state, deadlineMs) =>
  until(`the file at ${person.name} to be ${state}`, async () => {
    const file = await lastFile(person);
    return file.state === state ? file : { error: file };
  }, deadlineMs);

const press = (person, action) => person.page.click(`#transfers li:last-child [data-action="${action}"]`);

const countOf = (person) => person.page.$$eval('#transfers li', ({ length }) => length);

async function offer(from, to, receivers) {
  const before = await Promise.all(receivers.map(countOf));
  await from.page.select('#chat-to', to);
  const input = await from.page.$('#file');
  await input.uploadFile(`${OUT}${NAME}`);
  for (const [index, one] of receivers.entries()) await until(`the offer at ${one.name}`, async () => (await countOf(one)) > before[index]);
}

const identityOf = (person) => person.page.evaluate(() => window.switchyard.room.identity);

/** Waits until a part of the last file has come, and not all. */
const comes = (person) =>
  until(`some of the file at ${person.name}`, async () => {
    const { state, moved } = await lastFile(person);
    return state === 'moving' && moved > 0 ? moved : { error: { state, moved } };
  });

async function arrives(from, to) {
  for (const one of [to, from]) {
    const file = await reaches(one, 'done', 60_000);
    assert.equal(file.sha256, checksum);
    assert.match(file.text, /checksum equal/i);
  }
  // The bytes that the link saves, looked at again.
  const saved = await to.page.$eval('#transfers li:last-child a', async ({ download }) => {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await window.received.arrayBuffer()));
    return { download, sha256: [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('') };
  });
  assert.deepEqual(saved, { download: NAME, sha256: checksum });
}

files.test('20 MB from Chromium to Firefox, offered to everybody, taken by one', async (t) => {
  const browser = await files.browser();
  ada = await joinThroughCut(browser, 0);
  carl = await files.join(browser, 'files', 2, { query: QUIET });
  bob = await joinThroughCut(await files.browser('firefox'), 1);
  for (const one of [ada, bob, carl]) await open(one);
  await bob.page.evaluate(countBytes);
  await offer(ada, '', [bob, carl]);
  await press(carl, 'cancel');
  const began = performance.now();
  await press(bob, 'accept');
  await arrives(ada, bob);
  t.diagnostic(`20 MB from Chromium to Firefox through the server: ${Math.round(performance.now() - began)} ms`);
  const progress = await bob.page.evaluate(() => window.shownProgress);
  assert.ok(progress.length > 3, `progress was shown ${progress.length} times`);
  assert.deepEqual(progress, progress.toSorted((a, b) => a - b));
  assert.equal((await lastFile(carl)).state, 'cancelled');
  // What was offered to everybody is for who comes later as well, as long as it stands.
  const late = await files.join(browser, 'files', 3, { query: QUIET });
  await open(late);
  await until('the offer at who comes later', async () => (await lastFile(late)).state === 'offered' || { error: await lastFile(late) });
  await late.close();
});

files.test('a refusal is told, and a file for one person is offered to nobody else', async () => {
  await offer(ada, await identityOf(bob), [bob]);
  await press(bob, 'cancel');
  assert.match((await reaches(ada, 'cancelled')).text, /does not want it/);
  assert.equal(await countOf(carl), 1);
});

files.test('either side cancels in the middle, and the next file arrives whole', async () => {
  for (const [who, other, words] of [[bob, ada, /does not want it/], [ada, bob, /cancelled it/]]) {
    await offer(ada, await identityOf(bob), [bob]);
    await who.page.evaluate(cancelOnceItMoves);
    await press(bob, 'accept');
    for (const one of [ada, bob]) await reaches(one, 'cancelled');
    const { moved, text } = await lastFile(other);
    assert.ok(moved < FILE_BYTES, `${moved}`);
    assert.match(text, words);
  }
  await offer(bob, await identityOf(ada), [ada]);
  await press(ada, 'accept');
  await arrives(bob, ada);
});

/** Takes away somebody's WebSocket and peer connection in the middle of a file; both come back, and the file goes on. */
for (const [what, lost] of [['receiver', () => bob], ['sender', () => ada]]) {
  files.test(`the ${what} loses WebSocket and peer connection, and the file goes on where it was`, async (t) => {
    const one = lost();
    await offer(ada, await identityOf(bob), [bob]);
    await bob.page.evaluate(() => (window.chunkBytes = 0));
    await press(bob, 'accept');
    await comes(bob);
    cuts.get(one).cut();
    await one.page.evaluate(() => window.switchyard.room.peerConnection.close());
    const before = (await lastFile(bob)).moved;
    assert.ok(before < FILE_BYTES, 'it was too fast');
    await until('it to be noticed', () => one.page.evaluate(() => window.switchyard.room.state === 'reconnecting'));
    cuts.get(one).restore();
    const began = performance.now();
    await arrives(ada, bob);
    t.diagnostic(`the rest of 20 MB after the ${what} was away: ${Math.round(performance.now() - began)} ms`);
    const bytes = await bob.page.evaluate(() => window.chunkBytes);
    assert.ok(bytes >= FILE_BYTES && bytes < FILE_BYTES + AGAIN_BYTES_MAX, `${bytes} bytes came, ${before} before the loss`);
  });
}

files.test('it fits a phone and a desktop, and every control has a name', async () => {
  await offer(ada, '', [bob, carl]);
  for (const [person, width] of [[ada, 1280], [carl, 360]]) {
    await person.page.setViewport({ width, height: 760 });
    const overflow = await person.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `${width}: ${overflow} pixels too wide`);
    await person.screenshot(`files-${width}`);
    const nameless = await person.page.$$eval('#chat button, #chat input, #chat a, #chat progress', (all) =>
      all.filter((one) => one.checkVisibility() && !one.innerText?.trim() && !one.ariaLabel && !one.labels?.length).map(({ outerHTML }) => outerHTML),
    );
    assert.deepEqual(nameless, []);
  }
  await carl.page.focus('#transfers li:last-child [data-action="accept"]');
  await carl.page.keyboard.press('Enter');
  assert.equal((await reaches(carl, 'done', 60_000)).sha256, checksum);
});

files.test('what is dropped on the chat is offered, and what is too large is refused with a sentence', async () => {
  const before = await countOf(bob);
  await ada.page.evaluate(() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(['hello'], 'dropped.txt'));
    document.getElementById('chat').dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  });
  await until('the offer', async () => (await countOf(bob)) > before);
  assert.match((await lastFile(bob)).text, /dropped\.txt/);
  const refusal = await ada.page.evaluate(async () => {
    const { Transfers, FILE_BYTES_MAX } = await import('/client/transfer.js');
    const file = Object.defineProperty(new File([], 'large'), 'size', { value: FILE_BYTES_MAX + 1 });
    return new Transfers(() => Promise.resolve()).offer(file).catch(({ message }) => message);
  });
  assert.equal(refusal, 'A file may have up to 256 MiB.');
});
